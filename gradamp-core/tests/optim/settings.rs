//! Errors for settings that are out of range, and globs on the paths of parameters.

use gradamp_core::Reference;
use gradamp_core::optim::{AdaptiveClip, GradientNoise, Lars, LayerRate, Normalise, Sgd, SgdSettings};

use crate::planted::parameters;

fn plain() -> SgdSettings {
    SgdSettings::default()
}

fn rate(paths: &str, lr: f32) -> LayerRate {
    LayerRate::new(paths, lr)
}

#[test]
fn settings_out_of_range_name_their_key() {
    let clip = |limit, epsilon| {
        Some(AdaptiveClip::default().with_limit(limit).with_epsilon(epsilon).with_last_linear(false))
    };
    let noise = |eta, gamma| Some(GradientNoise::default().with_eta(eta).with_gamma(gamma));
    let lars = |trust, epsilon| Some(Lars::default().with_trust(trust).with_epsilon(epsilon));
    let cases = [
        ("adaptive_clip.limit", plain().with_adaptive_clip(clip(0.0, 1e-3))),
        ("adaptive_clip.epsilon", plain().with_adaptive_clip(clip(0.1, f32::NAN))),
        ("noise.eta", plain().with_noise(noise(f32::INFINITY, 0.55))),
        ("noise.gamma", plain().with_noise(noise(0.1, -0.1))),
        ("lars.trust", plain().with_lars(lars(-1.0, 0.0))),
        ("lars.epsilon", plain().with_lars(lars(0.1, -1e-9))),
        ("lars", plain().with_lars(lars(0.1, 0.0)).with_clip_value(Some(1.0))),
        ("lars", plain().with_lars(lars(0.1, 0.0)).with_normalise(Some(Normalise::ZScore))),
        ("layer_rates[1].lr", plain().with_layer_rates(vec![rate("a", 1.0), rate("b", -1.0)])),
        ("layer_rates[0].paths", plain().with_layer_rates(vec![rate("a[", 1.0)])),
    ];
    for (key, settings) in cases {
        let error = settings.check().unwrap_err().to_string();
        assert!(error.starts_with(&format!("{key}: ")), "{error}");
    }
    let fine = plain().with_adaptive_clip(clip(0.1, 1e-3)).with_noise(noise(0.1, 0.0));
    fine.with_lars(lars(0.1, 0.0)).with_layer_rates(vec![rate("**", 0.0)]).check().unwrap();
}

#[test]
fn the_last_entry_that_matches_a_parameter_counts() {
    let parameters = parameters(&Reference);
    let rates = [rate("**.weight", 2.0), rate("block.**", 3.0), rate("bn.weight", 0.5), rate("*.bias", 0.0)];
    let resolved = LayerRate::resolve(&rates, &parameters).unwrap();
    let named: Vec<(&str, f32)> = parameters.iter().map(|(_, p)| &*p.path).zip(resolved).collect();
    let expected = [
        ("conv.weight", 2.0),
        ("conv.bias", 0.0),
        ("bn.weight", 0.5),
        ("bn.bias", 0.0),
        ("bn.running_mean", 1.0),
        ("block.0.conv.weight", 3.0),
        ("hidden.weight", 2.0),
        ("hidden.bias", 0.0),
        ("fc.weight", 2.0),
        ("fc.bias", 0.0),
    ];
    assert_eq!(named, expected);
}

#[test]
fn a_glob_that_matches_no_trained_parameter_is_an_error() {
    for (paths, message) in [
        ("hiden.weight", "\"hiden.weight\" matches no parameter; the nearest is \"hidden.weight\""),
        ("block", "\"block\" matches no parameter; the nearest is \"block.0.conv.weight\""),
        ("bn.running_*", "\"bn.running_*\" matches no parameter"),
    ] {
        let settings = plain().with_layer_rates(vec![rate("fc.*", 2.0), rate(paths, 2.0)]);
        let error = Sgd::new(settings, &parameters(&Reference)).unwrap_err().to_string();
        assert_eq!(error, format!("layer_rates[1].paths: {message}"));
    }
}

//! Errors for settings that are out of range, and globs on the paths of parameters.

use gradamp_core::Reference;
use gradamp_core::optim::{AdaptiveClip, GradientNoise, Lars, LayerRate, Normalise, Sgd, SgdSettings};

use crate::planted::parameters;

fn plain() -> SgdSettings {
    SgdSettings::default()
}

fn rate(paths: &str, lr: f32) -> LayerRate {
    LayerRate { paths: paths.into(), lr }
}

#[test]
fn settings_out_of_range_name_their_key() {
    let clip = |limit, epsilon| Some(AdaptiveClip { limit, epsilon, last_linear: false });
    let noise = |eta, gamma| Some(GradientNoise { eta, gamma });
    let lars = |trust, epsilon| Some(Lars { trust, epsilon, ..Lars::default() });
    let cases = [
        ("adaptive_clip.limit", SgdSettings { adaptive_clip: clip(0.0, 1e-3), ..plain() }),
        ("adaptive_clip.epsilon", SgdSettings { adaptive_clip: clip(0.1, f32::NAN), ..plain() }),
        ("noise.eta", SgdSettings { noise: noise(f32::INFINITY, 0.55), ..plain() }),
        ("noise.gamma", SgdSettings { noise: noise(0.1, -0.1), ..plain() }),
        ("lars.trust", SgdSettings { lars: lars(-1.0, 0.0), ..plain() }),
        ("lars.epsilon", SgdSettings { lars: lars(0.1, -1e-9), ..plain() }),
        ("lars", SgdSettings { lars: lars(0.1, 0.0), clip_value: Some(1.0), ..plain() }),
        ("lars", SgdSettings { lars: lars(0.1, 0.0), normalise: Some(Normalise::ZScore), ..plain() }),
        ("layer_rates[1].lr", SgdSettings { layer_rates: vec![rate("a", 1.0), rate("b", -1.0)], ..plain() }),
        ("layer_rates[0].paths", SgdSettings { layer_rates: vec![rate("a[", 1.0)], ..plain() }),
    ];
    for (key, settings) in cases {
        let error = settings.check().unwrap_err().to_string();
        assert!(error.starts_with(&format!("{key}: ")), "{error}");
    }
    let fine = SgdSettings { adaptive_clip: clip(0.1, 1e-3), noise: noise(0.1, 0.0), ..plain() };
    SgdSettings { lars: lars(0.1, 0.0), layer_rates: vec![rate("**", 0.0)], ..fine }.check().unwrap();
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
        let settings = SgdSettings { layer_rates: vec![rate("fc.*", 2.0), rate(paths, 2.0)], ..plain() };
        let error = Sgd::new(settings, &parameters(&Reference)).unwrap_err().to_string();
        assert_eq!(error, format!("layer_rates[1].paths: {message}"));
    }
}

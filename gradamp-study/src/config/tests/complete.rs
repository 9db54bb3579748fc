//! Settings of the other crates can get a field without an error of the compiler here. These tests fail until the
//! configuration sets that field.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use gradamp_core::Initialisation;
use gradamp_core::optim::{AdamWSettings, OptimizerSettings, SgdSettings};
use gradamp_models::ModelSettings;

use super::*;

/// Every key that becomes a field of [`TrainSettings`] or of the optimisers' settings, with a value that is not the default.
const OTHER_VALUES: &str = r#"
    [train]
    seed = 1
    accumulate = 2
    mixup = 0.5
    cutmix = 0.5
    ema = 0.5
    patience = 2
    evaluate_every = 2
    gradients_every = 2
    signals = true
    max_steps = 2
    on_divergence = "continue"
    loss_scaling = {}
    [optimizer]
    momentum = 0.5
    weight_decay = 0.5
    nesterov = true
    betas = [0.5, 0.5]
    epsilon = 0.5
    no_decay = ["bias"]
    centralise = true
    normalise = "block"
    clip_norm = 0.5
    clip_value = 0.5
    label_smoothing = 0.5
    adaptive_clip = {}
    noise = {}
    lars = {}
    layer_rates = [{ paths = "**", lr = 0.5 }]
    [amplification]
    factor = 3.0
    [[strategy.phase]]
    epochs = 1
"#;

/// Networks that, together, have another value than their architecture's standard for every key.
const OTHER_MODELS: [&str; 4] = [
    "name = \"mlp\"\nwidth = 3\nnorm = \"batch\"\nactivation = \"tanh\"\ndepth = 2\ndropout = 0.5",
    "name = \"resnet18\"\nstochastic_depth = 0.5",
    "name = \"resnet34\"\nskip = false",
    "name = \"vgg11\"\nrepeat = 2",
];

/// The text of each field, by its name, as `Debug` prints it.
fn fields(settings: &impl Debug) -> BTreeMap<String, String> {
    let text = format!("{settings:#?}");
    let mut found: Vec<(String, String)> = Vec::new();
    for line in text.lines() {
        match line.strip_prefix("    ").and_then(|line| line.split_once(": ")) {
            Some((name, value)) if !name.starts_with(' ') => found.push((name.into(), value.into())),
            _ => found.iter_mut().last().into_iter().for_each(|(_, value)| value.push_str(line)),
        }
    }
    found.into_iter().collect()
}

/// The names of the fields that are equal in both.
fn equal<T: Debug>(settings: &T, default: &T) -> BTreeSet<String> {
    let (settings, default) = (fields(settings), fields(default));
    assert!(settings.len() > 1 && settings.keys().eq(default.keys()), "{settings:?}");
    settings.into_iter().filter(|(name, value)| default[name] == *value).map(|(name, _)| name).collect()
}

#[test]
fn the_configuration_sets_all_fields_of_the_trainers_settings() {
    let config: Config = toml::from_str(OTHER_VALUES).unwrap();
    let (settings, default) = (config.train_settings(), TrainSettings::default());
    assert_eq!(equal(&settings, &default), BTreeSet::new());
    assert_eq!(equal(&settings.objective, &default.objective), BTreeSet::new());
    assert_eq!(equal(&settings.objective.mixing, &default.objective.mixing), BTreeSet::new());
}

#[test]
fn the_configuration_sets_all_fields_of_the_optimisers_settings() {
    let mut config: Config = toml::from_str(OTHER_VALUES).unwrap();
    let OptimizerSettings::Sgd(sgd) = config.optimizer.settings() else { panic!("not SGD") };
    assert_eq!(equal(&sgd, &SgdSettings::default()), BTreeSet::new());
    config.optimizer.name = OptimizerName::AdamW;
    let OptimizerSettings::AdamW(adamw) = config.optimizer.settings() else { panic!("not AdamW") };
    assert_eq!(equal(&adamw, &AdamWSettings::default()), BTreeSet::new());
}

#[test]
fn the_configuration_sets_all_fields_of_a_models_settings() {
    let never_set = OTHER_MODELS.map(|text| {
        let options: ModelOptions = toml::from_str(text).unwrap();
        let settings = options.settings([64, 64, 1], 3).unwrap();
        equal(&settings, &ModelSettings::new(settings.architecture))
    });
    let never_set = never_set.into_iter().reduce(|a, b| &a & &b).unwrap();
    // The standard settings are those of the architecture.
    assert_eq!(never_set, BTreeSet::from(["architecture".into()]));

    let options: ModelOptions = toml::from_str("initial = \"he\"\ngain = 2.0").unwrap();
    assert_eq!(equal(&options.initialisation(), &Initialisation::default()), BTreeSet::new());
}

//! Optimisers, and options that change gradients before the step, as users set them.

use std::fs;

use crate::{SMALL, Workplace};

const NOISE: &str = "--set optimizer.noise.eta=0.001";
const NORMALISED: &str = "--set optimizer.normalise=block --set optimizer.clip_norm=2 --set strategy.lr=0.01";
const ALL: &str = "--set optimizer.centralise=true --set optimizer.adaptive_clip.limit=0.5 \
     --set optimizer.noise.eta=0.001 --set optimizer.lars.trust=0.05 --set optimizer.clip_norm=5 \
     --set optimizer.layer_rates=[{paths=\"layer1.**\",lr=0.5}]";

#[test]
fn a_resumed_run_with_noise_ends_in_the_same_bits() {
    let place = Workplace::new();
    for (options, name) in [(NOISE, "noise"), (ALL, "all"), (NORMALISED, "normalised")] {
        place.run(&format!("{SMALL} {options} --out {name}")).succeeds();
        place.run(&format!("{SMALL} {options} --out {name}-again --set train.max_steps=8")).succeeds();
        place.run(&format!("train --threads 1 --resume {name}-again")).succeeds();
        let last =
            |run: &str, file: &str| fs::read(place.path(run).join("checkpoints/last").join(file)).unwrap();
        for file in ["model.safetensors", "momentum.safetensors"] {
            assert!(last(name, file) == last(&format!("{name}-again"), file), "{name}: {file} differs");
        }
    }
}

#[test]
fn a_run_with_dropout_and_stochastic_depth_resumes_to_the_same_bits() {
    let place = Workplace::new();
    let options = "--set model.dropout=0.3 --set model.stochastic_depth=0.5";
    place.run(&format!("{SMALL} {options} --out whole")).succeeds();
    place.run(&format!("{SMALL} {options} --out parts --set train.max_steps=8")).succeeds();
    place.run("train --threads 1 --resume parts").succeeds();
    place.run(&format!("{SMALL} --out plain")).succeeds();
    let last = |run: &str| fs::read(place.path(run).join("checkpoints/last/model.safetensors")).unwrap();
    assert!(last("whole") == last("parts"), "the parameters differ");
    assert!(last("whole") != last("plain"), "nothing is dropped");
    place.run(&format!("{SMALL} --set model.name=vgg11 --set model.stochastic_depth=0.5")).fails(
        2,
        &["model.stochastic_depth", "the model vgg11 has no residual blocks to skip; a ResNet has"],
    );
}

#[test]
fn a_run_with_adamw_saves_its_averages_and_resumes_to_the_same_bits() {
    let place = Workplace::new();
    let options = "--set optimizer.name=adamw --set optimizer.clip_norm=2 --set strategy.lr=0.001";
    let whole = place.run(&format!("{SMALL} {options} --out whole")).succeeds();
    assert!(whole.err.contains("AdamW divides each gradient by its own size"), "{}", whole.err);
    place.run(&format!("{SMALL} {options} --out parts --set train.max_steps=8")).succeeds();
    place.run("train --threads 1 --resume parts").succeeds();
    let last = |run: &str, file: &str| {
        let path = place.path(run).join("checkpoints/last").join(file);
        fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    for name in ["model", "exp_avg", "exp_avg_sq", "optimizer"] {
        let file = format!("{name}.safetensors");
        assert!(last("whole", &file) == last("parts", &file), "{file} differs");
    }
    assert!(!place.path("whole").join("checkpoints/last/momentum.safetensors").exists());
    place.run("verify whole").succeeds();
    place.run("train --threads 1 --resume parts --set optimizer.name=sgd").fails(2, &["optimizer"]);
}

#[test]
fn a_learning_rate_that_matches_no_parameter_is_refused_with_its_line() {
    let place = Workplace::new();
    let text = "[optimizer]\nlayer_rates = [\n  { paths = \"layer1.**\", lr = 2 },\n  { paths = \"linear.wieght\", lr = 2 },\n]\n\
                [data]\nsource = \"shapes\"\nshapes = { train = 300, test = 10 }\n[strategy]\nlr = 0.1\n\
                [[strategy.phase]]\nepochs = 1\n";
    place.write("my.toml", text);
    place.run("train --config my.toml --width 2 --out run").fails(
        2,
        &[
            "my.toml:4",
            "optimizer.layer_rates.1.paths",
            "\"linear.wieght\" matches no parameter; the nearest is \"linear.weight\"",
        ],
    );
    assert!(!place.path("run").exists(), "a refused command creates no folder");
}

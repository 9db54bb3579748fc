//! A configuration file to start from: a network, a data set, and every other setting with its default in a comment.

use std::fmt::Write;

use gradamp_data::Choice;
use gradamp_models::{Architecture, ModelSettings, Norm};

use super::show::inline;
use super::tree::{Node, Origin, Value};
use super::{KeyError, Resolved, keys};

/// What each setting is. A setting with settings of its own has a line for each of them.
const MEANINGS: [(&str, &str); 88] = [
    ("model.name", "the network: vgg11, vgg13, vgg16, vgg19, resnet18, resnet34 or mlp"),
    ("model.width", "channels of the first stage (64 is the full size), or units of each layer of an mlp"),
    ("model.norm", "the normalisation after each layer: batch or none; by default the network's own"),
    ("model.activation", "relu, tanh or sigmoid; by default the network's own"),
    ("model.skip", "whether a ResNet's blocks add their input to their output; by default true"),
    ("model.depth", "the hidden layers of an mlp; by default 6"),
    ("model.repeat", "how many times a VGG has each convolution; by default 1"),
    (
        "model.dropout",
        "the probability that a feature of the classifier is dropped in training; by default 0",
    ),
    (
        "model.stochastic_depth",
        "the probability that a ResNet's last block is skipped in training; by default 0",
    ),
    ("model.initial", "how initial weights are drawn: pytorch, he or xavier"),
    ("model.gain", "a factor for all initial weights"),
    ("model.init", "a safetensors file to begin with, in place of random weights"),
    ("model.init_names", "whose names that file has: gradamp, timm or torchvision"),
    ("model.init_skip", "parameters that are not read from that file, such as [\"linear.*\"]"),
    ("data.source", "auto, cifar10, cifar100, mnist, fashion-mnist or shapes"),
    (
        "data.path",
        "the folder or archive with the data; by default it is looked for in data/ and $GRADAMP_DATA",
    ),
    ("data.train_limit", "the most training images; 0 for all"),
    ("data.test_limit", "the most test images; 0 for all"),
    ("data.validation", "training images that are split off to choose the best epoch; 0 for none"),
    ("data.crop_padding", "the border for random crops, in pixels; 0 for no crops"),
    ("data.flip", "whether images are mirrored at random"),
    ("data.cutout", "the side of the square that is cut out of each image, in pixels; 0 for none"),
    ("data.resident", "whether the device keeps the images if it can"),
    ("data.workers", "threads that prepare batches"),
    ("data.shapes.train", "generated training images"),
    ("data.shapes.test", "generated test images"),
    ("data.shapes.seed", "the seed of the generated images"),
    ("train.batch_size", "images per batch"),
    ("train.accumulate", "batches whose gradients make one step"),
    ("train.mixup", "the alpha of mixup; 0 for none"),
    ("train.cutmix", "the alpha of CutMix; 0 for none"),
    ("train.ema", "the decay of an average of the weights that is evaluated beside them; by default none"),
    ("train.patience", "epochs without a better evaluation after which the run ends; by default none"),
    ("train.seed", "the seed of all random numbers"),
    ("train.device", "auto, cpu, gpu, gpu:NUMBER or gpu:NAME"),
    ("train.threads", "threads of the CPU; 0 for all cores"),
    ("train.gpu_memory", "the most memory of tensors on a GPU, such as \"4GiB\"; by default all of it"),
    ("train.precision", "f32, or mixed: factors in f16 on a GPU or in bf16 on a CPU, sums in f32"),
    ("train.tuned", "whether a GPU uses the kernels that `gradamp tune` found"),
    ("train.evaluate_every", "epochs between evaluations"),
    ("train.log_interval", "steps between lines of metrics.jsonl; 0 for none"),
    ("train.gradients_every", "steps between measurements of all gradients; 0 for none"),
    ("train.signals", "whether those measurements include forward signals and gradient noise"),
    ("train.checkpoint_seconds", "seconds between checkpoints within an epoch"),
    ("train.tensorboard", "whether event files for TensorBoard are written"),
    ("train.max_steps", "the step at which the run stops; by default none"),
    ("train.baseline", "whether the same run without amplification follows"),
    ("train.on_divergence", "what to do when the loss is not finite: stop or continue"),
    (
        "train.loss_scaling",
        "the factor of the loss in half precision, such as { initial = 65536.0 }; by default off in f32",
    ),
    ("optimizer.name", "sgd or adamw"),
    ("optimizer.momentum", "SGD: the share of the velocity that is kept"),
    ("optimizer.weight_decay", "an L2 penalty with SGD, a share of the parameter with AdamW"),
    ("optimizer.nesterov", "SGD: whether to use Nesterov's momentum"),
    ("optimizer.betas", "AdamW: the shares of its averages that are kept; by default [0.9, 0.999]"),
    ("optimizer.epsilon", "AdamW: added to the root of the average square; by default 1e-8"),
    ("optimizer.no_decay", "parameters without weight decay: bias, norm"),
    ("optimizer.centralise", "whether gradients of weights are centralised"),
    (
        "optimizer.normalise",
        "brings gradients to a common size: block, z_score or autoscale; by default none",
    ),
    ("optimizer.clip_norm", "the largest norm of all gradients together; by default no bound"),
    ("optimizer.clip_value", "the largest magnitude of an element of a gradient; by default no bound"),
    ("optimizer.label_smoothing", "the share of each label that is spread over all classes"),
    (
        "optimizer.adaptive_clip",
        "clips gradients by the norm of their weights, such as { factor = 0.01 }; by default off",
    ),
    ("optimizer.noise", "adds noise to gradients; by default off"),
    ("optimizer.lars", "SGD: rates of layers by the norms of weights and gradients; by default off"),
    ("optimizer.layer_rates", "multipliers of the learning rate for some layers"),
    ("amplification.policy", "what decides: random, list, all, fluctuation, equalise or depth"),
    ("amplification.kinds", "eligible layers by kind: conv, linear, batch_norm, activation, pool or block"),
    ("amplification.paths", "eligible layers by globs on their paths, such as [\"layer2.**\"]"),
    ("amplification.sites", "eligible layers by their exact paths"),
    ("amplification.factors", "policy list: a factor for each of the sites"),
    ("amplification.ratio", "policy random: the share of the eligible layers that is drawn"),
    ("amplification.count", "policy random: the number of layers that are drawn, in place of ratio"),
    ("amplification.redraw", "policy random: how often layers are drawn: once, epoch or step"),
    ("amplification.draws", "what draws depend on: layers or positions"),
    ("amplification.factor", "what gradients are multiplied by"),
    ("amplification.placement", "where the factor acts: output, input or params"),
    (
        "amplification.through",
        "on what the factor acts: gradient, or step_length and step_length_per_layer (controls)",
    ),
    ("amplification.max_gain", "the largest gain along any path; by default no bound"),
    ("amplification.seed", "the seed of the draws; by default the run's"),
    ("amplification.fluctuation", "settings of the policy fluctuation"),
    ("amplification.equalise", "settings of the policy equalise"),
    ("amplification.depth", "settings of the policy depth"),
    ("amplification.options", "settings of a policy of another crate"),
    (
        "strategy.lr",
        "the rate of phases without one: a number, or { schedule = \"cosine\", from = 0.1, to = 0.0 }",
    ),
    ("strategy.phase", "the phases, one after the other"),
    ("strategy.phase.epochs", "the length of the phase"),
    ("strategy.phase.lr", "its learning rate"),
    ("strategy.phase.amplify", "false, true, or settings of its own such as { factor = 3.0 }"),
];

/// The column of the comments, unless the line is longer.
const COMMENT_COLUMN: usize = 34;

/// A commented configuration for `model` and `data`. Settings that are not in effect are comments that begin with `# key = `.
///
/// **Errors:** a data set or path that a configuration cannot hold.
pub fn template(model: Architecture, data: &Choice) -> Result<String, KeyError> {
    let (source, path) = data.clone().over(gradamp_data::Source::Auto);
    let has_norm = ModelSettings::new(model).norm == Norm::Batch;
    let kind = if has_norm { "batch_norm" } else { "activation" };
    let mut active: Vec<(&str, String)> = vec![
        ("model.name", quoted(model.name())),
        ("data.source", quoted(source.name())),
        ("amplification.kinds", format!("[{}]", quoted(kind))),
        ("amplification.ratio", "0.5".into()),
    ];
    if let Some(path) = path {
        let node = Node { origin: Origin::Default, value: Value::path(&path, &Origin::Default) };
        active.push(("data.path", inline(&node)));
    }
    let defaults = defaults(model)?;
    let mut text = format!(
        "# {} on {}, amplified in the second of three phases.\n\
         # A setting behind a # has its default; remove the # to change it. `gradamp config check FILE` checks the file,\n\
         # `gradamp train --config FILE --dry-run` shows the plan, and `gradamp train --config FILE` trains.\n",
        model.name(),
        source.name()
    );
    for (table, keys) in keys::tables().into_iter().filter(|(table, _)| *table != "strategy") {
        let _ = writeln!(text, "\n[{table}]"); // writing to a String cannot fail, here and below
        for key in keys {
            let path = format!("{table}.{key}");
            let below = MEANINGS
                .iter()
                .filter(|(name, _)| name.strip_prefix(&path).is_some_and(|rest| rest.starts_with('.')));
            let names: Vec<&str> = below.map(|(name, _)| *name).collect();
            let names = if names.is_empty() { vec![path.as_str()] } else { names };
            for name in names {
                let own = name.strip_prefix(table).unwrap_or(name).trim_start_matches('.');
                let meaning = meaning(name);
                let value = active.iter().find(|(key, _)| *key == name).map(|(_, value)| value.clone());
                let line = match (value, defaults.get(name)) {
                    (Some(value), _) => format!("{own} = {value}"),
                    (None, Some(Node { value: Value::Table(entries), .. })) => {
                        for (key, node) in entries {
                            let _ = writeln!(text, "# {own}.{key} = {}", inline(node));
                        }
                        format!("# {own}:")
                    }
                    (None, Some(node)) => format!("# {own} = {}", inline(node)),
                    (None, None) => format!("# {own}:"),
                };
                let _ = writeln!(text, "{line:COMMENT_COLUMN$} # {meaning}");
            }
        }
    }
    let _ = writeln!(text, "\n[strategy]");
    for (line, name) in [("# lr:", "strategy.lr"), ("", "strategy.phase")] {
        let _ = writeln!(text, "{line:COMMENT_COLUMN$} # {}", meaning(name));
    }
    for (epochs, lr, amplify) in [(10, "0.1", false), (10, "0.1", true), (10, "0.01", false)] {
        let _ = writeln!(text, "\n[[strategy.phase]]");
        for (line, name) in [
            (format!("epochs = {epochs}"), "strategy.phase.epochs"),
            (format!("lr = {lr}"), "strategy.phase.lr"),
            (format!("amplify = {amplify}"), "strategy.phase.amplify"),
        ] {
            let _ = writeln!(text, "{line:COMMENT_COLUMN$} # {}", meaning(name));
        }
    }
    Ok(text)
}

/// The defaults of all settings for the network `model`.
fn defaults(model: Architecture) -> Result<Node, KeyError> {
    let text =
        format!("model.name = {}\nstrategy.phase = [{{ epochs = 1, lr = 0.1 }}]\n", quoted(model.name()));
    Resolved::from_tree(Node::parse(&text, &|_| Origin::Default)?)?.written()
}

fn meaning(name: &str) -> &'static str {
    MEANINGS.iter().find(|(known, _)| *known == name).map_or("", |(_, meaning)| meaning)
}

fn quoted(text: &str) -> String {
    format!("\"{text}\"")
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::*;

    fn read(text: &str) -> Config {
        Resolved::from_tree(Node::parse(text, &|_| Origin::Default).unwrap()).unwrap().config
    }

    /// The text with every commented setting in effect.
    fn uncommented(text: &str) -> String {
        let is_key = |line: &str| {
            let key = line.strip_prefix("# ").and_then(|rest| rest.split_once(" = ")).map(|(key, _)| key);
            key.is_some_and(|key| key.chars().all(|c| c.is_ascii_lowercase() || c == '_' || c == '.'))
        };
        let line = |line: &str| if is_key(line) { line[2..].to_owned() } else { line.to_owned() };
        text.lines().map(line).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn every_template_is_read_back_as_exactly_the_defaults() {
        for model in Architecture::ALL {
            for data in ["cifar10", "shapes", "auto", "./a \"b\""] {
                let text = template(model, &data.into()).unwrap();
                let found = read(&text);
                assert_eq!(found, read(&uncommented(&text)), "{model}: a comment is not the default");
                let mut config = found.clone();
                assert!(config.amplification.kinds.len() == 1 && config.amplification.ratio == Some(0.5));
                (config.amplification.kinds, config.amplification.ratio) = (Vec::new(), None);
                assert_eq!(
                    config.strategy.phases.iter().map(|phase| phase.epochs).collect::<Vec<_>>(),
                    [10, 10, 10]
                );
                config.strategy = read("strategy.phase = [{ epochs = 1, lr = 0.1 }]").strategy;
                let mut expected = read("strategy.phase = [{ epochs = 1, lr = 0.1 }]");
                expected.model.name = model;
                expected.data.choose(data.into());
                assert_eq!(config, expected, "{model} {data}");
            }
        }
    }

    #[test]
    fn every_setting_has_its_meaning() {
        for (table, keys) in keys::tables() {
            for key in keys {
                let path = format!("{table}.{key}");
                let is_known = |(name, meaning): &(&str, &str)| {
                    name.strip_prefix(&path).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
                        && !meaning.is_empty()
                };
                assert!(MEANINGS.iter().any(is_known), "{path}");
            }
        }
        let text = template(Architecture::ResNet18, &"cifar10".into()).unwrap();
        for (name, meaning) in MEANINGS {
            assert!(text.contains(meaning), "{name}");
        }
        assert!(text.lines().all(|line| line.chars().count() <= 140), "{text}");
    }
}

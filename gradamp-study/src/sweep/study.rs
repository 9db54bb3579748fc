//! The study file: a base configuration, axes, seeds.
//!
//! ```toml
//! preset = "tour"                      # and/or config = "run.toml", from the study's folder, and/or [base]
//! seeds = 5                            # 1 to 5, or a list
//!
//! [base]
//! model.width = 8
//!
//! [axes]
//! "amplification.factor" = [1.5, 2.0]  # every combination of the axes is a cell
//!
//! [[axis]]                             # settings that change together, under names
//! name = "strategy"
//! [[axis.value]]
//! name = "first"
//! set = { "strategy.phase.0.amplify" = true, "strategy.phase.1.amplify" = false }
//!
//! [[contrast]]                         # a question, declared before the first run
//! name = "amplified against its control"
//! against = "control"
//! smallest_difference = 1.0
//! ```

use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;
use toml::de::DeTable;

use super::axis::{Axis, Values, settings};
use super::contrast::DeclaredContrast;
use super::names;
use super::plan::Halving;
use crate::config::tree::{Node, Origin, Value};
use crate::config::{KeyError, file_tree, preset_tree, read, read_file};

/// A study as it was written.
#[derive(Clone, Debug)]
pub struct Study {
    /// The path of the file.
    pub path: PathBuf,
    /// The text of the file.
    pub text: String,
    /// The name: the value of the key `name`, or the name of the file.
    pub name: String,
    /// The file of settings that the study names.
    pub config: Option<PathBuf>,
    /// The settings that all cells share.
    pub base: Node,
    /// The axes: the settings that differ between cells.
    pub axes: Vec<Axis>,
    /// The seeds of each cell, and where they were written.
    pub seeds: Vec<(u64, Origin)>,
    /// The number of combinations that are drawn at random; by default all combinations become cells.
    pub sample: Option<(Sample, Origin)>,
    /// What cells are compared with.
    pub baseline: Baseline,
    /// Successive halving, and where this setting was written.
    pub halving: Option<(Halving, Origin)>,
    /// Whether amplified cells get controls.
    pub controls: bool,
    /// The questions that the study asks.
    pub contrasts: Vec<DeclaredContrast>,
}

/// `sample = { runs = 20, seed = 1 }`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sample {
    /// How many combinations; each is run with every seed.
    pub runs: usize,
    /// The seed of the draw.
    #[serde(default)]
    pub seed: u64,
}

/// What cells are compared with.
#[derive(Clone, Debug, PartialEq)]
pub enum Baseline {
    /// Nothing.
    Off,
    /// The same run with amplification off in all phases.
    Unamplified,
    /// The same run with these settings.
    Settings(Vec<(String, Node)>),
}

const KEYS: [&str; 12] = [
    "name", "preset", "config", "base", "axes", "axis", "seeds", "sample", "baseline", "halving", "controls",
    "contrast",
];
/// Settings that a study must not contain, and what to use instead.
const TAKEN: [(&str, &str); 2] = [
    ("train.seed", "give the study's `seeds` instead"),
    ("train.max_steps", "a sweep's runs go to the end of their strategy"),
];

/// The copy of the file of settings in a sweep's folder.
pub(super) const BASE: &str = "base.toml";

impl Study {
    /// Reads the study at `path`.
    ///
    /// **Errors:** a file that cannot be read or is not TOML; an unknown key; a value of the wrong type. The settings
    /// of the runs are checked when the study is expanded.
    pub fn read(path: &Path) -> Result<Self, KeyError> {
        Self::parse(path, read_file(path)?)
    }

    /// Reads the text of the study at `path`.
    pub fn parse(path: &Path, text: String) -> Result<Self, KeyError> {
        let tree = Node::parse(&text, &|line| Origin::File(path.to_owned(), line))?;
        let Value::Table(entries) = &tree.value else {
            return Err(KeyError::new("expected a table".into()).at("", &tree.origin));
        };
        let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
        let mut study = Self {
            path: path.to_owned(),
            name: names::safe(&stem.unwrap_or_default()),
            config: None,
            base: Node { origin: tree.origin.clone(), ..Node::empty() },
            axes: Vec::new(),
            seeds: Vec::new(),
            sample: None,
            baseline: Baseline::Unamplified,
            halving: None,
            controls: false,
            contrasts: Vec::new(),
            text,
        };
        // The lower layers of settings are read first, whatever their order in the file.
        for layer in ["preset", "config", "base"] {
            if let Some(node) = tree.get(layer) {
                study.lay(layer, node).map_err(|error| error.below(layer).at(layer, &node.origin))?;
            }
        }
        for (key, node) in entries {
            study.read_entry(key, node).map_err(|error| error.below(key))?;
        }
        if study.seeds.is_empty() {
            let seed = study.base.get("train.seed").map(read::<u64>).transpose()?;
            study.seeds.push((seed.unwrap_or(0), Origin::Default));
        }
        study.base.remove("train.seed");
        study.check_axes()?;
        Ok(study)
    }

    /// The text of the study in a sweep's folder, where a copy of the file of settings is beside the study.
    pub fn written(&self) -> String {
        if self.config.is_some() { self.text_with(BASE) } else { self.text.clone() }
    }

    /// The text of the study, in which the file of settings is replaced by `config`.
    fn text_with(&self, config: &str) -> String {
        let table = DeTable::parse(&self.text).map(Spanned::into_inner).unwrap_or_default();
        match table.iter().find(|(key, _)| key.get_ref() == "config").map(|(_, value)| value.span()) {
            Some(place) => format!("{}'{config}'{}", &self.text[..place.start], &self.text[place.end..]),
            None => self.text.clone(),
        }
    }

    /// Puts a layer of settings over the base so far.
    fn lay(&mut self, layer: &str, node: &Node) -> Result<(), KeyError> {
        match layer {
            "preset" => self.base.overlay(preset_tree(&read::<String>(node)?)?),
            "config" => {
                let folder = self.path.parent().unwrap_or(Path::new(""));
                let path = folder.join(read::<PathBuf>(node)?);
                self.base.overlay(file_tree(&path)?);
                self.config = Some(path);
            }
            _ => {
                for (path, value) in settings(node)? {
                    self.base.set(&path, value)?;
                }
            }
        }
        Ok(())
    }

    /// Reads one of the study's own keys.
    fn read_entry(&mut self, key: &str, node: &Node) -> Result<(), KeyError> {
        match key {
            "preset" | "config" | "base" => {}
            "name" => self.name = names::safe(&read::<String>(node)?),
            "axes" => self.axes.extend(Axis::from_table(node)?),
            "axis" => {
                let Value::Array(items) = &node.value else {
                    let message = format!("found {}, expected tables [[axis]]", node.value.describe());
                    return Err(KeyError::new(message).at("", &node.origin));
                };
                for (i, item) in items.iter().enumerate() {
                    self.axes.push(Axis::from_entry(item).map_err(|error| error.below(&i.to_string()))?);
                }
            }
            "seeds" => self.seeds = seeds(node)?,
            "sample" => {
                let sample: Sample = read(node)?;
                if sample.runs == 0 {
                    return Err(KeyError::new("is 0, expected at least 1".into()).at("runs", &node.origin));
                }
                self.sample = Some((sample, node.origin.clone()));
            }
            "baseline" => {
                self.baseline = match &node.value {
                    Value::Boolean(false) => Baseline::Off,
                    Value::Boolean(true) => Baseline::Unamplified,
                    Value::Table(_) => Baseline::Settings(settings(node)?),
                    other => {
                        let found = other.describe();
                        let message = format!("found {found}, expected true, false or a table of settings");
                        return Err(KeyError::new(message).at("", &node.origin));
                    }
                }
            }
            "halving" => self.halving = Some((halving(node)?, node.origin.clone())),
            "controls" => self.controls = read(node)?,
            "contrast" => self.contrasts = DeclaredContrast::read_all(node)?,
            unknown => return Err(KeyError::unknown_key(&KEYS).naming(unknown).at("", &node.origin)),
        }
        Ok(())
    }

    /// **Errors:** a setting that a study must not contain; two axes of one name, or of one key; a range without
    /// `sample`.
    fn check_axes(&mut self) -> Result<(), KeyError> {
        for (key, instead) in TAKEN {
            let in_axes = self.axes.iter().find(|axis| axis.keys().contains(&key)).map(|axis| &axis.origin);
            if let Some(origin) = in_axes.or(self.base.get(key).map(|node| &node.origin)) {
                return Err(KeyError::new(format!("cannot be set in a study: {instead}")).at(key, origin));
            }
        }
        for (i, axis) in self.axes.iter().enumerate() {
            for before in &self.axes[..i] {
                if before.name == axis.name {
                    let message = format!("two axes are called `{}`", axis.name);
                    return Err(KeyError::new(message).at("", &axis.origin));
                }
                // A later axis may set a key within a table that an earlier axis sets, but may not replace the table.
                let is_undone = |key: &&str| {
                    axis.keys().iter().any(|upper| {
                        key.strip_prefix(upper).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
                    })
                };
                if let Some(key) = before.keys().into_iter().find(is_undone) {
                    let message = format!(
                        "the axis `{}` sets {key}, which the axis `{}` sets too",
                        axis.name, before.name
                    );
                    return Err(KeyError::new(message).at("", &axis.origin));
                }
            }
            if let (Values::Range { .. }, None) = (&axis.values, &self.sample) {
                let message = "is a range: say how many values are drawn, by sample = { runs = 20 }";
                return Err(KeyError::new(message.into()).at(&axis.name, &axis.origin));
            }
        }
        // Axes whose labels would be equal have their full names as labels.
        let labels: Vec<String> = self.axes.iter().map(|axis| axis.label.clone()).collect();
        for axis in &mut self.axes {
            if labels.iter().filter(|label| **label == axis.label).count() > 1 {
                axis.label = names::safe(&axis.name);
            }
        }
        Ok(())
    }
}

/// `seeds = [1, 5, 7]`, or their number.
fn seeds(node: &Node) -> Result<Vec<(u64, Origin)>, KeyError> {
    let count = |n: i64| u64::try_from(n).ok().filter(|n| (1..=10_000).contains(n));
    match &node.value {
        Value::Integer(n) => match count(*n) {
            Some(n) => Ok((1..=n).map(|seed| (seed, node.origin.clone())).collect()),
            None => {
                let message = format!("found {n}, expected 1 to 10000 seeds, or a list of seeds");
                Err(KeyError::new(message).at("", &node.origin))
            }
        },
        Value::Array(items) if items.is_empty() => {
            Err(KeyError::new("is empty, expected at least one seed".into()).at("", &node.origin))
        }
        Value::Array(items) => {
            let seed = |(i, item): (usize, &Node)| {
                let seed = read::<u64>(item).map_err(|error| error.below(&i.to_string()))?;
                Ok((seed, item.origin.clone()))
            };
            items.iter().enumerate().map(seed).collect()
        }
        other => {
            let message = format!("found {}, expected a number or a list of seeds", other.describe());
            Err(KeyError::new(message).at("", &node.origin))
        }
    }
}

/// `[halving]`
fn halving(node: &Node) -> Result<Halving, KeyError> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Written {
        epochs: Vec<usize>,
        #[serde(default = "two")]
        eta: usize,
    }
    fn two() -> usize {
        2
    }
    let Written { epochs, eta } = read(node)?;
    let is_ascending = epochs.windows(2).all(|pair| pair[0] < pair[1]);
    if epochs.first().is_none_or(|first| *first == 0) || !is_ascending {
        let message = format!("found {epochs:?}, expected ascending numbers of epochs, such as [2, 4]");
        return Err(KeyError::new(message).at("epochs", &node.get("epochs").unwrap_or(node).origin));
    }
    if eta < 2 {
        let message = format!("found {eta}, expected 2 or more: one in so many cells continues");
        return Err(KeyError::new(message).at("eta", &node.get("eta").unwrap_or(node).origin));
    }
    Ok(Halving { epochs, eta })
}

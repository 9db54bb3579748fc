//! Layers of settings: defaults, then a preset, a file, `--set`, flags. A later layer overrides an earlier one.

use std::path::{Path, PathBuf};

use gradamp_data::Choice;

use gradamp_core::error::nearest;

use super::error::quoted;
use super::text::read_file;
use super::tree::{Node, Origin, Value};
use super::{Config, KeyError, optimizer, phases, presets, read};

/// What random draws depend on; the settings of earlier runs do not have this key.
pub(crate) const DRAWS: &str = "amplification.draws";

/// What fluctuation is measured of; earlier versions had the default "output".
const MEASURED: &str = "amplification.fluctuation.of";

/// The sources of settings, from the lowest layer to the highest.
#[derive(Clone, Debug, Default)]
pub struct Layers {
    /// A preset's name.
    pub preset: Option<String>,
    /// A configuration file.
    pub file: Option<PathBuf>,
    /// Whether the file holds the settings of a run as the run folder keeps them: all settings that the version of the run
    /// knew. A setting that came later then has the value that stands for the behaviour before it.
    pub is_stored: bool,
    /// `key.path=value`, as given to `--set`, in their order.
    pub sets: Vec<String>,
    /// Each flag with the key that it sets and the value; `None` resets the key to its default.
    pub flags: Vec<(&'static str, &'static str, Option<Value>)>,
    /// The data that `--data` chooses.
    pub data: Option<Choice>,
    /// The total number of epochs; each phase of the strategy keeps its share of them.
    pub epochs: Option<usize>,
    /// The highest learning rate of the first phase; all other rates are scaled in proportion.
    pub lr: Option<f64>,
}

/// Complete settings, each with its origin.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// The settings.
    pub config: Config,
    /// What was written, with its origins.
    pub tree: Node,
    /// Notes for the user about consequences of the settings that may be unexpected.
    pub notes: Vec<String>,
}

impl Layers {
    /// Joins the layers and checks the result.
    ///
    /// **Errors:** a file that cannot be read or is no TOML; an unknown preset or key; a value of the wrong type or
    /// out of its range. Each names its place and key.
    pub fn resolve(&self) -> Result<Resolved, KeyError> {
        let mut tree = Node::empty();
        let preset = match (&self.preset, &self.file) {
            (Some(name), _) => Some(name.as_str()),
            (None, None) => Some(presets::DEFAULT),
            (None, Some(_)) => None,
        };
        if let Some(name) = preset {
            let preset = preset_tree(name).map_err(|error| error.at("", &Origin::Flag("--preset")))?;
            tree.overlay(preset);
        }
        if let Some(path) = &self.file {
            tree.overlay(file_tree(path)?);
            tree.origin = Origin::File(path.clone(), 1);
            if self.is_stored && tree.get(DRAWS).is_none() {
                tree.set(DRAWS, Node::parse_value("positions", &tree.origin.clone()))?;
                // What was the default then is written in every file, and means something only where cancellation is measured.
                let holds = |key: &str, text: &str| {
                    tree.get(key).is_some_and(|node| node.value == Value::String(text.into()))
                };
                let measures_cancellation = holds("amplification.policy", "fluctuation")
                    && !holds("amplification.fluctuation.measure", "relative_change");
                if holds(MEASURED, "output") && !measures_cancellation {
                    tree.remove(MEASURED);
                }
            }
        }
        for set in &self.sets {
            apply_set(&mut tree, set)?;
        }
        for (flag, key, value) in &self.flags {
            match value {
                Some(value) => tree.set(key, Node { origin: Origin::Flag(flag), value: value.clone() })?,
                None => tree.remove(key),
            }
        }
        if let Some(choice) = &self.data {
            apply_choice(&mut tree, choice)?;
        }
        let mut resolved = Resolved::read(tree)?;
        if let Some(epochs) = self.epochs {
            resolved.scale_epochs(epochs)?;
        }
        if let Some(lr) = self.lr {
            resolved.change("--lr", "initial_lr", |config| {
                config.strategy = config.strategy.clone().with_initial_lr(lr)?;
                Ok(())
            })?;
        }
        resolved.config.check().map_err(|error| resolved.locate(error))?;
        resolved.notes.extend(resolved.config.note_on_adamw());
        Ok(resolved)
    }
}

impl Resolved {
    /// Reads a tree of settings and checks every value.
    ///
    /// **Errors:** as those of [`Layers::resolve`].
    pub fn from_tree(tree: Node) -> Result<Self, KeyError> {
        let resolved = Self::read(tree)?;
        resolved.config.check().map_err(|error| resolved.locate(error))?;
        Ok(resolved)
    }

    /// Reads a tree of settings; values are not yet checked against their ranges.
    fn read(mut tree: Node) -> Result<Self, KeyError> {
        optimizer::drop_keys_of_presets(&mut tree);
        let mut config: Config = read::read(&phases::with_whole_tables(&tree)?)
            .map_err(|error| phases::about_written(error, &tree))?;
        config.optimizer = config.optimizer.with_defaults();
        Ok(Self { config, tree, notes: Vec::new() })
    }

    /// Adds to an error the place where its key was written.
    pub fn locate(&self, error: KeyError) -> KeyError {
        if error.origin.is_some() {
            return error;
        }
        let error = phases::about_written(error, &self.tree);
        let path = error.path.clone();
        error.at(&path, &self.nearest_origin(&path))
    }

    /// Where the value at `path` was written, or the closest table or list around it, or the file.
    fn nearest_origin(&self, path: &str) -> Origin {
        let parents = path.match_indices('.').map(|(dot, _)| &path[..dot]).collect::<Vec<_>>();
        let mut places = std::iter::once(path).chain(parents.into_iter().rev());
        let node = places.find_map(|place| self.tree.get(place)).unwrap_or(&self.tree);
        node.origin.clone()
    }

    /// Where the value at `path` was written; `Default` if it was not set.
    pub fn origin(&self, path: &str) -> Origin {
        self.tree.get(path).map_or(Origin::Default, |node| node.origin.clone())
    }

    /// Changes the typed settings as a flag asks, and makes the flag the origin of every changed value. An error about the field
    /// `argument` becomes an error about the flag.
    pub(crate) fn change(
        &mut self,
        flag: &'static str,
        argument: &str,
        change: impl FnOnce(&mut Config) -> gradamp_core::Result<()>,
    ) -> Result<(), KeyError> {
        let before = self.written()?;
        let mut config = self.config.clone();
        change(&mut config).map_err(|error| self.place_of_flag(flag, argument, error))?;
        self.config = config;
        let after = self.written()?;
        note_changes(&before, &after, &mut self.tree, &Origin::Flag(flag));
        Ok(())
    }

    /// Scales the run to `total` epochs. Adds a note if phases are left out.
    fn scale_epochs(&mut self, total: usize) -> Result<(), KeyError> {
        let mut shorter = self.clone();
        let place = self.origin("strategy.phase.0");
        let left_out = shorter
            .config
            .strategy
            .scale_epochs(total)
            .map_err(|error| self.place_of_flag("--epochs", "total", error))?;
        if !left_out.is_empty() {
            let phases = self.config.strategy.phases.len();
            let numbers: Vec<String> = left_out.iter().map(usize::to_string).collect();
            self.notes.push(format!(
                "--epochs {total}: too few for the {phases} phases of the strategy ({place}), which are numbered from 0; \
                 left out: {}",
                numbers.join(", ")
            ));
        }
        let mut before = self.written()?;
        for tree in [&mut before, &mut self.tree, &mut shorter.tree] {
            left_out.iter().rev().for_each(|number| tree.remove(&format!("strategy.phase.{number}")));
        }
        note_changes(&before, &shorter.written()?, &mut self.tree, &Origin::Flag("--epochs"));
        self.config = shorter.config;
        Ok(())
    }

    /// Places an error: one about the field `argument` at the flag, any other where the setting was written.
    fn place_of_flag(&self, flag: &'static str, argument: &str, error: gradamp_core::Error) -> KeyError {
        match error {
            gradamp_core::Error::Setting { field, message } if field == argument => {
                KeyError::new(message).at("", &Origin::Flag(flag))
            }
            other => self.locate(KeyError::from(other.within("strategy"))),
        }
    }

    /// All settings, each with its path and its value. Lists and tables are taken apart.
    pub fn values(&self) -> Result<Vec<(String, Value)>, KeyError> {
        Ok(self.written()?.leaves())
    }

    /// Returns the settings that differ from the defaults, apart from the strategy, which has none.
    pub fn changes_from_defaults(&self) -> Result<Vec<Difference>, KeyError> {
        let mut config = Config { strategy: self.config.strategy.clone(), ..Config::default() };
        config.optimizer.name = self.config.optimizer.name;
        config.optimizer = config.optimizer.with_defaults();
        let defaults = Self { config, tree: Node::empty(), notes: Vec::new() };
        let mut changes = defaults.differences(self)?;
        changes.retain(|change| !change.path.starts_with("strategy."));
        Ok(changes)
    }

    /// Returns the values that differ in `other`.
    pub fn differences(&self, other: &Self) -> Result<Vec<Difference>, KeyError> {
        let (before, after) = (self.written()?.leaves(), other.written()?.leaves());
        let value = |leaves: &[(String, Value)], path: &str| {
            let value = leaves.iter().find(|(name, _)| name == path).map(|(_, value)| value.describe());
            value.unwrap_or_else(|| "not set".into())
        };
        let mut paths: Vec<&String> = before.iter().chain(&after).map(|(path, _)| path).collect();
        paths.sort();
        paths.dedup();
        let difference = |path: &String| {
            let (before, after) = (value(&before, path), value(&after, path));
            let is_different = before != after;
            is_different.then(|| Difference { origin: other.origin(path), path: path.clone(), before, after })
        };
        Ok(paths.into_iter().filter_map(difference).collect())
    }

    /// All settings, defaults included, as a tree.
    pub(super) fn written(&self) -> Result<Node, KeyError> {
        let text = toml::to_string(&self.config).map_err(|error| KeyError::new(error.to_string()))?;
        let mut tree = Node::parse(&text, &|_| Origin::Default)?;
        phases::keep_changes(&mut tree, &self.tree)?;
        Ok(tree)
    }
}

/// A value that differs between two configurations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The key's path.
    pub path: String,
    /// Its value in the first.
    pub before: String,
    /// Its value in the second.
    pub after: String,
    /// Where the second was written.
    pub origin: Origin,
}

/// The settings of the preset called `name`.
///
/// **Errors:** no preset has this name. The caller adds the place.
pub(crate) fn preset_tree(name: &str) -> Result<Node, KeyError> {
    let Some(preset) = presets::find(name) else {
        let names = presets::ALL.map(|preset| preset.name);
        let hint = nearest(name, names).map(|name| format!(" (did you mean \"{name}\"?)"));
        let message =
            format!("found {name:?}, expected one of {}{}", quoted(&names), hint.unwrap_or_default());
        return Err(KeyError::new(message));
    };
    Node::parse(preset.text, &|line| Origin::Preset(preset.name, line))
}

/// The settings in a file.
///
/// **Errors:** a file that cannot be read or is no TOML.
pub(crate) fn file_tree(path: &Path) -> Result<Node, KeyError> {
    let text = read_file(path)?;
    Node::parse(&text, &|line| Origin::File(path.to_owned(), line))
}

/// Applies `--data`. The name of a data set replaces the configured source and path; a path replaces only the path.
fn apply_choice(tree: &mut Node, choice: &Choice) -> Result<(), KeyError> {
    let configured = match tree.get("data.source").map(|node| &node.value) {
        Some(Value::String(name)) => name.parse().ok(),
        _ => None,
    };
    let (source, path) = choice.clone().over(configured.unwrap_or_default());
    let origin = Origin::Flag("--data");
    let text = |text: &str| Node { origin: origin.clone(), value: Value::String(text.to_owned()) };
    if configured != Some(source) {
        tree.set("data.source", text(source.name()))?;
    }
    match path {
        Some(path) => {
            let value = Value::path(&path, &origin);
            tree.set("data.path", Node { origin, value })
        }
        None => {
            tree.remove("data.path");
            Ok(())
        }
    }
}

fn apply_set(tree: &mut Node, set: &str) -> Result<(), KeyError> {
    let Some((key, value)) = set.split_once('=') else {
        let message = format!("found {set:?}, expected key.path=value");
        return Err(KeyError::new(message).at("", &Origin::Set));
    };
    // `phase[1]` and `phase.1` mean the same.
    let key = key.trim().replace('[', ".").replace(']', "");
    tree.set(&key, Node::parse_value(value.trim(), &Origin::Set))
}

/// Copies every value of `after` that differs from `before` into `tree`, with `origin`.
fn note_changes(before: &Node, after: &Node, tree: &mut Node, origin: &Origin) {
    match (&before.value, &after.value, &mut tree.value) {
        (Value::Table(before), Value::Table(after), Value::Table(written)) => {
            for (key, node) in after {
                let old = before.iter().find(|(name, _)| name == key).map(|(_, old)| old);
                match (old, written.iter_mut().find(|(name, _)| name == key)) {
                    (Some(old), _) if old == node => {}
                    (Some(old), Some((_, place))) => note_changes(old, node, place, origin),
                    (_, place) => {
                        let node = node.with_origin(origin);
                        match place {
                            Some((_, place)) => *place = node,
                            None => written.push((key.clone(), node)),
                        }
                    }
                }
            }
        }
        (Value::Array(before), Value::Array(after), Value::Array(written))
            if before.len() == after.len() && after.len() == written.len() =>
        {
            for ((old, node), place) in before.iter().zip(after).zip(written) {
                note_changes(old, node, place, origin);
            }
        }
        (before, after, _) if before == after => {}
        _ => *tree = after.with_origin(origin),
    }
}

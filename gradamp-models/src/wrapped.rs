//! Reads checkpoints of other trainers. PyTorch's wrappers (`DataParallel`, `torch.compile`, `AveragedModel`) put a
//! prefix before every name, and `AveragedModel` adds a counter of its averages.

use gradamp_core::{Backend, Parameters};

use crate::archive::Archive;
use crate::{Architecture, Error, ModelSettings, Naming, Result, Skip};

/// The name of `AveragedModel`'s counter.
const AVERAGES: &str = "n_averaged";

/// The weights of the last layers, by which the families are distinguished.
const HEADS: [&str; 2] = ["linear.weight", "classifier.weight"];

/// The weights of the first convolutions.
const STEMS: [&str; 2] = ["conv1.weight", "features.0.weight"];

/// The most names that an error lists.
const LISTED: usize = 4;

impl Archive {
    /// The settings of the model in this file. The names in the file may have a prefix.
    ///
    /// **Errors:** the file holds no model of this crate. The message names a missing tensor and lists some of the
    /// file's tensors.
    pub fn settings(&self) -> Result<ModelSettings> {
        if let Some(settings) = self.external() {
            return Ok(settings);
        }
        let prefix = self.prefix(&Skip::default())?;
        let shape = |name: &str| self.shape(&format!("{prefix}{name}")).map(<[usize]>::to_vec);
        let Some(found) = ModelSettings::from_tensors(shape) else {
            return Err(self.unrecognised(&prefix));
        };
        // The tensors show neither the activation nor the size of images nor what is dropped in training, but the header
        // of a file of this project describes the model.
        let described = self.metadata().get("model").and_then(|model| ModelSettings::parse(model));
        let is_same = |settings: &ModelSettings| {
            let shown = ModelSettings {
                activation: found.activation,
                image: found.image,
                dropout: found.dropout,
                stochastic_depth: found.stochastic_depth,
                ..settings.canonical()
            };
            shown == found && found.takes(settings.image)
        };
        Ok(described.filter(is_same).unwrap_or(found))
    }

    /// The error for a file without a model. It names the missing tensor if the other tensors show the family.
    fn unrecognised(&self, prefix: &str) -> Error {
        let has = |name: &&&str| self.shape(&format!("{prefix}{name}")).is_some();
        let families = ModelSettings::characteristic_tensors();
        // Among the families whose last layer is in the file, this takes the one that has the most of its tensors
        // there.
        let family = families
            .iter()
            .filter(|names| has(&&names[0]))
            .max_by_key(|names| names.iter().filter(has).count());
        match family.and_then(|names| names.iter().find(|name| !has(name)).map(|missing| (names[0], missing)))
        {
            Some((last, missing)) => {
                let message = format!("is missing, but every known model with {last} has it");
                self.error(&format!("{prefix}{missing}"), format!("{message}; {}", self.listed()))
            }
            None => self.no_model("its layers match no known model"),
        }
    }

    /// Fills the parameters as [`Archive::import`] does, apart from those that `skip` leaves as they are. The names in the
    /// file may have a prefix. Returns a line that says which prefix was ignored; `None` without one.
    ///
    /// **Errors:** the file holds no model; those of [`Archive::import`].
    pub fn import_wrapped<B: Backend>(
        &self,
        skip: &Skip,
        parameters: &mut Parameters<B>,
    ) -> Result<Option<String>> {
        let prefix = if self.external().is_some() { String::new() } else { self.prefix(skip)? };
        self.import_but(skip, &prefix, parameters)?;
        if prefix.is_empty() {
            return Ok(None);
        }
        let averages =
            if self.names().iter().any(|name| is_count(name)) { " and a count of averages" } else { "" };
        Ok(Some(format!("{}: read without {prefix:?} before every name{averages}", self.origin())))
    }

    /// The model of another crate that the file's header names, if it is registered. Its tensors cannot identify it,
    /// since they may have any names.
    fn external(&self) -> Option<ModelSettings> {
        let settings = ModelSettings::parse(self.metadata().get("model")?)?;
        matches!(settings.architecture, Architecture::External(_)).then_some(settings)
    }

    /// The prefix of all names in the file.
    ///
    /// **Errors:** the file has no model's last layer; a tensor does not belong to the model.
    fn prefix(&self, skip: &Skip) -> Result<String> {
        let names = self.names();
        let before = |ends: &[&str], name: &String| {
            let prefix = ends.iter().find_map(|end| name.strip_suffix(end))?;
            (prefix.is_empty() || prefix.ends_with('.')).then(|| prefix.to_owned())
        };
        let by_head = names.iter().find_map(|name| before(&HEADS, name));
        // A file without a last layer can be read if the last layer is skipped. Blocks have a conv1, too, with longer prefixes.
        let by_stem = || {
            let may_lack_head = HEADS.iter().any(|head| skip.holds(head));
            let prefixes = names.iter().filter(|_| may_lack_head).filter_map(|name| before(&STEMS, name));
            prefixes.min_by_key(String::len)
        };
        let Some(prefix) = by_head.or_else(by_stem) else {
            let [resnet, others] = HEADS;
            let is_other = |name: &String| name.ends_with("fc.weight");
            let tip = match names.iter().any(is_other) && self.naming() == Naming::Gradamp {
                true => " (its names look like torchvision's and timm's: use init_names = \"torchvision\")",
                false => "",
            };
            let [resnet, others] = [resnet, others].map(|name| self.naming().translate(name));
            return Err(self.no_model(&format!(
                "no tensor is named {resnet} (ResNet) or {others} (VGG and MLP), with or without a prefix{tip}"
            )));
        };
        match names.iter().find(|name| !name.starts_with(&prefix) && !is_count(name)) {
            Some(beside) => Err(self.error(
                &shortened(beside),
                format!("is unexpected, because the names of the model begin with {prefix:?}"),
            )),
            None => Ok(prefix),
        }
    }

    fn no_model(&self, reason: &str) -> Error {
        let message =
            format!("expected a VGG, ResNet or MLP of this project, but {reason}; {}", self.listed());
        Error::Unknown { file: self.origin().into(), message }
    }

    /// The first names in the file, for an error message.
    fn listed(&self) -> String {
        let names = self.names();
        let there = |name: &String| shortened(&self.naming().translate(name));
        let some = names.iter().take(LISTED).map(there).collect::<Vec<_>>().join(", ");
        match names.len() {
            0 => "found no tensors".into(),
            n if n <= LISTED => format!("found {some}"),
            n => format!("found {n} tensors: {some}, ..."),
        }
    }
}

fn is_count(name: &str) -> bool {
    name.rsplit('.').next() == Some(AVERAGES)
}

/// The first 80 characters of a name, since a file may hold names of any length.
fn shortened(name: &str) -> String {
    match name.char_indices().nth(80) {
        Some((end, _)) => format!("{}...", &name[..end]),
        None => name.to_owned(),
    }
}

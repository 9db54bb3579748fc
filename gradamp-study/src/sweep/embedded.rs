//! The studies that ship inside the program, so that `gradamp sweep NAME` needs no other file.

use std::path::Path;

use gradamp_core::error::nearest;

use super::study::Study;
use crate::config::KeyError;

/// A study that ships inside the program.
#[derive(Clone, Copy, Debug)]
pub struct EmbeddedStudy {
    /// The name, as in `gradamp sweep NAME`.
    pub name: &'static str,
    /// The path of its copy, below `studies/` in the repository.
    pub file: &'static str,
    /// The text of the study.
    pub text: &'static str,
}

macro_rules! study {
    ($name:literal, $file:literal) => {
        EmbeddedStudy { name: $name, file: $file, text: include_str!(concat!("../../studies/", $file)) }
    };
}

/// All studies inside the program.
pub const EMBEDDED: [EmbeddedStudy; 18] = [
    study!("adamw-constant", "adamw-constant.toml"),
    study!("adamw-epsilon", "adamw-epsilon.toml"),
    study!("first-comparison", "first-comparison.toml"),
    study!("strategies", "strategies.toml"),
    study!("kind-ratio-factor", "kind-ratio-factor.toml"),
    study!("random-fluctuation", "random-fluctuation.toml"),
    study!("paper-resnet18", "paper-resnet18.toml"),
    study!("paper-vgg19", "paper-vgg19.toml"),
    study!("selection-resnet18", "selection-resnet18.toml"),
    study!("selection-vanishing", "selection-vanishing.toml"),
    study!("vanishing-initial", "vanishing-initial.toml"),
    study!("vanishing-resnet34", "vanishing-resnet34.toml"),
    study!("vanishing-sigmoid", "vanishing-sigmoid.toml"),
    study!("vanishing-tanh", "vanishing-tanh.toml"),
    study!("vanishing-vgg", "vanishing-vgg.toml"),
    study!("full-layers", "full/layers.toml"),
    study!("full-paper", "full/paper.toml"),
    study!("full-selection", "full/selection.toml"),
];

impl Study {
    /// Reads the study that a user asks for: the file at `path` if there is one, otherwise the study of that name inside the
    /// program.
    ///
    /// **Errors:** as [`Study::read`]; a name that is neither a file nor a study inside the program.
    pub fn find(path: &Path) -> Result<Self, KeyError> {
        if path.exists() {
            return Self::read(path);
        }
        let word = path.to_string_lossy();
        if let Some(study) = EMBEDDED.into_iter().find(|study| study.name == word) {
            return Self::parse(Path::new(&format!("{}.toml", study.name)), study.text.to_owned());
        }
        if path.components().count() > 1 || path.extension().is_some() {
            let Err(error) = Self::read(path) else { return Self::read(path) };
            return Err(match EMBEDDED.into_iter().find(|study| path.ends_with(study.file)) {
                Some(study) => KeyError::new(format!(
                    "{error}; the program has this study inside, under the name {}",
                    study.name
                )),
                None => error,
            });
        }
        let names = EMBEDDED.map(|study| study.name);
        let hint = nearest(&word, names).map(|name| format!(" (did you mean {name}?)")).unwrap_or_default();
        Err(KeyError::new(format!(
            "found {word:?}, expected the file of a study, or one of the studies inside the program: {}{hint}",
            names.join(", ")
        )))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;

    use super::*;

    /// The files of a repository's folder `studies`. A packed crate is not in a repository and has none.
    fn files(folder: &Path, below: &str, found: &mut BTreeSet<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = format!("{below}{}", path.file_name().unwrap().to_string_lossy());
            if path.extension().is_some_and(|end| end == "toml") {
                found.insert(name);
            } else if name == "full" {
                files(&path, "full/", found);
            }
        }
    }

    #[test]
    fn every_study_is_inside_the_program_and_equals_its_copy_in_the_repository() {
        let crates = Path::new(env!("CARGO_MANIFEST_DIR"));
        let own = crates.join("studies");
        let copies = crates.join("../studies");
        for folder in [own, copies].into_iter().filter(|folder| folder.exists()) {
            let mut found = BTreeSet::new();
            files(&folder, "", &mut found);
            assert_eq!(found, EMBEDDED.map(|study| study.file.to_owned()).into(), "{}", folder.display());
            for study in EMBEDDED {
                let path = folder.join(study.file);
                assert!(fs::read_to_string(&path).unwrap() == study.text, "{} differs", path.display());
            }
        }
    }

    #[test]
    fn a_study_is_found_by_the_name_that_it_has_itself() {
        for EmbeddedStudy { name, text, .. } in EMBEDDED {
            let study = Study::find(Path::new(name)).unwrap();
            assert_eq!((study.name.as_str(), study.text.as_str()), (name, text));
        }
    }

    #[test]
    fn an_unknown_study_is_answered_with_the_known_ones() {
        let error = |word: &str| Study::find(Path::new(word)).unwrap_err().to_string();
        let message = error("frist-comparison");
        assert!(message.ends_with("full-selection (did you mean first-comparison?)"), "{message}");
        assert!(message.contains("found \"frist-comparison\"") && message.contains("strategies, kind-ratio"));
        let message = error("nowhere/studies/full/paper.toml");
        assert!(message.contains("cannot be read") && message.ends_with("the name full-paper"), "{message}");
        assert!(!error("nowhere/mine.toml").contains("inside"));
    }
}

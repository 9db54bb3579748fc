//! Checks the data, the models and the layers to amplify before the first run starts.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;

use gradamp_core::train::Trainer;
use gradamp_core::{Error, Parameters};
use gradamp_cpu::Cpu;
use gradamp_data::{DataSettings, Source};
use gradamp_models::ModelSettings;

use crate::dataset::{Data, Sources};
use crate::device;
use crate::failure::Result;
use crate::train::with_origin;
use gradamp_study::config::{Config, Device, KeyError};
use gradamp_study::sweep::Expansion;

/// The amount of work in a run, and what its model follows from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// The number of steps in an epoch.
    pub steps: usize,
    /// The number of batches in an evaluation, over all splits.
    pub evaluated: usize,
    /// The number of classes.
    pub classes: usize,
    /// The shape of an image, `[h, w, c]`.
    pub image: [usize; 3],
}

/// The number of training and of test images in CIFAR-10, and in CIFAR-100.
const CIFAR: (usize, usize) = (50_000, 10_000);

/// Checks every run and returns the amount of its work. Passes lines about the data to `say`. If a data set is
/// missing and the plan is only shown (`is_dry_run`), the sizes of CIFAR are assumed, and a line says so.
///
/// **Errors:** the data is missing, unless `is_dry_run`; the data is too small; a selection matches no layer of a
/// run's model; a device does not exist. Each error names the place of the setting.
pub fn preflight(
    expansion: &Expansion,
    device: Option<&Device>,
    is_dry_run: bool,
    say: &dyn Fn(&str),
) -> Result<Vec<Extent>> {
    let cpu = Cpu::with_threads(1)?;
    let said = Mutex::new(HashSet::new());
    let say_once = |line: &str| {
        if said.lock().is_ok_and(|mut said| said.insert(line.to_owned())) {
            say(line);
        }
    };
    let mut known: HashMap<String, Extent> = HashMap::new();
    let mut devices: Vec<Device> = Vec::new();
    let mut extents: Vec<Extent> = Vec::with_capacity(expansion.settings.len());
    let runs = expansion.plan.runs.iter().zip(&expansion.settings);
    for (i, (run, settings)) in runs.enumerate() {
        // The runs of a cell follow each other, and the checks do not depend on the seed.
        if i > 0 && expansion.plan.runs[i - 1].cell == run.cell {
            extents.push(extents[i - 1]);
            continue;
        }
        let config = &settings.config;
        let key = toml::to_string(&config.data).map_err(|error| KeyError::new(error.to_string()))?;
        let key = format!("{} {key}", config.train.batch_size);
        let extent = match known.get(&key) {
            Some(extent) => *extent,
            None => {
                let extent = match config.data.missing().filter(|_| is_dry_run) {
                    Some(missing) => {
                        let reason = with_origin(settings, missing.within("data").into()).reason();
                        let (train, test) = CIFAR;
                        say_once(&format!(
                            "note: {reason}. The plan is for {train} + {test} images, as in CIFAR."
                        ));
                        of_cifar(config)
                    }
                    None => {
                        extent_of(config, &cpu, &say_once).map_err(|error| with_origin(settings, error))?
                    }
                };
                known.insert(key, extent);
                extent
            }
        };
        check_model(config, extent, &cpu).map_err(|error| with_origin(settings, error))?;
        if let Some(path) = config.model.init.as_ref().filter(|path| !path.is_file()) {
            let message = format!("found no file {}", path.display());
            return Err(settings.locate(KeyError::new(message).about("model.init")).into());
        }
        let wanted = device.unwrap_or(&config.train.device);
        if !devices.contains(wanted) {
            device::choose(wanted).map_err(|error| with_origin(settings, error))?;
            devices.push(wanted.clone());
        }
        extents.push(extent);
    }
    Ok(extents)
}

fn extent_of(config: &Config, cpu: &Cpu, say: &dyn Fn(&str)) -> Result<Extent, Error> {
    let data = Data::load(&config.data, say)?;
    let (classes, image) = (data.classes().len(), data.image());
    let sources = Sources::new(config, data, cpu)?;
    let evaluated = sources.evaluations().iter().map(|(_, source)| source.batches()).sum();
    Ok(Extent { steps: sources.train().batches(), evaluated, classes, image })
}

/// The work with the batches of CIFAR-10 or CIFAR-100, computed from their sizes without the data.
fn of_cifar(config: &Config) -> Extent {
    let DataSettings { source, validation, train_limit, test_limit, .. } = config.data;
    let limited = |examples: usize, limit: usize| if limit > 0 { examples.min(limit) } else { examples };
    let batch_size = config.train.batch_size.max(1);
    let train = limited(CIFAR.0.saturating_sub(validation), train_limit);
    let test = limited(CIFAR.1, test_limit);
    let evaluated = validation.div_ceil(batch_size) + test.div_ceil(batch_size);
    let classes = if source == Source::Cifar100 { 100 } else { 10 };
    Extent { steps: train / batch_size, evaluated, classes, image: ModelSettings::STANDARD_IMAGE }
}

/// Checks the settings by making a trainer. The model has width 1, which has the same layers as a wide one.
fn check_model(config: &Config, extent: Extent, cpu: &Cpu) -> Result<(), Error> {
    let settings = config.model.settings(extent.image, extent.classes)?.with_width(1);
    let mut parameters = Parameters::new(cpu, 0).with_initialisation(config.model.initialisation());
    let model = gradamp_models::build(&settings, &mut parameters).map_err(Error::external)?;
    Trainer::new(&model, parameters, extent.image, config.train_settings())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use gradamp_study::config::tree::{Node, Origin};
    use gradamp_study::sweep::{EMBEDDED, EmbeddedStudy, Study, expand};

    #[test]
    fn every_shipped_study_can_be_run_and_has_enough_seeds() {
        let (full, small): (Vec<_>, Vec<_>) =
            EMBEDDED.into_iter().partition(|study| study.name.starts_with("full-"));
        for study in &full {
            let is_named = |small: &EmbeddedStudy| study.text.contains(&format!("studies/{}", small.file));
            assert!(small.iter().any(is_named), "{} names no study for two cores", study.name);
        }
        assert_eq!(full.len(), 3);
        // The layers do not depend on the data, and the real data may be missing here.
        let shapes = "{ source = 'shapes', validation = 64, shapes = { train = 256, test = 64 } }";
        let shapes = Node::parse_value(shapes, &Origin::Set);
        let mut names = HashSet::new();
        for study in EMBEDDED {
            let path = Path::new(study.name);
            let mut study = Study::find(path).unwrap();
            let least = if study.name == "first-comparison" { 3 } else { 5 };
            assert!(study.seeds.len() >= least, "{} has {} seeds", path.display(), study.seeds.len());
            assert!(
                names.insert(study.name.clone()),
                "{} has the same name, and so the same folder, as another study",
                path.display()
            );
            let own = &expand(&study, false).unwrap().settings[0].config.data;
            assert!(
                own.validation > 0,
                "{}: without validation examples, the test examples would choose the best epoch",
                path.display()
            );
            study.base.set("data", shapes.clone()).unwrap();
            let expansion = expand(&study, true).unwrap();
            assert!(expansion.warnings.is_empty(), "{}: {:?}", path.display(), expansion.warnings);
            let extents = preflight(&expansion, Some(&Device::Cpu), false, &|_| {});
            let extents = extents.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            assert_eq!(extents.len(), expansion.plan.runs.len());
        }
    }
}

//! A checkpoint: the model, the optimiser's state, and the state of the run.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use gradamp_core::train::{Snapshot, TrainState};
use gradamp_core::{Backend, Parameters, Tensor, files};
use gradamp_models::{Archive, Metadata, export};
use serde::{Deserialize, Serialize};

use super::disk::{read_sealed_json, write_json};
use super::error::{Error, Result};
use super::logs::{LogSeals, PerLog};
use super::seal::FileSeal;
use super::swap;
use super::tensors::{self, MODEL, OptimizerTensor};

/// The name of the last checkpoint.
pub(super) const LAST: &str = "last";
/// The name of the best checkpoint.
pub(super) const BEST: &str = "best";
const STATE: &str = "state.json";
/// The form of `state.json`; that of earlier versions of the program, without seals, is read too.
const FORMAT: u32 = 2;
const UNSEALED: u32 = 1;
/// How often a checkpoint that is replaced while it is read is read again.
const TRIES: usize = 100;

/// The folder of a checkpoint.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    path: PathBuf,
}

/// `state.json`
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    format: u32,
    /// The state of the run.
    train: TrainState,
    /// The length of each log, in bytes.
    logs: PerLog<u64>,
    /// The SHA-256 of that many bytes of each log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    log_sha256: Option<PerLog<String>>,
    /// The other files of the checkpoint.
    files: BTreeMap<String, FileSeal>,
}

/// What a run needs to continue.
#[derive(Debug)]
pub struct LoadedCheckpoint<B: Backend> {
    /// The optimiser's state, for [`Trainer::restore_optimizer`](gradamp_core::train::Trainer::restore_optimizer).
    pub optimizer: Vec<OptimizerTensor<B>>,
    /// The average of [`Trainer::restore_ema`](gradamp_core::train::Trainer::restore_ema), in a run that has one.
    pub ema: Option<Parameters<B>>,
    /// The sums of gradients of [`Trainer::restore_gradient_sums`](gradamp_core::train::Trainer::restore_gradient_sums).
    pub gradient_sums: Vec<Option<Tensor<B>>>,
    /// The state of the run.
    pub state: TrainState,
    /// The seals of the run's logs.
    pub logs: LogSeals,
}

impl Checkpoint {
    /// The checkpoint in the folder `path`.
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Replaces the checkpoint by the snapshot, atomically. `is_in_place` is called right before the replacement.
    ///
    /// **Errors:** a folder that cannot be written or is full, and what `is_in_place` returns; then the old checkpoint stays.
    pub fn save<B: Backend>(
        &self,
        snapshot: &Snapshot<'_, B>,
        logs: LogSeals,
        metadata: &Metadata,
        is_in_place: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        swap::replace(&self.path, |folder| {
            let Snapshot { parameters, state, .. } = snapshot;
            export(&folder.join(MODEL), parameters, metadata)?;
            let tensors = tensors::write(folder, snapshot, metadata)?;
            let names = tensors.iter().map(String::as_str).chain([MODEL]);
            let mut files = BTreeMap::new();
            for name in names {
                files.insert(name.to_owned(), FileSeal::read(&folder.join(name))?);
            }
            let LogSeals { lengths: logs, sha256: log_sha256 } = logs;
            let state = State { format: FORMAT, train: (*state).clone(), logs, log_sha256, files };
            write_json(&folder.join(STATE), &state)?;
            is_in_place()
        })
    }

    /// Puts the newest whole version in place where saving was interrupted, and returns what is wrong with the version that
    /// should have been the newest. For the process that holds the run's folder alone.
    ///
    /// **Errors:** a folder that cannot be renamed.
    pub fn recover(&self) -> Result<Option<Error>> {
        let trouble = self.glimpse().and_then(|(folder, _)| check(&folder).err());
        swap::recover(&self.path, |folder| check(folder).is_ok())?;
        Ok(trouble)
    }

    /// Removes what interrupted savings have left beside the checkpoint, unless it may still be needed. For the process that
    /// holds the run's folder alone.
    ///
    /// **Errors:** a folder that cannot be removed.
    pub fn remove_leftovers(&self) -> Result<()> {
        let is_complete = check(&self.path).is_ok();
        for folder in swap::leftovers(&self.path) {
            // An incomplete version is never needed.
            if folder.exists() && (is_complete || !folder.join(STATE).exists()) {
                fs::remove_dir_all(&folder).map_err(Error::io(&folder, "remove"))?;
            }
        }
        Ok(())
    }

    /// Reads the newest version of the checkpoint and changes nothing, so that it may be called while another process saves;
    /// `None` where there is no checkpoint. This is the one way to a checkpoint's content.
    ///
    /// **Errors:** a file that is missing, truncated or changed, and which other checkpoints of the run are whole.
    pub fn open(&self) -> Result<Option<OpenCheckpoint>> {
        self.newest(OpenCheckpoint::read).map_err(|error| self.with_spares(error))
    }

    /// The error that there is no checkpoint where there should be one, and which others are whole.
    pub fn missing(&self) -> Error {
        self.with_spares(Error::broken(&self.path, "expected the checkpoint of the run, found none"))
    }

    fn with_spares(&self, error: Error) -> Error {
        match self.spares().as_slice() {
            [] => error,
            whole => Error::Damaged { error: Box::new(error), whole: whole.join(" and ") },
        }
    }

    /// What the logs were at the checkpoint, without reading the model; `None` where there is no checkpoint.
    ///
    /// **Errors:** a `state.json` that is missing or changed.
    pub fn logs(&self) -> Result<Option<LogSeals>> {
        Ok(self.newest(State::read)?.map(State::logs))
    }

    /// Checks each file of the newest version against its seal, and goes on after a damaged file; `None` if there is no
    /// checkpoint.
    pub(super) fn examine(&self) -> Option<Examined> {
        // A checkpoint that was replaced while it was read is not damaged.
        let _ = self.newest(check);
        let (folder, _) = self.glimpse()?;
        let path = folder.join(STATE);
        let state = match State::read(&folder) {
            Ok(state) => state,
            Err(error) => return Some(Examined { files: vec![(path, Err(error))], logs: None }),
        };
        let mut files = vec![(path, Ok(()))];
        for name in state.names() {
            let path = folder.join(name);
            let checked = state.check(&folder, name);
            files.push((path, checked));
        }
        Some(Examined { files, logs: Some(state.logs()) })
    }

    /// What interrupted savings have left beside the newest version.
    pub(super) fn leftovers(&self) -> Vec<PathBuf> {
        let newest = self.glimpse().map(|(folder, _)| folder);
        let is_left = |folder: &PathBuf| folder.exists() && newest.as_ref() != Some(folder);
        swap::leftovers(&self.path).into_iter().filter(is_left).collect()
    }

    /// The other checkpoints of the run that are whole, older versions of this one among them.
    fn spares(&self) -> Vec<String> {
        let others = [LAST, BEST].map(|name| self.path.with_file_name(name));
        let candidates =
            others.into_iter().filter(|other| *other != self.path).chain(swap::leftovers(&self.path));
        candidates.filter(|folder| check(folder).is_ok()).map(|folder| folder.display().to_string()).collect()
    }

    /// Reads the newest version, and once more where it was replaced meanwhile.
    fn newest<T>(&self, read: impl Fn(&Path) -> Result<T>) -> Result<Option<T>> {
        let mut tries = 0;
        loop {
            let before = self.glimpse();
            let found = before.as_ref().map(|(folder, _)| read(folder)).transpose();
            tries += 1;
            if matches!(found, Ok(Some(_))) || tries == TRIES || self.glimpse() == before {
                return found;
            }
        }
    }

    /// The folder of the version that counts now, and what makes it another one than the next: its `state.json`.
    fn glimpse(&self) -> Option<(PathBuf, Option<Vec<u8>>)> {
        // The file is the last one that is written.
        let folder = swap::find(&self.path, |new| new.join(STATE).is_file())?;
        let state = files::read(&folder.join(STATE)).ok();
        Some((folder, state))
    }
}

/// The result of checking a checkpoint.
#[derive(Debug)]
pub(super) struct Examined {
    /// The checkpoint's files, and what is wrong with each.
    pub files: Vec<(PathBuf, Result<()>)>,
    /// The seals of the logs at the checkpoint.
    pub logs: Option<LogSeals>,
}

/// Reads the model at `path`: a checkpoint's folder, any other folder with a `model.safetensors`, or a file. A model that has a
/// seal beside it is checked against the seal.
///
/// **Errors:** a file that is missing, damaged or of another format.
pub fn read_model(path: &Path) -> Result<Archive> {
    if !path.is_file() {
        let has_state = path.join(STATE).exists() || !path.exists();
        if has_state && let Some(checkpoint) = Checkpoint::new(path.to_owned()).open()? {
            return checkpoint.into_model();
        }
    }
    let file = if path.is_dir() { path.join(MODEL) } else { path.to_owned() };
    let Some(seal) = seal_beside(&file) else { return Ok(Archive::open(&file)?) };
    let bytes = files::read(&file).map_err(Error::io(&file, "read"))?;
    seal.check(&file, &FileSeal::of_bytes(&bytes))?;
    Ok(Archive::from_bytes(&file.display().to_string(), bytes)?)
}

/// The seal of a model's file, if it lies in a checkpoint. Files of other programs may be called the same, so a `state.json`
/// that this program did not write is ignored.
fn seal_beside(file: &Path) -> Option<FileSeal> {
    let folder =
        file.parent().filter(|_| file.is_file() && file.file_name().is_some_and(|name| name == MODEL))?;
    State::read(folder).ok()?.files.remove(MODEL)
}

/// A checkpoint whose every byte is the one that was saved.
#[derive(Debug)]
pub struct OpenCheckpoint {
    folder: PathBuf,
    state: State,
    model: Vec<u8>,
    /// The other files, by their names.
    tensors: Vec<(String, Vec<u8>)>,
}

impl OpenCheckpoint {
    /// Reads all files in `folder` and checks them against their seals.
    fn read(folder: &Path) -> Result<Self> {
        let state = State::read(folder)?;
        let sealed = |name: &str| {
            let path = folder.join(name);
            let bytes = files::read(&path).map_err(Error::io(&path, "read"))?;
            state.seal(folder, name)?.check(&path, &FileSeal::of_bytes(&bytes))?;
            Ok::<_, Error>(bytes)
        };
        let model = sealed(MODEL)?;
        let others = state.names().filter(|name| *name != MODEL);
        let tensors = others.map(|name| Ok((name.to_owned(), sealed(name)?))).collect::<Result<_>>()?;
        Ok(Self { folder: folder.to_owned(), state, model, tensors })
    }

    /// The file that the model was read from.
    pub fn model_path(&self) -> PathBuf {
        self.folder.join(MODEL)
    }

    /// The model.
    ///
    /// **Errors:** no safetensors file.
    pub fn into_model(self) -> Result<Archive> {
        Ok(Archive::from_bytes(&self.folder.join(MODEL).display().to_string(), self.model)?)
    }

    /// Puts the checkpoint into `parameters`.
    ///
    /// **Errors:** a checkpoint of another model, width or number of classes.
    pub fn load<B: Backend>(self, parameters: &mut Parameters<B>) -> Result<LoadedCheckpoint<B>> {
        let origin = |name: &str| self.folder.join(name).display().to_string();
        Archive::from_bytes(&origin(MODEL), self.model)?.import("", parameters)?;
        let (mut optimizer, mut ema, mut gradient_sums) = (Vec::new(), None, Vec::new());
        for (name, bytes) in self.tensors {
            let archive = Archive::from_bytes(&origin(&name), bytes)?;
            match name.as_str() {
                tensors::SUMS => {
                    gradient_sums.resize_with(parameters.iter().count(), || None);
                    for (id, sum) in tensors::of_parameters(&archive, parameters)? {
                        gradient_sums[id.index()] = Some(sum);
                    }
                }
                tensors::EMA => {
                    let mut average = parameters.clone();
                    archive.import("", &mut average)?;
                    ema = Some(average);
                }
                tensors::WHOLE => optimizer.extend(tensors::of_the_model(&archive, parameters.backend())?),
                _ => {
                    let name = name.trim_end_matches(tensors::EXTENSION);
                    let found = tensors::of_parameters(&archive, parameters)?.into_iter();
                    optimizer.extend(found.map(|(id, tensor)| (name.to_owned(), Some(id), tensor)));
                }
            }
        }
        let State { train, logs: lengths, log_sha256: sha256, .. } = self.state;
        Ok(LoadedCheckpoint {
            optimizer,
            ema,
            gradient_sums,
            state: train,
            logs: LogSeals { lengths, sha256 },
        })
    }
}

impl State {
    fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(STATE);
        let (state, is_sealed): (Self, bool) = read_sealed_json(&path)?;
        match state.format {
            UNSEALED if !is_sealed => Ok(state),
            FORMAT if is_sealed && state.log_sha256.is_some() => Ok(state),
            UNSEALED | FORMAT => Err(Error::broken(&path, "is changed: expected its seal, found none")),
            format => Err(Error::broken(&path, format!("expected format {FORMAT}, found {format}"))),
        }
    }

    fn logs(self) -> LogSeals {
        LogSeals { lengths: self.logs, sha256: self.log_sha256 }
    }

    /// The names of the checkpoint's other files, the model first.
    fn names(&self) -> impl Iterator<Item = &str> {
        let others = self.files.keys().map(String::as_str).filter(|name| *name != MODEL);
        [MODEL].into_iter().chain(others)
    }

    /// Checks one of the other files against its seal.
    fn check(&self, folder: &Path, name: &str) -> Result<()> {
        let path = folder.join(name);
        self.seal(folder, name)?.check(&path, &FileSeal::read(&path)?)
    }

    /// The seal of one of the checkpoint's other files.
    fn seal(&self, folder: &Path, name: &str) -> Result<&FileSeal> {
        let missing = || Error::broken(&folder.join(STATE), format!("says nothing about {name}"));
        self.files.get(name).ok_or_else(missing)
    }
}

/// Checks all files in `folder` against their seals, without loading them into memory.
fn check(folder: &Path) -> Result<()> {
    let state = State::read(folder)?;
    state.names().try_for_each(|name| state.check(folder, name))
}

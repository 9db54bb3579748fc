//! A checkpoint: the model, the velocities, and where the run stands.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use gradamp_core::optim::{Sgd, SgdSettings};
use gradamp_core::train::{Snapshot, TrainState};
use gradamp_core::{Backend, Parameters, Tensor, files};
use gradamp_models::{Metadata, export, export_values};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Error, LogLengths, Result, read_json, swap, write_json};

const MODEL: &str = "model.safetensors";
const MOMENTUM: &str = "momentum.safetensors";
const STATE: &str = "state.json";
/// The form of `state.json`; another number is refused.
const FORMAT: u32 = 1;

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
    /// Where the run stands.
    train: TrainState,
    /// How long the run's files were.
    logs: LogLengths,
    /// The other files of the checkpoint.
    files: BTreeMap<String, FileSeal>,
}

/// What a file must be.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileSeal {
    bytes: u64,
    sha256: String,
}

/// All that a run needs to go on.
#[derive(Debug)]
pub struct LoadedCheckpoint<B: Backend> {
    /// The optimiser with its velocities.
    pub sgd: Sgd<B>,
    /// Where the run stands.
    pub state: TrainState,
    /// How long the run's files were.
    pub logs: LogLengths,
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

    /// The file with the model.
    pub fn model(&self) -> PathBuf {
        self.path.join(MODEL)
    }

    /// Saves the snapshot in the place of what was there before, all at once.
    ///
    /// **Errors:** a folder that cannot be written or is full; then the old checkpoint stays.
    pub fn save<B: Backend>(
        &self,
        snapshot: &Snapshot<'_, B>,
        logs: LogLengths,
        metadata: &Metadata,
    ) -> Result<()> {
        swap::replace(&self.path, |folder| {
            let Snapshot { parameters, sgd, state } = snapshot;
            export(&folder.join(MODEL), parameters, metadata)?;
            export_values(&folder.join(MOMENTUM), parameters, metadata, |id| {
                Ok(sgd.velocity(id).map(Tensor::to_vec).transpose()?)
            })?;
            let mut files = BTreeMap::new();
            for name in [MODEL, MOMENTUM] {
                files.insert(name.to_owned(), FileSeal::of(&folder.join(name))?);
            }
            let state = State { format: FORMAT, train: (*state).clone(), logs, files };
            write_json(&folder.join(STATE), &state)
        })
    }

    /// Puts a whole checkpoint in place where saving was interrupted; returns whether there is one.
    pub fn recover(&self) -> Result<bool> {
        swap::recover(&self.path, |folder| read_state(folder).is_ok())
    }

    /// Reads the checkpoint into `parameters`.
    ///
    /// **Errors:** a file that is missing, truncated or changed; a checkpoint of another model, width or number of
    /// classes.
    pub fn load<B: Backend>(
        &self,
        parameters: &mut Parameters<B>,
        settings: SgdSettings,
    ) -> Result<LoadedCheckpoint<B>> {
        let state = read_state(&self.path)?;
        gradamp_models::import(&self.model(), parameters)?;
        let archive = gradamp_models::Archive::open(&self.path.join(MOMENTUM))?;
        let velocities = archive.values("", parameters, |p| archive.shape(&p.path).is_some())?;
        let mut sgd = Sgd::new(settings, parameters)?;
        for (id, values) in velocities {
            let velocity =
                Tensor::from_slice(parameters.backend(), parameters.get(id).value.shape(), &values)?;
            sgd.set_velocity(parameters, id, velocity)?;
        }
        Ok(LoadedCheckpoint { sgd, state: state.train, logs: state.logs })
    }
}

/// Reads `state.json` and holds the other files against it.
fn read_state(folder: &Path) -> Result<State> {
    let path = folder.join(STATE);
    let state: State = read_json(&path)?;
    if state.format != FORMAT {
        return Err(Error::broken(&path, format!("expected format {FORMAT}, found {}", state.format)));
    }
    for name in [MODEL, MOMENTUM] {
        let Some(expected) = state.files.get(name) else {
            return Err(Error::broken(&path, format!("says nothing about {name}")));
        };
        let file = folder.join(name);
        let found = FileSeal::of(&file)?;
        if found.bytes != expected.bytes {
            let message =
                format!("is truncated or changed: expected {} bytes, found {}", expected.bytes, found.bytes);
            return Err(Error::broken(&file, message));
        }
        if found.sha256 != expected.sha256 {
            let message = format!("is changed: expected SHA-256 {}, found {}", expected.sha256, found.sha256);
            return Err(Error::broken(&file, message));
        }
    }
    Ok(state)
}

impl FileSeal {
    fn of(path: &Path) -> Result<Self> {
        let mut file = files::open(path).map_err(Error::io(path, "read"))?;
        let (mut hash, mut bytes) = (Sha256::new(), 0);
        let mut block = vec![0; 1 << 20];
        loop {
            let n = file.read(&mut block).map_err(Error::io(path, "read"))?;
            if n == 0 {
                break;
            }
            hash.update(&block[..n]);
            bytes += n as u64;
        }
        let sha256 = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { bytes, sha256 })
    }
}

//! The run folder: every file that a run writes.
//!
//! | file | content |
//! |---|---|
//! | `config.toml` | every setting as resolved, with where it came from |
//! | `run.json` | version, commit, seed, device, data, times, outcome, expected gains, the seal of `config.toml`, its own seal |
//! | `metrics.jsonl` | a line per step interval and per epoch |
//! | `amplification.jsonl` | each draw of amplified sites |
//! | `gradients.jsonl` | per epoch and site: gradients before and after amplification, and signals if they are measured |
//! | `evaluations.jsonl` | per evaluation: the confusion matrix, and for each example a 1 if it was classified correctly, else a 0 |
//! | `checkpoints/last`, `checkpoints/best` | the model, the velocities, where the run stands, the seals of both and of the logs |
//!
//! Epochs, steps and phases are counted from 0. A number that is not finite is `null`. Each log loads into a table as it is:
//! `pandas.read_json("evaluations.jsonl", lines=True)` needs no types of columns.

mod checkpoint;
mod clean;
mod clock;
mod data;
mod disk;
mod error;
mod findings;
mod folder;
mod follow;
mod held_folder;
pub mod lines;
mod logs;
pub(crate) mod null_is_nan;
mod owned;
mod record;
mod recorder;
pub(crate) mod seal;
mod side_by_side;
mod status;
mod summary;
mod swap;
mod table;
mod tensors;

pub use checkpoint::{Checkpoint, LoadedCheckpoint, OpenCheckpoint, read_model};
pub use clean::{CheckpointName, Spare, remove_spares, spares};
pub use clock::{Timestamp, timestamp};
pub use data::RunData;
pub use disk::write_file;
pub(crate) use disk::{read_json, write_json};
pub use error::{Error, Result};
pub use findings::{Finding, Verdict, findings};
pub use folder::RunFolder;
pub use follow::{Change, Follower};
pub use logs::{Log, LogSeals, Logs, PerLog};
pub use owned::check_not_owned;
pub use record::{RunRecord, Session, VERSION, commit};
pub use recorder::Recorder;
pub use seal::{FileSeal, StudySeal};
pub use side_by_side::side_by_side;
pub use status::RunStatus;
pub use summary::{RunSummary, find_runs};
pub use table::phase_table;
pub use tensors::OptimizerTensor;

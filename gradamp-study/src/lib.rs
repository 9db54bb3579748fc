//! Configurations, run folders, sweeps, comparisons and reports, as a library.
//!
//! | module | holds |
//! |---|---|
//! | [`config`] | the settings of a run, each with its origin |
//! | [`run_folder`] | the files of a run: logs, checkpoints, seals |
//! | [`sweep`] | many runs by one file: the plan, and the results |
//! | [`compare`] | two groups of runs, or the cells of a sweep, compared with tests and intervals |
//! | [`slurm`] | the jobs of a sweep on a cluster |
//! | [`statistics`] | the tests, intervals, effect sizes and corrections |
//! | [`report`] | pages with figures about a run, several runs or a sweep |
//! | [`range_test`] | the learning-rate range test |
//! | [`export`] | one table of all epochs of runs, as CSV or Parquet |
//! | [`tensorboard`] | event files |
//!
//! ```
//! use gradamp_study::statistics::{holm, welch};
//!
//! // The last accuracies of three amplified runs and of three without amplification.
//! let test = welch(&[37.1, 36.8, 38.0], &[35.0, 35.9, 34.8]).ok_or("too few runs")?;
//! let corrected = holm(&[test.p, 0.03]);
//! assert!(test.p < 0.05 && corrected[0] >= test.p);
//! # Ok::<(), &str>(())
//! ```
//!
//! The library prints nothing and starts no process. Functions return messages, or pass them to a callback.

#![forbid(unsafe_code)]

pub mod columns;
pub mod compare;
pub mod config;
pub mod duration;
mod error;
pub mod export;
pub mod gains;
pub(crate) mod latex;
pub mod range_test;
pub mod rate;
pub mod report;
pub mod resume;
pub mod run_folder;
pub mod shell;
pub mod slurm;
pub mod statistics;
pub mod sweep;
pub mod tensorboard;

pub use error::{Error, Result};

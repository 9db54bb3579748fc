//! One table of all epochs of runs: a row for each run and epoch, for pandas, R or a spreadsheet.
//!
//! | columns | content |
//! |---|---|
//! | `study` | the sweep's name; empty for a run of no sweep |
//! | `run`, `cell`, `role` | the run's name, and its place in its sweep |
//! | `axis.NAME` | the run's value on each axis of its sweep |
//! | `seed`, `model`, `dataset`, `status` | from the run's record |
//! | `epoch`, `phase` | counted from 0, as in the run's logs |
//! | `step`, `images` | training steps, and images trained on, up to the end of the epoch |
//! | `lr`, `amplified` | the learning rate of the epoch's last step; whether amplification was on |
//! | `train_loss`, `train_accuracy`, `validation_loss`, ... | means over the examples; accuracies are shares from 0 to 1 |
//! | `best` | whether the epoch was the best so far |
//! | `attenuation` | the norm of the gradient at the first measured layer, divided by that at the last one |
//! | `skipped_steps` | steps up to the end of the epoch that changed no parameter, where loss scaling skips any |
//! | `images_per_second`, `seconds`, `total_seconds` | of the epoch's steps; `total_seconds` of the run, evaluations included |
//!
//! A value that was not measured, or is not finite, is missing: an empty cell of CSV, a null of Parquet.

mod csv;
mod epochs;
mod parquet;
mod runs;
mod table;
#[cfg(test)]
mod tests;

pub use csv::to_csv;
pub use epochs::epochs;
pub use parquet::to_parquet;
pub use table::{Column, Table, Values};

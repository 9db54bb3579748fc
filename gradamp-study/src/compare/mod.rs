//! The difference between runs, with tests and intervals.
//!
//! Two groups of runs, A and B, or a sweep's cells and their baselines. Every difference is **B − A**, and groups with the
//! same seeds are compared pair by pair, because runs of one seed begin with the same parameters and see the same images in
//! the same order.

mod analysis;
mod arrival;
mod comparison;
mod contrast;
mod course;
mod declared;
mod examples;
mod folders;
mod member;
mod options;
mod page;
mod planning;
mod settings;
mod show;
mod sweep;
mod sweep_show;
#[cfg(test)]
mod tests;
mod times_show;
mod warnings;

pub use analysis::{BestCell, CellAnalysis, CellRuns, ChosenBy, Contrasts, Side, SweepAnalysis, Trained};
pub use arrival::{Arrivals, Contest, Target};
pub use comparison::Comparison;
pub use contrast::{Contrast, SeedsNeeded};
pub use course::{Course, TimeUnit};
pub use declared::{Conclusion, ContrastResult, table as contrast_table};
pub use examples::{Examples, PairOfRuns};
pub use folders::run_folders;
pub(crate) use folders::{folders_at, runs_in};
pub use member::{Group, Member, RunNumbers};
pub use options::{ExpectedDifferences, Options, Targets};
pub use page::Form;
pub use planning::{Deviation, plan_seeds};
pub use settings::SettingDifference;
pub use sweep::{CellComparison, SweepComparison};

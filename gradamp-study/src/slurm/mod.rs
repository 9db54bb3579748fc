//! Sweeps on Slurm: the scripts of the jobs, the record of what was submitted, and the answers of Slurm's commands.
//!
//! Everything here is text; the program `gradamp` starts the commands. A sweep's runs are the tasks of one job array, and a second
//! job collects the results when the array has ended. The array is known by its number, and each task by its index in it:
//! `12_3` is task 3 of array 12.

mod queue;
mod script;
mod submission;
mod time;

pub use queue::{
    SACCT_FORMAT, SQUEUE_FORMAT, Task, TaskState, is_unknown_job, job_number, last_cause, parse_sacct,
    parse_squeue,
};
pub use script::{Jobs, Request};
pub use submission::{Submission, SubmittedJob, record, submissions};
pub use time::TimeLimit;

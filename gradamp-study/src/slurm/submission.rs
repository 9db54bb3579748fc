//! The record of what was submitted: `slurm/jobs.jsonl` in a sweep's folder.

use std::io::Write;
use std::path::{Path, PathBuf};

use gradamp_core::files;
use serde::{Deserialize, Serialize};

use crate::run_folder::{Error, Result};

/// A line of `slurm/jobs.jsonl`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Submission {
    /// The number that Slurm gave the job.
    pub job: u64,
    /// When the job was submitted.
    pub time: String,
    /// What the job does.
    pub what: SubmittedJob,
}

/// What a submitted job does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SubmittedJob {
    /// An array that trains these runs: task 0 the first of them.
    Runs(Vec<String>),
    /// An array of this many tasks, each of which trains one run after the other, as successive halving asks for.
    Workers(usize),
    /// The job that collects the results.
    Collect,
}

/// The folder of a sweep's scripts, outputs and submissions.
fn folder(root: &Path) -> PathBuf {
    root.join("slurm")
}

fn path(root: &Path) -> PathBuf {
    folder(root).join("jobs.jsonl")
}

/// Adds a job, and keeps its script beside the record.
///
/// **Errors:** the folder cannot be written.
pub fn record(root: &Path, submission: &Submission, script: &str) -> Result<()> {
    let path = path(root);
    let line = serde_json::to_string(submission)
        .map_err(|error| Error::broken(&path, format!("cannot be written as JSON: {error}")))?;
    let file = std::fs::File::options().create(true).append(true).open(&path);
    let written = file.and_then(|mut file| {
        file.write_all(format!("{line}\n").as_bytes())?;
        file.sync_all()
    });
    written.map_err(Error::io(&path, "write"))?;
    let script_path = folder(root).join(format!("{}.sh", submission.job));
    crate::run_folder::write_file(&script_path, script.as_bytes())
}

/// All jobs that were submitted for the sweep in `root`, the first one first; none if there is no record.
///
/// **Errors:** a record that cannot be read or is damaged. The error names the line.
pub fn submissions(root: &Path) -> Result<Vec<Submission>> {
    let path = path(root);
    if !path.exists() {
        return Ok(Vec::new());
    }
    let text = files::read_to_string(&path).map_err(Error::io(&path, "read"))?;
    let parse = |(number, line): (usize, &str)| {
        serde_json::from_str(line)
            .map_err(|error| Error::broken(&path, format!("line {}: is damaged: {error}", number + 1)))
    };
    text.lines().enumerate().map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn submissions_are_read_back() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(submissions(root.path()).unwrap(), []);
        std::fs::create_dir(root.path().join("slurm")).unwrap();
        let jobs = [
            SubmittedJob::Runs(vec!["a".into(), "b".into()]),
            SubmittedJob::Workers(3),
            SubmittedJob::Collect,
        ];
        let all: Vec<Submission> = jobs
            .into_iter()
            .zip(7..)
            .map(|(what, job)| Submission { job, time: "now".into(), what })
            .collect();
        for submission in &all {
            record(root.path(), submission, "#!/bin/bash\n").unwrap();
        }
        assert_eq!(submissions(root.path()).unwrap(), all);
        assert!(root.path().join("slurm/8.sh").is_file());
        std::fs::write(path(root.path()), "{\"job\": 1}\n").unwrap();
        assert!(submissions(root.path()).unwrap_err().to_string().contains("line 1: is damaged"));
    }
}

//! Slurm's commands: what is queued and running, submitting and cancelling.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::failure::{Failure, Result};
use gradamp_study::run_folder::timestamp;
use gradamp_study::slurm::{
    SACCT_FORMAT, SQUEUE_FORMAT, Submission, SubmittedJob, Task, is_unknown_job, job_number, last_cause,
    parse_sacct, parse_squeue, record, submissions,
};

/// The largest array that Slurm takes unless its configuration says otherwise.
const MAX_ARRAY: usize = 1001;
/// As many bytes of a task's output as are read for the cause of its last restart.
const END: u64 = 16 << 10;

/// The tasks of a sweep that Slurm knows.
#[derive(Debug, Default)]
pub struct Tasks {
    /// The newest task of each run.
    pub of_runs: BTreeMap<String, Task>,
    /// The tasks that train one run after the other.
    pub workers: Vec<Task>,
    /// The arrays with a task that waits or runs.
    pub active: Vec<u64>,
}

/// Whether the sweep in `root` was submitted to Slurm. If its record is damaged, asking for the tasks says so.
pub fn is_submitted(root: &Path) -> bool {
    submissions(root).map_or(true, |all| !all.is_empty())
}

/// Asks Slurm for the tasks of the sweep in `root`. With `ended`, also the accounting is asked for tasks that `squeue` has forgotten; a
/// cluster without accounting knows tasks for minutes after their end.
///
/// **Errors:** the record of what was submitted is damaged; `squeue` is missing or fails.
pub fn tasks(root: &Path, ended: bool) -> Result<Tasks> {
    let submissions = submissions(root)?;
    let arrays: Vec<&Submission> =
        submissions.iter().filter(|submission| submission.what != SubmittedJob::Collect).collect();
    if arrays.is_empty() {
        return Ok(Tasks::default());
    }
    let jobs = arrays.iter().map(|submission| submission.job.to_string()).collect::<Vec<_>>().join(",");
    let jobs = format!("--jobs={jobs}");
    let queued =
        call("squeue", &["--array", "--noheader", "--states=all", &jobs, "--Format", SQUEUE_FORMAT], None);
    let queued = match queued {
        Ok(text) => parse_squeue(&text),
        Err(CallError::Refused(message)) if is_unknown_job(&message) => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    let past = match ended {
        true => {
            let arguments = ["--allocations", "--noheader", "--parsable2", &jobs, "--format", SACCT_FORMAT];
            call("sacct", &arguments, None).map(|text| parse_sacct(&text)).unwrap_or_default()
        }
        false => Vec::new(),
    };
    let mut tasks = Tasks::default();
    for Submission { job, what, .. } in arrays {
        // What squeue says is newer than the accounting.
        let known = past.iter().chain(&queued).filter(|task| task.job == *job);
        for task in known {
            let mut task = task.clone();
            if let (true, Some(index)) = (task.restarts > 0, task.index) {
                let output = end_of(&root.join("slurm").join(format!("{job}_{index}.log")));
                task.cause = output.and_then(|output| last_cause(&output)).unwrap_or_default();
            }
            if task.is_active() && !tasks.active.contains(job) {
                tasks.active.push(*job);
            }
            match what {
                SubmittedJob::Runs(runs) => {
                    if let Some(run) = task.index.and_then(|index| runs.get(index)) {
                        tasks.of_runs.insert(run.clone(), task);
                    }
                }
                _ => tasks.workers.push(task),
            }
        }
    }
    Ok(tasks)
}

/// The last lines of a task's output; `None` if it cannot be read.
fn end_of(path: &Path) -> Option<String> {
    let mut file = gradamp_core::files::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(END))).ok()?;
    let mut bytes = Vec::new();
    file.take(END).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// Submits a job and records it in the sweep's folder. Returns its number.
///
/// **Errors:** `sbatch` refuses the job; the record cannot be written.
pub fn submit(root: &Path, arguments: &[String], script: &str, what: SubmittedJob) -> Result<u64> {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let answer = call("sbatch", &arguments, Some(script))?;
    let job = job_number(&answer).ok_or_else(|| {
        Failure::failed(format!("sbatch: expected the number of the job, found {:?}", answer.trim()))
    })?;
    let submission = Submission { job, time: timestamp().rfc3339(), what };
    record(root, &submission, script)?;
    Ok(job)
}

/// Ends all tasks of these arrays. Those that run save first.
///
/// **Errors:** `scancel` is missing or fails.
pub fn cancel(jobs: &[u64]) -> Result<()> {
    let jobs: Vec<String> = jobs.iter().map(u64::to_string).collect();
    call("scancel", &jobs.iter().map(String::as_str).collect::<Vec<_>>(), None)?;
    Ok(())
}

/// Checks that jobs can be submitted from here.
///
/// **Errors:** there is no `sbatch`.
pub fn check() -> Result<()> {
    call("sbatch", &["--version"], None)?;
    Ok(())
}

/// The largest number of tasks of an array.
pub fn max_array() -> usize {
    let config = call("scontrol", &["show", "config"], None).unwrap_or_default();
    let line = config.lines().find_map(|line| line.strip_prefix("MaxArraySize"));
    let size = line.and_then(|line| line.trim_start_matches([' ', '=']).trim().parse().ok());
    size.unwrap_or(MAX_ARRAY).max(1)
}

enum CallError {
    Missing(&'static str, std::io::Error),
    Refused(String),
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        Failure::failed(match error {
            CallError::Missing(name, error) if error.kind() == ErrorKind::NotFound => format!(
                "found no {name} on the path: sweeps on a cluster need Slurm's commands, as on a login node"
            ),
            CallError::Missing(name, error) => format!("cannot start {name}: {error}"),
            CallError::Refused(message) => message,
        })
    }
}

/// Runs one of Slurm's commands and returns what it prints.
fn call(name: &'static str, arguments: &[&str], input: Option<&str>) -> Result<String, CallError> {
    let mut command = Command::new(name);
    command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
    // Ctrl-C must not end a command between the submission of a job and its record.
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let mut child = command.spawn().map_err(|error| CallError::Missing(name, error))?;
    if let (Some(mut stdin), Some(input)) = (child.stdin.take(), input) {
        let _ = stdin.write_all(input.as_bytes()); // a command that refuses its options does not read the script
    }
    let output = child.wait_with_output().map_err(|error| CallError::Missing(name, error))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let own = |line: &str| {
        let line = line.trim().strip_prefix(name).map_or(line, |line| line.trim_start_matches(": "));
        line.strip_prefix("error: ").unwrap_or(line).trim().to_owned()
    };
    let lines: Vec<String> = text.lines().map(own).filter(|line| !line.is_empty()).collect();
    let reason = if lines.is_empty() { output.status.to_string() } else { lines.join("; ") };
    Err(CallError::Refused(format!("{name}: {reason}")))
}

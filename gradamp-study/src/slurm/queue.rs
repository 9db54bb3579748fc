//! What `squeue` and `sacct` say about the tasks of an array.

use std::fmt;

/// The columns that [`parse_squeue`] reads, for `squeue --array --noheader --Format`.
pub const SQUEUE_FORMAT: &str = "ArrayJobID:|,ArrayTaskID:|,State:|,NodeList:|,Reason:|,RestartCnt:|";
/// The columns that [`parse_sacct`] reads, for `sacct --allocations --noheader --parsable2 --format`.
pub const SACCT_FORMAT: &str = "JobID,State,NodeList,ExitCode";

/// The cause of a task that another job displaced.
const PREEMPTION: &str = "preemption";
/// How versions of Slurm report a task whose output they could not open.
const NO_OUTPUT: [&str; 3] = ["JobLaunchFailure", "RaisedSignal:53", "exit code 0:53"];

/// The state of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskState {
    /// The task waits for a node.
    Queued,
    /// The task runs, or is being started or ended.
    Running,
    /// The task lost its node to another job.
    Preempted,
    /// The task ended with success.
    Finished,
    /// The task was cancelled.
    Cancelled,
    /// The task ended with an error, or lost its node.
    Failed,
}

/// What Slurm says about one task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// The number of the array, or of a job that is no array.
    pub job: u64,
    /// The index in the array; `None` for a job that is no array.
    pub index: Option<usize>,
    /// The state.
    pub state: TaskState,
    /// The state in Slurm's word, such as `PENDING`.
    pub word: String,
    /// The node; empty if the task has none.
    pub node: String,
    /// Why the task is in this state; empty if Slurm gives no reason.
    pub reason: String,
    /// How often the task was requeued.
    pub restarts: u32,
    /// Why it was requeued last, from its output; empty if that is not known.
    pub cause: String,
}

impl Task {
    /// Whether the task will still run, or is running.
    pub fn is_active(&self) -> bool {
        matches!(self.state, TaskState::Queued | TaskState::Running)
    }
}

impl fmt::Display for Task {
    /// The state, the node, the reason and the number of restarts: `queued (Resources), requeued 2 times`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.state {
            TaskState::Queued if self.restarts > 0 && self.cause == PREEMPTION => "preempted, requeued",
            TaskState::Queued if self.restarts > 0 => "requeued",
            state => state.name(),
        })?;
        if !self.node.is_empty() {
            write!(f, " on {}", self.node)?;
        }
        if NO_OUTPUT.iter().any(|sign| self.reason.contains(sign)) {
            write!(f, " ({}: does the node see the sweep's folder?)", self.reason)?;
        } else if !self.reason.is_empty() {
            write!(f, " ({})", self.reason)?;
        }
        match self.restarts {
            0 => return Ok(()),
            1 => f.write_str(", restarted once")?,
            times => write!(f, ", restarted {times} times")?,
        }
        if self.cause.is_empty() { Ok(()) } else { write!(f, " by {}", self.cause) }
    }
}

impl TaskState {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            TaskState::Queued => "queued",
            TaskState::Running => "running",
            TaskState::Preempted => "preempted",
            TaskState::Finished => "finished",
            TaskState::Cancelled => "cancelled",
            TaskState::Failed => "failed",
        }
    }

    fn of(word: &str) -> Self {
        match word {
            "PENDING" | "REQUEUED" | "REQUEUE_FED" | "REQUEUE_HOLD" | "SPECIAL_EXIT" | "RESV_DEL_HOLD" => {
                TaskState::Queued
            }
            "PREEMPTED" => TaskState::Preempted,
            "COMPLETED" => TaskState::Finished,
            "CANCELLED" | "REVOKED" => TaskState::Cancelled,
            "BOOT_FAIL" | "DEADLINE" | "FAILED" | "NODE_FAIL" | "OUT_OF_MEMORY" | "TIMEOUT" => {
                TaskState::Failed
            }
            // RUNNING, COMPLETING, CONFIGURING, STAGE_OUT, SUSPENDED and what other versions may add: a task that may still run is
            // never submitted again.
            _ => TaskState::Running,
        }
    }
}

/// Reads the lines of `squeue` with [`SQUEUE_FORMAT`]. Lines of another form are left out.
pub fn parse_squeue(text: &str) -> Vec<Task> {
    text.lines().filter_map(squeue_line).collect()
}

fn squeue_line(line: &str) -> Option<Task> {
    // A reason may contain any character, and it is the only such column.
    let (head, restarts) = line.trim().strip_suffix('|')?.rsplit_once('|')?;
    let mut parts = head.splitn(5, '|').map(str::trim);
    let (job, index, word, node, reason) =
        (parts.next()?, parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let index = match index {
        "N/A" => None,
        index => Some(index.parse().ok()?),
    };
    let reason = if reason == "None" { "" } else { reason };
    Some(Task {
        job: job.parse().ok()?,
        index,
        state: TaskState::of(word),
        word: word.to_owned(),
        node: node.to_owned(),
        reason: reason.to_owned(),
        restarts: restarts.trim().parse().unwrap_or(0),
        cause: String::new(),
    })
}

/// Reads the lines of `sacct` with [`SACCT_FORMAT`]. Lines of another form, such as `12_[4-7]` of tasks that wait, are left out.
pub fn parse_sacct(text: &str) -> Vec<Task> {
    text.lines().filter_map(sacct_line).collect()
}

fn sacct_line(line: &str) -> Option<Task> {
    let parts: Vec<&str> = line.split('|').map(str::trim).collect();
    let [id, word, node, exit] = parts.as_slice() else { return None };
    let (job, index) = match id.split_once('_') {
        Some((job, index)) => (job, Some(index.parse().ok()?)),
        None => (*id, None),
    };
    // `CANCELLED by 1000`
    let word = word.split(' ').next().unwrap_or_default();
    let state = TaskState::of(word);
    let reason = match state {
        TaskState::Failed => format!("{word}, exit code {exit}"),
        _ => String::new(),
    };
    let node = if *node == "None assigned" { "" } else { node };
    Some(Task {
        job: job.parse().ok()?,
        index,
        state,
        word: word.to_owned(),
        node: node.to_owned(),
        reason,
        restarts: 0,
        cause: String::new(),
    })
}

/// Why a task was requeued last, by what Slurm and the task wrote to its output; `None` if they wrote nothing of it.
pub fn last_cause(output: &str) -> Option<String> {
    output.lines().rev().find_map(|line| {
        if line.starts_with("requeued: ") {
            return Some("a request to save, as before a time limit".to_owned());
        }
        // slurmstepd-n1: error: *** JOB 7 ON n1 CANCELLED AT 2026-11-30T22:09:58 DUE TO PREEMPTION ***
        let (_, cause) = line.strip_prefix("slurmstepd")?.split_once(" DUE TO ")?;
        Some(cause.split(['*', ',']).next()?.trim().to_lowercase())
    })
}

/// The number of the submitted job: what `sbatch --parsable` prints, `12` or `12;cluster`.
pub fn job_number(text: &str) -> Option<u64> {
    text.lines().last()?.trim().split(';').next()?.parse().ok()
}

/// Whether this message of `squeue` says that Slurm has forgotten the job, as it does minutes after the end of a job.
pub fn is_unknown_job(message: &str) -> bool {
    message.contains("Invalid job id")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_lines_of_squeue_are_read() {
        let text = "12|0|RUNNING|n1|None|2|\n12|3|PENDING||(launch failed | held)|0|\n13|N/A|PENDING||Dependency|0|\nslurm: x\n";
        let tasks = parse_squeue(text);
        let shown: Vec<String> = tasks.iter().map(Task::to_string).collect();
        assert_eq!(
            shown,
            ["running on n1, restarted 2 times", "queued ((launch failed | held))", "queued (Dependency)"]
        );
        assert_eq!(
            tasks.iter().map(|task| (task.job, task.index)).collect::<Vec<_>>(),
            [(12, Some(0)), (12, Some(3)), (13, None)]
        );
        let requeued = parse_squeue("12|0|PENDING||BeginTime|1|").remove(0);
        assert_eq!(requeued.to_string(), "requeued (BeginTime), restarted once");
        assert!(tasks.iter().all(Task::is_active));
    }

    #[test]
    fn the_lines_of_sacct_are_read() {
        let text = "12_0|COMPLETED|n1|0:0\n12_1|CANCELLED by 1000|n2|0:15\n12_[2-4]|PENDING|None assigned|0:0\n12_5|TIMEOUT|n1|0:0\n\
                    12_6|PREEMPTED|n3|0:0\n";
        let shown: Vec<String> = parse_sacct(text).iter().map(Task::to_string).collect();
        assert_eq!(
            shown,
            ["finished on n1", "cancelled on n2", "failed on n1 (TIMEOUT, exit code 0:0)", "preempted on n3"]
        );
        assert!(!parse_sacct(text).iter().any(Task::is_active));
    }

    #[test]
    fn the_output_tells_why_a_task_was_requeued() {
        let preempted = "a\nslurmstepd-n1: error: *** JOB 7 ON n1 CANCELLED AT 2026-11-30T22:09:58 DUE TO PREEMPTION ***\nb\n";
        assert_eq!(last_cause(preempted).as_deref(), Some(PREEMPTION));
        let later = format!("{preempted}requeued: the run is saved\n");
        assert!(last_cause(&later).is_some_and(|cause| cause.contains("time limit")));
        assert_eq!(last_cause("nothing DUE TO anything\n"), None);
        let task = Task { cause: PREEMPTION.into(), ..parse_squeue("12|0|PENDING||BeginTime|1|").remove(0) };
        assert_eq!(task.to_string(), "preempted, requeued (BeginTime), restarted once by preemption");
    }

    #[test]
    fn a_node_that_cannot_write_the_output_is_named() {
        let task = parse_squeue("12|0|FAILED|n2|RaisedSignal:53(Real-time_signal_19)|0|").remove(0);
        assert!(task.to_string().ends_with("does the node see the sweep's folder?)"), "{task}");
        let task = parse_squeue("12|0|FAILED|n2|JobLaunchFailure|0|").remove(0);
        assert_eq!(
            task.to_string(),
            "failed on n2 (JobLaunchFailure: does the node see the sweep's folder?)"
        );
    }

    #[test]
    fn a_job_has_a_number() {
        for (text, number) in
            [("12\n", Some(12)), ("12;fast\n", Some(12)), ("note\n7", Some(7)), ("", None), ("a", None)]
        {
            assert_eq!(job_number(text), number, "{text:?}");
        }
    }

    #[test]
    fn a_state_of_another_version_counts_as_running() {
        assert!(parse_squeue("1|2|SIGNALING|n1|None|0|")[0].is_active());
    }

    proptest! {
        #[test]
        fn what_squeue_prints_is_read_back(
            job in 1_u64..1 << 40,
            index in prop::option::of(0_usize..100_000),
            node in "[a-z0-9\\[\\],-]{0,20}",
            reason in "[ -~]{0,30}",
            restarts in 0_u32..100,
        ) {
            let shown = index.map_or("N/A".to_owned(), |index: usize| index.to_string());
            let task = parse_squeue(&format!("{job}|{shown}|PENDING|{node}|{reason}|{restarts}|")).remove(0);
            let expected = match reason.trim() { "None" => "", reason => reason };
            prop_assert_eq!((task.job, task.index, task.node, task.restarts), (job, index, node, restarts));
            prop_assert_eq!(task.reason, expected);
        }

        #[test]
        fn no_text_is_refused_with_a_panic(text in "[0-9A-Z_|\n \\[\\]-]{0,80}") {
            parse_squeue(&text);
            parse_sacct(&text);
            job_number(&text);
        }
    }
}

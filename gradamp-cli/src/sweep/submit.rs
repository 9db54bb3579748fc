//! `gradamp sweep --slurm`: submits the missing runs of a sweep to a cluster.

use std::path::Path;
use std::sync::atomic::Ordering;

use super::args::SweepArgs;
use crate::failure::{Failure, INTERRUPTED, Result, SUCCESS};
use crate::{interrupt, output, slurm};
use gradamp_study::config::Device;
use gradamp_study::run_folder::RunStatus;
use gradamp_study::shell;
use gradamp_study::slurm::{Jobs, Request, SubmittedJob};
use gradamp_study::sweep::{Claim, Plan, ResultLine, RunSnapshot, collect};

/// The jobs of the sweep in `root`.
///
/// **Errors:** a path that `sbatch` cannot take; a folder that exists on this machine only.
pub fn jobs(args: &SweepArgs, root: &Path, plan: &Plan) -> Result<Jobs> {
    let options = &args.cluster;
    let request = Request {
        partition: options.partition.clone(),
        time: options.time.clone(),
        gres: options.gres.clone(),
        cpus: options.cpus_per_task,
        most: options.max_parallel,
        more: options.sbatch_arg.clone(),
    };
    let root = std::path::absolute(root).map_err(Failure::failed)?;
    check_shared(&root)?;
    let program = std::env::current_exe().map_err(Failure::failed)?;
    let folder = std::env::current_dir().map_err(Failure::failed)?;
    let device = args.device.as_ref().map(Device::to_string);
    Jobs::new(&root, &program, &folder, &plan.name, device, request).map_err(Failure::usage)
}

/// Checks that the nearest existing folder of `root` is not in this machine's memory. Whether the nodes see another folder is known only
/// there: the jobs check it.
#[cfg(target_os = "linux")]
fn check_shared(root: &Path) -> Result<()> {
    use nix::sys::statfs::{TMPFS_MAGIC, statfs};
    let Some(there) = root.ancestors().find(|folder| folder.exists()) else { return Ok(()) };
    match statfs(there) {
        Ok(found) if found.filesystem_type() == TMPFS_MAGIC => Err(Failure::usage(format!(
            "{}: this folder is in the memory of this machine (tmpfs), which no other node sees; choose another --out",
            root.display()
        ))),
        _ => Ok(()),
    }
}

#[cfg(not(target_os = "linux"))]
fn check_shared(_: &Path) -> Result<()> {
    Ok(())
}

/// Prints the commands and the scripts for the missing runs, and submits nothing.
pub fn dry_run(jobs: &Jobs, root: &Path, plan: &Plan) -> Result<u8> {
    let status = |name: &str| RunSnapshot::read(root, name).status;
    let missing: Vec<String> = plan
        .runs
        .iter()
        .filter(|run| !matches!(status(&run.name), RunStatus::Finished | RunStatus::Diverged))
        .map(|run| run.name.clone())
        .collect();
    let show = |arguments: &[String], script: &str| {
        let words: Vec<String> = arguments.iter().map(|word| shell::word(word.as_ref())).collect();
        output::result(format_args!("sbatch {} <<'SCRIPT'\n{script}SCRIPT\n", words.join(" ")));
    };
    let runs = if plan.halving.is_some() { &[][..] } else { &missing };
    show(&jobs.array_arguments(missing.len(), None), &jobs.array_script(runs));
    // The array's number is known only when it is submitted.
    let arguments: Vec<String> = jobs
        .collect_arguments(&[0])
        .iter()
        .map(|word| word.replace("afterany:0", "afterany:ARRAY"))
        .collect();
    show(&arguments, &jobs.collect_script());
    Ok(SUCCESS)
}

/// Submits the runs that are neither done nor queued; returns the exit code.
///
/// **Errors:** `sbatch` or `squeue` is missing or refuses; another call submits the same sweep.
pub fn submit(args: &SweepArgs, jobs: &Jobs, root: &Path, plan: &Plan) -> Result<u8> {
    let stop = interrupt::listen()?;
    interrupt::set_current_work("recording what was submitted");
    let Some(_claim) = Claim::acquire(root, ".slurm")? else {
        let message = format!("{}: another process is submitting this sweep", root.display());
        return Err(Failure::failed(message));
    };
    let known = slurm::tasks(root, false)?;
    let is_over = |line: &ResultLine| {
        matches!(line.status, RunStatus::Finished | RunStatus::Diverged | RunStatus::StoppedEarly)
    };
    let lines = collect(root, plan)?;
    let done = lines.iter().filter(|line| is_over(line)).count();
    let is_active = |name: &str| known.of_runs.get(name).is_some_and(|task| task.is_active());
    let left = lines.iter().filter(|line| !is_over(line) && !is_active(&line.run));
    let missing: Vec<String> = left.map(|line| line.run.clone()).collect();
    let most = args.cluster.max_parallel;
    // At a rung a task may have to wait for the runs of other tasks, so that tasks take runs as they come.
    let is_by_worker = plan.halving.is_some();
    let tasks = match is_by_worker {
        true => {
            let active = known.workers.iter().filter(|task| task.is_active()).count();
            missing.len().min(most.unwrap_or(missing.len())).saturating_sub(active)
        }
        false => missing.len(),
    };
    if tasks == 0 {
        let queued = lines.len() - done;
        output::result(format_args!(
            "nothing to submit: of {} runs {done} are done, and {queued} are queued or running",
            lines.len()
        ));
        return Ok(SUCCESS);
    }
    std::fs::create_dir_all(jobs.outputs()).map_err(Failure::failed)?;
    let mut arrays = known.active.clone();
    let mut previous = None;
    let size = slurm::max_array();
    let parts: Vec<(usize, &[String])> = match is_by_worker {
        true => vec![(tasks.min(size), &[][..])],
        false => missing.chunks(size).map(|runs| (runs.len(), runs)).collect(),
    };
    for (tasks, runs) in parts {
        if stop.load(Ordering::SeqCst) {
            output::message("interrupted; to submit the rest, give the same command again");
            return Ok(INTERRUPTED);
        }
        let what =
            if is_by_worker { SubmittedJob::Workers(tasks) } else { SubmittedJob::Runs(runs.to_vec()) };
        // Several arrays that are throttled follow each other, so that together they keep to the throttle.
        let after = previous.filter(|_| most.is_some());
        let job = slurm::submit(root, &jobs.array_arguments(tasks, after), &jobs.array_script(runs), what)?;
        let throttle = most.map_or(String::new(), |most| format!(", at most {most} at a time"));
        output::result(format_args!(
            "submitted job {job}: {tasks} tasks{throttle}, for {} of {} runs ({done} are done)",
            missing.len(),
            lines.len()
        ));
        arrays.push(job);
        previous = Some(job);
    }
    let collects =
        slurm::submit(root, &jobs.collect_arguments(&arrays), &jobs.collect_script(), SubmittedJob::Collect);
    let watch = format!("{} watch {}", shell::program(), shell::path(root));
    match &collects {
        Ok(job) => output::result(format_args!("submitted job {job}: collects the results at the end")),
        Err(_) => {
            output::message("warning: the runs are submitted, but not the job that collects the results")
        }
    }
    output::result(format_args!(
        "to watch: {watch}; to end: {watch} --cancel; outputs: {}",
        jobs.outputs().join("*.log").display()
    ));
    collects.map(|_| SUCCESS)
}

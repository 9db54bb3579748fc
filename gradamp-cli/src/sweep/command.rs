//! `gradamp sweep`: from a study to its results.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use super::args::{Shard, Share, SweepArgs};
use super::board::Setup;
use super::estimate::estimate;
use super::jobs::default_jobs;
use super::planning;
use super::preflight::{Extent, preflight};
use super::runner;
use super::show::Show;
use super::submit;
use crate::failure::{Failure, INTERRUPTED, Result, SUCCESS};
use crate::{device, hangup, interrupt, output, slurm};
use gradamp_study::columns::{columns, header};
use gradamp_study::config::{Device, KeyError};
use gradamp_study::duration::duration;
use gradamp_study::run_folder::RunStatus;
use gradamp_study::shell;
use gradamp_study::sweep::Plan;
use gradamp_study::sweep::Study;
use gradamp_study::sweep::{Expansion, expand};
use gradamp_study::sweep::{RunSnapshot, collect, different_data};
use gradamp_study::sweep::{SweepData, check_runs, default_root, keep_draws, planned, prepare};

/// `gradamp sweep`; returns the exit code.
pub fn sweep(args: &SweepArgs) -> Result<u8> {
    if let Some(root) = &args.collect {
        let plan = Plan::read(&SweepData::plan_of(root)?)?;
        collect(root, &plan)?;
        return finish(root, Share::WHOLE);
    }
    if let Some(root) = &args.planned {
        return train_planned(args, root);
    }
    let cluster = args.cluster.slurm;
    if cluster && !args.dry_run {
        slurm::check()?;
    }
    let study = Study::find(args.study.as_deref().unwrap_or(Path::new("")))?;
    let shard = args.shard.unwrap_or(Shard::WHOLE);
    if let (Some((_, origin)), true) = (&study.halving, shard.of > 1) {
        let message = "compares all cells at its rungs, so --shard cannot be used; processes that are started \
                       without --shard share the runs of one folder";
        return Err(KeyError::new(message.into()).at("halving", origin).into());
    }
    let deviation = planning::deviation(args)?; // checked before the data is read, which may take long
    let mut expansion = expand(&study, args.controls || study.controls)?;
    let root = args.out.clone().unwrap_or_else(|| default_root(&study));
    let say = |line: &str| output::message(line);
    expansion.warnings.iter().for_each(|warning| say(&format!("warning: {warning}")));
    keep_draws(&root, &mut expansion)?;
    check_runs(&root, &expansion)?;
    // A login node may have neither the data nor the device of the nodes.
    let device = if cluster { Some(&Device::Cpu) } else { args.device.as_ref() };
    let extents = preflight(&expansion, device, args.dry_run || cluster, &say)?;
    let share = Share::Part(shard);
    let jobs = if cluster { Some(submit::jobs(args, &root, &expansion.plan)?) } else { None };
    if let (true, Some(jobs)) = (args.dry_run, &jobs) {
        return submit::dry_run(jobs, &root, &expansion.plan);
    }
    if args.dry_run {
        let done = dry_run(args, &root, &expansion, &extents, share)?;
        planning::print(args, deviation, study.seeds.len(), expansion.plan.contrasts.len());
        return Ok(done);
    }
    for name in prepare(&root, &study, &expansion)? {
        say(&format!(
            "{}: the run is no longer in the plan; its folder is kept",
            root.join("runs").join(name).display()
        ));
    }
    match jobs {
        Some(jobs) => submit::submit(args, &jobs, &root, &expansion.plan),
        None => run(args, root, &expansion, &extents, share),
    }
}

/// Trains runs of the sweep in `root` as its plan says.
///
/// **Errors:** no run of this name.
fn train_planned(args: &SweepArgs, root: &Path) -> Result<u8> {
    let expansion = planned(root)?;
    let runs = &expansion.plan.runs;
    let share = match &args.run {
        Some(name) => {
            let index = runs.iter().position(|run| run.name == *name);
            Share::Run(index.ok_or_else(|| {
                Failure::usage(format!("--run: {}: its plan has no run called {name:?}", root.display()))
            })?)
        }
        None => Share::Part(args.shard.unwrap_or(Shard::WHOLE)),
    };
    let extents = preflight(&expansion, args.device.as_ref(), false, &|line| output::message(line))?;
    run(args, root.to_owned(), &expansion, &extents, share)
}

/// Trains the runs and prints the results.
fn run(
    args: &SweepArgs,
    root: PathBuf,
    expansion: &Expansion,
    extents: &[Extent],
    share: Share,
) -> Result<u8> {
    // The results are always written again from the run folders.
    if let (true, Err(error)) = (SweepData::files(&root)[1].exists(), SweepData::read(&root)) {
        output::message(format_args!("warning: {error}"));
    }
    collect(&root, &expansion.plan)?;
    let mine = (0..expansion.plan.runs.len()).filter(|&i| share.holds(i)).count();
    let jobs = match args.jobs {
        Some(jobs) => usize::from(jobs),
        None => default_jobs(expansion, mine, args.device.as_ref()),
    };
    let setup = Setup {
        root: root.clone(),
        program: std::env::current_exe().map_err(Failure::failed)?,
        expansion,
        extents,
        share,
        threads: (device::cores() / jobs).max(1),
        device: args.device.clone(),
    };
    let stop = interrupt::listen()?;
    if !args.quiet {
        hangup::follow_terminal();
    }
    let mut show = Show::new(args.quiet, mine, jobs);
    let together = if jobs > 1 { format!(", {jobs} at a time") } else { String::new() };
    show.say(&format!("{}{together}; folder: {}", count(expansion, mine), root.display()));
    let outcome = runner::run(&setup, jobs, stop, &mut show);
    show.finish();
    collect(&root, &expansion.plan)?;
    outcome?;
    if stop.load(Ordering::SeqCst) {
        let data = SweepData::read(&root)?;
        let finished = data.results.iter().filter(|line| line.status == RunStatus::Finished).count();
        output::message(format_args!(
            "interrupted: {finished} of {} runs are finished; continue with: {}",
            data.results.len(),
            resume_command(args, &root)
        ));
        return Ok(INTERRUPTED);
    }
    let data = SweepData::read(&root)?;
    let mine = data.results.iter().enumerate().filter(|(i, _)| share.holds(*i)).map(|(_, line)| line);
    let left: Vec<&str> = mine
        .filter(|line| matches!(line.status, RunStatus::Interrupted | RunStatus::Pending))
        .map(|line| line.run.as_str())
        .collect();
    let finished = finish(&root, share);
    if left.is_empty() {
        return finished;
    }
    output::message(format_args!(
        "some runs were interrupted by another process; not finished: {}; continue with: {}",
        left.join(", "),
        resume_command(args, &root)
    ));
    finished.map(|_| INTERRUPTED)
}

/// Prints the results and lists the failed runs.
///
/// **Errors:** a run failed.
fn finish(root: &Path, share: Share) -> Result<u8> {
    let data = SweepData::read(root)?;
    output::result(format_args!("{}\n{}", gradamp_study::sweep::cell_table(&data.cells()), root.display()));
    let warnings = data.warnings.iter().cloned().chain(different_data(root, &data.plan));
    warnings.for_each(|warning| output::message(format_args!("warning: {warning}")));
    let mine = || data.results.iter().enumerate().filter(|(i, _)| share.holds(*i)).map(|(_, line)| line);
    let is_failed = |status| matches!(status, RunStatus::Failed | RunStatus::Diverged);
    let failed: Vec<String> = mine()
        .filter(|line| is_failed(line.status))
        .map(|line| {
            format!(
                "  {} {}: {}",
                line.run,
                line.status,
                line.error.as_deref().unwrap_or("the reason is unknown")
            )
        })
        .collect();
    if failed.is_empty() {
        return Ok(SUCCESS);
    }
    Err(Failure::failed(format!(
        "{} of {} runs failed:\n{}",
        failed.len(),
        mine().count(),
        failed.join("\n")
    )))
}

/// Prints the plan and an estimate of its duration.
fn dry_run(
    args: &SweepArgs,
    root: &Path,
    expansion: &Expansion,
    extents: &[Extent],
    share: Share,
) -> Result<u8> {
    let runs = || expansion.plan.runs.iter().enumerate().filter(|(i, _)| share.holds(*i));
    let mut rows = vec![header(["run", "role", "epochs", "steps", "state"])];
    for (i, run) in runs() {
        let steps = run.epochs * extents[i].steps;
        let status = RunSnapshot::read(root, &run.name).status;
        let cells = [
            run.name.clone(),
            run.role.to_string(),
            run.epochs.to_string(),
            steps.to_string(),
            status.to_string(),
        ];
        rows.push(cells.to_vec());
    }
    let estimate = estimate(root, expansion, extents, args.device.as_ref(), &|i| share.holds(i))?;
    output::result(columns(&rows, "<<>><").trim_end());
    output::result(format_args!("\n{}", count(expansion, runs().count())));
    estimate.sources.iter().for_each(output::result);
    let most = if expansion.plan.halving.is_some() { ", or less if runs are stopped early" } else { "" };
    output::result(format_args!("about {} if one run follows the other{most}", duration(estimate.seconds)));
    Ok(SUCCESS)
}

/// Describes how many runs and cells there are.
fn count(expansion: &Expansion, mine: usize) -> String {
    let plan = &expansion.plan;
    let all = plan.runs.len();
    let part = if mine == all { String::new() } else { format!("{mine} of ") };
    format!("{}: {part}{all} runs in {} cells", plan.name, plan.cells().len())
}

/// The command that continues this sweep.
fn resume_command(args: &SweepArgs, root: &Path) -> String {
    let mut command = match &args.study {
        Some(study) => {
            format!("{} sweep {} --out {}", shell::program(), shell::path(study), shell::path(root))
        }
        None => format!("{} sweep --planned {}", shell::program(), shell::path(root)),
    };
    if let Some(run) = &args.run {
        command += &format!(" --run {}", shell::word(run.as_ref()));
    }
    if args.controls {
        command += " --controls";
    }
    if let Some(Shard { part, of }) = args.shard {
        command += &format!(" --shard {part}/{of}");
    }
    if let Some(jobs) = args.jobs {
        command += &format!(" --jobs {jobs}");
    }
    if let Some(device) = &args.device {
        command += &format!(" --device {}", shell::word(device.to_string().as_ref()));
    }
    command
}

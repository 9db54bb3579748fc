//! Chooses the next run to train from the files on the disk, so that several processes can share a sweep.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::args::Share;
use super::child::{Ended, Task};
use super::preflight::Extent;
use gradamp_study::config::Device;
use gradamp_study::run_folder::RunStatus;
use gradamp_study::run_folder::{Result, RunFolder};
use gradamp_study::sweep::Fate;
use gradamp_study::sweep::{Claim, RunSnapshot, fates, forget_failure, has_begun, record_failure};
use gradamp_study::sweep::{Expansion, SweepData};

/// What all runs of a sweep have in common.
#[derive(Debug)]
pub struct Setup<'a> {
    /// The sweep's folder.
    pub root: PathBuf,
    /// The program that trains a run.
    pub program: PathBuf,
    /// The plan and the settings.
    pub expansion: &'a Expansion,
    /// The amount of work in each run.
    pub extents: &'a [Extent],
    /// The runs that belong to this process.
    pub share: Share,
    /// The number of threads for a run whose settings don't set one.
    pub threads: usize,
    /// The device that replaces the study's device.
    pub device: Option<Device>,
}

/// The runs of this process, and the state of each.
#[derive(Debug)]
pub struct Board<'a> {
    setup: &'a Setup<'a>,
    states: Vec<RunState>,
    /// The runs that this process is training, each with the flag that its claim was lost.
    claims: Vec<(usize, Arc<AtomicBool>)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RunState {
    /// A run of another process.
    NotMine,
    /// A run that may have to be trained.
    Open,
    /// This process is training the run. A run whose folder existed may lose it while it is trained.
    Busy { had_folder: bool, is_deleted: bool },
    /// Another process stopped the run. It is left to the next call of the sweep.
    Interrupted,
    /// The run is settled. `left_folder` is true if this process trained the run and the run's folder exists.
    Settled { left_folder: bool },
}

/// The next task of a worker.
#[derive(Debug)]
pub enum Next {
    /// A run to train.
    Do(Box<Job>),
    /// Wait, because other processes train the remaining runs, or other runs must reach a rung first.
    Wait,
    /// All runs are settled.
    End,
}

/// A run to train, which this process has claimed.
#[derive(Debug)]
pub struct Job {
    /// The index of the run in the plan.
    pub index: usize,
    /// The process to start.
    pub task: Task,
    /// The number of epochs that are done already.
    pub from: usize,
    /// The number of epochs that are done when the job ends.
    pub to: usize,
    _claim: Claim,
}

impl<'a> Board<'a> {
    /// A board on which the state of every run of the share is still unknown.
    pub fn new(setup: &'a Setup<'a>) -> Self {
        let state = |i| if setup.share.holds(i) { RunState::Open } else { RunState::NotMine };
        let states = (0..setup.expansion.plan.runs.len()).map(state).collect();
        Self { setup, states, claims: Vec::new() }
    }

    /// The number of settled runs of this process, and the number of all its runs.
    pub fn count(&self) -> (usize, usize) {
        let is_settled = |state: &&RunState| matches!(state, RunState::Settled { .. });
        let settled = self.states.iter().filter(is_settled).count();
        (settled, self.states.iter().filter(|state| **state != RunState::NotMine).count())
    }

    /// The number of epochs left in the runs that are not settled.
    pub fn epochs_left(&self) -> usize {
        let runs = self.setup.expansion.plan.runs.iter().zip(&self.states);
        runs.filter(|(_, state)| matches!(state, RunState::Open | RunState::Busy { .. }))
            .map(|(run, _)| run.epochs)
            .sum()
    }

    /// Claims the next run that can be trained.
    ///
    /// **Errors:** a claim cannot be written.
    pub fn next(&mut self) -> Result<Next> {
        let Setup { root, expansion, .. } = self.setup;
        let plan = &expansion.plan;
        // With rungs, the results of the other runs decide whether a run continues.
        let fates = plan.halving.is_some().then(|| {
            let snapshots: Vec<RunSnapshot> =
                plan.runs.iter().map(|run| RunSnapshot::read(root, &run.name)).collect();
            fates(plan, &snapshots)
        });
        let mut others_do_some = false;
        for (i, run) in plan.runs.iter().enumerate() {
            if self.states[i] != RunState::Open {
                continue;
            }
            let fate = fates.as_ref().map_or(Fate::Continues(None), |fates| fates[i]);
            let is_over = |snapshot: &RunSnapshot| {
                matches!(snapshot.status, RunStatus::Finished | RunStatus::Diverged)
                    || matches!(fate, Fate::Stopped(_))
            };
            // Most runs of a sweep that goes on are over, which needs no claim to see.
            if is_over(&RunSnapshot::read(root, &run.name)) {
                self.states[i] = RunState::Settled { left_folder: false };
                continue;
            }
            let Some(claim) = Claim::acquire(root, &run.name)? else {
                others_do_some = true;
                continue;
            };
            let snapshot = RunSnapshot::read(root, &run.name);
            if is_over(&snapshot) {
                self.states[i] = RunState::Settled { left_folder: false };
                continue;
            }
            let target = match fate {
                Fate::Continues(rung) => rung.unwrap_or(run.epochs).min(run.epochs),
                Fate::Stopped(_) => 0,
            };
            let done = snapshot.epochs.len();
            let waits_at_rung = target < run.epochs && done >= target;
            let is_foreign =
                has_begun(root, &run.name) && RunFolder::is_in_use(&SweepData::run_dir_in(root, &run.name));
            if waits_at_rung || is_foreign {
                others_do_some |= is_foreign;
                continue;
            }
            self.states[i] = RunState::Busy { had_folder: has_begun(root, &run.name), is_deleted: false };
            let task = self.task(i, target);
            self.claims.push((i, claim.lost()));
            return Ok(Next::Do(Box::new(Job { index: i, task, from: done, to: target, _claim: claim })));
        }
        let has = |is: fn(&RunState) -> bool| self.states.iter().any(is);
        let is_left = has(|state| matches!(state, RunState::Open | RunState::Busy { .. }));
        // The remaining runs wait at a rung for an interrupted run, which the next call of the sweep continues.
        let waits_for_nothing = has(|state| *state == RunState::Interrupted)
            && !others_do_some
            && !has(|state| matches!(state, RunState::Busy { .. }));
        Ok(if is_left && !waits_for_nothing { Next::Wait } else { Next::End })
    }

    fn task(&self, index: usize, target: usize) -> Task {
        let Setup { root, program, expansion, extents, threads, device, .. } = self.setup;
        let run = &expansion.plan.runs[index];
        let settings = &expansion.settings[index].config.train;
        // An epoch is evaluated when the next one begins. A run therefore stops one step after the rung.
        let limit = (target < run.epochs).then(|| (target * extents[index].steps) as u64 + 1);
        Task {
            program: program.clone(),
            config: SweepData::config_path_in(root, &run.name),
            folder: SweepData::run_dir_in(root, &run.name),
            resumes: has_begun(root, &run.name),
            study: expansion.plan.study.clone(),
            threads: (settings.threads == 0).then_some(*threads),
            device: device.clone(),
            max_steps: limit,
        }
    }

    /// The folders of running runs of this process that were deleted since the last call.
    pub fn deleted(&mut self) -> Vec<PathBuf> {
        let Setup { root, expansion, .. } = self.setup;
        let mut deleted = Vec::new();
        for (run, state) in expansion.plan.runs.iter().zip(&mut self.states) {
            let RunState::Busy { had_folder, is_deleted: is_deleted @ false } = state else { continue };
            let has_folder = has_begun(root, &run.name);
            *is_deleted = *had_folder && !has_folder;
            *had_folder |= has_folder;
            if *is_deleted {
                deleted.push(SweepData::run_dir_in(root, &run.name));
            }
        }
        deleted
    }

    /// The folders of running runs that another machine took over, because this one could not write for minutes.
    pub fn lost(&self) -> Vec<PathBuf> {
        let lost = self.claims.iter().filter(|(_, is_lost)| is_lost.load(Ordering::SeqCst));
        lost.map(|(index, _)| {
            SweepData::run_dir_in(&self.setup.root, &self.setup.expansion.plan.runs[*index].name)
        })
        .collect()
    }

    /// Records how the process of a run ended, and writes a failure that the run could not write itself. Returns the
    /// state of the run.
    ///
    /// **Errors:** the failure cannot be written.
    pub fn ended(&mut self, job: &Job, ended: &Ended) -> Result<RunSnapshot> {
        let root = &self.setup.root;
        let run = &self.setup.expansion.plan.runs[job.index];
        let name = &run.name;
        let is_own = |(index, _): &&(usize, Arc<AtomicBool>)| *index == job.index;
        let is_lost =
            self.claims.iter().find(is_own).is_some_and(|(_, is_lost)| is_lost.load(Ordering::SeqCst));
        self.claims.retain(|(index, _)| *index != job.index);
        if is_lost {
            self.states[job.index] = RunState::Open; // another machine trains it; nothing of it is ours to write
            return Ok(RunSnapshot::read(root, name));
        }
        self.deleted();
        let is_deleted = matches!(self.states[job.index], RunState::Busy { is_deleted: true, .. });
        if is_deleted && !has_begun(root, name) {
            // Files that the process wrote after its folder was deleted would be in the way of a new run.
            let _ = std::fs::remove_dir_all(SweepData::run_dir_in(root, name)); // fails if there are no such files
        }
        let failure = match ended {
            Ended::NotStarted => None,
            _ if is_deleted => Some("its folder was deleted while the run was in progress".to_owned()),
            Ended::Failed(error) if RunSnapshot::read(root, name).status != RunStatus::Diverged => {
                Some(error.clone())
            }
            Ended::Success if !has_begun(root, name) => Some("it left no run folder".to_owned()),
            Ended::Failed(_) | Ended::Success | Ended::Interrupted => None,
        };
        match &failure {
            Some(error) => record_failure(root, name, error)?,
            None => forget_failure(root, name)?,
        }
        let mut snapshot = RunSnapshot::read(root, name);
        if *ended == Ended::Success && failure.is_none() && snapshot.epochs.len() < job.to {
            let error = format!("ended after {} of {} epochs", snapshot.epochs.len(), job.to);
            record_failure(root, name, &error)?;
            snapshot = RunSnapshot::read(root, name);
        }
        let goes_on = snapshot.status == RunStatus::Interrupted && *ended == Ended::Success;
        self.states[job.index] = match ended {
            _ if failure.is_some() => RunState::Settled { left_folder: has_begun(root, name) },
            Ended::Interrupted => RunState::Interrupted,
            Ended::NotStarted => RunState::Open,
            _ if goes_on => RunState::Open,
            _ => RunState::Settled { left_folder: has_begun(root, name) },
        };
        Ok(snapshot)
    }

    /// Records for which runs of this process the folders were deleted.
    ///
    /// A run may fail because its folder is being deleted. The record then names both the failure and the deletion.
    ///
    /// **Errors:** a failure cannot be written.
    pub fn note_deleted(&self) -> Result<()> {
        let root = &self.setup.root;
        for (run, state) in self.setup.expansion.plan.runs.iter().zip(&self.states) {
            if *state != (RunState::Settled { left_folder: true }) || has_begun(root, &run.name) {
                continue;
            }
            let note = match RunSnapshot::read(root, &run.name).error {
                Some(error) => format!("{error}; its folder was deleted"),
                None => "its folder was deleted after the run had ended".to_owned(),
            };
            record_failure(root, &run.name, &note)?;
        }
        Ok(())
    }
}

//! Shows the folder of a sweep as a table of its runs.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::cluster::Cluster;
use super::one::Watched;
use gradamp_study::run_folder::{Result, RunStatus};
use gradamp_study::sweep::{Plan, PlannedRun, ResultLine, SweepData};

/// A run of the sweep.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Row {
    pub name: String,
    /// The status.
    pub status: RunStatus,
    /// The number of finished epochs, and of all epochs.
    pub epochs: (f64, usize),
    /// The accuracy on the test examples, in the last evaluation and in the best epoch.
    pub accuracy: (Option<f64>, Option<f64>),
    /// The duration of the run in seconds. For a running run, the seconds that are left.
    pub seconds: Option<f64>,
    pub error: Option<String>,
    /// What Slurm says about the run's task.
    pub task: Option<String>,
}

impl Row {
    pub fn is_running(&self) -> bool {
        self.status == RunStatus::Running
    }

    /// Whether the run has ended.
    pub fn is_over(&self) -> bool {
        self.status.is_over()
    }
}

/// A sweep whose folder is watched for changes.
#[derive(Debug)]
pub struct Table {
    pub root: PathBuf,
    pub rows: Vec<Row>,
    /// The selected row.
    pub chosen: usize,
    /// The last error of reading the folder.
    pub trouble: Option<String>,
    /// The runs in progress.
    open: BTreeMap<String, Watched>,
    stamp: Vec<Option<(u64, SystemTime)>>,
    /// The tasks of a sweep that was submitted to Slurm.
    cluster: Option<Cluster>,
}

impl Table {
    /// Opens the sweep in `root`.
    ///
    /// **Errors:** the plan is missing or damaged; a line of the results is damaged. The error names the line.
    pub fn open(root: &Path) -> Result<Self> {
        let mut table = Self {
            root: root.to_owned(),
            rows: Vec::new(),
            chosen: 0,
            trouble: None,
            open: BTreeMap::new(),
            stamp: Vec::new(),
            cluster: Cluster::of(root),
        };
        table.read()?;
        table.follow();
        Ok(table)
    }

    /// Reads changes. Returns whether there are any.
    pub fn poll(&mut self) -> bool {
        let stamp = self.stamp_now();
        let mut is_new = stamp != self.stamp || self.trouble.is_some();
        if is_new {
            let trouble = self.read().err().map(|error| format!("error: {error}"));
            is_new = trouble != self.trouble || trouble.is_none();
            self.trouble = trouble;
        }
        is_new |= self.cluster.as_mut().is_some_and(Cluster::poll);
        self.name_tasks();
        self.follow() || is_new
    }

    /// Waits for Slurm's answer, so that one frame shows it.
    pub fn wait_for_tasks(&mut self) {
        if let Some(cluster) = &mut self.cluster {
            cluster.wait();
            self.name_tasks();
        }
    }

    /// What Slurm answered instead of the tasks, or the tasks that belong to no run.
    pub fn cluster_note(&self) -> Option<&str> {
        self.cluster.as_ref().and_then(Cluster::note)
    }

    fn name_tasks(&mut self) {
        let Some(cluster) = &self.cluster else { return };
        for row in &mut self.rows {
            row.task = cluster.task(&row.name);
        }
    }

    /// The folder of a row's run.
    pub fn run_dir(&self, row: usize) -> Option<PathBuf> {
        Some(SweepData::run_dir_in(&self.root, &self.rows.get(row)?.name))
    }

    fn stamp_now(&self) -> Vec<Option<(u64, SystemTime)>> {
        let stamp = |path: PathBuf| {
            let metadata = fs::metadata(path).ok()?;
            Some((metadata.len(), metadata.modified().ok()?))
        };
        SweepData::files(&self.root).map(stamp).to_vec()
    }

    fn read(&mut self) -> Result<()> {
        self.stamp = self.stamp_now();
        let [plan, results] = SweepData::files(&self.root);
        let plan = Plan::read(&plan)?;
        // There are no results before the first run has ended.
        let lines = if results.exists() { SweepData::results_so_far(&self.root)? } else { Vec::new() };
        let mut results: BTreeMap<String, ResultLine> =
            lines.into_iter().map(|line: ResultLine| (line.run.clone(), line)).collect();
        let row = |planned: PlannedRun| {
            let Some(line) = results.remove(&planned.name) else {
                let (name, epochs) = (planned.name, (0.0, planned.epochs));
                return Row { name, status: RunStatus::Pending, epochs, ..Row::default() };
            };
            Row {
                name: planned.name,
                status: line.status,
                epochs: (line.epochs as f64, planned.epochs),
                accuracy: (line.last_test_accuracy, line.test_accuracy_at_best),
                seconds: (line.seconds > 0.0).then_some(line.seconds),
                error: line.error,
                task: None,
            }
        };
        self.rows = plan.runs.into_iter().map(row).collect();
        self.chosen = self.chosen.min(self.rows.len().saturating_sub(1));
        Ok(())
    }

    /// Reads the folders of runs that may be in progress.
    fn follow(&mut self) -> bool {
        let mut is_new = false;
        for row in &mut self.rows {
            if row.is_over() {
                self.open.remove(&row.name);
                continue;
            }
            if !self.open.contains_key(&row.name) {
                // A run that cannot be read, or not yet, is shown as in the results.
                let Ok(watched) = Watched::open(&SweepData::run_dir_in(&self.root, &row.name)) else {
                    continue;
                };
                self.open.insert(row.name.clone(), watched);
                is_new = true;
            }
            let Some(watched) = self.open.get_mut(&row.name) else { continue };
            is_new |= watched.poll();
            is_new |= row.fill(watched);
        }
        is_new
    }
}

impl Row {
    /// Updates a row from the run's folder. Returns whether the row has changed.
    fn fill(&mut self, watched: &Watched) -> bool {
        let dashboard = &watched.dashboard;
        let before = self.clone();
        self.status = match dashboard.status {
            _ if dashboard.is_folder_missing => return false,
            RunStatus::Pending => return false,
            RunStatus::StepLimit | RunStatus::Killed => RunStatus::Interrupted,
            status => status,
        };
        self.epochs.0 = dashboard.epochs_done().unwrap_or(0.0);
        self.accuracy =
            (dashboard.accuracy.test.last(), dashboard.best.as_ref().and_then(|line| line.test_accuracy));
        self.seconds = dashboard.seconds_left().or(dashboard.epoch.as_ref().map(|line| line.total_seconds));
        *self != before
    }
}

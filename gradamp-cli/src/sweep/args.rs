//! The command line of `gradamp sweep`.

use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;

use gradamp_study::config::Device;
use gradamp_study::config::number::{real, whole};
use gradamp_study::slurm::TimeLimit;

/// `gradamp sweep`
#[derive(Args, Debug)]
pub struct SweepArgs {
    /// The study: a file with a base configuration, axes and seeds, or the name of a study inside the program, such as
    /// first-comparison (`config list` lists them).
    #[arg(value_name = "STUDY.toml|NAME", required_unless_present_any = ["collect", "planned"])]
    pub study: Option<PathBuf>,
    /// The sweep's folder; by default sweeps/NAME. If the folder already holds this sweep, the sweep is continued.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// For each amplified cell, add control runs that apply the factor to the learning rate instead.
    #[arg(long)]
    pub controls: bool,
    /// Print the plan and an estimate of its duration, and train nothing. This also works if the data is missing.
    #[arg(long)]
    pub dry_run: bool,
    /// With --dry-run: print how many seeds a paired design needs to detect this difference in test accuracy, in
    /// percentage points.
    #[arg(long, value_name = "POINTS", value_parser = real, requires = "dry_run", requires = "spread")]
    pub difference: Option<f64>,
    /// With --dry-run: the standard deviation of the differences between runs of one seed, in percentage points.
    /// Prints which difference the study's seeds can detect.
    #[arg(long, value_name = "POINTS", value_parser = real, requires = "dry_run", group = "spread")]
    pub deviation: Option<f64>,
    /// With --dry-run: estimate this deviation from the folder of an earlier sweep, by pooling the differences of its
    /// cells to their baselines.
    #[arg(long, value_name = "DIR", requires = "dry_run", group = "spread")]
    pub deviation_from: Option<PathBuf>,
    /// Train only part I of N of the runs, with I from 1 to N.
    #[arg(long, value_name = "I/N", allow_hyphen_values = true)]
    pub shard: Option<Shard>,
    /// The number of runs to train at the same time. They share the cores. By default one for each core, as far as
    /// the free memory has 2 GiB for each; one on a GPU, and where a contrast measures seconds.
    #[arg(long, value_parser = whole::<u16>(1..=256))]
    pub jobs: Option<u16>,
    /// The device, in place of the one in the study: auto, cpu, gpu, gpu:NUMBER or gpu:NAME.
    #[arg(long)]
    pub device: Option<Device>,
    /// Write the results of the sweep in this folder again, from its run folders, and train nothing.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["study", "out", "controls", "dry_run", "shard", "jobs", "device"])]
    pub collect: Option<PathBuf>,
    /// Train the sweep in this folder as its plan says, without reading the study again. The tasks on a cluster do so.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["study", "out", "controls", "dry_run", "collect"])]
    pub planned: Option<PathBuf>,
    /// With --planned: train only the run of this name.
    #[arg(long, value_name = "NAME", requires = "planned", conflicts_with = "shard")]
    pub run: Option<String>,
    /// The options of a sweep on Slurm.
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// Print only errors and results.
    #[arg(long, short)]
    pub quiet: bool,
}

/// The options of a sweep on Slurm.
#[derive(Args, Debug)]
pub struct ClusterArgs {
    /// Submit the runs to Slurm instead of training them here: one job array with a task for each missing run, and a job that collects
    /// the results. With --dry-run: print the scripts and submit nothing.
    #[arg(long, conflicts_with_all = ["collect", "planned", "shard", "jobs", "difference"])]
    pub slurm: bool,
    /// With --slurm: the partition.
    #[arg(long, value_name = "NAME", requires = "slurm")]
    pub partition: Option<String>,
    /// With --slurm: the time limit of a task, such as 8:00:00. A task saves before it and is queued again until its run is done.
    #[arg(long, value_name = "TIME", requires = "slurm")]
    pub time: Option<TimeLimit>,
    /// With --slurm: the generic resources of a task, such as gpu:1.
    #[arg(long, value_name = "LIST", requires = "slurm")]
    pub gres: Option<String>,
    /// With --slurm: the number of cores of a task.
    #[arg(long, value_name = "N", requires = "slurm", value_parser = whole::<u16>(1..=4096))]
    pub cpus_per_task: Option<u16>,
    /// With --slurm: the largest number of tasks at the same time.
    #[arg(long, value_name = "N", requires = "slurm", value_parser = whole::<usize>(1..=100_000))]
    pub max_parallel: Option<usize>,
    /// With --slurm: a further argument for sbatch, such as --sbatch-arg=--account=ME. May be given several times.
    #[arg(long, value_name = "ARG", requires = "slurm", allow_hyphen_values = true)]
    pub sbatch_arg: Vec<String>,
}

/// The runs of a sweep that this process trains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// A part of all runs.
    Part(Shard),
    /// The run at this index of the plan.
    Run(usize),
}

impl Share {
    /// All runs.
    pub const WHOLE: Self = Self::Part(Shard::WHOLE);

    /// Whether the run at `index` of the plan belongs to this process.
    pub fn holds(self, index: usize) -> bool {
        match self {
            Share::Part(shard) => shard.holds(index),
            Share::Run(own) => own == index,
        }
    }
}

/// One part of a sweep's runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    /// The number of the part, counted from 1.
    pub part: usize,
    /// The number of parts.
    pub of: usize,
}

impl Shard {
    /// All runs.
    pub const WHOLE: Self = Self { part: 1, of: 1 };

    /// Whether the run at `index` of the plan belongs to this part. Consecutive runs belong to different parts, so
    /// that the numbers of seeds of a cell in two parts differ by at most one.
    pub fn holds(self, index: usize) -> bool {
        index % self.of == self.part - 1
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('/').and_then(|(i, n)| Some((i.parse().ok()?, n.parse().ok()?)));
        match parts {
            Some((part, of)) if (1..=of).contains(&part) => Ok(Self { part, of }),
            _ => Err(format!("found {text:?}, expected I/N with I from 1 to N, such as 2/4")),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_shard_is_one_of_its_parts() {
        assert_eq!("2/4".parse(), Ok(Shard { part: 2, of: 4 }));
        for wrong in ["", "0/4", "5/4", "1/0", "2", "a/b", "1/2/3", "-1/2"] {
            assert!(wrong.parse::<Shard>().unwrap_err().contains("expected I/N"), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn shards_are_a_balanced_partition(of in 1_usize..20, runs in 0_usize..200) {
            let shards = || (1..=of).map(|part| Shard { part, of });
            for index in 0..runs {
                prop_assert_eq!(shards().filter(|shard| shard.holds(index)).count(), 1);
            }
            let sizes: Vec<usize> = shards().map(|s| (0..runs).filter(|&i| s.holds(i)).count()).collect();
            prop_assert!(sizes.iter().max().unwrap() - sizes.iter().min().unwrap() <= 1);
        }
    }
}

//! The command line of `gradamp compare`.

use std::path::{Path, PathBuf};

use clap::Args;

use super::{Asked, Options};
use crate::config::number::real;
use crate::failure::{Failure, Result};
use crate::statistics::Correction;
use crate::sweep::SweepData;

/// `gradamp compare`
#[derive(Args, Clone, Debug)]
pub struct CompareArgs {
    /// Run folders: A B, or A1 A2 A3 -- B1 B2 B3 with a run for each seed; or the folder of a sweep, for its cells against
    /// their baselines. A folder of run folders stands for all of them.
    #[arg(value_name = "RUN", required_unless_present = "a", conflicts_with_all = ["a", "b"])]
    pub runs: Vec<PathBuf>,
    /// The runs of group B.
    #[arg(value_name = "RUN_OF_B", last = true, conflicts_with_all = ["a", "b"])]
    pub runs_of_b: Vec<PathBuf>,
    /// The runs of group A; * and ? stand for parts of names.
    #[arg(long, value_name = "RUN", num_args = 1.., requires = "b")]
    pub a: Vec<PathBuf>,
    /// The runs of group B.
    #[arg(long, value_name = "RUN", num_args = 1.., requires = "a")]
    pub b: Vec<PathBuf>,
    /// Time is taken until this test accuracy is reached, such as 0.7; by default the mean last accuracy of the group that
    /// ends worse.
    #[arg(long, value_name = "ACCURACY", value_parser = real)]
    pub target: Option<f64>,
    /// Say how many seeds would show a difference of so much accuracy, such as 0.01; by default the one that was found.
    #[arg(long, value_name = "ACCURACY", value_parser = real)]
    pub difference: Option<f64>,
    /// With what chance so many seeds would show it.
    #[arg(long, value_name = "CHANCE", default_value_t = 0.8, value_parser = real)]
    pub power: f64,
    /// In which settings A and B are meant to differ (keys or tables, such as strategy); by default amplification.
    #[arg(long, value_name = "KEY", num_args = 1..)]
    pub differ: Vec<String>,
    /// Of a sweep: the cell that all others are compared with; by default each with its own baseline.
    #[arg(long, value_name = "CELL")]
    pub baseline: Option<String>,
    /// Of a sweep: how the p-values of its cells are corrected.
    #[arg(long, value_enum, default_value_t = Correction::Holm)]
    pub correction: Correction,
    /// Print one JSON document.
    #[arg(long, conflicts_with = "markdown")]
    pub json: bool,
    /// Print tables in Markdown.
    #[arg(long)]
    pub markdown: bool,
}

/// What is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// Two groups of paths.
    Groups(Vec<PathBuf>, Vec<PathBuf>),
    /// A sweep's cells and their baselines.
    Sweep(PathBuf),
}

impl CompareArgs {
    /// What is asked for.
    ///
    /// **Errors:** paths that do not say which run belongs to which group.
    pub fn question(&self) -> Result<Question> {
        if !self.a.is_empty() {
            return Ok(Question::Groups(self.a.clone(), self.b.clone()));
        }
        // Behind -- everything is a path, for the command line; hardly for its author.
        let is_option = |path: &&PathBuf| path.to_string_lossy().starts_with("--") && !path.exists();
        if let Some(option) = self.runs_of_b.iter().find(is_option) {
            return Err(Failure::usage(format!("{}: options stand before the --", option.display())));
        }
        match (self.runs.as_slice(), self.runs_of_b.as_slice()) {
            ([sweep], []) if SweepData::is_sweep(sweep) || !sweep.is_dir() => {
                Ok(Question::Sweep(sweep.clone()))
            }
            ([a, b], []) => Ok(Question::Groups(vec![a.clone()], vec![b.clone()])),
            (a, b) if !a.is_empty() && !b.is_empty() => Ok(Question::Groups(a.to_vec(), b.to_vec())),
            ([one], []) => Err(Failure::usage(format!(
                "{}: a single folder that is no sweep; expected two runs, or two groups as in A1 A2 -- B1 B2",
                one.display()
            ))),
            (runs, _) => Err(Failure::usage(format!(
                "found {} runs and no -- between the groups; expected A1 A2 -- B1 B2, or --a A1 A2 --b B1 B2",
                runs.len()
            ))),
        }
    }

    /// How it is compared.
    ///
    /// **Errors:** a number out of its range, with its flag.
    pub fn options(&self) -> Result<Options> {
        let check = |flag: &str, value: Option<f64>| match value {
            Some(value) if !(value > 0.0 && value < 1.0) => {
                let hint = if (1.0..=100.0).contains(&value) {
                    format!(", such as {}", value / 100.0)
                } else {
                    String::new()
                };
                Err(Failure::usage(format!("{flag}: found {value}, expected a share between 0 and 1{hint}")))
            }
            _ => Ok(()),
        };
        check("--target", self.target)?;
        check("--difference", self.difference)?;
        check("--power", Some(self.power))?;
        Ok(Options {
            target: self.target.map(|target| (target, "as asked".into())),
            difference: self.difference,
            power: self.power,
            asked: match self.differ.as_slice() {
                [] => Asked::Amplification,
                keys => Asked::Keys(keys.to_vec()),
            },
            ..Options::default()
        })
    }
}

/// A group's name: the path of a single run, else what the names of its runs begin with.
pub fn group_name(given: &[PathBuf], runs: &[PathBuf]) -> String {
    if let [one] = given {
        return one.display().to_string();
    }
    let names: Vec<String> = runs.iter().map(|run| run.display().to_string()).collect();
    let first = names.first().map(String::as_str).unwrap_or_default();
    let is_common = |end: usize| names.iter().all(|name| name.starts_with(&first[..end]));
    let ends = first.char_indices().map(|(i, c)| i + c.len_utf8());
    let common = ends.take_while(|&end| is_common(end)).last().map_or("", |end| &first[..end]);
    // Runs of one setting are often told apart by their seeds: `base_seed-1`, `base-s2`, `base/3`.
    let bare = |text: &str| text.trim_end_matches(|c: char| "-_=./ ".contains(c)).to_owned();
    let common = bare(common);
    let without_seed = ["seed", "-s", "_s", "/s"].iter().find_map(|end| common.strip_suffix(end)).map(bare);
    match without_seed.unwrap_or(common) {
        name if Path::new(&name).file_name().is_some() => name,
        _ => format!("{first} and {} more", names.len().saturating_sub(1)),
    }
}

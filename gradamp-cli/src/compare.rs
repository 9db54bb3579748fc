//! `gradamp compare`: the differences between runs, with tests and intervals.

use std::path::{Path, PathBuf};

use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use gradamp_study::compare::{
    Comparison, ExpectedDifferences, Form, Options, SweepComparison, Targets, run_folders,
};
use gradamp_study::config::number::real;
use gradamp_study::run_folder::RunData;
use gradamp_study::statistics::Correction;
use gradamp_study::sweep::SweepData;

use crate::failure::{Failure, Result};
use crate::output;

/// `gradamp compare`
#[derive(Args, Clone, Debug)]
pub struct CompareArgs {
    /// Two runs A B; or two groups with one run for each seed (A1 A2 A3 -- B1 B2 B3); or the folder of a sweep, whose
    /// cells are compared with their baselines. A folder that contains run folders stands for all of these runs.
    #[arg(value_name = "RUN", required_unless_present = "a", conflicts_with_all = ["a", "b"])]
    pub runs: Vec<PathBuf>,
    /// The runs of group B.
    #[arg(value_name = "RUN_OF_B", last = true, conflicts_with_all = ["a", "b"])]
    pub runs_of_b: Vec<PathBuf>,
    /// The runs of group A; * and ? are wildcards.
    #[arg(long, value_name = "RUN", num_args = 1.., requires = "b")]
    pub a: Vec<PathBuf>,
    /// The runs of group B.
    #[arg(long, value_name = "RUN", num_args = 1.., requires = "a")]
    pub b: Vec<PathBuf>,
    /// Measure the time until each of these test accuracies is reached, in percent, such as 60,70,75. A number below
    /// 1 is a fraction: 0.7 means 70. Default: the lower of the groups' mean last accuracies; for a sweep, the
    /// targets of the study's contrasts, or else the mean last accuracy of each baseline.
    #[arg(long, value_name = "ACCURACY", value_delimiter = ',', value_parser = real)]
    pub target: Vec<f64>,
    /// Use these quantiles, in percent, of the last accuracies of group A, or of each baseline, as targets. 50 is the
    /// median over the seeds.
    #[arg(long, value_name = "PERCENT", value_delimiter = ',', value_parser = real, conflicts_with = "target")]
    pub target_quantile: Vec<f64>,
    /// The smallest difference in accuracy that matters, in percentage points, such as 1.0. With this option, also
    /// test whether the groups are equivalent up to this difference.
    #[arg(long, value_name = "POINTS", value_parser = real)]
    pub smallest_difference: Option<f64>,
    /// Estimate how many seeds are needed to detect this difference in accuracy, such as 0.01, given the deviation of
    /// these runs.
    #[arg(long, value_name = "ACCURACY", value_parser = real)]
    pub difference: Option<f64>,
    /// The power of that estimate: the probability that this many seeds detect the difference.
    #[arg(long, value_name = "CHANCE", default_value_t = 0.8, value_parser = real)]
    pub power: f64,
    /// The settings in which A and B are meant to differ: keys or tables, such as strategy. By default, those of amplification.
    #[arg(long, value_name = "KEY", num_args = 1..)]
    pub differ: Vec<String>,
    /// For a sweep: the cell with which all other cells are compared. By default, each cell is compared with its own
    /// baseline.
    #[arg(long, value_name = "CELL")]
    pub baseline: Option<String>,
    /// For a sweep: how the p-values of its cells are corrected for multiple comparisons.
    #[arg(long, default_value = "holm", value_parser = correction())]
    pub correction: Correction,
    /// Print the comparison as one JSON document.
    #[arg(long, conflicts_with_all = ["markdown", "latex"])]
    pub json: bool,
    /// Print the tables in Markdown.
    #[arg(long)]
    pub markdown: bool,
    /// Print the tables in LaTeX, for the package booktabs; everything else is a comment.
    #[arg(long, conflicts_with = "markdown")]
    pub latex: bool,
}

/// A parser for the name of a correction. Its help explains each correction.
fn correction() -> impl TypedValueParser<Value = Correction> {
    let value = |correction: Correction| {
        PossibleValue::new(correction.name()).help(match correction {
            Correction::Holm => "Limits the probability of any false finding (Holm)",
            Correction::Bh => {
                "Limits the share of false findings among all findings (Benjamini and Hochberg)"
            }
        })
    };
    let named = |name: String| Correction::ALL.into_iter().find(|correction| correction.name() == name);
    PossibleValuesParser::new(Correction::ALL.map(value)).map(move |name| named(name).unwrap_or_default())
}

/// What to compare.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// Two groups of paths.
    Groups(Vec<PathBuf>, Vec<PathBuf>),
    /// A sweep's cells and their baselines.
    Sweep(PathBuf),
}

impl CompareArgs {
    /// Sorts the paths of the command line into two groups, or finds that they name a sweep.
    ///
    /// **Errors:** the paths do not show which run belongs to which group.
    pub fn question(&self) -> Result<Question> {
        if !self.a.is_empty() {
            return Ok(Question::Groups(self.a.clone(), self.b.clone()));
        }
        // The parser takes every word after -- for a path, but a word that begins with dashes was probably meant as
        // an option.
        let is_option = |path: &&PathBuf| path.to_string_lossy().starts_with("--") && !path.exists();
        if let Some(option) = self.runs_of_b.iter().find(is_option) {
            return Err(Failure::usage(format!("{}: expected options before the --", option.display())));
        }
        match (self.runs.as_slice(), self.runs_of_b.as_slice()) {
            ([sweep], []) if SweepData::is_sweep(sweep) || !sweep.is_dir() => {
                Ok(Question::Sweep(sweep.clone()))
            }
            ([a, b], []) => Ok(Question::Groups(vec![a.clone()], vec![b.clone()])),
            (a, b) if !a.is_empty() && !b.is_empty() => Ok(Question::Groups(a.to_vec(), b.to_vec())),
            ([one], []) => Err(Failure::usage(format!(
                "{}: found a single folder, which is not a sweep; expected two runs, or two groups as in A1 A2 -- B1 B2",
                one.display()
            ))),
            (runs, _) => Err(Failure::usage(format!(
                "found {} runs and no -- between the groups; expected A1 A2 -- B1 B2, or --a A1 A2 --b B1 B2",
                runs.len()
            ))),
        }
    }

    /// Checks the options and returns those of the comparison.
    ///
    /// **Errors:** a number is out of its range. The error names its flag.
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
        let targets = match (self.target.as_slice(), self.target_quantile.as_slice()) {
            ([], []) => Targets::Default,
            ([], shares) => {
                let is_share = |share: &f64| (0.0..=100.0).contains(share);
                if let Some(wrong) = shares.iter().find(|share| !is_share(share)) {
                    let message =
                        format!("--target-quantile: found {wrong}, expected percent, from 0 to 100");
                    return Err(Failure::usage(message));
                }
                Targets::QuantilesOfA(shares.iter().map(|share| share / 100.0).collect())
            }
            (asked, _) => Targets::Fixed(accuracies(asked)?, "as asked".into()),
        };
        check("--difference", self.difference)?;
        check("--power", Some(self.power))?;
        let expected = match self.differ.as_slice() {
            [] => ExpectedDifferences::Amplification,
            keys => ExpectedDifferences::Keys(keys.to_vec()),
        };
        Ok(Options::default()
            .with_targets(targets)
            .with_smallest_difference(self.smallest_difference.map(smallest_difference).transpose()?)
            .with_difference(self.difference)
            .with_power(self.power)
            .with_expected(expected))
    }
}

/// Converts target accuracies to fractions. A number of 1 or more is in percent.
///
/// **Errors:** a number is not above 0, or is above 100.
pub fn accuracies(targets: &[f64]) -> Result<Vec<f64>> {
    let accuracy = |&target: &f64| match target {
        _ if !(target > 0.0 && target <= 100.0) => {
            Err(Failure::usage(format!("--target: found {target}, expected percent, above 0 to 100")))
        }
        _ if target < 1.0 => Ok(target),
        _ => Ok(target / 100.0),
    };
    targets.iter().map(accuracy).collect()
}

/// Converts the smallest difference that matters from percentage points to a fraction.
///
/// **Errors:** the number is not above 0, or is above 100.
pub fn smallest_difference(points: f64) -> Result<f64> {
    match points {
        _ if points > 0.0 && points <= 100.0 => Ok(points / 100.0),
        _ => Err(Failure::usage(format!(
            "--smallest-difference: found {points}, expected percentage points, above 0 to 100"
        ))),
    }
}

/// The name of a group: the path of its only run, or the common beginning of its runs' paths.
pub fn group_name(given: &[PathBuf], runs: &[PathBuf]) -> String {
    if let [one] = given {
        return one.display().to_string();
    }
    let names: Vec<String> = runs.iter().map(|run| run.display().to_string()).collect();
    let first = names.first().map(String::as_str).unwrap_or_default();
    let is_common = |end: usize| names.iter().all(|name| name.starts_with(&first[..end]));
    let ends = first.char_indices().map(|(i, c)| i + c.len_utf8());
    let common = ends.take_while(|&end| is_common(end)).last().map_or("", |end| &first[..end]);
    // Runs with the same settings are often named by their seeds: `base_seed-1`, `base-s2`, `base/3`.
    let bare = |text: &str| text.trim_end_matches(|c: char| "-_=./ ".contains(c)).to_owned();
    let common = bare(common);
    let without_seed = ["seed", "-s", "_s", "/s"].iter().find_map(|end| common.strip_suffix(end)).map(bare);
    match without_seed.unwrap_or(common) {
        name if Path::new(&name).file_name().is_some() => name,
        _ => format!("{first} and {} more", names.len().saturating_sub(1)),
    }
}

/// Compares the runs and prints the comparison in the requested form.
pub fn compare(args: &CompareArgs) -> Result<()> {
    let options = args.options()?;
    let form = match (args.markdown, args.latex) {
        (true, _) => Form::Markdown,
        (_, true) => Form::Latex,
        _ => Form::Text,
    };
    match args.question()? {
        Question::Sweep(root) => {
            let data = SweepData::read(&root)?;
            // The page of a sweep shows no interval over test examples; the JSON holds them.
            let resamples = if args.json { options.resamples } else { 0 };
            let options = options.with_resamples(resamples);
            let sweep = SweepComparison::read(&data, &options, args.correction, args.baseline.as_deref())?;
            if args.json {
                print_json(&sweep, &sweep.warnings)?;
            } else {
                output::result(sweep.page(form));
            }
        }
        Question::Groups(a, b) => {
            if args.baseline.is_some() {
                return Err(Failure::usage("--baseline names a cell of a sweep; found two groups of runs"));
            }
            let (folders_a, folders_b) = (run_folders("A", &a)?, run_folders("B", &b)?);
            check_apart(&folders_a, &folders_b)?;
            let (name_a, name_b) = (group_name(&a, &folders_a), group_name(&b, &folders_b));
            let a = (name_a.as_str(), read(&folders_a)?);
            let b = (name_b.as_str(), read(&folders_b)?);
            let comparison = Comparison::of_runs(a, b, &options)?;
            if args.json {
                print_json(&comparison, &comparison.warnings)?;
            } else {
                output::result(comparison.page(form));
            }
        }
    }
    Ok(())
}

fn read(folders: &[PathBuf]) -> gradamp_study::Result<Vec<RunData>> {
    folders.iter().map(|folder| RunData::read(folder)).collect()
}

/// Checks that no run is in both groups.
///
/// **Errors:** a run is in both groups.
fn check_apart(a: &[PathBuf], b: &[PathBuf]) -> Result<()> {
    let real = |path: &PathBuf| path.canonicalize().unwrap_or_else(|_| path.clone());
    let on_both_sides = a.iter().find(|path| b.iter().any(|other| real(other) == real(path)));
    on_both_sides.map_or(Ok(()), |path| {
        Err(Failure::usage(format!("{} is in both groups; expected different runs", path.display())))
    })
}

/// Prints a document to stdout and its warnings also to stderr, because a filter of the document may drop them.
fn print_json(document: &impl serde::Serialize, warnings: &[String]) -> Result<()> {
    let text = serde_json::to_string_pretty(document)
        .map_err(|error| Failure::failed(format!("the comparison cannot be written as JSON: {error}")))?;
    warnings.iter().for_each(|warning| output::message(format_args!("warning: {warning}")));
    output::result(text);
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: CompareArgs,
    }

    fn question(line: &str) -> Result<(Vec<String>, Vec<String>), String> {
        let line = Line::try_parse_from(std::iter::once("compare").chain(line.split_whitespace()));
        let question =
            line.map_err(|error| error.to_string())?.args.question().map_err(|error| error.to_string())?;
        let names = |paths: Vec<PathBuf>| paths.into_iter().map(|path| path.display().to_string()).collect();
        match question {
            Question::Groups(a, b) => Ok((names(a), names(b))),
            Question::Sweep(root) => Ok((names(vec![root]), Vec::new())),
        }
    }

    #[test]
    fn groups_are_distinguished_in_each_form_of_the_command_line() {
        let groups = |a: &[&str], b: &[&str]| {
            let texts = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
            Ok((texts(a), texts(b)))
        };
        assert_eq!(question("x y"), groups(&["x"], &["y"]));
        assert_eq!(question("x1 x2 x3 -- y1 y2"), groups(&["x1", "x2", "x3"], &["y1", "y2"]));
        assert_eq!(question("x1 -- y1 y2"), groups(&["x1"], &["y1", "y2"]));
        assert_eq!(question("--a x1 x2 --b y1"), groups(&["x1", "x2"], &["y1"]));
        assert_eq!(question("--b y1 --a x1 x2 --json"), groups(&["x1", "x2"], &["y1"]));
        assert_eq!(
            question("no-such-folder"),
            groups(&["no-such-folder"], &[]),
            "a single folder is read as a sweep, whose error says what is missing"
        );
        assert!(question("x1 x2 x3").unwrap_err().contains("found 3 runs and no -- between the groups"));
        for line in [
            "",
            "--a x1",
            "--b x1",
            "x1 --a x2 --b y1",
            "x y --json --markdown",
            "x y --latex --markdown",
            "x y --latex --json",
            "-- y1",
        ] {
            assert!(question(line).is_err(), "{line}");
        }
    }

    #[test]
    fn a_group_has_the_common_name_of_its_runs() {
        let name = |paths: &[&str]| {
            let paths: Vec<PathBuf> = paths.iter().map(PathBuf::from).collect();
            group_name(&paths, &paths)
        };
        assert_eq!(name(&["runs/base"]), "runs/base");
        assert_eq!(name(&["runs/base_seed-1", "runs/base_seed-2"]), "runs/base");
        assert_eq!(name(&["base-s1", "base-s2", "base-s10"]), "base");
        assert_eq!(name(&["base/1", "base/2"]), "base");
        assert_eq!(name(&["one", "two", "three"]), "one and 2 more");
        assert_eq!(name(&["größe-1", "großes-1"]), "gr");
        // A folder of runs gives the group its name, whatever the runs are called.
        assert_eq!(group_name(&["all".into()], &["all/x".into(), "all/y".into()]), "all");
    }
}

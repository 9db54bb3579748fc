//! Two groups of runs, held against each other.

use serde::{Deserialize, Serialize};

use super::arrival::Target;
use super::contrast::Contrast;
use super::examples::Examples;
use super::member::{Member, RunNumbers};
use super::settings::{self, SettingDifference};
use super::warnings;
use crate::config::KeyError;
use crate::run_folder::RunData;
use crate::statistics::Method;
use crate::{Error, Result};

/// How groups are compared.
#[derive(Clone, Debug)]
pub struct Options {
    /// The accuracy whose arrival is timed, and who chose it; by default the mean last accuracy of the group that ends worse.
    pub target: Option<(f64, String)>,
    /// The difference that seeds are counted for; by default the one that was found.
    pub difference: Option<f64>,
    /// The chance with which so many seeds show it.
    pub power: f64,
    /// The settings in which A and B are meant to differ.
    pub asked: Asked,
    /// How often the test examples are drawn again.
    pub resamples: usize,
}

/// In which settings groups are meant to differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// What is amplified, by how much, and in which phases.
    Amplification,
    /// These keys, and all below these tables.
    Keys(Vec<String>),
    /// Any: somebody else has seen to it.
    Anything,
}

impl Default for Options {
    fn default() -> Self {
        Self { target: None, difference: None, power: 0.8, asked: Asked::Amplification, resamples: 2000 }
    }
}

/// All that is known of two groups of runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// What the others are held against.
    pub a: Group,
    /// The others.
    pub b: Group,
    /// The settings in which they differ.
    pub differences: Vec<SettingDifference>,
    /// How they are held against each other.
    pub method: Method,
    /// Test accuracy at the last evaluation.
    pub last: Contrast,
    /// Test accuracy in the epoch that was best on the validation examples; on the test examples themselves where there
    /// are no others, which flatters.
    pub best: Option<Contrast>,
    /// Whether the best epochs were chosen on validation examples.
    pub best_is_fair: bool,
    /// The time to a target accuracy.
    pub target: Option<Target>,
    /// The same test examples before both.
    pub examples: Option<Examples>,
    /// What a reader has to know before believing any of it.
    pub warnings: Vec<String>,
}

/// Runs that differ in the seed only.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// What it is called.
    pub name: String,
    /// Its runs, by seed.
    pub runs: Vec<RunNumbers>,
}

impl Comparison {
    /// Compares two groups of runs, each with its name.
    ///
    /// **Errors:** a group in which no run was ever evaluated; settings that cannot be written.
    pub fn of_runs(a: (&str, Vec<RunData>), b: (&str, Vec<RunData>), options: &Options) -> Result<Self> {
        let mut left_out = Vec::new();
        let mut members = |letter: &str, (name, runs): (&str, Vec<RunData>)| {
            let n = runs.len();
            let mut members = Vec::new();
            for run in runs {
                let root = run.root.display().to_string();
                match Member::new(run) {
                    Some(member) => members.push(member),
                    None => {
                        left_out.push(format!("{root} was never evaluated on test examples and is left out"))
                    }
                }
            }
            match members.is_empty() {
                true => Err(Error::failed(format!(
                    "group {letter} ({name}) is empty: none of its {n} runs was ever evaluated on test examples"
                ))),
                false => Ok(members),
            }
        };
        let (members_a, members_b) = (members("A", a.clone())?, members("B", b.clone())?);
        let mut comparison = Self::of_members((a.0, members_a), (b.0, members_b), options)?
            .ok_or_else(|| Error::failed("a group is empty"))?;
        comparison.warnings.splice(0..0, left_out);
        Ok(comparison)
    }

    /// Compares two groups of members; `None` where a group is empty.
    ///
    /// **Errors:** settings that cannot be written.
    pub fn of_members(
        (name_a, mut a): (&str, Vec<Member>),
        (name_b, mut b): (&str, Vec<Member>),
        options: &Options,
    ) -> Result<Option<Self>, KeyError> {
        for group in [&mut a, &mut b] {
            group.sort_by_key(|member| member.numbers.seed);
        }
        let method = method(&seeds(&a), &seeds(&b));
        let values = |group: &[Member], of: fn(&RunNumbers) -> Option<f64>| {
            group.iter().map(|member| of(&member.numbers)).collect::<Option<Vec<f64>>>()
        };
        let contrast = |of: fn(&RunNumbers) -> Option<f64>| {
            Contrast::of(&values(&a, of)?, &values(&b, of)?, method, options)
        };
        let Some(last) = contrast(|run| Some(run.last_test_accuracy)) else { return Ok(None) };
        let (accuracy, chosen) = match &options.target {
            Some(target) => target.clone(),
            None if last.a.mean <= last.b.mean => {
                (last.a.mean, "A's mean last accuracy, the worse one".to_owned())
            }
            None => (last.b.mean, "B's mean last accuracy, the worse one".to_owned()),
        };
        let differences = settings::between(&a, &b, &options.asked)?;
        let members = || a.iter().chain(&b);
        let mut comparison = Self {
            differences,
            method,
            last,
            best: contrast(|run| run.test_accuracy_at_best),
            best_is_fair: members().all(|member| member.numbers.best_validation_accuracy.is_some()),
            target: Target::of(accuracy, chosen, &a, &b, method),
            examples: Examples::of(&a, &b, method == Method::Paired, options.resamples),
            warnings: Vec::new(),
            a: Group::of(name_a, &a),
            b: Group::of(name_b, &b),
        };
        comparison.warnings = warnings::of(&comparison, &a, &b)?;
        Ok(Some(comparison))
    }

    /// Its two groups with the letters they go by.
    pub fn groups(&self) -> [(&'static str, &Group); 2] {
        [("A", &self.a), ("B", &self.b)]
    }
}

impl Group {
    fn of(name: &str, members: &[Member]) -> Self {
        Self { name: name.to_owned(), runs: members.iter().map(|member| member.numbers.clone()).collect() }
    }

    /// The seeds, in order.
    pub fn seeds(&self) -> Vec<u64> {
        self.runs.iter().map(|run| run.seed).collect()
    }
}

fn seeds(group: &[Member]) -> Vec<u64> {
    group.iter().map(|member| member.numbers.seed).collect()
}

/// How groups are held against each other, by their seeds in order: pair by pair where they have the same, each once.
pub fn method(a: &[u64], b: &[u64]) -> Method {
    let is_once = a.windows(2).all(|pair| pair[0] != pair[1]);
    if is_once && a == b { Method::Paired } else { Method::Welch }
}

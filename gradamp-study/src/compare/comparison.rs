//! The comparison of two groups of runs.

use serde::{Deserialize, Serialize};

use super::analysis::{Contrasts, Side, notes_on_unreached};
use super::arrival::Target;
use super::contrast::Contrast;
use super::course::{Course, doubt_about_seconds};
use super::examples::Examples;
use super::member::{Group, Member};
use super::options::Options;
use super::settings::{self, SettingDifference};
use super::warnings;
use crate::config::KeyError;
use crate::run_folder::RunData;
use crate::statistics::Method;
use crate::{Error, Result};

/// The comparison of two groups of runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// The reference group.
    pub a: Group,
    /// The group that is compared with A.
    pub b: Group,
    /// The settings in which the groups differ.
    pub differences: Vec<SettingDifference>,
    /// How the groups are compared.
    pub method: Method,
    /// Test accuracy at the last evaluation.
    pub last: Contrast,
    /// Test accuracy in the epoch that was best on the validation examples; on the test examples if there are no
    /// validation examples, and the accuracy is too high then.
    pub best: Option<Contrast>,
    /// Whether the best epochs were chosen on validation examples.
    pub best_is_fair: bool,
    /// The times to the first of the target accuracies.
    pub target: Option<Target>,
    /// The times to each of the target accuracies.
    #[serde(default)]
    pub targets: Vec<Target>,
    /// Both groups on the same test examples.
    pub examples: Option<Examples>,
    /// Warnings that a reader should know before relying on the comparison.
    pub warnings: Vec<String>,
}

impl Comparison {
    /// Compares two groups of runs, each with its name.
    ///
    /// **Errors:** a group in which no run was ever evaluated; settings that cannot be written.
    pub fn of_runs(a: (&str, Vec<RunData>), b: (&str, Vec<RunData>), options: &Options) -> Result<Self> {
        let (mut left_out, mut diverged) = (Vec::new(), [Vec::new(), Vec::new()]);
        let mut members = |letter: &str, (name, runs): (&str, Vec<RunData>)| {
            let n = runs.len();
            let mut members = Vec::new();
            for run in runs {
                let root = run.root.display().to_string();
                let course = Course::new(&run.record, &run.epochs);
                match Member::new(run) {
                    Some(member) => members.push(member),
                    None => {
                        left_out.push(format!("{root} was never evaluated on test examples and is left out"));
                        if course.diverged {
                            diverged[usize::from(letter == "B")].push(course);
                        }
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
        let diverged = [diverged[0].as_slice(), &diverged[1]];
        let mut comparison = Self::of_members((a.0, members_a), (b.0, members_b), diverged, options)?
            .ok_or_else(|| Error::failed("a group is empty"))?;
        comparison.warnings.splice(0..0, left_out);
        Ok(comparison)
    }

    /// Compares two groups of members; `None` where a group is empty. `diverged` are runs of A and of B that diverged before they were
    /// evaluated.
    ///
    /// **Errors:** settings that cannot be written.
    pub fn of_members(
        (name_a, mut a): (&str, Vec<Member>),
        (name_b, mut b): (&str, Vec<Member>),
        diverged: [&[Course]; 2],
        options: &Options,
    ) -> Result<Option<Self>, KeyError> {
        for group in [&mut a, &mut b] {
            group.sort_by_key(|member| member.numbers.seed);
        }
        let (group_a, group_b) = (Group::new(name_a, &a), Group::new(name_b, &b));
        let [side_a, side_b] = [(&group_a, diverged[0]), (&group_b, diverged[1])]
            .map(|(group, diverged)| Side { runs: &group.runs, diverged });
        let doubt = doubt_about_seconds(courses(&group_a, &group_b, diverged));
        match Contrasts::between(side_a, side_b, options, "A's", doubt.is_none()) {
            None => Ok(None),
            Some(contrasts) => {
                Self::of_contrasts((group_a, &a), (group_b, &b), diverged, contrasts, options).map(Some)
            }
        }
    }

    /// The comparison of two groups whose members are sorted by seed and whose contrasts are known.
    ///
    /// **Errors:** settings that cannot be written.
    pub(super) fn of_contrasts(
        (group_a, a): (Group, &[Member]),
        (group_b, b): (Group, &[Member]),
        diverged: [&[Course]; 2],
        contrasts: Contrasts,
        options: &Options,
    ) -> Result<Self, KeyError> {
        let Contrasts { method, last, best, targets } = contrasts;
        let courses = || courses(&group_a, &group_b, diverged);
        let mut notes: Vec<String> = doubt_about_seconds(courses()).into_iter().collect();
        notes.extend(notes_on_unreached(targets.iter(), courses()));
        let differences = settings::between(a, b, &options.expected)?;
        let members = || a.iter().chain(b);
        let mut comparison = Self {
            differences,
            method,
            last,
            best,
            best_is_fair: members().all(|member| member.numbers.best_validation_accuracy.is_some()),
            target: targets.first().cloned(),
            targets,
            examples: Examples::between(a, b, method == Method::Paired, options.resamples),
            warnings: Vec::new(),
            a: group_a,
            b: group_b,
        };
        comparison.warnings = warnings::about_groups(
            comparison.best_is_fair,
            comparison.method,
            &comparison.differences,
            [("A", &comparison.a, a), ("B", &comparison.b, b)],
        )?;
        comparison.warnings.extend(notes);
        Ok(comparison)
    }

    /// The two groups with their letters, A and B.
    pub fn groups(&self) -> [(&'static str, &Group); 2] {
        [("A", &self.a), ("B", &self.b)]
    }
}

/// The courses of the runs of both groups, as far as they are known, and of further runs that diverged.
fn courses<'a>(
    a: &'a Group,
    b: &'a Group,
    diverged: [&'a [Course]; 2],
) -> impl Iterator<Item = &'a Course> + Clone {
    let runs = a.runs.iter().chain(&b.runs);
    runs.filter_map(|run| run.course.as_ref()).chain(diverged.into_iter().flatten())
}

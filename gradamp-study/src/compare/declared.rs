//! The contrasts that a study declares, answered: a test for each, corrected over all of them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::analysis::CellAnalysis;
use super::contrast::Contrast;
use super::course::{Course, TimeUnit, doubt_about_seconds};
use super::options::Options;
use super::page::{Page, chance, interval, or_dash, points, signed};
use super::times_show;
use crate::columns::header;
use crate::statistics::{ALPHA, Correction, Method};
use crate::sweep::{Choice, Measure, Plan, PlannedContrast};

/// A declared contrast and its result.
///
/// For each seed, A is the mean over the cells that are compared with, and B the mean over the contrast's cells; the test compares A
/// and B by pairs of seeds. A seed of which a run is missing is left out. A run that diverged counts with the accuracy of chance, as
/// a run that does not train, and as one that never reaches a target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ContrastResult {
    /// The cells and the measure.
    pub planned: PlannedContrast,
    /// The seeds that are compared.
    pub seeds: Vec<u64>,
    /// The number of seeds of which a run is missing.
    pub missing: usize,
    /// What the validation examples chose, where the contrast is tuned: cells, each with the cell that it is compared with. `None`
    /// until the runs of all cells to choose from are done.
    #[serde(default)]
    pub chosen: Option<Vec<[String; 2]>>,
    /// The comparison of the means by seed; `None` without a seed. Times are means up to the end of the shortest run.
    pub comparison: Option<Contrast>,
    /// The p-value of the difference, corrected by Holm's method over all tests of declared contrasts: of the paired t-test, or of
    /// sign flips for shares of runs and where all differences are equal.
    pub p: Option<f64>,
    /// The p-value of equivalence, corrected likewise; `None` if the contrast declares no smallest difference.
    pub equivalence_p: Option<f64>,
    /// What the two p-values say.
    pub conclusion: Conclusion,
}

/// What a contrast shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Conclusion {
    /// B is larger than A.
    Larger,
    /// B is smaller than A.
    Smaller,
    /// B differs from A by less than the smallest difference of interest.
    Equivalent,
    /// Neither a difference nor equivalence is shown.
    Undecided,
}

impl Conclusion {
    /// The conclusion in words.
    pub fn name(self) -> &'static str {
        match self {
            Self::Larger => "larger",
            Self::Smaller => "smaller",
            Self::Equivalent => "equivalent",
            Self::Undecided => "undecided",
        }
    }
}

impl ContrastResult {
    /// The results of all contrasts that the plan declares, and what a reader should know of them.
    pub fn all(plan: &Plan, cells: &[CellAnalysis]) -> (Vec<Self>, Vec<String>) {
        let mut notes = Vec::new();
        let is_asked = |cell: &&CellAnalysis| {
            plan.contrasts.iter().any(|it| it.names().any(|name| *name == cell.cell.name))
        };
        let courses = || cells.iter().filter(is_asked).flat_map(CellAnalysis::known_courses);
        let doubt = doubt_about_seconds(courses());
        let mut results: Vec<Self> = Vec::new();
        for contrast in &plan.contrasts {
            if let (Measure::Seconds, Some(doubt)) = (contrast.measure, &doubt) {
                notes.push(format!("the contrast `{}` is not tested: {doubt}", contrast.name));
                continue;
            }
            results.push(Self::new(contrast, cells));
        }
        Correction::Holm.correct(results.iter_mut().map(|result| &mut result.p).collect());
        Correction::Holm.correct(results.iter_mut().map(|result| &mut result.equivalence_p).collect());
        for result in &mut results {
            result.conclusion = result.conclude();
            if result.is_unreached() {
                let target = points(result.planned.target.unwrap_or_default());
                notes.push(format!("{}: no run reaches {target} %", result.title()));
            }
            notes.extend(result.note_on_choice());
            if result.missing > 0 {
                let (n, all) = (result.missing, result.missing + result.seeds.len());
                notes.push(format!(
                    "{}: {n} of {all} seeds have runs that are not finished and are left out",
                    result.title()
                ));
            }
        }
        notes.extend(late_questions(plan, courses()));
        (results, notes)
    }

    fn new(planned: &PlannedContrast, cells: &[CellAnalysis]) -> Self {
        let find = |name: &String| cells.iter().find(|cell| cell.cell.name == *name);
        let end = planned.end(cells);
        let value = |cell: &String, seed: u64| find(cell).and_then(|cell| planned.value(cell, seed, end));
        let mut by_seed: BTreeMap<u64, Option<(f64, f64)>> = BTreeMap::new();
        let chosen = if planned.choices.is_empty() { None } else { choose(planned, cells) };
        let pairs = chosen.as_ref().unwrap_or(&planned.pairs);
        let seeds = pairs.iter().flatten().filter_map(find).flat_map(|cell| &cell.cell.runs);
        for seed in seeds.map(|run| run.seed) {
            by_seed.entry(seed).or_insert_with(|| {
                let pair = |[cell, other]: &[String; 2]| Some((value(other, seed)?, value(cell, seed)?));
                let pairs: Vec<(f64, f64)> = pairs.iter().map(pair).collect::<Option<_>>()?;
                let mean =
                    |side: fn(&(f64, f64)) -> f64| pairs.iter().map(side).sum::<f64>() / pairs.len() as f64;
                Some((mean(|pair| pair.0), mean(|pair| pair.1)))
            });
        }
        let known = || by_seed.iter().filter_map(|(seed, means)| Some((*seed, (*means)?)));
        let (a, b): (Vec<f64>, Vec<f64>) = known().map(|(_, means)| means).unzip();
        let options = Options { smallest_difference: planned.smallest_difference, ..Options::default() };
        let mut comparison = Contrast::between(&a, &b, Method::Paired, &options);
        let test = comparison.as_mut().and_then(|it| it.test.as_mut());
        // Two shares differ by 100 points at most, wherever Student's interval ends.
        if let (None, Some(test)) = (planned.unit(), test) {
            test.ci = (test.ci.0.max(-1.0), test.ci.1.min(1.0));
        }
        let p = comparison.as_ref().and_then(|it| {
            let flips = it.permutation.map(|test| test.p);
            let student = it.test.map(|test| test.p).filter(|_| planned.measure != Measure::Trained);
            student.or(flips)
        });
        Self {
            seeds: known().map(|(seed, _)| seed).collect(),
            missing: by_seed.values().filter(|means| means.is_none()).count(),
            equivalence_p: comparison.as_ref().and_then(|it| Some(it.equivalence?.p)),
            planned: planned.clone(),
            chosen,
            comparison,
            p,
            conclusion: Conclusion::Undecided,
        }
    }

    fn conclude(&self) -> Conclusion {
        let is_below = |p: Option<f64>| p.is_some_and(|p| p < ALPHA);
        match &self.comparison {
            _ if is_below(self.equivalence_p) => Conclusion::Equivalent,
            Some(it) if is_below(self.p) && it.difference > 0.0 => Conclusion::Larger,
            Some(it) if is_below(self.p) && it.difference < 0.0 => Conclusion::Smaller,
            _ => Conclusion::Undecided,
        }
    }

    /// Whether it compares times to an accuracy that no run reaches.
    fn is_unreached(&self) -> bool {
        let is_flat = |it: &Contrast| it.difference == 0.0 && it.a.sd.unwrap_or(0.0) == 0.0;
        self.planned.measure.is_time() && self.comparison.as_ref().is_some_and(is_flat)
    }

    /// What was chosen, or why nothing was, where the contrast is tuned.
    fn note_on_choice(&self) -> Option<String> {
        let title = self.title();
        match &self.chosen {
            _ if self.planned.choices.is_empty() => None,
            None => Some(format!("{title}: not tested before all runs to choose from are done")),
            Some(pairs) => {
                let pairs: Vec<String> =
                    pairs.iter().map(|[cell, other]| format!("A is {other}, B is {cell}")).collect();
                Some(format!("{title}: by validation accuracy, {}", pairs.join("; ")))
            }
        }
    }

    /// The contrast's name, with the value on its axis.
    pub fn title(&self) -> String {
        match &self.planned.value {
            Some(value) => format!("{}, {value}", self.planned.name),
            None => self.planned.name.clone(),
        }
    }

    /// A number of the contrast's measure, as text.
    pub fn text(&self, value: f64) -> String {
        match self.planned.unit() {
            Some(unit) => times_show::write(unit, value),
            None => points(value),
        }
    }
}

impl PlannedContrast {
    fn unit(&self) -> Option<TimeUnit> {
        match self.measure {
            Measure::Epochs => Some(TimeUnit::Epochs),
            Measure::Steps => Some(TimeUnit::Steps),
            Measure::Images => Some(TimeUnit::Images),
            Measure::Seconds => Some(TimeUnit::Seconds),
            Measure::Last | Measure::Best | Measure::Trained => None,
        }
    }

    /// The end of the shortest finished run: up to there every run was observed. 0 for measures other than times.
    fn end(&self, cells: &[CellAnalysis]) -> f64 {
        let Some(unit) = self.unit() else { return 0.0 };
        let is_asked = |cell: &&CellAnalysis| self.names().any(|name| *name == cell.cell.name);
        let runs = cells.iter().filter(is_asked).flat_map(|cell| &cell.runs);
        let ends = runs.filter_map(|run| Some(run.course.as_ref()?.end(unit)));
        ends.min_by(f64::total_cmp).unwrap_or(0.0)
    }

    /// The measure of the cell's run with this seed; `None` if the run is not finished and did not diverge, or if its numbers are
    /// not known.
    fn value(&self, cell: &CellAnalysis, seed: u64, end: f64) -> Option<f64> {
        let finished = cell.runs.iter().find(|run| run.seed == seed);
        let diverged = || cell.diverged.iter().find(|course| course.seed == seed);
        match (self.unit(), finished) {
            (Some(unit), Some(run)) => {
                Some(run.course.as_ref()?.arrival(self.target?, unit, end).time.min(end))
            }
            (Some(_), None) => diverged().map(|_| end),
            (None, Some(run)) => match self.measure {
                Measure::Trained => run.trained.map(|trained| f64::from(u8::from(trained))),
                Measure::Best => run.test_accuracy_at_best,
                _ => Some(run.last_test_accuracy),
            },
            (None, None) if self.measure == Measure::Trained => diverged().map(|_| 0.0),
            (None, None) => diverged()?.chance,
        }
    }
}

/// The cells that the validation examples choose, each with the cell that it is compared with; `None` until all runs to choose
/// from are done.
///
/// The chosen cell has the highest mean, over its seeds, of the validation accuracy in a run's best epoch; a run that diverged
/// counts with the accuracy of chance. Of equal cells, the first is chosen. Test examples take no part.
fn choose(planned: &PlannedContrast, cells: &[CellAnalysis]) -> Option<Vec<[String; 2]>> {
    let side = |names: &[String]| {
        let values: Option<Vec<(f64, &String)>> = names
            .iter()
            .map(|name| {
                let cell = cells.iter().find(|cell| cell.cell.name == *name)?;
                Some((validation(cell)?, name))
            })
            .collect();
        let best = values?.into_iter().reduce(|best, next| if next.0 > best.0 { next } else { best })?;
        Some(best.1.clone())
    };
    planned.choices.iter().map(|Choice { cells, against }| Some([side(cells)?, side(against)?])).collect()
}

/// The mean validation accuracy of the cell's runs; `None` if a run is not done or its accuracy is not known.
fn validation(cell: &CellAnalysis) -> Option<f64> {
    let finished = cell.runs.iter().map(|run| run.best_validation_accuracy);
    let diverged = cell.diverged.iter().map(|course| course.chance);
    let values: Vec<f64> = finished.chain(diverged).collect::<Option<_>>()?;
    (values.len() == cell.cell.runs.len() && !values.is_empty())
        .then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// A note if runs began before the contrasts were declared as they are now.
fn late_questions<'a>(plan: &Plan, courses: impl Iterator<Item = &'a Course>) -> Option<String> {
    let now = plan.study.as_ref()?.contrasts.as_ref()?;
    let (mut late, mut all) = (0, 0);
    for course in courses {
        all += 1;
        late += usize::from(course.study.as_ref().and_then(|study| study.contrasts.as_ref()) != Some(now));
    }
    (late > 0).then(|| {
        format!(
            "{late} of {all} runs began before the contrasts were declared as they are now: for these runs the questions do not precede \
             the answers"
        )
    })
}

/// Adds the results to a page.
pub fn show(page: &mut Page, results: &[ContrastResult]) {
    let n = results.len();
    let tests = if n == 1 { "1 test".into() } else { format!("{n} tests") };
    page.heading(&format!(
        "Declared contrasts: B - A by seed, 95 % intervals, p corrected by Holm over {tests}"
    ));
    page.table(&table(results));
}

/// The table of the results, the header first.
pub fn table(results: &[ContrastResult]) -> Vec<Vec<String>> {
    let names = [
        "contrast",
        "measure",
        "seeds",
        "A",
        "B",
        "B - A",
        "p",
        "p of sign flips",
        "p of equivalence",
        "B is",
    ];
    let mut rows = vec![header(names)];
    for result in results {
        let write = |value: f64| result.text(value);
        let comparison = result.comparison.as_ref();
        let difference = |it: &Contrast| {
            let signed = |value: f64| signed(&write(value));
            let ci = it.test.map_or(String::new(), |test| format!(" ({})", interval(test.ci, signed)));
            format!("{}{ci}", signed(it.difference))
        };
        rows.push(vec![
            result.title(),
            result.planned.measure_in_words(),
            result.seeds.len().to_string(),
            or_dash(comparison, |it| write(it.a.mean)),
            or_dash(comparison, |it| write(it.b.mean)),
            or_dash(comparison, difference),
            chance(result.p),
            chance(comparison.and_then(|it| Some(it.permutation?.p))),
            chance(result.equivalence_p),
            result.conclusion.name().to_owned(),
        ]);
    }
    rows
}

impl PlannedContrast {
    /// The measure, with its target.
    fn measure_in_words(&self) -> String {
        let target = || points(self.target.unwrap_or_default());
        match self.measure {
            Measure::Last => "last accuracy, %".into(),
            Measure::Best => "accuracy in the best epoch, %".into(),
            Measure::Trained => "runs that train, %".into(),
            Measure::Epochs => format!("epochs to {} %", target()),
            Measure::Steps => format!("steps to {} %", target()),
            Measure::Images => format!("images to {} %", target()),
            Measure::Seconds => format!("seconds to {} %", target()),
        }
    }
}

#[cfg(test)]
mod tests;

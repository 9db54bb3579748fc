//! A comparison of two groups as a page.

use super::arrival::{Arrivals, Contest, Target};
use super::comparison::Comparison;
use super::contrast::{Contrast, SeedsNeeded};
use super::examples::Examples;
use super::member::Group;
use super::page::{Form, Page, chance, interval, or_dash, points, signed};
use super::warnings::list;
use crate::columns::header;
use crate::statistics::{Design, Effect, MOST_SEEDS, McNemarMethod, Method, Summary};

impl Comparison {
    /// The page, for a terminal or in Markdown.
    pub fn page(&self, form: Form) -> String {
        page(self, form)
    }
}

fn page(comparison: &Comparison, form: Form) -> String {
    let mut page = Page::new(form);
    page.heading("B - A, with 95 % intervals");
    page.list(comparison.groups().map(|(letter, group)| format!("{letter}: {}", about(group))));
    if !comparison.differences.is_empty() {
        page.heading("A and B differ in");
        page.list(
            comparison.differences.iter().map(|it| format!("{}: {} in A, {} in B", it.key, it.a, it.b)),
        );
    }
    warnings(&mut page, &comparison.warnings);
    page.table(&accuracies(comparison));
    if let Some(seeds) = &comparison.last.seeds {
        page.line(&seeds_needed(seeds));
    }
    if let Some(target) = &comparison.target {
        page.heading(&heading_of(target));
        page.table(&times(target, comparison.method));
    }
    if let Some(examples) = &comparison.examples {
        of_examples(&mut page, examples);
    }
    page.finish()
}

/// Adds the warnings to a page.
pub fn warnings(page: &mut Page, warnings: &[String]) {
    if !warnings.is_empty() {
        page.heading("Warnings");
        page.list(warnings.iter().cloned());
    }
}

fn about(group: &Group) -> String {
    let (n, seeds) = (group.runs.len(), group.seeds());
    let runs = if n == 1 { "1 run, seed" } else { "runs, seeds" };
    let count = if n == 1 { String::new() } else { format!("{n} ") };
    format!("{} ({count}{runs} {})", group.name, list(&seeds))
}

/// The name of the row with the difference.
fn difference_name(method: Method) -> String {
    match method {
        Method::Paired => "  B - A, by pairs".into(),
        Method::Welch => "  B - A".into(),
    }
}

fn accuracies(comparison: &Comparison) -> Vec<Vec<String>> {
    let mut rows =
        vec![header(["test accuracy, %", "runs", "mean", "sd", "95 % interval", "p", "Hedges' g"])];
    let mut add = |name: &str, contrast: &Contrast| {
        for (letter, summary) in [("A", &contrast.a), ("B", &contrast.b)] {
            let mut row = summary_cells(&format!("{name}, {letter}"), summary, points);
            row.extend(["".into(), "".into()]);
            rows.push(row);
        }
        rows.push(vec![
            difference_name(comparison.method),
            String::new(),
            signed(&points(contrast.difference)),
            String::new(),
            or_dash(contrast.test, |test| interval(test.ci, |bound| signed(&points(bound)))),
            chance(contrast.test.map(|test| test.p)),
            effect(contrast.hedges_g.as_ref()),
        ]);
    };
    add("last epoch", &comparison.last);
    if let Some(best) = &comparison.best {
        add(if comparison.best_is_fair { "best on validation" } else { "best ON TEST" }, best);
    }
    rows
}

/// Name, number, mean, deviation and interval.
fn summary_cells(name: &str, summary: &Summary, write: fn(f64) -> String) -> Vec<String> {
    vec![
        name.to_owned(),
        summary.n.to_string(),
        write(summary.mean),
        or_dash(summary.sd, write),
        or_dash(summary.ci, |ci| interval(ci, write)),
    ]
}

/// An effect size with its interval.
pub fn effect(effect: Option<&Effect>) -> String {
    let write = |value: f64| signed(&format!("{value:.2}"));
    or_dash(effect, |effect| {
        let ci = effect.ci.map_or(String::new(), |ci| format!(" ({})", interval(ci, write)));
        format!("{}{ci}", write(effect.value))
    })
}

fn seeds_needed(seeds: &SeedsNeeded) -> String {
    let SeedsNeeded { design, difference, power, .. } = *seeds;
    let which = match design {
        Design::Paired => "the same seeds in both groups",
        Design::Independent => "different seeds in the groups",
    };
    let number = count(seeds.seeds);
    let points = points(difference);
    format!(
        "To detect a difference of {points} points with a probability of {power}, {number} seeds are needed ({which})."
    )
}

/// A number of seeds.
pub fn count(seeds: Option<usize>) -> String {
    seeds.map_or_else(|| format!("more than {MOST_SEEDS}"), |n| n.to_string())
}

fn heading_of(target: &Target) -> String {
    format!("Time to a test accuracy of {} % ({})", points(target.accuracy), target.chosen)
}

fn times(target: &Target, method: Method) -> Vec<Vec<String>> {
    let mut rows = vec![header([
        "time to target",
        "arrive",
        "median",
        "mean",
        "sd",
        "95 % interval",
        "p",
        "p of ranks",
    ])];
    let mut add = |name: &str, contest: &Contest, write: fn(f64) -> String| {
        for (letter, arrivals) in [("A", &contest.a), ("B", &contest.b)] {
            rows.push(arrival_cells(&format!("{name}, {letter}"), arrivals, write));
        }
        rows.push(vec![
            difference_name(method),
            String::new(),
            String::new(),
            or_dash(contest.test, |test| signed(&write(test.difference))),
            String::new(),
            or_dash(contest.test, |test| interval(test.ci, |bound| signed(&write(bound)))),
            chance(contest.test.map(|test| test.p)),
            chance(contest.ranks.map(|ranks| ranks.p)),
        ]);
    };
    add("epochs", &target.epochs, |epochs| format!("{epochs:.1}"));
    add("seconds", &target.seconds, seconds);
    rows
}

/// Writes seconds; short times get more digits.
fn seconds(seconds: f64) -> String {
    match seconds.abs() {
        0.0..10.0 => format!("{seconds:.2}"),
        10.0..1000.0 => format!("{seconds:.1}"),
        _ => format!("{seconds:.0}"),
    }
}

fn arrival_cells(name: &str, arrivals: &Arrivals, write: fn(f64) -> String) -> Vec<String> {
    let Arrivals { runs, arrived, median, .. } = arrivals;
    let some = (arrived.n > 0).then_some(arrived);
    vec![
        name.to_owned(),
        format!("{} of {runs}", arrived.n),
        or_dash(*median, write),
        or_dash(some, |arrived| write(arrived.mean)),
        or_dash(arrived.sd, write),
        or_dash(arrived.ci, |ci| interval(ci, write)),
        String::new(),
        String::new(),
    ]
}

fn of_examples(page: &mut Page, examples: &Examples) {
    page.heading("The two groups' models on the same test examples, after the last epochs");
    if let Some(bootstrap) = &examples.bootstrap {
        let (ci, kind) = bootstrap.bca.map_or((bootstrap.percentile, "percentile"), |ci| (ci, "BCa"));
        page.list([format!(
            "bootstrap over {} examples: {} points ({}; {kind}, {} draws)",
            bootstrap.examples,
            signed(&points(bootstrap.difference)),
            interval(ci, |bound| signed(&points(bound))),
            bootstrap.resamples
        )]);
    }
    if examples.pairs.is_empty() {
        return;
    }
    let mut rows = vec![header(["McNemar", "only A right", "only B right", "p", "method"])];
    for pair in &examples.pairs {
        let test = pair.mcnemar;
        rows.push(vec![
            format!("seed {}", pair.seed),
            test.only_a.to_string(),
            test.only_b.to_string(),
            chance(Some(test.p)),
            match test.method {
                McNemarMethod::Exact => "exact".into(),
                McNemarMethod::ChiSquare => "chi-square".into(),
            },
        ]);
    }
    page.table(&rows);
}

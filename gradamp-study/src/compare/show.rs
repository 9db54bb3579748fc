//! A comparison of two groups as a page.

use super::comparison::Comparison;
use super::contrast::{Contrast, SeedsNeeded};
use super::examples::Examples;
use super::member::Group;
use super::page::{Form, Page, chance, interval, or_dash, points, signed};
use super::times_show;
use super::warnings::list;
use crate::columns::header;
use crate::statistics::{
    ALPHA, Design, Effect, Equivalence, MOST_SEEDS, McNemarMethod, Method, Permutation, Summary,
};

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
    let notes: Vec<String> = [
        trained(comparison),
        comparison.last.permutation.and_then(|test| too_few(&test)),
        comparison.last.equivalence.map(|test| equivalent("last epoch", &test)),
        comparison
            .best
            .as_ref()
            .and_then(|best| best.equivalence)
            .map(|test| equivalent("best epoch", &test)),
        comparison.last.seeds.as_ref().map(seeds_needed),
    ]
    .into_iter()
    .flatten()
    .collect();
    if !notes.is_empty() {
        page.line(&notes.join("\n"));
    }
    for target in comparison.targets.iter().filter(|target| target.is_reached()) {
        page.heading(&times_show::heading(target));
        page.table(&times_show::times(target));
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
    let rearranged = match comparison.method {
        Method::Paired => "p of sign flips",
        Method::Welch => "p of permutations",
    };
    let mut rows = vec![header([
        "test accuracy, %",
        "runs",
        "mean",
        "sd",
        "95 % interval",
        "p",
        rearranged,
        "Hedges' g",
    ])];
    let mut add = |name: &str, contrast: &Contrast| {
        for (letter, summary) in [("A", &contrast.a), ("B", &contrast.b)] {
            let mut row = summary_cells(&format!("{name}, {letter}"), summary, points);
            row.extend(["", "", ""].map(str::to_owned));
            rows.push(row);
        }
        rows.push(vec![
            difference_name(comparison.method),
            String::new(),
            signed(&points(contrast.difference)),
            String::new(),
            or_dash(contrast.test, |test| interval(test.ci, |bound| signed(&points(bound)))),
            chance(contrast.test.map(|test| test.p)),
            chance(contrast.permutation.map(|test| test.p)),
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

/// How many runs of each group train at all, if some run does not.
fn trained(comparison: &Comparison) -> Option<String> {
    let shares = comparison.groups().map(|(letter, group)| Some((letter, group.trained()?)));
    let [Some((a, in_a)), Some((b, in_b))] = shares else { return None };
    let is_all = |(trained, runs): (usize, usize)| trained == runs;
    (!is_all(in_a) || !is_all(in_b)).then(|| {
        format!(
            "Runs whose last accuracy is above chance: {} of {} in {a}, {} of {} in {b}.",
            in_a.0, in_a.1, in_b.0, in_b.1
        )
    })
}

/// A note that so few runs cannot give a small p by rearrangement.
pub fn too_few(test: &Permutation) -> Option<String> {
    (test.smallest_p >= ALPHA).then(|| {
        format!(
            "So few runs give no p below {} by sign flips or permutations, however large the difference.",
            chance(Some(test.smallest_p))
        )
    })
}

fn equivalent(name: &str, test: &Equivalence) -> String {
    let margin = points(test.smallest_difference);
    let answer = if test.is_equivalent() {
        format!("the groups are equivalent: the difference is smaller than {margin} points")
    } else {
        format!("it is not shown that the difference is smaller than {margin} points")
    };
    format!(
        "Equivalence, {name}: {answer} (90 % interval {}; two one-sided tests, p {}).",
        interval(test.ci90, |bound| signed(&points(bound))),
        chance(Some(test.p))
    )
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

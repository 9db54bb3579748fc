//! Tests of the contrasts that a study declares.

use std::path::Path;

use super::super::expand::expand;
use super::super::plan::Plan;
use super::super::study::Study;
use super::*;

const STUDY: &str = "seeds = 2\n\
    base.data.validation = 100\n\
    base.strategy.lr = 0.1\n\
    base.strategy.phase = [{ epochs = 1, amplify = true }]\n\
    base.amplification.kinds = [\"batch_norm\"]\n\
    axes.\"amplification.factor\" = [1.5, 2]\n\
    axes.strategy.lr = [0.1, 0.2]\n";

fn plan(contrast: &str) -> Result<Plan, KeyError> {
    let study = Study::parse(Path::new("s.toml"), format!("{STUDY}[[contrast]]\n{contrast}"))?;
    expand(&study, false).map(|expansion| expansion.plan)
}

fn tests_of(contrast: &str) -> Vec<(Option<String>, Vec<String>)> {
    let tests = plan(contrast).unwrap().contrasts.into_iter();
    tests.map(|test| (test.value, test.pairs.iter().map(|[a, b]| format!("{a} | {b}")).collect())).collect()
}

#[test]
fn cells_meet_their_baselines_their_controls_or_each_other() {
    assert_eq!(
        tests_of("name = 'a'\nagainst = 'baseline'\ncells = { strategy.lr = 0.1 }"),
        [(
            None,
            ["factor-1.5_lr-0.1 | baseline_lr-0.1", "factor-2_lr-0.1 | baseline_lr-0.1"]
                .map(str::to_owned)
                .to_vec()
        )]
    );
    let by_rate = tests_of(
        "name = 'a'\nagainst = 'control'\naxis = 'strategy.lr'\ncells = { 'amplification.factor' = 2.0 }",
    );
    let expected = ["0.1", "0.2"].map(|rate| {
        let cell = format!("factor-2_lr-{rate}");
        (Some(rate.to_owned()), vec![format!("{cell} | {cell}_through-step_length")])
    });
    assert_eq!(by_rate, expected);
    let cells = "cells = { 'amplification.factor' = 2, strategy.lr = [0.2, 0.7] }";
    assert_eq!(
        tests_of(&format!("name = 'a'\n{cells}\nagainst = {{ 'amplification.factor' = 1.5 }}")),
        [(None, vec!["factor-2_lr-0.2 | factor-1.5_lr-0.2".to_owned()])]
    );
}

#[test]
fn cells_that_amplify_nothing_meet_cells_and_not_their_baselines() {
    let study = "base.data.validation = 100\nbase.strategy.lr = 0.1\n\
        base.strategy.phase = [{ epochs = 1, amplify = true }]\n\
        base.amplification.kinds = [\"batch_norm\"]\n\
        [[axis]]\nname = 'choice'\n\
        [[axis.value]]\nname = 'random'\nset = { amplification.policy = 'random' }\n\
        [[axis.value]]\nname = 'lars'\nset = { strategy.phase = [{ epochs = 1 }], optimizer.lars = { trust = 0.02 } }\n\
        [[contrast]]\nname = 'a'\ncells = { choice = 'lars' }\nagainst = { choice = 'random' }\n";
    let study = Study::parse(Path::new("s.toml"), study.to_owned()).unwrap();
    let plan = expand(&study, false).unwrap().plan;
    assert!(plan.cells().contains(&"baseline_choice-random"), "{:?}", plan.cells());
    let [lars, random] = &plan.contrasts[0].pairs[0];
    assert!(lars.ends_with("choice-lars"), "{lars}");
    assert_eq!(random, "choice-random");
}

#[test]
fn each_side_of_a_tuned_contrast_is_chosen_on_the_tuned_axis() {
    let choices = |contrast: &str| {
        let tests = plan(&format!("name = 'a'\ntuned = 'strategy.lr'\n{contrast}")).unwrap().contrasts;
        tests.into_iter().map(|test| (test.value, test.pairs.len(), test.choices)).collect::<Vec<_>>()
    };
    let choice = |cells: &[&str], against: &[&str]| Choice {
        cells: cells.iter().map(|name| (*name).to_owned()).collect(),
        against: against.iter().map(|name| (*name).to_owned()).collect(),
    };
    let baselines = ["baseline_lr-0.1", "baseline_lr-0.2"];
    assert_eq!(
        choices("against = 'baseline'\naxis = 'amplification.factor'"),
        ["1.5", "2"].map(|factor| {
            let cells = ["0.1", "0.2"].map(|rate| format!("factor-{factor}_lr-{rate}"));
            let both = choice(&[&cells[0], &cells[1]], &baselines);
            (Some(factor.to_owned()), 0, vec![both])
        })
    );
    // One rate of the cells, and the baseline at its own best rate.
    assert_eq!(
        choices("against = 'baseline'\ncells = { 'amplification.factor' = 2, strategy.lr = 0.2 }"),
        [(None, 0, vec![choice(&["factor-2_lr-0.2"], &baselines)])]
    );
    let both = choices("against = 'control'");
    assert_eq!(both[0].2.len(), 2, "a choice for each factor: {both:?}");
    assert!(both[0].2[0].against.iter().all(|name| name.ends_with("through-step_length")));
}

#[test]
fn percents_become_fractions_and_times_keep_their_unit() {
    let plan = |contrast: &str| plan(contrast).unwrap().contrasts.remove(0);
    let last = plan("name = 'a'\nagainst = 'baseline'\nsmallest_difference = 1.5");
    assert_eq!((last.measure, last.target, last.smallest_difference), (Measure::Last, None, Some(0.015)));
    let images =
        plan("name = 'a'\nagainst = 'baseline'\nmeasure = 'images'\ntarget = 60\nsmallest_difference = 5e3");
    assert_eq!(
        (images.measure, images.target, images.smallest_difference),
        (Measure::Images, Some(0.6), Some(5000.0))
    );
}

#[test]
fn a_study_s_seal_changes_with_its_questions_and_not_with_its_seeds() {
    let seal = |text: String| {
        let study = Study::parse(Path::new("s.toml"), text).unwrap();
        expand(&study, false).unwrap().plan.study.unwrap()
    };
    let question = format!("{STUDY}[[contrast]]\nname = 'a'\nagainst = 'baseline'\n");
    let (asked, more) = (seal(question.clone()), seal(question.replace("seeds = 2", "seeds = 3")));
    assert!(asked.file != more.file && asked.contrasts.is_some() && asked.contrasts == more.contrasts);
    assert_ne!(asked.contrasts, seal(format!("{question}measure = 'best'\n")).contrasts);
    assert_eq!(seal(STUDY.into()).contrasts, None);
}

#[test]
fn contrasts_that_ask_nothing_are_refused() {
    for (contrast, expected) in [
        ("against = 'baseline'", "contrast.0: the key `name` is missing"),
        ("name = 'a'", "contrast.0: the key `against` is missing"),
        ("name = 'a'\nagainst = 'contorl'", "contrast.0.against: found \"contorl\""),
        ("name = 'a'\nagainst = 'baseline'\nmesure = 'last'", "did you mean `measure`?"),
        ("name = 'a'\nagainst = 'baseline'\nmeasure = 'epochs'", "the key `target` is missing"),
        ("name = 'a'\nagainst = 'baseline'\ntarget = 50", "contrast.0.target: is for the measures"),
        ("name = 'a'\nagainst = 'baseline'\nmeasure = 'steps'\ntarget = 150", "found 150, expected percent"),
        ("name = 'a'\nagainst = 'baseline'\nsmallest_difference = 0", "expected percent, above 0"),
        (
            "name = 'a'\nagainst = 'baseline'\ncells = { depth = 3 }",
            "contrast.0.cells: the study has no axis `depth`",
        ),
        ("name = 'a'\nagainst = 'baseline'\naxis = 'lr'", "contrast.0.axis: the study has no axis `lr`"),
        ("name = 'a'\nagainst = 'baseline'\ncells = { strategy.lr = 0.7 }", "names no cell"),
        (
            "name = 'a'\nagainst = { strategy.lr = 0.7 }",
            "contrast.0.against: the cell factor-1.5_lr-0.1 has no cell with those values beside it",
        ),
        (
            "name = 'a'\nagainst = 'baseline'\naxis = 'strategy.lr'\ntuned = 'strategy.lr'",
            "contrast.0.tuned: is `strategy.lr`, which the contrast compares",
        ),
        ("name = 'a'\nagainst = 'baseline'\ntuned = 'lr'", "contrast.0.tuned: the study has no axis `lr`"),
        (
            "name = 'a'\nagainst = 'baseline'\n[[contrast]]\nname = 'a'\nagainst = 'control'",
            "two contrasts are called `a`",
        ),
    ] {
        let error = plan(contrast).unwrap_err().to_string();
        assert!(error.contains(expected) && error.starts_with("s.toml:"), "{contrast}: {error}");
    }
    let study = STUDY.replace("validation = 100", "validation = 0");
    let contrast = "[[contrast]]\nname = 'a'\nagainst = 'baseline'\ntuned = 'strategy.lr'";
    let study = Study::parse(Path::new("s.toml"), format!("{study}{contrast}")).unwrap();
    let error = expand(&study, false).unwrap_err().to_string();
    assert!(error.contains("contrast.0.tuned: needs `data.validation` above 0"), "{error}");
}

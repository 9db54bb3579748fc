//! Tests of comparisons that need no run folders.

use proptest::prelude::*;

use super::course::doubt_about_seconds;
use super::page::{Form, Page, chance};
use super::warnings::list;
use super::{Contest, Contrast, Course, Options, RunNumbers, Targets, TimeUnit};
use crate::run_folder::RunRecord;
use crate::run_folder::lines::EpochLine;
use crate::statistics::{Method, Observation};

#[test]
fn seeds_are_written_as_people_write_them() {
    for (seeds, text) in [
        (&[][..], ""),
        (&[1], "1"),
        (&[1, 2], "1, 2"),
        (&[1, 2, 3, 4], "1-4"),
        (&[0, 3, 4, 5, 9], "0, 3-5, 9"),
        (&[7, 7], "7, 7"),
        (&[u64::MAX, 0], "18446744073709551615, 0"),
    ] {
        assert_eq!(list(seeds), text);
    }
}

#[test]
fn a_page_is_columns_for_a_terminal_and_markdown_that_can_be_pasted() {
    let rows = [["name", "x"], ["  a|b", "1.0"]].map(|row| row.map(str::to_owned).to_vec());
    let write = |form| {
        let mut page = Page::new(form);
        page.heading("Head");
        page.list(["item".to_owned()]);
        page.table(&rows);
        page.finish()
    };
    assert_eq!(write(Form::Text), "Head\n  item\n\nname     x\n----------\n  a|b  1.0");
    let latex = write(Form::Latex);
    assert!(latex.starts_with("% Head\n% - item\n\n\\begin{table}\n"), "{latex}");
    for part in ["\\caption{Head}", "{tabular}{lr}", "name & x \\\\", "\\quad a|b & 1.0 \\\\", "\\bottomrule"]
    {
        assert!(latex.contains(part), "{part} in\n{latex}");
    }
    assert_eq!(write(Form::Markdown), "**Head**\n\n- item\n\n| name | x |\n| :-- | --: |\n| a\\|b | 1.0 |");
    assert_eq!([Some(0.04567), Some(1e-9), None].map(chance), ["0.0457", "< 0.0001", "-"]);
}

/// The contest of runs that went on for ten epochs; `None` stands for a run that never arrives.
fn contest(a: &[Option<f64>], b: &[Option<f64>], method: Method) -> Contest {
    let observations = |values: &[Option<f64>]| {
        let observation =
            |value: &Option<f64>| Observation { time: value.unwrap_or(10.0), happened: value.is_some() };
        values.iter().map(observation).collect()
    };
    Contest::between(observations(a), observations(b), method, 10.0)
}

#[test]
fn runs_that_never_arrive_are_counted_and_are_the_last() {
    let found = contest(&[Some(3.0), None, Some(5.0), None], &[Some(2.0); 4], Method::Paired);
    assert_eq!((found.a.runs, found.a.arrived.n, found.a.arrived.mean, found.a.median), (4, 2, 4.0, None));
    assert_eq!((found.b.arrived.n, found.b.median), (4, Some(2.0)));
    assert_eq!(found.test, None, "there is no mean of times that are not known");
    let ranks = found.ranks.unwrap();
    assert!((ranks.p - 2.0 / 70.0).abs() < 1e-12 && ranks.u == 0.0, "{ranks:?}");
    // But there is a mean up to the end of all runs.
    assert_eq!(
        (found.horizon, found.a.restricted.unwrap().mean, found.difference()),
        (Some(10.0), 7.0, Some(-5.0))
    );
    let restricted = found.restricted.unwrap();
    assert_eq!((restricted.method, restricted.difference), (Method::Paired, -5.0));
    assert!(
        found.log_rank.unwrap().p < 0.02 && found.corrected_log_rank_p == found.log_rank.map(|test| test.p)
    );
    let some = contest(&[Some(3.0), None, Some(5.0)], &[Some(2.0), Some(2.5), Some(4.0)], Method::Welch);
    assert_eq!(some.a.median, Some(5.0));
    let all = contest(&[Some(3.0), Some(5.0)], &[Some(2.0), Some(2.5)], Method::Welch);
    assert_eq!((all.test.unwrap().difference, all.restricted.unwrap().difference), (-1.75, -1.75));
}

#[test]
fn a_run_that_ended_early_takes_part_until_its_end() {
    let run = |time, happened| Observation { time, happened };
    let a = vec![run(2.0, true), run(3.0, false), run(8.0, false)];
    let found =
        Contest::between(a, vec![run(1.0, true), run(10.0, false), run(10.0, false)], Method::Paired, 10.0);
    assert_eq!(found.horizon, Some(8.0), "A is observed for eight epochs only");
    // S is 2/3 from 2 on, and the pairs are not known.
    assert!((found.a.restricted.unwrap().mean - (2.0 + 6.0 * 2.0 / 3.0)).abs() < 1e-12);
    assert_eq!(found.restricted.unwrap().method, Method::Welch);
    // A run that arrives where another one ends does not lengthen the time for which that one is observed.
    let tied = vec![run(8.0, false), run(8.0, true)];
    let found = Contest::between(tied, vec![run(1.0, true), run(10.0, false)], Method::Paired, 10.0);
    assert_eq!(found.horizon, Some(8.0));
    let lone = contest(&[Some(3.0)], &[None], Method::Paired);
    assert_eq!((lone.restricted, lone.log_rank, lone.difference()), (None, None, Some(7.0)));
}

fn record(outcome: &str) -> RunRecord {
    let record = serde_json::json!({
        "version": "0.1.0", "commit": null, "model": "mlp", "parameters": 1, "seed": 3, "device": "cpu", "dataset": "shapes",
        "dataset_checksum": "", "start": "2026-01-01T00:00:00Z", "end": "2026-01-01T00:10:00Z", "outcome": outcome,
        "error": null, "resumed": [], "expected_gains": [],
    });
    serde_json::from_value(record).unwrap()
}

/// Epochs of 20 steps, 500 images and 2 seconds; `None` stands for an epoch that was not evaluated.
fn epochs(accuracies: &[Option<f64>]) -> Vec<EpochLine> {
    let line = |(epoch, accuracy): (usize, &Option<f64>)| {
        let line = serde_json::json!({
            "epoch": epoch, "step": 20 * epoch + 20, "phase": 0, "lr": 0.1, "amplified": false, "train_loss": 1.0,
            "train_accuracy": 0.5, "test_loss": 1.0, "test_accuracy": accuracy, "best": false, "skipped_steps": null,
            "images_per_second": 250.0, "seconds": 2.0,
        });
        serde_json::from_value(line).unwrap()
    };
    accuracies.iter().enumerate().map(line).collect()
}

#[test]
fn a_target_is_reached_at_the_first_evaluation_that_shows_it() {
    let epochs = epochs(&[Some(0.2), None, Some(0.5), Some(0.4), Some(0.6)]);
    let course = Course::new(&record("finished"), &epochs);
    let times = |target| TimeUnit::ALL.map(|unit| course.arrival(target, unit, 99.0));
    let all = |times: [f64; 4], happened| times.map(|time| Observation { time, happened });
    assert_eq!(times(0.2), all([1.0, 20.0, 500.0, 2.0], true));
    assert_eq!(times(0.45), all([3.0, 60.0, 1500.0, 6.0], true));
    assert_eq!(times(0.61), all([5.0, 100.0, 2500.0, 10.0], false));
    assert_eq!((course.highest(), course.end(TimeUnit::Steps)), (Some(0.6), 100.0));
    // A run that diverged never arrives, whatever it had reached before.
    let diverged = Course::new(&record("diverged"), &epochs);
    assert_eq!(diverged.arrival(0.2, TimeUnit::Epochs, 9.0), Observation { time: 9.0, happened: false });
    let with_classes = |outcome| RunRecord { classes: vec!["a".into(), "b".into()], ..record(outcome) };
    let trained = |outcome, examples| {
        let numbers = RunNumbers::of_epochs("r".as_ref(), &with_classes(outcome), &epochs, examples).unwrap();
        numbers.trained
    };
    // 600 of 1000 is above the chance of a half, 6 of 10 is not.
    assert_eq!((trained("finished", Some(1000)), trained("finished", Some(10))), (Some(true), Some(false)));
    assert_eq!((trained("diverged", Some(1000)), trained("finished", None)), (Some(false), None));
    let arrivals = Contest::timed(0.45, TimeUnit::Epochs, &[&course], &[&diverged]).unwrap();
    assert_eq!((arrivals.a.values, arrivals.b.values), (vec![Some(3.0)], vec![None]));
    assert_eq!(arrivals.horizon, Some(5.0), "the longest run ends there");
    assert_eq!(Contest::timed(0.5, TimeUnit::Epochs, &[&course], &[]), None);
}

#[test]
fn seconds_count_only_where_a_run_had_the_device_to_itself() {
    let course = |device: &str, start: &str, end: &str| {
        let times = |minutes: &str| format!("2026-01-01T00:{minutes}Z");
        let record = RunRecord {
            device: device.into(),
            start: times(start),
            end: Some(times(end)),
            ..record("finished")
        };
        Course::new(&record, &[])
    };
    let doubt = |courses: &[Course]| doubt_about_seconds(courses.iter()).unwrap_or_default();
    let (first, second) = (course("cpu", "00:00", "10:00"), course("cpu", "10:00", "12:00"));
    assert_eq!(doubt(&[second.clone(), first.clone()]), "");
    assert!(doubt(&[first.clone(), course("gpu", "20:00", "21:00")]).contains("several devices: cpu, gpu"));
    let within = course("cpu", "03:00", "04:00");
    assert!(doubt(&[first.clone(), second.clone(), within]).contains("1 of the runs started while another"));
    assert_eq!(doubt(&[first, Course::diverged(1)]), "", "nothing is known of that run");
}

#[test]
fn targets_are_fixed_or_come_from_the_first_group() {
    let (a, b) = ([0.4, 0.6, 0.5], [0.7, 0.7]);
    let found = |targets: Targets| -> Vec<f64> {
        targets.resolve(&a, &b, "A's").into_iter().map(|(accuracy, _)| accuracy).collect()
    };
    assert_eq!(found(Targets::Fixed(vec![0.6, 0.7], "as asked".into())), [0.6, 0.7]);
    assert_eq!(found(Targets::QuantilesOfA(vec![0.0, 0.25, 0.5, 1.0])), [0.4, 0.45, 0.5, 0.6]);
    assert_eq!(found(Targets::Default), [0.5]);
    assert_eq!(Targets::Default.resolve(&b, &a, "A's")[0].1, "B's mean last accuracy, the lower of the two");
    assert_eq!(Targets::MeanOfA.resolve(&b, &a, "A's")[0].0, 0.7);
    assert_eq!(Targets::MeanOfA.resolve(&[], &a, "A's"), []);
}

#[test]
fn equivalence_is_tested_where_a_smallest_difference_is_given() {
    let (a, b) = ([0.70, 0.71, 0.72], [0.701, 0.711, 0.720]);
    let of = |options: &Options| Contrast::between(&a, &b, Method::Paired, options).unwrap();
    let plain = of(&Options::default());
    assert_eq!((plain.equivalence, plain.corrected_equivalence_p, plain.seeds), (None, None, None));
    assert_eq!(plain.permutation.map(|test| test.p), Some(0.5));
    let options = Options { smallest_difference: Some(0.01), difference: Some(0.001), ..Options::default() };
    let asked = of(&options);
    assert!(asked.equivalence.unwrap().is_equivalent());
    assert!(!asked.test.is_some_and(|test| test.p < 0.05));
    assert_eq!(asked.corrected_equivalence_p, asked.equivalence.map(|test| test.p));
    assert!(asked.seeds.is_some());
}

proptest! {
    #[test]
    fn a_swap_of_the_groups_turns_a_contrast_round(
        pairs in proptest::collection::vec((0u32..1000, 0u32..1000), 1..6), is_paired: bool
    ) {
        let a: Vec<f64> = pairs.iter().map(|pair| f64::from(pair.0) / 1024.0).collect();
        let b: Vec<f64> = pairs.iter().map(|pair| f64::from(pair.1) / 1024.0).collect();
        let method = if is_paired { Method::Paired } else { Method::Welch };
        let options = Options { smallest_difference: Some(0.1), difference: Some(0.1), ..Options::default() };
        let of = |a: &[f64], b: &[f64]| Contrast::between(a, b, method, &options).unwrap();
        let (found, swapped) = (of(&a, &b), of(&b, &a));
        prop_assert_eq!((found.a, found.b), (swapped.b, swapped.a));
        prop_assert_eq!(found.difference, -swapped.difference);
        prop_assert_eq!(found.seeds.map(|it| it.seeds), swapped.seeds.map(|it| it.seeds));
        prop_assert_eq!(found.test.is_some(), swapped.test.is_some());
        prop_assert_eq!(found.equivalence.is_some(), found.test.is_some());
        prop_assert_eq!(found.permutation.map(|it| it.p), swapped.permutation.map(|it| it.p));
        prop_assert_eq!(found.corrected_p.is_some(), found.test.is_some());
        prop_assert_eq!(found.cohens_dz.is_some(), is_paired && found.test.is_some());
    }
}

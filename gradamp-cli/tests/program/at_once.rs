//! Runs, sweeps and reports that start at the same moment.

use std::collections::BTreeSet;
use std::fs;
use std::process::Stdio;

use crate::{Report, SMALL, Workplace};

/// Starts one process for each of the argument lists and waits for all of them.
fn run_at_once(place: &Workplace, all: &[String]) -> Vec<Report> {
    let start = |arguments: &String| {
        let mut command = place.command(arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let children: Vec<_> = all.iter().map(start).collect();
    let end = |(child, arguments): (std::process::Child, &String)| {
        Report::new(arguments, child.wait_with_output().unwrap())
    };
    children.into_iter().zip(all).map(end).collect()
}

#[test]
fn runs_started_in_the_same_second_get_different_folders() {
    let place = Workplace::new();
    let all: Vec<String> = (1..=4).map(|seed| format!("{SMALL} --max-steps 1 --seed {seed}")).collect();
    let folders: BTreeSet<String> = run_at_once(&place, &all)
        .into_iter()
        .map(|report| report.succeeds().out.lines().last().unwrap().to_owned())
        .collect();
    assert_eq!(folders.len(), 4, "{folders:?}");
    for folder in folders {
        assert_eq!(crate::devices::record(&place, &folder)["outcome"], "step_limit", "{folder}");
    }
}

#[test]
fn one_of_several_runs_gets_the_folder_and_the_others_are_refused() {
    let place = Workplace::new();
    let all: Vec<String> =
        (1..=3).map(|seed| format!("{SMALL} --max-steps 1 --seed {seed} --out run")).collect();
    let (well, badly): (Vec<_>, Vec<_>) =
        run_at_once(&place, &all).into_iter().partition(|report| report.code == Some(0));
    assert_eq!(well.len(), 1, "{:?}", badly.iter().map(|report| &report.err).collect::<Vec<_>>());
    for report in badly {
        let report = report.fails(1, &["run: "]);
        let reasons = ["already holds a run", "another process is writing to this run"];
        assert!(reasons.iter().any(|words| report.err.contains(words)), "{}", report.err);
    }
    let config = fs::read_to_string(place.path("run/config.toml")).unwrap();
    let seed = crate::devices::record(&place, "run")["seed"].as_u64().unwrap();
    assert!(
        config.contains(&format!("seed = {seed} ")),
        "settings and record belong to the same run: {config}"
    );
}

#[test]
fn reports_written_at_once_to_one_file_leave_a_complete_page() {
    let place = Workplace::new();
    place.run(&format!("{SMALL} --out run")).succeeds();
    let all = vec!["report run -o page.html --figures figures".to_owned(); 3];
    run_at_once(&place, &all).into_iter().for_each(|report| drop(report.succeeds()));
    let page = fs::read_to_string(place.path("page.html")).unwrap();
    assert!(page.trim_end().ends_with("</html>"), "{}", &page[page.len() - 100..]);
    let left: Vec<_> =
        fs::read_dir(place.0.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().contains(".partial")), "{left:?}");
}

//! A run that is killed at each call that changes the disk: what `eval` says then, and that it goes on to the same bits.

#![cfg(target_os = "linux")]

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;

use super::trace::{Call, calls, can_trace, strace};
use super::{begin, workplace};
use crate::resume::assert_same_run;
use crate::{Workplace, contents};

/// A place at which the run is killed: before this call is made.
#[derive(Clone, Debug)]
pub struct Place {
    pub call: Call,
    /// How many times the last checkpoint was put in place before.
    pub saves: usize,
}

/// Every renaming, flush, removal, making of a folder and opening for writing of a run, from its calls.
pub fn places(calls: &[Call]) -> Vec<Place> {
    let mut saves = 0;
    let mut places = Vec::new();
    for call in calls.iter().filter(|call| !call.writes()) {
        places.push(Place { call: call.clone(), saves });
        saves += usize::from(call.renames() && call.path().ends_with("checkpoints/last"));
    }
    places
}

/// Runs the program and kills it at that call; says whether it came there.
pub fn kill_at(place: &Workplace, at: &Call, arguments: &str) -> bool {
    let inject = format!("inject={}:signal=KILL:when={}", at.name, at.number);
    let trace = format!("trace={}", at.name);
    let output =
        strace(place, &["-o", "/dev/null", "-e", &trace, "-e", &inject], arguments).output().unwrap();
    output.status.signal() == Some(9)
}

/// The paths of all files of a run, from its folder.
pub fn names(run: &Path) -> BTreeSet<PathBuf> {
    contents(run).into_keys().map(|path| path.strip_prefix(run).unwrap().to_owned()).collect()
}

/// How a run's model does, as `eval --json` says, but for the file's path; none where there is no checkpoint, which must be
/// said in one error.
pub fn evaluated(place: &Workplace, run: &str, which: &str) -> Option<Value> {
    let report = place.run(&format!("eval --run {run} {which} --json"));
    if report.code == Some(1) {
        report.fails(1, &[run]);
        return None;
    }
    let mut answer: Value = serde_json::from_str(&report.succeeds().out).unwrap();
    answer.as_object_mut().unwrap().remove("file");
    Some(answer)
}

/// Brings a run that was cut short to its end: goes on with it, or begins it where it has not begun.
pub fn complete(place: &Workplace, run: &str) {
    if place.path(run).join("config.toml").exists() {
        place.run(&format!("train --resume {run}")).succeeds();
    } else {
        place.run(&format!("train --resume {run}")).fails(1, &[run, "expected the folder of a run"]);
        place.run(&begin(run)).succeeds();
    }
}

#[test]
fn a_run_that_is_killed_at_any_call_is_evaluated_and_resumed_as_if_nothing_had_been() {
    if !can_trace("the crash test") {
        return;
    }
    let place = workplace();
    let places = places(&calls(&place, &begin("whole")));
    let saves = places.last().unwrap().saves;
    assert!(places.len() > 80 && saves >= 3, "{} places, {saves} checkpoints", places.len());
    let whole = place.path("whole");
    let next = AtomicUsize::new(0);
    // The model's answer after so many saves, where only one checkpoint is there, and at every place.
    let answers = Mutex::new(Vec::new());
    let work = || {
        while let Some((i, at)) =
            Some(next.fetch_add(1, Ordering::SeqCst)).and_then(|i| Some((i, places.get(i)?)))
        {
            let name = format!("killed{i}");
            assert!(kill_at(&place, &at.call, &begin(&name)), "not killed at {:?}", at.call);
            let killed = place.path(&name);
            let checkpoints = killed.join("checkpoints");
            let is_between = ["last.new", "last.old"].iter().any(|name| checkpoints.join(name).exists());
            let [last, best] = ["--last", ""].map(|which| evaluated(&place, &name, which));
            answers.lock().unwrap().push((i, at.saves, is_between, last, best));
            complete(&place, &name);
            assert_same_run(&whole, &killed);
            assert_eq!(names(&whole), names(&killed), "after a kill at {:?}", at.call);
            std::fs::remove_dir_all(&killed).unwrap();
        }
    };
    std::thread::scope(|scope| {
        let workers = [scope.spawn(work), scope.spawn(work)];
        workers.into_iter().for_each(|worker| worker.join().unwrap());
    });
    let answers = answers.into_inner().unwrap();
    assert_eq!(answers.len(), places.len());
    let mut of_save: Vec<Option<Value>> = vec![None; saves + 1];
    of_save[saves] = evaluated(&place, "whole", "--last");
    for (i, saves, is_between, answer, _) in &answers {
        if !is_between {
            let known = of_save[*saves].get_or_insert_with(|| answer.clone().unwrap_or(Value::Null));
            assert_eq!(*known, answer.clone().unwrap_or(Value::Null), "at {:?}", places[*i].call);
        }
    }
    assert_eq!(of_save[0], Some(Value::Null), "there is no checkpoint yet");
    for (i, saves, _, last, best) in answers {
        let (last, best) = (last.unwrap_or(Value::Null), best.unwrap_or(Value::Null));
        let known = |from: usize, to: usize| of_save.iter().take(to + 1).skip(from).flatten();
        // A save that was cut short counts or does not; the best model is one that was saved, or is about to be.
        let is_right = known(saves, saves + 1).any(|answer| *answer == last)
            && known(saves.min(1), saves + 1).any(|answer| *answer == best);
        assert!(is_right, "at {:?}: the last {last:?}, the best {best:?}", places[i].call);
    }
}

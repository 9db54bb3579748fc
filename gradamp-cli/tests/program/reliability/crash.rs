//! Kills a run before each system call that changes the disk. Then `eval` must find a consistent checkpoint or none,
//! and the resumed run must end in the same bits.

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

/// The moment at which a run is killed: just before this call.
#[derive(Clone, Debug)]
pub struct Moment {
    pub call: Call,
    /// The number of times that the last checkpoint was replaced before this call.
    pub saves: usize,
}

/// The calls of a run at which it is killed: each rename, flush, removal, new folder and open for writing.
pub fn moments(calls: &[Call]) -> Vec<Moment> {
    let mut saves = 0;
    let mut moments = Vec::new();
    for call in calls.iter().filter(|call| !call.writes()) {
        moments.push(Moment { call: call.clone(), saves });
        saves += usize::from(call.renames() && call.path().ends_with("checkpoints/last"));
    }
    moments
}

/// Runs the program and kills it before the given call. Returns whether the program made this call.
pub fn kill_at(place: &Workplace, at: &Call, arguments: &str) -> bool {
    let inject = format!("inject={}:signal=KILL:when={}", at.name, at.number);
    let trace = format!("trace={}", at.name);
    let output =
        strace(place, &["-o", "/dev/null", "-e", &trace, "-e", &inject], arguments).output().unwrap();
    output.status.signal() == Some(9)
}

/// The paths of all files of a run, relative to its folder.
pub fn names(run: &Path) -> BTreeSet<PathBuf> {
    contents(run).into_keys().map(|path| path.strip_prefix(run).unwrap().to_owned()).collect()
}

/// The output of `eval --json` for a run, without the file's path. Returns `None` if there is no checkpoint; the
/// program must then report that in one error.
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

/// Finishes a run that was killed: resumes it, or starts it again if it had not written its settings.
pub fn complete(place: &Workplace, run: &str) {
    if place.path(run).join("config.toml").exists() {
        place.run(&format!("train --resume {run}")).succeeds();
    } else {
        place.run(&format!("train --resume {run}")).fails(1, &[run, "expected the folder of a run"]);
        place.run(&begin(run)).succeeds();
    }
}

#[test]
fn a_run_killed_before_any_call_can_be_evaluated_and_resumes_to_the_same_bits() {
    if !can_trace("the crash test") {
        return;
    }
    let place = workplace();
    let moments = moments(&calls(&place, &begin("whole")));
    let saves = moments.last().unwrap().saves;
    assert!(moments.len() > 80 && saves >= 3, "{} moments, {saves} checkpoints", moments.len());
    let whole = place.path("whole");
    let next = AtomicUsize::new(0);
    // For each moment: its index, the number of saves before it, whether a save was interrupted, and the evaluations of
    // the last and the best checkpoint.
    let answers = Mutex::new(Vec::new());
    let work = || {
        while let Some((i, at)) =
            Some(next.fetch_add(1, Ordering::SeqCst)).and_then(|i| Some((i, moments.get(i)?)))
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
    assert_eq!(answers.len(), moments.len());
    // The evaluation of the last checkpoint after each number of saves.
    let mut of_save: Vec<Option<Value>> = vec![None; saves + 1];
    of_save[saves] = evaluated(&place, "whole", "--last");
    for (i, saves, is_between, answer, _) in &answers {
        if !is_between {
            let known = of_save[*saves].get_or_insert_with(|| answer.clone().unwrap_or(Value::Null));
            assert_eq!(*known, answer.clone().unwrap_or(Value::Null), "at {:?}", moments[*i].call);
        }
    }
    assert_eq!(of_save[0], Some(Value::Null), "there is no checkpoint yet");
    for (i, saves, _, last, best) in answers {
        let (last, best) = (last.unwrap_or(Value::Null), best.unwrap_or(Value::Null));
        let known = |from: usize, to: usize| of_save.iter().take(to + 1).skip(from).flatten();
        // An interrupted save either counts or does not. The best model is one that was saved or that is being saved.
        let is_right = known(saves, saves + 1).any(|answer| *answer == last)
            && known(saves.min(1), saves + 1).any(|answer| *answer == best);
        assert!(is_right, "at {:?}: the last {last:?}, the best {best:?}", moments[i].call);
    }
}

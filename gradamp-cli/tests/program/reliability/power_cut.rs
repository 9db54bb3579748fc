//! A power cut during a run. The run writes to its own disk, of which only flushed data is left.

#![cfg(target_os = "linux")]

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;

use super::crash::{complete, kill_at};
use super::disk::Disk;
use super::trace::{Call, calls, can_trace};
use super::{begin, workplace};
use crate::resume::assert_same_run;

/// The number of finished steps at each save of the short run.
const SAVED: [u64; 3] = [0, 2, 4];

/// The calls before which the power fails. Each comes with the number of checkpoints that must survive: those whose
/// names have been flushed.
fn moments(calls: &[Call]) -> Vec<(&Call, usize)> {
    let (mut promised, mut is_named) = (0, false);
    let mut moments = Vec::new();
    for call in calls.iter().filter(|call| !call.writes()) {
        moments.push((call, promised));
        if call.flushes() && call.path().ends_with("checkpoints") && is_named {
            (promised, is_named) = (promised + 1, false);
        }
        is_named |= call.renames() && call.path().ends_with("checkpoints/last");
    }
    moments
}

#[test]
fn a_saved_run_survives_a_power_cut_and_resumes_to_the_same_bits() {
    let what = "the power cut";
    if !can_trace(what) {
        return;
    }
    let place = workplace();
    let Some(disk) = Disk::in_a_file(&place, "disk") else {
        eprintln!("SKIPPED: {what}, because only the superuser can mount a file system");
        return;
    };
    place.run(&begin("whole")).succeeds();
    let calls = calls(&place, &begin("disk/new/run"));
    let moments = moments(&calls);
    assert_eq!(moments.last().unwrap().1, SAVED.len(), "{} calls", moments.len());
    drop(disk);
    // Tests every third call, and each call that follows a flush of the checkpoints' names.
    let is_chosen = |i: &usize| i.is_multiple_of(3) || moments[*i].1 != moments[i - 1].1;
    let chosen: Vec<_> = (0..moments.len()).filter(is_chosen).map(|i| moments[i]).collect();
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some((i, (call, promised))) =
            Some(next.fetch_add(1, Ordering::SeqCst)).and_then(|i| Some((i, *chosen.get(i)?)))
        {
            let (before, after) = (format!("before{i}"), format!("after{i}"));
            let disk = Disk::in_a_file(&place, &before).unwrap();
            assert!(kill_at(&place, call, &begin(&format!("{before}/new/run"))), "not killed at {call:?}");
            let left = disk.after_a_power_cut(&place, &after);
            drop(disk);
            let run = left.folder().join("new/run");
            let (has_begun, has_record) = (run.join("config.toml").exists(), run.join("run.json").exists());
            assert!(has_begun && has_record || promised == 0, "the run is lost at {call:?}");
            complete(&place, &format!("{after}/new/run"));
            assert_same_run(&place.path("whole"), &run);
            if promised > 0 {
                let record = std::fs::read_to_string(run.join("run.json")).unwrap();
                let record: Value = serde_json::from_str(&record).unwrap();
                let from = record["resumed"][0]["step"].as_u64().unwrap();
                assert!(
                    from >= SAVED[promised - 1],
                    "resumed at step {from} after a power cut before {call:?}"
                );
            }
        }
    };
    std::thread::scope(|scope| {
        let workers = [scope.spawn(work), scope.spawn(work)];
        workers.into_iter().for_each(|worker| worker.join().unwrap());
    });
}

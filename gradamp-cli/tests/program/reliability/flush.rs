//! Everything that a checkpoint depends on must be flushed to the disk before it. Runs must also work on file systems
//! that cannot flush.

#![cfg(target_os = "linux")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::trace::{Call, calls, can_trace, strace};
use super::{begin, workplace};
use crate::Report;

/// The changes that have not been flushed yet.
#[derive(Default)]
struct Unflushed {
    /// New names whose folder has not been flushed since.
    names: BTreeSet<PathBuf>,
    /// Files with bytes that have not been flushed since.
    bytes: BTreeSet<PathBuf>,
}

impl Unflushed {
    fn record(&mut self, call: &Call) {
        let path = call.path();
        if call.flushes() {
            self.bytes.remove(path);
            self.names.retain(|name| name.parent() != Some(path));
        } else if call.writes() {
            self.bytes.insert(call.paths[0].clone());
        } else if call.renames() {
            let moved = |path: &PathBuf| path.strip_prefix(&call.paths[0]).map(|rest| call.path().join(rest));
            for set in [&mut self.names, &mut self.bytes] {
                *set = std::mem::take(set).into_iter().map(|path| moved(&path).unwrap_or(path)).collect();
            }
            self.names.insert(path.to_owned());
        } else if call.creates() {
            self.names.insert(path.to_owned());
        } else if call.removes() {
            self.names.retain(|name| !name.starts_with(path));
            self.bytes.retain(|name| !name.starts_with(path));
        }
    }
}

/// Replays the system calls of a run in the folder `root` and returns descriptions of everything wrong with the order
/// of its flushes.
fn faults(calls: &[Call], root: &Path) -> Vec<String> {
    let (mut unflushed, mut faults, mut is_saved) = (Unflushed::default(), Vec::new(), false);
    for (i, call) in calls.iter().enumerate() {
        let is_file =
            call.renames() && !call.paths[0].ends_with("last.new") && call.path().extension().is_some();
        if is_file && unflushed.bytes.contains(&call.paths[0]) {
            faults.push(format!("renamed before its bytes were flushed: {}", call.line));
        }
        let (checkpoints, last) = (root.join("checkpoints"), root.join("checkpoints/last"));
        if call.renames() && [&last, &root.join("checkpoints/best")].contains(&&call.path().to_owned()) {
            // The folder of a checkpoint gets its name by this very call, and the name is flushed afterwards.
            let is_counted = |path: &&PathBuf| {
                path.parent() != Some(checkpoints.as_path())
                    && !path.ends_with(".lock")
                    && !path.ends_with("run.json")
            };
            let names = unflushed.names.iter().filter(is_counted);
            faults.extend(names.map(|name| {
                format!("call {i}: a checkpoint depends on the unflushed name {}", name.display())
            }));
            let bytes = unflushed.bytes.iter().filter(is_counted).filter(|path| path.starts_with(root));
            faults.extend(bytes.map(|file| {
                format!("call {i}: a checkpoint depends on the unflushed bytes of {}", file.display())
            }));
            is_saved |= call.path() == last;
        }
        let removes_old = call.removes() && call.path().parent().is_some_and(|folder| folder == checkpoints);
        if removes_old && unflushed.names.contains(&last) {
            faults.push(format!(
                "an old checkpoint is removed before the new one's name is flushed: {}",
                call.line
            ));
        }
        unflushed.record(call);
    }
    assert!(is_saved, "no checkpoint was saved");
    let left = unflushed.names.iter().filter(|name| !name.ends_with(".lock"));
    faults.extend(left.map(|name| format!("never flushed: {}", name.display())));
    faults
}

#[test]
fn everything_a_checkpoint_depends_on_is_flushed_before_it() {
    if !can_trace("the order of flushes") {
        return;
    }
    let place = workplace();
    // The run makes four folders, because it may start on an empty disk.
    let calls = calls(&place, &begin("new/folders/and/run"));
    let root = place.0.path().canonicalize().unwrap().join("new/folders/and/run");
    let faults = faults(&calls, &root);
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn runs_continue_without_flushes_but_fail_on_a_failing_disk() {
    if !can_trace("file systems without flush") {
        return;
    }
    let place = workplace();
    place.run(&begin("whole")).succeeds();
    let with = |error: &str, arguments: &str| {
        let inject = format!("inject=fsync,fdatasync:error={error}");
        let output = strace(&place, &["-o", "/dev/null", "-e", &inject], arguments).output().unwrap();
        Report::new(arguments, output)
    };
    let model = |run: &str| fs::read(place.path(run).join("checkpoints/last/model.safetensors")).unwrap();
    for error in ["EINVAL", "EOPNOTSUPP"] {
        with(error, &format!("{} --max-steps 3", begin(error))).succeeds();
        with(error, &format!("train --resume {error}")).succeeds();
        assert!(model(error) == model("whole"));
        with(error, &format!("report {error} -o {error}.html")).succeeds();
    }
    with("EIO", &begin("failing")).fails(1, &["cannot flush to the disk", "Input/output error"]);
    with("EIO", "report whole -o failing.html").fails(1, &["failing.html", "cannot flush to the disk"]);
    assert!(!place.path("failing.html").exists());
}

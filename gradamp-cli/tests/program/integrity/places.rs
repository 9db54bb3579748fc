//! The folder of a run is removed, renamed or replaced while the run continues.

use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::{Report, SMALL, Workplace, contents};

/// Starts a run that would take minutes, and waits until it has logged some lines.
fn begin(place: &Workplace) -> Child {
    let arguments = format!("{} --out deep/run", SMALL.replace("--epochs 3", "--epochs 30000"));
    let mut command = place.command(&arguments);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let metrics = place.path("deep/run/metrics.jsonl");
    let deadline = Instant::now() + Duration::from_secs(300);
    while fs::metadata(&metrics).map_or(0, |metadata| metadata.len()) == 0 {
        assert!(Instant::now() < deadline, "the run writes no line");
        sleep(Duration::from_millis(5));
    }
    child
}

fn remove(folder: &Path) {
    while folder.exists() {
        let _ = fs::remove_dir_all(folder); // fails while the run writes to it
    }
}

/// Windows does not allow this for folders with open files.
#[cfg(unix)]
#[test]
fn a_run_whose_folder_is_gone_fails_and_does_not_make_it_again() {
    for (what, fate) in [
        // While the folder is being removed, the error names whichever file is missing first.
        ("removed", "deep/run"),
        ("renamed", "deep/run: this folder was renamed"),
        ("replaced", "deep/run: this folder was renamed"),
        ("with the folder above", "deep/run"),
    ] {
        let place = Workplace::new();
        let child = begin(&place);
        let run = place.path("deep/run");
        match what {
            "removed" => remove(&run),
            "with the folder above" => remove(&place.path("deep")),
            _ => fs::rename(&run, place.path("moved")).unwrap(),
        }
        if what == "replaced" {
            place.write("deep/run/of another", "text");
        }
        let report = Report::new(what, child.wait_with_output().unwrap()).fails(1, &[fate]);
        match what {
            "replaced" => {
                assert_eq!(contents(&run).len(), 1, "{what}: the run wrote into a folder that is not its own")
            }
            "with the folder above" => {
                assert!(!place.path("deep").exists(), "{what}: the folder was made again")
            }
            _ => assert!(!run.exists(), "{what}: the folder was made again"),
        }
        if place.path("moved").exists() {
            assert!(
                report.err.contains("gradamp train --resume") && report.err.contains("moved"),
                "{}",
                report.err
            );
            place.run("verify moved").succeeds();
        }
    }
}

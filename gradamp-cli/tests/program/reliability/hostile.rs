//! Hostile environments. The program must always end by itself, with one of its own exit codes, without a panic, and
//! never with success if results are lost.

#![cfg(target_os = "linux")]

use std::fs;
use std::process::Stdio;

use super::disk::Disk;
use super::trace::can_trace;
use super::{begin, workplace};
use crate::resume::assert_same_run;
use crate::{Report, Workplace};

/// What a row of the table needs in addition to a shell.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Needs {
    Nothing,
    /// The program `strace`.
    Tracing,
    /// A small file system in memory, mounted at `small`, and a read-only one at `fixed`.
    Mounting,
}
use Needs::{Mounting, Nothing, Tracing};

/// A hostile environment.
struct Row {
    name: &'static str,
    needs: Needs,
    /// The shell script that runs the program `$G`; its exit code is the program's.
    script: &'static str,
    /// The exit codes with which the program may end.
    codes: &'static [i32],
    /// Text that the program's messages must contain if it fails.
    says: &'static str,
}

const fn row(
    name: &'static str,
    needs: Needs,
    script: &'static str,
    codes: &'static [i32],
    says: &'static str,
) -> Row {
    Row { name, needs, script, codes, says }
}

/// All environments. `whole` is a finished run; `tiny.toml` holds its settings.
const ROWS: [Row; 42] = [
    row("full stdout", Nothing, "$G eval --run whole --json >/dev/full", &[1], "No space left on device"),
    row(
        "full stdout of a run",
        Nothing,
        "$G train --config tiny.toml --out r1 >/dev/full",
        &[1],
        "stdout: cannot",
    ),
    row("full stderr", Nothing, "$G train --config tiny.toml --out r2 2>/dev/full", &[0], ""),
    row("full stdout and stderr", Nothing, "$G eval --run whole >/dev/full 2>/dev/full", &[1], ""),
    row(
        "a reader that has ended",
        Nothing,
        "(sleep 0.1; $G train --config tiny.toml --out r3 2>&1; echo $? >code) | true; while ! [ -s code ]; do sleep 0.05; done; exit $(cat code)",
        &[0],
        "",
    ),
    row("nohup", Nothing, "nohup $G train --config tiny.toml --out r4 >nohup.out", &[0], ""),
    row("no stdin", Nothing, "$G train --config tiny.toml --out c1 <&-", &[0], ""),
    row("no stdout", Nothing, "$G train --config tiny.toml --out c2 >&-", &[0, 1], ""),
    row("no stderr", Nothing, "$G train --config tiny.toml --out c3 2>&-", &[0], ""),
    row("no stdin and stdout", Nothing, "$G train --config tiny.toml --out c4 <&- >&-", &[0, 1], ""),
    row("no stdin and stderr", Nothing, "$G train --config tiny.toml --out c5 <&- 2>&-", &[0], ""),
    row("no stdout and stderr", Nothing, "$G train --config tiny.toml --out c6 >&- 2>&-", &[0, 1], ""),
    row(
        "no stdin, stdout and stderr",
        Nothing,
        "$G train --config tiny.toml --out c7 <&- >&- 2>&-",
        &[0, 1],
        "",
    ),
    row(
        "a stdin that can only be written",
        Nothing,
        "$G train --config tiny.toml --out r5 0>/dev/null",
        &[0],
        "",
    ),
    row("a stdout that can only be read", Nothing, "$G eval --run whole 1</dev/null", &[0, 1], ""),
    row(
        "an endless pipe as stdin",
        Nothing,
        "mkfifo pipe; $G train --config tiny.toml --out r6 <>pipe",
        &[0],
        "",
    ),
    row("few file handles", Nothing, "ulimit -n 12; $G train --config tiny.toml --out r7", &[0, 1], ""),
    row(
        "no file handle left",
        Tracing,
        "strace -f -o /dev/null -P whole/config.toml -e inject=openat:error=EMFILE $G eval --run whole",
        &[1, 2],
        "Too many open files",
    ),
    row("no environment", Nothing, "env -i $G train --config tiny.toml --out r8", &[0], ""),
    row("no home and no cache", Nothing, "env -i HOME=/nowhere $G devices", &[0], ""),
    row(
        "meaningless environment variables",
        Nothing,
        "LANG=zz_ZZ TERM= COLUMNS=-1 RUST_LOG=, TZ=Nowhere/Never $G train --config tiny.toml --out r9",
        &[0],
        "",
    ),
    row(
        "a working folder that was removed",
        Nothing,
        "mkdir gone; cd gone; rmdir ../gone; $G train --config ../tiny.toml --out run",
        &[1, 2],
        "error: ",
    ),
    row(
        "a run below a device",
        Nothing,
        "$G train --config tiny.toml --out /dev/null/run",
        &[1],
        "/dev/null/run",
    ),
    row(
        "a run in place of a device",
        Nothing,
        "$G train --config tiny.toml --out /dev/full",
        &[1],
        "expected the path of a folder",
    ),
    row(
        "a run in a folder of the system",
        Nothing,
        "$G train --config tiny.toml --out /proc/run",
        &[1],
        "/proc/run",
    ),
    row("a page in a folder of the system", Nothing, "$G report whole -o /proc/page.html", &[1], "/proc"),
    row(
        "no flush",
        Tracing,
        "strace -f -o /dev/null -e inject=fsync,fdatasync:error=EINVAL $G train --config tiny.toml --out f1",
        &[0],
        "",
    ),
    row(
        "a disk that fails",
        Tracing,
        "strace -f -o /dev/null -e inject=fsync,fdatasync:error=EIO $G train --config tiny.toml --out f2",
        &[1],
        "Input/output error",
    ),
    row(
        "no locks",
        Tracing,
        "strace -f -o /dev/null -e inject=flock:error=ENOLCK $G train --config tiny.toml --out f3",
        &[0],
        "",
    ),
    row(
        "a full disk",
        Mounting,
        "$G train --config tiny.toml --out small/run",
        &[1],
        "No space left on device",
    ),
    row(
        "a full disk for a page",
        Mounting,
        "cp -r whole w; head -c 1000000 /dev/zero >small/rest 2>&-; $G report w -o small/page.html",
        &[1],
        "No space left on device",
    ),
    row(
        "a folder that cannot be written",
        Mounting,
        "$G train --config tiny.toml --out fixed/run",
        &[1],
        "Read-only file system",
    ),
    row(
        "two hang-ups that are ignored",
        Nothing,
        "(trap '' HUP; exec $G train --config tiny.toml --set data.shapes.train=800 --out s1) & p=$!; for i in $(seq 1500); do [ -s s1/metrics.jsonl ] && break; sleep 0.02; done; kill -HUP $p; kill -HUP $p; wait $p",
        &[0],
        "",
    ),
    row(
        "two interrupts that are ignored",
        Nothing,
        "(trap '' INT; exec $G train --config tiny.toml --set data.shapes.train=800 --out s2) & p=$!; for i in $(seq 1500); do [ -s s2/metrics.jsonl ] && break; sleep 0.02; done; kill -INT $p; kill -INT $p; wait $p",
        &[0],
        "",
    ),
    row(
        "a scheduler that signals twice",
        Nothing,
        "$G train --config tiny.toml --set data.shapes.train=800 --out s3 & p=$!; for i in $(seq 1500); do [ -s s3/metrics.jsonl ] && break; sleep 0.02; done; kill -TERM $p; kill -TERM $p; wait $p",
        &[0, 130],
        "",
    ),
    row(
        "no thread can be started",
        Tracing,
        "strace -f -o /dev/null -e inject=?clone,clone3:error=EAGAIN $G train --config tiny.toml --threads 2 --out t1",
        &[0, 1],
        "",
    ),
    row(
        "little memory",
        Nothing,
        "ulimit -v 1000000; $G train --config tiny.toml --width 512 --out m1",
        &[1],
        "memory",
    ),
    row(
        "a folder that is removed",
        Nothing,
        "$G train --config tiny.toml --set data.shapes.train=800 --out g1 & p=$!; for i in $(seq 1500); do [ -s g1/metrics.jsonl ] && break; sleep 0.02; done; rm -r g1; wait $p",
        &[1],
        "g1",
    ),
    row(
        "a name of control characters",
        Nothing,
        "n=$(printf 'a\\tb\\033c\\nd.toml'); cp tiny.toml \"$n\"; $G train --config \"$n\" --out n1 && $G train --resume n1",
        &[0],
        "",
    ),
    row(
        "a limit on the size of files",
        Nothing,
        "ulimit -f 16; $G train --config tiny.toml --out l1",
        &[1],
        "too large",
    ),
    row(
        "a limit on the size of a page",
        Nothing,
        "ulimit -f 1; $G report whole -o limited.html",
        &[1],
        "too large",
    ),
    row(
        "a limit on the size of results",
        Nothing,
        "ulimit -f 0; $G eval --run whole --json >limited.json",
        &[1],
        "too large",
    ),
];

#[test]
fn the_program_ends_with_its_own_exit_code_in_every_environment() {
    let place = workplace();
    place.run(&begin("whole")).succeeds();
    let traces = can_trace("environments in which system calls fail");
    let small = Disk::in_memory(&place, "small", "size=200k");
    let fixed = Disk::in_memory(&place, "fixed", "ro");
    if small.is_none() || fixed.is_none() {
        eprintln!("SKIPPED: full and read-only disks, which only the superuser can mount");
    }
    let mut faults = Vec::new();
    for row in ROWS.iter().filter(|row| match row.needs {
        Nothing => true,
        Tracing => traces,
        Mounting => small.is_some() && fixed.is_some(),
    }) {
        let report = shell(&place, row.script);
        let is_right =
            report.code.is_some_and(|code| row.codes.contains(&code)) && report.err.contains(row.says);
        let is_bug = ["a bug in gradamp", "panicked", "RUST_BACKTRACE", "overflowed"]
            .iter()
            .any(|word| report.err.contains(word));
        if !is_right || is_bug {
            faults.push(format!(
                "{}: ended with {:?}, expected {:?} and {:?}:\n{}",
                row.name, report.code, row.codes, row.says, report.err
            ));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    // Runs `c1` to `c7` were started with some of stdin, stdout and stderr closed. Files of the run then get these
    // handles' numbers, but messages must not be written into them.
    for run in ["c1", "c2", "c3", "c4", "c5", "c6", "c7"] {
        assert_same_run(&place.path("whole"), &place.path(run));
    }
    if small.is_some() {
        let record = fs::read_to_string(place.path("small/run/run.json")).unwrap_or_default();
        assert!(!record.contains("\"running\""), "{record}");
    }
}

/// Runs a script in the temporary folder. The exit code is `None` if a signal ended the program.
fn shell(place: &Workplace, script: &str) -> Report {
    let program = place.command("");
    let mut command = std::process::Command::new("sh");
    command.args(["-c", script]).current_dir(place.0.path()).env("G", program.get_program());
    for (name, value) in program.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let output = command.stdin(Stdio::null()).output().unwrap();
    let mut report = Report::new(script, output);
    report.code = report.code.filter(|code| *code < 128 || *code == 130); // a shell reports a signal as 128 and more
    report
}

//! Runs the program under `strace`, which lists its system calls, kills it before one of them, or makes one fail.

#![cfg(target_os = "linux")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Workplace;

/// The system calls that change the disk. A `?` marks calls that not every machine has.
const CHANGES: &str = "?open,openat,?creat,?rename,renameat,renameat2,fsync,fdatasync,?unlink,unlinkat,?rmdir,?mkdir,mkdirat,\
                       ftruncate,write,pwrite64";

/// A system call of the program's first thread, which is the one that writes files.
#[derive(Clone, Debug)]
pub struct Call {
    /// The name of the call.
    pub name: String,
    /// The number of the call among those with this name, counted from 1.
    pub number: usize,
    /// The full paths in the call, in order.
    pub paths: Vec<PathBuf>,
    /// The line of the trace.
    pub line: String,
}

impl Call {
    /// Whether the call opens a file for writing.
    pub fn opens_to_write(&self) -> bool {
        self.is(&["open", "openat", "creat"])
            && ["O_WRONLY", "O_RDWR", "O_CREAT"].iter().any(|flag| self.line.contains(flag))
    }

    /// Whether the call may create a file or folder.
    pub fn creates(&self) -> bool {
        self.is(&["mkdir", "mkdirat"]) || self.opens_to_write() && self.line.contains("O_CREAT")
    }

    pub fn renames(&self) -> bool {
        self.is(&["rename", "renameat", "renameat2"])
    }

    pub fn flushes(&self) -> bool {
        self.is(&["fsync", "fdatasync"])
    }

    pub fn removes(&self) -> bool {
        self.is(&["unlink", "unlinkat", "rmdir"])
    }

    pub fn writes(&self) -> bool {
        self.is(&["write", "pwrite64", "ftruncate"])
    }

    fn is(&self, names: &[&str]) -> bool {
        names.contains(&self.name.as_str())
    }

    /// The last path; for a rename, this is the new name.
    pub fn path(&self) -> &Path {
        self.paths.last().unwrap_or_else(|| panic!("no path in {}", self.line))
    }
}

/// Whether `strace` works here. If it does not, prints that the test of `what` is skipped.
pub fn can_trace(what: &str) -> bool {
    let tried = Command::new("strace").args(["-f", "-o", "/dev/null", "true"]).output();
    let works = tried.is_ok_and(|output| output.status.success());
    if !works {
        eprintln!("SKIPPED: {what}, because strace is missing or may not trace here");
    }
    works
}

/// A command that runs the program under `strace` with the given options.
pub fn strace(place: &Workplace, options: &[&str], arguments: &str) -> Command {
    let program = place.command(arguments);
    let mut command = Command::new("strace");
    command.args(["-f", "-qq"]).args(options).arg("--").arg(program.get_program()).args(program.get_args());
    for (name, value) in program.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.current_dir(place.0.path()).stdin(std::process::Stdio::null());
    command
}

/// Runs the program, which must succeed. Returns its successful calls on files in the temporary folder, in order.
pub fn calls(place: &Workplace, arguments: &str) -> Vec<Call> {
    let log = place.path("trace");
    let trace = format!("trace={CHANGES}");
    let options = ["-y", "-s", "4096", "-o", log.to_str().unwrap(), "-e", &trace];
    let output = strace(place, &options, arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = fs::read_to_string(&log).unwrap();
    let root = place.0.path().canonicalize().unwrap();
    let main = text.split_whitespace().next().unwrap().to_owned();
    let (mut calls, mut numbers, mut begun) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
    for line in text.lines() {
        let (thread, mut line) = line.split_once(' ').map(|(a, b)| (a, b.trim().to_owned())).unwrap();
        // If another thread makes a call during this one, `strace` prints this one in two lines.
        if let Some(first) = line.strip_suffix("<unfinished ...>") {
            begun.insert(thread, first.to_owned());
            continue;
        }
        if let Some((_, second)) = line.split_once(" resumed>") {
            line = begun.remove(thread).unwrap_or_default() + second;
        }
        let Some((name, _)) = line.split_once('(').filter(|(name, _)| is_name(name)) else { continue };
        let call = Call { name: name.to_owned(), number: 0, paths: paths(&line, &root), line: line.clone() };
        let is_ours = call.paths.iter().any(|path| path.starts_with(&root) && *path != log);
        let changes = call.opens_to_write() || !call.is(&["open", "openat"]);
        if thread != main {
            assert!(!(is_ours && changes), "an unexpected thread writes: {line}");
            continue;
        }
        let number: &mut usize = numbers.entry(call.name.clone()).or_default();
        *number += 1;
        if is_ours && changes && !line.contains(" = -1 ") {
            calls.push(Call { number: *number, ..call });
        }
    }
    calls
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
}

/// The paths in a call: quoted names, relative to the folder that precedes them, and the paths of file handles.
fn paths(line: &str, root: &Path) -> Vec<PathBuf> {
    let arguments = line.rsplit_once(" = ").map_or(line, |(call, _)| call);
    let is_data = arguments.starts_with("write(") || arguments.starts_with("pwrite64(");
    let (mut found, mut rest, mut folder) = (Vec::new(), arguments, root.to_owned());
    while let Some(at) = rest.find(['<', '"']) {
        let end = if rest[at..].starts_with('<') { '>' } else { '"' };
        let Some((text, after)) = rest[at + 1..].split_once(end) else { break };
        match end {
            '"' => found.push(folder.join(text)),
            _ if after.starts_with(", \"") && !is_data => folder = text.into(), // `AT_FDCWD</folder>, "name"`
            _ => found.push(text.into()),
        }
        rest = after;
        if is_data {
            break; // written data is not a path
        }
    }
    found
}

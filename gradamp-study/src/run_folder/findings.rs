//! Whether each file of a run is what the run wrote.

use std::path::{Path, PathBuf};

use gradamp_core::files;

use super::checkpoint::{BEST, Examined, LAST};
use super::disk::{CHECKPOINTS, RECORD, partial_files};
use super::{Checkpoint, Error, FileSeal, Log, LogSeals, Result, RunFolder, RunRecord};

/// The result of checking one file.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// The file.
    pub path: PathBuf,
    /// Whether the file is what was written.
    pub verdict: Verdict,
}

/// Whether a file is what was written.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// The file is, bit for bit, what was written.
    Whole,
    /// No damage was found, but a part could not be checked: which part, and why.
    Noted(String),
    /// The file is damaged: what was expected and what was found.
    Damaged(String),
}

const UNSEALED: &str = "unsealed by an earlier version of gradamp";

impl Finding {
    /// The finding about the file at `path`, from the result `checked`.
    pub fn new(path: &Path, checked: Result<()>) -> Self {
        let verdict = match checked {
            Ok(()) => Verdict::Whole,
            Err(error) => Verdict::Damaged(message_without_path(path, &error)),
        };
        Self { path: path.to_owned(), verdict }
    }

    /// A finding without damage.
    pub fn noted(path: &Path, note: impl Into<String>) -> Self {
        Self { path: path.to_owned(), verdict: Verdict::Noted(note.into()) }
    }

    /// What is wrong with the file, with its name.
    pub fn damage(&self) -> Option<String> {
        match &self.verdict {
            Verdict::Damaged(damage) => Some(format!("{}: {damage}", self.path.display())),
            Verdict::Whole | Verdict::Noted(_) => None,
        }
    }

    /// Whether the file is damaged.
    pub fn is_damage(&self) -> bool {
        matches!(self.verdict, Verdict::Damaged(_))
    }
}

/// The error's message without the path that it begins with.
fn message_without_path(path: &Path, error: &Error) -> String {
    let message = error.to_string();
    message.strip_prefix(&format!("{}: ", path.display())).map_or(message.clone(), str::to_owned)
}

/// Checks every file of the run in `root` against its seal. Changes nothing, so it may be called while the run goes on.
///
/// **Errors:** a folder that holds no run.
pub fn findings(root: &Path) -> Result<Vec<Finding>> {
    let config = RunFolder::config_of(root)?;
    let record_path = root.join(RECORD);
    let record = RunRecord::read(root);
    let last = RunFolder::last_of(root);
    let mut all = Vec::new();
    all.push(match record.as_ref().map(|record| record.as_ref().map(|record| &record.config)) {
        Ok(Some(Some(seal))) => {
            Finding::new(&config, FileSeal::read(&config).and_then(|found| seal.check(&config, &found)))
        }
        Ok(Some(None)) => Finding::noted(&config, UNSEALED),
        Ok(None) => Finding::noted(&config, "its seal is in run.json, which is not there yet"),
        Err(_) => Finding::noted(&config, "its seal is in run.json, which is damaged"),
    });
    let was_saved = matches!(&record, Ok(Some(record)) if record.was_saved());
    let removed = match &record {
        Ok(Some(record)) => record.removed.clone(),
        _ => Vec::new(),
    };
    match record {
        Ok(Some(record)) if record.is_sealed() => all.push(Finding::new(&record_path, Ok(()))),
        Ok(Some(_)) => all.push(Finding::noted(&record_path, UNSEALED)),
        Ok(None) => all.push(Finding::noted(&record_path, "is not there yet: the run was not begun")),
        Err(error) => all.push(Finding::new(&record_path, Err(error))),
    }
    // The checkpoints come before the logs: a log only grows, so that the part that a checkpoint covers stays.
    let (newest, best) = (last.examine(), RunFolder::best_of(root).examine());
    for (name, examined) in [(LAST, &newest), (BEST, &best)] {
        if examined.is_none() && removed.iter().any(|it| it == name) {
            all.push(Finding::noted(&root.join(CHECKPOINTS).join(name), "was removed by `runs clean`"));
        }
    }
    if newest.is_none() && was_saved && !removed.iter().any(|it| it == LAST) {
        all.push(Finding::new(last.path(), Err(last.missing())));
    }
    for log in Log::ALL {
        all.push(check_log(root, log, was_saved, [&newest, &best]));
    }
    for examined in [newest, best].into_iter().flatten() {
        all.extend(examined.files.into_iter().map(|(path, checked)| Finding::new(&path, checked)));
    }
    for checkpoint in [last, RunFolder::best_of(root)] {
        all.extend(leftovers(&checkpoint));
    }
    let partial = partial_files(&[root, &root.join(CHECKPOINTS)])?;
    let left = "was left half-written; the next start of the run removes it";
    all.extend(partial.iter().map(|path| Finding::noted(path, left)));
    Ok(all)
}

/// A log, checked against the seals in both checkpoints.
fn check_log(root: &Path, log: Log, is_expected: bool, checkpoints: [&Option<Examined>; 2]) -> Finding {
    let path = log.path_in(root);
    let seals: Vec<&LogSeals> =
        checkpoints.into_iter().flatten().filter_map(|checkpoint| checkpoint.logs.as_ref()).collect();
    let bytes = match files::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !is_expected => {
            return Finding::noted(&path, "is not there yet");
        }
        Err(error) => return Finding::new(&path, Err(Error::io(&path, "read")(error))),
    };
    if let Err(error) = seals.iter().try_for_each(|seals| seals.check(log, &path, &bytes)) {
        return Finding::new(&path, Err(error));
    }
    let covered = seals.iter().map(|seals| *seals.lengths.get(log)).max().unwrap_or(0);
    let open = bytes.get(usize::try_from(covered).unwrap_or(usize::MAX)..).unwrap_or_default();
    let lines = open.split_inclusive(|&byte| byte == b'\n').count();
    let mut notes = Vec::new();
    if covered > 0 && seals.iter().all(|seals| seals.sha256.is_none()) {
        notes.push(UNSEALED.to_owned());
    }
    if lines > 0 {
        let words = if lines == 1 { "line is" } else { "lines are" };
        notes.push(format!("{lines} {words} not yet covered by a checkpoint"));
    }
    match notes.is_empty() {
        true => Finding::new(&path, Ok(())),
        false => Finding::noted(&path, notes.join("; ")),
    }
}

fn leftovers(checkpoint: &Checkpoint) -> Vec<Finding> {
    let note = "was left by an interrupted save; the next start of the run removes it";
    checkpoint.leftovers().iter().map(|path| Finding::noted(path, note)).collect()
}

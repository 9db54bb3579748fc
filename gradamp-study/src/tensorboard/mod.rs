//! TensorBoard's event files, made from the JSONL files of a run.
//!
//! An event file is a function of the run's lines alone: a file that was written during the run has the same bytes as a file
//! that is made after the run. A resumed run writes a new file, which begins with everything before the checkpoint, and
//! removes the old file, so that no step is in the files twice.
//!
//! A file begins with the run's settings: as hyperparameters, for TensorBoard's table of runs, and as a text.
//!
//! The horizontal axis is the number of finished steps. The time is the run's own time, which does not pass while the run is
//! interrupted.

mod event;
mod record;
mod scalars;

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use gradamp_core::Backend;
use gradamp_core::train::{Control, EpochReport, Observer, Snapshot, StepReport};

use crate::config::tree::Value;
use crate::resume::is_free;
use crate::run_folder::{Error, Follower, Result, RunFolder, timestamp};

use scalars::Scalars;

/// The folder of the event files, in a run's folder.
const FOLDER: &str = "tensorboard";
/// The beginning of the name of every event file, which TensorBoard looks for, and the end of the names of our files.
const NAME: (&str, &str) = ("events.out.tfevents.", ".gradamp");

/// Writes the event file of the run in `root` from the beginning, and returns the path.
///
/// **Errors:** a folder that holds no run; a process is training the run; a file that cannot be written.
pub fn convert(root: &Path) -> Result<PathBuf> {
    // Locks the folder, so that no training writes to the same file.
    let folder = RunFolder::open(root)?;
    let mut events = EventFile::create(folder.root())?;
    events.update()?;
    Ok(events.path)
}

/// A run's event file, which grows with the run.
#[derive(Debug)]
pub struct EventFile {
    root: PathBuf,
    path: PathBuf,
    out: BufWriter<File>,
    follower: Follower,
    scalars: Option<Scalars>,
}

impl EventFile {
    /// Writes the event file of the run in `root` from the beginning.
    ///
    /// **Errors:** a file that cannot be written.
    pub fn create(root: &Path) -> Result<Self> {
        let folder = root.join(FOLDER);
        fs::create_dir_all(&folder).map_err(Error::io(&folder, "make this folder"))?;
        let old = event_files(&folder)?;
        // TensorBoard may be following an old file. It continues with the file that has the next name in order.
        let later = |second: &u64| old.iter().all(|(old, _)| old < second);
        let second = (timestamp().seconds()..).find(later).unwrap_or(u64::MAX);
        for (_, path) in &old {
            fs::remove_file(path).map_err(Error::io(path, "remove"))?;
        }
        let path = folder.join(format!("{}{second:010}{}", NAME.0, NAME.1));
        let out = BufWriter::new(File::create(&path).map_err(Error::io(&path, "create this file"))?);
        Ok(Self { root: root.to_owned(), path, out, follower: Follower::new(root), scalars: None })
    }

    /// Writes the events of the changes since the last call.
    ///
    /// **Errors:** a line of the run that cannot be read; a file that cannot be written.
    pub fn update(&mut self) -> Result<()> {
        let changes = self.follower.poll()?;
        let Some(record) = self.follower.record() else { return Ok(()) };
        let mut bytes = Vec::new();
        if self.scalars.is_none() {
            let scalars = Scalars::begin(record);
            let (settings, text) = configuration(&self.root)?;
            scalars.head(&settings, &text).iter().for_each(|event| record::append(&mut bytes, event));
            self.scalars = Some(scalars);
        }
        let Some(scalars) = &mut self.scalars else { return Ok(()) };
        for event in changes.iter().filter_map(|change| scalars.event(change)) {
            record::append(&mut bytes, &event);
        }
        self.out.write_all(&bytes).and_then(|()| self.out.flush()).map_err(Error::io(&self.path, "write"))
    }
}

/// The settings of the run in `root` that decide about its results, and the text of its configuration.
///
/// **Errors:** settings that cannot be read.
fn configuration(root: &Path) -> Result<(Vec<(String, Value)>, String)> {
    let path = RunFolder::config_of(root)?;
    let unreadable = |error: &dyn std::fmt::Display| Error::broken(&path, error.to_string());
    let settings = RunFolder::settings_of(root).map_err(|error| unreadable(&error))?;
    let mut values = settings.values().map_err(|error| unreadable(&error))?;
    // The data set is the same wherever it lies, so that its name is free, but it decides about the results.
    values.retain(|(name, _)| name == "data.source" || !is_free(name));
    let text = gradamp_core::files::read_to_string(&path).map_err(Error::io(&path, "read"))?;
    Ok((values, text))
}

/// Our event files in `folder`, by the second in their names.
fn event_files(folder: &Path) -> Result<Vec<(u64, PathBuf)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(Error::io(folder, "read"))? {
        let path = entry.map_err(Error::io(folder, "read"))?.path();
        let second = path
            .file_name()
            .and_then(|name| name.to_str()?.strip_prefix(NAME.0)?.strip_suffix(NAME.1)?.parse::<u64>().ok());
        files.extend(second.map(|second| (second, path)));
    }
    Ok(files)
}

/// The observer that keeps a run's event file up to date. If the file cannot be written, the observer reports this once, and
/// the run continues without the file.
#[derive(Debug)]
pub struct EventWriter {
    file: Option<EventFile>,
    say: fn(&str),
}

impl EventWriter {
    /// Whether the run in `root` has an event file, which must be kept up to date.
    pub fn is_in(root: &Path) -> bool {
        event_files(&root.join(FOLDER)).is_ok_and(|files| !files.is_empty())
    }

    /// An observer of the run in `root`. Writes the events so far at once. Calls `say` with a message when the file can no
    /// longer be written.
    ///
    /// **Errors:** a file that cannot be written.
    pub fn begin(root: &Path, say: fn(&str)) -> Result<Self> {
        let mut file = EventFile::create(root)?;
        file.update()?;
        Ok(Self { file: Some(file), say })
    }

    fn update(&mut self) -> Control {
        let updated = self.file.as_mut().map_or(Ok(()), EventFile::update);
        if let Err(error) = updated {
            (self.say)(&format!("TensorBoard's file is no longer written: {error}"));
            self.file = None;
        }
        Control::Continue
    }
}

impl<B: Backend> Observer<B> for EventWriter {
    fn on_steps(&mut self, _: &[StepReport], _: &Snapshot<'_, B>) -> gradamp_core::Result<Control> {
        Ok(self.update())
    }

    fn on_epoch(&mut self, _: &EpochReport, _: &Snapshot<'_, B>) -> gradamp_core::Result<Control> {
        Ok(self.update())
    }
}

#[cfg(test)]
mod tests;

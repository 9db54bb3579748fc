//! Follows a run's folder while it grows: each poll reads only what is new.

use std::fs;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use gradamp_core::amplify::DrawRecord;
use gradamp_core::files;
use serde::de::DeserializeOwned;

use super::data::{SealedLogs, parse};
use super::disk::RECORD;
use super::lines::{EpochLine, GradientLine, MetricsLine, StepLine};
use super::{Error, Log, Result, RunFolder, RunRecord, RunStatus};
use crate::config::Resolved;

/// A change in a run's folder.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// The changes so far no longer hold, because the run was started again or resumed from an earlier step. All changes
    /// follow again from the beginning.
    Restarted,
    /// `run.json` was written.
    Record(Box<RunRecord>),
    /// A step.
    Step(StepLine),
    /// An epoch.
    Epoch(EpochLine),
    /// A draw of amplified sites.
    Draw(DrawRecord),
    /// A site's gradients in one epoch.
    Gradient(GradientLine),
}

impl Change {
    /// The order of changes: by the number of steps before the change, then by kind.
    fn sort_key(&self) -> (u64, u8) {
        match self {
            Change::Restarted => (0, 0),
            Change::Record(_) => (0, 1),
            Change::Step(line) => (line.step.saturating_add(1), 2),
            Change::Epoch(line) => (line.step, 3),
            Change::Gradient(line) => (line.step, 4),
            Change::Draw(draw) => (draw.step, 5), // before the next step
        }
    }
}

/// Follows the files of one run.
#[derive(Debug)]
pub struct Follower {
    root: PathBuf,
    record: Option<StampedRecord>,
    metrics: Tail,
    draws: Tail,
    gradients: Tail,
    /// Whether the logs were checked against the last checkpoint.
    is_checked: bool,
}

/// `run.json` as it was last read.
#[derive(Debug)]
struct StampedRecord {
    stamp: Stamp,
    record: RunRecord,
}

/// The length and time of a file. If they differ, the file was replaced.
type Stamp = (u64, Option<SystemTime>);

impl Follower {
    /// A follower of the run in `root`, which has read nothing yet, and the run's settings.
    ///
    /// **Errors:** a folder that holds no run; settings that cannot be read.
    pub fn open(root: &Path) -> crate::Result<(Self, Resolved)> {
        let settings = RunFolder::settings_of(root)?;
        Ok((Self::new(root), settings))
    }

    /// A follower of the run in `root`, which may not be there yet.
    pub fn new(root: &Path) -> Self {
        let tail = |log: Log| Tail::new(log.path_in(root));
        Self {
            root: root.to_owned(),
            record: None,
            metrics: tail(Log::Metrics),
            draws: tail(Log::Amplification),
            gradients: tail(Log::Gradients),
            is_checked: false,
        }
    }

    /// The changes since the last call. After an error, the next call begins at the beginning of the run.
    ///
    /// **Errors:** a folder that is no longer there; a file that is damaged or of another version, with its line.
    pub fn poll(&mut self) -> Result<Vec<Change>> {
        let changes = self.read_new().and_then(|changes| changes.map_or_else(|| self.read_again(), Ok));
        if changes.is_err() {
            *self = Self::new(&self.root);
        }
        changes
    }

    /// The run's `run.json`; `None` until it is read.
    pub fn record(&self) -> Option<&RunRecord> {
        self.record.as_ref().map(|stamped| &stamped.record)
    }

    /// Reads everything from the beginning.
    fn read_again(&mut self) -> Result<Vec<Change>> {
        *self = Self::new(&self.root);
        let changes = self.read_new()?;
        Ok(std::iter::once(Change::Restarted).chain(changes.into_iter().flatten()).collect())
    }

    /// The new changes; `None` if the changes that were read before no longer hold.
    fn read_new(&mut self) -> Result<Option<Vec<Change>>> {
        RunFolder::config_of(&self.root)?;
        if !self.is_checked {
            SealedLogs::open(&self.root)?.check()?;
            self.is_checked = true;
        }
        let mut changes = Vec::new();
        if let Some(stamped) = self.read_record()? {
            let is_other = |old: &StampedRecord| {
                let session = |record: &RunRecord| (record.start.clone(), record.resumed.len());
                session(&old.record) != session(&stamped.record)
            };
            if self.record.as_ref().is_some_and(is_other) {
                return Ok(None);
            }
            changes.push(Change::Record(Box::new(stamped.record.clone())));
            self.record = Some(stamped);
        }
        // The files are made after `run.json`, so a run that has just begun may lack them.
        let is_over = self.record().is_some_and(|record| record.outcome != RunStatus::Running);
        let Some(lines) = self.metrics.lines::<MetricsLine>(is_over)? else { return Ok(None) };
        changes.extend(lines.into_iter().map(|line| match line {
            MetricsLine::Step(step) => Change::Step(step),
            MetricsLine::Epoch(epoch) => Change::Epoch(epoch),
        }));
        let Some(lines) = self.draws.lines(is_over)? else { return Ok(None) };
        changes.extend(lines.into_iter().map(Change::Draw));
        let Some(lines) = self.gradients.lines(is_over)? else { return Ok(None) };
        changes.extend(lines.into_iter().map(Change::Gradient));
        changes.sort_by_key(Change::sort_key);
        Ok(Some(changes))
    }

    /// `run.json`; `None` if it does not exist yet or has not changed.
    fn read_record(&self) -> Result<Option<StampedRecord>> {
        let path = self.root.join(RECORD);
        let stamp = match fs::metadata(&path) {
            Ok(metadata) => (metadata.len(), metadata.modified().ok()),
            Err(error) if error.kind() == ErrorKind::NotFound && self.record.is_none() => return Ok(None),
            Err(error) => return Err(Error::io(&path, "read")(error)),
        };
        if self.record.as_ref().is_some_and(|stamped| stamped.stamp == stamp) {
            return Ok(None);
        }
        Ok(RunRecord::read(&self.root)?.map(|record| StampedRecord { stamp, record }))
    }
}

/// The number of bytes before the current position that are read again and compared, to notice a file that was replaced.
const COMPARED_BYTES: usize = 64;

/// The end of a file that grows by lines.
#[derive(Debug)]
struct Tail {
    path: PathBuf,
    /// The position up to which the file was read: the end of a line.
    offset: u64,
    /// The number of lines before the position.
    count: usize,
    /// The last bytes before the position: they differ in a file that was cut and has grown again.
    last_bytes: Vec<u8>,
}

impl Tail {
    fn new(path: PathBuf) -> Self {
        Self { path, offset: 0, count: 0, last_bytes: Vec::new() }
    }

    /// The whole lines since the last call; `None` for a file that was cut or replaced. A file that is not there has no
    /// lines, unless it `must_exist`.
    fn lines<T: DeserializeOwned>(&mut self, must_exist: bool) -> Result<Option<Vec<T>>> {
        let mut file = match files::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound && !must_exist => {
                return Ok((self.offset == 0).then(Vec::new));
            }
            Err(error) => return Err(Error::io(&self.path, "read")(error)),
        };
        let len = file.metadata().map_err(Error::io(&self.path, "read"))?.len();
        if len < self.offset {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        let begin = self.offset - self.last_bytes.len() as u64;
        file.seek(SeekFrom::Start(begin)).map_err(Error::io(&self.path, "read"))?;
        file.read_to_end(&mut bytes).map_err(Error::io(&self.path, "read"))?;
        let Some(new) = bytes.strip_prefix(self.last_bytes.as_slice()) else { return Ok(None) };
        let Some(end) = new.iter().rposition(|&byte| byte == b'\n').map(|end| end + 1) else {
            return Ok(Some(Vec::new()));
        };
        let whole = &new[..end - 1];
        let lines = whole.split(|&byte| byte == b'\n');
        let first = self.count + 1;
        let values = lines.enumerate().map(|(i, line)| parse(&self.path, first + i, line));
        let values = values.collect::<Result<Vec<T>>>()?;
        self.count += values.len();
        self.offset += end as u64;
        let read = &bytes[..self.last_bytes.len() + end];
        self.last_bytes = read[read.len().saturating_sub(COMPARED_BYTES)..].to_vec();
        Ok(Some(values))
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write;

    use super::*;

    fn draw(step: u64) -> String {
        format!(r#"{{"epoch":0,"step":{step},"sites":["bn1"],"factors":[2.0],"placement":"output"}}"#) + "\n"
    }

    fn append(path: &Path, text: &str) {
        let mut file = File::options().append(true).create(true).open(path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    fn steps(tail: &mut Tail) -> Option<Vec<u64>> {
        let lines: Option<Vec<DrawRecord>> = tail.lines(false).unwrap();
        lines.map(|lines| lines.iter().map(|line| line.step).collect())
    }

    #[test]
    fn each_line_is_read_once_and_when_it_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("amplification.jsonl");
        let mut tail = Tail::new(path.clone());
        assert_eq!(steps(&mut tail), Some(vec![]), "no file yet");
        append(&path, &draw(1));
        append(&path, &draw(2)[..20]);
        assert_eq!(steps(&mut tail), Some(vec![1]));
        assert_eq!(steps(&mut tail), Some(vec![]));
        append(&path, &draw(2)[20..]);
        append(&path, &draw(3));
        assert_eq!(steps(&mut tail), Some(vec![2, 3]));
        append(&path, "{}\n");
        let error = tail.lines::<DrawRecord>(false).unwrap_err().to_string();
        assert!(error.contains("amplification.jsonl: line 4: is damaged"), "{error}");
    }

    #[test]
    fn a_file_that_was_cut_is_noticed_even_if_it_has_grown_beyond_its_old_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("amplification.jsonl");
        let write =
            |steps: &[u64]| fs::write(&path, steps.iter().map(|&step| draw(step)).collect::<String>());
        for after in [&[][..], &[1], &[1, 7], &[1, 7, 8, 9]] {
            let mut tail = Tail::new(path.clone());
            write(&[1, 2]).unwrap();
            assert_eq!(steps(&mut tail), Some(vec![1, 2]));
            write(after).unwrap();
            assert_eq!(steps(&mut tail), None, "{after:?}");
        }
        let mut tail = Tail::new(path.clone());
        assert_eq!(steps(&mut tail), Some(vec![1, 7, 8, 9]));
        fs::remove_file(&path).unwrap();
        assert_eq!(steps(&mut tail), None);
        assert!(tail.lines::<DrawRecord>(true).unwrap_err().to_string().contains("cannot read"));
    }
}

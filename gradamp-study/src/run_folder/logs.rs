//! The files that grow a line at a time.

use std::fs::File;
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::seal;
use super::{Error, Result};

/// A value for each file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PerLog<T> {
    /// `metrics.jsonl`
    pub metrics: T,
    /// `amplification.jsonl`
    pub amplification: T,
    /// `gradients.jsonl`
    pub gradients: T,
    /// `evaluations.jsonl`
    pub evaluations: T,
}

impl<T> PerLog<T> {
    /// Makes the value of each file from its name.
    ///
    /// **Errors:** what `make` returns.
    pub fn try_from_fn<E>(mut make: impl FnMut(Log) -> Result<T, E>) -> Result<Self, E> {
        Ok(Self {
            metrics: make(Log::Metrics)?,
            amplification: make(Log::Amplification)?,
            gradients: make(Log::Gradients)?,
            evaluations: make(Log::Evaluations)?,
        })
    }

    /// The value of one file.
    pub fn get(&self, log: Log) -> &T {
        match log {
            Log::Metrics => &self.metrics,
            Log::Amplification => &self.amplification,
            Log::Gradients => &self.gradients,
            Log::Evaluations => &self.evaluations,
        }
    }
}

/// One of the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Log {
    /// A line per step interval and per epoch.
    Metrics,
    /// A line per draw.
    Amplification,
    /// A line per epoch and site.
    Gradients,
    /// A line per evaluation.
    Evaluations,
}

impl Log {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Metrics, Self::Amplification, Self::Gradients, Self::Evaluations];

    /// The file's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Metrics => "metrics.jsonl",
            Self::Amplification => "amplification.jsonl",
            Self::Gradients => "gradients.jsonl",
            Self::Evaluations => "evaluations.jsonl",
        }
    }

    /// The file of the run in `root`.
    pub fn path_in(self, root: &Path) -> PathBuf {
        root.join(self.name())
    }
}

/// The seals of the logs at a checkpoint: a resumed run cuts the logs to this length, and readers check them against the seals.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogSeals {
    /// The length of each log, in bytes.
    pub lengths: PerLog<u64>,
    /// The SHA-256 of that many bytes; `None` if an earlier version of the program wrote the checkpoint.
    pub sha256: Option<PerLog<String>>,
}

impl LogSeals {
    /// Checks a log against the checkpoint; lines behind the checkpoint are not checked.
    ///
    /// **Errors:** a file that is shorter, or whose part before the checkpoint was changed.
    pub fn check(&self, log: Log, path: &Path, bytes: &[u8]) -> Result<()> {
        let (expected, found) = (*self.lengths.get(log), bytes.len());
        let Some(covered) = usize::try_from(expected).ok().and_then(|length| bytes.get(..length)) else {
            let message =
                format!("is shorter than at the last checkpoint: expected {expected} bytes, found {found}");
            return Err(Error::broken(path, message));
        };
        let Some(sha256) = self.sha256.as_ref().map(|all| all.get(log)) else { return Ok(()) };
        let found = seal::sha256(covered);
        if found != *sha256 {
            let message = format!(
                "is changed since the last checkpoint: expected SHA-256 {sha256} of its first {expected} bytes, found {found}"
            );
            return Err(Error::broken(path, message));
        }
        Ok(())
    }
}

/// The four files.
#[derive(Debug)]
pub struct Logs {
    /// A line per step interval and per epoch.
    pub metrics: JsonLines,
    /// A line per draw.
    pub amplification: JsonLines,
    /// A line per epoch and site.
    pub gradients: JsonLines,
    /// A line per evaluation.
    pub evaluations: JsonLines,
}

impl Logs {
    /// Opens the files of the run in `root`, cut to where they were at a checkpoint.
    ///
    /// **Errors:** a file that is shorter than at the checkpoint, or whose part before the checkpoint was changed. Then no file is cut.
    pub fn open(root: &Path, seals: &LogSeals) -> Result<Self> {
        let PerLog { metrics, amplification, gradients, evaluations } =
            PerLog::try_from_fn(|log| JsonLines::open(root, log, seals))?;
        let mut logs = Self { metrics, amplification, gradients, evaluations };
        logs.all().into_iter().try_for_each(JsonLines::cut)?;
        // Every checkpoint relies on these names.
        gradamp_models::sync_folder(root)?;
        Ok(logs)
    }

    fn all(&mut self) -> [&mut JsonLines; 4] {
        [&mut self.metrics, &mut self.amplification, &mut self.gradients, &mut self.evaluations]
    }

    /// Flushes all lines to the disk and returns the seals of the files.
    pub fn sync(&mut self) -> Result<LogSeals> {
        self.all().into_iter().try_for_each(JsonLines::sync)?;
        let Self { metrics, amplification, gradients, evaluations } = self;
        let logs = PerLog { metrics, amplification, gradients, evaluations };
        let lengths = PerLog::try_from_fn(|log| Ok::<_, Error>(logs.get(log).len))?;
        let sha256 = PerLog::try_from_fn(|log| Ok::<_, Error>(seal::hex(logs.get(log).hash.clone())))?;
        Ok(LogSeals { lengths, sha256: Some(sha256) })
    }
}

/// A file with a JSON value on each line.
#[derive(Debug)]
pub struct JsonLines {
    path: PathBuf,
    out: BufWriter<File>,
    len: u64,
    /// The SHA-256 of all bytes so far.
    hash: Sha256,
}

impl JsonLines {
    fn open(root: &Path, log: Log, seals: &LogSeals) -> Result<Self> {
        let path = log.path_in(root);
        let options = || File::options().create(true).truncate(false).read(true).write(true).open(&path);
        let mut file = options().map_err(Error::io(&path, "open"))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(Error::io(&path, "read"))?;
        seals.check(log, &path, &bytes)?;
        let len = *seals.lengths.get(log);
        bytes.truncate(usize::try_from(len).unwrap_or(usize::MAX));
        Ok(Self { path, out: BufWriter::new(file), len, hash: Sha256::new_with_prefix(&bytes) })
    }

    /// Removes the lines behind the checkpoint.
    fn cut(&mut self) -> Result<()> {
        let mut file = self.out.get_ref();
        file.set_len(self.len).map_err(Error::io(&self.path, "cut"))?;
        file.seek(SeekFrom::Start(self.len)).map_err(Error::io(&self.path, "write"))?;
        Ok(())
    }

    /// Adds a line, and hands it to the system, so that a process that follows the file sees it.
    pub fn line(&mut self, value: &impl Serialize) -> Result<()> {
        self.lines(std::slice::from_ref(value))
    }

    /// Adds lines.
    pub fn lines(&mut self, values: &[impl Serialize]) -> Result<()> {
        for value in values {
            let mut line = serde_json::to_vec(value).map_err(|error| {
                Error::broken(&self.path, format!("a line cannot be written as JSON: {error}"))
            })?;
            line.push(b'\n');
            self.out.write_all(&line).map_err(Error::io(&self.path, "write"))?;
            self.len += line.len() as u64;
            self.hash.update(&line);
        }
        self.out.flush().map_err(Error::io(&self.path, "write"))
    }

    fn sync(&mut self) -> Result<()> {
        self.out.flush().map_err(Error::io(&self.path, "write"))?;
        gradamp_models::sync_file(self.out.get_ref()).map_err(Error::io(&self.path, "flush to the disk"))
    }
}

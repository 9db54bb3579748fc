//! The files that grow a line at a time.

use std::fs::File;
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Error, Result};

/// How long each file was at a checkpoint, in bytes: a resumed run cuts them there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogLengths {
    /// `metrics.jsonl`
    pub metrics: u64,
    /// `amplification.jsonl`
    pub amplification: u64,
    /// `gradients.jsonl`
    pub gradients: u64,
    /// `evaluations.jsonl`
    pub evaluations: u64,
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
    /// Opens the files of the run in `root`, cut to `lengths`.
    ///
    /// **Errors:** a file that is missing or shorter than it was at the checkpoint.
    pub fn open(root: &Path, lengths: LogLengths) -> Result<Self> {
        let logs = Self {
            metrics: JsonLines::open(root.join("metrics.jsonl"), lengths.metrics)?,
            amplification: JsonLines::open(root.join("amplification.jsonl"), lengths.amplification)?,
            gradients: JsonLines::open(root.join("gradients.jsonl"), lengths.gradients)?,
            evaluations: JsonLines::open(root.join("evaluations.jsonl"), lengths.evaluations)?,
        };
        // Every checkpoint counts on these names.
        gradamp_models::sync_folder(root)?;
        Ok(logs)
    }

    /// Brings all lines to the disk and says how long the files are now.
    pub fn sync(&mut self) -> Result<LogLengths> {
        Ok(LogLengths {
            metrics: self.metrics.sync()?,
            amplification: self.amplification.sync()?,
            gradients: self.gradients.sync()?,
            evaluations: self.evaluations.sync()?,
        })
    }
}

/// A file with a JSON value on each line.
#[derive(Debug)]
pub struct JsonLines {
    path: PathBuf,
    out: BufWriter<File>,
    len: u64,
}

impl JsonLines {
    fn open(path: PathBuf, len: u64) -> Result<Self> {
        let options = || File::options().create(true).truncate(false).write(true).open(&path);
        let mut file = options().map_err(Error::io(&path, "open"))?;
        let found = file.metadata().map_err(Error::io(&path, "read"))?.len();
        if found < len {
            let message =
                format!("is shorter than at the last checkpoint: expected {len} bytes, found {found}");
            return Err(Error::broken(&path, message));
        }
        file.set_len(len).map_err(Error::io(&path, "cut"))?;
        file.seek(SeekFrom::Start(len)).map_err(Error::io(&path, "write"))?;
        Ok(Self { path, out: BufWriter::new(file), len })
    }

    /// Adds a line, and hands it to the system, so that whoever follows the file sees it.
    pub fn line(&mut self, value: &impl Serialize) -> Result<()> {
        self.lines(std::slice::from_ref(value))
    }

    /// Adds lines.
    pub fn lines(&mut self, values: &[impl Serialize]) -> Result<()> {
        for value in values {
            let mut line = serde_json::to_vec(value).map_err(|error| {
                Error::broken(&self.path, format!("a line cannot be put as JSON: {error}"))
            })?;
            line.push(b'\n');
            self.out.write_all(&line).map_err(Error::io(&self.path, "write"))?;
            self.len += line.len() as u64;
        }
        self.out.flush().map_err(Error::io(&self.path, "write"))
    }

    fn sync(&mut self) -> Result<u64> {
        self.out.flush().map_err(Error::io(&self.path, "write"))?;
        gradamp_models::sync_file(self.out.get_ref()).map_err(Error::io(&self.path, "flush to the disk"))?;
        Ok(self.len)
    }
}

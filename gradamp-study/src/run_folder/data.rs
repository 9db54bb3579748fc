//! The data in a run's folder: the source of every comparison, report and view.

use std::path::{Path, PathBuf};

use gradamp_core::amplify::DrawRecord;
use gradamp_core::files;
use serde::de::DeserializeOwned;

use super::disk::{CONFIG, RECORD};
use super::lines::{self, EpochLine, EvaluationLine, GradientLine, MetricsLine, StepLine};
use super::{Error, Log, LogSeals, Result, RunFolder, RunRecord};
use crate::config::Resolved;

/// The data in the folder of a run that is finished, interrupted or going on.
#[derive(Clone, Debug)]
pub struct RunData {
    /// The folder.
    pub root: PathBuf,
    /// The settings.
    pub settings: Resolved,
    /// `run.json`
    pub record: RunRecord,
    /// The steps that were logged.
    pub steps: Vec<StepLine>,
    /// The epochs.
    pub epochs: Vec<EpochLine>,
    /// The draws of amplified sites.
    pub draws: Vec<DrawRecord>,
    /// The gradients, by epoch and then by site in forward order.
    pub gradients: Vec<GradientLine>,
    /// The evaluations.
    pub evaluations: Vec<EvaluationLine>,
}

impl RunData {
    /// Reads the run in `root`.
    ///
    /// A last line without its end was being written, or was cut off by a power cut, and is left out.
    ///
    /// **Errors:** a folder that holds no run; a file that is missing, damaged or of another version, with its line.
    pub fn read(root: &Path) -> crate::Result<Self> {
        let settings = RunFolder::settings_of(root)?;
        let path = root.join(RECORD);
        let record = RunRecord::parse(&path, files::read(&path).map_err(Error::io(&path, "read"))?)?;
        let logs = SealedLogs::open(root)?;
        let (mut steps, mut epochs) = (Vec::new(), Vec::new());
        for line in logs.lines(Log::Metrics)? {
            match line {
                MetricsLine::Step(step) => steps.push(step),
                MetricsLine::Epoch(epoch) => epochs.push(epoch),
            }
        }
        Ok(Self {
            root: root.to_owned(),
            settings,
            record,
            steps,
            epochs,
            draws: logs.lines(Log::Amplification)?,
            gradients: logs.lines(Log::Gradients)?,
            evaluations: logs.lines(Log::Evaluations)?,
        })
    }

    /// How the run in `root` stands, without what takes long to read: its record and its epochs.
    ///
    /// **Errors:** as those of [`RunData::read`]; a run that has just begun has no record and no epochs.
    pub fn outline(root: &Path) -> Result<(Option<RunRecord>, Vec<EpochLine>)> {
        let record = RunRecord::read(root)?;
        let logs = SealedLogs::open(root)?;
        let epochs = if Log::Metrics.path_in(root).exists() { logs.lines(Log::Metrics)? } else { Vec::new() };
        let epoch = |line| match line {
            MetricsLine::Epoch(epoch) => Some(epoch),
            MetricsLine::Step(_) => None,
        };
        Ok((record, epochs.into_iter().filter_map(epoch).collect()))
    }

    /// The gradients that the run in `root` has measured, by epoch and then by site in forward order.
    ///
    /// **Errors:** a log that was changed since the checkpoint; a line that is damaged or of another version.
    pub fn gradients(root: &Path) -> Result<Vec<GradientLine>> {
        let logs = SealedLogs::open(root)?;
        if Log::Gradients.path_in(root).exists() { logs.lines(Log::Gradients) } else { Ok(Vec::new()) }
    }

    /// The number of test examples of the run in `root`; `None` if the run was never evaluated on them.
    ///
    /// **Errors:** a log that was changed since the checkpoint; a line that is damaged or of another version.
    pub fn test_examples(root: &Path) -> Result<Option<usize>> {
        let logs = SealedLogs::open(root)?;
        let is_there = Log::Evaluations.path_in(root).exists();
        let evaluations: Vec<EvaluationLine> =
            if is_there { logs.lines(Log::Evaluations)? } else { Vec::new() };
        Ok(evaluations.iter().find(|it| it.split == "test").map(|it| it.hits.len()))
    }

    /// The folder's own name.
    pub fn name(&self) -> String {
        let name = self.root.file_name().or_else(|| self.root.as_os_str().to_str().map(AsRef::as_ref));
        name.map_or_else(|| self.root.display().to_string(), |name| name.to_string_lossy().into_owned())
    }

    /// Whether all epochs of its strategy are done.
    pub fn is_finished(&self) -> bool {
        self.record.is_finished()
    }

    /// The settings' file, whose comments say where each value came from.
    ///
    /// **Errors:** a file that cannot be read.
    pub fn config_text(&self) -> Result<String> {
        let path = self.root.join(CONFIG);
        files::read_to_string(&path).map_err(Error::io(&path, "read"))
    }

    /// The evaluation of `split` after `epoch`.
    pub fn evaluation(&self, split: &str, epoch: usize) -> Option<&EvaluationLine> {
        self.evaluations.iter().find(|line| line.epoch == epoch && line.split == split)
    }

    /// The last epoch that was evaluated on the test examples.
    pub fn last(&self) -> Option<&EpochLine> {
        lines::last_evaluated(&self.epochs)
    }

    /// The best epoch: by the validation examples where there are any, else by the test examples.
    pub fn best(&self) -> Option<&EpochLine> {
        lines::best(&self.epochs)
    }
}

/// A run's logs, checked against its last checkpoint.
#[derive(Debug)]
pub(super) struct SealedLogs {
    root: PathBuf,
    seals: LogSeals,
}

impl SealedLogs {
    /// The logs of the run in `root`. The checkpoint is read here, before the logs: a run that goes on never takes back what
    /// a checkpoint covers.
    ///
    /// **Errors:** a `state.json` that is changed.
    pub fn open(root: &Path) -> Result<Self> {
        let seals = RunFolder::last_of(root).logs()?.unwrap_or_default();
        Ok(Self { root: root.to_owned(), seals })
    }

    /// The values of a log's whole lines.
    ///
    /// **Errors:** a log that was changed since the checkpoint; a line that is damaged or of another version.
    pub fn lines<T: DeserializeOwned>(&self, log: Log) -> Result<Vec<T>> {
        let path = log.path_in(&self.root);
        let bytes = self.bytes(log)?;
        parse_lines(&path, &bytes)
    }

    /// Checks every log that exists against the checkpoint.
    ///
    /// **Errors:** a log that was changed since the checkpoint.
    pub fn check(&self) -> Result<()> {
        let is_expected = |log: &Log| *self.seals.lengths.get(*log) > 0;
        Log::ALL.into_iter().filter(is_expected).try_for_each(|log| self.bytes(log).map(drop))
    }

    fn bytes(&self, log: Log) -> Result<Vec<u8>> {
        let path = log.path_in(&self.root);
        let bytes = files::read(&path).map_err(Error::io(&path, "read"))?;
        self.seals.check(log, &path, &bytes)?;
        Ok(bytes)
    }
}

/// The values of a JSONL file's whole lines.
fn parse_lines<T: DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<Vec<T>> {
    let Some(end) = bytes.iter().rposition(|&byte| byte == b'\n') else { return Ok(Vec::new()) };
    let lines = bytes[..end].split(|&byte| byte == b'\n');
    lines.enumerate().map(|(i, line)| parse(path, i + 1, line)).collect()
}

/// The value of the line with this number, from 1.
pub(super) fn parse<T: DeserializeOwned>(path: &Path, number: usize, line: &[u8]) -> Result<T> {
    serde_json::from_slice(line).map_err(|error| {
        Error::broken(path, format!("line {number}: is damaged or of another version: {error}"))
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn read_lines<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>> {
        parse_lines(path, &files::read(path).unwrap())
    }

    #[test]
    fn a_line_that_is_being_written_is_left_out_and_a_damaged_one_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("amplification.jsonl");
        let line = r#"{"epoch":1,"step":20,"sites":["bn1"],"factors":[2.0],"placement":"output"}"#;
        fs::write(&path, format!("{line}\n{line}\n{}", &line[..30])).unwrap();
        let draws: Vec<DrawRecord> = read_lines(&path).unwrap();
        assert_eq!(draws.len(), 2);
        assert_eq!((draws[1].step, draws[1].factors.as_slice()), (20, [2.0].as_slice()));
        fs::write(&path, format!("{line}\n{}\n{line}\n", &line[..30])).unwrap();
        let error = read_lines::<DrawRecord>(&path).unwrap_err().to_string();
        assert!(error.contains("amplification.jsonl: line 2: is damaged"), "{error}");
        fs::write(&path, "").unwrap();
        assert!(read_lines::<DrawRecord>(&path).unwrap().is_empty());
    }

    #[test]
    fn a_loss_that_is_not_finite_survives_its_file() {
        let line = EvaluationLine {
            epoch: 3,
            split: "test".into(),
            loss: f64::NAN,
            accuracy: 0.5,
            confusion: vec![vec![1, 0], vec![1, 0]],
            hits: vec![true, false],
        };
        let text = serde_json::to_string(&line).unwrap();
        assert!(text.contains(r#""loss":null"#) && text.contains(r#""hits":[1,0]"#), "{text}");
        // Earlier versions wrote the hits as a string.
        for text in [text.clone(), text.replace("[1,0]}", "\"10\"}")] {
            let read: EvaluationLine = serde_json::from_str(&text).unwrap();
            assert!(read.loss.is_nan());
            assert_eq!((&read.hits, &read.confusion), (&line.hits, &line.confusion));
        }
        for wrong in ["[1,2]", "\"12\"", "\"1\u{e9}\"", "[1.0,0]", "[true,false]", "10", "null"] {
            let text = text.replace("[1,0]}", &format!("{wrong}}}"));
            assert!(serde_json::from_str::<EvaluationLine>(&text).is_err(), "{wrong}");
        }
    }
}

//! Text summaries of a data set and of its files.

use std::fmt;
use std::path::Path;

use crate::dataset::FileState;
use crate::source::find;
use crate::{Dataset, DatasetPair, Normalisation, Origin, Result, Source};

/// A summary of a training set and its test set. Its `Display` prints a report of several lines.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Info {
    /// The data set's name.
    pub name: String,
    /// Where the data set came from.
    pub origin: Origin,
    /// The shape of one image, `[h, w, c]`.
    pub image_shape: [usize; 3],
    /// Each class, with its number of training examples and of test examples.
    pub classes: Vec<(String, usize, usize)>,
    /// The mean and standard deviation, measured over the training set.
    pub measured: Normalisation,
    /// The constants that images are normalised with.
    pub constants: Normalisation,
    /// The checksum of both sets; see [`DatasetPair::checksum`].
    pub checksum: String,
}

/// Summarises a data set.
pub fn info(pair: &DatasetPair) -> Info {
    let counts = |set: &Dataset| set.class_counts();
    let classes = pair.train.classes().iter().cloned().zip(counts(&pair.train)).zip(counts(&pair.test));
    Info {
        name: pair.train.name().to_owned(),
        origin: pair.origin.clone(),
        image_shape: pair.train.image_shape(),
        classes: classes.map(|((class, train), test)| (class, train, test)).collect(),
        measured: pair.train.measure(),
        constants: pair.train.normalisation().clone(),
        checksum: pair.checksum(),
    }
}

impl fmt::Display for Info {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = |values: &[f32]| values.iter().map(|v| format!("{v:.4}")).collect::<Vec<_>>().join(" ");
        let [h, w, c] = self.image_shape;
        let train: usize = self.classes.iter().map(|(_, train, _)| train).sum();
        let test: usize = self.classes.iter().map(|(_, _, test)| test).sum();
        writeln!(f, "name       {}", self.name)?;
        match &self.origin {
            Origin::Files { path, form } => writeln!(f, "files      {} ({form})", path.display())?,
            Origin::Generated => writeln!(f, "files      none: generated")?,
        }
        writeln!(f, "images     {train} for training, {test} for testing, {h}x{w} pixels, {c} channels")?;
        writeln!(
            f,
            "mean       {} (normalised with {})",
            digits(&self.measured.mean),
            digits(&self.constants.mean)
        )?;
        writeln!(
            f,
            "deviation  {} (normalised with {})",
            digits(&self.measured.std),
            digits(&self.constants.std)
        )?;
        writeln!(f, "checksum   sha256 {}", self.checksum)?;
        write!(f, "classes    {}", self.classes.len())?;
        let longest = self.classes.iter().map(|(class, ..)| class.len()).max().unwrap_or(0);
        for (label, (class, train, test)) in self.classes.iter().enumerate() {
            write!(f, "\n  {label:>3}  {class:<longest$}  {train:>6} training  {test:>6} test")?;
        }
        Ok(())
    }
}

/// The states of all files of a data set. Its `Display` prints a report with one line for each file.
#[derive(Debug)]
#[non_exhaustive]
pub struct Verification {
    /// Every file that the data set needs. If the archive itself is broken, it is the last entry.
    pub files: Vec<FileState>,
}

impl Verification {
    /// Whether all files could be read and none differs from its published checksum.
    pub fn is_good(&self) -> bool {
        self.files.iter().all(|file| file.outcome.is_ok())
    }
}

/// Reads every file of the data set at `path`, and compares those that have a published checksum: the files of CIFAR's
/// own versions, in folders and archives, and the unpacked content of MNIST's and Fashion-MNIST's. A broken file does not
/// stop the reading of the files after it.
///
/// **Errors:** nothing exists at `path`, or it holds no file of the data set.
pub fn verify(path: impl AsRef<Path>, source: Source) -> Result<Verification> {
    Ok(Verification { files: find(path.as_ref(), source)?.states()? })
}

impl fmt::Display for Verification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for state in &self.files {
            match &state.outcome {
                Ok(()) => {
                    let published = if state.is_compared { ", as published" } else { "" };
                    writeln!(f, "good  {}: {} examples{published}", state.file, state.examples)?;
                }
                Err(error) => writeln!(f, "BAD   {error}")?, // the error names the file
            }
        }
        let bad = self.files.iter().filter(|file| file.outcome.is_err()).count();
        match bad {
            0 => write!(f, "all {} files are good", self.files.len()),
            bad => write!(f, "{bad} of {} files are bad", self.files.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ShapesSettings;

    #[test]
    fn a_summary_has_the_counts_the_constants_and_the_checksum() {
        let pair = ShapesSettings { train: 30, test: 10, seed: 1 }.generate().unwrap();
        let text = info(&pair).to_string();
        assert!(
            text.contains("images     30 for training, 10 for testing, 32x32 pixels, 3 channels"),
            "{text}"
        );
        assert!(
            text.contains(&pair.checksum()) && text.contains("normalised with 0.5000 0.5000 0.5000"),
            "{text}"
        );
        assert!(text.contains("    1  ring            3 training       1 test"), "{text}");
    }

    #[test]
    fn verification_lists_every_file_and_counts_the_bad_ones() {
        let folder = tempfile::TempDir::new().unwrap();
        std::fs::write(folder.path().join("train.bin"), [0; 5]).unwrap();
        let verification = verify(folder.path(), Source::Auto).unwrap();
        assert!(!verification.is_good());
        let text = verification.to_string();
        assert!(
            text.contains("train.bin, record 0 (byte 0): expected 3074 bytes a record and 50000"),
            "{text}"
        );
        assert!(
            text.contains("test.bin: missing; CIFAR-100, binary version needs train.bin, test.bin"),
            "{text}"
        );
        assert!(text.ends_with("2 of 2 files are bad"), "{text}");
    }
}

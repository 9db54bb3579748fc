//! Downloads one file from several addresses in turn. Bytes that arrived are kept in a file whose name ends in `.part`,
//! and the next attempt asks for the rest. The file gets its name when it has the published size and checksum.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use gradamp_data::published::{PublishedFile, md5};
use indicatif::{ProgressBar, ProgressStyle};

use super::http::{self, address};
use crate::failure::{Failure, Result};
use crate::output;
use crate::progress::bars;

/// How many times all addresses are tried. An address that breaks off is tried again as long as bytes arrive.
const ROUNDS: usize = 100;

/// A download of one file.
pub struct Transfer<'a> {
    pub path: &'a Path,
    pub file: &'a PublishedFile,
    pub mirrors: &'a [String],
    pub timeout: Duration,
}

/// Whether the published file is at `path`; `Ok(false)` if there is no file.
///
/// **Errors:** the file can't be read; it is not the published one. The error is a message without the file's name.
pub fn check(path: &Path, file: &PublishedFile) -> Result<bool, String> {
    if !path.exists() {
        return Ok(false);
    }
    let reader = gradamp_core::files::open(path).map_err(|error| format!("cannot be read: {error}"))?;
    let (sum, bytes) = md5(reader).map_err(|error| format!("cannot be read: {error}"))?;
    if bytes != file.bytes {
        return Err(format!("expected {} bytes, found {bytes}", file.bytes));
    }
    if sum != file.md5 {
        return Err(format!("expected MD5 {}, found {sum}", file.md5));
    }
    Ok(true)
}

impl Transfer<'_> {
    /// Downloads, verifies and names the file.
    ///
    /// **Errors:** no address gave the published file; the file can't be written; another download of the file is
    /// running.
    pub fn run(&self) -> Result<()> {
        if let Err(fault) = check(self.path, self.file) {
            let path = self.path.display();
            output::message(format_args!("{path}: {fault}; it is downloaded again"));
        }
        let part = self.part();
        let failed = |error| Failure::failed(format!("{}: cannot be written: {error}", part.display()));
        let mut out = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&part)
            .map_err(failed)?;
        match out.try_lock() {
            Err(TryLockError::WouldBlock) => {
                let message = format!("{}: another download of this file is running", part.display());
                return Err(Failure::failed(message));
            }
            Err(TryLockError::Error(_)) | Ok(()) => {} // some network drives have no locks
        }
        let bar = self.bar();
        let outcome = self.try_all(&mut out, &bar);
        bar.finish_and_clear();
        if let Err(reasons) = outcome {
            let arrived = out.metadata().map_or(0, |metadata| metadata.len());
            if arrived == 0 {
                let _ = fs::remove_file(&part);
            }
            let kept = match arrived {
                0 => String::new(),
                _ => format!(
                    "; {arrived} of {} bytes are kept, and the same command continues",
                    self.file.bytes
                ),
            };
            let message =
                format!("{}: cannot be downloaded: {}{kept}", self.path.display(), reasons.join("; "));
            return Err(Failure::failed(message));
        }
        out.sync_all().map_err(failed)?;
        drop(out);
        fs::rename(&part, self.path).map_err(failed)?;
        gradamp_models::sync_folder(self.path.parent().unwrap_or(self.path))?;
        output::message(format_args!("{}: downloaded, as published", self.path.display()));
        Ok(())
    }

    /// The file for bytes that arrived.
    fn part(&self) -> PathBuf {
        self.path.with_file_name(format!("{}.part", self.file.name))
    }

    fn bar(&self) -> ProgressBar {
        let Some(target) = bars() else { return ProgressBar::hidden() };
        let bar = ProgressBar::with_draw_target(Some(self.file.bytes), target);
        let style =
            ProgressStyle::with_template("{msg} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec} {eta}");
        if let Ok(style) = style {
            bar.set_style(style);
        }
        bar.with_message(self.file.name)
    }

    /// Tries the addresses in turn until `out` holds the published file.
    ///
    /// **Errors:** no address gave it. The error has the last reason of each address.
    fn try_all(&self, out: &mut File, bar: &ProgressBar) -> Result<(), Vec<String>> {
        let mut urls: Vec<String> =
            self.mirrors.iter().map(|mirror| address(mirror, self.file.name)).collect();
        let mut reasons = Vec::new();
        for _ in 0..ROUNDS {
            let mut has_moved = false;
            let mut wrong = Vec::new();
            let mut said = Vec::new();
            for url in &urls {
                let (moved, outcome) = self.try_one(url, out, bar);
                has_moved |= moved;
                match outcome {
                    Ok(()) => return Ok(()),
                    Err(Trouble::Broken(reason)) => said.push(format!("{url}: {reason}")),
                    Err(Trouble::Wrong(reason)) => {
                        said.push(format!("{url}: {reason}"));
                        wrong.push(url.clone());
                    }
                }
                bar.suspend(|| said.last().iter().for_each(output::message));
            }
            reasons.retain(|reason: &String| !urls.iter().any(|url| reason.starts_with(url.as_str())));
            reasons.extend(said);
            urls.retain(|url| !wrong.contains(url)); // an address that sent wrong bytes is not asked again
            if !has_moved || urls.is_empty() {
                break;
            }
        }
        Err(reasons)
    }

    /// Tries one address: first for the bytes that are still missing, and if the whole is then not the published file,
    /// for all of it, since the bytes that were there may have been wrong. Also says whether the file has grown.
    fn try_one(&self, url: &str, out: &mut File, bar: &ProgressBar) -> (bool, Result<(), Trouble>) {
        let length = |out: &File| out.metadata().map_or(0, |metadata| metadata.len());
        let before = length(out);
        let first = self.fetch(url, out, bar).and_then(|()| self.verify(out));
        let outcome = match first {
            Err(Trouble::Wrong(_)) if before > 0 => self.fetch(url, out, bar).and_then(|()| self.verify(out)),
            outcome => outcome,
        };
        (length(out) > before, outcome)
    }

    /// Asks for the bytes that `out` still misses, and appends them.
    fn fetch(&self, url: &str, out: &mut File, bar: &ProgressBar) -> Result<(), Trouble> {
        let size = self.file.bytes;
        let end = |out: &mut File| out.seek(SeekFrom::End(0)).map_err(Trouble::on_disk);
        if end(out)? > size {
            out.set_len(0).map_err(Trouble::on_disk)?;
        }
        let mut at = end(out)?;
        if at == size {
            return Ok(());
        }
        bar.set_position(at);
        let answer = http::get(url, at, self.timeout).map_err(Trouble::Broken)?;
        match answer.head.status {
            200 | 206 => {}
            416 => {
                out.set_len(0).map_err(Trouble::on_disk)?; // the address has a shorter file
                return Err(Trouble::Broken("has not as many bytes".into()));
            }
            status => return Err(Trouble::Broken(format!("HTTP {status}"))),
        }
        if let Some(total) = answer.head.total.filter(|&total| total != size) {
            return Err(Trouble::Wrong(format!("has a file of {total} bytes, expected {size}")));
        }
        if answer.head.start != at {
            if answer.head.start != 0 {
                let start = answer.head.start;
                return Err(Trouble::Broken(format!(
                    "was asked for byte {at}, and begins with byte {start}"
                )));
            }
            out.set_len(0).map_err(Trouble::on_disk)?; // a server without ranges sends the whole file
            at = end(out)?;
            bar.set_position(at);
        }
        while let Some(piece) = answer.piece().map_err(Trouble::Broken)? {
            at += piece.len() as u64;
            if at > size {
                out.set_len(0).map_err(Trouble::on_disk)?;
                return Err(Trouble::Wrong(format!("sends more than the expected {size} bytes")));
            }
            out.write_all(&piece).map_err(Trouble::on_disk)?;
            bar.set_position(at);
        }
        match at == size {
            true => Ok(()),
            false => Err(Trouble::Broken(format!("broke off after {at} of {size} bytes"))),
        }
    }

    /// Compares a complete file with the published checksum. A file that differs is emptied.
    fn verify(&self, out: &mut File) -> Result<(), Trouble> {
        out.seek(SeekFrom::Start(0)).map_err(Trouble::on_disk)?;
        let (sum, _) = md5(&*out).map_err(Trouble::on_disk)?;
        if sum == self.file.md5 {
            return Ok(());
        }
        out.set_len(0).map_err(Trouble::on_disk)?;
        Err(Trouble::Wrong(format!("sent another file: expected MD5 {}, found {sum}", self.file.md5)))
    }
}

/// Why an address did not give the file.
enum Trouble {
    /// It did not answer, or broke off. It may be asked again.
    Broken(String),
    /// It has another file.
    Wrong(String),
}

impl Trouble {
    fn on_disk(error: std::io::Error) -> Self {
        Trouble::Broken(format!("what it sent cannot be written: {error}"))
    }
}

//! The names of a run's files, and how small files are written and read.

use std::fs;
use std::path::{Path, PathBuf};

use gradamp_core::files;

use super::error::{Error, Result};
use super::seal;

/// The settings.
pub(super) const CONFIG: &str = "config.toml";
/// The record.
pub(super) const RECORD: &str = "run.json";
/// The folder of the checkpoints.
pub(super) const CHECKPOINTS: &str = "checkpoints";

/// The files in `folders` that a process was writing when it was killed.
pub(super) fn partial_files(folders: &[&Path]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for folder in folders.iter().filter(|folder| folder.is_dir()) {
        for entry in fs::read_dir(folder).map_err(Error::io(folder, "read"))? {
            let path = entry.map_err(Error::io(folder, "read"))?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if name.starts_with('.') && name.ends_with(".partial") {
                files.push(path);
            }
        }
    }
    Ok(files)
}

/// Writes a small file atomically.
pub fn write_file(path: &Path, bytes: &[u8]) -> Result<()> {
    let write = |out: &mut dyn std::io::Write| {
        out.write_all(bytes).map_err(|source| gradamp_models::Error::Io {
            file: path.display().to_string(),
            action: "write",
            source,
        })
    };
    Ok(gradamp_models::write_atomically(path, write)?)
}

/// Writes a value as JSON with a seal.
pub(crate) fn write_json(path: &Path, value: &impl serde::Serialize) -> Result<()> {
    let mut text = serde_json::to_string_pretty(value)
        .map_err(|error| Error::broken(path, format!("cannot be written as JSON: {error}")))?;
    text.push('\n');
    write_file(path, seal::FILE.seal(&text).as_bytes())
}

/// Reads what [`write_json`] wrote.
///
/// **Errors:** a file that is missing, changed or of another version.
pub(crate) fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T> {
    Ok(read_sealed_json(path)?.0)
}

/// Reads what [`write_json`] wrote, and says whether it has a seal: earlier versions of the program wrote none.
///
/// **Errors:** a file that is missing, changed or of another version.
pub(crate) fn read_sealed_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<(T, bool)> {
    let bytes = files::read(path).map_err(Error::io(path, "read"))?;
    parse_sealed_json(path, bytes)
}

pub(super) fn parse_sealed_json<T: serde::de::DeserializeOwned>(
    path: &Path,
    bytes: Vec<u8>,
) -> Result<(T, bool)> {
    let damaged = |error: &dyn std::fmt::Display| {
        Error::broken(path, format!("is damaged or of another version: {error}"))
    };
    let text = String::from_utf8(bytes).map_err(|error| damaged(&error))?;
    let sealed = seal::FILE.unseal(&text).map_err(|message| Error::broken(path, message))?;
    let is_sealed = sealed.is_some();
    let value = serde_json::from_str(&sealed.unwrap_or(text)).map_err(|error| damaged(&error))?;
    Ok((value, is_sealed))
}

//! Finds the run folders that paths of a command line stand for.

use std::fs;
use std::path::{Path, PathBuf};

use globset::GlobBuilder;

use crate::run_folder::{self, RunFolder};
use crate::{Error, Result};

/// Finds the run folders that `paths` stand for. A path is a run's folder, a folder that contains run folders, or a pattern
/// with `*` or `?`, which shells on Windows do not expand.
///
/// **Errors:** a path that is none of these; a pattern that matches nothing; a run that is named twice.
pub fn run_folders(group: &str, paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut runs: Vec<PathBuf> = Vec::new();
    for path in paths {
        let found = folders_at(path)?;
        if found.is_empty() {
            let message = format!("group {group} is empty: no folder matches {}", path.display());
            return Err(Error::failed(message));
        }
        for folder in found {
            runs.extend(runs_in(&folder)?);
        }
    }
    if let Some(twice) = runs.iter().enumerate().find_map(|(i, run)| runs[..i].contains(run).then_some(run)) {
        return Err(Error::request(format!("{} is twice in group {group}", twice.display())));
    }
    Ok(runs)
}

/// The folders that a path stands for: those that match it if it is a pattern, else the path itself.
pub(crate) fn folders_at(path: &Path) -> Result<Vec<PathBuf>> {
    let is_pattern = !path.exists() && path.to_string_lossy().contains(['*', '?', '[']);
    if is_pattern { matching(path) } else { Ok(vec![path.to_owned()]) }
}

/// Returns the folder itself if it is a run's folder, otherwise the run folders in it.
pub(crate) fn runs_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let own = RunFolder::config_of(folder);
    if own.is_err() && folder.is_dir() {
        let inner: Vec<PathBuf> =
            children(folder)?.into_iter().filter(|child| RunFolder::config_of(child).is_ok()).collect();
        if !inner.is_empty() {
            return Ok(inner);
        }
    }
    own?;
    Ok(vec![folder.to_owned()])
}

/// Finds the folders that a pattern matches, in the order of their names.
fn matching(pattern: &Path) -> Result<Vec<PathBuf>> {
    let mut found = vec![PathBuf::new()];
    for part in pattern {
        let text = part.to_string_lossy();
        if !text.contains(['*', '?', '[']) {
            found.iter_mut().for_each(|path| path.push(part));
            continue;
        }
        let glob = GlobBuilder::new(&text).literal_separator(true).build().map_err(|error| {
            Error::request(format!("{}: expected a pattern such as runs/base-*: {error}", pattern.display()))
        })?;
        let matcher = glob.compile_matcher();
        let mut next = Vec::new();
        for path in found.iter().filter(|path| path.as_os_str().is_empty() || path.is_dir()) {
            let is_match = |child: &PathBuf| {
                child.is_dir() && child.file_name().is_some_and(|name| matcher.is_match(name))
            };
            next.extend(children(path)?.into_iter().filter(is_match));
        }
        found = next;
    }
    found.retain(|path| path.is_dir());
    Ok(found)
}

/// Lists a folder, sorted by name. An empty path stands for the current folder.
fn children(folder: &Path) -> Result<Vec<PathBuf>> {
    let real = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let mut names = Vec::new();
    for entry in fs::read_dir(real).map_err(run_folder::Error::io(real, "read"))? {
        names.push(entry.map_err(run_folder::Error::io(real, "read"))?.file_name());
    }
    names.sort();
    Ok(names.into_iter().map(|name| folder.join(name)).collect())
}

//! Files that are whole or not there.

use std::io::{BufWriter, Write};
use std::path::Path;

use crate::{Error, Result};

/// Writes the file at `path` all at once: readers, and a machine that loses power, find the old file or the new one,
/// never a part. `fill` writes to a file of another name in the same folder, which is then flushed to the disk and
/// renamed.
///
/// **Errors:** a folder that is missing, not writable or full, by name; what `fill` returns. The old file stays.
pub fn write_atomically(path: &Path, fill: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)] // as other new files: what the user's umask allows, not only the owner
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let temporary = builder
        .prefix(".")
        .suffix(".partial")
        .tempfile_in(folder)
        .map_err(Error::io(folder, "create a file in this folder"))?;
    let mut writer = BufWriter::with_capacity(1 << 20, temporary.as_file());
    fill(&mut writer)?;
    writer.flush().map_err(Error::io(path, "write"))?;
    drop(writer);
    temporary.as_file().sync_all().map_err(Error::io(path, "flush to the disk"))?;
    temporary.persist(path).map_err(|e| Error::io(path, "put in place")(e.error))?;
    // The new name is on the disk once the folder is; where folders cannot be opened (Windows), renaming sees to it.
    #[cfg(unix)]
    std::fs::File::open(folder).and_then(|f| f.sync_all()).map_err(Error::io(folder, "flush to the disk"))?;
    Ok(())
}

//! Stores and reads the measurements of `gradamp tune`.

use std::path::PathBuf;

use gradamp_core::Error;
use gradamp_wgpu::{Adapter, Precision, Tuning};

use crate::failure::{Failure, Result};
use gradamp_study::shell;

/// Reads the measurements for `adapter`.
///
/// **Errors:** there are no measurements; the file cannot be read.
pub fn load(adapter: &Adapter, precision: Precision) -> Result<Tuning> {
    let file = file(adapter, precision)?;
    if !file.exists() {
        let number = adapter.number;
        return Err(Failure::usage(format!(
            "train.tuned: nothing was measured on {adapter} with this driver and version ({} does not exist); \
             `{} tune --device gpu:{number}` measures the kernels",
            file.display(),
            shell::program()
        )));
    }
    Ok(Tuning::read(&file)?)
}

/// The file with the measurements for `adapter`, in `$GRADAMP_CACHE` or in the user's cache folder.
pub fn file(adapter: &Adapter, precision: Precision) -> Result<PathBuf> {
    let own = std::env::var_os("GRADAMP_CACHE").map(PathBuf::from);
    let folder = own
        .or_else(|| Some(dirs::cache_dir()?.join("gradamp")))
        .ok_or_else(|| Failure::failed("this user has no cache folder; set GRADAMP_CACHE to a folder"))?;
    std::fs::create_dir_all(&folder)
        .map_err(|error| Error::external(format!("{}: {error}", folder.display())))?;
    Ok(folder.join(format!("tuning-{}.json", Tuning::key(adapter, precision))))
}

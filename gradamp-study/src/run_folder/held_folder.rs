//! Whether a folder is still where it was found.

#[cfg(unix)]
use std::fs::{self, File};
use std::path::{Path, PathBuf};

#[cfg(unix)]
use super::Error;
use super::Result;

/// An open handle to a folder, which tells whether the folder was removed, renamed or replaced. Windows does not let folders be
/// held open, but it does not let a folder with open files be removed or renamed either.
#[derive(Debug)]
pub(super) struct HeldFolder {
    path: PathBuf,
    #[cfg(unix)]
    folder: File,
}

impl HeldFolder {
    /// Holds the folder at `path`.
    ///
    /// **Errors:** a folder that cannot be opened.
    pub fn hold(path: &Path) -> Result<Self> {
        #[cfg(unix)]
        let folder = File::open(path).map_err(Error::io(path, "open this folder"))?;
        Ok(Self {
            path: path.to_owned(),
            #[cfg(unix)]
            folder,
        })
    }

    /// The path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Checks that the path still leads to the held folder.
    ///
    /// **Errors:** the folder was removed or renamed, or another folder is at its path.
    #[cfg(unix)]
    pub fn check(&self) -> Result<()> {
        use std::os::unix::fs::MetadataExt;
        let identity = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
        let held = self.folder.metadata().map(identity).map_err(Error::io(&self.path, "read"))?;
        match fs::metadata(&self.path).map(identity) {
            Ok(found) if found == held => Ok(()),
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::io(&self.path, "read")(error))
            }
            _ => Err(Error::Gone { path: self.path.clone(), fate: self.fate() }),
        }
    }

    #[cfg(not(unix))]
    pub fn check(&self) -> Result<()> {
        Ok(())
    }

    /// What happened to the folder, as far as the system tells.
    #[cfg(unix)]
    fn fate(&self) -> String {
        use std::os::fd::AsRawFd;
        let link = fs::read_link(format!("/proc/self/fd/{}", self.folder.as_raw_fd())); // Linux tells
        let during = "while the run was in progress";
        match link {
            Ok(now) if now.is_dir() => {
                let again = crate::shell::resume_command(&now);
                format!("renamed to {} {during}; to continue it there: {again}", now.display())
            }
            Ok(_) => format!("removed {during}"),
            Err(_) => format!("removed or renamed {during}"),
        }
    }
}

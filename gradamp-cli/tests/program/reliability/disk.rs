//! File systems that exist for one test only.

#![cfg(target_os = "linux")]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Workplace;

/// A mounted file system. It is unmounted when this value is dropped.
pub struct Disk {
    folder: PathBuf,
    /// The file that holds the file system; not used for one in memory.
    image: PathBuf,
}

impl Disk {
    /// Mounts an empty ext4 file system, stored in a file, at the folder `name`. It is set up to write as little as
    /// possible to that file before a flush. Returns `None` if this process may not mount file systems.
    pub fn in_a_file(place: &Workplace, name: &str) -> Option<Self> {
        let image = place.path(&format!("{name}.image"));
        File::create(&image).unwrap().set_len(24 << 20).unwrap();
        let made =
            Command::new("mkfs.ext4").args(["-q", "-F", "-E", "lazy_itable_init=0"]).arg(&image).output();
        made.is_ok_and(|output| output.status.success()).then_some(())?;
        Self::mount(
            place,
            name,
            image,
            &["-t", "ext4", "-o", "loop,data=writeback,commit=300,noauto_da_alloc"],
        )
    }

    /// Mounts a file system in memory, with the given mount options.
    pub fn in_memory(place: &Workplace, name: &str, options: &str) -> Option<Self> {
        Self::mount(place, name, "tmpfs".into(), &["-t", "tmpfs", "-o", options])
    }

    fn mount(place: &Workplace, name: &str, image: PathBuf, options: &[&str]) -> Option<Self> {
        let folder = place.path(name);
        fs::create_dir_all(&folder).unwrap();
        let mounted = Command::new("mount").args(options).arg(&image).arg(&folder).output();
        mounted.is_ok_and(|output| output.status.success()).then_some(Self { folder, image })
    }

    /// Simulates a power cut: mounts a copy of the file system as it is now stored in its file at the folder `name`.
    /// Data that was not yet written to the file is lost. No process may be writing during the call.
    pub fn after_a_power_cut(&self, place: &Workplace, name: &str) -> Self {
        let image = place.path(&format!("{name}.image"));
        // The system may write to the file while it is copied. Two equal copies in a row are a consistent one.
        let mut copy = fs::read(&self.image).unwrap();
        loop {
            let again = fs::read(&self.image).unwrap();
            if copy == again {
                break;
            }
            copy = again;
        }
        fs::write(&image, copy).unwrap();
        Self::mount(place, name, image, &["-t", "ext4", "-o", "loop"]).unwrap()
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let gone = Command::new("umount").arg(&self.folder).output();
        if !gone.is_ok_and(|output| output.status.success()) {
            // If a test failed, a process that still runs there keeps the folder in use until it ends.
            let _ = Command::new("umount").arg("--lazy").arg(&self.folder).output();
        }
        let _ = fs::remove_file(&self.image); // a file system in memory has no file
    }
}

//! File systems of a test's own.

#![cfg(target_os = "linux")]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Workplace;

/// A mounted file system, which is let go of in the end.
pub struct Disk {
    folder: PathBuf,
    /// The file that it lies in, if it does.
    image: PathBuf,
}

impl Disk {
    /// An empty ext4 in a file, mounted at the workplace's folder `name`. It brings nothing to the file that is not flushed,
    /// as far as a file system can be kept from it. None where this process may not mount.
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

    /// A file system in memory, with those options.
    pub fn in_memory(place: &Workplace, name: &str, options: &str) -> Option<Self> {
        Self::mount(place, name, "tmpfs".into(), &["-t", "tmpfs", "-o", options])
    }

    fn mount(place: &Workplace, name: &str, image: PathBuf, options: &[&str]) -> Option<Self> {
        let folder = place.path(name);
        fs::create_dir_all(&folder).unwrap();
        let mounted = Command::new("mount").args(options).arg(&image).arg(&folder).output();
        mounted.is_ok_and(|output| output.status.success()).then_some(Self { folder, image })
    }

    /// What is found after a power cut at this moment, mounted at the workplace's folder `name`: what the file system has
    /// not brought to its file is lost. Nothing may be writing.
    pub fn after_a_power_cut(&self, place: &Workplace, name: &str) -> Self {
        let image = place.path(&format!("{name}.image"));
        // The system may write by itself while the file is copied: two copies that are equal are of one moment.
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
            // What still runs there, after a test that failed, keeps it until it ends.
            let _ = Command::new("umount").arg("--lazy").arg(&self.folder).output();
        }
        let _ = fs::remove_file(&self.image); // a name of no file, for memory
    }
}

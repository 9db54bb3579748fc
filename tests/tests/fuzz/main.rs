//! What is read from files and command lines, under random damage: whatever the bytes are, there is an answer, in bounded
//! memory, and what is accepted can be written and read again.
//!
//! Each target takes every file of its corpus as it is, then damages some: a few seconds of it run with all tests. By hand
//! it goes on for as long as one likes, here for an hour:
//!
//!     BOLERO_RANDOM_ITERATIONS=1000000000 BOLERO_RANDOM_TEST_TIME_MS=3600000 \
//!         cargo test --release -p gradamp-tests --test fuzz pickles
//!
//! An input that failed goes, as it is, into the target's corpus.

#![allow(clippy::unwrap_used, clippy::panic)] // a test ends where its preparations fail

mod checkpoints;
mod damage;
mod data;
mod lines;
mod settings;

use std::fs;
use std::path::{Path, PathBuf};

/// A place in the repository.
fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// The files of a folder, in alphabetical order.
fn files(folder: &str) -> Vec<Vec<u8>> {
    let entries = fs::read_dir(repository(folder)).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<PathBuf> = entries.filter(|path| path.is_file()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "{folder}: no corpus");
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

/// Limits the memory of this process, so that an input that makes a reader ask for more ends the test.
fn limit_memory() {
    #[cfg(target_os = "linux")]
    {
        use nix::sys::resource::{Resource, setrlimit};
        const LIMIT: u64 = 3 << 30; // threads and their regions of memory take a part of it before any input is read
        setrlimit(Resource::RLIMIT_AS, LIMIT, LIMIT).unwrap();
    }
}

//! Fuzz tests of everything that is read from files and command lines. Whatever the bytes are, a reader must return a
//! value or an error, in bounded memory, and accepted input must be the same after it is written and read again.
//!
//! Each target reads every file of its corpus, then randomly damaged copies. In a normal run of the tests this takes
//! a few seconds. A longer run, here of an hour, is started by hand:
//!
//!     BOLERO_RANDOM_ITERATIONS=1000000000 BOLERO_RANDOM_TEST_TIME_MS=3600000 \
//!         cargo test --release -p gradamp-tests --test fuzz pickles
//!
//! If an input fails, add it unchanged to the corpus of its target.

#![allow(clippy::unwrap_used, clippy::panic)] // a failed preparation may end a test

mod checkpoints;
mod damage;
mod data;
mod lines;
mod settings;

use std::fs;
use std::path::{Path, PathBuf};

/// A path in the repository.
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

/// Limits the memory of this process, so that an input for which a reader allocates too much ends the test.
fn limit_memory() {
    #[cfg(target_os = "linux")]
    {
        use nix::sys::resource::{Resource, setrlimit};
        const LIMIT: u64 = 3 << 30; // includes the memory that threads reserve before any input is read
        setrlimit(Resource::RLIMIT_AS, LIMIT, LIMIT).unwrap();
    }
}

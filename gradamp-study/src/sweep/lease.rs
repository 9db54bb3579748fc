//! Leases: exclusion between machines that share a file system, without locks.
//!
//! A lock (`flock`) may hold on one machine only, or not at all: Lustre has locks only where it was mounted so, and NFS only with its
//! lock daemon. Two operations are atomic on all of them: creating a file that must not exist, and renaming a file. A lease is a file
//! that its owner creates, writes again every few seconds, and removes. A lease that nobody has written for two minutes belongs to a
//! process that died, and another process takes it over: it renames the file away, checks that it is the one that it saw, and creates
//! its own.
//!
//! The age of a lease is the difference of two times of the file system: a file that is written now, and the lease. The clocks of
//! the machines need not agree where the server sets these times, as on NFS, and to within a minute where the machine that writes does,
//! as on Lustre.

use std::fs::{self, File};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

/// How often a lease is written, and after which time without that it is taken over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timing {
    beat: Duration,
    stale: Duration,
}

impl Timing {
    /// Two minutes outlast a server that restarts; schedulers take longer to notice that a node died.
    pub const USUAL: Self = Self { beat: Duration::from_secs(15), stale: Duration::from_secs(120) };
}

/// A lease that this process holds until it is dropped.
#[derive(Debug)]
pub(super) struct Lease {
    path: PathBuf,
    owner: String,
    is_lost: Arc<AtomicBool>,
    /// The thread that writes the lease. It ends when the sender is dropped.
    beats: Option<(Sender<()>, JoinHandle<()>)>,
}

impl Lease {
    /// Takes the lease at `path`; `None` if another process holds it. `excludes` says that the caller holds a lock that excludes all
    /// processes of this machine, so that a lease of this machine has no living owner.
    ///
    /// **Errors:** a folder that cannot be written.
    pub fn take(path: &Path, excludes: bool) -> io::Result<Option<Self>> {
        Self::take_as(path, excludes, &machine(), Timing::USUAL)
    }

    fn take_as(path: &Path, excludes: bool, machine: &str, timing: Timing) -> io::Result<Option<Self>> {
        let token = RandomState::new().hash_one(SystemTime::now());
        let owner = format!("{machine} {} {token:016x}", std::process::id());
        // A lease that was just removed or taken over by somebody else is looked at once more.
        for _ in 0..3 {
            match File::options().write(true).create_new(true).open(path) {
                Ok(mut file) => {
                    if let Err(error) = file.write_all(text(&owner, 0).as_bytes()) {
                        let _ = fs::remove_file(path); // the disk is full
                        return Err(error);
                    }
                    return Ok(Some(Self::hold(path, owner, timing)));
                }
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
            let Some((found, written)) = look(path)? else { continue };
            let is_dead = match (excludes, found.split_once(' ')) {
                (true, Some((other, _))) if other == machine => true,
                // This machine's clock says cheaply that a lease is fresh. If it is wrong, the takeover comes later.
                _ => {
                    written.elapsed().map_or(true, |age| age > timing.stale / 2)
                        && age(path, token, written)? > timing.stale
                }
            };
            if !is_dead || !remove_found(path, &found, token)? {
                return Ok(None);
            }
        }
        Ok(None)
    }

    fn hold(path: &Path, owner: String, timing: Timing) -> Self {
        let is_lost = Arc::new(AtomicBool::new(false));
        let (sender, end) = channel::<()>();
        let (own_path, own_owner, lost) = (path.to_owned(), owner.clone(), Arc::clone(&is_lost));
        let beats = move || {
            let (mut number, mut misses) = (1, 0);
            while end.recv_timeout(timing.beat) == Err(RecvTimeoutError::Timeout) {
                match beat(&own_path, &own_owner, number) {
                    Ok(true) => misses = 0,
                    // Another process may have renamed it for a moment. An error of the server may pass.
                    Err(error) if error.kind() != ErrorKind::NotFound => {}
                    Ok(false) | Err(_) => misses += 1,
                }
                number += 1;
                if misses > 1 {
                    lost.store(true, Ordering::SeqCst);
                    return;
                }
            }
        };
        // Without a thread, the lease protects for as long as it is fresh.
        let thread = thread::Builder::new().name("lease".into()).spawn(beats).ok();
        Self { path: path.to_owned(), owner, is_lost, beats: thread.map(|thread| (sender, thread)) }
    }

    /// A flag that is set when another process took the lease over, because this one could not write it for too long.
    pub fn lost(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.is_lost)
    }

    /// Whether a process seems to hold the lease at `path`. This compares clocks of two machines; it is for people to read.
    pub fn is_held(path: &Path) -> bool {
        let Ok(Some((found, written))) = look(path) else { return false };
        let is_fresh = written.elapsed().map_or(true, |age| age <= Timing::USUAL.stale);
        // On this machine the lock knows.
        is_fresh && found.split_once(' ').is_none_or(|(other, _)| other != machine())
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some((sender, thread)) = self.beats.take() {
            drop(sender);
            let _ = thread.join(); // it does not panic
        }
        if matches!(look(&self.path), Ok(Some((found, _))) if found.starts_with(&self.owner)) {
            let _ = fs::remove_file(&self.path); // if this fails, the lease is taken over later
        }
    }
}

/// What a lease says. All texts of an owner have the same length, so that one replaces the other.
fn text(owner: &str, number: u32) -> String {
    format!("{owner} {number:010}\n")
}

/// What the lease at `path` says and when it was written; `None` if there is none.
fn look(path: &Path) -> io::Result<Option<(String, SystemTime)>> {
    // NFS asks its server when a file is opened, and not when only its name is looked up.
    let mut file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let mut found = String::new();
    file.read_to_string(&mut found)?;
    Ok(Some((found, file.metadata()?.modified()?)))
}

/// Writes the lease again. Returns `false` if it is not the owner's any more.
fn beat(path: &Path, owner: &str, number: u32) -> io::Result<bool> {
    let mut file = File::options().read(true).write(true).open(path)?;
    let mut found = String::new();
    file.read_to_string(&mut found)?;
    if !found.starts_with(owner) {
        return Ok(false);
    }
    file.seek(SeekFrom::Start(0))?;
    file.write_all(text(owner, number).as_bytes())?;
    Ok(true)
}

/// The time between a file that is written now and the lease that was written at `written`.
fn age(path: &Path, token: u64, written: SystemTime) -> io::Result<Duration> {
    let probe = beside(path, "now", token);
    let now = File::options().write(true).create(true).truncate(true).open(&probe).and_then(|mut file| {
        file.write_all(b"now\n")?;
        drop(file);
        File::open(&probe)?.metadata()?.modified()
    });
    let _ = fs::remove_file(&probe); // a file of four bytes may stay
    Ok(now?.duration_since(written).unwrap_or_default())
}

/// Removes the lease at `path` if it still says `found`. Of several processes one succeeds.
fn remove_found(path: &Path, found: &str, token: u64) -> io::Result<bool> {
    let away = beside(path, "old", token);
    match fs::rename(path, &away) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(true), // somebody else removed it
        renamed => renamed?,
    }
    let is_same = matches!(look(&away), Ok(Some((text, _))) if text == found);
    if !is_same {
        // Its owner is alive, or another process took it over meanwhile. A lease that was created in this moment stays.
        let _ = fs::hard_link(&away, path);
    }
    fs::remove_file(&away)?;
    Ok(is_same)
}

fn beside(path: &Path, what: &str, token: u64) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{what}-{token:016x}"));
    name.into()
}

/// A name of this machine since it was started; empty where the system has none, and then locks alone tell machines apart.
fn machine() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::time::Instant;

    use super::*;

    const QUICK: Timing = Timing { beat: Duration::from_millis(20), stale: Duration::from_millis(400) };

    fn folder() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.lease");
        (folder, path)
    }

    /// What a machine that died leaves.
    fn leave(path: &Path, machine: &str) {
        std::mem::forget(Lease::take_as(path, false, machine, Timing::USUAL).unwrap().unwrap());
    }

    #[test]
    fn a_lease_is_held_by_one_machine_for_as_long_as_it_lives() {
        let (folder, path) = folder();
        let own = Lease::take_as(&path, true, "one", QUICK).unwrap().unwrap();
        let until = Instant::now() + 2 * QUICK.stale;
        while Instant::now() < until {
            assert!(Lease::take_as(&path, true, "two", QUICK).unwrap().is_none());
            thread::sleep(Duration::from_millis(50));
        }
        assert!(!own.lost().load(Ordering::SeqCst) && Lease::is_held(&path));
        drop(own);
        assert!(Lease::take_as(&path, true, "two", QUICK).unwrap().is_some());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing may be left");
    }

    #[test]
    fn the_lease_of_a_machine_that_died_is_taken_over_after_a_time_and_on_that_machine_at_once() {
        let (_folder, path) = folder();
        leave(&path, "dead");
        assert!(Lease::take_as(&path, true, "other", QUICK).unwrap().is_none(), "it may be alive");
        assert!(Lease::take_as(&path, false, "dead", QUICK).unwrap().is_none(), "it may be another process");
        drop(Lease::take_as(&path, true, "dead", QUICK).unwrap().unwrap());
        leave(&path, "dead");
        thread::sleep(QUICK.stale + Duration::from_millis(50));
        assert!(Lease::take_as(&path, false, "other", QUICK).unwrap().is_some());
    }

    #[test]
    fn an_empty_lease_is_taken_over_after_a_time() {
        let (_folder, path) = folder();
        File::create(&path).unwrap();
        assert!(Lease::take_as(&path, true, "one", QUICK).unwrap().is_none());
        thread::sleep(QUICK.stale + Duration::from_millis(50));
        assert!(Lease::take_as(&path, true, "one", QUICK).unwrap().is_some());
    }

    #[test]
    fn an_owner_that_stood_still_for_too_long_notices() {
        let (_folder, path) = folder();
        let own = Lease::take_as(&path, true, "slow", QUICK).unwrap().unwrap();
        fs::remove_file(&path).unwrap();
        let _other = Lease::take_as(&path, true, "other", QUICK).unwrap().unwrap();
        let until = Instant::now() + Duration::from_secs(20);
        while !own.lost().load(Ordering::SeqCst) {
            assert!(Instant::now() < until);
            thread::sleep(Duration::from_millis(10));
        }
        drop(own);
        assert!(path.exists(), "the lease of the other process must stay");
    }

    /// Many machines without locks count up and down: no two of them at once.
    #[test]
    fn of_many_machines_one_holds_the_lease() {
        let (_folder, path) = folder();
        let (inside, times) = (AtomicUsize::new(0), AtomicUsize::new(0));
        thread::scope(|scope| {
            for number in 0..8 {
                let (path, inside, times) = (&path, &inside, &times);
                scope.spawn(move || {
                    for _ in 0..100 {
                        let machine = format!("machine-{number}");
                        let Some(lease) = Lease::take_as(path, false, &machine, Timing::USUAL).unwrap()
                        else {
                            continue;
                        };
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "two machines hold the lease");
                        times.fetch_add(1, Ordering::SeqCst);
                        thread::yield_now();
                        inside.fetch_sub(1, Ordering::SeqCst);
                        drop(lease);
                    }
                });
            }
        });
        assert!(times.load(Ordering::SeqCst) > 0);
    }
}

//! Threads that compute the tasks of a kernel together.
//!
//! The tasks of a kernel depend on the geometry alone, never on the number of threads. Results therefore have the same bits for
//! any number of threads. Any thread may compute any task, so that a thread that is slow or busy computes fewer tasks.
//!
//! A training step runs some two hundred kernels, many of them shorter than the time it takes to wake a thread. Helper threads
//! therefore stay awake for a moment after each kernel, and a kernel does not wait for helpers that are still asleep when its
//! tasks are done.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How long a helper stays awake after a kernel. This is longer than the pause between two kernels of a step, and short enough not
/// to keep the core from other programs.
const AWAKE: Duration = Duration::from_micros(100);

/// The calling thread and its helper threads.
pub(crate) struct Threads {
    helpers: Vec<JoinHandle<()>>,
    slot: Arc<JobSlot>,
    /// Locked by the caller that uses the helpers. Other callers compute alone in the meantime.
    caller: Mutex<()>,
}

impl Threads {
    /// `count` threads, one of which is the calling thread. There are fewer if the system does not start as many.
    pub(crate) fn new(count: usize) -> Self {
        let mut threads = Self::alone();
        for i in 1..count {
            let slot = threads.slot.clone();
            let builder = thread::Builder::new().name(format!("gradamp-cpu-{i}"));
            match builder.spawn(move || slot.help()) {
                Ok(helper) => threads.helpers.push(helper),
                Err(_) => break, // fewer threads give the same bits, only later
            }
        }
        threads
    }

    /// Only the calling thread.
    pub(crate) fn alone() -> Self {
        Self { helpers: Vec::new(), slot: Arc::default(), caller: Mutex::new(()) }
    }

    /// The number of threads, with the calling thread.
    pub(crate) fn count(&self) -> usize {
        1 + self.helpers.len()
    }

    /// Calls `f` for every task, on the next thread that is free. Returns when all tasks are done.
    pub(crate) fn each<T: Send>(&self, tasks: impl Iterator<Item = T> + Send, f: impl Fn(T) + Sync) {
        self.each_with(tasks, std::iter::repeat_with(|| ()), |task, ()| f(task));
    }

    /// Like [`Threads::each`]. Each thread that takes part owns one of the `scratches` and passes it to `f`.
    pub(crate) fn each_with<T: Send, S: Send>(
        &self,
        tasks: impl Iterator<Item = T> + Send,
        scratches: impl Iterator<Item = S>,
        f: impl Fn(T, &mut S) + Sync,
    ) {
        let mut scratches = scratches.take(self.count());
        let Some(mut own) = scratches.next() else { return };
        let few = tasks.size_hint().1.is_some_and(|most| most <= 1);
        let caller = if few || self.helpers.is_empty() { None } else { self.reserve_helpers() };
        let Some(_caller) = caller else {
            return tasks.for_each(|task| f(task, &mut own));
        };
        let (tasks, scratches) = (Mutex::new(tasks), Mutex::new(scratches.collect::<Vec<S>>()));
        let work = |scratch: &mut S| {
            loop {
                let task = lock(&tasks).next();
                match task {
                    Some(task) => f(task, scratch),
                    None => break,
                }
            }
        };
        let help = || {
            let scratch = lock(&scratches).pop();
            if let Some(mut scratch) = scratch {
                work(&mut scratch);
            }
        };
        self.slot.run(&help, || work(&mut own));
    }

    /// The right to use the helpers. `None` while another caller uses them, or if the call comes from within a task.
    fn reserve_helpers(&self) -> Option<MutexGuard<'_, ()>> {
        match self.caller.try_lock() {
            Ok(caller) => Some(caller),
            Err(TryLockError::Poisoned(caller)) => Some(caller.into_inner()), // a task of an earlier job panicked
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        lock(&self.slot.state).shut_down = true;
        self.slot.wake.notify_all();
        for helper in self.helpers.drain(..) {
            let _ = helper.join(); // helpers catch the panics of tasks, so that none is lost here
        }
    }
}

/// The job that a caller has for the helpers, if there is one, and how the helpers learn of it.
#[derive(Default)]
struct JobSlot {
    state: Mutex<State>,
    /// Wakes helpers that sleep.
    wake: Condvar,
    /// The number of jobs so far.
    jobs: AtomicUsize,
    /// The number of helpers that are computing tasks of the job.
    inside: AtomicUsize,
    /// Whether one of these helpers panicked.
    panicked: AtomicBool,
}

/// The function that the helpers run while a caller computes tasks too. It borrows from the caller: see [`JobSlot::run`].
type Job = &'static (dyn Fn() + Sync);

#[derive(Default)]
struct State {
    job: Option<Job>,
    sleeping: usize,
    shut_down: bool,
}

impl JobSlot {
    /// Calls `own` on this thread, and `help` on every helper that wakes up before `own` returns.
    #[allow(clippy::panic)] // a helper's panic is the caller's panic, as if the caller had computed the task
    fn run(&self, help: &(dyn Fn() + Sync), own: impl FnOnce()) {
        // SAFETY: when this function returns or unwinds, no helper uses the job any more: `CloseOnDrop` removes the job and waits
        // until all helpers have left it.
        let job = unsafe { std::mem::transmute::<&(dyn Fn() + Sync), Job>(help) };
        let closing = CloseOnDrop(self);
        // If the caller of an earlier job panicked together with a helper, the flag is still set. It does not concern this job.
        self.panicked.store(false, Ordering::Release);
        let mut state = lock(&self.state);
        state.job = Some(job);
        self.jobs.fetch_add(1, Ordering::Release);
        if state.sleeping > 0 {
            self.wake.notify_all();
        }
        drop(state);
        own();
        drop(closing);
        if self.panicked.swap(false, Ordering::AcqRel) {
            panic!("a helper of the CPU backend panicked");
        }
    }

    /// The loop of a helper thread: waits for a job and runs it, until the threads shut down.
    fn help(&self) {
        let mut seen = 0;
        while let Some(job) = self.next(&mut seen) {
            if catch_unwind(AssertUnwindSafe(job)).is_err() {
                self.panicked.store(true, Ordering::Release);
            }
            self.inside.fetch_sub(1, Ordering::AcqRel);
        }
    }

    /// Waits for a job after job number `seen`, and joins it. Returns `None` when the threads shut down.
    fn next(&self, seen: &mut usize) -> Option<Job> {
        loop {
            wait(|| self.jobs.load(Ordering::Acquire) != *seen, Some(AWAKE));
            let mut state = lock(&self.state);
            while self.jobs.load(Ordering::Acquire) == *seen && !state.shut_down {
                state.sleeping += 1;
                state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
                state.sleeping -= 1;
            }
            if state.shut_down {
                return None;
            }
            *seen = self.jobs.load(Ordering::Acquire);
            if let Some(job) = state.job {
                self.inside.fetch_add(1, Ordering::AcqRel); // while `state` is locked, so that the job is not closed before
                return Some(job);
            }
        }
    }
}

/// Closes the job when dropped: no other helper joins the job, and all helpers that have joined it are waited for.
struct CloseOnDrop<'a>(&'a JobSlot);

impl Drop for CloseOnDrop<'_> {
    fn drop(&mut self) {
        lock(&self.0.state).job = None;
        wait(|| self.0.inside.load(Ordering::Acquire) == 0, None);
    }
}

/// Waits until `condition` returns true, or until the time `most` has passed. Spins for a while, then yields the core to other
/// threads.
fn wait(condition: impl Fn() -> bool, most: Option<Duration>) {
    const SPINS: usize = 300;
    for _ in 0..SPINS {
        if condition() {
            return;
        }
        std::hint::spin_loop();
    }
    let start = Instant::now();
    while !condition() && most.is_none_or(|most| start.elapsed() < most) {
        thread::yield_now();
    }
}

/// Locks the mutex even if another thread panicked while it held the lock. No code panics between two writes to the same mutex, and
/// the caller learns of the panic by other means.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_is_done_once_by_any_number_of_threads() {
        for count in [1, 2, 3, 7] {
            let threads = Threads::new(count);
            for tasks in [0, 1, 2, 100] {
                let mut done = vec![0; tasks];
                threads.each(done.iter_mut(), |d| *d += 1);
                assert_eq!(done, vec![1; tasks]);
                let mut sums = vec![0; count];
                threads.each_with(0..tasks, sums.iter_mut(), |task, sum| **sum += task + 1);
                assert_eq!(sums.iter().sum::<usize>(), tasks * (tasks + 1) / 2);
            }
        }
    }

    /// Runs short jobs one after the other, with pauses in which the helpers fall asleep.
    #[test]
    fn all_tasks_of_a_job_are_done_when_it_returns() {
        let threads = Threads::new(4);
        for job in 0..3000 {
            let mut done = [0u8; 5];
            threads.each(done.iter_mut(), |d| *d += 1);
            assert_eq!(done, [1; 5], "job {job}");
            if job % 1000 == 0 {
                thread::sleep(5 * AWAKE);
            }
        }
    }

    #[test]
    fn helpers_take_part() {
        let threads = Threads::new(2);
        let (first, second) = (AtomicBool::new(false), AtomicBool::new(false));
        // Each of the two tasks waits until the other one has begun, which takes two threads.
        threads.each([(&first, &second), (&second, &first)].into_iter(), |(own, other)| {
            own.store(true, Ordering::Release);
            wait(|| other.load(Ordering::Acquire), None);
        });
    }

    #[test]
    fn several_callers_and_nested_tasks_finish() {
        let threads = Threads::new(3);
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        let mut sums = [0; 4];
                        threads.each(sums.iter_mut(), |sum| {
                            let mut parts = [0; 3];
                            threads.each(parts.iter_mut(), |part| *part = 2);
                            *sum = parts.iter().sum();
                        });
                        assert_eq!(sums, [6; 4]);
                    }
                });
            }
        });
    }

    #[test]
    fn panics_of_caller_and_helper_at_once_do_not_reach_the_next_job() {
        let threads = Threads::new(2);
        for _ in 0..20 {
            let came = AtomicUsize::new(0);
            let result = catch_unwind(AssertUnwindSafe(|| {
                threads.each(0..2, |_| {
                    came.fetch_add(1, Ordering::AcqRel);
                    wait(|| came.load(Ordering::Acquire) == 2, None);
                    panic!("as was asked");
                });
            }));
            assert!(result.is_err());
            let mut done = [0; 30];
            threads.each(done.iter_mut(), |d| *d += 1);
            assert_eq!(done, [1; 30]);
        }
    }

    #[test]
    fn a_panic_of_any_task_reaches_the_caller_and_the_next_job_runs() {
        let threads = Threads::new(2);
        let caller = thread::current().id();
        for caller_panics in [true, false, true, false] {
            let (came, panicked) = (AtomicUsize::new(0), AtomicBool::new(false));
            let result = catch_unwind(AssertUnwindSafe(|| {
                threads.each(0..2, |_| {
                    came.fetch_add(1, Ordering::AcqRel);
                    wait(|| came.load(Ordering::Acquire) == 2, None);
                    if (thread::current().id() == caller) == caller_panics {
                        panicked.store(true, Ordering::Release);
                        panic!("as was asked");
                    }
                });
            }));
            assert!(result.is_err() && panicked.load(Ordering::Acquire));
            let mut done = [0; 30];
            threads.each(done.iter_mut(), |d| *d += 1);
            assert_eq!(done, [1; 30]);
        }
    }
}

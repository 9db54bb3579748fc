//! Threads that share out tasks.
//!
//! What a task is depends on the geometry alone, never on the number of threads; who does it does not matter. So
//! results are the same bits for any number of threads, and a thread that is slow or busy elsewhere does fewer.

use std::sync::{Mutex, PoisonError};

use rayon::{ThreadPool, ThreadPoolBuilder};

/// The calling thread and the helpers beside it.
pub(crate) struct Threads {
    helpers: Option<ThreadPool>,
    count: usize,
}

impl Threads {
    /// `count` threads in all, at least one.
    pub(crate) fn new(count: usize) -> Result<Self, rayon::ThreadPoolBuildError> {
        let count = count.max(1);
        let builder = ThreadPoolBuilder::new().thread_name(|i| format!("gradamp-cpu-{}", i + 1));
        let helpers = if count > 1 { Some(builder.num_threads(count - 1).build()?) } else { None };
        Ok(Self { helpers, count })
    }

    /// The calling thread alone.
    pub(crate) fn alone() -> Self {
        Self { helpers: None, count: 1 }
    }

    /// How many threads there are.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Calls `f` on every task, on whichever thread is free.
    pub(crate) fn each<T: Send>(&self, tasks: impl Iterator<Item = T> + Send, f: impl Fn(T) + Sync) {
        self.each_with(tasks, std::iter::repeat_with(|| ()), |task, ()| f(task));
    }

    /// Like [`Threads::each`]; every thread takes one of the `scratches` for itself.
    pub(crate) fn each_with<T: Send, S: Send>(
        &self,
        tasks: impl Iterator<Item = T> + Send,
        scratches: impl Iterator<Item = S>,
        f: impl Fn(T, &mut S) + Sync,
    ) {
        let mut scratches = scratches.take(self.count);
        let Some(mut own) = scratches.next() else { return };
        let few = tasks.size_hint().1.is_some_and(|most| most <= 1);
        let Some(helpers) = self.helpers.as_ref().filter(|_| !few) else {
            return tasks.for_each(|task| f(task, &mut own));
        };
        let tasks = Mutex::new(tasks);
        let work = |mut scratch: S| {
            loop {
                let task = tasks.lock().unwrap_or_else(PoisonError::into_inner).next();
                match task {
                    Some(task) => f(task, &mut scratch),
                    None => break,
                }
            }
        };
        helpers.in_place_scope(|scope| {
            for scratch in scratches {
                let work = &work;
                scope.spawn(move |_| work(scratch));
            }
            work(own);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_is_done_once_by_any_number_of_threads() {
        for count in [1, 2, 3, 7] {
            let threads = Threads::new(count).unwrap();
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
}

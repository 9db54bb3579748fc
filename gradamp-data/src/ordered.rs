//! Results that threads compute ahead of time, delivered in order.

use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::{Builder, JoinHandle};

use crate::{Error, Result};

/// The number of results that a thread computes ahead before it waits. Two are enough for steps of uneven length and
/// take little memory.
const READY: usize = 2;

/// The results of `produce` over a range, in the order of the range, for any number of threads.
///
/// With W threads, thread k produces the results k, k + W, k + 2W, ... and sends them through its own bounded
/// channel. Receiving from the channels in turn restores the order. Dropping the iterator stops the threads.
pub(crate) struct Ordered<T> {
    remaining: Range<usize>,
    lanes: Vec<Lane<T>>,
    next_lane: usize,
    /// The iterator calls this itself if there are no threads.
    produce: Arc<Produce<T>>,
}

type Produce<T> = dyn Fn(usize) -> Result<T> + Send + Sync;

struct Lane<T> {
    /// `None` once the thread shall stop: a closed channel stops it.
    results: Option<Receiver<Result<T>>>,
    thread: Option<JoinHandle<()>>,
}

impl<T: Send + 'static> Ordered<T> {
    /// Starts `workers` threads, or as many as the system allows. With 0, results are produced when they are
    /// requested.
    pub fn new(
        range: Range<usize>,
        workers: usize,
        produce: impl Fn(usize) -> Result<T> + Send + Sync + 'static,
    ) -> Self {
        let produce: Arc<Produce<T>> = Arc::new(produce);
        let mut workers = workers.min(range.len());
        loop {
            match Self::start(range.clone(), workers, produce.clone()) {
                Ok(ordered) => return ordered,
                Err(started) => workers = started, // fewer threads at each attempt, finally none
            }
        }
    }

    /// **Errors:** the system started fewer threads. The error is their number; the threads have been stopped.
    fn start(range: Range<usize>, workers: usize, produce: Arc<Produce<T>>) -> Result<Self, usize> {
        // If this function returns an error, dropping `ordered` stops the threads that were started.
        let mut ordered = Self { remaining: range.clone(), lanes: Vec::new(), next_lane: 0, produce };
        for worker in 0..workers {
            let (sender, results) = sync_channel(READY);
            let (produce, range) = (ordered.produce.clone(), range.clone());
            let work = move || {
                for item in range.skip(worker).step_by(workers) {
                    let result = produce(item);
                    let last = result.is_err();
                    if sender.send(result).is_err() || last {
                        return;
                    }
                }
            };
            let thread = Builder::new().name(format!("gradamp-data-{worker}")).spawn(work);
            let thread = thread.map_err(|_| worker)?;
            ordered.lanes.push(Lane { results: Some(results), thread: Some(thread) });
        }
        Ok(ordered)
    }
}

impl<T> Iterator for Ordered<T> {
    type Item = Result<T>;

    /// The next result. After an error the iterator ends.
    fn next(&mut self) -> Option<Result<T>> {
        let item = self.remaining.next()?;
        let lanes = self.lanes.len();
        let result = match self.lanes.get_mut(self.next_lane) {
            None => (self.produce)(item),
            Some(lane) => {
                self.next_lane = (self.next_lane + 1) % lanes;
                lane.receive().unwrap_or_else(|| Err(Error::Worker { batch: item, message: lane.reason() }))
            }
        };
        if result.is_err() {
            self.remaining = 0..0;
        }
        Some(result)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.remaining.len()))
    }
}

impl<T> Lane<T> {
    fn receive(&self) -> Option<Result<T>> {
        self.results.as_ref()?.recv().ok()
    }

    /// Why the thread ended before it finished: the message of its panic.
    fn reason(&mut self) -> String {
        let panic = self.thread.take().and_then(|thread| thread.join().err());
        let text = panic.as_ref().and_then(|panic| {
            panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied())
        });
        text.unwrap_or("its thread ended").to_owned()
    }
}

impl<T> Drop for Ordered<T> {
    fn drop(&mut self) {
        self.lanes.iter_mut().for_each(|lane| lane.results = None);
        for lane in &mut self.lanes {
            if let Some(thread) = lane.thread.take() {
                let _ = thread.join(); // a panic was reported by `next`, or the result is no longer needed
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        #[test]
        fn results_are_in_order(first in 0usize..20, length in 0usize..40, workers in 0usize..9) {
            let items: Result<Vec<usize>> = Ordered::new(first..first + length, workers, Ok).collect();
            prop_assert_eq!(items.unwrap(), (first..first + length).collect::<Vec<_>>());
        }
    }

    #[test]
    fn an_error_is_the_last_item() {
        for workers in 0..4 {
            let fail = |item| match item {
                5 => Err(Error::Worker { batch: item, message: "out of items".into() }),
                _ => Ok(item),
            };
            let results: Vec<Result<usize>> = Ordered::new(0..20, workers, fail).collect();
            assert_eq!(results.len(), 6);
            assert!(results[..5].iter().all(Result::is_ok));
            assert_eq!(
                results[5].as_ref().unwrap_err().to_string(),
                "loader: batch 5 was not prepared: out of items"
            );
        }
    }

    #[test]
    fn a_panic_on_a_thread_is_reported_as_an_error() {
        for workers in 1..4 {
            let fail = |item| if item == 3 { panic!("item {item} is bad") } else { Ok(item) };
            let results: Vec<Result<usize>> = Ordered::new(0..20, workers, fail).collect();
            assert_eq!(results.len(), 4);
            let message = results[3].as_ref().unwrap_err().to_string();
            assert_eq!(message, "loader: batch 3 was not prepared: item 3 is bad");
        }
    }

    #[test]
    fn dropping_the_iterator_stops_the_threads() {
        let shared = Arc::new(());
        let held = shared.clone();
        let mut ordered = Ordered::new(0..1_000_000, 3, move |item| {
            let _ = &held;
            Ok(item)
        });
        assert!(matches!(ordered.next(), Some(Ok(0))));
        drop(ordered);
        assert_eq!(Arc::strong_count(&shared), 1, "a thread still holds the shared value");
    }
}

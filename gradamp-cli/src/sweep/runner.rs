//! Trains the runs of a sweep, several at a time.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, scope, sleep};
use std::time::{Duration, Instant};

use super::board::{Board, Job, Next, Setup};
use super::child::{Children, Ended};
use super::show::Show;
use crate::failure::{Failure, Result};
use gradamp_study::sweep::{RunSnapshot, collect};

/// The interval at which the sweep checks whether it should stop.
const TICK: Duration = Duration::from_millis(50);
/// How long a worker waits before it looks for a run again.
const PATIENCE: Duration = Duration::from_millis(500);

/// A worker's message.
enum News {
    Begins {
        index: usize,
    },
    Ended {
        job: Box<Job>,
        ended: Ended,
        snapshot: Result<RunSnapshot, gradamp_study::run_folder::Error>,
        took: Duration,
    },
    Broken(gradamp_study::run_folder::Error),
}

/// Trains the runs, `jobs` at a time, until all are settled or `stop` is set. Writes the results after each run.
///
/// **Errors:** a folder cannot be written. The running runs are then asked to save and end.
pub fn run(setup: &Setup<'_>, jobs: usize, stop: &AtomicBool, show: &mut Show) -> Result<()> {
    let board = Mutex::new(Board::new(setup));
    let children = Children::default();
    let lost = scope(|scope| {
        let (sender, news) = channel();
        let (mut workers, mut no_thread) = (0, None);
        for _ in 0..jobs {
            let (sender, board, children) = (sender.clone(), &board, &children);
            let work = move || work(board, children, stop, &sender);
            if let Err(error) = Builder::new().name("sweep".into()).spawn_scoped(scope, work) {
                no_thread = Some(error);
                break;
            }
            workers += 1;
        }
        if let Some(error) = no_thread {
            if workers == 0 {
                return Some(Failure::failed(format!("no thread can be started to train the runs: {error}")));
            }
            show.say(&format!(
                "warning: only {workers} runs are trained at the same time, because no more threads can be started: {error}"
            ));
        }
        drop(sender);
        let mut lost = None;
        let mut fail = |error| {
            lost.get_or_insert(error);
            stop.store(true, Ordering::SeqCst);
        };
        loop {
            if stop.load(Ordering::SeqCst) {
                children.stop();
            }
            for folder in lock(&board).deleted() {
                children.end(&folder); // the run cannot save its results any more
            }
            for folder in lock(&board).lost() {
                children.kill(&folder); // it must not write any more
            }
            match news.recv_timeout(TICK) {
                Ok(News::Begins { index }) => show.begins(&setup.expansion.plan.runs[index].name),
                Ok(News::Ended { job, ended, snapshot, took }) => {
                    let name = &setup.expansion.plan.runs[job.index].name;
                    match snapshot {
                        Ok(snapshot) => {
                            let epochs = snapshot.epochs.len().saturating_sub(job.from);
                            let board = lock(&board);
                            show.ended(
                                name,
                                &ended,
                                &snapshot,
                                (epochs, took),
                                board.count(),
                                board.epochs_left(),
                            );
                        }
                        Err(error) => fail(error),
                    }
                    drop(job); // releases the claim before the results are written
                    if let Err(error) = collect(&setup.root, &setup.expansion.plan) {
                        fail(error);
                    }
                }
                Ok(News::Broken(error)) => fail(error),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        lost.map(Failure::from)
    });
    lock(&board).note_deleted()?;
    lost.map_or(Ok(()), Err)
}

/// Trains one run after the other.
fn work(board: &Mutex<Board<'_>>, children: &Children, stop: &AtomicBool, news: &Sender<News>) {
    while !stop.load(Ordering::SeqCst) {
        let next = lock(board).next();
        let job = match next {
            Ok(Next::Do(job)) => job,
            Ok(Next::Wait) => {
                let until = Instant::now() + PATIENCE;
                while Instant::now() < until && !stop.load(Ordering::SeqCst) {
                    sleep(TICK);
                }
                continue;
            }
            Ok(Next::End) => return,
            Err(error) => {
                let _ = news.send(News::Broken(error)); // the receiver lives longer than the workers
                return;
            }
        };
        let _ = news.send(News::Begins { index: job.index });
        let start = Instant::now();
        let ended = children.run(&job.task);
        let took = start.elapsed();
        let snapshot = lock(board).ended(&job, &ended);
        let _ = news.send(News::Ended { job, ended, snapshot, took });
    }
}

fn lock<'a, 'b>(board: &'a Mutex<Board<'b>>) -> MutexGuard<'a, Board<'b>> {
    board.lock().unwrap_or_else(PoisonError::into_inner)
}

//! How a run ends: on request, or by an error.

use std::sync::atomic::{AtomicBool, Ordering};

use gradamp_core::train::{Control, Next, Observer, Snapshot};
use gradamp_core::{Backend, Error};

use crate::interrupt;

/// An observer that stops a run on request, and that sets which work a stop must wait for.
#[derive(Debug)]
pub struct Stop<'a>(pub &'a AtomicBool);

impl<B: Backend> Observer<B> for Stop<'_> {
    fn before(&mut self, next: Next) -> Control {
        if self.0.load(Ordering::SeqCst) {
            return Control::Stop;
        }
        interrupt::set_current_work(match next {
            Next::Step => "finishing this step",
            Next::Evaluation => "leaving the evaluation, which a resumed run repeats",
        });
        Control::Continue
    }

    fn on_stop(&mut self, _: &Snapshot<'_, B>) -> gradamp_core::Result<()> {
        interrupt::set_current_work("saving");
        Ok(())
    }
}

/// How a run ended, and which checkpoint is kept.
#[derive(Debug, thiserror::Error)]
#[error("{error}; {kept}")]
pub struct Ended {
    #[source]
    pub error: Error,
    pub kept: String,
}

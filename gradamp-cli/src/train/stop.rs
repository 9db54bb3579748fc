//! How a run ends: on request, or by an error.

use std::sync::atomic::{AtomicBool, Ordering};

use gradamp_core::train::{Control, Next, Observer, Snapshot};
use gradamp_core::{Backend, Error};

use crate::interrupt;

/// The observer that stops a run on request, and reports the work that a stop waits for.
#[derive(Debug)]
pub struct Stop<'a>(pub &'a AtomicBool);

impl<B: Backend> Observer<B> for Stop<'_> {
    fn before(&mut self, next: Next) -> Control {
        if self.0.load(Ordering::SeqCst) {
            return Control::Stop;
        }
        interrupt::doing(match next {
            Next::Step => "finishing this step",
            Next::Evaluation => "leaving the evaluation, which a resumed run repeats",
        });
        Control::Continue
    }

    fn on_stop(&mut self, _: &Snapshot<'_, B>) -> gradamp_core::Result<()> {
        interrupt::doing("saving");
        Ok(())
    }
}

/// How a run ended, and which checkpoint is left.
#[derive(Debug, thiserror::Error)]
#[error("{error}; {kept}")]
pub struct Ended {
    #[source]
    pub error: Error,
    pub kept: String,
}

//! The observer that hears requests to stop.

use std::sync::atomic::{AtomicBool, Ordering};

use gradamp_core::Backend;
use gradamp_core::train::{Control, Next, Observer, Snapshot};

use crate::interrupt;

/// Stops a run when it is asked to, and says what a stop has to wait for.
#[derive(Debug)]
pub struct Stop<'a>(pub &'a AtomicBool);

impl<B: Backend> Observer<B> for Stop<'_> {
    fn before(&mut self, next: Next) -> Control {
        if self.0.load(Ordering::SeqCst) {
            return Control::Stop;
        }
        interrupt::doing(match next {
            Next::Step => "finishing this step",
            Next::Evaluation => "leaving the evaluation, which a resumed run does anew",
        });
        Control::Continue
    }

    fn on_stop(&mut self, _: &Snapshot<'_, B>) -> gradamp_core::Result<()> {
        interrupt::doing("saving");
        Ok(())
    }
}

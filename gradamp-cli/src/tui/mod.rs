//! The live dashboard: one state ([`Dashboard`]) and one view of it ([`view`]), for a training that goes on here
//! ([`Live`]) and for the folder of one that goes on elsewhere (`gradamp watch`).

mod curve;
mod dashboard;
mod flow;
mod live;
mod ui;
pub mod view;

use std::io;
use std::time::Duration;

use ratatui::crossterm::event::{self, Event, KeyEvent};

pub use dashboard::Dashboard;
pub use live::Live;
pub use ui::{Action, Role, Ui};

/// The time from one frame to the next, at the least.
pub const FRAME: Duration = Duration::from_millis(100);

/// What a person did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// A key.
    Key(KeyEvent),
    /// Another size of the window, or anything else after which it is to be drawn.
    Other,
}

/// All that was done within `wait`.
///
/// **Errors:** a terminal that cannot be read any more.
pub fn inputs(wait: Duration) -> io::Result<Vec<Input>> {
    let mut inputs = Vec::new();
    // Where a terminal may be gone, the waiting is done here: the library that reads it would find its end for ever.
    #[cfg(unix)]
    let wait = {
        crate::terminal::wait_for_input(wait)?;
        Duration::ZERO
    };
    let mut wait = wait;
    while event::poll(wait)? {
        inputs.push(match event::read()? {
            Event::Key(key) => Input::Key(key),
            _ => Input::Other,
        });
        wait = Duration::ZERO;
    }
    Ok(inputs)
}

#[cfg(test)]
mod tests;

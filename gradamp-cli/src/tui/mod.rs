//! The dashboard of a run: a state ([`Dashboard`]) and a view that draws it ([`view`]). [`Live`] shows the training
//! in this process; `gradamp watch` shows the folder of a run.

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

/// The least time between two frames.
pub const FRAME: Duration = Duration::from_millis(100);

/// An input by the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// A key.
    Key(KeyEvent),
    /// The user changed the size of the window, or did something else that requires a new frame.
    Other,
}

/// All inputs within `wait`.
///
/// **Errors:** the terminal can no longer be read.
pub fn inputs(wait: Duration) -> io::Result<Vec<Input>> {
    let mut inputs = Vec::new();
    // `terminal` waits for input. The library that reads the terminal would read the end of a closed one forever.
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

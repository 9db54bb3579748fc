//! `gradamp train --tui`: the dashboard of the training in this process.
//!
//! A separate thread draws the view, so that keys and changes of the window take effect during a step or an
//! evaluation. The training sends its changes to this thread and does not wait for it.

use std::io;
use std::sync::mpsc::{self, Receiver, Sender, TryRecvError};
use std::thread;
use std::time::{Duration, Instant};

use gradamp_core::Backend;
use gradamp_core::amplify::DrawRecord;
use gradamp_core::train::{Control, EpochReport, Observer, Snapshot, StepReport};

use super::ui::{Action, Role, Ui};
use super::{Dashboard, FRAME, Input, inputs, view};
use crate::screen::{self, Screen};
use crate::{interrupt, output};
use gradamp_study::run_folder::Change;
use gradamp_study::run_folder::lines::{EpochLine, GradientLine, StepLine};

/// How long a finished run waits for the last frame of the dashboard.
const PATIENCE: Duration = Duration::from_secs(2);

/// The dashboard of this process. When the value is dropped, the terminal is restored and the messages that the
/// dashboard received are printed.
#[derive(Debug)]
pub struct Live {
    changes: Option<Sender<Change>>,
    /// Receives the messages that the dashboard showed, when the view ends.
    ended: Receiver<Vec<String>>,
}

impl Live {
    /// Shows `dashboard`. After this call, the dashboard receives messages in place of stderr.
    ///
    /// **Errors:** the terminal cannot be set up.
    pub fn begin(dashboard: Dashboard) -> io::Result<Self> {
        let screen = Screen::acquire()?;
        let (changes, received) = mpsc::channel();
        let (listener, said) = mpsc::channel();
        output::divert(Some(listener));
        let ui = Ui::new(Role::Train);
        let view = View { screen, dashboard, ui, changes: received, said, kept: Vec::new() };
        let (end, ended) = mpsc::channel();
        let run = move || {
            let _ = end.send(view.run()); // fails if the run has stopped waiting
        };
        if let Err(error) = thread::Builder::new().name("dashboard".into()).spawn(run) {
            screen::restore();
            return Err(error);
        }
        Ok(Self { changes: Some(changes), ended })
    }

    fn send(&self, change: Change) {
        if let Some(changes) = &self.changes {
            let _ = changes.send(change); // fails if the terminal is gone; the training continues
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        drop(self.changes.take()); // this ends the view
        // The view may wait forever for a terminal that accepts no output, but the run does not wait for the view.
        let said = self.ended.recv_timeout(PATIENCE).unwrap_or_default();
        screen::restore();
        said.into_iter().for_each(output::message);
    }
}

impl<B: Backend> Observer<B> for Live {
    fn on_draw(&mut self, draw: &DrawRecord) -> gradamp_core::Result<()> {
        self.send(Change::Draw(draw.clone()));
        Ok(())
    }

    fn on_steps(&mut self, reports: &[StepReport], _: &Snapshot<'_, B>) -> gradamp_core::Result<Control> {
        reports.iter().for_each(|report| self.send(Change::Step(StepLine::new(report))));
        Ok(Control::Continue)
    }

    fn on_epoch(
        &mut self,
        report: &EpochReport,
        snapshot: &Snapshot<'_, B>,
    ) -> gradamp_core::Result<Control> {
        self.send(Change::Epoch(EpochLine::new(report, snapshot.state)));
        for gradient in &report.gradients {
            let (epoch, step, gradient) = (report.epoch, report.step, gradient.clone());
            self.send(Change::Gradient(GradientLine { epoch, step, gradient }));
        }
        Ok(Control::Continue)
    }
}

/// The view of the thread that draws.
struct View {
    screen: Screen,
    dashboard: Dashboard,
    ui: Ui,
    changes: Receiver<Change>,
    said: Receiver<String>,
    /// The messages that the view showed. They are printed again after the terminal is restored.
    kept: Vec<String>,
}

impl View {
    /// Shows the view until the training ends or the terminal is gone.
    fn run(mut self) -> Vec<String> {
        let mut drawn: Option<Instant> = None;
        let mut is_new = true;
        loop {
            let goes_on = self.receive(&mut is_new);
            if is_new && drawn.is_none_or(|drawn| drawn.elapsed() >= FRAME) {
                let (dashboard, ui) = (&self.dashboard, &mut self.ui);
                let draw = |frame: &mut ratatui::Frame<'_>| {
                    ui.scroll = view::draw(frame, dashboard, ui).min(ui.scroll);
                };
                if self.screen.draw(draw).is_err() {
                    break;
                }
                (drawn, is_new) = (Some(Instant::now()), false);
            }
            if !goes_on || self.answer(&mut is_new).is_err() {
                break;
            }
        }
        screen::restore();
        self.kept.extend(self.said.try_iter());
        self.kept
    }

    /// Applies the changes that the training sent. Returns whether the training continues.
    fn receive(&mut self, is_new: &mut bool) -> bool {
        for text in self.said.try_iter() {
            self.dashboard.say(&text);
            self.kept.push(text);
            *is_new = true;
        }
        loop {
            match self.changes.try_recv() {
                Ok(change) => self.dashboard.apply(change),
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
            *is_new = true;
        }
    }

    /// Handles the user's input for half the time of a frame.
    fn answer(&mut self, is_new: &mut bool) -> io::Result<()> {
        for input in inputs(FRAME / 2)? {
            *is_new = true;
            let Input::Key(key) = input else { continue };
            match self.ui.key(key) {
                Action::Look | Action::Leave => {}
                Action::Redraw => self.screen.forget()?,
                Action::Interrupt => interrupt::stop(),
                Action::Stop => interrupt::ask_to_stop(),
            }
        }
        Ok(())
    }
}

//! The keys: they choose a pane and how it is shown.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::flow::Measure;

/// A pane of the dashboard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pane {
    /// Curves, gradients and the last messages together.
    #[default]
    Overview,
    /// The curves of accuracy and loss alone.
    Curves,
    /// The gradients of all sites.
    Gradients,
    /// The model, the data, the device and the phases.
    Run,
    /// All messages.
    Log,
}

impl Pane {
    /// All panes, in the order of their numbers.
    pub const ALL: [Self; 5] = [Self::Overview, Self::Curves, Self::Gradients, Self::Run, Self::Log];

    /// The name on the screen.
    pub fn name(self) -> &'static str {
        match self {
            Self::Overview => "overview",
            Self::Curves => "curves",
            Self::Gradients => "gradients",
            Self::Run => "run",
            Self::Log => "log",
        }
    }

    fn turned(self, by: usize) -> Self {
        let place = Self::ALL.iter().position(|&pane| pane == self).unwrap_or(0);
        Self::ALL[(place + by) % Self::ALL.len()]
    }
}

/// Where the dashboard is shown. The meaning of `q` depends on this.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// In the process that trains: `q` stops the training.
    Train,
    /// In `watch`: `q` leaves, and the run continues.
    #[default]
    Watch,
    /// In `watch`, for one run of a sweep: `q` goes back to the table.
    WatchOne,
    /// As text that is printed once, without keys.
    Print,
}

/// What the user has chosen to see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ui {
    /// Where the dashboard is shown.
    pub role: Role,
    /// The pane.
    pub pane: Pane,
    /// The measure that the gradient panes show.
    pub measure: Measure,
    /// The number of rows that are scrolled out of view: at the top, or in the log at the bottom.
    pub scroll: usize,
    /// Whether the list of keys is shown.
    pub help: bool,
    /// Whether the user is being asked whether to stop the training.
    pub asking: bool,
}

/// What the program must do after a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Draw the next frame.
    Look,
    /// Draw the whole screen again.
    Redraw,
    /// Leave the dashboard.
    Leave,
    /// Stop the training after the current step.
    Stop,
    /// Do what Ctrl-C does outside a full-screen view.
    Interrupt,
}

impl Ui {
    /// The initial view: the overview.
    pub fn new(role: Role) -> Self {
        Self { role, ..Self::default() }
    }

    /// Handles a key: changes the view, and returns what the program must do.
    pub fn key(&mut self, key: KeyEvent) -> Action {
        if key.kind == KeyEventKind::Release {
            return Action::Look;
        }
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return match key.code {
                KeyCode::Char('c') => Action::Interrupt,
                KeyCode::Char('l') => Action::Redraw,
                _ => Action::Look,
            };
        }
        if std::mem::take(&mut self.asking) {
            return match key.code {
                KeyCode::Char('y' | 'Y' | 'q') | KeyCode::Enter => Action::Stop,
                _ => Action::Look,
            };
        }
        if std::mem::take(&mut self.help) {
            return Action::Look;
        }
        match key.code {
            KeyCode::Char('q') | KeyCode::Esc => return self.leave(key.code == KeyCode::Esc),
            KeyCode::Char('?' | 'h') => self.help = true,
            KeyCode::Tab | KeyCode::Right => self.turn(1),
            KeyCode::BackTab | KeyCode::Left => self.turn(Pane::ALL.len() - 1),
            KeyCode::Char(digit @ '1'..='5') => self.show(Pane::ALL[digit as usize - '1' as usize]),
            KeyCode::Char('b' | ' ') => self.measure = self.measure.next(),
            KeyCode::Up | KeyCode::Char('k') => self.move_up(1),
            KeyCode::Down | KeyCode::Char('j') => self.move_down(1),
            KeyCode::PageUp => self.move_up(10),
            KeyCode::PageDown => self.move_down(10),
            KeyCode::Home | KeyCode::Char('g') => self.scroll = 0,
            _ => {}
        }
        Action::Look
    }

    fn leave(&mut self, escaping: bool) -> Action {
        match self.role {
            Role::Train => {
                self.asking = !escaping; // Esc alone never stops a training, because it is easily pressed by mistake
                Action::Look
            }
            Role::Watch | Role::WatchOne | Role::Print => Action::Leave,
        }
    }

    fn turn(&mut self, by: usize) {
        self.show(self.pane.turned(by));
    }

    fn show(&mut self, pane: Pane) {
        (self.pane, self.scroll) = (pane, 0);
    }

    // The log is scrolled from its end. There, `up` increases the number of rows that are out of view.

    fn move_up(&mut self, rows: usize) {
        self.scroll = match self.pane {
            Pane::Log => self.scroll.saturating_add(rows),
            _ => self.scroll.saturating_sub(rows),
        };
    }

    fn move_down(&mut self, rows: usize) {
        self.scroll = match self.pane {
            Pane::Log => self.scroll.saturating_sub(rows),
            _ => self.scroll.saturating_add(rows),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn press(ui: &mut Ui, code: KeyCode) -> Action {
        ui.key(KeyEvent::new(code, KeyModifiers::NONE))
    }

    #[test]
    fn panes_are_changed_in_a_ring_or_by_number() {
        let mut ui = Ui::new(Role::Watch);
        for expected in [Pane::Curves, Pane::Gradients, Pane::Run, Pane::Log, Pane::Overview] {
            press(&mut ui, KeyCode::Tab);
            assert_eq!(ui.pane, expected);
        }
        press(&mut ui, KeyCode::Left);
        assert_eq!(ui.pane, Pane::Log);
        press(&mut ui, KeyCode::Char('3'));
        assert_eq!(ui.pane, Pane::Gradients);
    }

    #[test]
    fn a_training_is_stopped_only_after_a_question() {
        let mut ui = Ui::new(Role::Train);
        assert_eq!(press(&mut ui, KeyCode::Esc), Action::Look);
        assert!(!ui.asking);
        assert_eq!(press(&mut ui, KeyCode::Char('q')), Action::Look);
        assert!(ui.asking);
        assert_eq!(press(&mut ui, KeyCode::Char('n')), Action::Look);
        assert!(!ui.asking);
        press(&mut ui, KeyCode::Char('q'));
        assert_eq!(press(&mut ui, KeyCode::Char('y')), Action::Stop);
        assert_eq!(press(&mut Ui::new(Role::Watch), KeyCode::Char('q')), Action::Leave);
        let interrupt = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert_eq!(ui.key(interrupt), Action::Interrupt);
    }

    #[test]
    fn any_key_closes_the_help_and_does_nothing_else() {
        let mut ui = Ui::new(Role::Watch);
        press(&mut ui, KeyCode::Char('?'));
        assert!(ui.help);
        assert_eq!(press(&mut ui, KeyCode::Char('q')), Action::Look);
        assert!(!ui.help);
    }

    #[test]
    fn the_log_scrolls_away_from_its_end() {
        let mut ui = Ui { pane: Pane::Log, ..Ui::default() };
        press(&mut ui, KeyCode::Up);
        press(&mut ui, KeyCode::PageUp);
        assert_eq!(ui.scroll, 11);
        press(&mut ui, KeyCode::Down);
        assert_eq!(ui.scroll, 10);
        ui.pane = Pane::Gradients;
        press(&mut ui, KeyCode::Up);
        assert_eq!(ui.scroll, 9);
        press(&mut ui, KeyCode::Home);
        assert_eq!(ui.scroll, 0);
    }
}

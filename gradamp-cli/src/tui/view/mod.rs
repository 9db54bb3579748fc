//! Draws a frame from the state. The same state always gives the same frame.
//!
//! Colour alone never carries information, because a terminal may have sixteen colours or none.

mod frame;
mod heat;
mod numbers;
mod panes;
mod plot;
mod scale;

use ratatui::Frame;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};

use super::dashboard::{Curves, Dashboard};
use super::ui::{Pane, Ui};
use plot::{EpochAxis, Plot, Series};

pub use frame::{FAINT, FIRM, fitted, footer, help};
pub use numbers::percent;

/// Draws the dashboard. Returns the number of rows by which the pane can be scrolled.
pub fn draw(frame: &mut Frame<'_>, dashboard: &Dashboard, ui: &Ui) -> usize {
    let area = frame.area();
    let has_tabs = area.height >= 14;
    let rows = [
        Constraint::Length(frame::header_rows(area)),
        Constraint::Length(u16::from(has_tabs)),
        Constraint::Min(0),
        Constraint::Length(1),
    ];
    let [header, tabs, body, foot] = Layout::vertical(rows).areas(area);
    frame::header(frame, header, dashboard);
    frame::tabs(frame, tabs, ui.pane);
    let limit = match ui.pane {
        Pane::Overview => overview(frame, body, dashboard, ui),
        Pane::Curves => {
            curves(frame, body, dashboard);
            0
        }
        Pane::Gradients => heat::scrolled(frame, body, dashboard, ui),
        Pane::Run => panes::run(frame, body, dashboard, ui.scroll),
        Pane::Log => panes::log(frame, body, dashboard, ui.scroll),
    };
    footer(frame, foot, ui);
    if ui.help {
        help(frame, ui.role);
    }
    limit
}

/// Draws a frame and returns it as plain text.
pub fn text(size: (u16, u16), draw: impl FnOnce(&mut Frame<'_>)) -> String {
    let mut terminal = match Terminal::new(TestBackend::new(size.0, size.1)) {
        Ok(terminal) => terminal,
        Err(never) => match never {},
    };
    match terminal.draw(draw) {
        Ok(frame) => plain(frame.buffer),
        Err(never) => match never {},
    }
}

fn plain(buffer: &Buffer) -> String {
    let width = usize::from(buffer.area.width).max(1);
    let mut text = String::new();
    for row in buffer.content.chunks(width) {
        let line: String = row.iter().map(|cell| cell.symbol()).collect();
        text += line.trim_end();
        text.push('\n');
    }
    text
}

/// Draws the overview. If not everything fits, messages are left out first, then gradients.
fn overview(frame: &mut Frame<'_>, area: Rect, dashboard: &Dashboard, ui: &Ui) -> usize {
    let log = match area.height {
        0..10 => 0,
        10..22 => 1,
        22..36 => 3,
        _ => 6,
    };
    let [rest, log] = Layout::vertical([Constraint::Min(0), Constraint::Length(log)]).areas(area);
    let heat = match rest.height {
        height if height < 14 || dashboard.flow.sites().is_empty() => 0,
        // The gradients need at most one row for each site.
        height => (height / 2).min(dashboard.flow.sites().len() as u16 + 3),
    };
    let [plots, heat] = Layout::vertical([Constraint::Min(0), Constraint::Length(heat)]).areas(rest);
    curves(frame, plots, dashboard);
    heat::joined(frame, heat, dashboard, ui.measure);
    panes::ticker(frame, log, dashboard);
    0
}

/// Draws accuracy and loss side by side or one above the other, or only accuracy if both do not fit.
fn curves(frame: &mut Frame<'_>, area: Rect, dashboard: &Dashboard) {
    let x = EpochAxis::new(dashboard);
    let accuracy = |x| Plot {
        title: "accuracy",
        series: series(&dashboard.accuracy),
        is_percent: true,
        x,
        bounds: (0.0, 1.0),
    };
    let loss = |x| Plot {
        title: "loss",
        series: series(&dashboard.loss),
        is_percent: false,
        x,
        bounds: (0.0, f64::MAX),
    };
    if area.width >= 72 {
        let halves = [Constraint::Fill(1), Constraint::Length(2), Constraint::Fill(1)];
        let [left, _, right] = Layout::horizontal(halves).areas(area);
        accuracy(&x).draw(frame, left);
        loss(&x).draw(frame, right);
    } else if area.height >= 14 {
        let [above, below] = Layout::vertical([Constraint::Fill(1); 2]).areas(area);
        accuracy(&x).draw(frame, above);
        loss(&x).draw(frame, below);
    } else {
        accuracy(&x).draw(frame, area);
    }
}

fn series(curves: &Curves) -> [Series<'_>; 4] {
    use ratatui::style::Color::{Cyan, Gray, Green, Magenta};
    [
        Series { name: "step", color: Gray, curve: &curves.step, is_dots: true },
        Series { name: "train", color: Cyan, curve: &curves.train, is_dots: false },
        Series { name: "validation", color: Magenta, curve: &curves.validation, is_dots: false },
        Series { name: "test", color: Green, curve: &curves.test, is_dots: false },
    ]
}

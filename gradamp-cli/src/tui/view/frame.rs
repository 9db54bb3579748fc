//! The frame around every pane: the state of the run above, and the keys below.

use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Paragraph};

use super::super::dashboard::{Dashboard, factors};
use super::super::ui::{Pane, Role, Ui};
use super::numbers::{count, percent, short};
use crate::progress::amplification;
use gradamp_study::duration::duration;
use gradamp_study::rate::rate;
use gradamp_study::run_folder::RunStatus;
use gradamp_study::shell;

/// The style of less important text.
pub const FAINT: Style = Style::new().add_modifier(Modifier::DIM);
/// The style of important text.
pub const FIRM: Style = Style::new().add_modifier(Modifier::BOLD);

/// Joins as many parts as fit into a row, separated by two blanks. The first part is always included.
pub fn fitted<'a>(parts: impl IntoIterator<Item = Span<'a>>, width: u16) -> Line<'a> {
    let mut spans: Vec<Span<'a>> = Vec::new();
    let mut used = 0;
    for part in parts {
        let gap = if spans.is_empty() { 0 } else { 2 };
        if used + gap + part.width() > usize::from(width) && !spans.is_empty() {
            continue;
        }
        used += gap + part.width();
        if gap > 0 {
            spans.push("  ".into());
        }
        spans.push(part);
    }
    Line::from(spans)
}

/// The number of rows of the header.
pub fn header_rows(area: Rect) -> u16 {
    match area.height {
        0..3 => area.height.min(1),
        3..10 => 2,
        10..18 => 3,
        _ => 4,
    }
}

/// Draws the header: the state of the run.
pub fn header(frame: &mut Frame<'_>, area: Rect, dashboard: &Dashboard) {
    let mut lines =
        vec![title(dashboard, area.width), progress(dashboard, area.width), phase(dashboard, area.width)];
    if area.height >= 4 {
        lines.insert(1, subject(dashboard, area.width));
    }
    frame.render_widget(Paragraph::new(lines), area);
    // The status is on the right and covers the end of a long name.
    let (word, color) = status(dashboard);
    let word = format!(" {word}");
    let width = (word.chars().count() as u16).min(area.width);
    let place = Rect { x: area.right() - width, width, height: area.height.min(1), ..area };
    frame.render_widget(Line::styled(word, Style::new().fg(color).add_modifier(Modifier::BOLD)), place);
}

fn title(dashboard: &Dashboard, width: u16) -> Line<'_> {
    fitted([Span::styled(shell::program(), FIRM), Span::raw(&dashboard.name)], width)
}

fn status(dashboard: &Dashboard) -> (&'static str, Color) {
    match dashboard.status {
        _ if dashboard.is_folder_missing => ("folder missing", Color::Red),
        RunStatus::Pending => ("starting", Color::Yellow),
        RunStatus::Running => ("running", Color::Green),
        RunStatus::Finished => ("finished", Color::Cyan),
        RunStatus::StepLimit => ("step limit", Color::Yellow),
        RunStatus::Interrupted | RunStatus::StoppedEarly => (dashboard.status.name(), Color::Yellow),
        RunStatus::Killed | RunStatus::Diverged | RunStatus::Failed => (dashboard.status.name(), Color::Red),
    }
}

fn subject(dashboard: &Dashboard, width: u16) -> Line<'_> {
    let Some(record) = &dashboard.record else { return Line::styled("no run.json yet", FAINT) };
    let parts = [
        record.model.clone(),
        record.dataset.clone(),
        record.resumed.last().map_or(&record.device, |session| &session.device).clone(),
        format!("{} parameters", count(record.parameters)),
        format!("seed {}", record.seed),
    ];
    fitted(parts.into_iter().map(|part| Span::styled(part, FAINT)), width)
}

/// `epoch 3/9  ███▌      38 %  step 45/157  830 images/s  2 min 05 s left`
fn progress(dashboard: &Dashboard, width: u16) -> Line<'static> {
    let epochs = dashboard.epochs();
    let epoch = format!("epoch {}/{epochs}", (dashboard.current_epoch() + 1).min(epochs));
    let mut parts = vec![Span::raw(epoch)];
    if let Some(done) = dashboard.epochs_done() {
        let share = if epochs == 0 { 0.0 } else { (done / epochs as f64).clamp(0.0, 1.0) };
        let bar = if width < 60 { 8 } else { 20 };
        parts.push(Span::styled(gauge(share, bar), Style::new().fg(Color::Green)));
        parts.push(Span::raw(format!("{:.0} %", (100.0 * share).floor())));
    }
    if let Some(seconds) = dashboard.seconds_left() {
        parts.push(Span::raw(format!("{} left", duration(seconds))));
    }
    if let Some(rate) = dashboard.images_per_second() {
        parts.push(Span::raw(format!("{rate:.0} images/s")));
    }
    // Between two epochs, no step is shown until the next step is finished.
    let step = dashboard.step.as_ref().filter(|line| line.step.saturating_add(1) == dashboard.steps_done());
    if let (Some(steps), Some(line)) = (dashboard.steps_per_epoch(), step) {
        parts.push(Span::raw(format!("step {}/{steps}", line.step % steps + 1)));
    }
    fitted(parts, width)
}

/// A bar whose length is a multiple of an eighth of a character.
fn gauge(share: f64, cells: usize) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let eighths = (share * 8.0 * cells as f64) as usize;
    let full = "█".repeat(eighths / 8);
    let part = EIGHTHS[eighths % 8];
    let used = eighths / 8 + usize::from(!part.is_empty());
    full + part + &"░".repeat(cells.saturating_sub(used))
}

/// `phase 2/3  lr 0.0842  amplification on (10 sites) by 1.5  loss 1.21  accuracy 56.2 %`
fn phase(dashboard: &Dashboard, width: u16) -> Line<'_> {
    let phase = dashboard.strategy.phase_at(dashboard.current_epoch()).map_or(0, |(phase, _)| phase);
    let mut parts = vec![Span::raw(format!("phase {}/{}", phase + 1, dashboard.strategy.phases.len()))];
    parts.extend(dashboard.lr().map(|lr| Span::raw(format!("lr {}", rate(lr)))));
    parts.push(match dashboard.amplified() {
        Some(draw) => {
            let (n, factors) = (draw.sites.len(), factors(draw));
            let text = match width {
                0..60 => format!("{n} sites ×{factors}"),
                _ => format!("{} by {factors}", amplification(n)),
            };
            Span::styled(text, Style::new().fg(Color::Yellow))
        }
        None => Span::raw(amplification(0)),
    });
    if let Some(accuracy) =
        [&dashboard.accuracy.test, &dashboard.accuracy.validation].iter().find_map(|c| c.last())
    {
        let split = if dashboard.accuracy.test.last().is_some() { "test" } else { "validation" };
        parts.push(Span::raw(format!("{split} {}", percent(accuracy))));
    }
    if let Some(line) = &dashboard.step {
        parts.extend(line.gradient_norm.map(|norm| Span::raw(format!("gradient norm {}", short(norm)))));
        parts.extend(line.loss_scale.map(|scale| Span::raw(format!("loss scale {scale}"))));
    }
    fitted(parts, width)
}

/// Draws the names of the panes.
pub fn tabs(frame: &mut Frame<'_>, area: Rect, chosen: Pane) {
    let mut spans = Vec::new();
    for pane in Pane::ALL {
        let style = if pane == chosen { Style::new().add_modifier(Modifier::REVERSED) } else { FAINT };
        spans.push(Span::styled(format!(" {} ", pane.name()), style));
    }
    frame.render_widget(Line::from(spans), area);
}

/// Draws the keys, or the question whether to stop the training.
pub fn footer(frame: &mut Frame<'_>, area: Rect, ui: &Ui) {
    if ui.asking {
        let question = " stop after this step and save?  y stop  n continue ";
        let style = Style::new().fg(Color::Yellow).add_modifier(Modifier::REVERSED);
        frame.render_widget(Line::styled(question, style), area);
        return;
    }
    let mut keys = vec![("tab", "pane")];
    match ui.role {
        Role::Train => keys.push(("q", "stop and save")),
        Role::Watch => keys.push(("q", "quit")),
        Role::WatchOne => keys.push(("q", "back")),
        Role::Print => return,
    }
    keys.push(("?", "help"));
    match ui.pane {
        Pane::Overview => keys.push(("b", "before/after")),
        Pane::Gradients => keys.extend([("b", "before/after"), ("↑↓", "scroll")]),
        Pane::Run | Pane::Log => keys.push(("↑↓", "scroll")),
        Pane::Curves => {}
    }
    let parts = keys.into_iter().map(|(key, does)| Span::styled(format!("{key} {does}"), FAINT));
    frame.render_widget(fitted(parts, area.width), area);
}

/// Draws the list of keys over the pane.
pub fn help(frame: &mut Frame<'_>, role: Role) {
    let leave = match role {
        Role::Train => ["q         stop after this step, saved", "Ctrl-C    the same; twice: unsaved"],
        Role::Watch | Role::Print => ["q, Esc    leave; the run continues", "Ctrl-C    the same"],
        Role::WatchOne => ["q, Esc    back to the table", "Ctrl-C    leave; the run continues"],
    };
    let lines: Vec<Line<'_>> = [
        "tab, ← →  other pane",
        "1 … 5     a pane by its number",
        "b, space  gradients: after, before,",
        "          gain, update ratio, zeros",
        "↑ ↓ PgUp PgDn  scroll",
        "Ctrl-L    draw the screen again",
    ]
    .into_iter()
    .chain(leave)
    .map(Line::raw)
    .collect();
    let area = frame.area();
    let height = (lines.len() as u16 + 2).min(area.height);
    let width = 40.min(area.width);
    let [_, middle, _] =
        Layout::vertical([Constraint::Fill(1), Constraint::Length(height), Constraint::Fill(1)]).areas(area);
    let [_, place, _] =
        Layout::horizontal([Constraint::Fill(1), Constraint::Length(width), Constraint::Fill(1)])
            .areas(middle);
    let block = Block::bordered().title(" keys ").title_alignment(Alignment::Center);
    frame.render_widget(Clear, place);
    frame.render_widget(Paragraph::new(lines).block(block), place);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_the_parts_that_fit() {
        let parts = ["one", "two", "three"];
        let text = |width| fitted(parts.map(Span::raw), width).to_string();
        assert_eq!(text(80), "one  two  three");
        assert_eq!(text(14), "one  two");
        assert_eq!(text(5), "one", "parts that do not fit are left out");
        assert_eq!(text(2), "one", "the first part is cut at the edge of the screen");
    }

    #[test]
    fn the_bar_grows_by_eighths_of_a_character() {
        assert_eq!(gauge(0.0, 4), "░░░░");
        assert_eq!(gauge(0.5, 4), "██░░");
        assert_eq!(gauge(0.53125, 4), "██▏░");
        assert_eq!(gauge(1.0, 4), "████");
    }
}

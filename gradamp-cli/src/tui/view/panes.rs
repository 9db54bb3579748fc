//! The panes that show text: the run and the log.

use gradamp_core::amplify::Phase;
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::{Color, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::super::dashboard::Dashboard;
use super::frame::{FAINT, FIRM};
use super::numbers::percent;
use gradamp_study::duration::duration;
use gradamp_study::rate::rate;
use gradamp_study::run_folder::lines::EpochLine;

/// Draws the model, the data, the device and the phases. Returns the number of rows by which the pane can be scrolled.
pub fn run(frame: &mut Frame<'_>, area: Rect, dashboard: &Dashboard, scroll: usize) -> usize {
    let mut lines = phases(dashboard);
    lines.push(Line::raw(""));
    let mut fact = |name: &str, value: String| {
        lines.push(Line::from(vec![Span::styled(format!("{name:<12}"), FAINT), Span::raw(value)]));
    };
    for (name, epoch) in [("best", &dashboard.best), ("last", &dashboard.epoch)] {
        if let Some(epoch) = epoch {
            fact(name, of_epoch(epoch));
        }
    }
    if let Some(record) = &dashboard.record {
        fact("model", format!("{}, {} parameters", record.model, record.parameters));
        fact("data", record.dataset.clone());
        fact("device", record.device.clone());
        fact("seed", record.seed.to_string());
        fact("version", record.version.clone());
        fact("started", record.start.clone());
        for session in &record.resumed {
            fact("continued", format!("{} at step {}, on {}", session.start, session.step, session.device));
        }
        if let Some(end) = &record.end {
            fact("ended", end.clone());
        }
        if let Some(error) = &record.error {
            fact("error", error.clone());
        }
    }
    if let Some(epoch) = dashboard.epoch.as_ref().filter(|epoch| epoch.total_seconds > 0.0) {
        fact("trained for", duration(epoch.total_seconds));
    }
    let limit = lines.len().saturating_sub(usize::from(area.height));
    let shown: Vec<Line<'_>> = lines.into_iter().skip(scroll.min(limit)).collect();
    frame.render_widget(Paragraph::new(shown), area);
    limit
}

fn of_epoch(line: &EpochLine) -> String {
    let mut text = format!("epoch {}: train {}", line.epoch.saturating_add(1), percent(line.train_accuracy));
    for (split, accuracy) in [("validation", line.validation_accuracy), ("test", line.test_accuracy)] {
        if let Some(accuracy) = accuracy {
            text += &format!(", {split} {}", percent(accuracy));
        }
    }
    text
}

fn phases(dashboard: &Dashboard) -> Vec<Line<'static>> {
    let current = dashboard.strategy.phase_at(dashboard.current_epoch()).map(|(phase, _)| phase);
    let mut lines = vec![Line::styled("  phase  epochs     learning rate     amplification", FIRM)];
    let mut first = 0;
    for (i, phase) in dashboard.strategy.phases.iter().enumerate() {
        let end = first + phase.epochs;
        let mark = if current == Some(i) { "▶" } else { " " };
        let span = if phase.epochs == 1 { end.to_string() } else { format!("{}-{end}", first + 1) };
        let text = format!("{mark} {:<5}  {span:<9}  {:<16}  ", i + 1, rates(dashboard, first, phase));
        let amplified = match phase.amplify.is_on() {
            true => Span::styled("on", Style::new().fg(Color::Yellow)),
            false => Span::styled("off", FAINT),
        };
        lines.push(Line::from(vec![Span::raw(text), amplified]));
        first = end;
    }
    lines
}

/// The learning rates in the first and the last step of a phase.
fn rates(dashboard: &Dashboard, first: usize, phase: &Phase) -> String {
    let Some(steps) = dashboard.steps_per_epoch() else { return "-".into() };
    let begin = (first as u64).saturating_mul(steps);
    let end = ((first + phase.epochs) as u64).saturating_mul(steps).saturating_sub(1);
    let at = |step| dashboard.strategy.lr_at(step, steps, &[]).map_or("-".into(), rate);
    match (at(begin), at(end)) {
        (a, b) if a == b => a,
        (a, b) => format!("{a} to {b}"),
    }
}

/// Draws the messages, with the last one at the bottom. Returns the number of rows by which the pane can be scrolled.
pub fn log(frame: &mut Frame<'_>, area: Rect, dashboard: &Dashboard, scroll: usize) -> usize {
    let (rows, width) = (usize::from(area.height), usize::from(area.width));
    if rows == 0 || width == 0 {
        return 0;
    }
    let mut lines: Vec<String> = dashboard.log.iter().flat_map(|text| wrapped(text, width)).collect();
    let limit = lines.len().saturating_sub(rows);
    lines.truncate(lines.len() - scroll.min(limit));
    let shown = lines.split_off(lines.len().saturating_sub(rows));
    let shown: Vec<Line<'_>> = shown.iter().map(|line| message(line)).collect();
    frame.render_widget(Paragraph::new(shown), area);
    limit
}

/// Draws the last messages, each cut to one row.
pub fn ticker(frame: &mut Frame<'_>, area: Rect, dashboard: &Dashboard) {
    let first = dashboard.log.len().saturating_sub(usize::from(area.height));
    let lines: Vec<Line<'_>> = dashboard.log.iter().skip(first).map(|line| message(line)).collect();
    frame.render_widget(Paragraph::new(lines), area);
}

fn message(text: &str) -> Line<'_> {
    let style = if text.starts_with("error") { Style::new().fg(Color::Red) } else { FAINT };
    Line::styled(text, style)
}

/// Breaks a text into rows, at blanks if possible. All rows except the first are indented.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut rows = Vec::new();
    let mut row = String::new();
    let mut used = 0;
    for word in text.split_inclusive(' ') {
        let length = word.chars().count();
        if used + word.trim_end().chars().count() > width && used > 2 {
            rows.push(std::mem::replace(&mut row, "  ".into()));
            used = 2;
        }
        row += word;
        used += length;
    }
    rows.push(row);
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_messages_are_broken_at_blanks() {
        assert_eq!(wrapped("a short one", 20), ["a short one"]);
        assert_eq!(wrapped("one two three", 9), ["one two ", "  three"]);
        assert_eq!(wrapped("an unbreakable word", 5), ["an ", "  unbreakable ", "  word"]);
        assert_eq!(wrapped("", 5), [""]);
    }
}

//! Draws the table of a sweep's runs.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};

use super::table::{Row, Table};
use crate::tui::Role;
use crate::tui::view::{FAINT, FIRM, fitted, percent};
use gradamp_study::columns::clip;
use gradamp_study::duration::duration;
use gradamp_study::run_folder::RunStatus;

/// The width of all columns except the name: status, epochs, test accuracy, best, time.
const FIGURES: usize = 13 + 12 + 8 + 8 + 13;

/// Draws the table.
pub fn draw(frame: &mut Frame<'_>, table: &Table, role: Role) {
    let rows = [Constraint::Length(2), Constraint::Length(1), Constraint::Min(0), Constraint::Length(1)];
    let [head, columns, body, foot] = Layout::vertical(rows).areas(frame.area());
    let name = fitted([Span::styled("sweep", FIRM), Span::raw(table.root.display().to_string())], head.width);
    frame.render_widget(ratatui::widgets::Paragraph::new(vec![name, counts(table, head.width)]), head);

    let width = usize::from(body.width);
    let longest = table.rows.iter().map(|row| row.name.chars().count()).max().unwrap_or(0).max(3);
    // On a narrow screen, only the beginning of the name, the status and the accuracy are shown.
    let is_narrow = width < 24 + FIGURES;
    let figures = if is_narrow { 13 + 8 } else { FIGURES };
    let name_width = longest.min(width.saturating_sub(figures + 2)).max(3);
    let title = ["status", "epochs", "test", "best", "time"].map(str::to_owned);
    let row_width = name_width + if is_narrow { 1 + 13 + 7 } else { 1 + 13 + 11 + 8 + 8 + 13 };
    let mut header = cells("run", &title, name_width, is_narrow);
    if table.rows.iter().any(|row| row.task.is_some()) {
        header = with_task(&header, "task", row_width);
    }
    frame.render_widget(Line::styled(format!("  {header}"), FIRM), columns);
    let visible = usize::from(body.height);
    let first = (table.chosen + 1).saturating_sub(visible).min(table.rows.len().saturating_sub(visible));
    let mut lines = Vec::new();
    for (i, row) in table.rows.iter().enumerate().skip(first).take(visible) {
        let mut text = cells(&row.name, &figures_of(row), name_width, is_narrow);
        if let Some(task) = &row.task {
            text = with_task(&text, task, row_width);
        }
        let is_chosen = i == table.chosen && role != Role::Print;
        let mark = if is_chosen { "▶" } else { " " };
        let style = Style::new().fg(color(row));
        let style = if is_chosen { style.add_modifier(Modifier::BOLD) } else { style };
        lines.push(Line::styled(format!("{mark} {text}"), style));
    }
    frame.render_widget(ratatui::widgets::Paragraph::new(lines), body);
    let error = table.rows.get(table.chosen).and_then(|row| row.error.as_ref());
    let foot_line = match (&table.trouble, error, role) {
        (Some(trouble), ..) => Line::styled(trouble.clone(), Style::new().fg(Color::Red)),
        (None, _, _) if table.cluster_note().is_some() => {
            Line::raw(table.cluster_note().unwrap_or_default().to_owned())
        }
        (None, _, Role::Print) => return,
        (None, Some(error), _) => Line::styled(error.clone(), Style::new().fg(Color::Red)),
        (None, None, _) => {
            let keys = ["↑↓ choose", "enter open", "q quit"].map(|key| Span::styled(key, FAINT));
            fitted(keys, foot.width)
        }
    };
    frame.render_widget(foot_line, foot);
}

/// `12 runs: 5 finished  2 running  5 pending`
fn counts(table: &Table, width: u16) -> Line<'static> {
    let mut words: Vec<(&str, usize)> = Vec::new();
    for row in &table.rows {
        match words.iter_mut().find(|(word, _)| *word == row.status.name()) {
            Some((_, n)) => *n += 1,
            None => words.push((row.status.name(), 1)),
        }
    }
    let parts = words.into_iter().map(|(word, n)| format!("{n} {}", word.replace('_', " ")));
    let runs = match table.rows.len() {
        1 => "1 run".to_owned(),
        n => format!("{n} runs"),
    };
    fitted(std::iter::once(runs).chain(parts).map(Span::raw), width)
}

fn figures_of(row: &Row) -> [String; 5] {
    let (done, epochs) = row.epochs;
    let done = if row.is_running() { format!("{done:.1}") } else { format!("{done:.0}") };
    let accuracy = |value: Option<f64>| value.map_or("-".into(), percent);
    let time = match row.seconds {
        None => "-".into(),
        Some(seconds) if row.is_running() => format!("{} left", duration(seconds)),
        Some(seconds) => duration(seconds),
    };
    [
        row.status.name().replace('_', " "),
        format!("{done}/{epochs}"),
        accuracy(row.accuracy.0),
        accuracy(row.accuracy.1),
        time,
    ]
}

fn cells(name: &str, figures: &[String; 5], width: usize, is_narrow: bool) -> String {
    let [status, epochs, last, best, time] = figures;
    let name = clip(name, width);
    match is_narrow {
        true => format!("{name:<width$} {status:<13}{last:>7}"),
        false => format!("{name:<width$} {status:<13}{epochs:>11}{last:>8}{best:>8}  {time}"),
    }
}

/// A row, padded to `width` characters, and what Slurm says about its task.
fn with_task(row: &str, task: &str, width: usize) -> String {
    format!("{row:<width$}  {task}")
}

fn color(row: &Row) -> Color {
    match row.status {
        RunStatus::Running => Color::Green,
        RunStatus::Finished => Color::Reset,
        RunStatus::Failed | RunStatus::Diverged => Color::Red,
        RunStatus::StoppedEarly | RunStatus::Interrupted => Color::Yellow,
        RunStatus::Pending | RunStatus::Killed | RunStatus::StepLimit => Color::Gray,
    }
}

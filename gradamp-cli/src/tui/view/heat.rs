//! Draws gradients as a heat map, with a row for each site and a column for each epoch. Larger values have denser
//! characters.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::super::dashboard::Dashboard;
use super::super::flow::Measure;
use super::super::ui::Ui;
use super::frame::{FAINT, FIRM, fitted};
use super::numbers::short;
use super::plot::EpochAxis;
use gradamp_study::columns::clip;

/// The characters and colours for small to large values. Colours distinguish more values; the characters also work on
/// a terminal without colours.
const LEVELS: [(&str, Color); 8] = [
    ("░", Color::Blue),
    ("░", Color::Cyan),
    ("▒", Color::Cyan),
    ("▒", Color::Green),
    ("▓", Color::Green),
    ("▓", Color::Yellow),
    ("█", Color::Yellow),
    ("█", Color::Red),
];

/// Draws all sites into the available rows. If there are more sites than rows, neighbouring sites share a row.
pub fn joined(frame: &mut Frame<'_>, area: Rect, dashboard: &Dashboard, measure: Measure) {
    let sites = dashboard.flow.sites().len();
    let rows = usize::from(area.height.saturating_sub(3)).min(sites);
    let groups = (0..rows).map(|row| (row * sites / rows, (row + 1) * sites / rows)).collect();
    draw(frame, area, dashboard, measure, groups);
}

/// Draws a row for each site. Returns the number of rows by which the pane can be scrolled.
pub fn scrolled(frame: &mut Frame<'_>, area: Rect, dashboard: &Dashboard, ui: &Ui) -> usize {
    let sites = dashboard.flow.sites().len();
    let rows = usize::from(area.height.saturating_sub(3));
    let limit = sites.saturating_sub(rows);
    let first = ui.scroll.min(limit);
    let groups = (first..sites.min(first + rows)).map(|site| (site, site + 1)).collect();
    draw(frame, area, dashboard, ui.measure, groups);
    limit
}

/// Draws one row for each group of sites. A group is a range of sites.
fn draw(
    frame: &mut Frame<'_>,
    area: Rect,
    dashboard: &Dashboard,
    measure: Measure,
    groups: Vec<(usize, usize)>,
) {
    if area.is_empty() {
        return;
    }
    let rows = [
        Constraint::Length(1),
        Constraint::Length(groups.len() as u16),
        Constraint::Length(1),
        Constraint::Length(1),
    ];
    let [head, middle, rule, labels] = Layout::vertical(rows).areas(area);
    let range = dashboard.flow.range(measure, is_logarithmic(measure));
    frame.render_widget(title(measure, range, head.width), head);
    if dashboard.flow.sites().is_empty() {
        let none = "no gradients were measured yet (train.gradients_every; shown after each epoch)";
        frame.render_widget(
            Line::styled(none, FAINT),
            Rect { height: 1.min(area.height - 1), y: area.y + 1, ..area },
        );
        return;
    }
    let names: Vec<String> = groups.iter().map(|&group| name(dashboard, group)).collect();
    let longest = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    let name_width = longest.min(usize::from(area.width) / 3) as u16;
    // To the right of the heat map are the last value and the gain at the site.
    let value_width = if area.width >= 40 { 14 } else { 0 };
    let picture = area.width.saturating_sub(name_width + 1 + value_width);
    let x = EpochAxis::new(dashboard);
    let lines: Vec<Line<'_>> = groups
        .iter()
        .zip(&names)
        .map(|(&group, name)| {
            let name = clip(name, usize::from(name_width));
            let mut spans = vec![Span::raw(format!("{name:>width$} ", width = usize::from(name_width)))];
            spans.extend((0..picture).map(|column| {
                let value =
                    x.epoch(column, picture).and_then(|epoch| mean(dashboard, group, measure, Some(epoch)));
                value.map_or(Span::raw(" "), |value| shade(value, range, measure))
            }));
            if value_width > 0 {
                spans.push(figures(dashboard, group, measure));
            }
            Line::from(spans)
        })
        .collect();
    frame.render_widget(Paragraph::new(lines), middle);
    let shifted = |row: Rect| {
        Rect { x: row.x + (name_width + 1).min(row.width), width: picture, ..row }.intersection(row)
    };
    frame.render_widget(x.rule(picture), shifted(rule));
    frame.render_widget(x.labels(picture), shifted(labels));
}

fn title(measure: Measure, range: Option<(f64, f64)>, width: u16) -> Line<'static> {
    let mut parts = vec![Span::styled(measure.name(), FIRM)];
    if let Some((low, high)) = range {
        let shades: String = LEVELS.iter().map(|(shade, _)| *shade).collect();
        parts.push(Span::styled(format!("{} {shades} {}", short(low), short(high)), FAINT));
    }
    fitted(parts, width)
}

fn name(dashboard: &Dashboard, (first, end): (usize, usize)) -> String {
    let sites = dashboard.flow.sites();
    let site = sites.get(first).map_or("", String::as_str);
    if end - first > 1 { format!("{site} +{}", end - first - 1) } else { site.to_owned() }
}

/// Norms are drawn on a logarithmic scale, because they span powers of ten.
fn is_logarithmic(measure: Measure) -> bool {
    measure != Measure::Zeros
}

/// The mean of the finite values at some sites, in an epoch or at the end; NaN if there are none.
fn mean(
    dashboard: &Dashboard,
    (first, end): (usize, usize),
    measure: Measure,
    epoch: Option<usize>,
) -> Option<f64> {
    let flow = &dashboard.flow;
    let cells =
        (first..end).filter_map(|site| epoch.map_or_else(|| flow.last(site), |epoch| flow.cell(site, epoch)));
    let values: Vec<f64> = cells.filter_map(|cell| cell.value(measure)).collect();
    let finite: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
    match (values.is_empty(), finite.is_empty()) {
        (true, _) => None,
        (_, true) => Some(f64::NAN),
        _ => Some(finite.iter().sum::<f64>() / finite.len() as f64),
    }
}

fn shade(value: f64, range: Option<(f64, f64)>, measure: Measure) -> Span<'static> {
    if !value.is_finite() {
        return Span::styled("!", Style::new().fg(Color::Red));
    }
    let scale = |value: f64| if is_logarithmic(measure) { value.ln() } else { value };
    let Some((low, high)) = range.map(|(low, high)| (scale(low), scale(high))) else {
        return Span::raw("·");
    };
    let place = (scale(value) - low) / (high - low).max(1e-12);
    if !place.is_finite() {
        return Span::styled("·", FAINT); // a norm of 0 has no logarithm
    }
    let level = (place * LEVELS.len() as f64).clamp(0.0, LEVELS.len() as f64 - 1.0) as usize;
    let (shade, color) = LEVELS[level];
    Span::styled(shade, Style::new().fg(color))
}

/// The last value, and the gain if amplification acts at the site.
fn figures(dashboard: &Dashboard, group: (usize, usize), measure: Measure) -> Span<'static> {
    let value = mean(dashboard, group, measure, None).map_or("-".into(), short);
    let gain = mean(dashboard, group, Measure::Gain, None).filter(|gain| (gain - 1.0).abs() > 1e-3);
    match gain {
        Some(gain) if measure != Measure::Gain && gain.is_finite() => {
            Span::styled(format!(" {value:>7} ×{}", short(gain)), Style::new().fg(Color::Yellow))
        }
        _ => Span::raw(format!(" {value:>7}")),
    }
}

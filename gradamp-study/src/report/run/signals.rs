//! What tells a vanishing gradient from a dead forward path: signals on their way forward, noise and movement on the way back.

use gradamp_core::train::SiteSignals;

use super::super::chart::{Axis, ColourScale, Format, Heatmap};
use super::super::figure::Figure;
use super::super::html::Block;
use super::super::subject::Subject;
use super::gradients::Grid;

/// A forward signal that is this small beside that of the first site is called dead.
const DEAD: f64 = 1e-3;

/// The figures of one run; empty if no signals were measured.
pub fn blocks_of_run(run: &Subject) -> Vec<Block> {
    let figures = [forward(run), saturated(run), noise(run), angle(run)];
    figures.into_iter().flatten().map(Block::Figure).collect()
}

fn grid(run: &Subject, value: impl Fn(&SiteSignals) -> Option<f64>) -> Option<Grid> {
    let grid = Grid::new(run, |gradient| value(gradient.signals.as_ref()?));
    let is_measured = grid.all().any(f64::is_finite);
    is_measured.then_some(grid)
}

/// A map of `grid`, with its values as a table of the same title.
fn figure(
    run: &Subject,
    id: &str,
    title: &str,
    words: String,
    grid: &Grid,
    axis: Axis,
    format: Format,
) -> Figure {
    let scale = ColourScale::sequential(axis, grid.all());
    let map = Heatmap { has_legend: true, ..grid.heatmap(&scale) };
    Figure::new(&run.id(id), &run.title(title), words, map).with_data(grid.table(title, format))
}

fn forward(run: &Subject) -> Option<Figure> {
    let grid = grid(run, |signals| Some(signals.output_deviation))?;
    let axis = Axis::log("deviation of a unit over examples", Format::Number);
    let words = forward_in_words(&grid);
    let figure =
        figure(run, "forward-signal", "Forward signal, site by epoch", words, &grid, axis, Format::Number);
    Some(figure.with_note(
        "The standard deviation of a unit over the examples of half a batch, as the root mean square over the units. Where it \
         is near 0, all images look the same to the layers behind: the forward path is dead, and a larger gradient does not \
         help. Where it is not, but the gradient is small, the gradient vanishes.",
    ))
}

/// Where the signal of the last measured epoch is weakest, and whether it is dead there.
fn forward_in_words(grid: &Grid) -> String {
    let column = grid.epochs.len().saturating_sub(1);
    let at = |row: usize| grid.values[row][column];
    let epoch = grid.epochs.last().map_or(0, |epoch| epoch + 1);
    let number = |value| Format::Number.text(value);
    let weakest =
        (0..grid.sites.len()).filter(|&row| at(row).is_finite()).min_by(|&a, &b| at(a).total_cmp(&at(b)));
    let Some(weakest) = weakest.filter(|_| at(0).is_finite()) else {
        return format!("In epoch {epoch} the forward signal was not finite.");
    };
    let dead = (0..grid.sites.len()).find(|&row| at(row) <= DEAD * at(0));
    let verdict = match dead {
        Some(row) => format!(
            "The forward path is dead from {} on: there the signal is less than a thousandth of that at the first site.",
            grid.sites[row]
        ),
        None => "The forward path is alive at every site.".into(),
    };
    format!(
        "{verdict} In epoch {epoch} the deviation is {} at the first site ({}) and smallest, {}, at {}.",
        number(at(0)),
        grid.sites[0],
        number(at(weakest)),
        grid.sites[weakest]
    )
}

fn saturated(run: &Subject) -> Option<Figure> {
    let grid = grid(run, |signals| signals.saturated)?;
    let axis = Axis::linear("share of saturated units", Format::Percent(0)).including(&[0.0, 1.0]);
    let words = extremes(&grid, "units that are saturated", Format::Percent(1));
    let figure = figure(
        run,
        "saturated",
        "Saturated units, activation by epoch",
        words,
        &grid,
        axis,
        Format::Percent(1),
    );
    Some(figure.with_note(
        "Outputs through which little gradient flows: exact zeros of a ReLU, |y| > 0.97 of a tanh, |2y − 1| > 0.97 of a sigmoid.",
    ))
}

fn noise(run: &Subject) -> Option<Figure> {
    let grid = grid(run, SiteSignals::signal_to_noise)?;
    let axis = Axis::log("signal-to-noise ratio of the gradient", Format::Number);
    let words = extremes(&grid, "the ratio", Format::Number);
    let title = "Signal-to-noise ratio of the gradient, layer by epoch";
    let figure = figure(run, "signal-to-noise", title, words, &grid, axis, Format::Number);
    Some(figure.with_note(
        "The squared norm of the mean gradient of a layer's parameters, over the variance of a batch's gradient. It does not change if \
         the gradient is amplified. A cross stands for an estimate of 0 or less: noise prevails.",
    ))
}

fn angle(run: &Subject) -> Option<Figure> {
    let grid = grid(run, |signals| signals.angular_update)?;
    let axis = Axis::log("angle of a step, radians", Format::Number);
    let words = extremes(&grid, "the angle", Format::Number);
    let title = "Angular update, layer by epoch";
    let figure = figure(run, "angular-update", title, words, &grid, axis, Format::Number);
    Some(figure.with_note("The angle between a layer's parameters before and after a step, in radians."))
}

/// Where and how large the smallest and the largest value of the last epoch are.
fn extremes(grid: &Grid, what: &str, format: Format) -> String {
    let column = grid.epochs.len().saturating_sub(1);
    let epoch = grid.epochs.last().map_or(0, |epoch| epoch + 1);
    let found = grid.sites.iter().zip(&grid.values).map(|(site, row)| (site, row[column]));
    let mut found: Vec<(&String, f64)> = found.filter(|(_, value)| value.is_finite()).collect();
    found.sort_by(|a, b| a.1.total_cmp(&b.1));
    match (found.first(), found.last()) {
        (Some((least, low)), Some((most, high))) => format!(
            "In epoch {epoch}, {what}: {} at the least ({least}) and {} at the most ({most}).",
            format.text(*low),
            format.text(*high)
        ),
        _ => format!("In epoch {epoch} nothing was finite."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid(values: [f64; 3]) -> Grid {
        let sites = ["fc1", "act1", "fc2"].map(str::to_owned).to_vec();
        Grid { sites, epochs: vec![0], values: values.map(|value| vec![value]).to_vec() }
    }

    #[test]
    fn a_dead_forward_path_is_named_with_the_site_where_it_begins() {
        let alive = forward_in_words(&grid([0.5, 0.01, 0.2]));
        assert_eq!(
            alive,
            "The forward path is alive at every site. In epoch 1 the deviation is 0.5 at the first site (fc1) and smallest, \
             0.01, at act1."
        );
        let dead = forward_in_words(&grid([0.5, 1e-4, 1e-9]));
        assert!(dead.starts_with("The forward path is dead from act1 on: "), "{dead}");
        assert!(dead.ends_with("at fc2."), "{dead}");
        let broken = forward_in_words(&grid([f64::NAN; 3]));
        assert_eq!(broken, "In epoch 1 the forward signal was not finite.");
    }
}

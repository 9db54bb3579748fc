//! Which sites were amplified, when, and by how much.

use gradamp_core::amplify::{DrawRecord, Through};

use super::super::chart::{Axis, ColourScale, Format};
use super::super::figure::Figure;
use super::super::html::{Block, Table};
use super::super::subject::{Subject, spans_in_words};
use super::gradients::Grid;

/// The figure of a run's draws, or a sentence if there were none.
pub fn blocks_of_run(run: &Subject) -> Vec<Block> {
    let grid = factors(run);
    if grid.is_empty() {
        return vec![Block::Text(format!("{}: no site was amplified.", run.name))];
    }
    let axis = Axis::log("factor", Format::Factor);
    let axis = if grid.all().any(|factor| factor <= 0.0) { Axis { log: false, ..axis } } else { axis };
    // The scale begins at 1, so that the colour shows the size of the factor even if all factors are equal.
    let scale = ColourScale::sequential(axis, grid.all().chain([1.0]));
    let placement = run.data.draws.last().map(|draw| word(&draw.placement)).unwrap_or_default();
    let mut heatmap = grid.heatmap(&scale);
    (heatmap.has_legend, heatmap.crosses_empty) = (true, false);
    let note = format!(
        "The factor is that of the epoch's steps together: their geometric mean, where sites are drawn anew within an \
         epoch. Placement: {placement}.{}",
        through(run)
    );
    let data = frequencies(run, &grid);
    let figure =
        Figure::new(&run.id("amplified-sites"), &run.title("Amplified sites"), words(run, &grid), heatmap);
    vec![Block::Figure(figure.with_note(&note).with_data(data))]
}

/// The word for a setting in files.
fn word(setting: &impl serde::Serialize) -> String {
    let value = serde_json::to_value(setting).ok();
    value.and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

/// A sentence about what the factors multiply, unless it is the gradient.
fn through(run: &Subject) -> String {
    match run.data.settings.config.amplification.through {
        Through::Gradient => String::new(),
        Through::StepLength | Through::StepLengthPerLayer => format!(
            " The run is a control: gradients kept their direction and got the length that the factors give them \
             (amplification.through = {}).",
            word(&run.data.settings.config.amplification.through)
        ),
        other => format!(
            " Gradients stayed as they were: the factors acted through amplification.through = {}.",
            word(&other)
        ),
    }
}

/// The geometric mean of the factor over an epoch's steps, by site and epoch; NaN if the site was not amplified in the epoch.
fn factors(run: &Subject) -> Grid {
    let data = &run.data;
    let mut order: Vec<&str> = Vec::new();
    // The forward order is known from the gradients. Without gradients, the order of the draws is used.
    let measured = data.gradients.iter().map(|line| line.gradient.site.as_str());
    let drawn = data.draws.iter().flat_map(|draw| draw.sites.iter().map(String::as_str));
    let first_epoch = data.gradients.first().map(|line| line.epoch);
    let count = data.gradients.iter().take_while(|line| Some(line.epoch) == first_epoch).count();
    let is_drawn: std::collections::HashSet<&str> = drawn.clone().collect();
    for site in measured.take(count).filter(|site| is_drawn.contains(site)).chain(drawn) {
        if !order.contains(&site) {
            order.push(site);
        }
    }
    let epochs: Vec<usize> = data.epochs.iter().map(|line| line.epoch).collect();
    let mut values = vec![vec![f64::NAN; epochs.len()]; order.len()];
    let place = |site: &str| order.iter().position(|found| *found == site);
    let mut begin = 0;
    for (column, line) in data.epochs.iter().enumerate() {
        for (draw, steps) in in_force(&data.draws, line.epoch, begin, line.step) {
            let share = steps as f64 / (line.step - begin).max(1) as f64;
            for (site, factor) in draw.sites.iter().zip(&draw.factors).filter(|_| line.amplified) {
                if let Some(row) = place(site) {
                    let before = values[row][column];
                    let before = if before.is_nan() { 1.0 } else { before };
                    values[row][column] = before * f64::from(*factor).powf(share);
                }
            }
        }
        begin = line.step;
    }
    Grid { sites: order.into_iter().map(str::to_owned).collect(), epochs, values }
}

/// The draws that hold during the steps `begin..end` of `epoch`, each with the number of its steps.
fn in_force(draws: &[DrawRecord], epoch: usize, begin: u64, end: u64) -> Vec<(&DrawRecord, u64)> {
    // A draw holds until the next draw.
    let ends = draws.iter().skip(1).map(|draw| draw.step).chain([u64::MAX]);
    draws
        .iter()
        .zip(ends)
        .filter(|(draw, _)| draw.epoch <= epoch)
        .map(|(draw, until)| (draw, until.min(end).saturating_sub(draw.step.max(begin))))
        .filter(|(_, steps)| *steps > 0)
        .collect()
}

fn words(run: &Subject, grid: &Grid) -> String {
    let factors: Vec<f64> =
        run.data.draws.iter().flat_map(|draw| draw.factors.iter().map(|factor| f64::from(*factor))).collect();
    let least = factors.iter().copied().fold(f64::INFINITY, f64::min);
    let most = factors.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let factor = |value| Format::Factor.text(value);
    let range = if least == most {
        format!("by {}", factor(least))
    } else {
        format!("by {} to {}", factor(least), factor(most))
    };
    let sizes = run.data.draws.iter().map(|draw| draw.sites.len()).filter(|size| *size > 0);
    let (fewest, largest) =
        sizes.fold((usize::MAX, 0), |(least, most), size| (least.min(size), most.max(size)));
    let sizes =
        if fewest == largest { largest.to_string() } else { format!("between {fewest} and {largest}") };
    format!(
        "In epochs {}, {sizes} sites at a time were amplified, {range}; {} sites took part.",
        spans_in_words(&run.amplified_spans()),
        grid.sites.len()
    )
}

/// How often each site was amplified.
fn frequencies(run: &Subject, grid: &Grid) -> Table {
    let amplified = run.data.epochs.iter().filter(|line| line.amplified).count();
    let mut table = Table::new(
        "Amplified sites",
        &["site", "epochs amplified", "of amplified epochs", "greatest factor"],
    );
    for (site, row) in grid.sites.iter().zip(&grid.values) {
        let count = row.iter().filter(|factor| factor.is_finite()).count();
        let most = row.iter().copied().filter(|factor| factor.is_finite()).fold(f64::NAN, f64::max);
        let share = count as f64 / amplified.max(1) as f64;
        table.add(site, [count.to_string(), Format::Percent(0).text(share), Format::Factor.text(most)]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use gradamp_core::amplify::Placement;

    #[test]
    fn a_draw_is_in_force_until_the_next_one() {
        let draw = |epoch, step| DrawRecord {
            epoch,
            step,
            sites: vec!["bn1".into()],
            factors: vec![2.0],
            placement: Placement::Output,
            power: None,
        };
        let draws = [draw(1, 10), draw(1, 14), draw(3, 30)];
        let steps = |epoch, begin, end| -> Vec<(u64, u64)> {
            in_force(&draws, epoch, begin, end).iter().map(|(draw, steps)| (draw.step, *steps)).collect()
        };
        assert_eq!(steps(0, 0, 10), []);
        assert_eq!(steps(1, 10, 20), [(10, 4), (14, 6)]);
        assert_eq!(steps(2, 20, 30), [(14, 10)]);
        assert_eq!(steps(3, 30, 40), [(30, 10)]);
    }
}

//! The expected gain of each layer's gradients.

use serde_json::Value;

use super::super::chart::{Axis, Format, Intervals, Item, Stroke, significant};
use super::super::figure::Figure;
use super::super::html::{Block, Table};
use super::super::subject::Subject;

/// Most rows of the chart; the table holds all.
const MOST_ROWS: usize = 60;

/// A figure for every phase that amplifies.
pub fn blocks_of_run(run: &Subject) -> Vec<Block> {
    let Some(phases) = run.data.record.expected_gains.as_array() else { return Vec::new() };
    let figure = |phase: &Value| {
        let number = phase.get("phase")?.as_u64()? + 1;
        if let Some(why) = phase.get("unknown").and_then(Value::as_str) {
            return Some(Block::Text(format!("{}: the gains of phase {number} {why}", run.name)));
        }
        let gains: Vec<Gain> = phase.get("gains")?.as_array()?.iter().filter_map(Gain::read).collect();
        (!gains.is_empty()).then(|| Block::Figure(figure(run, number, &gains)))
    };
    phases.iter().filter_map(figure).collect()
}

/// The gain of one layer's parameters.
#[derive(Clone, Debug, PartialEq)]
struct Gain {
    path: String,
    least: f64,
    most: f64,
}

impl Gain {
    fn read(value: &Value) -> Option<Self> {
        let path = value.get("path")?.as_str()?.to_owned();
        let gain = value.get("gain")?;
        if let Some(factor) = gain.get("factor").and_then(Value::as_f64) {
            return Some(Self { path, least: factor, most: factor });
        }
        let bounds = gain.get("depends_on_path")?;
        Some(Self { path, least: bounds.get("min")?.as_f64()?, most: bounds.get("max")?.as_f64()? })
    }

    /// The geometric mean of the bounds.
    fn middle(&self) -> f64 {
        (self.least * self.most).sqrt()
    }
}

/// Joins a layer's weight and bias if their gains are equal.
fn joined(gains: &[Gain]) -> Vec<Gain> {
    let mut layers: Vec<Gain> = Vec::new();
    for gain in gains {
        let layer = gain.path.rsplit_once('.').map_or(gain.path.as_str(), |(layer, _)| layer);
        let is_known = layers
            .last()
            .is_some_and(|last| last.path == layer && (last.least, last.most) == (gain.least, gain.most));
        if !is_known {
            layers.push(Gain { path: layer.to_owned(), ..gain.clone() });
        }
    }
    layers
}

fn figure(run: &Subject, phase: u64, gains: &[Gain]) -> Figure {
    let layers = joined(gains);
    let step = layers.len().div_ceil(MOST_ROWS).max(1);
    let factor = |value| Format::Factor.text(value);
    let item = |layer: &Gain| Item {
        name: layer.path.clone(),
        value: layer.middle(),
        interval: (layer.least < layer.most).then_some((layer.least, layer.most)),
        stroke: Stroke::Colour(1),
        text: (layer.least < layer.most)
            .then(|| format!("{} to {}", factor(layer.least), significant(layer.most, 3))),
    };
    let chart = Intervals {
        axis: Axis::log("mean gain of the gradient", Format::Factor),
        items: layers.iter().step_by(step).map(item).collect(),
        reference: Some((1.0, None)),
    };
    let most = layers.iter().max_by(|a, b| a.most.total_cmp(&b.most));
    let most = most.map(|gain| format!("most at {}, up to {}", gain.path, factor(gain.most)));
    let dependent = layers.iter().filter(|gain| gain.least < gain.most).count();
    let dependence = match dependent {
        0 => "It is the same on all paths: a multiplier for each parameter's gradient".to_owned(),
        n => {
            format!("For {n} of {} layers it depends on the path, and the bar holds its bounds", layers.len())
        }
    };
    let words = format!(
        "Phase {phase} multiplies gradients, {}. {dependence}.",
        most.unwrap_or_else(|| "by 1".into())
    );
    let mut table = Table::new("Mean gain of every parameter's gradient", &["parameter", "least", "most"]);
    for gain in gains {
        table.add(&gain.path, [factor(gain.least), factor(gain.most)]);
    }
    let id = run.id(&format!("gains-phase-{phase}"));
    let title = run.title(&format!("Expected gain by layer, phase {phase}"));
    let figure = Figure::new(&id, &title, words, chart).with_data(table);
    if step > 1 { figure.with_note("Not every layer is drawn; the table holds all.") } else { figure }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn gains_are_read_as_they_are_written_and_joined_by_layer() {
        let values = [
            json!({"path": "conv1.weight", "gain": {"depends_on_path": {"min": 1.0, "max": 4.0}}}),
            json!({"path": "bn1.weight", "gain": {"factor": 2.0}}),
            json!({"path": "bn1.bias", "gain": {"factor": 2.0}}),
            json!({"path": "linear.weight", "gain": {"factor": 1.0}}),
            json!({"path": "nothing"}),
        ];
        let gains: Vec<Gain> = values.iter().filter_map(Gain::read).collect();
        assert_eq!(gains.len(), 4);
        let layers = joined(&gains);
        assert_eq!(
            layers.iter().map(|gain| gain.path.as_str()).collect::<Vec<_>>(),
            ["conv1", "bn1", "linear"]
        );
        assert_eq!((layers[0].middle(), layers[1].middle()), (2.0, 2.0));
    }
}

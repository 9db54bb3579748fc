//! What cells are compared with: baselines, and the controls of amplified cells.

use std::collections::HashMap;

use gradamp_core::amplify::{AmplificationSettings, Amplify, Curve, Phase};
use serde_json::Value as Json;

use super::axis::{AxisValue, Values};
use super::draft::{Draft, Place, cell_name, settings_at};
use super::names;
use super::plan::Role;
use super::study::{Baseline, Study};
use crate::config::tree::{Node, Origin, Value};
use crate::config::{Config, KeyError, Resolved};

/// Through what a factor acts.
const THROUGH: &str = "amplification.through";
/// The values of [`THROUGH`] of a cell's controls.
const CONTROLS: [&str; 1] = ["step_length"];

/// Puts the baselines before the cells, each once; a cell with the settings of its baseline becomes the
/// baseline. Also returns, for each axis, whether it changes nothing in the baseline.
pub fn with_baselines(
    study: &Study,
    places: &[Place],
    mut cells: Vec<Draft>,
) -> Result<(Vec<bool>, Vec<Draft>), KeyError> {
    let free: Vec<bool> = (0..study.axes.len()).map(|axis| is_free(study, &places[0], axis)).collect();
    let is_wanted = match study.baseline {
        Baseline::Off => false,
        Baseline::Unamplified => cells.iter().any(|cell| amplifies(&cell.settings.config)),
        Baseline::Settings(_) => true,
    };
    if !is_wanted {
        return Ok((free, cells));
    }
    let mut baselines: Vec<Draft> = Vec::new();
    let mut names_of: HashMap<String, String> = HashMap::new();
    for (cell, place) in cells.iter_mut().zip(places) {
        let settings = baseline_of(&study.baseline, &cell.settings)?;
        let text = key_of(&settings.config)?;
        let is_itself = text == key_of(&normal(&study.baseline, &cell.settings)?.config)?;
        if !names_of.contains_key(&text) {
            let shared =
                || study.axes.iter().zip(place).zip(&free).filter(|(_, free)| !**free).map(|(at, _)| at);
            let name = names::baseline(&cell_name(shared()));
            let axes = shared().map(|(axis, value)| (axis.name.clone(), value.json.clone())).collect();
            names_of.insert(text.clone(), name.clone());
            baselines.push(Draft {
                name,
                role: Role::Baseline,
                axes,
                settings,
                baseline: None,
                control_of: None,
            });
        }
        cell.baseline = names_of.get(&text).cloned();
        if is_itself {
            cell.role = Role::Baseline;
        }
    }
    cells.retain(|cell| cell.role == Role::Cell);
    baselines.extend(cells);
    Ok((free, baselines))
}

/// Whether the baseline is the same for all values of the axis, judged by the first cell.
fn is_free(study: &Study, place: &Place, axis: usize) -> bool {
    let is_inside = |key: &str, table: &str| {
        key.strip_prefix(table).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    let is_amplification = |key: &str| {
        let phase = key.strip_prefix("strategy.phase.").and_then(|rest| rest.split_once('.'));
        is_inside(key, "amplification") || phase.is_some_and(|(_, rest)| is_inside(rest, "amplify"))
    };
    let by_key = study.axes[axis].keys().into_iter().all(|key| match &study.baseline {
        Baseline::Settings(set) => set.iter().any(|(table, _)| is_inside(key, table)),
        _ => is_amplification(key),
    });
    let Values::List(values) = &study.axes[axis].values else { return by_key };
    let baseline = |value: &AxisValue| {
        let mut place = place.clone();
        place[axis] = value.clone();
        let settings = settings_at(study, &place).ok()?;
        key_of(&baseline_of(&study.baseline, &settings).ok()?.config).ok()
    };
    let first = baseline(&values[0]);
    by_key || values.len() > 1 && first.is_some() && values.iter().all(|value| baseline(value) == first)
}

/// The settings of what a cell is compared with.
fn baseline_of(baseline: &Baseline, cell: &Resolved) -> Result<Resolved, KeyError> {
    match baseline {
        Baseline::Settings(set) => {
            let mut tree = cell.tree.clone();
            for (key, node) in set {
                tree.set(key, node.clone())?;
            }
            Resolved::from_tree(tree)
        }
        _ => unamplified(cell),
    }
}

/// The cell's own settings, in the form that baselines have.
fn normal(baseline: &Baseline, cell: &Resolved) -> Result<Resolved, KeyError> {
    match baseline {
        Baseline::Settings(_) => Ok(cell.clone()),
        _ if amplifies(&cell.config) => Ok(cell.clone()),
        _ => unamplified(cell),
    }
}

/// The same settings with amplification off in all phases. Settings without an effect are left out, so that
/// equal trainings have equal settings: `[amplification]`, and borders between phases of one learning rate.
///
/// **Errors:** settings that are not valid without amplification.
pub fn unamplified(cell: &Resolved) -> Result<Resolved, KeyError> {
    let mut resolved = cell.clone();
    resolved.change("baseline", "", |config| {
        config.amplification = AmplificationSettings::default();
        config.train.baseline = false;
        let mut phases: Vec<Phase> = Vec::new();
        for phase in &config.strategy.phases {
            match phases.last_mut() {
                Some(last) if goes_on(last, phase) => last.epochs += phase.epochs,
                _ => phases.push(Phase { amplify: Amplify::Off, ..phase.clone() }),
            }
        }
        config.strategy.phases = phases;
        Ok(())
    })?;
    Ok(resolved)
}

/// Whether the learning rate goes on from one phase to the next as if there were no border.
fn goes_on(phase: &Phase, next: &Phase) -> bool {
    match (&phase.lr, &next.lr) {
        (None, None) => true, // the run-wide rate
        (Some(a), Some(b)) => a == b && a.warmup.is_none() && matches!(a.curve, Curve::Constant { .. }),
        _ => false,
    }
}

/// Whether amplification is on in some phase.
pub fn amplifies(config: &Config) -> bool {
    config.strategy.phases.iter().any(|phase| phase.amplify.is_on())
}

/// Settings as a text, equal where they are equal.
pub fn key_of(config: &Config) -> Result<String, KeyError> {
    toml::to_string(config).map_err(|error| KeyError::new(error.to_string()))
}

/// Adds the control behind each amplified cell: a run along the plain gradient whose steps have the length of the amplified ones.
pub fn with_controls(drafts: Vec<Draft>) -> Result<Vec<Draft>, KeyError> {
    let mut all = Vec::with_capacity(2 * drafts.len());
    for draft in drafts {
        let is_other = |node: &Node| node.value != Value::String("gradient".into());
        let is_control = draft.settings.tree.get(THROUGH).is_some_and(is_other);
        let mut controls = Vec::new();
        if draft.role == Role::Cell && amplifies(&draft.settings.config) && !is_control {
            for through in CONTROLS {
                let mut tree = draft.settings.tree.clone();
                let origin = Origin::Flag("--controls");
                tree.set(THROUGH, Node { origin, value: Value::String(through.into()) })?;
                let mut axes = draft.axes.clone();
                axes.insert(THROUGH.into(), Json::String(through.into()));
                controls.push(Draft {
                    name: names::control(&draft.name, through),
                    role: Role::Control,
                    axes,
                    settings: Resolved::from_tree(tree)?,
                    baseline: draft.baseline.clone(),
                    control_of: Some(draft.name.clone()),
                });
            }
        }
        all.push(draft);
        all.extend(controls);
    }
    Ok(all)
}

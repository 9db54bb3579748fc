//! The runs that cells are compared with: baselines, and the controls of amplified cells.

use std::collections::HashMap;

use gradamp_core::amplify::{AmplificationSettings, Amplify, Curve, Phase};
use serde_json::Value as Json;

use super::axis::{AxisValue, Values};
use super::draft::{Coordinates, Draft, cell_name, settings_at};
use super::names;
use super::plan::Role;
use super::study::{Baseline, Study};
use crate::config::tree::{Node, Origin, Value};
use crate::config::{Config, KeyError, Resolved};

/// The setting that says what a factor multiplies.
const THROUGH: &str = "amplification.through";
/// The values of [`THROUGH`] in a cell's controls.
const CONTROLS: [&str; 1] = ["step_length"];

/// Puts each baseline once before the cells. A cell with the settings of its baseline becomes the baseline. Also returns, for
/// each axis, whether all values on the axis have one baseline.
pub fn with_baselines(
    study: &Study,
    combinations: &[Coordinates],
    mut cells: Vec<Draft>,
) -> Result<(Vec<bool>, Vec<Draft>), KeyError> {
    let axes = 0..study.axes.len();
    let one_baseline: Vec<bool> = axes.map(|axis| has_one_baseline(study, &combinations[0], axis)).collect();
    let is_wanted = match study.baseline {
        Baseline::Off => false,
        Baseline::Unamplified => cells.iter().any(|cell| amplifies(&cell.settings.config)),
        Baseline::Settings(_) => true,
    };
    if !is_wanted {
        return Ok((one_baseline, cells));
    }
    let mut baselines: Vec<Draft> = Vec::new();
    let mut baseline_names: HashMap<String, String> = HashMap::new();
    for (cell, coordinates) in cells.iter_mut().zip(combinations) {
        let settings = baseline_of(&study.baseline, &cell.settings)?;
        let text = key_of(&settings.config)?;
        let is_own_baseline = text == key_of(&in_baseline_form(&study.baseline, &cell.settings)?.config)?;
        if !baseline_names.contains_key(&text) {
            let named = study.axes.iter().zip(coordinates).zip(&one_baseline);
            let baseline_axes = || named.clone().filter(|(_, one)| !**one).map(|(at, _)| at);
            let name = names::baseline(&cell_name(baseline_axes()));
            let axes = baseline_axes().map(|(axis, value)| (axis.name.clone(), value.json.clone())).collect();
            baseline_names.insert(text.clone(), name.clone());
            baselines.push(Draft {
                name,
                role: Role::Baseline,
                axes,
                settings,
                baseline: None,
                control_of: None,
            });
        }
        cell.baseline = baseline_names.get(&text).cloned();
        if is_own_baseline {
            cell.role = Role::Baseline;
        }
    }
    cells.retain(|cell| cell.role == Role::Cell);
    baselines.extend(cells);
    Ok((one_baseline, baselines))
}

/// Whether all values on the axis have one baseline. The other axes have the values of the first cell.
fn has_one_baseline(study: &Study, coordinates: &Coordinates, axis: usize) -> bool {
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
        let mut coordinates = coordinates.clone();
        coordinates[axis] = value.clone();
        let settings = settings_at(study, &coordinates).ok()?;
        key_of(&baseline_of(&study.baseline, &settings).ok()?.config).ok()
    };
    let first = baseline(&values[0]);
    by_key || values.len() > 1 && first.is_some() && values.iter().all(|value| baseline(value) == first)
}

/// The settings of a cell's baseline.
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

/// The cell's settings in the form of a baseline, so that both can be compared: what has no effect is left out.
fn in_baseline_form(baseline: &Baseline, cell: &Resolved) -> Result<Resolved, KeyError> {
    match baseline {
        Baseline::Settings(_) => Ok(cell.clone()),
        _ if amplifies(&cell.config) => Ok(cell.clone()),
        _ => unamplified(cell),
    }
}

/// The same settings with amplification off in all phases. Settings without an effect are left out, so that runs that train
/// alike have equal settings: `[amplification]`, and borders between phases with one learning rate.
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
                _ => phases.push(phase.clone().with_amplify(Amplify::Off)),
            }
        }
        config.strategy.phases = phases;
        Ok(())
    })?;
    Ok(resolved)
}

/// Whether the learning rate is the same as if both phases were one.
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

/// The settings as text. Equal settings have equal texts.
pub fn key_of(config: &Config) -> Result<String, KeyError> {
    toml::to_string(config).map_err(|error| KeyError::new(error.to_string()))
}

/// Adds each amplified cell's control behind the cell. A control follows the plain gradient with steps as long as those of the
/// amplified cell.
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

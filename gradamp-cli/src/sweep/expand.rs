//! From a study to its runs.

use std::collections::{HashMap, HashSet};

use gradamp_core::amplify::{AmplificationSettings, Amplify, Curve, Phase};
use gradamp_core::random::{Purpose, Stream};
use gradamp_models::Architecture;
use serde_json::Value as Json;

use super::axis::{Axis, AxisValue, Values};
use super::names;
use super::plan::{Axes, FORMAT, Plan, PlannedRun, Role};
use super::study::{Baseline, Study};
use crate::config::tree::{Node, Origin, Value};
use crate::config::{Config, KeyError, Resolved};
use crate::run_folder::VERSION;

/// The most runs of a study; more are a slip of the keyboard.
const MOST_RUNS: usize = 100_000;
/// Through what a factor acts.
const THROUGH: &str = "amplification.through";

/// A study's plan and the settings of each of its runs.
#[derive(Clone, Debug)]
pub struct Expansion {
    /// The plan.
    pub plan: Plan,
    /// The settings of each run, in the plan's order.
    pub settings: Vec<Resolved>,
    /// What a reader should be told.
    pub warnings: Vec<String>,
}

/// A cell before its seeds.
struct Draft {
    name: String,
    role: Role,
    axes: Axes,
    settings: Resolved,
    baseline: Option<String>,
    control_of: Option<String>,
}

/// Where a cell stands on each axis.
type Place = Vec<AxisValue>;

/// Makes all runs of a study and checks their settings.
///
/// **Errors:** an axis that names no key; a value of the wrong type or out of range for any run; two runs of one name;
/// a sample that is larger than the grid.
pub fn expand(study: &Study, controls: bool) -> Result<Expansion, KeyError> {
    let places = places(study)?;
    let cells = places
        .iter()
        .map(|place| {
            let named = study.axes.iter().zip(place);
            Ok(Draft {
                name: names::cell(named.clone()),
                role: Role::Cell,
                axes: named.map(|(axis, value)| (axis.name.clone(), value.json.clone())).collect(),
                settings: settings_at(study, place)?,
                baseline: None,
                control_of: None,
            })
        })
        .collect::<Result<Vec<_>, KeyError>>()?;
    let (free, drafts) = with_baselines(study, &places, cells)?;
    let drafts = if controls { with_controls(drafts)? } else { drafts };

    let mut runs = Vec::with_capacity(drafts.len() * study.seeds.len());
    let mut settings = Vec::with_capacity(runs.capacity());
    for draft in drafts {
        for (seed, origin) in &study.seeds {
            settings.push(draft.settings.with_seed(*seed, origin)?);
            runs.push(PlannedRun {
                name: names::run(&draft.name, *seed),
                cell: draft.name.clone(),
                role: draft.role,
                axes: draft.axes.clone(),
                seed: *seed,
                epochs: draft.settings.config.strategy.epochs(),
                baseline: draft.baseline.clone(),
                control_of: draft.control_of.clone(),
            });
        }
    }
    check_names(study, &runs)?;
    let warnings = twins(study, &runs, &settings)?;
    let name_of = |axis: &Axis| axis.name.clone();
    let plan = Plan {
        format: FORMAT,
        version: VERSION.into(),
        name: study.name.clone(),
        axes: study.axes.iter().map(name_of).collect(),
        amplification_axes: study
            .axes
            .iter()
            .zip(&free)
            .filter(|(_, free)| **free)
            .map(|(a, _)| name_of(a))
            .collect(),
        halving: study.halving.as_ref().map(|(halving, _)| halving.clone()),
        runs,
    };
    if let Some((halving, origin)) = &study.halving {
        let most = plan.runs.iter().map(|run| run.epochs).max().unwrap_or(0);
        if let Some(rung) = halving.epochs.iter().find(|rung| **rung >= most) {
            let message = format!("compares cells after {rung} epochs, but runs have {most}");
            return Err(KeyError::new(message).at("halving.epochs", origin));
        }
    }
    Ok(Expansion { plan, settings, warnings })
}

/// The combinations of the axes' values: the first axis changes slowest.
fn places(study: &Study) -> Result<Vec<Place>, KeyError> {
    let lists: Option<Vec<&[AxisValue]>> = study
        .axes
        .iter()
        .map(|axis| match &axis.values {
            Values::List(values) => Some(values.as_slice()),
            Values::Range { .. } => None,
        })
        .collect();
    let size = lists.as_ref().map(|lists| lists.iter().fold(1_usize, |n, list| n.saturating_mul(list.len())));
    let wanted = study.sample.as_ref().map_or(size, |(sample, _)| Some(sample.runs)).unwrap_or(0);
    let runs = wanted.saturating_mul(study.seeds.len());
    if runs > MOST_RUNS {
        let message =
            format!("the study has {runs} runs, expected {MOST_RUNS} at most; draw some by `sample`");
        return Err(KeyError::new(message).at("", &Origin::File(study.path.clone(), 1)));
    }
    let stream = |seed| Stream::new(seed, Purpose::Split); // a part of the whole grid
    match (&study.sample, lists, size) {
        (None, Some(lists), Some(size)) => Ok((0..size).map(|i| nth(&lists, i)).collect()),
        (Some((sample, origin)), Some(lists), Some(size)) => {
            if sample.runs > size {
                let message = format!("is {}, but the grid holds only {size} combinations", sample.runs);
                return Err(KeyError::new(message).at("sample.runs", origin));
            }
            let mut chosen: Vec<usize> = Vec::with_capacity(sample.runs);
            let (stream, mut draws) = (stream(sample.seed), 0);
            // The grid may be too large for a permutation of all of it.
            if size <= MOST_RUNS {
                chosen = stream.choose(size, sample.runs);
            }
            while chosen.len() < sample.runs {
                let i = stream.below(draws, size);
                draws += 1;
                if !chosen.contains(&i) {
                    chosen.push(i);
                }
            }
            chosen.sort_unstable();
            Ok(chosen.into_iter().map(|i| nth(&lists, i)).collect())
        }
        (Some((sample, origin)), _, _) => {
            let mut drawn: Vec<Place> = Vec::with_capacity(sample.runs);
            let mut names = HashSet::new();
            // Whole numbers and lists come twice now and then.
            for draw in 0..100 * sample.runs as u64 {
                let stream = stream(sample.seed).at(draw);
                let at = |(j, axis): (usize, &Axis)| axis.at(f64::from(stream.uniform(j as u64)));
                let place: Place = study.axes.iter().enumerate().map(at).collect();
                if names.insert(names::cell(study.axes.iter().zip(&place))) {
                    drawn.push(place);
                }
                if drawn.len() == sample.runs {
                    return Ok(drawn);
                }
            }
            let message = format!("is {}, but only {} combinations were found", sample.runs, drawn.len());
            Err(KeyError::new(message).at("sample.runs", origin))
        }
        // A range without a sample was refused when the study was read.
        _ => Ok(Vec::new()),
    }
}

/// The combination at `index` of the grid.
fn nth(lists: &[&[AxisValue]], mut index: usize) -> Place {
    let mut place: Place = Vec::with_capacity(lists.len());
    for list in lists.iter().rev() {
        place.push(list[index % list.len()].clone());
        index /= list.len();
    }
    place.reverse();
    place
}

/// The settings of the cell at `place`.
fn settings_at(study: &Study, place: &[AxisValue]) -> Result<Resolved, KeyError> {
    let mut tree = study.base.clone();
    for (key, node) in place.iter().flat_map(|value| &value.set) {
        tree.set(key, node.clone())?;
    }
    Resolved::of(tree)
}

/// Puts the baselines before the cells, each once; a cell that is the baseline itself becomes it. Says too which axes
/// change nothing in the baseline.
fn with_baselines(
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
            let name = names::baseline(&names::cell(shared()));
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

/// Whether the baseline is the same whatever the axis is, as far as the first place tells.
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
            Resolved::of(tree)
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

/// The same settings with amplification off in all phases. What nothing depends on any more is left out, so that
/// settings that mean the same are the same: `[amplification]`, and borders between phases of one learning rate.
fn unamplified(cell: &Resolved) -> Result<Resolved, KeyError> {
    let mut resolved = cell.clone();
    resolved.change("baseline", |config| {
        config.amplification = AmplificationSettings::default();
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

fn amplifies(config: &Config) -> bool {
    config.strategy.phases.iter().any(|phase| phase.amplify.is_on())
}

/// Settings as a text, equal where they are equal.
fn key_of(config: &Config) -> Result<String, KeyError> {
    toml::to_string(config).map_err(|error| KeyError::new(error.to_string()))
}

/// Behind each amplified cell the runs whose factor acts through the learning rate.
fn with_controls(drafts: Vec<Draft>) -> Result<Vec<Draft>, KeyError> {
    let mut all = Vec::with_capacity(2 * drafts.len());
    for draft in drafts {
        let is_other = |node: &Node| node.value != Value::String("gradient".into());
        let is_control = draft.settings.tree.get(THROUGH).is_some_and(is_other);
        let mut controls = Vec::new();
        if draft.role == Role::Cell && amplifies(&draft.settings.config) && !is_control {
            for through in ways(draft.settings.config.model.name) {
                let mut tree = draft.settings.tree.clone();
                let origin = Origin::Flag("--controls");
                tree.set(THROUGH, Node { origin, value: Value::String((*through).into()) })?;
                let mut axes = draft.axes.clone();
                axes.insert(THROUGH.into(), Json::String((*through).into()));
                controls.push(Draft {
                    name: names::control(&draft.name, through),
                    role: Role::Control,
                    axes,
                    settings: Resolved::of(tree)?,
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

/// Through what a model's controls act: a learning rate for each parameter needs gains that do not depend on the path,
/// so that there must be no branches.
fn ways(model: Architecture) -> &'static [&'static str] {
    match model {
        Architecture::ResNet18 | Architecture::ResNet34 => &["mean_learning_rate"],
        _ => &["mean_learning_rate", "learning_rate"],
    }
}

/// **Errors:** two runs of one name, also where a file system knows no capitals; a name that is too long.
fn check_names(study: &Study, runs: &[PlannedRun]) -> Result<(), KeyError> {
    let fail = |message: String| Err(KeyError::new(message).at("", &Origin::File(study.path.clone(), 1)));
    if runs.is_empty() {
        return fail("the study has no runs".into());
    }
    let mut seen = HashSet::new();
    for run in runs {
        if run.name.len() > names::LONGEST {
            let PlannedRun { name, .. } = run;
            let long = name.len();
            return fail(format!(
                "the run's name {name} has {long} characters, expected {} at most; give values names by [[axis.value]]",
                names::LONGEST
            ));
        }
        if !seen.insert(run.name.to_lowercase()) {
            return fail(format!(
                "two runs are called {}: an axis or `seeds` has a value twice, or values that need names by \
                 [[axis.value]]",
                run.name
            ));
        }
    }
    Ok(())
}

/// Runs that differ in their names only: an axis that has no effect.
fn twins(study: &Study, runs: &[PlannedRun], settings: &[Resolved]) -> Result<Vec<String>, KeyError> {
    let mut seen: HashMap<String, &str> = HashMap::new();
    let mut warnings = Vec::new();
    for (run, settings) in runs.iter().zip(settings).step_by(study.seeds.len()) {
        match seen.get(key_of(&settings.config)?.as_str()) {
            Some(twin) => warnings.push(format!("{} has the same settings as {twin}", run.cell)),
            None => {
                seen.insert(key_of(&settings.config)?, &run.cell);
            }
        }
    }
    Ok(warnings)
}

impl Resolved {
    /// The same settings with a seed.
    fn with_seed(&self, seed: u64, origin: &Origin) -> Result<Self, KeyError> {
        let value = i64::try_from(seed)
            .map_err(|_| KeyError::new(format!("{seed} does not fit 63 bits")).at("seeds", origin))?;
        let mut resolved = self.clone();
        resolved.config.train.seed = seed;
        let node = Node { origin: origin.clone(), value: Value::Integer(value) };
        resolved.tree.set("train.seed", node)?;
        Ok(resolved)
    }
}

//! Expands a study to its runs.

use std::collections::{BTreeMap, HashMap, HashSet};

use gradamp_core::random::{Purpose, Stream};

use super::axis::{Axis, AxisValue, Values};
use super::baseline::{key_of, with_baselines, with_controls};
use super::contrast::DeclaredContrast;
use super::draft::{Coordinates, Draft, cell_name, settings_at};
use super::names;
use super::plan::{FORMAT, Plan, PlannedRun, Role};
use super::study::Study;
use crate::config::tree::{Node, Origin, Value};
use crate::config::{KeyError, Resolved};
use crate::run_folder::{StudySeal, VERSION};

/// The largest number of runs of a study, as a guard against typing errors.
const MOST_RUNS: usize = 100_000;
/// A study's plan and the settings of each of its runs.
#[derive(Clone, Debug)]
pub struct Expansion {
    /// The plan.
    pub plan: Plan,
    /// The settings of each run, in the plan's order.
    pub settings: Vec<Resolved>,
    /// Warnings for the user.
    pub warnings: Vec<String>,
}

/// Makes all runs of a study and checks their settings.
///
/// **Errors:** an axis that names no key; a value of the wrong type or out of range for any run; two runs of one name;
/// a sample that is larger than the grid.
pub fn expand(study: &Study, controls: bool) -> Result<Expansion, KeyError> {
    let combinations = combinations(study)?;
    let cells = combinations
        .iter()
        .map(|coordinates| {
            let named = study.axes.iter().zip(coordinates);
            Ok(Draft {
                name: cell_name(named.clone()),
                role: Role::Cell,
                axes: named.map(|(axis, value)| (axis.name.clone(), value.json.clone())).collect(),
                settings: settings_at(study, coordinates)?,
                baseline: None,
                control_of: None,
            })
        })
        .collect::<Result<Vec<_>, KeyError>>()?;
    let controls = controls || study.contrasts.iter().any(DeclaredContrast::needs_controls);
    let (one_baseline, drafts) = with_baselines(study, &combinations, cells)?;
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
    let mut contrasts = Vec::new();
    for (i, contrast) in study.contrasts.iter().enumerate() {
        let below = |error: KeyError| error.below(&i.to_string()).below("contrast");
        if contrast.needs_validation() && settings.iter().any(|run| run.config.data.validation == 0) {
            let message = "needs `data.validation` above 0: validation examples choose the best value";
            return Err(below(contrast.error_at("tuned", message)));
        }
        contrasts.extend(contrast.plan(&study.axes, &runs).map_err(below)?);
    }
    let questions = match contrasts.is_empty() {
        true => None,
        false => Some(serde_json::to_string(&contrasts).map_err(|error| KeyError::new(error.to_string()))?),
    };
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
            .zip(&one_baseline)
            .filter(|(_, one)| **one)
            .map(|(a, _)| name_of(a))
            .collect(),
        halving: study.halving.as_ref().map(|(halving, _)| halving.clone()),
        study: Some(StudySeal::new(&study.written(), questions.as_deref())),
        contrasts,
        files: BTreeMap::new(), // filled in when these files are written
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

/// The combinations of the axes' values. The value on the first axis changes slowest.
fn combinations(study: &Study) -> Result<Vec<Coordinates>, KeyError> {
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
            let mut drawn: Vec<Coordinates> = Vec::with_capacity(sample.runs);
            let mut names = HashSet::new();
            // Integers and values of lists may be drawn twice.
            for draw in 0..100 * sample.runs as u64 {
                let stream = stream(sample.seed).at(draw);
                let at = |(j, axis): (usize, &Axis)| axis.at(f64::from(stream.uniform(j as u64)));
                let coordinates: Coordinates = study.axes.iter().enumerate().map(at).collect();
                if names.insert(cell_name(study.axes.iter().zip(&coordinates))) {
                    drawn.push(coordinates);
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
fn nth(lists: &[&[AxisValue]], mut index: usize) -> Coordinates {
    let mut coordinates: Coordinates = Vec::with_capacity(lists.len());
    for list in lists.iter().rev() {
        coordinates.push(list[index % list.len()].clone());
        index /= list.len();
    }
    coordinates.reverse();
    coordinates
}

/// **Errors:** two runs whose names are equal or differ only in upper and lower case; a name that is too long.
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

/// Warnings about cells with equal settings, because an axis has no effect.
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

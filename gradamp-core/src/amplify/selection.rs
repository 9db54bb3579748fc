//! Which layers are eligible for amplification, and which of them are drawn.

use super::draw::Draw;
use super::settings::{AmplificationSettings, Keys, Placement, Redraw};
use crate::glob::{self, Glob};
use crate::hook::{LayerKind, Site};
use crate::random::{Purpose, Stream};
use crate::tape::Trace;
use crate::{Error, Result};

/// The eligible layers of a model, and the rule by which some of them are drawn.
#[derive(Clone, Debug, PartialEq)]
pub struct Selection {
    eligible: Vec<usize>,
    count: usize,
    redraw: Redraw,
    factor: f32,
    placement: Placement,
    seed: u64,
}

/// Where a draw stands in a run. Steps with equal positions share a draw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    epoch: u64,
    step: u64,
}

impl Selection {
    /// What `settings` select among the sites of `trace`; `run_seed` serves where they name no seed of their own.
    ///
    /// **Errors:** a setting out of its range; settings that select nothing; a kind, a glob or a listed path that
    /// matches no site; a count larger than the number of eligible sites; the placement `params` where no eligible
    /// site has parameters.
    pub fn new(settings: &AmplificationSettings, trace: &Trace, run_seed: u64) -> Result<Self> {
        Self::new_as(&Keys::default(), settings, trace, run_seed)
    }

    pub(super) fn new_as(
        keys: &Keys,
        settings: &AmplificationSettings,
        trace: &Trace,
        run_seed: u64,
    ) -> Result<Self> {
        settings.check_as(keys)?;
        let eligible = if settings.sites.is_empty() {
            by_kind_and_path(keys, settings, &trace.sites)?
        } else {
            listed(keys, &settings.sites, &trace.sites)?
        };
        let has_parameters =
            |&site: &usize| trace.parameters.iter().any(|path| owns(&trace.sites[site], path));
        if settings.placement == Placement::Params && !eligible.iter().any(has_parameters) {
            let message = format!(
                "is \"params\", but none of the {} eligible layers (such as {}) has parameters",
                eligible.len(),
                trace.sites[eligible[0]].path
            );
            return Err(Error::setting(keys.key("placement"), message));
        }
        let count = match (settings.count, settings.ratio) {
            (Some(count), _) if count > eligible.len() => {
                let message = format!("is {count}, but only {} layers are eligible", eligible.len());
                return Err(Error::setting(keys.key("count"), message));
            }
            (Some(count), _) => count,
            (None, Some(ratio)) => ((ratio * eligible.len() as f64).round() as usize).max(1),
            (None, None) => eligible.len(),
        };
        Ok(Self {
            eligible,
            count,
            redraw: settings.redraw,
            factor: settings.factor,
            placement: settings.placement,
            seed: settings.seed.unwrap_or(run_seed),
        })
    }

    /// The eligible sites' numbers, ascending, at least one.
    pub fn eligible(&self) -> &[usize] {
        &self.eligible
    }

    /// How many of them are drawn: at least one, at most all.
    pub fn count(&self) -> usize {
        self.count
    }

    /// What gradients are multiplied by.
    pub fn factor(&self) -> f32 {
        self.factor
    }

    /// Which gradients are multiplied.
    pub fn placement(&self) -> Placement {
        self.placement
    }

    /// The draw that serves `epoch` and `step` (both from 0, the step counted over the whole run): a pure function of
    /// them and the seed.
    ///
    /// Draws of different size at one place are nested: the layers drawn at a ratio of 0.25 are among those drawn at
    /// 0.5, so that studies of the ratio compare like with like. And a draw made `once` is that of epoch 0.
    pub fn draw(&self, epoch: usize, step: u64) -> Draw {
        let position = self.position(epoch, step);
        let stream = Stream::new(self.seed, Purpose::Amplify).at(position.epoch).at(position.step);
        let chosen = stream.choose(self.eligible.len(), self.count);
        let factors = vec![self.factor; chosen.len()];
        Draw {
            sites: chosen.into_iter().map(|i| self.eligible[i]).collect(),
            factors,
            placement: self.placement,
        }
    }

    pub(super) fn position(&self, epoch: usize, step: u64) -> Position {
        match self.redraw {
            Redraw::Once => Position { epoch: 0, step: 0 },
            Redraw::Epoch => Position { epoch: epoch as u64, step: 0 },
            Redraw::Step => Position { epoch: epoch as u64, step },
        }
    }
}

/// Whether the parameter at `path` is that of `site`'s layer, or of a layer inside it.
pub(super) fn owns(site: &Site, path: &str) -> bool {
    path.strip_prefix(&*site.path).is_some_and(|rest| rest.starts_with('.'))
}

fn by_kind_and_path(keys: &Keys, settings: &AmplificationSettings, sites: &[Site]) -> Result<Vec<usize>> {
    let AmplificationSettings { kinds, paths, .. } = settings;
    if kinds.is_empty() && paths.is_empty() {
        let message = "selects no layer: give `kinds`, `paths` or `sites`";
        return Err(Error::setting(keys.key("kinds"), message));
    }
    let globs = paths
        .iter()
        .enumerate()
        .map(|(i, glob)| Glob::new(glob).map_err(|message| Error::setting(entry(keys, "paths", i), message)))
        .collect::<Result<Vec<_>>>()?;
    let kind_fits = |site: &Site| kinds.is_empty() || kinds.contains(&site.kind);
    let path_fits = |site: &Site| globs.is_empty() || globs.iter().any(|glob| glob.matches(&site.path));

    // Every entry must count for something: one that matches nothing is a mistake, and the others would hide it.
    for (i, glob) in globs.iter().enumerate() {
        let matched = sites.iter().filter(|site| glob.matches(&site.path)).count();
        if !sites.iter().any(|site| glob.matches(&site.path) && kind_fits(site)) {
            let message = match matched {
                0 => format!("\"{}\" matches no layer{}", paths[i], nearest(&paths[i], sites)),
                n => format!("\"{}\" matches {n} layers, none of kind {}", paths[i], list(kinds)),
            };
            return Err(Error::setting(entry(keys, "paths", i), message));
        }
    }
    for (i, kind) in kinds.iter().enumerate() {
        if !sites.iter().any(|site| site.kind == *kind && path_fits(site)) {
            let mut present: Vec<LayerKind> = sites.iter().filter(|s| path_fits(s)).map(|s| s.kind).collect();
            present.sort_unstable();
            present.dedup();
            let message = match globs.is_empty() {
                true => format!("no layer is of kind {kind}; there are {}", list(&present)),
                false => format!("no layer that `paths` match is of kind {kind}, but of {}", list(&present)),
            };
            return Err(Error::setting(entry(keys, "kinds", i), message));
        }
    }
    Ok(sites.iter().filter(|site| kind_fits(site) && path_fits(site)).map(|site| site.index).collect())
}

fn listed(keys: &Keys, paths: &[String], sites: &[Site]) -> Result<Vec<usize>> {
    let mut eligible = Vec::with_capacity(paths.len());
    for (i, path) in paths.iter().enumerate() {
        let Some(site) = sites.iter().find(|site| *site.path == **path) else {
            let message = format!("no layer is named \"{path}\"{}", nearest(path, sites));
            return Err(Error::setting(entry(keys, "sites", i), message));
        };
        if eligible.contains(&site.index) {
            return Err(Error::setting(entry(keys, "sites", i), format!("\"{path}\" is listed twice")));
        }
        eligible.push(site.index);
    }
    eligible.sort_unstable();
    Ok(eligible)
}

fn entry(keys: &Keys, field: &str, i: usize) -> String {
    format!("{}[{i}]", keys.key(field))
}

fn list(kinds: &[LayerKind]) -> String {
    kinds.iter().map(LayerKind::to_string).collect::<Vec<_>>().join(", ")
}

/// A hint at the site whose path is a slip of the pen away, if there is one.
fn nearest(path: &str, sites: &[Site]) -> String {
    glob::nearest(path, sites.iter().map(|site| &*site.path))
}

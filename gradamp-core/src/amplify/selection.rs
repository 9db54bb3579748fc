//! The layers that a phase may amplify, and the policy that decides among them.

use std::sync::Arc;

use super::draw::Draw;
use super::gain;
use super::history::History;
use super::policy::{
    AmplificationPolicy, Equalise, Fluctuation, List, PolicyContext, Random, Timing, check_factors,
};
use super::policy_name::{EXTERNAL, PolicyName};
use super::settings::{AmplificationSettings, Draws, Placement, Through};
use crate::Trace;
use crate::glob::{self, Glob};
use crate::{Error, Result};
use crate::{LayerKind, Site};

/// The eligible layers of a model, and the policy that decides which of them are amplified.
#[derive(Clone, Debug)]
pub struct Selection {
    trace: Arc<Trace>,
    eligible: Vec<usize>,
    policy: Arc<dyn AmplificationPolicy>,
    placement: Placement,
    through: Through,
    max_gain: Option<f64>,
    seed: u64,
    draws: Draws,
    /// The first epoch of its phase.
    begin: usize,
}

/// The place of a decision in a run. Steps with equal positions share a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    epoch: usize,
    step: u64,
}

impl Selection {
    /// Selects the layers of `trace` that `settings` make eligible. `run_seed` is the seed of settings without one.
    ///
    /// **Errors:** a setting out of its range; settings that select nothing; a kind, a glob or a listed path that
    /// matches no site; the placement `params` where no eligible site has parameters; settings that do not fit their
    /// policy, such as a count larger than the number of eligible sites.
    pub fn new(settings: &AmplificationSettings, trace: &Trace, run_seed: u64) -> Result<Self> {
        Self::in_phase(settings, &Arc::new(trace.clone()), run_seed, 0, None)
    }

    /// The selection of a phase that begins at epoch `begin`. `policy`, if given, replaces the policy that the settings name.
    pub(super) fn in_phase(
        settings: &AmplificationSettings,
        trace: &Arc<Trace>,
        run_seed: u64,
        begin: usize,
        policy: Option<&Arc<dyn AmplificationPolicy>>,
    ) -> Result<Self> {
        settings.check()?;
        settings.through.check()?;
        let eligible = if settings.sites.is_empty() {
            by_kind_and_path(settings, &trace.sites)?
        } else {
            listed(&settings.sites, &trace.sites)?
        };
        let has_parameters = |&site: &usize| trace.parameters.iter().any(|path| trace.sites[site].owns(path));
        if settings.placement == Placement::Params && !eligible.iter().any(has_parameters) {
            let message = format!(
                "is \"params\", but none of the {} eligible layers (such as {}) has parameters",
                eligible.len(),
                trace.sites[eligible[0]].path
            );
            return Err(Error::setting("placement", message));
        }
        let policy = match policy {
            Some(policy) => policy.clone(),
            None => build_policy(settings, trace, &eligible)?,
        };
        let selection = Self {
            trace: trace.clone(),
            eligible,
            policy,
            placement: settings.placement,
            through: settings.through,
            max_gain: settings.max_gain.map(f64::from),
            seed: settings.seed.unwrap_or(run_seed),
            draws: settings.draws,
            begin,
        };
        Ok(selection)
    }

    /// The eligible sites' numbers, ascending, at least one.
    pub fn eligible(&self) -> &[usize] {
        &self.eligible
    }

    /// The policy that decides among the eligible sites.
    pub fn policy(&self) -> &dyn AmplificationPolicy {
        &*self.policy
    }

    /// Which gradients are multiplied.
    pub fn placement(&self) -> Placement {
        self.placement
    }

    /// What the factors act on.
    pub fn through(&self) -> Through {
        self.through
    }

    /// The largest gain that any path may have.
    pub fn max_gain(&self) -> Option<f64> {
        self.max_gain
    }

    /// The draw that serves `epoch` and `step` (both from 0, the step counted over the whole run): a pure function of
    /// them, the seed and the history.
    ///
    /// **Errors:** those of the policy; a decision that names a site which is not eligible, or one site twice, or a factor that
    /// is not finite and above 0.
    pub fn draw(&self, epoch: usize, step: u64, history: &History) -> Result<Draw> {
        let Position { epoch, step } = self.position(epoch, step);
        let mut decision = match history.before(epoch, self.policy.memory()) {
            None => Vec::new(),
            Some(statistics) => self.policy.decide(&PolicyContext {
                trace: &self.trace,
                eligible: &self.eligible,
                placement: self.placement,
                epoch,
                step,
                seed: self.seed,
                draws: self.draws,
                statistics,
            })?,
        };
        decision.sort_unstable_by_key(|(site, _)| *site);
        self.check(&decision)?;
        let (sites, factors) = decision.into_iter().unzip();
        let draw = Draw { sites, factors, placement: self.placement, power: None };
        Ok(match self.max_gain {
            Some(bound) => gain::bounded(&self.trace, draw, bound),
            None => draw,
        })
    }

    fn check(&self, decision: &[(usize, f32)]) -> Result<()> {
        let fail = |message: String| Err(Error::setting("policy", format!("{:?} {message}", self.policy)));
        let name = |site: usize| {
            self.trace.sites.get(site).map_or(format!("number {site}"), |site| site.path.to_string())
        };
        for (i, &(site, factor)) in decision.iter().enumerate() {
            if self.eligible.binary_search(&site).is_err() {
                return fail(format!("chose layer {}, which is not eligible", name(site)));
            }
            if i > 0 && decision[i - 1].0 == site {
                return fail(format!("chose layer {} twice", name(site)));
            }
            if !(factor.is_finite() && factor > 0.0) {
                let message = format!(
                    "gave layer {} the factor {factor}, expected a finite number above 0",
                    name(site)
                );
                return fail(message);
            }
        }
        Ok(())
    }

    pub(super) fn position(&self, epoch: usize, step: u64) -> Position {
        match self.policy.timing() {
            Timing::Once if self.policy.memory() == 0 => Position { epoch: 0, step: 0 },
            Timing::Step => Position { epoch, step },
            timing => {
                let every = if let Timing::Epochs(every) = timing { every.max(1) } else { usize::MAX };
                // The first decision is made at the beginning of the phase, or as soon as there are enough statistics.
                let first = self.begin.max(self.policy.memory());
                match epoch.checked_sub(first) {
                    Some(since) => Position { epoch: epoch - since % every, step: 0 },
                    None => Position { epoch: self.begin.min(epoch), step: 0 },
                }
            }
        }
    }

    /// The number of epochs whose statistics a run must keep for this selection: those that the policy looks back on, and
    /// those since its last decision.
    pub(super) fn epochs_kept(&self) -> usize {
        match (self.policy.memory(), self.policy.timing()) {
            (0, _) => 0,
            (memory, Timing::Epochs(every)) => memory.saturating_add(every.max(1)),
            (memory, Timing::Step) => memory + 1,
            (_, Timing::Once) => usize::MAX,
        }
    }
}

type Builder = Box<dyn Fn(&AmplificationSettings) -> Result<Arc<dyn AmplificationPolicy>> + Send + Sync>;

/// Lets settings name a policy of another crate, as in `policy = "faded"`.
///
/// `build` is called for each phase that the policy decides in. It reads [`AmplificationSettings::options`] and any other
/// settings. [`AmplificationSettings::check_options`] returns an error for an option that the policy does not have.
///
/// **Errors:** a name that is taken, or that has other characters than lower-case letters, digits, `_` and `-`.
pub fn register_policy(
    name: &str,
    build: impl Fn(&AmplificationSettings) -> Result<Arc<dyn AmplificationPolicy>> + Send + Sync + 'static,
) -> Result<()> {
    let build: Builder = Box::new(build);
    EXTERNAL.add(name, Box::new(build))
}

/// The names of the policies that other crates have registered.
pub fn registered_policies() -> Vec<&'static str> {
    EXTERNAL.added()
}

/// The policy that `settings` name, for these eligible sites.
///
/// **Errors:** settings that do not fit the policy, the placement or the model.
fn build_policy(
    settings: &AmplificationSettings,
    trace: &Trace,
    eligible: &[usize],
) -> Result<Arc<dyn AmplificationPolicy>> {
    check_factors(settings)?;
    Ok(match settings.policy {
        PolicyName::Random => Arc::new(Random::new(settings, eligible)?),
        PolicyName::List => Arc::new(List::new(settings, trace)),
        PolicyName::All => Arc::new(List::all(eligible, settings.factor)),
        PolicyName::Fluctuation => Arc::new(Fluctuation::new(settings, trace, eligible)?),
        PolicyName::Equalise => Arc::new(Equalise::new(settings)?),
        PolicyName::Depth => Arc::new(List::by_depth(eligible, &settings.depth)),
        PolicyName::External(name) => build_registered(name, settings)?,
    })
}

/// The registered policy called `name`.
///
/// **Errors:** a name that nobody has registered; settings that do not fit the policy.
fn build_registered(name: &str, settings: &AmplificationSettings) -> Result<Arc<dyn AmplificationPolicy>> {
    match EXTERNAL.find(name).and_then(|(_, build)| build.downcast_ref::<Builder>()) {
        Some(build) => build(settings),
        None => Err(Error::setting("policy", format!("no policy {name:?} is registered"))),
    }
}

fn by_kind_and_path(settings: &AmplificationSettings, sites: &[Site]) -> Result<Vec<usize>> {
    let AmplificationSettings { kinds, paths, .. } = settings;
    if kinds.is_empty() && paths.is_empty() {
        let message = "selects no layer: give `kinds`, `paths` or `sites`";
        return Err(Error::setting("kinds", message));
    }
    let globs = paths
        .iter()
        .enumerate()
        .map(|(i, glob)| Glob::new(glob).map_err(|message| Error::setting(entry("paths", i), message)))
        .collect::<Result<Vec<_>>>()?;
    let kind_fits = |site: &Site| kinds.is_empty() || kinds.iter().any(|kind| kind.includes(site.kind));
    let path_fits = |site: &Site| globs.is_empty() || globs.iter().any(|glob| glob.matches(&site.path));

    // An entry that matches nothing is a mistake, which the other entries would hide.
    for (i, glob) in globs.iter().enumerate() {
        let matched = sites.iter().filter(|site| glob.matches(&site.path)).count();
        if !sites.iter().any(|site| glob.matches(&site.path) && kind_fits(site)) {
            let message = match matched {
                0 => format!("\"{}\" matches no layer{}", paths[i], nearest(&paths[i], sites)),
                n => format!("\"{}\" matches {n} layers, none of kind {}", paths[i], list(kinds)),
            };
            return Err(Error::setting(entry("paths", i), message));
        }
    }
    for (i, kind) in kinds.iter().enumerate() {
        if !sites.iter().any(|site| kind.includes(site.kind) && path_fits(site)) {
            let mut present: Vec<LayerKind> = sites.iter().filter(|s| path_fits(s)).map(|s| s.kind).collect();
            present.sort_unstable();
            present.dedup();
            let message = match globs.is_empty() {
                true => format!("no layer is of kind {kind}; there are {}", list(&present)),
                false => format!("no layer that `paths` match is of kind {kind}, but of {}", list(&present)),
            };
            return Err(Error::setting(entry("kinds", i), message));
        }
    }
    Ok(sites.iter().filter(|site| kind_fits(site) && path_fits(site)).map(|site| site.index).collect())
}

fn listed(paths: &[String], sites: &[Site]) -> Result<Vec<usize>> {
    let mut eligible = Vec::with_capacity(paths.len());
    for (i, path) in paths.iter().enumerate() {
        let Some(site) = sites.iter().find(|site| *site.path == **path) else {
            let message = format!("no layer is named \"{path}\"{}", nearest(path, sites));
            return Err(Error::setting(entry("sites", i), message));
        };
        if eligible.contains(&site.index) {
            return Err(Error::setting(entry("sites", i), format!("\"{path}\" is listed twice")));
        }
        eligible.push(site.index);
    }
    eligible.sort_unstable();
    Ok(eligible)
}

fn entry(field: &str, i: usize) -> String {
    format!("{field}[{i}]")
}

fn list(kinds: &[LayerKind]) -> String {
    kinds.iter().map(LayerKind::to_string).collect::<Vec<_>>().join(", ")
}

/// A hint at the site whose path differs by a typing error, if there is one.
fn nearest(path: &str, sites: &[Site]) -> String {
    glob::nearest(path, sites.iter().map(|site| &*site.path))
}

//! The backward hook that amplifies.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use super::draw::{Draw, DrawRecord};
use super::gain::{self, Arriving};
use super::history::History;
use super::overrides::Keys;
use super::policy::AmplificationPolicy;
use super::selection::{Position, Selection, owns};
use super::settings::{AmplificationSettings, Placement, Through};
use super::strategy::{Amplify, Strategy};
use super::through::Rates;
use crate::Gradient;
use crate::Trace;
use crate::{Backend, Error, Result};
use crate::{BackwardHook, GradientAction, Site};

/// Multiplies the gradients of the drawn layers, in the phases that amplify.
///
/// Call [`Amplifier::begin_step`] before each step's backward; add the amplifier to the run's hooks by
/// [`Hooks::add_shared`](crate::Hooks::add_shared).
pub struct Amplifier {
    /// Each phase's last epoch plus one, and what it selects.
    phases: Vec<(usize, Option<Selection>)>,
    trace: Arc<Trace>,
    /// The sites whose layer holds a parameter, by its path.
    owners: HashMap<Arc<str>, Vec<usize>>,
    current: Option<Current>,
}

/// The draw in force.
struct Current {
    phase: usize,
    position: Position,
    draw: Draw,
    /// By the sites' numbers; `None` for those that are not drawn, or act through learning rates.
    factors: Vec<Option<f32>>,
    arriving: Option<Arc<Arriving>>,
    rates: Rates,
}

impl Amplifier {
    /// An amplifier for the model of `trace`; `run_seed` serves settings without a seed of their own.
    ///
    /// **Errors:** a strategy or settings out of range ([`Strategy::check`]), and what [`Selection::new`] finds wrong for
    /// any phase that amplifies, however late it comes.
    pub fn new(
        strategy: &Strategy,
        settings: &AmplificationSettings,
        trace: &Trace,
        run_seed: u64,
    ) -> Result<Self> {
        Self::build(strategy, settings, trace, run_seed, None)
    }

    /// As [`Amplifier::new`], but `policy` decides in all phases that amplify; eligible layers, placement and the bound
    /// on the gain are the settings'.
    pub fn with_policy(
        strategy: &Strategy,
        settings: &AmplificationSettings,
        trace: &Trace,
        run_seed: u64,
        policy: Box<dyn AmplificationPolicy>,
    ) -> Result<Self> {
        Self::build(strategy, settings, trace, run_seed, Some(&policy.into()))
    }

    fn build(
        strategy: &Strategy,
        settings: &AmplificationSettings,
        trace: &Trace,
        run_seed: u64,
        policy: Option<&Arc<dyn AmplificationPolicy>>,
    ) -> Result<Self> {
        strategy.check()?;
        settings.check()?;
        let trace = Arc::new(trace.clone());
        let mut end = 0;
        let phases = strategy.phases.iter().enumerate().map(|(i, phase)| {
            let begin = end;
            end += phase.epochs;
            let Amplify::On(overrides) = &phase.amplify else { return Ok((end, None)) };
            let keys = Keys::of_phase(i, overrides);
            let settings = settings.with(overrides);
            Selection::new_as(&keys, &settings, &trace, run_seed, begin, policy).map(|s| (end, Some(s)))
        });
        let phases = phases.collect::<Result<_>>()?;
        let owners_of = |path: &str| {
            trace.sites.iter().filter(|site| owns(site, path)).map(|site| site.index).collect::<Vec<_>>()
        };
        let owners = trace.parameters.iter().map(|path| (path.clone(), owners_of(path))).collect();
        Ok(Self { phases, trace, owners, current: None })
    }

    /// What each phase selects; `None` for a phase that does not amplify.
    pub fn selections(&self) -> impl ExactSizeIterator<Item = Option<&Selection>> {
        self.phases.iter().map(|(_, selection)| selection.as_ref())
    }

    /// How many epochs of statistics a run must keep for all its phases; 0 where no policy looks back.
    pub fn epochs_kept(&self) -> usize {
        self.selections().flatten().map(Selection::epochs_kept).max().unwrap_or(0)
    }

    /// Makes the draw for `epoch` and `step` (both from 0, the step counted over the whole run) the one in force.
    /// Gives its record where it begins to hold at this step: at the first amplified step of a phase, and where its
    /// policy decides anew, also if it decides for nothing.
    ///
    /// A resumed run calls [`Amplifier::resume_after`] first, so that nothing is recorded twice.
    ///
    /// **Errors:** what [`Selection::draw`] returns.
    pub fn begin_step(&mut self, epoch: usize, step: u64, history: &History) -> Result<Option<DrawRecord>> {
        let phase = self.phases.iter().position(|(end, _)| epoch < *end);
        let Some((phase, selection)) = phase.and_then(|p| Some((p, self.phases[p].1.as_ref()?))) else {
            self.current = None;
            return Ok(None);
        };
        let position = selection.position(epoch, step);
        if self.current.as_ref().is_some_and(|current| (current.phase, current.position) == (phase, position))
        {
            return Ok(None);
        }
        let draw = selection.draw(epoch, step, history)?;
        let record = draw.record(&self.trace.sites, epoch, step);
        let rates = Rates::new(selection.through(), &self.trace, &draw)?;
        let mut factors = vec![None; self.trace.sites.len()];
        if selection.through() == Through::Gradient {
            draw.sites.iter().zip(&draw.factors).for_each(|(&site, &factor)| factors[site] = Some(factor));
        }
        self.current = Some(Current { phase, position, draw, factors, arriving: None, rates });
        Ok(Some(record))
    }

    /// Takes up the state that a run had after `step` of `epoch`, its last step before the interruption.
    ///
    /// **Errors:** what [`Selection::draw`] returns.
    pub fn resume_after(&mut self, epoch: usize, step: u64, history: &History) -> Result<()> {
        self.begin_step(epoch, step, history).map(|_| ())
    }

    /// The draw in force; `None` where nothing is amplified.
    pub fn draw(&self) -> Option<&Draw> {
        self.current.as_ref().map(|current| &current.draw)
    }

    /// What the draw in force multiplies the learning rate by: 1 but through `mean_learning_rate`.
    pub fn rate(&self) -> f64 {
        self.current.as_ref().map_or(1.0, |current| current.rates.common)
    }

    /// What the draw in force multiplies each parameter's learning rate by, where it acts through `learning_rate`.
    pub fn rates(&self) -> Option<Arc<[f32]>> {
        self.current.as_ref()?.rates.own.clone()
    }

    /// What the draw in force has made of gradients where they are measured; `None` where it multiplies none.
    pub(crate) fn arriving(&mut self) -> Option<Arc<Arriving>> {
        let current = self.current.as_mut()?;
        if current.factors.iter().all(Option::is_none) {
            return None;
        }
        let found = || Arc::new(gain::arriving(&self.trace, &current.draw));
        Some(current.arriving.get_or_insert_with(found).clone())
    }

    /// The action at `site` in the given placement: one comparison and one look-up.
    fn act<B: Backend>(&self, site: &Site, placement: Placement) -> Result<GradientAction<B>> {
        let Some(Current { draw, factors, .. }) = &self.current else { return Ok(GradientAction::Keep) };
        // A model that changes its layers between steps would have the wrong ones amplified: say so.
        match self.trace.sites.get(site.index) {
            Some(known) if known.path == site.path => {}
            _ => return Err(stranger(&format!("layer {} (number {})", site.path, site.index))),
        }
        Ok(match factors[site.index] {
            Some(factor) if draw.placement == placement => GradientAction::Scale(factor),
            _ => GradientAction::Keep,
        })
    }
}

fn stranger(what: &str) -> Error {
    Error::setting("amplification", format!("{what} is not in the trace that the amplifier was made for"))
}

impl<B: Backend> BackwardHook<B> for Amplifier {
    fn on_gradient(&mut self, site: &Site, _: &Gradient<B>) -> Result<GradientAction<B>> {
        self.act(site, Placement::Output)
    }

    fn on_input_gradient(&mut self, site: &Site, _: &Gradient<B>) -> Result<GradientAction<B>> {
        self.act(site, Placement::Input)
    }

    fn on_parameter_gradient(&mut self, path: &str, _: &Gradient<B>) -> Result<GradientAction<B>> {
        let Some(Current { draw, factors, .. }) = &self.current else { return Ok(GradientAction::Keep) };
        if draw.placement != Placement::Params {
            return Ok(GradientAction::Keep);
        }
        let owners = self.owners.get(path).ok_or_else(|| stranger(&format!("parameter {path}")))?;
        // A drawn layer inside a drawn container: both multiply.
        let drawn = owners.iter().filter_map(|&site| factors[site]);
        Ok(match drawn.reduce(|a, b| a * b) {
            None => GradientAction::Keep,
            Some(factor) => GradientAction::Scale(factor),
        })
    }
}

impl fmt::Debug for Amplifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let drawn = self.draw().map_or(0, |draw| draw.sites.len());
        write!(
            f,
            "Amplifier: {} phases, {drawn} of {} sites drawn",
            self.phases.len(),
            self.trace.sites.len()
        )
    }
}

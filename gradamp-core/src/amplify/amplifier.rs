//! The backward hook that amplifies.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use super::draw::{Draw, DrawRecord};
use super::gain::{self, Arriving};
use super::history::History;
use super::policy::AmplificationPolicy;
use super::selection::{Position, Selection};
use super::settings::{AmplificationSettings, Placement, Through};
use super::strategy::{Amplify, Strategy};
use crate::Gradient;
use crate::Trace;
use crate::{Backend, Error, Result};
use crate::{BackwardHook, GradientAction, Site};

/// Multiplies the gradients of the drawn layers, in the phases that amplify.
///
/// Call [`Amplifier::begin_step`] before each step's backward; add the amplifier to the run's hooks by
/// [`Hooks::add_shared`](crate::Hooks::add_shared).
pub struct Amplifier {
    phases: Vec<PhaseSelection>,
    trace: Arc<Trace>,
    /// The sites whose layer holds a parameter, by the parameter's path.
    owners: HashMap<Arc<str>, Vec<usize>>,
    current: Option<Current>,
    /// Whether a pass of the control of step length runs that is amplified.
    measures_length: bool,
}

/// A phase of the strategy.
struct PhaseSelection {
    /// The phase's last epoch plus one.
    end: usize,
    /// The phase's selection; `None` if the phase does not amplify.
    selection: Option<Selection>,
    /// The field that holds the phase's settings, for errors.
    settings: String,
}

/// The draw in force.
struct Current {
    phase: usize,
    position: Position,
    through: Through,
    draw: Draw,
    /// By the numbers of sites; `None` for sites that are not drawn.
    factors: Vec<Option<f32>>,
    arriving: Option<Arc<Arriving>>,
}

impl Amplifier {
    /// An amplifier for the model of `trace`. `run_seed` is the seed of settings without one.
    ///
    /// **Errors:** a strategy or settings out of their range ([`Strategy::check`]); those of [`Selection::new`] for every phase
    /// that amplifies.
    pub fn new(
        strategy: &Strategy,
        settings: &AmplificationSettings,
        trace: &Trace,
        run_seed: u64,
    ) -> Result<Self> {
        Self::build(strategy, settings, trace, run_seed, None)
    }

    /// Like [`Amplifier::new`], but `policy` decides in all phases that amplify. The settings still give the eligible layers,
    /// the placement and the bound on the gain.
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
        strategy.check().map_err(|error| error.within("strategy"))?;
        settings.check().map_err(|error| error.within("amplification"))?;
        let trace = Arc::new(trace.clone());
        let mut end = 0;
        let phases = strategy.phases.iter().enumerate().map(|(i, phase)| {
            let begin = end;
            end += phase.epochs;
            let field = match phase.amplify {
                Amplify::On(Some(_)) => format!("strategy.phases[{i}].amplify"),
                _ => "amplification".into(),
            };
            let select = |settings| Selection::in_phase(settings, &trace, run_seed, begin, policy);
            let selection = phase.amplify.settings(settings).map(select).transpose();
            let selection = selection.map_err(|error| error.within(&field))?;
            Ok(PhaseSelection { end, selection, settings: field })
        });
        let phases = phases.collect::<Result<_>>()?;
        let owners_of = |path: &str| {
            trace.sites.iter().filter(|site| site.owns(path)).map(|site| site.index).collect::<Vec<_>>()
        };
        let owners = trace.parameters.iter().map(|path| (path.clone(), owners_of(path))).collect();
        Ok(Self { phases, trace, owners, current: None, measures_length: false })
    }

    /// The selection of each phase; `None` for a phase that does not amplify.
    pub fn selections(&self) -> impl ExactSizeIterator<Item = Option<&Selection>> {
        self.phases.iter().map(|phase| phase.selection.as_ref())
    }

    /// The number of epochs whose statistics a run must keep; 0 if no policy looks back.
    pub fn epochs_kept(&self) -> usize {
        self.selections().flatten().map(Selection::epochs_kept).max().unwrap_or(0)
    }

    /// Puts the draw for `epoch` and `step` in force (both from 0, the step counted over the whole run).
    /// Returns the draw's record if the draw begins at this step: at the first amplified step of a phase, and whenever the
    /// policy decides again, even if it selects no layer.
    ///
    /// A resumed run calls [`Amplifier::resume_after`] first, so that no draw is recorded twice.
    ///
    /// **Errors:** those of [`Selection::draw`].
    pub fn begin_step(&mut self, epoch: usize, step: u64, history: &History) -> Result<Option<DrawRecord>> {
        let phase = self.phases.iter().position(|phase| epoch < phase.end);
        let Some((phase, selection)) = phase.and_then(|p| Some((p, self.phases[p].selection.as_ref()?)))
        else {
            self.current = None;
            return Ok(None);
        };
        let position = selection.position(epoch, step);
        if self.current.as_ref().is_some_and(|current| (current.phase, current.position) == (phase, position))
        {
            return Ok(None);
        }
        let within = |error: Error| error.within(&self.phases[phase].settings);
        let draw = selection.draw(epoch, step, history).map_err(within)?;
        let record = draw.record(&self.trace.sites, epoch, step);
        let mut factors = vec![None; self.trace.sites.len()];
        let through = selection.through();
        draw.sites.iter().zip(&draw.factors).for_each(|(&site, &factor)| factors[site] = Some(factor));
        self.current = Some(Current { phase, position, through, draw, factors, arriving: None });
        Ok(Some(record))
    }

    /// Restores the state after `step` of `epoch`, the last step before the interruption.
    ///
    /// **Errors:** those of [`Selection::draw`].
    pub fn resume_after(&mut self, epoch: usize, step: u64, history: &History) -> Result<()> {
        self.begin_step(epoch, step, history).map(|_| ())
    }

    /// The draw in force; `None` in a phase that does not amplify.
    pub fn draw(&self) -> Option<&Draw> {
        self.current.as_ref().map(|current| &current.draw)
    }

    /// Under the control of step length, whether lengths are those of layers; `None` where no layer is drawn or gradients are
    /// multiplied.
    pub(crate) fn step_length(&self) -> Option<bool> {
        let Current { through, draw, .. } = self.current.as_ref()?;
        match through {
            _ if draw.sites.is_empty() => None,
            Through::StepLength => Some(false),
            Through::StepLengthPerLayer => Some(true),
            Through::Gradient | Through::LearningRate | Through::MeanLearningRate => None,
        }
    }

    /// Under the control of step length, begins or ends a pass that is amplified.
    pub(crate) fn measure_length(&mut self, measures: bool) {
        self.measures_length = measures;
    }

    /// The gains of the draw in force at the places where gradients are measured; `None` if no gradient is multiplied.
    pub(crate) fn arriving(&mut self) -> Option<Arc<Arriving>> {
        let current = self.current.as_mut()?;
        if current.through != Through::Gradient || current.factors.iter().all(Option::is_none) {
            return None;
        }
        let found = || Arc::new(gain::arriving(&self.trace, &current.draw));
        Some(current.arriving.get_or_insert_with(found).clone())
    }

    /// The draw in force, if this pass is amplified by it.
    fn acting(&self) -> Option<&Current> {
        let acts = |current: &&Current| current.through == Through::Gradient || self.measures_length;
        self.current.as_ref().filter(acts)
    }

    /// The action at `site` for the given placement: one comparison and one look-up.
    fn act<B: Backend>(&self, site: &Site, placement: Placement) -> Result<GradientAction<B>> {
        let Some(Current { draw, factors, .. }) = self.acting() else { return Ok(GradientAction::Keep) };
        // If the model changed its layers between steps, the wrong layers would be amplified.
        match self.trace.sites.get(site.index) {
            Some(known) if known.path == site.path => {}
            _ => return Err(not_in_trace(&format!("layer {} (number {})", site.path, site.index))),
        }
        Ok(match factors[site.index] {
            Some(factor) if draw.placement == placement => GradientAction::Scale(factor),
            _ => GradientAction::Keep,
        })
    }
}

fn not_in_trace(what: &str) -> Error {
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
        let Some(Current { draw, factors, .. }) = self.acting() else { return Ok(GradientAction::Keep) };
        if draw.placement != Placement::Params {
            return Ok(GradientAction::Keep);
        }
        let owners = self.owners.get(path).ok_or_else(|| not_in_trace(&format!("parameter {path}")))?;
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

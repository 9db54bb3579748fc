//! The backward hook that amplifies.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use super::draw::{Draw, DrawRecord};
use super::selection::{Position, Selection, owns};
use super::settings::{AmplificationSettings, Keys, Placement};
use super::strategy::{Amplify, Strategy};
use crate::gradient::Gradient;
use crate::hook::{BackwardHook, GradientAction, Site};
use crate::tape::Trace;
use crate::{Backend, Error, Result};

/// Multiplies the gradients of the drawn layers, in the phases that amplify.
///
/// Call [`Amplifier::begin_step`] before each step's backward; add the amplifier to the run's hooks by
/// [`Hooks::add_shared`](crate::Hooks::add_shared).
pub struct Amplifier {
    /// Each phase's last epoch plus one, and what it selects.
    phases: Vec<(usize, Option<Selection>)>,
    sites: Vec<Site>,
    /// The sites whose layer holds a parameter, by its path.
    owners: HashMap<Arc<str>, Vec<usize>>,
    current: Option<Current>,
}

/// The draw in force.
struct Current {
    phase: usize,
    position: Position,
    draw: Draw,
    /// By the sites' numbers; `None` for those that are not drawn.
    factors: Vec<Option<f32>>,
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
        strategy.check()?;
        settings.check()?;
        let mut end = 0;
        let phases = strategy.phases.iter().enumerate().map(|(i, phase)| {
            end += phase.epochs;
            let Amplify::On(overrides) = &phase.amplify else { return Ok((end, None)) };
            let keys = Keys::of_phase(i, overrides);
            Selection::new_as(&keys, &settings.with(overrides), trace, run_seed).map(|s| (end, Some(s)))
        });
        let phases = phases.collect::<Result<_>>()?;
        let owners_of = |path: &str| {
            trace.sites.iter().filter(|site| owns(site, path)).map(|site| site.index).collect::<Vec<_>>()
        };
        let owners = trace.parameters.iter().map(|path| (path.clone(), owners_of(path))).collect();
        Ok(Self { phases, sites: trace.sites.clone(), owners, current: None })
    }

    /// What each phase selects; `None` for a phase that does not amplify.
    pub fn selections(&self) -> impl ExactSizeIterator<Item = Option<&Selection>> {
        self.phases.iter().map(|(_, selection)| selection.as_ref())
    }

    /// Makes the draw for `epoch` and `step` (both from 0, the step counted over the whole run) the one in force.
    /// Gives its record where it begins to hold at this step: at the first amplified step of a phase, and at each redraw.
    ///
    /// A resumed run calls [`Amplifier::resume_after`] first, so that nothing is recorded twice.
    pub fn begin_step(&mut self, epoch: usize, step: u64) -> Option<DrawRecord> {
        let phase = self.phases.iter().position(|(end, _)| epoch < *end);
        let Some((phase, selection)) = phase.and_then(|p| Some((p, self.phases[p].1.as_ref()?))) else {
            self.current = None;
            return None;
        };
        let position = selection.position(epoch, step);
        if self.current.as_ref().is_some_and(|current| (current.phase, current.position) == (phase, position))
        {
            return None;
        }
        let draw = selection.draw(epoch, step);
        let record = draw.record(&self.sites, epoch, step);
        let mut factors = vec![None; self.sites.len()];
        draw.sites.iter().zip(&draw.factors).for_each(|(&site, &factor)| factors[site] = Some(factor));
        self.current = Some(Current { phase, position, draw, factors });
        Some(record)
    }

    /// Takes up the state that a run had after `step` of `epoch`, its last step before the interruption.
    pub fn resume_after(&mut self, epoch: usize, step: u64) {
        self.begin_step(epoch, step);
    }

    /// The draw in force; `None` where nothing is amplified.
    pub fn draw(&self) -> Option<&Draw> {
        self.current.as_ref().map(|current| &current.draw)
    }

    /// The action at `site` in the given placement: one comparison and one look-up.
    fn act<B: Backend>(&self, site: &Site, placement: Placement) -> Result<GradientAction<B>> {
        let Some(Current { draw, factors, .. }) = &self.current else { return Ok(GradientAction::Keep) };
        // A model that changes its layers between steps would have the wrong ones amplified: say so.
        match self.sites.get(site.index) {
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
        write!(f, "Amplifier: {} phases, {drawn} of {} sites drawn", self.phases.len(), self.sites.len())
    }
}

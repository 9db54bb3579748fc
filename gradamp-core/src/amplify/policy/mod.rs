//! Who decides what is amplified: the plug-in trait, and the policies that ship with this crate.

mod depth;
mod equalise;
mod fluctuation;
mod list;
mod random;

use std::fmt;
use std::sync::Arc;

pub use depth::{DepthChanges, DepthSettings, Profile};
pub use equalise::{EqualiseChanges, EqualiseSettings};
pub use fluctuation::{FluctuationChanges, FluctuationSettings, Measure, Measured, Side};

use super::history::EpochStatistics;
use super::overrides::Keys;
use super::settings::{AmplificationSettings, Placement, PolicyName};
use crate::Trace;
use crate::random::{Purpose, Stream};
use crate::{Result, Site};

/// Decides which of the eligible sites are amplified, and by what.
///
/// A decision is a function of the [`PolicyContext`] alone, so that a resumed run decides as the first one did: a policy
/// keeps nothing between two calls. What it wants to know of the past it asks for by
/// [`AmplificationPolicy::memory`]; statistics belong to the run's state, and so to its checkpoints.
///
/// A policy of one's own is handed to [`Trainer::set_policy`](crate::train::Trainer::set_policy).
pub trait AmplificationPolicy: fmt::Debug + Send + Sync {
    /// The sites to amplify (by number, each one of [`PolicyContext::eligible`]), each with a factor that is finite and
    /// above 0. No site means: nothing is amplified until the next decision.
    ///
    /// **Errors:** whatever keeps the policy from deciding; it ends the run.
    fn decide(&self, context: &PolicyContext<'_>) -> Result<Vec<(usize, f32)>>;

    /// When it decides.
    fn timing(&self) -> Timing {
        Timing::Epochs(1)
    }

    /// How many epochs of gradient statistics it looks back on. Nothing is amplified until there are so many: the
    /// policy is not asked before.
    fn memory(&self) -> usize {
        0
    }

    /// What is known of its decisions before the run.
    fn predictability(&self) -> Predictability {
        Predictability::Unknown
    }
}

/// When a policy decides anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timing {
    /// Once, for the whole run.
    Once,
    /// Every so many epochs (at least 1), counted from the beginning of the phase, or from where there are statistics
    /// enough if that is later.
    Epochs(usize),
    /// At every step.
    Step,
}

/// What is known of a policy's decisions before the run: decides what a run can say about the gains to expect.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Predictability {
    /// Nothing.
    Unknown,
    /// All decisions are the same, whatever the context.
    Fixed,
    /// Of the eligible sites, `count` are drawn at random, all with equal chances, and amplified by `factor`.
    Drawn {
        /// How many.
        count: usize,
        /// By what.
        factor: f32,
    },
}

/// What a policy sees when it decides.
#[derive(Clone, Copy, Debug)]
pub struct PolicyContext<'a> {
    /// The model: all sites, and how they hang together.
    pub trace: &'a Trace,
    /// The eligible sites' numbers, ascending, at least one.
    pub eligible: &'a [usize],
    /// Which gradients of an amplified layer are multiplied.
    pub placement: Placement,
    /// The epoch from which on the decision holds, from 0; 0 for one that serves the whole run.
    pub epoch: usize,
    /// The step, from 0, counted over the whole run; 0 for a decision that serves an epoch or longer.
    pub step: u64,
    /// The seed of the draws.
    pub seed: u64,
    /// The last epochs before this one, oldest first: as many as [`AmplificationPolicy::memory`] asks for.
    pub statistics: &'a [EpochStatistics],
}

impl PolicyContext<'_> {
    /// The eligible sites, in forward order.
    pub fn sites(&self) -> impl DoubleEndedIterator<Item = &Site> {
        self.eligible.iter().filter_map(|&index| self.trace.sites.get(index))
    }

    /// Random numbers for this decision alone.
    pub fn random(&self) -> Stream {
        Stream::new(self.seed, Purpose::Amplify).at(self.epoch as u64).at(self.step)
    }
}

/// The policy that `settings` name, for these eligible sites.
///
/// **Errors:** settings that do not fit the policy, the placement or the model.
pub(super) fn build(
    keys: &Keys,
    settings: &AmplificationSettings,
    trace: &Trace,
    eligible: &[usize],
) -> Result<Arc<dyn AmplificationPolicy>> {
    list::check_factors(keys, settings)?;
    Ok(match settings.policy {
        PolicyName::Random => Arc::new(random::Random::new(keys, settings, eligible)?),
        PolicyName::List => Arc::new(list::List::new(settings, trace)),
        PolicyName::All => Arc::new(list::List::of_all(eligible, settings.factor)),
        PolicyName::Fluctuation => Arc::new(fluctuation::Fluctuation::new(keys, settings, trace, eligible)?),
        PolicyName::Equalise => Arc::new(equalise::Equalise::new(keys, settings)?),
        PolicyName::Depth => Arc::new(list::List::of_profile(eligible, &settings.depth)),
    })
}

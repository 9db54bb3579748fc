//! Policies: the trait that decides what is amplified, and its implementations in this crate.

mod basic;
mod equalise;
mod fluctuation;

use std::fmt;

pub(super) use basic::{List, Random, check_factors};
pub(super) use equalise::Equalise;
pub(super) use fluctuation::Fluctuation;

use super::history::EpochStatistics;
use super::settings::{Draws, Placement};
use crate::random::{Purpose, Stream};
use crate::{Result, Site, Trace};

/// Decides which of the eligible sites are amplified, and by which factors.
///
/// A decision is a function of the [`PolicyContext`] alone, so that a resumed run makes the decisions of an uninterrupted
/// one. A policy therefore stores nothing between two calls. It asks for statistics of earlier epochs by
/// [`AmplificationPolicy::memory`]; they are part of the run's state and of its checkpoints.
///
/// [`Trainer::set_policy`](crate::train::Trainer::set_policy) takes a policy of your own.
///
/// ```
/// use gradamp_core::amplify::{
///     AmplificationPolicy, AmplificationSettings, Amplifier, Amplify, History, PolicyContext, LearningRate, Strategy, Timing,
/// };
/// use gradamp_core::nn::{self, Linear};
/// use gradamp_core::{LayerKind, Parameters, Reference};
///
/// /// Amplifies the eligible layer closest to the loss, in every second epoch.
/// #[derive(Debug)]
/// struct LastLayer {
///     factor: f32,
/// }
///
/// impl AmplificationPolicy for LastLayer {
///     fn decide(&self, context: &PolicyContext<'_>) -> gradamp_core::Result<Vec<(usize, f32)>> {
///         let last = context.sites().next_back().filter(|_| context.epoch % 2 == 1);
///         Ok(last.map(|site| (site.index, self.factor)).into_iter().collect())
///     }
///
///     fn timing(&self) -> Timing {
///         Timing::Epochs(1)
///     }
/// }
///
/// let mut parameters = Parameters::new(&Reference, 0);
/// let model = Linear::new(&mut parameters, "linear", [4, 2])?;
/// let trace = nn::trace(&model, &mut parameters, [1, 1, 4])?;
/// let strategy = Strategy::single(4, LearningRate::constant(0.1), Amplify::on());
/// let settings = AmplificationSettings::default().with_kinds(vec![LayerKind::Linear]);
/// let policy = Box::new(LastLayer { factor: 3.0 });
/// let mut amplifier = Amplifier::with_policy(&strategy, &settings, &trace, 0, policy)?;
/// amplifier.begin_step(0, 0, &History::default())?;
/// assert!(amplifier.draw().is_some_and(|draw| draw.sites.is_empty()));
/// amplifier.begin_step(1, 10, &History::default())?;
/// assert_eq!(amplifier.draw().map(|draw| draw.factors.clone()), Some(vec![3.0]));
/// # Ok::<(), gradamp_core::Error>(())
/// ```
pub trait AmplificationPolicy: fmt::Debug + Send + Sync {
    /// Returns the sites to amplify (numbers out of [`PolicyContext::eligible`]), each with a factor that is finite and above
    /// 0. If the list is empty, nothing is amplified until the next decision.
    ///
    /// **Errors:** any error ends the run.
    fn decide(&self, context: &PolicyContext<'_>) -> Result<Vec<(usize, f32)>>;

    /// When the policy decides.
    fn timing(&self) -> Timing {
        Timing::Epochs(1)
    }

    /// The number of past epochs whose gradient statistics the policy needs. Until a run has that many, the policy is not
    /// called and nothing is amplified.
    fn memory(&self) -> usize {
        0
    }

    /// What is known about the policy's decisions before the run.
    fn predictability(&self) -> Predictability {
        Predictability::Unknown
    }
}

/// When a policy decides anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Timing {
    /// Once, for the whole run.
    Once,
    /// Whenever this number of epochs (at least 1) has passed. They are counted from the beginning of the phase, or from the
    /// first epoch with enough statistics if that is later.
    Epochs(usize),
    /// At every step.
    Step,
}

/// What is known about a policy's decisions before the run. The expected gains of a run follow from it.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Predictability {
    /// Nothing.
    Unknown,
    /// All decisions are the same, whatever the context.
    Fixed,
    /// Of the eligible sites, `count` are drawn at random, all with equal chances, and amplified by `factor`.
    Drawn {
        /// The number of sites that are drawn.
        count: usize,
        /// The factor of each drawn site.
        factor: f32,
    },
}

/// What a policy sees when it decides.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct PolicyContext<'a> {
    /// The model: all sites and their connections.
    pub trace: &'a Trace,
    /// The eligible sites' numbers, ascending, at least one.
    pub eligible: &'a [usize],
    /// Which gradients of an amplified layer are multiplied.
    pub placement: Placement,
    /// The first epoch that the decision serves, from 0; 0 for a decision that serves the whole run.
    pub epoch: usize,
    /// The step, from 0, counted over the whole run; 0 for a decision that serves an epoch or longer.
    pub step: u64,
    /// The seed of the draws.
    pub seed: u64,
    /// What the draws depend on besides the seed and the time.
    pub draws: Draws,
    /// The last epochs before this one, oldest first: as many as [`AmplificationPolicy::memory`] asks for.
    pub statistics: &'a [EpochStatistics],
}

impl PolicyContext<'_> {
    /// The eligible sites, in forward order.
    pub fn sites(&self) -> impl DoubleEndedIterator<Item = &Site> {
        self.eligible.iter().filter_map(|&index| self.trace.sites.get(index))
    }

    /// A stream of random numbers for this decision alone. With [`Draws::Layers`] other eligible layers have another stream.
    pub fn random(&self) -> Stream {
        let stream = Stream::new(self.seed, Purpose::Amplify);
        let stream = match self.draws {
            Draws::Layers => stream.at(hash(self.sites().map(|site| &*site.path))),
            Draws::Positions => stream,
        };
        stream.at(self.epoch as u64).at(self.step)
    }
}

/// A number for a list of paths, the same on every machine.
///
/// **Source:** FNV-1a, 64 bits; G. Fowler, L. C. Noll, P. Vo.
fn hash<'a>(paths: impl Iterator<Item = &'a str>) -> u64 {
    // A line feed ends each path, since no path holds one.
    let bytes = paths.flat_map(|path| path.bytes().chain([b'\n']));
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

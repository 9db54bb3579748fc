use super::{AmplificationPolicy, PolicyContext, Predictability, Timing};
use crate::amplify::overrides::Keys;
use crate::amplify::settings::{AmplificationSettings, Redraw};
use crate::{Error, Result};

/// A random subset of the eligible sites, all by one factor.
///
/// Draws of different size at one place are nested: the layers drawn at a ratio of 0.25 are among those drawn at 0.5,
/// so that studies of the ratio compare like with like. And a draw made `once` is that of epoch 0.
///
/// **Source:** Basodi et al. 2020 amplify a random subset of the layers of one type.
#[derive(Clone, Debug)]
pub(super) struct Random {
    count: usize,
    factor: f32,
    redraw: Redraw,
}

impl Random {
    /// **Errors:** a count larger than the number of eligible sites.
    pub(super) fn new(keys: &Keys, settings: &AmplificationSettings, eligible: &[usize]) -> Result<Self> {
        let count = match (settings.count, settings.ratio) {
            (Some(count), _) if count > eligible.len() => {
                let message = format!("is {count}, but only {} layers are eligible", eligible.len());
                return Err(Error::setting(keys.key("count"), message));
            }
            (Some(count), _) => count,
            (None, Some(ratio)) => ((ratio * eligible.len() as f64).round() as usize).max(1),
            (None, None) => eligible.len(),
        };
        Ok(Self { count, factor: settings.factor, redraw: settings.redraw })
    }
}

impl AmplificationPolicy for Random {
    fn decide(&self, context: &PolicyContext<'_>) -> Result<Vec<(usize, f32)>> {
        let chosen = context.random().choose(context.eligible.len(), self.count);
        Ok(chosen.into_iter().map(|i| (context.eligible[i], self.factor)).collect())
    }

    fn timing(&self) -> Timing {
        match self.redraw {
            Redraw::Once => Timing::Once,
            Redraw::Epoch => Timing::Epochs(1),
            Redraw::Step => Timing::Step,
        }
    }

    fn predictability(&self) -> Predictability {
        Predictability::Drawn { count: self.count, factor: self.factor }
    }
}

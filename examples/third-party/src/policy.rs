use gradamp_core::amplify::{AmplificationPolicy, AmplificationSettings, PolicyContext};
use gradamp_core::{Backend, BackwardHook, Gradient, GradientAction, LayerKind, Result, Site};

/// A policy that amplifies layers with small gradients: those whose mean norm in the last epoch is less than a share
/// of the largest mean norm.
#[derive(Debug)]
pub struct Faded {
    /// The share of the largest mean norm, from 0 to 1.
    pub share: f64,
    /// The factor for these layers.
    pub factor: f32,
}

impl Faded {
    /// Creates the policy from a configuration's `amplification.factor` and `amplification.options.share`.
    ///
    /// **Errors:** there is an option other than `share`.
    pub fn new(settings: &AmplificationSettings) -> Result<Self> {
        settings.check_options(&["share"])?;
        Ok(Self { share: settings.option("share", 0.5), factor: settings.factor })
    }
}

impl AmplificationPolicy for Faded {
    /// The number of past epochs that the policy looks at. The trainer measures the gradients of each epoch, and asks
    /// for the first decision after one epoch has been measured.
    fn memory(&self) -> usize {
        1
    }

    fn decide(&self, context: &PolicyContext<'_>) -> Result<Vec<(usize, f32)>> {
        let norm = |site: usize| context.statistics.last()?.site(site)?.output.mean_norm();
        let norms = context.eligible.iter().filter_map(|&site| Some((site, norm(site)?)));
        let largest = norms.clone().map(|(_, norm)| norm).fold(0.0, f64::max);
        Ok(norms
            .filter(|(_, norm)| *norm < self.share * largest)
            .map(|(site, _)| (site, self.factor))
            .collect())
    }
}

/// A hook that limits the norm of the gradient at each convolution's output. Reading a norm makes the host wait for
/// the device, which slows training down, so a hook that runs at every step should avoid reading values if it can.
#[derive(Debug)]
pub struct Ceiling {
    /// The largest norm that a gradient may have.
    pub norm: f32,
}

impl<B: Backend> BackwardHook<B> for Ceiling {
    fn on_gradient(&mut self, site: &Site, gradient: &Gradient<B>) -> Result<GradientAction<B>> {
        if site.kind != LayerKind::Conv {
            return Ok(GradientAction::Keep);
        }
        let norm = gradient.statistics()?.sum_squares.sqrt();
        Ok(if norm > self.norm { GradientAction::Scale(self.norm / norm) } else { GradientAction::Keep })
    }
}

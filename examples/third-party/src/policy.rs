use gradamp_core::amplify::{AmplificationPolicy, AmplificationSettings, PolicyContext};
use gradamp_core::{Backend, BackwardHook, Gradient, GradientAction, LayerKind, Result, Site};

/// A policy that amplifies the layers with small gradients: those whose mean norm in the last epoch is below a share of the largest
/// mean norm.
#[derive(Debug)]
pub struct Faded {
    /// The share of the largest norm, in [0, 1].
    pub share: f64,
    /// The factor of these layers.
    pub factor: f32,
}

impl Faded {
    /// The policy as a configuration describes it: `amplification.factor` and `amplification.options.share`.
    ///
    /// **Errors:** an option other than `share`.
    pub fn new(settings: &AmplificationSettings) -> Result<Self> {
        settings.check_options(&["share"])?;
        Ok(Self { share: settings.option("share", 0.5), factor: settings.factor })
    }
}

impl AmplificationPolicy for Faded {
    /// The policy looks back on one epoch. The trainer measures the gradients of each epoch, and asks for the first decision after one
    /// epoch was measured.
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

/// A hook that limits the norm of each gradient of a convolution's output. Reading the norm waits for the device, which slows training
/// down. Hooks that run at every step should therefore avoid reading values.
#[derive(Debug)]
pub struct Ceiling {
    /// The largest norm.
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

//! The numbers per channel that a batch norm reads.

/// The per-channel operands of a batch norm, as slices; see [`gradamp_core::backend::BatchNormOperands`].
#[derive(Clone, Copy)]
pub(crate) struct Operands<'a> {
    pub(crate) mean: &'a [f32],
    pub(crate) variance: &'a [f32],
    pub(crate) gamma: &'a [f32],
    pub(crate) beta: &'a [f32],
    pub(crate) epsilon: f32,
}

impl Operands<'_> {
    /// 1 / sqrt(variance + epsilon)
    pub(crate) fn inverse_deviation(&self) -> Vec<f32> {
        self.variance.iter().map(|&v| (1.0 / f64::from(v + self.epsilon).sqrt()) as f32).collect()
    }

    /// gamma / sqrt(variance + epsilon)
    pub(crate) fn scale(&self) -> Vec<f32> {
        self.inverse_deviation().iter().zip(self.gamma).map(|(d, g)| d * g).collect()
    }
}

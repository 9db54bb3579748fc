//! How exactly convolutions multiply.

use serde::{Deserialize, Serialize};

/// How exactly convolutions and products of matrices multiply. A backend that lacks a precision computes in f32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// Factors, products and sums are f32.
    #[default]
    F32,
    /// Factors are rounded to f16 on GPUs and to bf16 on CPUs; products, sums and all tensors are f32. On GPUs only convolutions
    /// round their factors.
    Mixed,
}

impl Precision {
    /// Every precision.
    pub const ALL: [Self; 2] = [Precision::F32, Precision::Mixed];

    /// The name in settings.
    pub fn name(self) -> &'static str {
        match self {
            Precision::F32 => "f32",
            Precision::Mixed => "mixed",
        }
    }
}

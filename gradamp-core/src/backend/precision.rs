//! How exactly convolutions multiply.

use serde::{Deserialize, Serialize};

/// How exactly convolutions multiply. A backend that lacks a precision computes in f32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// Factors, products and sums are f32.
    #[default]
    F32,
    /// Factors are rounded to f16; products, sums and all tensors are f32.
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

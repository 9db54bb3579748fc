//! Corrections of the p-values of several comparisons.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A correction for several comparisons.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Correction {
    /// Bounds the probability of one or more false findings (Holm).
    #[default]
    Holm,
    /// Bounds the expected share of false findings among the findings (Benjamini and Hochberg).
    Bh,
}

impl Correction {
    /// The corrected p-values, in the same order.
    pub fn apply(self, p: &[f64]) -> Vec<f64> {
        match self {
            Correction::Holm => holm(p),
            Correction::Bh => benjamini_hochberg(p),
        }
    }

    /// Replaces p-values by corrected ones. Comparisons without a test have none.
    pub fn correct(self, places: Vec<&mut Option<f64>>) {
        let p: Vec<f64> = places.iter().filter_map(|place| **place).collect();
        places.into_iter().flatten().zip(self.apply(&p)).for_each(|(place, p)| *place = p);
    }
}

impl Correction {
    /// All corrections.
    pub const ALL: [Self; 2] = [Correction::Holm, Correction::Bh];

    /// The name, as in options and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Correction::Holm => "holm",
            Correction::Bh => "bh",
        }
    }

    /// A short name, for the heads of columns.
    pub fn short(self) -> &'static str {
        match self {
            Correction::Holm => "Holm",
            Correction::Bh => "BH",
        }
    }
}

impl fmt::Display for Correction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Correction::Holm => "Holm",
            Correction::Bh => "Benjamini-Hochberg",
        })
    }
}

/// Corrected p-values. The probability of one or more false findings stays below the level, even for dependent tests.
///
/// The k-th smallest of m becomes max over i ≤ k of min(1, (m − i + 1) p_i).
///
/// **Source:** S. Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6,
/// 1979.
pub fn holm(p: &[f64]) -> Vec<f64> {
    let (mut corrected, mut largest) = (p.to_vec(), 0.0_f64);
    for (rank, i) in ascending(p).into_iter().enumerate() {
        largest = largest.max((p.len() - rank) as f64 * p[i]).min(1.0);
        corrected[i] = largest;
    }
    corrected
}

/// Corrected p-values. The expected share of false findings among the findings stays below the level, for independent tests.
///
/// The k-th smallest of m becomes min over i ≥ k of min(1, m/i p_i).
///
/// **Source:** Y. Benjamini, Y. Hochberg, "Controlling the false discovery rate", Journal of the Royal Statistical
/// Society B 57(1), 1995.
pub fn benjamini_hochberg(p: &[f64]) -> Vec<f64> {
    let (mut corrected, mut smallest) = (p.to_vec(), 1.0_f64);
    for (rank, i) in ascending(p).into_iter().enumerate().rev() {
        smallest = smallest.min(p.len() as f64 / (rank + 1) as f64 * p[i]);
        corrected[i] = smallest;
    }
    corrected
}

/// The indices of the values, from the smallest value to the largest.
fn ascending(values: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&i, &j| values[i].total_cmp(&values[j]));
    order
}

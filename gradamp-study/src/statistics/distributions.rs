//! The distributions behind the tests. Where a distribution is not defined, its function returns NaN.

use statrs::function::beta::{checked_beta_reg, inv_beta_reg};
use statrs::function::erf::{erfc, erfc_inv};
use statrs::function::gamma::ln_gamma;
use std::collections::HashMap;
use std::f64::consts::{FRAC_1_SQRT_2, SQRT_2};

/// P(X ≤ x) of the beta distribution.
pub fn beta(a: f64, b: f64, x: f64) -> f64 {
    checked_beta_reg(a, b, x).unwrap_or(f64::NAN)
}

/// P(Z ≤ z) of the normal distribution.
pub fn normal(z: f64) -> f64 {
    0.5 * erfc(-z * FRAC_1_SQRT_2)
}

/// The z with P(Z ≤ z) = `p`.
pub fn normal_quantile(p: f64) -> f64 {
    -SQRT_2 * erfc_inv(2.0 * p)
}

/// P(X ≥ x) of the chi-square distribution with one degree of freedom.
pub fn chi_square_tail(x: f64) -> f64 {
    erfc((0.5 * x).sqrt())
}

/// P(X ≤ k) of the number of heads in `n` tosses of a fair coin.
pub fn fair_binomial(k: u64, n: u64) -> f64 {
    if k >= n { 1.0 } else { beta((n - k) as f64, k as f64 + 1.0, 0.5) }
}

/// P(|T| ≥ |t|) of Student's distribution with `df` degrees of freedom.
pub fn student_two_sided(t: f64, df: f64) -> f64 {
    if t.is_infinite() {
        return 0.0;
    }
    // Of the two equal forms, takes the one that does not subtract a small number from 1.
    let square = t * t;
    if square < 1.0 {
        1.0 - beta(0.5, 0.5 * df, square / (df + square))
    } else {
        beta(0.5 * df, 0.5, df / (df + square))
    }
}

/// P(T ≥ t) of Student's distribution with `df` degrees of freedom.
pub fn student_upper_tail(t: f64, df: f64) -> f64 {
    let half = 0.5 * student_two_sided(t, df);
    if t >= 0.0 { half } else { 1.0 - half }
}

/// The t with P(|T| > t) = `alpha`.
pub fn student_critical(alpha: f64, df: f64) -> f64 {
    let x = inv_beta_reg(0.5 * df, 0.5, alpha);
    let mut t = (df * (1.0 - x) / x).sqrt();
    // A few Newton steps make the inverse exact to the last digits.
    for _ in 0..3 {
        let ln_density = ln_gamma(0.5 * (df + 1.0))
            - ln_gamma(0.5 * df)
            - 0.5 * (df * std::f64::consts::PI).ln()
            - 0.5 * (df + 1.0) * (t * t / df).ln_1p();
        t += (student_two_sided(t, df) - alpha) / (2.0 * ln_density.exp());
    }
    t
}

/// P(T ≤ t) of Student's distribution around `delta`: of (Z + δ) / √(χ²/df).
pub fn noncentral_student(t: f64, df: f64, delta: f64) -> f64 {
    NoncentralStudent::new(t, df).probability(delta)
}

/// Student's noncentral distributions at one t. What does not depend on δ is computed once, however often a solver asks.
pub struct NoncentralStudent {
    t: f64,
    df: f64,
    /// By j: ln Γ(j + 1), ln Γ(j + 3/2), I_x(j + ½, df/2), I_x(j + 1, df/2).
    terms: HashMap<u64, [f64; 4]>,
}

impl NoncentralStudent {
    /// The distributions with `df` degrees of freedom at `t`.
    pub fn new(t: f64, df: f64) -> Self {
        Self { t, df, terms: HashMap::new() }
    }

    /// P(T ≤ t) around `delta`.
    ///
    /// P = Φ(−δ) + ½ Σ_j [ p_j I_x(j + ½, df/2) + q_j I_x(j + 1, df/2) ] for t ≥ 0, with x = t²/(df + t²),
    /// p_j = e^(−λ) λ^j / j!, q_j = δ/√2 · e^(−λ) λ^j / Γ(j + 3/2), λ = δ²/2. For t < 0 it is one less that of −t around −δ.
    ///
    /// **Source:** R. V. Lenth, "Algorithm AS 243: Cumulative distribution function of the non-central t distribution",
    /// Applied Statistics 38(1), 1989.
    pub fn probability(&mut self, delta: f64) -> f64 {
        if self.t < 0.0 { 1.0 - self.at_magnitude(-delta) } else { self.at_magnitude(delta) }
    }

    /// P(T ≤ |t|) around `delta`.
    fn at_magnitude(&mut self, delta: f64) -> f64 {
        let (t, df) = (self.t, self.df);
        let lambda = 0.5 * delta * delta;
        let below_zero = normal(-delta);
        let x = t * t / (df + t * t);
        if x == 0.0 {
            return below_zero;
        }
        // The weights are those of a Poisson distribution, apart from a constant factor. In f64, weights more than ten
        // deviations from λ do not matter.
        let reach = 10.0 * lambda.sqrt() + 20.0;
        let (first, last) = ((lambda - reach).max(0.0) as u64, (lambda + reach) as u64);
        let ln_lambda = lambda.ln();
        let sum: f64 = (first..=last)
            .map(|number| {
                let j = number as f64;
                let [ln_p, ln_q, beta_p, beta_q] = *self.terms.entry(number).or_insert_with(|| {
                    let half = 0.5 * df;
                    [ln_gamma(j + 1.0), ln_gamma(j + 1.5), beta(j + 0.5, half, x), beta(j + 1.0, half, x)]
                });
                let power = if j == 0.0 { 0.0 } else { j * ln_lambda }; // 0⁰ = 1
                let p = (power - lambda - ln_p).exp();
                let q = FRAC_1_SQRT_2 * delta * (power - lambda - ln_q).exp();
                p * beta_p + q * beta_q
            })
            .sum();
        (below_zero + 0.5 * sum).clamp(0.0, 1.0)
    }
}

/// The x in `low..high` at which a decreasing function has the value `level`, exact to the last digits.
pub fn solve_falling(
    level: f64,
    (mut low, mut high): (f64, f64),
    mut function: impl FnMut(f64) -> f64,
) -> f64 {
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if function(middle) > level { low = middle } else { high = middle }
    }
    0.5 * (low + high)
}

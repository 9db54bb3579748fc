//! Sizes of gradients at which a normalisation may lose its meaning.

use gradamp_core::optim::{Normalise, Optimizer, Sgd, SgdSettings};
use gradamp_core::{Parameters, Reference};

use crate::planted::{gradients, parameters, trained, values};

/// The decreases of all trained parameters by one step of lr 1, without momentum and weight decay, from parameters of 0.
fn decreases(method: Normalise, values: &[Vec<f32>], scale: f32) -> Vec<Vec<f32>> {
    let mut parameters = at_zero();
    let gradients = gradients(&mut parameters, values, scale);
    let settings =
        SgdSettings::default().with_momentum(0.0).with_weight_decay(0.0).with_normalise(Some(method));
    let mut sgd = Sgd::new(settings, &parameters).unwrap();
    sgd.step(&mut parameters, &gradients, 1.0).unwrap();
    let ids = trained(&parameters);
    ids.into_iter()
        .map(|id| parameters.get(id).value.to_vec().unwrap().into_iter().map(|w| -w).collect())
        .collect()
}

fn at_zero() -> Parameters<Reference> {
    let mut parameters = parameters(&Reference);
    for id in trained(&parameters) {
        let zeros = vec![0.0; parameters.get(id).value.elements()];
        parameters.set(id, &zeros).unwrap();
    }
    parameters
}

fn largest_difference(a: &[Vec<f32>], b: &[Vec<f32>]) -> f32 {
    let pairs = a.iter().flatten().zip(b.iter().flatten());
    pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

const METHODS: [Normalise; 3] = [Normalise::Block, Normalise::ZScore, Normalise::Autoscale];

/// Squares of these gradients are 0 in f32, or exceed it by the scalar alone.
#[test]
fn gradients_that_vanish_or_are_scaled_up_have_the_same_size() {
    for method in METHODS {
        let expected = decreases(method, &values(0), 1.0);
        let tiny: Vec<Vec<f32>> = values(0)
            .into_iter()
            .map(|values| values.into_iter().map(|g| g * 2.0f32.powi(-90)).collect())
            .collect();
        for (values, scale) in [(&tiny, 1.0), (&tiny, 1e15), (&values(0), 1e25)] {
            let found = decreases(method, values, scale);
            // Biases and batch norms have no z-score.
            let is_normalised = |i: usize| method == Normalise::Block || [0, 4, 5, 7].contains(&i);
            for (i, (found, expected)) in
                found.iter().zip(&expected).enumerate().filter(|(i, _)| is_normalised(*i))
            {
                let off = largest_difference(std::slice::from_ref(found), std::slice::from_ref(expected));
                assert!(off < 1e-5, "{method:?} of parameter {i} at scale {scale}: {off}");
            }
        }
    }
}

#[test]
fn a_gradient_of_0_stays_0_and_one_that_is_the_same_everywhere_has_no_z_score() {
    for method in METHODS {
        let mut values = values(0);
        values[5].fill(0.0); // hidden.weight
        values[6].fill(0.0); // hidden.bias
        values[0].fill(0.1); // conv.weight
        let found = decreases(method, &values, 3.0);
        assert!(found[5].iter().chain(&found[6]).all(|g| *g == 0.0), "{method:?}");
        let is_zero = found[0].iter().all(|g| *g == 0.0);
        assert_eq!(is_zero, method != Normalise::Block, "{method:?}");
        assert!(found.iter().flatten().all(|g| g.is_finite()), "{method:?}");
        assert!(found[7].iter().any(|g| *g != 0.0), "{method:?}");
        let nothing: Vec<Vec<f32>> = values.iter().map(|values| vec![0.0; values.len()]).collect();
        assert!(decreases(method, &nothing, 3.0).iter().flatten().all(|g| *g == 0.0), "{method:?}");
    }
}

#[test]
fn under_block_and_z_score_a_positive_factor_for_a_whole_gradient_has_no_effect() {
    for method in [Normalise::Block, Normalise::ZScore] {
        let [plain, amplified] = [1.0, 16.0].map(|scale| decreases(method, &values(0), scale));
        for i in [0, 4, 5, 7] {
            assert_eq!(plain[i], amplified[i], "{method:?} of parameter {i}");
        }
        let flipped = decreases(method, &values(0), -1.0);
        assert_eq!(plain[5], flipped[5].iter().map(|g| -g).collect::<Vec<_>>(), "{method:?}");
    }
}

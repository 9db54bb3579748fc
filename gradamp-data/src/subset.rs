//! Subsets of a data set: limits and the validation split. They are drawn once per run and balanced over the classes.

use std::sync::Arc;

use gradamp_core::random::{Purpose, Stream};

use crate::{Dataset, DatasetPair, Error, Result};

/// Some examples of a shared data set, in a fixed order.
#[derive(Clone, Debug)]
pub struct Subset {
    data: Arc<Dataset>,
    examples: Arc<[usize]>,
}

impl Subset {
    /// All examples of `data`.
    pub fn all(data: Arc<Dataset>) -> Self {
        let examples = (0..data.len()).collect();
        Self { data, examples }
    }

    /// The examples at the given indices of `data`.
    ///
    /// **Errors:** `examples` is empty, or an index is past the end.
    pub fn new(data: Arc<Dataset>, examples: Vec<usize>) -> Result<Self> {
        let fault = |message: String| Error::Dataset { name: data.name().to_owned(), message };
        if let Some(past) = examples.iter().find(|&&example| example >= data.len()) {
            return Err(fault(format!("expected examples below {}, found {past}", data.len())));
        }
        if examples.is_empty() {
            return Err(fault("expected at least one example, found none".into()));
        }
        Ok(Self { examples: examples.into(), data })
    }

    /// The data set from which the examples are taken.
    pub fn data(&self) -> &Arc<Dataset> {
        &self.data
    }

    /// The indices of the examples in the data set.
    pub fn examples(&self) -> &[usize] {
        &self.examples
    }

    /// The number of examples; at least 1.
    #[allow(clippy::len_without_is_empty)] // a subset is never empty
    pub fn len(&self) -> usize {
        self.examples.len()
    }
}

/// The examples that a run trains on and is evaluated on.
#[derive(Clone, Debug)]
pub struct Parts {
    /// The training examples.
    pub train: Subset,
    /// The examples split off the training set; `None` without a validation split.
    pub validation: Option<Subset>,
    /// The test examples.
    pub test: Subset,
}

/// The sizes of the parts that [`split`] makes. By default, nothing is split off and all examples are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SplitSizes {
    /// The number of training examples that are split off for validation; 0 for none.
    pub validation: usize,
    /// The most training examples that remain after the validation split; 0 for all.
    pub train_limit: usize,
    /// The most test examples; 0 for all.
    pub test_limit: usize,
}

/// Splits the validation examples off the training set, then limits the remaining training examples and the test set.
///
/// The draw is a function of `seed` alone. It is balanced: if the set's counts of two classes differ by at most 1, so
/// do the counts in each part. The validation examples do not depend on the limits. A smaller limit keeps some of the
/// examples that a larger limit keeps. Each part is in the order of the data set.
///
/// **Errors:** there are as many validation examples as training examples, or more.
pub fn split(pair: DatasetPair, seed: u64, sizes: &SplitSizes) -> Result<Parts> {
    let &SplitSizes { validation, train_limit, test_limit } = sizes;
    let (train, test) = (Arc::new(pair.train), Arc::new(pair.test));
    if validation >= train.len() {
        let message =
            format!("expected fewer than the {} training examples, found {validation}", train.len());
        return Err(Error::setting("validation", message));
    }
    let stream = Stream::new(seed, Purpose::Split);
    let mut order = balanced(&train, stream.at(0));
    let mut rest = order.split_off(validation);
    let validation = if order.is_empty() { None } else { Some(Subset::new(train.clone(), sorted(order))?) };
    let mut test_order = balanced(&test, stream.at(1));
    for (examples, limit) in [(&mut rest, train_limit), (&mut test_order, test_limit)] {
        if limit > 0 {
            examples.truncate(limit);
        }
    }
    Ok(Parts {
        train: Subset::new(train, sorted(rest))?,
        validation,
        test: Subset::new(test, sorted(test_order))?,
    })
}

/// A random order that begins with one example of every class, continues with a second one of every class, and so on.
/// Any first part of it is as balanced as the set allows.
fn balanced(data: &Dataset, stream: Stream) -> Vec<usize> {
    let mut seen = vec![0usize; data.classes().len()];
    let mut ranked: Vec<(usize, usize)> = Vec::with_capacity(data.len());
    for example in stream.permutation(data.len()) {
        let count = &mut seen[data.labels()[example] as usize];
        ranked.push((*count, example));
        *count += 1;
    }
    ranked.sort_by_key(|&(rank, _)| rank); // a stable sort keeps the random order within a rank
    ranked.into_iter().map(|(_, example)| example).collect()
}

fn sorted(mut examples: Vec<usize>) -> Vec<usize> {
    examples.sort_unstable();
    examples
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Normalisation, Origin};

    fn set(n: usize) -> Dataset {
        let labels = (0..n).map(|i| (i % 3) as u32).collect();
        let classes = ["a", "b", "c"].map(String::from).to_vec();
        let constants = Normalisation { mean: vec![0.0], std: vec![1.0] };
        Dataset::new("set", [1, 1, 1], vec![0; n], labels, classes, constants).unwrap()
    }

    fn parts(n: usize, seed: u64, validation: usize, limit: usize) -> Result<Parts> {
        let pair = DatasetPair { train: set(n), test: set(n), origin: Origin::Generated };
        split(pair, seed, &SplitSizes { validation, train_limit: limit, test_limit: limit })
    }

    #[test]
    fn impossible_parts_are_errors() {
        let message = parts(5, 1, 5, 0).unwrap_err().to_string();
        assert_eq!(message, "validation: expected fewer than the 5 training examples, found 5");
        assert!(Subset::new(Arc::new(set(3)), vec![3]).is_err());
        assert!(Subset::new(Arc::new(set(3)), vec![]).is_err());
    }

    proptest! {
        #[test]
        fn parts_are_disjoint_and_balanced_and_smaller_limits_keep_subsets(seed: u64, validation in 0usize..20, limit in 1usize..30) {
            let n = 60;
            let whole = parts(n, seed, validation, 0).unwrap();
            let less = parts(n, seed, validation, limit).unwrap();
            let held = whole.validation.as_ref().map_or(vec![], |v| v.examples().to_vec());
            prop_assert_eq!(less.validation.map_or(vec![], |v| v.examples().to_vec()), held.clone());
            let mut all = [whole.train.examples(), &held].concat();
            all.sort_unstable();
            prop_assert_eq!(all, (0..n).collect::<Vec<_>>());
            prop_assert_eq!(whole.test.len(), n);
            for part in [&less.train, &less.test] {
                prop_assert_eq!(part.len(), limit);
                prop_assert!(part.examples().iter().all(|e| part.len() == n || e < &n));
                prop_assert!(part.examples().windows(2).all(|w| w[0] < w[1]));
            }
            prop_assert!(less.train.examples().iter().all(|e| whole.train.examples().contains(e)));
            let count = |label| less.test.examples().iter().filter(|&&e| e % 3 == label).count();
            prop_assert!(count(0).abs_diff(count(1)) <= 1 && count(1).abs_diff(count(2)) <= 1);
        }
    }
}

//! The lines of a run's and a sweep's logs.

use gradamp_core::amplify::DrawRecord;
use gradamp_study::run_folder::lines::{EvaluationLine, GradientLine, MetricsLine};
use gradamp_study::sweep::ResultLine;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::damage::Damage;
use crate::files;

/// A line that was accepted is the same when it is written and read again: NaN is not equal to itself, so text is compared.
fn survives<T: DeserializeOwned + Serialize>(line: &[u8]) -> bool {
    let Ok(value) = serde_json::from_slice::<T>(line) else { return false };
    let written = serde_json::to_string(&value).unwrap();
    let again: T = serde_json::from_str(&written).unwrap_or_else(|error| panic!("{written}: {error}"));
    assert_eq!(serde_json::to_string(&again).unwrap(), written);
    true
}

#[test]
fn lines() {
    let text = files("tests/tests/fuzz/corpus/lines").concat();
    let corpus: Vec<Vec<u8>> =
        text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()).map(<[u8]>::to_vec).collect();
    let readers = [
        survives::<MetricsLine>,
        survives::<GradientLine>,
        survives::<EvaluationLine>,
        survives::<DrawRecord>,
        survives::<ResultLine>,
    ];
    for reads in readers {
        assert!(corpus.iter().any(|line| reads(line)), "a line of each kind is in the corpus");
    }
    let words = [
        "null",
        "1e999",
        "-0.0",
        "NaN",
        "[",
        "]",
        "{",
        "}",
        "\"",
        ",",
        ":",
        "\\ud800",
        "18446744073709551616",
    ];
    Damage { corpus, near: 40, words: &words, iterations: 20_000 }.check(|line| {
        for reads in readers {
            reads(line);
        }
    });
}

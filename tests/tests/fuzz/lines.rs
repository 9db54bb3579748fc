//! Reads damaged lines of the logs of runs and sweeps.

use gradamp_core::amplify::DrawRecord;
use gradamp_study::run_folder::lines::{EvaluationLine, GradientLine, MetricsLine};
use gradamp_study::sweep::ResultLine;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::damage::Damage;
use crate::files;

/// A line that is accepted must not change when it is written and read again. Texts are compared, because NaN is not
/// equal to itself.
fn is_read_back<T: DeserializeOwned + Serialize>(line: &[u8]) -> bool {
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
        is_read_back::<MetricsLine>,
        is_read_back::<GradientLine>,
        is_read_back::<EvaluationLine>,
        is_read_back::<DrawRecord>,
        is_read_back::<ResultLine>,
    ];
    for reads in readers {
        assert!(corpus.iter().any(|line| reads(line)), "the corpus needs a line of each kind");
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

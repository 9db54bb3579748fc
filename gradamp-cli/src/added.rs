//! The policies, models and data sets that a third party has added to the program.

use gradamp_core::amplify;

/// One line for each kind, for `--help` and `config show`.
pub fn lines() -> Vec<String> {
    let kinds = [
        ("models", "model.name", gradamp_models::registered()),
        ("policies", "amplification.policy", amplify::registered_policies()),
        ("data sets", "data.source", gradamp_data::registered()),
    ];
    let has_some = |(_, _, names): &(&str, &str, Vec<&str>)| !names.is_empty();
    let line =
        |(what, key, names): (&str, &str, Vec<&str>)| format!("More {what} ({key}): {}", names.join(", "));
    kinds.into_iter().filter(has_some).map(line).collect()
}

//! The table of a run and its baseline, epoch by epoch. Its sources are the two run folders.

use std::collections::BTreeMap;
use std::path::Path;

use super::Log;
use super::lines::{GradientLine, attenuations};
use super::table::{self, percent, readable_lines};
use crate::columns::columns;

/// What one run shows of one epoch.
#[derive(Clone, Debug, Default, PartialEq)]
struct Epoch {
    is_amplified: bool,
    accuracy: Option<f64>,
    /// The norm of the gradient at the first measured layer, divided by that at the last one.
    attenuation: Option<f64>,
}

/// The test accuracy of the run in `run` and of its baseline in `baseline`, epoch by epoch, and for both the attenuation: the
/// norm of the gradient at the first layer's output, divided by that at the last layer's output, before amplification at
/// these layers. An epoch that only one run has shows `-` for the other run.
pub fn side_by_side(run: &Path, baseline: &Path) -> String {
    let (run, baseline) = (epochs(run), epochs(baseline));
    let header = [
        "epoch",
        "amplification",
        "test accuracy",
        "without",
        "first layer's gradient / last layer's",
        "without",
    ];
    let mut table = vec![header.map(str::to_owned).to_vec()];
    let last = run.keys().chain(baseline.keys()).max().map_or(0, |last| last + 1);
    let nothing = Epoch::default();
    for epoch in 0..last {
        let [own, other] = [&run, &baseline].map(|epochs| epochs.get(&epoch).unwrap_or(&nothing));
        let switch = if own.is_amplified { "on" } else { "off" };
        table.push(vec![
            (epoch + 1).to_string(),
            switch.into(),
            percent(own.accuracy),
            percent(other.accuracy),
            ratio(own.attenuation),
            ratio(other.attenuation),
        ]);
    }
    columns(&table, ">>>>>>")
}

fn epochs(folder: &Path) -> BTreeMap<usize, Epoch> {
    let mut epochs: BTreeMap<usize, Epoch> = table::epochs(folder)
        .map(|line| {
            let epoch =
                Epoch { is_amplified: line.amplified, accuracy: line.test_accuracy, attenuation: None };
            (line.epoch, epoch)
        })
        .collect();
    for (epoch, ratio) in attenuations(&readable_lines::<GradientLine>(folder, Log::Gradients)) {
        if let Some(epoch) = epochs.get_mut(&epoch) {
            epoch.attenuation = Some(ratio);
        }
    }
    epochs
}

/// Two significant digits.
fn ratio(ratio: Option<f64>) -> String {
    match ratio {
        None => "-".into(),
        Some(ratio) if (0.01..100.0).contains(&ratio) => {
            format!("{ratio:.*}", (1.0 - ratio.log10().floor()).max(0.0) as usize)
        }
        Some(ratio) => format!("{ratio:.1e}"),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::json;

    use super::*;

    /// A run folder with an accuracy and the gradients' norms for each epoch.
    fn folder(amplified: bool, epochs: &[(f64, [f64; 3])]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let (mut metrics, mut gradients) = (String::new(), String::new());
        for (i, (accuracy, norms)) in epochs.iter().enumerate() {
            let line = json!({
                "kind": "epoch", "epoch": i, "step": 10, "phase": 0, "lr": 0.1, "amplified": amplified, "train_loss": 1.0,
                "train_accuracy": 0.5, "test_accuracy": accuracy, "best": false, "images_per_second": 1.0, "seconds": 1.0,
            });
            metrics += &format!("{line}\n");
            for (site, norm) in ["fc1", "act1", "classifier"].iter().zip(norms) {
                let line = json!({
                    "epoch": i, "step": 10, "site": site, "steps": 1, "norm_before": norm, "norm_after": 9.0,
                    "mean_magnitude_before": 1.0, "mean_magnitude_after": 1.0, "zeros": 0.0, "update_ratio": null,
                });
                gradients += &format!("{line}\n");
            }
        }
        fs::write(folder.path().join("metrics.jsonl"), metrics).unwrap();
        fs::write(folder.path().join("gradients.jsonl"), gradients).unwrap();
        folder
    }

    #[test]
    fn both_runs_stand_side_by_side() {
        let run = folder(true, &[(0.1, [0.5, 7.0, 2.0]), (0.25, [300.0, 7.0, 2.0])]);
        let baseline = folder(false, &[(0.1, [3e-5, 7.0, 2.0])]);
        let expected = "\
epoch  amplification  test accuracy  without  first layer's gradient / last layer's  without
--------------------------------------------------------------------------------------------
    1             on         10.0 %   10.0 %                                   0.25   1.5e-5
    2             on         25.0 %        -                                  1.5e2        -
";
        assert_eq!(side_by_side(run.path(), baseline.path()), expected);
    }
}

//! Writes run folders whose numbers are chosen by the tests.

use serde_json::{Value, json};

use crate::Workplace;

/// The content of a run folder, with chosen accuracies.
#[derive(Clone)]
pub struct FakeRun {
    pub seed: u64,
    /// The accuracies on the validation and on the test examples, after each epoch.
    pub accuracies: Vec<(Option<f64>, f64)>,
    /// Whether each test example was classified correctly in the last epoch: one `1` or `0` for each.
    pub hits: &'static str,
    pub settings: String,
    pub record: Value,
}

/// Settings without amplification.
pub const OFF: &str = "[strategy]\nlr = 0.1\nphase = [{ epochs = 3 }]\n";
pub const ON: &str = "[strategy]\nlr = 0.1\nphase = [{ epochs = 3, amplify = true }]\n";

impl FakeRun {
    /// A finished run of three epochs that ends at `last`.
    pub fn new(seed: u64, last: f64, settings: &str) -> Self {
        let accuracies = [(0.30, 0.25), (0.80, last - 0.05), (0.70, last)];
        let record = json!({
            "version": env!("CARGO_PKG_VERSION"), "commit": null, "model": "resnet18", "parameters": 1, "seed": seed,
            "device": "cpu", "dataset": "shapes", "dataset_checksum": "a".repeat(64), "start": "", "end": "",
            "outcome": "finished", "error": null, "resumed": [], "expected_gains": [],
        });
        Self {
            seed,
            accuracies: accuracies.map(|(validation, test)| (Some(validation), test)).to_vec(),
            hits: "1111110000",
            settings: format!("{settings}[train]\nseed = {seed}\n"),
            record,
        }
    }

    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.record[key] = value.into();
        self
    }

    pub fn set(mut self, settings: &str) -> Self {
        self.settings += settings;
        self
    }

    pub fn write(&self, place: &Workplace, name: &str) {
        let (mut metrics, mut evaluations, mut best) = (String::new(), String::new(), -1.0);
        for (epoch, &(validation, test)) in self.accuracies.iter().enumerate() {
            let is_best = validation.unwrap_or(test) > best;
            best = best.max(validation.unwrap_or(test));
            let line = json!({
                "kind": "epoch", "epoch": epoch, "step": 10 * epoch + 10, "phase": 0, "lr": 0.1, "amplified": false,
                "train_loss": 1.0, "train_accuracy": 0.5, "validation_accuracy": validation, "test_loss": 1.0,
                "test_accuracy": test, "best": is_best, "skipped_steps": null, "images_per_second": 1.0,
                "seconds": 10.0 + self.seed as f64, "total_seconds": 1.0,
            });
            metrics += &format!("{line}\n");
            let line = json!({
                "epoch": epoch, "split": "test", "loss": 1.0, "accuracy": test, "confusion": [], "hits": self.hits,
            });
            evaluations += &format!("{line}\n");
        }
        let record = serde_json::to_string(&self.record).unwrap();
        let files =
            [("config.toml", self.settings.as_str()), ("run.json", &record), ("metrics.jsonl", &metrics)];
        let logs = [
            ("evaluations.jsonl", evaluations.as_str()),
            ("amplification.jsonl", ""),
            ("gradients.jsonl", ""),
        ];
        for (file, text) in files.into_iter().chain(logs) {
            place.write(&format!("{name}/{file}"), text);
        }
    }
}

//! Pages of runs that no short training makes: long, deep, of many classes, broken off, hostile by name.

mod laws;

use std::fs;
use std::path::{Path, PathBuf};

use gradamp_core::amplify::{DrawRecord, Placement};
use gradamp_core::train::{SiteGradient, SiteSignals};
use serde::Serialize;

use super::*;
use crate::run_folder::lines::{EpochLine, EvaluationLine, GradientLine, MetricsLine};
use crate::run_folder::{RunRecord, RunStatus};

pub(super) use laws::checked;

/// A run folder that nobody trained.
struct Invented {
    epochs: usize,
    sites: usize,
    classes: usize,
    name: &'static str,
    outcome: RunStatus,
    loss: fn(usize) -> f64,
    signals: bool,
}

const PLAIN: Invented = Invented {
    epochs: 3,
    sites: 4,
    classes: 3,
    name: "conv",
    outcome: RunStatus::Finished,
    loss: |epoch| 2.0 / (epoch + 1) as f64,
    signals: false,
};

impl Invented {
    fn site(&self, site: usize) -> String {
        format!("{}{site}", self.name)
    }

    fn write(&self, root: &Path) {
        fs::create_dir_all(root).unwrap();
        let phases = "[[strategy.phase]]\nepochs = 1000\nlr = 0.1\namplify = true\n";
        fs::write(root.join("config.toml"), phases).unwrap();
        let gains = serde_json::json!([
            {"phase": 0, "gains": [{"path": self.name, "gain": {"depends_on_path": {"min": 1.0, "max": 4.0}}}]},
            {"phase": 1, "gains": null, "unknown": "not known"},
        ]);
        let record = RunRecord {
            format: 1,
            config: None,
            saved: true,
            version: "0.1.0".into(),
            commit: Some("abc".into()),
            model: self.name.into(),
            parameters: 12_345,
            steps_per_epoch: Some(10),
            seed: 7,
            study: None,
            device: "cpu (avx2, 1 threads)".into(),
            dataset: self.name.into(),
            dataset_checksum: "00ff".into(),
            normalisation: None,
            begun_in: None,
            classes: (0..self.classes).map(|class| format!("{} class {class}", self.name)).collect(),
            start: "2026-01-01T00:00:00Z".into(),
            end: None,
            outcome: self.outcome,
            error: Some(self.name.into()),
            resumed: Vec::new(),
            removed: Vec::new(),
            expected_gains: gains,
        };
        fs::write(root.join("run.json"), serde_json::to_string(&record).unwrap()).unwrap();
        let epochs = (0..self.epochs).map(|epoch| MetricsLine::Epoch(self.epoch(epoch)));
        lines(&root.join("metrics.jsonl"), epochs);
        let draws = (0..self.epochs).map(|epoch| DrawRecord {
            epoch,
            step: 10 * epoch as u64,
            sites: (0..self.sites)
                .filter(|site| (site + epoch).is_multiple_of(2))
                .map(|site| self.site(site))
                .collect(),
            factors: (0..self.sites)
                .filter(|site| (site + epoch).is_multiple_of(2))
                .map(|site| 1.0 + site as f32)
                .collect(),
            placement: Placement::Output,
            power: None,
        });
        lines(&root.join("amplification.jsonl"), draws);
        let gradients =
            (0..self.epochs).flat_map(|epoch| (0..self.sites).map(move |site| self.gradient(epoch, site)));
        lines(&root.join("gradients.jsonl"), gradients);
        lines(&root.join("evaluations.jsonl"), (0..self.epochs).map(|epoch| self.evaluation(epoch)));
    }

    fn epoch(&self, epoch: usize) -> EpochLine {
        let accuracy = 0.5 - 0.4 / (epoch + 1) as f64;
        EpochLine {
            epoch,
            step: 10 * (epoch as u64 + 1),
            phase: 0,
            lr: 0.1,
            amplified: epoch % 3 == 1,
            train_loss: (self.loss)(epoch),
            train_accuracy: accuracy,
            validation_loss: Some((self.loss)(epoch)).filter(|loss| loss.is_finite()),
            validation_accuracy: Some(accuracy),
            test_loss: Some((self.loss)(epoch)).filter(|loss| loss.is_finite()),
            test_accuracy: Some(accuracy),
            validation_ema_loss: None,
            validation_ema_accuracy: None,
            test_ema_loss: None,
            test_ema_accuracy: None,
            best: true,
            skipped_steps: None,
            attenuation: None,
            images_per_second: 100.0,
            seconds: 1.0,
            total_seconds: epoch as f64 + 1.0,
        }
    }

    fn gradient(&self, epoch: usize, site: usize) -> GradientLine {
        let norm = (self.loss)(epoch) * 10_f64.powi(-((site % 7) as i32));
        let gradient = SiteGradient {
            site: self.site(site),
            steps: 1,
            norm_before: norm,
            norm_after: 2.0 * norm,
            update_ratio: site.is_multiple_of(2).then_some(norm),
            signals: self.signals.then(|| SiteSignals {
                output_mean: 0.1,
                output_deviation: norm,
                saturated: site.is_multiple_of(3).then_some(0.25),
                gradient_square: site.is_multiple_of(2).then_some(norm),
                gradient_variance: site.is_multiple_of(2).then_some(0.5),
                angular_update: site.is_multiple_of(2).then_some(norm),
            }),
            ..SiteGradient::default()
        };
        GradientLine { epoch, step: 10 * (epoch as u64 + 1), gradient }
    }

    fn evaluation(&self, epoch: usize) -> EvaluationLine {
        let n = self.classes;
        let confusion =
            (0..n).map(|row| (0..n).map(|column| ((row * 31 + column * 17) % 5) as u64).collect()).collect();
        EvaluationLine {
            epoch,
            split: "test".into(),
            loss: 1.0,
            accuracy: 0.5,
            confusion,
            hits: vec![true, false],
        }
    }
}

fn lines<T: Serialize>(path: &Path, values: impl Iterator<Item = T>) {
    let text: String = values.map(|value| serde_json::to_string(&value).unwrap() + "\n").collect();
    fs::write(path, text).unwrap();
}

fn page_of(run: &Invented) -> String {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("run");
    run.write(&root);
    checked(&page_of_run(&root).unwrap())
}

#[test]
fn a_page_shows_every_part_of_a_run() {
    let html = page_of(&PLAIN);
    for id in [
        "accuracy",
        "loss",
        "gradient-flow",
        "gradient-profile",
        "attenuation",
        "update-ratio",
        "amplified-sites",
        "gains-phase-1",
        "class-accuracy",
        "confusion",
    ] {
        assert!(html.contains(&format!("id=\"figure-{id}\"")), "{id}");
    }
    for part in [
        "Test accuracy, best epoch",
        "00ff",
        "gradamp train --config",
        "git checkout abc",
        "epochs = 1000",
        "not known",
    ] {
        assert!(html.contains(part), "{part}");
    }
}

#[test]
fn signals_are_shown_where_they_were_measured() {
    let ids = ["forward-signal", "saturated", "signal-to-noise", "angular-update"];
    for (signals, page) in [(true, Invented { signals: true, ..PLAIN }), (false, PLAIN)] {
        let html = page_of(&page);
        for id in ids {
            assert_eq!(html.contains(&format!("id=\"figure-{id}\"")), signals, "{id}");
        }
        assert_eq!(html.contains("Forward signal and gradient noise"), signals);
    }
    // The signal of `Invented` falls by 10 from site to site, and begins anew at every seventh.
    let html = page_of(&Invented { signals: true, ..PLAIN });
    assert!(html.contains("The forward path is dead from conv3 on"), "a thousandth of the first site's");
    let html = page_of(&Invented { signals: true, sites: 3, ..PLAIN });
    assert!(html.contains("The forward path is alive at every site."));
    page_of(&Invented { signals: true, loss: |_| f64::NAN, ..PLAIN });
}

/// Epochs 2 and 5 of 6 are amplified: two shades an epoch wide and three apart, in each of two panels.
#[test]
fn curves_have_the_amplified_epochs_behind_them_and_the_learning_rate_beneath() {
    let folder = tempfile::tempdir().unwrap();
    Invented { epochs: 6, ..PLAIN }.write(folder.path());
    let page = page_of_run(folder.path()).unwrap();
    for id in ["accuracy", "loss"] {
        let figure = page.figures().into_iter().find(|figure| figure.id == id).unwrap().file();
        assert!(figure.contains("learning rate"), "{id}");
        let figure = roxmltree::Document::parse(&figure).unwrap();
        let shades = figure.descendants().filter(|node| node.attribute("class") == Some("shade"));
        let number =
            |node: &roxmltree::Node<'_, '_>, name| node.attribute(name).unwrap().parse::<f64>().unwrap();
        let places: Vec<(f64, f64)> = shades.map(|it| (number(&it, "x"), number(&it, "width"))).collect();
        assert_eq!(places.len(), 4, "{id}: {places:?}");
        for pair in places.chunks(2) {
            let epochs = (pair[1].0 - pair[0].0) / pair[0].1;
            assert!((epochs - 3.0).abs() < 0.02 && pair[0].1 > 20.0, "{id}: {places:?}");
        }
    }
}

#[test]
fn runs_that_have_barely_begun_are_shown() {
    for epochs in [0, 1] {
        let html = page_of(&Invented { epochs, outcome: RunStatus::Running, ..PLAIN });
        assert!(
            html.contains("was killed") && html.contains(&format!("{epochs} of 1000 epochs are done")),
            "{epochs}"
        );
    }
    let html = page_of(&Invented { sites: 0, classes: 0, ..PLAIN });
    assert!(html.contains("No gradients were measured"));
}

#[test]
fn a_run_that_someone_writes_to_is_still_going_on() {
    let folder = tempfile::tempdir().unwrap();
    Invented { outcome: RunStatus::Running, ..PLAIN }.write(folder.path());
    let held = crate::run_folder::RunFolder::open(folder.path()).unwrap();
    assert!(
        page_of_run(folder.path())
            .unwrap()
            .html()
            .contains("This run is still going on: 3 of 1000 epochs are done.")
    );
    drop(held);
}

/// Controls that are no longer trained.
#[test]
fn runs_with_controls_of_earlier_versions_are_shown() {
    for through in ["learning_rate", "mean_learning_rate"] {
        let folder = tempfile::tempdir().unwrap();
        PLAIN.write(folder.path());
        let path = folder.path().join("config.toml");
        let settings = fs::read_to_string(&path).unwrap();
        fs::write(&path, format!("amplification.through = '{through}'\n{settings}")).unwrap();
        let html = checked(&page_of_run(folder.path()).unwrap());
        assert!(html.contains(&format!("the factors acted through amplification.through = {through}.")));
    }
}

#[test]
fn losses_that_are_no_numbers_are_shown_as_such() {
    let html = page_of(&Invented { loss: |epoch| if epoch == 1 { f64::NAN } else { 1.0 }, ..PLAIN });
    assert!(html.contains("The loss was not finite in some epochs."));
    page_of(&Invented { loss: |_| f64::NAN, outcome: RunStatus::Diverged, ..PLAIN });
    page_of(&Invented { loss: |_| 0.0, ..PLAIN });
    page_of(&Invented { loss: |epoch| 10_f64.powi(epoch as i32 * 150 - 200), ..PLAIN });
}

#[test]
fn names_are_never_markup() {
    let name = "</title></svg><script>alert(\"1\")</script><!-- & ' \u{1b}[31m http:hostile";
    let html = page_of(&Invented { name, ..PLAIN });
    assert!(!html.contains("<script") && html.contains("&lt;script&gt;"));
}

#[test]
fn a_long_run_of_many_sites_and_classes_stays_readable() {
    let html = page_of(&Invented { epochs: 200, sites: 100, classes: 100, ..PLAIN });
    assert!(html.len() < 2_500_000, "{} bytes", html.len());
    assert!(html.contains("Only the best and the worst classes are drawn"));
}

fn page_of_copies(count: usize) -> Result<Page> {
    let folder = tempfile::tempdir().unwrap();
    let roots: Vec<PathBuf> = (0..count).map(|i| folder.path().join(format!("run{i}"))).collect();
    for (i, root) in roots.iter().enumerate() {
        Invented { epochs: 3 * (i % 3), ..PLAIN }.write(root);
    }
    page_of_runs(&roots, &Options::default())
}

#[test]
fn runs_are_laid_over_each_other_and_side_by_side() {
    for count in 2..=MOST_RUNS {
        let html = checked(&page_of_copies(count).unwrap());
        for id in [
            "test-accuracy",
            "accuracy-over-time",
            "gradient-flow",
            "attenuation",
            "update-ratio",
            "b-amplified-sites",
            "confusion",
        ] {
            assert!(html.contains(&format!("id=\"figure-{id}\"")), "{id}");
        }
    }
    let error = page_of_copies(MOST_RUNS + 1).err().unwrap();
    assert!(matches!(error, Error::Request(_)), "{error}");
}

#[test]
fn equal_names_are_told_apart_by_their_paths() {
    let folder = tempfile::tempdir().unwrap();
    let roots = ["a/run", "b/run"].map(|path| folder.path().join(path));
    roots.iter().for_each(|root| PLAIN.write(root));
    let page = page_of_runs(&roots, &Options::default()).unwrap();
    assert!(page.title.contains("a/run") && page.title.contains("b/run"), "{}", page.title);
    checked(&page);
}

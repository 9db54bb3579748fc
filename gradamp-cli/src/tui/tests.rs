//! Checks the frames of the dashboard as users see them.

use std::f64::consts::LN_10;

use gradamp_core::amplify::{Amplify, DrawRecord, LearningRate, Phase, Placement, Strategy};
use gradamp_core::train::SiteGradient;
use proptest::prelude::{
    ProptestConfig, Strategy as Strategies, any, prop, prop_assert_eq, prop_oneof, proptest,
};
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::flow::Measure;
use super::ui::Pane;
use super::*;
use crate::screen::ascii;
use gradamp_study::run_folder::lines::{EpochLine, GradientLine, StepLine};
use gradamp_study::run_folder::{Change, RunRecord, RunStatus};

const STEPS: u64 = 20;
const SITES: [&str; 6] = ["conv1", "bn1", "relu", "layer1.0.bn1", "layer1.0.bn2", "fc"];

/// Three phases: without, with and without amplification.
fn strategy() -> Strategy {
    let phase = |amplify| Phase::new(3).with_amplify(amplify);
    let phases = vec![phase(Amplify::Off), phase(Amplify::on()), phase(Amplify::Off)];
    Strategy::default().with_lr(Some(LearningRate::constant(0.1))).with_phases(phases)
}

fn record(outcome: RunStatus) -> Change {
    Change::Record(Box::new(RunRecord {
        format: 1,
        config: None,
        saved: true,
        version: "0.1.0".into(),
        commit: None,
        model: "resnet18 of width 8".into(),
        parameters: 176_338,
        steps_per_epoch: Some(STEPS),
        seed: 1,
        study: None,
        device: "CPU (2 threads)".into(),
        dataset: "shapes".into(),
        dataset_checksum: String::new(),
        normalisation: None,
        begun_in: None,
        classes: Vec::new(),
        start: "2026-03-01T12:00:00Z".into(),
        end: None,
        outcome,
        error: None,
        resumed: Vec::new(),
        removed: Vec::new(),
        expected_gains: serde_json::Value::Null,
    }))
}

fn step(step: u64) -> StepLine {
    let t = step as f64 / (9 * STEPS) as f64;
    StepLine {
        epoch: (step / STEPS) as usize,
        step,
        phase: (step / STEPS / 3) as usize,
        lr: 0.1,
        amplified: false,
        amplified_sites: 0,
        loss: LN_10 * (1.0 - 0.8 * t) + 0.2 * (step as f64).sin(),
        accuracy: 0.1 + 0.7 * t + 0.05 * (step as f64).cos(),
        gradient_norm: None,
        loss_scale: None,
        skipped: false,
        images_per_second: 640.0,
        seconds: 0.1,
    }
}

fn epoch(epoch: usize) -> EpochLine {
    let t = (epoch + 1) as f64 / 9.0;
    EpochLine {
        epoch,
        step: (epoch as u64 + 1) * STEPS,
        phase: epoch / 3,
        lr: 0.1,
        amplified: epoch / 3 == 1,
        train_loss: LN_10 * (1.0 - 0.8 * t),
        train_accuracy: 0.1 + 0.7 * t,
        validation_loss: None,
        validation_accuracy: None,
        test_loss: Some(LN_10 * (1.0 - 0.7 * t)),
        test_accuracy: Some(0.1 + 0.6 * t),
        validation_ema_loss: None,
        validation_ema_accuracy: None,
        test_ema_loss: None,
        test_ema_accuracy: None,
        best: true,
        skipped_steps: None,
        attenuation: None,
        images_per_second: 640.0,
        seconds: 2.0,
        total_seconds: 2.5 * (epoch + 1) as f64,
    }
}

fn gradient(epoch: usize, site: usize, is_amplified: bool) -> GradientLine {
    let norm = 10_f64.powf(-4.0 + 0.5 * site as f64 + 0.1 * epoch as f64);
    let gradient = SiteGradient {
        site: SITES[site].into(),
        steps: 2,
        norm_before: norm,
        norm_after: if is_amplified && site % 2 == 1 { 1.5 * norm } else { norm },
        zeros: 0.25,
        update_ratio: (site != 2).then_some(1e-3),
        ..SiteGradient::default()
    };
    GradientLine { epoch, step: (epoch as u64 + 1) * STEPS, gradient }
}

/// The dashboard of a run after the given number of steps.
fn run(steps: u64, outcome: RunStatus) -> Dashboard {
    let mut dashboard = Dashboard::new("runs/tour-20260301-120000".into(), strategy());
    dashboard.apply(record(RunStatus::Running));
    for n in 0..steps {
        let number = (n / STEPS) as usize;
        let is_amplified = number / 3 == 1;
        if is_amplified && n % STEPS == 0 {
            let sites = vec!["bn1".into(), "layer1.0.bn1".into()];
            let placement = Placement::default();
            dashboard.apply(Change::Draw(DrawRecord {
                epoch: number,
                step: n,
                sites,
                factors: vec![1.5, 1.5],
                placement,
                power: None,
            }));
        }
        dashboard.apply(Change::Step(step(n)));
        if (n + 1) % STEPS == 0 {
            dashboard.apply(Change::Epoch(epoch(number)));
            for site in 0..SITES.len() {
                dashboard.apply(Change::Gradient(gradient(number, site, is_amplified)));
            }
        }
    }
    dashboard.apply(record(outcome));
    dashboard
}

fn text(size: (u16, u16), dashboard: &Dashboard, ui: &Ui) -> String {
    view::text(size, |frame| {
        view::draw(frame, dashboard, ui);
    })
}

/// Compares a frame with `snapshots/NAME.txt`. If the variable GRADAMP_BLESS is set, writes the file instead.
#[track_caller]
fn assert_frame(name: &str, found: &str) {
    let path = format!("{}/src/tui/snapshots/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("GRADAMP_BLESS").is_some() {
        std::fs::write(&path, found).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap();
    assert!(found == expected, "{path}: expected\n{expected}\nfound\n{found}");
}

#[test]
fn the_overview_shows_as_much_as_fits() {
    let dashboard = run(97, RunStatus::Running);
    for (size, name) in [((40, 12), "small"), ((80, 24), "usual"), ((120, 40), "large")] {
        assert_frame(name, &text(size, &dashboard, &Ui::new(Role::Train)));
    }
}

#[test]
fn a_terminal_without_utf_8_shows_the_same_in_ascii() {
    let (dashboard, mut ui) = (run(97, RunStatus::Running), Ui::new(Role::Train));
    for pane in Pane::ALL {
        for help in [false, true] {
            (ui.pane, ui.help) = (pane, help);
            let text = view::text((120, 40), |frame| {
                view::draw(frame, &dashboard, &ui);
                ascii::cells(frame.buffer_mut());
            });
            assert!(text.is_ascii() && !text.replace("? help", "").contains('?'), "{pane:?}\n{text}");
        }
    }
    ui.help = false;
    ui.pane = Pane::Overview;
    assert_frame(
        "ascii",
        &view::text((80, 24), |frame| {
            view::draw(frame, &dashboard, &ui);
            ascii::cells(frame.buffer_mut());
        }),
    );
}

#[test]
fn every_pane_shows_what_its_name_says() {
    let dashboard = run(97, RunStatus::Running);
    for (pane, words) in [
        (Pane::Curves, ["accuracy", "loss", "━ amplified"]),
        (Pane::Gradients, ["layer1.0.bn2", "fc", "×1.5"]),
        (Pane::Run, ["▶ 2      4-6", "176338 parameters", "2026-03-01T12:00:00Z"]),
        (
            Pane::Log,
            ["epoch 4: amplifies 2 sites by 1.5: bn1, layer1.0.bn1", "epoch 4/9  phase 2", "train loss"],
        ),
    ] {
        let text = text((80, 24), &dashboard, &Ui { pane, ..Ui::new(Role::Watch) });
        for word in words {
            assert!(text.contains(word), "{pane:?}: expected {word:?} in\n{text}");
        }
    }
}

#[test]
fn a_run_that_has_just_started_can_be_drawn() {
    let mut dashboard = Dashboard::new("run".into(), strategy());
    let waiting = text((80, 24), &dashboard, &Ui::new(Role::Watch));
    assert!(waiting.contains("starting") && waiting.contains("no run.json yet"), "{waiting}");
    dashboard.apply(record(RunStatus::Running));
    let begun = text((80, 24), &dashboard, &Ui::new(Role::Watch));
    assert!(begun.contains("running") && begun.contains("epoch 1/9") && begun.contains("0 %"), "{begun}");
    let gradients = text((80, 24), &dashboard, &Ui { pane: Pane::Gradients, ..Ui::new(Role::Watch) });
    assert!(gradients.contains("no gradients were measured yet"), "{gradients}");
}

#[test]
fn measures_help_and_the_question_are_shown() {
    let dashboard = run(97, RunStatus::Running);
    let mut ui = Ui { pane: Pane::Gradients, ..Ui::new(Role::Train) };
    for measure in [Measure::Before, Measure::Gain, Measure::UpdateRatio, Measure::Zeros, Measure::After] {
        ui.key(KeyEvent::new(KeyCode::Char('b'), KeyModifiers::NONE));
        let text = text((80, 24), &dashboard, &ui);
        assert!(ui.measure == measure && text.contains(measure.name()), "{text}");
    }
    ui.key(KeyEvent::new(KeyCode::Char('?'), KeyModifiers::NONE));
    assert!(text((40, 12), &dashboard, &ui).contains("stop after this step, saved"));
    ui.key(KeyEvent::new(KeyCode::Char('?'), KeyModifiers::NONE));
    ui.key(KeyEvent::new(KeyCode::Char('q'), KeyModifiers::NONE));
    assert!(text((80, 24), &dashboard, &ui).contains("stop after this step and save?  y stop  n continue"));
}

#[test]
fn the_changes_of_a_run_become_its_state() {
    let dashboard = run(97, RunStatus::Running);
    assert_eq!((dashboard.current_epoch(), dashboard.steps_done()), (4, 97));
    assert_eq!(dashboard.epochs_done(), Some(4.85));
    assert_eq!(dashboard.amplified().unwrap().sites, ["bn1", "layer1.0.bn1"]);
    assert!((dashboard.seconds_left().unwrap() - 8.3).abs() < 1e-9, "{:?}", dashboard.seconds_left());
    assert_eq!(dashboard.status, RunStatus::Running);

    let done = run(180, RunStatus::Finished);
    assert_eq!((done.current_epoch(), done.seconds_left()), (8, None));
    assert_eq!(done.amplified(), None, "the draw belongs to a phase that has ended");
    assert_eq!(done.status, RunStatus::Finished);
    assert_eq!(done.best.as_ref().map(|line| line.epoch), Some(8));

    // Without `run.json` the first epoch shows how long epochs are.
    let mut bare = Dashboard::new("run".into(), strategy());
    bare.apply(Change::Step(step(3)));
    assert_eq!((bare.steps_per_epoch(), bare.seconds_left()), (None, None));
    bare.apply(Change::Epoch(epoch(0)));
    assert_eq!(bare.steps_per_epoch(), Some(STEPS));
}

#[test]
fn a_restarted_run_resets_the_dashboard_with_a_message() {
    let mut dashboard = run(97, RunStatus::Running);
    dashboard.apply(Change::Restarted);
    assert_eq!((dashboard.steps_done(), dashboard.epochs_done()), (0, None));
    assert!(
        dashboard.log.len() == 1 && dashboard.log[0].contains("dashboard starts again"),
        "{:?}",
        dashboard.log
    );
    for n in 0..97 {
        dashboard.apply(Change::Step(step(n)));
    }
    assert_eq!(dashboard.loss.step.points().count(), 97);
}

#[test]
fn errors_and_skipped_steps_are_logged() {
    let mut dashboard = run(97, RunStatus::Running);
    dashboard.apply(Change::Step(StepLine { skipped: true, ..step(97) }));
    let Change::Record(mut failed) = record(RunStatus::Diverged) else { panic!() };
    failed.error = Some("the loss is not finite".into());
    dashboard.apply(Change::Record(failed));
    let text = text((80, 24), &dashboard, &Ui { pane: Pane::Log, ..Ui::new(Role::Watch) });
    assert!(text.contains("step 98: skipped") && text.contains("error: the loss is not finite"), "{text}");
    assert!(text.lines().next().unwrap().ends_with(" diverged"), "{text}");
}

/// Numbers as they may occur in a damaged or unusual run.
fn number() -> impl Strategies<Value = f64> {
    prop_oneof![
        4 => -1e3..1e3,
        1 => prop::sample::select(vec![0.0, f64::NAN, f64::INFINITY, f64::MAX, f64::MIN, f64::MIN_POSITIVE]),
    ]
}

fn whole() -> impl Strategies<Value = u64> {
    prop_oneof![3 => 0..200_u64, 1 => prop::sample::select(vec![u64::MAX, u64::MAX - 1, 1 << 40])]
}

fn change() -> impl Strategies<Value = Change> {
    let numbers = (number(), number(), number(), prop::option::of(number()));
    (0..6, whole(), whole(), numbers, 0..SITES.len(), any::<bool>()).prop_map(
        |(kind, n, m, (a, b, c, d), site, flag)| match kind {
            0 => Change::Restarted,
            1 => {
                let Change::Record(mut run) =
                    record(if flag { RunStatus::Running } else { RunStatus::Failed })
                else {
                    unreachable!()
                };
                run.steps_per_epoch = flag.then_some(n);
                run.error = d.map(|d| format!("it was\n{d}"));
                Change::Record(run)
            }
            2 => Change::Step(StepLine {
                epoch: n as usize,
                step: m,
                lr: a,
                loss: b,
                accuracy: c,
                seconds: a,
                images_per_second: b,
                gradient_norm: d,
                loss_scale: d,
                skipped: flag,
                ..step(0)
            }),
            3 => Change::Epoch(EpochLine {
                epoch: n as usize,
                step: m,
                train_loss: a,
                train_accuracy: b,
                validation_loss: d,
                validation_accuracy: d,
                test_accuracy: Some(c),
                best: flag,
                total_seconds: a,
                ..epoch(0)
            }),
            4 => Change::Draw(DrawRecord {
                epoch: n as usize,
                step: m,
                sites: vec![SITES[site].into(); usize::from(flag)],
                factors: vec![a as f32; usize::from(flag)],
                placement: Placement::default(),
                power: None,
            }),
            _ => {
                let mut line = gradient(0, site, flag);
                line.epoch = n as usize;
                (line.gradient.norm_before, line.gradient.norm_after, line.gradient.zeros) = (a, b, c);
                line.gradient.update_ratio = d;
                Change::Gradient(line)
            }
        },
    )
}

fn any_ui() -> impl Strategies<Value = Ui> {
    let role = prop::sample::select(vec![Role::Train, Role::Watch, Role::WatchOne, Role::Print]);
    let look = (prop::sample::select(Pane::ALL.to_vec()), prop::sample::select(Measure::ALL.to_vec()));
    (role, look, any::<usize>(), any::<bool>(), any::<bool>()).prop_map(
        |(role, (pane, measure), scroll, help, asking)| Ui { role, pane, measure, scroll, help, asking },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_run_can_be_drawn_on_any_screen(
        changes in prop::collection::vec(change(), 0..60),
        ui in any_ui(),
        size in (1_u16..170, 1_u16..60),
        knows_phases in any::<bool>(),
    ) {
        let mut dashboard = Dashboard::new("run".into(), if knows_phases { strategy() } else { Strategy::default() });
        for change in changes {
            dashboard.apply(change);
        }
        let text = text(size, &dashboard, &ui);
        prop_assert_eq!(text.lines().count(), usize::from(size.1));
    }
}

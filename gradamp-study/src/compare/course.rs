//! The course of a run: its test accuracies as training went on, for times to a target accuracy.

use std::fmt;

use crate::run_folder::lines::EpochLine;
use crate::run_folder::{RunRecord, RunStatus, StudySeal, Timestamp};
use crate::statistics::Observation;

/// A unit of the time until a target accuracy is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeUnit {
    /// Epochs.
    Epochs,
    /// Steps of the optimiser.
    Steps,
    /// Images that were trained on, each time that they were.
    Images,
    /// Seconds of training steps. Evaluations are left out, because their time depends on how often the run evaluates.
    Seconds,
}

/// How far a run was at some point of its training.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Moment {
    epochs: f64,
    steps: f64,
    images: f64,
    seconds: f64,
}

/// The test accuracies of a run as training went on.
#[derive(Clone, Debug, PartialEq)]
pub struct Course {
    /// The run's seed.
    pub seed: u64,
    /// Whether the loss was not finite at some step, which ended the run.
    pub diverged: bool,
    /// The evaluations on the test examples, in their order.
    evaluations: Vec<(Moment, f64)>,
    /// The accuracy of guessing one class; `None` if the number of classes is not known.
    pub chance: Option<f64>,
    /// For a run of a sweep: the seal of its study when the run began.
    pub study: Option<StudySeal>,
    /// The devices that computed the run.
    devices: Vec<String>,
    /// When the run began and ended, in seconds since 1970; `None` if the record does not tell.
    span: Option<(u64, u64)>,
}

impl TimeUnit {
    /// Every unit.
    pub const ALL: [Self; 4] = [Self::Epochs, Self::Steps, Self::Images, Self::Seconds];

    /// The unit's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Epochs => "epochs",
            Self::Steps => "steps",
            Self::Images => "images",
            Self::Seconds => "seconds",
        }
    }

    fn of(self, moment: &Moment) -> f64 {
        match self {
            Self::Epochs => moment.epochs,
            Self::Steps => moment.steps,
            Self::Images => moment.images,
            Self::Seconds => moment.seconds,
        }
    }
}

impl fmt::Display for TimeUnit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl Course {
    /// The course of a run with this record and these epochs.
    pub fn new(record: &RunRecord, epochs: &[EpochLine]) -> Self {
        let mut now = Moment::default();
        let mut evaluations = Vec::new();
        for epoch in epochs {
            now.epochs = (epoch.epoch + 1) as f64;
            now.steps = epoch.step as f64;
            now.images += (epoch.images_per_second * epoch.seconds.max(1e-9)).round();
            now.seconds += epoch.seconds;
            evaluations.extend(epoch.test_accuracy.map(|accuracy| (now, accuracy)));
        }
        let resumed = record.resumed.iter().map(|session| session.device.clone());
        let moment = |text: &str| Timestamp::parse(text).map(Timestamp::seconds);
        Self {
            seed: record.seed,
            diverged: record.outcome == RunStatus::Diverged,
            evaluations,
            chance: (!record.classes.is_empty()).then(|| 1.0 / record.classes.len() as f64),
            study: record.study.clone(),
            devices: std::iter::once(record.device.clone())
                .chain(resumed)
                .filter(|it| !it.is_empty())
                .collect(),
            span: moment(&record.start).zip(record.end.as_deref().and_then(moment)),
        }
    }

    /// The course of a run that diverged, of which no more is known.
    pub fn diverged(seed: u64) -> Self {
        Self {
            seed,
            diverged: true,
            evaluations: Vec::new(),
            chance: None,
            study: None,
            devices: Vec::new(),
            span: None,
        }
    }

    /// The highest test accuracy of an evaluation; `None` if there was none.
    pub fn highest(&self) -> Option<f64> {
        self.evaluations.iter().map(|(_, accuracy)| *accuracy).max_by(f64::total_cmp)
    }

    /// The time of the last evaluation; 0 if there was none.
    pub fn end(&self, unit: TimeUnit) -> f64 {
        self.evaluations.last().map_or(0.0, |(moment, _)| unit.of(moment))
    }

    /// The time of the first evaluation with a test accuracy of at least `target`. A run without one is censored at its last
    /// evaluation. A run that diverged never reaches the target, and is censored at `end`, the end of the longest run that it is
    /// compared with.
    pub fn arrival(&self, target: f64, unit: TimeUnit, end: f64) -> Observation {
        if self.diverged {
            return Observation { time: end, happened: false };
        }
        match self.evaluations.iter().find(|(_, accuracy)| *accuracy >= target) {
            Some((moment, _)) => Observation { time: unit.of(moment), happened: true },
            None => Observation { time: self.end(unit), happened: false },
        }
    }
}

/// Why the seconds of these runs cannot be compared; `None` if nothing speaks against it. The seconds of runs on different devices
/// differ by the device, and the seconds of runs that went on at the same time by what they took from each other.
pub fn doubt_about_seconds<'a>(courses: impl Iterator<Item = &'a Course> + Clone) -> Option<String> {
    let mut devices: Vec<&str> =
        courses.clone().flat_map(|course| &course.devices).map(String::as_str).collect();
    devices.sort_unstable();
    devices.dedup();
    if devices.len() > 1 {
        return Some(format!(
            "times in seconds are left out, because the runs were made on several devices: {}",
            devices.join(", ")
        ));
    }
    let mut spans: Vec<(u64, u64)> = courses.filter_map(|course| course.span).collect();
    spans.sort_unstable();
    let (mut overlapping, mut end) = (0, 0);
    for (from, to) in spans {
        // The times are whole seconds: a run may begin in the second in which the run before it ended.
        overlapping += usize::from(from + 1 < end);
        end = end.max(to);
    }
    (overlapping > 0).then(|| {
        format!(
            "times in seconds are left out, because {overlapping} of the runs started while another run was in progress, so that they may \
             have shared a machine"
        )
    })
}

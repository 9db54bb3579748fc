//! More epochs for a run that has begun.
//!
//! The rates and the amplification of the epochs before must stay what they are, so that the run's settings still describe
//! all of it. A constant rate, and rates that fall at given epochs or at plateaus, go on beyond the old end. A cosine, a linear
//! course and one cycle end with their span, and a longer span would have had other rates from the beginning. Then a rate for the added
//! epochs must be given; they become a phase of their own, amplified like the last phase.

use std::collections::HashMap;

use gradamp_core::Error;
use gradamp_core::amplify::{Curve, LearningRate, Strategy};

use super::{KeyError, Resolved};

impl Resolved {
    /// Changes the settings of a run that has begun so that it has `total` epochs, at the rate `lr` in the added epochs if
    /// it is given. Returns whether anything changed.
    ///
    /// **Errors:** fewer epochs than the run has; a schedule of the learning rate whose end moves with the end of the run.
    pub fn extend(&mut self, total: usize, lr: Option<f64>) -> Result<bool, KeyError> {
        let now = self.config.strategy.epochs();
        if total == now && lr.is_none() {
            return Ok(false);
        }
        self.change("--epochs", "total", |config| {
            if total <= now {
                let message = format!(
                    "found {total}, but the run has {now} epochs: a run that goes on can only become longer"
                );
                return Err(Error::setting("total", message));
            }
            extend(&mut config.strategy, total - now, lr)?;
            config.strategy.check()
        })?;
        Ok(true)
    }
}

impl Resolved {
    /// Writes the settings of an extended run as [`Resolved::show`] does. A line whose value is that of `before`, the text of
    /// the settings so far, keeps the origin that it had there.
    ///
    /// **Errors:** those of [`Resolved::show`].
    pub fn show_extended(&self, before: &str) -> Result<String, KeyError> {
        let known: HashMap<(String, &str), &str> =
            settings(before).map(|(section, setting, line)| ((section, setting), line)).collect();
        let text = self.show()?;
        let mut lines: Vec<&str> = text.lines().collect();
        for (i, (section, setting, _)) in settings(&text).enumerate() {
            if let Some(line) = known.get(&(section, setting)) {
                lines[i] = line;
            }
        }
        Ok(lines.join("\n") + "\n")
    }
}

/// Each line of `text` with its section, which has a number among those of its name, and its setting without the comment.
fn settings(text: &str) -> impl Iterator<Item = (String, &str, &str)> {
    let (mut section, mut number) = (String::new(), 0);
    text.lines().map(move |line| {
        if line.starts_with('[') {
            number = if line == section { number + 1 } else { 0 };
            line.clone_into(&mut section);
        }
        let setting = line.rsplit_once(" # ").map_or(line, |(setting, _)| setting).trim_end();
        (format!("{section}{number}"), setting, line)
    })
}

/// Adds `more` epochs to a strategy that has been run as it is.
fn extend(strategy: &mut Strategy, more: usize, lr: Option<f64>) -> gradamp_core::Result<()> {
    if let ([only], Some(course)) = (&mut strategy.phases[..], &strategy.lr) {
        // In a single phase, the schedule of the run is that of the phase.
        only.lr.get_or_insert_with(|| course.clone());
        strategy.lr = None;
    }
    let is_used = strategy.phases.iter().any(|phase| phase.lr.is_none());
    if let (Some(name), true) = (strategy.lr.as_ref().and_then(ending), is_used) {
        let message = format!(
            "the {name} schedule of strategy.lr spans all phases: with more epochs, the epochs that are done would have had other \
             rates, so that this run cannot be extended; begin a new run with model.init set to its checkpoint"
        );
        return Err(Error::setting("total", message));
    }
    let Some(last) = strategy.phases.last_mut() else { return Ok(()) };
    if let Some(lr) = lr {
        let phase = last.clone().with_epochs(more).with_lr(Some(LearningRate::constant(lr)));
        strategy.phases.push(phase);
        return Ok(());
    }
    if let Some(name) = last.lr.as_ref().and_then(ending) {
        let message = format!(
            "the {name} schedule of the last phase ends with the phase: with more epochs, the epochs that are done would have had \
             other rates; give the rate of the added epochs by --lr"
        );
        return Err(Error::setting("total", message));
    }
    last.epochs += more;
    Ok(())
}

/// The name of a schedule whose rates depend on where its span ends; `None` for any other schedule.
fn ending(schedule: &LearningRate) -> Option<&'static str> {
    match schedule.curve {
        Curve::Constant { .. } | Curve::MultiStep { .. } | Curve::Plateau { .. } => None,
        Curve::Linear { .. } => Some("linear"),
        Curve::Cosine { .. } => Some("cosine"),
        Curve::OneCycle { .. } => Some("one-cycle"),
        _ => Some("learning-rate"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tree::{Node, Origin};
    use super::*;

    const TWO: &str = "[[strategy.phase]]\nepochs = 2\nlr = 0.1\n[[strategy.phase]]\nepochs = 3\namplify = { factor = 3.0 }\n";

    fn resolved(text: &str) -> Resolved {
        let tree = Node::parse(text, &|line| Origin::File("run.toml".into(), line)).unwrap();
        Resolved::from_tree(tree).unwrap()
    }

    /// The extended settings, which are the same after they were written and read again.
    fn extended(text: &str, total: usize, lr: Option<f64>) -> Strategy {
        let mut settings = resolved(text);
        assert!(settings.extend(total, lr).unwrap());
        assert_eq!(resolved(&settings.show().unwrap()).config, settings.config);
        settings.config.strategy
    }

    fn refusal(text: &str, total: usize, lr: Option<f64>) -> String {
        let mut settings = resolved(text);
        let before = settings.clone();
        let error = settings.extend(total, lr).unwrap_err().to_string();
        assert_eq!(settings.config, before.config, "a refused extension changes nothing");
        error
    }

    #[test]
    fn the_last_phase_grows_and_the_rates_before_stay() {
        for last in [
            "lr = 0.05\n",
            "lr = { schedule = 'multi_step', from = 0.1, milestones = [1, 2], gamma = 0.1 }\n",
        ] {
            let text = format!("{TWO}{last}");
            let (old, new) = (resolved(&text).config.strategy, extended(&text, 9, None));
            assert_eq!((new.phases.len(), new.epochs()), (2, 9));
            assert!(new.phases[1].amplify.is_on());
            for step in 0..50 {
                assert_eq!(
                    old.lr_at(step, 10, &[]).unwrap(),
                    new.lr_at(step, 10, &[]).unwrap(),
                    "{last} {step}"
                );
            }
        }
        let mut settings = resolved(&format!("{TWO}lr = 0.05\n"));
        assert!(!settings.extend(5, None).unwrap());
        assert!(settings.extend(6, None).unwrap());
        assert_eq!(settings.origin("strategy.phase.1.epochs"), Origin::Flag("--epochs"));
        let before = resolved(&format!("{TWO}lr = 0.05\n")).show().unwrap();
        let moved = before.replace("run.toml:", "first.toml:");
        let shown = settings.show_extended(&moved).unwrap();
        let differing: Vec<&str> =
            shown.lines().zip(moved.lines()).filter(|(new, old)| new != old).map(|(new, _)| new).collect();
        assert_eq!(differing.len(), 1, "{differing:?}");
        assert!(
            differing[0].starts_with("epochs = 4 ") && differing[0].ends_with("# --epochs"),
            "{differing:?}"
        );
    }

    #[test]
    fn a_schedule_that_ended_needs_a_rate_for_the_added_epochs() {
        let cosine = "lr = { schedule = 'cosine', from = 0.1, to = 0.0 }\n";
        let of_phase = format!("{TWO}{cosine}");
        let error = refusal(&of_phase, 7, None);
        assert!(
            error.starts_with("--epochs: the cosine schedule of the last phase ends")
                && error.ends_with("by --lr")
        );
        // Of a single phase, the schedule may also be the run's.
        let of_run = format!("[strategy]\n{cosine}[[strategy.phase]]\nepochs = 5\namplify = true\n");
        for text in [of_phase.as_str(), &of_run] {
            let (old, new) = (resolved(text).config.strategy, extended(text, 7, Some(0.01)));
            let added = new.phases.last().unwrap();
            assert_eq!((added.epochs, added.lr.clone()), (2, Some(LearningRate::constant(0.01))));
            assert_eq!(added.amplify, old.phases.last().unwrap().amplify);
            for step in 0..50 {
                assert_eq!(old.lr_at(step, 10, &[]).unwrap(), new.lr_at(step, 10, &[]).unwrap(), "{step}");
            }
            assert_eq!(new.lr_at(60, 10, &[]).unwrap(), 0.01);
        }
    }

    #[test]
    fn a_schedule_of_several_phases_and_a_shorter_run_are_refused() {
        let several = format!("[strategy]\nlr = {{ schedule = 'linear', from = 0.1, to = 0.0 }}\n{TWO}");
        for lr in [None, Some(0.1)] {
            let error = refusal(&several, 9, lr);
            assert!(
                error.starts_with("--epochs: the linear schedule of strategy.lr spans all phases"),
                "{error}"
            );
        }
        let constant = format!("[strategy]\nlr = 0.2\n{TWO}");
        assert_eq!(extended(&constant, 6, None).lr_at(55, 10, &[]).unwrap(), 0.2);
        let error = refusal(&constant, 4, None);
        assert_eq!(
            error,
            "--epochs: found 4, but the run has 5 epochs: a run that goes on can only become longer"
        );
        assert!(refusal(&constant, 5, Some(0.1)).contains("found 5, but the run has 5 epochs"));
        assert!(refusal(&constant, 6, Some(-1.0)).contains("strategy.phase.2.lr"));
    }
}

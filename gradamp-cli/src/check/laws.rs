//! Checks a device with the laws of the conformance suite.

use std::time::Instant;

use gradamp_core::Backend;
use gradamp_core::conformance::laws;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use gradamp_study::duration::duration;

/// The result of the conformance suite.
pub struct Laws {
    held: usize,
    broken: Vec<(&'static str, String)>,
    unchecked: usize,
    /// The number of laws that were not checked, because the device stopped responding.
    pub is_device_lost: bool,
    seconds: f64,
}

impl Laws {
    /// Checks the device with every law. Shows a progress bar if stderr is a terminal.
    pub fn check<B: Backend>(backend: &B) -> Self {
        let (laws, start) = (laws::<B>(), Instant::now());
        let mut result =
            Self { held: 0, broken: Vec::new(), unchecked: 0, is_device_lost: false, seconds: 0.0 };
        let bar = ProgressBar::new(laws.len() as u64); // hidden if stderr is not a terminal
        let template = "laws {bar:16} {pos}/{len} {wide_msg}";
        bar.set_style(
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()),
        );
        for (i, law) in laws.iter().enumerate() {
            bar.set_message(law.name);
            match (law.check)(backend) {
                Ok(()) => result.held += 1,
                Err(violation) => {
                    result.broken.push((law.name, violation.to_string()));
                    if backend.synchronize().is_err() {
                        result.unchecked = laws.len() - i - 1;
                        result.is_device_lost = true;
                        break;
                    }
                }
            }
            bar.inc(1);
        }
        bar.finish_and_clear();
        result.seconds = start.elapsed().as_secs_f64();
        result
    }

    fn len(&self) -> usize {
        self.held + self.broken.len() + self.unchecked
    }

    pub fn as_text(&self) -> String {
        let mut text = format!("laws: {} of {} hold ({})\n", self.held, self.len(), duration(self.seconds));
        for (law, message) in &self.broken {
            text += &format!("  broken: {law}: {message}\n");
        }
        if self.is_device_lost {
            text += &format!("  the device stopped responding; {} laws were not checked\n", self.unchecked);
        }
        text
    }

    pub fn as_json(&self) -> Value {
        let broken = self.broken.iter().map(|(law, message)| json!({"law": law, "message": message}));
        let broken: Vec<Value> = broken.collect();
        json!({"held": self.held, "broken": broken, "untried": self.unchecked, "seconds": self.seconds})
    }

    /// Describes the broken laws in a few words. Returns `None` if all laws hold.
    pub fn fault(&self) -> Option<String> {
        let first = self.broken.first()?.0;
        Some(match self.broken.len() {
            1 => format!("it breaks the law {first}"),
            n => format!("it breaks {n} laws, the first is {first}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broken_laws_are_listed_and_counted() {
        let broken = vec![("gemm::gemm_equals_its_twin", "C[0] is 1, expected 2".to_owned())];
        let mut laws = Laws { held: 3, broken, unchecked: 0, is_device_lost: false, seconds: 1.0 };
        assert_eq!(laws.fault().unwrap(), "it breaks the law gemm::gemm_equals_its_twin");
        laws.broken.push(("axpby::axpby_equals_its_twin", "the backend failed: lost".into()));
        (laws.unchecked, laws.is_device_lost) = (2, true);
        let expected = "laws: 3 of 7 hold (1 s)\n  \
             broken: gemm::gemm_equals_its_twin: C[0] is 1, expected 2\n  \
             broken: axpby::axpby_equals_its_twin: the backend failed: lost\n  \
             the device stopped responding; 2 laws were not checked\n";
        assert_eq!(laws.as_text(), expected);
        assert_eq!(laws.fault().unwrap(), "it breaks 2 laws, the first is gemm::gemm_equals_its_twin");
        let none = Laws { held: 3, broken: Vec::new(), unchecked: 0, is_device_lost: false, seconds: 1.0 };
        assert_eq!(none.fault(), None);
    }
}

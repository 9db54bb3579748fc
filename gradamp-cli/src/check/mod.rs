//! `gradamp devices --check`: checks a device with the laws of the conformance suite, and compares a short training on the
//! device with the same training on the CPU.

mod comparison;
mod laws;

use gradamp_core::Backend;
use gradamp_core::backend::Memory;
use gradamp_models::{Architecture, ModelSettings};
use serde_json::json;

use crate::device::{self, Opening, Task};
use crate::failure::{Failure, Result};
use crate::output;
use comparison::{Comparison, GRADIENT_LIMIT, LOSS_LIMIT};
use gradamp_study::config::Device;
use gradamp_study::config::Precision;
use laws::Laws;

const MODELS: [Architecture; 2] = [Architecture::ResNet18, Architecture::Vgg11];
const WIDTH: usize = 8;

/// `gradamp devices --check DEVICE`
///
/// **Errors:** the device does not exist, breaks a law, or computes other values than the CPU.
pub fn check(device: &Device, steps: usize, json: bool) -> Result<()> {
    if steps == 0 {
        return Err(Failure::usage("--steps: expected at least 1, found 0"));
    }
    let opening = Opening { trusted: true, ..Opening::default() };
    device::choose_by_flag("--check", device)?.run(&opening, Check { steps, json })
}

struct Check {
    steps: usize,
    json: bool,
}

impl Task for Check {
    type Output = ();

    fn run<B: Backend>(self, backend: B) -> Result<()> {
        let cpu = device::cpu(0, Precision::F32)?;
        let (name, reference) = (backend.name(), cpu.name());
        let say = |text: &str| {
            if !self.json {
                output::result(text);
            }
        };
        say(&format!("{name}, checked against {reference}\n"));
        let verdict = Laws::check(&backend);
        say(&verdict.as_text());
        let mut faults: Vec<String> = verdict.fault().into_iter().collect();
        let mut models = Vec::new();
        for architecture in MODELS {
            if verdict.is_device_lost {
                break;
            }
            let settings = ModelSettings::new(architecture).with_width(WIDTH);
            match Comparison::run(&backend, &cpu, settings, self.steps) {
                Ok(comparison) => {
                    say(&comparison.as_text());
                    faults.extend(comparison.faults());
                    models.push(comparison.as_json());
                }
                Err(error) => faults.push(format!("{settings} cannot be trained: {error}")),
            }
        }
        if self.json {
            output::result(json!({
                "device": name, "reference": reference, "laws": verdict.as_json(), "models": models,
                "gradient_limit": GRADIENT_LIMIT, "loss_limit": LOSS_LIMIT, "faults": faults,
            }));
        }
        if faults.is_empty() {
            say("This device computes correctly.");
            return Ok(());
        }
        Err(Failure::failed(format!("{name} does not compute correctly: {}", faults.join("; "))))
    }
}

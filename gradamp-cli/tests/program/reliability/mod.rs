//! What holds when a run is killed, when the power fails, and in a hostile environment.

mod crash;
mod disk;
mod flush;
mod hostile;
mod output;
mod power_cut;
pub mod trace;

use crate::Workplace;

/// A short run that does everything once or twice: evaluations, amplification, the best and the last checkpoint.
const TINY: &str = "\
model = { name = 'resnet18', width = 2 }
train = { batch_size = 8, device = 'cpu', threads = 1, log_interval = 1, gradients_every = 1 }
data = { source = 'shapes', shapes = { train = 16, test = 8 } }
strategy.lr = 0.05
strategy.phase = [{ epochs = 1 }, { epochs = 1, amplify = true }]
amplification = { kinds = ['batch_norm'], ratio = 0.5 }
";

/// The arguments that start the short run with the settings in `tiny.toml`.
fn begin(out: &str) -> String {
    format!("train --config tiny.toml --out {out}")
}

fn workplace() -> Workplace {
    let place = Workplace::new();
    place.write("tiny.toml", TINY);
    place
}

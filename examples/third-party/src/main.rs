//! The program `gradamp`, extended with a policy, models and a data set of this crate:
//!
//! ```sh
//! cargo run --release -p third-party -- train --config examples/third-party/stripes.toml
//! ```

use std::process::ExitCode;
use std::sync::Arc;

use gradamp_cli::Program;
use third_party::{Faded, LeakyNet, PlainVgg11, WideResNet10, stripes};

fn main() -> ExitCode {
    Program::new()
        .policy("faded", |settings| Ok(Arc::new(Faded::new(settings)?)))
        .model("leaky", LeakyNet)
        .model("plain-vgg11", PlainVgg11)
        .model("wide-resnet10", WideResNet10 { gelu: false })
        .model("wide-resnet10-gelu", WideResNet10 { gelu: true })
        .data("stripes", |_| stripes())
        .run()
}

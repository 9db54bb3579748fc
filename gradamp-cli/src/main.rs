//! The program `gradamp`.

use std::process::ExitCode;

fn main() -> ExitCode {
    gradamp_cli::Program::new().run()
}

//! The program `gradamp`.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(gradamp_cli::run(std::env::args_os()))
}

//! The program as a library. Another crate can add policies, models and data sets to it.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use gradamp_core::amplify::{self, AmplificationPolicy, AmplificationSettings};
use gradamp_core::{Error, Result};
use gradamp_cpu::Cpu;
use gradamp_data::DatasetPair;
use gradamp_models::{ModelDefinition, OnBackend};
use gradamp_wgpu::Wgpu;

use crate::{USAGE, output};
use gradamp_study::shell;

/// The program, with additional policies, models and data sets.
///
/// Settings name added items in the same way as built-in ones: `amplification.policy = "faded"`, `model.name =
/// "tiny"`, `data.source = "stripes"`. `--help` and `config show` list them. Runs that use them can be resumed, take
/// part in sweeps and appear in reports. Messages that suggest a command use the name of the running program.
///
/// ```no_run
/// use std::sync::Arc;
/// use gradamp_core::amplify::{AmplificationPolicy, PolicyContext};
///
/// /// Amplifies the first eligible layer.
/// #[derive(Debug)]
/// struct First {
///     factor: f32,
/// }
///
/// impl AmplificationPolicy for First {
///     fn decide(&self, context: &PolicyContext<'_>) -> gradamp_core::Result<Vec<(usize, f32)>> {
///         Ok(vec![(context.eligible[0], self.factor)])
///     }
/// }
///
/// fn main() -> std::process::ExitCode {
///     gradamp_cli::Program::new()
///         .policy("first", |settings| Ok(Arc::new(First { factor: settings.factor })))
///         .run()
/// }
/// ```
///
/// Added items stay registered until the process ends, so a process should make only one program.
#[derive(Debug, Default)]
#[must_use = "a program does nothing until it is run"]
pub struct Program {
    failed: Option<Error>,
}

impl Program {
    /// The program `gradamp` without additions.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an amplification policy for the setting `amplification.policy`; see [`amplify::register_policy`].
    pub fn policy(
        self,
        name: &str,
        build: impl Fn(&AmplificationSettings) -> Result<Arc<dyn AmplificationPolicy>> + Send + Sync + 'static,
    ) -> Self {
        self.note(amplify::register_policy(name, build))
    }

    /// Adds a model for the setting `model.name` and the option `--model`.
    pub fn model(self, name: &str, definition: impl ModelDefinition) -> Self {
        let definition = Arc::new(definition);
        let backends = vec![OnBackend::new::<Cpu, _>(&definition), OnBackend::new::<Wgpu, _>(&definition)];
        self.note(gradamp_models::register(name, backends))
    }

    /// Adds a data set for the setting `data.source` and the option `--data`; see [`gradamp_data::register`].
    pub fn data(
        self,
        name: &str,
        load: impl Fn(Option<&Path>) -> gradamp_data::Result<DatasetPair> + Send + Sync + 'static,
    ) -> Self {
        self.note(gradamp_data::register(name, load))
    }

    /// Runs the program with the command line of this process.
    pub fn run(self) -> ExitCode {
        ExitCode::from(self.run_with(std::env::args_os()))
    }

    /// Runs the program with `arguments`, the first of which is the program's name. Returns the exit code: 0 success,
    /// 1 failure, 2 wrong usage (also if the name of an added item is taken), 130 interrupted and saved.
    pub fn run_with(self, arguments: impl IntoIterator<Item = OsString>) -> u8 {
        let arguments: Vec<OsString> = arguments.into_iter().collect();
        arguments.first().into_iter().for_each(|name| shell::name_program(name));
        match self.failed {
            None => crate::run(arguments),
            Some(error) => {
                output::error(&error);
                USAGE
            }
        }
    }

    /// Keeps the first error of adding an item. It is reported when the program runs.
    fn note(self, added: Result<()>) -> Self {
        Self { failed: self.failed.or(added.err()) }
    }
}

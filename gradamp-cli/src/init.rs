//! `gradamp init`: a commented configuration file to start from.

use std::path::PathBuf;

use clap::Args;
use gradamp_models::file_behind;
use gradamp_study::config::template;
use gradamp_study::run_folder::{check_not_owned, write_file};

use crate::failure::{Failure, Result};
use crate::output;

/// `gradamp init`
#[derive(Args, Debug)]
pub struct InitArgs {
    /// The network: vgg11, vgg13, vgg16, vgg19, resnet18, resnet34 or mlp.
    #[arg(value_name = "MODEL")]
    pub model: String,
    /// The data, as for `train --data`: auto, cifar10, cifar100, mnist, fashion-mnist, shapes, or the path of a data set.
    #[arg(value_name = "DATASET", default_value = "auto")]
    pub data: PathBuf,
    /// The file to write. Without it, the configuration is printed.
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Replace the file if it exists.
    #[arg(long, requires = "output")]
    pub force: bool,
}

/// Writes or prints the configuration.
///
/// **Errors:** an unknown network; a file that exists or cannot be written.
pub fn init(args: &InitArgs) -> Result<()> {
    let model = args.model.parse().map_err(Failure::usage)?;
    let text = template(model, &args.data.as_path().into())?;
    let Some(path) = &args.output else {
        output::result(text.trim_end());
        return Ok(());
    };
    check_not_owned(&file_behind(path)?)?;
    if path.exists() && !args.force {
        let message = "exists; expected the name of a new file, or --force to replace it";
        return Err(Failure::usage(format!("{}: {message}", path.display())));
    }
    write_file(path, text.as_bytes())?;
    output::message(format_args!("configuration: {}", path.display()));
    Ok(())
}

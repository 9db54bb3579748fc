//! `gradamp eval`, `gradamp data`, `gradamp config`.

use std::path::Path;

use gradamp_core::error::nearest;
use gradamp_core::train::{Evaluation, evaluate};
use gradamp_core::{Backend, Parameters};
use gradamp_models::{Architecture, Archive, ModelSettings, Skip};
use serde_json::json;

use crate::args::{ConfigCommand, DataCommand, EvalArgs};
use crate::dataset::{self, Data};
use crate::device::{self, Task};
use crate::failure::{Failure, Result};
use crate::{added, output};
use gradamp_study::config::{Config, Layers, presets};
use gradamp_study::resume::find_data;
use gradamp_study::run_folder::{self, RunFolder};
use gradamp_study::sweep::EMBEDDED;

/// `gradamp config`
pub fn config(command: &ConfigCommand) -> Result<()> {
    match command {
        ConfigCommand::Show(args) => {
            let resolved = args.layers().resolve()?;
            resolved.notes.iter().for_each(output::message);
            output::result(resolved.show()?.trim_end());
            added::lines().iter().for_each(|line| output::result(format_args!("# {line}")));
        }
        ConfigCommand::List => output::result(list().trim_end()),
        ConfigCommand::Print { name } => output::result(text_of(name)?.trim_end()),
        ConfigCommand::Check { file } => {
            Layers { file: Some(file.clone()), ..Layers::default() }.resolve()?;
            output::result(format_args!("{}: all settings are valid", file.display()));
        }
    }
    Ok(())
}

/// The presets and the studies inside the program, each with the first sentence of its text.
fn list() -> String {
    let presets = presets::ALL.map(|preset| (preset.name, preset.text));
    let studies = EMBEDDED.map(|study| (study.name, study.text));
    let longest = studies.iter().chain(&presets).map(|(name, _)| name.len()).max().unwrap_or(0);
    let mut text = String::new();
    for (title, items) in
        [("presets, for train --preset NAME", &presets[..]), ("studies, for sweep NAME", &studies[..])]
    {
        text += &format!("{title}:\n");
        items.iter().for_each(|(name, item)| text += &format!("  {name:<longest$}  {}\n", subject_of(item)));
    }
    text
}

/// The first sentence of the comment at the beginning of `text`.
fn subject_of(text: &str) -> String {
    let comment = text.lines().map_while(|line| line.strip_prefix('#')).map(str::trim);
    let comment = comment.take_while(|line| !line.is_empty()).collect::<Vec<_>>().join(" ");
    let end = comment.match_indices(['.', '?']).map(|(i, _)| i + 1).find(|&end| {
        let rest = &comment[end..];
        rest.is_empty() || rest.starts_with(' ')
    });
    comment[..end.unwrap_or(comment.len())].to_owned()
}

/// The text of the preset or study called `name`.
fn text_of(name: &str) -> Result<&'static str> {
    let items = || {
        let studies = EMBEDDED.into_iter().map(|study| (study.name, study.text));
        presets::ALL.into_iter().map(|preset| (preset.name, preset.text)).chain(studies)
    };
    if let Some((_, text)) = items().find(|(known, _)| *known == name) {
        return Ok(text);
    }
    let names: Vec<&str> = items().map(|(name, _)| name).collect();
    let hint = nearest(name, names.iter().copied()).map(|name| format!(" (did you mean {name}?)"));
    let expected = names.join(", ");
    Err(Failure::usage(format!("found {name:?}, expected one of {expected}{}", hint.unwrap_or_default())))
}

/// `gradamp data`
pub fn data(command: &DataCommand) -> Result<()> {
    match command {
        #[cfg(feature = "download")]
        DataCommand::Download(args) => crate::download::download(args),
        DataCommand::Info { data } => dataset::info(data),
        DataCommand::Verify { data } => dataset::verify(data),
    }
}

/// `gradamp eval`
pub fn eval(args: &EvalArgs) -> Result<()> {
    let (archive, mut config) = subject(args)?;
    let file = Path::new(archive.origin()).to_owned();
    if let Some(data) = &args.data {
        config.data.choose(data.as_path().into());
    }
    config.train.batch_size = args.batch_size;
    let mut settings = archive.settings()?;
    if let Some(activation) = args.activation {
        settings.activation = activation;
    }
    let run = args.run.as_deref().filter(|_| args.data.is_none());
    let data = Data::load(&config.data, &|line| output::message(line))
        .map_err(|error| dataset::explain_relative_path(error, &config.data, run))?;
    let (name, classes) = (data.name().to_owned(), data.classes().to_vec());
    if settings.classes != classes.len() {
        let message = format!("holds a {settings}, but {name} has {} classes", classes.len());
        return Err(Failure::failed(format!("{}: {message}", file.display())));
    }
    if !settings.takes(data.image()) {
        let [h, w, c] = data.image();
        let taken = match settings.architecture {
            Architecture::Mlp => format!("{} values", settings.image.iter().product::<usize>()),
            _ => format!("{} channels", settings.image[2]),
        };
        let message = format!(
            "holds a {settings} for images of {taken}, but {name} has images of {h}x{w} pixels in {c} channels"
        );
        return Err(Failure::failed(format!("{}: {message}", file.display())));
    }
    settings.image = data.image();
    let task = Evaluate { config: &config, data, settings: &settings, archive: &archive };
    let evaluation = device::run(&args.device, task)?;
    if args.json {
        output::result(as_json(&file, &settings, &name, &classes, &evaluation));
    } else {
        output::result(as_text(&file, &settings, &name, &classes, &evaluation).trim_end());
    }
    Ok(())
}

/// Evaluates a model whose classes match the data.
struct Evaluate<'a> {
    config: &'a Config,
    data: Data,
    settings: &'a ModelSettings,
    archive: &'a Archive,
}

impl Task for Evaluate<'_> {
    type Output = Evaluation;

    fn run<B: Backend>(self, backend: B) -> Result<Evaluation> {
        let batches = dataset::test_batches(self.config, self.data, &backend)?;
        let mut parameters = Parameters::new(&backend, 0);
        let model = gradamp_models::build(self.settings, &mut parameters)?;
        self.archive.import_wrapped(&Skip::default(), &mut parameters)?.iter().for_each(output::message);
        Ok(evaluate(&model, &mut parameters, &*batches)?)
    }
}

/// Opens the model's file and finds the settings that describe its data.
fn subject(args: &EvalArgs) -> Result<(Archive, Config)> {
    if let Some(root) = &args.run {
        let mut resolved = RunFolder::settings_of(root)?;
        if let (Some(record), true) = (RunFolder::record_of(root)?, args.data.is_none()) {
            find_data(&mut resolved, &record).iter().for_each(output::message);
        }
        // A run that stopped before its first evaluation has no best checkpoint.
        let best = if args.last { None } else { RunFolder::best_of(root).open()? };
        let last = RunFolder::last_of(root);
        let Some(checkpoint) = best.map_or_else(|| last.open(), |best| Ok(Some(best)))? else {
            return Err(last.missing().into());
        };
        return Ok((checkpoint.into_model()?, resolved.config));
    }
    let path = args.checkpoint.clone().unwrap_or_default();
    let archive = run_folder::read_model(&path)?.with_names(args.init_names.unwrap_or_default());
    Ok((archive, Config::default()))
}

fn as_json(
    file: &Path,
    model: &ModelSettings,
    data: &str,
    classes: &[String],
    evaluation: &Evaluation,
) -> serde_json::Value {
    let of_class = |(name, accuracy): (&String, Option<f64>)| json!({"class": name, "accuracy": accuracy});
    let classes: Vec<_> = classes.iter().zip(evaluation.class_accuracies()).map(of_class).collect();
    json!({
        "file": file.display().to_string(), "model": model.to_string(), "data": data,
        "examples": evaluation.examples, "accuracy": evaluation.accuracy(), "loss": evaluation.loss,
        "classes": classes, "confusion": evaluation.confusion,
    })
}

fn as_text(
    file: &Path,
    model: &ModelSettings,
    data: &str,
    classes: &[String],
    evaluation: &Evaluation,
) -> String {
    let mut text = format!(
        "{} ({model})\n{data}: accuracy {:.2} % ({} of {}), loss {:.4}\n",
        file.display(),
        100.0 * evaluation.accuracy(),
        evaluation.correct(),
        evaluation.examples,
        evaluation.loss
    );
    let longest = classes.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    for (name, accuracy) in classes.iter().zip(evaluation.class_accuracies()) {
        let accuracy = accuracy.map_or("-".into(), |accuracy| format!("{:.2} %", 100.0 * accuracy));
        text += &format!("  {name:<longest$}  {accuracy:>8}\n");
    }
    text
}

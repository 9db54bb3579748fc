//! `gradamp verify`: checks every file of a run or a sweep against its seal.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use crate::failure::{Failure, Result};
use crate::output;
use gradamp_study::run_folder::{Finding, RunFolder, Verdict, findings};
use gradamp_study::sweep::{self, SweepData};

/// `gradamp verify`
#[derive(Args, Debug)]
pub struct VerifyArgs {
    /// The folder of a run or of a sweep.
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
    /// Print the results as one line of JSON.
    #[arg(long)]
    pub json: bool,
}

/// `gradamp verify`
///
/// **Errors:** files are damaged. The error names them.
pub fn verify(args: &VerifyArgs) -> Result<()> {
    let root = args.dir.as_path();
    let is_sweep = SweepData::is_sweep(root);
    if root.is_dir() && !is_sweep && RunFolder::config_of(root).is_err() {
        let message =
            "expected the folder of a run or of a sweep, found neither config.toml nor plan.json in it";
        return Err(Failure::failed(format!("{}: {message}", root.display())));
    }
    let found = if is_sweep { sweep::findings(root)? } else { findings(root)? };
    if args.json {
        output::result(as_json(root, &found));
    } else {
        output::result(as_text(root, &found).trim_end());
    }
    let damaged: Vec<String> =
        found.iter().filter(|finding| finding.is_damage()).map(|finding| name(root, finding)).collect();
    if damaged.is_empty() {
        return Ok(());
    }
    let (n, words) = (damaged.len(), if damaged.len() == 1 { "file is" } else { "files are" });
    Err(Failure::failed(format!("{}: {n} {words} damaged: {}", root.display(), damaged.join(", "))))
}

/// The name of the file within the folder.
fn name(root: &Path, finding: &Finding) -> String {
    finding.path.strip_prefix(root).unwrap_or(&finding.path).display().to_string()
}

fn as_json(root: &Path, found: &[Finding]) -> serde_json::Value {
    let file = |finding: &Finding| {
        let (state, message) = match &finding.verdict {
            Verdict::Whole => ("whole", None),
            Verdict::Noted(note) => ("noted", Some(note)),
            Verdict::Damaged(damage) => ("damaged", Some(damage)),
        };
        json!({"file": name(root, finding), "state": state, "message": message})
    };
    json!({
        "folder": root.display().to_string(), "whole": !found.iter().any(Finding::is_damage),
        "files": found.iter().map(file).collect::<Vec<_>>(),
    })
}

fn as_text(root: &Path, found: &[Finding]) -> String {
    let names: Vec<String> = found.iter().map(|finding| name(root, finding)).collect();
    let longest = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for (name, finding) in names.iter().zip(found) {
        let words = match &finding.verdict {
            Verdict::Whole => "whole".to_owned(),
            Verdict::Noted(note) => note.clone(),
            Verdict::Damaged(damage) => format!("DAMAGED: {damage}"),
        };
        text += &format!("{name:<longest$}  {words}\n");
    }
    let count = |is_counted: fn(&Finding) -> bool| found.iter().filter(|finding| is_counted(finding)).count();
    let whole = count(|finding| finding.verdict == Verdict::Whole);
    let summary = match count(Finding::is_damage) {
        0 if whole == found.len() => String::new(),
        0 => "; no damage was found in the other files".to_owned(),
        damaged => format!("; {damaged} damaged"),
    };
    let files = found.len();
    text + &format!("{}: {whole} of {files} files are whole, bit for bit{summary}\n", root.display())
}

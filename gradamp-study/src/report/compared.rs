//! The difference between two runs, by the numbers of `gradamp compare`.

use super::chart::{Format, p_in_words, significant};
use super::html::{Block, Cell, Section, Table};
use super::subject::Subject;
use crate::Result;
use crate::compare::{Comparison, Contest, Contrast, Examples, Options, Target, TimeUnit};
use crate::shell;

/// Each later run compared with the first.
///
/// **Errors:** settings that cannot be written. Runs that were never evaluated are no error here: there is nothing to
/// compare yet.
pub fn section(runs: &[Subject], options: &Options) -> Result<Option<Section>> {
    let [first, rest @ ..] = runs else { return Ok(None) };
    let mut blocks = Vec::new();
    for run in rest {
        if [first, run].iter().any(|run| run.data.last().is_none()) {
            blocks.push(Block::Text(format!("{} and {} are not both evaluated yet.", first.name, run.name)));
            continue;
        }
        let a = (first.name.as_str(), vec![first.data.clone()]);
        let b = (run.name.as_str(), vec![run.data.clone()]);
        blocks.extend(of_pair(&Comparison::of_runs(a, b, options)?));
    }
    Ok(Some(Section::new("comparison", "The difference, tested", blocks)))
}

fn of_pair(comparison: &Comparison) -> Vec<Block> {
    let (a, b) = (&comparison.a.name, &comparison.b.name);
    let mut blocks = vec![Block::Text(in_words(comparison))];
    let warnings: Vec<String> =
        comparison.warnings.iter().map(|warning| format!("{}.", capitalised(warning))).collect();
    if !warnings.is_empty() {
        blocks.push(Block::Notice(warnings.join(" ")));
    }
    let mut table = Table::new(&format!("{b} (B) against {a} (A)"), &["measure", "A", "B", "B − A"]);
    let mut add = |name: &str, contrast: &Contrast| {
        let percent = |value: f64| Format::Percent(2).text(value);
        let difference = format!("{} points", Format::Points.text(contrast.difference));
        table.add(name, [percent(contrast.a.mean), percent(contrast.b.mean), difference]);
    };
    add("test accuracy, last epoch", &comparison.last);
    if let Some(best) = &comparison.best {
        let name = if comparison.best_is_fair {
            "test accuracy, best validation epoch"
        } else {
            "test accuracy, best epoch ON TEST"
        };
        add(name, best);
    }
    for target in comparison.targets.iter().filter(|target| target.is_reached()) {
        add_times(&mut table, target);
    }
    blocks.push(Block::Table(table));
    blocks
}

fn add_times(table: &mut Table, target: &Target) {
    let goal = Format::Percent(2).text(target.accuracy);
    let mut add = |unit: &str, contest: &Contest, write: fn(f64) -> String| {
        let time = |value: Option<&Option<f64>>| value.copied().flatten();
        let (a, b) = (time(contest.a.values.first()), time(contest.b.values.first()));
        let text = |value: Option<f64>| value.map_or("never".into(), write);
        let difference = a.zip(b).map_or("–".into(), |(a, b)| {
            let sign = if b > a { "+" } else { "" };
            format!("{sign}{}", significant(b - a, 3))
        });
        table.add(&format!("{unit} to {goal}"), [text(a), text(b), difference]);
    };
    for unit in TimeUnit::ALL {
        if let Some(contest) = target.contest(unit) {
            add(unit.name(), contest, |time| significant(time, 4));
        }
    }
}

fn in_words(comparison: &Comparison) -> String {
    let (a, b) = (&comparison.a.name, &comparison.b.name);
    let difference = comparison.last.difference;
    let points = significant((100.0 * difference).abs(), 3);
    let course = if difference == 0.0 {
        format!("After their last epochs {a} and {b} have the same test accuracy.")
    } else {
        let side = if difference > 0.0 { "above" } else { "below" };
        format!("After its last epoch {b} is {points} percentage points {side} {a} in test accuracy.")
    };
    let examples = comparison.examples.as_ref().map(of_examples).unwrap_or_default();
    format!(
        "{course}{examples} One run of each says nothing about other seeds: `{program} sweep` trains several seeds, and \
         `{program} compare` tests their difference.",
        program = shell::program(),
    )
}

/// Both runs on the same test examples.
fn of_examples(examples: &Examples) -> String {
    let mut text = String::new();
    if let Some(bootstrap) = &examples.bootstrap {
        let (least, most) = bootstrap.bca.unwrap_or(bootstrap.percentile);
        text += &format!(
            " Drawn again over the {} test examples, the difference of these two models lies between {} and {} points \
             (95 % interval, bootstrap).",
            bootstrap.examples,
            Format::Points.text(least),
            Format::Points.text(most)
        );
    }
    for pair in &examples.pairs {
        let test = &pair.mcnemar;
        text += &format!(
            " Only A is right on {} of them and only B on {} (McNemar's test, {}).",
            test.only_a,
            test.only_b,
            p_in_words(test.p)
        );
    }
    text
}

/// The text with a capital letter in front.
pub fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// The settings in which later runs differ from the first, each in a table.
pub fn differences(runs: &[Subject]) -> Result<Vec<Block>> {
    let [first, rest @ ..] = runs else { return Ok(Vec::new()) };
    let mut blocks = Vec::new();
    for run in rest {
        let differences = first.data.settings.differences(&run.data.settings)?;
        if differences.is_empty() {
            blocks.push(Block::Text(format!("{} has the same settings as {}.", run.name, first.name)));
            continue;
        }
        let caption = format!("Settings in which {} differs from {}", run.name, first.name);
        let mut table = Table::new(&caption, &["setting", &first.name, &run.name]);
        for difference in differences {
            let cell = |text: String| Cell::Code(text.trim_matches('`').to_owned());
            table.rows.push(vec![cell(difference.path), cell(difference.before), cell(difference.after)]);
        }
        blocks.push(Block::Table(table));
    }
    Ok(blocks)
}

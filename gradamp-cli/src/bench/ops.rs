//! `gradamp bench ops`: times a training step operation by operation and compares each operation with the device's
//! ceilings.

use gradamp_core::Backend;
use serde_json::{Value, json};

use super::ceilings::Ceilings;
use super::operation::Operation;
use super::stopwatch::{Stopwatch, round};
use super::survey;
use crate::args::{OpsArgs, WorkloadArgs};
use crate::device::{self, Chosen, Task};
use crate::failure::{Failure, Result};
use crate::output;
use gradamp_study::columns::{columns, header};
use gradamp_study::config::Precision;

/// `gradamp bench ops`
///
/// **Errors:** no operation has the given name; those of the workload and of the device.
pub fn ops(args: &OpsArgs) -> Result<()> {
    let device = device::choose_by_flag("--device", &args.device.device)?;
    let precision = device.precision(args.device.precision);
    let registers = match &device {
        Chosen::Cpu => device::cpu(args.device.threads, precision)?.peak(),
        Chosen::Gpu { .. } => 0.0, // a GPU's ceiling is its fastest product
    };
    device.run(&args.device.opening(), Ops { args, precision, registers })
}

fn chosen(mut operations: Vec<(Operation, usize)>, only: Option<&str>) -> Result<Vec<(Operation, usize)>> {
    let Some(text) = only else { return Ok(operations) };
    let mut names: Vec<&str> = operations.iter().map(|(operation, _)| operation.name()).collect();
    names.dedup();
    operations.retain(|(operation, _)| operation.name().contains(text));
    match operations.is_empty() {
        true => {
            Err(Failure::usage(format!("--only: expected a part of {}, found {text:?}", names.join("; "))))
        }
        false => Ok(operations),
    }
}

struct Ops<'a> {
    args: &'a OpsArgs,
    /// The precision in which the device multiplies.
    precision: Precision,
    registers: f64,
}

/// The measurement of an operation.
struct Line {
    operation: Operation,
    count: usize,
    seconds: f64,
}

impl Task for Ops<'_> {
    type Output = ();

    fn run<B: Backend>(self, backend: B) -> Result<()> {
        let Self { args, precision, registers } = self;
        let operations = chosen(survey::operations(&args.workload, &backend)?, args.only.as_deref())?;
        let stopwatch = Stopwatch { rounds: args.rounds, stretch: 0.02 };
        let before = Ceilings::measure(&backend, registers, stopwatch)?;
        let mut lines = Vec::with_capacity(operations.len());
        for (operation, count) in operations {
            let seconds = stopwatch.seconds(&operation, &backend)?;
            lines.push(Line { operation, count, seconds });
        }
        let ceilings = before.highest(Ceilings::measure(&backend, registers, stopwatch)?);
        if args.json {
            let WorkloadArgs { model, width, batch } = &args.workload;
            output::result(json!({
                "model": model, "width": width, "batch": batch, "device": backend.name(), "precision": precision.name(),
                "gradamp": env!("CARGO_PKG_VERSION"), "rounds": args.rounds, "ceilings": ceilings.as_json(),
                "operations": lines.iter().map(|line| line.as_json(&ceilings)).collect::<Vec<_>>(),
                "seconds": round(total_seconds(&lines), 6),
            }));
        } else {
            output::result(format_args!(
                "{}, on {} in {}, operation by operation\nceilings: {}\n\n{}\n{}",
                args.workload,
                backend.name(),
                precision.name(),
                ceilings.as_text(),
                table(&lines, &ceilings),
                kinds(&lines, &ceilings),
            ));
        }
        Ok(())
    }
}

/// The total seconds of all operations of a step.
fn total_seconds(lines: &[Line]) -> f64 {
    lines.iter().map(Line::in_step).sum()
}

fn table(lines: &[Line], ceilings: &Ceilings) -> String {
    let mut rows = vec![header([
        "operation",
        "shape",
        "times",
        "ms each",
        "GFLOP/s",
        "GB/s",
        "of ceiling",
        "ms a step",
    ])];
    rows.extend(lines.iter().map(|line| {
        let Line { operation, count, seconds } = line;
        vec![
            operation.name().to_owned(),
            operation.to_string(),
            count.to_string(),
            format!("{:.3}", 1e3 * seconds),
            rate(operation.flops() / seconds),
            rate(operation.bytes() / seconds),
            percent(ceilings.share(operation, *seconds)),
            format!("{:.3}", 1e3 * line.in_step()),
        ]
    }));
    columns(&rows, "<<>>>>>>")
}

/// The table by kind of operation, longest first.
fn kinds(lines: &[Line], ceilings: &Ceilings) -> String {
    let mut kinds: Vec<(&str, Vec<&Line>)> = Vec::new();
    for line in lines {
        let name = line.operation.name();
        match kinds.iter_mut().find(|(known, _)| *known == name) {
            Some((_, lines)) => lines.push(line),
            None => kinds.push((name, vec![line])),
        }
    }
    let sum = |lines: &[&Line], of: &dyn Fn(&Line) -> f64| lines.iter().map(|line| of(line)).sum::<f64>();
    let seconds = |lines: &[&Line]| sum(lines, &Line::in_step);
    kinds.sort_by(|(_, a), (_, b)| seconds(b).total_cmp(&seconds(a)));
    kinds.push(("together", lines.iter().collect()));
    let all = total_seconds(lines);
    let mut rows =
        vec![header(["kind", "times", "ms a step", "of the step", "GFLOP/s", "GB/s", "of ceiling"])];
    rows.extend(kinds.iter().map(|(name, lines)| {
        let time = seconds(lines);
        let ideal = sum(lines, &|line| line.in_step() * ceilings.share(&line.operation, line.seconds));
        vec![
            (*name).to_owned(),
            lines.iter().map(|line| line.count).sum::<usize>().to_string(),
            format!("{:.3}", 1e3 * time),
            percent(time / all),
            rate(sum(lines, &|line| line.count as f64 * line.operation.flops()) / time),
            rate(sum(lines, &|line| line.count as f64 * line.operation.bytes()) / time),
            percent(ideal / time),
        ]
    }));
    columns(&rows, "<>>>>>>")
}

fn rate(per_second: f64) -> String {
    if per_second == 0.0 { "-".into() } else { format!("{:.1}", 1e-9 * per_second) }
}

fn percent(share: f64) -> String {
    format!("{:.0} %", 100.0 * share)
}

impl Line {
    /// The total seconds of all calls of the operation in a step.
    fn in_step(&self) -> f64 {
        self.count as f64 * self.seconds
    }

    fn as_json(&self, ceilings: &Ceilings) -> Value {
        let Self { operation, count, seconds } = self;
        let flops = operation.flops();
        json!({
            "operation": operation.name(), "shape": operation.to_string(), "count": count, "seconds": seconds,
            "gflops": (flops > 0.0).then(|| round(1e-9 * flops / seconds, 3)),
            "gbps": round(1e-9 * operation.bytes() / seconds, 3),
            "share_of_ceiling": round(ceilings.share(operation, *seconds), 4),
        })
    }
}

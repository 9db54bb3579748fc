//! Phases with amplification settings of their own: a phase's table `amplify` holds changes to the run's `[amplification]`.
//!
//! The changes are merged into the run's table before the settings are read, and only the changes are written back.

use super::KeyError;
use super::tree::{Node, Value};

/// The key of a phase's amplification, for the phase of this number.
fn key(phase: usize) -> String {
    format!("strategy.phase.{phase}.amplify")
}

/// The settings in which each phase that changes the run's amplification has the complete merged table.
pub(super) fn with_whole_tables(tree: &Node) -> Result<Node, KeyError> {
    let nothing = Node::empty();
    let run = tree.get("amplification").unwrap_or(&nothing);
    let mut whole = tree.clone();
    let phases = match tree.get("strategy.phase").map(|node| &node.value) {
        Some(Value::Array(phases)) => phases.len(),
        _ => 0,
    };
    for phase in 0..phases {
        if let Some(changes) = tree.get(&key(phase))
            && let Value::Table(entries) = &changes.value
        {
            let value = if entries.is_empty() { Value::Boolean(true) } else { merged(run, changes) };
            whole.set(&key(phase), Node { origin: changes.origin.clone(), value })?;
        }
    }
    Ok(whole)
}

/// Merges a phase's changes into the run's settings. A run's setting that a change excludes is dropped.
fn merged(run: &Node, changes: &Node) -> Value {
    let gives = |key: &str| changes.get(key).is_some();
    let is_list = |policy: &Node| policy.value == Value::String("list".into());
    let mut whole = run.clone();
    if gives("sites") {
        whole.remove("kinds");
        whole.remove("paths");
    } else if gives("kinds") || gives("paths") {
        whole.remove("sites");
    }
    if gives("sites") || changes.get("policy").is_some_and(|policy| !is_list(policy)) {
        whole.remove("factors");
    }
    whole.overlay(changes.clone());
    whole.value
}

/// Removes the settings from the phases in `whole` that were not written in `tree`.
pub(super) fn keep_changes(whole: &mut Node, tree: &Node) -> Result<(), KeyError> {
    for phase in 0.. {
        let Some(settings) = whole.get(&key(phase)) else { break };
        if let (Value::Table(_), Some(written)) = (&settings.value, tree.get(&key(phase))) {
            let mut settings = settings.clone();
            keep_written(&mut settings, written);
            whole.set(&key(phase), settings)?;
        }
    }
    Ok(())
}

fn keep_written(settings: &mut Node, written: &Node) {
    if let Value::Table(entries) = &mut settings.value {
        entries.retain(|(key, _)| written.get(key).is_some());
        for (key, node) in entries {
            if let Some(written) = written.get(key) {
                keep_written(node, written);
            }
        }
    }
}

/// If an error is about a setting that a phase takes from the run's table, makes it an error about the run's table.
pub(super) fn about_written(mut error: KeyError, tree: &Node) -> KeyError {
    let taken_over = error.path.strip_prefix("strategy.phase.").and_then(|rest| {
        let (_, rest) = rest.split_once('.')?;
        Some(format!("amplification.{}", rest.strip_prefix("amplify.")?))
    });
    if let Some(path) = taken_over
        && tree.get(&error.path).is_none()
    {
        error.path = path;
    }
    error
}

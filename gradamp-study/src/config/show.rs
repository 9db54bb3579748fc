//! Writes settings as TOML that can be read again, each with its origin.

use std::fmt::Write;

use super::tree::{Node, Value};
use super::{KeyError, Resolved};

/// The column of the comments, unless the line is longer.
const COMMENT_COLUMN: usize = 44;

impl Resolved {
    /// Writes all settings as TOML, each with a comment that names its origin.
    ///
    /// **Errors:** settings that TOML cannot hold, such as numbers beyond 63 bits.
    pub fn show(&self) -> Result<String, KeyError> {
        let mut text = String::new();
        self.show_table(&self.written()?, "", "", &mut text);
        Ok(text)
    }

    /// `section` is the path as a TOML header names it, `path` the same with the numbers of list items.
    fn show_table(&self, table: &Node, section: &str, path: &str, text: &mut String) {
        let Value::Table(entries) = &table.value else { return };
        for (key, node) in entries.iter().filter(|(_, node)| !is_section(node)) {
            let line = format!("{key} = {}", inline(node));
            let origin = self.origin(&join(path, key));
            let _ = writeln!(text, "{line:COMMENT_COLUMN$} # {origin}"); // writing to a String cannot fail
        }
        for (key, node) in entries.iter().filter(|(_, node)| is_section(node)) {
            let (section, path) = (join(section, key), join(path, key));
            match &node.value {
                Value::Array(items) => {
                    for (i, item) in items.iter().enumerate() {
                        let _ = writeln!(text, "\n[[{section}]]");
                        self.show_table(item, &section, &format!("{path}.{i}"), text);
                    }
                }
                _ => {
                    // A table that contains only tables needs no header.
                    if holds_values(node) {
                        let _ = writeln!(text, "\n[{section}]");
                    }
                    self.show_table(node, &section, &path, text);
                }
            }
        }
    }
}

fn holds_values(node: &Node) -> bool {
    match &node.value {
        Value::Table(entries) => entries.is_empty() || entries.iter().any(|(_, child)| !is_section(child)),
        _ => true,
    }
}

fn is_section(node: &Node) -> bool {
    match &node.value {
        Value::Table(_) => true,
        Value::Array(items) => items.first().is_some_and(|item| matches!(item.value, Value::Table(_))),
        _ => false,
    }
}

fn join(parent: &str, key: &str) -> String {
    if parent.is_empty() { key.to_owned() } else { format!("{parent}.{key}") }
}

/// A value as TOML writes it on one line.
pub(super) fn inline(node: &Node) -> String {
    match &node.value {
        // A large or small number is written with a power of ten if that is shorter.
        Value::Float(value) if value.is_finite() => format!("{value:?}"),
        Value::Array(items) => format!("[{}]", items.iter().map(inline).collect::<Vec<_>>().join(", ")),
        _ => toml_value(node).to_string(),
    }
}

fn toml_value(node: &Node) -> toml::Value {
    match &node.value {
        Value::Boolean(value) => (*value).into(),
        Value::Integer(value) => (*value).into(),
        Value::Float(value) => (*value).into(),
        Value::String(value) => value.clone().into(),
        Value::Array(items) => items.iter().map(toml_value).collect::<Vec<_>>().into(),
        Value::Table(entries) => {
            let entries = entries.iter().map(|(key, node)| (key.clone(), toml_value(node)));
            toml::Value::Table(entries.collect())
        }
    }
}

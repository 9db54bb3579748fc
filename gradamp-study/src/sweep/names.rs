//! The names of runs: readable, stable, and safe for every file system.

use crate::config::tree::{Node, Value};

/// The longest name of a run. File systems allow 255 bytes, and names of a run's files add to the name.
pub const LONGEST: usize = 160;
/// The longest text of a value that has no name.
const LONGEST_VALUE: usize = 40;

/// The name of the cell with these values, such as `factor-2_lr-0.1`: each value follows the label of its axis.
pub fn cell<'a>(coordinates: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let parts: Vec<String> =
        coordinates.into_iter().map(|(label, value)| format!("{label}-{value}")).collect();
    if parts.is_empty() { "base".into() } else { parts.join("_") }
}

/// The name of the baseline of all cells whose values on the axes of the baseline give the name `shared`.
pub fn baseline(shared: &str) -> String {
    if shared == "base" { "baseline".into() } else { format!("baseline_{shared}") }
}

/// The name of the control of `cell` whose factor acts through `through`.
pub fn control(cell: &str, through: &str) -> String {
    format!("{cell}_through-{through}")
}

/// The name of the run of `cell` with this seed.
pub fn run(cell: &str, seed: u64) -> String {
    format!("{cell}_seed-{seed}")
}

/// The label of an axis in the names of runs: the last part of its path other than `name`.
pub fn label(name: &str) -> String {
    let mut parts = name.rsplit('.');
    let last = parts.next().unwrap_or(name);
    let part = if last == "name" { parts.next().unwrap_or(last) } else { last };
    safe(part)
}

/// A value in the names of runs.
pub fn value(node: &Node) -> String {
    let mut text = String::new();
    write(node, &mut text);
    safe(&text).chars().take(LONGEST_VALUE).collect()
}

fn write(node: &Node, text: &mut String) {
    let mut joined = |nodes: &mut dyn Iterator<Item = &Node>| {
        for (i, node) in nodes.enumerate() {
            if i > 0 {
                text.push('+');
            }
            write(node, text);
        }
    };
    match &node.value {
        Value::Array(items) => joined(&mut items.iter()),
        Value::Table(entries) => joined(&mut entries.iter().map(|(_, node)| node)),
        Value::Boolean(value) => text.push_str(if *value { "true" } else { "false" }),
        Value::Integer(value) => text.push_str(&value.to_string()),
        Value::Float(value) => text.push_str(&number(*value)),
        Value::String(value) => text.push_str(value),
    }
}

/// A number without a needless `.0`; very small and large numbers in scientific notation.
pub fn number(value: f64) -> String {
    let is_plain = value == 0.0 || (1e-4..1e7).contains(&value.abs());
    if is_plain { value.to_string() } else { format!("{value:e}") }
}

/// `text` in characters that every file system and every shell accepts.
pub fn safe(text: &str) -> String {
    let is_safe = |c: char| c.is_ascii_alphanumeric() || "._+-".contains(c);
    let safe: String = text.trim().chars().map(|c| if is_safe(c) { c } else { '-' }).collect();
    match safe.chars().all(|c| c == '.') {
        true if safe.is_empty() => "none".into(),
        true => safe.replace('.', "-"), // the folder itself, or the one above
        false => safe,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::tree::Origin;

    #[test]
    fn values_read_as_people_write_them() {
        for (text, expected) in [
            ("2.0", "2"),
            ("0.05", "0.05"),
            ("5e-4", "0.0005"),
            ("1e-9", "1e-9"),
            ("-0.0", "-0"),
            ("-3", "-3"),
            ("true", "true"),
            ("\"resnet18\"", "resnet18"),
            ("\"../a b\"", "..-a-b"),
            ("[\"batch_norm\", \"relu\"]", "batch_norm+relu"),
            ("[]", "none"),
            ("\"..\"", "--"),
            ("{ schedule = \"cosine\", from = 0.1, to = 0.0 }", "0.1+cosine+0"),
        ] {
            assert_eq!(value(&Node::parse_value(text, &Origin::Set)), expected, "{text}");
        }
        for (name, expected) in [
            ("amplification.factor", "factor"),
            ("model.name", "model"),
            ("strategy", "strategy"),
            ("a b", "a-b"),
        ] {
            assert_eq!(label(name), expected);
        }
    }

    proptest! {
        #[test]
        fn any_text_becomes_a_file_name(text in "\\PC*") {
            let safe = safe(&text);
            prop_assert!(!safe.is_empty() && !safe.chars().all(|c| c == '.'));
            prop_assert!(safe.chars().all(|c| c.is_ascii_alphanumeric() || "._+-".contains(c)), "{}", safe);
        }
    }
}

//! The axes of a study: the settings that differ between its cells.

use serde::Deserialize;
use serde_json::Value as Json;

use super::names;
use crate::config::tree::{Node, Origin, Value};
use crate::config::{KeyError, read};

/// A setting, or several settings that change together, that differs between cells.
#[derive(Clone, Debug)]
pub struct Axis {
    /// The name in results: the path of the key, or the name in the study.
    pub name: String,
    /// The name in the names of runs.
    pub label: String,
    /// The values.
    pub values: Values,
    /// Where the axis was written.
    pub origin: Origin,
}

/// The values of an axis.
#[derive(Clone, Debug)]
pub enum Values {
    /// Each of these values.
    List(Vec<AxisValue>),
    /// A number that is drawn at random from a range.
    Range {
        /// The key whose value is drawn.
        key: String,
        /// The range and the distribution.
        range: Range,
    },
}

/// One value of an axis: one setting or several.
#[derive(Clone, Debug)]
pub struct AxisValue {
    /// The value in the names of runs.
    pub text: String,
    /// The value in results.
    pub json: Json,
    /// The keys that the value sets.
    pub set: Vec<(String, Node)>,
}

/// `{ uniform = [low, high] }`, `{ log_uniform = [low, high] }` or `{ integer = [low, high] }`
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Range {
    /// Every number has the same probability.
    Uniform([f64; 2]),
    /// Every order of magnitude has the same probability.
    LogUniform([f64; 2]),
    /// Every integer has the same probability. The range includes both ends.
    Integer([i64; 2]),
}

/// The keys by which a range differs from a table of keys.
const RANGES: [&str; 3] = ["uniform", "log_uniform", "integer"];
const AXIS: [&str; 4] = ["name", "key", "values", "value"];
const NAMED: [&str; 2] = ["name", "set"];

impl Axis {
    /// The axes of a table `[axes]`: a list or a range at each key.
    pub fn from_table(table: &Node) -> Result<Vec<Self>, KeyError> {
        let mut axes = Vec::new();
        collect(table, "", &mut axes)?;
        Ok(axes)
    }

    /// The axis of a table `[[axis]]`: a `key` with `values`, or a `name` with tables `[[axis.value]]`.
    pub fn from_entry(node: &Node) -> Result<Self, KeyError> {
        let entries = expect_table(node)?;
        for (key, child) in entries {
            if !AXIS.contains(&key.as_str()) {
                return Err(KeyError::unknown_key(&AXIS).naming(key).at(key, &child.origin));
            }
        }
        let text = |key: &str| node.get(key).map(|node| named(node, key)).transpose();
        let (name, key) = (text("name")?, text("key")?);
        let (values, name) = match (key, node.get("values"), node.get("value"), name) {
            (Some(key), Some(values), None, name) => {
                let values = parse_values(&key, values).map_err(|error| error.below("values"))?;
                (values, name.unwrap_or(key))
            }
            (None, None, Some(values), Some(name)) => {
                (Values::List(named_values(values).map_err(|error| error.below("value"))?), name)
            }
            _ => {
                let expected = "expected a `key` with `values`, or a `name` with tables [[axis.value]]";
                return Err(KeyError::new(expected.into()).at("", &node.origin));
            }
        };
        Ok(Self { label: names::label(&name), name, values, origin: node.origin.clone() })
    }

    /// The keys that the axis sets.
    pub fn keys(&self) -> Vec<&str> {
        let mut keys: Vec<&str> = match &self.values {
            Values::List(values) => values.iter().flat_map(|value| &value.set).map(|(k, _)| &**k).collect(),
            Values::Range { key, .. } => vec![key],
        };
        keys.sort_unstable();
        keys.dedup();
        keys
    }

    /// The value at `uniform` in [0, 1) of the way through the axis.
    pub fn at(&self, uniform: f64) -> AxisValue {
        match &self.values {
            Values::List(values) => {
                let place = (uniform * values.len() as f64) as usize;
                values[place.min(values.len() - 1)].clone() // no list is empty
            }
            Values::Range { key, range } => {
                AxisValue::new(key, &Node { origin: self.origin.clone(), value: range.at(uniform) })
            }
        }
    }
}

impl AxisValue {
    /// The value that sets one key.
    fn new(key: &str, node: &Node) -> Self {
        Self { text: names::value(node), json: json(node), set: vec![(key.to_owned(), node.clone())] }
    }
}

impl Range {
    /// The number at `uniform` in [0, 1) of the range, rounded to three digits because the number is part of a name.
    fn at(self, uniform: f64) -> Value {
        match self {
            Range::Uniform([low, high]) => {
                Value::Float(three_digits(low + (high - low) * uniform).clamp(low, high))
            }
            Range::LogUniform([low, high]) => {
                Value::Float(three_digits(low * (high / low).powf(uniform)).clamp(low, high))
            }
            Range::Integer([low, high]) => {
                let places = (high as f64 - low as f64 + 1.0) * uniform;
                Value::Integer(low.saturating_add(places as i64).min(high))
            }
        }
    }

    fn check(self) -> Result<(), String> {
        let (low, high) = match self {
            Range::Uniform([low, high]) | Range::LogUniform([low, high]) => (low, high),
            Range::Integer([low, high]) => (low as f64, high as f64),
        };
        if !(low.is_finite() && high.is_finite() && low < high) {
            return Err(format!("found [{low}, {high}], expected two numbers, the smaller one first"));
        }
        if matches!(self, Range::LogUniform(_)) && low <= 0.0 {
            return Err(format!("found [{low}, {high}], expected numbers above 0"));
        }
        Ok(())
    }
}

fn three_digits(number: f64) -> f64 {
    format!("{number:.2e}").parse().unwrap_or(number)
}

fn collect(table: &Node, prefix: &str, axes: &mut Vec<Axis>) -> Result<(), KeyError> {
    for (key, node) in expect_table(table)? {
        let path = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        let is_list = matches!(node.value, Value::Array(_)) || RANGES.iter().any(|r| node.get(r).is_some());
        if is_list {
            let values = parse_values(&path, node).map_err(|error| error.below(key))?;
            let label = names::label(&path);
            axes.push(Axis { name: path, label, values, origin: node.origin.clone() });
        } else if matches!(node.value, Value::Table(_)) {
            collect(node, &path, axes).map_err(|error| error.below(key))?;
        } else {
            let found = node.value.describe();
            let message = format!("found {found}, expected a list of values, or a range");
            return Err(KeyError::new(message).at(key, &node.origin));
        }
    }
    Ok(())
}

/// The values of the axis of one key: a list or a range.
fn parse_values(key: &str, node: &Node) -> Result<Values, KeyError> {
    match &node.value {
        Value::Array(items) if items.is_empty() => {
            Err(KeyError::new("is empty: an axis needs at least one value".into()).at("", &node.origin))
        }
        Value::Array(items) => Ok(Values::List(items.iter().map(|item| AxisValue::new(key, item)).collect())),
        _ => {
            let range: Range = read(node)?;
            range.check().map_err(|message| KeyError::new(message).at("", &node.origin))?;
            Ok(Values::Range { key: key.to_owned(), range })
        }
    }
}

/// The values of `[[axis.value]]`.
fn named_values(node: &Node) -> Result<Vec<AxisValue>, KeyError> {
    let Value::Array(items) = &node.value else {
        let message = format!("found {}, expected tables [[axis.value]]", node.value.describe());
        return Err(KeyError::new(message).at("", &node.origin));
    };
    let value = |(i, item): (usize, &Node)| named_value(item).map_err(|error| error.below(&i.to_string()));
    items.iter().enumerate().map(value).collect()
}

fn named_value(item: &Node) -> Result<AxisValue, KeyError> {
    for (key, child) in expect_table(item)? {
        if !NAMED.contains(&key.as_str()) {
            return Err(KeyError::unknown_key(&NAMED).naming(key).at(key, &child.origin));
        }
    }
    let (Some(name), Some(set)) = (item.get("name"), item.get("set")) else {
        let expected = "expected a `name` and what to `set`".to_owned();
        return Err(KeyError::new(expected).at("", &item.origin));
    };
    let name = named(name, "name")?;
    let set = settings(set).map_err(|error| error.below("set"))?;
    Ok(AxisValue { text: names::safe(&name), json: Json::String(name), set })
}

/// The keys and values of a table of settings. A table within the table stands for the keys in it. But a table is one value if
/// its key is written in quotes with dots, or if it holds a schedule.
pub fn settings(table: &Node) -> Result<Vec<(String, Node)>, KeyError> {
    let mut set = Vec::new();
    for (key, node) in expect_table(table)? {
        let is_section = matches!(node.value, Value::Table(_)) && node.get("schedule").is_none();
        if is_section && !key.contains('.') {
            let below = settings(node).map_err(|error| error.below(key))?;
            set.extend(below.into_iter().map(|(path, node)| (format!("{key}.{path}"), node)));
        } else {
            set.push((key.clone(), node.clone()));
        }
    }
    Ok(set)
}

fn expect_table(node: &Node) -> Result<&[(String, Node)], KeyError> {
    match &node.value {
        Value::Table(entries) => Ok(entries),
        other => {
            Err(KeyError::new(format!("found {}, expected a table", other.describe())).at("", &node.origin))
        }
    }
}

/// A text that is not empty.
fn named(node: &Node, key: &str) -> Result<String, KeyError> {
    let text: String = read(node).map_err(|error| error.below(key))?;
    if text.trim().is_empty() {
        return Err(KeyError::new("is empty, expected a name".into()).at(key, &node.origin));
    }
    Ok(text)
}

fn json(node: &Node) -> Json {
    match &node.value {
        Value::Boolean(value) => (*value).into(),
        Value::Integer(value) => (*value).into(),
        Value::Float(value) => (*value).into(),
        Value::String(value) => value.clone().into(),
        Value::Array(items) => items.iter().map(json).collect(),
        Value::Table(entries) => {
            Json::Object(entries.iter().map(|(key, node)| (key.clone(), json(node))).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_a_range_is_the_middle_of_its_kind() {
        let float = |range: Range, uniform| match range.at(uniform) {
            Value::Float(value) => value,
            other => panic!("{other:?}"),
        };
        for (range, low, middle, near_the_end) in [
            (Range::Uniform([1.0, 3.0]), 1.0, 2.0, 2.98),
            (Range::LogUniform([0.01, 1.0]), 0.01, 0.1, 0.955),
            (Range::LogUniform([0.012345, 1.0]), 0.012345, 0.111, 0.957), // three digits, but never out of the range
        ] {
            assert_eq!([0.0, 0.5, 0.99].map(|uniform| float(range, uniform)), [low, middle, near_the_end]);
        }
        let whole = Range::Integer([-1, 2]);
        let places = [0.0, 0.24, 0.25, 0.5, 0.75, 0.999].map(|uniform| whole.at(uniform));
        assert_eq!(places, [-1, -1, 0, 1, 2, 2].map(Value::Integer));
        assert_eq!(Range::Integer([0, i64::MAX]).at(0.0), Value::Integer(0));
    }
}

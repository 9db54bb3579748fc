//! A tree of settings as they were written, each value with its origin.

use std::cell::Cell;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::KeyError;
use super::number::number;
pub use super::origin::{Origin, shown};
use super::text::{DEEPEST, MOST_VALUES, check_depth, too_deep};

/// A value and its origin.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Where it came from.
    pub origin: Origin,
    /// What it is.
    pub value: Value,
}

/// A value of TOML. Dates are left out, because no setting is a date.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `true` or `false`.
    Boolean(bool),
    /// A whole number.
    Integer(i64),
    /// A number.
    Float(f64),
    /// A text.
    String(String),
    /// A list.
    Array(Vec<Node>),
    /// Keys and values, in the order of their appearance.
    Table(Vec<(String, Node)>),
}

/// Settings that exclude each other: setting one removes the other.
const EXCLUSIVE: [(&str, &str); 2] = [("ratio", "count"), ("threshold", "quantile")];

impl Node {
    /// An empty table.
    pub fn empty() -> Self {
        Self { origin: Origin::Default, value: Value::Table(Vec::new()) }
    }

    /// Reads a TOML document; `origin` makes an origin of a line number, counted from 1.
    ///
    /// **Errors:** a text that is no TOML, is nested too deep or has too many values, with the line.
    pub fn parse(text: &str, origin: &dyn Fn(usize) -> Origin) -> Result<Self, KeyError> {
        let lines = Lines::new(text);
        check_depth(text).map_err(|(at, message)| KeyError::new(message).at("", &origin(lines.at(at))))?;
        let table = DeTable::parse(text).map_err(|error| {
            let line = error.span().map_or(1, |span| lines.at(span.start));
            KeyError::new(error.message().trim().replace('\n', ", ")).at("", &origin(line))
        })?;
        let document = Document { lines: &lines, origin, values: Cell::new(0) };
        let value = document.table(table.get_ref(), 1)?;
        Ok(Self { origin: origin(1), value })
    }

    /// Reads the value of `--set`: as TOML, as a number such as `.5`, or otherwise as text.
    pub fn parse_value(text: &str, origin: &Origin) -> Self {
        let parsed = Self::parse(&format!("value = {text}"), &|_| origin.clone());
        match parsed.as_ref().map(|node| node.get("value")) {
            // A line break could end the value and start another key.
            Ok(Some(node)) if !text.contains('\n') => node.clone(),
            // TOML requires digits on both sides of the decimal point; people leave them out.
            _ => {
                let number = number(text).filter(|_| text.contains('.'));
                let value = number.map_or_else(|| Value::String(text.to_owned()), Value::Float);
                Self { origin: origin.clone(), value }
            }
        }
    }

    /// The node at a path such as `strategy.phase.0.lr`; lists are numbered from 0.
    pub fn get(&self, path: &str) -> Option<&Node> {
        path.split('.').filter(|key| !key.is_empty()).try_fold(self, |node, key| match &node.value {
            Value::Table(entries) => entries.iter().find(|(name, _)| name == key).map(|(_, child)| child),
            Value::Array(items) => items.get(key.parse::<usize>().ok()?),
            _ => None,
        })
    }

    /// Sets the node at a path, and creates missing tables on the way.
    ///
    /// **Errors:** a path deeper than settings need, a list's number that does not exist, or a way through something that is neither table nor list.
    pub fn set(&mut self, path: &str, child: Node) -> Result<(), KeyError> {
        if path.split('.').count() > DEEPEST {
            let begin: String = path.chars().take(40).collect();
            return Err(KeyError::new(too_deep()).at(&format!("{begin}.."), &child.origin));
        }
        self.set_below(path, child)
    }

    fn set_below(&mut self, path: &str, child: Node) -> Result<(), KeyError> {
        let origin = child.origin.clone();
        let (key, rest) = path.split_once('.').map_or((path, None), |(key, rest)| (key, Some(rest)));
        if key.is_empty() {
            return Err(KeyError::new("an empty key; expected key.path=value".into()).at(path, &origin));
        }
        let place = match &mut self.value {
            Value::Table(entries) => {
                release_exclusive(entries, key);
                let at = entries.iter().position(|(name, _)| name == key).unwrap_or_else(|| {
                    entries.push((key.to_owned(), Node { origin: origin.clone(), ..Node::empty() }));
                    entries.len() - 1
                });
                &mut entries[at].1
            }
            Value::Array(items) => {
                let count = items.len();
                key.parse().ok().and_then(|i: usize| items.get_mut(i)).ok_or_else(|| {
                    let expected = format!("no item `{key}`; the list holds {count}, numbered from 0");
                    KeyError::new(expected).at(key, &origin)
                })?
            }
            other => {
                let message = format!("`{key}` is inside {}, not a table", other.describe());
                return Err(KeyError::new(message).at(key, &origin));
            }
        };
        match rest {
            None => *place = child,
            Some(rest) => place.set_below(rest, child).map_err(|error| error.below(key))?,
        }
        Ok(())
    }

    /// Removes the value at a path.
    pub fn remove(&mut self, path: &str) {
        let (key, rest) = path.split_once('.').map_or((path, None), |(key, rest)| (key, Some(rest)));
        match (&mut self.value, rest) {
            (Value::Table(entries), None) => entries.retain(|(name, _)| name != key),
            (Value::Table(entries), Some(rest)) => {
                entries.iter_mut().filter(|(name, _)| name == key).for_each(|(_, node)| node.remove(rest));
            }
            (Value::Array(items), rest) => {
                if let Some(i) = key.parse().ok().filter(|i| *i < items.len()) {
                    match rest {
                        None => drop(items.remove(i)),
                        Some(rest) => items[i].remove(rest),
                    }
                }
            }
            _ => {}
        }
    }

    /// All values that are neither tables nor lists, with their paths.
    pub fn leaves(&self) -> Vec<(String, Value)> {
        let children: Vec<(String, &Node)> = match &self.value {
            Value::Table(entries) => entries.iter().map(|(key, node)| (key.clone(), node)).collect(),
            Value::Array(items) => items.iter().enumerate().map(|(i, node)| (i.to_string(), node)).collect(),
            plain => return vec![(String::new(), plain.clone())],
        };
        let below = |(key, node): (String, &Node)| {
            let join = move |(path, value): (String, Value)| match path.is_empty() {
                true => (key.clone(), value),
                false => (format!("{key}.{path}"), value),
            };
            node.leaves().into_iter().map(join).collect::<Vec<_>>()
        };
        children.into_iter().flat_map(below).collect()
    }

    /// The same values, all with one origin.
    #[must_use]
    pub fn with_origin(&self, origin: &Origin) -> Self {
        let value = match &self.value {
            Value::Array(items) => Value::Array(items.iter().map(|item| item.with_origin(origin)).collect()),
            Value::Table(entries) => {
                let entry = |(key, node): &(String, Node)| (key.clone(), node.with_origin(origin));
                Value::Table(entries.iter().map(entry).collect())
            }
            plain => plain.clone(),
        };
        Self { origin: origin.clone(), value }
    }

    /// Merges `upper` into these settings: tables are merged key by key, other values are replaced.
    pub fn overlay(&mut self, upper: Node) {
        match (&mut self.value, upper.value) {
            (Value::Table(entries), Value::Table(upper_entries)) => {
                upper_entries.iter().for_each(|(key, _)| release_exclusive(entries, key));
                for (key, child) in upper_entries {
                    match entries.iter_mut().find(|(name, _)| *name == key) {
                        Some((_, place)) => place.overlay(child),
                        None => entries.push((key, child)),
                    }
                }
            }
            (place, value) => {
                *place = value;
                self.origin = upper.origin;
            }
        }
    }
}

impl Value {
    /// Makes a value of a path, which may contain bytes that are not UTF-8.
    pub fn path(path: &Path, origin: &Origin) -> Self {
        let Some(bytes) = gradamp_data::any_path::bytes(path) else {
            return Value::String(path.to_string_lossy().into_owned()); // nothing is lost, because the path is UTF-8
        };
        let of = |value| Node { origin: origin.clone(), value };
        let bytes = bytes.iter().map(|byte| of(Value::Integer((*byte).into()))).collect();
        Value::Table(vec![("bytes".into(), of(Value::Array(bytes)))])
    }

    /// The kind of value, for messages.
    pub fn describe(&self) -> String {
        match self {
            Value::Boolean(value) => format!("`{value}`"),
            Value::Integer(value) => format!("`{value}`"),
            Value::Float(value) => format!("`{}`", gradamp_core::error::number(*value)),
            Value::String(value) => format!("{value:?}"),
            Value::Array(_) => "a list".into(),
            Value::Table(_) => "a table".into(),
        }
    }
}

fn release_exclusive(entries: &mut Vec<(String, Node)>, key: &str) {
    for (a, b) in EXCLUSIVE {
        let other = if key == a { b } else { a };
        if key == a || key == b {
            entries.retain(|(name, _)| name != other);
        }
    }
}

/// A document while it is read.
struct Document<'a> {
    lines: &'a Lines,
    origin: &'a dyn Fn(usize) -> Origin,
    /// The number of values that were read so far.
    values: Cell<usize>,
}

impl Document<'_> {
    /// Reads a table. `depth` is the number of tables and lists around it.
    fn table(&self, table: &DeTable<'_>, depth: usize) -> Result<Value, KeyError> {
        let mut entries = Vec::with_capacity(table.len());
        for (key, value) in table {
            let name = key.get_ref().to_string();
            let line = self.lines.at(key.span().start);
            let node = self.node(value, line, depth).map_err(|error| error.below(&name))?;
            entries.push((line, name, node));
        }
        entries.sort_by_key(|(line, ..)| *line);
        Ok(Value::Table(entries.into_iter().map(|(_, name, node)| (name, node)).collect()))
    }

    fn node(&self, value: &Spanned<DeValue<'_>>, line: usize, depth: usize) -> Result<Node, KeyError> {
        let here = (self.origin)(line);
        let fail = |message: String| KeyError::new(message).at("", &here);
        self.values.set(self.values.get() + 1);
        if self.values.get() > MOST_VALUES {
            return Err(fail(format!(
                "found more than {MOST_VALUES} values, expected {MOST_VALUES} at most"
            )));
        }
        if depth > DEEPEST {
            return Err(fail(too_deep()));
        }
        let value = match value.get_ref() {
            DeValue::String(text) => Value::String(text.to_string()),
            DeValue::Boolean(value) => Value::Boolean(*value),
            DeValue::Integer(integer) => {
                let value = i64::from_str_radix(integer.as_str(), integer.radix());
                Value::Integer(value.map_err(|_| {
                    let text = integer.as_str();
                    fail(format!("found {text}, expected a whole number from {} to {}", i64::MIN, i64::MAX))
                })?)
            }
            DeValue::Float(float) => {
                let value = float.as_str().parse();
                Value::Float(value.map_err(|_| fail(format!("{} is not a number", float.as_str())))?)
            }
            DeValue::Datetime(date) => {
                return Err(fail(format!("found the date {date}, which no setting takes")));
            }
            DeValue::Array(items) => {
                let item = |(i, item): (usize, &Spanned<DeValue<'_>>)| {
                    self.node(item, self.lines.at(item.span().start), depth + 1)
                        .map_err(|error| error.below(&i.to_string()))
                };
                Value::Array(items.iter().enumerate().map(item).collect::<Result<_, _>>()?)
            }
            DeValue::Table(table) => self.table(table, depth + 1)?,
        };
        Ok(Node { origin: here, value })
    }
}

/// The places at which the lines of a text begin.
struct Lines(Vec<usize>);

impl Lines {
    fn new(text: &str) -> Self {
        Self(std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect())
    }

    /// The line, from 1, of the byte `at`.
    fn at(&self, at: usize) -> usize {
        self.0.partition_point(|&begin| begin <= at)
    }
}

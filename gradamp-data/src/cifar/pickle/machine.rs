//! The stack machine that executes a pickle's instructions.

use std::borrow::Cow;
use std::collections::HashMap;

use super::cursor::Cursor;
use super::value::{Id, Refusal, Value};

/// The state that a pickle's instructions change.
pub(super) struct Machine<'a> {
    pub(super) cursor: Cursor<'a>,
    pub(super) values: Vec<Value<'a>>,
    pub(super) stack: Vec<Id>,
    /// The height of the stack at each mark.
    pub(super) marks: Vec<usize>,
    pub(super) memo: HashMap<usize, Id>,
    /// The number of bytes decoded into new memory instead of being borrowed from the file.
    pub(super) decoded: usize,
    /// The offset of the current instruction.
    pub(super) offset: usize,
}

impl<'a> Machine<'a> {
    pub(super) fn refuse<T>(
        &self,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Result<T, Refusal> {
        Err(Refusal::new(self.offset, expected, found))
    }

    pub(super) fn push(&mut self, value: Value<'a>) -> Result<(), Refusal> {
        self.values.push(value);
        self.push_id(self.values.len() - 1)
    }

    pub(super) fn push_id(&mut self, id: Id) -> Result<(), Refusal> {
        self.stack.push(id);
        Ok(())
    }

    pub(super) fn push_bytes(&mut self, width: usize) -> Result<(), Refusal> {
        let length = self.cursor.size(width)?;
        let bytes = self.cursor.read(length)?;
        self.push(Value::Bytes(Cow::Borrowed(bytes)))
    }

    pub(super) fn push_text(&mut self, width: usize) -> Result<(), Refusal> {
        let length = self.cursor.size(width)?;
        match std::str::from_utf8(self.cursor.read(length)?) {
            Ok(text) => self.push(Value::Text(Cow::Borrowed(text))),
            Err(error) => self.refuse("UTF-8", error.to_string()),
        }
    }

    pub(super) fn push_digits(&mut self, digits: &str) -> Result<(), Refusal> {
        match digits.parse() {
            Ok(number) => self.push(Value::Int(number)),
            Err(_) => self.refuse("a whole number", format!("{:?}", digits)),
        }
    }

    /// Reads the number of a memo slot, which is written as a line of digits.
    pub(super) fn slot(&mut self) -> Result<usize, Refusal> {
        let digits = self.cursor.line()?;
        digits.parse().or_else(|_| self.refuse("the number of a memo slot", format!("{digits:?}")))
    }

    pub(super) fn recall(&mut self, slot: usize) -> Result<(), Refusal> {
        match self.memo.get(&slot) {
            Some(&id) => self.push_id(id),
            None => self.refuse("a value in the memo", format!("nothing in slot {slot}")),
        }
    }

    /// The height of the last mark on the stack. Instructions can't pop below it.
    pub(super) fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    pub(super) fn top(&self, expected: &str) -> Result<Id, Refusal> {
        match self.stack.last() {
            Some(&id) if self.stack.len() > self.floor() => Ok(id),
            _ => self.refuse(expected, "an empty stack"),
        }
    }

    pub(super) fn pop(&mut self, expected: &str) -> Result<Id, Refusal> {
        let id = self.top(expected)?;
        self.stack.pop();
        Ok(id)
    }

    pub(super) fn pop_many(&mut self, count: usize) -> Result<Vec<Id>, Refusal> {
        let left = self.stack.len().checked_sub(count).filter(|&left| left >= self.floor());
        match left {
            Some(left) => Ok(self.stack.split_off(left)),
            None => self.refuse(format!("{count} values on the stack"), "fewer values"),
        }
    }

    pub(super) fn pop_to_mark(&mut self) -> Result<Vec<Id>, Refusal> {
        match self.marks.pop() {
            Some(height) => Ok(self.stack.split_off(height)),
            None => self.refuse("a mark on the stack", "no mark"),
        }
    }

    pub(super) fn extend(&mut self, items: &[Id]) -> Result<(), Refusal> {
        let list = self.top("a list")?;
        match &mut self.values[list] {
            Value::List(old) => {
                old.extend_from_slice(items);
                Ok(())
            }
            other => {
                let found = other.describe();
                self.refuse("a list to append to", found)
            }
        }
    }

    pub(super) fn insert(&mut self, items: &[Id]) -> Result<(), Refusal> {
        let dict = self.top("a dictionary")?;
        let (pairs, rest) = items.as_chunks::<2>();
        match &mut self.values[dict] {
            Value::Dict(old) if rest.is_empty() => {
                old.extend(pairs.iter().map(|&[key, value]| (key, value)));
                Ok(())
            }
            Value::Dict(_) => self.refuse("keys and values in pairs", format!("{} values", items.len())),
            other => {
                let found = other.describe();
                self.refuse("a dictionary to insert into", found)
            }
        }
    }
}

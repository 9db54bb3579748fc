//! A pickle reader that can build dictionaries, lists, tuples, numbers, strings and NumPy arrays of bytes, and
//! refuses everything else.
//!
//! A pickle is a program for a stack machine, and Python's own reader would call any function it names. This one
//! knows six names and calls nothing. Protocols 0 to 5, but for Python 2's text of protocol 0. From protocol 3 on a value
//! borrows the file's bytes; before, Python 3 writes bytes as text, which is decoded.
//!
//! **Source:** the opcodes' descriptions in Python's `pickletools`.

mod calls;
mod cursor;
mod element;

use std::borrow::Cow;
use std::collections::HashMap;

use calls::Global;
use cursor::Cursor;
pub(super) use element::Element;

/// Instructions in a pickle: a CIFAR-100 training file has about 350,000. Bounds memory on hostile input.
const MAX_INSTRUCTIONS: usize = 4_000_000;

/// A place in [`Pickle::values`].
pub(super) type Id = usize;

/// Why a pickle was not read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// Bytes from the file's beginning.
    pub offset: usize,
    pub expected: String,
    pub found: String,
}

impl Refusal {
    fn new(offset: usize, expected: impl Into<String>, found: impl Into<String>) -> Self {
        Self { offset, expected: expected.into(), found: found.into() }
    }
}

/// What a pickle can hold. Parts are named by [`Id`], so that a list may grow after it was put in the memo.
#[derive(Debug)]
pub(super) enum Value<'a> {
    None,
    Int(i64),
    /// `bytes`, or a string of Python 2.
    Bytes(Cow<'a, [u8]>),
    Text(Cow<'a, str>),
    Tuple(Vec<Id>),
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    Global(Global),
    /// The type of an array's elements.
    Type(Element),
    Array(Array),
}

/// A NumPy array of whole numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Array {
    pub element: Element,
    pub shape: Vec<usize>,
    /// The first index runs fastest.
    pub fortran: bool,
    /// A [`Value::Bytes`] that holds as many bytes as the shape says.
    pub bytes: Id,
}

impl Value<'_> {
    /// The bytes of `bytes` or a string.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Value::Bytes(bytes) => Some(bytes),
            Value::Text(text) => Some(text.as_bytes()),
            _ => None,
        }
    }

    pub fn describe(&self) -> String {
        match self {
            Value::None => "None".into(),
            Value::Int(n) => format!("the number {n}"),
            Value::Bytes(b) => format!("{} bytes", b.len()),
            Value::Text(t) => format!("a string of {} characters", t.chars().count()),
            Value::Tuple(items) => format!("a tuple of {}", items.len()),
            Value::List(items) => format!("a list of {}", items.len()),
            Value::Dict(items) => format!("a dictionary of {}", items.len()),
            Value::Global(global) => format!("the name {}", global.path()),
            Value::Type(element) => format!("the element type {element}"),
            Value::Array(Array { element: Element::BYTE, shape, .. }) => {
                format!("an array of shape {shape:?}")
            }
            Value::Array(Array { element, shape, .. }) => format!("an array of {element} of shape {shape:?}"),
        }
    }
}

/// All values of a pickle.
#[derive(Debug)]
pub(super) struct Pickle<'a> {
    values: Vec<Value<'a>>,
    root: Id,
}

impl<'a> Pickle<'a> {
    /// The outermost value.
    pub fn root(&self) -> &Value<'a> {
        &self.values[self.root]
    }

    pub fn value(&self, id: Id) -> &Value<'a> {
        &self.values[id]
    }

    /// The value under `key` of the outermost dictionary; where a key stands twice, the last counts.
    pub fn get(&self, key: &str) -> Option<&Value<'a>> {
        let Value::Dict(items) = self.root() else { return None };
        items.iter().rev().find(|(k, _)| self.bytes(*k) == Some(key.as_bytes())).map(|(_, v)| self.value(*v))
    }

    /// The bytes of `bytes` or a string.
    pub fn bytes(&self, id: Id) -> Option<&[u8]> {
        self.values[id].as_bytes()
    }
}

/// Reads a whole pickle.
pub(super) fn parse(file: &[u8]) -> Result<Pickle<'_>, Refusal> {
    let mut machine = Machine {
        cursor: Cursor::new(file),
        values: Vec::new(),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
        decoded: 0,
        offset: 0,
    };
    // A dictionary of protocol 0 begins with a mark, one of protocol 1 with itself, and later ones with their number.
    if !file.first().is_some_and(|first| [0x80, b'(', b'}'].contains(first)) {
        let found = file.first().map_or("an empty file".into(), |byte| format!("byte {byte:#04x}"));
        return Err(Refusal::new(0, "a pickled dictionary (byte 0x80, '(' or '}')", found));
    }
    for _ in 0..MAX_INSTRUCTIONS {
        machine.offset = machine.cursor.position();
        let opcode = machine.cursor.byte()?;
        if opcode == b'.' {
            let root = machine.pop("a value to end with")?;
            return Ok(Pickle { values: machine.values, root });
        }
        machine.step(opcode)?;
    }
    machine.refuse(format!("at most {MAX_INSTRUCTIONS} instructions"), "more")
}

struct Machine<'a> {
    cursor: Cursor<'a>,
    values: Vec<Value<'a>>,
    stack: Vec<Id>,
    /// Heights of the stack.
    marks: Vec<usize>,
    memo: HashMap<usize, Id>,
    /// Bytes that were decoded rather than borrowed.
    decoded: usize,
    /// Where the current instruction begins.
    offset: usize,
}

impl<'a> Machine<'a> {
    fn step(&mut self, opcode: u8) -> Result<(), Refusal> {
        match opcode {
            0x80 => match self.cursor.byte()? {
                2..=5 => Ok(()),
                other => self.refuse("protocol 2 to 5", format!("protocol {other}")),
            },
            0x95 => self.cursor.take(8).map(|_| ()), // FRAME: a hint for buffered reading
            b'N' => self.push(Value::None),
            0x88 => self.push(Value::Int(1)),
            0x89 => self.push(Value::Int(0)),
            b'K' | b'M' | b'J' | 0x8a => {
                let number = match opcode {
                    b'K' => i64::from(self.cursor.byte()?),
                    b'M' => self.cursor.size(2)? as i64,
                    b'J' => i64::from(self.cursor.size(4)? as u32 as i32),
                    _ => self.cursor.long()?,
                };
                self.push(Value::Int(number))
            }
            b'U' | b'C' => self.push_bytes(1), // SHORT_BINSTRING of Python 2, SHORT_BINBYTES
            b'T' | b'B' => self.push_bytes(4),
            0x8e | 0x96 => self.push_bytes(8), // BINBYTES8, BYTEARRAY8
            0x8c => self.push_text(1),
            b'X' => self.push_text(4),
            0x8d => self.push_text(8),
            b'(' => {
                self.marks.push(self.stack.len());
                Ok(())
            }
            b'}' => self.push(Value::Dict(Vec::new())),
            b']' => self.push(Value::List(Vec::new())),
            b')' => self.push(Value::Tuple(Vec::new())),
            b't' => {
                let items = self.pop_to_mark()?;
                self.push(Value::Tuple(items))
            }
            0x85..=0x87 => {
                let items = self.pop_many(usize::from(opcode - 0x84))?;
                self.push(Value::Tuple(items))
            }
            b'a' => {
                let item = self.pop("an item")?;
                self.extend(&[item])
            }
            b'e' => {
                let items = self.pop_to_mark()?;
                self.extend(&items)
            }
            b's' => {
                let items = self.pop_many(2)?;
                self.insert(&items)
            }
            b'u' => {
                let items = self.pop_to_mark()?;
                self.insert(&items)
            }
            b'q' | b'r' | 0x94 => {
                let slot = match opcode {
                    b'q' => self.cursor.size(1)?,
                    b'r' => self.cursor.size(4)?,
                    _ => self.memo.len(),
                };
                let top = self.top("a value to remember")?;
                self.memo.insert(slot, top);
                Ok(())
            }
            b'h' | b'j' => {
                let slot = self.cursor.size(if opcode == b'h' { 1 } else { 4 })?;
                self.recall(slot)
            }
            b'I' => match self.cursor.line()? {
                "00" => self.push(Value::Int(0)),
                "01" => self.push(Value::Int(1)),
                digits => self.push_digits(digits),
            },
            b'L' => {
                let digits = self.cursor.line()?;
                self.push_digits(digits.strip_suffix('L').unwrap_or(digits))
            }
            b'V' => {
                let text = self.cursor.escaped_text()?;
                self.push(Value::Text(Cow::Owned(text)))
            }
            b'd' => {
                let items = self.pop_to_mark()?;
                self.push(Value::Dict(Vec::new()))?;
                self.insert(&items)
            }
            b'l' => {
                let items = self.pop_to_mark()?;
                self.push(Value::List(items))
            }
            b'p' => {
                let slot = self.slot()?;
                let top = self.top("a value to remember")?;
                self.memo.insert(slot, top);
                Ok(())
            }
            b'g' => {
                let slot = self.slot()?;
                self.recall(slot)
            }
            b'c' => {
                let (module, name) = (self.cursor.line()?, self.cursor.line()?);
                self.push_global(module, name)
            }
            0x93 => {
                let parts = self.pop_many(2)?;
                match (&self.values[parts[0]], &self.values[parts[1]]) {
                    (Value::Text(module), Value::Text(name)) => {
                        let (module, name) = (module.clone(), name.clone());
                        self.push_global(&module, &name)
                    }
                    _ => self.refuse("a module and a name", "other values"),
                }
            }
            b'R' => self.reduce(),
            b'b' => self.build(),
            other => {
                let shown =
                    if other.is_ascii_graphic() { format!(" '{}'", other as char) } else { String::new() };
                self.refuse("an instruction that builds plain data", format!("opcode {other:#04x}{shown}"))
            }
        }
    }

    fn refuse<T>(&self, expected: impl Into<String>, found: impl Into<String>) -> Result<T, Refusal> {
        Err(Refusal::new(self.offset, expected, found))
    }

    fn push(&mut self, value: Value<'a>) -> Result<(), Refusal> {
        self.values.push(value);
        self.push_id(self.values.len() - 1)
    }

    fn push_id(&mut self, id: Id) -> Result<(), Refusal> {
        self.stack.push(id);
        Ok(())
    }

    fn push_bytes(&mut self, width: usize) -> Result<(), Refusal> {
        let length = self.cursor.size(width)?;
        let bytes = self.cursor.take(length)?;
        self.push(Value::Bytes(Cow::Borrowed(bytes)))
    }

    fn push_text(&mut self, width: usize) -> Result<(), Refusal> {
        let length = self.cursor.size(width)?;
        match std::str::from_utf8(self.cursor.take(length)?) {
            Ok(text) => self.push(Value::Text(Cow::Borrowed(text))),
            Err(error) => self.refuse("UTF-8", error.to_string()),
        }
    }

    fn push_digits(&mut self, digits: &str) -> Result<(), Refusal> {
        match digits.parse() {
            Ok(number) => self.push(Value::Int(number)),
            Err(_) => self.refuse("a whole number", format!("{:?}", digits)),
        }
    }

    /// The number under which a value is remembered, as a line.
    fn slot(&mut self) -> Result<usize, Refusal> {
        let digits = self.cursor.line()?;
        digits.parse().or_else(|_| self.refuse("a number to remember a value by", format!("{digits:?}")))
    }

    fn recall(&mut self, slot: usize) -> Result<(), Refusal> {
        match self.memo.get(&slot) {
            Some(&id) => self.push_id(id),
            None => self.refuse("a remembered value", format!("nothing under number {slot}")),
        }
    }

    /// Values above the last mark cannot be reached by anything but the instruction that removes the mark.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn top(&self, expected: &str) -> Result<Id, Refusal> {
        match self.stack.last() {
            Some(&id) if self.stack.len() > self.floor() => Ok(id),
            _ => self.refuse(expected, "an empty stack"),
        }
    }

    fn pop(&mut self, expected: &str) -> Result<Id, Refusal> {
        let id = self.top(expected)?;
        self.stack.pop();
        Ok(id)
    }

    fn pop_many(&mut self, count: usize) -> Result<Vec<Id>, Refusal> {
        let left = self.stack.len().checked_sub(count).filter(|&left| left >= self.floor());
        match left {
            Some(left) => Ok(self.stack.split_off(left)),
            None => self.refuse(format!("{count} values on the stack"), "fewer"),
        }
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Id>, Refusal> {
        match self.marks.pop() {
            Some(height) => Ok(self.stack.split_off(height)),
            None => self.refuse("a mark on the stack", "none"),
        }
    }

    fn extend(&mut self, items: &[Id]) -> Result<(), Refusal> {
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

    fn insert(&mut self, items: &[Id]) -> Result<(), Refusal> {
        let dict = self.top("a dictionary")?;
        let (pairs, rest) = items.as_chunks::<2>();
        match &mut self.values[dict] {
            Value::Dict(old) if rest.is_empty() => {
                old.extend(pairs.iter().map(|&[key, value]| (key, value)));
                Ok(())
            }
            Value::Dict(_) => self.refuse("keys and values in pairs", format!("{} of them", items.len())),
            other => {
                let found = other.describe();
                self.refuse("a dictionary to insert into", found)
            }
        }
    }
}

#[cfg(test)]
mod tests;

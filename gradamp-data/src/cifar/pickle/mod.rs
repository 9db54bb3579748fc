//! A reader for pickles that builds dictionaries, lists, tuples, numbers, strings and NumPy arrays of whole numbers,
//! and refuses everything else.
//!
//! A pickle is a program for a stack machine, and Python's own reader calls any function that the program names. This
//! reader accepts six names and calls no function. It reads protocols 0 to 5, except for text that Python 2 wrote
//! with protocol 0. From protocol 3 on, values borrow the file's bytes. Before protocol 3, Python 3 wrote bytes as
//! text, which is decoded here.
//!
//! **Source:** the descriptions of the opcodes in Python's `pickletools`.

mod calls;
mod cursor;
pub(super) mod element;
mod machine;
pub(super) mod value;

use std::borrow::Cow;
use std::collections::HashMap;

use cursor::Cursor;
use machine::Machine;
use value::{Pickle, Refusal, Value};

/// The most instructions in a pickle. The limit bounds the memory that a malicious file can use. A training file of
/// CIFAR-100 has about 350,000 instructions.
const MAX_INSTRUCTIONS: usize = 4_000_000;

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
    // In protocol 0 a pickled dictionary begins with a mark, in protocol 1 with the dictionary instruction, and in
    // later protocols with the protocol's number.
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
    machine.refuse(format!("at most {MAX_INSTRUCTIONS} instructions"), "more instructions")
}

impl<'a> Machine<'a> {
    fn step(&mut self, opcode: u8) -> Result<(), Refusal> {
        match opcode {
            0x80 => match self.cursor.byte()? {
                2..=5 => Ok(()),
                other => self.refuse("protocol 2 to 5", format!("protocol {other}")),
            },
            0x95 => self.cursor.read(8).map(|_| ()), // FRAME: a hint for buffered reading
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
                let top = self.top("a value for the memo")?;
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
                let top = self.top("a value for the memo")?;
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
}

#[cfg(test)]
mod tests;

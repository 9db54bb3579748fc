//! The instructions that refer to functions by name. Each one builds the value that the function would return; no
//! function is called.

use std::borrow::Cow;

use super::element::Element;
use super::machine::Machine;
use super::value::{Array, Global, Id, Refusal, Value};

impl<'a> Machine<'a> {
    pub(super) fn push_global(&mut self, module: &str, name: &str) -> Result<(), Refusal> {
        match Global::parse(module, name) {
            Some(global) => self.push(Value::Global(global)),
            None => {
                let shorten = |text: &str| text.escape_default().take(100).collect::<String>();
                let found = format!("the name {}.{}", shorten(module), shorten(name));
                self.refuse("the name of a NumPy array or element type", found)
            }
        }
    }

    /// REDUCE: a callable and its arguments.
    pub(super) fn reduce(&mut self) -> Result<(), Refusal> {
        let call = self.pop_many(2)?;
        let (Value::Global(global), Value::Tuple(arguments)) = (&self.values[call[0]], &self.values[call[1]])
        else {
            let found =
                format!("{} and {}", self.values[call[0]].describe(), self.values[call[1]].describe());
            return self.refuse("a known name and its arguments", found);
        };
        let (global, arguments) = (*global, arguments.clone());
        let parts: Vec<&Value<'a>> = arguments.iter().map(|&id| &self.values[id]).collect();
        let built = match (global, &parts[..]) {
            (Global::Reconstruct, [Value::Global(Global::NdArray), Value::Tuple(_), _]) => {
                Value::Array(Array::default())
            }
            (Global::DType, [code, ..]) if code.as_bytes().is_some() => {
                let code = code.as_bytes().unwrap_or_default();
                let Some(element) = Element::parse(code) else {
                    let found = code.escape_ascii().take(20).map(char::from).collect::<String>();
                    return self
                        .refuse("an element type of whole numbers, such as \"u1\"", format!("\"{found}\""));
                };
                Value::Type(element)
            }
            (Global::Scalar, [Value::Type(element), Value::Bytes(bytes)])
                if bytes.len() == element.width() =>
            {
                match element.number(bytes) {
                    Some(number) => Value::Int(number),
                    None => return self.refuse("a number of at most 63 bits", "a larger number"),
                }
            }
            (Global::Encode, [Value::Text(text), Value::Text(code)]) if code == "latin1" => {
                // A valid file decodes each of its texts once. This limit keeps a malicious file from decoding one
                // text many times.
                self.decoded += text.chars().count();
                if self.decoded > self.cursor.len() {
                    return self.refuse("each text decoded once", "more decoded text than the file holds");
                }
                match text.chars().map(|c| u8::try_from(u32::from(c))).collect() {
                    Ok(bytes) => Value::Bytes(Cow::Owned(bytes)),
                    Err(_) => return self.refuse("characters below 256", "other characters"),
                }
            }
            (
                Global::FromBuffer,
                [Value::Bytes(_), Value::Type(element), Value::Tuple(shape), Value::Text(order)],
            ) if order == "C" || order == "F" => {
                let array = self.array(*element, shape, order == "F", arguments[0])?;
                Value::Array(array)
            }
            _ => {
                let found: Vec<String> = parts.iter().map(|part| part.describe()).collect();
                let expected = format!("the arguments of {}", global.path());
                return self.refuse(expected, format!("({})", found.join(", ")));
            }
        };
        self.push(built)
    }

    /// BUILD: fills an array or completes an element type.
    pub(super) fn build(&mut self) -> Result<(), Refusal> {
        let state = self.pop("a state")?;
        let object = self.top("an object to fill")?;
        let Value::Tuple(state) = &self.values[state] else {
            let found = self.values[state].describe();
            return self.refuse("a tuple as state", found);
        };
        match &self.values[object] {
            &Value::Type(element) => match state.get(1).and_then(|&order| self.values[order].as_bytes()) {
                Some(order) => {
                    self.values[object] = Value::Type(element.ordered(order));
                    Ok(())
                }
                None => self.refuse("the order of an element type's bytes", "none"),
            },
            Value::Array(_) => {
                let &[_, shape, kind, fortran, bytes] = &state[..] else {
                    return self.refuse("a state of 5 parts", state.len().to_string());
                };
                match (&self.values[shape], &self.values[kind], &self.values[fortran], &self.values[bytes]) {
                    (Value::Tuple(shape), Value::Type(element), Value::Int(fortran), Value::Bytes(_)) => {
                        let array = self.array(*element, shape, *fortran != 0, bytes)?;
                        self.values[object] = Value::Array(array);
                        Ok(())
                    }
                    (shape, kind, fortran, bytes) => {
                        let found = [shape, kind, fortran, bytes].map(Value::describe).join(", ");
                        self.refuse("a shape, an element type, an order and bytes", found)
                    }
                }
            }
            other => {
                let found = other.describe();
                self.refuse("an array or an element type to fill", found)
            }
        }
    }

    /// Checks that an array has as many bytes as its shape requires.
    fn array(&self, element: Element, shape: &[Id], fortran: bool, bytes: Id) -> Result<Array, Refusal> {
        let dimension = |id: &Id| match self.values[*id] {
            Value::Int(n) => usize::try_from(n).ok(),
            _ => None,
        };
        let dimensions: Option<Vec<usize>> = shape.iter().map(dimension).collect();
        let Some(shape) = dimensions else { return self.refuse("a shape of sizes", "other values") };
        let size = shape.iter().try_fold(element.width(), |n, &d| n.checked_mul(d));
        match &self.values[bytes] {
            Value::Bytes(held) if Some(held.len()) == size => Ok(Array { element, shape, fortran, bytes }),
            other => {
                let found = other.describe();
                self.refuse(format!("the bytes of shape {shape:?}"), found)
            }
        }
    }
}

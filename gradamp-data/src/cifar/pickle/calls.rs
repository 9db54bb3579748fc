//! The names a pickle of the archives may use, and what applying them builds.

use std::borrow::Cow;

use super::{Array, Machine, Refusal, Value};

/// A name that means something here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cifar) enum Global {
    /// An empty array, filled by a later instruction.
    Reconstruct,
    /// The class of arrays.
    NdArray,
    /// An element type.
    DType,
    /// An array over given bytes (protocol 5).
    FromBuffer,
    /// Python 3 writes bytes for protocol 2 as text with this.
    Encode,
}

impl Global {
    /// NumPy 2 moved `numpy.core` to `numpy._core`.
    fn find(module: &str, name: &str) -> Option<Self> {
        match (module, name) {
            ("numpy.core.multiarray" | "numpy._core.multiarray", "_reconstruct") => Some(Self::Reconstruct),
            ("numpy.core.numeric" | "numpy._core.numeric", "_frombuffer") => Some(Self::FromBuffer),
            ("numpy", "ndarray") => Some(Self::NdArray),
            ("numpy", "dtype") => Some(Self::DType),
            ("_codecs", "encode") => Some(Self::Encode),
            _ => None,
        }
    }

    pub fn path(self) -> &'static str {
        match self {
            Self::Reconstruct => "numpy.core.multiarray._reconstruct",
            Self::NdArray => "numpy.ndarray",
            Self::DType => "numpy.dtype",
            Self::FromBuffer => "numpy.core.numeric._frombuffer",
            Self::Encode => "_codecs.encode",
        }
    }
}

impl<'a> Machine<'a> {
    pub(super) fn push_global(&mut self, module: &str, name: &str) -> Result<(), Refusal> {
        match Global::find(module, name) {
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
            (Global::DType, [Value::Text("u1"), ..]) => Value::ByteType,
            (Global::DType, [Value::Bytes(code), ..]) if **code == *b"u1" => Value::ByteType,
            (Global::DType, [Value::Text(code), ..]) => {
                let found = format!("\"{}\"", code.escape_default().take(20).collect::<String>());
                return self.refuse("the element type \"u1\"", found);
            }
            (Global::Encode, [Value::Text(text), Value::Text("latin1")]) => {
                // Each text is decoded once in an honest file; a shorter file cannot ask for more.
                self.decoded += text.len();
                if self.decoded > self.cursor.len() {
                    return self.refuse("each text decoded once", "more text than the file holds");
                }
                match text.chars().map(|c| u8::try_from(u32::from(c))).collect() {
                    Ok(bytes) => Value::Bytes(Cow::Owned(bytes)),
                    Err(_) => return self.refuse("characters below 256", "others"),
                }
            }
            (
                Global::FromBuffer,
                [Value::Bytes(_), Value::ByteType, Value::Tuple(shape), Value::Text(order @ ("C" | "F"))],
            ) => {
                let array = self.array(shape, *order == "F", arguments[0])?;
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

    /// BUILD: fills an array, or completes an element type.
    pub(super) fn build(&mut self) -> Result<(), Refusal> {
        let state = self.pop("a state")?;
        let object = self.top("an object to fill")?;
        let Value::Tuple(state) = &self.values[state] else {
            let found = self.values[state].describe();
            return self.refuse("a tuple as state", found);
        };
        match &self.values[object] {
            Value::ByteType => Ok(()), // byte order and alignment, which bytes do not have
            Value::Array(_) => {
                let &[_, shape, kind, fortran, bytes] = &state[..] else {
                    return self.refuse("a state of 5 parts", state.len().to_string());
                };
                match (&self.values[shape], &self.values[kind], &self.values[fortran], &self.values[bytes]) {
                    (Value::Tuple(shape), Value::ByteType, Value::Int(fortran), Value::Bytes(_)) => {
                        let array = self.array(shape, *fortran != 0, bytes)?;
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

    /// Checks a shape against its bytes.
    fn array(&self, shape: &[super::Id], fortran: bool, bytes: super::Id) -> Result<Array, Refusal> {
        let dimension = |id: &super::Id| match self.values[*id] {
            Value::Int(n) => usize::try_from(n).ok(),
            _ => None,
        };
        let dimensions: Option<Vec<usize>> = shape.iter().map(dimension).collect();
        let Some(shape) = dimensions else { return self.refuse("a shape of sizes", "other values") };
        let elements = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
        match &self.values[bytes] {
            Value::Bytes(held) if Some(held.len()) == elements => Ok(Array { shape, fortran, bytes }),
            other => {
                let found = other.describe();
                self.refuse(format!("the bytes of shape {shape:?}"), found)
            }
        }
    }
}

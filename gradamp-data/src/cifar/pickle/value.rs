//! The values of a pickle.

use std::borrow::Cow;

use super::element::Element;

/// The index of a value in a [`Pickle`].
pub(crate) type Id = usize;

/// Why a pickle was refused.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The offset from the beginning of the file, in bytes.
    pub(crate) offset: usize,
    pub(crate) expected: String,
    pub(crate) found: String,
}

impl Refusal {
    pub(crate) fn new(offset: usize, expected: impl Into<String>, found: impl Into<String>) -> Self {
        Self { offset, expected: expected.into(), found: found.into() }
    }
}

/// A value of a pickle. It refers to its parts by [`Id`], because a list may grow after it was put into the memo.
#[derive(Debug)]
pub(crate) enum Value<'a> {
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
pub(crate) struct Array {
    pub(crate) element: Element,
    pub(crate) shape: Vec<usize>,
    /// Whether the array is stored in Fortran order, in which the first index varies fastest.
    pub(crate) fortran: bool,
    /// The id of a [`Value::Bytes`] that holds as many bytes as the shape requires.
    pub(crate) bytes: Id,
}

impl Value<'_> {
    /// The content of `bytes` or a string; `None` for other values.
    pub(crate) fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Value::Bytes(bytes) => Some(bytes),
            Value::Text(text) => Some(text.as_bytes()),
            _ => None,
        }
    }

    /// The value in words, for error messages.
    pub(crate) fn describe(&self) -> String {
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
pub(crate) struct Pickle<'a> {
    pub(crate) values: Vec<Value<'a>>,
    pub(crate) root: Id,
}

impl<'a> Pickle<'a> {
    /// The outermost value.
    pub(crate) fn root(&self) -> &Value<'a> {
        &self.values[self.root]
    }

    pub(crate) fn value(&self, id: Id) -> &Value<'a> {
        &self.values[id]
    }

    /// The value of `key` in the outermost dictionary. If a key occurs twice, the last one counts.
    pub(crate) fn get(&self, key: &str) -> Option<&Value<'a>> {
        let Value::Dict(items) = self.root() else { return None };
        items.iter().rev().find(|(k, _)| self.bytes(*k) == Some(key.as_bytes())).map(|(_, v)| self.value(*v))
    }

    /// The content of `bytes` or a string; `None` for other values.
    pub(crate) fn bytes(&self, id: Id) -> Option<&[u8]> {
        self.values[id].as_bytes()
    }
}

/// A function or class that a pickle may refer to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Global {
    /// Makes an empty array, which a later instruction fills.
    Reconstruct,
    /// The class of arrays.
    NdArray,
    /// An element type.
    DType,
    /// Makes an array from existing bytes (protocol 5).
    FromBuffer,
    /// Makes a NumPy number.
    Scalar,
    /// Encodes text as bytes. Before protocol 3, Python 3 writes every `bytes` value as a call of this function.
    Encode,
}

impl Global {
    /// Looks up the name `module.name`. Returns `None` if a pickle may not use it. NumPy 2 renamed `numpy.core` to
    /// `numpy._core`.
    pub(crate) fn parse(module: &str, name: &str) -> Option<Self> {
        match (module, name) {
            ("numpy.core.multiarray" | "numpy._core.multiarray", "_reconstruct") => Some(Self::Reconstruct),
            ("numpy.core.numeric" | "numpy._core.numeric", "_frombuffer") => Some(Self::FromBuffer),
            ("numpy.core.multiarray" | "numpy._core.multiarray", "scalar") => Some(Self::Scalar),
            ("numpy", "ndarray") => Some(Self::NdArray),
            ("numpy", "dtype") => Some(Self::DType),
            ("_codecs", "encode") => Some(Self::Encode),
            _ => None,
        }
    }

    /// The full name, as Python or NumPy 1 spells it.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Reconstruct => "numpy.core.multiarray._reconstruct",
            Self::NdArray => "numpy.ndarray",
            Self::DType => "numpy.dtype",
            Self::FromBuffer => "numpy.core.numeric._frombuffer",
            Self::Scalar => "numpy.core.multiarray.scalar",
            Self::Encode => "_codecs.encode",
        }
    }
}

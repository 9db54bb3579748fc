//! Tensors: a shape and a shared, immutable buffer on a device.

use std::any::Any;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use ndarray::{Array, ArrayD, Dimension, IxDyn};

use crate::backend::{Layers, Memory, OptimizerKernels, Statistics};
use crate::{Error, Result, memory};

/// The shape of a tensor: up to four dimensions, row-major.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shape {
    dims: [usize; 4],
    rank: usize,
}

impl Shape {
    /// **Errors:** more than four dimensions.
    pub fn new(dims: &[usize]) -> Result<Self> {
        let mut shape = Self { dims: [1; 4], rank: dims.len() };
        match shape.dims.get_mut(..dims.len()) {
            Some(place) => place.copy_from_slice(dims),
            None => return Err(Error::shape("shape", format!("at most 4 dimensions, got {dims:?}"))),
        }
        Ok(shape)
    }

    /// The number of elements.
    pub fn elements(&self) -> usize {
        self.iter().product()
    }
}

impl Deref for Shape {
    type Target = [usize];
    fn deref(&self) -> &[usize] {
        &self.dims[..self.rank]
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &**self)
    }
}

/// A tensor of f32 values on a device. Clones share the buffer.
pub struct Tensor<B: Memory> {
    backend: B,
    buffer: Arc<B::Buffer>,
    shape: Shape,
}

impl<B: Memory> Clone for Tensor<B> {
    fn clone(&self) -> Self {
        Self { backend: self.backend.clone(), buffer: self.buffer.clone(), shape: self.shape }
    }
}

impl<B: Memory> Tensor<B> {
    /// A tensor of `shape` whose buffer `fill` writes.
    ///
    /// Operations call kernels through this function: they check shapes first, then it allocates, then `fill` calls the kernel.
    pub fn build(
        backend: &B,
        shape: &[usize],
        fill: impl FnOnce(&mut B::Buffer) -> Result<()>,
    ) -> Result<Self> {
        let shape = Shape::new(shape)?;
        let mut buffer = backend.allocate(shape.elements())?;
        fill(&mut buffer)?;
        Ok(Self { backend: backend.clone(), buffer: Arc::new(buffer), shape })
    }

    /// The tensor of `shape` whose values `buffer` holds: for kernels with several outputs.
    pub fn from_buffer(backend: &B, shape: &[usize], buffer: B::Buffer) -> Result<Self> {
        Ok(Self { backend: backend.clone(), buffer: Arc::new(buffer), shape: Shape::new(shape)? })
    }

    /// Copies `values` (row-major) to the device.
    ///
    /// **Errors:** a number of values other than the shape's.
    pub fn from_slice(backend: &B, shape: &[usize], values: &[f32]) -> Result<Self> {
        if shape.iter().product::<usize>() != values.len() {
            return Err(Error::shape(
                "tensor",
                format!("shape {shape:?} does not hold {} values", values.len()),
            ));
        }
        Self::build(backend, shape, |buffer| backend.write(values, buffer))
    }

    /// A tensor of one value everywhere.
    pub fn full(backend: &B, shape: &[usize], value: f32) -> Result<Self> {
        let elements = Shape::new(shape)?.elements();
        Self::from_slice(backend, shape, &memory::filled(elements, value, "a tensor's values")?)
    }

    /// Copies an ndarray array of any dimension and layout to the device.
    pub fn from_array<D: Dimension>(backend: &B, array: &Array<f32, D>) -> Result<Self> {
        let array = array.as_standard_layout();
        let values: &[f32] = array.as_slice().unwrap_or(&[]); // standard layout is always a slice
        Self::from_slice(backend, array.shape(), values)
    }

    /// Copies the values to an ndarray array.
    pub fn to_array(&self) -> Result<ArrayD<f32>> {
        ArrayD::from_shape_vec(IxDyn(&self.shape), self.to_vec()?).map_err(Error::external)
    }

    /// Copies the values, row-major.
    pub fn to_vec(&self) -> Result<Vec<f32>> {
        let mut values = memory::filled(self.shape.elements(), 0.0, "a tensor's values")?;
        self.backend.read(&self.buffer, &mut values)?;
        Ok(values)
    }

    /// The shape.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The number of elements.
    pub fn elements(&self) -> usize {
        self.shape.elements()
    }

    /// The device.
    pub fn backend(&self) -> &B {
        &self.backend
    }

    /// The device memory.
    pub fn buffer(&self) -> &B::Buffer {
        &self.buffer
    }

    /// Whether `other` shares this tensor's memory.
    pub fn shares_buffer_with(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.buffer, &other.buffer)
    }

    /// Whether no other tensor shares the buffer.
    pub fn is_unique(&self) -> bool {
        Arc::strong_count(&self.buffer) == 1
    }

    /// The same values under another shape.
    ///
    /// **Errors:** another number of elements.
    pub fn reshape(&self, shape: &[usize]) -> Result<Self> {
        if shape.iter().product::<usize>() != self.elements() {
            return Err(Error::shape("reshape", format!("x {:?} does not fit {shape:?}", self.shape)));
        }
        Ok(Self { shape: Shape::new(shape)?, ..self.clone() })
    }
}

impl<B: Memory> Tensor<B> {
    /// This tensor as one of the backend `C`, if `B` is `C`; the values are shared. An operation for any backend finds out this way
    /// that it has a kernel for the tensor's backend.
    pub fn on<C: Memory>(&self) -> Option<Tensor<C>> {
        (self as &dyn Any).downcast_ref::<Tensor<C>>().cloned()
    }

    /// y = f(x), element by element, on the host: right on every backend, and slow on a GPU, which the host waits for.
    pub fn map(&self, f: impl Fn(f32) -> f32) -> Result<Self> {
        let mut values = self.to_vec()?;
        values.iter_mut().for_each(|x| *x = f(*x));
        Self::from_slice(&self.backend, &self.shape, &values)
    }

    /// y = f(a, b), element by element, on the host, as [`Tensor::map`].
    ///
    /// **Errors:** unequal shapes.
    pub fn zip(&self, other: &Self, f: impl Fn(f32, f32) -> f32) -> Result<Self> {
        self.same_shape("zip", other)?;
        let (mut values, others) = (self.to_vec()?, other.to_vec()?);
        values.iter_mut().zip(others).for_each(|(a, b)| *a = f(*a, b));
        Self::from_slice(&self.backend, &self.shape, &values)
    }

    fn same_shape(&self, operation: &'static str, other: &Self) -> Result<()> {
        if self.shape == other.shape {
            return Ok(());
        }
        let message = format!("a {:?} and b {:?} have unequal shapes", self.shape, other.shape);
        Err(Error::shape(operation, message))
    }
}

impl<B: Layers> Tensor<B> {
    /// a + b, on the device.
    ///
    /// **Errors:** unequal shapes.
    pub fn add(&self, b: &Self) -> Result<Self> {
        self.blend("add", 1.0, b)
    }

    /// a − b, on the device.
    ///
    /// **Errors:** unequal shapes.
    pub fn subtract(&self, b: &Self) -> Result<Self> {
        self.blend("subtract", -1.0, b)
    }

    /// a · b, element by element, on the device.
    ///
    /// **Errors:** unequal shapes.
    pub fn multiply(&self, b: &Self) -> Result<Self> {
        self.same_shape("multiply", b)?;
        Self::build(&self.backend, &self.shape, |out| {
            self.backend.multiply(self.elements(), self.buffer(), b.buffer(), out)
        })
    }

    /// factor · a, on the device.
    pub fn scale(&self, factor: f32) -> Result<Self> {
        Self::build(&self.backend, &self.shape, |out| {
            self.backend.axpby(self.elements(), factor, self.buffer(), 0.0, out)
        })
    }

    /// a + factor · b
    fn blend(&self, operation: &'static str, factor: f32, b: &Self) -> Result<Self> {
        self.same_shape(operation, b)?;
        Self::build(&self.backend, &self.shape, |out| {
            self.backend.axpby(self.elements(), 1.0, self.buffer(), 0.0, out)?;
            self.backend.axpby(self.elements(), factor, b.buffer(), 1.0, out)
        })
    }
}

impl<B: OptimizerKernels> Tensor<B> {
    /// The device memory, to be written. If other tensors share the memory, it is copied first.
    pub fn buffer_mut(&mut self) -> Result<&mut B::Buffer> {
        let elements = self.elements();
        if Arc::get_mut(&mut self.buffer).is_none() {
            let mut copy = self.backend.allocate(elements)?;
            self.backend.axpby(elements, 1.0, &self.buffer, 0.0, &mut copy)?;
            self.buffer = Arc::new(copy);
        }
        Arc::get_mut(&mut self.buffer).ok_or_else(|| Error::Backend {
            backend: self.backend.name(),
            message: "a fresh buffer is shared".into(),
        })
    }

    /// Sum, norms and zeros of the values: one pass on the device and a small read.
    pub fn statistics(&self) -> Result<Statistics> {
        let found = Statistics::compute(&self.backend, &[(self.buffer(), self.elements())])?;
        Ok(found[0])
    }

    /// The norm, from the tensor's statistics. It is right even if squares leave the range of f32; then the values are read again.
    pub(crate) fn norm(&self, mut found: Statistics) -> Result<f64> {
        let (most, squares, mut scale) = (found.max_abs, found.sum_squares, 1.0);
        if most.is_finite() && most > 0.0 && !(1e-20..1e30).contains(&squares) {
            // A power of two, and one that is finite as its inverse is, changes no digit.
            let power = most.log2().floor().clamp(-126.0, 126.0).exp2();
            let one = Self::build(&self.backend, &self.shape, |out| {
                self.backend.axpby(self.elements(), 1.0 / power, &self.buffer, 0.0, out)
            })?;
            found = one.statistics()?;
            scale = f64::from(power);
        }
        Ok(f64::from(found.sum_squares).sqrt() * scale)
    }
}

impl<B: Memory> fmt::Debug for Tensor<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tensor{:?} on {}", self.shape, self.backend.name())
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array3, ArrayD, IxDyn};
    use proptest::prelude::*;

    use super::Tensor;
    use crate::Reference;

    proptest! {
        /// An array is unchanged by the round trip, for every order of its axes in memory.
        #[test]
        fn an_array_survives_the_round_trip(a in 1usize..6, b in 1usize..6, c in 1usize..6, order in 0usize..6) {
            let axes = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]][order];
            let array = Array3::from_shape_fn((a, b, c), |(i, j, k)| (i * 100 + j * 10 + k) as f32).permuted_axes(axes);
            let tensor = Tensor::from_array(&Reference, &array).unwrap();
            prop_assert_eq!(&**tensor.shape(), array.shape());
            prop_assert_eq!(tensor.to_array().unwrap(), array.into_dyn());
        }
    }

    #[test]
    fn values_are_row_major() {
        let tensor = Tensor::from_slice(&Reference, &[2, 3], &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]).unwrap();
        let expected = ArrayD::from_shape_fn(IxDyn(&[2, 3]), |i| (i[0] * 3 + i[1]) as f32);
        assert_eq!(tensor.to_array().unwrap(), expected);
    }

    #[test]
    fn writing_leaves_other_tensors_of_the_same_buffer_alone() {
        let first = Tensor::from_slice(&Reference, &[3], &[1.0, 2.0, 3.0]).unwrap();
        let mut second = first.clone();
        assert!(first.shares_buffer_with(&second) && !first.is_unique());
        second.buffer_mut().unwrap()[0] = 9.0;
        assert_eq!(first.to_vec().unwrap(), [1.0, 2.0, 3.0]);
        assert_eq!(second.to_vec().unwrap(), [9.0, 2.0, 3.0]);
        assert!(first.is_unique() && second.is_unique());
    }

    #[test]
    fn arithmetic_is_element_by_element() {
        let a = Tensor::from_slice(&Reference, &[2, 2], &[1.0, -2.0, 3.0, 0.5]).unwrap();
        let b = Tensor::from_slice(&Reference, &[2, 2], &[4.0, 0.25, -1.0, 2.0]).unwrap();
        let values = |tensor: crate::Result<Tensor<Reference>>| tensor.unwrap().to_vec().unwrap();
        assert_eq!(values(a.add(&b)), [5.0, -1.75, 2.0, 2.5]);
        assert_eq!(values(a.subtract(&b)), [-3.0, -2.25, 4.0, -1.5]);
        assert_eq!(values(a.multiply(&b)), [4.0, -0.5, -3.0, 1.0]);
        assert_eq!(values(a.scale(-2.0)), [-2.0, 4.0, -6.0, -1.0]);
        assert_eq!(values(a.map(f32::abs)), [1.0, 2.0, 3.0, 0.5]);
        assert_eq!(values(a.zip(&b, f32::max)), [4.0, 0.25, 3.0, 2.0]);
        let other = a.reshape(&[4]).unwrap();
        let error = a.add(&other).unwrap_err().to_string();
        assert_eq!(error, "add: a [2, 2] and b [4] have unequal shapes");
        assert!(a.zip(&other, f32::max).is_err() && a.multiply(&other).is_err());
    }

    #[cfg(feature = "conformance")]
    #[test]
    fn a_tensor_is_one_of_its_own_backend_only() {
        let tensor = Tensor::full(&Reference, &[2], 1.0).unwrap();
        assert!(tensor.on::<Reference>().unwrap().shares_buffer_with(&tensor));
        assert!(tensor.on::<crate::conformance::Required<Reference>>().is_none());
    }

    #[test]
    fn shapes_that_do_not_fit_are_errors() {
        let message = |result: crate::Result<Tensor<Reference>>| result.unwrap_err().to_string();
        assert_eq!(
            message(Tensor::from_slice(&Reference, &[2, 2], &[0.0; 3])),
            "tensor: shape [2, 2] does not hold 3 values"
        );
        assert!(message(Tensor::full(&Reference, &[1, 1, 1, 1, 1], 0.0)).contains("at most 4 dimensions"));
        let tensor = Tensor::full(&Reference, &[2, 3], 1.0).unwrap();
        assert_eq!(message(tensor.reshape(&[4])), "reshape: x [2, 3] does not fit [4]");
        assert_eq!(&**tensor.reshape(&[3, 2]).unwrap().shape(), [3, 2]);
    }
}

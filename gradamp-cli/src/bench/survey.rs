//! Finds the operations of a training step by running the step on a backend that records calls and computes nothing.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use gradamp_core::backend::{
    Backend, BatchNormOperands, Device, Layers, LinearAlgebra, Memory, OptimizerKernels, SgdSlot,
};
use gradamp_core::backend::{BatchNormRelu, FusedKernels, GradientShare};
use gradamp_core::geometry::{Conv2d, Gemm, MeanPool, Pool2d, Rows};
use gradamp_wgpu::ConvOp;

use super::fused::FusedCall;
use super::operation::Operation;
use super::workload::Workload;
use crate::args::WorkloadArgs;
use crate::failure::Result;

/// The operations of one training step on `backend`, in the order of their first call, each with the number of its
/// calls.
///
/// **Errors:** those of the workload.
pub fn operations<B: Backend>(workload: &WorkloadArgs, backend: &B) -> Result<Vec<(Operation, usize)>> {
    let survey = Survey { like: backend.clone(), notes: Arc::default() };
    let mut bench = Workload::new(workload, survey.clone())?;
    survey.drain(); // discards the calls that built the model and found its shapes
    bench.step(false)?;
    let mut found: Vec<(Operation, usize)> = Vec::new();
    for operation in survey.drain() {
        match found.iter_mut().find(|(known, _)| *known == operation) {
            Some((_, count)) => *count += 1,
            None => found.push((operation, 1)),
        }
    }
    Ok(found)
}

/// A backend that records calls and computes nothing. Its buffers are empty. It fuses the same operations as the
/// backend `like`.
#[derive(Clone, Debug)]
struct Survey<B> {
    like: B,
    notes: Arc<Mutex<Vec<Operation>>>,
}

type Answer = gradamp_core::Result<()>;

impl<B> Survey<B> {
    fn note(&self, operation: Operation) -> Answer {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).push(operation);
        Ok(())
    }

    /// Returns the operations recorded since the last call.
    fn drain(&self) -> Vec<Operation> {
        std::mem::take(&mut *self.notes.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<B: Backend> Memory for Survey<B> {
    type Buffer = ();

    fn name(&self) -> String {
        "survey".into()
    }

    fn allocate(&self, _len: usize) -> Answer {
        Ok(())
    }

    fn write(&self, _src: &[f32], _dst: &mut ()) -> Answer {
        Ok(())
    }

    fn read(&self, _src: &(), dst: &mut [f32]) -> Answer {
        dst.fill(0.0);
        Ok(())
    }
}

impl<B: Backend> LinearAlgebra for Survey<B> {
    fn gemm(&self, g: &Gemm, _alpha: f32, _a: &(), _b: &(), _beta: f32, _c: &mut ()) -> Answer {
        self.note(Operation::Product(*g))
    }

    /// Never called, because a convolution is recorded as a whole.
    fn im2col(&self, _g: &Conv2d, _images: Range<usize>, _x: &(), _columns: &mut ()) -> Answer {
        Ok(())
    }

    fn col2im(&self, _g: &Conv2d, _images: Range<usize>, _columns: &(), _dx: &mut ()) -> Answer {
        Ok(())
    }

    fn axpby(&self, len: usize, _alpha: f32, _x: &(), beta: f32, _y: &mut ()) -> Answer {
        self.note(Operation::Axpby { len, adds: beta != 0.0 })
    }

    fn add_bias(&self, g: &Rows, _bias: &(), _y: &mut ()) -> Answer {
        self.note(Operation::AddBias(*g))
    }

    fn sum_rows(&self, g: &Rows, _x: &(), _out: &mut ()) -> Answer {
        self.note(Operation::SumRows(*g))
    }
}

impl<B: Backend> Layers for Survey<B> {
    fn relu(&self, len: usize, _x: &(), _y: &mut ()) -> Answer {
        self.note(Operation::Relu(len))
    }

    fn relu_backward(&self, len: usize, _y: &(), _dy: &(), _dx: &mut ()) -> Answer {
        self.note(Operation::ReluBackward(len))
    }

    fn batch_norm_statistics(&self, g: &Rows, _x: &(), _mean: &mut (), _variance: &mut ()) -> Answer {
        self.note(Operation::BatchNormStatistics(*g))
    }

    fn batch_norm(&self, g: &Rows, _p: &BatchNormOperands<'_, Self>, _x: &(), _y: &mut ()) -> Answer {
        self.note(Operation::BatchNorm(*g))
    }

    fn batch_norm_backward(
        &self,
        g: &Rows,
        _p: &BatchNormOperands<'_, Self>,
        _x: &(),
        _dy: &(),
        _dx: &mut (),
        _dgamma: &mut (),
        _dbeta: &mut (),
    ) -> Answer {
        self.note(Operation::BatchNormBackward { g: *g, relu: false, residual: false })
    }

    fn max_pool2d(&self, g: &Pool2d, _x: &(), _y: &mut (), _index: &mut ()) -> Answer {
        self.note(Operation::MaxPool(*g))
    }

    fn max_pool2d_backward(&self, g: &Pool2d, _index: &(), _dy: &(), _dx: &mut ()) -> Answer {
        self.note(Operation::MaxPoolBackward(*g))
    }

    fn mean_pool(&self, g: &MeanPool, _x: &(), _y: &mut ()) -> Answer {
        self.note(Operation::MeanPool(*g))
    }

    fn mean_pool_backward(&self, g: &MeanPool, _dy: &(), _dx: &mut ()) -> Answer {
        self.note(Operation::MeanPoolBackward(*g))
    }

    fn softmax_cross_entropy(
        &self,
        g: &Rows,
        _smoothing: f32,
        _logits: &(),
        _labels: &(),
        _loss: &mut (),
        _correct: &mut (),
        _dlogits: &mut (),
    ) -> Answer {
        self.note(Operation::Loss(*g))
    }

    fn conv2d(&self, g: &Conv2d, _x: &(), _w: &(), bias: Option<&()>, _y: &mut ()) -> Answer {
        self.note(Operation::Convolution { op: ConvOp::Forward, g: *g, bias: bias.is_some(), moments: false })
    }

    fn conv2d_backward_input(&self, g: &Conv2d, _w: &(), _dy: &(), _dx: &mut ()) -> Answer {
        self.note(Operation::Convolution { op: ConvOp::InputGradient, g: *g, bias: false, moments: false })
    }

    fn conv2d_backward_weight(&self, g: &Conv2d, _x: &(), _dy: &(), _dw: &mut ()) -> Answer {
        self.note(Operation::Convolution { op: ConvOp::WeightGradient, g: *g, bias: false, moments: false })
    }

    fn batch_norm_relu(
        &self,
        g: &Rows,
        _p: &BatchNormOperands<'_, Self>,
        _x: &(),
        residual: Option<&()>,
        _y: &mut (),
    ) -> Answer {
        self.note(Operation::BatchNormRelu { g: *g, residual: residual.is_some() })
    }

    fn batch_norm_relu_backward(
        &self,
        g: &Rows,
        _p: &BatchNormOperands<'_, Self>,
        _x: &(),
        _y: &(),
        _dy: &(),
        dz: Option<&mut ()>,
        _dx: &mut (),
        _dgamma: &mut (),
        _dbeta: &mut (),
    ) -> Answer {
        self.note(Operation::BatchNormBackward { g: *g, relu: true, residual: dz.is_some() })
    }
}

impl<B: Backend> OptimizerKernels for Survey<B> {
    fn sgd(&self, slot: SgdSlot<'_, Self>) -> Answer {
        self.note(Operation::Sgd(vec![slot.len]))
    }

    /// Never called, because only hooks read the statistics of gradients, and the step has no hooks.
    fn statistics(&self, _len: usize, _x: &(), _offset: usize, _out: &mut ()) -> Answer {
        Ok(())
    }

    /// Records the step of all parameters as one operation.
    fn sgd_all(&self, slots: Vec<SgdSlot<'_, Self>>) -> Answer {
        self.note(Operation::Sgd(slots.iter().map(|slot| slot.len).collect()))
    }
}

impl<B: Backend> Device for Survey<B> {
    fn conv2d_with_moments(
        &self,
        g: &Conv2d,
        _x: &(),
        _w: &(),
        bias: Option<&()>,
        _y: &mut (),
        _mean: &mut (),
        _variance: &mut (),
    ) -> Answer {
        let (op, bias) = (ConvOp::Forward, bias.is_some());
        self.note(Operation::Convolution { op, g: *g, bias, moments: true })
    }

    fn fused_kernels(&self) -> Option<&dyn FusedKernels<Self>> {
        self.like.fused_kernels().is_some().then_some(self)
    }
}

impl<B: Backend> FusedKernels<Survey<B>> for Survey<B> {
    fn fuses(&self, g: &Conv2d) -> bool {
        self.like.fused_kernels().is_some_and(|fused| fused.fuses(g))
    }

    fn conv2d(
        &self,
        g: &Conv2d,
        _z: &BatchNormRelu<'_, Self>,
        _w: &(),
        bias: Option<&()>,
        _y: &mut (),
        moments: Option<[&mut (); 2]>,
    ) -> Answer {
        let (bias, moments) = (bias.is_some(), moments.is_some());
        self.note(Operation::Fused(FusedCall::Forward { g: *g, bias, moments }))
    }

    fn conv2d_backward_input(
        &self,
        g: &Conv2d,
        z: &BatchNormRelu<'_, Self>,
        _w: &(),
        _dy: &(),
        others: Option<GradientShare<'_, Self>>,
        _dz: &mut (),
        _dgamma: &mut (),
        _dbeta: &mut (),
    ) -> Answer {
        let (others, residual) = (others.is_some(), z.z.is_some());
        self.note(Operation::Fused(FusedCall::InputGradient { g: *g, others, residual }))
    }

    fn fuses_weight_gradient(&self, g: &Conv2d) -> bool {
        self.like.fused_kernels().is_some_and(|fused| fused.fuses_weight_gradient(g))
    }

    fn conv2d_backward_weight(
        &self,
        g: &Conv2d,
        _z: &BatchNormRelu<'_, Self>,
        _dy: &(),
        _dw: &mut (),
    ) -> Answer {
        self.note(Operation::Fused(FusedCall::WeightGradient(*g)))
    }

    fn max_pool2d_backward(
        &self,
        g: &Pool2d,
        _z: &BatchNormRelu<'_, Self>,
        _index: &(),
        _dy: &(),
        _dz: &mut (),
        _dgamma: &mut (),
        _dbeta: &mut (),
    ) -> Answer {
        self.note(Operation::Fused(FusedCall::Pool(*g)))
    }

    fn batch_norm_relu_backward(
        &self,
        g: &Rows,
        _z: &BatchNormRelu<'_, Self>,
        _dgamma: &(),
        _dbeta: &(),
        _dz: &mut (),
        dx: Option<&mut ()>,
    ) -> Answer {
        self.note(Operation::Fused(FusedCall::Rest { g: *g, residual: dx.is_some() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The operations that the survey finds on the CPU, at a width at which convolutions with stride 1 are fused.
    fn found(model: &str, batch: usize) -> Vec<(Operation, usize)> {
        let cpu = gradamp_cpu::Cpu::with_threads(1).unwrap();
        operations(&WorkloadArgs { model: model.into(), width: 16, batch }, &cpu).unwrap()
    }

    fn count(found: &[(Operation, usize)], name: &str) -> usize {
        found.iter().filter(|(operation, _)| operation.name() == name).map(|(_, count)| count).sum()
    }

    #[test]
    fn a_step_has_the_operations_of_its_layers() {
        let found = found("resnet18", 3);
        for (name, expected) in [
            ("convolution + statistics", 12),
            ("convolution + statistics, with batch norm + ReLU", 8),
            ("convolution, weight gradient", 20),
            ("convolution, input gradient", 3), // the images need no gradient
            ("convolution, input gradient, with batch norm's sums", 8),
            ("convolution, input gradient, with sum and batch norm's sums", 1), // after the stem
            ("convolution, input gradient, with sum and residual batch norm's sums", 7),
            ("batch norm + ReLU", 9), // eight of them are computed again for a weight gradient
            ("batch norm + sum + ReLU", 8),
            ("batch norm", 3),
            ("batch norm + ReLU, gradient", 0),
            ("batch norm + ReLU, gradient with known sums", 9),
            ("batch norm + sum + ReLU, gradient with known sums", 7),
            ("batch norm + sum + ReLU, gradient", 1), // before the mean pool
            ("batch norm, gradient", 3),
            ("matrix product", 3),
            ("mean pool", 1),
            ("loss with gradient", 1),
            ("SGD", 1),
        ] {
            assert_eq!(count(&found, name), expected, "{name}");
        }
        let pools = self::found("vgg11", 3);
        assert_eq!(count(&pools, "max pool, gradient, with batch norm's sums"), 5);
        assert_eq!(count(&pools, "max pool, gradient"), 0);
        let same = |a: &Operation, b: &Operation| a.name() == b.name() && a.to_string() == b.to_string();
        for (i, (a, _)) in found.iter().enumerate() {
            assert!(!found[..i].iter().any(|(b, _)| same(a, b)), "{} {a} is listed twice", a.name());
        }
        let sgd = found.iter().find(|(operation, _)| operation.name() == "SGD").unwrap();
        assert!(sgd.0.to_string().starts_with("62 parameters"), "{}", sgd.0);
    }

    #[test]
    fn only_the_amount_of_work_changes_with_the_batch_size() {
        let flops = |found: &[(Operation, usize)]| -> f64 {
            found.iter().map(|(operation, count)| *count as f64 * operation.flops()).sum()
        };
        let (one, three) = (found("vgg11", 2), found("vgg11", 6));
        assert_eq!(flops(&three), 3.0 * flops(&one));
        let names = |found: &[(Operation, usize)]| -> Vec<_> {
            found.iter().map(|(operation, count)| (operation.name(), *count)).collect()
        };
        assert_eq!(names(&one), names(&three));
    }
}

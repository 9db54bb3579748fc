//! The wide residual network of this crate against PyTorch's: weights, logits and gradients of `wide_resnet.py`.

use std::error::Error;
use std::path::Path;

use gradamp_core::{Backend, Hooks, Parameters, Reference, Tape, Tensor, ops};
use gradamp_cpu::Cpu;
use gradamp_models::{Archive, ModelDefinition, import};
use gradamp_wgpu::{Wgpu, adapters};
use third_party::WideResNet10;

type Outcome = Result<(), Box<dyn Error>>;

fn file(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name)
}

fn follows_pytorchs<B: Backend>(backend: &B, gelu: bool) -> Outcome {
    let expected = Archive::open(&file("wide_resnet_step.safetensors"))?;
    let tensor = |name: &str| -> Result<Tensor<B>, Box<dyn Error>> {
        let shape = expected.shape(name).ok_or("the file has no such tensor")?;
        Ok(Tensor::from_slice(backend, shape, &expected.floats(name)?)?)
    };
    let mut parameters = Parameters::new(backend, 0);
    let model = WideResNet10 { gelu }.build(2, [8, 8, 3], 3, &mut parameters)?;
    import(&file("wide_resnet.safetensors"), &mut parameters)?;
    let ids = ["linear.weight", "conv1.weight"].map(|path| parameters.find(path));

    let mut tape = Tape::train(&mut parameters);
    let x = tape.constant(tensor("images")?);
    let logits = model.forward(&mut tape, x)?;
    let found = logits.tensor()?;
    let loss = ops::softmax_cross_entropy(&mut tape, &logits, &tensor("labels")?, 0.0)?;
    let gradients = tape.backward(&loss.mean, &Hooks::new())?;
    let gradient = |id: Option<_>| id.and_then(|id| gradients.parameter(id)).ok_or("no gradient");
    let f = if gelu { "gelu" } else { "relu" };
    for (name, found) in [
        ("logits", found),
        ("gradient", gradient(ids[0])?.values()?),
        ("first_gradient", gradient(ids[1])?.values()?),
    ] {
        let expected = tensor(&format!("{f}.{name}"))?;
        assert_eq!(found.shape(), expected.shape(), "{name}");
        let largest = expected.statistics()?.max_abs;
        let error = found.subtract(&expected)?.statistics()?.max_abs;
        assert!(error < 1e-5 * largest, "{} {f} {name}: {error} of {largest}", backend.name());
    }
    Ok(())
}

#[test]
fn weights_of_pytorch_give_its_logits_and_gradients() -> Outcome {
    for gelu in [false, true] {
        follows_pytorchs(&Reference, gelu)?;
        follows_pytorchs(&Cpu::with_threads(2)?, gelu)?;
        match adapters().first() {
            Some(adapter) => follows_pytorchs(&Wgpu::open(adapter, &Default::default())?, gelu)?,
            None => eprintln!("skipped on the GPU: this machine has no adapter"),
        }
    }
    Ok(())
}

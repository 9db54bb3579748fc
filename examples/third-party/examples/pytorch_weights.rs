//! Weights that PyTorch saved, in a model of this crate: its logits for PyTorch's images are compared with PyTorch's.
//!
//! ```sh
//! cargo run --release -p third-party --example pytorch_weights
//! ```
//!
//! `tests/wide_resnet.py` made the files, with `safetensors.torch.save_file(model.state_dict(), ..)`.

use std::error::Error;
use std::path::Path;

use gradamp_core::{Parameters, Tape, Tensor};
use gradamp_cpu::Cpu;
use gradamp_models::{Archive, ModelDefinition, export, import};
use third_party::WideResNet10;

/// Runs the example; an error where it does not do what it says.
pub fn main() -> Result<(), Box<dyn Error>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let cpu = Cpu::new()?;
    let mut parameters = Parameters::new(&cpu, 0);
    let model = WideResNet10 { gelu: false }.build(2, [8, 8, 3], 3, &mut parameters)?;
    import(&folder.join("wide_resnet.safetensors"), &mut parameters)?; // by name; an error names what is missing

    // And back: `load_state_dict(safetensors.torch.load_file("weights.safetensors"))` reads this file.
    let path = std::env::temp_dir().join("weights.safetensors");
    export(&path, &parameters, &Default::default())?;
    println!("written: {}", path.display());

    let step = Archive::open(&folder.join("wide_resnet_step.safetensors"))?;
    let tensor = |name: &str| -> Result<Tensor<Cpu>, Box<dyn Error>> {
        let shape = step.shape(name).ok_or_else(|| format!("no tensor called {name}"))?;
        Ok(Tensor::from_slice(&cpu, shape, &step.floats(name)?)?)
    };
    let mut tape = Tape::train(&mut parameters); // PyTorch's logits are those of a module in training mode
    let images = tape.constant(tensor("images")?); // [n, h, w, c]
    let logits = model.forward(&mut tape, images)?.tensor()?;
    let difference = logits.subtract(&tensor("relu.logits")?)?.statistics()?.max_abs;
    println!("largest difference from PyTorch's logits: {difference:.1e}");
    if difference > 1e-4 {
        return Err("the logits are not PyTorch's".into());
    }
    Ok(())
}

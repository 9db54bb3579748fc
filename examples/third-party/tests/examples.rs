//! Runs the programs in `examples/`.

use std::error::Error;

#[path = "../examples/hooks_only.rs"]
mod hooks_only;
#[path = "../examples/own_optimizer.rs"]
mod own_optimizer;
#[path = "../examples/pytorch_weights.rs"]
mod pytorch_weights;

#[test]
fn hooks_run_without_a_trainer() -> Result<(), Box<dyn Error>> {
    hooks_only::main()
}

#[test]
fn an_optimizer_of_this_crate_trains() -> Result<(), Box<dyn Error>> {
    own_optimizer::main()
}

#[test]
fn weights_of_pytorch_give_its_logits() -> Result<(), Box<dyn Error>> {
    pytorch_weights::main()
}

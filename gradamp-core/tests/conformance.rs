//! Every law, for the backends of this crate.

#[allow(dead_code, reason = "its `main` is for `cargo run --example minimal_backend`")]
#[path = "../examples/minimal_backend.rs"]
mod minimal_backend;

mod minimal {
    use crate::minimal_backend::Minimal;

    gradamp_core::conformance!(Minimal);
}

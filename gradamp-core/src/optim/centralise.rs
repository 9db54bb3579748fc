//! Gradient centralisation; see [`SgdSettings::centralise`](super::SgdSettings::centralise).

use super::incoming::Incoming;
use crate::geometry::Rows;
use crate::{Backend, Parameters, Result, Role};

/// g[r, c] ← g[r, c] − 1/rows · Σ_r g[r, c], with weights seen as matrices `[fan_in, units]`.
///
/// Linear, so that the lazy scalar need not be known. All of it runs on the device.
pub(super) fn centralise<B: Backend>(
    parameters: &Parameters<B>,
    incoming: &mut [Incoming<'_, B>],
) -> Result<()> {
    let backend = parameters.backend();
    for gradient in incoming {
        if !matches!(parameters.get(gradient.id).role, Role::ConvWeight | Role::LinearWeight) {
            continue;
        }
        let g = Rows::new("centralise", gradient.values.shape())?;
        let (mut sums, mut means) = (backend.alloc(g.channels)?, backend.alloc(g.channels)?);
        backend.sum_rows(&g, gradient.values.buffer(), &mut sums)?;
        backend.axpby(g.channels, -1.0 / g.rows as f32, &sums, 0.0, &mut means)?;
        gradient.replace(|old, new| {
            backend.axpby(g.len(), 1.0, old.buffer(), 0.0, new)?;
            backend.add_bias(&g, &means, new)
        })?;
    }
    Ok(())
}

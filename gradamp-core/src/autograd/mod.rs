//! Automatic differentiation: values on a tape, gradients on their way back, and the hooks that meet them.

mod backward;
mod gradient;
mod hook;
mod tape;
mod trace;
mod var;

pub use backward::{BackwardRule, Gradients, Pass};
pub use gradient::Gradient;
pub use hook::{BackwardHook, GradientAction, HookGuard, Hooks, LayerKind, Site};
pub use tape::{Mode, Probe, Tape};
pub use trace::{SiteId, Trace, TraceNode};
pub use var::Var;

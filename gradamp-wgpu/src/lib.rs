//! The gradamp backend in WGSL compute shaders (to come).

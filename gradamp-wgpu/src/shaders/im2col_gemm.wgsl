// The kernels around the products of `im2col_gemm.rs`.
//
//   extend       wide[k, o] = w[k, o], and 0 in the rows that were added to fill a quad
//   transpose    dw[k, o] = transposed[o, k]
//
// w and dw are [depth, c_out], wide is [row, c_out], transposed [c_out, row]; `row` is the depth of a window, rounded up to
// whole quads. An invocation writes one value.

struct Params {
    depth: u32,
    row: u32,
    c_out: u32,
}

var<immediate> p: Params;

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn extend(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let at = (group.y * 32768u + group.x) * 64u + local;
    if at >= p.row * p.c_out { return; }
    var value = 0.0;
    if at < p.depth * p.c_out {
        value = x[at];
    }
    y[at] = value;
}

@compute @workgroup_size(64)
fn transpose(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let at = (group.y * 32768u + group.x) * 64u + local;
    if at >= p.depth * p.c_out { return; }
    y[at] = x[(at % p.c_out) * p.row + at / p.c_out];
}

// The corrections of AdamW's two averages after one more step: c ← share · c + rest.
//
// With GATE a buffer holds [coefficient, norm, applies], and where `applies` is 0 the kernel changes nothing.

struct Params {
    mean_share: f32,
    mean_rest: f32,
    square_share: f32,
    square_rest: f32,
}

var<immediate> p: Params;

@group(0) @binding(0) var<storage, read_write> c: array<f32>;
//@ if GATE
@group(0) @binding(1) var<storage, read> gate: array<f32>;
//@ end

@compute @workgroup_size(1)
fn correct() {
    //@ if GATE
    if gate[2] == 0.0 { return; }
    //@ end
    c[0] = p.mean_share * c[0] + p.mean_rest;
    c[1] = p.square_share * c[1] + p.square_rest;
}

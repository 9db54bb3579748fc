// A step of AdamW for one parameter.
//
//   g ← clamp(gradient_scale · coefficient · g, ±clip); m ← m + (1 − β₁) · (g − m); v ← β₂ · v + (1 − β₂) · g²;
//   w ← keep · w − lr · (m / c₁) / (sqrt(v / c₂) + epsilon)
//
// With GATE a buffer holds [coefficient, norm, applies], and where `applies` is 0 the kernel changes nothing. An invocation
// computes four elements; values beyond the `len` elements are left unchanged.

struct Params {
    len: u32,
    lr: f32,
    mean_rest: f32,
    square_share: f32,
    square_rest: f32,
    epsilon: f32,
    keep: f32,
    scale: f32,
    clip: f32,
}

var<immediate> p: Params;

@group(0) @binding(0) var<storage, read> gradient: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> corrections: array<f32>;
@group(0) @binding(2) var<storage, read_write> m: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> v: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> w: array<vec4<f32>>;
//@ if GATE
@group(0) @binding(5) var<storage, read> gate: array<f32>;
//@ end

@compute @workgroup_size(256)
fn take_step(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let i = (group.y * 32768u + group.x) * 256u + local;
    if 4u * i >= p.len { return; }
    var scale = p.scale;
    //@ if GATE
    if gate[2] == 0.0 { return; }
    scale *= gate[0];
    //@ end
    let inside = vec4(4u * i) + vec4(0u, 1u, 2u, 3u) < vec4(p.len);
    // It compares, because WGSL's clamp may lose a NaN.
    var g = scale * gradient[i];
    g = select(g, vec4(p.clip), g > vec4(p.clip));
    g = select(g, vec4(-p.clip), g < vec4(-p.clip));
    let mean = m[i] + p.mean_rest * (g - m[i]);
    let square = p.square_share * v[i] + p.square_rest * (g * g);
    let rate = p.lr / corrections[0];
    let root = 1.0 / sqrt(corrections[1]);
    let step = rate * mean / (root * sqrt(square) + p.epsilon);
    m[i] = select(m[i], mean, inside);
    v[i] = select(v[i], square, inside);
    w[i] = select(w[i], p.keep * w[i] - step, inside);
}

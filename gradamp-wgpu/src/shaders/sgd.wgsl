// A step of stochastic gradient descent for one parameter.
//
//   g ← clamp(gradient_scale · coefficient · g, ±clip); d = g + decay · w; v ← momentum · v + d;
//   w ← w − lr · (nesterov ? d + momentum · v : v)
//
// Without VELOCITY the step is w ← w − lr · d. With GATE a buffer holds [coefficient, norm, applies], and where `applies` is 0
// the kernel changes nothing. An invocation computes four elements; values beyond the `len` elements are left unchanged.

struct Params {
    len: u32,
    lr: f32,
    momentum: f32,
    decay: f32,
    scale: f32,
    clip: f32,
    nesterov: u32,
}

var<immediate> p: Params;

@group(0) @binding(0) var<storage, read> gradient: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> w: array<vec4<f32>>;
//@ if VELOCITY
@group(0) @binding(2) var<storage, read_write> v: array<vec4<f32>>;
//@ end
//@ if GATE
@group(0) @binding({2+VELOCITY}) var<storage, read> gate: array<f32>;
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
    let old = w[i];
    // It compares, because WGSL's clamp may lose a NaN.
    var g = scale * gradient[i];
    g = select(g, vec4(p.clip), g > vec4(p.clip));
    g = select(g, vec4(-p.clip), g < vec4(-p.clip));
    let d = g + p.decay * old;
    var along = d;
    //@ if VELOCITY
    let velocity = p.momentum * v[i] + d;
    v[i] = select(v[i], velocity, inside);
    along = velocity;
    if p.nesterov != 0u {
        along = d + p.momentum * velocity;
    }
    //@ end
    w[i] = select(old, old - p.lr * along, inside);
}

// Elementwise kernels.
//
// Arrays are read as vec4, and an invocation computes one vec4. The last vec4 may reach beyond the `len` elements; values
// there are left unchanged.

struct Params {
    len: u32,
    alpha: f32,
    beta: f32,
}

var<immediate> p: Params;

@group(0) @binding(0) var<storage, read> a: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> y: array<vec4<f32>>;

fn place(group: vec3<u32>, local: u32) -> u32 {
    return (group.y * 32768u + group.x) * 256u + local;
}

/// Stores the elements of `value` that are among the first `len`.
fn store(i: u32, value: vec4<f32>) {
    let inside = vec4(4u * i) + vec4(0u, 1u, 2u, 3u) < vec4(p.len);
    if all(inside) {
        y[i] = value;
    } else {
        y[i] = select(y[i], value, inside);
    }
}

// y = alpha · a
@compute @workgroup_size(256)
fn scale(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let i = place(group, local);
    if 4u * i >= p.len { return; }
    store(i, p.alpha * a[i]);
}

// y = alpha · a + beta · y
@compute @workgroup_size(256)
fn axpby(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let i = place(group, local);
    if 4u * i >= p.len { return; }
    store(i, p.alpha * a[i] + p.beta * y[i]);
}

// y = a where a > 0, 0 where a <= 0, NaN where a is NaN. It compares, because WGSL's max may lose a NaN.
@compute @workgroup_size(256)
fn relu(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let i = place(group, local);
    if 4u * i >= p.len { return; }
    let x = a[i];
    store(i, select(x, vec4(0.0), x <= vec4(0.0)));
}

@group(0) @binding(1) var<storage, read> b: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> dx: array<vec4<f32>>;

// dx = a where b > 0, else 0; a is the gradient dy, and b is the output of the ReLU
@compute @workgroup_size(256)
fn relu_backward(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let i = place(group, local);
    if 4u * i >= p.len { return; }
    let value = select(vec4(0.0), a[i], b[i] > vec4(0.0));
    let inside = vec4(4u * i) + vec4(0u, 1u, 2u, 3u) < vec4(p.len);
    dx[i] = select(dx[i], value, inside);
}

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

// y = tanh(a): a + a³ · P(a²) for small |a|, and otherwise 1 − 2 / (exp(2 · |a|) + 1) with a's sign, NaN where a is NaN. WGSL's own
// tanh may overflow to NaN. P is the minimax polynomial of (tanh(a)/a − 1)/a² over |a| < 0.625.
@compute @workgroup_size(256)
fn tanh_forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let i = place(group, local);
    if 4u * i >= p.len { return; }
    let x = a[i];
    let z = x * x;
    let series = (((-0.005704987 * z + 0.020639088) * z - 0.053739715) * z + 0.13331442) * z - 0.3333328;
    let small = x + x * z * series;
    // Beyond 10, tanh rounds to ±1.
    let large = sign(x) * (1.0 - 2.0 / (exp(2.0 * min(abs(x), vec4(10.0))) + 1.0));
    store(i, keep_nan(x, select(large, small, abs(x) < vec4(0.625))));
}

// y = 1 / (1 + exp(−a)), NaN where a is NaN. exp(−|a|) cannot overflow; below exp(−87) there are no normal numbers.
@compute @workgroup_size(256)
fn sigmoid(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let i = place(group, local);
    if 4u * i >= p.len { return; }
    let x = a[i];
    let e = select(exp(-abs(x)), vec4(0.0), abs(x) > vec4(87.0));
    store(i, keep_nan(x, select(e, vec4(1.0), x > vec4(0.0)) / (1.0 + e)));
}

/// `value`, or x where x is NaN: functions of a NaN depend on the driver.
fn keep_nan(x: vec4<f32>, value: vec4<f32>) -> vec4<f32> {
    let is_nan = (bitcast<vec4<u32>>(x) & vec4(0x7fffffffu)) > vec4(0x7f800000u);
    return select(value, x, is_nan);
}

@group(0) @binding(1) var<storage, read> b: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> dx: array<vec4<f32>>;

// dx = a · b
@compute @workgroup_size(256)
fn multiply(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let i = place(group, local);
    if 4u * i >= p.len { return; }
    store_gradient(i, a[i] * b[i]);
}

// dx = a where b > 0, else 0; a is the gradient dy, and b is the output of the ReLU
@compute @workgroup_size(256)
fn relu_backward(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let i = place(group, local);
    if 4u * i >= p.len { return; }
    store_gradient(i, select(vec4(0.0), a[i], b[i] > vec4(0.0)));
}

// dx = (1 − b²) · a; a is the gradient dy, and b is the output of tanh. (1 − b) · (1 + b) keeps the digits that 1 − b² loses near ±1.
@compute @workgroup_size(256)
fn tanh_backward(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let i = place(group, local);
    if 4u * i >= p.len { return; }
    store_gradient(i, (1.0 - b[i]) * (1.0 + b[i]) * a[i]);
}

// dx = b · (1 − b) · a; a is the gradient dy, and b is the output of the sigmoid
@compute @workgroup_size(256)
fn sigmoid_backward(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let i = place(group, local);
    if 4u * i >= p.len { return; }
    store_gradient(i, b[i] * (1.0 - b[i]) * a[i]);
}

/// Stores the elements of `value` that are among the first `len` in dx.
fn store_gradient(i: u32, value: vec4<f32>) {
    let inside = vec4(4u * i) + vec4(0u, 1u, 2u, 3u) < vec4(p.len);
    dx[i] = select(dx[i], value, inside);
}

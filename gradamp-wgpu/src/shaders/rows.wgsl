// Adding a bias to every row, and summing all rows.
//
//   add_bias   y[r, c] += bias[c]
//   sum_rows   out[c] = Σ_r x[r, c]
//
// Matrices are [rows, channels]. V is a vector of four channels with V4, else one channel; `channels` counts Vs. An
// invocation computes one V in a chunk of `chunk` consecutive rows. A sum leaves one partial sum for each V and chunk,
// partials [chunks, channels]; then one workgroup for every `span` Vs, a power of two, adds them in the order of a tree.

struct Params {
    rows: u32,
    channels: u32,
    chunk: u32,
    chunks: u32,
    span: u32,
}

var<immediate> p: Params;

//@ if V4
alias V = vec4<f32>;
//@ else
alias V = f32;
//@ end

@group(0) @binding(0) var<storage, read> bias: array<V>;
@group(0) @binding(1) var<storage, read_write> y: array<V>;

@compute @workgroup_size(256)
fn add_bias(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let id = (group.y * 32768u + group.x) * 256u + local;
    let c = id % p.channels;
    let chunk = id / p.channels;
    if chunk >= p.chunks { return; }
    let first = chunk * p.chunk;
    let last = min(first + p.chunk, p.rows);
    let add = bias[c];
    for (var r = first; r < last; r++) {
        y[r * p.channels + c] += add;
    }
}

@group(0) @binding(0) var<storage, read> x: array<V>;
@group(0) @binding(1) var<storage, read_write> partials: array<V>;

@compute @workgroup_size(256)
fn sum_chunks(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let id = (group.y * 32768u + group.x) * 256u + local;
    let c = id % p.channels;
    let chunk = id / p.channels;
    if chunk >= p.chunks { return; }
    let first = chunk * p.chunk;
    let last = min(first + p.chunk, p.rows);
    var sum = V(0.0);
    var r = first;
    // Four loads are in flight at once.
    for (; r + 4u <= last; r += 4u) {
        //@ for i in 0..4
        let x{i} = x[(r + {i}u) * p.channels + c];
        //@ end
        sum += (x0 + x1) + (x2 + x3);
    }
    for (; r < last; r++) {
        sum += x[r * p.channels + c];
    }
    partials[id] = sum;
}

@group(0) @binding(0) var<storage, read> parts: array<V>;
@group(0) @binding(1) var<storage, read_write> out: array<V>;

var<workgroup> tree: array<V, 128>;

@compute @workgroup_size(128)
fn combine(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let c = (group.y * 32768u + group.x) * p.span + (local & (p.span - 1u));
    let lanes = 128u / p.span;
    var sum = V(0.0);
    if c < p.channels {
        for (var i = local / p.span; i < p.chunks; i += lanes) {
            sum += parts[i * p.channels + c];
        }
    }
    tree[local] = sum;
    for (var width = 64u; width >= p.span; width >>= 1u) {
        workgroupBarrier();
        if local < width {
            tree[local] += tree[local + width];
        }
    }
    if local < p.span && c < p.channels {
        out[c] = tree[local];
    }
}

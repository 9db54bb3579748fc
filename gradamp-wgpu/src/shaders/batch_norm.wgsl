// Batch norm over rows, alone and fused with ReLU and a residual.
//
//   statistics   mean[c] = 1/rows · Σ_r x[r, c]; variance[c] = 1/rows · Σ_r (x[r, c] − mean[c])²
//   forward      y = (x − mean) / sqrt(variance + epsilon) · gamma + beta, with RESIDUAL plus residual, with RELU rectified
//   backward     with x̂ = (x − mean) / sqrt(variance + epsilon), and dz = dy, with MASK 0 where y <= 0:
//                dbeta = Σ_r dz; dgamma = Σ_r dz · x̂;
//                dx = gamma / sqrt(variance + epsilon) · (dz − dbeta/rows − x̂ · dgamma/rows)
//
// Matrices are [rows, channels]. V is a vector of four channels with V4, else one channel; `channels` counts Vs. An
// invocation computes one V in a chunk of `chunk` consecutive rows. A sum leaves two partial results for each V and chunk,
// partials [chunks, 2, channels]; then one workgroup for every `span` Vs, a power of two, joins them in the order of a tree.

struct Params {
    rows: u32,
    channels: u32,
    chunk: u32,
    chunks: u32,
    span: u32,
    epsilon: f32,
}

var<immediate> p: Params;

//@ if V4
alias V = vec4<f32>;
//@ else
alias V = f32;
//@ end

// ---- Statistics ---------------------------------------------------------------------------------------------------

@group(0) @binding(0) var<storage, read> x: array<V>;
@group(0) @binding(1) var<storage, read_write> partials: array<V>;

// The mean and Σ (x − mean)² of a chunk in one reading, from sums of x − pivot. The pivot is one of the chunk's own values, so
// that (mean − pivot)² is at most Σ (x − mean)²: the terms that cancel are at most rows + 1 times as large as the result.
@compute @workgroup_size(256)
fn chunk_moments(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let id = (group.y * 32768u + group.x) * 256u + local;
    let c = id % p.channels;
    let chunk = id / p.channels;
    if chunk >= p.chunks { return; }
    let first = chunk * p.chunk;
    let last = min(first + p.chunk, p.rows);
    let pivot = x[first * p.channels + c];
    var sum = V(0.0);
    var squares = V(0.0);
    var r = first;
    // Four loads are in flight at once.
    for (; r + 4u <= last; r += 4u) {
        //@ for i in 0..4
        let d{i} = x[(r + {i}u) * p.channels + c] - pivot;
        //@ end
        sum += (d0 + d1) + (d2 + d3);
        squares += (d0 * d0 + d1 * d1) + (d2 * d2 + d3 * d3);
    }
    for (; r < last; r++) {
        let d = x[r * p.channels + c] - pivot;
        sum += d;
        squares += d * d;
    }
    let shift = sum / f32(last - first);
    let moment = squares - sum * shift;
    let at = 2u * chunk * p.channels + c;
    partials[at] = pivot + shift;
    partials[at + p.channels] = select(moment, V(0.0), moment < V(0.0));
}

struct Moments {
    count: f32,
    mean: V,
    squares: V,
}

// The moments of the union of two sets, each with its count, mean and Σ (x − mean)². Source: Chan, Golub, LeVeque, "Updating formulae and
// a pairwise algorithm for computing sample variances", 1979.
fn join(a: Moments, b: Moments) -> Moments {
    let count = a.count + b.count;
    let share = b.count / max(count, 1.0);
    let delta = b.mean - a.mean;
    return Moments(count, a.mean + delta * share, a.squares + b.squares + delta * (delta * (a.count * share)));
}

@group(0) @binding(0) var<storage, read> parts: array<V>;
@group(0) @binding(1) var<storage, read_write> mean_out: array<V>;
@group(0) @binding(2) var<storage, read_write> variance_out: array<V>;

var<workgroup> moments: array<Moments, 128>;

@compute @workgroup_size(128)
fn join_moments(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let c = (group.y * 32768u + group.x) * p.span + (local & (p.span - 1u));
    let lanes = 128u / p.span;
    var all = Moments(0.0, V(0.0), V(0.0));
    if c < p.channels {
        for (var i = local / p.span; i < p.chunks; i += lanes) {
            let rows = f32(min(p.chunk, p.rows - i * p.chunk));
            let at = 2u * i * p.channels + c;
            all = join(all, Moments(rows, parts[at], parts[at + p.channels]));
        }
    }
    moments[local] = all;
    for (var width = 64u; width >= p.span; width >>= 1u) {
        workgroupBarrier();
        if local < width {
            moments[local] = join(moments[local], moments[local + width]);
        }
    }
    if local < p.span && c < p.channels {
        mean_out[c] = moments[local].mean;
        variance_out[c] = moments[local].squares / f32(p.rows);
    }
}

// ---- Forward ------------------------------------------------------------------------------------------------------

@group(0) @binding(1) var<storage, read> mean: array<V>;
@group(0) @binding(2) var<storage, read> variance: array<V>;
@group(0) @binding(3) var<storage, read> gamma: array<V>;
@group(0) @binding(4) var<storage, read> beta: array<V>;
@group(0) @binding(5) var<storage, read_write> y: array<V>;
//@ if RESIDUAL
@group(0) @binding(6) var<storage, read> residual: array<V>;
//@ end

@compute @workgroup_size(256)
fn forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let id = (group.y * 32768u + group.x) * 256u + local;
    let c = id % p.channels;
    let chunk = id / p.channels;
    if chunk >= p.chunks { return; }
    let first = chunk * p.chunk;
    let last = min(first + p.chunk, p.rows);
    let centre = mean[c];
    let scale = gamma[c] * inverseSqrt(variance[c] + p.epsilon);
    let shift = beta[c];
    for (var r = first; r < last; r++) {
        let at = r * p.channels + c;
        var z = (x[at] - centre) * scale + shift;
        //@ if RESIDUAL
        z += residual[at];
        //@ end
        //@ if RELU
        z = select(z, V(0.0), z <= V(0.0)); // not max, which may lose a NaN
        //@ end
        y[at] = z;
    }
}

// ---- Backward -----------------------------------------------------------------------------------------------------

@group(0) @binding(1) var<storage, read> dy: array<V>;
@group(0) @binding(2) var<storage, read> centres: array<V>;
@group(0) @binding(3) var<storage, read_write> sums: array<V>;
//@ if MASK
@group(0) @binding(4) var<storage, read> y_out: array<V>;
//@ end

// Σ dz and Σ dz · (x − mean) of a chunk.
@compute @workgroup_size(256)
fn chunk_gradients(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let id = (group.y * 32768u + group.x) * 256u + local;
    let c = id % p.channels;
    let chunk = id / p.channels;
    if chunk >= p.chunks { return; }
    let first = chunk * p.chunk;
    let last = min(first + p.chunk, p.rows);
    let centre = centres[c];
    var plain = V(0.0);
    var product = V(0.0);
    var r = first;
    for (; r + 2u <= last; r += 2u) {
        //@ for i in 0..2
        let at{i} = (r + {i}u) * p.channels + c;
        var dz{i} = dy[at{i}];
        let d{i} = x[at{i}] - centre;
        //@ if MASK
        dz{i} = select(V(0.0), dz{i}, y_out[at{i}] > V(0.0));
        //@ end
        //@ end
        plain += dz0 + dz1;
        product += dz0 * d0 + dz1 * d1;
    }
    if r < last {
        let at = r * p.channels + c;
        var dz = dy[at];
        //@ if MASK
        dz = select(V(0.0), dz, y_out[at] > V(0.0));
        //@ end
        plain += dz;
        product += dz * (x[at] - centre);
    }
    let at = 2u * chunk * p.channels + c;
    sums[at] = plain;
    sums[at + p.channels] = product;
}

@group(0) @binding(5) var<storage, read_write> dgamma: array<V>;
@group(0) @binding(6) var<storage, read_write> dbeta: array<V>;
// [4, channels], the scale, shift, slope and mean of dx = scale · (dz − shift − (x − mean) · slope).
@group(0) @binding(4) var<storage, read_write> factors: array<V>;

struct Gradients {
    plain: V,
    product: V,
}

var<workgroup> gradients: array<Gradients, 128>;

@compute @workgroup_size(128)
fn join_gradients(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let c = (group.y * 32768u + group.x) * p.span + (local & (p.span - 1u));
    let lanes = 128u / p.span;
    var all = Gradients(V(0.0), V(0.0));
    if c < p.channels {
        for (var i = local / p.span; i < p.chunks; i += lanes) {
            let at = 2u * i * p.channels + c;
            all.plain += parts[at];
            all.product += parts[at + p.channels];
        }
    }
    gradients[local] = all;
    for (var width = 64u; width >= p.span; width >>= 1u) {
        workgroupBarrier();
        if local < width {
            gradients[local].plain += gradients[local + width].plain;
            gradients[local].product += gradients[local + width].product;
        }
    }
    if local < p.span && c < p.channels {
        let inverse = inverseSqrt(variance[c] + p.epsilon);
        let plain = gradients[local].plain;
        let product = gradients[local].product * inverse;
        dbeta[c] = plain;
        dgamma[c] = product;
        factors[c] = inverse * gamma[c];
        factors[p.channels + c] = plain / f32(p.rows);
        factors[2u * p.channels + c] = inverse * product / f32(p.rows);
        factors[3u * p.channels + c] = mean[c];
    }
}

@group(0) @binding(2) var<storage, read> factor: array<V>;
@group(0) @binding(3) var<storage, read_write> dx: array<V>;

@compute @workgroup_size(256)
fn backward(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let id = (group.y * 32768u + group.x) * 256u + local;
    let c = id % p.channels;
    let chunk = id / p.channels;
    if chunk >= p.chunks { return; }
    let first = chunk * p.chunk;
    let last = min(first + p.chunk, p.rows);
    let scale = factor[c];
    let shift = factor[p.channels + c];
    let slope = factor[2u * p.channels + c];
    let centre = factor[3u * p.channels + c];
    for (var r = first; r < last; r++) {
        let at = r * p.channels + c;
        var dz = dy[at];
        //@ if MASK
        dz = select(V(0.0), dz, y_out[at] > V(0.0));
        //@ end
        dx[at] = scale * (dz - shift - (x[at] - centre) * slope);
    }
}

// Pooling: the maximum of each window, and the mean over all pixels. Each kernel stands above its backward kernel.
//
//   max_pool2d            y[n, i, j, c] = max_{p, q < size} x[n, i·stride + p, j·stride + q, c]; index = its p·size + q
//   max_pool2d_backward   dx[n, r, s, c] = Σ dy[n, i, j, c] over the windows whose index is the place of (r, s)
//   mean_pool             y[n, c] = 1/pixels · Σ_p x[n, p, c]
//   mean_pool_backward    dx[n, p, c] = dy[n, c] / pixels
//
// Images are [n, h, w, c]. V is a vector of four channels with V4, else one channel; `channels` counts Vs. An invocation
// computes one V in a chunk of `chunk` consecutive pixels of the output, which has `rows` pixels. In mean_pool and its
// backward kernel a chunk is an image.

struct Params {
    rows: u32,
    channels: u32,
    chunk: u32,
    chunks: u32,
    span: u32,
    h_in: u32,
    w_in: u32,
    h_out: u32,
    w_out: u32,
    size: u32,
    stride: u32,
}

var<immediate> p: Params;

//@ if V4
alias V = vec4<f32>;
alias U = vec4<u32>;
alias B = vec4<bool>;
//@ else
alias V = f32;
alias U = u32;
alias B = bool;
//@ end

// Looks at the bits, because drivers may assume that no number differs from itself.
fn is_nan(x: V) -> B {
    return (bitcast<U>(x) & U(0x7fffffffu)) > U(0x7f800000u);
}

@group(0) @binding(0) var<storage, read> x: array<V>;
@group(0) @binding(1) var<storage, read_write> y: array<V>;
@group(0) @binding(2) var<storage, read_write> index: array<V>;

// The first among equals: only a larger value, or a NaN, replaces the current one.
@compute @workgroup_size(256)
fn max_pool2d(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let id = (group.y * 32768u + group.x) * 256u + local;
    let c = id % p.channels;
    let chunk = id / p.channels;
    if chunk >= p.chunks { return; }
    let first = chunk * p.chunk;
    let last = min(first + p.chunk, p.rows);
    var at = split(first, p.h_out, p.w_out);
    for (var pixel = first; pixel < last; pixel++) {
        let corner = ((at.x * p.h_in + at.y * p.stride) * p.w_in + at.z * p.stride) * p.channels + c;
        var best = x[corner];
        var place = V(0.0);
        for (var a = 0u; a < p.size; a++) {
            for (var b = 0u; b < p.size; b++) {
                let value = x[corner + (a * p.w_in + b) * p.channels];
                let better = (value > best) | is_nan(value);
                best = select(best, value, better);
                place = select(place, V(f32(a * p.size + b)), better);
            }
        }
        y[pixel * p.channels + c] = best;
        index[pixel * p.channels + c] = place;
        at = following(at, p.h_out, p.w_out);
    }
}

@group(0) @binding(0) var<storage, read> places: array<V>;
@group(0) @binding(1) var<storage, read> dy: array<V>;
@group(0) @binding(2) var<storage, read_write> dx: array<V>;

@compute @workgroup_size(256)
fn max_pool2d_backward(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let id = (group.y * 32768u + group.x) * 256u + local;
    let c = id % p.channels;
    let chunk = id / p.channels;
    if chunk >= p.chunks { return; }
    let first = chunk * p.chunk;
    let last = min(first + p.chunk, p.rows);
    var at = split(first, p.h_in, p.w_in);
    for (var pixel = first; pixel < last; pixel++) {
        let down = last_window(at.y, p.stride);
        let across = last_window(at.z, p.stride);
        var sum = V(0.0);
        // From one window to the one before it, the pixel's place grows by the stride. The comparison below leaves out
        // windows behind the last one, and before the first one, whose number wraps around.
        var i = down.x;
        for (var a = down.y; a < p.size; a += p.stride) {
            var j = across.x;
            for (var b = across.y; b < p.size; b += p.stride) {
                if i < p.h_out && j < p.w_out {
                    let window = ((at.x * p.h_out + i) * p.w_out + j) * p.channels + c;
                    sum += select(V(0.0), dy[window], places[window] == V(f32(a * p.size + b)));
                }
                j--;
            }
            i--;
        }
        dx[pixel * p.channels + c] = sum;
        at = following(at, p.h_in, p.w_in);
    }
}

// x is [chunks, chunk pixels, channels], y is [chunks, channels].
@compute @workgroup_size(256)
fn mean_pool(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let id = (group.y * 32768u + group.x) * 256u + local;
    let c = id % p.channels;
    let n = id / p.channels;
    if n >= p.chunks { return; }
    let first = n * p.chunk;
    let last = first + p.chunk;
    var sum = V(0.0);
    for (var r = first; r < last; r++) {
        sum += x[r * p.channels + c];
    }
    y[id] = sum / f32(p.chunk);
}

@compute @workgroup_size(256)
fn mean_pool_backward(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let id = (group.y * 32768u + group.x) * 256u + local;
    let c = id % p.channels;
    let n = id / p.channels;
    if n >= p.chunks { return; }
    let share = x[id] / f32(p.chunk);
    let first = n * p.chunk;
    let last = first + p.chunk;
    for (var r = first; r < last; r++) {
        y[r * p.channels + c] = share;
    }
}

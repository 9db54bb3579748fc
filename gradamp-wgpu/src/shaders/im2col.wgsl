// im2col, which copies the windows of images into the rows of a matrix, and its transpose col2im.
//
//   im2col   columns[(n, i, j), (a, b, c)] = x[n, i·stride + a − padding, j·stride + b − padding, c], 0 outside x, and 0
//            in the elements of a row behind its window
//   col2im   dx[n, r, s, c] = Σ columns[(n, i, j), (a, b, c)] over all windows (i, j) that hold (r, s) at (a, b)
//
// x and dx are [n, h_in, w_in, c], and the kernels start at image `image` of them; columns are [pixels, kh·kw·c] of the
// images computed. V is a vector of four channels with V4, else one channel; `channels` and `depth` count Vs. The output,
// columns or dx, is seen as [rows, channels], and an invocation writes one V in a chunk of `chunk` consecutive rows.

struct Params {
    rows: u32,
    channels: u32,
    chunk: u32,
    chunks: u32,
    span: u32,
    image: u32,
    h_in: u32,
    w_in: u32,
    depth: u32,
    kh: u32,
    kw: u32,
    h_out: u32,
    w_out: u32,
    stride: u32,
    padding: u32,
}

var<immediate> p: Params;

//@ if V4
alias V = vec4<f32>;
//@ else
alias V = f32;
//@ end

@group(0) @binding(0) var<storage, read> x: array<V>;
@group(0) @binding(1) var<storage, read_write> columns: array<V>;

@compute @workgroup_size(256)
fn im2col(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let id = (group.y * 32768u + group.x) * 256u + local;
    let column = id % p.channels;
    let chunk = id / p.channels;
    if chunk >= p.chunks { return; }
    let first = chunk * p.chunk;
    let last = min(first + p.chunk, p.rows);
    let tap = split(column, p.kw, p.depth);
    let a = tap.x;
    let b = tap.y;
    let c = tap.z;
    var place = split(first, p.h_out, p.w_out);
    for (var row = first; row < last; row++) {
        // Left of the image and above it, these wrap around to large numbers.
        let r = place.y * p.stride + a - p.padding;
        let s = place.z * p.stride + b - p.padding;
        var value = V(0.0);
        if r < p.h_in && s < p.w_in && a < p.kh {
            value = x[(((p.image + place.x) * p.h_in + r) * p.w_in + s) * p.depth + c];
        }
        columns[row * p.channels + column] = value;
        place = following(place, p.h_out, p.w_out);
    }
}

@group(0) @binding(0) var<storage, read> patches: array<V>;
@group(0) @binding(1) var<storage, read_write> dx: array<V>;

@compute @workgroup_size(256)
fn col2im(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let id = (group.y * 32768u + group.x) * 256u + local;
    let c = id % p.channels;
    let chunk = id / p.channels;
    if chunk >= p.chunks { return; }
    let first = chunk * p.chunk;
    let last = min(first + p.chunk, p.rows);
    var place = split(first, p.h_in, p.w_in);
    for (var pixel = first; pixel < last; pixel++) {
        let down = last_window(place.y + p.padding, p.stride);
        let across = last_window(place.z + p.padding, p.stride);
        var sum = V(0.0);
        // From one window to the one before it, the pixel's place grows by the stride. The comparison below leaves out
        // windows behind the last one, and before the first one, whose number wraps around.
        var i = down.x;
        for (var a = down.y; a < p.kh; a += p.stride) {
            var j = across.x;
            for (var b = across.y; b < p.kw; b += p.stride) {
                if i < p.h_out && j < p.w_out {
                    let row = (place.x * p.h_out + i) * p.w_out + j;
                    sum += patches[((row * p.kh + a) * p.kw + b) * p.depth + c];
                }
                j--;
            }
            i--;
        }
        dx[(p.image * p.h_in * p.w_in + pixel) * p.channels + c] = sum;
        place = following(place, p.h_in, p.w_in);
    }
}

// The windows of images as rows of a matrix, and back.
//
//   im2col   columns[(n, i, j), (a, b, c)] = x[n, i·stride + a − padding, j·stride + b − padding, c], 0 outside of x and
//            in what a row has behind its window
//   col2im   dx[n, r, s, c] = Σ columns[(n, i, j), (a, b, c)] over windows (i, j) that have (r, s) at (a, b)
//
// x and dx are [n, h_in, w_in, c], of which the images from `image` on are meant; columns are [pixels, kh·kw·c] of those
// images alone. V is four channels where V4, else one; `channels` and `depth` count Vs. An invocation takes a strip: one V
// of a row in `chunk` consecutive rows of what it writes, columns or dx seen as [rows, channels].

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
    let strip = (group.y * 32768u + group.x) * 256u + local;
    let column = strip % p.channels;
    let chunk = strip / p.channels;
    if chunk >= p.chunks { return; }
    let first = chunk * p.chunk;
    let last = min(first + p.chunk, p.rows);
    let tap = split(column, p.kw, p.depth);
    let a = tap.x;
    let b = tap.y;
    let c = tap.z;
    var place = split(first, p.h_out, p.w_out);
    for (var row = first; row < last; row++) {
        // Beside the image on the left or above, these wrap around and are large.
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
    let strip = (group.y * 32768u + group.x) * 256u + local;
    let c = strip % p.channels;
    let chunk = strip / p.channels;
    if chunk >= p.chunks { return; }
    let first = chunk * p.chunk;
    let last = min(first + p.chunk, p.rows);
    var place = split(first, p.h_in, p.w_in);
    for (var pixel = first; pixel < last; pixel++) {
        let down = last_window(place.y + p.padding, p.stride);
        let across = last_window(place.z + p.padding, p.stride);
        var sum = V(0.0);
        // From window to window the pixel lies a stride further in. Windows beyond the last, or before the first, whose
        // number wraps, are none.
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

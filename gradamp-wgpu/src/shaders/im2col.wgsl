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
    let c = column % p.depth;
    let b = column / p.depth % p.kw;
    let a = column / p.depth / p.kw;
    var j = first % p.w_out;
    var i = first / p.w_out % p.h_out;
    var n = first / p.w_out / p.h_out + p.image;
    for (var row = first; row < last; row++) {
        // Beside the image on the left or above, these wrap around and are large.
        let r = i * p.stride + a - p.padding;
        let s = j * p.stride + b - p.padding;
        var value = V(0.0);
        if r < p.h_in && s < p.w_in && a < p.kh {
            value = x[((n * p.h_in + r) * p.w_in + s) * p.depth + c];
        }
        columns[row * p.channels + column] = value;
        j++;
        if j == p.w_out {
            j = 0u;
            i++;
            if i == p.h_out {
                i = 0u;
                n++;
            }
        }
    }
}

@group(0) @binding(0) var<storage, read> patches: array<V>;
@group(0) @binding(1) var<storage, read_write> dx: array<V>;

// Windows that have a padded pixel in them, along one axis: from the first that ends behind it to before the first that
// begins behind it.
fn windows(pixel: u32, size: u32, count: u32) -> vec2<u32> {
    var first = 0u;
    if pixel >= size {
        first = (pixel - size) / p.stride + 1u;
    }
    return vec2(first, min(pixel / p.stride + 1u, count));
}

@compute @workgroup_size(256)
fn col2im(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let strip = (group.y * 32768u + group.x) * 256u + local;
    let c = strip % p.channels;
    let chunk = strip / p.channels;
    if chunk >= p.chunks { return; }
    let first = chunk * p.chunk;
    let last = min(first + p.chunk, p.rows);
    let image = p.h_in * p.w_in;
    for (var pixel = first; pixel < last; pixel++) {
        let n = pixel / image;
        let r = pixel / p.w_in % p.h_in + p.padding;
        let s = pixel % p.w_in + p.padding;
        let rows = windows(r, p.kh, p.h_out);
        let columns = windows(s, p.kw, p.w_out);
        var sum = V(0.0);
        for (var i = rows.x; i < rows.y; i++) {
            for (var j = columns.x; j < columns.y; j++) {
                let row = (n * p.h_out + i) * p.w_out + j;
                let place = (r - i * p.stride) * p.kw + s - j * p.stride;
                sum += patches[(row * p.kh * p.kw + place) * p.depth + c];
            }
        }
        dx[(p.image * image + pixel) * p.channels + c] = sum;
    }
}

// Convolution as an implicit matrix product in tiles of workgroup memory.
//
// y[n, i, j, o] = Σ_{p, q, c} x[n, i·stride + p − padding, j·stride + q − padding, c] · w[p, q, c, o]
//
// x [n, h_in, w_in, c_in], w [kh, kw, c_in, c_out], y [n, h_out, w_out, c_out], channels in quads (vec4). A workgroup of
// 16 x 16 invocations computes {16*TM} rows times {16*TN} columns of the product, an invocation {TM} x {TN} of them. Sixteen
// of the summed dimension are in workgroup memory at a time; the next sixteen are on their way while those are multiplied.
//
// Only constants divide within the loop over the sum, and they are powers of two: places are counted up from step to step.
//
// With cooperative matrices the tiles hold single f16, and the workgroup's subgroups, some of them side by side, multiply
// and add square fragments of them; all tiles must then be whole.

struct Params {
    n: u32, h_in: u32, w_in: u32, c_in: u32,
    kh: u32, kw: u32, c_out: u32, stride: u32,
    padding: u32, h_out: u32, w_out: u32,
    // Pixels that the rows (or the sum) walk over; tiles of rows and of columns.
    pixels: u32, blocks: u32, tiles: u32,
    // Weight gradient: pixels of one part of the sum. Input gradient: the parity of the pixels, row · 65536 + column.
    part: u32, parity: u32,
    // Parts of the sum, and products in a row: their operands and results lie one behind the other.
    parts: u32, batches: u32,
}

var<immediate> p: Params;

//@ if COOPERATIVE
alias Stored = f16;
alias FragmentA = coop_mat{C}x{C}<f16, A>;
alias FragmentB = coop_mat{C}x{C}<f16, B>;
alias FragmentC = coop_mat{C}x{C}<f32, C>;
//@ else
//@ if HALF
alias Stored = vec4<f16>;
//@ else
alias Stored = vec4<f32>;
//@ end
//@ end

//@ if V4
@group(0) @binding(0) var<storage, read> a: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> b: array<vec4<f32>>;

/// Four channels of a row of `channels`; the caller sees to it that the row is there.
fn load_a(row: u32, quad: u32, channels: u32) -> vec4<f32> {
    return a[row * (channels >> 2u) + quad];
}

fn load_b(row: u32, quad: u32, channels: u32) -> vec4<f32> {
    return b[row * (channels >> 2u) + quad];
}
//@ else
@group(0) @binding(0) var<storage, read> a: array<f32>;
@group(0) @binding(1) var<storage, read> b: array<f32>;

/// Four channels of a row of `channels`, 0 beyond its end; the caller sees to it that the row is there.
fn load_a(row: u32, quad: u32, channels: u32) -> vec4<f32> {
    let at = row * channels + 4u * quad;
    let last = row * channels + channels - 1u;
    let inside = vec4(4u * quad) + vec4(0u, 1u, 2u, 3u) < vec4(channels);
    let value = vec4(a[min(at, last)], a[min(at + 1u, last)], a[min(at + 2u, last)], a[min(at + 3u, last)]);
    return select(vec4(0.0), value, inside);
}

fn load_b(row: u32, quad: u32, channels: u32) -> vec4<f32> {
    let at = row * channels + 4u * quad;
    let last = row * channels + channels - 1u;
    let inside = vec4(4u * quad) + vec4(0u, 1u, 2u, 3u) < vec4(channels);
    let value = vec4(b[min(at, last)], b[min(at + 1u, last)], b[min(at + 2u, last)], b[min(at + 3u, last)]);
    return select(vec4(0.0), value, inside);
}
//@ end

//@ if SCALAR_OUT
@group(0) @binding(2) var<storage, read_write> out: array<f32>;

fn store(row: u32, quad: u32, channels: u32, value: vec4<f32>) {
    let at = row * channels + 4u * quad;
    //@ for i in 0..4
    if 4u * quad + {i}u < channels { out[at + {i}u] = value[{i}]; }
    //@ end
}
//@ else
@group(0) @binding(2) var<storage, read_write> out: array<vec4<f32>>;

fn store(row: u32, quad: u32, channels: u32, value: vec4<f32>) {
    if 4u * quad < channels { out[row * (channels >> 2u) + quad] = value; }
}
//@ end

var<workgroup> tile_a: array<Stored, {SIZE_A}>;
var<workgroup> tile_b: array<Stored, {SIZE_B}>;

//@ if COOPERATIVE
/// Rows of {LINE_A} and of {LINE_B}: padded against bank conflicts.
fn put_a(line: u32, quad: u32, value: vec4<f32>) {
    let at = line * {LINE_A}u + 4u * quad;
    //@ for i in 0..4
    tile_a[at + {i}u] = f16(value[{i}]);
    //@ end
}

fn put_b(line: u32, quad: u32, value: vec4<f32>) {
    let at = line * {LINE_B}u + 4u * quad;
    //@ for i in 0..4
    tile_b[at + {i}u] = f16(value[{i}]);
    //@ end
}
//@ else
fn put_a(line: u32, quad: u32, value: vec4<f32>) {
    tile_a[line * {LINE_A}u + quad] = Stored(value);
}

fn put_b(line: u32, quad: u32, value: vec4<f32>) {
    tile_b[line * {LINE_B}u + quad] = Stored(value);
}
//@ end

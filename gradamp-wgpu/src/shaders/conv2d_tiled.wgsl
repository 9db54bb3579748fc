// Convolution as an implicit matrix product, whose operands go through tiles in workgroup memory.
//
// y[n, i, j, o] = Σ_{p, q, c} x[n, i·stride + p − padding, j·stride + q − padding, c] · w[p, q, c, o]
//
// x [n, h_in, w_in, c_in], w [kh, kw, c_in, c_out], y [n, h_out, w_out, c_out], channels in quads (vec4). A workgroup of
// 16 x 16 invocations computes {16*TM} rows times {16*TN} columns of the product, and an invocation {TM} x {TN} of them. The
// sum advances in steps of sixteen: the operands of one step are in workgroup memory, and those of the next step are being
// loaded while the current ones are multiplied.
//
// The loop over the sum divides by constants only, which are powers of two: positions are counted up from step to step.
//
// With cooperative matrices the tiles hold single f16 values, and each subgroup of the workgroup multiplies and adds square
// fragments of them. All tiles must then be whole.

struct Params {
    n: u32, h_in: u32, w_in: u32, c_in: u32,
    kh: u32, kw: u32, c_out: u32, stride: u32,
    padding: u32, h_out: u32, w_out: u32,
    // The number of pixels that the rows (or the sum) visit, and of tiles of rows and of columns.
    pixels: u32, blocks: u32, tiles: u32,
    // For the weight gradient the pixels of one part of the sum; for the input gradient the parity of the pixels,
    // row · 65536 + column.
    part: u32, parity: u32,
    // The number of parts of the sum, and of products, whose operands and results are stored one after the other.
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

/// Four channels of row `row`, of `channels` channels. The caller makes sure that the row exists.
fn load_a(row: u32, quad: u32, channels: u32) -> vec4<f32> {
    return a[row * (channels >> 2u) + quad];
}

fn load_b(row: u32, quad: u32, channels: u32) -> vec4<f32> {
    return b[row * (channels >> 2u) + quad];
}
//@ else
@group(0) @binding(0) var<storage, read> a: array<f32>;
@group(0) @binding(1) var<storage, read> b: array<f32>;

/// Four channels of row `row`, of `channels` channels; 0 beyond the row. The caller makes sure that the row exists.
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
/// The lines have {LINE_A} and {LINE_B} values, which includes padding against bank conflicts.
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

//@ if HALF
enable f16;
//@ end
//@ if COOPERATIVE
enable wgpu_cooperative_matrix;
//@ end
// Convolution as an implicit matrix product in tiles of workgroup memory.
//
// y[n, i, j, o] = Σ_{p, q, c} x[n, i·stride + p − padding, j·stride + q − padding, c] · w[p, q, c, o]
//
// x [n, h_in, w_in, c_in], w [kh, kw, c_in, c_out], y [n, h_out, w_out, c_out], channels in quads (vec4). A workgroup of
// 16 x 16 invocations computes {16*TM} rows times {16*TN} columns of the product, an invocation {TM} x {TN} of them. Sixteen
// of the summed dimension are in workgroup memory at a time; the next sixteen are on their way while those are multiplied.
//
// With cooperative matrices the tiles hold single f16, and eight subgroups of 32, four down and two across, multiply and
// add square fragments of them; all tiles must then be whole.

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

//@ if FORWARD
// tile_b [16 of k][4·TN quads of columns], tile_a [16·TM rows][4 quads of k]

//@ if BIAS
@group(0) @binding(3) var<storage, read> bias: array<f32>;

fn bias_quad(quad: u32) -> vec4<f32> {
    let last = p.c_out - 1u;
    let at = 4u * quad;
    return vec4(bias[min(at, last)], bias[min(at + 1u, last)], bias[min(at + 2u, last)], bias[min(at + 3u, last)]);
}
//@ else
fn bias_quad(quad: u32) -> vec4<f32> {
    return vec4(0.0);
}
//@ end

/// y: rows are pixels, columns output channels, the sum runs over (p, q, c). a is x, b is w.
@compute @workgroup_size(256)
fn forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let unit = group.y * 32768u + group.x;
    let batch = unit / (p.blocks * p.tiles);
    if batch >= p.batches { return; }
    let first_row = (unit % p.blocks) * {16*TM}u;
    let first_quad = ((unit / p.blocks) % p.tiles) * {4*TN}u;
    let down = local >> 4u;
    let across = local & 15u;
    //@ if COOPERATIVE
    let fragment_row = (local >> 6u) * {4*TM}u;
    let fragment_column = ((local >> 5u) & 1u) * {8*TN}u;
    let channels = p.c_out;
    //@ end
    let plane = p.h_out * p.w_out;
    //@ for r in 0..{LOADS_A}
    let m{r} = first_row + (local >> 2u) + {64*r}u;
    let there{r} = m{r} < p.pixels;
    let image{r} = (batch * p.n + m{r} / plane) * p.h_in;
    let top{r} = ((m{r} % plane) / p.w_out) * p.stride - p.padding; // wraps below 0: one comparison finds what is outside
    let left{r} = (m{r} % p.w_out) * p.stride - p.padding;
    var next_a{r} = vec4(0.0);
    //@ end
    //@ for r in 0..{LOADS_B}
    var next_b{r} = vec4(0.0);
    //@ end
    //@ if COOPERATIVE
    //@ for i in 0..{FRAGMENTS_A}
    //@ for j in 0..{FRAGMENTS_B}
    var sum{i}_{j} = FragmentC();
    //@ end
    //@ end
    //@ else
    //@ for j in 0..{QUADS}
    let start{j} = bias_quad(first_quad + across + {16*j}u);
    //@ for i in 0..{TM}
    var y{i}_{j} = start{j};
    //@ end
    //@ end
    //@ end
    let quads = (p.c_in + 3u) >> 2u;
    let chunks = (quads + 3u) >> 2u;
    let steps = p.kh * p.kw * chunks;
    //@ if COOPERATIVE
    for (var step = 0u; step < steps; step++) {
    //@ else
    for (var step = 0u; step <= steps; step++) {
    //@ end
        if step < steps {
            let tap = step / chunks;
            let chunk = step % chunks;
            let quad = 4u * chunk + (local & 3u);
            //@ for r in 0..{LOADS_A}
            {
                let row = top{r} + tap / p.kw;
                let column = left{r} + tap % p.kw;
                next_a{r} = vec4(0.0);
                if there{r} && row < p.h_in && column < p.w_in && quad < quads {
                    next_a{r} = load_a((image{r} + row) * p.w_in + column, quad, p.c_in);
                }
            }
            //@ end
            //@ for r in 0..{LOADS_B}
            {
                let e = local + {256*r}u;
                let c = 16u * chunk + e / {4*TN}u;
                let column_quad = first_quad + e % {4*TN}u;
                next_b{r} = vec4(0.0);
                if c < p.c_in && 4u * column_quad < p.c_out {
                    next_b{r} = load_b((batch * p.kh * p.kw + tap) * p.c_in + c, column_quad, p.c_out);
                }
            }
            //@ end
        }
        //@ if COOPERATIVE
        // These need control flow that is uniform beyond doubt, so nothing is on its way meanwhile.
        //@ for r in 0..{LOADS_A}
        put_a((local >> 2u) + {64*r}u, local & 3u, next_a{r});
        //@ end
        //@ for r in 0..{LOADS_B}
        put_b((local + {256*r}u) / {4*TN}u, local % {4*TN}u, next_b{r});
        //@ end
        workgroupBarrier();
        //@ for k in 0..{STEPS}
        {
            //@ for i in 0..{FRAGMENTS_A}
            let at_a{i} = (fragment_row + {C*i}u) * {LINE_A}u + {C*k}u;
            let a{i} = coopLoadT<FragmentA>(&tile_a[at_a{i}], {LINE_A}u);
            //@ end
            //@ for j in 0..{FRAGMENTS_B}
            let at_b{j} = {C*k}u * {LINE_B}u + fragment_column + {C*j}u;
            let b{j} = coopLoadT<FragmentB>(&tile_b[at_b{j}], {LINE_B}u);
            //@ for i in 0..{FRAGMENTS_A}
            sum{i}_{j} = coopMultiplyAdd(a{i}, b{j}, sum{i}_{j});
            //@ end
            //@ end
        }
        //@ end
        workgroupBarrier();
        //@ else
        if step > 0u {
            //@ for q in 0..4
            {
                //@ for i in 0..{TM}
                let a{i} = vec4<f32>(tile_a[(down + {16*i}u) * 4u + {q}u]);
                //@ end
                //@ for k in 0..4
                //@ for j in 0..{QUADS}
                let b{k}_{j} = vec4<f32>(tile_b[{16*q*TN+4*k*TN}u + across + {16*j}u]);
                //@ for i in 0..{TM}
                y{i}_{j} += a{i}[{k}] * b{k}_{j};
                //@ end
                //@ end
                //@ end
            }
            //@ end
            workgroupBarrier();
        }
        if step < steps {
            //@ for r in 0..{LOADS_A}
            put_a((local >> 2u) + {64*r}u, local & 3u, next_a{r});
            //@ end
            //@ for r in 0..{LOADS_B}
            put_b((local + {256*r}u) / {4*TN}u, local % {4*TN}u, next_b{r});
            //@ end
            workgroupBarrier();
        }
        //@ end
    }
    //@ if COOPERATIVE
    //@ for i in 0..{FRAGMENTS_A}
    //@ for j in 0..{FRAGMENTS_B}
    let at{i}_{j} = (batch * p.pixels + first_row + fragment_row + {C*i}u) * channels + 4u * first_quad + fragment_column + {C*j}u;
    coopStoreT(sum{i}_{j}, &out[at{i}_{j}], channels);
    //@ end
    //@ end
    //@ else
    //@ for i in 0..{TM}
    if first_row + down + {16*i}u < p.pixels {
        //@ for j in 0..{QUADS}
        store(batch * p.pixels + first_row + down + {16*i}u, first_quad + across + {16*j}u, p.c_out, y{i}_{j});
        //@ end
    }
    //@ end
    //@ end
}
//@ end

//@ if INPUT
// tile_a [16·TM rows][4 quads of k], tile_b [16·TN columns][4 quads of k and one of padding against bank conflicts]

/// dx[n, i, j, c] = Σ_{p, q, o} dy[n, (i + padding − p)/stride, (j + padding − q)/stride, o] · w[p, q, c, o]
///
/// Only the taps whose quotients are whole count: they are the same for all pixels of one parity (i mod stride,
/// j mod stride), and a dispatch computes one parity. Rows are its pixels, columns input channels. a is dy, b is w.
@compute @workgroup_size(256)
fn backward_input(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let unit = group.y * 32768u + group.x;
    let batch = unit / (p.blocks * p.tiles);
    if batch >= p.batches { return; }
    let first_row = (unit % p.blocks) * {16*TM}u;
    let first_column = ((unit / p.blocks) % p.tiles) * {16*TN}u;
    let down = local >> 4u;
    let across = local & 15u;
    //@ if COOPERATIVE
    let fragment_row = (local >> 6u) * {4*TM}u;
    let fragment_column = ((local >> 5u) & 1u) * {8*TN}u;
    let channels = p.c_in;
    //@ end
    let parity_row = p.parity >> 16u;
    let parity_column = p.parity & 65535u;
    let height = (p.h_in - parity_row + p.stride - 1u) / p.stride;
    let width = (p.w_in - parity_column + p.stride - 1u) / p.stride;
    let tap_row0 = (parity_row + p.padding) % p.stride;
    let tap_column0 = (parity_column + p.padding) % p.stride;
    //@ for r in 0..{LOADS_A}
    let m{r} = first_row + (local >> 2u) + {64*r}u;
    let there{r} = m{r} < p.pixels;
    let image{r} = (batch * p.n + m{r} / (height * width)) * p.h_out;
    let bottom{r} = (m{r} % (height * width)) / width + (parity_row + p.padding) / p.stride;
    let right{r} = m{r} % width + (parity_column + p.padding) / p.stride;
    var next_a{r} = vec4(0.0);
    //@ end
    //@ for r in 0..{LOADS_B}
    var next_b{r} = vec4(0.0);
    //@ end
    //@ if COOPERATIVE
    //@ for i in 0..{FRAGMENTS_A}
    //@ for j in 0..{FRAGMENTS_B}
    var sum{i}_{j} = FragmentC();
    //@ end
    //@ end
    //@ else
    //@ for i in 0..{TM}
    //@ for j in 0..{TN}
    var dx{i}_{j} = 0.0;
    //@ end
    //@ end
    //@ end
    let quads = (p.c_out + 3u) >> 2u;
    let chunks = (quads + 3u) >> 2u;
    let tap_rows = (max(p.kh, tap_row0) - tap_row0 + p.stride - 1u) / p.stride;
    let tap_columns = (max(p.kw, tap_column0) - tap_column0 + p.stride - 1u) / p.stride;
    let steps = tap_rows * tap_columns * chunks;
    //@ if COOPERATIVE
    for (var step = 0u; step < steps; step++) {
    //@ else
    for (var step = 0u; step <= steps; step++) {
    //@ end
        if step < steps {
            let up = step / (tap_columns * chunks);
            let back = (step / chunks) % tap_columns;
            let tap = (tap_row0 + up * p.stride) * p.kw + tap_column0 + back * p.stride;
            let quad = 4u * (step % chunks) + (local & 3u);
            //@ for r in 0..{LOADS_A}
            {
                let row = bottom{r} - up;
                let column = right{r} - back;
                next_a{r} = vec4(0.0);
                if there{r} && row < p.h_out && column < p.w_out && quad < quads {
                    next_a{r} = load_a((image{r} + row) * p.w_out + column, quad, p.c_out);
                }
            }
            //@ end
            //@ for r in 0..{LOADS_B}
            {
                let c = first_column + (local >> 2u) + {64*r}u;
                next_b{r} = vec4(0.0);
                if c < p.c_in && quad < quads {
                    next_b{r} = load_b((batch * p.kh * p.kw + tap) * p.c_in + c, quad, p.c_out);
                }
            }
            //@ end
        }
        //@ if COOPERATIVE
        // These need control flow that is uniform beyond doubt, so nothing is on its way meanwhile.
        //@ for r in 0..{LOADS_A}
        put_a((local >> 2u) + {64*r}u, local & 3u, next_a{r});
        //@ end
        //@ for r in 0..{LOADS_B}
        put_b((local >> 2u) + {64*r}u, local & 3u, next_b{r});
        //@ end
        workgroupBarrier();
        //@ for k in 0..{STEPS}
        {
            //@ for i in 0..{FRAGMENTS_A}
            let at_a{i} = (fragment_row + {C*i}u) * {LINE_A}u + {C*k}u;
            let a{i} = coopLoadT<FragmentA>(&tile_a[at_a{i}], {LINE_A}u);
            //@ end
            //@ for j in 0..{FRAGMENTS_B}
            let at_b{j} = (fragment_column + {C*j}u) * {LINE_B}u + {C*k}u;
            let b{j} = coopLoad<FragmentB>(&tile_b[at_b{j}], {LINE_B}u);
            //@ for i in 0..{FRAGMENTS_A}
            sum{i}_{j} = coopMultiplyAdd(a{i}, b{j}, sum{i}_{j});
            //@ end
            //@ end
        }
        //@ end
        workgroupBarrier();
        //@ else
        if step > 0u {
            //@ for q in 0..4
            {
                //@ for j in 0..{TN}
                let b{j} = vec4<f32>(tile_b[(across + {16*j}u) * {LINE_B}u + {q}u]);
                //@ end
                //@ for i in 0..{TM}
                let a{i} = vec4<f32>(tile_a[(down + {16*i}u) * 4u + {q}u]);
                //@ for j in 0..{TN}
                dx{i}_{j} += dot(a{i}, b{j});
                //@ end
                //@ end
            }
            //@ end
            workgroupBarrier();
        }
        if step < steps {
            //@ for r in 0..{LOADS_A}
            put_a((local >> 2u) + {64*r}u, local & 3u, next_a{r});
            //@ end
            //@ for r in 0..{LOADS_B}
            put_b((local >> 2u) + {64*r}u, local & 3u, next_b{r});
            //@ end
            workgroupBarrier();
        }
        //@ end
    }
    //@ if COOPERATIVE
    //@ for i in 0..{FRAGMENTS_A}
    //@ for j in 0..{FRAGMENTS_B}
    let at{i}_{j} = (batch * p.pixels + first_row + fragment_row + {C*i}u) * channels + first_column + fragment_column + {C*j}u;
    coopStoreT(sum{i}_{j}, &out[at{i}_{j}], channels);
    //@ end
    //@ end
    //@ else
    //@ for i in 0..{TM}
    {
        let m = first_row + down + {16*i}u;
        if m < p.pixels {
            let image = (batch * p.n + m / (height * width)) * p.h_in;
            let row = ((m % (height * width)) / width) * p.stride + parity_row;
            let column = (m % width) * p.stride + parity_column;
            let at = ((image + row) * p.w_in + column) * p.c_in;
            //@ for j in 0..{TN}
            if first_column + across + {16*j}u < p.c_in {
                out[at + first_column + across + {16*j}u] = dx{i}_{j};
            }
            //@ end
        }
    }
    //@ end
    //@ end
}
//@ end

//@ if WEIGHT
// tile_b [16 of k][4·TN quads of columns], tile_a [16 of k][4·TM quads of rows]

/// dw[p, q, c, o] = Σ_{n, i, j} x[n, i·stride + p − padding, j·stride + q − padding, c] · dy[n, i, j, o]
///
/// Rows are (p, q, c), columns output channels, the sum runs over one part of the pixels; the parts lie one behind the
/// other in `out`, and a second pass adds them in their order. a is x, b is dy.
@compute @workgroup_size(256)
fn backward_weight(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let unit = group.y * 32768u + group.x;
    let number = unit / (p.blocks * p.tiles);
    let batch = number / p.parts;
    if batch >= p.batches { return; }
    let begin = (number % p.parts) * p.part;
    let end = min(begin + p.part, p.pixels);
    let first_row = (unit % p.blocks) * {4*TM}u; // in quads
    let first_quad = ((unit / p.blocks) % p.tiles) * {4*TN}u;
    let down = local >> 4u;
    let across = local & 15u;
    //@ if COOPERATIVE
    let fragment_row = (local >> 6u) * {4*TM}u;
    let fragment_column = ((local >> 5u) & 1u) * {8*TN}u;
    let channels = p.c_out;
    //@ end
    let plane = p.h_out * p.w_out;
    let quads = (p.c_in + 3u) >> 2u;
    let rows = p.kh * p.kw * quads;
    // The quad of rows that this invocation loads.
    let row = first_row + local % {4*TM}u;
    let tap = row / quads;
    let quad = row % quads;
    //@ for r in 0..{LOADS_A}
    var next_a{r} = vec4(0.0);
    //@ end
    //@ for r in 0..{LOADS_B}
    var next_b{r} = vec4(0.0);
    //@ end
    //@ if COOPERATIVE
    //@ for i in 0..{FRAGMENTS_A}
    //@ for j in 0..{FRAGMENTS_B}
    var sum{i}_{j} = FragmentC();
    //@ end
    //@ end
    //@ else
    //@ for i in 0..{TM}
    //@ for j in 0..{QUADS}
    var dw{i}_{j} = vec4(0.0);
    //@ end
    //@ end
    //@ end
    let steps = (end - begin + 15u) / 16u;
    //@ if COOPERATIVE
    for (var step = 0u; step < steps; step++) {
    //@ else
    for (var step = 0u; step <= steps; step++) {
    //@ end
        if step < steps {
            //@ for r in 0..{LOADS_A}
            {
                let m = begin + 16u * step + (local + {256*r}u) / {4*TM}u;
                let top = ((m % plane) / p.w_out) * p.stride - p.padding + tap / p.kw;
                let left = (m % p.w_out) * p.stride - p.padding + tap % p.kw;
                next_a{r} = vec4(0.0);
                if m < end && row < rows && top < p.h_in && left < p.w_in {
                    next_a{r} = load_a(((batch * p.n + m / plane) * p.h_in + top) * p.w_in + left, quad, p.c_in);
                }
            }
            //@ end
            //@ for r in 0..{LOADS_B}
            {
                let e = local + {256*r}u;
                let m = begin + 16u * step + e / {4*TN}u;
                let column_quad = first_quad + e % {4*TN}u;
                next_b{r} = vec4(0.0);
                if m < end && 4u * column_quad < p.c_out {
                    next_b{r} = load_b(batch * p.pixels + m, column_quad, p.c_out);
                }
            }
            //@ end
        }
        //@ if COOPERATIVE
        // These need control flow that is uniform beyond doubt, so nothing is on its way meanwhile.
        //@ for r in 0..{LOADS_A}
        put_a((local + {256*r}u) / {4*TM}u, local % {4*TM}u, next_a{r});
        //@ end
        //@ for r in 0..{LOADS_B}
        put_b((local + {256*r}u) / {4*TN}u, local % {4*TN}u, next_b{r});
        //@ end
        workgroupBarrier();
        //@ for k in 0..{STEPS}
        {
            //@ for i in 0..{FRAGMENTS_A}
            let at_a{i} = {C*k}u * {LINE_A}u + fragment_row + {C*i}u;
            let a{i} = coopLoad<FragmentA>(&tile_a[at_a{i}], {LINE_A}u);
            //@ end
            //@ for j in 0..{FRAGMENTS_B}
            let at_b{j} = {C*k}u * {LINE_B}u + fragment_column + {C*j}u;
            let b{j} = coopLoadT<FragmentB>(&tile_b[at_b{j}], {LINE_B}u);
            //@ for i in 0..{FRAGMENTS_A}
            sum{i}_{j} = coopMultiplyAdd(a{i}, b{j}, sum{i}_{j});
            //@ end
            //@ end
        }
        //@ end
        workgroupBarrier();
        //@ else
        if step > 0u {
            //@ for k in 0..16
            {
                //@ for j in 0..{QUADS}
                let b{j} = vec4<f32>(tile_b[{4*k*TN}u + across + {16*j}u]);
                //@ end
                //@ for i in 0..{ROW_QUADS}
                let a{i} = vec4<f32>(tile_a[{4*k*TM}u + down + {16*i}u]);
                //@ for t in 0..4
                //@ for j in 0..{QUADS}
                dw{4*i+t}_{j} += a{i}[{t}] * b{j};
                //@ end
                //@ end
                //@ end
            }
            //@ end
            workgroupBarrier();
        }
        if step < steps {
            //@ for r in 0..{LOADS_A}
            put_a((local + {256*r}u) / {4*TM}u, local % {4*TM}u, next_a{r});
            //@ end
            //@ for r in 0..{LOADS_B}
            put_b((local + {256*r}u) / {4*TN}u, local % {4*TN}u, next_b{r});
            //@ end
            workgroupBarrier();
        }
        //@ end
    }
    //@ if COOPERATIVE
    //@ for i in 0..{FRAGMENTS_A}
    //@ for j in 0..{FRAGMENTS_B}
    let at{i}_{j} = (number * 4u * rows + 4u * first_row + fragment_row + {C*i}u) * channels + 4u * first_quad + fragment_column + {C*j}u;
    coopStoreT(sum{i}_{j}, &out[at{i}_{j}], channels);
    //@ end
    //@ end
    //@ else
    //@ for i in 0..{ROW_QUADS}
    {
        let row = first_row + down + {16*i}u;
        let tap = row / quads;
        let quad = row % quads;
        //@ for t in 0..4
        if row < rows && 4u * quad + {t}u < p.c_in {
            let w_row = (number * p.kh * p.kw + tap) * p.c_in + 4u * quad + {t}u;
            //@ for j in 0..{QUADS}
            store(w_row, first_quad + across + {16*j}u, p.c_out, dw{4*i+t}_{j});
            //@ end
        }
        //@ end
    }
    //@ end
    //@ end
}
//@ end

//@ if HALF
enable f16;
//@ end
// Convolution as an implicit matrix product, whose operands are broadcast within subgroups.
//
// y[n, i, j, o] = Σ_{p, q, c} x[n, i·stride + p − padding, j·stride + q − padding, c] · w[p, q, c, o]
//
// x [n, h_in, w_in, c_in], w [kh, kw, c_in, c_out], y [n, h_out, w_out, c_out], channels in quads (vec4). The kernels
// use no workgroup memory: values that all invocations of a subgroup need are loaded once, one quad by each invocation, and
// broadcast; each invocation loads the values that it alone needs. A subgroup has {S} invocations in the order of their local
// index.

struct Params {
    n: u32, h_in: u32, w_in: u32, c_in: u32,
    kh: u32, kw: u32, c_out: u32, stride: u32,
    padding: u32, h_out: u32, w_out: u32,
    // The number of pixels that the invocations visit, of blocks of pixels (or of rows of w), and of tiles of channels.
    pixels: u32, blocks: u32, tiles: u32,
    // For the weight gradient the pixels of one part of the sum; for the input gradient the parity of the pixels,
    // row · 65536 + column.
    part: u32, parity: u32,
    // The number of parts of the sum, and of products, whose operands and results are stored one after the other.
    parts: u32, batches: u32,
}

var<immediate> p: Params;

/// The factor of a product: the value itself, or with HALF the value rounded to f16.
fn operand(value: vec4<f32>) -> vec4<f32> {
    //@ if HALF
    return vec4<f32>(vec4<f16>(value));
    //@ else
    return value;
    //@ end
}

//@ if V4
@group(0) @binding(0) var<storage, read> a: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> b: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> out: array<vec4<f32>>;

/// Channels 4·quad to 4·quad + 3 of row `row`, of `channels` channels.
fn load_a(row: u32, quad: u32, channels: u32) -> vec4<f32> {
    return operand(a[row * (channels >> 2u) + quad]);
}

fn load_b(row: u32, quad: u32, channels: u32) -> vec4<f32> {
    return operand(b[row * (channels >> 2u) + min(quad, (channels >> 2u) - 1u)]);
}

fn store(row: u32, quad: u32, channels: u32, value: vec4<f32>) {
    if 4u * quad < channels { out[row * (channels >> 2u) + quad] = value; }
}
//@ else
@group(0) @binding(0) var<storage, read> a: array<f32>;
@group(0) @binding(1) var<storage, read> b: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;

/// Channels 4·quad to 4·quad + 3 of row `row`, of `channels` channels; 0 beyond the row.
fn load_a(row: u32, quad: u32, channels: u32) -> vec4<f32> {
    let at = row * channels + 4u * quad;
    let last = row * channels + channels - 1u;
    let inside = vec4(4u * quad) + vec4(0u, 1u, 2u, 3u) < vec4(channels);
    let value = vec4(a[min(at, last)], a[min(at + 1u, last)], a[min(at + 2u, last)], a[min(at + 3u, last)]);
    return operand(select(vec4(0.0), value, inside));
}

fn load_b(row: u32, quad: u32, channels: u32) -> vec4<f32> {
    let at = row * channels + 4u * quad;
    let last = row * channels + channels - 1u;
    let inside = vec4(4u * quad) + vec4(0u, 1u, 2u, 3u) < vec4(channels);
    let value = vec4(b[min(at, last)], b[min(at + 1u, last)], b[min(at + 2u, last)], b[min(at + 3u, last)]);
    return operand(select(vec4(0.0), value, inside));
}

fn store(row: u32, quad: u32, channels: u32, value: vec4<f32>) {
    let at = row * channels + 4u * quad;
    //@ for i in 0..4
    if 4u * quad + {i}u < channels { out[at + {i}u] = value[{i}]; }
    //@ end
}
//@ end

//@ if FORWARD
@group(0) @binding(3) var<storage, read> bias: array<f32>;

fn bias_quad(quad: u32) -> vec4<f32> {
    //@ if BIAS
    let last = p.c_out - 1u;
    let at = 4u * quad;
    return vec4(bias[min(at, last)], bias[min(at + 1u, last)], bias[min(at + 2u, last)], bias[min(at + 3u, last)]);
    //@ else
    return vec4(0.0);
    //@ end
}

/// y: an invocation computes {TM} pixels times 16 channels. a is x, b is w.
@compute @workgroup_size(64)
fn forward(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let unit = (group.y * 32768u + group.x) * {SUBGROUPS}u + local / {S}u;
    let batch = unit / (p.blocks * p.tiles);
    if batch >= p.batches { return; }
    let tile = (unit / p.blocks) % p.tiles;
    let first = ((unit % p.blocks) * {S}u + lane) * {TM}u;
    //@ for i in 0..{TM}
    let m{i} = min(first + {i}u, p.pixels - 1u);
    let place{i} = split(m{i}, p.h_out, p.w_out);
    let image{i} = batch * p.n + place{i}.x;
    let top{i} = place{i}.y * p.stride - p.padding; // wraps around below 0, so that one comparison finds the pixels outside
    let left{i} = place{i}.z * p.stride - p.padding;
    //@ for j in 0..4
    var y{i}_{j} = bias_quad(4u * tile + {j}u);
    //@ end
    //@ end
    let quads = (p.c_in + 3u) >> 2u;
    var tap_row = 0u;
    var tap_column = 0u;
    for (var tap = 0u; tap < p.kh * p.kw; tap++) {
        //@ for i in 0..{TM}
        let inside{i} = top{i} + tap_row < p.h_in && left{i} + tap_column < p.w_in;
        let at{i} = select(0u, (image{i} * p.h_in + top{i} + tap_row) * p.w_in + left{i} + tap_column, inside{i});
        //@ end
        for (var quad = 0u; quad < quads; quad++) {
            //@ for g in 0..{GATHERS}
            let element{g} = {g*LANES}u + min(lane, {LANES+-1}u);
            let c{g} = min(4u * quad + (element{g} >> 2u), p.c_in - 1u);
            let gather{g} = load_b((batch * p.kh * p.kw + tap) * p.c_in + c{g}, 4u * tile + (element{g} & 3u), p.c_out);
            //@ for l in 0..{LANES}
            let w{g*LANES+l} = subgroupBroadcast(gather{g}, {l}u);
            //@ end
            //@ end
            //@ for i in 0..{TM}
            let x{i} = select(vec4(0.0), load_a(at{i}, quad, p.c_in), inside{i});
            //@ for j in 0..4
            y{i}_{j} += x{i}.x * w{j} + x{i}.y * w{4+j} + x{i}.z * w{8+j} + x{i}.w * w{12+j};
            //@ end
            //@ end
        }
        tap_column++;
        if tap_column == p.kw {
            tap_column = 0u;
            tap_row++;
        }
    }
    //@ for i in 0..{TM}
    if first + {i}u < p.pixels {
        //@ for j in 0..4
        store(batch * p.pixels + m{i}, 4u * tile + {j}u, p.c_out, y{i}_{j});
        //@ end
    }
    //@ end
}
//@ end

//@ if INPUT
/// dx[n, i, j, c] = Σ_{p, q, o} dy[n, (i + padding − p)/stride, (j + padding − q)/stride, o] · w[p, q, c, o]
///
/// Only taps with whole quotients contribute. They are the same for all pixels of one parity (i mod stride, j mod stride),
/// and a dispatch computes one parity. An invocation computes {TM} pixels times 16 channels. a is dy, b is w.
@compute @workgroup_size(64)
fn backward_input(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let unit = (group.y * 32768u + group.x) * {SUBGROUPS}u + local / {S}u;
    let batch = unit / (p.blocks * p.tiles);
    if batch >= p.batches { return; }
    let tile = (unit / p.blocks) % p.tiles;
    let first = ((unit % p.blocks) * {S}u + lane) * {TM}u;
    let parity_row = p.parity >> 16u;
    let parity_column = p.parity & 65535u;
    let height = (p.h_in - parity_row + p.stride - 1u) / p.stride;
    let width = (p.w_in - parity_column + p.stride - 1u) / p.stride;
    let tap_row0 = (parity_row + p.padding) % p.stride;
    let tap_column0 = (parity_column + p.padding) % p.stride;
    //@ for i in 0..{TM}
    let m{i} = min(first + {i}u, p.pixels - 1u);
    let place{i} = split(m{i}, height, width);
    let image{i} = batch * p.n + place{i}.x;
    let bottom{i} = place{i}.y + (parity_row + p.padding) / p.stride;
    let right{i} = place{i}.z + (parity_column + p.padding) / p.stride;
    //@ for j in 0..4
    var dx{i}_{j} = vec4(0.0);
    //@ end
    //@ end
    let quads = (p.c_out + 3u) >> 2u;
    var up = 0u;
    for (var tap_row = tap_row0; tap_row < p.kh; tap_row += p.stride) {
        var back = 0u;
        for (var tap_column = tap_column0; tap_column < p.kw; tap_column += p.stride) {
            let tap = tap_row * p.kw + tap_column;
            //@ for i in 0..{TM}
            let inside{i} = bottom{i} - up < p.h_out && right{i} - back < p.w_out;
            let at{i} = select(0u, (image{i} * p.h_out + bottom{i} - up) * p.w_out + right{i} - back, inside{i});
            //@ end
            for (var quad = 0u; quad < quads; quad++) {
                //@ for g in 0..{GATHERS}
                let c{g} = min(16u * tile + {g*LANES}u + min(lane, {LANES+-1}u), p.c_in - 1u);
                let gather{g} = load_b((batch * p.kh * p.kw + tap) * p.c_in + c{g}, quad, p.c_out);
                //@ for l in 0..{LANES}
                let w{g*LANES+l} = subgroupBroadcast(gather{g}, {l}u);
                //@ end
                //@ end
                //@ for i in 0..{TM}
                let dy{i} = select(vec4(0.0), load_a(at{i}, quad, p.c_out), inside{i});
                //@ for j in 0..4
                dx{i}_{j} += dy{i}.x * vec4(w{4*j}.x, w{4*j+1}.x, w{4*j+2}.x, w{4*j+3}.x)
                    + dy{i}.y * vec4(w{4*j}.y, w{4*j+1}.y, w{4*j+2}.y, w{4*j+3}.y)
                    + dy{i}.z * vec4(w{4*j}.z, w{4*j+1}.z, w{4*j+2}.z, w{4*j+3}.z)
                    + dy{i}.w * vec4(w{4*j}.w, w{4*j+1}.w, w{4*j+2}.w, w{4*j+3}.w);
                //@ end
                //@ end
            }
            back++;
        }
        up++;
    }
    //@ for i in 0..{TM}
    if first + {i}u < p.pixels {
        let row = image{i} * p.h_in + parity_row + place{i}.y * p.stride;
        let pixel = row * p.w_in + parity_column + place{i}.z * p.stride;
        //@ for j in 0..4
        store(pixel, 4u * tile + {j}u, p.c_in, dx{i}_{j});
        //@ end
    }
    //@ end
}
//@ end

//@ if WEIGHT
/// dw[p, q, c, o] = Σ_{n, i, j} x[n, i·stride + p − padding, j·stride + q − padding, c] · dy[n, i, j, o]
///
/// An invocation computes two quads of rows (p, q, c) times 16 channels, summed over one part of the pixels. The parts lie
/// one after the other in `out`, and a second kernel adds them in their order. a is x, b is dy.
@compute @workgroup_size(64)
fn backward_weight(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let unit = (group.y * 32768u + group.x) * {SUBGROUPS}u + local / {S}u;
    let number = unit / (p.blocks * p.tiles);
    let batch = number / p.parts;
    if batch >= p.batches { return; }
    let begin = (number % p.parts) * p.part;
    let end = min(begin + p.part, p.pixels);
    let tile = (unit / p.blocks) % p.tiles;
    let quads = (p.c_in + 3u) >> 2u;
    let rows = p.kh * p.kw * quads;
    //@ for i in 0..2
    let row{i} = ((unit % p.blocks) * {S}u + lane) * 2u + {i}u;
    let tap{i} = min(row{i}, rows - 1u) / quads;
    let quad{i} = min(row{i}, rows - 1u) % quads;
    let tap_row{i} = tap{i} / p.kw;
    let tap_column{i} = tap{i} % p.kw;
    //@ for r in 0..4
    //@ for j in 0..4
    var dw{i}_{r}_{j} = vec4(0.0);
    //@ end
    //@ end
    //@ end
    // The pixel of this invocation, and the distance to its next one.
    var place = split(begin + min(lane, {LANES+-1}u), p.h_out, p.w_out);
    let lanes = split({LANES}u, p.h_out, p.w_out);
    for (var m = begin; m < end; m += {LANES}u) {
        // The dy of that pixel, and the corner of its window.
        let mine = min(m + min(lane, {LANES+-1}u), p.pixels - 1u);
        let counts = m + min(lane, {LANES+-1}u) < end;
        //@ for j in 0..4
        let gather{j} = select(vec4(0.0), load_b(batch * p.pixels + mine, 4u * tile + {j}u, p.c_out), counts);
        //@ end
        let top = place.y * p.stride - p.padding;
        let left = place.z * p.stride - p.padding;
        // The window of a pixel beyond the end is placed outside the image.
        let corner = vec3((batch * p.n + place.x) * p.h_in, select(p.h_in + p.kh, top, counts), left);
        place = advance(place, lanes, p.h_out, p.w_out);
        //@ for l in 0..{LANES}
        {
            let window = subgroupBroadcast(corner, {l}u);
            //@ for j in 0..4
            let dy{j} = subgroupBroadcast(gather{j}, {l}u);
            //@ end
            //@ for i in 0..2
            let inside{i} = window.y + tap_row{i} < p.h_in && window.z + tap_column{i} < p.w_in;
            let at{i} = select(0u, (window.x + window.y + tap_row{i}) * p.w_in + window.z + tap_column{i}, inside{i});
            let x{i} = select(vec4(0.0), load_a(at{i}, quad{i}, p.c_in), inside{i});
            //@ for r in 0..4
            //@ for j in 0..4
            dw{i}_{r}_{j} += x{i}[{r}] * dy{j};
            //@ end
            //@ end
            //@ end
        }
        //@ end
    }
    //@ for i in 0..2
    //@ for r in 0..4
    if row{i} < rows && 4u * quad{i} + {r}u < p.c_in {
        let w_row = (number * p.kh * p.kw + tap{i}) * p.c_in + 4u * quad{i} + {r}u;
        //@ for j in 0..4
        store(w_row, 4u * tile + {j}u, p.c_out, dw{i}_{r}_{j});
        //@ end
    }
    //@ end
    //@ end
}
//@ end

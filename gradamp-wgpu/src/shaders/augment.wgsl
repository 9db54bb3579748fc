// Crop, flip, cutout and normalisation of images that are kept on the device as bytes.
//
// y[n, i, j, c] = table[c, x[i + down, j' + right, c]]. x is image order[first + n]; j' is w − 1 − j if the image is
// mirrored, else j. Outside x the value is table[c, 0]; inside the cutout it is 0.
//
// The choices for an image are counted random numbers of the image's own stream: the same bits as on the host, in words of
// 32 bits.
//
// **Source:** Threefry-2x32 with 20 rounds; Salmon, Moraes, Dror, Shaw, "Parallel Random Numbers: As Easy as 1, 2, 3",
// SC 2011.

struct Params {
    // The number of invocations: the images of the order in `choose`, the pixels of all images of the batch in `apply`.
    len: u32,
    // The index of the batch's first image in the order.
    first: u32,
    // The key of the epoch's stream.
    key_low: u32,
    key_high: u32,
    crop_padding: u32,
    flip: u32,
    cutout: u32,
    // An image's height, width and channels.
    h: u32,
    w: u32,
    c: u32,
}

var<immediate> p: Params;

// The order: indices of images in the set.
@group(0) @binding(0) var<storage, read> order: array<u32>;

// ---- The choices for each image of an order: one invocation per image -----------------------------------------------

// For each image: down, right, flip, then the cutout as first row, end row, first column, end column; then 0.
@group(0) @binding(1) var<storage, read_write> choices: array<i32>;

// The upper 32 bits of a · b.
fn upper(a: u32, b: u32) -> u32 {
    let a_low = a & 0xffffu;
    let a_high = a >> 16u;
    let b_low = b & 0xffffu;
    let b_high = b >> 16u;
    let middle = a_high * b_low + ((a_low * b_low) >> 16u);
    let other = a_low * b_high + (middle & 0xffffu);
    return a_high * b_high + (middle >> 16u) + (other >> 16u);
}

// An integer below `bound`: bits 64 to 95 of (64 random bits at `index`) · bound.
fn below(stream: vec2<u32>, index: u32, bound: u32) -> i32 {
    let bits = threefry(stream, vec2(index, 0u)); // the lower word first
    let from_high = bits.y * bound;
    let sum = from_high + upper(bits.x, bound);
    return i32(upper(bits.y, bound) + select(0u, 1u, sum < from_high));
}

// The first and the end index of the cutout's rows or columns, of which there are `size`.
fn span(stream: vec2<u32>, index: u32, size: u32) -> vec2<i32> {
    let cutout = i32(p.cutout);
    if cutout == 0 { return vec2(0); }
    let first = below(stream, index, size) - cutout / 2;
    return clamp(vec2(first, first + cutout), vec2(0), vec2(i32(size)));
}

@compute @workgroup_size(64)
fn choose(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let n = (group.y * 32768u + group.x) * 64u + local;
    if n >= p.len { return; }
    // The stream of the image. The complement keeps its key apart from the numbers of the epoch's stream.
    let stream = threefry(vec2(p.key_low, ~p.key_high), vec2(order[n], 0u));
    let window = 2u * p.crop_padding + 1u;
    let rows = span(stream, 3u, p.h);
    let columns = span(stream, 4u, p.w);
    let at = 8u * n;
    choices[at] = below(stream, 0u, window) - i32(p.crop_padding);
    choices[at + 1u] = below(stream, 1u, window) - i32(p.crop_padding);
    choices[at + 2u] = below(stream, 2u, 2u) * i32(p.flip);
    choices[at + 3u] = rows.x;
    choices[at + 4u] = rows.y;
    choices[at + 5u] = columns.x;
    choices[at + 6u] = columns.y;
    choices[at + 7u] = 0;
}

// ---- A batch: one invocation per pixel ------------------------------------------------------------------------------

@group(0) @binding(1) var<storage, read> chosen: array<i32>;
// Four bytes in a word, the first in the lowest bits.
@group(0) @binding(2) var<storage, read> bytes: array<u32>;
@group(0) @binding(3) var<storage, read> table: array<f32>;
@group(0) @binding(4) var<storage, read> labels: array<f32>;
@group(0) @binding(5) var<storage, read_write> y: array<f32>;
@group(0) @binding(6) var<storage, read_write> batch_labels: array<f32>;

fn byte(at: u32) -> u32 {
    return (bytes[at >> 2u] >> (8u * (at & 3u))) & 0xffu;
}

@compute @workgroup_size(256)
fn apply(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let pixel = (group.y * 32768u + group.x) * 256u + local;
    if pixel >= p.len { return; }
    let place = split(pixel, p.h, p.w);
    let n = place.x;
    let image = order[p.first + n];
    let h = i32(p.h);
    let w = i32(p.w);
    let i = i32(place.y);
    let j = i32(place.z);
    if i == 0 && j == 0 {
        batch_labels[n] = labels[image];
    }
    let choice = 8u * (p.first + n);
    let cut_row = i >= chosen[choice + 3u] && i < chosen[choice + 4u];
    let cut = cut_row && j >= chosen[choice + 5u] && j < chosen[choice + 6u];
    let row = i + chosen[choice];
    let column = select(j, w - 1 - j, chosen[choice + 2u] == 1) + chosen[choice + 1u];
    let inside = row >= 0 && row < h && column >= 0 && column < w;
    let start = (image * p.h * p.w + u32(row * w + column)) * p.c;
    for (var c = 0u; c < p.c; c++) {
        var value = 0u; // black
        if inside {
            value = byte(start + c);
        }
        y[pixel * p.c + c] = select(table[256u * c + value], 0.0, cut);
    }
}

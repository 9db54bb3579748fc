// Statistics of a tensor, and the gate of an optimiser step.
//
//   statistics   out[offset ..] = Σ x, Σ |x|, Σ x², max |x| (NaN where x has one), the number of zeros
//   gate         out = [coefficient, norm, applies], norm = sqrt(Σ over tensors of (scale · ‖x‖)²);
//                coefficient = limit / (norm + 1e-6) where that is below 1 or the norm is NaN, else 1
//
// A workgroup sums every `groups`-th block of 256 vec4. Its invocations add vec4s to a short sum, short sums to a longer one,
// and the workgroup adds the longer sums in the order of a tree, so that no number is added to one many times its size. Each
// workgroup leaves a partial result, [groups, 5] for statistics and one number for a norm; one workgroup joins them.

struct Params {
    len: u32,
    groups: u32,
    // The offset of a tensor's partial results in `parts`, or of its statistics in `out`.
    offset: u32,
    scale: f32,
    limit: f32,
    // 1 where there is a limit, and 1 where the step is skipped when the norm is not finite.
    limited: u32,
    skips: u32,
}

var<immediate> p: Params;

@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> parts: array<f32>;

struct Summary {
    // Σ x, Σ |x|, Σ x²
    sums: vec3<f32>,
    // The bits of max |x|. They are ordered like the numbers, with NaN above infinity.
    largest: u32,
    zeros: u32,
}

fn join(a: Summary, b: Summary) -> Summary {
    return Summary(a.sums + b.sums, max(a.largest, b.largest), a.zeros + b.zeros);
}

fn count(which: vec4<bool>) -> u32 {
    let ones = select(vec4(0u), vec4(1u), which);
    return (ones.x + ones.y) + (ones.z + ones.w);
}

fn total(v: vec4<f32>) -> f32 {
    return (v.x + v.y) + (v.z + v.w);
}

// The vec4 at i, with 0 beyond the end of the tensor.
fn load(i: u32) -> vec4<f32> {
    let value = x[i];
    if 4u * i + 4u <= p.len { return value; }
    return select(vec4(0.0), value, vec4(4u * i) + vec4(0u, 1u, 2u, 3u) < vec4(p.len));
}

var<workgroup> summaries: array<Summary, 256>;

@compute @workgroup_size(256)
fn summarise(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    var mine = Summary(vec3(0.0), 0u, 0u);
    var i = group.x * 256u + local;
    while 4u * i < p.len {
        var sum = vec4(0.0);
        var sum_abs = vec4(0.0);
        var sum_squares = vec4(0.0);
        for (var short = 0u; short < 8u && 4u * i < p.len; short++) {
            let v = load(i);
            sum += v;
            sum_abs += abs(v);
            sum_squares += v * v;
            let bits = bitcast<vec4<u32>>(v) & vec4(0x7fffffffu);
            mine.largest = max(mine.largest, max(max(bits.x, bits.y), max(bits.z, bits.w)));
            mine.zeros += count(bits == vec4(0u));
            i += p.groups * 256u;
        }
        mine.sums += vec3(total(sum), total(sum_abs), total(sum_squares));
    }
    summaries[local] = mine;
    for (var width = 128u; width > 0u; width >>= 1u) {
        workgroupBarrier();
        if local < width {
            summaries[local] = join(summaries[local], summaries[local + width]);
        }
    }
    if local == 0u {
        let all = summaries[0];
        let at = 5u * group.x;
        parts[at] = all.sums.x;
        parts[at + 1u] = all.sums.y;
        parts[at + 2u] = all.sums.z;
        parts[at + 3u] = bitcast<f32>(all.largest);
        parts[at + 4u] = f32(all.zeros);
    }
}

@group(0) @binding(0) var<storage, read> found: array<f32>;
@group(0) @binding(1) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(256)
fn join_summaries(@builtin(local_invocation_index) local: u32) {
    var mine = Summary(vec3(0.0), 0u, 0u);
    for (var i = local; i < p.groups; i += 256u) {
        let at = 5u * i;
        let sums = vec3(found[at], found[at + 1u], found[at + 2u]);
        mine = join(mine, Summary(sums, bitcast<u32>(found[at + 3u]), u32(found[at + 4u])));
    }
    summaries[local] = mine;
    for (var width = 128u; width > 0u; width >>= 1u) {
        workgroupBarrier();
        if local < width {
            summaries[local] = join(summaries[local], summaries[local + width]);
        }
    }
    if local == 0u {
        let all = summaries[0];
        let padding = 4u * ((p.len + 3u) / 4u) - p.len; // zeros beyond the end of the tensor
        out[p.offset] = all.sums.x;
        out[p.offset + 1u] = all.sums.y;
        out[p.offset + 2u] = all.sums.z;
        out[p.offset + 3u] = bitcast<f32>(all.largest);
        out[p.offset + 4u] = f32(all.zeros - padding);
    }
}

var<workgroup> tree: array<f32, 256>;

// The sum of `value` over all invocations of the workgroup, returned to each of them.
fn sum_of_all(local: u32, value: f32) -> f32 {
    workgroupBarrier(); // the tree may still be in use
    tree[local] = value;
    for (var width = 128u; width > 0u; width >>= 1u) {
        workgroupBarrier();
        if local < width {
            tree[local] += tree[local + width];
        }
    }
    workgroupBarrier();
    return tree[0];
}

// parts[offset + group] = |scale| · the norm of the workgroup's elements
@compute @workgroup_size(256)
fn norms(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    var mine = 0.0;
    var i = group.x * 256u + local;
    while 4u * i < p.len {
        var squares = vec4(0.0);
        for (var short = 0u; short < 8u && 4u * i < p.len; short++) {
            let v = load(i);
            squares += v * v;
            i += p.groups * 256u;
        }
        mine += total(squares);
    }
    let squares = sum_of_all(local, mine);
    if local == 0u {
        parts[p.offset + group.x] = abs(p.scale) * sqrt(squares);
    }
}

var<workgroup> largest: array<u32, 256>;

// Norms are divided by the largest one before they are squared, so that no square exceeds f32.
@compute @workgroup_size(256)
fn join_norms(@builtin(local_invocation_index) local: u32) {
    var bits = 0u;
    for (var i = local; i < p.groups; i += 256u) {
        bits = max(bits, bitcast<u32>(found[i]) & 0x7fffffffu);
    }
    largest[local] = bits;
    for (var width = 128u; width > 0u; width >>= 1u) {
        workgroupBarrier();
        if local < width {
            largest[local] = max(largest[local], largest[local + width]);
        }
    }
    workgroupBarrier();
    let top_bits = largest[0];
    let top = bitcast<f32>(top_bits);

    let finite = top_bits < 0x7f800000u;
    let unit = select(1.0, top, finite && top_bits > 0u);
    var squares = 0.0;
    for (var i = local; i < p.groups; i += 256u) {
        let share = found[i] / unit;
        squares += share * share;
    }
    let norm_squared = sum_of_all(local, squares);
    if local > 0u { return; }

    let norm = select(top, unit * sqrt(norm_squared), finite);
    let norm_bits = bitcast<u32>(norm) & 0x7fffffffu;
    let limits = p.limited != 0u && (norm_bits > 0x7f800000u || norm + 1e-6 > p.limit);
    out[0] = select(1.0, p.limit / (norm + 1e-6), limits);
    out[1] = norm;
    out[2] = select(1.0, 0.0, p.skips != 0u && norm_bits >= 0x7f800000u);
}

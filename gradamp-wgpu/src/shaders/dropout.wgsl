// Elements, or groups of them, dropped at random: y = x · mask.
//
// The word of a group is half of a block of 64 random bits that two neighbours share. An invocation computes four elements; values
// beyond the `len` elements are left unchanged.

struct Params {
    len: u32,
    group: u32,
    threshold: u32,
    scale: f32,
    key_low: u32,
    key_high: u32,
}

var<immediate> p: Params;

@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> y: array<vec4<f32>>;

fn factor(i: u32) -> f32 {
    let group = i / p.group;
    let bits = threefry(vec2(p.key_low, p.key_high), vec2(group / 2u, 0u));
    let word = select(bits.x, bits.y, group % 2u == 1u);
    return select(p.scale, 0.0, word < p.threshold);
}

@compute @workgroup_size(256)
fn drop_groups(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let i = (group.y * 32768u + group.x) * 256u + local;
    let first = 4u * i;
    if first >= p.len { return; }
    let inside = vec4(first) + vec4(0u, 1u, 2u, 3u) < vec4(p.len);
    let factors = vec4(factor(first), factor(first + 1u), factor(first + 2u), factor(first + 3u));
    y[i] = select(y[i], x[i] * factors, inside);
}

// The second kernel of a sum that was computed in parts: y[i] = Σ_part parts[part · len + i], in the order of the parts.

struct Params {
    len: u32,
    parts: u32,
}

var<immediate> p: Params;

@group(0) @binding(0) var<storage, read> parts: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(256)
fn sum_parts(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let i = (group.y * 32768u + group.x) * 256u + local;
    if i >= p.len { return; }
    var sum = 0.0;
    for (var part = 0u; part < p.parts; part++) {
        sum += parts[part * p.len + i];
    }
    y[i] = sum;
}

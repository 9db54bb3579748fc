// Softmax cross-entropy against smoothed labels, forward and backward at once.
//
//   t_k = (1 − s) · [k = l] + s/K; loss_r = −Σ_k t_k · ln q_k; dlogits[r, k] = (q_k − t_k) / rows; q = softmax(logits[r])
//   out = [the mean loss, how many rows have their largest logit, the first of equals, at their label]
//
// logits and dlogits are [rows, K], labels [rows] with class indices as f32. `row` takes a workgroup for each row and
// leaves results [rows, 2]: its loss, and whether it is right. `total` adds them up in one workgroup. Sums have the order
// of a tree.

struct Params {
    rows: u32,
    classes: u32,
    smoothing: f32,
}

var<immediate> p: Params;

@group(0) @binding(0) var<storage, read> logits: array<f32>;
@group(0) @binding(1) var<storage, read> labels: array<f32>;
@group(0) @binding(2) var<storage, read_write> results: array<f32>;
@group(0) @binding(3) var<storage, read_write> dlogits: array<f32>;

struct Largest {
    value: f32,
    place: u32,
    // The bits of |x| of the worst logit: above those of infinity where one is NaN.
    worst: u32,
}

fn larger(a: Largest, b: Largest) -> Largest {
    let second = b.value > a.value || (b.value == a.value && b.place < a.place);
    return Largest(
        select(a.value, b.value, second),
        select(a.place, b.place, second),
        max(a.worst, b.worst),
    );
}

fn look(row: u32, k: u32) -> Largest {
    let z = logits[row * p.classes + k];
    // −infinity is a logit like any other.
    let bits = bitcast<u32>(z);
    return Largest(z, k, select(bits & 0x7fffffffu, 0u, bits == 0xff800000u));
}

var<workgroup> largest: array<Largest, 64>;
// Σ exp(z − the largest), Σ (z − the largest)
var<workgroup> sums: array<vec2<f32>, 64>;

@compute @workgroup_size(64)
fn row(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let r = group.y * 32768u + group.x;
    if r >= p.rows { return; }

    var mine = look(r, min(local, p.classes - 1u));
    for (var k = local + 64u; k < p.classes; k += 64u) {
        mine = larger(mine, look(r, k));
    }
    largest[local] = mine;
    for (var width = 32u; width > 0u; width >>= 1u) {
        workgroupBarrier();
        if local < width {
            largest[local] = larger(largest[local], largest[local + width]);
        }
    }
    workgroupBarrier();
    let top = largest[0];

    var sum = vec2(0.0);
    for (var k = local; k < p.classes; k += 64u) {
        let z = logits[r * p.classes + k] - top.value;
        sum += vec2(exp(z), z);
    }
    sums[local] = sum;
    for (var width = 32u; width > 0u; width >>= 1u) {
        workgroupBarrier();
        if local < width {
            sums[local] += sums[local + width];
        }
    }
    workgroupBarrier();
    let all = sums[0];

    // What the functions above make of a NaN or an infinity depends on the driver. A diverged row must show, and so must a
    // label that is no class.
    let label = u32(labels[r]);
    let lost = top.worst >= 0x7f800000u || bitcast<u32>(top.value) == 0xff800000u || label >= p.classes;
    var not_a_number = 0x7fc00000u;
    let spoil = select(0.0, bitcast<f32>(not_a_number), lost);

    let spread = p.smoothing / f32(p.classes);
    for (var k = local; k < p.classes; k += 64u) {
        let at = r * p.classes + k;
        let t = select(0.0, 1.0 - p.smoothing, k == label) + spread;
        dlogits[at] = (exp(logits[at] - top.value) / all.x - t) / f32(p.rows) + spoil;
    }
    if local == 0u {
        var loss = log(all.x) - (1.0 - p.smoothing) * (logits[r * p.classes + min(label, p.classes - 1u)] - top.value);
        if p.smoothing > 0.0 { // else −infinity at a class that is not the label would count
            loss -= spread * all.y;
        }
        results[2u * r] = loss + spoil;
        results[2u * r + 1u] = select(0.0, 1.0, top.place == label);
    }
}

@group(0) @binding(0) var<storage, read> found: array<vec2<f32>>;
@group(0) @binding(1) var<storage, read_write> out: array<f32>;

var<workgroup> tree: array<vec2<f32>, 256>;

@compute @workgroup_size(256)
fn total(@builtin(local_invocation_index) local: u32) {
    var sum = vec2(0.0);
    for (var r = local; r < p.rows; r += 256u) {
        sum += found[r];
    }
    tree[local] = sum;
    for (var width = 128u; width > 0u; width >>= 1u) {
        workgroupBarrier();
        if local < width {
            tree[local] += tree[local + width];
        }
    }
    if local == 0u {
        out[0] = tree[0].x / f32(p.rows);
        out[1] = tree[0].y;
    }
}

// Softmax cross-entropy against smoothed labels, and its gradient.
//
//   t_k = (1 − s) · [k = l] + s/K; loss_r = −Σ_k t_k · ln q_k; dlogits[r, k] = (q_k − t_k) / rows; q = softmax(logits[r])
//   loss = the mean of loss_r; correct = the number of rows whose largest logit (the first among equals) is at their label
//
// logits and dlogits are [rows, K], labels [rows] with class indices as f32. An invocation of `row` computes one
// row of results [rows, 2]: its loss, and 1 where it is correct or else 0. `total` adds them in one workgroup, in the order
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

@compute @workgroup_size(32)
fn row(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let r = (group.y * 32768u + group.x) * 32u + local;
    if r >= p.rows { return; }
    let first = r * p.classes;

    var top = logits[first];
    var place = 0u;
    // The bits of the largest |x|; those of a NaN are above those of infinity. −infinity is left out: it is a valid logit.
    var worst = 0u;
    for (var k = 0u; k < p.classes; k++) {
        let z = logits[first + k];
        if z > top {
            top = z;
            place = k;
        }
        let bits = bitcast<u32>(z);
        worst = max(worst, select(bits & 0x7fffffffu, 0u, bits == 0xff800000u));
    }

    var sum = 0.0;
    var sum_exp = 0.0;
    for (var k = 0u; k < p.classes; k++) {
        let z = logits[first + k] - top;
        sum += z;
        sum_exp += exp(z);
    }

    // The result of the functions above for a NaN or an infinity depends on the driver. A diverged row and a label that is
    // not a class must give NaN.
    let label = u32(labels[r]);
    let lost = worst >= 0x7f800000u || bitcast<u32>(top) == 0xff800000u || label >= p.classes;
    var not_a_number = 0x7fc00000u;
    let spoil = select(0.0, bitcast<f32>(not_a_number), lost);

    let spread = p.smoothing / f32(p.classes);
    for (var k = 0u; k < p.classes; k++) {
        let t = select(0.0, 1.0 - p.smoothing, k == label) + spread;
        dlogits[first + k] = (exp(logits[first + k] - top) / sum_exp - t) / f32(p.rows) + spoil;
    }
    var loss = log(sum_exp) - (1.0 - p.smoothing) * (logits[first + min(label, p.classes - 1u)] - top);
    if p.smoothing > 0.0 { // without smoothing, −infinity at a class other than the label must not count
        loss -= spread * sum;
    }
    results[2u * r] = loss + spoil;
    results[2u * r + 1u] = select(0.0, 1.0, place == label);
}

@group(0) @binding(0) var<storage, read> found: array<vec2<f32>>;
@group(0) @binding(1) var<storage, read_write> loss: array<f32>;
@group(0) @binding(2) var<storage, read_write> correct: array<f32>;

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
        loss[0] = tree[0].x / f32(p.rows);
        correct[0] = tree[0].y;
    }
}

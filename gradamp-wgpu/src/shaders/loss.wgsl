// Softmax cross-entropy against smoothed labels or shares of classes, and its gradient.
//
//   t_k = (1 − s) · [k = l] + s/K; loss_r = −Σ_k t_k · ln q_k; dlogits[r, k] = (q_k − t_k) / rows; q = softmax(logits[r])
//   loss = the mean of loss_r; correct = the number of rows whose largest logit (the first among equals) is at their label
//
// logits and dlogits are [rows, K], labels [rows] with class indices as f32. An invocation of `row` computes one
// row of results [rows, 2]: its loss, and 1 where it is correct or else 0. `total` adds them in one workgroup, in the order
// of a tree.
//
// `soft_row` reads shares [rows, K] whose sum in a row is T in place of labels:
//
//   t_k = (1 − s) · shares_k + s · T/K; dlogits[r, k] = (T · q_k − t_k) / rows; correct where the largest share is

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

/// What the loss needs of a row of logits.
struct Softmax {
    top: f32,
    /// The first place of the largest logit.
    place: u32,
    /// The sum of z − top.
    sum: f32,
    /// The sum of exp(z − top).
    sum_exp: f32,
    /// Whether a logit is NaN or infinity, or all are −infinity.
    is_lost: bool,
}

fn softmax(first: u32) -> Softmax {
    var z = Softmax(logits[first], 0u, 0.0, 0.0, false);
    // The bits of the largest |x|; those of a NaN are above those of infinity. −infinity is left out: it is a valid logit.
    var worst = 0u;
    for (var k = 0u; k < p.classes; k++) {
        let logit = logits[first + k];
        if logit > z.top {
            z.top = logit;
            z.place = k;
        }
        let bits = bitcast<u32>(logit);
        worst = max(worst, select(bits & 0x7fffffffu, 0u, bits == 0xff800000u));
    }
    for (var k = 0u; k < p.classes; k++) {
        let logit = logits[first + k] - z.top;
        z.sum += logit;
        z.sum_exp += exp(logit);
    }
    z.is_lost = worst >= 0x7f800000u || bitcast<u32>(z.top) == 0xff800000u;
    return z;
}

/// NaN for a row that is lost, else 0. Functions of a NaN or an infinity depend on the driver; a diverged row must give NaN.
fn spoil_if(is_lost: bool) -> f32 {
    var not_a_number = 0x7fc00000u;
    return select(0.0, bitcast<f32>(not_a_number), is_lost);
}

@compute @workgroup_size(32)
fn row(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let r = (group.y * 32768u + group.x) * 32u + local;
    if r >= p.rows { return; }
    let first = r * p.classes;

    let z = softmax(first);

    let label = u32(labels[r]);
    let spoil = spoil_if(z.is_lost || label >= p.classes); // a label that is not a class must give NaN

    let spread = p.smoothing / f32(p.classes);
    for (var k = 0u; k < p.classes; k++) {
        let t = select(0.0, 1.0 - p.smoothing, k == label) + spread;
        dlogits[first + k] = (exp(logits[first + k] - z.top) / z.sum_exp - t) / f32(p.rows) + spoil;
    }
    var loss = log(z.sum_exp) - (1.0 - p.smoothing) * (logits[first + min(label, p.classes - 1u)] - z.top);
    if p.smoothing > 0.0 { // without smoothing, −infinity at a class other than the label must not count
        loss -= spread * z.sum;
    }
    results[2u * r] = loss + spoil;
    results[2u * r + 1u] = select(0.0, 1.0, z.place == label);
}

@compute @workgroup_size(32)
fn soft_row(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let r = (group.y * 32768u + group.x) * 32u + local;
    if r >= p.rows { return; }
    let first = r * p.classes;
    let z = softmax(first);

    // `labels` holds the shares here.
    var total = 0.0;
    var most = labels[first];
    var place = 0u;
    var worst = 0u;
    for (var k = 0u; k < p.classes; k++) {
        let share = labels[first + k];
        total += share;
        if share > most {
            most = share;
            place = k;
        }
        worst = max(worst, bitcast<u32>(share) & 0x7fffffffu);
    }
    let spoil = spoil_if(z.is_lost || worst >= 0x7f800000u);

    let spread = p.smoothing * total / f32(p.classes);
    let log_sum = log(z.sum_exp);
    var loss = 0.0;
    for (var k = 0u; k < p.classes; k++) {
        let t = (1.0 - p.smoothing) * labels[first + k] + spread;
        let logit = logits[first + k] - z.top;
        dlogits[first + k] = (total * exp(logit) / z.sum_exp - t) / f32(p.rows) + spoil;
        if t != 0.0 { // −infinity at a class without a share must not count
            loss += t * (log_sum - logit);
        }
    }
    results[2u * r] = loss + spoil;
    results[2u * r + 1u] = select(0.0, 1.0, z.place == place);
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

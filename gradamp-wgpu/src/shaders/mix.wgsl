// Mixtures of the images of a batch [n, h, w, c], and of their labels.
//
//   y = share · x + (1 − share) · x of image (i + shift) mod n, inside the window of rows and columns; y = x outside
//   targets[i, k] = label_share · [k = labels[i]] + (1 − label_share) · [k = labels[(i + shift) mod n]]
//
// An invocation computes one element.

struct Params {
    images: u32,
    height: u32,
    width: u32,
    channels: u32,
    shift: u32,
    share: f32,
    first_row: u32,
    first_column: u32,
    end_row: u32,
    end_column: u32,
    classes: u32,
    label_share: f32,
}

var<immediate> p: Params;

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;

fn place(group: vec3<u32>, local: u32) -> u32 {
    return (group.y * 32768u + group.x) * 256u + local;
}

@compute @workgroup_size(256)
fn mix_images(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let i = place(group, local);
    let len = p.height * p.width * p.channels;
    if i >= p.images * len { return; }
    let image = i / len;
    let inner = i % len;
    let row = inner / (p.width * p.channels);
    let column = inner / p.channels % p.width;
    var value = x[i];
    if row >= p.first_row && row < p.end_row && column >= p.first_column && column < p.end_column {
        let partner = (image + p.shift) % p.images;
        value = p.share * value + (1.0 - p.share) * x[partner * len + inner];
    }
    y[i] = value;
}

@compute @workgroup_size(256)
fn mix_labels(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let i = place(group, local);
    if i >= p.images * p.classes { return; }
    let image = i / p.classes;
    let k = i % p.classes;
    let own = select(0.0, p.label_share, u32(x[image]) == k);
    let other = select(0.0, 1.0 - p.label_share, u32(x[(image + p.shift) % p.images]) == k);
    y[i] = own + other;
}

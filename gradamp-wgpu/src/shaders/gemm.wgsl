// A matrix product of parts of three buffers.
//
// C = alpha · op(A) · op(B) + beta · C, with op(A) [m, k], op(B) [k, n], C [m, n]; element (i, j) of an operand lies at
// offset + i · row step + j · column step, so that a transposed operand is one whose steps are swapped.

struct Params {
    m: u32, n: u32, k: u32,
    a_offset: u32, a_row: u32, a_column: u32,
    b_offset: u32, b_row: u32, b_column: u32,
    c_offset: u32,
    alpha: f32, beta: f32,
}

var<immediate> p: Params;

@group(0) @binding(0) var<storage, read> a: array<f32>;
@group(0) @binding(1) var<storage, read> b: array<f32>;
@group(0) @binding(2) var<storage, read_write> c: array<f32>;

fn load_a(i: u32, k: u32) -> f32 {
    return a[p.a_offset + min(i, p.m - 1u) * p.a_row + min(k, p.k - 1u) * p.a_column];
}

fn load_b(k: u32, j: u32) -> f32 {
    return b[p.b_offset + min(k, p.k - 1u) * p.b_row + min(j, p.n - 1u) * p.b_column];
}

fn store(i: u32, j: u32, value: f32) {
    if i < p.m && j < p.n {
        let at = p.c_offset + i * p.n + j;
        if p.beta == 0.0 {
            c[at] = p.alpha * value;
        } else {
            c[at] = p.alpha * value + p.beta * c[at];
        }
    }
}

//@ if TILED
// A workgroup computes 64 x 64 elements and an invocation 4 x 4. Operands go through workgroup memory, sixteen steps of k at
// a time. The rows of an invocation lie 16 apart, as do its columns, so that neighbours read neighbouring words.
var<workgroup> tile_a: array<f32, 1024>; // [16 of k][64 of m]
var<workgroup> tile_b: array<f32, 1024>; // [16 of k][64 of n]

@compute @workgroup_size(256)
fn product(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let columns = (p.n + 63u) / 64u;
    let unit = group.y * 32768u + group.x;
    let first_row = (unit / columns) * 64u;
    let first_column = (unit % columns) * 64u;
    let down = local / 16u;
    let across = local % 16u;
    //@ for i in 0..4
    //@ for j in 0..4
    var c{i}_{j} = 0.0;
    //@ end
    //@ end
    for (var k0 = 0u; k0 < p.k; k0 += 16u) {
        //@ for r in 0..4
        {
            // Loads run along the dimension that is contiguous in memory.
            let e = local + {256*r}u;
            let k_a = select(e >> 6u, e & 15u, p.a_column == 1u);
            let i = select(e & 63u, e >> 4u, p.a_column == 1u);
            tile_a[k_a * 64u + i] = select(0.0, load_a(first_row + i, k0 + k_a), k0 + k_a < p.k);
            let k_b = select(e & 15u, e >> 6u, p.b_column == 1u);
            let j = select(e >> 4u, e & 63u, p.b_column == 1u);
            tile_b[k_b * 64u + j] = select(0.0, load_b(k0 + k_b, first_column + j), k0 + k_b < p.k);
        }
        //@ end
        workgroupBarrier();
        for (var k = 0u; k < 16u; k++) {
            //@ for i in 0..4
            let a{i} = tile_a[k * 64u + down + {16*i}u];
            let b{i} = tile_b[k * 64u + across + {16*i}u];
            //@ end
            //@ for i in 0..4
            //@ for j in 0..4
            c{i}_{j} += a{i} * b{j};
            //@ end
            //@ end
        }
        workgroupBarrier();
    }
    //@ for i in 0..4
    //@ for j in 0..4
    store(first_row + down + {16*i}u, first_column + across + {16*j}u, c{i}_{j});
    //@ end
    //@ end
}
//@ else
// An invocation computes 4 x 4 elements and loads operands from memory directly. This is for software rasterisers, whose
// workgroup memory is no faster than other memory.
@compute @workgroup_size(64)
fn product(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let columns = (p.n + 3u) / 4u;
    let unit = (group.y * 32768u + group.x) * 64u + local;
    let row = (unit / columns) * 4u;
    let column = (unit % columns) * 4u;
    if row >= p.m { return; }
    //@ for i in 0..4
    //@ for j in 0..4
    var c{i}_{j} = 0.0;
    //@ end
    //@ end
    for (var k = 0u; k < p.k; k++) {
        //@ for i in 0..4
        let a{i} = load_a(row + {i}u, k);
        let b{i} = load_b(k, column + {i}u);
        //@ end
        //@ for i in 0..4
        //@ for j in 0..4
        c{i}_{j} += a{i} * b{j};
        //@ end
        //@ end
    }
    //@ for i in 0..4
    //@ for j in 0..4
    store(row + {i}u, column + {j}u, c{i}_{j});
    //@ end
    //@ end
}
//@ end

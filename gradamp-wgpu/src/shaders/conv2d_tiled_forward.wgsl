//@ if HALF
enable f16;
//@ end
//@ if COOPERATIVE
enable wgpu_cooperative_matrix;
//@ end
// The forward pass of `conv2d_tiled.wgsl`: rows are pixels, columns output channels, the sum runs over (p, q, c).
// a is x, b is w; tile_a [16·TM rows][4 quads of k], tile_b [16 of k][4·TN quads of columns]

//@ if BIAS
@group(0) @binding(3) var<storage, read> bias: array<f32>;

fn bias_quad(quad: u32) -> vec4<f32> {
    let last = p.c_out - 1u;
    let at = 4u * quad;
    return vec4(bias[min(at, last)], bias[min(at + 1u, last)], bias[min(at + 2u, last)], bias[min(at + 3u, last)]);
}
//@ else
fn bias_quad(quad: u32) -> vec4<f32> {
    return vec4(0.0);
}
//@ end

/// y: rows are pixels, columns output channels, the sum runs over (p, q, c). a is x, b is w.
@compute @workgroup_size(256)
fn forward(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
    //@ if COOPERATIVE
    @builtin(subgroup_id) subgroup: u32,
    //@ end
) {
    let unit = group.y * 32768u + group.x;
    let batch = unit / (p.blocks * p.tiles);
    if batch >= p.batches { return; }
    let first_row = (unit % p.blocks) * {16*TM}u;
    let first_quad = ((unit / p.blocks) % p.tiles) * {4*TN}u;
    let down = local >> 4u;
    let across = local & 15u;
    //@ if COOPERATIVE
    let fragment_row = (subgroup / {ACROSS}u) * {C*FRAGMENTS_A}u;
    let fragment_column = (subgroup % {ACROSS}u) * {C*FRAGMENTS_B}u;
    let channels = p.c_out;
    //@ end
    //@ for r in 0..{LOADS_A}
    let m{r} = first_row + (local >> 2u) + {64*r}u;
    let there{r} = m{r} < p.pixels;
    let place{r} = split(m{r}, p.h_out, p.w_out);
    let image{r} = (batch * p.n + place{r}.x) * p.h_in;
    let top{r} = place{r}.y * p.stride - p.padding; // wraps around below 0, so that one comparison finds the pixels outside
    let left{r} = place{r}.z * p.stride - p.padding;
    var next_a{r} = vec4(0.0);
    //@ end
    //@ for r in 0..{LOADS_B}
    var next_b{r} = vec4(0.0);
    //@ end
    //@ if COOPERATIVE
    //@ for i in 0..{FRAGMENTS_A}
    //@ for j in 0..{FRAGMENTS_B}
    var sum{i}_{j} = FragmentC();
    //@ end
    //@ end
    //@ else
    //@ for j in 0..{QUADS}
    let start{j} = bias_quad(first_quad + across + {16*j}u);
    //@ for i in 0..{TM}
    var y{i}_{j} = start{j};
    //@ end
    //@ end
    //@ end
    let quads = (p.c_in + 3u) >> 2u;
    let chunks = (quads + 3u) >> 2u;
    let steps = p.kh * p.kw * chunks;
    // The position of the next step of the sum: the row and column of a tap, and a chunk of its channels.
    var next = vec3<u32>();
    //@ if COOPERATIVE
    for (var step = 0u; step < steps; step++) {
    //@ else
    for (var step = 0u; step <= steps; step++) {
    //@ end
        if step < steps {
            let tap = (batch * p.kh + next.x) * p.kw + next.y;
            let quad = 4u * next.z + (local & 3u);
            //@ for r in 0..{LOADS_A}
            {
                let row = top{r} + next.x;
                let column = left{r} + next.y;
                next_a{r} = vec4(0.0);
                if there{r} && row < p.h_in && column < p.w_in && quad < quads {
                    next_a{r} = load_a((image{r} + row) * p.w_in + column, quad, p.c_in);
                }
            }
            //@ end
            //@ for r in 0..{LOADS_B}
            {
                let e = local + {256*r}u;
                let c = 16u * next.z + e / {4*TN}u;
                let column_quad = first_quad + e % {4*TN}u;
                next_b{r} = vec4(0.0);
                if c < p.c_in && 4u * column_quad < p.c_out {
                    next_b{r} = load_b(tap * p.c_in + c, column_quad, p.c_out);
                }
            }
            //@ end
            next = following(next, p.kw, chunks);
        }
        //@ if COOPERATIVE
        // Cooperative matrices need provably uniform control flow, so that nothing is loaded ahead here.
        //@ for r in 0..{LOADS_A}
        put_a((local >> 2u) + {64*r}u, local & 3u, next_a{r});
        //@ end
        //@ for r in 0..{LOADS_B}
        put_b((local + {256*r}u) / {4*TN}u, local % {4*TN}u, next_b{r});
        //@ end
        workgroupBarrier();
        //@ for k in 0..{STEPS}
        {
            //@ for i in 0..{FRAGMENTS_A}
            let at_a{i} = (fragment_row + {C*i}u) * {LINE_A}u + {C*k}u;
            let a{i} = coopLoadT<FragmentA>(&tile_a[at_a{i}], {LINE_A}u);
            //@ end
            //@ for j in 0..{FRAGMENTS_B}
            let at_b{j} = {C*k}u * {LINE_B}u + fragment_column + {C*j}u;
            let b{j} = coopLoadT<FragmentB>(&tile_b[at_b{j}], {LINE_B}u);
            //@ for i in 0..{FRAGMENTS_A}
            sum{i}_{j} = coopMultiplyAdd(a{i}, b{j}, sum{i}_{j});
            //@ end
            //@ end
        }
        //@ end
        workgroupBarrier();
        //@ else
        if step > 0u {
            //@ for q in 0..4
            {
                //@ for i in 0..{TM}
                let a{i} = vec4<f32>(tile_a[(down + {16*i}u) * 4u + {q}u]);
                //@ end
                //@ for k in 0..4
                //@ for j in 0..{QUADS}
                let b{k}_{j} = vec4<f32>(tile_b[{16*q*TN+4*k*TN}u + across + {16*j}u]);
                //@ for i in 0..{TM}
                y{i}_{j} += a{i}[{k}] * b{k}_{j};
                //@ end
                //@ end
                //@ end
            }
            //@ end
            workgroupBarrier();
        }
        if step < steps {
            //@ for r in 0..{LOADS_A}
            put_a((local >> 2u) + {64*r}u, local & 3u, next_a{r});
            //@ end
            //@ for r in 0..{LOADS_B}
            put_b((local + {256*r}u) / {4*TN}u, local % {4*TN}u, next_b{r});
            //@ end
            workgroupBarrier();
        }
        //@ end
    }
    //@ if COOPERATIVE
    //@ for i in 0..{FRAGMENTS_A}
    //@ for j in 0..{FRAGMENTS_B}
    let at{i}_{j} = (batch * p.pixels + first_row + fragment_row + {C*i}u) * channels + 4u * first_quad + fragment_column + {C*j}u;
    coopStoreT(sum{i}_{j}, &out[at{i}_{j}], channels);
    //@ end
    //@ end
    //@ else
    //@ for i in 0..{TM}
    if first_row + down + {16*i}u < p.pixels {
        //@ for j in 0..{QUADS}
        store(batch * p.pixels + first_row + down + {16*i}u, first_quad + across + {16*j}u, p.c_out, y{i}_{j});
        //@ end
    }
    //@ end
    //@ end
}

//@ if HALF
enable f16;
//@ end
//@ if COOPERATIVE
enable wgpu_cooperative_matrix;
//@ end
// The input gradient of `conv2d_tiled.wgsl`: rows are pixels of x, columns input channels, the sum runs over (p, q, o).
// a is dy, b is w; tile_a [16·TM rows][4 quads of k], tile_b [16·TN columns][4 quads of k and one as padding against bank conflicts]

/// dx[n, i, j, c] = Σ_{p, q, o} dy[n, (i + padding − p)/stride, (j + padding − q)/stride, o] · w[p, q, c, o]
///
/// Only taps with whole quotients contribute. They are the same for all pixels of one parity (i mod stride, j mod stride),
/// and a dispatch computes one parity. Rows are its pixels, columns input channels. a is dy, b is w.
@compute @workgroup_size(256)
fn backward_input(
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
    let first_column = ((unit / p.blocks) % p.tiles) * {16*TN}u;
    let down = local >> 4u;
    let across = local & 15u;
    //@ if COOPERATIVE
    let fragment_row = (subgroup / {ACROSS}u) * {C*FRAGMENTS_A}u;
    let fragment_column = (subgroup % {ACROSS}u) * {C*FRAGMENTS_B}u;
    let channels = p.c_in;
    //@ end
    let parity_row = p.parity >> 16u;
    let parity_column = p.parity & 65535u;
    let height = (p.h_in - parity_row + p.stride - 1u) / p.stride;
    let width = (p.w_in - parity_column + p.stride - 1u) / p.stride;
    let tap_row0 = (parity_row + p.padding) % p.stride;
    let tap_column0 = (parity_column + p.padding) % p.stride;
    //@ for r in 0..{LOADS_A}
    let m{r} = first_row + (local >> 2u) + {64*r}u;
    let there{r} = m{r} < p.pixels;
    let place{r} = split(m{r}, height, width);
    let image{r} = (batch * p.n + place{r}.x) * p.h_out;
    let bottom{r} = place{r}.y + (parity_row + p.padding) / p.stride;
    let right{r} = place{r}.z + (parity_column + p.padding) / p.stride;
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
    //@ for i in 0..{TM}
    //@ for j in 0..{TN}
    var dx{i}_{j} = 0.0;
    //@ end
    //@ end
    //@ end
    let quads = (p.c_out + 3u) >> 2u;
    let chunks = (quads + 3u) >> 2u;
    let tap_rows = (max(p.kh, tap_row0) - tap_row0 + p.stride - 1u) / p.stride;
    let tap_columns = (max(p.kw, tap_column0) - tap_column0 + p.stride - 1u) / p.stride;
    let steps = tap_rows * tap_columns * chunks;
    // The position of the next step of the sum: rows and columns before the first pixel, and a chunk of the channels.
    var next = vec3<u32>();
    //@ if COOPERATIVE
    for (var step = 0u; step < steps; step++) {
    //@ else
    for (var step = 0u; step <= steps; step++) {
    //@ end
        if step < steps {
            let tap = (tap_row0 + next.x * p.stride) * p.kw + tap_column0 + next.y * p.stride;
            let quad = 4u * next.z + (local & 3u);
            //@ for r in 0..{LOADS_A}
            {
                let row = bottom{r} - next.x;
                let column = right{r} - next.y;
                next_a{r} = vec4(0.0);
                if there{r} && row < p.h_out && column < p.w_out && quad < quads {
                    next_a{r} = load_a((image{r} + row) * p.w_out + column, quad, p.c_out);
                }
            }
            //@ end
            //@ for r in 0..{LOADS_B}
            {
                let c = first_column + (local >> 2u) + {64*r}u;
                next_b{r} = vec4(0.0);
                if c < p.c_in && quad < quads {
                    next_b{r} = load_b((batch * p.kh * p.kw + tap) * p.c_in + c, quad, p.c_out);
                }
            }
            //@ end
            next = following(next, tap_columns, chunks);
        }
        //@ if COOPERATIVE
        // Cooperative matrices need provably uniform control flow, so that nothing is loaded ahead here.
        //@ for r in 0..{LOADS_A}
        put_a((local >> 2u) + {64*r}u, local & 3u, next_a{r});
        //@ end
        //@ for r in 0..{LOADS_B}
        put_b((local >> 2u) + {64*r}u, local & 3u, next_b{r});
        //@ end
        workgroupBarrier();
        //@ for k in 0..{STEPS}
        {
            //@ for i in 0..{FRAGMENTS_A}
            let at_a{i} = (fragment_row + {C*i}u) * {LINE_A}u + {C*k}u;
            let a{i} = coopLoadT<FragmentA>(&tile_a[at_a{i}], {LINE_A}u);
            //@ end
            //@ for j in 0..{FRAGMENTS_B}
            let at_b{j} = (fragment_column + {C*j}u) * {LINE_B}u + {C*k}u;
            let b{j} = coopLoad<FragmentB>(&tile_b[at_b{j}], {LINE_B}u);
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
                //@ for j in 0..{TN}
                let b{j} = vec4<f32>(tile_b[(across + {16*j}u) * {LINE_B}u + {q}u]);
                //@ end
                //@ for i in 0..{TM}
                let a{i} = vec4<f32>(tile_a[(down + {16*i}u) * 4u + {q}u]);
                //@ for j in 0..{TN}
                dx{i}_{j} += dot(a{i}, b{j});
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
            put_b((local >> 2u) + {64*r}u, local & 3u, next_b{r});
            //@ end
            workgroupBarrier();
        }
        //@ end
    }
    //@ if COOPERATIVE
    //@ for i in 0..{FRAGMENTS_A}
    //@ for j in 0..{FRAGMENTS_B}
    let at{i}_{j} = (batch * p.pixels + first_row + fragment_row + {C*i}u) * channels + first_column + fragment_column + {C*j}u;
    coopStoreT(sum{i}_{j}, &out[at{i}_{j}], channels);
    //@ end
    //@ end
    //@ else
    //@ for i in 0..{TM}
    {
        let m = first_row + down + {16*i}u;
        if m < p.pixels {
            let place = split(m, height, width);
            let row = (batch * p.n + place.x) * p.h_in + place.y * p.stride + parity_row;
            let at = (row * p.w_in + place.z * p.stride + parity_column) * p.c_in;
            //@ for j in 0..{TN}
            if first_column + across + {16*j}u < p.c_in {
                out[at + first_column + across + {16*j}u] = dx{i}_{j};
            }
            //@ end
        }
    }
    //@ end
    //@ end
}

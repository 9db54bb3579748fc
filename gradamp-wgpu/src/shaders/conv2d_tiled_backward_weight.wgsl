//@ if HALF
enable f16;
//@ end
//@ if COOPERATIVE
enable wgpu_cooperative_matrix;
//@ end
// The weight gradient of `conv2d_tiled.wgsl`: rows are (p, q, c), columns output channels, the sum runs over pixels.
// a is x, b is dy; tile_a [16 of k][4·TM quads of rows], tile_b [16 of k][4·TN quads of columns]

/// dw[p, q, c, o] = Σ_{n, i, j} x[n, i·stride + p − padding, j·stride + q − padding, c] · dy[n, i, j, o]
///
/// Rows are (p, q, c), columns output channels, and the sum runs over one part of the pixels. The parts are stored one after the
/// other in `out`, and a second kernel adds them in their order. a is x, b is dy.
@compute @workgroup_size(256)
fn backward_weight(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
    //@ if COOPERATIVE
    @builtin(subgroup_id) subgroup: u32,
    //@ end
) {
    let unit = group.y * 32768u + group.x;
    let number = unit / (p.blocks * p.tiles);
    let batch = number / p.parts;
    if batch >= p.batches { return; }
    let begin = (number % p.parts) * p.part;
    let end = min(begin + p.part, p.pixels);
    let first_row = (unit % p.blocks) * {4*TM}u; // in quads
    let first_quad = ((unit / p.blocks) % p.tiles) * {4*TN}u;
    let down = local >> 4u;
    let across = local & 15u;
    //@ if COOPERATIVE
    let fragment_row = (subgroup / {ACROSS}u) * {C*FRAGMENTS_A}u;
    let fragment_column = (subgroup % {ACROSS}u) * {C*FRAGMENTS_B}u;
    let channels = p.c_out;
    //@ end
    let quads = (p.c_in + 3u) >> 2u;
    let rows = p.kh * p.kw * quads;
    // The quad of rows that this invocation loads.
    let row = first_row + local % {4*TM}u;
    let tap = row / quads;
    let quad = row % quads;
    let down_by = tap / p.kw - p.padding; // wraps around below 0, so that one comparison finds the pixels outside
    let right_by = tap % p.kw - p.padding;
    // The distance of sixteen pixels.
    let sixteen = split(16u, p.h_out, p.w_out);
    //@ for r in 0..{LOADS_A}
    var m{r} = begin + (local + {256*r}u) / {4*TM}u;
    var place{r} = split(m{r}, p.h_out, p.w_out);
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
    //@ for j in 0..{QUADS}
    var dw{i}_{j} = vec4(0.0);
    //@ end
    //@ end
    //@ end
    let steps = (end - begin + 15u) >> 4u;
    //@ if COOPERATIVE
    for (var step = 0u; step < steps; step++) {
    //@ else
    for (var step = 0u; step <= steps; step++) {
    //@ end
        if step < steps {
            //@ for r in 0..{LOADS_A}
            {
                let top = place{r}.y * p.stride + down_by;
                let left = place{r}.z * p.stride + right_by;
                next_a{r} = vec4(0.0);
                if m{r} < end && row < rows && top < p.h_in && left < p.w_in {
                    next_a{r} = load_a(((batch * p.n + place{r}.x) * p.h_in + top) * p.w_in + left, quad, p.c_in);
                }
                m{r} += 16u;
                place{r} = advance(place{r}, sixteen, p.h_out, p.w_out);
            }
            //@ end
            //@ for r in 0..{LOADS_B}
            {
                let e = local + {256*r}u;
                let m = begin + 16u * step + e / {4*TN}u;
                let column_quad = first_quad + e % {4*TN}u;
                next_b{r} = vec4(0.0);
                if m < end && 4u * column_quad < p.c_out {
                    next_b{r} = load_b(batch * p.pixels + m, column_quad, p.c_out);
                }
            }
            //@ end
        }
        //@ if COOPERATIVE
        // Cooperative matrices need provably uniform control flow, so that nothing is loaded ahead here.
        //@ for r in 0..{LOADS_A}
        put_a((local + {256*r}u) / {4*TM}u, local % {4*TM}u, next_a{r});
        //@ end
        //@ for r in 0..{LOADS_B}
        put_b((local + {256*r}u) / {4*TN}u, local % {4*TN}u, next_b{r});
        //@ end
        workgroupBarrier();
        //@ for k in 0..{STEPS}
        {
            //@ for i in 0..{FRAGMENTS_A}
            let at_a{i} = {C*k}u * {LINE_A}u + fragment_row + {C*i}u;
            let a{i} = coopLoad<FragmentA>(&tile_a[at_a{i}], {LINE_A}u);
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
            //@ for k in 0..16
            {
                //@ for j in 0..{QUADS}
                let b{j} = vec4<f32>(tile_b[{4*k*TN}u + across + {16*j}u]);
                //@ end
                //@ for i in 0..{ROW_QUADS}
                let a{i} = vec4<f32>(tile_a[{4*k*TM}u + down + {16*i}u]);
                //@ for t in 0..4
                //@ for j in 0..{QUADS}
                dw{4*i+t}_{j} += a{i}[{t}] * b{j};
                //@ end
                //@ end
                //@ end
            }
            //@ end
            workgroupBarrier();
        }
        if step < steps {
            //@ for r in 0..{LOADS_A}
            put_a((local + {256*r}u) / {4*TM}u, local % {4*TM}u, next_a{r});
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
    let at{i}_{j} = (number * 4u * rows + 4u * first_row + fragment_row + {C*i}u) * channels + 4u * first_quad + fragment_column + {C*j}u;
    coopStoreT(sum{i}_{j}, &out[at{i}_{j}], channels);
    //@ end
    //@ end
    //@ else
    //@ for i in 0..{ROW_QUADS}
    {
        let row = first_row + down + {16*i}u;
        let tap = row / quads;
        let quad = row % quads;
        //@ for t in 0..4
        if row < rows && 4u * quad + {t}u < p.c_in {
            let w_row = (number * p.kh * p.kw + tap) * p.c_in + 4u * quad + {t}u;
            //@ for j in 0..{QUADS}
            store(w_row, first_quad + across + {16*j}u, p.c_out, dw{4*i+t}_{j});
            //@ end
        }
        //@ end
    }
    //@ end
    //@ end
}

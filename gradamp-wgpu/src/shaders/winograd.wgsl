// Winograd's F(4x4, 3x3): a tile of 4 x 4 outputs from a window of 6 x 6 inputs with 36 multiplications instead of 144.
//
// Y = Aᵀ [(G g Gᵀ) ⊙ (Bᵀ d B)] A, summed over channels between the transforms: 36 matrix products, one for each of the
// 6 x 6 places of a window. The weight gradient is its transpose: dg = Gᵀ [Σ (Bᵀ d B) ⊙ (A dY Aᵀ)] G.
//
// Images [n, h, w, c] in quads of channels; transformed values [36][tile][c] and [36][c_in][c_out]. An invocation transforms
// one quad of channels of one tile, or of one channel of w.
//
// Source: Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2016.

struct Params {
    // The images of a transform: the first one, and their height, width and channels.
    first_image: u32, h: u32, w: u32, c: u32,
    // The tiles of an image, down and across, and of all images of this dispatch.
    down: u32, across: u32, tiles: u32,
    // Zeros around the image.
    padding: u32,
    // For transforms of weights: the input and output channels.
    c_in: u32, c_out: u32,
}

var<immediate> p: Params;

@group(0) @binding(0) var<storage, read> a: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> out: array<vec4<f32>>;

alias Six = array<vec4<f32>, 6>;
alias Four = array<vec4<f32>, 4>;
alias Three = array<vec4<f32>, 3>;

/// Bᵀ d
fn input_transform(d: Six) -> Six {
    return Six(
        4.0 * d[0] - 5.0 * d[2] + d[4],
        (d[3] + d[4]) - 4.0 * (d[1] + d[2]),
        (d[4] - d[3]) + 4.0 * (d[1] - d[2]),
        2.0 * (d[3] - d[1]) + (d[4] - d[2]),
        2.0 * (d[1] - d[3]) + (d[4] - d[2]),
        4.0 * d[1] - 5.0 * d[3] + d[5],
    );
}

/// Aᵀ m
fn output_transform(m: Six) -> Four {
    let bc = m[1] + m[2];
    let cb = m[1] - m[2];
    let de = m[3] + m[4];
    let ed = m[3] - m[4];
    return Four(m[0] + bc + de, cb + 2.0 * ed, bc + 4.0 * de, cb + 8.0 * ed + m[5]);
}

/// A y
fn output_gradient_transform(y: Four) -> Six {
    let even = y[0] + y[2];
    let odd = y[1] + y[3];
    let even2 = y[0] + 4.0 * y[2];
    let odd2 = 2.0 * y[1] + 8.0 * y[3];
    return Six(y[0], even + odd, even - odd, even2 + odd2, even2 - odd2, y[3]);
}

/// G g
fn weight_transform(g: Three) -> Six {
    let even = -1.0 / 6.0 * (g[0] + g[2]);
    let odd = 1.0 / 6.0 * g[1];
    let even2 = 1.0 / 24.0 * g[0] + 1.0 / 6.0 * g[2];
    let odd2 = 1.0 / 12.0 * g[1];
    return Six(0.25 * g[0], even - odd, even + odd, even2 + odd2, even2 - odd2, g[2]);
}

/// Gᵀ u
fn weight_gradient_transform(u: Six) -> Three {
    let bc = u[1] + u[2];
    let de = u[3] + u[4];
    return Three(
        0.25 * u[0] - 1.0 / 6.0 * bc + 1.0 / 24.0 * de,
        1.0 / 6.0 * (u[2] - u[1]) + 1.0 / 12.0 * (u[3] - u[4]),
        1.0 / 6.0 * (de - bc) + u[5],
    );
}

/// The quad at a pixel, 0 outside the image.
fn pixel(image: u32, row: u32, column: u32, quad: u32) -> vec4<f32> {
    let inside = row < p.h && column < p.w;
    let at = select(0u, (image * p.h + row) * p.w + column, inside);
    return select(vec4(0.0), a[at * (p.c >> 2u) + quad], inside);
}

fn place(group: vec3<u32>, local: u32) -> u32 {
    return (group.y * 32768u + group.x) * 64u + local;
}

/// out[36][tile][c] = Bᵀ d B
@compute @workgroup_size(64)
fn transform_input(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let quads = p.c >> 2u;
    let tile = place(group, local) / quads;
    let quad = place(group, local) % quads;
    if tile >= p.tiles { return; }
    let at_tile = split(tile, p.down, p.across);
    let image = p.first_image + at_tile.x;
    let top = at_tile.y * 4u - p.padding; // wraps around below 0, which is outside every image
    let left = at_tile.z * 4u - p.padding;
    //@ for i in 0..6
    let d{i} = input_transform(Six(
        //@ for j in 0..6
        pixel(image, top + {i}u, left + {j}u, quad),
        //@ end
    ));
    //@ end
    let at = tile * quads + quad;
    //@ for j in 0..6
    {
        let v = input_transform(Six(d0[{j}], d1[{j}], d2[{j}], d3[{j}], d4[{j}], d5[{j}]));
        //@ for i in 0..6
        out[{6*i+j}u * p.tiles * quads + at] = v[{i}];
        //@ end
    }
    //@ end
}

// out[n, i, j, c] = Aᵀ m A + bias, m [36][tile][c]
//@ if BIAS
@group(0) @binding(2) var<storage, read> bias: array<vec4<f32>>;
//@ end

@compute @workgroup_size(64)
fn transform_output(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let quads = p.c >> 2u;
    let tile = place(group, local) / quads;
    let quad = place(group, local) % quads;
    if tile >= p.tiles { return; }
    let at_tile = split(tile, p.down, p.across);
    let image = p.first_image + at_tile.x;
    let top = at_tile.y * 4u;
    let left = at_tile.z * 4u;
    let at = tile * quads + quad;
    //@ for i in 0..6
    let m{i} = output_transform(Six(
        //@ for j in 0..6
        a[{6*i+j}u * p.tiles * quads + at],
        //@ end
    ));
    //@ end
    //@ if BIAS
    let shift = bias[quad];
    //@ else
    let shift = vec4(0.0);
    //@ end
    //@ for j in 0..4
    {
        let y = output_transform(Six(m0[{j}], m1[{j}], m2[{j}], m3[{j}], m4[{j}], m5[{j}]));
        //@ for i in 0..4
        if top + {i}u < p.h && left + {j}u < p.w {
            out[((image * p.h + top + {i}u) * p.w + left + {j}u) * quads + quad] = y[{i}] + shift;
        }
        //@ end
    }
    //@ end
}

/// out[36][tile][c] = A dy Aᵀ
@compute @workgroup_size(64)
fn transform_output_gradient(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let quads = p.c >> 2u;
    let tile = place(group, local) / quads;
    let quad = place(group, local) % quads;
    if tile >= p.tiles { return; }
    let at_tile = split(tile, p.down, p.across);
    let image = p.first_image + at_tile.x;
    let top = at_tile.y * 4u;
    let left = at_tile.z * 4u;
    //@ for i in 0..4
    let y{i} = output_gradient_transform(Four(
        //@ for j in 0..4
        pixel(image, top + {i}u, left + {j}u, quad),
        //@ end
    ));
    //@ end
    let at = tile * quads + quad;
    //@ for j in 0..6
    {
        let m = output_gradient_transform(Four(y0[{j}], y1[{j}], y2[{j}], y3[{j}]));
        //@ for i in 0..6
        out[{6*i+j}u * p.tiles * quads + at] = m[{i}];
        //@ end
    }
    //@ end
}

/// out[36][c_in][c_out] = G g Gᵀ, for the input gradient with both axes of g reversed.
@compute @workgroup_size(64)
fn transform_weight(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let size = p.c_in * (p.c_out >> 2u);
    let at = place(group, local);
    if at >= size { return; }
    //@ for i in 0..3
    //@ if REVERSED
    let g{i} = weight_transform(Three(a[{8+-3*i}u * size + at], a[{7+-3*i}u * size + at], a[{6+-3*i}u * size + at]));
    //@ else
    let g{i} = weight_transform(Three(a[{3*i}u * size + at], a[{3*i+1}u * size + at], a[{3*i+2}u * size + at]));
    //@ end
    //@ end
    //@ for j in 0..6
    {
        let u = weight_transform(Three(g0[{j}], g1[{j}], g2[{j}]));
        //@ for i in 0..6
        out[{6*i+j}u * size + at] = u[{i}];
        //@ end
    }
    //@ end
}

/// out[3, 3, c_in, c_out] = Gᵀ u G
@compute @workgroup_size(64)
fn transform_weight_gradient(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let size = p.c_in * (p.c_out >> 2u);
    let at = place(group, local);
    if at >= size { return; }
    //@ for i in 0..6
    let u{i} = weight_gradient_transform(Six(
        //@ for j in 0..6
        a[{6*i+j}u * size + at],
        //@ end
    ));
    //@ end
    //@ for j in 0..3
    {
        let g = weight_gradient_transform(Six(u0[{j}], u1[{j}], u2[{j}], u3[{j}], u4[{j}], u5[{j}]));
        //@ for i in 0..3
        out[{3*i+j}u * size + at] = g[{i}];
        //@ end
    }
    //@ end
}

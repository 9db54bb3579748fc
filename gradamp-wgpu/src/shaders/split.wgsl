
/// The image, row and column of pixel m, counted over all images of height times width. Needs two divisions.
fn split(m: u32, height: u32, width: u32) -> vec3<u32> {
    let line = m / width;
    let image = line / height;
    return vec3(image, line - image * height, m - line * width);
}

/// The pixel `by` after `at`, both given as image, row and column. Needs no division.
fn advance(at: vec3<u32>, by: vec3<u32>, height: u32, width: u32) -> vec3<u32> {
    var next = at + by;
    let line_ends = u32(next.z >= width);
    next.z -= line_ends * width;
    next.y += line_ends;
    let image_ends = u32(next.y >= height);
    next.y -= image_ends * height;
    next.x += image_ends;
    return next;
}

/// The pixel after `at`.
fn following(at: vec3<u32>, height: u32, width: u32) -> vec3<u32> {
    return advance(at, vec3(0u, 0u, 1u), height, width);
}

/// Along one axis, the last window that starts at or before a pixel, and the pixel's place in that window.
fn last_window(pixel: u32, stride: u32) -> vec2<u32> {
    let window = pixel / stride;
    return vec2(window, pixel - window * stride);
}

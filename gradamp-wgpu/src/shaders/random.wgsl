// Counted random numbers: one block of Threefry-2x32 with 20 rounds, the same bits as on the host.
//
// **Source:** Salmon, Moraes, Dror, Shaw, "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011.

fn rotate(x: u32, by: u32) -> u32 {
    return (x << by) | (x >> (32u - by));
}

fn four_rounds(x: vec2<u32>, by: vec4<u32>) -> vec2<u32> {
    var a = x.x;
    var b = x.y;
    a += b;
    b = rotate(b, by.x) ^ a;
    a += b;
    b = rotate(b, by.y) ^ a;
    a += b;
    b = rotate(b, by.z) ^ a;
    a += b;
    b = rotate(b, by.w) ^ a;
    return vec2(a, b);
}

fn threefry(key: vec2<u32>, counter: vec2<u32>) -> vec2<u32> {
    let even = vec4(13u, 15u, 26u, 6u);
    let odd = vec4(17u, 29u, 16u, 24u);
    let third = 0x1BD11BDAu ^ key.x ^ key.y;
    var x = counter + key;
    x = four_rounds(x, even) + vec2(key.y, third + 1u);
    x = four_rounds(x, odd) + vec2(third, key.x + 2u);
    x = four_rounds(x, even) + vec2(key.x, key.y + 3u);
    x = four_rounds(x, odd) + vec2(key.y, third + 4u);
    return four_rounds(x, even) + vec2(third, key.x + 5u);
}

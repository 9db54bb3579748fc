//! The ten outlines. Each is a function that says whether a point lies inside the shape. u points right and v down;
//! the shape is centred at 0 and has a radius of about 1.

pub(super) type Outline = fn(f32, f32) -> bool;

/// The classes in the order of their labels.
pub(super) const CLASSES: [(&str, Outline); 10] = [
    ("circle", disc),
    ("ring", |u, v| (0.3..0.81).contains(&(u * u + v * v))),
    ("half disc", |u, v| v > -0.4 && u * u + (v + 0.4) * (v + 0.4) < 1.0),
    ("crescent", |u, v| u * u + v * v < 0.9 && (u - 0.45) * (u - 0.45) + v * v > 0.5),
    ("square", square),
    ("frame", |u, v| (0.48..0.8).contains(&u.abs().max(v.abs()))),
    ("triangle", |u, v| v < 0.7 && 1.65 * u.abs() < 0.9 * (v + 0.95)),
    ("star", |u, v| inside(&STAR, u, v)),
    ("cross", |u, v| bar(u, v) || bar(v, u)),
    ("two bars", |u, v| v.abs() < 0.85 && (0.22..0.7).contains(&u.abs())),
];

pub(super) fn disc(u: f32, v: f32) -> bool {
    u * u + v * v < 0.72
}

pub(super) fn square(u: f32, v: f32) -> bool {
    u.abs().max(v.abs()) < 0.75
}

pub(super) fn bar(u: f32, v: f32) -> bool {
    u.abs() < 0.27 && v.abs() < 0.95
}

/// The corners of the star, clockwise from the top: five points at radius 1, and between them five at radius 0.42.
const STAR: [(f32, f32); 10] = [
    (0.0, -1.0),
    (0.247, -0.340),
    (0.951, -0.309),
    (0.399, 0.130),
    (0.588, 0.809),
    (0.0, 0.42),
    (-0.588, 0.809),
    (-0.399, 0.130),
    (-0.951, -0.309),
    (-0.247, -0.340),
];

/// Whether a point lies inside a polygon: a ray from the point to the right crosses the edges an odd number of times.
fn inside(corners: &[(f32, f32)], u: f32, v: f32) -> bool {
    let edges = corners.iter().zip(corners.iter().cycle().skip(1));
    let crosses = |((u0, v0), (u1, v1)): &(&(f32, f32), &(f32, f32))| {
        (*v0 > v) != (*v1 > v) && u < u0 + (v - v0) / (v1 - v0) * (u1 - u0)
    };
    edges.filter(crosses).count() % 2 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the area that an outline covers within the square from -1.3 to 1.3, and whether the outline stays
    /// inside it.
    fn coverage(outline: Outline) -> (f32, bool) {
        let place = |i: usize| (i as f32 + 0.5) / 100.0 * 4.0 - 2.0;
        let points = (0..100).flat_map(|i| (0..100).map(move |j| (place(i), place(j))));
        let covered: Vec<_> = points.filter(|&(u, v)| outline(u, v)).collect();
        (covered.len() as f32 / 625.0, covered.iter().all(|(u, v)| u * u + v * v < 1.3 * 1.3))
    }

    #[test]
    fn outlines_cover_enough_area_and_stay_within_reach() {
        for (name, outline) in CLASSES {
            let (area, reached) = coverage(outline);
            assert!((0.8..2.6).contains(&area), "{name} covers an area of {area}");
            assert!(reached, "{name} reaches too far");
        }
    }

    #[test]
    fn the_star_has_the_area_of_its_triangles() {
        // Ten triangles, each with sides 1 and 0.42 that enclose 36 degrees: 10/2 · 0.42 · sin 36°.
        let (area, _) = coverage(CLASSES[7].1);
        assert!((area - 5.0 * 0.42 * 0.5878).abs() < 0.05, "{area}");
    }
}

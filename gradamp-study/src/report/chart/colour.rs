//! Colours, computed in OKLab: colours at equal distances look equally different.
//!
//! **Source:** B. Ottosson, "A perceptual color space for image processing", 2020.

use std::fmt::Write;

/// The number of colours of a sequential or diverging scale.
pub const LEVELS: usize = 25;
/// The number of colours of lines.
pub const SERIES: usize = 6;

/// The background of a drawing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Theme {
    /// Dark text on a light background.
    Light,
    /// Light text on a dark background.
    Dark,
}

/// An sRGB colour. Each part is in [0, 1].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rgb(pub [f64; 3]);

impl Rgb {
    /// The colour with this lightness, chroma and hue (in degrees) of OKLCH. The chroma is reduced if a screen cannot show it.
    pub fn oklch(lightness: f64, chroma: f64, hue: f64) -> Self {
        let of = |chroma: f64| linear_of_oklab(lightness, chroma, hue.to_radians());
        let fits = |chroma: f64| of(chroma).iter().all(|part| (-1e-4..=1.0001).contains(part));
        let (mut least, mut most) = (0.0, chroma);
        if fits(chroma) {
            least = chroma;
        } else {
            for _ in 0..24 {
                let middle = f64::midpoint(least, most);
                if fits(middle) { least = middle } else { most = middle }
            }
        }
        Self(of(least).map(|part| encoded(part.clamp(0.0, 1.0))))
    }

    /// `#rrggbb`
    pub fn hex(self) -> String {
        let [r, g, b] = self.0.map(|part| (255.0 * part).round() as u8);
        format!("#{r:02x}{g:02x}{b:02x}")
    }

    /// **Formula:** WCAG 2's relative luminance.
    pub fn luminance(self) -> f64 {
        let [r, g, b] = self.0.map(decoded);
        0.2126 * r + 0.7152 * g + 0.0722 * b
    }

    /// **Formula:** WCAG 2's contrast ratio, 1 to 21.
    pub fn contrast(self, other: Self) -> f64 {
        let (a, b) = (self.luminance(), other.luminance());
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }
}

fn linear_of_oklab(lightness: f64, chroma: f64, hue: f64) -> [f64; 3] {
    let (a, b) = (chroma * hue.cos(), chroma * hue.sin());
    let l = (lightness + 0.3963377774 * a + 0.2158037573 * b).powi(3);
    let m = (lightness - 0.1055613458 * a - 0.0638541728 * b).powi(3);
    let s = (lightness - 0.0894841775 * a - 1.2914855480 * b).powi(3);
    [
        4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s,
        -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s,
        -0.0041960863 * l - 0.7034186147 * m + 1.7076147010 * s,
    ]
}

/// sRGB's transfer function.
fn encoded(linear: f64) -> f64 {
    if linear <= 0.0031308 { 12.92 * linear } else { 1.055 * linear.powf(1.0 / 2.4) - 0.055 }
}

fn decoded(part: f64) -> f64 {
    if part <= 0.04045 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) }
}

fn mix(from: f64, to: f64, share: f64) -> f64 {
    from + (to - from) * share
}

/// The colours of small values (similar to the background) to large values, in equal steps of lightness.
pub fn sequential(theme: Theme, level: usize) -> Rgb {
    let share = level as f64 / (LEVELS - 1) as f64;
    let lightness = match theme {
        Theme::Light => mix(0.965, 0.30, share),
        Theme::Dark => mix(0.29, 0.95, share),
    };
    // Light colours are yellowish and dark colours blue. People with any kind of colour vision see them in the same order.
    let hue = mix(105.0, 275.0, if theme == Theme::Light { share } else { 1.0 - share });
    let chroma = 0.035 + 0.09 * (std::f64::consts::PI * share.powf(0.8)).sin().max(0.25);
    Rgb::oklch(lightness, chroma, hue)
}

/// The colours of values below the centre (orange), at the centre (similar to the background) and above it (blue), in equal
/// steps to both sides.
pub fn diverging(theme: Theme, level: usize) -> Rgb {
    let half = (LEVELS - 1) as f64 / 2.0;
    let share = (level as f64 - half) / half;
    let lightness = match theme {
        Theme::Light => mix(0.965, 0.50, share.abs()),
        Theme::Dark => mix(0.29, 0.80, share.abs()),
    };
    let hue = if share < 0.0 { 55.0 } else { 250.0 };
    Rgb::oklch(lightness, 0.16 * share.abs().powf(0.8), hue)
}

/// Colours of lines, which people who do not see red or green can distinguish.
pub fn series(theme: Theme, number: usize) -> Rgb {
    // Lightness, chroma, hue. A search found these six: they are far apart for every kind of colour vision, and dark enough or
    // light enough for text.
    const LIGHT: [(f64, f64, f64); SERIES] = [
        (0.50, 0.20, 273.0),
        (0.55, 0.18, 31.0),
        (0.30, 0.20, 198.0),
        (0.343, 0.18, 309.0),
        (0.403, 0.19, 55.0),
        (0.53, 0.07, 200.0),
    ];
    const DARK: [(f64, f64, f64); SERIES] = [
        (0.68, 0.20, 249.0),
        (0.704, 0.20, 60.0),
        (0.882, 0.19, 160.0),
        (0.855, 0.123, 297.0),
        (0.87, 0.19, 99.0),
        (0.62, 0.0, 0.0),
    ];
    let (lightness, chroma, hue) = match theme {
        Theme::Light => LIGHT[number % SERIES],
        Theme::Dark => DARK[number % SERIES],
    };
    Rgb::oklch(lightness, chroma, hue)
}

/// The background of figures.
pub fn surface(theme: Theme) -> Rgb {
    match theme {
        Theme::Light => Rgb::oklch(1.0, 0.0, 0.0),
        Theme::Dark => Rgb::oklch(0.225, 0.008, 260.0),
    }
}

/// The more readable of a theme's two text colours on `ground`.
fn ink_on(ground: Rgb) -> Rgb {
    // Only black and white are readable on every colour between them.
    let (dark, light) = (Rgb::oklch(0.0, 0.0, 0.0), Rgb::oklch(1.0, 0.0, 0.0));
    if ground.contrast(dark) >= ground.contrast(light) { dark } else { light }
}

/// The colours outside the scales, by the names of their CSS variables.
pub fn named(theme: Theme) -> Vec<(&'static str, Rgb)> {
    let pick = |light: (f64, f64, f64), dark: (f64, f64, f64)| {
        let (lightness, chroma, hue) = if theme == Theme::Light { light } else { dark };
        Rgb::oklch(lightness, chroma, hue)
    };
    vec![
        ("ground", pick((0.978, 0.003, 250.0), (0.185, 0.008, 260.0))),
        ("surface", surface(theme)),
        ("ink", pick((0.24, 0.015, 260.0), (0.93, 0.005, 260.0))),
        ("muted", pick((0.49, 0.015, 260.0), (0.73, 0.01, 260.0))),
        ("rule", pick((0.895, 0.005, 260.0), (0.33, 0.01, 260.0))),
        ("axis", pick((0.70, 0.01, 260.0), (0.50, 0.01, 260.0))),
        ("accent", pick((0.47, 0.17, 258.0), (0.76, 0.12, 250.0))),
        ("shade", pick((0.945, 0.045, 85.0), (0.315, 0.04, 80.0))),
        ("shade-ink", pick((0.45, 0.09, 70.0), (0.83, 0.09, 85.0))),
        ("good", pick((0.47, 0.11, 150.0), (0.80, 0.13, 150.0))),
        ("bad", pick((0.48, 0.17, 28.0), (0.76, 0.14, 30.0))),
    ]
}

/// All variables of a theme, as CSS declarations.
pub fn variables(theme: Theme) -> String {
    let mut css = String::new();
    let mut add = |name: &str, colour: Rgb| {
        let _ = write!(css, "--{name}:{};", colour.hex()); // writing to a String cannot fail
    };
    for (name, colour) in named(theme) {
        add(name, colour);
    }
    for number in 0..SERIES {
        add(&format!("c{number}"), series(theme, number));
    }
    for level in 0..LEVELS {
        let (sequential, diverging) = (sequential(theme, level), diverging(theme, level));
        add(&format!("q{level}"), sequential);
        add(&format!("qi{level}"), ink_on(sequential));
        add(&format!("d{level}"), diverging);
        add(&format!("di{level}"), ink_on(diverging));
    }
    css
}

/// The CSS rules of the scales' colours and of the text on them.
pub fn classes() -> String {
    let mut css = String::new();
    for level in 0..LEVELS {
        for scale in ["q", "qi", "d", "di"] {
            let _ = write!(css, ".{scale}{level}{{fill:var(--{scale}{level})}}");
        }
    }
    for number in 0..SERIES {
        let _ = write!(
            css,
            ".s{number}{{stroke:var(--c{number})}}.f{number}{{fill:var(--c{number})}}.b{number}{{fill:var(--c{number});fill-opacity:.16}}"
        );
    }
    css
}

/// `css` with the theme's colours in place of its variables, for programs that know none.
pub fn resolved(css: &str, theme: Theme) -> String {
    let variables = variables(theme);
    let declared =
        variables.split(';').filter_map(|declaration| declaration.strip_prefix("--")?.split_once(':'));
    let reference = |(name, colour): (&str, &str)| (format!("var(--{name})"), colour.to_owned());
    declared.map(reference).fold(css.to_owned(), |css, (name, colour)| css.replace(&name, &colour))
}

#[cfg(test)]
mod tests {
    use super::*;

    const THEMES: [Theme; 2] = [Theme::Light, Theme::Dark];

    /// What a colour looks like without red or green cones; Machado, Oliveira and Fernandes, 2009, severity 1.
    fn without(cone: usize, Rgb(colour): Rgb) -> [f64; 3] {
        const MATRICES: [[[f64; 3]; 3]; 2] = [
            [
                [0.152286, 1.052583, -0.204868],
                [0.114503, 0.786281, 0.099216],
                [-0.003882, -0.048116, 1.051998],
            ],
            [
                [0.367322, 0.860646, -0.227968],
                [0.280085, 0.672501, 0.047413],
                [-0.011820, 0.042940, 0.968881],
            ],
        ];
        let linear = colour.map(decoded);
        MATRICES[cone].map(|row| row.iter().zip(linear).map(|(a, b)| a * b).sum::<f64>().clamp(0.0, 1.0))
    }

    fn oklab([r, g, b]: [f64; 3]) -> [f64; 3] {
        let l = (0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b).cbrt();
        let m = (0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b).cbrt();
        let s = (0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b).cbrt();
        [
            0.2104542553 * l + 0.7936177850 * m - 0.0040720468 * s,
            1.9779984951 * l - 2.4285922050 * m + 0.4505937099 * s,
            0.0259040371 * l + 0.7827717662 * m - 0.8086757660 * s,
        ]
    }

    fn distance(a: [f64; 3], b: [f64; 3]) -> f64 {
        a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt()
    }

    #[test]
    fn colours_come_back_from_the_screen() {
        for (lightness, chroma, hue) in [(0.5, 0.1, 30.0), (0.8, 0.05, 200.0), (1.0, 0.0, 0.0)] {
            let found = oklab(Rgb::oklch(lightness, chroma, hue).0.map(decoded));
            let angle = f64::to_radians(hue);
            let expected = [lightness, chroma * angle.cos(), chroma * angle.sin()];
            assert!(distance(found, expected) < 1e-3, "{found:?} {expected:?}");
        }
        assert_eq!(Rgb::oklch(1.0, 0.4, 120.0).hex(), "#ffffff", "what no screen shows loses its colour");
    }

    #[test]
    fn sequential_colours_are_even_steps_that_never_turn() {
        for theme in THEMES {
            let lab = |level: usize| oklab(sequential(theme, level).0.map(decoded));
            let lightness: Vec<f64> = (0..LEVELS).map(|level| lab(level)[0]).collect();
            let steps: Vec<f64> = lightness.windows(2).map(|pair| pair[1] - pair[0]).collect();
            let mean = steps.iter().sum::<f64>() / steps.len() as f64;
            assert!(steps.iter().all(|step| (step / mean - 1.0).abs() < 0.05), "{theme:?} {steps:?}");
            for cone in 0..2 {
                let seen = (0..LEVELS).map(|level| oklab(without(cone, sequential(theme, level)))[0]);
                let seen: Vec<f64> = seen.collect();
                assert!(seen.windows(2).all(|pair| (pair[1] - pair[0]) * mean > 0.0), "{theme:?} {seen:?}");
            }
        }
    }

    #[test]
    fn lines_are_told_apart_also_without_red_or_green() {
        for theme in THEMES {
            for (a, b) in (0..SERIES).flat_map(|a| (0..a).map(move |b| (a, b))) {
                let (first, second) = (series(theme, a), series(theme, b));
                for cone in 0..2 {
                    let far = distance(oklab(without(cone, first)), oklab(without(cone, second)));
                    assert!(far > 0.09, "{theme:?}: {a} and {b} without cone {cone}: {far}");
                }
            }
        }
    }

    #[test]
    fn every_text_has_the_contrast_that_wcag_asks_for() {
        for theme in THEMES {
            let named = named(theme);
            let of = |name: &str| named.iter().find(|(found, _)| *found == name).unwrap().1;
            let texts = ["ink", "muted", "accent", "good", "bad"].map(of);
            for text in texts.into_iter().chain((0..SERIES).map(|number| series(theme, number))) {
                for ground in ["ground", "surface"] {
                    let contrast = text.contrast(of(ground));
                    assert!(contrast >= 4.5, "{theme:?} {} on {ground}: {contrast}", text.hex());
                }
            }
            assert!(of("shade-ink").contrast(of("shade")) >= 4.5);
            assert!(of("shade-ink").contrast(of("surface")) >= 4.5);
            assert!(of("ink").contrast(of("shade")) >= 4.5);
            for level in 0..LEVELS {
                for ground in [sequential(theme, level), diverging(theme, level)] {
                    assert!(ink_on(ground).contrast(ground) >= 4.5, "{theme:?} level {level}");
                }
            }
        }
    }
}

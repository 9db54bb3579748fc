//! Elements of SVG, with every text escaped.

use std::fmt::Write;

/// Escapes `text` for XML, between tags and in attributes. Characters that XML does not allow are replaced.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\n' | '\t' => escaped.push(letter),
            '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            control if control.is_control() => escaped.push('\u{fffd}'),
            other => escaped.push(other),
        }
    }
    escaped
}

/// The position of a text relative to its point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anchor {
    /// The text begins at the point.
    Start,
    /// The middle of the text is at the point.
    Middle,
    /// The text ends at the point.
    End,
}

/// Elements of a drawing, as text.
#[derive(Clone, Debug, Default)]
pub struct Svg(String);

impl Svg {
    /// The elements.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A text; `class` names its size and colour.
    pub fn text(&mut self, x: f64, y: f64, class: &str, anchor: Anchor, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "",
            Anchor::Middle => " text-anchor=\"middle\"",
            Anchor::End => " text-anchor=\"end\"",
        };
        self.push(format_args!(
            "<text x=\"{}\" y=\"{}\" class=\"{class}\"{anchor}>{}</text>",
            n(x),
            n(y),
            escape(text)
        ));
    }

    /// A text that reads upwards. Its middle is at the point.
    pub fn upward_text(&mut self, x: f64, y: f64, class: &str, text: &str) {
        let (x, y) = (n(x), n(y));
        let text = escape(text);
        self.push(format_args!(
            "<text transform=\"translate({x} {y}) rotate(-90)\" class=\"{class}\" text-anchor=\"middle\">{text}</text>"
        ));
    }

    /// A straight line.
    pub fn line(&mut self, from: (f64, f64), to: (f64, f64), class: &str) {
        let (x1, y1, x2, y2) = (n(from.0), n(from.1), n(to.0), n(to.1));
        self.push(format_args!("<line x1=\"{x1}\" y1=\"{y1}\" x2=\"{x2}\" y2=\"{y2}\" class=\"{class}\"/>"));
    }

    /// A rectangle with a tooltip.
    pub fn rect(&mut self, (x, y): (f64, f64), (width, height): (f64, f64), class: &str, tip: Option<&str>) {
        let (x, y, width, height) = (n(x), n(y), n(width.max(0.0)), n(height.max(0.0)));
        let start =
            format!("<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" class=\"{class}\"");
        self.close(&start, "rect", tip);
    }

    /// A dot with a tooltip.
    pub fn dot(&mut self, (x, y): (f64, f64), radius: f64, class: &str, tip: Option<&str>) {
        let start = format!("<circle cx=\"{}\" cy=\"{}\" r=\"{}\" class=\"{class}\"", n(x), n(y), n(radius));
        self.close(&start, "circle", tip);
    }

    /// A path.
    pub fn path(&mut self, data: &str, class: &str) {
        self.push(format_args!("<path d=\"{data}\" class=\"{class}\"/>"));
    }

    /// Other elements, moved and scaled.
    pub fn group(&mut self, (x, y): (f64, f64), (sx, sy): (f64, f64), svg: &Svg) {
        let scale = if (sx, sy) == (1.0, 1.0) { String::new() } else { format!(" scale({sx:.5} {sy:.5})") };
        self.push(format_args!("<g transform=\"translate({} {}){scale}\">{}</g>", n(x), n(y), svg.0));
    }

    fn close(&mut self, start: &str, name: &str, tip: Option<&str>) {
        match tip {
            Some(tip) => self.push(format_args!("{start}><title>{}</title></{name}>", escape(tip))),
            None => self.push(format_args!("{start}/>")),
        }
    }

    fn push(&mut self, element: std::fmt::Arguments<'_>) {
        let _ = writeln!(self.0, "{element}"); // writing to a String cannot fail
    }
}

/// A coordinate, rounded to a tenth of a pixel, without needless digits. NaN becomes 0.
pub fn n(value: f64) -> String {
    let value = if value.is_finite() { value } else { 0.0 };
    let text = format!("{value:.1}");
    let text = text.strip_suffix(".0").unwrap_or(&text);
    if text == "-0" { "0".into() } else { text.into() }
}

/// The estimated width of `text` in letters of `size`, which is rather too large: the program has no font, so each kind of
/// letter counts with its width in DejaVu Sans, the widest of the page's fonts.
pub fn width_of(text: &str, size: f64) -> f64 {
    let width = |letter: char| match letter {
        'i' | 'j' | 'l' | 'f' | 'I' | '.' | ',' | ':' | '|' | '\'' | ' ' => 0.33,
        'r' | 't' | '-' | '/' | '(' | ')' => 0.42,
        'm' | 'w' | 'M' | 'W' | '%' | '@' => 0.97,
        'A'..='Z' => 0.75,
        letter if letter as u32 > 0x2e80 => 1.05,
        'c' | 'k' | 's' | 'v' | 'x' | 'y' | 'z' | '_' => 0.6,
        _ => 0.64,
    };
    text.chars().map(width).sum::<f64>() * size
}

/// `text` in lines that are no wider than `room`, broken between words; a word that is wider itself is broken too.
pub fn wrap(text: &str, size: f64, room: f64) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let mut rest = word.to_owned();
        while !rest.is_empty() {
            let line = lines.last().map_or("", String::as_str);
            let joined = if line.is_empty() { rest.clone() } else { format!("{line} {rest}") };
            if width_of(&joined, size) <= room {
                lines.pop();
                lines.push(joined);
                break;
            }
            if !line.is_empty() {
                lines.push(String::new());
                continue;
            }
            // At least one letter for each line, whatever the room.
            let letters = rest.char_indices().map(|(i, letter)| i + letter.len_utf8());
            let fitting = letters.clone().take_while(|end| width_of(&rest[..*end], size) <= room).last();
            let end = fitting.or_else(|| letters.clone().next()).unwrap_or(rest.len());
            let tail = rest.split_off(end);
            lines.pop();
            lines.push(rest);
            if !tail.is_empty() {
                lines.push(String::new());
            }
            rest = tail;
        }
    }
    lines
}

/// `text`, cut to the width `room`. A cut text ends with an ellipsis.
pub fn fit(text: &str, size: f64, room: f64) -> String {
    if width_of(text, size) <= room {
        return text.to_owned();
    }
    let mut kept: String = text.to_owned();
    while !kept.is_empty() && width_of(&kept, size) + 0.8 * size > room {
        kept.pop();
    }
    kept + "…"
}

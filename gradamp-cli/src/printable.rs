//! Escapes control characters. Names in files, paths and messages of the system may contain them.

use std::borrow::Cow;

/// Replaces control characters (except for line feeds and tabs) and characters that change the direction of text by
/// escapes such as `\u001b`, so that a terminal cannot act on them. In JSON and TOML, these escapes stand for the
/// characters.
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(acts_on_terminal) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if acts_on_terminal(c) {
            shown.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            shown.push(c);
        }
    }
    Cow::Owned(shown)
}

fn acts_on_terminal(c: char) -> bool {
    let turns = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    turns || c.is_control() && c != '\n' && c != '\t'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_characters_that_act_on_a_terminal_are_escaped() {
        let plain = "accuracy 91.2 %\n\tgrün, 日本, \u{1f980}";
        assert!(matches!(printable(plain), Cow::Borrowed(text) if text == plain));
        assert_eq!(printable("a\x1b[2Jb\rc\x07"), "a\\u001b[2Jb\\u000dc\\u0007");
        assert_eq!(printable("\u{9b}31m \x7f \u{202e}txt"), "\\u009b31m \\u007f \\u202etxt");
    }
}

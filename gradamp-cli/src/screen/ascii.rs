//! Converts frames to ASCII for terminals that cannot show UTF-8.

use ratatui::buffer::Buffer;

/// Whether the environment names a locale without UTF-8. Without any locale, the terminal is assumed to show UTF-8.
pub fn is_wanted() -> bool {
    is_wanted_by(|name| std::env::var(name).ok())
}

/// **Source:** POSIX. The first of the three variables that is set and not empty decides.
fn is_wanted_by(variable: impl Fn(&str) -> Option<String>) -> bool {
    let set = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().filter_map(variable);
    let locale = set.map(|locale| locale.to_ascii_lowercase()).find(|locale| !locale.is_empty());
    locale.is_some_and(|locale| !locale.contains("utf-8") && !locale.contains("utf8"))
}

/// Replaces every character outside ASCII by a similar ASCII character.
pub fn cells(buffer: &mut Buffer) {
    for cell in &mut buffer.content {
        if !cell.symbol().is_ascii() {
            let letter = cell.symbol().chars().next().map_or(' ', nearest);
            cell.set_char(letter);
        }
    }
}

/// The ASCII character that looks most like `letter`.
pub fn nearest(letter: char) -> char {
    match letter {
        '\0'..='\x7f' => letter,
        // The dots of a curve. More dots become a darker character.
        '\u{2800}'..='\u{28ff}' => match (letter as u32 & 0xff).count_ones() {
            0 => ' ',
            1..=2 => '.',
            3..=4 => ':',
            _ => '#',
        },
        '░' | '·' | '…' => '.',
        '▒' => ':',
        '▓' => '%',
        '█' | '▉' | '▊' | '▋' | '▌' => '#',
        '▍' | '▎' | '▏' => '-',
        '─' | '–' | '−' => '-',
        '━' => '=',
        '│' | '‖' => '|',
        '┌' | '┐' | '└' | '┘' => '+',
        '×' => 'x',
        'Δ' => 'd',
        '↑' => '^',
        '↓' => 'v',
        '←' => '<',
        '→' | '▶' => '>',
        _ => '?',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_variable_that_is_set_decides() {
        let is_wanted = |set: &[(&str, &str)]| {
            is_wanted_by(|name| set.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).into()))
        };
        assert!(!is_wanted(&[]), "no locale is named");
        assert!(!is_wanted(&[("LANG", "de_DE.UTF-8")]) && !is_wanted(&[("LANG", "C.utf8")]));
        assert!(is_wanted(&[("LANG", "C")]) && is_wanted(&[("LANG", "de_DE.ISO-8859-1")]));
        assert!(is_wanted(&[("LANG", "de_DE.UTF-8"), ("LC_ALL", "POSIX")]));
        assert!(!is_wanted(&[("LC_ALL", ""), ("LC_CTYPE", "en_GB.UTF-8"), ("LANG", "C")]));
    }
}

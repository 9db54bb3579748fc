//! Tables of text.

use std::fmt::Write;

/// Aligns `rows` in columns, two blanks apart, with a rule under the first row. `sides` has a `<` for each left-aligned
/// column and a `>` for each right-aligned one.
pub fn columns(rows: &[Vec<String>], sides: &str) -> String {
    let width = |column: usize| rows.iter().filter_map(|row| Some(row.get(column)?.chars().count())).max();
    let columns: Vec<(usize, char)> =
        sides.chars().enumerate().map(|(column, side)| (width(column).unwrap_or(0), side)).collect();
    let mut text = String::new();
    for (i, row) in rows.iter().enumerate() {
        let pad = |(cell, &(width, side)): (&String, &(usize, char))| match side {
            '<' => format!("{cell:<width$}"),
            _ => format!("{cell:>width$}"),
        };
        let cells: Vec<String> = row.iter().zip(&columns).map(pad).collect();
        let _ = writeln!(text, "{}", cells.join("  ").trim_end()); // writing to a String cannot fail
        if i == 0 {
            let rules: Vec<String> = columns.iter().map(|&(width, _)| "-".repeat(width)).collect();
            let _ = writeln!(text, "{}", rules.join("  "));
        }
    }
    text
}

/// Shortens `text` to `most` characters, the last of which is then an ellipsis.
pub fn clip(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}

/// The cells of a header.
pub fn header<const N: usize>(names: [&str; N]) -> Vec<String> {
    names.map(str::to_owned).to_vec()
}

/// A row of comma-separated values, with its line feed.
///
/// **Source:** RFC 4180, with a line feed alone.
pub(crate) fn csv_row(cells: &[String]) -> String {
    let mut text = String::new();
    for (i, cell) in cells.iter().enumerate() {
        let comma = if i == 0 { "" } else { "," };
        let _ = match cell.contains(['"', ',', '\n', '\r']) {
            true => write!(text, "{comma}\"{}\"", cell.replace('"', "\"\"")),
            false => write!(text, "{comma}{cell}"),
        }; // writing to a String cannot fail
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_flush_on_their_sides() {
        let rows = [header(["name", "ms"]), header(["é", "12.5"]), header(["a long one", "3"])];
        let expected = "name          ms\n----------  ----\né           12.5\na long one     3\n";
        assert_eq!(columns(&rows, "<>"), expected);
    }

    #[test]
    fn what_is_too_long_is_clipped() {
        assert_eq!(clip("NVIDIA", 6), "NVIDIA");
        assert_eq!(clip("NVIDIA H", 6), "NVIDI…");
    }

    #[test]
    fn cells_of_a_table_that_hold_its_signs_are_quoted() {
        let cells = ["a", "b,c", "say \"d\"", "two\nlines", ""].map(str::to_owned);
        assert_eq!(csv_row(&cells), "a,\"b,c\",\"say \"\"d\"\"\",\"two\nlines\",\n");
    }
}

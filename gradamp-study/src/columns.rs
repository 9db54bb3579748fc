//! Tables of text.

use comfy_table::{CellAlignment, ContentArrangement, ContentLineStyle, LineStyle, Table, TableStyle};

/// A rule under the header, and nothing between columns.
const RULE_UNDER_HEADER: TableStyle = TableStyle::new()
    .header_lines(ContentLineStyle::none().junction(' '))
    .header_separator(LineStyle::none().fill('-').junction('-'))
    .content_lines(ContentLineStyle::none().junction(' '));

/// Aligns `rows` in columns, two blanks apart, with a rule under the first row. `sides` has a `<` for each left-aligned
/// column and a `>` for each right-aligned one.
pub fn columns(rows: &[Vec<String>], sides: &str) -> String {
    let mut table = Table::new();
    table.set_content_arrangement(ContentArrangement::Disabled).load_style(RULE_UNDER_HEADER);
    if let Some((header, rows)) = rows.split_first() {
        table.set_header(header).add_rows(rows);
    }
    let last = sides.len().saturating_sub(1);
    for (i, (column, side)) in table.column_iter_mut().zip(sides.chars()).enumerate() {
        let alignment = if side == '<' { CellAlignment::Left } else { CellAlignment::Right };
        column.set_padding((0, u16::from(i < last))).set_cell_alignment(alignment);
    }
    table.trim_fmt() + "\n"
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

/// Rows of comma-separated values, each with its line feed.
///
/// **Source:** RFC 4180, with a line feed alone.
pub(crate) fn to_csv(rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut writer = csv::WriterBuilder::new().flexible(true).from_writer(Vec::new());
    for row in rows {
        let _ = writer.write_record(row); // writing to memory cannot fail
    }
    let bytes = writer.into_inner().unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_flush_on_their_sides() {
        let rows = [header(["name", "ms"]), header(["é", "12.5"]), header(["a long one", "3"])];
        let expected = "name          ms\n----------------\né           12.5\na long one     3\n";
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
        assert_eq!(to_csv([cells.to_vec()]), "a,\"b,c\",\"say \"\"d\"\"\",\"two\nlines\",\n");
    }
}

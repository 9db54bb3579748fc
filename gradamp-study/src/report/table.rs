//! Tables of a page.

use std::fmt::Write;

use super::chart::escape;
use crate::latex;

/// The longest name of a row, in letters, that stands in one line.
const LONG_NAME: usize = 24;
/// The most rows of a table. A note says how many rows are left out and where they are.
const MOST_ROWS: usize = 600;
/// The most rows of a folding table that are all in view.
const MOST_IN_VIEW: usize = 40;
/// The rows of a longer folding table that are in view.
const FIRST_ROWS: usize = 20;

/// A cell of a table.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// Text, flush left.
    Text(String),
    /// A number, flush right.
    Number(String),
    /// The value of a setting or a path, in a monospaced font.
    Code(String),
}

impl Cell {
    fn html(&self, is_first: bool) -> String {
        let (class, text) = match self {
            // A long name may be broken behind each of its parts.
            Cell::Text(text) if is_first && text.chars().count() > LONG_NAME => {
                (" class=\"long\"", escape(text).replace('_', "_<wbr/>"))
            }
            Cell::Text(text) if text.chars().count() > 60 => (" class=\"text\"", escape(text)),
            Cell::Text(text) => ("", escape(text)),
            Cell::Number(text) => (" class=\"num\"", escape(text)),
            Cell::Code(text) => ("", format!("<code>{}</code>", escape(text))),
        };
        if is_first {
            format!("<th scope=\"row\"{class}>{text}</th>")
        } else {
            format!("<td{class}>{text}</td>")
        }
    }
}

/// A table; its first column names the rows.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// The caption.
    pub caption: String,
    /// The columns' names.
    pub head: Vec<String>,
    /// The rows.
    pub rows: Vec<Vec<Cell>>,
    /// Whether the page shows only the first rows of a long table, and all rows in a fold below.
    pub folds: bool,
}

impl Table {
    /// An empty table.
    pub fn new(caption: &str, head: &[&str]) -> Self {
        Self {
            caption: caption.into(),
            head: head.iter().map(|&name| name.into()).collect(),
            rows: Vec::new(),
            folds: false,
        }
    }

    /// Adds a row: a name and numbers.
    pub fn add(&mut self, name: &str, numbers: impl IntoIterator<Item = String>) {
        let numbers = numbers.into_iter().map(Cell::Number);
        self.rows.push(std::iter::once(Cell::Text(name.into())).chain(numbers).collect());
    }

    /// The table in LaTeX.
    pub fn latex(&self) -> String {
        let text = |cell: &Cell| match cell {
            Cell::Text(text) | Cell::Number(text) | Cell::Code(text) => text.clone(),
        };
        let rows: Vec<Vec<String>> = std::iter::once(self.head.clone())
            .chain(self.rows.iter().map(|row| row.iter().map(text).collect()))
            .collect();
        let side = |column: usize| if self.is_number(column) { 'r' } else { 'l' };
        latex::table(&self.caption, &rows, &(0..self.head.len()).map(side).collect::<String>())
    }

    /// Whether a column holds numbers.
    fn is_number(&self, column: usize) -> bool {
        self.rows.iter().any(|row| matches!(row.get(column), Some(Cell::Number(_))))
    }

    /// The table as HTML, in a box that scrolls if the table is too wide. A long table that folds has its first rows in view.
    pub fn html(&self) -> String {
        let n = self.rows.len();
        if !self.folds || n <= MOST_IN_VIEW {
            return self.html_of(&self.caption, &self.rows);
        }
        let first = self.html_of(
            &format!("{}: the first {FIRST_ROWS} of {n} rows", self.caption),
            &self.rows[..FIRST_ROWS],
        );
        let all = self.html_of(&self.caption, &self.rows);
        format!(
            "{first}<details><summary>All {n} rows: {}</summary>\n{all}</details>\n",
            escape(&self.caption)
        )
    }

    fn html_of(&self, caption: &str, rows: &[Vec<Cell>]) -> String {
        let caption = escape(caption);
        let mut html = format!(
            "<div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-label=\"{caption}\"><table><caption>{caption}</caption>\n<thead><tr>"
        );
        for (column, name) in self.head.iter().enumerate() {
            let class = if self.is_number(column) { " class=\"num\"" } else { "" };
            let _ = write!(html, "<th scope=\"col\"{class}>{}</th>", escape(name)); // a String takes all
        }
        html.push_str("</tr></thead>\n<tbody>\n");
        for row in rows.iter().take(MOST_ROWS) {
            let cells: String = row.iter().enumerate().map(|(i, cell)| cell.html(i == 0)).collect();
            let _ = writeln!(html, "<tr>{cells}</tr>");
        }
        html.push_str("</tbody></table>");
        if let Some(more) = rows.len().checked_sub(MOST_ROWS + 1) {
            let _ = write!(html, "<p class=\"how\">{} further rows are in the folder's files.</p>", more + 1);
        }
        html.push_str("</div>\n");
        html
    }
}

//! Pages of headings, lists and tables, for a terminal, in Markdown or in LaTeX.

use std::fmt::Write;

use crate::columns::columns;
use crate::latex;

/// The form of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Columns for a terminal.
    Text,
    /// Markdown that can be pasted.
    Markdown,
    /// Tables of LaTeX; everything else is a comment.
    Latex,
}

/// A page that is being written.
#[derive(Clone, Debug)]
pub struct Page {
    form: Form,
    text: String,
    /// For LaTeX: the last heading, until it is known whether it is a table's caption.
    heading: Option<String>,
    /// For LaTeX: the page's first heading, the caption of tables that have no heading of their own.
    title: String,
}

impl Page {
    /// An empty page.
    pub fn new(form: Form) -> Self {
        Self { form, text: String::new(), heading: None, title: String::new() }
    }

    /// The page.
    pub fn finish(mut self) -> String {
        self.comment_heading();
        self.text.trim_end().to_owned()
    }

    /// A line of its own.
    pub fn line(&mut self, text: &str) {
        self.comment_heading();
        self.gap();
        if self.form == Form::Latex {
            self.text += &latex::comment(text);
            return;
        }
        let _ = writeln!(self.text, "{text}"); // writing to a String cannot fail
    }

    /// A heading.
    pub fn heading(&mut self, text: &str) {
        match self.form {
            Form::Text => self.line(text),
            Form::Markdown => self.line(&format!("**{text}**")),
            Form::Latex => {
                self.comment_heading();
                if self.title.is_empty() {
                    self.title = text.to_owned();
                }
                self.heading = Some(text.to_owned());
            }
        }
    }

    /// A list.
    pub fn list(&mut self, items: impl IntoIterator<Item = String>) {
        self.comment_heading();
        if self.form == Form::Markdown {
            self.gap();
        }
        for item in items {
            let _ = match self.form {
                Form::Text => writeln!(self.text, "  {item}"),
                Form::Markdown => writeln!(self.text, "- {item}"),
                Form::Latex => write!(self.text, "{}", latex::comment(&format!("- {item}"))),
            };
        }
    }

    /// A table whose first row is the header. The first column is aligned left, all others right.
    pub fn table(&mut self, rows: &[Vec<String>]) {
        self.gap();
        let n = rows.first().map_or(0, Vec::len);
        let sides = |left: &str, right: &str| format!("{left}{}", right.repeat(n.saturating_sub(1)));
        match self.form {
            Form::Text => {
                self.text += &columns(rows, &sides("<", ">"));
                return;
            }
            Form::Latex => {
                let caption = self.heading.take().unwrap_or_else(|| self.title.clone());
                self.text += &latex::table(&caption, rows, &sides("l", "r"));
                return;
            }
            Form::Markdown => {}
        }
        for (i, row) in rows.iter().enumerate() {
            let cells: Vec<String> = row.iter().map(|cell| cell.trim().replace('|', "\\|")).collect();
            let _ = writeln!(self.text, "| {} |", cells.join(" | "));
            if i == 0 {
                let _ = writeln!(self.text, "| :-- |{}", " --: |".repeat(n.saturating_sub(1)));
            }
        }
    }

    /// Writes a heading that is no table's caption as a comment.
    fn comment_heading(&mut self) {
        if let Some(heading) = self.heading.take() {
            self.gap();
            self.text += &latex::comment(&heading);
        }
    }

    /// An empty line, except at the top.
    fn gap(&mut self) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
    }
}

/// An accuracy in per cent, or a difference of accuracies in points, with two digits.
pub fn points(accuracy: f64) -> String {
    format!("{:.2}", 100.0 * accuracy)
}

/// A difference with its sign.
pub fn signed(number: &str) -> String {
    if number.starts_with('-') { number.to_owned() } else { format!("+{number}") }
}

/// `from to to`, each written by `write`.
pub fn interval((from, to): (f64, f64), write: impl Fn(f64) -> String) -> String {
    format!("{} to {}", write(from), write(to))
}

/// A p-value, or `-` if there is none.
pub fn chance(p: Option<f64>) -> String {
    match p {
        Some(p) if p < 0.0001 => "< 0.0001".into(),
        Some(p) => format!("{p:.4}"),
        None => "-".into(),
    }
}

/// A value, or `-` where there is none.
pub fn or_dash<T>(value: Option<T>, write: impl FnOnce(T) -> String) -> String {
    value.map_or("-".into(), write)
}

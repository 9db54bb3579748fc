//! Tables for LaTeX, in the style of the package booktabs.

use std::fmt::Write;

/// `text` as LaTeX shows it: its own signs are escaped, and signs that fonts lack are written as mathematics. A minus before a
/// number is a minus and no hyphen.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    let mut before = ' ';
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        let is_number_next = letters.peek().is_some_and(char::is_ascii_digit);
        match letter {
            '&' | '%' | '$' | '#' | '_' | '{' | '}' => {
                escaped.push('\\');
                escaped.push(letter);
            }
            '\\' => escaped.push_str("\\textbackslash{}"),
            '~' => escaped.push_str("\\textasciitilde{}"),
            '^' => escaped.push_str("\\textasciicircum{}"),
            '-' if is_number_next && !before.is_alphanumeric() && !"-_.".contains(before) => {
                escaped.push_str("$-$")
            }
            // Between blanks it is the minus of a difference: `B - A`.
            '-' if before == ' ' && letters.peek() == Some(&' ') => escaped.push_str("$-$"),
            '\u{2212}' => escaped.push_str("$-$"),
            '<' => escaped.push_str("$<$"),
            '>' => escaped.push_str("$>$"),
            '\u{d7}' => escaped.push_str("$\\times$"),
            '\u{b1}' => escaped.push_str("$\\pm$"),
            '\u{2264}' => escaped.push_str("$\\le$"),
            '\u{2265}' => escaped.push_str("$\\ge$"),
            '\u{221e}' => escaped.push_str("$\\infty$"),
            '\u{2013}' => escaped.push_str("--"),
            control if control.is_control() => escaped.push(' '),
            other => escaped.push(other),
        }
        before = letter;
    }
    escaped
}

/// A table with a caption; the first of `rows` is the head. `sides` has an `l` for each column that is flush left and an `r`
/// for each that is flush right.
pub fn table(caption: &str, rows: &[Vec<String>], sides: &str) -> String {
    let mut text = String::from("\\begin{table}\n  \\centering\n");
    // Writing to a String cannot fail, here and below.
    if !caption.is_empty() {
        let _ = writeln!(text, "  \\caption{{{}}}", escape(caption));
    }
    let _ = writeln!(text, "  \\begin{{tabular}}{{{sides}}}\n    \\toprule");
    for (i, row) in rows.iter().enumerate() {
        let cell = |cell: &String| {
            // Blanks in front tell which cells belong to the one above.
            let indent = cell.chars().take_while(|letter| *letter == ' ').count();
            let quads = if indent > 0 { "\\quad " } else { "" };
            format!("{quads}{}", escape(cell.trim()))
        };
        let missing = sides.chars().count().saturating_sub(row.len());
        let cells = row.iter().map(cell).chain(std::iter::repeat_n(String::new(), missing));
        let _ = writeln!(text, "    {} \\\\", cells.collect::<Vec<_>>().join(" & "));
        if i == 0 {
            text.push_str("    \\midrule\n");
        }
    }
    text.push_str("    \\bottomrule\n  \\end{tabular}\n\\end{table}\n");
    text
}

/// `text` as a comment.
pub fn comment(text: &str) -> String {
    text.lines().map(|line| format!("% {line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_of_latex_are_escaped() {
        assert_eq!(escape("50 % & $x_1$ {a} #2"), "50 \\% \\& \\$x\\_1\\$ \\{a\\} \\#2");
        assert_eq!(escape("a\\b~c^d"), "a\\textbackslash{}b\\textasciitilde{}c\\textasciicircum{}d");
        assert_eq!(
            escape("p < 0.01 \u{b1} \u{2212}2 \u{d7} \u{2013}"),
            "p $<$ 0.01 $\\pm$ $-$2 $\\times$ --"
        );
        assert_eq!(escape("two\nlines"), "two lines");
    }

    #[test]
    fn a_minus_is_told_from_a_hyphen() {
        assert_eq!(escape("-1.5 (-2.0 to +0.3)"), "$-$1.5 ($-$2.0 to +0.3)");
        assert_eq!(
            escape("factor-2_seed-1 resnet-18 step-length B - A"),
            "factor-2\\_seed-1 resnet-18 step-length B $-$ A"
        );
    }

    #[test]
    fn a_table_has_its_rules_and_a_cell_for_each_column() {
        let rows = [["cell", "mean, %"], ["  a_b", "-1.5"]].map(|row| row.map(str::to_owned).to_vec());
        let expected = "\\begin{table}\n  \\centering\n  \\caption{100 \\% of it}\n  \\begin{tabular}{lrr}\n    \\toprule\n    \
                        cell & mean, \\% &  \\\\\n    \\midrule\n    \\quad a\\_b & $-$1.5 &  \\\\\n    \\bottomrule\n  \
                        \\end{tabular}\n\\end{table}\n";
        assert_eq!(table("100 % of it", &rows, "lrr"), expected);
        assert!(!table("", &rows, "lr").contains("caption"));
    }
}

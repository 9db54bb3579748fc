//! The page: sections of text, tiles, tables and figures.

use std::fmt::Write;

use super::chart::colour::{self, Theme};
use super::chart::{STYLE, escape};
use super::figure::Figure;
pub use super::table::{Cell, Table};
use crate::latex;
use crate::shell;

/// A tile: one important number of the page.
#[derive(Clone, Debug, PartialEq)]
pub struct Tile {
    /// The name of the number.
    pub name: String,
    /// The number, as text.
    pub value: String,
    /// A line below the number.
    pub note: String,
}

/// A piece of a section.
pub enum Block {
    /// A paragraph.
    Text(String),
    /// A note that a reader must see.
    Notice(String),
    /// Tiles.
    Tiles(Vec<Tile>),
    /// A table.
    Table(Table),
    /// A figure.
    Figure(Figure),
    /// Monospaced text with a caption.
    Code(String, String),
    /// Blocks that unfold below a summary.
    Details(String, Vec<Block>),
}

/// A part of the page under a heading.
pub struct Section {
    /// The section's anchor in the page.
    pub id: String,
    /// The heading.
    pub title: String,
    /// The blocks of the section.
    pub blocks: Vec<Block>,
}

impl Section {
    /// A section.
    pub fn new(id: &str, title: &str, blocks: Vec<Block>) -> Self {
        Self { id: id.into(), title: title.into(), blocks }
    }
}

/// The whole page.
pub struct Page {
    /// The heading.
    pub title: String,
    /// The line below the heading.
    pub lead: String,
    /// The sections.
    pub sections: Vec<Section>,
    /// The last line: the program's version and the source of the page.
    pub foot: String,
}

impl Page {
    /// All figures of the page, in their order.
    pub fn figures(&self) -> Vec<&Figure> {
        fn figures_in<'a>(blocks: &'a [Block]) -> Vec<&'a Figure> {
            let figures = |block: &'a Block| -> Vec<&'a Figure> {
                match block {
                    Block::Figure(figure) => vec![figure],
                    Block::Details(_, blocks) => figures_in(blocks),
                    _ => Vec::new(),
                }
            };
            blocks.iter().flat_map(figures).collect()
        }
        self.sections.iter().flat_map(|section| figures_in(&section.blocks)).collect()
    }

    /// The tables of the page's sections in LaTeX. Tables that unfold, such as those of a figure's values, are left out.
    pub fn latex(&self) -> String {
        let table = |block: &Block| match block {
            Block::Table(table) => Some(table.latex()),
            _ => None,
        };
        let tables: Vec<String> =
            self.sections.iter().flat_map(|section| section.blocks.iter().filter_map(table)).collect();
        let title = latex::comment(&format!("{}: {}", self.title, self.lead));
        format!("{title}% \\usepackage{{booktabs}}\n\n{}", tables.join("\n"))
    }

    /// The page as one file of HTML that is also well-formed XML.
    pub fn html(&self) -> String {
        let mut html =
            String::from("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n");
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(
            html,
            "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n<meta name=\"color-scheme\" content=\"light dark\"/>\n<title>{}</title>\n<style>\n{}</style>\n</head>\n<body>",
            escape(&self.title),
            style()
        );
        let _ = writeln!(
            html,
            "<a class=\"skip\" href=\"#content\">Skip to the content</a>\n<header><p class=\"kicker\">{} report</p><h1>{}</h1><p class=\"lead\">{}</p></header>",
            escape(shell::program()),
            escape(&self.title),
            escape(&self.lead)
        );
        html.push_str("<nav aria-label=\"Contents\"><ul>");
        for section in &self.sections {
            let _ = write!(html, "<li><a href=\"#{}\">{}</a></li>", section.id, escape(&section.title));
        }
        html.push_str("</ul></nav>\n<main id=\"content\">\n");
        let mut number = 0;
        for section in &self.sections {
            let (id, title) = (&section.id, escape(&section.title));
            let _ = writeln!(
                html,
                "<section id=\"{id}\" aria-labelledby=\"{id}-heading\"><h2 id=\"{id}-heading\">{title}</h2>"
            );
            html.push_str(&blocks_html(&section.blocks, &mut number));
            html.push_str("</section>\n");
        }
        let _ = writeln!(html, "</main>\n<footer><p>{}</p></footer>\n</body>\n</html>", escape(&self.foot));
        html
    }
}

/// The page's style with a light and a dark theme; print is always light.
fn style() -> String {
    let (light, dark) = (colour::variables(Theme::Light), colour::variables(Theme::Dark));
    format!(
        ":root{{{light}}}\n@media screen and (prefers-color-scheme: dark){{:root{{{dark}}}}}\n{}{STYLE}{}\n",
        include_str!("style.css"),
        colour::classes()
    )
}

fn blocks_html(blocks: &[Block], number: &mut usize) -> String {
    let mut html = String::new();
    let mut is_in_grid = false;
    for block in blocks {
        let is_figure = matches!(block, Block::Figure(_));
        match (is_in_grid, is_figure) {
            (false, true) => html.push_str("<div class=\"figures\">\n"),
            (true, false) => html.push_str("</div>\n"),
            _ => {}
        }
        is_in_grid = is_figure;
        html.push_str(&block_html(block, number));
    }
    if is_in_grid {
        html.push_str("</div>\n");
    }
    html
}

fn block_html(block: &Block, number: &mut usize) -> String {
    match block {
        Block::Text(text) => format!("<p>{}</p>\n", escape(text)),
        Block::Notice(text) => format!("<p class=\"notice\" role=\"note\">{}</p>\n", escape(text)),
        Block::Tiles(tiles) => {
            let tile = |Tile { name, value, note }: &Tile| {
                let (name, value, note) = (escape(name), escape(value), escape(note));
                format!("<div><dt>{name}</dt><dd class=\"value\">{value}</dd><dd>{note}</dd></div>")
            };
            format!("<dl class=\"tiles\">{}</dl>\n", tiles.iter().map(tile).collect::<String>())
        }
        Block::Table(table) => table.html(),
        Block::Figure(figure) => {
            *number += 1;
            figure.html(*number)
        }
        Block::Code(name, text) => {
            let (name, text) = (escape(name), escape(text));
            format!("<pre role=\"region\" tabindex=\"0\" aria-label=\"{name}\"><code>{text}</code></pre>\n")
        }
        Block::Details(summary, blocks) => {
            let (summary, blocks) = (escape(summary), blocks_html(blocks, number));
            format!("<details><summary>{summary}</summary>\n{blocks}</details>\n")
        }
    }
}

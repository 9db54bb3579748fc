//! What every page keeps: well-formed, self-contained, labelled, and within reach of a keyboard.

use super::super::*;

/// What every page and every figure's file must keep, whatever is in the run.
pub(in crate::report) fn checked(page: &Page) -> String {
    let html = page.html();
    let options = roxmltree::ParsingOptions { allow_dtd: true, ..roxmltree::ParsingOptions::default() };
    let document = roxmltree::Document::parse_with_options(&html, options).unwrap();
    let with = |name: &'static str| document.descendants().filter(move |node| node.tag_name().name() == name);
    assert_eq!(document.root_element().attribute("lang"), Some("en"));
    assert_eq!(
        (with("h1").count(), with("script").count(), with("link").count(), with("img").count()),
        (1, 0, 0, 0)
    );
    let mut ids: Vec<&str> = document.descendants().filter_map(|node| node.attribute("id")).collect();
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), count, "an id is there twice");
    for node in document.descendants() {
        for attribute in node.attributes() {
            let (name, value) = (attribute.name(), attribute.value());
            assert!(!matches!(name, "src" | "srcset" | "data" | "onload" | "onclick"), "{name}={value}");
            assert!(
                name != "href" || value.strip_prefix('#').is_some_and(|id| ids.contains(&id)),
                "{name}={value}"
            );
            assert!(name != "aria-labelledby" || value.split(' ').all(|id| ids.contains(&id)), "{value}");
        }
    }
    assert!(!html.contains("url(") && !html.contains("@import"));
    // By keyboard: past the contents at once, and into whatever scrolls; in the order of the page.
    let focusable = |node: &roxmltree::Node<'_, '_>| {
        matches!(node.tag_name().name(), "a" | "summary") || node.attribute("tabindex").is_some()
    };
    let first = document.descendants().find(focusable).unwrap();
    assert_eq!((first.attribute("class"), first.attribute("href")), (Some("skip"), Some("#content")));
    assert_eq!(with("main").next().and_then(|main| main.attribute("id")), Some("content"));
    let scrolls = |node: &roxmltree::Node<'_, '_>| {
        node.tag_name().name() == "pre" || node.attribute("class") == Some("scroll")
    };
    for node in document.descendants() {
        let name =
            (node.attribute("role"), node.attribute("aria-label").is_some_and(|label| !label.is_empty()));
        assert!(!scrolls(&node) || node.attribute("tabindex") == Some("0") && name == (Some("region"), true));
        assert!(node.attribute("tabindex").is_none_or(|index| index == "0"));
    }
    assert!(with("table").all(|table| table.parent().is_some_and(|parent| scrolls(&parent))));
    let drawings: Vec<_> = with("svg").collect();
    let figures = page.figures();
    assert_eq!(with("figure").count(), figures.len());
    assert!(drawings.len() >= 2 * figures.len());
    for svg in drawings {
        assert_eq!(svg.attribute("role"), Some("img"));
        labelled(svg);
    }
    for figure in figures {
        let file = figure.file();
        let document = roxmltree::Document::parse(&file).unwrap();
        assert_eq!(document.root_element().tag_name().namespace(), Some("http://www.w3.org/2000/svg"));
        labelled(document.root_element());
        assert!(!file.contains("var("), "{}: programs that draw files know no variables", figure.id);
        assert!(
            figure.id.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'),
            "{}",
            figure.id
        );
        assert!(
            file.matches("http").count()
                <= 1 + figure.finding.matches("http").count() + file.matches("http:hostile").count()
        );
    }
    html
}

/// A title and a description, and both say something.
fn labelled(svg: roxmltree::Node<'_, '_>) {
    for name in ["title", "desc"] {
        let text = svg.children().find(|node| node.tag_name().name() == name).and_then(|node| node.text());
        assert!(text.is_some_and(|text| text.trim().len() > 3), "{name}");
    }
}

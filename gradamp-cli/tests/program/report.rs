//! `gradamp report` as a user runs it, and its pages in a browser.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{SMALL, Workplace};

/// The widths of a small phone, a tablet, a desktop and a wide screen.
const WIDTHS: [u32; 4] = [320, 768, 1280, 2560];

const STUDY: &str = "\
seeds = 2
[base]
model = { name = 'resnet18', width = 2 }
train = { batch_size = 16, device = 'cpu', threads = 1, gradients_every = 0 }
data = { source = 'shapes', validation = 16, shapes = { train = 64, test = 32 } }
strategy.lr = 0.05
strategy.phase = [{ epochs = 1 }, { epochs = 1, amplify = true }]
amplification = { kinds = ['batch_norm'], ratio = 0.5 }
[axes]
'amplification.factor' = [1.5, 2.0]
'amplification.ratio' = [0.5, 1.0]
";

/// Reads a page and checks what every page must have.
fn page(place: &Workplace, name: &str) -> String {
    let html = fs::read_to_string(place.path(name)).unwrap();
    let options = roxmltree::ParsingOptions { allow_dtd: true, ..roxmltree::ParsingOptions::default() };
    let document = roxmltree::Document::parse_with_options(&html, options).unwrap();
    let has = |name: &str| document.descendants().any(|node| node.tag_name().name() == name);
    assert!(has("main") && has("svg") && !has("script") && !has("link") && !has("img"), "{name}");
    assert!(!html.contains("http"), "{name}: the page refers to an address");
    html
}

#[test]
fn a_run_a_pair_and_a_sweep_are_reported_as_pages() {
    let place = Workplace::new();
    place.run(&format!("{SMALL} --set data.validation=16 --out on")).succeeds();
    place
        .run(&format!("{SMALL} --set data.validation=16 --set strategy.phase.1.amplify=false --out off"))
        .succeeds();
    place.write("study.toml", STUDY);
    place.run("sweep study.toml --out sweep -q").succeeds();

    let report = place.run("report on --figures figures").succeeds();
    assert!(report.err.contains("report: report.html") && report.out.is_empty(), "{}", report.err);
    let one = page(&place, "report.html");
    for part in [
        "finished",
        "Accuracy and learning rate",
        "Gradient flow",
        "Amplified sites",
        "Confusion matrix",
        "data, SHA-256",
    ] {
        assert!(one.contains(part), "{part}");
    }
    let figures: Vec<PathBuf> =
        fs::read_dir(place.path("figures")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(figures.len(), one.matches("<figure").count());
    for figure in &figures {
        let text = fs::read_to_string(figure).unwrap();
        let root = roxmltree::Document::parse(&text).unwrap();
        assert_eq!(root.root_element().tag_name().name(), "svg", "{}", figure.display());
    }

    place.run("report off on -o pair.html").succeeds();
    let pair = page(&place, "pair.html");
    for part in [
        "The difference, tested",
        "McNemar",
        "strategy.phase.1.amplify",
        "Test accuracy over time",
        "Classes: on against off",
    ] {
        assert!(pair.contains(part), "{part}");
    }

    place.run("report sweep -o sweep.html").succeeds();
    let sweep = page(&place, "sweep.html");
    for part in [
        "10 of 10",
        "Accuracy by ratio and factor",
        "corrected p",
        "factor-2_ratio-1",
        "gradamp sweep sweep/sweep.toml",
    ] {
        assert!(sweep.contains(part), "{part}");
    }
    in_a_browser(&place, &["report.html", "pair.html", "sweep.html"]);
    in_the_dark_and_on_paper(&place, "sweep.html");
}

#[test]
fn folders_and_files_that_cannot_be_used_are_errors() {
    let place = Workplace::new();
    place.run("report nowhere").fails(1, &["nowhere", "no such folder"]);
    fs::create_dir(place.path("empty")).unwrap();
    place.run("report empty").fails(1, &["empty", "neither"]);
    place.run("report").ends_with(2);
    place.run(&format!("{SMALL} --out run")).succeeds();
    fs::create_dir(place.path("taken")).unwrap();
    place.run("report run -o taken").fails(1, &["taken", "found a folder"]);
    place.run("report run -o no/such.html").fails(1, &["no"]);
    place.write("file", "");
    place.run("report run --figures file").fails(1, &["file", "cannot make this folder"]);
    place.run("report run empty").fails(1, &["empty"]);

    let metrics = place.path("run/metrics.jsonl");
    let text = fs::read_to_string(&metrics).unwrap();
    place.write("old.html", "old");
    fs::remove_dir_all(place.path("run/checkpoints")).unwrap(); // a checkpoint seals the lines of the logs
    let half = &text[..text.len() / 2];
    fs::write(&metrics, half).unwrap();
    place.run("report run -o part.html").succeeds(); // the last line may be half-written
    fs::write(&metrics, format!("{}\n{text}", &text[..20])).unwrap();
    place.run("report run -o old.html").fails(1, &["metrics.jsonl: line 1: is damaged"]);
    assert_eq!(fs::read_to_string(place.path("old.html")).unwrap(), "old", "an existing page is kept");
}

/// Loads pages in Chromium, in frames of several widths. Nothing may be wider than the window, everything that
/// scrolls can be reached by keyboard, and the console shows no errors.
fn in_a_browser(place: &Workplace, pages: &[&str]) {
    let Some(browser) = browser() else {
        eprintln!("SKIPPED: the pages in a browser, because chromium is not installed");
        return;
    };
    // A script that makes a page send its measurements to the frame around it.
    let probe = "<script>\
        let faults = []; addEventListener('error', event => faults.push(event.message));\
        console.error = console.warn = message => faults.push(String(message));\
        addEventListener('load', () => { document.querySelectorAll('details').forEach(it => it.open = true);\
        const root = document.documentElement;\
        const shown = [...document.querySelectorAll('.drawing')].every(it => \
            [...it.children].filter(svg => svg.getBoundingClientRect().height > 0).length === 1);\
        const out_of_reach = [...document.querySelectorAll('main *')].filter(it => it.tabIndex < 0 && \
            it.scrollWidth > it.clientWidth + 1 && getComputedStyle(it).overflowX === 'auto').length;\
        parent.postMessage([NAME, root.scrollWidth, innerWidth, shown, faults, out_of_reach], '*'); });</script>";
    let mut frames = String::new();
    for name in pages {
        let html = fs::read_to_string(place.path(name)).unwrap();
        let probe = probe.replace("NAME", &format!("'{name}'"));
        place.write(&format!("probed/{name}"), &html.replacen("<head>", &format!("<head>{probe}"), 1));
        for width in WIDTHS {
            frames += &format!(
                "<iframe src='probed/{name}' style='width:{width}px;height:800px;border:0'></iframe>\n"
            );
        }
    }
    let listener = "<pre></pre><script>addEventListener('message', event => \
        document.querySelector('pre').append(JSON.stringify(event.data) + '\\n'));</script>";
    let frame =
        place.write("frames.html", &format!("<!DOCTYPE html><meta charset='utf-8'>{listener}{frames}"));
    let dom = dump(&browser, place, &frame, "--dump-dom");
    let said = dom.split("<pre>").nth(1).and_then(|rest| rest.split("</pre>").next()).unwrap_or_default();
    let messages: Vec<serde_json::Value> =
        said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(messages.len(), pages.len() * WIDTHS.len(), "{said}");
    for message in messages {
        let (content, window) = (message[1].as_u64().unwrap(), message[2].as_u64().unwrap());
        assert!(WIDTHS.contains(&(window as u32)), "{message}");
        assert!(content <= window, "the page is wider than its window: {message}");
        assert_eq!(message[3], true, "each figure must show exactly one of its layouts: {message}");
        assert_eq!(message[4], serde_json::json!([]), "{message}");
        assert_eq!(message[5], 0, "a part of the page scrolls but cannot be reached by keyboard: {message}");
    }
}

/// Loads a page on a dark and on a light screen, and prints it. On paper it must be dark on light in both cases.
fn in_the_dark_and_on_paper(place: &Workplace, name: &str) {
    let Some(browser) = browser() else { return };
    const DARK: &str = "--blink-settings=preferredColorScheme=0";
    const LIGHT: &str = "--blink-settings=preferredColorScheme=1";
    let probe = "<script>addEventListener('load', () => {\
        const of = selector => getComputedStyle(document.querySelector(selector));\
        const said = [of('body').backgroundColor, of('.figure').backgroundColor, of('body').color, of('nav').display];\
        document.querySelector('title').textContent = JSON.stringify(said); });</script>";
    let html = fs::read_to_string(place.path(name)).unwrap().replacen("<head>", &format!("<head>{probe}"), 1);
    // Applies the rules for printing to the screen.
    let paper = html.replace("@media screen and", "@media speech and").replace("@media print", "@media all");
    let (screen, paper) = (place.write("screen.html", &html), place.write("paper.html", &paper));
    for (page, scheme, is_dark, nav) in [
        (&screen, DARK, true, "block"),
        (&screen, LIGHT, false, "block"),
        (&paper, DARK, false, "none"),
        (&paper, LIGHT, false, "none"),
    ] {
        let dom = dump(&browser, place, page, &format!("{scheme} --dump-dom"));
        let said = dom.split("<title>").nth(1).and_then(|rest| rest.split("</title>").next()).unwrap();
        let said: Vec<String> = serde_json::from_str(said).unwrap_or_else(|error| panic!("{error}: {said}"));
        // Colours are written as `rgb(12, 34, 56)`, or exactly if the page does so. All three parts are large, or all
        // are small.
        let is_bright = |colour: &String| {
            let digits = colour.trim_start_matches(|c: char| !c.is_ascii_digit());
            digits
                .split(',')
                .next()
                .unwrap()
                .parse::<f64>()
                .unwrap_or_else(|error| panic!("{error}: {colour}"))
                > 128.0
        };
        let bright: Vec<bool> = said[..3].iter().map(is_bright).collect();
        assert_eq!(bright, [!is_dark, !is_dark, is_dark], "{} {scheme}: {said:?}", page.display());
        assert_eq!(said[3], nav, "{} {scheme}", page.display());
    }
    let pdf = place.path("page.pdf");
    dump(&browser, place, &screen, &format!("{DARK} --print-to-pdf={}", pdf.display()));
    let pdf = fs::read(pdf).unwrap();
    assert!(pdf.starts_with(b"%PDF") && pdf.len() > 20_000, "{} bytes", pdf.len());
}

fn dump(browser: &Path, place: &Workplace, page: &Path, what: &str) -> String {
    let flags = "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking \
                 --disable-component-update --disable-sync --virtual-time-budget=20000";
    let output = Command::new(browser)
        .args(flags.split_whitespace().chain(what.split_whitespace()))
        .arg(format!("--user-data-dir={}", place.path("profile").display()))
        .arg(format!("file://{}", page.display()))
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

fn browser() -> Option<PathBuf> {
    let folders = std::env::var_os("PATH")?;
    let names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
    let files: Vec<PathBuf> =
        std::env::split_paths(&folders).flat_map(|folder| names.map(|name| folder.join(name))).collect();
    files.into_iter().find(|file| file.is_file())
}

/// The number of columns in each row of the tables in a LaTeX file.
fn widths(latex: &str) -> Vec<usize> {
    let rows = latex.lines().filter(|line| line.ends_with("\\\\"));
    rows.map(|row| row.replace("\\&", "").matches('&').count() + 1).collect()
}

#[test]
fn tables_can_be_written_in_latex() {
    let place = crate::old_folders::unpacked();
    place.run("report sweep -o page.html --latex tables.tex").succeeds();
    let tables = fs::read_to_string(place.path("tables.tex")).unwrap();
    for part in [
        "\\toprule",
        "\\caption{Cells by test accuracy",
        "factor-1.5 & cell & ",
        "Hedges' g",
        "\\end{tabular}",
    ] {
        assert!(tables.contains(part), "{part} in\n{tables}");
    }
    // A header, the baseline and two cells, all with the same number of columns.
    let widths_of_cells = widths(tables.split("\\end{tabular}").next().unwrap());
    let are_equal = widths_of_cells.iter().all(|width| *width == widths_of_cells[0]);
    assert!(widths_of_cells.len() == 4 && are_equal && widths_of_cells[0] >= 9, "{widths_of_cells:?}");

    let compared = place.run("compare sweep --latex").succeeds().out;
    let markdown = place.run("compare sweep --markdown").succeeds().out;
    assert!(compared.starts_with("% ") && compared.contains("\\begin{tabular}{l"), "{compared}");
    // Every row of the Markdown table is a row in LaTeX. Markdown also has a row of dashes.
    let rows = markdown.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| :--")).count();
    assert_eq!(widths(&compared).len(), rows, "{compared}");
    place.run("report sweep -o page.html --latex sweep/plan.json").fails(1, &["belongs to the sweep in"]);
}

//! `gradamp report` as a user runs it, and its page in a browser.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{SMALL, Workplace};

/// The widths of a small telephone, a tablet, a desk and a wide screen.
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

/// A page's text, after a look at what every page must keep.
fn page(place: &Workplace, name: &str) -> String {
    let html = fs::read_to_string(place.path(name)).unwrap();
    let options = roxmltree::ParsingOptions { allow_dtd: true, ..roxmltree::ParsingOptions::default() };
    let document = roxmltree::Document::parse_with_options(&html, options).unwrap();
    let has = |name: &str| document.descendants().any(|node| node.tag_name().name() == name);
    assert!(has("main") && has("svg") && !has("script") && !has("link") && !has("img"), "{name}");
    assert!(!html.contains("http"), "{name}: an address outside of the page");
    html
}

#[test]
fn a_run_a_pair_and_a_sweep_become_pages() {
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
        "What the difference is worth",
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
}

#[test]
fn what_cannot_be_shown_is_said() {
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
    let half = &text[..text.len() / 2];
    fs::write(&metrics, half).unwrap();
    place.run("report run -o part.html").succeeds(); // a line that is being written
    fs::write(&metrics, format!("{}\n{text}", &text[..20])).unwrap();
    place.run("report run -o old.html").fails(1, &["metrics.jsonl: line 1: is damaged"]);
    assert_eq!(fs::read_to_string(place.path("old.html")).unwrap(), "old", "a page that was there stays");
}

/// Loads pages in Chromium, in frames of several widths: nothing is wider than the window, and nothing complains.
fn in_a_browser(place: &Workplace, pages: &[&str]) {
    let Some(browser) = browser() else {
        eprintln!("SKIPPED: no chromium is installed, so the pages were not loaded in a browser");
        return;
    };
    // What a page says of itself, to the frame around it.
    let probe = "<script>\
        let faults = []; addEventListener('error', event => faults.push(event.message));\
        console.error = console.warn = message => faults.push(String(message));\
        addEventListener('load', () => { document.querySelectorAll('details').forEach(it => it.open = true);\
        const root = document.documentElement;\
        const shown = [...document.querySelectorAll('.drawing')].every(it => \
            [...it.children].filter(svg => svg.getBoundingClientRect().height > 0).length === 1);\
        parent.postMessage([NAME, root.scrollWidth, innerWidth, shown, faults], '*'); });</script>";
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
    let dom = dump(&browser, place, &frame);
    let said = dom.split("<pre>").nth(1).and_then(|rest| rest.split("</pre>").next()).unwrap_or_default();
    let messages: Vec<serde_json::Value> =
        said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(messages.len(), pages.len() * WIDTHS.len(), "{said}");
    for message in messages {
        let (content, window) = (message[1].as_u64().unwrap(), message[2].as_u64().unwrap());
        assert!(WIDTHS.contains(&(window as u32)), "{message}");
        assert!(content <= window, "wider than its window: {message}");
        assert_eq!(message[3], true, "not one layout of each figure: {message}");
        assert_eq!(message[4], serde_json::json!([]), "{message}");
    }
}

fn dump(browser: &Path, place: &Workplace, page: &Path) -> String {
    let flags = "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking \
                 --disable-component-update --disable-sync --virtual-time-budget=20000 --dump-dom";
    let output = Command::new(browser)
        .args(flags.split_whitespace())
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

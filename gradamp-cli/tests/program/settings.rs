//! Settings in every form that people and other programs write. An error names the place of a refused setting, and no
//! value is changed silently.

use std::ffi::OsStr;
use std::fs;

use crate::{Report, SMALL, Workplace, contents};

const PHASE: &str = "[strategy]\nlr = 0.1\n[[strategy.phase]]\nepochs = 1\n";

impl Workplace {
    /// Runs the program with arguments that may hold any bytes.
    fn run_words<S: AsRef<OsStr>>(&self, words: impl IntoIterator<Item = S>) -> Report {
        let words: Vec<_> = words.into_iter().map(|word| word.as_ref().to_owned()).collect();
        let mut what = format!("{words:?}");
        what.truncate(200);
        let mut command = self.command("");
        Report::new(&what, command.args(words).output().unwrap())
    }
}

/// Settings that are nested too deeply for the stack, in each way that TOML allows.
fn deep() -> Vec<(&'static str, String)> {
    const DEPTH: usize = 20_000;
    let dotted = vec!["a"; DEPTH].join(".");
    vec![
        ("a dotted key", format!("{dotted} = 1\n")),
        ("a quoted dotted key", format!("{} = 1\n", vec!["\"a\""; DEPTH].join(" . "))),
        ("a header", format!("[{dotted}]\nb = 1\n")),
        ("a header of a list", format!("[[{dotted}]]\nb = 1\n")),
        ("lists", format!("a = {}{}\n", "[".repeat(DEPTH), "]".repeat(DEPTH))),
        ("lists that are not closed", format!("a = {}\n", "[".repeat(DEPTH))),
        ("lists in lines", format!("a = {}{}\n", "[\n".repeat(DEPTH), "]\n".repeat(DEPTH))),
        ("tables", format!("a = {}1{}\n", "{ a = ".repeat(DEPTH), "}".repeat(DEPTH))),
        ("dotted keys in tables", format!("x = {{ {dotted} = 1 }}\n")),
        (
            "keys below a header",
            format!("[a.{}]\n{} = 1\n", vec!["a"; 30].join("."), vec!["b"; 30].join(".")),
        ),
    ]
}

#[test]
fn settings_nested_too_deeply_are_refused_without_a_stack_overflow() {
    let place = Workplace::new();
    let limit = "nested more than 32 levels deep";
    for (what, text) in deep() {
        place.write("my.toml", &format!("{PHASE}{text}"));
        let report = place.run("config check my.toml").fails(2, &["my.toml:", limit]);
        let first = report.err.lines().next().unwrap().split(':').nth(2).unwrap().to_owned();
        assert!(first.parse::<usize>().unwrap() >= 5, "{what}: the error must name the line: {}", report.err);
        place.run("train --config my.toml --out run").fails(2, &["my.toml:", limit]);

        // Each part of a study holds settings.
        place.write("study.toml", &text);
        place.run("sweep study.toml --dry-run").fails(2, &["study.toml:", limit]);
        place.write("study.toml", "config = \"my.toml\"\n");
        place.run("sweep study.toml --dry-run").fails(2, &["my.toml:", limit]);
    }
    let dotted = vec!["a"; 20_000].join(".");
    for study in [
        format!("[base]\n\"{dotted}\" = 1\n"),
        format!("[axes]\n\"{dotted}\" = [1]\n"),
        format!("[[axis]]\nkey = \"{dotted}\"\nvalues = [1]\n"),
        format!("[[axis]]\nname = \"x\"\n[[axis.value]]\nname = \"y\"\nset = {{ \"{dotted}\" = 1 }}\n"),
        format!("[baseline]\n\"{dotted}\" = 1\n"),
    ] {
        place.write("study.toml", &format!("preset = \"tour\"\n{study}"));
        place.run("sweep study.toml --dry-run").fails(2, &["study.toml:", limit]);
    }
    place.run_words(["config", "show", "--set", &format!("{dotted}=1")]).fails(2, &["--set", limit]);
    let value = format!("train.seed={}", "[".repeat(20_000));
    place.run_words(["config", "show", "--set", &value]).fails(2, &["--set", "train.seed"]);
    assert!(
        !place.path("run").exists() && !place.path("runs").exists(),
        "a refused command creates no folder"
    );
}

#[test]
fn files_that_are_too_large_for_settings_are_refused() {
    let place = Workplace::new();
    let sparse = fs::File::create(place.path("my.toml")).unwrap();
    sparse.set_len(1 << 40).unwrap(); // larger than any memory, but without blocks on most file systems
    for command in ["config check my.toml", "train --config my.toml", "sweep my.toml --dry-run"] {
        place.run(command).fails(2, &["my.toml", "larger than 1048576 bytes"]);
    }
    // The most tables and values that fit into a file of the largest size.
    let limit = "more than 20000 values";
    place.write("my.toml", &"[[strategy.phase]]\n".repeat(55_000));
    place.run("config check my.toml").fails(2, &["my.toml:19999", "strategy.phase", limit]);
    place.write("my.toml", &format!("seeds = [{}]\n", "1,".repeat(500_000)));
    place.run("sweep my.toml --dry-run").fails(2, &["my.toml:1", "seeds", limit]);
}

#[test]
fn json_nested_too_deeply_is_refused() {
    let place = Workplace::new();
    place.run(&format!("{SMALL} --max-steps 2 --out run")).succeeds();
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    place.write("run/run.json", &deep);
    place.run("train --resume run").fails(1, &["run/run.json"]);
    let expected_gains = format!("{{\"expected_gains\": {deep}}}");
    place.write("run/run.json", &expected_gains);
    place.run("report run").fails(1, &["run/run.json", "recursion limit"]);
    place.write("sweep/plan.json", &deep);
    place.run("sweep --collect sweep").fails(1, &["sweep/plan.json"]);
}

#[test]
fn errors_say_why_a_text_is_not_valid_settings() {
    let place = Workplace::new();
    let utf16 = |text: &str| {
        [0xfeff].into_iter().chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect::<Vec<u8>>()
    };
    fs::create_dir(place.path("folder.toml")).unwrap();
    fs::write(place.path("utf16.toml"), utf16(PHASE)).unwrap();
    fs::write(place.path("latin1.toml"), b"[train]\n# r\xe9glages\nseed = 1\n").unwrap();
    fs::write(place.path("bytes.toml"), b"\0\x01\x02\n").unwrap();
    place.write("empty.toml", "");
    place.write("twice.toml", &format!("[train]\nseed = 1\nseed = 2\n{PHASE}"));
    place.write("tables.toml", &format!("[train]\nseed = 1\n{PHASE}[train]\nthreads = 2\n"));
    place.write("carriage.toml", "[train]\rseed = 1\r");
    for (file, parts) in [
        ("folder.toml", ["folder.toml: ", "folder"]),
        ("utf16.toml", ["utf16.toml:1: ", "UTF-16, expected UTF-8"]),
        ("latin1.toml", ["latin1.toml:2: ", "the byte 0xe9, which is not valid UTF-8"]),
        ("bytes.toml", ["bytes.toml:1: ", ""]),
        ("empty.toml", ["empty.toml:1: ", "strategy.phase: found none"]),
        ("twice.toml", ["twice.toml:3: ", "duplicate key"]),
        ("tables.toml", ["tables.toml:7: ", "duplicate key"]),
        ("carriage.toml", ["carriage.toml:1: ", ""]),
        ("none.toml", ["none.toml: ", "cannot be read"]),
    ] {
        place.run(&format!("config check {file}")).fails(2, &parts);
        place.run(&format!("train --config {file} --out run")).fails(2, &parts);
    }
    // An empty study runs the baseline of the default preset. Other bad texts are refused in a study as in a
    // configuration.
    for file in ["folder.toml", "utf16.toml", "latin1.toml", "twice.toml", "none.toml"] {
        place.run(&format!("sweep {file} --dry-run")).fails(2, &[file]);
    }
    // Byte order marks and line ends as editors on Windows write them are accepted.
    place.write("mark.toml", &format!("\u{feff}[train]\nseed = 7\n{PHASE}"));
    place.write("crlf.toml", &format!("[train]\nseed = 7\n{PHASE}").replace('\n', "\r\n"));
    for file in ["mark.toml", "crlf.toml"] {
        let shown = place.run(&format!("config show --config {file}")).succeeds();
        assert!(
            shown.out.contains("seed = 7") && shown.out.contains(&format!("# {file}:2")),
            "{}",
            shown.out
        );
    }
    place.write("crlf.toml", &format!("[train]\nsed = 7\n{PHASE}").replace('\n', "\r\n"));
    place.run("config check crlf.toml").fails(2, &["crlf.toml:2", "did you mean `seed`?"]);
    assert!(!place.path("run").exists(), "a refused command creates no folder");
}

#[test]
fn errors_in_studies_name_the_line_of_an_unknown_name() {
    let place = Workplace::new();
    for (text, parts) in [
        ("preset = \"tuor\"\n", ["study.toml:1: preset: ", "did you mean \"tour\"?"]),
        ("seeds = 1\nconfig = \"none.toml\"\n", ["none.toml", "cannot be read"]),
        (
            "preset = \"tour\"\n[axes]\n\"amplification.facter\" = [1]\n",
            ["study.toml:3: ", "did you mean `factor`?"],
        ),
        ("preset = \"tour\"\n[axes]\nfoo.bar = [1]\n", ["study.toml:3: ", "unknown key `foo`"]),
        ("preset = \"tour\"\n[[axis]]\nname = \"x\"\n", ["study.toml:2: axis.0: ", "expected a `key`"]),
        ("preset = \"tour\"\n[axes]\n\"train.seed\" = [1]\n", ["study.toml:3: ", "`seeds`"]),
        ("preset = \"tour\"\nsees = 2\n", ["study.toml:2: ", "did you mean `seeds`?"]),
        ("preset = \"tour\"\nseeds = [9223372036854775808]\n", ["study.toml:2: ", "9223372036854775807"]),
        ("preset = \"tour\"\nseeds = [-1]\n", ["study.toml:2: seeds.0: ", "found integer `-1`"]),
    ] {
        place.write("study.toml", text);
        place.run("sweep study.toml --dry-run").fails(2, &parts);
    }
}

/// The names contain line ends and control characters, begin like an option, or are not valid text.
#[cfg(unix)]
#[test]
fn a_run_can_be_started_from_a_file_of_any_name_and_resumed() {
    use std::os::unix::ffi::OsStrExt;
    let place = Workplace::new();
    place.run(&format!("{SMALL} --out plain")).succeeds();
    let plain = fs::read_to_string(place.path("plain/config.toml")).unwrap();
    for (i, name) in [&b"a\nb = 1 # .toml"[..], b"\x1b[2J\r.toml", b"\x7f\xc2\x85.toml", b"caf\xe9\xff.toml"]
        .iter()
        .enumerate()
    {
        let name = OsStr::from_bytes(name);
        fs::write(place.0.path().join(name), &plain).unwrap();
        let out = format!("run{i}");
        let words = ["train", "--max-steps", "3", "--quiet", "--out", &out, "--config"].map(OsStr::new);
        place.run_words(words.into_iter().chain([name])).succeeds();
        place.run(&format!("config check {out}/config.toml")).succeeds();
        let text = fs::read_to_string(place.path(&out).join("config.toml")).unwrap();
        assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{text:?}");
        place.run(&format!("train --quiet --threads 1 --resume {out}")).succeeds();
        let model = |run: &str| fs::read(place.path(run).join("checkpoints/last/model.safetensors")).unwrap();
        assert!(model("plain") == model(&out), "{name:?}");
    }
}

#[test]
fn numbers_are_accepted_as_people_type_them() {
    let place = Workplace::new();
    for (arguments, expected) in [
        ("--seed +3", "seed = 3 "),
        ("--seed 1_000", "seed = 1000 "),
        ("--seed 1e3", "seed = 1000 "),
        ("--seed 9223372036854775807", "seed = 9223372036854775807 "),
        ("--set train.seed=1e3", "seed = 1000 "),
        ("--set optimizer.momentum=.9", "momentum = 0.9 "),
        ("--set optimizer.momentum=.5", "momentum = 0.5 "),
        ("--set optimizer.weight_decay=1e-3", "weight_decay = 0.001 "),
        ("--set optimizer.weight_decay=+1e-3", "weight_decay = 0.001 "),
        ("--set optimizer.clip_norm=3.", "clip_norm = 3.0 "),
        ("--lr .05", "from = 0.05 "),
        ("--lr 5e-2", "from = 0.05 "),
        ("--lr +0.05", "from = 0.05 "),
    ] {
        let shown = place.run(&format!("config show {arguments}")).succeeds();
        assert!(shown.out.contains(expected), "{arguments}\n{}", shown.out);
    }
    for (arguments, parts) in [
        (
            "--seed 9223372036854775808",
            ["--seed", "found \"9223372036854775808\"", "from 0 to 9223372036854775807"],
        ),
        ("--seed -3", ["--seed", "found \"-3\"", "from 0 to 9223372036854775807"]),
        ("--seed 1.5", ["--seed", "found \"1.5\"", "expected a whole number"]),
        ("--set train.seed=9223372036854775808", ["--set", "train.seed", "found 9223372036854775808"]),
        ("--set train.seed=-3", ["--set", "train.seed", "found integer `-3`"]),
        ("--set train.seed=1.5", ["--set", "train.seed", "found floating point `1.5`"]),
        ("--set optimizer.momentum=-.9", ["--set", "optimizer.momentum", "found -0.9"]),
        ("--lr nan", ["--lr", "found \"nan\"", "expected a number"]),
    ] {
        place.run(&format!("config show {arguments}")).fails(2, &parts);
    }
    place.run("train --momentum .9").fails(2, &["--momentum"]);
    let tip = place.run("train --momentum .9").ends_with(2);
    assert!(tip.err.contains("--set optimizer.momentum=VALUE"), "{}", tip.err);
    let tip = place.run("train --clip-norm=3").ends_with(2);
    assert!(tip.err.contains("--set optimizer.clip_norm=VALUE"), "{}", tip.err);
}

#[test]
fn with_fewer_epochs_than_phases_a_preset_drops_phases_with_a_note() {
    let place = Workplace::new();
    let few = SMALL.replace("--epochs 3", "--epochs 2");
    let report = place.run(&format!("{few} --out run")).succeeds();
    for part in ["--epochs 2", "3 phases", "preset tour", "left out: 2"] {
        assert!(report.err.contains(part), "{part}\n{}", report.err);
    }
    assert_eq!(report.err.lines().filter(|line| line.contains("left out")).count(), 1);
    let config = fs::read_to_string(place.path("run/config.toml")).unwrap();
    assert_eq!(config.matches("[[strategy.phase]]").count(), 2, "{config}");
    // Settings of the remaining phase keep their origin.
    assert!(config.lines().any(|line| line.starts_with("amplify = true") && line.contains("preset tour:")));
    place.run("config check run/config.toml").succeeds();
    let before = contents(&place.path("run"));
    place.run("train --resume run --lr 0.3").fails(2, &["--lr", "cannot be changed"]);
    assert!(contents(&place.path("run")) == before);

    assert_eq!(place.run(&format!("{few} --quiet --out quiet")).succeeds().err, "");
    let one = place.run("config show --epochs 1 --lr 0.02").succeeds();
    assert!(one.err.contains("left out: 1, 2"), "{}", one.err);
    assert!(one.out.contains("from = 0.02"), "{}", one.out);
    place.run("config show --epochs 0").fails(2, &["--epochs", "is 0, expected 1 to 1000000"]);
    // Settings of a phase that is left out are checked, too.
    place
        .run("config show --epochs 1 --set strategy.phase.2.lr=-1")
        .fails(2, &["--set", "strategy.phase.2.lr"]);
    place.run("config show --epochs 1 --set strategy.phase.2.lr=1").succeeds();
}

/// Every path argument of every command may hold any bytes.
#[cfg(unix)]
#[test]
fn paths_that_are_not_valid_text_work_in_every_command() {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;
    let name = |name: &str| OsString::from_vec([b"\xff-", name.as_bytes()].concat());
    let place = Workplace::new();
    let at = |file: &str| place.0.path().join(name(file));
    // `@name` stands for a path that begins with a byte that is not valid text.
    let run = |arguments: &str| {
        let word = |word: &str| word.strip_prefix('@').map_or_else(|| word.into(), name);
        place.run_words(arguments.split_whitespace().map(word))
    };
    let small = |out: &str| format!("{SMALL} --quiet --out {out}");
    run(&small("@a")).succeeds();
    run(&small("@b --seed 1")).succeeds();
    run(&format!("{} --init @a/checkpoints/last/model.safetensors --max-steps 2", small("@c"))).succeeds();
    run("train --resume @c --quiet --threads 1").succeeds();
    let text = fs::read_to_string(at("c").join("config.toml")).unwrap();
    assert!(text.contains("[model.init]") && text.contains("bytes = [255, 45, 97, 47"), "{text}");
    run("eval --run @c").succeeds();
    run("eval --checkpoint @a/checkpoints/last --data shapes").succeeds();
    run("compare @a @b").succeeds();
    run("report @a @b -o @page.html --figures @figures").succeeds();
    assert!(at("page.html").is_file() && at("figures").is_dir());
    run("watch @a --once").succeeds();
    run("tensorboard @a").succeeds();
    run("config check @a/config.toml").succeeds();

    crate::bad_input::write_cifar(&at("cifar"));
    run("data verify @cifar").ends_with(1); // its images are not those of the published set
    run("data info @cifar").succeeds();
    let limits = "--set data.train_limit=96 --set data.test_limit=32";
    let on_cifar =
        small("@d").replace("--data shapes", "--data @cifar").replace("--set data.shapes.train=96", limits);
    run(&format!("{} --max-steps 2", on_cifar.replace("--set data.shapes.test=32", ""))).succeeds();
    run("train --resume @d --quiet --threads 1").succeeds();
    run("eval --run @d").succeeds();

    fs::copy(at("a").join("config.toml"), at("study.toml")).unwrap();
    let study = "seeds = 1\nbaseline = false\nconfig = \"base.toml\"\n";
    fs::write(at("study.toml"), study).unwrap();
    fs::copy(at("a").join("config.toml"), place.path("base.toml")).unwrap();
    run("sweep @study.toml --out @sweep --quiet").succeeds();
    run("sweep --collect @sweep").succeeds();
    run("report @sweep -o @sweep.html").succeeds();
    run("watch @sweep --once").succeeds();
    // No file was written under a similar name.
    let names: Vec<OsString> =
        fs::read_dir(place.0.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    let is_expected = |name: &OsString| {
        name.as_encoded_bytes().starts_with(b"\xff-") || name == "base.toml" || name == "cache"
    };
    assert!(names.iter().all(is_expected), "{names:?}");
}

/// The printed command that resumes a run can be pasted into a shell.
#[cfg(unix)]
#[test]
fn the_command_that_resumes_a_run_can_be_pasted() {
    let place = Workplace::new();
    for out in ["my runs/it's $HOME", "-dash", "a;b&c", "caf\u{e9}"] {
        let words = SMALL.split_whitespace().chain(["--max-steps", "2"]);
        let out = format!("--out={out}");
        let report = place.run_words(words.chain([out.as_str()])).succeeds();
        let (_, command) = report.err.split_once("continue with: gradamp ").unwrap();
        let script = format!("'{}' {}", env!("CARGO_BIN_EXE_gradamp"), command.lines().next().unwrap());
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", &script]).current_dir(place.0.path()).env("XDG_RUNTIME_DIR", place.0.path());
        Report::new(&script, shell.output().unwrap()).succeeds();
        let record = place.0.path().join(out.strip_prefix("--out=").unwrap()).join("run.json");
        assert!(fs::read_to_string(record).unwrap().contains("\"finished\""));
    }
}

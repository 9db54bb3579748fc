//! Files from elsewhere: which data set is used, files that are not what they should be, and names with control
//! characters for a terminal.

use std::fs;
use std::path::Path;

use crate::{Report, SMALL, Workplace};

/// Writes the files of CIFAR-10's or CIFAR-100's binary version. All images are black and have label 0.
fn write_cifar(folder: &Path, classes: usize) {
    fs::create_dir_all(folder).unwrap();
    let ten =
        ["data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin"];
    let (files, record): (Vec<(&str, u64)>, u64) = match classes {
        10 => (ten.into_iter().chain(["test_batch.bin"]).map(|name| (name, 10_000)).collect(), 3073),
        _ => (vec![("train.bin", 50_000), ("test.bin", 10_000)], 3074),
    };
    for (name, records) in files {
        fs::File::create(folder.join(name)).unwrap().set_len(records * record).unwrap();
    }
}

/// Trains for one step on data that `arguments` choose.
fn train(place: &Workplace, arguments: &str) -> Report {
    let small = SMALL.replace(" --data shapes", "");
    place
        .run(&format!("{small} --max-steps 1 --set data.train_limit=32 --set data.test_limit=16 {arguments}"))
}

#[test]
fn a_given_path_must_hold_the_configured_data_set() {
    let place = Workplace::new();
    write_cifar(&place.path("both/a"), 10);
    write_cifar(&place.path("both/b"), 100);
    write_cifar(&place.path("ten"), 10);
    let set = "--set data.source=cifar100";
    let report = train(&place, &format!("{set} --data both --out hundred")).succeeds();
    assert!(report.err.contains("data: CIFAR-100, binary version"), "{}", report.err);
    assert!(
        !report.err.contains("is used"),
        "no remark is printed about a configured data set: {}",
        report.err
    );
    train(&place, &format!("{set} --data ten --out none"))
        .fails(1, &["ten: expected CIFAR-100", "data_batch_1.bin"]);
    // A name replaces the configured source. A path replaces it if the configured set is generated.
    let report = train(&place, &format!("{set} --data shapes --out shapes")).succeeds();
    assert!(report.err.contains("generated shapes"), "{}", report.err);
    let report = train(&place, "--set data.source=shapes --data ten --out of_ten").succeeds();
    assert!(report.err.contains("data: CIFAR-10, binary version"), "{}", report.err);

    // The same rules hold for an evaluation, here of the run with 100 classes.
    let report = place.run("eval --run hundred --last --data both").succeeds();
    assert!(report.err.contains("data: CIFAR-100"), "{}", report.err);
    place.run("eval --run hundred --last --data ten").fails(1, &["ten: expected CIFAR-100"]);
}

#[test]
fn if_a_folder_holds_two_data_sets_the_program_says_which_is_used() {
    let place = Workplace::new();
    write_cifar(&place.path("both/a"), 100);
    write_cifar(&place.path("both/b"), 10);
    let remark =
        "both holds cifar100 and cifar10; cifar100 is used (to use cifar10, set data.source = \"cifar10\")";
    // The black images are not those of the published set.
    let verified = place.run("data verify both").fails(1, &["both: is incomplete or damaged"]);
    assert!(
        verified.out.contains("train.bin: differs from the published file: expected MD5"),
        "{}",
        verified.out
    );
    for report in
        [train(&place, "--data both --out run").succeeds(), place.run("data info both").succeeds(), verified]
    {
        assert!(report.err.contains(remark), "{}\n{}", report.what, report.err);
    }
}

#[test]
fn a_data_sets_name_wins_over_a_folder_of_that_name() {
    let place = Workplace::new();
    write_cifar(&place.path("cifar10"), 10);
    write_cifar(&place.path("data/cifar-10-batches-bin"), 10);
    for arguments in ["data info cifar10", "data verify cifar10", "eval --checkpoint none --data cifar10"] {
        let report = place.run(arguments);
        if arguments.starts_with("data") {
            assert!(report.out.contains("data/cifar-10-batches-bin"), "{}", report.out);
            assert!(
                report.err.contains("cifar10 is read as the name of a data set; to read the file or folder of that name, write ./cifar10"),
                "{}",
                report.err
            );
            // The black images are not those of the published set.
            report.ends_with(if arguments.contains("verify") { 1 } else { 0 });
        }
    }
    let report = train(&place, "--data cifar10 --out run").succeeds();
    assert!(report.err.contains("cifar10 is read as the name of a data set"), "{}", report.err);
    let report = train(&place, "--data ./cifar10 --out other").succeeds();
    assert!(
        report.err.contains("in ./cifar10") && !report.err.contains("is read as the name"),
        "{}",
        report.err
    );
}

#[test]
fn data_commands_accept_the_names_that_a_run_accepts() {
    let place = Workplace::new();
    for command in ["info", "verify"] {
        let report = place.run(&format!("data {command} auto")).succeeds();
        assert!(report.out.contains("files      none: generated"), "{}", report.out);
        place
            .run(&format!("data {command} cifar100"))
            .fails(1, &["data.source", "no cifar100 found under data/"]);
    }
    write_cifar(&place.path("data"), 10);
    for name in ["auto", "cifar10"] {
        let report = place.run(&format!("data info {name}")).succeeds();
        assert!(report.out.contains("name       CIFAR-10"), "{}", report.out);
        let report = place.run(&format!("data verify {name}")).ends_with(1);
        assert!(
            report.out.contains("6 of 6 files are bad"),
            "the images are not the published ones: {}",
            report.out
        );
    }
}

#[test]
fn an_error_in_gradamp_data_names_the_variable() {
    let place = Workplace::new();
    write_cifar(&place.path("cut"), 10);
    fs::File::options().write(true).open(place.path("cut/data_batch_2.bin")).unwrap().set_len(5).unwrap();
    fs::create_dir(place.path("empty")).unwrap();
    for (value, part) in
        [("nowhere", "cannot be read"), ("empty", "an empty folder"), ("cut", "data_batch_2.bin")]
    {
        let output = place.command("data info auto").env("GRADAMP_DATA", value).output().unwrap();
        let expected = format!("the environment variable GRADAMP_DATA names {value}");
        Report::new(value, output).fails(1, &[part, &expected]);
        // An error at a path given as an argument does not mention the variable.
        let output =
            place.command(&format!("data info {value}")).env("GRADAMP_DATA", "else").output().unwrap();
        assert!(!Report::new(value, output).fails(1, &[part]).err.contains("GRADAMP_DATA"));
    }
}

#[test]
fn the_error_for_a_missing_relative_path_names_the_current_folder() {
    let place = Workplace::new();
    let here = place.0.path().canonicalize().unwrap();
    let from = format!("looked up from {}", here.display());
    place.run("data info no/data").fails(1, &["no/data: cannot be read", &from]);

    write_cifar(&place.path("ten"), 10);
    train(&place, "--data ten --out run").succeeds();
    fs::create_dir(place.path("elsewhere")).unwrap();
    fs::rename(place.path("ten"), place.path("moved")).unwrap();
    let mut command = place.command("train --threads 1 --resume ../run");
    let report = Report::new("resume", command.current_dir(place.path("elsewhere")).output().unwrap());
    report.fails(
        1,
        &[
            "ten: cannot be read",
            "../run names the relative path ten, which starts in the folder where the run was started",
            "--data PATH",
        ],
    );
    let mut command = place.command("eval --run ../run --last");
    let report = Report::new("eval", command.current_dir(place.path("elsewhere")).output().unwrap());
    report.fails(
        1,
        &["../run names the relative path ten, which starts in the folder where the run was started"],
    );
    let mut command = place.command("train --threads 1 --resume ../run --data ../moved");
    Report::new("resume", command.current_dir(place.path("elsewhere")).output().unwrap()).succeeds();
}

/// A tensor's name, type, shape and bytes.
type Named = (String, String, Vec<u64>, Vec<u8>);

/// Encodes tensors as a safetensors file.
fn safetensors(tensors: &[Named]) -> Vec<u8> {
    let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
    for (name, dtype, shape, bytes) in tensors {
        let offsets = [data.len(), data.len() + bytes.len()];
        header.insert(
            name.clone(),
            serde_json::json!({"dtype": dtype, "shape": shape, "data_offsets": offsets}),
        );
        data.extend(bytes);
    }
    let header = serde_json::to_vec(&header).unwrap();
    [&(header.len() as u64).to_le_bytes()[..], &header, &data].concat()
}

/// Decodes the tensors of a safetensors file.
fn tensors(bytes: &[u8]) -> Vec<Named> {
    let (size, rest) = bytes.split_at(8);
    let (header, data) = rest.split_at(u64::from_le_bytes(size.try_into().unwrap()) as usize);
    let header: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(header).unwrap();
    let tensor = |(name, entry): (&String, &serde_json::Value)| {
        let numbers =
            |key: &str| entry[key].as_array().unwrap().iter().map(|n| n.as_u64().unwrap()).collect();
        let offsets: Vec<u64> = numbers("data_offsets");
        let bytes = data[offsets[0] as usize..offsets[1] as usize].to_vec();
        (name.clone(), entry["dtype"].as_str().unwrap().to_owned(), numbers("shape"), bytes)
    };
    header.iter().filter(|(name, _)| *name != "__metadata__").map(tensor).collect()
}

#[test]
fn checkpoints_of_other_trainers_can_be_evaluated_and_start_a_run() {
    let place = Workplace::new();
    place.run(&format!("{SMALL} --max-steps 2 --out run")).succeeds();
    let own = fs::read(place.path("run/checkpoints/last/model.safetensors")).unwrap();
    let eval = |name: &str| {
        place.run(&format!("eval --checkpoint {name}.safetensors --data shapes --threads 1 --json"))
    };
    let loss =
        |report: &Report| serde_json::from_str::<serde_json::Value>(&report.out).unwrap()["loss"].clone();
    fs::write(place.path("own.safetensors"), &own).unwrap();
    let report = eval("own").succeeds();
    assert!(!report.err.contains("read without"), "{}", report.err);
    let expected = loss(&report);
    let write = |name: &str, change: &dyn Fn(&mut Named)| {
        let mut all = tensors(&own);
        all.iter_mut().for_each(change);
        if name == "averaged" {
            all.push(("n_averaged".into(), "I64".into(), vec![], 3i64.to_le_bytes().to_vec()));
        }
        fs::write(place.path(&format!("{name}.safetensors")), safetensors(&all)).unwrap();
    };
    for (name, prefix) in [("module", "module."), ("compiled", "module._orig_mod."), ("averaged", "module.")]
    {
        write(name, &|tensor| tensor.0.insert_str(0, prefix));
        let report = eval(name).succeeds();
        assert_eq!(loss(&report), expected);
        let expected = format!("{name}.safetensors: read without \"{prefix}\" before every name");
        assert!(report.err.contains(&expected), "{}", report.err);
    }
    // A model cast to bfloat16, with counters cast to i32.
    write("cast", &|(name, dtype, _, bytes)| {
        if name.ends_with("num_batches_tracked") {
            (*dtype, *bytes) = ("I32".into(), bytes[..4].to_vec());
        } else {
            (*dtype, *bytes) = ("BF16".into(), bytes.chunks_exact(4).flat_map(|b| [b[2], b[3]]).collect());
        }
    });
    eval("cast").succeeds();

    let report =
        place.run(&format!("{SMALL} --max-steps 1 --init averaged.safetensors --out next")).succeeds();
    assert!(
        report.err.contains("read without \"module.\" before every name and a count of averages"),
        "{}",
        report.err
    );
    let quiet =
        place.run(&format!("{SMALL} --quiet --max-steps 1 --init cast.safetensors --out quiet")).succeeds();
    assert!(!quiet.err.contains("read without"), "{}", quiet.err);

    write("foreign", &|tensor| tensor.0 = tensor.0.replace("linear.", "fc."));
    eval("foreign").fails(
        1,
        &["foreign.safetensors: expected a VGG, ResNet or MLP", "no tensor is named linear.weight"],
    );
    write("short", &|tensor| tensor.0 = tensor.0.replace("layer3.1.conv2", "other"));
    eval("short").fails(1, &["short.safetensors: tensor layer3.1.conv2.weight: is missing"]);
    fs::write(place.path("empty.safetensors"), safetensors(&[])).unwrap();
    eval("empty").fails(1, &["empty.safetensors", "found no tensors"]);
}

/// Control characters in a file's names must not reach the terminal.
#[test]
fn names_from_files_are_printed_escaped() {
    let place = Workplace::new();
    let name = "\u{1b}[2J\u{9b}31m\rfc.weight".to_owned();
    let file = safetensors(&[(name, "F32".into(), vec![1], vec![0; 4])]);
    fs::write(place.path("esc.safetensors"), file).unwrap();
    let mut header = tar::Header::new_gnu();
    header.set_size(1);
    header.set_cksum();
    let mut archive = tar::Builder::new(Vec::new());
    archive.append_data(&mut header, "\u{1b}]0;title\u{7}/test_batch.bin", &b"x"[..]).unwrap();
    fs::write(place.path("esc.tar"), archive.into_inner().unwrap()).unwrap();
    place.write("a\u{1b}[31mb.toml", "[train]\nseed = \"\\u001b[32m\"\n");
    let odd = Path::new("a\u{1b}[31mb.toml");
    let mut check = place.command("config check");
    let mut unknown = place.command("data info esc.tar");
    for (report, shown) in [
        (
            place.run("eval --checkpoint esc.safetensors --data shapes"),
            "\\u001b[2J\\u009b31m\\u000dfc.weight",
        ),
        (place.run("data verify esc.tar"), "\\u001b]0;title\\u0007/test_batch.bin"),
        (Report::new("config check", check.arg(odd).output().unwrap()), "a\\u001b[31mb.toml"),
        (Report::new("data info", unknown.arg("\u{1b}[31m").output().unwrap()), "\\u001b[31m"),
    ] {
        assert_ne!(report.code, Some(0), "{}", report.what);
        let all = format!("{}{}", report.out, report.err);
        assert!(all.contains(shown), "{}: {all}", report.what);
        let unescaped = all.chars().find(|&c| c.is_control() && c != '\n' && c != '\t');
        assert_eq!(unescaped, None, "{}: {all:?}", report.what);
    }
}

/// Reading a pipe without a writer, or a device without an end, would never finish. The time limit of this test is
/// generous.
#[cfg(unix)]
#[test]
fn pipes_and_devices_are_refused_wherever_a_file_is_read() {
    use std::time::{Duration, Instant};

    let place = Workplace::new();
    place.run(&format!("{SMALL} --max-steps 2 --out run")).succeeds();
    let pipe = place.path("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let pipe_in = |name: &str| {
        let _ = fs::remove_file(place.path(name));
        fs::create_dir_all(place.path(name).parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(&pipe, place.path(name)).unwrap();
    };
    pipe_in("folder/data_batch_1.bin");
    let bounded = |arguments: &str| {
        let mut command = place.command(arguments);
        let mut child = command
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let begun = Instant::now();
        while child.try_wait().unwrap().is_none() && begun.elapsed() < Duration::from_secs(60) {
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = child.kill(); // fails if the process has ended
        Report::new(arguments, child.wait_with_output().unwrap())
    };
    let pipe = "a named pipe, expected a regular file";
    let device = "a device, expected a regular file";
    for (arguments, code, told) in [
        ("data info pipe", 1, pipe),
        ("data verify /dev/zero", 1, device),
        ("data info folder", 1, pipe),
        ("eval --checkpoint pipe --data shapes", 1, pipe),
        ("eval --checkpoint /dev/zero --data shapes", 1, device),
        ("config check pipe", 2, pipe),
        ("config check /dev/zero", 2, device),
        ("train --config /dev/stdin", 2, "expected a regular file"),
        ("sweep pipe --dry-run", 2, pipe),
        ("sweep /dev/zero --dry-run", 2, device),
        (&format!("{SMALL} --init pipe --out next"), 1, pipe),
        (&format!("{SMALL} --init /dev/zero --out next"), 1, device),
    ] {
        bounded(arguments).fails(code, &[told]);
    }
    for name in ["metrics.jsonl", "gradients.jsonl", "run.json"] {
        let kept = fs::read(place.path("run").join(name)).unwrap();
        pipe_in(&format!("run/{name}"));
        bounded("report run -o page.html").fails(1, &[name, pipe]);
        fs::remove_file(place.path("run").join(name)).unwrap();
        fs::write(place.path("run").join(name), kept).unwrap();
    }
    let state = "run/checkpoints/last/state.json";
    let kept = fs::read(place.path(state)).unwrap();
    pipe_in(state);
    bounded("train --threads 1 --resume run").fails(1, &["state.json", pipe]);
    fs::remove_file(place.path(state)).unwrap();
    fs::write(place.path(state), kept).unwrap();
    // A link to a regular file is read like the file.
    std::os::unix::fs::symlink(place.path("run/checkpoints/last/model.safetensors"), place.path("link"))
        .unwrap();
    place.run("eval --checkpoint link --data shapes --threads 1").succeeds();
}

/// An archive of one kilobyte whose header asks for a gigabyte is read under a limit on the memory of the process.
#[cfg(target_os = "linux")]
#[test]
fn archives_that_ask_for_much_memory_are_refused_within_a_limit() {
    let place = Workplace::new();
    let big = 1_u64 << 30;
    for kind in [tar::EntryType::GNULongName, tar::EntryType::GNULongLink, tar::EntryType::XHeader] {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(big);
        header.set_cksum();
        let file = fs::File::create(place.path("long.tar")).unwrap();
        std::io::Write::write_all(&mut &file, header.as_bytes()).unwrap();
        file.set_len(big + 1024).unwrap(); // unwritten parts take no space on the disk
        let script =
            format!("ulimit -v 1500000; exec {} data verify long.tar", env!("CARGO_BIN_EXE_gradamp"));
        let mut command = std::process::Command::new("sh");
        command.args(["-c", &script]).current_dir(place.0.path());
        let report = Report::new("data verify long.tar", command.output().unwrap());
        report.fails(1, &["long.tar, byte 512", "an extended header of 1073741824 bytes"]);
    }
}

//! Files of other people: which data is meant, files that are none, and names that a terminal would obey.

use std::fs;
use std::path::Path;

use crate::{Report, SMALL, Workplace};

/// The files of CIFAR-10's or CIFAR-100's binary version, all black, the records all of label 0.
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

/// A run of a few steps on whatever `data` is.
fn train(place: &Workplace, arguments: &str) -> Report {
    let small = SMALL.replace(" --data shapes", "");
    place
        .run(&format!("{small} --max-steps 1 --set data.train_limit=32 --set data.test_limit=16 {arguments}"))
}

#[test]
fn a_configured_data_set_is_looked_for_at_the_path_that_is_given() {
    let place = Workplace::new();
    write_cifar(&place.path("both/a"), 10);
    write_cifar(&place.path("both/b"), 100);
    write_cifar(&place.path("ten"), 10);
    let set = "--set data.source=cifar100";
    let report = train(&place, &format!("{set} --data both --out hundred")).succeeds();
    assert!(report.err.contains("data: CIFAR-100, binary version"), "{}", report.err);
    assert!(!report.err.contains("is taken"), "what is configured needs no remark: {}", report.err);
    train(&place, &format!("{set} --data ten --out none"))
        .fails(1, &["ten: expected CIFAR-100", "data_batch_1.bin"]);
    // A name takes the place of the configured source, and so does a path of a configured generated set.
    let report = train(&place, &format!("{set} --data shapes --out shapes")).succeeds();
    assert!(report.err.contains("generated shapes"), "{}", report.err);
    let report = train(&place, "--set data.source=shapes --data ten --out of_ten").succeeds();
    assert!(report.err.contains("data: CIFAR-10, binary version"), "{}", report.err);

    // The same for an evaluation of the run with 100 classes.
    let report = place.run("eval --run hundred --last --data both").succeeds();
    assert!(report.err.contains("data: CIFAR-100"), "{}", report.err);
    place.run("eval --run hundred --last --data ten").fails(1, &["ten: expected CIFAR-100"]);
}

#[test]
fn of_two_data_sets_in_a_folder_one_is_taken_and_named() {
    let place = Workplace::new();
    write_cifar(&place.path("both/a"), 100);
    write_cifar(&place.path("both/b"), 10);
    let remark =
        "both holds cifar100 and cifar10; cifar100 is taken (data.source = \"cifar10\" takes the other)";
    for report in
        [train(&place, "--data both --out run"), place.run("data info both"), place.run("data verify both")]
    {
        let report = report.succeeds();
        assert!(report.err.contains(remark), "{}\n{}", report.what, report.err);
    }
}

#[test]
fn a_name_wins_over_a_folder_of_this_name_and_says_so() {
    let place = Workplace::new();
    write_cifar(&place.path("cifar10"), 10);
    write_cifar(&place.path("data/cifar-10-batches-bin"), 10);
    for arguments in ["data info cifar10", "data verify cifar10", "eval --checkpoint none --data cifar10"] {
        let report = place.run(arguments);
        if arguments.starts_with("data") {
            assert!(report.out.contains("data/cifar-10-batches-bin"), "{}", report.out);
            assert!(
                report.err.contains("./cifar10 is not read (it would be by its path, ./cifar10)"),
                "{}",
                report.err
            );
            report.succeeds();
        }
    }
    let report = train(&place, "--data cifar10 --out run").succeeds();
    assert!(report.err.contains("./cifar10 is not read"), "{}", report.err);
    let report = train(&place, "--data ./cifar10 --out other").succeeds();
    assert!(report.err.contains("in ./cifar10") && !report.err.contains("is not read"), "{}", report.err);
}

#[test]
fn data_commands_take_what_a_run_takes() {
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
        let report = place.run(&format!("data verify {name}")).succeeds();
        assert!(report.out.contains("all 6 files are good"), "{}", report.out);
    }
}

#[test]
fn an_error_at_the_environments_variable_names_it() {
    let place = Workplace::new();
    write_cifar(&place.path("cut"), 10);
    fs::File::options().write(true).open(place.path("cut/data_batch_2.bin")).unwrap().set_len(5).unwrap();
    fs::create_dir(place.path("empty")).unwrap();
    for (value, part) in
        [("nowhere", "cannot be read"), ("empty", "an empty folder"), ("cut", "data_batch_2.bin")]
    {
        let output = place.command("data info auto").env("GRADAMP_DATA", value).output().unwrap();
        let told = format!("the environment variable GRADAMP_DATA names {value}");
        Report::new(value, output).fails(1, &[part, &told]);
        // A path of the command line is not the variable's fault.
        let output =
            place.command(&format!("data info {value}")).env("GRADAMP_DATA", "else").output().unwrap();
        assert!(!Report::new(value, output).fails(1, &[part]).err.contains("GRADAMP_DATA"));
    }
}

#[test]
fn a_relative_path_that_leads_nowhere_says_from_where() {
    let place = Workplace::new();
    let here = place.0.path().canonicalize().unwrap();
    let from = format!("looked up from {}", here.display());
    place.run("data info no/data").fails(1, &["no/data: cannot be read", &from]);

    write_cifar(&place.path("ten"), 10);
    train(&place, "--data ten --out run").succeeds();
    fs::create_dir(place.path("elsewhere")).unwrap();
    let mut command = place.command("train --threads 1 --resume ../run");
    let report = Report::new("resume", command.current_dir(place.path("elsewhere")).output().unwrap());
    report.fails(
        1,
        &["ten: cannot be read", "../run says ten, from the folder that the run was begun in", "--data PATH"],
    );
    let mut command = place.command("eval --run ../run --last");
    let report = Report::new("eval", command.current_dir(place.path("elsewhere")).output().unwrap());
    report.fails(1, &["../run says ten, from the folder that the run was begun in"]);
    let mut command = place.command("train --threads 1 --resume ../run --data ../ten");
    Report::new("resume", command.current_dir(place.path("elsewhere")).output().unwrap()).succeeds();
}

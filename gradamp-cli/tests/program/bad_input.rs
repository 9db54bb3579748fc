//! Every kind of bad input ends in one clear error that names the file and the place, with the right exit code.
//! Nothing is overwritten.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use crate::{Report, SMALL, Workplace, contents};

const PHASE: &str = "[strategy]\nlr = 0.1\n[[strategy.phase]]\nepochs = 1\n";

#[test]
fn bad_arguments_are_refused() {
    let place = Workplace::new();
    assert!(place.run("train --widht 3").ends_with(2).err.contains("--width"));
    place.run("").ends_with(2);
    place.run("train --preset tuor").fails(2, &["--preset", "\"tuor\"", "did you mean \"tour\"?"]);
    place.run("train --model resnet19").fails(2, &["--model", "resnet19", "did you mean resnet18?"]);
    place.run("train --width 0").fails(2, &["--width", "model.width", "found 0"]);
    place.run("train --epochs 0").fails(2, &["--epochs", "is 0"]);
    place.run("train --lr -1").fails(2, &["--lr", "-1"]);
    place.run("train --set train.sed=1").fails(2, &["--set", "`sed`", "did you mean `seed`?"]);
    place.run("bench step --model vgg12").fails(2, &["vgg12", "vgg11"]);
    place.run("bench step --batch 0").fails(2, &["--batch", "found"]);
    place.run("bench amplify --evaluate").fails(2, &["--evaluate", "expected `bench step`"]);
    assert!(!place.path("runs").exists(), "a refused command creates no folder");
}

#[test]
fn settings_that_a_model_does_not_have_are_refused() {
    let place = Workplace::new();
    for (arguments, parts) in [
        ("--model vgg11 --set model.skip=false", ["--set", "model.skip", "vgg11 has no skip connections"]),
        ("--model mlp --set model.skip=true", ["--set", "model.skip", "mlp has no skip connections"]),
        ("--model resnet18 --set model.depth=9", ["--set", "model.depth", "resnet18 has a fixed depth"]),
        ("--model mlp --set model.depth=101", ["--set", "model.depth", "from 1 to 100, found 101"]),
        ("--model mlp --set model.repeat=2", ["--set", "model.repeat", "mlp has no convolutions"]),
        ("--model vgg11 --set model.norm=layer", ["--set", "model.norm", "layer"]),
        ("--set model.activation=tahn", ["--set", "model.activation", "tahn"]),
        ("--set model.gain=0", ["--set", "model.gain", "expected a number above 0, found 0"]),
        ("--set model.initial=orthogonal", ["--set", "model.initial", "orthogonal"]),
    ] {
        place.run(&format!("train {arguments}")).fails(2, &parts);
    }
    // An activation, when only ReLUs shall be amplified.
    let without_relu = "train --preset tour --data shapes --set model.activation=tanh --set model.norm=none \
                  --set amplification.kinds=[\"relu\"] --set data.shapes.train=64";
    place
        .run(without_relu)
        .fails(2, &["amplification.kinds", "no layer is of kind relu; there are conv, tanh"]);
    assert!(!place.path("runs").exists(), "a refused command creates no folder");
}

#[test]
fn a_bad_environment_variable_is_refused() {
    let place = Workplace::new();
    let output = place.command(SMALL).env("GRADAMP_ISA", "sse9").output().unwrap();
    Report::new(SMALL, output)
        .fails(2, &["GRADAMP_ISA", "expected amx, avx512bf16, avx512, avx2, neon or portable", "\"sse9\""]);
    assert!(!place.path("runs").exists(), "a refused command creates no folder");
}

#[test]
fn bad_configuration_files_are_refused() {
    let place = Workplace::new();
    for (text, parts) in [
        (
            format!("[train]\nbatchsize = 3\n{PHASE}"),
            ["my.toml:2", "train.batchsize", "did you mean `batch_size`?"],
        ),
        (format!("[trian]\nseed = 3\n{PHASE}"), ["my.toml:1", "`trian`", "did you mean `train`?"]),
        (
            format!("[train]\nbatch_size = 0\n{PHASE}"),
            ["my.toml:2", "train.batch_size", "found 0, expected 1 to"],
        ),
        (
            format!("[optimizer]\nmomentum = 1\n{PHASE}"),
            ["my.toml:2", "optimizer.momentum", "expected a number in [0, 1)"],
        ),
        (
            format!("[data]\nworkers = 99\n{PHASE}"),
            ["my.toml:2", "data.workers", "expected 0 to 64, found 99"],
        ),
        (
            format!("[data]\nresident = \"gpu\"\n{PHASE}"),
            ["my.toml:2", "data.resident", "found string \"gpu\", expected true or false"],
        ),
        (
            PHASE.replace("epochs = 1", "epochs = 0"),
            ["my.toml:4", "strategy.phase.0.epochs", "is 0, expected at least 1"],
        ),
        ("[strategy]\nphase = []\n".into(), ["my.toml:2", "strategy.phase", "at least one phase"]),
        ("[train\n".into(), ["my.toml:1", "", ""]),
    ] {
        place.write("my.toml", &text);
        place.run("config check my.toml").fails(2, &parts);
        place.run("train --config my.toml").fails(2, &parts);
    }
    place.run("train --config none.toml").fails(2, &["none.toml", "cannot be read"]);
    assert!(!place.path("runs").exists(), "a refused command creates no folder");
}

#[test]
fn selections_that_match_no_site_are_refused() {
    let place = Workplace::new();
    let phase = format!(
        "{PHASE}amplify = true\n[data]\nsource = \"shapes\"\nshapes = {{ train = 300, test = 10 }}\n"
    );
    for (selection, parts) in [
        ("paths = [\"layer9.**\"]", ["my.toml:2", "amplification.paths.0", "\"layer9.**\" matches no layer"]),
        (
            "sites = [\"bn1\", \"layer1.0.bn3\"]",
            ["my.toml:2", "amplification.sites.1", "no layer is named \"layer1.0.bn3\""],
        ),
        ("kinds = [\"other\"]", ["my.toml:2", "amplification.kinds.0", "no layer is of kind other"]),
        (
            "kinds = [\"linear\"]\ncount = 2",
            ["my.toml:3", "amplification.count", "only 1 layers are eligible"],
        ),
    ] {
        place.write("my.toml", &format!("[amplification]\n{selection}\n{phase}"));
        place.run("train --config my.toml --width 2 --out run").fails(2, &parts);
    }
    assert!(!place.path("run").exists(), "a refused command creates no folder");
}

/// Writes the files of CIFAR-10's binary version; all images are black and have label 0.
pub fn write_cifar(folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    let names = (1..=5).map(|i| format!("data_batch_{i}.bin")).chain(["test_batch.bin".to_owned()]);
    for name in names {
        File::create(folder.join(name)).unwrap().set_len(10_000 * 3073).unwrap();
    }
}

#[test]
fn missing_and_damaged_data_files_are_refused() {
    let place = Workplace::new();
    let train = format!("{} --data", SMALL.replace(" --data shapes", ""));
    place.run(&format!("{train} nowhere")).fails(1, &["nowhere", "cannot be read"]);
    place.run(&format!("{train} cifar10")).fails(2, &["data.source", "no cifar10 found under data/"]);
    place.run("data info nowhere").fails(1, &["nowhere"]);

    let folder = place.path("cifar");
    write_cifar(&folder);
    File::options().write(true).open(folder.join("data_batch_2.bin")).unwrap().set_len(3073 * 7 + 5).unwrap();
    place.run(&format!("{train} cifar")).fails(1, &["data_batch_2.bin", "record 7"]);
    let report = place.run("data verify cifar").fails(1, &["cifar: is incomplete or damaged"]);
    assert!(report.out.contains("data_batch_2.bin, record 7"), "{}", report.out);
    // The files after the broken one are read, too; their black images are not those of the published set.
    assert!(report.out.contains("test_batch.bin: differs from the published file"), "{}", report.out);

    write_cifar(&folder);
    let mut labels = fs::read(folder.join("test_batch.bin")).unwrap();
    labels[3073 * 4] = 10;
    fs::write(folder.join("test_batch.bin"), labels).unwrap();
    place.run(&format!("{train} cifar")).fails(1, &["test_batch.bin", "record 4", "10"]);

    fs::remove_file(folder.join("test_batch.bin")).unwrap();
    write_cifar(&folder);
    fs::remove_file(folder.join("data_batch_3.bin")).unwrap();
    place.run(&format!("{train} cifar")).fails(1, &["data_batch_3.bin", "missing"]);

    place.write("broken.tar.gz", "this is not an archive");
    place.run(&format!("{train} broken.tar.gz")).fails(1, &["broken.tar.gz"]);
    assert!(!place.path("runs").exists(), "a refused command creates no folder");

    place.run(&format!("{SMALL} --set data.validation=96")).fails(2, &["--set", "data.validation"]);
    place
        .run(&format!("{SMALL} --batch-size 97").replace("--batch-size 16", ""))
        .fails(2, &["--batch-size", "train.batch_size", "96"]);
}

#[test]
fn checkpoints_of_other_models_and_damaged_ones_are_refused() {
    let place = Workplace::new();
    place.run(&format!("{SMALL} --max-steps 2 --out run")).succeeds();
    let model = "run/checkpoints/last/model.safetensors";
    for (arguments, parts) in [
        ("--model vgg11", ["vgg11 of width 2 with 10 classes", "resnet18 of width 2 with 10 classes"]),
        ("--model resnet34", ["resnet34", "resnet18"]),
        ("--width 4", ["resnet18 of width 4", "resnet18 of width 2"]),
    ] {
        let arguments = format!(
            "{} {arguments} --init {model} --out next",
            SMALL.replace("--width 2", if arguments.contains("width") { "" } else { "--width 2" })
        );
        place.run(&arguments).fails(1, &[&[model], &parts[..]].concat());
    }
    place.run(&format!("{SMALL} --init none.safetensors --out next")).fails(1, &["none.safetensors"]);
    assert!(!place.path("next").exists(), "a refused command creates no folder");

    // Truncates each file of a checkpoint, then inverts one of its bits.
    let whole = contents(&place.path("run"));
    for name in ["model.safetensors", "momentum.safetensors", "state.json"] {
        let path = place.path("run/checkpoints/last").join(name);
        let bytes = fs::read(&path).unwrap();
        for broken in [bytes[..bytes.len() / 2].to_vec(), Vec::new()] {
            fs::write(&path, &broken).unwrap();
            place.run("train --resume run").fails(1, &[&format!("run/checkpoints/last/{name}")]);
            assert_eq!(fs::read(&path).unwrap(), broken, "a refused command overwrites nothing");
        }
        if name != "state.json" {
            let mut flipped = bytes.clone();
            *flipped.last_mut().unwrap() ^= 1;
            fs::write(&path, flipped).unwrap();
            place.run("train --resume run").fails(1, &[name, "is changed"]);
        }
        fs::write(&path, bytes).unwrap();
    }
    fs::write(place.path("cut.safetensors"), &fs::read(place.path(model)).unwrap()[..500]).unwrap();
    place.run("eval --checkpoint cut.safetensors --data shapes").fails(1, &["cut.safetensors"]);
    let mut after = contents(&place.path("run"));
    after.retain(|path, _| whole.contains_key(path));
    assert!(after == whole, "the run's folder is unchanged");
    place.run("train --resume run").succeeds();
}

#[test]
fn folders_that_hold_a_run_or_hold_none_are_refused() {
    let place = Workplace::new();
    place.run(&format!("{SMALL} --max-steps 2 --out run")).succeeds();
    let before = contents(&place.path("run"));
    place.run(&format!("{SMALL} --out run")).fails(1, &["run: already holds a run", "--resume"]);
    place.run("train --resume nowhere").fails(1, &["nowhere", "no such folder"]);
    fs::create_dir(place.path("empty")).unwrap();
    place.run("train --resume empty").fails(1, &["empty", "config.toml"]);
    place.run("eval --run empty").fails(1, &["empty", "config.toml"]);

    place.run("train --resume run --lr 0.3").fails(2, &["--lr", "strategy.lr", "cannot be changed"]);
    place.run("train --resume run --set model.width=3").fails(2, &["--set", "model.width", "`2`", "`3`"]);
    place.run("train --resume run --preset tour").fails(2, &["--preset", "--resume"]);
    place
        .run("train --resume run --set data.shapes.seed=9")
        .fails(2, &["data.shapes.seed", "cannot be changed"]);
    assert!(contents(&place.path("run")) == before, "a refused command overwrites nothing");

    // The same settings with different data.
    let record = fs::read_to_string(place.path("run/run.json")).unwrap();
    let mut other: serde_json::Value = serde_json::from_str(&record).unwrap();
    other["dataset_checksum"] = "0000".into();
    // Removes what the first version, which had no seals, did not write.
    ["format", "config", "saved", "sha256"]
        .iter()
        .for_each(|key| drop(other.as_object_mut().unwrap().remove(*key)));
    place.write("run/run.json", &other.to_string());
    place.run("train --resume run").fails(1, &["run: the run began with shapes", "SHA-256"]);
}

#[test]
fn output_folders_that_cannot_be_written_are_refused() {
    let place = Workplace::new();
    place.write("file", "");
    place.run(&format!("{SMALL} --out file/run")).fails(1, &["file/run", "cannot make this folder"]);
}

/// A limit on the size of files stands in for a full disk; the system refuses to write in the same way.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_ends_the_run_and_keeps_the_last_checkpoint() {
    let place = Workplace::new();
    place.run(&format!("{SMALL} --max-steps 8 --out run")).succeeds();
    let whole = contents(&place.path("run/checkpoints"));
    let limited = |arguments: &str| {
        let script =
            format!("trap '' XFSZ; ulimit -f 16; exec {} {arguments}", env!("CARGO_BIN_EXE_gradamp"));
        let mut command = Command::new("sh");
        command.args(["-c", &script]).current_dir(place.0.path()).env_remove("GRADAMP_DATA");
        Report::new(arguments, command.output().unwrap())
    };
    limited(&format!("{SMALL} --out full")).fails(1, &["full/", "too large"]);
    limited("train --threads 1 --resume run").fails(1, &["run/", "too large"]);
    let mut after = contents(&place.path("run/checkpoints"));
    after.retain(|path, _| whole.contains_key(path));
    assert!(after == whole, "the last checkpoint is unchanged");

    place.run("train --threads 1 --resume run").succeeds();
    place.run(&format!("{SMALL} --out whole")).succeeds();
    let read = |run: &str| fs::read(place.path(run).join("checkpoints/last/model.safetensors")).unwrap();
    assert!(read("run") == read("whole"));
}

//! Data sets of any images, and downloads.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::thread;

use crate::{Report, SMALL, Workplace};

/// Writes the four IDX files of a data set: `n` images of `h` times `w` pixels in each set, with labels below `classes`.
fn write_idx(folder: &Path, n: u32, [h, w]: [u32; 2], classes: u32) {
    fs::create_dir_all(folder).unwrap();
    let numbers =
        |numbers: &[u32]| numbers.iter().flat_map(|number| number.to_be_bytes()).collect::<Vec<u8>>();
    let pixels: Vec<u8> = (0..n * h * w).map(|i| (i * 37 % 251) as u8).collect();
    let labels: Vec<u8> = (0..n).map(|i| (i % classes) as u8).collect();
    for set in ["train", "t10k"] {
        let images = [vec![0, 0, 8, 3], numbers(&[n, h, w]), pixels.clone()].concat();
        fs::write(folder.join(format!("{set}-images-idx3-ubyte")), images).unwrap();
        let labels = [vec![0, 0, 8, 1], numbers(&[n]), labels.clone()].concat();
        fs::write(folder.join(format!("{set}-labels-idx1-ubyte")), labels).unwrap();
    }
}

/// Writes a folder of colour images: two of each class to train with, and one to test with.
fn write_images(folder: &Path, classes: usize, [h, w]: [u32; 2]) {
    for class in 0..classes {
        for (number, name) in ["train/{}/a.png", "train/{}/b.png", "test/{}/c.png"].into_iter().enumerate() {
            let path = folder.join(name.replace("{}", &format!("class{class:03}")));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let pixel =
                |x: u32, y: u32| image::Rgb([(x * 5) as u8, (y * 3) as u8, (class * 50 + number) as u8]);
            image::RgbImage::from_fn(w, h, pixel).save(path).unwrap();
        }
    }
}

/// Trains for two steps.
fn train(place: &Workplace, arguments: &str) -> Report {
    let small = SMALL
        .replace(" --data shapes", "")
        .replace("--epochs 3", "--epochs 1")
        .replace(" --batch-size 16", "");
    let batch = if arguments.contains("--batch-size") { "" } else { "--batch-size 16" };
    place.run(&format!("{small} {batch} --preset baseline --max-steps 2 {arguments}"))
}

#[test]
fn images_of_one_channel_are_trained_evaluated_and_resumed() {
    let place = Workplace::new();
    write_idx(&place.path("data/mnist"), 64, [28, 28], 10);
    for model in ["resnet18", "mlp"] {
        let report = train(&place, &format!("--data mnist --model {model} --out {model}")).succeeds();
        let described = format!("{model} of width 2 with 10 classes, image 28x28x1: ");
        assert!(report.err.contains(&described), "{}", report.err);
        assert!(report.err.contains("data: MNIST, IDX files, 64 + 64 images"), "{}", report.err);
        let record = fs::read_to_string(place.path(&format!("{model}/run.json"))).unwrap();
        let record: serde_json::Value = serde_json::from_str(&record).unwrap();
        assert_eq!(record["normalisation"], serde_json::json!({ "mean": [0.1307], "std": [0.3081] }));
        place.run(&format!("train --resume {model} --quiet")).succeeds();
        let report = place.run(&format!("eval --run {model} --last --device cpu")).succeeds();
        assert!(report.out.contains("image 28x28x1)\nMNIST: accuracy "), "{}", report.out);
    }
    // A model of other images is refused.
    place
        .run("eval --run resnet18 --last --data shapes")
        .fails(1, &["for images of 1 channels, but shapes has images of 32x32 pixels in 3 channels"]);
    place.run("eval --run mlp --last --data shapes").fails(1, &["for images of 784 values, but shapes has"]);
    // Its five max pools need larger images.
    let parts = [
        "model.name",
        "the five max pools of vgg11 need images of at least 32x32 pixels, found images of 28x28 pixels",
    ];
    train(&place, "--data mnist --model vgg11 --out vgg").fails(2, &parts);
    assert!(!place.path("vgg").exists());
    train(&place, "--data mnist --set data.cutout=29 --out cutout")
        .fails(2, &["data.cutout", "expected 0 to 28 for images of 28x28"]);
}

#[test]
fn folders_of_images_are_trained_with_any_size_and_many_classes() {
    let place = Workplace::new();
    write_images(&place.path("birds"), 3, [48, 40]);
    for model in ["vgg11", "resnet18"] {
        let report =
            train(&place, &format!("--batch-size 3 --data birds --model {model} --out {model}")).succeeds();
        assert!(
            report.err.contains(&format!("{model} of width 2 with 3 classes, image 48x40x3: ")),
            "{}",
            report.err
        );
    }
    let report = place.run("data info birds").succeeds();
    assert!(
        report.out.contains("images     6 for training, 3 for testing, 48x40 pixels, 3 channels"),
        "{}",
        report.out
    );
    let report = place.run("data verify birds").succeeds();
    assert!(
        report.out.contains("class002: 2 examples") && report.out.ends_with("all 6 files are good\n"),
        "{}",
        report.out
    );

    write_images(&place.path("many"), 300, [8, 8]);
    let report = train(&place, "--data many --model resnet18 --out many_run").succeeds();
    assert!(report.err.contains("with 300 classes, image 8x8x3: "), "{}", report.err);
    let report = place.run("eval --run many_run --last --device cpu --json").succeeds();
    let result: serde_json::Value = serde_json::from_str(&report.out).unwrap();
    assert_eq!(result["classes"][299]["class"], "class299");
    place.run("report many_run").succeeds();

    image::RgbImage::new(9, 8).save(place.path("many/test/class007/c.png")).unwrap();
    train(&place, "--data many --out none")
        .fails(1, &["test/class007/c.png: expected 8x8 pixels", "found 8x9", "mogrify -resize '8x8!'"]);
    place.run("data verify many").fails(1, &["many: is incomplete or damaged"]);
}

#[test]
fn files_that_differ_from_the_published_ones_are_named() {
    let place = Workplace::new();
    write_idx(&place.path("data/fashion-mnist"), 64, [28, 28], 10);
    let report =
        place.run("data verify fashion-mnist").fails(1, &["fashion-mnist: is incomplete or damaged"]);
    assert!(
        report
            .out
            .contains("t10k-labels-idx1-ubyte: differs from the published file: expected SHA-256 0402a96d"),
        "{}",
        report.out
    );
}

#[test]
fn a_missing_data_set_is_offered_for_download() {
    let place = Workplace::new();
    for set in ["cifar10", "cifar100", "mnist", "fashion-mnist"] {
        train(&place, &format!("--data {set} --out none"))
            .fails(2, &[&format!("to download it: gradamp data download {set}")]);
    }
    let report = train(&place, "--data auto --set data.shapes.train=64 --out auto").succeeds();
    assert!(report.err.contains("to get CIFAR-10: gradamp data download cifar10"), "{}", report.err);
}

#[test]
fn without_a_network_only_what_is_there_is_verified() {
    let place = Workplace::new();
    let parts = [
        "data/cifar-10-python.tar.gz: missing, and --offline forbids",
        "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz or ",
    ];
    place.run("data download cifar10 --offline").fails(1, &parts);
    assert!(!place.path("data").exists());
    let parts =
        ["sets/mnist/train-images-idx3-ubyte.gz: missing", "http://mirror/train-images-idx3-ubyte.gz"];
    place.run("data download mnist --offline --to sets --mirror http://mirror/").fails(1, &parts);
    place.write("sets/cifar-100-python.tar.gz", "short");
    place
        .run("data download cifar100 --offline --to sets")
        .fails(1, &["sets/cifar-100-python.tar.gz: expected 169001437 bytes, found 5"]);
    place.run("data download shapes").ends_with(2);
    place.write("file", "");
    let report = place
        .command("data download cifar10 --offline")
        .env("GRADAMP_DATA", place.path("file"))
        .output()
        .unwrap();
    Report::new("variable", report).fails(2, &["GRADAMP_DATA names the file", "give a folder with --to"]);
}

/// A server that answers every request with 404, and the first lines of the requests.
fn refusing() -> (u16, std::sync::mpsc::Receiver<String>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, requests) = std::sync::mpsc::channel();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let Ok(copy) = stream.try_clone() else { continue };
            let mut lines = BufReader::new(copy).lines().map_while(Result::ok);
            let _ = sender.send(lines.next().unwrap_or_default());
            lines.take_while(|line| !line.is_empty()).for_each(drop);
            let _ =
                stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        }
    });
    (port, requests)
}

#[test]
fn mirrors_and_proxies_are_those_that_the_user_names() {
    let place = Workplace::new();
    let (port, requests) = refusing();
    let mirror = format!("http://127.0.0.1:{port}");
    let report = place.run(&format!("data download mnist --mirror {mirror}/a --mirror {mirror}/b/"));
    report.fails(
        1,
        &[
            "data/mnist/train-images-idx3-ubyte.gz: cannot be downloaded",
            "/a/train-images-idx3-ubyte.gz: HTTP 404; http://",
            "/b/train-images",
        ],
    );
    let asked: Vec<String> = requests.try_iter().collect();
    assert_eq!(
        asked,
        ["GET /a/train-images-idx3-ubyte.gz HTTP/1.1", "GET /b/train-images-idx3-ubyte.gz HTTP/1.1"]
    );
    assert_eq!(fs::read_dir(place.path("data/mnist")).unwrap().count(), 0);

    // A name that only the proxy could resolve is asked of the proxy.
    let mut command = place.command("data download cifar10 --timeout 5 --mirror http://mirror.invalid/x");
    command
        .env("HTTP_PROXY", &mirror)
        .env("http_proxy", &mirror)
        .env_remove("NO_PROXY")
        .env_remove("no_proxy");
    Report::new("proxy", command.output().unwrap())
        .fails(1, &["http://mirror.invalid/x/cifar-10-python.tar.gz: "]);
    let asked: Vec<String> = requests.try_iter().collect();
    assert!(asked.iter().any(|line| line.contains("mirror.invalid")), "{asked:?}");
    let mut command = place.command(&format!("data download cifar10 --mirror {mirror}/direct"));
    command.env("HTTP_PROXY", "http://proxy.invalid:1").env("NO_PROXY", "127.0.0.1");
    Report::new("no proxy", command.output().unwrap())
        .fails(1, &["/direct/cifar-10-python.tar.gz: HTTP 404"]);
}

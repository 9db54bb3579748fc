//! `gradamp export` as a user runs it.

use std::fs;

use crate::json_lines;
use crate::old_folders::unpacked;

/// A sweep of an earlier version and a single run are exported into one table. Its numbers must equal those in the
/// logs.
#[test]
fn a_sweep_and_a_run_are_exported_as_one_table_of_epochs() {
    let place = unpacked();
    let text = place.run("export sweep run").succeeds().out;
    assert!(text.starts_with("study,run,cell,role,axis.amplification.factor,seed,model,"), "{text}");
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let head = reader.headers().unwrap().clone();
    let column = |name: &str| head.iter().position(|column| column == name).unwrap();
    let rows: Vec<csv::StringRecord> = reader.records().collect::<Result<_, _>>().unwrap();
    let mut expected = 0;
    let mut check = |folder: &str, run: &str, is_axis_right: &dyn Fn(&str) -> bool| {
        let logs = place.path(folder);
        let epochs: Vec<_> = json_lines(&logs.join("metrics.jsonl"))
            .into_iter()
            .filter(|line| line["kind"] == "epoch")
            .collect();
        let rows: Vec<_> = rows.iter().filter(|row| &row[column("run")] == run).collect();
        assert_eq!(rows.len(), epochs.len(), "{run}");
        let config: toml::Table = fs::read_to_string(logs.join("config.toml")).unwrap().parse().unwrap();
        let batch_size = config["train"]["batch_size"].as_integer().unwrap();
        for (row, line) in rows.iter().zip(&epochs) {
            for name in ["epoch", "step", "lr", "train_loss", "test_accuracy", "total_seconds"] {
                assert_eq!(row[column(name)].parse().ok(), line[name].as_f64(), "{run}: {name}");
            }
            let images = line["step"].as_i64().unwrap() * batch_size;
            assert_eq!(row[column("images")].parse(), Ok(images), "{run}");
            assert!(is_axis_right(&row[column("axis.amplification.factor")]), "{run}");
            assert_eq!(&row[column("amplified")], line["amplified"].to_string());
        }
        expected += rows.len();
    };
    for result in json_lines(&place.path("sweep/results.jsonl")) {
        let (run, factor) = (result["run"].as_str().unwrap(), &result["axes"]["amplification.factor"]);
        check(&format!("sweep/runs/{run}"), run, &|cell| cell.parse().ok() == factor.as_f64());
    }
    check("run", "run", &str::is_empty);
    assert_eq!(rows.len(), expected);
    let attenuation = |row: &csv::StringRecord| row[column("attenuation")].parse::<f64>();
    let was_measured = rows.iter().any(|row| attenuation(row).is_ok_and(|ratio| ratio > 0.0));
    assert!(was_measured, "gradients were measured in some epochs");
}

#[test]
fn a_table_is_written_once_and_replaced_only_on_request() {
    let place = unpacked();
    let report = place.run("export sweep --csv -o table.csv").succeeds();
    assert!(report.err.contains("table.csv") && report.out.is_empty(), "{}", report.err);
    let printed = place.run("export sweep --csv").succeeds().out;
    assert_eq!(fs::read_to_string(place.path("table.csv")).unwrap(), printed);
    place.run("export run --csv -o table.csv").fails(2, &["table.csv: exists", "--force"]);
    assert_eq!(fs::read_to_string(place.path("table.csv")).unwrap(), printed);
    place.run("export run -o table.csv --force").succeeds();
    assert_ne!(fs::read_to_string(place.path("table.csv")).unwrap(), printed);
    place.run("export sweep run --parquet -o table.parquet").succeeds();
    let bytes = fs::read(place.path("table.parquet")).unwrap();
    assert!(bytes.starts_with(b"PAR1") && bytes.ends_with(b"PAR1"));
}

#[test]
fn folders_that_cannot_be_exported_are_refused() {
    let place = unpacked();
    place.write("empty/readme", "");
    place.run("export nowhere").fails(1, &["nowhere", "expected the folder of a run"]);
    place.run("export empty").fails(1, &["empty", "found no config.toml in it"]);
    place.run("export no-*").fails(1, &["no folder matches no-*"]);
    place.run("export sweep sweep/runs/baseline_seed-1").fails(2, &["baseline_seed-1 is named twice"]);
    place.run("export run --parquet").fails(2, &["--parquet: expected a file to write"]);
    place.run("export run --csv --parquet -o x").fails(2, &["--parquet"]);
    place.run("export run -o run/metrics.jsonl").fails(1, &["belongs to the run in"]);
    place.run("export run -o no/such/table.csv").fails(1, &["no/such"]);
    let path = place.path("run/metrics.jsonl");
    fs::write(&path, fs::read_to_string(&path).unwrap().replacen("\"epoch\":0", "\"epoch\":x", 1)).unwrap();
    place.run("export run").fails(1, &["metrics.jsonl"]);
}

//! Tables that are written come back from readers of other crates as they were.

use std::fs::File;
use std::path::Path;

use ::parquet::file::reader::{FileReader, SerializedFileReader};
use ::parquet::record::Field;

use super::*;

/// A column of each type, each with a missing value, and texts that hold CSV's own signs.
fn table() -> Table {
    let mut table = Table::default();
    table.add("flag", Values::Flags(vec![Some(true), None, Some(false)]));
    table.add("whole", Values::integers([Some(0), Some(1 << 62), Some(u64::MAX)]));
    table.add("axis.lr", Values::numbers([Some(0.1 + 0.2), Some(f64::NAN), Some(1e-300)]));
    let texts =
        ["a, \"b\"\nc", "größe", ""].map(|text| Some(text.to_owned()).filter(|text| !text.is_empty()));
    table.add("text", Values::Texts(texts.to_vec()));
    table
}

#[test]
fn numbers_that_no_cell_can_hold_are_missing() {
    let table = table();
    assert_eq!(table.column("whole"), Some(&Values::Integers(vec![Some(0), Some(1 << 62), None])));
    let expected = Values::Numbers(vec![Some(0.1 + 0.2), None, Some(1e-300)]);
    assert_eq!(table.column("axis.lr"), Some(&expected));
    assert_eq!((table.rows(), table.column("no such")), (3, None));
}

#[test]
fn csv_comes_back_as_it_was() {
    let table = table();
    let text = to_csv(&table);
    let mut reader = ::csv::Reader::from_reader(text.as_bytes());
    let names: Vec<String> = reader.headers().unwrap().iter().map(str::to_owned).collect();
    assert_eq!(names, ["flag", "whole", "axis.lr", "text"]);
    let rows: Vec<::csv::StringRecord> = reader.records().collect::<Result<_, _>>().unwrap();
    assert_eq!(rows.len(), table.rows());
    for (row, cells) in rows.iter().enumerate() {
        for (column, cell) in table.columns.iter().zip(cells) {
            assert_eq!(column.values.text(row).unwrap_or_default(), cell, "{} of row {row}", column.name);
        }
    }
    assert_eq!(rows[0][2].parse(), Ok(0.1 + 0.2), "to the last bit");
}

#[test]
fn parquet_comes_back_as_it_was() {
    let table = table();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("table.parquet");
    std::fs::write(&path, to_parquet(&table, &path).unwrap()).unwrap();
    let reader = SerializedFileReader::new(File::open(&path).unwrap()).unwrap();
    assert_eq!(reader.metadata().file_metadata().num_rows(), 3);
    let rows: Vec<_> = reader.get_row_iter(None).unwrap().map(Result::unwrap).collect();
    for (row, cells) in rows.iter().enumerate() {
        for (column, (name, field)) in table.columns.iter().zip(cells.get_column_iter()) {
            assert_eq!(&column.name, name);
            let found = match field {
                Field::Null => None,
                Field::Bool(value) => Some(value.to_string()),
                Field::Long(value) => Some(value.to_string()),
                Field::Double(value) => Some(value.to_string()),
                Field::Str(text) => Some(text.clone()),
                other => panic!("{other:?}"),
            };
            assert_eq!(found, column.values.text(row), "{name} of row {row}");
        }
    }
}

#[test]
fn a_path_without_a_run_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let fails = |path: &Path| epochs(&[path.to_owned()]).unwrap_err().to_string();
    let error = fails(folder.path());
    assert!(error.contains("found no config.toml in it"), "{error}");
    assert!(fails(&folder.path().join("run-*")).contains("no folder matches"));
}

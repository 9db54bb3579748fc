//! Tables as comma-separated values.

use super::table::Table;
use crate::columns::csv_row;

/// The table with its names in the first line. A missing value is an empty cell; flags are `true` and `false`.
pub fn to_csv(table: &Table) -> String {
    let names: Vec<String> = table.columns.iter().map(|column| column.name.clone()).collect();
    let mut text = csv_row(&names);
    for row in 0..table.rows() {
        let cells: Vec<String> =
            table.columns.iter().map(|column| column.values.text(row).unwrap_or_default()).collect();
        text += &csv_row(&cells);
    }
    text
}

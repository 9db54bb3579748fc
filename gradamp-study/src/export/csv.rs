//! Tables as comma-separated values.

use std::iter;

use super::table::Table;
use crate::columns;

/// The table with its names in the first line. A missing value is an empty cell; flags are `true` and `false`.
pub fn to_csv(table: &Table) -> String {
    let names = table.columns.iter().map(|column| column.name.clone()).collect();
    let row = |row| table.columns.iter().map(|column| column.values.text(row).unwrap_or_default()).collect();
    columns::to_csv(iter::once(names).chain((0..table.rows()).map(row)))
}

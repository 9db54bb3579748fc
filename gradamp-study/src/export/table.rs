//! A table of typed columns.

/// A table. All columns have the same number of values.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    /// The columns, in their order.
    pub columns: Vec<Column>,
}

/// A column of a table.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// The column's name.
    pub name: String,
    /// A value for each row.
    pub values: Values,
}

/// The values of a column; `None` where a value is missing.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// Yes or no.
    Flags(Vec<Option<bool>>),
    /// Whole numbers.
    Integers(Vec<Option<i64>>),
    /// Numbers, all of them finite.
    Numbers(Vec<Option<f64>>),
    /// Texts.
    Texts(Vec<Option<String>>),
}

impl Table {
    /// Adds a column.
    pub fn add(&mut self, name: impl Into<String>, values: Values) {
        self.columns.push(Column { name: name.into(), values });
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.columns.first().map_or(0, |column| column.values.len())
    }

    /// The column called `name`.
    pub fn column(&self, name: &str) -> Option<&Values> {
        self.columns.iter().find(|column| column.name == name).map(|column| &column.values)
    }
}

impl Values {
    /// Numbers; those that are not finite are missing.
    pub fn numbers(values: impl IntoIterator<Item = Option<f64>>) -> Self {
        let finite = |value: Option<f64>| value.filter(|value| value.is_finite());
        Values::Numbers(values.into_iter().map(finite).collect())
    }

    /// Whole numbers; those that 64 bits cannot hold are missing.
    pub fn integers(values: impl IntoIterator<Item = Option<u64>>) -> Self {
        let whole = |value: Option<u64>| value.and_then(|value| i64::try_from(value).ok());
        Values::Integers(values.into_iter().map(whole).collect())
    }

    /// The number of values, missing ones included.
    pub fn len(&self) -> usize {
        match self {
            Values::Flags(values) => values.len(),
            Values::Integers(values) => values.len(),
            Values::Numbers(values) => values.len(),
            Values::Texts(values) => values.len(),
        }
    }

    /// Whether there are no values.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value of a row as text; `None` where the value is missing or there is no such row. A number has as many digits as
    /// it takes to read the same number again.
    pub fn text(&self, row: usize) -> Option<String> {
        match self {
            Values::Flags(values) => values.get(row)?.map(|value| value.to_string()),
            Values::Integers(values) => values.get(row)?.map(|value| value.to_string()),
            Values::Numbers(values) => values.get(row)?.map(|value| value.to_string()),
            Values::Texts(values) => values.get(row)?.clone(),
        }
    }
}

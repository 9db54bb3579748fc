//! Tables as Parquet files: one row group, plain columns that may hold nulls, not compressed.

use std::path::Path;
use std::sync::Arc;

use parquet::basic::{LogicalType, Repetition, Type as Physical};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DataType, DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::{Type, TypePtr};

use super::table::{Column, Table, Values};
use crate::{Error, Result};

/// The bytes of a Parquet file that holds the table. `path` names the file in errors.
///
/// **Errors:** a table that the format cannot hold, such as one with two columns of one name.
pub fn to_parquet(table: &Table, path: &Path) -> Result<Vec<u8>> {
    write(table).map_err(|error| {
        Error::failed(format!("{}: the table cannot be written as Parquet: {error}", path.display()))
    })
}

fn write(table: &Table) -> Result<Vec<u8>, ParquetError> {
    let fields = table.columns.iter().map(field).collect::<Result<Vec<_>, _>>()?;
    let schema = Arc::new(Type::group_type_builder("epochs").with_fields(fields).build()?);
    let mut bytes = Vec::new();
    let mut file = SerializedFileWriter::new(&mut bytes, schema, Arc::new(WriterProperties::default()))?;
    let mut group = file.next_row_group()?;
    for column in &table.columns {
        match &column.values {
            Values::Flags(values) => write_column::<BoolType, _>(&mut group, values, |value| *value)?,
            Values::Integers(values) => write_column::<Int64Type, _>(&mut group, values, |value| *value)?,
            Values::Numbers(values) => write_column::<DoubleType, _>(&mut group, values, |value| *value)?,
            Values::Texts(values) => {
                write_column::<ByteArrayType, _>(&mut group, values, |text: &String| {
                    ByteArray::from(text.as_str())
                })?;
            }
        }
    }
    group.close()?;
    file.close()?;
    Ok(bytes)
}

fn field(column: &Column) -> Result<TypePtr, ParquetError> {
    let (physical, logical) = match column.values {
        Values::Flags(_) => (Physical::BOOLEAN, None),
        Values::Integers(_) => (Physical::INT64, None),
        Values::Numbers(_) => (Physical::DOUBLE, None),
        Values::Texts(_) => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
    };
    let field = Type::primitive_type_builder(&column.name, physical)
        .with_repetition(Repetition::OPTIONAL)
        .with_logical_type(logical)
        .build()?;
    Ok(Arc::new(field))
}

/// Writes the values that are there; a definition level of 0 marks a missing one.
fn write_column<T: DataType, V>(
    group: &mut SerializedRowGroupWriter<'_, &mut Vec<u8>>,
    values: &[Option<V>],
    convert: impl Fn(&V) -> T::T,
) -> Result<(), ParquetError> {
    let present: Vec<T::T> = values.iter().flatten().map(convert).collect();
    let levels: Vec<i16> = values.iter().map(|value| i16::from(value.is_some())).collect();
    if let Some(mut column) = group.next_column()? {
        column.typed::<T>().write_batch(&present, Some(&levels), None)?;
        column.close()?;
    }
    Ok(())
}

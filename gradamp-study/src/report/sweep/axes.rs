//! The axes along which cells differ.

use super::judged::Judged;
use crate::sweep::Role;

/// An axis and its values.
#[derive(Clone, Debug, PartialEq)]
pub struct StudyAxis {
    /// Its name.
    pub name: String,
    /// Its values: numbers by size, others in plan order.
    pub values: Vec<String>,
}

/// The axes on which studied cells have more than one value: ratio and factor first, which belong on one map, then those with most
/// values; in plan order among equals.
pub fn axes(cells: &[Judged]) -> Vec<StudyAxis> {
    let mut axes: Vec<StudyAxis> = Vec::new();
    for (name, value) in
        cells.iter().filter(|cell| cell.cell.role == Role::Cell).flat_map(|cell| &cell.cell.axes)
    {
        match axes.iter_mut().find(|axis| axis.name == *name) {
            Some(axis) if axis.values.contains(value) => {}
            Some(axis) => axis.values.push(value.clone()),
            None => axes.push(StudyAxis { name: name.clone(), values: vec![value.clone()] }),
        }
    }
    axes.retain(|axis| axis.values.len() > 1);
    for axis in &mut axes {
        let numbers: Option<Vec<f64>> = axis.values.iter().map(|value| value.parse().ok()).collect();
        if numbers.is_some() {
            let number = |value: &String| value.parse::<f64>().unwrap_or(f64::NAN);
            axis.values.sort_by(|a, b| number(a).total_cmp(&number(b)));
        }
    }
    let is_amount = |axis: &StudyAxis| matches!(short(&axis.name), "ratio" | "factor");
    let both = axes.iter().filter(|axis| is_amount(axis)).count() == 2;
    axes.sort_by_key(|axis| (!(both && is_amount(axis)), std::cmp::Reverse(axis.values.len())));
    axes
}

/// A cell's value on an axis.
pub fn value_on<'a>(cell: &'a Judged, axis: &str) -> Option<&'a str> {
    cell.cell.axes.iter().find(|(name, _)| name == axis).map(|(_, value)| value.as_str())
}

/// The last part of a key, which tells what it is: `ratio` of `amplification.ratio`.
pub fn short(name: &str) -> &str {
    name.rsplit('.').find(|part| part.parse::<usize>().is_err()).unwrap_or(name)
}

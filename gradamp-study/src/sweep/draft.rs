//! Cells before they are expanded to runs.

use super::axis::{Axis, AxisValue};
use super::names;
use super::plan::{Axes, Role};
use super::study::Study;
use crate::config::{KeyError, Resolved};

/// A cell without its seeds.
pub struct Draft {
    /// The name.
    pub name: String,
    /// The role.
    pub role: Role,
    /// The value on each axis.
    pub axes: Axes,
    /// The settings, except for the seed.
    pub settings: Resolved,
    /// The cell that this cell is compared with.
    pub baseline: Option<String>,
    /// If the cell is a control, the cell that it controls.
    pub control_of: Option<String>,
}

/// The value of a cell on each axis.
pub type Coordinates = Vec<AxisValue>;

/// The settings of the cell at `coordinates`.
pub fn settings_at(study: &Study, coordinates: &[AxisValue]) -> Result<Resolved, KeyError> {
    let mut tree = study.base.clone();
    for (key, node) in coordinates.iter().flat_map(|value| &value.set) {
        tree.set(key, node.clone())?;
    }
    Resolved::from_tree(tree)
}

/// The name of the cell with these values on these axes.
pub fn cell_name<'a>(coordinates: impl IntoIterator<Item = (&'a Axis, &'a AxisValue)>) -> String {
    names::cell(coordinates.into_iter().map(|(axis, value)| (&*axis.label, &*value.text)))
}

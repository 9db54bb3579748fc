//! The gradients of all sites in all epochs, in a limited amount of memory.

use gradamp_core::train::SiteGradient;

/// The most columns.
const MOST: usize = 512;

/// A measure of the gradient at a site in an epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Measure {
    /// The norm after amplification.
    #[default]
    After,
    /// The norm before amplification.
    Before,
    /// The norm after amplification at the site, divided by the norm before.
    Gain,
    /// The change of the site's own parameters in a step, divided by their norm.
    UpdateRatio,
    /// The fraction of elements that are 0.
    Zeros,
}

impl Measure {
    /// All measures, in the order in which they are shown.
    pub const ALL: [Self; 5] = [Self::After, Self::Before, Self::Gain, Self::UpdateRatio, Self::Zeros];

    /// The next measure.
    pub fn next(self) -> Self {
        let place = Self::ALL.iter().position(|&measure| measure == self).unwrap_or(0);
        Self::ALL[(place + 1) % Self::ALL.len()]
    }

    /// The name on the screen.
    pub fn name(self) -> &'static str {
        match self {
            Self::After => "gradient norm after amplification",
            Self::Before => "gradient norm before amplification",
            Self::Gain => "gain at the site: norm after / before",
            Self::UpdateRatio => "update ratio: ‖Δw‖ / ‖w‖ of a step",
            Self::Zeros => "fraction of zeros in the gradient",
        }
    }
}

/// The measures of a site, as means over the epochs of a column.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cell {
    before: f64,
    after: f64,
    zeros: f64,
    update_ratio: Option<f64>,
}

impl Cell {
    /// The value of `measure`, which may not be finite; `None` if it was not measured.
    pub fn value(&self, measure: Measure) -> Option<f64> {
        match measure {
            Measure::After => Some(self.after),
            Measure::Before => Some(self.before),
            Measure::Gain => Some(self.after / self.before),
            Measure::UpdateRatio => self.update_ratio,
            Measure::Zeros => Some(self.zeros),
        }
    }

    fn mean(a: Self, b: Self) -> Self {
        let ratios = a.update_ratio.zip(b.update_ratio).map(|(a, b)| f64::midpoint(a, b));
        Self {
            before: f64::midpoint(a.before, b.before),
            after: f64::midpoint(a.after, b.after),
            zeros: f64::midpoint(a.zeros, b.zeros),
            update_ratio: ratios.or(a.update_ratio).or(b.update_ratio),
        }
    }
}

/// The measures in some consecutive epochs.
#[derive(Clone, Debug, PartialEq)]
struct Column {
    /// The last epoch.
    last: usize,
    /// The measures of each site.
    cells: Vec<Option<Cell>>,
}

/// The measures of all sites in all epochs. When there are too many columns, each pair of neighbours is replaced by
/// its mean.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Flow {
    sites: Vec<String>,
    columns: Vec<Column>,
    /// The binary logarithm of the number of epochs in a column.
    halvings: u32,
}

impl Flow {
    /// Adds the measures of a site in an epoch.
    pub fn push(&mut self, epoch: usize, gradient: &SiteGradient) {
        let site = self.sites.iter().position(|site| *site == gradient.site).unwrap_or_else(|| {
            self.sites.push(gradient.site.clone());
            self.sites.len() - 1
        });
        let SiteGradient { norm_before: before, norm_after: after, zeros, update_ratio, .. } = *gradient;
        let new = Cell { before, after, zeros, update_ratio };
        let is_new = self.columns.last().is_none_or(|column| self.group(column.last) != self.group(epoch));
        if is_new {
            if self.columns.len() >= MOST {
                self.halve();
            }
            self.columns.push(Column { last: epoch, cells: Vec::new() });
        }
        let Some(column) = self.columns.last_mut() else { return };
        column.last = column.last.max(epoch);
        column.cells.resize(self.sites.len().max(column.cells.len()), None);
        let cell = &mut column.cells[site];
        *cell = Some(cell.map_or(new, |old| Cell::mean(old, new)));
    }

    /// The number of the column of `epoch`.
    fn group(&self, epoch: usize) -> usize {
        epoch.checked_shr(self.halvings).unwrap_or(0)
    }

    fn halve(&mut self) {
        self.halvings += 1;
        let mut halved: Vec<Column> = Vec::with_capacity(MOST);
        for column in std::mem::take(&mut self.columns) {
            match halved.last_mut() {
                Some(before) if self.group(before.last) == self.group(column.last) => {
                    let cells = before.cells.len().max(column.cells.len());
                    before.cells.resize(cells, None);
                    for (a, b) in before.cells.iter_mut().zip(column.cells) {
                        *a = a.zip(b).map(|(a, b)| Cell::mean(a, b)).or(*a).or(b);
                    }
                    before.last = column.last;
                }
                _ => halved.push(column),
            }
        }
        self.columns = halved;
    }

    /// The sites, in the order of their first measurement, which is the order of the forward pass.
    pub fn sites(&self) -> &[String] {
        &self.sites
    }

    /// The measures of a site in `epoch`, or in the next epoch in which it was measured.
    pub fn cell(&self, site: usize, epoch: usize) -> Option<Cell> {
        let column = self.columns.partition_point(|column| column.last < epoch);
        *self.columns.get(column)?.cells.get(site)?
    }

    /// The last measures of a site.
    pub fn last(&self, site: usize) -> Option<Cell> {
        *self.columns.last()?.cells.get(site)?
    }

    /// The smallest and the largest finite value. With `positive`, only values above 0 count.
    pub fn range(&self, measure: Measure, positive: bool) -> Option<(f64, f64)> {
        let cells = self.columns.iter().flat_map(|column| column.cells.iter().flatten());
        let values = cells.filter_map(|cell| cell.value(measure));
        let kept = values.filter(|value| value.is_finite() && (!positive || *value > 0.0));
        kept.fold(None, |range, value| {
            let (low, high) = range.unwrap_or((value, value));
            Some((low.min(value), high.max(value)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gradient(site: &str, norm: f64) -> SiteGradient {
        SiteGradient {
            site: site.into(),
            norm_before: norm,
            norm_after: 2.0 * norm,
            ..SiteGradient::default()
        }
    }

    #[test]
    fn cells_are_found_by_site_and_epoch() {
        let mut flow = Flow::default();
        for epoch in [0, 1, 3] {
            flow.push(epoch, &gradient("bn1", epoch as f64 + 1.0));
            flow.push(epoch, &gradient("bn2", 10.0 * (epoch as f64 + 1.0)));
        }
        assert_eq!(flow.sites(), ["bn1", "bn2"]);
        assert_eq!(flow.cell(1, 1).unwrap().value(Measure::Before).unwrap(), 20.0);
        assert_eq!(
            flow.cell(0, 2).unwrap().value(Measure::After).unwrap(),
            8.0,
            "the values of the next measured epoch"
        );
        assert_eq!((flow.cell(0, 4), flow.cell(2, 0)), (None, None));
        assert_eq!(flow.last(0).unwrap().value(Measure::Gain).unwrap(), 2.0);
        assert_eq!(flow.range(Measure::Before, true), Some((1.0, 40.0)));
        assert_eq!(flow.range(Measure::Zeros, true), None);
        assert_eq!(flow.range(Measure::Zeros, false), Some((0.0, 0.0)));
    }

    #[test]
    fn many_epochs_are_shown_in_few_columns_at_their_positions() {
        let mut flow = Flow::default();
        for epoch in 0..5000 {
            flow.push(epoch, &gradient("bn1", epoch as f64));
        }
        assert!((MOST / 2..=MOST).contains(&flow.columns.len()), "{}", flow.columns.len());
        for epoch in [0, 999, 2500, 4999] {
            let norm = flow.cell(0, epoch).unwrap().value(Measure::Before).unwrap();
            assert!((norm - epoch as f64).abs() <= 16.0, "{epoch}: {norm}");
        }
    }
}

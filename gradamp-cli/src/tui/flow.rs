//! How gradients flow: sites by epochs, of bounded size.

use gradamp_core::train::SiteGradient;

/// Columns are at most so many.
const MOST: usize = 512;

/// What is shown of a site's gradient in an epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Measure {
    /// The norm after amplification.
    #[default]
    After,
    /// The norm before amplification.
    Before,
    /// What amplification at this site made of the norm.
    Gain,
    /// How far the site's own parameters move in a step, as a share of their norm.
    UpdateRatio,
    /// The fraction of elements that are 0.
    Zeros,
}

impl Measure {
    /// All, in the order in which they are shown.
    pub const ALL: [Self; 5] = [Self::After, Self::Before, Self::Gain, Self::UpdateRatio, Self::Zeros];

    /// The one behind this.
    pub fn next(self) -> Self {
        let place = Self::ALL.iter().position(|&measure| measure == self).unwrap_or(0);
        Self::ALL[(place + 1) % Self::ALL.len()]
    }

    /// What it is called.
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

/// What was measured at a site, as the mean over a column's epochs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cell {
    before: f64,
    after: f64,
    zeros: f64,
    update_ratio: Option<f64>,
}

impl Cell {
    /// What it holds of `measure`, if it does; what is not finite is there as it is.
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

/// Some epochs, one behind the other.
#[derive(Clone, Debug, PartialEq)]
struct Column {
    /// The last epoch.
    last: usize,
    /// By site.
    cells: Vec<Option<Cell>>,
}

/// What was measured at all sites in all epochs. Once there are too many columns, neighbours become their mean.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Flow {
    sites: Vec<String>,
    columns: Vec<Column>,
    /// Epochs of a column are 2 to this power.
    halvings: u32,
}

impl Flow {
    /// Adds what was measured in `epoch`.
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

    /// Epochs of one group share a column.
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

    /// The sites, in the order in which they were first measured: forward.
    pub fn sites(&self) -> &[String] {
        &self.sites
    }

    /// What was measured at a site in `epoch`, or in the first measured epoch behind it.
    pub fn cell(&self, site: usize, epoch: usize) -> Option<Cell> {
        let column = self.columns.partition_point(|column| column.last < epoch);
        *self.columns.get(column)?.cells.get(site)?
    }

    /// What was last measured at a site.
    pub fn last(&self, site: usize) -> Option<Cell> {
        *self.columns.last()?.cells.get(site)?
    }

    /// The finite values that there are, smallest and largest; of those above 0 where `positive`.
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
            "the next epoch that was measured"
        );
        assert_eq!((flow.cell(0, 4), flow.cell(2, 0)), (None, None));
        assert_eq!(flow.last(0).unwrap().value(Measure::Gain).unwrap(), 2.0);
        assert_eq!(flow.range(Measure::Before, true), Some((1.0, 40.0)));
        assert_eq!(flow.range(Measure::Zeros, true), None);
        assert_eq!(flow.range(Measure::Zeros, false), Some((0.0, 0.0)));
    }

    #[test]
    fn many_epochs_become_few_columns_without_losing_their_places() {
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

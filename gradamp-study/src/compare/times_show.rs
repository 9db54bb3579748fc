//! The times to a target accuracy as tables of a page.

use super::arrival::{Arrivals, Contest, Target};
use super::course::TimeUnit;
use super::page::{chance, interval, or_dash, points, signed};
use crate::columns::header;
use crate::statistics::{MeanDifference, Method};

/// The heading of a target.
pub fn heading(target: &Target) -> String {
    format!("Time to a test accuracy of {} % ({})", points(target.accuracy), target.chosen)
}

/// The table of the times of two groups, with rows for A, B and their difference in each unit.
pub fn times(target: &Target) -> Vec<Vec<String>> {
    let mut rows = vec![header([
        "time to target",
        "arrive",
        "median",
        "restricted mean",
        "95 % interval",
        "p",
        "p of ranks",
        "p of log-rank",
    ])];
    for unit in TimeUnit::ALL {
        if let Some(contest) = target.contest(unit) {
            rows.extend(in_unit(unit, contest));
        }
    }
    rows
}

fn in_unit(unit: TimeUnit, contest: &Contest) -> Vec<Vec<String>> {
    let number = |value: f64| write(unit, value);
    let arrivals = |(letter, arrivals): (&str, &Arrivals)| {
        let Arrivals { runs, arrived, median, restricted, .. } = arrivals;
        vec![
            format!("{unit}, {letter}"),
            format!("{} of {runs}", arrived.n),
            or_dash(*median, number),
            or_dash(restricted.as_ref(), |mean| number(mean.mean)),
            or_dash(restricted.and_then(|mean| mean.ci), |ci| interval(ci, number)),
            String::new(),
            String::new(),
            String::new(),
        ]
    };
    let mut rows: Vec<Vec<String>> = [("A", &contest.a), ("B", &contest.b)].map(arrivals).to_vec();
    let pairs = match contest.restricted {
        Some(MeanDifference { method: Method::Paired, .. }) => ", by pairs",
        _ => "",
    };
    let horizon = contest.horizon.map_or(String::new(), |horizon| format!(" (up to {})", number(horizon)));
    rows.push(vec![
        format!("  B - A{pairs}{horizon}"),
        String::new(),
        String::new(),
        or_dash(contest.difference(), |difference| signed(&number(difference))),
        or_dash(contest.restricted, |test| interval(test.ci, |bound| signed(&number(bound)))),
        chance(contest.restricted.map(|test| test.p)),
        chance(contest.ranks.map(|ranks| ranks.p)),
        chance(contest.log_rank.map(|test| test.p)),
    ]);
    rows
}

/// Writes a time; short times get more digits.
pub fn write(unit: TimeUnit, time: f64) -> String {
    match (unit, time.abs()) {
        (TimeUnit::Epochs, _) => format!("{time:.1}"),
        (TimeUnit::Seconds, 0.0..10.0) => format!("{time:.2}"),
        (TimeUnit::Seconds, 10.0..1000.0) => format!("{time:.1}"),
        _ => format!("{time:.0}"),
    }
}

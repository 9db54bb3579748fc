//! Laws of all charts: well-formed whatever the values, nothing outside the drawing, every cell drawn once.

use proptest::prelude::*;

use super::svg::{fit, width_of, wrap};
use super::*;

/// Values as runs that go wrong have them.
fn value() -> impl Strategy<Value = f64> {
    prop_oneof![
        6 => -1e3..1e3_f64,
        2 => (-300..300_i32).prop_map(|power| 10_f64.powi(power)),
        1 => Just(f64::NAN),
        1 => Just(f64::INFINITY),
        1 => Just(0.0),
    ]
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("</svg><script>alert('1')</script>&\"\u{0}\u{ffff}".to_owned()),
        any::<String>(),
        "[a-z.0-9]{0,40}"
    ]
}

fn names(most: usize) -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(name(), 0..most)
}

fn axis() -> impl Strategy<Value = Axis> {
    let formats = prop_oneof![
        Just(Format::Number),
        Just(Format::Whole),
        Just(Format::Percent(1)),
        Just(Format::Points),
        Just(Format::Factor),
        Just(Format::Seconds),
    ];
    (name(), formats, any::<bool>()).prop_map(|(label, format, log)| Axis {
        label,
        format,
        log,
        include: Vec::new(),
    })
}

/// The drawing as XML, after a look at every coordinate: what has a place lies within the drawing.
fn checked(drawing: &Drawing) -> String {
    let (width, height) = (drawing.width, drawing.height);
    assert!(height.is_finite() && height > 0.0);
    let xml = format!("<svg>{}</svg>", drawing.svg.as_str());
    let document = roxmltree::Document::parse(&xml).unwrap_or_else(|error| panic!("{error}\n{xml}"));
    for word in ["NaN", "inf", "script>"] {
        let is_named = document.descendants().any(|node| {
            node.attributes().any(|attribute| attribute.value().contains(word))
                || node.tag_name().name().contains(word)
        });
        assert!(!is_named, "{word} in {xml}");
    }
    for node in document.root_element().children().filter(|node| node.is_element()) {
        let number = |name: &str| node.attribute(name).and_then(|text| text.parse::<f64>().ok());
        for name in ["x", "cx", "x1", "x2"] {
            assert!(
                number(name).is_none_or(|x| (-0.1..=width + 0.6).contains(&x)),
                "{name} of {node:?} beyond {width}"
            );
        }
        for name in ["y", "cy", "y1", "y2"] {
            assert!(
                number(name).is_none_or(|y| (-0.1..=height + 0.6).contains(&y)),
                "{name} of {node:?} beyond {height}"
            );
        }
    }
    xml
}

fn number_of_cells(xml: &str) -> usize {
    let document = roxmltree::Document::parse(xml).unwrap();
    let paths = document
        .descendants()
        .filter(|node| node.attribute("class").is_some_and(|class| class.starts_with("cells")));
    let widths = |data: &str| -> usize {
        data.split('M')
            .skip(1)
            .map(|piece| piece.split(['h', 'v']).nth(1).unwrap().parse::<usize>().unwrap())
            .sum()
    };
    paths.map(|path| widths(path.attribute("d").unwrap())).sum()
}

fn heatmap(rows: Vec<String>, columns: Vec<String>, values: Vec<Vec<f64>>, axis: Axis) -> Heatmap {
    let scale = ColourScale::sequential(axis, values.iter().flatten().copied());
    let (row_label, column_label) = ("rows".into(), "columns".into());
    let text = Some(Format::Percent(0));
    Heatmap {
        row_label,
        rows,
        column_label,
        columns,
        values,
        scale,
        text,
        has_legend: true,
        crosses_empty: true,
        dotted: Vec::new(),
    }
}

proptest! {
    #[test]
    fn ticks_rise_within_their_axis_and_are_told_apart(
        lo in -1e6..1e6_f64, size in 1e-6..1e7_f64, wanted in 0..30_usize, percent in any::<bool>()
    ) {
        let format = if percent { Format::Percent(1) } else { Format::Number };
        for scale in [Scale::linear(lo, lo + size, wanted, format), Scale::linear(lo, lo + size, wanted, format).rounded()] {
            let room = 1e-6 * scale.step;
            prop_assert!(scale.ticks.iter().all(|tick| *tick >= scale.lo - room && *tick <= scale.hi + room), "{scale:?}");
            prop_assert!(scale.ticks.windows(2).all(|pair| pair[0] < pair[1]), "{scale:?}");
            prop_assert!((1..=27).contains(&scale.ticks.len()), "{scale:?}");
            prop_assert!(scale.place(lo).is_some() && scale.place(lo + size).is_some());
        }
        if size > 1e-3 * lo.abs() {
            let scale = Scale::linear(lo, lo + size, wanted, format);
            let mut labels: Vec<String> = scale.ticks.iter().map(|tick| scale.label(*tick, format)).collect();
            let count = labels.len();
            labels.dedup();
            prop_assert_eq!(labels.len(), count, "{:?}", labels);
        }
    }

    #[test]
    fn logarithmic_ticks_are_powers_or_parts_of_them(power in -30.0..30.0_f64, decades in 0.01..40.0_f64, wanted in 2..12_usize) {
        let (lo, hi) = (10_f64.powf(power), 10_f64.powf(power + decades));
        let scale = Scale::log(lo, hi, wanted);
        prop_assert!(scale.ticks.windows(2).all(|pair| pair[0] < pair[1]), "{scale:?}");
        prop_assert!(scale.ticks.iter().all(|tick| *tick >= lo * 0.999 && *tick <= hi * 1.001), "{scale:?}");
        prop_assert!(decades < 1.0 || !scale.ticks.is_empty(), "{scale:?}");
    }

    #[test]
    fn no_scale_fails(lo in value(), hi in value(), wanted in 0..50_usize, at in value(), log in any::<bool>()) {
        let axis = Axis { log, ..Axis::linear("x", Format::Number) };
        let scale = axis.scale([lo, hi].into_iter(), wanted).rounded();
        prop_assert!(scale.lo < scale.hi && scale.ticks.len() < 30, "{scale:?}");
        prop_assert!(scale.place(at).is_none_or(|place| (0.0..=1.0).contains(&place)), "{scale:?}");
    }

    #[test]
    fn escaped_text_comes_back_from_xml(text in name()) {
        let xml = format!("<a b=\"{0}\">{0}</a>", escape(&text));
        let document = roxmltree::Document::parse(&xml).unwrap();
        let expected: String = text
            .chars()
            .map(|c| if c.is_control() && !"\n\t".contains(c) || "\u{fffe}\u{ffff}".contains(c) { '\u{fffd}' } else { c })
            .collect();
        prop_assert_eq!(document.root_element().text().unwrap_or(""), expected);
    }

    #[test]
    fn text_is_fitted_to_its_room(text in name(), room in 0.0..400.0_f64) {
        let fitted = fit(&text, 11.0, room);
        prop_assert!(width_of(&fitted, 11.0) <= room.max(11.0), "{fitted:?}");
    }

    #[test]
    fn lines_stay_within_their_drawing(
        x in axis(), y in axis(), strip in axis(), names in names(5), points in prop::collection::vec((value(), value()), 0..60),
        bounds in (value(), value()), width in 280.0..1400.0_f64
    ) {
        let line = |(i, name): (usize, &String)| {
            let mut line = Series::new(name, if i == 1 { Stroke::Quiet } else { Stroke::Colour(i) }, points.clone());
            line.band = points.iter().map(|(x, y)| (*x, *y, bounds.0)).collect();
            line
        };
        let series: Vec<Series> = names.iter().enumerate().map(line).collect();
        let mut chart = LineChart::new(x, y, series.clone());
        let span = Span { from: bounds.0, to: bounds.1, label: names.first().cloned().unwrap_or_default() };
        chart.spans = vec![span.clone()];
        let lane = |name: &String| Lane { name: name.clone(), spans: vec![span.clone()], stroke: Stroke::Colour(1) };
        chart.lanes = ("on".into(), names.iter().map(lane).collect());
        chart.strip = Some(Strip { y: strip, series });
        checked(&chart.draw(width));
    }

    #[test]
    fn intervals_stay_within_their_drawing(
        axis in axis(), items in prop::collection::vec((name(), value(), value(), value()), 0..50),
        reference in prop::option::of(value()), width in 280.0..1400.0_f64
    ) {
        let item = |(name, value, a, b): (String, f64, f64, f64)| {
            Item { name, value, interval: Some((a, b)), stroke: Stroke::Colour(0), text: None }
        };
        let reference = reference.map(|value| (value, Some((value, value + 1.0))));
        let chart = Intervals { axis, items: items.into_iter().map(item).collect(), reference };
        checked(&chart.draw(width));
    }

    #[test]
    fn every_cell_with_a_value_is_drawn_once(
        axis in axis(), rows in names(9), columns in names(9), seed in prop::collection::vec(value(), 81),
        width in 280.0..1400.0_f64
    ) {
        let values: Vec<Vec<f64>> = seed.chunks(9).take(rows.len()).map(|row| row[..columns.len()].to_vec()).collect();
        let chart = heatmap(rows, columns, values, axis);
        let expected = chart.values.iter().flatten().filter(|value| chart.scale.level(**value).is_some()).count();
        let xml = checked(&chart.draw(width));
        prop_assert_eq!(number_of_cells(&xml), expected);
        let panels: Vec<(String, Box<dyn Chart>)> = vec![("<a>".into(), Box::new(chart.clone())), (String::new(), Box::new(chart.clone()))];
        let multiples = Multiples { panels, least: 300.0, most: 3, legend: Some(chart.scale.clone()), has_crosses: true, dots: Some("a dot".into()) };
        prop_assert_eq!(number_of_cells(&checked(&multiples.draw(width))), 2 * expected);
    }
}

#[test]
fn a_text_is_wrapped_without_losing_a_letter() {
    let text = "strategy last third of training, activation sigmoid";
    assert_eq!(wrap(text, 13.0, 1000.0), [text]);
    for room in [5.0, 40.0, 90.0, 200.0] {
        let lines = wrap(text, 13.0, room);
        assert!(
            lines.iter().all(|line| width_of(line, 13.0) <= room || line.chars().count() == 1),
            "{lines:?}"
        );
        assert_eq!(lines.concat().replace(' ', ""), text.replace(' ', ""), "{room}");
    }
    assert_eq!(wrap("", 13.0, 100.0), [""]);
}

#[test]
fn an_axis_fits_its_data_and_shares_stay_within_0_and_1() {
    let shares = Axis::linear("accuracy", Format::Percent(1));
    for (lo, hi) in
        [(0.05, 0.63), (0.0, 1.0), (0.97, 1.0), (1.0, 1.0), (0.0, 0.0), (0.1, 0.1004), (0.02, 0.98)]
    {
        for wanted in 2..8 {
            let scale = shares.scale([lo, hi].into_iter(), wanted).rounded();
            assert!(scale.lo >= 0.0 && scale.hi <= 1.0, "{lo} to {hi}: {scale:?}");
            assert!(scale.lo <= lo && scale.hi >= hi && scale.ticks.len() > 1, "{lo} to {hi}: {scale:?}");
        }
    }
    let scale = shares.scale([0.05, 0.63].into_iter(), 3).rounded();
    assert!(scale.hi < 0.7, "not to 80 %: {scale:?}");
}

#[test]
fn a_dot_stands_on_each_cell_that_asks_for_one_and_has_a_value() {
    let values = vec![vec![1.0, f64::NAN], vec![2.0, 3.0]];
    let names = || vec!["a".to_owned(), "b".to_owned()];
    let chart = heatmap(names(), names(), values, Axis::linear("v", Format::Number));
    let chart = Heatmap { dotted: vec![vec![true, true], vec![false, true]], ..chart };
    let dots = |chart: &Heatmap| checked(&chart.draw(400.0)).matches("class=\"dot ").count();
    assert_eq!((dots(&chart), chart.has_dots()), (2, true));
    let none = Heatmap { dotted: Vec::new(), ..chart };
    assert_eq!((dots(&none), none.has_dots()), (0, false));
}

#[test]
fn more_cells_than_can_be_seen_are_joined_as_their_means() {
    let names = |n: usize| (0..n).map(|i| i.to_string()).collect::<Vec<_>>();
    let values = (0..300).map(|row| (0..250).map(|column| f64::from(row + column)).collect()).collect();
    let chart = heatmap(names(300), names(250), values, Axis::linear("v", Format::Number)).capped();
    assert_eq!((chart.rows.len(), chart.columns.len()), (100, 84));
    assert_eq!((chart.rows[1].as_str(), chart.columns[83].as_str()), ("3–5", "249"));
    assert_eq!(chart.values[1][2], 4.0 + 7.0, "rows 3 to 5 and columns 6 to 8");
    let xml = checked(&chart.draw(1160.0));
    assert_eq!(number_of_cells(&xml), 100 * 84);
}

#[test]
fn a_long_run_of_a_deep_network_makes_no_giant() {
    let names = |n: usize| (0..n).map(|i| format!("layer{i}.0.conv1")).collect::<Vec<_>>();
    let noise = |i: usize| 10_f64.powf((i * 7919 % 1000) as f64 / 200.0 - 4.0);
    let values = (0..100).map(|row| (0..200).map(|column| noise(200 * row + column)).collect()).collect();
    let chart = heatmap(names(100), names(200), values, Axis::log("norm", Format::Number)).capped();
    let size = checked(&chart.draw(640.0)).len();
    assert!(size < 250_000, "{size} bytes");
    let line = Series::new(
        "loss",
        Stroke::Colour(0),
        (0..100_000).map(|i| (f64::from(i), f64::from(i % 7))).collect(),
    );
    let axis = || Axis::linear("x", Format::Number);
    let size = checked(&LineChart::new(axis(), axis(), vec![line]).draw(640.0)).len();
    assert!(size < 20_000, "{size} bytes");
}

/// A place in front of a cell, and not of the cell beside it.
#[test]
fn the_first_and_the_last_colour_are_the_bounds() {
    let scale = ColourScale::sequential(Axis::log("norm", Format::Number), [1e-4, 1.0, f64::NAN].into_iter());
    assert_eq!((scale.level(1e-4), scale.level(1e-2), scale.level(1.0)), (Some(0), Some(12), Some(24)));
    assert_eq!((scale.level(0.0), scale.level(f64::NAN)), (None, None));
    let scale =
        ColourScale::diverging(Axis::linear("points", Format::Points), 0.0, [0.01, -0.03].into_iter());
    assert_eq!((scale.level(-0.03), scale.level(0.0), scale.level(0.03)), (Some(0), Some(12), Some(24)));
}

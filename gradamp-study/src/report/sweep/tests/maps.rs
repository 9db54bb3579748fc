//! Maps over two axes.

use super::*;

/// However many values another axis has: how many layers and by how much belong on one map.
#[test]
fn ratio_and_factor_share_a_map() {
    let root = tempfile::tempdir().unwrap();
    let mut cells = cells(&sweep(root.path()));
    for (i, cell) in cells.iter_mut().enumerate() {
        cell.cell.axes.insert(0, ("model.name".into(), format!("model {}", i % 5)));
    }
    let axes = map::axes(&cells);
    let names: Vec<&str> = axes.iter().map(|axis| axis.name.as_str()).collect();
    assert_eq!(names, ["amplification.factor", "amplification.ratio", "model.name", "strategy.lr"]);
    assert_eq!(axes[2].values.len(), 5);
}

/// Every cell of the study stands in the map once, numbers by size and ratio downward.
#[test]
fn the_map_holds_every_cell_at_its_place() {
    let root = tempfile::tempdir().unwrap();
    let cells = cells(&sweep(root.path()));
    let axes = map::axes(&cells);
    let values: Vec<(&str, Vec<&str>)> = axes
        .iter()
        .map(|axis| (axis.name.as_str(), axis.values.iter().map(String::as_str).collect()))
        .collect();
    let expected = [
        ("amplification.factor", vec!["1.5", "2", "10"]),
        ("amplification.ratio", vec!["0.5", "1"]),
        ("strategy.lr", vec!["0.1", "0.4"]),
    ];
    assert_eq!(values, expected);
    let blocks = map::blocks(&cells, Measure::Best);
    let [Block::Figure(figure), Block::Figure(_)] = blocks.as_slice() else { panic!("two figures") };
    let chart: &dyn Chart = figure.chart.as_ref();
    let svg = chart.draw(1160.0).svg;
    let written = svg.as_str().matches("class=\"cell ").count();
    assert_eq!(written, 12, "a number on each of 2 maps of 2 by 3 cells");
}

/// Shares of runs that train have a map where some run does not train, with the baselines in a row of their own.
#[test]
fn maps_show_which_runs_train_with_baselines_in_their_row() {
    let root = tempfile::tempdir().unwrap();
    let mut cells = cells(&sweep(root.path()));
    cells.retain(|cell| {
        cell.is_baseline() || cell.cell.axes.contains(&("amplification.ratio".into(), "1".into()))
    });
    for cell in &mut cells {
        let trained = if cell.is_baseline() { 1 } else { 3 };
        cell.trained = Some(Trained { trained, runs: 3 });
    }
    let ids = |cells: &[MeasuredCell]| -> Vec<(String, String)> {
        let blocks = map::blocks(cells, Measure::Best);
        let drawn = blocks.iter().map(|block| match block {
            Block::Figure(figure) => (figure.id.clone(), figure.chart.draw(1160.0).svg.as_str().to_owned()),
            _ => panic!("a figure"),
        });
        drawn.collect()
    };
    let figures = ids(&cells);
    let names: Vec<&str> = figures.iter().map(|(id, _)| id.as_str()).collect();
    assert_eq!(names, ["map-trained", "map", "map-accuracy"]);
    let has_row = |svg: &str| svg.contains(">baseline</text>");
    assert_eq!(figures.iter().map(|(_, svg)| has_row(svg)).collect::<Vec<_>>(), [true, false, true]);
    assert_eq!(figures[0].1.matches(">33 %</text>").count(), 2, "two learning rates: {}", figures[0].1);
    cells.iter_mut().for_each(|cell| cell.trained = Some(Trained { trained: 3, runs: 3 }));
    assert_eq!(ids(&cells).len(), 2, "all train");
}

/// A dot stands on every cell whose difference may be 0, or that lacks a seed, and on no other; the legend says so.
#[test]
fn uncertain_cells_have_a_dot() {
    let root = tempfile::tempdir().unwrap();
    let mut sweep = sweep(root.path());
    let dots = |sweep: &SweepData| {
        let blocks = map::blocks(&cells(sweep), Measure::Best);
        let [Block::Figure(figure), ..] = blocks.as_slice() else { panic!("a figure") };
        let svg = figure.chart.draw(1160.0).svg;
        (svg.as_str().matches("class=\"dot di").count(), svg.as_str().contains("uncertain"))
    };
    let expected = |sweep: &SweepData| {
        let is_uncertain = |cell: &&MeasuredCell| cell.cell.role == Role::Cell && cell.is_uncertain();
        cells(sweep).iter().filter(is_uncertain).count()
    };
    let before = expected(&sweep);
    assert!(before < 12, "{before}");
    assert_eq!(dots(&sweep), (before, before > 0));
    let certain =
        cells(&sweep).into_iter().find(|cell| cell.cell.role == Role::Cell && !cell.is_uncertain()).unwrap();
    let lost = sweep.results.iter_mut().find(|run| run.cell == certain.cell.name).unwrap();
    lost.status = RunStatus::Failed;
    assert_eq!((expected(&sweep), dots(&sweep)), (before + 1, (before + 1, true)));
}

/// Titles of panels are wrapped, never shortened.
#[test]
fn panels_are_titled_by_their_values_in_full() {
    let root = tempfile::tempdir().unwrap();
    let mut cells = cells(&sweep(root.path()));
    for (i, cell) in cells.iter_mut().enumerate() {
        let value = format!("the last third of training and {}", i % 2);
        cell.cell.axes.insert(0, ("strategy".into(), value));
    }
    let blocks = map::blocks(&cells, Measure::Best);
    let [Block::Figure(figure), ..] = blocks.as_slice() else { panic!("a figure") };
    for width in [330.0, 640.0, 1160.0] {
        let xml = format!("<svg>{}</svg>", figure.chart.draw(width).svg.as_str());
        let document = roxmltree::Document::parse(&xml).unwrap();
        let headings = document.descendants().filter(|node| node.attribute("class") == Some("heading"));
        let text: Vec<&str> = headings.filter_map(|node| node.text()).collect();
        let text = text.join(" ");
        for value in ["strategy the last third of training and 0", "lr 0.1", "lr 0.4"] {
            assert!(text.contains(value) || width < 1000.0, "{value} in {text}");
        }
        assert!(!text.contains('…'), "{text}");
    }
}

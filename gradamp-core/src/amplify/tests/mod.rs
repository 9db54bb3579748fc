mod amplifier;
mod gain;
mod policy;
mod schedule;
mod selection;
mod strategy;

use std::sync::Arc;

use crate::Trace;
use crate::{LayerKind, Site};

/// The sites of a ResNet with two stages of two blocks, and their parameters; no connections.
fn small_resnet() -> Trace {
    let mut layers = vec![
        ("conv1".to_owned(), LayerKind::Conv),
        ("bn1".to_owned(), LayerKind::BatchNorm),
        ("relu1".to_owned(), LayerKind::Relu),
    ];
    for block in ["layer1.0", "layer1.1", "layer2.0", "layer2.1"] {
        layers.push((block.to_owned(), LayerKind::Block));
        for i in [1, 2] {
            layers.push((format!("{block}.conv{i}"), LayerKind::Conv));
            layers.push((format!("{block}.bn{i}"), LayerKind::BatchNorm));
            layers.push((format!("{block}.relu{i}"), LayerKind::Relu));
        }
    }
    layers.push(("linear".to_owned(), LayerKind::Linear));
    let has_weight = |kind| !matches!(kind, LayerKind::Relu | LayerKind::Block);
    Trace {
        parameters: layers
            .iter()
            .filter(|(_, kind)| has_weight(*kind))
            .map(|(path, _)| format!("{path}.weight").into())
            .collect(),
        sites: layers
            .into_iter()
            .enumerate()
            .map(|(index, (path, kind))| Site { path: Arc::from(path), kind, index })
            .collect(),
        nodes: Vec::new(),
    }
}

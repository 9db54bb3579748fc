//! Compares the models' parameters with PyTorch's: counts, names, shapes and order.

#![allow(clippy::unwrap_used)] // a failed preparation may end a test

use gradamp_core::nn::ActivationFunction;
use gradamp_core::{LayerKind, Parameters, Reference, nn};
use gradamp_models::{Architecture, Archive, Metadata, Model, ModelSettings, Norm, to_bytes};

fn parameters(architecture: Architecture, width: usize, classes: usize) -> (Model, Parameters<Reference>) {
    let mut parameters = Parameters::new(&Reference, 1);
    let model = Model::new(
        &ModelSettings::new(architecture).with_width(width).with_classes(classes),
        &mut parameters,
    )
    .unwrap();
    (model, parameters)
}

/// `sum(p.numel() for p in build(name).parameters())` of the PyTorch models.
#[test]
fn standard_models_have_as_many_parameters_as_in_pytorch() {
    let counts = [
        (Architecture::Vgg11, 9_231_114),
        (Architecture::Vgg13, 9_416_010),
        (Architecture::Vgg16, 14_728_266),
        (Architecture::Vgg19, 20_040_522),
        (Architecture::ResNet18, 11_173_962),
        (Architecture::ResNet34, 21_282_122),
    ];
    for (architecture, count) in counts {
        assert_eq!(parameters(architecture, 64, 10).1.trained_elements(), count, "{architecture}");
    }
}

#[test]
fn names_shapes_and_order_are_those_of_the_state_dict() {
    let expected = include_str!("state_dicts.txt");
    for architecture in Architecture::ALL {
        let section = expected.split("model ").find(|s| s.starts_with(architecture.name())).unwrap();
        let (_, parameters) = parameters(architecture, 3, 7);
        let archive =
            Archive::from_bytes("memory", to_bytes(&parameters, &Default::default()).unwrap()).unwrap();
        let lines: Vec<&str> = section.lines().skip(1).collect();
        assert_eq!(archive.names().len(), lines.len(), "{architecture}");
        for line in &lines {
            let (name, dims) = line.split_once(' ').unwrap_or((line, ""));
            let dims: Vec<usize> = dims.split_whitespace().map(|d| d.parse().unwrap()).collect();
            assert_eq!(archive.shape(name), Some(&*dims), "{architecture} {name}");
        }
        // Parameters are registered in PyTorch's order. Counters are in a separate list.
        let ours: Vec<&str> = parameters.iter().map(|(_, p)| &*p.path).collect();
        let counters: Vec<&str> = parameters.counters().iter().map(|(path, _)| &**path).collect();
        let (theirs_counters, theirs): (Vec<&str>, Vec<&str>) = lines
            .iter()
            .map(|l| l.split(' ').next().unwrap())
            .partition(|n| n.ends_with("num_batches_tracked"));
        assert_eq!(ours, theirs, "{architecture}");
        assert_eq!(counters, theirs_counters, "{architecture}");
    }
}

#[test]
fn the_settings_of_a_model_are_recognised_by_its_tensors() {
    let mut all = Vec::new();
    for standard in Architecture::ALL.map(ModelSettings::new) {
        for (width, classes) in [(1, 2), (3, 7)] {
            for norm in [Norm::Batch, Norm::None] {
                all.push(standard.with_width(width).with_classes(classes).with_norm(norm));
            }
        }
    }
    let small = |architecture| ModelSettings::new(architecture).with_width(1);
    for norm in [Norm::Batch, Norm::None] {
        all.push(small(Architecture::ResNet34).with_skip(false).with_norm(norm));
        for repeat in [3, 7] {
            all.push(small(Architecture::Vgg11).with_repeat(repeat).with_norm(norm));
        }
        for repeat in [2, 8] {
            all.push(small(Architecture::Vgg16).with_repeat(repeat).with_norm(norm));
            all.push(small(Architecture::Vgg19).with_repeat(repeat).with_norm(norm));
        }
        for depth in [1, 6, 100] {
            all.push(small(Architecture::Mlp).with_depth(depth).with_norm(norm));
        }
    }
    for settings in all {
        let mut parameters = Parameters::new(&Reference, 0);
        Model::new(&settings, &mut parameters).unwrap();
        let archive =
            Archive::from_bytes("memory", to_bytes(&parameters, &Default::default()).unwrap()).unwrap();
        let found = ModelSettings::from_tensors(|name| archive.shape(name).map(<[usize]>::to_vec));
        assert_eq!(found, Some(settings));
    }
    assert_eq!(ModelSettings::from_tensors(|_| None), None);
}

/// The tensors do not show the activation. The header of a file of this project names it; for other files the
/// standard one is assumed.
#[test]
fn an_activation_is_read_from_the_header() {
    let settings = ModelSettings::new(Architecture::Mlp)
        .with_width(2)
        .with_depth(3)
        .with_activation(ActivationFunction::Tanh);
    let mut parameters = Parameters::new(&Reference, 0);
    Model::new(&settings, &mut parameters).unwrap();
    let read = |model: &str| {
        let metadata = Metadata::from([("model".to_owned(), model.to_owned())]);
        Archive::from_bytes("memory", to_bytes(&parameters, &metadata).unwrap()).unwrap().settings().unwrap()
    };
    assert_eq!(read(&settings.to_string()), settings);
    let standard = settings.with_activation(ActivationFunction::Sigmoid);
    assert_eq!(read("something else"), standard);
    let other = settings.with_depth(4);
    assert_eq!(read(&other.to_string()), standard, "a header that does not match the tensors is ignored");
}

#[test]
fn a_vgg11_with_each_convolution_twice_is_a_vgg19() {
    let twice = ModelSettings::new(Architecture::Vgg11)
        .with_width(1)
        .with_repeat(2)
        .with_activation(ActivationFunction::Tanh);
    let mut parameters = Parameters::new(&Reference, 0);
    Model::new(&twice, &mut parameters).unwrap();
    let metadata = Metadata::from([("model".to_owned(), twice.to_string())]);
    let archive = Archive::from_bytes("memory", to_bytes(&parameters, &metadata).unwrap()).unwrap();
    assert_eq!(archive.settings().unwrap(), twice, "the header names the settings");
    let vgg19 = ModelSettings::new(Architecture::Vgg19).with_width(1);
    let found = ModelSettings::from_tensors(|name| archive.shape(name).map(<[usize]>::to_vec));
    assert_eq!(found, Some(vgg19), "the tensors alone show a VGG-19");
}

#[test]
fn every_layer_and_block_is_a_site() {
    let (model, mut parameters_18) = parameters(Architecture::ResNet18, 1, 2);
    let trace = nn::trace(&model, &mut parameters_18, [32, 32, 3]).unwrap();
    let count = |kind| trace.sites.iter().filter(|s| s.kind == kind).count();
    let kinds = [LayerKind::Conv, LayerKind::BatchNorm, LayerKind::Relu, LayerKind::Block, LayerKind::Pool];
    assert_eq!(kinds.map(count), [20, 20, 17, 8, 1]);
    assert_eq!(count(LayerKind::Linear), 1);
    let first: Vec<(&str, LayerKind)> = trace.sites.iter().take(12).map(|s| (&*s.path, s.kind)).collect();
    use LayerKind::{BatchNorm, Block, Conv, Relu};
    let expected = [
        ("conv1", Conv),
        ("bn1", BatchNorm),
        ("relu1", Relu),
        ("layer1.0", Block),
        ("layer1.0.conv1", Conv),
        ("layer1.0.bn1", BatchNorm),
        ("layer1.0.relu1", Relu),
        ("layer1.0.conv2", Conv),
        ("layer1.0.bn2", BatchNorm),
        ("layer1.0.relu2", Relu),
        ("layer1.1", Block),
        ("layer1.1.conv1", Conv),
    ];
    assert_eq!(first, expected);
    for path in ["layer2.0.shortcut.0", "layer2.0.shortcut.1", "avgpool", "linear"] {
        assert!(trace.sites.iter().any(|s| &*s.path == path), "{path}");
    }
    assert!(!trace.sites.iter().any(|s| s.path.starts_with("layer1.0.shortcut")));

    let (model, mut parameters_19) = parameters(Architecture::Vgg19, 1, 2);
    let trace = nn::trace(&model, &mut parameters_19, [32, 32, 3]).unwrap();
    let paths: Vec<&str> = trace.sites.iter().map(|s| &*s.path).collect();
    let mut expected: Vec<String> = (0..53).map(|i| format!("features.{i}")).collect();
    expected.push("classifier".into());
    assert_eq!(paths, expected);
}

#[test]
fn images_of_other_sizes_are_accepted_or_refused_with_their_size() {
    let (resnet, mut p) = parameters(Architecture::ResNet18, 1, 2);
    assert!(nn::trace(&resnet, &mut p, [17, 40, 3]).is_ok());
    let (vgg, mut p) = parameters(Architecture::Vgg11, 1, 2);
    assert!(nn::trace(&vgg, &mut p, [33, 63, 3]).is_ok());
    let error = nn::trace(&vgg, &mut p, [64, 32, 3]).unwrap_err().to_string();
    assert!(
        error.contains("built for images of 32x32 to 63x63") && error.contains("[1, 64, 32, 3]"),
        "{error}"
    );
    let error = nn::trace(&vgg, &mut p, [16, 16, 3]).unwrap_err().to_string();
    assert!(error.starts_with("max_pool2d"), "{error}");
}

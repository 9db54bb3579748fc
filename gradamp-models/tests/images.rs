//! Models for images of any size, number of channels and number of classes.

#![allow(clippy::unwrap_used)] // a failed preparation may end a test

use gradamp_core::{Module, Parameters, Reference, Tape, Tensor, nn};
use gradamp_models::{Architecture, Archive, Metadata, Model, ModelSettings, to_bytes};
use proptest::prelude::*;

fn build(settings: &ModelSettings) -> (Model, Parameters<Reference>) {
    let mut parameters = Parameters::new(&Reference, 1);
    (Model::new(settings, &mut parameters).unwrap(), parameters)
}

/// The logits for two images whose values all differ.
fn logits(
    settings: &ModelSettings,
    model: &Model,
    parameters: &mut Parameters<Reference>,
) -> Tensor<Reference> {
    let [h, w, c] = settings.image;
    let values: Vec<f32> = (0..2 * h * w * c).map(|i| (i * 37 % 101) as f32 / 50.0 - 1.0).collect();
    let images = Tensor::from_slice(&Reference, &[2, h, w, c], &values).unwrap();
    let mut tape = Tape::evaluate(parameters);
    let x = tape.constant(images);
    model.forward(&mut tape, x).unwrap().tensor().unwrap()
}

fn images(architecture: Architecture) -> impl Strategy<Value = [usize; 3]> {
    let sides = if architecture.is_vgg() { 32usize..70 } else { 1..30 };
    (sides.clone(), sides, 1usize..6).prop_map(|(h, w, c)| [h, w, c])
}

fn settings() -> impl Strategy<Value = ModelSettings> {
    let architectures =
        prop::sample::select(&[Architecture::Vgg11, Architecture::ResNet18, Architecture::Mlp][..]);
    architectures.prop_flat_map(|architecture| {
        (images(architecture), 2usize..400).prop_map(move |(image, classes)| {
            ModelSettings::new(architecture).with_image(image).with_classes(classes).with_width(1)
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// A model computes finite logits for its images, and a file of its parameters gives the same settings and logits.
    #[test]
    fn a_model_for_any_images_is_written_and_read(settings in settings()) {
        let (model, mut parameters) = build(&settings);
        let expected = logits(&settings, &model, &mut parameters);
        prop_assert_eq!(expected.shape()[..].to_vec(), [2, settings.classes]);
        let expected = expected.to_vec().unwrap();
        prop_assert!(expected.iter().all(|value| value.is_finite()));
        prop_assert!(nn::trace(&model, &mut parameters, settings.image).is_ok());

        let metadata = Metadata::from([("model".to_owned(), settings.to_string())]);
        let archive = Archive::from_bytes("memory", to_bytes(&parameters, &metadata).unwrap()).unwrap();
        let read = archive.settings().unwrap();
        prop_assert_eq!(read, settings);
        let mut again = Parameters::new(&Reference, 2);
        let model = Model::new(&read, &mut again).unwrap();
        archive.import("", &mut again).unwrap();
        prop_assert_eq!(logits(&read, &model, &mut again).to_vec().unwrap(), expected);
    }
}

/// The tensors alone show the channels, and of an MLP the number of values.
#[test]
fn a_file_without_a_header_shows_the_channels() {
    for (architecture, image, found) in [
        (Architecture::ResNet18, [28, 28, 1], [32, 32, 1]),
        (Architecture::Vgg13, [48, 40, 4], [32, 32, 4]),
        (Architecture::Mlp, [28, 28, 1], [28, 28, 1]),
        (Architecture::Mlp, [10, 10, 3], [10, 10, 3]),
        (Architecture::Mlp, [5, 7, 2], [1, 70, 1]),
    ] {
        let settings = ModelSettings::new(architecture).with_image(image).with_width(2).with_classes(3);
        let (_, parameters) = build(&settings);
        let archive =
            Archive::from_bytes("memory", to_bytes(&parameters, &Metadata::new()).unwrap()).unwrap();
        let read = archive.settings().unwrap();
        assert_eq!(read, settings.with_image(found));
        assert!(read.takes(image));
        assert!(!read.takes([image[0], image[1], image[2] + 1]));
    }
}

/// The mean over all pixels of a VGG for large images: the last site before the classifier. A VGG for images of up to
/// 63 pixels has none, and its sites are those of CIFAR's.
#[test]
fn a_vgg_for_large_images_ends_with_a_mean() {
    let sites = |image| {
        let settings = ModelSettings::new(Architecture::Vgg11).with_image(image).with_width(1);
        let (model, mut parameters) = build(&settings);
        let trace = nn::trace(&model, &mut parameters, image).unwrap();
        trace.sites.iter().map(|site| site.path.to_string()).collect::<Vec<_>>()
    };
    let small = sites([32, 32, 3]);
    assert_eq!(sites([63, 40, 1]), small);
    let large = sites([64, 32, 3]);
    assert_eq!(large[large.len() - 2], "avgpool");
    assert_eq!(large.len(), small.len() + 1);
}

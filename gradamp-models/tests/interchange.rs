//! Reading and writing safetensors: PyTorch's bytes, exact round trips, and errors.

#![allow(clippy::unwrap_used)] // a failed preparation may end a test

use std::path::Path;

use gradamp_core::{ParameterId, Parameters, Reference, Role};
use gradamp_models::{
    Architecture, Archive, Metadata, Model, ModelSettings, Naming, Skip, export, export_values, import,
    import_values, to_bytes, write_atomically,
};
use proptest::prelude::*;
use safetensors::tensor::{Dtype, TensorView};

/// A file that PyTorch wrote after two batches: `safetensors.torch.save_file(build("resnet18", 1, 2).state_dict(),
/// ...)`.
const TORCH: &[u8] = include_bytes!("resnet18_width1.safetensors");

fn parameters(architecture: Architecture, width: usize, classes: usize, seed: u64) -> Parameters<Reference> {
    let mut parameters = Parameters::new(&Reference, seed);
    Model::new(&ModelSettings::new(architecture).with_width(width).with_classes(classes), &mut parameters)
        .unwrap();
    parameters
}

fn small() -> Parameters<Reference> {
    parameters(Architecture::ResNet18, 1, 2, 5)
}

fn values(parameters: &Parameters<Reference>) -> Vec<Vec<f32>> {
    parameters.iter().map(|(_, p)| p.value.to_vec().unwrap()).collect()
}

/// The PyTorch file with some of its tensors changed.
fn torch_with(change: impl Fn(&str, &mut Dtype, &mut Vec<usize>, &mut Vec<u8>) -> bool) -> Vec<u8> {
    let file = safetensors::SafeTensors::deserialize(TORCH).unwrap();
    let mut tensors = Vec::new();
    for (name, view) in file.tensors() {
        let (mut dtype, mut shape, mut data) = (view.dtype(), view.shape().to_vec(), view.data().to_vec());
        if change(&name, &mut dtype, &mut shape, &mut data) {
            tensors.push((name, dtype, shape, data));
        }
    }
    let views = tensors.iter().map(|(n, t, s, d)| (n.clone(), TensorView::new(*t, s.clone(), d).unwrap()));
    safetensors::serialize(views, None).unwrap()
}

fn refusal(bytes: Vec<u8>, parameters: &mut Parameters<Reference>) -> String {
    let (before, counters) = (values(parameters), parameters.counters().to_vec());
    let error = Archive::from_bytes("weights.safetensors", bytes)
        .and_then(|archive| archive.import("", parameters))
        .unwrap_err()
        .to_string();
    assert!(error.starts_with("weights.safetensors: "), "{error}");
    assert_eq!(values(parameters), before, "a refused import changed the parameters");
    assert_eq!(parameters.counters(), counters);
    error
}

#[test]
fn a_file_of_pytorch_is_read_and_written_byte_for_byte() {
    let mut parameters = small();
    Archive::from_bytes("torch", TORCH.to_vec()).unwrap().import("", &mut parameters).unwrap();
    assert!(parameters.counters().iter().all(|(_, count)| *count == 2));
    assert_eq!(to_bytes(&parameters, &Metadata::new()).unwrap(), TORCH);
}

#[test]
fn a_file_holds_metadata_and_is_replaced_completely() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let metadata: Metadata = (0..20).map(|i| (format!("key {i}"), format!("\"value\" {i}\n"))).collect();
    let original = small();
    export(&path, &parameters(Architecture::Vgg11, 1, 2, 0), &Metadata::new()).unwrap();
    export(&path, &original, &metadata).unwrap();
    // Equal contents give equal bytes; the metadata have a fixed order.
    assert_eq!(std::fs::read(&path).unwrap(), to_bytes(&original, &metadata).unwrap());
    assert_eq!(to_bytes(&original, &metadata).unwrap(), to_bytes(&original, &metadata).unwrap());
    let mut copy = parameters(Architecture::ResNet18, 1, 2, 6);
    assert_ne!(values(&copy), values(&original));
    assert_eq!(import(&path, &mut copy).unwrap(), metadata);
    assert_eq!(values(&copy), values(&original));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "another file was left");
}

#[test]
fn an_unwritable_folder_is_named_and_the_old_file_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("nowhere").join("model.safetensors");
    let error = export(&missing, &small(), &Metadata::new()).unwrap_err().to_string();
    assert!(error.contains("nowhere: cannot create a file in this folder"), "{error}");

    let path = folder.path().join("model.safetensors");
    std::fs::write(&path, "old").unwrap();
    let failed = write_atomically(&path, |out| {
        out.write_all(b"new").unwrap();
        Err(gradamp_core::Error::external("the disk is full").into())
    });
    assert_eq!(failed.unwrap_err().to_string(), "the disk is full");
    assert_eq!(std::fs::read(&path).unwrap(), b"old");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "a partial file was left");

    std::fs::create_dir(folder.path().join("folder")).unwrap();
    let error = export(&folder.path().join("folder"), &small(), &Metadata::new()).unwrap_err().to_string();
    assert!(error.ends_with("folder: expected the path of a file to write, found a folder"), "{error}");
}

#[test]
fn a_missing_file_is_named() {
    let error = import(Path::new("no/such.safetensors"), &mut small()).unwrap_err().to_string();
    assert!(error.starts_with("no/such.safetensors: cannot read"), "{error}");
}

#[test]
fn a_truncated_or_foreign_file_is_refused() {
    for len in [0, 7, 8, 100, 12_000, TORCH.len() - 1] {
        let error = refusal(TORCH[..len].to_vec(), &mut small());
        assert!(error.contains(&format!("expected a whole safetensors file, found {len} bytes")), "{error}");
    }
    let error = refusal(TORCH[..TORCH.len() - 4].to_vec(), &mut small());
    assert!(error.contains("truncated"), "{error}");
    refusal(b"PK\x03\x04 a zip archive, as torch.save writes".to_vec(), &mut small());
}

#[test]
fn the_error_for_another_model_names_both_models() {
    let cases = [
        (parameters(Architecture::ResNet34, 1, 2, 0), "resnet34 of width 1 with 2 classes"),
        (parameters(Architecture::ResNet18, 3, 2, 0), "resnet18 of width 3 with 2 classes"),
        (parameters(Architecture::ResNet18, 1, 100, 0), "resnet18 of width 1 with 100 classes"),
        (parameters(Architecture::Vgg13, 1, 2, 0), "vgg13 of width 1 with 2 classes"),
    ];
    for (mut parameters, name) in cases {
        let error = refusal(TORCH.to_vec(), &mut parameters);
        assert!(
            error.contains(&format!("expected {name}, found resnet18 of width 1 with 2 classes")),
            "{error}"
        );
        let differs_by_classes = name.contains("resnet18 of width 1");
        assert_eq!(error.contains("init_skip = [\"linear.*\"]"), differs_by_classes, "{error}");
    }
}

#[test]
fn a_missing_unexpected_or_misshapen_tensor_is_named() {
    let error = refusal(torch_with(|name, _, _, _| name != "layer2.0.bn1.weight"), &mut small());
    assert!(error.ends_with("tensor layer2.0.bn1.weight: is missing"), "{error}");
    let error = refusal(torch_with(|name, _, _, _| !name.starts_with("layer2.0.bn")), &mut small());
    assert!(error.ends_with("tensor layer2.0.bn1.weight: is missing (and so are 7 more)"), "{error}");

    let reshaped = torch_with(|name, _, shape, _| {
        if name == "layer3.0.conv1.weight" {
            shape.swap(0, 1);
        }
        true
    });
    let error = refusal(reshaped, &mut small());
    let expected = "tensor layer3.0.conv1.weight: expected shape [4, 2, 3, 3], found [2, 4, 3, 3]";
    assert!(error.ends_with(expected), "{error}");

    let mut more = parameters(Architecture::ResNet18, 1, 2, 5);
    more.add("extra.weight", Role::Bias, &[3], gradamp_core::Initial::Constant(0.0)).unwrap();
    let error = refusal(to_bytes(&more, &Metadata::new()).unwrap(), &mut small());
    assert!(error.contains("tensor extra.weight: is unexpected"), "{error}");
}

#[test]
fn a_wrong_type_is_named_and_half_precision_is_read() {
    let integers = torch_with(|name, dtype, _, _| {
        if name == "linear.bias" {
            *dtype = Dtype::I32;
        }
        true
    });
    let error = refusal(integers, &mut small());
    assert!(error.ends_with("tensor linear.bias: expected F32, F64, F16 or BF16, found I32"), "{error}");

    let floats = torch_with(|name, dtype, _, data| {
        if name == "bn1.num_batches_tracked" {
            *dtype = Dtype::F64;
            *data = 2.5f64.to_le_bytes().to_vec();
        }
        true
    });
    let error = refusal(floats, &mut small());
    assert!(error.ends_with("tensor bn1.num_batches_tracked: expected a whole number, found 2.5"), "{error}");

    let halves = torch_with(|name, dtype, _, data| {
        if name == "linear.bias" {
            *dtype = Dtype::BF16;
            *data = vec![0x80, 0x3f, 0x00, 0xc0];
        }
        true
    });
    let mut parameters = small();
    Archive::from_bytes("halves", halves).unwrap().import("", &mut parameters).unwrap();
    let bias = parameters.find("linear.bias").unwrap();
    assert_eq!(parameters.get(bias).value.to_vec().unwrap(), [1.0, -2.0]);
}

#[test]
fn counters_may_be_missing() {
    let mut parameters = small();
    parameters.counters_mut()[0].1 = 7;
    let bytes = torch_with(|name, _, _, _| !name.ends_with("num_batches_tracked"));
    Archive::from_bytes("old", bytes).unwrap().import("", &mut parameters).unwrap();
    assert!(parameters.counters().iter().all(|(_, count)| *count == 0));
}

/// The PyTorch file with renamed tensors, and with a count of averages called `averages` if there is one.
fn torch_renamed(rename: impl Fn(&str) -> String, averages: Option<&str>) -> Vec<u8> {
    let file = safetensors::SafeTensors::deserialize(TORCH).unwrap();
    let mut tensors: Vec<_> = file.tensors().into_iter().map(|(name, view)| (rename(&name), view)).collect();
    let count = 7i64.to_le_bytes();
    if let Some(name) = averages {
        tensors.push((name.into(), TensorView::new(Dtype::I64, Vec::new(), &count).unwrap()));
    }
    safetensors::serialize(tensors, None).unwrap()
}

#[test]
fn prefixes_of_pytorch_s_wrappers_are_ignored() {
    let settings = ModelSettings::new(Architecture::ResNet18).with_width(1).with_classes(2);
    let mut plain = small();
    Archive::from_bytes("torch", TORCH.to_vec()).unwrap().import("", &mut plain).unwrap();
    for (prefix, averages) in [
        ("", None),
        ("module.", None),
        ("_orig_mod.", None),
        ("module._orig_mod.", None),
        ("_orig_mod.module.", None),
        ("module.", Some("n_averaged")),
        ("module.module.", Some("module.n_averaged")),
        ("model.net.", None),
    ] {
        let bytes = torch_renamed(|name| format!("{prefix}{name}"), averages);
        let archive = Archive::from_bytes("w.safetensors", bytes).unwrap();
        assert_eq!(archive.settings().unwrap(), settings, "{prefix}");
        let mut parameters = small();
        let said = archive.import_wrapped(&Skip::default(), &mut parameters).unwrap();
        assert_eq!(to_bytes(&parameters, &Metadata::new()).unwrap(), TORCH, "{prefix}");
        let beside = if averages.is_some() { " and a count of averages" } else { "" };
        let expected = format!("w.safetensors: read without {prefix:?} before every name{beside}");
        assert_eq!(said, (!prefix.is_empty()).then_some(expected));
    }
}

#[test]
fn the_error_for_a_file_without_a_model_names_the_expected_tensors() {
    let why = |bytes: Vec<u8>| {
        let archive = Archive::from_bytes("w", bytes).unwrap();
        let error = archive.settings().unwrap_err().to_string();
        assert!(archive.import_wrapped(&Skip::default(), &mut small()).is_err(), "{error}");
        error
    };
    let torchvision = torch_renamed(|name| name.replace("linear.", "fc."), None);
    let error = why(torchvision);
    assert!(
        error.contains("no tensor is named linear.weight (ResNet) or classifier.weight (VGG and MLP)"),
        "{error}"
    );
    assert!(
        error.ends_with(
            "found 122 tensors: bn1.bias, bn1.num_batches_tracked, bn1.running_mean, bn1.running_var, ..."
        ),
        "{error}"
    );
    let error =
        why(torch_renamed(|name| format!("module.{}", name.replace("layer3.1.conv2", "other")), None));
    assert!(error.starts_with("w: tensor module.layer3.1.conv2.weight: is missing"), "{error}");
    let two = why(torch_renamed(
        |name| format!("{}.{name}", if name.starts_with("bn1") { "ema" } else { "model" }),
        None,
    ));
    assert_eq!(
        two,
        "w: tensor ema.bn1.bias: is unexpected, because the names of the model begin with \"model.\""
    );
    let empty: [(&str, TensorView<'_>); 0] = [];
    assert!(why(safetensors::serialize(empty, None).unwrap()).ends_with("found no tensors"));
    let long = "x".repeat(100_000);
    assert!(why(torch_renamed(|name| format!("{name}{long}"), None)).len() < 1000);
}

/// A file of `TORCH`'s values under torchvision's names.
fn torchvision() -> Vec<u8> {
    torch_renamed(|name| name.replace("linear.", "fc.").replace("shortcut", "downsample"), None)
}

#[test]
fn a_file_with_the_names_of_torchvision_is_read_with_and_without_a_prefix() {
    let prefixed = torch_renamed(
        |name| format!("module.{}", name.replace("linear.", "fc.").replace("shortcut", "downsample")),
        None,
    );
    for (bytes, naming) in [(torchvision(), Naming::Timm), (prefixed, Naming::Torchvision)] {
        let archive = Archive::from_bytes("w", bytes).unwrap().with_names(naming);
        let settings = ModelSettings::new(Architecture::ResNet18).with_width(1).with_classes(2);
        assert_eq!(archive.settings().unwrap(), settings);
        let mut parameters = small();
        archive.import_wrapped(&Skip::default(), &mut parameters).unwrap();
        assert_eq!(to_bytes(&parameters, &Metadata::new()).unwrap(), TORCH);
    }
    let error = |bytes: Vec<u8>, naming: Naming| {
        let archive = Archive::from_bytes("w", bytes).unwrap().with_names(naming);
        archive.import_wrapped(&Skip::default(), &mut small()).unwrap_err().to_string()
    };
    let tip = error(torchvision(), Naming::Gradamp);
    assert!(tip.contains("use init_names = \"torchvision\""), "{tip}");
    let missing = error(TORCH.to_vec(), Naming::Timm);
    assert!(missing.contains("no tensor is named fc.weight (ResNet)"), "{missing}");
    let lacking = torch_renamed(
        |name| match name {
            "layer2.0.shortcut.1.bias" => "layer2.0.other".into(),
            name => name.replace("linear.", "fc.").replace("shortcut", "downsample"),
        },
        None,
    );
    let missing = error(lacking, Naming::Timm);
    assert!(missing.contains("tensor layer2.0.downsample.1.bias: is missing"), "{missing}");
}

/// The PyTorch file with the tensor `name` in another shape.
fn torch_shaped(name: &str, shape: &[usize]) -> Vec<u8> {
    torch_with(|found, _, old, data| {
        if found == name {
            *old = shape.to_vec();
            *data = vec![0; 4 * shape.iter().product::<usize>()];
        }
        true
    })
}

#[test]
fn a_network_of_another_structure_is_named_with_both_shapes() {
    let error = refusal(torch_shaped("conv1.weight", &[1, 3, 7, 7]), &mut small());
    for part in ["tensor conv1.weight: expected shape [1, 3, 3, 3], found [1, 3, 7, 7]", "7x7", "max-pool"] {
        assert!(error.contains(part), "{error}");
    }
    let bottleneck =
        torch_renamed(|name| name.replace("layer1.0.conv2.weight", "layer1.0.conv3.weight"), None);
    let error = refusal(bottleneck, &mut small());
    assert!(
        error.contains("tensor layer1.0.conv3.weight: is of a bottleneck block, as in ResNet-50"),
        "{error}"
    );
}

#[test]
fn skipped_parameters_keep_their_values_and_all_others_are_read() {
    let skip = |patterns: &[&str]| Skip::new(&patterns.iter().map(|&p| p.into()).collect::<Vec<_>>());
    let other_classes = torch_shaped("linear.weight", &[7, 8]);
    let without_head = torch_with(|name, _, _, _| !name.starts_with("linear."));
    let other_stem = torch_shaped("conv1.weight", &[1, 3, 7, 7]);
    for (bytes, patterns) in [
        (other_classes, &["linear.*"][..]),
        (without_head, &["linear.{weight,bias}"]),
        (other_stem, &["conv1.*", "bn1.*"]),
    ] {
        let (fresh, mut parameters) = (values(&small()), small());
        parameters.counters_mut()[0].1 = 5;
        let skip = skip(patterns).unwrap();
        Archive::from_bytes("w", bytes).unwrap().import_wrapped(&skip, &mut parameters).unwrap();
        let mut torch = small();
        Archive::from_bytes("torch", TORCH.to_vec()).unwrap().import("", &mut torch).unwrap();
        let is_kept = |path: &str| patterns.iter().any(|p| path.starts_with(p.split('.').next().unwrap()));
        for (((_, parameter), fresh), torch) in parameters.iter().zip(fresh).zip(values(&torch)) {
            let is_kept = is_kept(&parameter.path) && !parameter.path.starts_with("layer");
            let expected = if is_kept { fresh } else { torch };
            assert_eq!(parameter.value.to_vec().unwrap(), expected, "{}", parameter.path);
        }
        assert_eq!(parameters.counters()[0].1, if patterns.contains(&"bn1.*") { 5 } else { 2 });
    }
    let file = || Archive::from_bytes("w", TORCH.to_vec()).unwrap();
    let error =
        file().import_wrapped(&skip(&["liner.weight"]).unwrap(), &mut small()).unwrap_err().to_string();
    assert_eq!(
        error,
        "init_skip: \"liner.weight\" matches no parameter of the model (did you mean linear.weight?)"
    );
    let error = skip(&["linear.{"]).unwrap_err().to_string();
    assert!(error.starts_with("init_skip: expected a pattern such as linear.*"), "{error}");
}

#[test]
fn counters_of_any_type_are_read() {
    let cases: [(Dtype, Vec<u8>, Result<u64, &str>); 12] = [
        (Dtype::I32, 9i32.to_le_bytes().to_vec(), Ok(9)),
        (Dtype::I16, 9i16.to_le_bytes().to_vec(), Ok(9)),
        (Dtype::U8, vec![9], Ok(9)),
        (Dtype::U64, 9u64.to_le_bytes().to_vec(), Ok(9)),
        (Dtype::U64, u64::MAX.to_le_bytes().to_vec(), Err("at most 63 bits, found 18446744073709551615")),
        (Dtype::F64, 16777217f64.to_le_bytes().to_vec(), Ok(16_777_217)),
        (Dtype::F32, 9f32.to_le_bytes().to_vec(), Ok(9)),
        (Dtype::F32, f32::INFINITY.to_le_bytes().to_vec(), Err("expected a whole number, found inf")),
        (Dtype::F16, 0x4880u16.to_le_bytes().to_vec(), Ok(9)),
        (Dtype::F16, 0x7c00u16.to_le_bytes().to_vec(), Ok(65504)),
        (Dtype::BF16, 0x4110u16.to_le_bytes().to_vec(), Ok(9)),
        (Dtype::I8, vec![0xff], Err("expected a number of batches, found -1")),
    ];
    for (kind, bytes, expected) in cases {
        let file = torch_with(|name, dtype, _, data| {
            if name == "bn1.num_batches_tracked" {
                (*dtype, *data) = (kind, bytes.clone());
            }
            true
        });
        match expected {
            Ok(count) => {
                let mut parameters = small();
                Archive::from_bytes("cast", file).unwrap().import("", &mut parameters).unwrap();
                let counters = parameters.counters();
                let found = counters.iter().find(|(path, _)| &**path == "bn1.num_batches_tracked").unwrap().1;
                assert_eq!(found, count, "{kind:?}");
            }
            Err(message) => {
                let error = refusal(file, &mut small());
                assert!(error.contains(message), "{error}");
            }
        }
    }
}

#[test]
fn the_error_for_a_file_of_torch_save_says_how_to_convert_it() {
    let error = refusal(b"PK\x03\x04 a zip archive, as torch.save writes".to_vec(), &mut small());
    for part in ["torch.save", "torch.load(\"weights.safetensors\"", "safetensors.torch.save_file({name: t."]
    {
        assert!(error.contains(part), "{error}");
    }
    assert!(refusal(vec![0x80, 2, b'c', b'c', b'o'], &mut small()).contains("torch.save"));
    assert!(!refusal(b"something else entirely".to_vec(), &mut small()).contains("torch"));
}

#[test]
fn velocities_have_the_parameters_names_and_layouts() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("velocity.safetensors");
    let parameters = parameters(Architecture::Vgg11, 3, 5, 0);
    let velocity = |id: ParameterId| {
        let p = parameters.get(id);
        let values: Vec<f32> = (0..p.value.elements()).map(|i| (i * 7 + id.index()) as f32).collect();
        p.role.is_trained().then_some(values)
    };
    let metadata = Metadata::from([("step".to_string(), "12".to_string())]);
    export_values(&path, &parameters, &metadata, |id| Ok(velocity(id))).unwrap();

    let archive = Archive::open(&path).unwrap();
    assert_eq!(archive.shape("features.4.weight"), Some(&[6, 3, 3, 3][..]));
    let conv = velocity(parameters.find("features.4.weight").unwrap()).unwrap();
    // PyTorch's [o, i, p, q] = [4, 1, 2, 0] against ours [p, q, i, o].
    let torch = archive.floats("features.4.weight").unwrap();
    assert_eq!(torch[((4 * 3 + 1) * 3 + 2) * 3], conv[((2 * 3) * 3 + 1) * 6 + 4]);

    let (read, found) = import_values(&path, &parameters, |p| p.role.is_trained()).unwrap();
    assert_eq!(found, metadata);
    assert_eq!(read.len(), parameters.iter().filter(|(_, p)| p.role.is_trained()).count());
    for (id, values) in read {
        assert_eq!(Some(values), velocity(id));
    }
    let error = import_values(&path, &parameters, |_| true).unwrap_err().to_string();
    assert!(error.contains("tensor features.1.running_mean: is missing"), "{error}");
    let wrong =
        export_values(&path, &parameters, &metadata, |_| Ok(Some(vec![0.0]))).unwrap_err().to_string();
    assert!(wrong.contains("features.0.weight") && wrong.contains("1 values"), "{wrong}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20))]
    #[test]
    fn values_of_any_bits_are_read_as_written(width in 1usize..4, classes in 2usize..5, vgg: bool, seed: u64, bits: u32) {
        let architecture = if vgg { Architecture::Vgg11 } else { Architecture::ResNet18 };
        let mut original = parameters(architecture, width, classes, seed);
        let id = original.find(if vgg { "features.0.weight" } else { "conv1.weight" }).unwrap();
        let mut odd = original.get(id).value.to_vec().unwrap();
        odd[0] = f32::from_bits(bits);
        odd[1] = -0.0;
        original.set(id, &odd).unwrap();
        original.counters_mut()[0].1 = u64::from(bits);
        let bytes = to_bytes(&original, &Metadata::new()).unwrap();
        let mut copy = parameters(architecture, width, classes, !seed);
        Archive::from_bytes("memory", bytes.clone()).unwrap().import("", &mut copy).unwrap();
        prop_assert_eq!(to_bytes(&copy, &Metadata::new()).unwrap(), bytes);
    }

    /// A damaged file is an error, or is read with changed values, but never causes a panic.
    #[test]
    fn damaged_files_are_refused_or_read(place in 0usize..20_000, byte: u8) {
        let mut bytes = TORCH.to_vec();
        bytes[place] = byte;
        let mut parameters = small();
        let _ = Archive::from_bytes("damaged", bytes).and_then(|archive| archive.import("", &mut parameters));
    }
}

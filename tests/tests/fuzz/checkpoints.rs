//! Reads checkpoints of other trainers into a small model.

use std::sync::OnceLock;

use gradamp_core::Parameters;
use gradamp_cpu::Cpu;
use gradamp_models::{Architecture, Archive, Metadata, Model, ModelSettings, Skip, to_bytes};

use crate::damage::Damage;
use crate::repository;

fn small() -> Parameters<Cpu> {
    static CPU: OnceLock<Cpu> = OnceLock::new();
    let cpu = CPU.get_or_init(|| Cpu::with_threads(1).unwrap());
    let mut parameters = Parameters::new(cpu, 5);
    let settings = ModelSettings::new(Architecture::ResNet18).with_width(1).with_classes(2);
    Model::new(&settings, &mut parameters).unwrap();
    parameters
}

fn bytes_of(parameters: &Parameters<Cpu>) -> Vec<u8> {
    to_bytes(parameters, &Metadata::new()).unwrap()
}

#[test]
fn safetensors() {
    let plain = std::fs::read(repository("gradamp-models/tests/resnet18_width1.safetensors")).unwrap();
    // The header is JSON that follows its length, and tensor offsets are counted from the end of the header. Only
    // names change here.
    let length = u64::from_le_bytes(plain[..8].try_into().unwrap()) as usize;
    let header: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(&plain[8..8 + length]).unwrap();
    let renamed = header.into_iter().map(|(name, tensor)| match name.as_str() {
        "__metadata__" => (name, tensor),
        _ => (format!("module.{name}"), tensor),
    });
    let header = serde_json::to_vec(&renamed.collect::<serde_json::Map<_, _>>()).unwrap();
    let wrapped = [&(header.len() as u64).to_le_bytes()[..], &header, &plain[8 + length..]].concat();
    for (file, is_wrapped) in [(&plain, false), (&wrapped, true)] {
        let archive = Archive::from_bytes("file", file.clone()).unwrap();
        assert_eq!(archive.import_wrapped(&Skip::default(), &mut small()).unwrap().is_some(), is_wrapped);
    }
    let corpus = vec![plain, wrapped];
    let words = [
        "\"F32\"",
        "\"F64\"",
        "\"I64\"",
        "\"F16\"",
        "\"BF16\"",
        "\"I32\"",
        "module.",
        "n_averaged",
        "[]",
        "[1,",
        "0",
        "18446744073709551615",
    ];
    let fresh = bytes_of(&small());
    Damage { corpus, near: 12_000, words: &words, iterations: 8_000 }.check(|bytes| {
        let archive = match Archive::from_bytes("file", bytes.to_vec()) {
            Ok(archive) => archive,
            Err(error) => return assert!(error.to_string().starts_with("file: "), "{error}"),
        };
        let _ = archive.settings(); // must not panic
        let mut parameters = small();
        match archive.import_wrapped(&Skip::default(), &mut parameters) {
            Ok(_) => {
                let written = bytes_of(&parameters);
                let mut again = small();
                Archive::from_bytes("own", written.clone()).unwrap().import("", &mut again).unwrap();
                assert!(bytes_of(&again) == written, "a model that was written and read again must be equal");
            }
            Err(error) => {
                assert!(error.to_string().starts_with("file: "), "{error}");
                assert!(bytes_of(&parameters) == fresh, "a refused file changed the parameters");
            }
        }
    });
}

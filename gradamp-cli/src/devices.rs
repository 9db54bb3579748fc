//! `gradamp devices`: lists the graphics adapters and the CPU.

use bytesize::ByteSize;
use gradamp_core::backend::Memory as _;
use gradamp_wgpu::{Adapter, Choice, FastPaths};
use serde_json::{Value, json};

use crate::failure::Result;
use crate::{device, output};
use gradamp_study::columns::{clip, columns, header};
use gradamp_study::config::Precision;
use gradamp_study::shell;

/// The largest width of the table, in characters.
const COLUMNS: usize = 100;

/// `gradamp devices`
pub fn list(json: bool) -> Result<()> {
    let adapters = device::adapters();
    let cpu = device::cpu(0, Precision::F32)?.name();
    let auto = Choice::Best.find(adapters.clone()).ok();
    if json {
        let list: Vec<Value> = adapters.iter().map(as_json).collect();
        let auto = auto.map_or("cpu".to_owned(), |adapter| format!("gpu:{}", adapter.number));
        output::result(json!({"adapters": list, "cpu": cpu, "auto": auto}));
        return Ok(());
    }
    if adapters.is_empty() {
        output::result(format_args!(
            "No graphics adapter that can compute was found; everything runs on the CPU: {cpu}.\n\
             A GPU needs a driver for Vulkan, Metal or DX12; on Linux, Mesa or the maker's own."
        ));
        return Ok(());
    }
    output::result(as_text(&adapters));
    output::result(format_args!("cpu     {cpu}\n"));
    output::result(match auto {
        Some(adapter) => format!("--device auto uses gpu:{}.", adapter.number),
        None => "--device auto uses the CPU: it never uses a software rasteriser.".to_owned(),
    });
    output::result(format_args!(
        "`{} devices --check gpu:NUMBER` compares an adapter with the CPU.",
        shell::program()
    ));
    Ok(())
}

fn as_text(adapters: &[Adapter]) -> String {
    let mut rows = vec![header(["device", "name", "vendor", "back end", "kind", "largest tensor"])];
    let kind = |adapter: &Adapter| clip(&adapter.kind.to_string(), 15);
    rows.extend(adapters.iter().map(|adapter| {
        let Adapter { number, name, vendor, api, limits, .. } = adapter;
        let tensor = in_units(limits.tensor);
        vec![format!("gpu:{number}"), clip(name, 36), clip(vendor, 9), api.to_string(), kind(adapter), tensor]
    }));
    let table = columns(&rows, "<<<<<>");
    let mut lines: Vec<String> = table.lines().take(2).map(str::to_owned).collect();
    for (line, Adapter { driver, limits, fast_paths, .. }) in table.lines().skip(2).zip(adapters) {
        lines.push(line.to_owned());
        let detail = |name: &str, text: String| clip(&format!("        {name}: {text}"), COLUMNS);
        lines.push(detail("driver", driver.clone()));
        let (invocations, memory) = (limits.invocations, in_units(limits.workgroup_memory.into()));
        let whole = limits.memory.map_or(String::new(), |bytes| format!("{} of memory, ", in_units(bytes)));
        lines.push(detail(
            "limits",
            format!("{whole}workgroups of {invocations} invocations with {memory} of memory"),
        ));
        lines.push(detail("fast paths", in_words(fast_paths, limits.subgroup)));
    }
    lines.join("\n")
}

fn in_words(paths: &FastPaths, [least, most]: [u32; 2]) -> String {
    let FastPaths { f16, subgroups, cooperative, timestamps } = *paths;
    let size = if least == most { least.to_string() } else { format!("{least} to {most}") };
    let words = [
        f16.then(|| "16-bit floats".to_owned()),
        subgroups.then(|| format!("subgroups of {size}")),
        cooperative.map(|side| format!("matrices of {side}x{side}")),
        timestamps.then(|| "timestamps".to_owned()),
    ];
    let words: Vec<String> = words.into_iter().flatten().collect();
    if words.is_empty() { "none".into() } else { words.join(", ") }
}

/// Writes a number of bytes in the largest fitting unit, with one digit after the decimal point.
pub fn in_units(bytes: u64) -> String {
    ByteSize(bytes).display().iec().to_string()
}

fn as_json(adapter: &Adapter) -> Value {
    let Adapter { number, name, vendor, api, driver, kind, limits, fast_paths, .. } = adapter;
    json!({
        "device": format!("gpu:{number}"), "name": name, "vendor": vendor, "back_end": api.to_string(),
        "driver": driver, "kind": kind.to_string(), "software": adapter.is_software(),
        "limits": {
            "memory_bytes": limits.memory, "tensor_bytes": limits.tensor, "workgroup_memory_bytes": limits.workgroup_memory,
            "workgroup_invocations": limits.invocations, "subgroup": limits.subgroup,
        },
        "fast_paths": {
            "f16": fast_paths.f16, "subgroups": fast_paths.subgroups,
            "cooperative_matrices": fast_paths.cooperative, "timestamps": fast_paths.timestamps,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_printed_in_readable_units() {
        for (bytes, text) in [
            (128 << 20, "128.0 MiB"),
            (48 << 10, "48.0 KiB"),
            (16_384, "16.0 KiB"),
            ((1 << 31) - 4, "2.0 GiB"),
            (4_294_967_292, "4.0 GiB"),
            (1000, "1000 B"),
            (180_888, "176.6 KiB"),
        ] {
            assert_eq!(in_units(bytes), text);
        }
    }

    #[test]
    fn fast_paths_are_described_in_words() {
        let none = FastPaths::default();
        assert_eq!(in_words(&none, [32, 32]), "none");
        let all = FastPaths { f16: true, subgroups: true, cooperative: Some(16), timestamps: true };
        let expected = "16-bit floats, subgroups of 32, matrices of 16x16, timestamps";
        assert_eq!(in_words(&all, [32, 32]), expected);
        assert_eq!(in_words(&FastPaths { subgroups: true, ..none }, [8, 32]), "subgroups of 8 to 32");
    }
}

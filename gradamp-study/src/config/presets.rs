//! The presets that ship inside the program.

/// A configuration with a name.
#[derive(Clone, Copy, Debug)]
pub struct Preset {
    /// The name, as in `--preset NAME`.
    pub name: &'static str,
    /// Its file.
    pub text: &'static str,
}

/// The preset that is used if neither `--preset` nor `--config` is given.
pub const DEFAULT: &str = "tour";

/// All presets.
pub const ALL: [Preset; 5] = [
    Preset { name: "tour", text: include_str!("../../presets/tour.toml") },
    Preset { name: "vanishing", text: include_str!("../../presets/vanishing.toml") },
    Preset { name: "baseline", text: include_str!("../../presets/baseline.toml") },
    Preset { name: "middle-phase", text: include_str!("../../presets/middle-phase.toml") },
    Preset { name: "two-rate-150", text: include_str!("../../presets/two-rate-150.toml") },
];

/// The preset called `name`.
pub fn find(name: &str) -> Option<Preset> {
    ALL.into_iter().find(|preset| preset.name == name)
}

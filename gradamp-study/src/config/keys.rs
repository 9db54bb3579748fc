//! The names of all settings.

use gradamp_core::amplify::{AmplificationSettings, Strategy};
use gradamp_data::DataSettings;

use super::read::keys_of;
use super::{LoopSettings, ModelOptions, OptimizerOptions};

/// The tables of a configuration, each with the keys that it takes.
pub fn tables() -> [(&'static str, &'static [&'static str]); 6] {
    [
        ("model", keys_of::<ModelOptions>()),
        ("data", keys_of::<DataSettings>()),
        ("train", keys_of::<LoopSettings>()),
        ("optimizer", keys_of::<OptimizerOptions>()),
        ("amplification", keys_of::<AmplificationSettings>()),
        ("strategy", keys_of::<Strategy>()),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::*;

    #[test]
    fn every_table_tells_its_keys() {
        let tables = tables();
        assert_eq!(tables.map(|(name, _)| name), keys_of::<Config>());
        for (name, keys) in tables {
            assert!(!keys.is_empty(), "{name}");
        }
        assert!(tables[2].1.contains(&"max_steps"), "a key that has no default is among them");
    }
}

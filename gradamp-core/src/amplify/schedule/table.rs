//! The form of a learning rate in a configuration: a number or a table.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Curve, LearningRate, WarmUp};

/// Every field that some schedule has; which of them belong together is decided in `TryFrom`.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    schedule: Name,
    from: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    milestones: Option<Vec<f64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gamma: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    peak: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rise: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    factor: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patience: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    threshold: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    warmup_epochs: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    warmup_from: Option<f64>,
}

#[derive(Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Name {
    #[default]
    Constant,
    Linear,
    Cosine,
    MultiStep,
    OneCycle,
    Plateau,
}

impl TryFrom<Table> for LearningRate {
    type Error = String;

    fn try_from(table: Table) -> Result<Self, String> {
        let from = table.from;
        let to = table.to.unwrap_or(0.0);
        let curve = match table.schedule {
            Name::OneCycle => Curve::OneCycle {
                from,
                peak: table.peak.ok_or("a one_cycle schedule needs a `peak`")?,
                to: table.to.unwrap_or(from / 1e4),
                rise: table.rise.unwrap_or(0.3),
            },
            Name::Plateau => Curve::Plateau {
                from,
                factor: table.factor.unwrap_or(0.1),
                patience: table.patience.unwrap_or(10),
                threshold: table.threshold.unwrap_or(1e-4),
                to,
            },
            Name::Constant => Curve::Constant { from },
            Name::Linear => Curve::Linear { from, to },
            Name::Cosine => Curve::Cosine { from, to },
            Name::MultiStep => Curve::MultiStep {
                from,
                milestones: table.milestones.clone().ok_or("a multi_step schedule needs `milestones`")?,
                gamma: table.gamma.unwrap_or(0.1),
            },
        };
        let is = |names: &[Name]| names.contains(&table.schedule);
        let ends = is(&[Name::Linear, Name::Cosine, Name::OneCycle, Name::Plateau]);
        let (steps, cycles, waits) = (is(&[Name::MultiStep]), is(&[Name::OneCycle]), is(&[Name::Plateau]));
        let strays = [
            ("to", table.to.is_some() && !ends, "linear, cosine, one_cycle and plateau"),
            ("milestones", table.milestones.is_some() && !steps, "multi_step"),
            ("gamma", table.gamma.is_some() && !steps, "multi_step"),
            ("peak", table.peak.is_some() && !cycles, "one_cycle"),
            ("rise", table.rise.is_some() && !cycles, "one_cycle"),
            ("factor", table.factor.is_some() && !waits, "plateau"),
            ("patience", table.patience.is_some() && !waits, "plateau"),
            ("threshold", table.threshold.is_some() && !waits, "plateau"),
        ];
        if let Some((field, _, owners)) = strays.into_iter().find(|&(_, is_stray, _)| is_stray) {
            return Err(format!("`{field}` belongs to {owners} schedules only"));
        }
        let warmup = match (table.warmup_epochs, table.warmup_from) {
            (Some(epochs), from) => Some(WarmUp { epochs, from: from.unwrap_or(0.0) }),
            (None, Some(_)) => return Err("`warmup_from` needs `warmup_epochs`".into()),
            (None, None) => None,
        };
        Ok(LearningRate { curve, warmup })
    }
}

impl From<&LearningRate> for Table {
    fn from(schedule: &LearningRate) -> Self {
        let common = Table {
            from: schedule.curve.from(),
            warmup_epochs: schedule.warmup.map(|w| w.epochs),
            warmup_from: schedule.warmup.map(|w| w.from),
            ..Table::default()
        };
        match &schedule.curve {
            Curve::Constant { .. } => common,
            Curve::Linear { to, .. } => Table { schedule: Name::Linear, to: Some(*to), ..common },
            Curve::Cosine { to, .. } => Table { schedule: Name::Cosine, to: Some(*to), ..common },
            Curve::OneCycle { peak, to, rise, .. } => Table {
                schedule: Name::OneCycle,
                peak: Some(*peak),
                to: Some(*to),
                rise: Some(*rise),
                ..common
            },
            Curve::Plateau { factor, patience, threshold, to, .. } => Table {
                schedule: Name::Plateau,
                factor: Some(*factor),
                patience: Some(*patience),
                threshold: Some(*threshold),
                to: Some(*to),
                ..common
            },
            Curve::MultiStep { milestones, gamma, .. } => Table {
                schedule: Name::MultiStep,
                milestones: Some(milestones.clone()),
                gamma: Some(*gamma),
                ..common
            },
        }
    }
}

impl Serialize for LearningRate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            LearningRate { curve: Curve::Constant { from }, warmup: None } => serializer.serialize_f64(*from),
            _ => Table::from(self).serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for LearningRate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NumberOrTable)
    }
}

/// By hand rather than as an untagged enum, whose errors would not say which key is wrong.
struct NumberOrTable;

impl<'de> Visitor<'de> for NumberOrTable {
    type Value = LearningRate;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a learning rate, or a table such as { schedule = \"cosine\", from = 0.1, to = 0.0 }")
    }

    fn visit_f64<E>(self, lr: f64) -> Result<LearningRate, E> {
        Ok(LearningRate::constant(lr))
    }

    fn visit_i64<E>(self, lr: i64) -> Result<LearningRate, E> {
        Ok(LearningRate::constant(lr as f64))
    }

    fn visit_u64<E>(self, lr: u64) -> Result<LearningRate, E> {
        Ok(LearningRate::constant(lr as f64))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<LearningRate, A::Error> {
        Table::deserialize(MapAccessDeserializer::new(map))?.try_into().map_err(serde::de::Error::custom)
    }
}

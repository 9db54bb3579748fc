//! Describes the expected effect of amplification on the gradients.

use gradamp_core::amplify::{Gain, ParameterGain};

/// The reason why the gains of a phase are unknown.
pub const UNKNOWN: &str = "not known in advance: they depend on the decisions of the policy";

/// Describes the mean gains of an amplified phase (counted from 0) in one line.
pub fn line(phase: usize, gains: Option<&[ParameterGain]>) -> String {
    let Some(gains) = gains else { return format!("phase {}: the gains are {UNKNOWN}", phase + 1) };
    let bounds = |gain: &ParameterGain| match gain.gain {
        Gain::Factor(factor) => (factor, factor),
        Gain::DependsOnPath { min, max } => (min, max),
    };
    let least = gains.iter().map(|gain| bounds(gain).0).fold(f64::INFINITY, f64::min);
    let Some(most) = gains.iter().max_by(|a, b| bounds(a).1.total_cmp(&bounds(b).1)) else {
        return format!("phase {}: no parameter's gradient is amplified", phase + 1);
    };
    let dependent = gains.iter().filter(|gain| matches!(gain.gain, Gain::DependsOnPath { .. })).count();
    let dependence = match dependent {
        0 => String::new(),
        n => format!("; for {n} of {} parameters it depends on the path", gains.len()),
    };
    let (phase, highest) = (phase + 1, bounds(most).1);
    format!(
        "phase {phase}: gradients are multiplied by {least:.3} to {highest:.3} on average (most at {}){dependence}",
        most.path
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_names_the_extremes_and_what_depends_on_the_path() {
        let gain = |path: &str, gain| ParameterGain { path: path.into(), gain };
        let gains = [
            gain("conv1.weight", Gain::DependsOnPath { min: 1.5, max: 8.0 }),
            gain("bn1.weight", Gain::Factor(4.0)),
            gain("linear.weight", Gain::Factor(1.0)),
        ];
        assert_eq!(
            line(1, Some(&gains)),
            "phase 2: gradients are multiplied by 1.000 to 8.000 on average (most at conv1.weight); \
             for 1 of 3 parameters it depends on the path"
        );
        assert_eq!(line(0, Some(&[])), "phase 1: no parameter's gradient is amplified");
        assert!(line(0, None).starts_with("phase 1: the gains are not known in advance"));
    }
}

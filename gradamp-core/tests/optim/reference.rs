//! A slow reference in f64 for SGD and the methods that change gradients before the step. The order of the methods is an argument.

use gradamp_core::optim::{Normalise, ParameterSet, SgdSettings};
use gradamp_core::random::{Purpose, Stream};
use gradamp_core::{Reference, Role};

use crate::planted::{LR, MODEL, SEED, parameters, trained, values};

/// A method that changes a gradient before momentum uses it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Stage {
    Amplify,
    Centralise,
    Normalise,
    AdaptiveClip,
    Noise,
    ClipNorm,
    ClipValue,
    Decay,
    Lars,
}

/// The documented order.
pub const ORDER: [Stage; 9] = [
    Stage::Amplify,
    Stage::Centralise,
    Stage::Normalise,
    Stage::AdaptiveClip,
    Stage::Noise,
    Stage::ClipNorm,
    Stage::ClipValue,
    Stage::Decay,
    Stage::Lars,
];

/// A parameter w, its velocity v, and its gradient d, which the stages change.
struct Entry {
    /// The parameter's number among all, running statistics included.
    number: usize,
    path: &'static str,
    role: Role,
    units: usize,
    w: Vec<f64>,
    v: Vec<f64>,
    d: Vec<f64>,
    /// The norm of d before weight decay.
    norm: Option<f64>,
}

fn norm(x: &[f64]) -> f64 {
    x.iter().map(|x| x * x).sum::<f64>().sqrt()
}

/// The elements of one unit. Units are columns, so that these are every `units`-th element.
fn unit(x: &[f64], units: usize, unit: usize) -> Vec<f64> {
    x.iter().skip(unit).step_by(units).copied().collect()
}

fn covers(sets: &[ParameterSet], role: Role) -> bool {
    sets.iter().any(|set| match set {
        ParameterSet::Bias => role == Role::Bias,
        ParameterSet::BatchNorm => role == Role::Gamma || role == Role::Beta,
    })
}

impl Entry {
    fn decay(&self, settings: &SgdSettings) -> f64 {
        if covers(&settings.no_decay, self.role) { 0.0 } else { f64::from(settings.weight_decay) }
    }

    fn is_weight(&self) -> bool {
        matches!(self.role, Role::ConvWeight | Role::LinearWeight)
    }

    fn pass(&mut self, stage: Stage, settings: &SgdSettings, scale: f32, t: u64) {
        match stage {
            Stage::Amplify => self.d.iter_mut().for_each(|d| *d *= f64::from(scale)),
            Stage::Centralise if settings.centralise && self.is_weight() => {
                for u in 0..self.units {
                    let column = unit(&self.d, self.units, u);
                    let mean = column.iter().sum::<f64>() / column.len() as f64;
                    self.d.iter_mut().skip(u).step_by(self.units).for_each(|d| *d -= mean);
                }
            }
            Stage::AdaptiveClip => {
                let Some(clip) = &settings.adaptive_clip else { return };
                if self.path.starts_with("fc.") && !clip.last_linear {
                    return;
                }
                for u in 0..self.units {
                    let w = norm(&unit(&self.w, self.units, u)).max(f64::from(clip.epsilon));
                    let g = norm(&unit(&self.d, self.units, u));
                    if g / w > f64::from(clip.limit) {
                        let factor = f64::from(clip.limit) * w / g;
                        self.d.iter_mut().skip(u).step_by(self.units).for_each(|d| *d *= factor);
                    }
                }
            }
            Stage::Noise => {
                let Some(noise) = &settings.noise else { return };
                let variance = f64::from(noise.eta) / (1.0 + t as f64).powf(f64::from(noise.gamma));
                let stream = Stream::new(SEED, Purpose::Noise).at(t).at(self.number as u64);
                let mut normals = vec![0.0; self.d.len()];
                stream.normals(0, &mut normals);
                for (d, n) in self.d.iter_mut().zip(normals) {
                    *d += variance.sqrt() * f64::from(n);
                }
            }
            Stage::ClipValue => {
                let limit = settings.clip_value.map_or(f64::INFINITY, f64::from);
                self.d.iter_mut().for_each(|d| *d = d.clamp(-limit, limit));
            }
            Stage::Decay => {
                self.norm = Some(norm(&self.d));
                let decay = self.decay(settings);
                self.d.iter_mut().zip(&self.w).for_each(|(d, w)| *d += decay * w);
            }
            Stage::Lars => {
                let Some(lars) = &settings.lars else { return };
                let (w, g) = (norm(&self.w), self.norm.unwrap_or(norm(&self.d)));
                if covers(&lars.exclude, self.role) || w == 0.0 || g == 0.0 {
                    return;
                }
                let below = g + self.decay(settings) * w + f64::from(lars.epsilon);
                self.d.iter_mut().for_each(|d| *d *= f64::from(lars.trust) * w / below);
            }
            Stage::Centralise | Stage::Normalise | Stage::ClipNorm => {}
        }
    }
}

/// The mean of `x`, and the sum of the squared distances from it.
fn mean_and_squares(x: &[f64]) -> (f64, f64) {
    let mean = x.iter().sum::<f64>() / x.len() as f64;
    (mean, x.iter().map(|x| (x - mean).powi(2)).sum())
}

fn normalise(entries: &mut [Entry], method: Normalise) {
    if method == Normalise::Block {
        for layer in ["conv", "bn", "block.0.conv", "hidden", "fc"] {
            let is_inside = |entry: &&mut Entry| entry.path.rsplit_once('.').unwrap().0 == layer;
            let mut inside: Vec<_> = entries.iter_mut().filter(is_inside).collect();
            let all = norm(&inside.iter().map(|entry| norm(&entry.d)).collect::<Vec<_>>());
            inside.iter_mut().flat_map(|entry| &mut entry.d).for_each(|d| *d /= all);
        }
        return;
    }
    let mut weights: Vec<_> = entries.iter_mut().filter(|entry| entry.is_weight()).collect();
    let found: Vec<_> = weights.iter().map(|entry| mean_and_squares(&entry.d)).collect();
    let squares: f64 = found.iter().map(|(_, squares)| squares).sum();
    let elements: usize = weights.iter().map(|entry| entry.d.len()).sum();
    let together = (squares / elements as f64).sqrt();
    for (entry, (mean, squares)) in weights.iter_mut().zip(found) {
        let alone = (squares / entry.d.len() as f64).sqrt();
        let deviation = if method == Normalise::ZScore { alone } else { together };
        entry.d.iter_mut().for_each(|d| *d = (*d - mean) / deviation);
    }
}

/// The parameters after `steps` steps with gradients `scale` times [`values`]. `rate` gives the relative learning rate of a path.
pub fn train(
    settings: &SgdSettings,
    scale: f32,
    steps: u64,
    order: &[Stage],
    rate: impl Fn(&str) -> f64,
) -> Vec<Vec<f64>> {
    let begin = parameters(&Reference);
    let entry = |id: gradamp_core::ParameterId| {
        let (path, role, shape) = MODEL[id.index()];
        let w: Vec<f64> = begin.get(id).value.to_vec().unwrap().into_iter().map(f64::from).collect();
        let units = if shape.len() > 1 { shape[shape.len() - 1] } else { 1 };
        Entry { number: id.index(), path, role, units, v: vec![0.0; w.len()], w, d: Vec::new(), norm: None }
    };
    let mut entries: Vec<Entry> = trained(&begin).into_iter().map(entry).collect();
    for t in 0..steps {
        for (entry, values) in entries.iter_mut().zip(values(t)) {
            (entry.d, entry.norm) = (values.into_iter().map(f64::from).collect(), None);
        }
        for &stage in order {
            if let (Stage::ClipNorm, Some(limit)) = (stage, settings.clip_norm) {
                let all = norm(&entries.iter().map(|entry| norm(&entry.d)).collect::<Vec<_>>());
                let coefficient = (f64::from(limit) / (all + 1e-6)).min(1.0);
                entries.iter_mut().flat_map(|entry| &mut entry.d).for_each(|d| *d *= coefficient);
            }
            if let (Stage::Normalise, Some(method)) = (stage, settings.normalise) {
                normalise(&mut entries, method);
            }
            entries.iter_mut().for_each(|entry| entry.pass(stage, settings, scale, t));
        }
        for Entry { path, w, v, d, .. } in &mut entries {
            let (momentum, lr) = (f64::from(settings.momentum), f64::from(LR) * rate(path));
            for ((w, v), d) in w.iter_mut().zip(v).zip(d) {
                *v = momentum * *v + *d;
                *w -= lr * if settings.nesterov { *d + momentum * *v } else { *v };
            }
        }
    }
    entries.into_iter().map(|entry| entry.w).collect()
}

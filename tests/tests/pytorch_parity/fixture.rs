//! A fixture: one batch, one model, and the results of PyTorch's steps.

use std::error::Error;
use std::path::Path;

use gradamp_core::amplify::{
    AmplificationSettings, Amplifier, Amplify, History, LearningRate, Placement, Redraw, Strategy,
};
use gradamp_core::nn::ActivationFunction;
use gradamp_core::optim::{AdamWSettings, OptimizerSettings, SgdSettings};
use gradamp_core::{Backend, Hooks, Parameters, Tensor, Trace, nn};
use gradamp_models::{Archive, Model, ModelSettings, Norm};
use ndarray::{ArrayD, IxDyn};
use serde::Deserialize;

/// The case that a fixture's metadata describes. An unknown field is an error, because the test would ignore its
/// setting.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    pub name: String,
    pub model: String,
    pub width: usize,
    pub depth: Option<usize>,
    pub norm: Option<Norm>,
    pub skip: Option<bool>,
    pub activation: Option<ActivationFunction>,
    pub classes: usize,
    pub batch: usize,
    pub sites: Vec<String>,
    pub placement: Placement,
    pub factor: f32,
    pub steps: usize,
    pub lr: f32,
    pub weight_decay: f32,
    #[serde(default)]
    pub optimizer: OptimizerName,
    /// SGD's
    pub momentum: Option<f32>,
    /// SGD's
    pub nesterov: Option<bool>,
    /// AdamW's
    pub betas: Option<[f64; 2]>,
    /// AdamW's
    pub epsilon: Option<f32>,
    /// The seed of the weights and the batch. The fixture stores both, so the test does not use the seed.
    #[serde(rename = "seed")]
    pub _seed: u64,
}

/// The optimiser of a case.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OptimizerName {
    #[default]
    Sgd,
    AdamW,
}

impl Case {
    /// The settings of the optimiser.
    pub fn optimizer(&self) -> Result<OptimizerSettings, Box<dyn Error>> {
        let missing = |key: &str| format!("`case` in its metadata: {key}: is missing");
        Ok(match self.optimizer {
            OptimizerName::Sgd => SgdSettings::default()
                .with_momentum(self.momentum.ok_or_else(|| missing("momentum"))?)
                .with_nesterov(self.nesterov.ok_or_else(|| missing("nesterov"))?)
                .with_weight_decay(self.weight_decay)
                .into(),
            OptimizerName::AdamW => AdamWSettings::default()
                .with_betas(self.betas.ok_or_else(|| missing("betas"))?)
                .with_epsilon(self.epsilon.ok_or_else(|| missing("epsilon"))?)
                .with_weight_decay(self.weight_decay)
                .into(),
        })
    }
}

pub struct Fixture<B: Backend> {
    pub archive: Archive,
    pub case: Case,
    pub settings: ModelSettings,
    pub backend: B,
    /// The images, `[n, h, w, c]`.
    pub images: Tensor<B>,
    pub labels: Tensor<B>,
}

impl<B: Backend> Fixture<B> {
    /// Reads the fixture in `file`, to be replayed on `backend`.
    pub fn open(file: &Path, backend: &B) -> Result<Self, Box<dyn Error>> {
        let archive = Archive::open(file)?;
        let metadata = archive.metadata();
        let case = metadata.get("case").ok_or("its metadata holds no `case`")?;
        let case: Case = serde_json::from_str(case).map_err(|e| format!("`case` in its metadata: {e}"))?;
        let architecture = case.model.parse()?;
        let standard = ModelSettings::new(architecture);
        let settings = standard
            .with_width(case.width)
            .with_classes(case.classes)
            .with_depth(case.depth.unwrap_or(standard.depth))
            .with_norm(case.norm.unwrap_or(standard.norm))
            .with_skip(case.skip.unwrap_or(standard.skip))
            .with_activation(case.activation.unwrap_or(standard.activation));

        let shape = archive.shape("x").ok_or("tensor x: is missing")?;
        if shape.len() != 4 || shape[0] != case.batch {
            return Err(format!("tensor x: expected [{}, 3, h, w], found {shape:?}", case.batch).into());
        }
        let x = ArrayD::from_shape_vec(IxDyn(shape), archive.floats("x")?)?; // [n, c, h, w]
        let images = Tensor::from_array(backend, &x.permuted_axes(IxDyn(&[0, 2, 3, 1])))?;
        let labels: Vec<f32> = archive.integers("y")?.into_iter().map(|y| y as f32).collect();
        let labels = Tensor::from_slice(backend, &[case.batch], &labels)?;
        Ok(Self { archive, case, settings, backend: backend.clone(), images, labels })
    }

    /// The model, with the values of the state_dict whose names begin with `prefix`.
    pub fn model(&self, prefix: &str) -> Result<(Model, Parameters<B>), Box<dyn Error>> {
        let mut parameters = Parameters::new(&self.backend, 0);
        let model = Model::new(&self.settings, &mut parameters)?;
        self.archive.import(prefix, &mut parameters)?;
        Ok((model, parameters))
    }

    /// Hooks that amplify the case's sites in every step.
    pub fn hooks(&self, model: &Model, parameters: &mut Parameters<B>) -> Result<Hooks<B>, Box<dyn Error>> {
        let hooks = Hooks::new();
        let &[_, h, w, c] = &**self.images.shape() else { return Ok(hooks) };
        let trace = nn::trace(model, parameters, [h, w, c])?;
        let Case { sites, placement, factor, .. } = &self.case;
        if sites.is_empty() || self.is_without_effect(&trace) {
            return Ok(hooks);
        }
        let settings = AmplificationSettings::default()
            .with_sites(sites.clone())
            .with_placement(*placement)
            .with_factor(*factor)
            .with_redraw(Redraw::Once);
        let strategy = Strategy::single(1, LearningRate::constant(f64::from(self.case.lr)), Amplify::on());
        let mut amplifier = Amplifier::new(&strategy, &settings, &trace, 0)?;
        amplifier.begin_step(0, 0, &History::default())?;
        hooks.add(amplifier).forget();
        Ok(hooks)
    }

    /// Whether the case amplifies the parameters of layers that have none. PyTorch's reference accepts such a case;
    /// the amplifier returns an error.
    fn is_without_effect(&self, trace: &Trace) -> bool {
        let known = |path: &String| trace.sites.iter().any(|site| *site.path == **path);
        let has_parameters = |path: &String| {
            let within = format!("{path}.");
            trace.parameters.iter().any(|parameter| parameter.starts_with(&within))
        };
        let Case { sites, placement, .. } = &self.case;
        *placement == Placement::Params && sites.iter().all(known) && !sites.iter().any(has_parameters)
    }
}

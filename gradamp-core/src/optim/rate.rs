/// How far an optimiser goes in one step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate<'a> {
    /// The learning rate.
    pub lr: f32,
    /// What it is multiplied by for each parameter, by number; `None` for 1 throughout.
    pub multipliers: Option<&'a [f32]>,
}

impl Rate<'_> {
    /// The learning rate of the parameter of this number.
    pub fn of(&self, parameter: usize) -> f32 {
        let multiplier = self.multipliers.and_then(|multipliers| multipliers.get(parameter));
        multiplier.map_or(self.lr, |multiplier| self.lr * multiplier)
    }
}

impl From<f32> for Rate<'_> {
    fn from(lr: f32) -> Self {
        Self { lr, multipliers: None }
    }
}

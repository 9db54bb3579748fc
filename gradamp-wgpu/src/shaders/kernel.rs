//! Kernels. A kernel is one entry point of one variant of a shader.

use gradamp_core::Result;

use crate::shaders::Shader;
use crate::shaders::template::{self, Parameters};

/// A kernel: a shader, one of its entry points, and the values of the template's parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Kernel<'a> {
    pub(crate) shader: Shader,
    pub(crate) entry: &'static str,
    pub(crate) parameters: &'a [(&'static str, i64)],
}

impl Kernel<'_> {
    /// The kernel's WGSL.
    pub(crate) fn source(&self) -> Result<String> {
        let parameters: Parameters = self.parameters.iter().copied().collect();
        template::expand(self.shader.name(), self.shader.text(), &parameters)
    }
}

/// A [`Kernel`] that owns its parameters.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Variant {
    pub(crate) shader: Shader,
    pub(crate) entry: &'static str,
    pub(crate) parameters: Vec<(&'static str, i64)>,
}

impl Variant {
    pub(crate) fn kernel(&self) -> Kernel<'_> {
        Kernel { shader: self.shader, entry: self.entry, parameters: &self.parameters }
    }
}

impl From<Kernel<'_>> for Variant {
    fn from(kernel: Kernel<'_>) -> Self {
        Self { shader: kernel.shader, entry: kernel.entry, parameters: kernel.parameters.to_vec() }
    }
}

/// The parameters of all variants of a shader whose options are 0 or 1; see [`combinations`].
pub(crate) type Combinations<const N: usize, const M: usize> = [[(&'static str, i64); N]; M];

/// All combinations of the options called `names`. In combination i, option k has the value of bit k of i.
pub(crate) const fn combinations<const N: usize, const M: usize>(
    names: [&'static str; N],
) -> Combinations<N, M> {
    let mut all = [[("", 0); N]; M];
    let mut i = 0;
    while i < M {
        let mut bit = 0;
        while bit < N {
            all[i][bit] = (names[bit], (i >> bit & 1) as i64);
            bit += 1;
        }
        i += 1;
    }
    all
}

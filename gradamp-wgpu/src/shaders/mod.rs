//! The shaders: WGSL templates, one file for each family of kernels.

pub(crate) mod kernel;
pub(crate) mod template;

macro_rules! shaders {
    ($($variant:ident $name:literal $(+ $shared:literal)*,)*) => {
        /// A shader: a family of kernels.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub(crate) enum Shader {
            $($variant,)*
        }

        impl Shader {
            pub(crate) const ALL: &'static [Shader] = &[$(Shader::$variant,)*];

            pub(crate) fn name(self) -> &'static str {
                match self {
                    $(Shader::$variant => $name,)*
                }
            }

            /// The template, followed by the files that it shares with other shaders; see
            /// [`template`](crate::shaders::template).
            pub(crate) fn text(self) -> &'static str {
                match self {
                    $(Shader::$variant => concat!(
                        include_str!(concat!($name, ".wgsl")),
                        $(include_str!(concat!($shared, ".wgsl")),)*
                    ),)*
                }
            }
        }
    };
}

shaders! {
    AdamW "adamw",
    AdamWCorrections "adamw_corrections",
    Augment "augment" + "split" + "random",
    BatchNorm "batch_norm",
    Conv2d "conv2d" + "split",
    Conv2dTiledForward "conv2d_tiled_forward" + "conv2d_tiled" + "split",
    Conv2dTiledInput "conv2d_tiled_backward_input" + "conv2d_tiled" + "split",
    Conv2dTiledWeight "conv2d_tiled_backward_weight" + "conv2d_tiled" + "split",
    Dropout "dropout" + "random",
    Elementwise "elementwise",
    Gemm "gemm",
    Im2col "im2col" + "split",
    Im2colGemm "im2col_gemm",
    Loss "loss",
    Mix "mix",
    Pool "pool" + "split",
    Rows "rows",
    Sgd "sgd",
    Statistics "statistics",
    SumParts "sum_parts",
    Winograd "winograd" + "split",
}

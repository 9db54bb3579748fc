//! The shaders' texts: one file a family.

macro_rules! shaders {
    ($($variant:ident $name:literal,)*) => {
        /// A family of kernels.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub(crate) enum Shader {
            $($variant,)*
        }

        impl Shader {
            #[cfg(test)]
            pub(crate) const ALL: &'static [Shader] = &[$(Shader::$variant,)*];

            pub(crate) fn name(self) -> &'static str {
                match self {
                    $(Shader::$variant => $name,)*
                }
            }

            /// The template; see [`template`](crate::template).
            pub(crate) fn text(self) -> &'static str {
                match self {
                    $(Shader::$variant => include_str!(concat!("shaders/", $name, ".wgsl")),)*
                }
            }
        }
    };
}

shaders! {
    Conv2d "conv2d",
    Conv2dTiled "conv2d_tiled",
    Elementwise "elementwise",
    Gemm "gemm",
    SumParts "sum_parts",
}

//! Globs on the dotted paths of sites and parameters.

use globset::{GlobBuilder, GlobMatcher};

use crate::error;

/// A glob on dotted paths: `*` and `?` stay within a part, `**` spans any number of parts, `[ab]` and `{a,b}` are
/// alternatives.
#[derive(Clone, Debug)]
pub(crate) struct Glob(GlobMatcher);

impl Glob {
    /// **Errors:** a text that is not a glob; the message says why.
    pub(crate) fn new(glob: &str) -> Result<Self, String> {
        // The matcher separates parts by slashes, so the dots become slashes in the glob and in paths.
        GlobBuilder::new(&glob.replace('.', "/"))
            .literal_separator(true)
            .backslash_escape(true)
            .build()
            .map(|glob| Self(glob.compile_matcher()))
            .map_err(|error| format!("\"{glob}\" is no glob: {}", error.kind()))
    }

    /// Whether the glob matches the whole of `path`.
    pub(crate) fn matches(&self, path: &str) -> bool {
        self.0.is_match(path.replace('.', "/"))
    }
}

/// A hint at the most similar path, if one is similar.
pub(crate) fn nearest<'a>(path: &str, paths: impl Iterator<Item = &'a str>) -> String {
    error::nearest(path, paths).map_or_else(String::new, |nearest| format!("; the nearest is \"{nearest}\""))
}

//! Policies of other crates, which settings name.

use std::sync::Arc;

use super::policy::AmplificationPolicy;
use super::policy_name::EXTERNAL;
use super::settings::AmplificationSettings;
use crate::{Error, Result};

type Builder = Box<dyn Fn(&AmplificationSettings) -> Result<Arc<dyn AmplificationPolicy>> + Send + Sync>;

/// Lets settings name a policy of another crate, as in `policy = "faded"`.
///
/// `build` is called for each phase that the policy decides in. It reads [`AmplificationSettings::options`] and any other
/// settings. [`AmplificationSettings::check_options`] returns an error for an option that the policy does not have.
///
/// **Errors:** a name that is taken, or that has other characters than lower-case letters, digits, `_` and `-`.
pub fn register_policy(
    name: &str,
    build: impl Fn(&AmplificationSettings) -> Result<Arc<dyn AmplificationPolicy>> + Send + Sync + 'static,
) -> Result<()> {
    let build: Builder = Box::new(build);
    EXTERNAL.add(name, Box::new(build))
}

/// The names of the policies that other crates have registered.
pub fn registered_policies() -> Vec<&'static str> {
    EXTERNAL.added()
}

/// The registered policy called `name`.
///
/// **Errors:** a name that nobody has registered; settings that do not fit the policy.
pub(super) fn build(name: &str, settings: &AmplificationSettings) -> Result<Arc<dyn AmplificationPolicy>> {
    match EXTERNAL.find(name).and_then(|(_, build)| build.downcast_ref::<Builder>()) {
        Some(build) => build(settings),
        None => Err(Error::setting("policy", format!("no policy {name:?} is registered"))),
    }
}

//! The vault, as configured.

use std::sync::Arc;

use configuration::{Config, StateBacking};
use shared::ports::PortError;
use shared::ports::state::State;
use vault::{Key, KeySource, Secrets};

/// The key of a single machine, beside its state.
const KEY_FILE: &str = "vault.key";

pub(crate) fn build(config: &Config, state: Arc<dyn State>) -> Result<Secrets, PortError> {
    let wrong = |error: vault::KeyError| PortError::Misconfigured(error.to_string());
    let source = match (&config.vault.key, &config.state) {
        (Some(key), _) => KeySource::Given(Key::parse(key, "vault.key").map_err(wrong)?),
        (None, StateBacking::Embedded) => KeySource::File(config.embedded.dir.join(KEY_FILE)),
        (None, StateBacking::Redis(_)) => KeySource::Missing,
    };
    let former =
        config.vault.old_keys.iter().map(|(name, key)| Key::parse(key, &format!("vault.old_keys.{name}")));
    Ok(Secrets::new(state, source, former.collect::<Result<_, _>>().map_err(wrong)?))
}

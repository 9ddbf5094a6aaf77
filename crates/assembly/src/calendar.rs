//! The flow `calendar` with its connectors, as configured.

use std::sync::Arc;

use configuration::Config;
use shared::flow::Flow;
use shared::ports::PortError;

/// The flow, where it is enabled.
pub(crate) fn build(config: &Config) -> Result<Option<Arc<dyn Flow>>, PortError> {
    match &config.flow.calendar {
        None => Ok(None),
        Some(_) => Err(PortError::Misconfigured(
            "flow.calendar is enabled, and this version does not have that flow yet: set flow.calendar.enabled = false"
                .to_owned(),
        )),
    }
}

//! The flow `parties`.
use configuration::Config;
use shared::{
    clock::Clock,
    flow::Flow,
    meter::Meter,
    ports::{PortError, state::State},
};
use std::sync::Arc;
pub(crate) fn build(
    _c: &Config,
    _s: Arc<dyn State>,
    _m: Arc<dyn Meter>,
    _k: Arc<dyn Clock>,
) -> Result<Option<Arc<dyn Flow>>, PortError> {
    Ok(None)
}

//! Where a flow's sweeps stand: written by the leading producer, read by the status.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use shared::record_key::FlowName;

/// Where a flow's sweeps stand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SweepState {
    /// The last tick that was fired.
    pub tick: Timestamp,
    /// The sweep fired by it.
    pub sweep_id: String,
    /// Whether that sweep is still going on.
    pub unfinished: bool,
    /// Where it goes on; `None` at its beginning.
    pub from: Option<Value>,
    /// When a sweep last ended well.
    pub last_success: Option<Timestamp>,
}

/// The name of the cursor that holds a flow's [`SweepState`].
pub fn cursor_name(flow: &FlowName) -> String {
    format!("sweep/{flow}")
}

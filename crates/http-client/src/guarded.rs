//! Whether who sends may still write. A run asks its guard before it begins to write; the request may then wait for its turn
//! for longer than the lease of its shard lasts, so it is asked once more right before a write goes out.

use std::sync::Arc;

use shared::flow::Guard;

tokio::task_local! {
    static GUARD: Arc<dyn Guard>;
}

/// Does `work`; whatever it writes upstream is sent only while `guard` permits. What it spawns as a task of its own is not
/// guarded.
pub fn guarded<T>(guard: Arc<dyn Guard>, work: impl Future<Output = T>) -> impl Future<Output = T> {
    GUARD.scope(guard, work)
}

/// The guard of what is being done here; none outside [`guarded`].
pub fn guard() -> Option<Arc<dyn Guard>> {
    GUARD.try_with(Arc::clone).ok()
}

//! The embedded adapter under the suites.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use adapter_embedded::{Embedded, EmbeddedOptions, Role};
use shared::clock::SystemClock;
use shared::ports::queue::Queue;
use shared::ports::state::State;
use system_tests::supervise::Folder;

use crate::backing::{QueueBacking, QueueFlags, StateBacking};

/// One directory; after each crash another one.
///
/// A crash is a copy of the files as they are on disk at that instant, opened anew: what a killed process
/// leaves. `crash.rs` kills real ones.
pub struct EmbeddedBacking {
    folder: Folder,
    lives: Mutex<u32>,
}

impl EmbeddedBacking {
    fn create() -> Self {
        Self { folder: Folder::new("embedded").unwrap(), lives: Mutex::new(0) }
    }

    fn dir(&self) -> PathBuf {
        self.folder.join(self.lives.lock().unwrap().to_string())
    }

    fn open_dir(&self) -> Embedded {
        Embedded::open(EmbeddedOptions::new(self.dir(), Role::Serving, Arc::new(SystemClock))).unwrap()
    }

    fn crash_dir(&self) -> Embedded {
        let before = self.dir();
        *self.lives.lock().unwrap() += 1;
        copy_files(&before, &self.dir());
        self.open_dir()
    }
}

fn copy_files(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    // The index of the log (`-shm`) is shared memory: it does not outlive a machine, and is made anew.
    for name in ["syncfleet.db", "syncfleet.db-wal"] {
        std::fs::copy(from.join(name), to.join(name)).unwrap();
    }
}

impl QueueBacking for EmbeddedBacking {
    const FLAGS: QueueFlags = QueueFlags { age_known_without_consumer: true, delay_is_exact: true };

    async fn new() -> Self {
        Self::create()
    }

    async fn open(&self) -> Arc<dyn Queue> {
        self.open_dir().queue
    }

    async fn crash(&self, queue: Arc<dyn Queue>) -> Arc<dyn Queue> {
        let reopened = self.crash_dir().queue;
        drop(queue);
        reopened
    }
}

impl StateBacking for EmbeddedBacking {
    async fn new() -> Self {
        Self::create()
    }

    async fn open(&self) -> Arc<dyn State> {
        self.open_dir().state
    }

    async fn crash(&self, state: Arc<dyn State>) -> Arc<dyn State> {
        let reopened = self.crash_dir().state;
        drop(state);
        reopened
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_letters_are_listed() {
    let folder = Folder::new("letters").unwrap();
    crate::letters::many_letters(async || {
        let clock = Arc::new(SystemClock);
        let visit = EmbeddedOptions::new(folder.join("data"), Role::Visiting, clock);
        let visiting = Embedded::open(visit).unwrap();
        (visiting.queue as Arc<dyn Queue>, visiting.state as Arc<dyn State>)
    })
    .await;
}

mod queue {
    crate::queue_suite!(super::EmbeddedBacking);
}

mod engine {
    crate::engine_suite!(super::EmbeddedBacking, super::EmbeddedBacking);
}

mod state {
    crate::state_suite!(super::EmbeddedBacking);
}

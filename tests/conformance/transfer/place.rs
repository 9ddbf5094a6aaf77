//! Queue and store that no other test uses.

use std::sync::Arc;
use std::time::Duration;

use adapter_embedded::{Embedded, EmbeddedOptions, Role};
use adapter_rabbitmq::RabbitmqQueue;
use adapter_redis::RedisState;
use jiff::Timestamp;
use shared::clock::{Clock as _, SystemClock};
use shared::ports::queue::FlowTopology;
use shared::ports::transfer::{TransferQueue, TransferState};
use shared::record_key::FlowName;
use system_tests::supervise::Folder;
use system_tests::{shared_rabbitmq, shared_redis, unique_name, wait};

/// Tests that take a place, on every backing.
#[macro_export]
macro_rules! on_both {
    ($($test:ident)*) => {
        mod embedded {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test($crate::transfer::place::Place::embedded().await).await;
            })*
        }
        mod servers {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test($crate::transfer::place::Place::servers().await).await;
            })*
        }
    };
}

/// Far more than anything here takes.
pub const SOON: Duration = Duration::from_secs(60);

/// The place.
pub struct Place {
    pub queue: Arc<dyn TransferQueue>,
    pub state: Arc<dyn TransferState>,
    _folder: Option<Folder>,
}

impl Place {
    /// A directory.
    pub async fn embedded() -> Self {
        let folder = Folder::new("transfer").unwrap();
        let options = EmbeddedOptions::new(folder.path(), Role::Serving, Arc::new(SystemClock));
        let embedded = Embedded::open(options).unwrap();
        let place = Self { queue: embedded.queue, state: embedded.state, _folder: Some(folder) };
        place.prepared().await
    }

    /// A namespace in RabbitMQ and Redis.
    pub async fn servers() -> Self {
        let namespace = unique_name("transfer");
        let options = adapter_rabbitmq::Options { namespace: namespace.clone(), ..Default::default() };
        let url = shared_rabbitmq().await.unwrap().url();
        let queue = RabbitmqQueue::new(&url, options, Arc::new(SystemClock)).unwrap();
        let options = adapter_redis::Options { prefix: namespace, ..Default::default() };
        let state = RedisState::new(&shared_redis().await.unwrap().url(), options).unwrap();
        Self { queue: Arc::new(queue), state: Arc::new(state), _folder: None }.prepared().await
    }

    async fn prepared(self) -> Self {
        self.queue.prepare(&[topology()]).await.unwrap();
        self
    }

    /// Waits until a document has ended.
    pub async fn until_gone(&self, key: &str) {
        wait::until("the end of a document", SOON, async || match self.state.get(key).await.unwrap() {
            None => Ok(()),
            found => Err(found),
        })
        .await;
    }
}

/// Waits until so many messages are in the queue.
pub async fn depth(place: &Place, expected: u64) {
    wait::until(&format!("{expected} messages"), SOON, async || {
        let depth = place.queue.depth(&topology()).await.unwrap();
        if depth.ready + depth.delayed == expected { Ok(()) } else { Err(depth) }
    })
    .await;
}

/// Waits until no lease is held.
pub async fn no_leases(place: &Place) {
    wait::until("the end of leases", SOON, async || {
        let held = place.state.held_leases().await.unwrap();
        if held.is_empty() { Ok(()) } else { Err(held) }
    })
    .await;
}

pub fn flow() -> FlowName {
    FlowName::new("parties").unwrap()
}

pub fn topology() -> FlowTopology {
    FlowTopology { flow: flow(), shards: 2 }
}

pub fn now() -> Timestamp {
    SystemClock.now()
}

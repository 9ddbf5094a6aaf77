//! The harness of the system tests: private RabbitMQ and Redis processes, programs under test, whole
//! installations of them, waiting.
//!
//! Every process it starts listens on 127.0.0.1 only, keeps its files in a folder of its own and ends
//! with the test binary, however that ends (return, panic, `kill -9`): see [`supervise`].
//! A missing server package fails the test and says what to install; nothing is skipped.

pub mod callbacks;
mod error;
pub mod fleet;
pub mod grants;
pub mod http;
pub mod judge;
pub mod letters;
pub mod ports;
pub mod process;
pub mod proxy;
pub mod python;
pub mod rabbitmq;
pub mod redis;
pub mod scim_server;
pub mod supervise;
pub mod wait;

pub use error::{HarnessError, Result};
pub use fleet::{Backing, Fleet, Kind, Member, Plan};
pub use process::{Program, RunningProgram};
pub use proxy::Proxy;
pub use rabbitmq::{Rabbitmq, shared_rabbitmq};
pub use redis::{Redis, shared_redis};
pub use scim_server::ScimServer;

/// A name no other test uses, such as a queue prefix: `label-process-counter`.
///
/// Tests that share a server keep apart by it.
pub fn unique_name(label: &str) -> String {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(1);
    format!("{label}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

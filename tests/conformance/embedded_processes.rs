//! Two processes on one embedded directory.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use adapter_embedded::{Embedded, EmbeddedOptions, Role};
use shared::clock::SystemClock;
use shared::ports::PortError;
use shared::ports::queue::{FlowTopology, Outbound, Queue as _};
use shared::ports::state::{State as _, Write};
use shared::record_key::FlowName;
use shared::routing::Shard;
use system_tests::supervise::Folder;
use uuid::Uuid;

use crate::embedded_kills::Child;

const SOON: Duration = Duration::from_secs(60);

fn open(dir: &Path, role: Role) -> Result<Embedded, PortError> {
    Embedded::open(EmbeddedOptions::new(dir, role, Arc::new(SystemClock)))
}

fn shard() -> Shard {
    Shard { flow: FlowName::new("parties").unwrap(), number: 0 }
}

fn message(text: &'static str) -> Outbound {
    Outbound { shard: shard(), id: Uuid::now_v7(), body: text.into(), not_before: None }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_visitor_publishes_to_the_process_that_serves_and_nobody_else_serves() {
    let folder = Folder::new("visitor").unwrap();
    let dir = folder.join("data");
    let child = Child::start("serve", &dir);
    child.wait_for_line("ready").await;

    let refused = open(&dir, Role::Serving).unwrap_err();
    let holder = format!("process {} (embedded-child)", child.pid());
    assert!(matches!(&refused, PortError::Misconfigured(text) if text.contains(&holder)), "{refused}");

    let visitor = open(&dir, Role::Visiting).unwrap();
    visitor.queue.publish(&[message("one")]).await.unwrap();
    child.wait_for_line("got one").await;
    visitor.state.write(Write::put("link/parties/1", b"x")).await.unwrap();
    visitor.queue.publish(&[message("two")]).await.unwrap();
    child.wait_for_line("got two").await;
    let topology = FlowTopology { flow: shard().flow, shards: 2 };
    assert_eq!(visitor.queue.depth(&topology).await.unwrap().ready, 2, "held by the other, and counted");

    let lines = child.kill_9();
    assert_eq!(lines, ["ready", "got one", "got two"]);
    let next = open(&dir, Role::Serving).expect("the dead process serves no longer");
    let mut consumer = next.queue.consume(&shard(), 10).await.unwrap();
    for expected in ["one", "two"] {
        let delivery = tokio::time::timeout(SOON, consumer.next()).await.expect("a delivery").unwrap();
        assert_eq!((&delivery.body[..], delivery.redeliveries), (expected.as_bytes(), 1));
        delivery.receipt.ack().await.unwrap();
    }
    assert!(next.state.get("link/parties/1").await.unwrap().is_some());
}

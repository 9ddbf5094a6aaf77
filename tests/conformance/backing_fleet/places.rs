//! RabbitMQ and Redis under the suites.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use adapter_rabbitmq::RabbitmqQueue;
use adapter_redis::RedisState;
use shared::clock::SystemClock;
use shared::ports::queue::Queue;
use shared::ports::state::State;
use system_tests::{Rabbitmq, Redis, unique_name, wait};
use tokio::sync::Mutex as AsyncMutex;

use super::{SOON, two_shards};
use crate::backing::{QueueBacking, QueueFlags, StateBacking};

/// Nodes that no test uses now. A start takes seconds, so a node is handed on; while a test has it, it may kill
/// it.
static IDLE: Mutex<Vec<Rabbitmq>> = Mutex::new(Vec::new());

fn idle() -> MutexGuard<'static, Vec<Rabbitmq>> {
    IDLE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A namespace on a node that is this test's alone.
pub struct RabbitmqPlace {
    node: AsyncMutex<Option<Rabbitmq>>,
    options: adapter_rabbitmq::Options,
}

impl RabbitmqPlace {
    async fn queue(&self) -> Arc<dyn Queue> {
        let url = self.node.lock().await.as_ref().unwrap().url();
        Arc::new(RabbitmqQueue::new(&url, self.options.clone(), Arc::new(SystemClock)).unwrap())
    }

    /// AMQP has no answer to an acknowledgement: what counts is that the broker has taken it. Its shards then
    /// hold as many messages as we believe.
    async fn wait_until_settled(&self, node: &Rabbitmq, queue: &dyn Queue) {
        let count = format!(
            "lists:sum([begin {{ok, {{_, N}}, _}} = ra:local_query(amqqueue:get_pid(Q), \
             fun rabbit_fifo:query_messages_total/1), N end || Q <- rabbit_amqqueue:list(), \
             nomatch =/= binary:match(element(4, amqqueue:get_name(Q)), <<\"{}.parties.0\">>)]).",
            self.options.namespace
        );
        wait::until("acknowledgements taken", SOON, async || {
            let total = node.control(&["eval", &count]).await.unwrap();
            let depth = queue.depth(&two_shards()).await.unwrap();
            if total.trim() == depth.ready.to_string() { Ok(()) } else { Err((total, depth)) }
        })
        .await;
    }
}

impl QueueBacking for RabbitmqPlace {
    const FLAGS: QueueFlags = QueueFlags { age_known_without_consumer: false, delay_is_exact: false };

    async fn new() -> Self {
        let taken = idle().pop();
        let node = match taken {
            Some(node) => node,
            None => Rabbitmq::start().await.unwrap(),
        };
        let options = adapter_rabbitmq::Options {
            namespace: unique_name("suite"),
            delay_tiers_seconds: vec![1, 2, 3_600],
            ..adapter_rabbitmq::Options::default()
        };
        Self { node: AsyncMutex::new(Some(node)), options }
    }

    async fn open(&self) -> Arc<dyn Queue> {
        self.queue().await
    }

    async fn crash(&self, queue: Arc<dyn Queue>) -> Arc<dyn Queue> {
        let mut node = self.node.lock().await;
        let running = node.as_mut().unwrap();
        // RabbitMQ 3.10 registers its stream coordinator in a table that is saved seconds later: killed before,
        // it forgets its first stream. That happens once in a node's life, and to these young ones always.
        // What was declared last it forgets at times as well (in six of forty nodes that were killed at once).
        let save = "[dets:sync(T) || T <- dets:all()], dumped = mnesia:dump_log().";
        running.control(&["eval", save]).await.unwrap();
        self.wait_until_settled(running, queue.as_ref()).await;
        running.kill_9();
        running.restart().await.unwrap();
        drop((node, queue));
        self.queue().await
    }
}

impl Drop for RabbitmqPlace {
    fn drop(&mut self) {
        // A test that failed may leave its node in any condition: it ends here.
        if !std::thread::panicking() {
            idle().extend(self.node.get_mut().take());
        }
    }
}

/// A server of this test's own.
pub struct RedisPlace {
    server: AsyncMutex<Redis>,
    prefix: String,
}

impl RedisPlace {
    async fn state(&self) -> Arc<dyn State> {
        let options =
            adapter_redis::Options { prefix: self.prefix.clone(), ..adapter_redis::Options::default() };
        Arc::new(RedisState::new(&self.server.lock().await.url(), options).unwrap())
    }
}

impl StateBacking for RedisPlace {
    async fn new() -> Self {
        Self { server: AsyncMutex::new(Redis::start().await.unwrap()), prefix: unique_name("suite") }
    }

    async fn open(&self) -> Arc<dyn State> {
        self.state().await
    }

    async fn crash(&self, state: Arc<dyn State>) -> Arc<dyn State> {
        let mut server = self.server.lock().await;
        server.kill_9();
        server.restart().await.unwrap();
        drop((server, state));
        self.state().await
    }
}

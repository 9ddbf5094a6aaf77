//! One connection to the broker, made when it is needed and made anew when it is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use lapin::options::ConfirmSelectOptions;
use lapin::uri::AMQPUri;
use lapin::{Channel, Connection, ConnectionProperties};
use shared::ports::PortError;
use shared::retry::{self, RetryPolicy};
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::error::{port_error, timed_out};
use crate::options::{Options, address};

/// What to connect to, and how long to wait.
#[derive(Debug)]
pub(crate) struct Connector {
    /// The nodes; at least one.
    uris: Vec<AMQPUri>,
    /// Which of them was tried last.
    tried: AtomicUsize,
    /// Where the broker is, without credentials.
    pub(crate) address: String,
    role: &'static str,
    connect_timeout: Duration,
    /// Longest wait for an answer.
    pub(crate) answer_timeout: Duration,
    slot: Mutex<Slot>,
}

#[derive(Debug, Default)]
struct Slot {
    connection: Option<Arc<Connection>>,
    failures: u32,
    failed: Option<(Instant, PortError)>,
}

impl Connector {
    /// Nothing is connected yet. `role` is what the broker's list of connections shows.
    pub(crate) fn new(uris: Vec<AMQPUri>, role: &'static str, options: &Options) -> Self {
        Self {
            address: address(&uris),
            uris,
            tried: AtomicUsize::default(),
            role,
            connect_timeout: options.connect_timeout,
            answer_timeout: options.confirm_timeout,
            slot: Mutex::default(),
        }
    }

    /// The connection; connects where there is none. Callers that waited while a try failed share its error, and
    /// tries keep a pause that grows to a second.
    pub(crate) async fn get(&self) -> Result<Arc<Connection>, PortError> {
        let asked_at = Instant::now();
        let mut slot = self.slot.lock().await;
        if let Some(connection) = slot.connection.as_ref().filter(|c| c.status().connected()) {
            return Ok(Arc::clone(connection));
        }
        slot.connection = None;
        if let Some((failed_at, error)) = &slot.failed {
            if *failed_at >= asked_at {
                return Err(error.clone());
            }
            let pause = reconnect_pause(slot.failures).saturating_sub(failed_at.elapsed());
            tokio::time::sleep(pause).await;
        }
        match self.connect().await {
            Ok(connection) => {
                *slot = Slot { connection: Some(Arc::clone(&connection)), ..Slot::default() };
                let node = address(std::slice::from_ref(self.uri()));
                tracing::info!(broker = %node, role = self.role, "connected to RabbitMQ");
                Ok(connection)
            }
            Err(error) => {
                slot.failures = slot.failures.saturating_add(1);
                slot.failed = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    /// Tries the nodes in turn, beginning with the one that was tried last; answers the first one's failure.
    async fn connect(&self) -> Result<Arc<Connection>, PortError> {
        let mut outcome = self.connect_to(self.uri()).await;
        for _ in 1..self.uris.len() {
            if outcome.is_ok() {
                break;
            }
            self.tried.fetch_add(1, Ordering::Relaxed);
            outcome = self.connect_to(self.uri()).await.or(outcome);
        }
        outcome
    }

    async fn connect_to(&self, uri: &AMQPUri) -> Result<Arc<Connection>, PortError> {
        let name = format!("syncfleet {}", self.role);
        let properties = ConnectionProperties::default().with_connection_name(name.into());
        match timeout(self.connect_timeout, Connection::connect_uri(uri.clone(), properties)).await {
            Ok(Ok(connection)) => Ok(Arc::new(connection)),
            Ok(Err(error)) => Err(port_error(&self.address, "connecting", &error)),
            Err(_elapsed) => Err(timed_out(&self.address, "connecting")),
        }
    }

    /// A new channel.
    pub(crate) async fn channel(&self) -> Result<Channel, PortError> {
        let connection = self.get().await?;
        self.answer("opening a channel", connection.create_channel()).await
    }

    /// A new channel that confirms what is published on it.
    pub(crate) async fn confirming_channel(&self) -> Result<Channel, PortError> {
        let channel = self.channel().await?;
        self.answer("asking for confirms", channel.confirm_select(ConfirmSelectOptions::default())).await?;
        Ok(channel)
    }

    /// Forgets the connection, so that the next caller makes a new one.
    pub(crate) async fn discard(&self) {
        self.slot.lock().await.connection = None;
    }

    /// Whether the broker has said that it takes no messages on this connection.
    pub(crate) async fn is_blocked(&self) -> bool {
        self.slot
            .lock()
            .await
            .connection
            .as_ref()
            .is_some_and(|c| c.status().connected() && c.status().blocked())
    }

    /// Waits for the broker's answer, but not for ever.
    pub(crate) async fn answer<T>(
        &self,
        doing: &str,
        request: impl Future<Output = lapin::Result<T>>,
    ) -> Result<T, PortError> {
        match timeout(self.answer_timeout, request).await {
            Ok(answer) => answer.map_err(|error| port_error(&self.address, doing, &error)),
            Err(_elapsed) => Err(timed_out(&self.address, doing)),
        }
    }

    /// The URL of the node that was tried last.
    pub(crate) fn uri(&self) -> &AMQPUri {
        // The remainder is below the length.
        &self.uris[self.tried.load(Ordering::Relaxed) % self.uris.len()]
    }
}

/// Closes a channel when it is dropped and still open. Whoever gives up while a consumer begins would else leave one
/// behind that is sent messages and never settles them, and its shard would stand still.
#[derive(Debug)]
pub(crate) struct Closing {
    channel: Option<Channel>,
    answer_timeout: Duration,
}

impl Closing {
    pub(crate) fn new(channel: &Channel, answer_timeout: Duration) -> Self {
        Self { channel: Some(channel.clone()), answer_timeout }
    }

    /// Somebody else closes it from now on.
    pub(crate) fn hand_over(mut self) {
        self.channel = None;
    }
}

impl Drop for Closing {
    fn drop(&mut self) {
        let Some(channel) = self.channel.take().filter(|channel| channel.status().connected()) else {
            return;
        };
        let answer_timeout = self.answer_timeout;
        // Without a runtime the program is ending, and with it the connection.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { close(&channel, answer_timeout).await });
        }
    }
}

/// Closes a channel whose work is done; what cannot be closed is closed with its connection.
pub(crate) async fn close(channel: &Channel, answer_timeout: Duration) {
    let closing = timeout(answer_timeout, channel.close(200, "done".into())).await;
    if !matches!(closing, Ok(Ok(()))) {
        tracing::debug!(?closing, "a channel was not closed in good order");
    }
}

fn reconnect_pause(failures: u32) -> Duration {
    let policy = RetryPolicy {
        delay_initial: Duration::from_millis(100),
        delay_factor: 2.0,
        delay_max: Duration::from_secs(1),
        ..RetryPolicy::default()
    };
    retry::delay(&policy, failures, None, 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_second() {
        let pauses: Vec<u128> = (1..7).map(|n| reconnect_pause(n).as_millis()).collect();
        assert_eq!(pauses, [100, 200, 400, 800, 1_000, 1_000]);
    }

    #[tokio::test]
    async fn nobody_listening_is_unavailable_with_the_address() {
        let options = Options::default();
        let uris = options.uris("amqp://guest:geheim@127.0.0.1:1/%2f").unwrap();
        let connector = Connector::new(uris, "test", &options);
        let PortError::Unavailable(text) = connector.get().await.unwrap_err() else {
            panic!("another error");
        };
        assert!(text.contains("127.0.0.1:1") && !text.contains("geheim"), "{text}");
    }
}

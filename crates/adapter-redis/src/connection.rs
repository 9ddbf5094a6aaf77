//! The connection: made when it is first used, and again when it is lost. Of several hosts, the one that takes writes.

use std::time::Duration;

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, ErrorKind, RedisError, RedisResult, ServerErrorKind, Value};
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::options::Options;

/// The hosts, and the connection to the one that was chosen.
pub(crate) struct Connections {
    clients: Vec<Client>,
    /// The key whose version tells which of two hosts is the present one.
    generation_key: String,
    connect_timeout: Duration,
    answer_timeout: Duration,
    chosen: Mutex<Option<ConnectionManager>>,
}

impl Connections {
    /// Nothing is connected yet.
    pub(crate) fn new(clients: Vec<Client>, generation_key: String, options: &Options) -> Self {
        Self {
            clients,
            generation_key,
            connect_timeout: options.connect_timeout,
            answer_timeout: options.answer_timeout,
            chosen: Mutex::default(),
        }
    }

    /// How long connecting and one answer may take.
    pub(crate) fn limit(&self) -> Duration {
        let hosts = u32::try_from(self.clients.len()).unwrap_or(u32::MAX);
        self.connect_timeout * 2 * hosts + self.answer_timeout
    }

    /// Runs a request. Where a host of several fails, the next request chooses anew.
    pub(crate) async fn ask<T>(
        &self,
        request: impl AsyncFnOnce(&mut ConnectionManager) -> RedisResult<T>,
    ) -> RedisResult<T> {
        let mut connection = self.connection().await?;
        let answer =
            match timeout(self.connect_timeout * 2 + self.answer_timeout, request(&mut connection)).await {
                Ok(answer) => answer,
                Err(_elapsed) => Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()),
            };
        if self.clients.len() > 1 && answer.as_ref().is_err_and(is_hosts_fault) {
            *self.chosen.lock().await = None;
        }
        answer
    }

    async fn connection(&self) -> RedisResult<ConnectionManager> {
        let mut chosen = self.chosen.lock().await;
        if let Some(connection) = &*chosen {
            return Ok(connection.clone());
        }
        let connection = match self.clients.as_slice() {
            [client] => self.connect(client)?,
            clients => self.choose(clients).await?,
        };
        Ok(chosen.insert(connection).clone())
    }

    fn connect(&self, client: &Client) -> RedisResult<ConnectionManager> {
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(self.connect_timeout))
            .set_response_timeout(Some(self.answer_timeout))
            // Callers try again by themselves, so an answer that the store is away must come soon.
            .set_number_of_retries(1)
            .set_max_delay(Duration::from_millis(200));
        ConnectionManager::new_lazy_with_config(client.clone(), config)
    }

    /// The host that takes writes. After a fail-over two may believe so for a while: then the one that was written to
    /// last.
    async fn choose(&self, clients: &[Client]) -> RedisResult<ConnectionManager> {
        let mut best: Option<(u64, ConnectionManager)> = None;
        let mut failure = None;
        for client in clients {
            let mut connection = self.connect(client)?;
            match timeout(self.connect_timeout * 2, self.written_to(&mut connection)).await {
                Ok(Ok(Some(version))) if best.as_ref().is_none_or(|(other, _)| version > *other) => {
                    best = Some((version, connection));
                }
                Ok(Ok(_)) => {}
                Ok(Err(error)) => failure = Some(error),
                Err(_elapsed) => failure = Some(std::io::Error::from(std::io::ErrorKind::TimedOut).into()),
            }
        }
        let no_primary = || RedisError::from((ErrorKind::Io, "none of the hosts is a primary"));
        best.map(|(_, connection)| connection).ok_or_else(|| failure.unwrap_or_else(no_primary))
    }

    /// The version of a host's generation; nothing when it is a replica.
    async fn written_to(&self, connection: &mut ConnectionManager) -> RedisResult<Option<u64>> {
        let mut commands = redis::pipe();
        commands.cmd("ROLE").cmd("HGET").arg(&self.generation_key).arg("version");
        let (role, version): (Vec<Value>, Option<u64>) = commands.query_async(connection).await?;
        let is_primary = role.first().is_some_and(|role| {
            matches!(role, Value::BulkString(role) if role == b"master")
                || matches!(role, Value::SimpleString(role) if role == "master")
        });
        Ok(is_primary.then(|| version.unwrap_or_default()))
    }
}

/// Whether another host may answer better: this one is away, starting, or a replica.
fn is_hosts_fault(error: &RedisError) -> bool {
    error.is_connection_dropped()
        || error.is_timeout()
        || error.is_io_error()
        || matches!(
            error.kind(),
            ErrorKind::Server(
                ServerErrorKind::ReadOnly | ServerErrorKind::BusyLoading | ServerErrorKind::MasterDown
            )
        )
}

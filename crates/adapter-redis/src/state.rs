//! The state port.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use redis::aio::ConnectionManager;
use redis::{FromRedisValue, RedisError, RedisResult, Script, ScriptInvocation, Value};
use shared::flow::Check;
use shared::generation::{self, Generation};
use shared::ports::PortError;
use shared::ports::state::{
    Expected, Fence, Grant, LOOK_KEYS_MAX, READ_KEYS_MAX, State, Versioned, Write, Written,
    check_number_of_keys,
};
use tokio::time::timeout;

use crate::connection::Connections;
use crate::error::{port_error, strange_answer};
use crate::keys::{Keys, check_document, check_key};
use crate::options::{self, Options};
use crate::{check, scripts};

/// Index entries that one step of a scan looks at, at most: the store does nothing else meanwhile.
const SCAN_ENTRIES_MAX: u32 = 1_000;
/// Bytes after which one step of a scan answers.
const SCAN_BYTES_MAX: u32 = 4 * 1024 * 1024;

/// Version and value of a document, where there is one.
type Document = (Option<String>, Option<Vec<u8>>);

/// The state over Redis. Cheap to clone; all clones share one connection.
#[derive(Clone)]
pub struct RedisState {
    address: String,
    keys: Keys,
    options: Options,
    connections: Arc<Connections>,
    entered: Arc<RwLock<Option<Generation>>>,
}

impl fmt::Debug for RedisState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisState").field("address", &self.address).field("options", &self.options).finish()
    }
}

impl RedisState {
    /// The state in the store at `url` (`redis://[user][:password@]host[:port][/database]`, or `rediss://…`;
    /// for the latter the program must have installed a TLS provider). Connects when it is first used, and again
    /// by itself when the connection is lost.
    ///
    /// # Errors
    /// [`PortError::Misconfigured`] when the URL or a setting cannot work.
    pub fn new(url: &str, options: Options) -> Result<Self, PortError> {
        options.check()?;
        let (clients, address) = options::clients(url, &options.further_hosts)?;
        let keys = Keys::new(options.prefix.clone());
        let connections = Connections::new(clients, keys.document(generation::KEY), &options);
        Ok(Self { address, keys, options, connections: Arc::new(connections), entered: Arc::default() })
    }

    /// Looks at the store: whether it answers, its version, and whether it keeps what it is given.
    pub async fn check(&self) -> Vec<Check> {
        check::check(self).await
    }

    /// The keys in the store.
    pub(crate) fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Where the store is, without credentials.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Runs a request, within the time limits.
    pub(crate) async fn ask<T>(
        &self,
        request: impl AsyncFnOnce(&mut ConnectionManager) -> RedisResult<T>,
    ) -> Result<T, PortError> {
        let limit = self.connections.limit();
        match timeout(limit, self.connections.ask(request)).await {
            Ok(answer) => answer.map_err(|error: RedisError| port_error(&self.address, &error)),
            Err(_elapsed) => Err(PortError::Unavailable(format!(
                "Redis at {} did not answer within {limit:?}; it is tried again",
                self.address
            ))),
        }
    }

    async fn run<T: FromRedisValue>(&self, call: &ScriptInvocation<'_>) -> Result<T, PortError> {
        self.ask(async |connection| call.invoke_async(connection).await).await
    }

    fn number(&self, text: &str, what: &str) -> Result<u64, PortError> {
        text.parse().map_err(|_| strange_answer(&self.address, what))
    }

    fn versioned(&self, document: Document) -> Result<Option<Versioned>, PortError> {
        let (Some(version), Some(value)) = document else { return Ok(None) };
        Ok(Some(Versioned { value, version: self.number(&version, "a version")? }))
    }

    /// What the generation begins with that a request for `key` must find, and what it must not be older than.
    fn entered(&self, key: &str) -> (String, u64) {
        let entered = *self.entered.read().unwrap_or_else(PoisonError::into_inner);
        let entered = entered.filter(|_| key != generation::KEY);
        entered.map_or_else(Default::default, |entered| (entered.prefix(), entered.version))
    }

    fn generation_key(&self) -> String {
        self.keys.document(generation::KEY)
    }

    fn lost(&self) -> PortError {
        PortError::Lost(format!(
            "Redis at {} was emptied or is an older copy: nothing was read or written. See /readyz and `syncfleet \
             status`, which say what to do",
            self.address
        ))
    }

    /// Asks one thing of each key, in one round trip.
    async fn each<T: FromRedisValue>(
        &self,
        keys: &[&str],
        ask: impl Fn(&mut redis::Pipeline, String),
    ) -> Result<Vec<T>, PortError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        // What is entered while the store answers may be newer than its answer.
        let (generation, version) = self.entered(keys.first().copied().unwrap_or_default());
        let mut commands = redis::Pipeline::with_capacity(keys.len() + 1);
        for key in keys {
            check_key(key)?;
            ask(&mut commands, self.keys.document(key));
        }
        // Read after the others: where this is right, they were read from the right store.
        read(&mut commands, &self.generation_key());
        let mut found: Vec<Value> =
            self.ask(async |connection| commands.query_async(connection).await).await?;
        let strange = |_| strange_answer(&self.address, "a document");
        let present = found.pop().map(redis::from_redis_value::<Document>).transpose().map_err(strange)?;
        let is_right = |document: Versioned| {
            document.version >= version && document.value.starts_with(generation.as_bytes())
        };
        let present = present.map(|document| self.versioned(document)).transpose()?.flatten();
        if !generation.is_empty() && !present.is_some_and(is_right) {
            return Err(self.lost());
        }
        found.into_iter().map(redis::from_redis_value).collect::<Result<_, _>>().map_err(strange)
    }

    async fn scan_step(
        &self,
        range: (&[u8], &[u8]),
        limit: u32,
    ) -> Result<(Vec<u8>, Vec<(String, Versioned)>), PortError> {
        let (generation, version) = self.entered("");
        let mut call = scripts::SCAN.key(self.keys.index());
        call.key(self.generation_key());
        call.arg(self.keys.documents()).arg(range.0).arg(range.1);
        call.arg(limit).arg(SCAN_ENTRIES_MAX).arg(SCAN_BYTES_MAX).arg(generation).arg(version);
        let mut answer = self.run::<Vec<Vec<u8>>>(&call).await?.into_iter();
        let strange = || strange_answer(&self.address, "a scan");
        let last = answer.next().ok_or_else(|| self.lost())?;
        let mut found = Vec::new();
        while let Some(key) = answer.next() {
            let (version, value) = (answer.next().ok_or_else(strange)?, answer.next().ok_or_else(strange)?);
            let key = String::from_utf8(key).map_err(|_| strange())?;
            let version = self.number(&String::from_utf8_lossy(&version), "a version")?;
            found.push((key, Versioned { value, version }));
        }
        Ok((last, found))
    }
}

#[async_trait]
impl State for RedisState {
    async fn get_many(&self, keys: &[&str]) -> Result<Vec<Option<Versioned>>, PortError> {
        check_number_of_keys(keys, READ_KEYS_MAX)?;
        let found: Vec<Document> = self.each(keys, |commands, key| read(commands, &key)).await?;
        found.into_iter().map(|document| self.versioned(document)).collect()
    }

    async fn are_present(&self, keys: &[&str]) -> Result<Vec<bool>, PortError> {
        check_number_of_keys(keys, LOOK_KEYS_MAX)?;
        self.each(keys, |commands, key| {
            commands.cmd("EXISTS").arg(key);
        })
        .await
    }

    async fn write(&self, write: Write<'_>) -> Result<Written, PortError> {
        check_key(write.key)?;
        check_document(write.key, write.value.unwrap_or_default())?;
        let expected = match write.expected {
            Expected::Any => "any".to_owned(),
            Expected::Absent => "absent".to_owned(),
            Expected::Version(version) => version.to_string(),
        };
        let lease = write.fence.map_or("", |fence| fence.lease.as_str());
        let mut call = scripts::WRITE.key(self.keys.document(write.key));
        let (generation, version) = self.entered(write.key);
        call.key(self.keys.index()).key(self.keys.version()).key(self.keys.lease(lease));
        call.key(self.generation_key()).key(self.keys.looked_through());
        call.arg(write.key).arg(expected).arg(if write.value.is_some() { "put" } else { "delete" });
        call.arg(write.value.unwrap_or_default());
        call.arg(write.time_to_live.map(milliseconds).unwrap_or_default());
        call.arg(write.fence.map(|fence| fence.term.to_string()).unwrap_or_default());
        call.arg(generation).arg(version).arg(self.keys.documents());
        let answer: String = self.run(&call).await?;
        match answer.as_str() {
            "clash" => Ok(Written::Clash),
            "lost" => Err(self.lost()),
            "fenced" => Err(PortError::Fenced(format!(
                "'{}' was not written: lease '{lease}' has ended or is another holder's now",
                write.key
            ))),
            version => Ok(Written::Done(self.number(version, "a version")?)),
        }
    }

    async fn scan(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<(String, Versioned)>, PortError> {
        let (mut from, to) = range(prefix, after);
        let mut found = Vec::new();
        loop {
            let missing = limit.saturating_sub(u32::try_from(found.len()).unwrap_or(u32::MAX));
            if missing == 0 {
                return Ok(found);
            }
            let (last, documents) = self.scan_step((&from, &to), missing).await?;
            found.extend(documents);
            if last.is_empty() {
                return Ok(found);
            }
            from = beyond(&last);
        }
    }

    async fn acquire_lease(
        &self,
        name: &str,
        holder: &str,
        ttl: Duration,
    ) -> Result<Option<Grant>, PortError> {
        check_key(name)?;
        let (generation, version) = self.entered("");
        let mut call = scripts::ACQUIRE.key(self.keys.lease(name));
        call.key(self.keys.term(name)).key(self.generation_key());
        call.arg(holder).arg(milliseconds(ttl)).arg(generation).arg(version);
        let term: Option<String> = self.run(&call).await?;
        match term.as_deref() {
            None => Ok(None),
            Some("lost") => Err(self.lost()),
            Some(term) => Ok(Some(Grant { term: self.number(term, "a term")? })),
        }
    }

    async fn renew_lease(&self, fence: &Fence, holder: &str, ttl: Duration) -> Result<bool, PortError> {
        let (generation, version) = self.entered("");
        let mut call = of_lease(&scripts::RENEW, &self.keys, fence, holder);
        call.key(self.generation_key()).arg(milliseconds(ttl)).arg(generation).arg(version);
        self.run(&call).await
    }

    async fn release_lease(&self, fence: &Fence, holder: &str) -> Result<(), PortError> {
        let call = of_lease(&scripts::RELEASE, &self.keys, fence, holder);
        self.run::<bool>(&call).await.map(drop)
    }

    async fn count(&self, key: &str, amount: u64, window: Duration) -> Result<u64, PortError> {
        check_key(key)?;
        let mut call = scripts::COUNT.key(self.keys.counter(key));
        call.arg(amount.min(u64::from(u32::MAX))).arg(milliseconds(window));
        self.run(&call).await
    }

    async fn ping(&self) -> Result<(), PortError> {
        self.ask(async |connection| redis::cmd("PING").query_async::<()>(connection).await).await
    }

    fn enter(&self, generation: &Generation) {
        let mut entered = self.entered.write().unwrap_or_else(PoisonError::into_inner);
        // Of several parts of a process, one may know less than another.
        let known = entered.filter(|known| known.id == generation.id && known.version > generation.version);
        *entered = Some(known.unwrap_or(*generation));
    }
}

fn read(commands: &mut redis::Pipeline, key: &str) {
    commands.cmd("HMGET").arg(key).arg("version").arg("value");
}

fn of_lease<'s>(script: &'s Script, keys: &Keys, fence: &Fence, holder: &str) -> ScriptInvocation<'s> {
    let mut call = script.key(keys.lease(&fence.lease));
    call.arg(holder).arg(fence.term);
    call
}

/// Whole milliseconds, at least one: a shorter time would mean "ended" to the store.
fn milliseconds(duration: Duration) -> String {
    let rounded_up = duration.as_nanos().div_ceil(1_000_000);
    // About 300 years: the store adds it to the present time, and refuses what overflows.
    rounded_up.clamp(1, 10_000_000_000_000).to_string()
}

/// The range of the index that holds the keys with `prefix` greater than `after`. No key of UTF-8 has a byte
/// 0xff, so the prefix with it is above all of them.
fn range(prefix: &str, after: Option<&str>) -> (Vec<u8>, Vec<u8>) {
    let from = match after {
        Some(after) if after >= prefix => beyond(after.as_bytes()),
        _ => [b"[", prefix.as_bytes()].concat(),
    };
    (from, [b"(", prefix.as_bytes(), b"\xff"].concat())
}

fn beyond(key: &[u8]) -> Vec<u8> {
    [b"(", key].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn times_are_rounded_up() {
        assert_eq!(milliseconds(Duration::ZERO), "1");
        assert_eq!(milliseconds(Duration::from_micros(1_001)), "2");
        assert_eq!(milliseconds(Duration::from_secs(30)), "30000");
        assert_eq!(milliseconds(Duration::MAX), "10000000000000");
    }

    #[tokio::test]
    async fn nobody_listening_is_unavailable_with_the_address() {
        let state = RedisState::new("redis://:geheim@127.0.0.1:1/0", Options::default()).unwrap();
        let PortError::Unavailable(text) = state.ping().await.unwrap_err() else { panic!("another error") };
        assert!(text.contains("127.0.0.1:1") && !text.contains("geheim"), "{text}");
    }

    proptest! {
        #[test]
        fn a_range_holds_exactly_the_keys_with_the_prefix_beyond_the_start(
            key in "[a-c/é]{0,5}", prefix in "[a-c/é]{0,3}", after in proptest::option::of("[a-c/é]{0,4}"),
        ) {
            let (from, to) = range(&prefix, after.as_deref());
            let bytes = key.as_bytes();
            let above = if from[0] == b'[' { bytes >= &from[1..] } else { bytes > &from[1..] };
            let inside = above && bytes < &to[1..];
            let wanted = key.starts_with(&prefix) && after.is_none_or(|after| key > after);
            prop_assert_eq!(inside, wanted);
        }
    }
}

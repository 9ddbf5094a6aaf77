//! The settings of the programs themselves: queue, state, worker, producer, listeners, logs.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use crate::reader::{Reader, Section};
use crate::secret::Need;

/// `[queue]`: where messages wait.
#[derive(Debug, Clone)]
pub enum QueueBacking {
    /// In the directory of [`Embedded`].
    Embedded,
    /// In RabbitMQ.
    RabbitMq(Box<RabbitMq>),
}

/// `[queue.rabbitmq]`
#[derive(Debug, Clone)]
pub struct RabbitMq {
    /// The address with user and virtual host, without password.
    pub url: Url,
    /// Further nodes of the cluster, each as `host:port`.
    pub further_hosts: Vec<String>,
    /// The user's password.
    pub password: SecretString,
    /// First part of every exchange's and queue's name.
    pub namespace: String,
    /// Time between heartbeats.
    pub heartbeat: Duration,
    /// Longest wait for an answer of the broker.
    pub confirm_timeout: Duration,
    /// Crashes of workers over one message before it becomes a dead letter.
    pub delivery_limit: u32,
    /// How long the log of dead letters is kept.
    pub dead_letter_retention: Duration,
    /// Size of the log of dead letters at which the oldest are dropped, in bytes.
    pub dead_letter_log_bytes_max: u64,
}

impl RabbitMq {
    /// Where it is, without credentials: what tells one installation from another.
    pub fn place(&self) -> String {
        place(&self.url, &self.namespace)
    }

    /// The address with the password in it, as clients want it.
    pub fn url_with_password(&self) -> SecretString {
        with_password(&self.url, Some(&self.password))
    }
}

/// `[state]`: where links, cursors and leases are kept.
#[derive(Debug, Clone)]
pub enum StateBacking {
    /// In the directory of [`Embedded`].
    Embedded,
    /// In Redis.
    Redis(Redis),
}

/// `[state.redis]`
#[derive(Debug, Clone)]
pub struct Redis {
    /// The address, without password.
    pub url: Url,
    /// Its replicas, each as `host:port`: one of all takes writes.
    pub further_hosts: Vec<String>,
    /// The password, where the server asks for one.
    pub password: Option<SecretString>,
    /// First part of every key.
    pub namespace: String,
    /// Longest wait for an answer.
    pub timeout: Duration,
}

impl Redis {
    /// Where it is, without credentials: what tells one installation from another.
    pub fn place(&self) -> String {
        place(&self.url, &self.namespace)
    }

    /// The address with the password in it, as clients want it.
    pub fn url_with_password(&self) -> SecretString {
        with_password(&self.url, self.password.as_ref())
    }
}

fn place(url: &Url, namespace: &str) -> String {
    let port = url.port().map_or_else(String::new, |port| format!(":{port}"));
    format!("{}{port}{}, namespace {namespace}", url.host_str().unwrap_or_default(), url.path())
}

fn with_password(url: &Url, password: Option<&SecretString>) -> SecretString {
    let mut url = url.clone();
    // `Url` takes a percent sign for the beginning of an escape; in a password it is one of its characters.
    let password = password.map(|password| password.expose_secret().replace('%', "%25"));
    // Only an address without a host refuses a password, and the reader accepts none of those.
    let _ = url.set_password(password.as_deref());
    String::from(url).into()
}

/// `[vault]`: what seals the secrets in the state store.
#[derive(Debug, Clone, Default)]
pub struct Vault {
    /// The present key; `None`: a file beside the embedded state, or none at all.
    pub key: Option<SecretString>,
    /// Former keys, by the operator's own names.
    pub old_keys: BTreeMap<String, SecretString>,
}

/// `[embedded]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Embedded {
    /// The directory of the embedded queue and state.
    pub dir: PathBuf,
}

/// `[worker]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Worker {
    /// Its name; `None`: the caller makes one of the host's name and a random part.
    pub name: Option<String>,
    /// Runs at the same time.
    pub concurrency_max: usize,
    /// Unsettled messages of one shard.
    pub prefetch: u16,
    /// Time for draining.
    pub drain: Duration,
    /// Time-to-live of the leases of its shards.
    pub lease: Duration,
    /// Time-to-live of its membership.
    pub member: Duration,
}

/// `[producer]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Producer {
    /// Its name; `None`: the caller makes one of the host's name and a random part.
    pub name: Option<String>,
    /// The public listener; `None` switches it off.
    pub webhook_listen: Option<SocketAddr>,
    /// Largest body of a webhook, in bytes.
    pub webhook_body_bytes_max: usize,
    /// Webhooks handled at the same time.
    pub webhook_concurrency_max: usize,
    /// Longest time until a webhook is answered.
    pub webhook_answer_max: Duration,
    /// Time-to-live of the leader's lease.
    pub lease: Duration,
    /// Messages in one confirmed batch.
    pub publish_batch_max: usize,
    /// Time for draining.
    pub drain: Duration,
    /// Where messages wait while the broker is away; `None` switches it off.
    pub spool: Option<Spool>,
}

/// `[producer.spool]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spool {
    /// The directory.
    pub dir: PathBuf,
    /// Messages at most.
    pub messages_max: u64,
    /// Bytes at most.
    pub bytes_max: u64,
    /// Bytes of its disk that stay free.
    pub disk_free_bytes_min: u64,
}

/// `[operations]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operations {
    /// The private listener; `None` switches it off.
    pub listen: Option<SocketAddr>,
}

/// `[log]`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Log {
    /// The form of the lines.
    pub format: LogFormat,
    /// The least level that is logged.
    pub level: LogLevel,
}

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For reading.
    Human,
    /// One JSON object a line.
    Json,
}

/// The least level that is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    /// Failures only.
    Error,
    /// And what somebody should look at.
    Warn,
    /// And what happened.
    Info,
    /// And why; may name records.
    Debug,
    /// Everything.
    Trace,
}

impl LogLevel {
    /// The level's word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

const NAMESPACE: &str = "1 to 40 of a-z, 0-9, _ and -";

fn is_namespace(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte);
    (1..=40).contains(&text.len()) && text.bytes().all(allowed)
}

/// Most hosts that may be named beside the first one.
const FURTHER_HOSTS_MAX: usize = 8;

fn hosts(section: &mut Section<'_, '_>) -> Vec<String> {
    let expected = "up to 8 addresses as host:port, separated by commas, or \"\"";
    let is_host = |text: &str| {
        text.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
    };
    let accept =
        |text: &str| text.is_empty() || split(text).all(is_host) && split(text).count() <= FURTHER_HOSTS_MAX;
    let text = section.text_where("further_hosts", expected, accept);
    split(&text).filter(|host| !host.is_empty()).map(str::to_owned).collect()
}

fn split(hosts: &str) -> impl Iterator<Item = &str> {
    hosts.split(',').map(str::trim)
}

pub(crate) fn queue(reader: &mut Reader<'_>) -> QueueBacking {
    let is_rabbitmq = reader.section("queue").word("kind", &[("embedded", false), ("rabbitmq", true)]);
    let need = Need::required_if(is_rabbitmq, "because queue.kind is \"rabbitmq\"");
    let mut section = reader.section("queue.rabbitmq");
    let url = section.url("url", &["amqp", "amqps"], need);
    let further_hosts = hosts(&mut section);
    let password = section.secret("password", need);
    let namespace = section.text_where("namespace", NAMESPACE, is_namespace);
    let heartbeat = section.seconds("heartbeat_seconds", 1..=60);
    let confirm_timeout = section.seconds("confirm_timeout_seconds", 1..=120);
    let delivery_limit = section.integer("delivery_limit", 1..=1_000);
    let days: u64 = section.integer("dead_letter_retention_days", 1..=3_650);
    let dead_letter_log_bytes_max =
        section.integer("dead_letter_log_bytes_max", 10_000_000..=1_000_000_000_000);
    let (true, Some(url), Some(password)) = (is_rabbitmq, url, password) else {
        return QueueBacking::Embedded;
    };
    QueueBacking::RabbitMq(Box::new(RabbitMq {
        url,
        further_hosts,
        password,
        namespace,
        heartbeat,
        confirm_timeout,
        delivery_limit,
        dead_letter_retention: Duration::from_secs(days * 86_400),
        dead_letter_log_bytes_max,
    }))
}

pub(crate) fn state(reader: &mut Reader<'_>) -> StateBacking {
    let is_redis = reader.section("state").word("kind", &[("embedded", false), ("redis", true)]);
    let need = Need::required_if(is_redis, "because state.kind is \"redis\"");
    let mut section = reader.section("state.redis");
    let url = section.url("url", &["redis", "rediss"], need);
    let further_hosts = hosts(&mut section);
    let password = section.secret("password", if is_redis { Need::Optional } else { Need::Unused });
    let namespace = section.text_where("namespace", NAMESPACE, is_namespace);
    let timeout = section.seconds("timeout_seconds", 1..=60);
    match url {
        Some(url) if is_redis => {
            StateBacking::Redis(Redis { url, further_hosts, password, namespace, timeout })
        }
        _ => StateBacking::Embedded,
    }
}

pub(crate) fn vault(reader: &mut Reader<'_>, key: Need) -> Vault {
    let mut section = reader.section("vault");
    Vault { key: section.secret("key", key), old_keys: section.secrets("old_keys", Need::Optional) }
}

pub(crate) fn embedded(reader: &mut Reader<'_>) -> Embedded {
    let dir = reader.section("embedded").text_where("dir", "a path", |path| !path.trim().is_empty());
    Embedded { dir: dir.into() }
}

fn name(reader: &mut Reader<'_>, section: &'static str) -> Option<String> {
    let expected = "at most 100 of a-z, A-Z, 0-9, _, - and .";
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    let accept = |text: &str| text.len() <= 100 && text.bytes().all(allowed);
    Some(reader.section(section).text_where("name", expected, accept)).filter(|name| !name.is_empty())
}

pub(crate) fn worker(reader: &mut Reader<'_>) -> Worker {
    let name = name(reader, "worker");
    let mut section = reader.section("worker");
    Worker {
        name,
        concurrency_max: section.integer("concurrency_max", 1..=1_024),
        prefetch: section.integer("prefetch", 1..=1_000),
        drain: section.seconds("drain_seconds", 1..=600),
        lease: section.seconds("lease_seconds", 3..=3_600),
        member: section.seconds("member_seconds", 3..=3_600),
    }
}

pub(crate) fn producer(reader: &mut Reader<'_>) -> Producer {
    let (name, spool) = (name(reader, "producer"), spool(reader));
    let mut section = reader.section("producer");
    Producer {
        name,
        webhook_listen: section.listen("webhook_listen"),
        webhook_body_bytes_max: section.integer("webhook_body_bytes_max", 1_024..=67_108_864),
        webhook_concurrency_max: section.integer("webhook_concurrency_max", 1..=1_024),
        webhook_answer_max: section.fractional_seconds("webhook_answer_seconds_max", 0.5..=8.0),
        lease: section.seconds("lease_seconds", 3..=3_600),
        publish_batch_max: section.integer("publish_batch_max", 1..=10_000),
        drain: section.seconds("drain_seconds", 1..=600),
        spool,
    }
}

fn spool(reader: &mut Reader<'_>) -> Option<Spool> {
    let mut section = reader.section("producer.spool");
    let spool = Spool {
        dir: section.text("dir").into(),
        messages_max: section.integer("messages_max", 1..=100_000_000),
        bytes_max: section.integer("bytes_max", 1_000_000..=1_000_000_000_000),
        disk_free_bytes_min: section.integer("disk_free_bytes_min", 0..=1_000_000_000_000_000),
    };
    Some(spool).filter(|spool| !spool.dir.as_os_str().is_empty())
}

pub(crate) fn operations(reader: &mut Reader<'_>, producer: &Producer) -> Operations {
    let mut section = reader.section("operations");
    let listen = section.listen("listen");
    if listen.is_some_and(|listen| listen.port() != 0) && listen == producer.webhook_listen {
        section.contradiction("listen", "another address or port than producer.webhook_listen");
    }
    Operations { listen }
}

pub(crate) fn log(reader: &mut Reader<'_>) -> Log {
    let mut section = reader.section("log");
    let levels = [LogLevel::Error, LogLevel::Warn, LogLevel::Info, LogLevel::Debug, LogLevel::Trace];
    Log {
        format: section.word("format", &[("human", LogFormat::Human), ("json", LogFormat::Json)]),
        level: section.word("level", &levels.map(|level| (level.name(), level))),
    }
}

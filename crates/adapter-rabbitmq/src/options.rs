//! The settings of the adapter.

use std::time::Duration;

use lapin::uri::AMQPUri;
use shared::ports::PortError;

/// Longest namespace, in bytes: the broker's names hold 255, and flow and shard come behind it.
const NAMESPACE_BYTES_MAX: usize = 60;

/// How the adapter uses its broker. The URL, which holds a password, is an argument of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// First part of every name in the broker: fleets with different namespaces share nothing.
    pub namespace: String,
    /// Further nodes of the cluster, each as `host:port`, with user and virtual host of the URL; tried in turn.
    pub further_hosts: Vec<String>,
    /// Heartbeat, in seconds: a frozen broker is noticed after two to three of them.
    pub heartbeat_seconds: u16,
    /// Longest time to connect, the handshake included.
    pub connect_timeout: Duration,
    /// Longest time for the broker to confirm a window of messages, or to answer any other request.
    pub confirm_timeout: Duration,
    /// Longest wait while the broker blocks publishers (memory or disk alarm).
    pub blocked_wait: Duration,
    /// Messages published before their confirms are awaited.
    pub publish_window: usize,
    /// Redeliveries after which the broker stops a message that kills its workers.
    pub delivery_limit: u32,
    /// The delay queues' waiting times, in seconds, rising. A longer wait takes several of them.
    pub delay_tiers_seconds: Vec<u32>,
    /// How long dead letters are kept, in days.
    pub dead_letter_age_days_max: u32,
    /// How much room dead letters may take, in bytes; the oldest go first.
    pub dead_letter_bytes_max: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            namespace: "syncfleet".to_owned(),
            further_hosts: Vec::new(),
            heartbeat_seconds: 6,
            connect_timeout: Duration::from_secs(10),
            confirm_timeout: Duration::from_secs(15),
            blocked_wait: Duration::from_secs(5),
            publish_window: 500,
            delivery_limit: 20,
            delay_tiers_seconds: vec![1, 2, 5, 10, 30, 60, 90, 180, 300, 900, 3_600],
            dead_letter_age_days_max: 180,
            dead_letter_bytes_max: 2_000_000_000,
        }
    }
}

impl Options {
    /// Says what cannot work.
    ///
    /// # Errors
    /// [`PortError::Misconfigured`] with the setting and what it must be.
    pub(crate) fn check(&self) -> Result<(), PortError> {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-' | '.');
        let name = &self.namespace;
        if name.is_empty() || name.len() > NAMESPACE_BYTES_MAX || !name.chars().all(allowed) {
            return Err(wrong(format!(
                "namespace '{name}' must be 1 to {NAMESPACE_BYTES_MAX} of a-z, 0-9, '_', '-', '.'"
            )));
        }
        let tiers = &self.delay_tiers_seconds;
        let rising = tiers.iter().zip(tiers.iter().skip(1)).all(|(one, next)| one < next);
        if tiers.is_empty() || tiers.first() == Some(&0) || !rising {
            return Err(wrong("delay_tiers_seconds must be whole seconds from 1, rising"));
        }
        if self.heartbeat_seconds == 0 {
            return Err(wrong("heartbeat_seconds must be at least 1, or a frozen broker is never noticed"));
        }
        if self.publish_window == 0 || self.delivery_limit == 0 {
            return Err(wrong("publish_window and delivery_limit must be at least 1"));
        }
        if self.dead_letter_age_days_max == 0 || self.dead_letter_bytes_max < 10_000_000 {
            return Err(wrong("dead letters must be kept for at least 1 day and 10000000 bytes"));
        }
        Ok(())
    }

    /// The URLs of all nodes, with this adapter's heartbeat and time-out.
    ///
    /// # Errors
    /// [`PortError::Misconfigured`]; the text never shows the URL, which holds a password.
    pub(crate) fn uris(&self, url: &str) -> Result<Vec<AMQPUri>, PortError> {
        let first = self.uri(url)?;
        let mut uris = vec![first.clone()];
        for node in &self.further_hosts {
            let parts = node.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
            let Some((host, port)) = parts.filter(|(host, _)| !host.is_empty()) else {
                return Err(wrong(format!("'{node}' must be host:port")));
            };
            let mut uri = first.clone();
            uri.authority.host = host.to_owned();
            uri.authority.port = port;
            uris.push(uri);
        }
        Ok(uris)
    }

    fn uri(&self, url: &str) -> Result<AMQPUri, PortError> {
        let mut uri: AMQPUri = url
            .parse()
            .map_err(|_| wrong("the URL must be amqp://user:password@host:port/vhost, or amqps://…"))?;
        // The client library would take `localhost` in its place, without a word.
        if url.contains("//[") || url.contains("@[") {
            return Err(wrong("an IPv6 address cannot stand in the URL: give the host a name"));
        }
        uri.query.heartbeat = Some(self.heartbeat_seconds);
        uri.query.connection_timeout =
            Some(u64::try_from(self.connect_timeout.as_millis()).unwrap_or(u64::MAX));
        Ok(uri)
    }
}

/// Where a broker's nodes are, without credentials.
pub(crate) fn address(uris: &[AMQPUri]) -> String {
    let hosts: Vec<String> =
        uris.iter().map(|uri| format!("{}:{}", uri.authority.host, uri.authority.port)).collect();
    uris.first().map_or_else(String::new, |uri| format!("{}://{}/{}", uri.scheme, hosts.join(","), uri.vhost))
}

fn wrong(text: impl AsRef<str>) -> PortError {
    PortError::Misconfigured(format!("RabbitMQ settings: {}", text.as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_work_and_nonsense_is_named() {
        Options::default().check().unwrap();
        let cases: [(Options, &str); 4] = [
            (Options { namespace: "Ä".into(), ..Options::default() }, "namespace"),
            (Options { delay_tiers_seconds: vec![5, 5], ..Options::default() }, "delay_tiers_seconds"),
            (Options { heartbeat_seconds: 0, ..Options::default() }, "heartbeat_seconds"),
            (Options { publish_window: 0, ..Options::default() }, "publish_window"),
        ];
        for (options, expected) in cases {
            let error = options.check().unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn an_address_holds_no_password_and_a_bad_url_is_not_repeated() {
        let uris = Options::default().uris("amqp://guest:geheim@127.0.0.1:5673/%2f").unwrap();
        assert_eq!(address(&uris), "amqp://127.0.0.1:5673//");
        assert_eq!(uris[0].query.heartbeat, Some(6));
        let error = Options::default().uris("http://guest:geheim@host").unwrap_err().to_string();
        assert!(!error.contains("geheim"), "{error}");
        let error = Options::default().uris("amqp://guest:geheim@[::1]:5672/%2f").unwrap_err().to_string();
        assert!(error.contains("IPv6") && !error.contains("geheim"), "{error}");
    }

    #[test]
    fn further_nodes_share_all_but_their_address() {
        let with = |hosts: &[&str]| Options {
            further_hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
            ..Options::default()
        };
        let uris = with(&["b:2", "c:3"]).uris("amqp://guest:geheim@a:1/v").unwrap();
        assert_eq!(address(&uris), "amqp://a:1,b:2,c:3/v");
        assert!(
            uris.iter()
                .all(|uri| uri.authority.userinfo.password == "geheim" && uri.query.heartbeat == Some(6))
        );
        for wrong in ["b", ":1", "b:x"] {
            let error = with(&[wrong]).uris("amqp://guest:geheim@a:1/v").unwrap_err().to_string();
            assert!(error.contains("host:port") && !error.contains("geheim"), "{error}");
        }
    }
}

//! The settings of the adapter.

use std::time::Duration;

use redis::{Client, ConnectionAddr};
use shared::ports::PortError;

/// Longest key prefix, in bytes.
const PREFIX_BYTES_MAX: usize = 60;

/// How the adapter uses its store. The URL, which may hold a password, is an argument of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// First part of every key: fleets with different prefixes share nothing.
    pub prefix: String,
    /// Longest time to connect.
    pub connect_timeout: Duration,
    /// Longest time for an answer.
    pub answer_timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            prefix: "syncfleet".to_owned(),
            connect_timeout: Duration::from_secs(2),
            answer_timeout: Duration::from_secs(5),
        }
    }
}

impl Options {
    /// Says what cannot work.
    ///
    /// # Errors
    /// [`PortError::Misconfigured`] with the setting and what it must be.
    pub(crate) fn check(&self) -> Result<(), PortError> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | ':');
        let prefix = &self.prefix;
        if prefix.is_empty() || prefix.len() > PREFIX_BYTES_MAX || !prefix.chars().all(allowed) {
            return Err(PortError::Misconfigured(format!(
                "Redis settings: prefix '{prefix}' must be 1 to {PREFIX_BYTES_MAX} of a-z, A-Z, 0-9, '_', '-', \
                 '.', ':'"
            )));
        }
        Ok(())
    }
}

/// A client for `url`, and where that is, without credentials.
///
/// # Errors
/// [`PortError::Misconfigured`]; the text never shows the URL, which may hold a password.
pub(crate) fn client(url: &str) -> Result<(Client, String), PortError> {
    let client = Client::open(url).map_err(|error| {
        let why = error.category();
        PortError::Misconfigured(format!(
            "Redis settings: the URL must be redis://[user][:password@]host[:port][/database], or rediss://… ({why})"
        ))
    })?;
    let info = client.get_connection_info();
    let address = match info.addr() {
        ConnectionAddr::Tcp(host, port) => format!("redis://{host}:{port}/{}", info.redis_settings().db()),
        ConnectionAddr::TcpTls { host, port, .. } => {
            format!("rediss://{host}:{port}/{}", info.redis_settings().db())
        }
        ConnectionAddr::Unix(path) => format!("redis+unix://{}", path.display()),
        other => other.to_string(),
    };
    Ok((client, address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_work_and_nonsense_is_named() {
        Options::default().check().unwrap();
        for prefix in ["", "a b", "ä"] {
            let options = Options { prefix: prefix.into(), ..Options::default() };
            assert!(options.check().unwrap_err().to_string().contains("prefix"));
        }
    }

    #[test]
    fn an_address_holds_no_password_and_a_bad_url_is_not_repeated() {
        let (_, address) = client("redis://user:geheim@localhost:6380/2").unwrap();
        assert_eq!(address, "redis://localhost:6380/2");
        assert_eq!(client("rediss://:geheim@localhost:6380").unwrap().1, "rediss://localhost:6380/0");
        let error = client("http://user:geheim@host").unwrap_err().to_string();
        assert!(!error.contains("geheim"), "{error}");
    }
}

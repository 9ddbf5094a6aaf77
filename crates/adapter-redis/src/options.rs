//! The settings of the adapter.

use std::time::Duration;

use redis::{Client, ConnectionAddr, IntoConnectionInfo as _, RedisError};
use shared::ports::PortError;

/// Longest key prefix, in bytes.
const PREFIX_BYTES_MAX: usize = 60;

/// How the adapter uses its store. The URL, which may hold a password, is an argument of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// First part of every key: fleets with different prefixes share nothing.
    pub prefix: String,
    /// Further hosts, each as `host:port`, with user, password and database of the URL: one of all is the primary,
    /// the others replicate it.
    pub further_hosts: Vec<String>,
    /// Longest time to connect.
    pub connect_timeout: Duration,
    /// Longest time for an answer.
    pub answer_timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            prefix: "syncfleet".to_owned(),
            further_hosts: Vec::new(),
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

/// Clients for `url` and for `further_hosts` in its place, and where that is, without credentials.
///
/// # Errors
/// [`PortError::Misconfigured`]; the text never shows the URL, which may hold a password.
pub(crate) fn clients(url: &str, further_hosts: &[String]) -> Result<(Vec<Client>, String), PortError> {
    let first = url.into_connection_info().map_err(|error| wrong_url(&error))?;
    let mut infos = vec![first.clone()];
    for host in further_hosts {
        let addr = at(host, first.addr()).ok_or_else(|| {
            let text = format!("Redis settings: '{host}' must be host:port, beside a URL of that kind");
            PortError::Misconfigured(text)
        })?;
        infos.push(first.clone().set_addr(addr));
    }
    let hosts: Vec<String> = infos.iter().map(|info| info.addr().to_string()).collect();
    let scheme = match first.addr() {
        ConnectionAddr::Tcp(..) => "redis",
        ConnectionAddr::TcpTls { .. } => "rediss",
        _ => "redis+unix",
    };
    let address = format!("{scheme}://{}/{}", hosts.join(","), first.redis_settings().db());
    let clients = infos.into_iter().map(Client::open).collect::<Result<_, _>>().map_err(|e| wrong_url(&e))?;
    Ok((clients, address))
}

fn wrong_url(error: &RedisError) -> PortError {
    let why = error.category();
    PortError::Misconfigured(format!(
        "Redis settings: the URL must be redis://[user][:password@]host[:port][/database], or rediss://… ({why})"
    ))
}

/// The address of `host:port`, reached as `model` is.
fn at(host: &str, model: &ConnectionAddr) -> Option<ConnectionAddr> {
    let (host, port) = host.rsplit_once(':')?;
    let (host, port) = (host.to_owned(), port.parse().ok()?);
    match model.clone() {
        ConnectionAddr::Tcp(..) => Some(ConnectionAddr::Tcp(host, port)),
        ConnectionAddr::TcpTls { insecure, tls_params, .. } => {
            Some(ConnectionAddr::TcpTls { host, port, insecure, tls_params })
        }
        _ => None,
    }
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
        let at = |url: &str| clients(url, &[]).map(|(_, address)| address);
        assert_eq!(at("redis://user:geheim@localhost:6380/2").unwrap(), "redis://localhost:6380/2");
        assert_eq!(at("rediss://:geheim@localhost:6380").unwrap(), "rediss://localhost:6380/0");
        let error = at("http://user:geheim@host").unwrap_err().to_string();
        assert!(!error.contains("geheim"), "{error}");
    }

    #[test]
    fn further_hosts_share_all_but_their_address() {
        let further = ["b:2".to_owned(), "c:3".to_owned()];
        let (clients, address) = clients("redis://user:geheim@a:1/4", &further).unwrap();
        assert_eq!(address, "redis://a:1,b:2,c:3/4");
        for client in &clients {
            let settings = client.get_connection_info().redis_settings();
            assert_eq!((settings.password(), settings.db()), (Some("geheim"), 4));
        }
        for wrong in ["b", "b:x", ""] {
            let error = super::clients("redis://:geheim@a", &[wrong.to_owned()]).unwrap_err().to_string();
            assert!(error.contains("host:port") && !error.contains("geheim"), "{error}");
        }
    }
}

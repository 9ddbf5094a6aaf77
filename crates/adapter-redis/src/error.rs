//! Translates the client library's errors to the port's.

use redis::{ErrorKind, RedisError, ServerErrorKind};
use shared::ports::PortError;

/// What went wrong at `address`, as the port's error.
pub(crate) fn port_error(address: &str, error: &RedisError) -> PortError {
    let text = error.to_string();
    match error.code().unwrap_or_default() {
        "OOM" => PortError::Full(format!(
            "Redis at {address} is full ({text}): give it more memory (maxmemory) or free some; it is tried again"
        )),
        "MISCONF" => PortError::Full(format!(
            "Redis at {address} cannot write to its disk and takes nothing ({text}): free disk space, look at its \
             log; it is tried again"
        )),
        "NOAUTH" | "WRONGPASS" => credentials(address, &text),
        "NOPERM" => PortError::Misconfigured(format!(
            "Redis at {address} does not permit it ({text}): give the user all commands on the keys with our prefix"
        )),
        "READONLY" => PortError::Misconfigured(format!(
            "Redis at {address} is a replica and takes no writes ({text}): point state.redis.url to the primary"
        )),
        _ => by_kind(address, error, &text),
    }
}

fn by_kind(address: &str, error: &RedisError, text: &str) -> PortError {
    match error.kind() {
        ErrorKind::AuthenticationFailed => credentials(address, text),
        ErrorKind::InvalidClientConfig | ErrorKind::RESP3NotSupported => {
            PortError::Misconfigured(format!("Redis at {address}: {text}: correct state.redis.url"))
        }
        ErrorKind::Server(ServerErrorKind::ResponseError | ServerErrorKind::CrossSlot) => {
            PortError::Misconfigured(format!(
                "Redis at {address} refused a command ({text}): it must be one instance (no cluster) of version 7 \
                 or later, and nothing else may use keys with our prefix"
            ))
        }
        _ => {
            PortError::Unavailable(format!("Redis at {address} does not answer ({text}); it is tried again"))
        }
    }
}

fn credentials(address: &str, text: &str) -> PortError {
    PortError::Misconfigured(format!(
        "Redis at {address} refuses the credentials ({text}): correct user and password in state.redis.url"
    ))
}

/// An answer of a shape that no server of ours gives.
pub(crate) fn strange_answer(address: &str, what: &str) -> PortError {
    PortError::Misconfigured(format!(
        "Redis at {address} answered {what} in a strange form: is something else writing keys with our prefix?"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use redis::Value;

    fn answered(line: &str) -> PortError {
        let parsed = redis::parse_redis_value(format!("-{line}\r\n").as_bytes());
        let error = match parsed.and_then(Value::extract_error) {
            Err(error) => error,
            Ok(value) => panic!("{value:?} is no error"),
        };
        port_error("redis://host:6379/0", &error)
    }

    #[test]
    fn the_table() {
        type Row = (&'static str, fn(String) -> PortError, &'static str);
        let table: [Row; 8] = [
            ("OOM command not allowed when used memory > 'maxmemory'.", PortError::Full, "maxmemory"),
            ("MISCONF Redis is configured to save RDB snapshots", PortError::Full, "disk"),
            ("NOAUTH Authentication required.", PortError::Misconfigured, "password"),
            ("WRONGPASS invalid username-password pair", PortError::Misconfigured, "password"),
            ("NOPERM this user has no permissions", PortError::Misconfigured, "permit"),
            ("READONLY You can't write against a read only replica.", PortError::Misconfigured, "primary"),
            ("LOADING Redis is loading the dataset in memory", PortError::Unavailable, "tried again"),
            ("ERR unknown command", PortError::Misconfigured, "version 7"),
        ];
        for (line, expected, part) in table {
            let error = answered(line);
            assert_eq!(error, expected(error.to_string()), "{line}");
            assert!(error.to_string().contains(part), "{error}");
        }
    }

    #[test]
    fn a_lost_connection_is_unavailable() {
        let lost = RedisError::from(std::io::Error::from(std::io::ErrorKind::ConnectionReset));
        assert!(matches!(port_error("x", &lost), PortError::Unavailable(_)));
    }
}

//! Free TCP ports on 127.0.0.1.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::{LazyLock, Mutex, PoisonError};

use crate::{HarnessError, Result};

/// Below the range that Linux takes client ports from (32768 and up): a server that is down for a
/// moment must find its port free again, and a client that reconnects to a port of that range while
/// nobody listens may even connect to itself.
const FIRST: u16 = 15_000;
const COUNT: u16 = 16_000;
const TRIES_MAX: u32 = 200;

static TAKEN: LazyLock<Mutex<HashSet<u16>>> = LazyLock::new(Mutex::default);

/// A port that is free now and that this process hands out once.
///
/// Another process may still take it before the server binds it: callers try again with another one.
pub fn free_port() -> Result<u16> {
    let seed = RandomState::new();
    let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
    for number in 0..TRIES_MAX {
        let offset = seed.hash_one(number) % u64::from(COUNT);
        let port = FIRST + u16::try_from(offset).unwrap_or_default();
        if !taken.contains(&port) && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            taken.insert(port);
            return Ok(port);
        }
    }
    Err(HarnessError::new(format!(
        "no free port on 127.0.0.1 among {TRIES_MAX} tried in {FIRST}..{}",
        FIRST + COUNT
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_hands_out_a_port_twice() {
        let ports: HashSet<u16> = (0..50).map(|_| free_port().unwrap()).collect();
        assert_eq!(ports.len(), 50);
    }
}

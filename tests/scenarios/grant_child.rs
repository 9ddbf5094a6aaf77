//! A process that asks for access tokens, for `grants_killed.rs`, which kills it at labelled points. It prints a line for
//! each account: `token`, `over` and why, or `failed` and why; and `told` where the account's user would be told by it.
//! What it logs goes to its other output.
//!
//! Usage: `grant-child <redis> <prefix> microsoft|google <address> <time> <account>…`, with the vault's key in
//! `GRANT_KEY`. Its Google gives another refresh token each time, and kills the one before.

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;

use jiff::Timestamp;
use shared::clock::ManualClock;
use system_tests::grants::{self, Installation};
use system_tests::{HarnessError, Result};
use tokio::task::JoinSet;
use tracing::level_filters::LevelFilter;
use vault::{AccessError, AccountId, Accounts, Rotation, Waits};

#[tokio::main]
async fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match run(&args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("failed {error}"));
            ExitCode::FAILURE
        }
    }
}

async fn run(args: &[String]) -> Result<()> {
    let usage =
        || HarnessError::new("usage: grant-child <redis> <prefix> <provider> <address> <time> <account>…");
    let [redis_url, prefix, provider, address, now, accounts @ ..] = args else { return Err(usage()) };
    let now: Timestamp = now.parse().map_err(|_| usage())?;
    #[expect(clippy::disallowed_methods, reason = "no setting of the product")]
    let key = std::env::var("GRANT_KEY").map_err(|_| usage())?.into();
    let _installed = rustls::crypto::ring::default_provider().install_default();
    let _first = telemetry::init_logs(telemetry::LogFormat::Json, LevelFilter::INFO, std::io::stderr);
    let provider = match provider.as_str() {
        "microsoft" => grants::microsoft(address)?,
        _ => grants::google(address, Rotation::OldDies)?,
    };
    let clock = Arc::new(ManualClock::new(now));
    let installation = Installation { redis_url: redis_url.clone(), prefix: prefix.clone(), key, clock };
    let waits = Waits { lease: grants::LEASE_OF_CHILDREN, ..Waits::default() };
    let member = installation.member(provider, waits)?;
    let mut asking = JoinSet::new();
    for account in accounts {
        let account: AccountId = account.parse().map_err(|_| usage())?;
        asking.spawn(ask(member.clone(), account));
    }
    asking.join_all().await;
    member.leave().await;
    Ok(())
}

async fn ask(member: Accounts, account: AccountId) {
    match member.access_token(&account).await {
        Ok(_) => say(&format!("{account} token")),
        Err(AccessError::NeedsReconnect { reason, .. }) => {
            say(&format!("{account} over {reason:?}"));
            match member.mark_told(&account).await {
                Ok(true) => say(&format!("{account} told")),
                Ok(false) => {}
                Err(error) => say(&format!("{account} failed {error}")),
            }
        }
        Err(error) => say(&format!("{account} failed {error}")),
    }
}

/// One line, in one write: a kill cuts at most the last one.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    let _reader_gone = out.write_all(format!("{line}\n").as_bytes()).and_then(|()| out.flush());
}

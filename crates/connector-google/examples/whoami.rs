//! The smallest live call: reads whose calendar an access token is for.
//!
//! `cargo run -p connector-google --example google-whoami -- https://www.googleapis.com/calendar/v3/
//! /run/secrets/google-access-token`

use std::io::Write as _;
use std::sync::Arc;

use async_trait::async_trait;
use connector_google::{Google, PRIMARY, Settings, default_limits};
use secrecy::SecretString;
use shared::clock::SystemClock;
use shared::fault::Fault;
use shared::meter::NoMeter;
use shared::ports::token_source::TokenSource;

const USAGE: &str = "usage: whoami <address of the API> <file with an access token>";

/// The one token there is.
#[derive(Debug)]
struct Given(SecretString);

#[async_trait]
impl TokenSource for Given {
    async fn token(&self) -> Result<SecretString, Fault> {
        Ok(self.0.clone())
    }

    async fn refused(&self, _token: &SecretString, _claims: Option<&str>) -> Result<(), Fault> {
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, token] = arguments.as_slice() else { return Err(USAGE.into()) };
    let token = SecretString::from(std::fs::read_to_string(token)?.trim().to_owned());
    let settings = Settings { url: url.parse()?, limits: default_limits(), fleet: None };
    let google =
        Google::new(&settings, "whoami", Arc::new(Given(token)), Arc::new(NoMeter), Arc::new(SystemClock))?;
    let own = google.calendar(PRIMARY).await?;
    let zone = own.time_zone.as_deref().unwrap_or("an unknown zone");
    writeln!(std::io::stdout(), "the calendar of {}, in {zone}", own.id)?;
    Ok(())
}

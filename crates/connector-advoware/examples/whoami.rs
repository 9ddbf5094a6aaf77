//! The smallest live call: finds the firm's server and signs in.
//!
//! `cargo run -p connector-advoware --example advoware-whoami -- https://configurator.example.test/ <AppID>
//! /run/secrets/advoware-api-key <Kanzlei> <Database> <User> /run/secrets/advoware-password`

use std::io::Write as _;
use std::sync::Arc;

use connector_advoware::{Advoware, Credentials, Limits, Settings};
use secrecy::SecretString;
use shared::clock::SystemClock;
use shared::meter::NoMeter;

const USAGE: &str = "usage: whoami <configurator> <AppID> <file with the API key> <Kanzlei> <Database> <User> <file with the password>";

fn secret(file: &str) -> std::io::Result<SecretString> {
    Ok(SecretString::from(std::fs::read_to_string(file)?.trim().to_owned()))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [configurator, app_id, api_key, kanzlei, database, user, password] = arguments.as_slice() else {
        return Err(USAGE.into());
    };
    let credentials =
        Credentials::new(app_id, &secret(api_key)?, kanzlei, database, user, secret(password)?)?;
    let settings =
        Settings { configurator: configurator.parse()?, credentials, limits: Limits::default(), fleet: None };
    let advoware = Advoware::new(settings, Arc::new(NoMeter), Arc::new(SystemClock))?;
    let server = advoware.sign_in().await?;
    writeln!(std::io::stdout(), "signed in as {user} of {kanzlei}; the firm's server is {server}")?;
    Ok(())
}

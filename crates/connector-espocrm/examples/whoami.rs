//! The smallest live call: who the API user is, and what it may do.
//!
//! `cargo run -p connector-espocrm --example espocrm-whoami -- https://crm.example.test/ /run/secrets/espocrm-key CBeteiligte`

use std::io::Write as _;
use std::sync::Arc;

use connector_espocrm::{Credentials, EspoCrm, Limits, Settings};
use secrecy::SecretString;
use shared::clock::SystemClock;
use shared::meter::NoMeter;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, key_file, entity_types @ ..] = arguments.as_slice() else {
        return Err("usage: whoami <address of the CRM> <file with the API key> [entity type …]".into());
    };
    let key = SecretString::from(std::fs::read_to_string(key_file)?.trim().to_owned());
    let settings = Settings {
        url: url.parse()?,
        credentials: Credentials::ApiKey(key),
        limits: Limits::default(),
        fleet: None,
    };
    let crm = EspoCrm::new(settings, Arc::new(NoMeter), Arc::new(SystemClock))?;

    let me = crm.app_user().await?;
    let mut out = std::io::stdout();
    writeln!(out, "EspoCRM {}, signed in as {} (type {})", crm.version().await?, me.user_name, me.kind)?;
    for scope in entity_types {
        let rights = ["create", "read", "edit", "delete"].map(|a| format!("{a}: {:?}", me.right(scope, a)));
        writeln!(out, "{scope}: {}", rights.join(", "))?;
    }
    Ok(())
}

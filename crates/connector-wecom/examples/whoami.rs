//! The smallest live call: asks what the secrets of a company may read.
//!
//! `cargo run -p connector-wecom --example wecom-whoami -- https://qyapi.weixin.qq.com/cgi-bin/ <corp id>
//! /run/secrets/wecom-app /run/secrets/wecom-contact-sync` (`-` for a secret that there is not)

use std::io::Write as _;
use std::sync::Arc;

use connector_wecom::{MemoryShelf, Settings, WeCom, default_limits};
use secrecy::SecretString;
use shared::clock::SystemClock;
use shared::meter::NoMeter;

const USAGE: &str = "usage: whoami <address of the API> <corp id> <file with the app's secret, or -> <file with the contact sync's secret, or ->";

fn secret(file: &str) -> std::io::Result<Option<SecretString>> {
    match file {
        "-" => Ok(None),
        file => Ok(Some(SecretString::from(std::fs::read_to_string(file)?.trim().to_owned()))),
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, corp_id, app, contact_sync] = arguments.as_slice() else { return Err(USAGE.into()) };
    let settings = Settings {
        url: url.parse()?,
        corp_id: corp_id.clone(),
        app_secret: secret(app)?,
        contact_sync_secret: secret(contact_sync)?,
        limits: default_limits(),
        fleet: None,
        shelf: Arc::<MemoryShelf>::default(),
    };
    let wecom = WeCom::new(&settings, Arc::new(NoMeter), Arc::new(SystemClock))?;
    let abilities = wecom.abilities().await?;
    let mut out = std::io::stdout();
    let lacks = abilities.lacks();
    if lacks.is_empty() {
        writeln!(out, "{corp_id} can be read as a whole")?;
    }
    for lack in lacks {
        writeln!(out, "{lack}")?;
    }
    Ok(())
}

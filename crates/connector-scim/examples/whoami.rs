//! The smallest live call: asks a SCIM service what it can do, and how many users and groups it has.
//!
//! `cargo run -p connector-scim --example scim-whoami -- https://scim.example.test/v2 /run/secrets/scim-token`

use std::io::Write as _;
use std::sync::Arc;

use connector_scim::{MemberList, Overrides, Scim, Settings, Sizes, default_limits};
use secrecy::SecretString;
use shared::clock::SystemClock;
use shared::meter::NoMeter;

const USAGE: &str = "usage: whoami <base address> <file with the token>";

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, token] = arguments.as_slice() else { return Err(USAGE.into()) };
    let settings = Settings {
        url: url.parse()?,
        token: SecretString::from(std::fs::read_to_string(token)?.trim().to_owned()),
        limits: default_limits(),
        fleet: None,
        overrides: Overrides::default(),
        sizes: Sizes::default(),
    };
    let scim = Scim::new(settings, Arc::new(NoMeter), Arc::new(SystemClock))?;
    let abilities = scim.abilities().await?;
    let mut out = std::io::stdout();
    writeln!(out, "{abilities:?}")?;
    let mut users = scim.users();
    users.next_page().await?;
    writeln!(out, "{} users", users.total())?;
    if abilities.groups {
        let mut groups = scim.groups(MemberList::LeftOut);
        groups.next_page().await?;
        writeln!(out, "{} groups", groups.total())?;
    }
    Ok(())
}

//! The smallest live calls: whose mailbox it is, its zone, and how many events the next month has.
//!
//! `cargo run -p connector-msgraph --example msgraph-whoami -- https://graph.microsoft.com/v1.0/ /run/secrets/access-token`

use std::io::Write as _;
use std::sync::Arc;

use async_trait::async_trait;
use connector_msgraph::{MsGraph, PageNext, PageRead, Settings, Span, default_limits};
use jiff::ToSpan as _;
use secrecy::SecretString;
use shared::clock::{Clock as _, SystemClock};
use shared::fault::Fault;
use shared::meter::NoMeter;
use shared::ports::token_source::TokenSource;

/// A token that cannot be replaced.
#[derive(Debug)]
struct FromFile(SecretString);

#[async_trait]
impl TokenSource for FromFile {
    async fn token(&self) -> Result<SecretString, Fault> {
        Ok(self.0.clone())
    }

    async fn refused(&self, _token: &SecretString, _claims: Option<&str>) -> Result<(), Fault> {
        Err(Fault::permanent("token_refused", "The token is refused; get a new one."))
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, token_file] = arguments.as_slice() else {
        return Err("usage: whoami <address of Graph> <file with an access token>".into());
    };
    let token = SecretString::from(std::fs::read_to_string(token_file)?.trim().to_owned());
    let settings = Settings { url: url.parse()?, limits: default_limits(), fleet: None };
    let tokens = Arc::new(FromFile(token));
    let graph = MsGraph::new(&settings, "whoami", tokens, Arc::new(NoMeter), Arc::new(SystemClock))?;

    let me = graph.me().await?;
    let mut out = std::io::stdout();
    writeln!(out, "{} ({}), zone {:?}", me.mail, me.id, graph.mailbox_zone().await?)?;
    let calendar = graph.calendar(None)?;
    let from = SystemClock.now();
    let mut page = calendar.delta(Span { from, to: from.checked_add(720.hours())? }, 100).await?;
    let mut items = 0;
    while let PageRead::Page(read) = page {
        items += read.items.len();
        let PageNext::Page(link) = read.next else { break };
        page = calendar.follow(&link, 100).await?;
    }
    writeln!(out, "{items} items in the next 30 days")?;
    Ok(())
}

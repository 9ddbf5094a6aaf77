//! Whose mailbox it is. Vendor: <https://learn.microsoft.com/graph/api/user-get>.

use std::collections::BTreeSet;

use http_client::{Answer, Method, Request};
use serde::Deserialize;
use shared::fault::Fault;

use crate::client::{MsGraph, Prefer};
use crate::error;

/// Addresses of one person.
const ADDRESSES_MAX: usize = 500;

/// The user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The directory's id.
    pub id: String,
    /// Name.
    pub display_name: Option<String>,
    /// The address that mails to them have; that of the sign-in where there is none. In lower case.
    pub mail: String,
    /// Further addresses that are theirs, in lower case.
    pub aliases: BTreeSet<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireUser {
    id: String,
    display_name: Option<String>,
    mail: Option<String>,
    user_principal_name: Option<String>,
    #[serde(default)]
    proxy_addresses: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireSettings {
    time_zone: Option<String>,
}

impl MsGraph {
    /// Who the tokens are of: `GET me`. Safe to repeat.
    ///
    /// # Errors
    /// `forbidden`, and what is common to all operations.
    pub async fn me(&self) -> Result<User, Fault> {
        read_me(&self.send(me_request()).await?)
    }

    /// The name of the mailbox's time zone, of Windows or of IANA; none where it has none: `GET me/mailboxSettings`.
    /// Safe to repeat.
    ///
    /// # Errors
    /// As [`Self::me`].
    pub async fn mailbox_zone(&self) -> Result<Option<String>, Fault> {
        read_zone(&self.send(zone_request()).await?)
    }
}

fn me_request() -> Request {
    let wanted = "id,displayName,mail,userPrincipalName,proxyAddresses";
    Prefer::default().on(Request::new(Method::Get, "me", &[]).query("$select", wanted))
}

fn read_me(answer: &Answer) -> Result<User, Fault> {
    let user: WireUser = error::success(answer)?.json()?;
    let lower = |address: &str| Some(address.trim().to_lowercase()).filter(|address| address.contains('@'));
    let proxies = user.proxy_addresses.iter().flatten().filter_map(|proxy| {
        let (kind, address) = proxy.split_once(':')?;
        kind.eq_ignore_ascii_case("smtp").then(|| lower(address)).flatten()
    });
    let signs_in_as = user.user_principal_name.as_deref().and_then(lower);
    let mail = user.mail.as_deref().and_then(lower);
    let mut aliases: BTreeSet<String> =
        proxies.take(ADDRESSES_MAX).chain(signs_in_as.clone()).chain(mail.clone()).collect();
    let mail = mail.or(signs_in_as).ok_or_else(|| answer.unreadable("a user without an address"))?;
    aliases.remove(&mail);
    Ok(User { id: user.id, display_name: user.display_name, mail, aliases })
}

fn zone_request() -> Request {
    Prefer::default().on(Request::new(Method::Get, "me/mailboxSettings", &[]))
}

fn read_zone(answer: &Answer) -> Result<Option<String>, Fault> {
    let settings: WireSettings = error::success(answer)?.json()?;
    Ok(settings.time_zone.filter(|zone| !zone.trim().is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::tests::recorded;

    fn answer(body: String) -> Answer {
        Answer::recorded(crate::SYSTEM, "GET me", 200, &[("Content-Type", "application/json")], body)
    }

    #[test]
    fn a_person_has_several_addresses() {
        let body = r#"{"id":"1","mail":"Anna@Kanzlei.example","userPrincipalName":"a.anwalt@kanzlei.example",
            "proxyAddresses":["SMTP:anna@kanzlei.example","smtp:Anna.Alt@kanzlei.example","X500:/o=x","sip:x@y.example"]}"#;
        let user = read_me(&answer(body.to_owned())).unwrap();
        assert_eq!(user.mail, "anna@kanzlei.example");
        let aliases: Vec<&str> = user.aliases.iter().map(String::as_str).collect();
        assert_eq!(aliases, ["a.anwalt@kanzlei.example", "anna.alt@kanzlei.example"]);
        let guest = r#"{"id":"1","mail":null,"userPrincipalName":"anna@kanzlei.example"}"#;
        assert_eq!(read_me(&answer(guest.to_owned())).unwrap().mail, "anna@kanzlei.example");
        assert!(read_me(&answer(r#"{"id":"1"}"#.to_owned())).is_err());
    }

    #[test]
    fn a_mailbox_has_a_zone() {
        let zone = read_zone(&answer(recorded("mailboxsettings.response.json"))).unwrap();
        assert_eq!(zone.as_deref(), Some("UTC"));
        assert_eq!(read_zone(&answer(r#"{"timeZone":""}"#.to_owned())).unwrap(), None);
    }
}

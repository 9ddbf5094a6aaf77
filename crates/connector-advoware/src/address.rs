//! Where the firm's server is: asked of the vendor's configurator, remembered for hours.

use std::time::Duration;

use http_client::{Answer, Method, Request, base_url};
use serde::Deserialize;
use shared::fault::Fault;
use url::Url;

use crate::error;

/// How long an address is used before it is looked up again.
pub(crate) const ADDRESS_MAX_AGE: Duration = Duration::from_secs(4 * 60 * 60);
/// Least time between two look-ups because an address fails.
pub(crate) const LOOK_UP_INTERVAL_MIN: Duration = Duration::from_secs(60);

/// The two base addresses of a firm, each with a final `/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    /// For records.
    pub(crate) data: Url,
    /// For tokens.
    pub(crate) security: Url,
}

/// Whether an address is looked up again: when it is old, or when it fails and was not looked up just now.
pub(crate) fn look_up_due(age: Duration, fails: bool) -> bool {
    age >= ADDRESS_MAX_AGE || (fails && age >= LOOK_UP_INTERVAL_MIN)
}

pub(crate) fn request(kanzlei: &str) -> Request {
    Request::new(Method::Get, "AdvonetConfigurator/api/Url", &[]).query("Kanzlei", kanzlei)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireAddress {
    relay_url: Option<String>,
    connector_url: Option<String>,
    security_gateway: Option<String>,
}

/// Reads the configurator's answer. `connectorUrl` must be used where it is set, else `relayUrl`. `secure` refuses
/// addresses without TLS: whoever answers in the configurator's place would get the password.
pub(crate) fn read(answer: &Answer, secure: bool) -> Result<Address, Fault> {
    let wire: WireAddress = error::success(answer)?.json()?;
    let given = |url: Option<String>| url.filter(|url| !url.trim().is_empty());
    let data = given(wire.connector_url).or(given(wire.relay_url));
    Ok(Address {
        data: read_url(answer, data, "relayUrl or connectorUrl", secure)?,
        security: read_url(answer, given(wire.security_gateway), "securityGateway", secure)?,
    })
}

fn read_url(answer: &Answer, text: Option<String>, field: &str, secure: bool) -> Result<Url, Fault> {
    let text = text.ok_or_else(|| answer.unreadable(&format!("no {field}; check the Kanzleikennung")))?;
    let url = Url::parse(text.trim()).map_err(|_| answer.unreadable(&format!("no address in {field}")))?;
    if secure && url.scheme() != "https" {
        return Err(answer.unreadable(&format!("an address without https in {field}")));
    }
    base_url(&url).map_err(|e| answer.unreadable(&format!("an unusable {field} ({e})")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RELAY: &str = r#"{"relayUrl":"https://relay.example.test:90/","connectorUrl":null,"securityGateway":"https://security.example.test/"}"#;

    fn answer(body: impl Into<String>) -> Answer {
        Answer::recorded(
            crate::CONFIGURATOR_SYSTEM,
            "GET Url",
            200,
            &[("Content-Type", "application/json")],
            body.into(),
        )
    }

    fn check(body: &str, secure: bool, data: &str) {
        let address = read(&answer(body), secure).unwrap();
        assert_eq!(address.data.as_str(), data);
        assert_eq!(address.security.as_str().split("://").last(), Some("security.example.test/"));
    }

    #[test]
    fn the_connector_goes_before_the_relay() {
        check(RELAY, true, "https://relay.example.test:90/");
        check(
            r#"{"relayUrl":"https://r.test/","connectorUrl":"https://c.test/advo","securityGateway":"https://security.example.test"}"#,
            true,
            "https://c.test/advo/",
        );
        check(
            r#"{"relayUrl":"https://r.test/","connectorUrl":"","securityGateway":"https://security.example.test/"}"#,
            true,
            "https://r.test/",
        );
        check(
            r#"{"relayUrl":"http://r.test/","securityGateway":"http://security.example.test/"}"#,
            false,
            "http://r.test/",
        );
    }

    #[test]
    fn an_unusable_answer_is_a_fault_that_says_what_is_missing() {
        for (body, says) in [
            ("{}", "relayUrl"),
            (r#"{"relayUrl":"https://r.test/"}"#, "securityGateway"),
            (r#"{"relayUrl":"http://r.test/","securityGateway":"https://s.test/"}"#, "https"),
            (r#"{"relayUrl":"https://u:p@r.test/","securityGateway":"https://s.test/"}"#, "relayUrl"),
            (r#"{"relayUrl":"r","securityGateway":"https://s.test/"}"#, "relayUrl"),
            ("[]", "JSON"),
        ] {
            let fault = read(&answer(body), true).unwrap_err();
            assert!(fault.text.contains(says), "{body}: {fault}");
            assert_eq!(fault.kind.name(), "retryable");
        }
    }

    #[test]
    fn the_firm_is_asked_for_by_its_name() {
        let request = request("Müller & Söhne");
        assert_eq!(request.path(), "AdvonetConfigurator/api/Url");
        assert_eq!(request.query_pairs(), [("Kanzlei", "Müller & Söhne".to_owned())]);
    }

    proptest! {
        #[test]
        fn look_ups_are_rare_and_old_addresses_are_renewed(seconds in 0_u64..100_000, fails: bool) {
            let age = Duration::from_secs(seconds);
            let due = look_up_due(age, fails);
            prop_assert!(!due || age >= LOOK_UP_INTERVAL_MIN);
            prop_assert!(due || age < ADDRESS_MAX_AGE);
            prop_assert!(!fails || age < LOOK_UP_INTERVAL_MIN || due);
        }
    }
}

//! Second receivers of callbacks. WeCom itself calls one address only; what comes there goes on from here as it came, so that
//! a second receiver with the same token and key notices nothing.
//!
//! What it answers is looked at as WeCom would: its status counts, and nothing of its body.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http_client::{
    Answer, Fleet, Limits, Method, Request, SetupError, Upstream, base_url, codes, retry_after,
};
use jiff::Timestamp;
use shared::clock::Clock;
use shared::fault::{Fault, FaultKind};
use shared::meter::Meter;
use shared::ports::state::State;
use url::Url;

/// The header that says who passed a callback on, in lower case.
pub const RELAYED_BY: &str = "x-relayed-by";
/// What it says of us.
pub const RELAYED_BY_US: &str = "syncfleet";

/// The content type of what came without one.
const CONTENT_TYPE: &str = "text/xml";

/// Limits for a receiver: it has as long as WeCom gives, and its answer is thrown away.
pub fn default_limits() -> Limits {
    Limits {
        deadline: Duration::from_secs(5),
        answer_bytes_max: 4 * 1024 * 1024,
        requests_per_second_max: 50,
        concurrency_max: 8,
        ..Limits::default()
    }
}

/// A second receiver. Cheap to clone.
#[derive(Clone)]
pub struct SecondReceiver {
    upstream: Upstream,
    url: Url,
}

impl fmt::Debug for SecondReceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecondReceiver({})", self.host())
    }
}

impl SecondReceiver {
    /// A receiver at an address, which may have a query of its own. `name` is its label in metrics and faults, and what the
    /// fleet shares its limits by. Sends nothing.
    ///
    /// # Errors
    /// [`SetupError`] when the address or TLS is unusable.
    pub fn new(
        name: &'static str,
        url: &Url,
        limits: Limits,
        meter: Arc<dyn Meter>,
        clock: Arc<dyn Clock>,
        fleet: Option<Arc<dyn State>>,
    ) -> Result<Self, SetupError> {
        let mut bare = url.clone();
        bare.set_query(None);
        base_url(&bare)?;
        let fleet = fleet.map(|state| Fleet::new(state, name, &[url.as_str()]));
        let upstream = Upstream::new(name, limits, Vec::new(), meter, clock, fleet)?;
        Ok(Self { upstream, url: url.clone() })
    }

    /// Where it is, without what may be a secret of it.
    pub fn host(&self) -> String {
        let host = self.url.host_str().unwrap_or_default();
        self.url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
    }

    /// Whether it is reached through TLS.
    pub fn is_encrypted(&self) -> bool {
        self.url.scheme() == "https"
    }

    /// Hands it a callback: body, content type and query as they came. It may get the same one more than once, as from WeCom.
    ///
    /// # Errors
    /// Permanent `receiver_refused` (4xx); throttled (429); retryable `too_early`, those of the status and of `http-client`.
    pub async fn pass_on(&self, query: &str, content_type: Option<&str>, body: Vec<u8>) -> Result<(), Fault> {
        let request = request(&self.url, query, content_type, body);
        // The link says all of where it goes.
        let answer = self.upstream.send(&self.url, request).await.map_err(endless)?;
        verdict(&answer, self.upstream.clock().now())
    }

    /// Gives back what this process holds of the fleet's limits; see [`Upstream::leave`].
    pub async fn leave(&self) {
        self.upstream.leave().await;
    }
}

fn request(url: &Url, query: &str, content_type: Option<&str>, body: Vec<u8>) -> Request {
    let mut link = url.clone();
    let all = match url.query().filter(|own| !own.is_empty()) {
        Some(own) => format!("{own}&{query}"),
        None => query.to_owned(),
    };
    link.set_query(Some(all.as_str()).filter(|all| !all.is_empty()));
    Request::to_link(Method::Post, "callback", link)
        .body_as(content_type.unwrap_or(CONTENT_TYPE), body)
        .header("accept", "*/*")
        .header(RELAYED_BY, RELAYED_BY_US)
        .pages_are_good()
}

/// An answer without end may be an error page of today's: its status is not known.
fn endless(fault: Fault) -> Fault {
    match fault.code {
        codes::ANSWER_TOO_LARGE => Fault { kind: FaultKind::Retryable { after: None }, ..fault },
        _ => fault,
    }
}

/// What an answer means that came at `now`.
fn verdict(answer: &Answer, now: Timestamp) -> Result<(), Fault> {
    if answer.is_success() {
        return Ok(());
    }
    if let Some(fault) = answer.common_fault() {
        return Err(fault);
    }
    let status = answer.status();
    if status == 425 {
        let after = answer.header("retry-after").and_then(|text| retry_after::parse(text, now));
        let text = "The receiver of relayed callbacks does not take one yet (status 425); tried again later.";
        return Err(answer.fault(FaultKind::Retryable { after }, "too_early", text));
    }
    let text = format!(
        "The receiver of relayed callbacks refuses one with status {status}, and will do so again. Where it names the \
         signature, it holds another token or EncodingAESKey than WeCom's console; put that right, then replay."
    );
    Err(answer.fault(FaultKind::Permanent, "receiver_refused", text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn a_callback_goes_on_as_it_came() {
        let query = "msg_signature=a%2Bb&timestamp=1&nonce=%E4%B8%AD";
        let request =
            request(&url("https://oa.example/hook"), query, Some("application/json"), b"\0<x".to_vec());
        assert_eq!(request.link().unwrap().as_str(), format!("https://oa.example/hook?{query}"));
        assert_eq!(
            (request.body(), request.header_value("content-type")),
            (&b"\0<x"[..], Some("application/json"))
        );
        assert_eq!(request.header_value(RELAYED_BY), Some(RELAYED_BY_US));
        assert_eq!(request.operation(), "POST callback");
    }

    #[test]
    fn a_receiver_keeps_the_query_of_its_own() {
        let link =
            |own: &str, query: &str| request(&url(own), query, None, Vec::new()).link().unwrap().to_string();
        assert_eq!(link("https://oa.example/?app=7", "nonce=1"), "https://oa.example/?app=7&nonce=1");
        assert_eq!(link("https://oa.example/?", "nonce=1"), "https://oa.example/?nonce=1");
        assert_eq!(link("https://oa.example/", ""), "https://oa.example/");
    }

    #[test]
    fn its_status_alone_counts() {
        let said = |status: u16, headers: &[(&str, &str)]| {
            let answer = Answer::recorded("relay_oa", "POST callback", status, headers, "<h1>whatever</h1>");
            verdict(&answer, Timestamp::UNIX_EPOCH).map_err(|fault| (fault.kind, fault.code))
        };
        for status in [200, 201, 202, 204] {
            assert_eq!(said(status, &[("content-type", "text/html")]), Ok(()));
        }
        for status in [400, 401, 403, 404, 405, 409, 410, 413, 422] {
            assert_eq!(said(status, &[]), Err((FaultKind::Permanent, "receiver_refused")), "{status}");
        }
        for status in [301, 302, 307, 308, 408, 425, 500, 502, 503, 504] {
            let (kind, _) = said(status, &[]).unwrap_err();
            assert_eq!(kind, FaultKind::Retryable { after: None }, "{status}");
        }
        assert_eq!(said(429, &[]).unwrap_err().0.name(), "throttled");
        let after = Some(Duration::from_secs(7));
        assert_eq!(said(425, &[("retry-after", "7")]).unwrap_err().0, FaultKind::Retryable { after });
    }

    #[test]
    fn addresses_that_cannot_be_say_why() {
        let made = |text: &str| {
            let (meter, clock) = (Arc::new(shared::meter::NoMeter), Arc::new(shared::clock::SystemClock));
            SecondReceiver::new("relay_x", &url(text), default_limits(), meter, clock, None)
        };
        let receiver = made("https://oa.example:8443/hook/hush?key=hush").unwrap();
        assert_eq!((receiver.host().as_str(), receiver.is_encrypted()), ("oa.example:8443", true));
        assert!(!format!("{receiver:?}").contains("hush"));
        for bad in [
            "ftp://oa.example/",
            "https://user:hush@oa.example/",
            "https://oa.example/#x",
            "mailto:a@b.example",
        ] {
            assert!(!made(bad).unwrap_err().to_string().contains("hush"), "{bad}");
        }
    }
}

//! The mailbox: where Graph is, whose tokens are used, and the sending of a request.

use std::sync::Arc;
use std::time::Duration;

use http_client::{Answer, Fleet, Limits, Request, SetupError, Upstream, base_url};
use secrecy::{ExposeSecret as _, SecretString};
use shared::clock::Clock;
use shared::fault::Fault;
use shared::meter::Meter;
use shared::ports::state::State;
use shared::ports::token_source::TokenSource;
use shared::settlement::UNAUTHORIZED_PAUSE;
use url::Url;
use uuid::Uuid;

use crate::{SYSTEM, error};

/// Longest id of an event or calendar.
const ID_BYTES_MAX: usize = 1_024;

/// What is needed to speak to Graph.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Its address, with the version: `https://graph.microsoft.com/v1.0/`.
    pub url: Url,
    /// The limits of each mailbox.
    pub limits: Limits,
    /// Where the processes of a fleet share these limits; without it they hold for this process.
    pub fleet: Option<Arc<dyn State>>,
}

/// What Outlook permits an application at a mailbox (10,000 requests in ten minutes, 4 at once), with something left for
/// people. Vendor: <https://learn.microsoft.com/graph/throttling-limits>.
pub fn default_limits() -> Limits {
    Limits {
        deadline: Duration::from_secs(60),
        answer_bytes_max: 32 * 1024 * 1024,
        requests_per_second_max: 15,
        concurrency_max: 3,
        ..Limits::default()
    }
}

/// What makes a create harmless to repeat: the same for the same parts, and nothing else.
pub fn transaction_id(parts: &[&str]) -> String {
    Uuid::new_v5(&Uuid::NAMESPACE_URL, parts.join("\n").as_bytes()).to_string()
}

/// A mailbox. Cheap to clone; clones share limits, breaker and pauses.
#[derive(Debug, Clone)]
pub struct MsGraph {
    upstream: Upstream,
    base: Url,
    tokens: Arc<dyn TokenSource>,
}

impl MsGraph {
    /// Sets up a mailbox. `account` names it for the fleet, and is the same in every process. Sends nothing.
    ///
    /// # Errors
    /// [`SetupError`] when the address or TLS is unusable.
    pub fn new(
        settings: &Settings,
        account: &str,
        tokens: Arc<dyn TokenSource>,
        meter: Arc<dyn Meter>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, SetupError> {
        let base = base_url(&settings.url)?;
        let fleet = settings.fleet.clone();
        let fleet = fleet.map(|state| Fleet::new(state, SYSTEM, &[base.as_str(), account]));
        let upstream = Upstream::new(SYSTEM, settings.limits, Vec::new(), meter, clock, fleet)?;
        Ok(Self { upstream, base, tokens })
    }

    /// The same mailbox, with the same limits, by other tokens.
    #[must_use]
    pub fn with_tokens(&self, tokens: Arc<dyn TokenSource>) -> Self {
        Self { tokens, ..self.clone() }
    }

    /// Gives back what this process holds of the fleet's limits; see [`Upstream::leave`].
    pub async fn leave(&self) {
        self.upstream.leave().await;
    }

    /// The clock it was set up with.
    pub fn clock(&self) -> &dyn Clock {
        self.upstream.clock()
    }

    /// A link of Graph's own, where it leads to where we send tokens to.
    pub(crate) fn own_link(&self, text: &str) -> Option<Url> {
        own_link(&self.base, text)
    }

    pub(crate) fn base(&self) -> &Url {
        &self.base
    }

    /// Sends a request with a token; after a 401 once more with a new one, and never again after that.
    pub(crate) async fn send(&self, request: Request) -> Result<Answer, Fault> {
        let request = request.header("client-request-id", Uuid::new_v4().to_string());
        let request = request.header("return-client-request-id", "true");
        self.upstream.check_open(&request.operation())?;
        let token = self.tokens.token().await?;
        let answer = self.send_with(&token, request.clone()).await?;
        if answer.status() != 401 {
            return Ok(answer);
        }
        self.tokens.refused(&token, error::claims(&answer)).await?;
        let token = self.tokens.token().await?;
        let answer = self.send_with(&token, request).await?;
        if answer.status() == 401 {
            self.upstream.pause_refused(UNAUTHORIZED_PAUSE, "Microsoft Graph refuses a new access token");
        }
        Ok(answer)
    }

    async fn send_with(&self, token: &SecretString, request: Request) -> Result<Answer, Fault> {
        let bearer = format!("Bearer {}", token.expose_secret());
        let request = request.secret_header("authorization", SecretString::from(bearer));
        let answer = self.upstream.send(&self.base, request).await?;
        if !answer.is_success() {
            // What the vendor's support asks for.
            tracing::debug!(
                operation = answer.operation(),
                status = answer.status(),
                code = error::code(&answer),
                request_id = answer.header("request-id"),
                date = answer.header("date"),
                diagnostic = answer.header("x-ms-ags-diagnostic"),
                "Microsoft Graph refused a request"
            );
        }
        Ok(answer)
    }
}

pub(crate) fn own_link(base: &Url, text: &str) -> Option<Url> {
    let link = Url::parse(text).ok()?;
    (link.origin() == base.origin() && link.username().is_empty()).then_some(link)
}

/// Whether an id can be a segment of a path.
pub(crate) fn is_id(id: &str) -> bool {
    let is_dots = id.chars().all(|c| c == '.');
    !is_dots && id.len() <= ID_BYTES_MAX && !id.chars().any(char::is_control)
}

/// Checks an id before it becomes a segment of a path.
pub(crate) fn checked(id: &str) -> Result<&str, Fault> {
    let wrong = || Fault::bug("id_invalid", "An id for Microsoft Graph is empty, too long, or no id at all.");
    if is_id(id) { Ok(id) } else { Err(wrong()) }
}

/// How an answer is wanted. Each preference counts for one request only: it goes with every one.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Prefer {
    /// Bodies as HTML instead of text.
    pub(crate) html: bool,
    /// Items on a page of a delta round.
    pub(crate) page_items_max: Option<u16>,
}

impl Prefer {
    pub(crate) fn text(self) -> String {
        let kind = if self.html { "html" } else { "text" };
        let page = self.page_items_max.map(|items| format!(", odata.maxpagesize={}", items.clamp(1, 1_000)));
        format!(
            "IdType=\"ImmutableId\", outlook.timezone=\"UTC\", outlook.body-content-type=\"{kind}\"{}",
            page.unwrap_or_default()
        )
    }

    pub(crate) fn on(self, request: Request) -> Request {
        request.header("prefer", self.text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_that_would_change_a_path_are_refused() {
        for id in ["", ".", "..", "a\nb", &"x".repeat(2_000)] {
            assert!(checked(id).is_err(), "{id:?}");
        }
        assert!(checked("AAMkAGI1/x-_==").is_ok());
    }

    #[test]
    fn links_lead_to_the_configured_host_only() {
        let base = Url::parse("https://graph.microsoft.com/v1.0/").unwrap();
        assert!(
            own_link(&base, "https://graph.microsoft.com/v1.0/me/calendarView/delta?$deltatoken=x").is_some()
        );
        for foreign in ["", "x", "https://graph.microsoft.us/v1.0/me", "http://graph.microsoft.com/v1.0/me"] {
            assert!(own_link(&base, foreign).is_none(), "{foreign}");
        }
    }

    #[test]
    fn preferences_are_a_list() {
        let text = Prefer { html: false, page_items_max: Some(5_000) }.text();
        assert_eq!(
            text,
            "IdType=\"ImmutableId\", outlook.timezone=\"UTC\", outlook.body-content-type=\"text\", odata.maxpagesize=1000"
        );
    }

    #[test]
    fn a_transaction_is_the_same_for_the_same_parts_only() {
        assert_eq!(transaction_id(&["a", "b"]), transaction_id(&["a", "b"]));
        assert_ne!(transaction_id(&["a", "b"]), transaction_id(&["a", "c"]));
    }
}

//! Who a request of Graph comes from, and whether the token is good for it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;

use super::Microsoft;
use super::answers::Refusal;
use super::ask::Caller;
use super::grants::{self, Access, Resource};
use crate::store::Store;
use crate::wire::Request;

const CHALLENGE: &str = "Bearer realm=\"\", authorization_uri=\"https://login.microsoftonline.com/common/oauth2/authorize\", \
                         client_id=\"00000003-0000-0000-c000-000000000000\"";

/// What a token is refused for.
pub(super) fn unauthorized(message: &str) -> Refusal {
    Refusal::new(401, "InvalidAuthenticationToken", message).with("WWW-Authenticate", CHALLENGE)
}

/// The token's row, good or not.
pub(super) fn token(store: &Store, request: &Request) -> Option<Access> {
    let token = request.header("Authorization")?.strip_prefix("Bearer ")?;
    grants::read(store, grants::ACCESS, token)
}

impl Microsoft {
    pub(super) fn caller(&self, store: &Store, now: Timestamp, request: &Request) -> Result<Caller, Refusal> {
        if request.header("Authorization").is_none() {
            return Err(unauthorized("Access token is empty."));
        }
        let access = token(store, request)
            .ok_or_else(|| unauthorized("IDX14100: JWT is not well formed, there are no dots (.)."))?;
        if access.resource != Resource::Graph {
            return Err(unauthorized("Access token validation failure. Invalid audience."));
        }
        if access.ends <= now {
            return Err(unauthorized("Lifetime validation failed, the token is expired."));
        }
        let challenged = access.mailbox.as_ref().and_then(|mailbox| self.challenged.get(mailbox));
        if challenged.is_some_and(|since| access.issued < *since || !access.has_claims) {
            let claims =
                STANDARD.encode("{\"access_token\":{\"nbf\":{\"essential\":true,\"value\":\"1604106651\"}}}");
            let header = format!(
                "Bearer realm=\"\", authorization_uri=\"https://login.microsoftonline.com/common/oauth2/authorize\", \
                 error=\"insufficient_claims\", claims=\"{claims}\""
            );
            let message =
                "Continuous access evaluation resulted in challenge with result: InteractionRequired.";
            return Err(
                Refusal::new(401, "InvalidAuthenticationToken", message).with("WWW-Authenticate", header)
            );
        }
        Ok(Caller { client: access.client, mailbox: access.mailbox, scopes: access.scopes })
    }
}

impl Caller {
    /// Refuses a request that none of these scopes was given for.
    pub(super) fn check_scopes(&self, any_of: &[&str]) -> Result<(), Refusal> {
        if self.scopes.iter().any(|scope| any_of.contains(&scope.as_str())) {
            return Ok(());
        }
        Err(Refusal::new(403, "ErrorAccessDenied", "Access is denied. Check credentials and try again."))
    }
}

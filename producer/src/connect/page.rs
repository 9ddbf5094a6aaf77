//! What a browser is answered: plain pages without scripts, styles or anything from elsewhere.

use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION, REFERRER_POLICY, SET_COOKIE,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use maud::{DOCTYPE, html};
use vault::{Before, Connected};

/// On everything: the addresses hold what nobody else may learn, and the pages what nobody may frame.
const HEADERS: [(HeaderName, &str); 5] = [
    (CACHE_CONTROL, "no-store"),
    (
        CONTENT_SECURITY_POLICY,
        "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (REFERRER_POLICY, "no-referrer"),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (X_FRAME_OPTIONS, "DENY"),
];
/// Most scopes that are named.
const SCOPES_MAX: usize = 20;

/// A status and no more.
pub(super) fn nothing(status: StatusCode) -> Response {
    (status, HEADERS).into_response()
}

/// To the provider's page.
pub(super) fn redirect(location: &str, set_cookie: &str) -> Response {
    (StatusCode::FOUND, HEADERS, [(LOCATION, location), (SET_COOKIE, set_cookie)]).into_response()
}

/// An account is connected.
pub(super) fn connected(label: &str, connected: &Connected) -> Response {
    let who = connected.identity.as_ref().and_then(|identity| identity.address.as_deref());
    let mut lines = vec![match who {
        Some(who) => format!("Your {label} account {who} is connected. You can close this page."),
        None => format!("Your {label} account is connected. You can close this page."),
    }];
    if let Before::Connected { other_identity: true, .. } = connected.before {
        lines.push(
            "Another account was connected before: what was synchronised with that one stays as it is."
                .to_owned(),
        );
    }
    if !connected.missing_scopes.is_empty() {
        let named: Vec<&str> = connected.missing_scopes.iter().take(SCOPES_MAX).map(String::as_str).collect();
        lines.push(format!(
            "Not everything was granted that is needed: {}. Ask for a new link, and leave all boxes ticked.",
            named.join(", ")
        ));
    }
    page(StatusCode::OK, "Connected", &lines)
}

/// It failed.
pub(super) fn failed(status: StatusCode, why: &str) -> Response {
    page(status, "Not connected", &[why.to_owned()])
}

fn page(status: StatusCode, title: &str, lines: &[String]) -> Response {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "syncfleet: " (title) }
            }
            body {
                h1 { (title) }
                @for line in lines { p { (line) } }
            }
        }
    };
    (status, HEADERS, [(CONTENT_TYPE, "text/html; charset=utf-8")], page.into_string()).into_response()
}

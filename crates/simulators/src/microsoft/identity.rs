//! The identity platform's page: who asks, for what, and a person who agrees or not.

use std::io;

use jiff::{SignedDuration, Timestamp};
use maud::html;
use serde_json::json;
use url::Url;
use uuid::Uuid;

use super::grants::{self, Code};
use super::screen::COLOUR;
use super::{Mailbox, Microsoft, token};
use crate::screen::{page, short};
use crate::store::{Change, Store};
use crate::wire::{Answer, Request};

const CODE_LIFE: SignedDuration = SignedDuration::from_mins(10);

/// What the page does without being asked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Consent {
    /// Shows itself and waits.
    #[default]
    Page,
    /// Redirects at once: the person of that address agrees.
    As(String),
    /// Redirects at once: the person cancels.
    Denied,
}

/// A request that can be answered by a redirect.
struct Asked {
    redirect_uri: Url,
    state: Option<String>,
    scopes: Vec<String>,
}

/// What cannot be told to the application, since nobody knows whether the address is its own.
fn problem(code: u32, message: &str) -> Answer {
    let body = html! {
        main.consent {
            p.brand { "Microsoft (simulated)" }
            h1 { "Sorry, but we're having trouble signing you in." }
            p { "AADSTS" (code) ": " (message) }
        }
    };
    page(400, COLOUR, "Sign in to your account", &body)
}

impl Asked {
    fn redirect(&self, pairs: &[(&str, &str)]) -> Answer {
        let mut url = self.redirect_uri.clone();
        {
            let mut query = url.query_pairs_mut();
            for (name, value) in pairs {
                query.append_pair(name, value);
            }
            if let Some(state) = &self.state {
                query.append_pair("state", state);
            }
        }
        Answer::status(302).with("Location", url.as_str())
    }

    fn refuse(&self, error: &str, code: u32, message: &str) -> Answer {
        self.redirect(&[("error", error), ("error_description", &format!("AADSTS{code}: {message}"))])
    }
}

impl Microsoft {
    /// `/{tenant}/oauth2/v2.0/…`.
    pub(super) fn identity(
        &mut self,
        store: &mut Store,
        now: Timestamp,
        request: &Request,
        tenant: &str,
        rest: &[&str],
    ) -> io::Result<Answer> {
        let is_tenant = ["common", "organizations"].contains(&tenant)
            || tenant == self.options.tenant
            || self.mailboxes.iter().any(|mailbox| mailbox.address.ends_with(&format!("@{tenant}")));
        match (request.method.as_str(), rest) {
            ("POST", ["token"]) => token::answer(self, store, now, request, tenant, is_tenant),
            (_, ["token"]) => Ok(Answer::status(405)),
            (_, ["authorize"]) if !is_tenant => Ok(problem(90_002, "Tenant not found.")),
            ("GET", ["authorize"]) => self.authorize(store, now, request, tenant),
            ("GET", ["consent"]) => self.decide(store, now, request),
            _ => Ok(Answer::status(404)),
        }
    }

    fn asked(&self, request: &Request) -> Result<Asked, Answer> {
        let text = |name: &str| request.query_value(name).filter(|text| !text.is_empty());
        if text("client_id").as_deref() != Some(self.options.client_id.as_str()) {
            return Err(problem(700_016, "Application was not found in the directory."));
        }
        let redirect_uri = text("redirect_uri").filter(|uri| self.options.redirect_uris.contains(uri));
        let Some(redirect_uri) = redirect_uri.and_then(|uri| Url::parse(&uri).ok()) else {
            return Err(problem(
                50_011,
                "The redirect URI specified in the request does not match the redirect URIs \
                                        configured for the application.",
            ));
        };
        let scopes = text("scope").unwrap_or_default().split_whitespace().map(str::to_owned).collect();
        let asked = Asked { redirect_uri, state: text("state"), scopes };
        if text("response_type").as_deref() != Some("code") {
            return Err(asked.refuse("unsupported_response_type", 700_051, "response_type is not enabled."));
        }
        if text("response_mode").is_some_and(|mode| mode != "query") {
            return Err(problem(501, "this response_mode is not simulated"));
        }
        if asked.scopes.is_empty() {
            return Err(asked.refuse("invalid_request", 900_144, "The request must contain: 'scope'."));
        }
        if let Some(unknown) = grants::unknown(&asked.scopes) {
            let message = format!("The scope {unknown} is not valid.");
            return Err(asked.refuse("invalid_scope", 70_011, &message));
        }
        if text("code_challenge_method").is_some_and(|method| !["S256", "plain"].contains(&method.as_str())) {
            return Err(asked.refuse("invalid_request", 9_002_325, "code_challenge_method is not valid."));
        }
        Ok(asked)
    }

    fn authorize(
        &self,
        store: &mut Store,
        now: Timestamp,
        request: &Request,
        tenant: &str,
    ) -> io::Result<Answer> {
        let asked = match self.asked(request) {
            Ok(asked) => asked,
            Err(answer) => return Ok(answer),
        };
        match &self.consent {
            Consent::As(address) => self.agree(store, now, request, &asked, address),
            Consent::Denied => {
                Ok(asked.refuse("access_denied", 65_004, "User declined to consent to access the app."))
            }
            Consent::Page if request.query_value("prompt").as_deref() == Some("none") => Ok(asked.refuse(
                "login_required",
                50_058,
                "A silent sign-in request was sent but no user is signed in.",
            )),
            Consent::Page => Ok(self.consent_page(request, tenant, &asked)),
        }
    }

    fn consent_page(&self, request: &Request, tenant: &str, asked: &Asked) -> Answer {
        let hint = request.query_value("login_hint").unwrap_or_default();
        let is_chosen = |at: usize, mailbox: &Mailbox| {
            if hint.is_empty() { at == 0 } else { mailbox.address.eq_ignore_ascii_case(&hint) }
        };
        let body = html! {
            main.consent {
                p.brand { "Microsoft (simulated)" }
                h1 { "Permissions requested" }
                form method="get" action=(format!("/{tenant}/oauth2/v2.0/consent")) {
                    @for (name, value) in request.query_pairs() {
                        input type="hidden" name=(name) value=(value);
                    }
                    fieldset {
                        @for (at, mailbox) in self.mailboxes.iter().enumerate() {
                            label {
                                input type="radio" name="account" value=(mailbox.address) checked[is_chosen(at, mailbox)];
                                " " (mailbox.name) " " small { (mailbox.address) }
                            }
                        }
                    }
                    p { "This application would like to use:" }
                    ul { @for scope in &asked.scopes { li { (short(scope)) } } }
                    p.buttons {
                        button name="decision" value="cancel" { "Cancel" }
                        button.accept name="decision" value="accept" autofocus { "Accept" }
                    }
                }
            }
        };
        page(200, COLOUR, "Permissions requested", &body)
    }

    /// The answer to the page.
    fn decide(&self, store: &mut Store, now: Timestamp, request: &Request) -> io::Result<Answer> {
        let asked = match self.asked(request) {
            Ok(asked) => asked,
            Err(answer) => return Ok(answer),
        };
        if request.query_value("decision").as_deref() != Some("accept") {
            return Ok(asked.refuse("access_denied", 65_004, "User declined to consent to access the app."));
        }
        let account = request.query_value("account").unwrap_or_default();
        self.agree(store, now, request, &asked, &account)
    }

    fn agree(
        &self,
        store: &mut Store,
        now: Timestamp,
        request: &Request,
        asked: &Asked,
        address: &str,
    ) -> io::Result<Answer> {
        let Some(mailbox) = self.mailbox(address) else {
            return Ok(problem(50_034, "The user account does not exist in the directory."));
        };
        let code = grants::secret("1.AXQA");
        let row = Code {
            client: self.options.client_id.clone(),
            redirect_uri: request.query_value("redirect_uri").unwrap_or_default(),
            challenge: request.query_value("code_challenge"),
            challenge_method: request
                .query_value("code_challenge_method")
                .unwrap_or_else(|| "plain".to_owned()),
            scopes: asked.scopes.clone(),
            nonce: request.query_value("nonce"),
            mailbox: mailbox.address.clone(),
            ends: now.checked_add(CODE_LIFE).unwrap_or(now),
            is_used: false,
        };
        let changes = vec![
            Change::set(grants::CODES, &code, json!(row)),
            grants::consent(store, &self.options.client_id, &mailbox.address, &asked.scopes),
            // Whoever signs in has given what was wanted.
            Change::remove(grants::REFUSALS, &mailbox.address),
        ];
        store.commit(now, None, changes)?;
        Ok(asked.redirect(&[("code", &code), ("session_state", &Uuid::new_v4().to_string())]))
    }
}

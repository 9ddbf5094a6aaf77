//! The authorisation endpoint: a page in which a person agrees, or an answer at once when a test says so.

use std::collections::BTreeSet;
use std::io;

use jiff::Timestamp;
use maud::html;
use url::{Url, form_urlencoded};

use super::Google;
use super::options::Consent;
use super::screen::COLOUR;
use super::tokens::{self, Agreed, Form, scope_set};
use crate::screen::{page, short};
use crate::store::Store;
use crate::wire::{Answer, Request};

/// An authorisation request that may be answered by sending the browser back.
#[derive(Debug)]
struct Asked {
    /// The query, as it came.
    query: String,
    redirect_uri: Url,
    /// As registered: a URL is written anew when it is parsed.
    redirect_text: String,
    scopes: BTreeSet<String>,
    state: Option<String>,
    challenge: Option<(String, String)>,
    login_hint: Option<String>,
    prompt: BTreeSet<String>,
    is_offline: bool,
    adds_granted: bool,
}

/// What Google shows instead of sending anybody anywhere.
fn blocked(status: u16, error: &str, why: &str) -> Answer {
    let body = html! {
        main.consent {
            p.brand { "Google (simulated)" }
            h1 { "Access blocked" }
            p { (why) }
            p { "Error " (status) ": " (error) }
        }
    };
    page(status, COLOUR, "Access blocked", &body)
}

fn is_scope(scope: &str) -> bool {
    ["openid", "email", "profile", "https://mail.google.com/"].contains(&scope)
        || scope.starts_with("https://www.googleapis.com/auth/")
}

impl Google {
    fn read_asked(&self, query: &str) -> Result<Asked, Answer> {
        let pairs: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes())
            .map(|(name, value)| (name.into_owned(), value.into_owned()))
            .collect();
        let get = |name: &str| {
            pairs.iter().find(|(key, value)| key == name && !value.is_empty()).map(|(_, value)| value.clone())
        };
        if get("client_id").as_ref() != Some(&self.options.client_id) {
            return Err(blocked(401, "invalid_client", "The OAuth client was not found."));
        }
        let redirect_text = get("redirect_uri").unwrap_or_default();
        if !self.options.redirect_uris.contains(&redirect_text) {
            let why = format!("The redirect URI is not registered: {redirect_text}");
            return Err(blocked(400, "redirect_uri_mismatch", &why));
        }
        let Ok(redirect_uri) = Url::parse(&redirect_text) else {
            return Err(blocked(400, "redirect_uri_mismatch", "The redirect URI is none."));
        };
        if get("response_type").as_deref() != Some("code") {
            return Err(blocked(400, "invalid_request", "Only response_type=code is simulated."));
        }
        let scopes = scope_set(&get("scope").unwrap_or_default());
        if scopes.is_empty() || !scopes.iter().all(|scope| is_scope(scope)) {
            return Err(blocked(400, "invalid_scope", "Scopes are missing or unknown."));
        }
        let challenge = match (get("code_challenge"), get("code_challenge_method")) {
            (None, None) => None,
            (Some(challenge), method) if matches!(method.as_deref(), None | Some("plain" | "S256")) => {
                Some((method.unwrap_or_else(|| "plain".to_owned()), challenge))
            }
            _ => return Err(blocked(400, "invalid_request", "The code challenge cannot be used.")),
        };
        Ok(Asked {
            query: query.to_owned(),
            redirect_uri,
            redirect_text,
            scopes,
            state: get("state"),
            challenge,
            login_hint: get("login_hint").map(|hint| hint.to_lowercase()),
            prompt: scope_set(&get("prompt").unwrap_or_default()),
            is_offline: get("access_type").as_deref() == Some("offline"),
            adds_granted: get("include_granted_scopes").as_deref() == Some("true"),
        })
    }

    fn hinted(&self, asked: &Asked) -> Option<String> {
        let hint = asked.login_hint.as_ref()?;
        self.options.users.iter().find(|user| user.email == *hint).map(|user| user.email.clone())
    }

    pub(super) fn authorize(
        &mut self,
        store: &mut Store,
        now: Timestamp,
        request: &Request,
    ) -> io::Result<Answer> {
        let asked = match self.read_asked(&request.query) {
            Ok(asked) => asked,
            Err(answer) => return Ok(answer),
        };
        let user = self.hinted(&asked);
        let known = user.as_deref().and_then(|user| tokens::consent(store, user));
        let is_agreed = known.is_some_and(|known| asked.scopes.is_subset(&known));
        if asked.prompt.contains("none") && !is_agreed {
            return Ok(sent_back(&asked, &[("error", "interaction_required")]));
        }
        if is_agreed && !asked.prompt.contains("consent") && !asked.prompt.contains("select_account") {
            return self.agree(store, now, &asked, user.unwrap_or_default(), None);
        }
        match self.options.consent {
            Consent::AtOnce => {
                let first = || self.options.users.first().map(|user| user.email.clone());
                match user.or_else(first) {
                    Some(user) => self.agree(store, now, &asked, user, None),
                    None => Ok(blocked(400, "invalid_request", "There is no user.")),
                }
            }
            Consent::Refused => Ok(sent_back(&asked, &[("error", "access_denied")])),
            Consent::Page => Ok(self.consent_page(&asked, user.as_deref())),
        }
    }

    fn consent_page(&self, asked: &Asked, hinted: Option<&str>) -> Answer {
        let body = html! {
            main.consent {
                p.brand { "Google (simulated)" }
                h1 { "Sign in" }
                form method="post" action="/o/oauth2/v2/consent" {
                    input type="hidden" name="request" value=(asked.query);
                    p {
                        label {
                            "Account "
                            select name="user" {
                                @for user in &self.options.users {
                                    option value=(user.email) selected[hinted == Some(user.email.as_str())] { (user.email) }
                                }
                            }
                        }
                    }
                    p { "This application wants to use:" }
                    @for scope in &asked.scopes {
                        label { input type="checkbox" name="scope" value=(scope) checked; " " (short(scope)) }
                    }
                    p.buttons {
                        button name="answer" value="cancel" { "Cancel" }
                        button.accept name="answer" value="allow" autofocus { "Allow" }
                    }
                }
            }
        };
        page(200, COLOUR, "Sign in", &body)
    }

    /// What a person chose in the page.
    pub(super) fn consent(
        &mut self,
        store: &mut Store,
        now: Timestamp,
        request: &Request,
    ) -> io::Result<Answer> {
        let form = Form::of(request);
        let asked = match self.read_asked(form.get("request").unwrap_or_default()) {
            Ok(asked) => asked,
            Err(answer) => return Ok(answer),
        };
        if form.get("answer") != Some("allow") {
            return Ok(sent_back(&asked, &[("error", "access_denied")]));
        }
        let user = form.get("user").unwrap_or_default().to_owned();
        if !self.options.users.iter().any(|known| known.email == user) {
            return Ok(blocked(400, "invalid_request", "There is no such user."));
        }
        let ticked: BTreeSet<String> = form.all("scope").map(str::to_owned).collect();
        self.agree(store, now, &asked, user, Some(&ticked))
    }

    fn agree(
        &self,
        store: &mut Store,
        now: Timestamp,
        asked: &Asked,
        user: String,
        ticked: Option<&BTreeSet<String>>,
    ) -> io::Result<Answer> {
        let mut scopes = asked.scopes.clone();
        scopes.retain(|scope| {
            !self.options.unticked_scopes.contains(scope)
                && ticked.is_none_or(|ticked| ticked.contains(scope))
        });
        if scopes.is_empty() {
            return Ok(sent_back(asked, &[("error", "access_denied")]));
        }
        if asked.adds_granted {
            scopes.extend(tokens::consent(store, &user).into_iter().flatten());
        }
        let agreed = Agreed {
            user,
            redirect_uri: asked.redirect_text.clone(),
            challenge: asked.challenge.clone(),
            is_offline: asked.is_offline,
            is_asked_again: asked.prompt.contains("consent"),
            scopes,
        };
        let code = tokens::issue_code(store, now, &agreed)?;
        let scope = agreed.scopes.iter().map(String::as_str).collect::<Vec<_>>().join(" ");
        Ok(sent_back(asked, &[("code", &code), ("scope", &scope), ("authuser", "0"), ("prompt", "consent")]))
    }
}

/// Back to the application.
fn sent_back(asked: &Asked, told: &[(&str, &str)]) -> Answer {
    let mut url = asked.redirect_uri.clone();
    {
        let mut query = url.query_pairs_mut();
        if let Some(state) = &asked.state {
            query.append_pair("state", state);
        }
        for (name, value) in told {
            query.append_pair(name, value);
        }
    }
    Answer::status(302).with("Location", url.to_string()).with("Cache-Control", "no-store")
}

//! Codes, refresh tokens and access tokens: the token endpoint, the revocation endpoint, and the check of a bearer.
//!
//! `[A]` Revoking any token ends the whole consent of that user to the app, with all tokens: a client that revokes an old
//! token after it was connected anew cuts itself off.

use std::collections::BTreeSet;
use std::io;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use url::form_urlencoded;
use uuid::Uuid;

use super::Google;
use super::answers::{Refusal, auth_error, oauth};
use super::options::RefreshRotation;
use super::service_accounts;
use crate::journal::{ActorKind, Operation};
use crate::store::{Change, Note, Store};
use crate::wire::{Answer, Request};

const CODES: &str = "code";
const REFRESH: &str = "refresh_token";
const ACCESS: &str = "access_token";
const CONSENTS: &str = "consent";
const COUNTERS: &str = "counter";
const CODE_LIFE: SignedDuration = SignedDuration::from_mins(10);
const TESTING_LIFE: SignedDuration = SignedDuration::from_hours(7 * 24);
/// Six months unused.
const IDLE_LIFE: SignedDuration = SignedDuration::from_hours(182 * 24);

/// For whom a request is made, and what it may do.
#[derive(Debug, Clone)]
pub(super) struct Grant {
    pub(super) user: String,
    pub(super) client: String,
    pub(super) scopes: BTreeSet<String>,
}

/// What a person agreed to, for which a code stands.
#[derive(Debug, Clone)]
pub(super) struct Agreed {
    pub(super) user: String,
    pub(super) scopes: BTreeSet<String>,
    pub(super) redirect_uri: String,
    /// Method and value.
    pub(super) challenge: Option<(String, String)>,
    pub(super) is_offline: bool,
    /// Whether consent was asked for although it was there.
    pub(super) is_asked_again: bool,
}

fn random(prefix: &str) -> String {
    let bytes = [Uuid::new_v4().into_bytes(), Uuid::new_v4().into_bytes()].concat();
    format!("{prefix}{}", URL_SAFE_NO_PAD.encode(bytes))
}

fn text<'a>(row: &'a Value, name: &str) -> &'a str {
    row.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn time(row: &Value, name: &str) -> Timestamp {
    text(row, name).parse().unwrap_or(Timestamp::UNIX_EPOCH)
}

pub(super) fn scope_set(text: &str) -> BTreeSet<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

fn scope_text(scopes: &BTreeSet<String>) -> String {
    scopes.iter().map(String::as_str).collect::<Vec<_>>().join(" ")
}

/// The members of a form; the first of each name.
pub(super) struct Form(Vec<(String, String)>);

impl Form {
    pub(super) fn of(request: &Request) -> Self {
        let pairs = form_urlencoded::parse(&request.body);
        Self(pairs.map(|(name, value)| (name.into_owned(), value.into_owned())).collect())
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// What this user has agreed to so far.
pub(super) fn consent(store: &Store, user: &str) -> Option<BTreeSet<String>> {
    store.get(CONSENTS, user).map(|row| scope_set(text(row, "scope")))
}

/// Notes the agreement and answers a code for it.
pub(super) fn issue_code(store: &mut Store, now: Timestamp, agreed: &Agreed) -> io::Result<String> {
    let code = random("4/0A");
    let before = consent(store, &agreed.user);
    let all: BTreeSet<String> = before.iter().flatten().chain(&agreed.scopes).cloned().collect();
    let row = json!({
        "user": agreed.user, "scope": scope_text(&agreed.scopes), "redirect_uri": agreed.redirect_uri,
        "challenge_method": agreed.challenge.as_ref().map(|(method, _)| method),
        "challenge": agreed.challenge.as_ref().map(|(_, value)| value),
        "gives_refresh": agreed.is_offline && (agreed.is_asked_again || before.is_none()),
        "issued": now.to_string(),
    });
    let consent = json!({ "scope": scope_text(&all) });
    let note = Note {
        operation: if before.is_some() { Operation::Update } else { Operation::Create },
        entity: "Consent",
        record_id: agreed.user.clone(),
        actor_kind: ActorKind::Person,
        actor: agreed.user.clone(),
        before: before.map(|scopes| json!({ "scope": scope_text(&scopes) })),
        after: Some(consent.clone()),
    };
    let changes = vec![Change::set(CODES, &code, row), Change::set(CONSENTS, &agreed.user, consent)];
    store.commit(now, Some(note), changes)?;
    Ok(code)
}

/// Ends all that a user has agreed to.
pub(super) fn withdraw(store: &mut Store, now: Timestamp, user: &str, kind: ActorKind) -> io::Result<()> {
    let mut changes = vec![Change::remove(CONSENTS, user)];
    for table in [CODES, REFRESH, ACCESS] {
        let own = store.rows(table).filter(|(_, row)| text(row, "user") == user);
        changes.extend(own.map(|(token, _)| Change::remove(table, token)));
    }
    let before = consent(store, user).map(|scopes| json!({ "scope": scope_text(&scopes) }));
    let note = before.map(|before| Note {
        operation: Operation::Delete,
        entity: "Consent",
        record_id: user.to_owned(),
        actor_kind: kind,
        actor: user.to_owned(),
        before: Some(before),
        after: None,
    });
    store.commit(now, note, changes)
}

/// Ends all access tokens; refresh tokens stay good.
pub(super) fn end_access_tokens(store: &mut Store, now: Timestamp) -> io::Result<()> {
    let changes = store.rows(ACCESS).map(|(token, _)| Change::remove(ACCESS, token)).collect();
    store.commit(now, None, changes)
}

/// Whose the request's token is.
pub(super) fn check_bearer(store: &Store, now: Timestamp, request: &Request) -> Result<Grant, Refusal> {
    let row = request
        .header("Authorization")
        .and_then(|header| header.strip_prefix("Bearer "))
        .and_then(|token| store.get(ACCESS, token))
        .filter(|row| time(row, "ends") > now)
        .ok_or_else(auth_error)?;
    Ok(Grant {
        user: text(row, "user").to_owned(),
        client: text(row, "client").to_owned(),
        scopes: scope_set(text(row, "scope")),
    })
}

fn invalid_grant(description: &str) -> Answer {
    oauth(400, "invalid_grant", description)
}

fn missing(name: &str) -> Answer {
    oauth(400, "invalid_request", &format!("Missing required parameter: {name}"))
}

/// `id_token` of an OpenID request. Nobody can verify its signature, which is none.
fn id_token(client: &str, user: &str, now: Timestamp, seconds: u32) -> String {
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let subject =
        Uuid::new_v5(&Uuid::NAMESPACE_URL, user.as_bytes()).as_u128() % 1_000_000_000_000_000_000_000;
    let claims = json!({
        "iss": "https://accounts.google.com", "azp": client, "aud": client, "sub": format!("{subject:021}"),
        "email": user, "email_verified": true, "iat": now.as_second(), "exp": now.as_second() + i64::from(seconds),
    });
    let head = part(json!({ "alg": "RS256", "kid": "simulated", "typ": "JWT" }));
    format!("{head}.{}.{}", part(claims), URL_SAFE_NO_PAD.encode("simulated"))
}

impl Google {
    /// Who asks at the token endpoint, by form or by Basic.
    fn check_client(&self, request: &Request, form: &Form) -> Result<(), Answer> {
        let basic = request
            .header("Authorization")
            .and_then(|header| header.strip_prefix("Basic "))
            .and_then(|encoded| String::from_utf8(STANDARD.decode(encoded).ok()?).ok());
        let decoded = |text: &str| {
            form_urlencoded::parse(format!("x={text}").as_bytes()).map(|(_, value)| value.into_owned()).next()
        };
        let pair = match basic.as_deref().and_then(|pair| pair.split_once(':')) {
            Some((id, secret)) => (decoded(id), decoded(secret)),
            None => (form.get("client_id").map(str::to_owned), form.get("client_secret").map(str::to_owned)),
        };
        match pair {
            (None, _) => Err(missing("client_id")),
            (Some(id), _) if id != self.options.client_id => {
                Err(oauth(401, "invalid_client", "The OAuth client was not found."))
            }
            (_, None) => Err(oauth(400, "invalid_request", "client_secret is missing.")),
            (_, Some(secret)) if secret != self.options.client_secret => {
                Err(oauth(401, "invalid_client", "Unauthorized"))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn token(
        &mut self,
        store: &mut Store,
        now: Timestamp,
        request: &Request,
    ) -> io::Result<Answer> {
        let form = Form::of(request);
        let grant_type = form.get("grant_type").unwrap_or_default().to_owned();
        let is_form = request.header("Content-Type").unwrap_or_default();
        if !is_form.starts_with("application/x-www-form-urlencoded") {
            return Ok(oauth(400, "invalid_request", "The request is no form."));
        }
        if grant_type == service_accounts::GRANT_TYPE {
            return self.assert_jwt(store, now, &form);
        }
        if let Err(answer) = self.check_client(request, &form) {
            return Ok(answer);
        }
        match grant_type.as_str() {
            "authorization_code" => self.redeem(store, now, &form),
            "refresh_token" => self.refresh(store, now, &form),
            "" => Ok(missing("grant_type")),
            other => Ok(oauth(400, "unsupported_grant_type", &format!("Invalid grant_type: {other}"))),
        }
    }

    fn redeem(&mut self, store: &mut Store, now: Timestamp, form: &Form) -> io::Result<Answer> {
        let Some(code) = form.get("code") else { return Ok(missing("code")) };
        if !code.starts_with("4/") {
            return Ok(invalid_grant("Malformed auth code."));
        }
        let Some(row) = store.get(CODES, code).cloned() else { return Ok(invalid_grant("Bad Request")) };
        // Whatever comes of it, the code is used up.
        store.commit(now, None, vec![Change::remove(CODES, code)])?;
        if now.duration_since(time(&row, "issued")) > CODE_LIFE {
            return Ok(invalid_grant("Bad Request"));
        }
        if form.get("redirect_uri") != Some(text(&row, "redirect_uri")) {
            return Ok(oauth(400, "redirect_uri_mismatch", "Bad Request"));
        }
        let verifier = form.get("code_verifier");
        let is_proven = match (text(&row, "challenge_method"), verifier) {
            ("", _) => true,
            (_, None) => return Ok(invalid_grant("Missing code verifier.")),
            ("S256", Some(verifier)) => {
                URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes())) == text(&row, "challenge")
            }
            (_, Some(verifier)) => verifier == text(&row, "challenge"),
        };
        if !is_proven {
            return Ok(invalid_grant("Invalid code verifier."));
        }
        let (user, scope) = (text(&row, "user").to_owned(), text(&row, "scope").to_owned());
        let refresh = if row["gives_refresh"] == true {
            Some(self.issue_refresh(store, now, &user, &scope)?)
        } else {
            None
        };
        self.issue_access(store, now, &self.options.client_id, &user, &scope, refresh.as_deref())
    }

    /// A new refresh token. The oldest of that user dies when there are too many.
    pub(super) fn issue_refresh(
        &self,
        store: &mut Store,
        now: Timestamp,
        user: &str,
        scope: &str,
    ) -> io::Result<String> {
        let token = random("1//0");
        let order = store.get(COUNTERS, REFRESH).and_then(Value::as_u64).unwrap_or(0) + 1;
        let mut own: Vec<(u64, String)> = store
            .rows(REFRESH)
            .filter(|(_, row)| text(row, "user") == user)
            .map(|(token, row)| (row["order"].as_u64().unwrap_or(0), token.clone()))
            .collect();
        own.sort_unstable();
        let surplus = (own.len() + 1).saturating_sub(self.options.refresh_tokens_max.max(1));
        let mut changes: Vec<Change> =
            own.into_iter().take(surplus).map(|(_, token)| Change::remove(REFRESH, &token)).collect();
        let row = json!({
            "user": user, "scope": scope, "issued": now.to_string(), "used": now.to_string(), "order": order,
            "testing": self.options.testing,
        });
        changes.push(Change::set(REFRESH, &token, row));
        changes.push(Change::set(COUNTERS, REFRESH, json!(order)));
        store.commit(now, None, changes)?;
        Ok(token)
    }

    /// A new access token, as the token endpoint answers it. `refresh` is shown when it is new.
    pub(super) fn issue_access(
        &self,
        store: &mut Store,
        now: Timestamp,
        client: &str,
        user: &str,
        scope: &str,
        refresh: Option<&str>,
    ) -> io::Result<Answer> {
        let token = random("ya29.a0");
        let seconds = self.options.access_token_seconds;
        let ends = now.checked_add(SignedDuration::from_secs(i64::from(seconds))).unwrap_or(Timestamp::MAX);
        let mut changes: Vec<Change> = store
            .rows(ACCESS)
            .filter(|(_, row)| time(row, "ends") <= now)
            .map(|(token, _)| Change::remove(ACCESS, token))
            .collect();
        let row = json!({ "user": user, "client": client, "scope": scope, "ends": ends.to_string() });
        changes.push(Change::set(ACCESS, &token, row));
        store.commit(now, None, changes)?;
        let mut body =
            json!({ "access_token": token, "expires_in": seconds, "scope": scope, "token_type": "Bearer" });
        if let Some(refresh) = refresh {
            body["refresh_token"] = json!(refresh);
            if self.options.testing {
                body["refresh_token_expires_in"] = json!(TESTING_LIFE.as_secs());
            }
        }
        if scope_set(scope).contains("openid") {
            body["id_token"] = json!(id_token(client, user, now, seconds));
        }
        Ok(Answer::json(200, &body).with("Cache-Control", "no-cache, no-store"))
    }

    fn refresh(&mut self, store: &mut Store, now: Timestamp, form: &Form) -> io::Result<Answer> {
        let Some(token) = form.get("refresh_token") else { return Ok(missing("refresh_token")) };
        match self.refuse_refresh.as_deref() {
            Some("invalid_rapt") => {
                return Ok(Answer::json(
                    400,
                    &json!({
                        "error": "invalid_grant", "error_description": "reauth related error (invalid_rapt)",
                        "error_uri": "https://support.google.com/a/answer/9368756", "error_subtype": "invalid_rapt",
                    }),
                ));
            }
            Some("rate_limit_exceeded") => {
                return Ok(oauth(403, "rate_limit_exceeded", "Rate limit exceeded."));
            }
            Some("deleted_client") => {
                return Ok(oauth(401, "deleted_client", "The OAuth client was deleted."));
            }
            Some(why) => return Ok(oauth(400, why, "The access is blocked by the administrator.")),
            None => {}
        }
        let dead = "Token has been expired or revoked.";
        let Some(mut row) = store.get(REFRESH, token).cloned() else { return Ok(invalid_grant(dead)) };
        let age = now.duration_since(time(&row, "issued"));
        let idle = now.duration_since(time(&row, "used"));
        if (row["testing"] == true && age >= TESTING_LIFE) || idle > IDLE_LIFE {
            store.commit(now, None, vec![Change::remove(REFRESH, token)])?;
            return Ok(invalid_grant(dead));
        }
        let (user, scope) = (text(&row, "user").to_owned(), text(&row, "scope").to_owned());
        row["used"] = json!(now.to_string());
        store.commit(now, None, vec![Change::set(REFRESH, token, row)])?;
        let new = match self.options.refresh_rotation {
            RefreshRotation::None => None,
            RefreshRotation::KeepOld => Some(self.issue_refresh(store, now, &user, &scope)?),
            RefreshRotation::RevokeOld => {
                store.commit(now, None, vec![Change::remove(REFRESH, token)])?;
                Some(self.issue_refresh(store, now, &user, &scope)?)
            }
        };
        self.issue_access(store, now, &self.options.client_id, &user, &scope, new.as_deref())
    }

    pub(super) fn revoke(
        &mut self,
        store: &mut Store,
        now: Timestamp,
        request: &Request,
    ) -> io::Result<Answer> {
        let form = Form::of(request);
        let token = form.get("token").map(str::to_owned).or_else(|| request.query_value("token"));
        let Some(token) = token else { return Ok(missing("token")) };
        let row = store.get(REFRESH, &token).or_else(|| store.get(ACCESS, &token));
        let Some(user) = row.map(|row| text(row, "user").to_owned()) else {
            return Ok(oauth(400, "invalid_token", "Token expired or revoked"));
        };
        withdraw(store, now, &user, ActorKind::Api)?;
        Ok(Answer::json(200, &json!({})))
    }
}

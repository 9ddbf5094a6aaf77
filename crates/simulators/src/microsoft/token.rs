//! The token endpoint.

use std::io;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::Microsoft;
use super::grants::{self, Access, Code, Refresh, Resource};
use crate::store::{Change, Store};
use crate::wire::{Answer, Request};

/// Nobody used a refresh token for so long: it is good no more.
const INACTIVE_AFTER: SignedDuration = SignedDuration::from_hours(90 * 24);
/// How far back the same request is looked for.
const LOOP_SPAN: SignedDuration = SignedDuration::from_mins(5);

/// Why there is no token.
#[derive(Debug, Clone)]
pub(super) struct Denial {
    pub(super) status: u16,
    pub(super) error: String,
    pub(super) code: u32,
    pub(super) message: String,
    pub(super) suberror: Option<String>,
    pub(super) claims: Option<String>,
}

impl Denial {
    pub(super) fn new(error: &str, code: u32, message: &str) -> Self {
        let status = if error == "invalid_client" { 401 } else { 400 };
        let (error, message) = (error.to_owned(), message.to_owned());
        Self { status, error, code, message, suberror: None, claims: None }
    }

    fn sub(mut self, suberror: &str) -> Self {
        self.suberror = Some(suberror.to_owned());
        self
    }

    fn answer(&self, now: Timestamp) -> Answer {
        let (trace, correlation) = (Uuid::new_v4(), Uuid::new_v4());
        let at = now.strftime("%Y-%m-%d %H:%M:%SZ").to_string();
        let description = format!(
            "AADSTS{}: {}\r\nTrace ID: {trace}\r\nCorrelation ID: {correlation}\r\nTimestamp: {at}",
            self.code, self.message
        );
        let mut body = json!({
            "error": self.error, "error_description": description, "error_codes": [self.code], "timestamp": at,
            "trace_id": trace.to_string(), "correlation_id": correlation.to_string(),
            "error_uri": format!("https://login.microsoftonline.com/error?code={}", self.code),
        });
        for (name, value) in [("suberror", &self.suberror), ("claims", &self.claims)] {
            if let Some(value) = value {
                body[name] = json!(value);
            }
        }
        Answer::json(self.status, &body).with("Cache-Control", "no-store, no-cache")
    }
}

struct Form(Vec<(String, String)>);

impl Form {
    fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    fn need(&self, name: &str) -> Result<&str, Denial> {
        let message = format!("The request body must contain the following parameter: '{name}'.");
        self.get(name).ok_or_else(|| Denial::new("invalid_request", 900_144, &message))
    }

    fn scopes(&self) -> Vec<String> {
        self.get("scope").unwrap_or_default().split_whitespace().map(str::to_owned).collect()
    }
}

/// `POST /{tenant}/oauth2/v2.0/token`.
pub(super) fn answer(
    microsoft: &mut Microsoft,
    store: &mut Store,
    now: Timestamp,
    request: &Request,
    tenant: &str,
    is_tenant: bool,
) -> io::Result<Answer> {
    let form = Form(url::form_urlencoded::parse(&request.body).into_owned().collect());
    let kind = form.get("grant_type").unwrap_or_default().to_owned();
    let whose = match kind.as_str() {
        "refresh_token" => {
            form.get("refresh_token").and_then(|id| grants::read::<Refresh>(store, grants::REFRESH, id))
        }
        _ => None,
    };
    microsoft.count_token_request(&kind, whose.as_ref().map(|refresh| refresh.mailbox.as_str()));
    if let Some(denial) = microsoft.next_token_error() {
        return Ok(denial.answer(now));
    }
    if !is_tenant {
        return Ok(Denial::new("invalid_request", 90_002, "Tenant not found.").answer(now));
    }
    let checked = authenticate(microsoft, request, &form).and_then(|()| match kind.as_str() {
        "authorization_code" => by_code(microsoft, store, now, &form),
        "refresh_token" => by_refresh(microsoft, store, now, &form),
        "client_credentials" => by_secret(microsoft, now, &form, tenant),
        "" => {
            Err(form.need("grant_type").err().unwrap_or_else(|| Denial::new("invalid_request", 900_144, "")))
        }
        _ => Err(Denial::new("unsupported_grant_type", 70_003, "The grant type is not supported.")),
    });
    match checked {
        Err(denial) => Ok(denial.answer(now)),
        Ok(issue) => {
            let Issue { body, mut changes } = issue;
            changes.extend(grants::outdated(store, now));
            store.commit(now, None, changes)?;
            Ok(Answer::json(200, &body).with("Cache-Control", "no-store, no-cache"))
        }
    }
}

/// A token and what the store keeps of it.
struct Issue {
    body: Value,
    changes: Vec<Change>,
}

fn authenticate(microsoft: &Microsoft, request: &Request, form: &Form) -> Result<(), Denial> {
    if request.header("Origin").is_some() {
        let message =
            "Cross-origin token redemption is permitted only for the 'Single-Page Application' client-type.";
        return Err(Denial::new("invalid_request", 9_002_326, message));
    }
    let is_form = request
        .header("Content-Type")
        .is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded"));
    if !is_form {
        return Err(Denial::new("invalid_request", 900_144, "The request body must be form-encoded."));
    }
    let basic =
        request.header("Authorization").and_then(|header| header.strip_prefix("Basic ")).and_then(|text| {
            let decoded = String::from_utf8(STANDARD.decode(text).ok()?).ok()?;
            let (id, secret) = decoded.split_once(':')?;
            let plain = |text: &str| {
                url::form_urlencoded::parse(format!("x={text}").as_bytes())
                    .next()
                    .map(|(_, value)| value.into_owned())
            };
            Some((plain(id)?, plain(secret)?))
        });
    let (id, secret) = match &basic {
        Some((id, secret)) => (id.as_str(), Some(secret.as_str())),
        None => (form.need("client_id")?, form.get("client_secret")),
    };
    if id != microsoft.options.client_id {
        return Err(Denial::new(
            "unauthorized_client",
            700_016,
            "Application was not found in the directory.",
        ));
    }
    let Some(secret) = secret else {
        let message =
            "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.";
        return Err(Denial::new("invalid_client", 7_000_218, message));
    };
    if secret != microsoft.options.client_secret {
        let message = "Invalid client secret provided. Ensure the secret being sent in the request is the client secret \
                       value, not the client secret ID.";
        return Err(Denial::new("invalid_client", 7_000_215, message));
    }
    if microsoft.is_secret_expired {
        return Err(Denial::new("invalid_client", 7_000_222, "The provided client secret keys are expired."));
    }
    Ok(())
}

fn by_code(microsoft: &mut Microsoft, store: &Store, now: Timestamp, form: &Form) -> Result<Issue, Denial> {
    let id = form.need("code")?;
    let invalid = |code: u32, message: &str| Denial::new("invalid_grant", code, message);
    let code: Code = grants::read(store, grants::CODES, id)
        .ok_or_else(|| invalid(70_000, "The provided value for the 'code' parameter is not valid."))?;
    if code.is_used {
        return Err(invalid(
            54_005,
            "OAuth2 Authorization code was already redeemed, please retry with a new valid code \
                                    or use an existing refresh token.",
        ));
    }
    if code.ends <= now {
        return Err(invalid(
            70_008,
            "The provided authorization code or refresh token has expired due to inactivity.",
        ));
    }
    if form.need("redirect_uri")? != code.redirect_uri {
        let message =
            "The reply address does not match the reply address provided when requesting Authorization code.";
        return Err(Denial::new("invalid_client", 500_112, message));
    }
    if let Some(challenge) = &code.challenge {
        let verifier = form.get("code_verifier").unwrap_or_default();
        let made = match code.challenge_method.as_str() {
            "S256" => URL_SAFE_NO_PAD.encode(Sha256::digest(verifier)),
            _ => verifier.to_owned(),
        };
        if made != *challenge {
            return Err(invalid(
                501_481,
                "The Code_Verifier does not match the code_challenge supplied in the \
                                         authorization request.",
            ));
        }
    }
    let mut scopes = form.scopes();
    if scopes.is_empty() {
        scopes.clone_from(&code.scopes);
    }
    let may_refresh = code.scopes.iter().any(|scope| scope == "offline_access");
    let mut issue = issue(microsoft, store, now, form, Some(&code.mailbox), &scopes, may_refresh)?;
    if code.scopes.iter().any(|scope| scope == "openid") {
        issue.body["id_token"] = json!(id_token(microsoft, now, &code));
    }
    let used = Code { is_used: true, ..code };
    issue.changes.push(Change::set(grants::CODES, id, json!(used)));
    Ok(issue)
}

fn by_refresh(
    microsoft: &mut Microsoft,
    store: &Store,
    now: Timestamp,
    form: &Form,
) -> Result<Issue, Denial> {
    let id = form.need("refresh_token")?;
    let invalid = |code: u32, message: &str| Denial::new("invalid_grant", code, message);
    let refresh: Refresh = grants::read(store, grants::REFRESH, id)
        .ok_or_else(|| invalid(9_002_313, "Invalid request. Request is malformed or invalid."))?;
    if let Some(code) = refresh.revoked {
        let message = "The provided grant has expired due to it being revoked, a fresh auth token is needed. The user \
                       might have changed or reset their password.";
        return Err(invalid(code, message).sub("bad_token"));
    }
    if now.duration_since(refresh.used) > INACTIVE_AFTER {
        let message = format!(
            "The refresh token has expired due to inactivity. The token was issued on {} and was inactive for 90.00:00:00.",
            super::render::stamp(refresh.issued)
        );
        return Err(invalid(700_082, &message));
    }
    if let Some(refused) = store.get(grants::REFUSALS, &refresh.mailbox) {
        return Err(refusal(refused));
    }
    if microsoft.is_looping(now, id, LOOP_SPAN) {
        let message = "The server terminated an operation because it encountered a client request loop.";
        return Err(Denial::new("invalid_request", 50_196, message));
    }
    let consented = grants::consented(store, &refresh.client, &refresh.mailbox);
    let mut scopes = form.scopes();
    if scopes.is_empty() {
        scopes.clone_from(&consented);
    }
    let mut issue = issue(microsoft, store, now, form, Some(&refresh.mailbox), &scopes, true)?;
    let revoked = microsoft.options.revoke_used_refresh_tokens.then_some(50_173);
    let used = Refresh { used: now, revoked, ..refresh };
    issue.changes.push(Change::set(grants::REFRESH, id, json!(used)));
    Ok(issue)
}

fn by_secret(microsoft: &mut Microsoft, now: Timestamp, form: &Form, tenant: &str) -> Result<Issue, Denial> {
    if ["common", "organizations"].contains(&tenant) {
        let message = "The endpoint only accepts tenants of its own for client credentials.";
        return Err(Denial::new("invalid_request", 90_100, message));
    }
    let scopes = form.scopes();
    let [scope] = scopes.as_slice() else {
        return Err(Denial::new("invalid_scope", 70_011, "The scope must be one resource's '/.default'."));
    };
    let resource = match grants::scope(scope) {
        Some((resource, ".default")) => resource,
        _ => {
            return Err(Denial::new(
                "invalid_scope",
                1_002_012,
                "The provided value for scope is not valid.",
            ));
        }
    };
    let names = microsoft.options.application_permissions.clone();
    Ok(access(microsoft, now, form, None, resource, names))
}

/// The refusal that a control request has laid out for a person.
fn refusal(laid_out: &Value) -> Denial {
    let text = |name: &str| laid_out[name].as_str();
    let code = laid_out["code"].as_u64().and_then(|code| u32::try_from(code).ok()).unwrap_or(0);
    let mut denial = Denial::new(text("error").unwrap_or("invalid_grant"), code, "The person is refused.");
    denial.suberror = text("suberror").map(str::to_owned);
    if denial.error == "interaction_required" {
        let claims = json!({ "access_token": { "capolids": { "essential": true,
            "values": ["00000000-0000-0000-0000-000000000000"] } } });
        denial.claims = Some(claims.to_string());
    }
    denial
}

fn issue(
    microsoft: &mut Microsoft,
    store: &Store,
    now: Timestamp,
    form: &Form,
    mailbox: Option<&str>,
    scopes: &[String],
    may_refresh: bool,
) -> Result<Issue, Denial> {
    if let Some(unknown) = grants::unknown(scopes) {
        let message = format!(
            "The provided value for the input parameter 'scope' is not valid. The scope {unknown} is not valid."
        );
        return Err(Denial::new("invalid_scope", 70_011, &message));
    }
    // The resource that is named first wins.
    let resource =
        scopes.iter().find_map(|text| grants::scope(text)).map_or(Resource::Graph, |(resource, _)| resource);
    let client = microsoft.options.client_id.clone();
    let consented = mailbox.map(|mailbox| grants::consented(store, &client, mailbox)).unwrap_or_default();
    let of_resource = |scopes: &[String]| -> Vec<String> {
        let names = scopes.iter().filter_map(|text| grants::scope(text));
        names.filter(|(named, _)| *named == resource).map(|(_, name)| name.to_owned()).collect()
    };
    let (wanted, given) = (of_resource(scopes), of_resource(&consented));
    let is_given = |name: &String| name == ".default" || given.contains(name);
    if given.is_empty() && !consented.contains(&"openid".to_owned()) || !wanted.iter().all(is_given) {
        let message = "The user or administrator has not consented to use the application.";
        return Err(Denial::new("invalid_grant", 65_001, message).sub("consent_required"));
    }
    // What was consented to once comes with every token of the resource.
    let mut issue = access(microsoft, now, form, mailbox, resource, given);
    // What the vendor's own library asks for, and tells accounts apart by.
    if form.get("client_info") == Some("1")
        && let Some(person) = mailbox.and_then(|mailbox| microsoft.mailbox(mailbox))
    {
        let info = json!({ "uid": person.object_id, "utid": microsoft.options.tenant });
        issue.body["client_info"] = json!(URL_SAFE_NO_PAD.encode(info.to_string()));
    }
    if may_refresh && let Some(mailbox) = mailbox {
        let refresh = grants::secret("1.AXQAr");
        let row = Refresh { client, mailbox: mailbox.to_owned(), issued: now, used: now, revoked: None };
        issue.changes.extend(grants::issue(store, &refresh, &row));
        issue.body["refresh_token"] = json!(refresh);
    }
    Ok(issue)
}

fn access(
    microsoft: &mut Microsoft,
    now: Timestamp,
    form: &Form,
    mailbox: Option<&str>,
    resource: Resource,
    scopes: Vec<String>,
) -> Issue {
    let seconds = microsoft.token_seconds();
    let token = grants::secret("eyJ0eXAiOiJKV1QiLCJub25jZSI6");
    let mut body = json!({
        "token_type": "Bearer", "scope": grants::shown(resource, &scopes), "expires_in": seconds,
        "ext_expires_in": seconds, "access_token": token,
    });
    if mailbox.is_none()
        && let Some(body) = body.as_object_mut()
    {
        body.shift_remove("scope");
    }
    let row = Access {
        client: microsoft.options.client_id.clone(),
        mailbox: mailbox.map(str::to_owned),
        resource,
        scopes,
        ends: now.checked_add(SignedDuration::from_secs(i64::from(seconds))).unwrap_or(now),
        issued: now,
        has_claims: form.get("claims").is_some(),
    };
    Issue { body, changes: vec![Change::set(grants::ACCESS, &token, json!(row))] }
}

/// Who signed in. `[A]` Unsigned: a client that got it from this endpoint itself need not check more.
fn id_token(microsoft: &Microsoft, now: Timestamp, code: &Code) -> String {
    let mailbox = microsoft.mailbox(&code.mailbox);
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let head = part(json!({ "typ": "JWT", "alg": "none" }));
    let claims = part(json!({
        "aud": code.client, "iss": format!("https://login.microsoftonline.com/{}/v2.0", microsoft.options.tenant),
        "iat": now.as_second(), "nbf": now.as_second(), "exp": now.as_second() + 3_600,
        "name": mailbox.map(|mailbox| mailbox.name.clone()), "nonce": code.nonce,
        "oid": mailbox.map(|mailbox| mailbox.object_id.clone()), "preferred_username": code.mailbox,
        "sub": mailbox.map(|mailbox| mailbox.object_id.clone()), "tid": microsoft.options.tenant, "ver": "2.0",
    }));
    format!("{head}.{claims}.")
}

//! Control requests of this system alone, below `/_control/` of its listener and in [`Simulator::control`].
//!
//! | request | meaning |
//! |---|---|
//! | `GET mails`, `GET outside-description`, `GET token-requests` | what was counted |
//! | `GET notifications` | `{"waiting":n}`: those that are not sent yet |
//! | `GET mailboxes`, `POST mailboxes {address, name, zone?}` | the people |
//! | `POST mailboxes/problem {mailbox, problem}` | `access_denied`, `not_enabled`, `none_there`, or null |
//! | `POST mailboxes/challenge {mailbox}` | its tokens are answered 401 with claims, until one is asked for with claims |
//! | `POST calendars {mailbox, name}` | a person makes a calendar; answers `{"id":…}` |
//! | `POST identity/consent {as}` | an address: that person agrees at once; `"denied"`; null: the page is shown |
//! | `POST identity/revoke {mailbox?, code?}` | all refresh tokens are revoked (50173) |
//! | `POST identity/withdraw-consent {mailbox}` | there is no consent any more (65001) |
//! | `POST identity/refuse {mailbox, error, code, suberror?}` | as `interaction_required`; until the person signs in again; `error` null ends it |
//! | `POST identity/expire-access {mailbox?}` | access tokens end now |
//! | `POST identity/secret {expired?, value?}` | the client secret has expired, or is another one |
//! | `POST identity/errors {error, code, status?, times?}` | the next token requests fail so |
//! | `POST delta/expire {mailbox?, after_requests?, death?}` | links die now, or after so many more requests; see [`TokenDeath`] |
//! | `POST delta/stall {mailbox?, times}` | the next links are answered by themselves, with the same page |
//! | `POST subscriptions/lifecycle {event, mailbox?}` | `reauthorizationRequired`, `subscriptionRemoved`, `missed` |
//!
//! [`Simulator::control`]: crate::Simulator::control

use jiff::Timestamp;
use serde_json::{Value, json};

use super::delta::TokenDeath;
use super::grants;
use super::graph;
use super::identity::Consent;
use super::notifications;
use super::state;
use super::token::Denial;
use super::{Mailbox, Microsoft, MicrosoftOptions};
use crate::store::{Change, Store};

fn text<'a>(body: &'a Value, name: &str) -> Option<&'a str> {
    body.get(name).and_then(Value::as_str)
}

fn number(body: &Value, name: &str) -> Result<Option<u32>, String> {
    match body.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_u64().and_then(|value| u32::try_from(value).ok()) {
            Some(value) => Ok(Some(value)),
            None => Err(format!("{name} is no whole number")),
        },
    }
}

pub(super) fn answer(
    microsoft: &mut Microsoft,
    store: &mut Store,
    now: Timestamp,
    method: &str,
    path: &[&str],
    body: &Value,
) -> Result<Value, String> {
    let named = match text(body, "mailbox") {
        None => None,
        Some(address) => Some(microsoft.mailbox(address).ok_or("no such mailbox")?.address.clone()),
    };
    let need = || named.clone().ok_or("mailbox is missing");
    let mut changes = Vec::new();
    let mut done = json!({});
    match (method, path) {
        ("GET", ["mails"]) => return Ok(Value::Array(state::mails(store))),
        ("GET", ["outside-description"]) => return Ok(Value::Array(graph::outside(store))),
        ("GET", ["token-requests"]) => return Ok(json!(microsoft.token_requests)),
        ("GET", ["notifications"]) => return Ok(json!({ "waiting": notifications::waiting(store) })),
        ("GET", ["mailboxes"]) => {
            let all = microsoft.mailboxes.iter().map(|mailbox| {
                json!({ "address": mailbox.address, "name": mailbox.name, "zone": mailbox.zone,
                        "objectId": mailbox.object_id, "defaultCalendar": mailbox.default_calendar() })
            });
            return Ok(all.collect());
        }
        ("POST", ["mailboxes"]) => {
            let address =
                text(body, "address").filter(|address| address.contains('@')).ok_or("address is missing")?;
            if microsoft.mailbox(address).is_some() {
                return Err("there is such a mailbox".to_owned());
            }
            let mut mailbox = Mailbox::new(address, text(body, "name").unwrap_or(address));
            if let Some(zone) = text(body, "zone") {
                zone.clone_into(&mut mailbox.zone);
            }
            microsoft.mailboxes.push(mailbox);
        }
        ("POST", ["mailboxes", "problem"]) => {
            match text(body, "problem") {
                None => microsoft.problems.remove(&need()?),
                Some(problem @ ("access_denied" | "not_enabled" | "none_there")) => {
                    microsoft.problems.insert(need()?, problem.to_owned())
                }
                Some(problem) => return Err(format!("{problem} is no problem of a mailbox")),
            };
        }
        ("POST", ["mailboxes", "challenge"]) => {
            microsoft.challenged.insert(need()?, now);
        }
        ("POST", ["calendars"]) => {
            let mailbox = microsoft.mailbox(&need()?).cloned().ok_or("no such mailbox")?;
            let name = text(body, "name").ok_or("name is missing")?;
            let id = microsoft.add_calendar(store, now, &mailbox, name).map_err(|error| error.to_string())?;
            done = json!({ "id": id });
        }
        ("POST", ["identity", "consent"]) => {
            microsoft.consent = match text(body, "as") {
                None => Consent::Page,
                Some("denied") => Consent::Denied,
                Some(address) => {
                    Consent::As(microsoft.mailbox(address).ok_or("no such mailbox")?.address.clone())
                }
            };
        }
        ("POST", ["identity", "revoke"]) => {
            let code = number(body, "code")?.unwrap_or(50_173);
            changes = grants::revoke(store, named.as_deref(), code);
        }
        ("POST", ["identity", "withdraw-consent"]) => {
            let id = grants::consent_id(&microsoft.options.client_id, &need()?);
            changes.push(Change::remove(grants::CONSENTS, &id));
        }
        ("POST", ["identity", "refuse"]) => changes.push(match text(body, "error") {
            None => Change::remove(grants::REFUSALS, &need()?),
            Some(_) => Change::set(grants::REFUSALS, &need()?, body.clone()),
        }),
        ("POST", ["identity", "expire-access"]) => changes = grants::expire(store, now, named.as_deref()),
        ("POST", ["identity", "secret"]) => {
            if let Some(expired) = body.get("expired").and_then(Value::as_bool) {
                microsoft.is_secret_expired = expired;
            }
            if let Some(value) = text(body, "value") {
                value.clone_into(&mut microsoft.options.client_secret);
            }
        }
        ("POST", ["identity", "errors"]) => {
            let error = text(body, "error").ok_or("error is missing")?;
            let mut denial = Denial::new(error, number(body, "code")?.unwrap_or(0), "Laid out by a test.");
            if let Some(status) = number(body, "status")? {
                denial.status = u16::try_from(status).map_err(|_| "status is none".to_owned())?;
            }
            let times = number(body, "times")?.unwrap_or(1).min(1_000);
            microsoft.token_errors.extend((0..times).map(|_| denial.clone()));
        }
        ("POST", ["delta", "expire"]) => {
            let death = match text(body, "death") {
                None => TokenDeath::default(),
                Some(name) => {
                    TokenDeath::read(name).ok_or_else(|| format!("{name} is no death of a token"))?
                }
            };
            let after = number(body, "after_requests")?;
            let all = microsoft.mailboxes.iter().map(|mailbox| mailbox.address.clone());
            let concerned: Vec<String> =
                all.filter(|one| named.as_ref().is_none_or(|named| named == one)).collect();
            for address in concerned {
                let deaths = microsoft.deaths.entry(address).or_default();
                deaths.death = death;
                deaths.after_requests = after;
                deaths.generation += u64::from(after.is_none());
            }
        }
        ("POST", ["delta", "stall"]) => {
            let times = number(body, "times")?.unwrap_or(1);
            let all = microsoft.mailboxes.iter().map(|mailbox| mailbox.address.clone());
            let concerned: Vec<String> =
                all.filter(|one| named.as_ref().is_none_or(|named| named == one)).collect();
            for address in concerned {
                microsoft.deaths.entry(address).or_default().stalls = times;
            }
        }
        ("POST", ["subscriptions", "lifecycle"]) => {
            let event = text(body, "event").unwrap_or_default();
            if !["reauthorizationRequired", "subscriptionRemoved", "missed"].contains(&event) {
                return Err(format!("{event} is no lifecycle event"));
            }
            let sent =
                microsoft.live(store, now, event, named.as_deref()).map_err(|error| error.to_string())?;
            done = json!({ "subscriptions": sent });
        }
        _ => return Err(format!("no control request {method} {}", path.join("/"))),
    }
    if !changes.is_empty() {
        store.commit(now, None, changes).map_err(|error| error.to_string())?;
    }
    Ok(done)
}

/// One setting, by its name in [`MicrosoftOptions`].
pub(super) fn configure(options: &mut MicrosoftOptions, key: &str, value: &Value) -> Result<(), String> {
    let wrong = || format!("{key}: {value} is no setting of Microsoft");
    let whole = || value.as_u64().and_then(|value| u32::try_from(value).ok()).ok_or_else(wrong);
    let share = || value.as_f64().filter(|share| (0.0..=1.0).contains(share)).ok_or_else(wrong);
    let flag = || value.as_bool().ok_or_else(wrong);
    let size = || whole().and_then(|value| usize::try_from(value).map_err(|_| wrong()));
    match key {
        "client_secret" => value.as_str().ok_or_else(wrong)?.clone_into(&mut options.client_secret),
        "redirect_uris" => {
            let uris = value.as_array().ok_or_else(wrong)?;
            options.redirect_uris = uris.iter().filter_map(Value::as_str).map(str::to_owned).collect();
        }
        "transaction_memory_hours" => options.transaction_memory_hours = whole()?,
        "revoke_used_refresh_tokens" => options.revoke_used_refresh_tokens = flag()?,
        "loop_requests_max" => options.loop_requests_max = size()?,
        "requests_max" => options.requests_max = size()?,
        "concurrent_requests_max" => options.concurrent_requests_max = size()?,
        "delta_token_hours" if value.is_null() => options.delta_token_hours = None,
        "delta_token_hours" => options.delta_token_hours = Some(whole()?),
        "delta_delay_seconds" => options.delta_delay_seconds = whole()?,
        "empty_page_chance" => options.empty_page_chance = share()?,
        "replay_chance" => options.replay_chance = share()?,
        "deleted_occurrences_show" => options.deleted_occurrences_show = flag()?,
        "notification_delay_seconds_max" => options.notification_delay_seconds_max = whole()?,
        "notification_loss" => options.notification_loss = share()?,
        "notification_duplicates" => options.notification_duplicates = share()?,
        _ => return Err(wrong()),
    }
    Ok(())
}

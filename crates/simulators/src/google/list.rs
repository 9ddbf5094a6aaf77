//! Pages, page tokens and sync tokens, alike for every list.
//!
//! A list that is paged through shows each page as it is when it is asked for. The sync token of the last page reaches
//! back to the first: what changed in between comes (perhaps once more) with the next increment, nothing is missed.

use std::io;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE;
use jiff::{SignedDuration, Timestamp};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Google;
use super::answers::{Refusal, bad_request, full_sync_required, invalid};
use super::description::Call;
use crate::store::{Change, Store};

/// What is listed, and how.
pub(super) struct Items<'a> {
    /// What a token is good for.
    pub(super) scope: String,
    /// Parameters that must be on every page and increment as they were in the first request.
    pub(super) fixed: &'a [&'a str],
    pub(super) gives_sync_token: bool,
    pub(super) items_default: usize,
    pub(super) items_max: usize,
    /// Sync tokens numbered so or lower are no longer good.
    pub(super) floor: u64,
    /// The journal's sequence up to which the list shows what happened; what came later is left out.
    pub(super) horizon: u64,
}

/// One page.
#[derive(Debug)]
pub(super) struct Page {
    items: Vec<Value>,
    next: Option<(&'static str, String)>,
}

impl Page {
    /// The answer's body: what the list itself shows, then token and items.
    pub(super) fn body(self, mut body: Value) -> Value {
        if let Some((name, token)) = self.next {
            body[name] = json!(token);
        }
        body["items"] = Value::Array(self.items);
        body
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct SyncToken {
    scope: String,
    /// Rises with each token that is issued.
    number: u64,
    /// The journal's sequence up to which its holder knows everything.
    since: u64,
    issued: Timestamp,
    fixed: Vec<(String, String)>,
}

#[derive(Debug, Serialize, Deserialize)]
struct PageToken {
    scope: String,
    /// Of the page it stands for, from 2.
    number: u32,
    /// Key of the last item shown.
    after: String,
    /// The journal's sequence at the first page.
    since: u64,
    /// The query of the first page, without page token and page size.
    query: Vec<(String, String)>,
}

fn encoded(token: &impl Serialize) -> io::Result<String> {
    serde_json::to_vec(token).map(|bytes| URL_SAFE.encode(bytes)).map_err(io::Error::other)
}

fn decoded<T: DeserializeOwned>(token: &str) -> Option<T> {
    serde_json::from_slice(&URL_SAFE.decode(token).ok()?).ok()
}

const COUNTERS: &str = "counter";
const ISSUED: &str = "sync_tokens";
const EXPIRED: &str = "sync_tokens_expired";

fn counter(store: &Store, name: &str) -> u64 {
    store.get(COUNTERS, name).and_then(Value::as_u64).unwrap_or(0)
}

/// Sync tokens issued so far.
pub(super) fn tokens_issued(store: &Store) -> u64 {
    counter(store, ISSUED)
}

/// Every sync token issued so far is no longer good.
pub(super) fn expire_tokens(store: &mut Store, now: Timestamp) -> io::Result<()> {
    let issued = tokens_issued(store);
    store.commit(now, None, vec![Change::set(COUNTERS, EXPIRED, json!(issued))])
}

/// An etag as Google's look; another one for each change.
pub(super) fn etag(change: u64) -> String {
    format!("\"{}\"", 3_400_000_000_000_000 + change * 2)
}

/// Of the whole list; another one after each change of anything.
pub(super) fn collection_etag(store: &Store) -> String {
    format!("\"p33g{:08x}\"", store.sequence())
}

/// The journal's sequence up to which the holder of the request's sync token knows everything.
pub(super) fn since(call: &Call) -> Option<u64> {
    let sync: SyncToken = decoded(call.parameter("syncToken")?)?;
    Some(sync.since)
}

/// Refuses parameters that may not stand beside a sync token.
pub(super) fn refuse_beside_token(call: &Call, names: &[&str]) -> Result<(), Refusal> {
    for name in names {
        if call.parameter(name).is_some() {
            let message = format!("Sync token cannot be used with {name}.");
            return Err(bad_request(message).at("parameter", *name));
        }
    }
    for name in ["showDeleted", "showHidden"] {
        if call.parameter(name) == Some("false") {
            let message = format!("{name} cannot be false when a sync token is given.");
            return Err(bad_request(message).at("parameter", name));
        }
    }
    Ok(())
}

impl Google {
    /// The page that is asked for, of the items with their keys, by which they are in order: all there are, or what changed
    /// [`since`] the sync token was issued.
    pub(super) fn page(
        &mut self,
        store: &mut Store,
        now: Timestamp,
        call: &Call,
        items: &Items<'_>,
        mut found: Vec<(String, Value)>,
    ) -> io::Result<Result<Page, Refusal>> {
        let sync: Option<SyncToken> = match call.parameter("syncToken").map(decoded) {
            None => None,
            Some(None) => return Ok(Err(invalid("Invalid sync token value.").at("parameter", "syncToken"))),
            Some(sync) => sync,
        };
        let page: Option<PageToken> = match call.parameter("pageToken").map(decoded) {
            None => None,
            Some(None) => return Ok(Err(invalid("Invalid page token value.").at("parameter", "pageToken"))),
            Some(page) => page,
        };
        let query: Vec<(String, String)> = call
            .query
            .iter()
            .filter(|(name, _)| !["pageToken", "maxResults", "alt", "prettyPrint"].contains(&name.as_str()))
            .cloned()
            .collect();
        let fixed: Vec<(String, String)> =
            query.iter().filter(|(name, _)| items.fixed.contains(&name.as_str())).cloned().collect();
        if let Some(sync) = &sync {
            let life = SignedDuration::from_hours(24 * i64::from(self.options.sync_token_days));
            let dead = counter(store, EXPIRED).max(items.floor);
            if sync.scope == items.scope && (sync.number <= dead || now.duration_since(sync.issued) > life) {
                return Ok(Err(full_sync_required()));
            }
            // The real service leaves open what it does then.
            if sync.scope != items.scope || sync.fixed != fixed {
                let message = "The sync token belongs to a request with other parameters.";
                return Ok(Err(bad_request(message).at("parameter", "syncToken")));
            }
        }
        if let Some(page) = &page
            && (page.scope != items.scope || page.query != query)
        {
            let message = "The page token belongs to a request with other parameters.";
            return Ok(Err(bad_request(message).at("parameter", "pageToken")));
        }
        let number = page.as_ref().map_or(1, |page| page.number);
        if self.expire_at_page == Some(number) {
            self.expire_at_page = None;
            expire_tokens(store, now)?;
            return Ok(Err(full_sync_required()));
        }
        let since = page.as_ref().map_or(items.horizon, |page| page.since);
        let after = page.map(|page| page.after);
        found.sort_by(|(left, _), (right, _)| left.cmp(right));
        if let Some(after) = &after {
            found.retain(|(key, _)| key > after);
        }
        let wanted = call.number("maxResults").unwrap_or(items.items_default).min(items.items_max);
        let mut size = self.options.page_items_max.map_or(wanted, |most| most.min(wanted));
        let is_empty = self.options.empty_page_every.is_some_and(|every| number.is_multiple_of(every));
        if is_empty {
            size = 0;
        }
        let rest = found.split_off(size.min(found.len()));
        let next = if !rest.is_empty() || is_empty {
            let after = found.last().map(|(key, _)| key.clone()).or(after).unwrap_or_default();
            let scope = items.scope.clone();
            Some(("nextPageToken", encoded(&PageToken { scope, number: number + 1, after, since, query })?))
        } else if items.gives_sync_token {
            let number = tokens_issued(store) + 1;
            store.commit(now, None, vec![Change::set(COUNTERS, ISSUED, json!(number))])?;
            let scope = items.scope.clone();
            Some(("nextSyncToken", encoded(&SyncToken { scope, number, since, issued: now, fixed })?))
        } else {
            None
        };
        Ok(Ok(Page { items: found.into_iter().map(|(_, item)| item).collect(), next }))
    }
}

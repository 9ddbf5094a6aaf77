//! Watch channels: `events.watch`, `channels.stop`, and the notifications, which come late, twice or never when told to.

use std::io;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use uuid::Uuid;

use super::Google;
use super::answers::{Refusal, bad_request, invalid, not_found, required};
use super::calendars;
use super::description::Call;
use super::tokens::Grant;
use crate::journal::{ActorKind, Operation};
use crate::store::{Change, Note, Store};
use crate::upstream::{Delivery, Record};
use crate::wire::Answer;

const TABLE: &str = "channel";
const QUEUE: &str = "notification";
const COUNTERS: &str = "counter";
const LIFE: SignedDuration = SignedDuration::from_hours(7 * 24);
const ID_MAX: usize = 64;
const TOKEN_MAX: usize = 256;
/// A notification that cannot be delivered is given up after so many tries.
const ATTEMPTS_MAX: u64 = 6;
/// Numbers rise, but not by one: by so much at most.
const NUMBER_STEP_MAX: usize = 3;
/// Notifications that wait; further ones are dropped, as the real service drops them.
const QUEUE_MAX: usize = 10_000;

fn text<'a>(row: &'a Value, name: &str) -> &'a str {
    row.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn time(row: &Value, name: &str) -> Timestamp {
    text(row, name).parse().unwrap_or(Timestamp::UNIX_EPOCH)
}

fn check_channel(body: &Record, may_be_plain: bool) -> Result<(&str, &str, &str), Refusal> {
    let text = |name: &str| body.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let id = text("id").ok_or_else(|| required("Missing channel id."))?;
    let is_right = |byte: u8| byte.is_ascii_alphanumeric() || b"-_+/=".contains(&byte);
    if id.len() > ID_MAX || !id.bytes().all(is_right) {
        return Err(invalid("Channel id is invalid."));
    }
    if !matches!(text("type"), Some("web_hook" | "webhook")) {
        return Err(invalid("Unknown channel type."));
    }
    let address = text("address").ok_or_else(|| required("Missing address."))?;
    let is_secure = address.starts_with("https://") || (may_be_plain && address.starts_with("http://"));
    if !is_secure || url::Url::parse(address).is_err() {
        let message = format!("WebHook callback must be HTTPS: {address}");
        return Err(Refusal::new(400, "push.webhookUrlNotHttps", message));
    }
    let token = text("token").unwrap_or_default();
    if token.len() > TOKEN_MAX {
        return Err(invalid("Channel token is too long."));
    }
    Ok((id, address, token))
}

/// When the channel ends: as asked for, at most the longest life.
fn expiration(body: &Record, now: Timestamp) -> Timestamp {
    let longest = now.checked_add(LIFE).unwrap_or(Timestamp::MAX);
    let number = |value: &Value| value.as_i64().or_else(|| value.as_str()?.parse().ok());
    let asked = body.get("expiration").and_then(number).and_then(|ms| Timestamp::from_millisecond(ms).ok());
    let ttl = body.get("params").and_then(|params| params.get("ttl")).and_then(number);
    let ttl = ttl.and_then(|seconds| now.checked_add(SignedDuration::from_secs(seconds)).ok());
    asked.or(ttl).unwrap_or(longest).min(longest)
}

impl Google {
    pub(super) fn watch(
        &mut self,
        store: &mut Store,
        now: Timestamp,
        grant: &Grant,
        call: &Call,
    ) -> io::Result<Result<Answer, Refusal>> {
        let read = || {
            let access = calendars::find(store, &grant.user, call.path("calendarId"))?;
            let (id, address, token) = check_channel(&call.body, self.options.plain_http_channels)?;
            if store.get(TABLE, id).is_some() {
                let message = format!("Channel id {id} not unique");
                return Err(Refusal::new(400, "channelIdNotUnique", message));
            }
            let ends = expiration(&call.body, now);
            if ends <= now {
                return Err(bad_request("The channel would have expired already."));
            }
            Ok((access, id.to_owned(), address.to_owned(), token.to_owned(), ends))
        };
        let (access, id, address, token, ends) = match read() {
            Ok(read) => read,
            Err(refusal) => return Ok(Err(refusal)),
        };
        // The same for each channel of this calendar and user.
        let resource = Uuid::new_v5(&Uuid::NAMESPACE_URL, format!("{} {}", grant.user, access.id).as_bytes());
        let row = json!({
            "calendar": access.id, "user": grant.user, "client": grant.client, "address": address, "token": token,
            "resource": resource.simple().to_string(), "ends": ends.to_string(), "number": 1, "stopped": false,
            "uri": format!("https://www.googleapis.com/calendar/v3/calendars/{}/events?alt=json", access.id),
        });
        let note = Note {
            operation: Operation::Create,
            entity: "Channel",
            record_id: id.clone(),
            actor_kind: ActorKind::Api,
            actor: grant.user.clone(),
            before: None,
            after: Some(row.clone()),
        };
        store.commit(now, Some(note), vec![Change::set(TABLE, &id, row.clone())])?;
        self.queue(store, now, &id, "sync", 1)?;
        let mut body = json!({
            "kind": "api#channel", "id": id, "resourceId": row["resource"], "resourceUri": row["uri"],
            "expiration": ends.as_millisecond().to_string(),
        });
        if !token.is_empty() {
            body["token"] = json!(token);
        }
        Ok(Ok(Answer::json(200, &body)))
    }

    pub(super) fn stop_channel(
        store: &mut Store,
        now: Timestamp,
        grant: &Grant,
        call: &Call,
    ) -> io::Result<Result<Answer, Refusal>> {
        let given = |name: &str| call.body.get(name).and_then(Value::as_str).unwrap_or_default();
        let id = given("id").to_owned();
        let found = store.get(TABLE, &id).filter(|row| {
            text(row, "resource") == given("resourceId")
                && text(row, "user") == grant.user
                && text(row, "client") == grant.client
                && row["stopped"] == false
                && time(row, "ends") > now
        });
        let Some(before) = found.cloned() else {
            let message = format!("Channel '{id}' not found for project");
            return Ok(Err(Refusal { message, ..not_found() }));
        };
        let mut after = before.clone();
        after["stopped"] = json!(true);
        let note = Note {
            operation: Operation::Delete,
            entity: "Channel",
            record_id: id.clone(),
            actor_kind: ActorKind::Api,
            actor: grant.user.clone(),
            before: Some(before),
            after: None,
        };
        // The id stays taken, and what is queued already is still sent.
        store.commit(now, Some(note), vec![Change::set(TABLE, &id, after)])?;
        Ok(Ok(Answer::status(204)))
    }

    /// Queues a notification for each channel of a calendar that changed, but for those that wait for one anyway.
    pub(super) fn tell_channels(
        &mut self,
        store: &mut Store,
        now: Timestamp,
        calendar: &str,
    ) -> io::Result<()> {
        let live: Vec<(String, u64)> = store
            .rows(TABLE)
            .filter(|(_, row)| {
                text(row, "calendar") == calendar && row["stopped"] == false && time(row, "ends") > now
            })
            .map(|(id, row)| (id.clone(), row["number"].as_u64().unwrap_or(1)))
            .collect();
        for (id, number) in live {
            let waits = store.rows(QUEUE).any(|(_, row)| {
                text(row, "channel") == id && text(row, "state") == "exists" && row["attempts"] == 0
            });
            if waits {
                continue;
            }
            let step = 1 + self.push_dice.below(NUMBER_STEP_MAX);
            let number = number + u64::try_from(step).unwrap_or(1);
            if let Some(mut row) = store.get(TABLE, &id).cloned() {
                row["number"] = json!(number);
                store.commit(now, None, vec![Change::set(TABLE, &id, row)])?;
            }
            self.queue(store, now, &id, "exists", number)?;
        }
        Ok(())
    }

    fn queue(
        &mut self,
        store: &mut Store,
        now: Timestamp,
        channel: &str,
        state: &str,
        number: u64,
    ) -> io::Result<()> {
        let push = &self.options.push;
        if self.push_dice.chance(push.lost_probability) || store.rows(QUEUE).count() >= QUEUE_MAX {
            return Ok(());
        }
        let copies = if self.push_dice.chance(push.doubled_probability) { 2 } else { 1 };
        for _ in 0..copies {
            let most = usize::try_from(push.late_seconds_max).unwrap_or(0);
            let late = i64::try_from(self.push_dice.below(most.saturating_add(1))).unwrap_or(0);
            let due = now.checked_add(SignedDuration::from_secs(late)).unwrap_or(now);
            let key = store.get(COUNTERS, QUEUE).and_then(Value::as_u64).unwrap_or(0) + 1;
            let row = json!({
                "channel": channel, "state": state, "number": number, "due": due.to_string(), "attempts": 0,
            });
            let changes = vec![
                Change::set(COUNTERS, QUEUE, json!(key)),
                Change::set(QUEUE, &format!("{key:020}"), row),
            ];
            store.commit(now, None, changes)?;
        }
        Ok(())
    }

    pub(super) fn next_notification(store: &mut Store, now: Timestamp) -> io::Result<Option<Delivery>> {
        let gone = |row: &Value| {
            store.get(TABLE, text(row, "channel")).is_none_or(|channel| time(channel, "ends") <= now)
        };
        let forgotten: Vec<Change> = store
            .rows(QUEUE)
            .filter(|(_, row)| gone(row))
            .map(|(key, _)| Change::remove(QUEUE, key))
            .collect();
        if !forgotten.is_empty() {
            store.commit(now, None, forgotten)?;
        }
        let due = store.rows(QUEUE).filter(|(_, row)| time(row, "due") <= now);
        let Some((key, row)) = due.min_by_key(|(_, row)| time(row, "due")) else { return Ok(None) };
        let Some(channel) = store.get(TABLE, text(row, "channel")) else { return Ok(None) };
        let ends = time(channel, "ends").strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
        let mut headers = vec![
            ("Content-Length", "0".to_owned()),
            ("X-Goog-Channel-ID", text(row, "channel").to_owned()),
            ("X-Goog-Channel-Expiration", ends),
            ("X-Goog-Resource-ID", text(channel, "resource").to_owned()),
            ("X-Goog-Resource-URI", text(channel, "uri").to_owned()),
            ("X-Goog-Resource-State", text(row, "state").to_owned()),
            ("X-Goog-Message-Number", row["number"].to_string()),
        ];
        if !text(channel, "token").is_empty() {
            headers.push(("X-Goog-Channel-Token", text(channel, "token").to_owned()));
        }
        let url = text(channel, "address").to_owned();
        Ok(Some(Delivery { items: vec![key.clone()], url, headers, body: String::new() }))
    }

    pub(super) fn settle_notification(
        &self,
        store: &mut Store,
        now: Timestamp,
        delivery: &Delivery,
        status: u16,
    ) -> io::Result<()> {
        let mut changes = Vec::new();
        for key in &delivery.items {
            let Some(row) = store.get(QUEUE, key) else { continue };
            let attempts = row["attempts"].as_u64().unwrap_or(0) + 1;
            let is_again = matches!(status, 0 | 408 | 500 | 502 | 503 | 504) && attempts < ATTEMPTS_MAX;
            if !is_again {
                changes.push(Change::remove(QUEUE, key));
                continue;
            }
            let delay = self.options.push_retry_delay.saturating_mul(1 << attempts.min(10));
            let delay = SignedDuration::try_from(delay).unwrap_or(SignedDuration::from_secs(1));
            let mut row = row.clone();
            row["attempts"] = json!(attempts);
            row["due"] = json!(now.checked_add(delay).unwrap_or(now).to_string());
            changes.push(Change::set(QUEUE, key, row));
        }
        store.commit(now, None, changes)
    }
}

//! Subscriptions: made after a handshake with their addresses, renewed, ended.

use std::io;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use url::Url;
use uuid::Uuid;

use super::Microsoft;
use super::answers::{self, Refusal, Stop};
use super::ask::Caller;
use super::ids::Form;
use super::notifications;
use super::prefer::Prefer;
use super::render::stamp;
use crate::journal::{ActorKind, Operation};
use crate::store::{Change, Note, Store};
use crate::upstream::Record;
use crate::wire::{Answer, Request};

const TABLE: &str = "subscription";
/// Under seven days.
const LIFE_MAX: SignedDuration = SignedDuration::from_mins(10_080);
/// What asks for less is raised to it.
const LIFE_MIN: SignedDuration = SignedDuration::from_mins(45);

/// A subscription as it is stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Subscription {
    pub(super) id: String,
    pub(super) client: String,
    /// The person whose token made it; none with application permission.
    pub(super) creator: Option<String>,
    pub(super) mailbox: String,
    pub(super) resource: String,
    pub(super) change_type: String,
    pub(super) notification_url: String,
    pub(super) lifecycle_url: Option<String>,
    pub(super) client_state: Option<String>,
    pub(super) ends: Timestamp,
    pub(super) is_immutable: bool,
    /// Waits to be authorised again.
    pub(super) is_paused: bool,
}

pub(super) fn all(store: &Store) -> impl Iterator<Item = Subscription> {
    store.rows(TABLE).filter_map(|(_, row)| Subscription::deserialize(row).ok())
}

pub(super) fn find(store: &Store, id: &str) -> Option<Subscription> {
    Subscription::deserialize(store.get(TABLE, id)?).ok()
}

fn invalid(message: &str) -> Refusal {
    Refusal::new(400, "ValidationError", message)
}

impl Subscription {
    fn shown(&self) -> Value {
        json!({
            "id": self.id, "resource": self.resource, "applicationId": self.client, "changeType": self.change_type,
            "clientState": self.client_state, "notificationUrl": self.notification_url,
            "lifecycleNotificationUrl": self.lifecycle_url, "expirationDateTime": stamp(self.ends),
            "creatorId": self.creator.as_ref().unwrap_or(&self.client), "latestSupportedTlsVersion": "v1_2",
            "encryptionCertificate": null, "encryptionCertificateId": null, "includeResourceData": false,
            "notificationQueryOptions": null,
        })
    }

    fn is_of(&self, caller: &Caller) -> bool {
        self.client == caller.client && self.creator == caller.mailbox
    }

    fn change(&self) -> Change {
        Change::set(TABLE, &self.id, json!(self))
    }
}

/// The addresses to shake hands with before a request can be answered.
pub(super) fn handshakes(request: &Request) -> Vec<String> {
    let segments = request.segments();
    let is_asked = matches!(
        (request.method.as_str(), segments.as_slice()),
        ("POST", ["v1.0", "subscriptions"]) | ("PATCH", ["v1.0", "subscriptions", _])
    );
    let Ok(body) = serde_json::from_slice::<Record>(&request.body) else { return Vec::new() };
    let urls = ["notificationUrl", "lifecycleNotificationUrl"];
    urls.iter()
        .filter(|_| is_asked)
        .filter_map(|name| Url::parse(body.get(*name)?.as_str()?).ok())
        .map(|mut url| {
            let token = format!(
                "Validation: Testing client application reachability for subscription Request-Id: {}",
                Uuid::new_v4()
            );
            url.query_pairs_mut().append_pair("validationToken", &token);
            url.into()
        })
        .collect()
}

/// Whether every address answered with its token and nothing else.
fn check_handshakes(request: &Request, expected: usize) -> Result<(), Refusal> {
    let is_good = request.handshakes.iter().all(|handshake| {
        let url = Url::parse(&handshake.url).ok();
        let token = url.and_then(|url| {
            url.query_pairs().find(|(name, _)| name == "validationToken").map(|(_, token)| token.into_owned())
        });
        handshake.status == 200
            && handshake.content_type.starts_with("text/plain")
            && Some(&handshake.body) == token.as_ref()
    });
    if is_good && request.handshakes.len() == expected {
        return Ok(());
    }
    Err(invalid(
        "Subscription validation request failed. Notification endpoint must respond with 200 OK to validation request.",
    ))
}

fn end(now: Timestamp, body: &Record) -> Result<Timestamp, Refusal> {
    let wanted =
        body.get("expirationDateTime").and_then(Value::as_str).and_then(|end| end.parse::<Timestamp>().ok());
    let wanted = wanted.ok_or_else(|| invalid("expirationDateTime is missing."))?;
    if wanted.duration_since(now) > LIFE_MAX {
        return Err(invalid("Subscription expiration can only be 10080 minutes in the future."));
    }
    if wanted <= now {
        return Err(invalid("Subscription expiration must be in the future."));
    }
    Ok(wanted.max(now.checked_add(LIFE_MIN).unwrap_or(wanted)))
}

impl Microsoft {
    #[expect(clippy::too_many_arguments, reason = "the parts of one request")]
    pub(super) fn subscriptions(
        &self,
        store: &mut Store,
        now: Timestamp,
        caller: &Caller,
        request: &Request,
        template: &str,
        id: Option<&str>,
        body: &Record,
    ) -> Result<Answer, Stop> {
        let ended: Vec<Change> =
            all(store).filter(|one| one.ends <= now).map(|one| Change::remove(TABLE, &one.id)).collect();
        if !ended.is_empty() {
            store.commit(now, None, ended)?;
        }
        let Some(id) = id else {
            if request.method == "POST" {
                return self.subscribe(store, now, caller, request, body);
            }
            let own: Vec<Value> = all(store).filter(|one| one.is_of(caller)).map(|one| one.shown()).collect();
            let context = format!("{}/$metadata#subscriptions", self.root(request));
            return Ok(answers::ok(200, &json!({ "@odata.context": context, "value": own })));
        };
        let not_found = || Refusal::new(404, "ResourceNotFound", "The object was not found.");
        let before = find(store, id).filter(|one| one.is_of(caller)).ok_or_else(not_found)?;
        let mut after = before.clone();
        match (request.method.as_str(), template.ends_with("/reauthorize")) {
            ("GET", _) => return Ok(answers::ok(200, &before.shown())),
            ("DELETE", _) => {
                let note = note(Operation::Delete, caller, Some(&before), None);
                store.commit(now, note, vec![Change::remove(TABLE, id)])?;
                return Ok(Answer::status(204));
            }
            (_, true) => after.is_paused = false,
            (_, false) => {
                check_handshakes(request, usize::from(body.contains_key("notificationUrl")))?;
                if body.contains_key("lifecycleNotificationUrl") {
                    return Err(invalid("lifecycleNotificationUrl cannot be changed.").into());
                }
                if let Some(url) = body.get("notificationUrl").and_then(Value::as_str) {
                    url.clone_into(&mut after.notification_url);
                }
                after.ends = end(now, body)?;
                after.is_paused = false;
            }
        }
        let note = note(Operation::Update, caller, Some(&before), Some(&after));
        store.commit(now, note, vec![after.change()])?;
        if template.ends_with("/reauthorize") {
            return Ok(Answer::status(204));
        }
        Ok(answers::ok(200, &after.shown()))
    }

    fn subscribe(
        &self,
        store: &mut Store,
        now: Timestamp,
        caller: &Caller,
        request: &Request,
        body: &Record,
    ) -> Result<Answer, Stop> {
        let text = |name: &str| body.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        let missing = |name: &str| invalid(&format!("{name} is missing."));
        let change_type = text("changeType").ok_or_else(|| missing("changeType"))?;
        if !change_type.split(',').all(|kind| ["created", "updated", "deleted"].contains(&kind.trim())) {
            return Err(invalid("changeType is not one of created, updated, deleted.").into());
        }
        let notification_url = text("notificationUrl").ok_or_else(|| missing("notificationUrl"))?;
        let resource = text("resource").ok_or_else(|| missing("resource"))?;
        if text("clientState").is_some_and(|state| state.chars().count() > 128) {
            return Err(invalid("clientState has more than 128 characters.").into());
        }
        for name in ["includeResourceData", "encryptionCertificate"] {
            if body.get(name).is_some_and(|value| !value.is_null() && value != &json!(false)) {
                return Err(Refusal::not_simulated(name).into());
            }
        }
        let mailbox = self.subscribed(caller, resource)?;
        let ends = end(now, body)?;
        let is_double = |one: &Subscription| {
            one.is_of(caller)
                && one.mailbox == mailbox
                && one.change_type == change_type
                && one.resource == resource
        };
        if all(store).any(|one| is_double(&one)) {
            return Err(
                Refusal::new(409, "Conflict", "Subscription already exists for this resource.").into()
            );
        }
        check_handshakes(request, 1 + usize::from(body.contains_key("lifecycleNotificationUrl")))?;
        let subscription = Subscription {
            id: Uuid::new_v4().to_string(),
            client: caller.client.clone(),
            creator: caller.mailbox.clone(),
            mailbox,
            resource: resource.to_owned(),
            change_type: change_type.to_owned(),
            notification_url: notification_url.to_owned(),
            lifecycle_url: text("lifecycleNotificationUrl").map(str::to_owned),
            client_state: text("clientState").map(str::to_owned),
            ends,
            is_immutable: Prefer::read(request)?.form == Form::Immutable,
            is_paused: false,
        };
        let note = note(Operation::Create, caller, None, Some(&subscription));
        store.commit(now, note, vec![subscription.change()])?;
        let mut shown = Record::new();
        let context = format!("{}/$metadata#subscriptions/$entity", self.root(request));
        shown.insert("@odata.context".to_owned(), json!(context));
        shown.extend(subscription.shown().as_object().cloned().unwrap_or_default());
        Ok(answers::ok(201, &Value::Object(shown)))
    }

    /// Whose events a resource names. `[A]` Only all events of a mailbox can be subscribed to.
    fn subscribed(&self, caller: &Caller, resource: &str) -> Result<String, Refusal> {
        let segments: Vec<&str> = resource.trim_start_matches('/').split('/').collect();
        let mailbox = match segments.as_slice() {
            ["me", "events"] => caller.mailbox.clone(),
            ["users", user, "events"] => self.mailbox(user).map(|mailbox| mailbox.address.clone()),
            _ => return Err(Refusal::not_simulated("a subscription to this resource")),
        };
        let is_own = |mailbox: &String| caller.mailbox.as_ref().is_none_or(|own| own == mailbox);
        mailbox
            .filter(is_own)
            .ok_or_else(|| Refusal::new(403, "ExtensionError", "Access is denied to the resource."))
    }

    /// Sends a lifecycle event about the subscriptions of a mailbox, or about all.
    pub(super) fn live(
        &self,
        store: &mut Store,
        now: Timestamp,
        event: &str,
        mailbox: Option<&str>,
    ) -> io::Result<usize> {
        let mut changes = Vec::new();
        let concerned: Vec<Subscription> =
            all(store).filter(|one| mailbox.is_none_or(|mailbox| mailbox == one.mailbox)).collect();
        for subscription in &concerned {
            changes.extend(notifications::lifecycle(now, subscription, event));
            match event {
                "subscriptionRemoved" => changes.push(Change::remove(TABLE, &subscription.id)),
                "reauthorizationRequired" => {
                    changes.push(Subscription { is_paused: true, ..subscription.clone() }.change());
                }
                _ => {}
            }
        }
        store.commit(now, None, changes)?;
        Ok(concerned.len())
    }
}

fn note(
    operation: Operation,
    caller: &Caller,
    before: Option<&Subscription>,
    after: Option<&Subscription>,
) -> Option<Note> {
    let id = after.or(before)?.id.clone();
    // What only the receiver may know stays out.
    let told = |one: &Subscription| {
        let mut shown = one.shown();
        shown["clientState"] = Value::Null;
        shown
    };
    Some(Note {
        operation,
        entity: "subscription",
        record_id: id,
        actor_kind: ActorKind::Api,
        actor: caller.mailbox.clone().unwrap_or_else(|| caller.client.clone()),
        before: before.map(told),
        after: after.map(told),
    })
}

//! Callbacks of WeCom at `/webhooks/directory`: its check of the address (GET), and events (POST). Pure: nothing is asked,
//! so that they are answered at once.
//!
//! What an event says beyond the ids is not looked at. Each verified callback goes on to the receivers of the relay as it
//! came, whatever it says; of its query goes what the signature is about.

use connector_wecom::callback::{Event as Wire, Query, Receiver, Refusal};
use shared::envelope::Operation;
use shared::flow::{WebhookContent, WebhookItem, WebhookMethod, WebhookRefusal, WebhookRequest};
use shared::record_key::FlowName;

use super::NAME;
use super::key::{self, Event, Hint, Subject};
use crate::relay::{Callback, RELAYED_BY, RELAYED_BY_US};

/// What callbacks are read with.
#[derive(Debug)]
pub struct Deliveries {
    flow: FlowName,
    receiver: Option<Receiver>,
    relays: Vec<FlowName>,
}

impl Deliveries {
    /// For a flow; without a receiver nothing is taken. `relays` are the flows of those whom each callback is passed on to.
    pub fn new(flow: FlowName, receiver: Option<Receiver>, relays: Vec<FlowName>) -> Self {
        Self { flow, receiver, relays }
    }

    /// Whether GET is answered at this path.
    pub fn answers_get(&self, path: &str) -> bool {
        self.receiver.is_some() && path.is_empty()
    }

    /// Verifies a callback, and says what is to be looked at and passed on.
    ///
    /// # Errors
    /// Its refusal.
    pub fn read(&self, request: &WebhookRequest<'_>) -> Result<WebhookContent, WebhookRefusal> {
        if !request.path.is_empty() {
            let path: String = request.path.chars().filter(|c| !c.is_control()).take(40).collect();
            let text = format!("{NAME} has no webhook \"{path}\"; WeCom's callbacks go to /webhooks/{NAME}");
            return Err(WebhookRefusal::Unknown(text));
        }
        let Some(receiver) = &self.receiver else {
            let text =
                "WeCom's callbacks are not set up: their token and EncodingAESKey are not in the settings";
            return Err(WebhookRefusal::Unknown(text.to_owned()));
        };
        let query = request.query.unwrap_or_default();
        let read = Query::parse(query).map_err(refusal)?;
        match request.method {
            WebhookMethod::Get => {
                let echo = receiver.answer_check(&read).map_err(refusal)?;
                let text = String::from_utf8(echo)
                    .map_err(|_| WebhookRefusal::Malformed("its echo is no text".to_owned()))?;
                Ok(WebhookContent::Challenge(text))
            }
            WebhookMethod::Post => {
                let opened = receiver.open(&read, request.body).map_err(refusal)?;
                let mut items: Vec<WebhookItem> = self.item(&opened.message.event).into_iter().collect();
                items.extend(self.passed_on(query, request));
                Ok(WebhookContent::Items(items))
            }
        }
    }

    /// What an event is about; nothing where it is about nothing that the target has.
    fn item(&self, event: &Wire) -> Option<WebhookItem> {
        let (hint, operation) = read_event(event)?;
        Some(match hint {
            Hint::Nothing => return None,
            Hint::Malformed(why) => WebhookItem::Malformed(why),
            Hint::Look(key) => match Subject::One(key).key(&self.flow) {
                Ok(key) => WebhookItem::Record(key, operation),
                Err(error) => WebhookItem::Malformed(format!("the event names {error}")),
            },
        })
    }

    fn passed_on(&self, query: &str, request: &WebhookRequest<'_>) -> Vec<WebhookItem> {
        if self.relays.is_empty() {
            return Vec::new();
        }
        // A receiver that sends on to us would have it go round for ever.
        if header(request, RELAYED_BY) == Some(RELAYED_BY_US) {
            return vec![WebhookItem::Malformed(
                "it was relayed already, and is not passed on again".to_owned(),
            )];
        }
        let callback = Callback {
            query: Query::signed_part(query),
            content_type: header(request, "content-type").map(str::to_owned),
            body: request.body.clone(),
        };
        let content = match callback.write() {
            Ok(content) => content,
            Err(why) => return vec![WebhookItem::Malformed(why.to_string())],
        };
        let forward =
            |flow| Some(WebhookItem::Forward { key: callback.key(flow)?, content: content.clone() });
        self.relays.iter().filter_map(forward).collect()
    }
}

/// What follows from an event; none for news about no record.
fn read_event(event: &Wire) -> Option<(Hint, Operation)> {
    let department = |change: &'static str, id: connector_wecom::DepartmentId, operation| {
        let id = id.to_string();
        (key::hint(&Event { change, department: Some(&id), ..Event::default() }), operation)
    };
    let member = |change: &'static str, id: &connector_wecom::UserId, new: Option<&str>, operation| {
        let event = Event { change, userid: Some(id.as_str()), new_userid: new, department: None };
        (key::hint(&event), operation)
    };
    Some(match event {
        Wire::MemberCreated(change) => member("create_user", &change.id, None, Operation::Create),
        Wire::MemberUpdated(change) => {
            let new = change.new_id.as_ref().map(connector_wecom::UserId::as_str);
            member("update_user", &change.id, new, Operation::Update)
        }
        Wire::MemberDeleted(id) => member("delete_user", id, None, Operation::Delete),
        Wire::DepartmentCreated(change) => department("create_party", change.id, Operation::Create),
        Wire::DepartmentUpdated(change) => department("update_party", change.id, Operation::Update),
        Wire::DepartmentDeleted(id) => department("delete_party", *id, Operation::Delete),
        Wire::TagUpdated(_) => {
            (key::hint(&Event { change: "update_tag", ..Event::default() }), Operation::Update)
        }
        Wire::UnknownChange(change) => (key::hint(&Event { change, ..Event::default() }), Operation::Update),
        // The end of an import: its changes come as events of their own.
        Wire::BatchDone(_) => return None,
        Wire::Other { kind, .. } => {
            let kind: String = kind.chars().filter(|c| !c.is_control()).take(40).collect();
            let why = format!("a message of the kind `{kind}` is not about departments and members");
            (Hint::Malformed(why), Operation::Update)
        }
    })
}

fn header<'a>(request: &WebhookRequest<'a>, wanted: &str) -> Option<&'a str> {
    request.headers.iter().find(|(name, _)| *name == wanted).map(|(_, value)| *value)
}

/// What proves nothing is not verified; all else is malformed.
fn refusal(refusal: Refusal) -> WebhookRefusal {
    match refusal {
        Refusal::Signature(_) | Refusal::Receiver(_) => WebhookRefusal::Unverified(refusal.to_string()),
        Refusal::TooLarge(_)
        | Refusal::Query(_)
        | Refusal::Body(_)
        | Refusal::Ciphertext(_)
        | Refusal::Padding(_)
        | Refusal::Length(_)
        | Refusal::Message(_)
        | Refusal::Suite => WebhookRefusal::Malformed(refusal.to_string()),
    }
}

#[cfg(test)]
mod tests;

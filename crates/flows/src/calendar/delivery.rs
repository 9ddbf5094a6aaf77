//! Deliveries: EspoCRM's webhooks (`meeting/create`, `call/delete`, …), and what calendars notify us of
//! (`watch/<calendar>`, for Outlook's own news of a watch `watch/<calendar>/lifecycle`).

use connector_espocrm::webhook::{self as deliveries, Item, Refusal};
use connector_google::notification as google;
use connector_msgraph as outlook;
use shared::envelope::Operation;
use shared::flow::{WebhookContent, WebhookItem, WebhookRefusal, WebhookRequest};

use super::NAME;
use super::espocrm::webhook::{self, Hint};
use super::flow::CalendarFlow;
use super::key::{CalendarId, Subject};
use super::sides::{MeetingKind, Provider};

/// Path of notifications.
const WATCH: &str = "watch/";

impl CalendarFlow {
    pub(super) fn read_delivery(
        &self,
        request: &WebhookRequest<'_>,
    ) -> Result<WebhookContent, WebhookRefusal> {
        if let Some(path) = request.path.strip_prefix(WATCH) {
            return self.read_notification(path.strip_suffix("/lifecycle").unwrap_or(path), request);
        }
        let unknown = || {
            let path: String = request.path.chars().filter(|c| !c.is_control()).take(40).collect();
            WebhookRefusal::Unknown(format!(
                "{NAME} has no webhook \"{path}\"; there are meeting/create, meeting/update, meeting/delete, the same \
                 of call, and watch/"
            ))
        };
        let (kind, operation) = webhook::read_path(request.path).ok_or_else(unknown)?;
        let signature = header(request, "signature");
        deliveries::verify(signature, request.body, &self.watches.webhooks.known()).map_err(refusal)?;
        let items = deliveries::read_items(request.body).map_err(refusal)?;
        Ok(WebhookContent::Items(
            items.into_iter().map(|item| self.read_item(kind, operation, item)).collect(),
        ))
    }

    fn read_item(&self, kind: MeetingKind, operation: Operation, item: Item) -> WebhookItem {
        match webhook::hint(kind, operation, item) {
            Hint::Malformed(why) => WebhookItem::Malformed(why),
            Hint::Echo => WebhookItem::Echo,
            Hint::Record(record) => match self.key(&Subject::Record(record)) {
                Ok(key) => WebhookItem::Record(key, operation),
                Err(fault) => WebhookItem::Malformed(fault.text),
            },
        }
    }

    /// A notification says that something changed, and no more.
    fn read_notification(
        &self,
        calendar: &str,
        request: &WebhookRequest<'_>,
    ) -> Result<WebhookContent, WebhookRefusal> {
        let unknown = || WebhookRefusal::Unknown("no calendar of this address is watched".to_owned());
        let Some(id) = CalendarId::read(calendar) else { return Err(unknown()) };
        let provider = self.calendars.provider(&id.account).ok_or_else(unknown)?;
        let key = self.key(&Subject::Calendar(id.account.clone())).map_err(|_| unknown())?;
        let secret = self.watches.secret(calendar).map_err(|fault| WebhookRefusal::Unverified(fault.text))?;
        match provider {
            Provider::Microsoft => {
                if let Some(validation) = request.query.and_then(outlook::read_validation) {
                    return Ok(WebhookContent::Challenge(validation.body));
                }
                let read = outlook::read_notifications(request.body)
                    .map_err(|error| WebhookRefusal::Malformed(error.to_string()))?;
                let watch = self.key(&Subject::Watch(id)).map_err(|_| unknown())?;
                let mut items = Vec::new();
                for item in read.items {
                    items.push(if item.is_from(&secret) {
                        let key = if is_of_watch(&item.kind) { &watch } else { &key };
                        WebhookItem::Record(key.clone(), Operation::Update)
                    } else {
                        WebhookItem::Malformed("the clientState does not fit".to_owned())
                    });
                }
                let malformed = |why: &str| WebhookItem::Malformed(why.to_owned());
                items.extend((0..read.unreadable).map(|_| malformed("no notification that can be read")));
                let none_fits = items.iter().all(|item| matches!(item, WebhookItem::Malformed(_)));
                if none_fits && !items.is_empty() {
                    let why = "no notification has the clientState of its subscription";
                    return Err(WebhookRefusal::Unverified(why.to_owned()));
                }
                Ok(WebhookContent::Items(items))
            }
            Provider::Google => {
                let notification = google::read(|name| header(request, name))
                    .map_err(|error| WebhookRefusal::Malformed(error.to_string()))?;
                let token = header(request, "x-goog-channel-token");
                google::verify(&notification, token, &secret, None)
                    .map_err(|error| WebhookRefusal::Unverified(error.to_string()))?;
                Ok(WebhookContent::Items(match notification.state {
                    google::State::Made => vec![WebhookItem::Echo],
                    google::State::Changed | google::State::Gone => {
                        vec![WebhookItem::Record(key, Operation::Update)]
                    }
                }))
            }
        }
    }
}

/// Whether it is about the watch, and not about what is in the calendar.
fn is_of_watch(kind: &outlook::NotificationKind) -> bool {
    match kind {
        outlook::NotificationKind::Lifecycle(
            outlook::Lifecycle::SubscriptionRemoved | outlook::Lifecycle::ReauthorizationRequired,
        ) => true,
        outlook::NotificationKind::Lifecycle(outlook::Lifecycle::Missed)
        | outlook::NotificationKind::Change { .. } => false,
    }
}

fn header<'a>(request: &WebhookRequest<'a>, wanted: &str) -> Option<&'a str> {
    request.headers.iter().find(|(name, _)| *name == wanted).map(|(_, value)| *value)
}

fn refusal(refusal: Refusal) -> WebhookRefusal {
    match refusal {
        Refusal::Unverified(_) => WebhookRefusal::Unverified(refusal.to_string()),
        Refusal::Malformed(_) => WebhookRefusal::Malformed(refusal.to_string()),
    }
}

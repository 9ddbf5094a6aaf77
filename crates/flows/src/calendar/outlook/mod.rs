//! Calendars of Microsoft 365, by Microsoft Graph.
//!
//! - Bodies are asked for as text, and written as text. The block by which people join an online meeting stands in the
//!   body: it is not read as part of it, and is carried on as HTML when a body is written.
//! - Attendees are never written unless told so: Outlook mails them at once. Else they are listed in the body.
//! - An event is read and written in whatever calendar of the mailbox it is: one that was moved to another calendar is
//!   not one that was deleted.
//! - Graph has no dates that are left out of a series: its occurrences are deleted one by one, and what was deleted is told
//!   where the series is read by itself ([`CalendarClient::get`]), not with changes. One that was deleted cannot come back
//!   but by a new rule.

mod body;
mod read;
mod recurrence;
mod write;

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use connector_msgraph as wire;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use shared::clock::Clock;
use shared::fault::Fault;
use shared::meter::Meter;
use shared::ports::token_source::TokenSource;
use vault::AccountId;

use super::action::CreateToken;
use super::client::{
    CalendarClient, CalendarProvider, EventUpdate, Found, Instances, Item, Owner, PageAnswer, PageRead,
    Watch, WatchWanted, Written,
};
use super::cursor::{Next, Request};
use super::event::{Event, Field, OriginalStart, Place, Window};
use super::sides::{EventSide, Guests, MeetingRef, Provider, Stamp};
use super::zones;
use read::Reader;
use write::Current;

/// How long it is believed who a mailbox's user is, and in which zone.
const KNOWN_MINUTES: i64 = 24 * 60;
/// Accounts that are remembered; others are set up anew.
const ACCOUNTS_MAX: usize = 10_000;
/// Transactions tried for one create. A further one is needed where the event of the one before was deleted, and the
/// service still remembers it.
const TRANSACTIONS_MAX: u32 = 8;

/// Microsoft 365.
#[derive(Debug)]
pub struct Outlook {
    settings: wire::Settings,
    meter: Arc<dyn Meter>,
    clock: Arc<dyn Clock>,
    mailboxes: Mutex<HashMap<AccountId, Mailbox>>,
}

/// What is shared by all that is opened for one account.
#[derive(Debug, Clone)]
struct Mailbox {
    graph: wire::MsGraph,
    known: Arc<tokio::sync::Mutex<Known>>,
}

/// What was asked once.
#[derive(Debug, Default)]
struct Known {
    owner: Option<(Owner, Timestamp)>,
    /// None within where it cannot be had.
    zone: Option<(Option<TimeZone>, Timestamp)>,
}

impl Outlook {
    /// Sends nothing.
    pub fn new(settings: wire::Settings, meter: Arc<dyn Meter>, clock: Arc<dyn Clock>) -> Self {
        Self { settings, meter, clock, mailboxes: Mutex::default() }
    }

    fn mailbox(&self, account: &AccountId, tokens: &Arc<dyn TokenSource>) -> Result<Mailbox, Fault> {
        let mut mailboxes = self.mailboxes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(mailbox) = mailboxes.get(account) {
            return Ok(mailbox.clone());
        }
        let (meter, clock) = (Arc::clone(&self.meter), Arc::clone(&self.clock));
        let graph =
            wire::MsGraph::new(&self.settings, &account.to_string(), Arc::clone(tokens), meter, clock)
                .map_err(|error| unusable(&error))?;
        let mailbox = Mailbox { graph, known: Arc::default() };
        if mailboxes.len() >= ACCOUNTS_MAX {
            mailboxes.retain(|_, mailbox| Arc::strong_count(&mailbox.known) > 1);
        }
        mailboxes.insert(account.clone(), mailbox.clone());
        Ok(mailbox)
    }
}

fn unusable(error: &wire::SetupError) -> Fault {
    Fault::permanent("outlook_settings", format!("The Outlook calendar cannot be opened: {error}."))
}

impl CalendarProvider for Outlook {
    fn provider(&self) -> Provider {
        Provider::Microsoft
    }

    fn open(
        &self,
        account: &AccountId,
        tokens: Arc<dyn TokenSource>,
        calendar: Option<&str>,
    ) -> Result<Arc<dyn CalendarClient>, Fault> {
        let Mailbox { graph, known } = self.mailbox(account, &tokens)?;
        let calendar = graph.with_tokens(tokens).calendar(calendar).map_err(|error| unusable(&error))?;
        Ok(Arc::new(OutlookCalendar { calendar, known }))
    }
}

/// One calendar.
#[derive(Debug)]
struct OutlookCalendar {
    calendar: wire::Calendar,
    known: Arc<tokio::sync::Mutex<Known>>,
}

/// What an event is read with.
struct Beside {
    owner: Owner,
    mailbox: Option<TimeZone>,
}

impl Beside {
    fn reader(&self) -> Reader<'_> {
        Reader { owner: &self.owner, mailbox: self.mailbox.as_ref() }
    }
}

fn span(window: &Window) -> wire::Span {
    wire::Span { from: window.from, to: window.to }
}

impl OutlookCalendar {
    fn graph(&self) -> &wire::MsGraph {
        self.calendar.graph()
    }

    fn is_fresh(&self, since: Timestamp) -> bool {
        since.checked_add(KNOWN_MINUTES.minutes()).is_ok_and(|until| self.graph().clock().now() < until)
    }

    async fn ask_owner(&self, known: &mut Known) -> Result<Owner, Fault> {
        let user = self.graph().me().await?;
        let owner = Owner { mail: user.mail, aliases: user.aliases.into_iter().collect() };
        known.owner = Some((owner.clone(), self.graph().clock().now()));
        Ok(owner)
    }

    /// What these events are read with; whoever waits gets what the first one asked for.
    async fn beside(&self, events: &[&wire::Event]) -> Result<Beside, Fault> {
        let mut known = self.known.lock().await;
        let owner = match &known.owner {
            Some((owner, since)) if self.is_fresh(*since) => owner.clone(),
            _ => self.ask_owner(&mut known).await?,
        };
        if !events.iter().any(|event| read::needs_mailbox_zone(event)) {
            return Ok(Beside { owner, mailbox: None });
        }
        let mailbox = match &known.zone {
            Some((zone, since)) if self.is_fresh(*since) => zone.clone(),
            _ => {
                let zone = self.ask_zone().await?;
                known.zone = Some((zone.clone(), self.graph().clock().now()));
                zone
            }
        };
        Ok(Beside { owner, mailbox })
    }

    /// The mailbox's zone; none where the permission for it is lacking, or nobody knows its name.
    async fn ask_zone(&self) -> Result<Option<TimeZone>, Fault> {
        match self.graph().mailbox_zone().await {
            Ok(name) => Ok(name.and_then(|name| zones::read(&name, None).ok())),
            Err(fault) if fault.kind.may_pass() || fault.code == "unauthorized" => Err(fault),
            Err(fault) => {
                tracing::warn!(error.type = fault.code, "the zone of a mailbox cannot be had: {fault}");
                Ok(None)
            }
        }
    }

    async fn found(&self, event: &wire::Event) -> Result<Found, Fault> {
        Ok(self.beside(&[event]).await?.reader().found(event))
    }

    /// What was just written: it has been in canonical form before.
    async fn side(&self, event: &wire::Event) -> Result<EventSide, Fault> {
        let beside = self.beside(&[event]).await?;
        beside.reader().side(event).map_err(|why| {
            let text = format!("Outlook answers a write with an event that cannot be read: {why}.");
            Fault::permanent("event_unreadable", text)
        })
    }

    async fn items(&self, page: &wire::Page) -> Result<Vec<Item>, Fault> {
        let masters = match page.is_round {
            true => Vec::new(),
            false => self.calendar.get_many(&page.series_without_master()).await?,
        };
        let masters: Vec<wire::PageItem> =
            masters.into_iter().flatten().map(|event| wire::PageItem::Event(Box::new(event))).collect();
        let all = || masters.iter().chain(&page.items);
        let events: Vec<&wire::Event> = all()
            .filter_map(|item| match item {
                wire::PageItem::Event(event) => Some(&**event),
                wire::PageItem::Removed { .. } | wire::PageItem::Unreadable { .. } => None,
            })
            .collect();
        if all().next().is_none() {
            return Ok(Vec::new());
        }
        let beside = self.beside(&events).await?;
        let reader = beside.reader();
        Ok(all().filter_map(|item| reader.item(item)).collect())
    }

    /// Deletes the occurrences that stand at these starts. Safe to repeat.
    async fn delete_occurrences(&self, id: &str, gaps: &BTreeSet<OriginalStart>) -> Result<(), Fault> {
        let Some(window) = around(gaps) else { return Ok(()) };
        let Some(items) = self.calendar.instances(id, window).await? else { return Ok(()) };
        let events: Vec<&wire::Event> = items
            .iter()
            .filter_map(|item| match item {
                wire::PageItem::Event(event) => Some(&**event),
                wire::PageItem::Removed { .. } | wire::PageItem::Unreadable { .. } => None,
            })
            .collect();
        let beside = self.beside(&events).await?;
        for event in events {
            let Ok(side) = beside.reader().side(event) else { continue };
            if side.event.place.original().is_some_and(|original| gaps.contains(original)) {
                self.calendar.delete(&event.id, None).await?;
            }
        }
        Ok(())
    }

    /// The event as it stands after something else of it was written.
    async fn again(&self, id: &str) -> Result<Written<EventSide>, Fault> {
        match self.calendar.get(id).await? {
            Some(event) => Ok(Written::Done(self.side(&event).await?)),
            None => Ok(Written::Gone),
        }
    }

    /// What has to be known of an event before these fields are written, with its version.
    async fn current(&self, update: &EventUpdate<'_>) -> Result<Option<(Current, Option<String>)>, Fault> {
        let Some(event) = self.calendar.get_html(update.id).await? else { return Ok(None) };
        let html = event.body.as_ref().map(|body| body.content.as_str()).unwrap_or_default();
        let join_block = read::join_url(&event).and_then(|url| body::join_block(html, url));
        let series = match self.found(&event).await? {
            Found::Event(side) => {
                side.event.place.series().map(|series| (series.clone(), side.event.when.clone()))
            }
            Found::Unreadable { .. } => None,
        };
        let attendees = event.attendees.unwrap_or_default();
        Ok(Some((Current { join_block, attendees, series }, event.etag)))
    }
}

/// A stretch of time that has all of them, however their zone lies.
fn around(gaps: &BTreeSet<OriginalStart>) -> Option<wire::Span> {
    let at = |gap: &OriginalStart| match gap {
        OriginalStart::At(at) => Some(*at),
        OriginalStart::On(day) => day.to_zoned(TimeZone::UTC).ok().map(|midnight| midnight.timestamp()),
    };
    let times = || gaps.iter().filter_map(at);
    let (first, last) = (times().min()?, times().max()?);
    let hours = |at: Timestamp, hours: i64| at.checked_add(hours.hours()).unwrap_or(at);
    Some(wire::Span { from: hours(first, -48), to: hours(last, 72) })
}

fn gaps_of(event: &Event) -> BTreeSet<OriginalStart> {
    event.place.series().map(|series| series.gaps.clone()).unwrap_or_default()
}

fn written<T>(written: &wire::Written<T>) -> Option<Written<EventSide>> {
    match written {
        wire::Written::Done(_) => None,
        wire::Written::Changed => Some(Written::Changed),
        wire::Written::Gone => Some(Written::Gone),
    }
}

#[async_trait]
impl CalendarClient for OutlookCalendar {
    async fn owner(&self) -> Result<Owner, Fault> {
        let mut known = self.known.lock().await;
        self.ask_owner(&mut known).await
    }

    async fn page(&self, request: &Request, events_max: u16) -> Result<PageAnswer, Fault> {
        let read = match request {
            Request::Full(window) => self.calendar.delta(span(window), events_max).await?,
            Request::Changes(link) | Request::Page { page: link, .. } => {
                self.calendar.follow(link, events_max).await?
            }
            Request::Listing(window) => {
                wire::PageRead::Page(self.calendar.view(span(window), events_max).await?)
            }
        };
        let page = match read {
            wire::PageRead::Expired => return Ok(PageAnswer::Expired),
            wire::PageRead::Page(page) => page,
        };
        let items = self.items(&page).await?;
        let next = match page.next {
            wire::PageNext::Page(link) => Next::Page(link),
            wire::PageNext::Delta(link) => Next::End(Some(link)),
            wire::PageNext::End => Next::End(None),
        };
        Ok(PageAnswer::Page(PageRead { items, next }))
    }

    async fn get(&self, event_id: &str) -> Result<Option<Found>, Fault> {
        match self.calendar.get(event_id).await? {
            Some(event) => self.found(&event).await.map(Some),
            None => Ok(None),
        }
    }

    async fn instances(&self, event_id: &str, window: &Window) -> Result<Option<Instances>, Fault> {
        let Some(master) = self.calendar.get(event_id).await? else { return Ok(None) };
        if master.kind != Some(wire::EventType::SeriesMaster) {
            return Ok(None);
        }
        let Some(items) = self.calendar.instances(event_id, span(window)).await? else { return Ok(None) };
        let mut events = vec![&master];
        events.extend(items.iter().filter_map(|item| match item {
            wire::PageItem::Event(event) => Some(&**event),
            wire::PageItem::Removed { .. } | wire::PageItem::Unreadable { .. } => None,
        }));
        let beside = self.beside(&events).await?;
        let reader = beside.reader();
        let cancelled = match reader.found(&master) {
            Found::Event(side) => {
                gaps_of(&side.event).into_iter().filter(|gap| is_within(gap, window)).collect()
            }
            Found::Unreadable { .. } => Vec::new(),
        };
        let found = items.iter().filter_map(|item| reader.of_list(item)).collect();
        Ok(Some(Instances { found, cancelled }))
    }

    async fn find(&self, record: &MeetingRef) -> Result<Vec<Found>, Fault> {
        let items = self.calendar.find(&read::stamp_text(record)).await?;
        let mut found = Vec::new();
        for item in &items {
            let wire::PageItem::Event(event) = item else { continue };
            // A list does not say what a series leaves out.
            match event.kind {
                Some(wire::EventType::SeriesMaster) => found.extend(self.get(&event.id).await?),
                _ => found.push(self.found(event).await?),
            }
        }
        Ok(found)
    }

    async fn create(&self, token: &CreateToken, event: &Event, guests: Guests) -> Result<EventSide, Fault> {
        let kind = read::stamp_text(&token.record);
        let mut patch = write::patch(event, &Field::ALL, guests, &Current::default())?;
        patch.single_value_extended_properties = Some(write::stamp(&token.record));
        let after = token.after.map(|after| after.to_string());
        for attempt in 0..TRANSACTIONS_MAX {
            let attempt = attempt.to_string();
            let parts = [&token.calendar_id, &kind, &attempt];
            let parts: Vec<&str> = parts.into_iter().chain(&after).map(String::as_str).collect();
            patch.transaction_id = Some(wire::transaction_id(&parts));
            let created = match self.calendar.create(&patch).await? {
                wire::Created::Event(created) => created,
                // Made before, and edited since, or wanted otherwise now; or deleted since.
                wire::Created::Duplicate => match self.find(&token.record).await?.into_iter().next() {
                    Some(Found::Event(side)) => return Ok(*side),
                    Some(Found::Unreadable { why, .. }) => {
                        let text = format!("The event that was created before cannot be read: {why}.");
                        return Err(Fault::permanent("event_unreadable", text));
                    }
                    None => continue,
                },
            };
            let gaps = gaps_of(event);
            let mut side = self.side(&created).await?;
            if !gaps.is_empty() {
                self.delete_occurrences(&created.id, &gaps).await?;
                if let Written::Done(after) = self.again(&created.id).await? {
                    side = after;
                }
            }
            return Ok(EventSide { stamp: Stamp::Of(token.record.clone()), ..side });
        }
        let text = "Outlook remembers that the event was created and deleted several times, and does not create it \
                    again for some hours.";
        Err(Fault::retryable("created_and_deleted", text))
    }

    async fn update(&self, update: &EventUpdate<'_>) -> Result<Written<EventSide>, Fault> {
        let needs_current = [Field::Body, Field::Attendees, Field::Recurrence];
        let looks = update.fields.iter().any(|field| needs_current.contains(field))
            || (update.fields.contains(&Field::When) && update.target.place.series().is_some());
        let current = match looks {
            false => Current::default(),
            true => match self.current(update).await? {
                None => return Ok(Written::Gone),
                Some((_, etag)) if etag.as_deref() != Some(update.expected) => return Ok(Written::Changed),
                Some((current, _)) => current,
            },
        };
        let patch = write::patch(update.target, update.fields, update.guests, &current)?;
        let mut done = None;
        if patch != wire::EventPatch::default() {
            let result = self.calendar.patch(update.id, Some(update.expected), &patch).await?;
            match (written(&result), result) {
                (Some(refused), _) => return Ok(refused),
                (None, wire::Written::Done(event)) => done = Some(event),
                (None, wire::Written::Changed | wire::Written::Gone) => {}
            }
        }
        let known = current.series.as_ref().map(|(series, _)| series.gaps.clone()).unwrap_or_default();
        let dropped = patch.recurrence != wire::Wanted::AsIs;
        let mut gaps = gaps_of(update.target);
        gaps.retain(|gap| dropped || !known.contains(gap));
        let is_master = matches!(update.target.place, Place::Master(_));
        if is_master
            && update.fields.iter().any(|f| matches!(f, Field::Recurrence | Field::When))
            && !gaps.is_empty()
        {
            self.delete_occurrences(update.id, &gaps).await?;
            return self.again(update.id).await;
        }
        match done {
            Some(event) => Ok(Written::Done(self.side(&event).await?)),
            None => self.again(update.id).await,
        }
    }

    async fn stamp(&self, event_id: &str, record: &MeetingRef) -> Result<Written<EventSide>, Fault> {
        let properties = Some(write::stamp(record));
        let patch =
            wire::EventPatch { single_value_extended_properties: properties, ..wire::EventPatch::default() };
        match self.calendar.patch(event_id, None, &patch).await? {
            wire::Written::Done(event) => {
                let side = self.side(&event).await?;
                Ok(Written::Done(EventSide { stamp: Stamp::Of(record.clone()), ..side }))
            }
            wire::Written::Changed => Ok(Written::Changed),
            wire::Written::Gone => Ok(Written::Gone),
        }
    }

    async fn delete(&self, event_id: &str, expected: &str) -> Result<Written<()>, Fault> {
        Ok(match self.calendar.delete(event_id, Some(expected)).await? {
            wire::Written::Done(()) => Written::Done(()),
            wire::Written::Changed => Written::Changed,
            wire::Written::Gone => Written::Gone,
        })
    }

    async fn watch(&self, wanted: &WatchWanted) -> Result<Watch, Fault> {
        let subscription = wire::SubscriptionWanted {
            notification_url: wanted.address.clone(),
            lifecycle_url: wanted.lifecycle_address.clone(),
            client_state: wanted.secret.clone(),
            until: wanted.until,
        };
        self.graph().subscribe(&subscription).await.map(watch)
    }

    async fn renew(&self, watched: &Watch, until: Timestamp) -> Result<Option<Watch>, Fault> {
        Ok(self.graph().renew(&watched.id, until).await?.map(watch))
    }

    async fn unwatch(&self, watch: &Watch) -> Result<(), Fault> {
        self.graph().unsubscribe(&watch.id).await
    }

    async fn leave(&self) {
        self.graph().leave().await;
    }
}

fn watch(subscription: wire::Subscription) -> Watch {
    Watch { id: subscription.id, resource_id: None, until: subscription.until }
}

fn is_within(gap: &OriginalStart, window: &Window) -> bool {
    match gap {
        OriginalStart::At(at) => (window.from..window.to).contains(at),
        OriginalStart::On(day) => {
            let midnight = day.to_zoned(TimeZone::UTC).map(|midnight| midnight.timestamp());
            midnight.is_ok_and(|midnight| (window.from..window.to).contains(&midnight))
        }
    }
}

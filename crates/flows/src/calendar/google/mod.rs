//! Google Calendar: the canonical form over `connector-google`.
//!
//! - Calendars are listed with `singleEvents=false`: series as such, changed instances beside them, cancelled instances
//!   and deleted events as cancelled ones. Only ordinary events are listed (`read.rs` says why).
//! - Nobody gets mail, unless the provider is set up so: each write says it. What is one user's own affair never sends
//!   any.
//! - Of an event the members in question are written (PATCH), on the version that was read. Lists are written whole, so
//!   what the canonical form does not tell of attendees and reminders is kept from what was read, or read again.

mod html;
mod pages;
mod read;
mod stamp;
mod write;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use connector_google as google;
use jiff::{SignedDuration, Timestamp};
use shared::clock::Clock;
use shared::fault::Fault;
use shared::meter::Meter;
use shared::ports::token_source::TokenSource;
use vault::AccountId;

use self::read::{Facts, Seen};
use self::write::Kept;
use super::action::CreateToken;
use super::client::{
    CalendarClient, CalendarProvider, EventUpdate, Found, Instances, Owner, PageAnswer, PageRead, Watch,
    WatchWanted, Written,
};
use super::cursor::{Next, Request};
use super::event::{Event, Field, Response, Window};
use super::sides::{EventSide, EventStatus, Guests, MeetingRef, Provider, SharedKey, Stamp};

/// How long it is believed who an account's user is: another person may connect it.
const FACTS_HOURS: i64 = 24;
/// Events of a calendar of which is remembered what a write must keep; without it they are read once more.
const KEPT_EVENTS_MAX: usize = 1_000;

/// Google's calendars.
pub struct GoogleCalendars {
    settings: google::Settings,
    mail: google::Mail,
    meter: Arc<dyn Meter>,
    clock: Arc<dyn Clock>,
    /// As many as there are accounts: what is opened for one shares its limits.
    accounts: Mutex<BTreeMap<AccountId, google::Google>>,
    /// As many as there are calendars.
    known: Mutex<BTreeMap<(AccountId, String), Arc<Known>>>,
}

impl fmt::Debug for GoogleCalendars {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GoogleCalendars({})", self.settings.url)
    }
}

impl GoogleCalendars {
    /// Sets it up. `send_mail` says whether those who are invited get mail of what concerns them.
    pub fn new(
        settings: google::Settings,
        send_mail: bool,
        meter: Arc<dyn Meter>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let mail = if send_mail { google::Mail::All } else { google::Mail::None };
        Self { settings, mail, meter, clock, accounts: Mutex::default(), known: Mutex::default() }
    }
}

impl CalendarProvider for GoogleCalendars {
    fn provider(&self) -> Provider {
        Provider::Google
    }

    fn open(
        &self,
        account: &AccountId,
        tokens: Arc<dyn TokenSource>,
        calendar: Option<&str>,
    ) -> Result<Arc<dyn CalendarClient>, Fault> {
        let calendar = calendar.unwrap_or(google::PRIMARY).to_owned();
        let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        let google = match accounts.get(account) {
            Some(google) => google.with_tokens(tokens),
            None => {
                let (meter, clock) = (Arc::clone(&self.meter), Arc::clone(&self.clock));
                let made = google::Google::new(&self.settings, &account.to_string(), tokens, meter, clock);
                let made = made.map_err(|error| {
                    Fault::permanent("setup_failed", format!("Google Calendar cannot be used: {error}."))
                })?;
                accounts.entry(account.clone()).or_insert(made).clone()
            }
        };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let known = known.entry((account.clone(), calendar.clone())).or_default();
        Ok(Arc::new(GoogleCalendar { google, calendar, mail: self.mail, known: Arc::clone(known) }))
    }
}

/// What this process remembers of a calendar.
#[derive(Debug, Default)]
struct Known {
    facts: tokio::sync::Mutex<Option<(Facts, Timestamp)>>,
    /// By the event's id, with the version that it is of.
    kept: Mutex<HashMap<String, (String, Kept)>>,
}

/// One calendar.
#[derive(Debug)]
struct GoogleCalendar {
    google: google::Google,
    calendar: String,
    mail: google::Mail,
    known: Arc<Known>,
}

impl GoogleCalendar {
    /// What the calendar is like; asked for where nobody knows, or nobody has asked for long.
    async fn facts(&self) -> Result<Facts, Fault> {
        let now = self.google.clock().now();
        let mut known = self.known.facts.lock().await;
        let is_new =
            |(_, at): &&(Facts, Timestamp)| now.duration_since(*at) < SignedDuration::from_hours(FACTS_HOURS);
        if let Some((facts, _)) = known.as_ref().filter(is_new) {
            return Ok(facts.clone());
        }
        let own = self.google.calendar(google::PRIMARY).await?;
        let mail = own.id.trim().to_lowercase();
        let this = match self.calendar.as_str() {
            google::PRIMARY => own,
            other => self.google.calendar(other).await?,
        };
        let facts = Facts {
            mail,
            calendar: this.id.trim().to_lowercase(),
            zone: Facts::zone_of(this.time_zone.as_deref()),
            reminders: this.default_reminders,
        };
        *known = Some((facts.clone(), now));
        Ok(facts)
    }

    /// What a page says of its calendar is newer.
    async fn learn(&self, page: &google::Page) {
        if let Some((facts, _)) = self.known.facts.lock().await.as_mut() {
            facts.reminders.clone_from(&page.default_reminders);
            if page.time_zone.is_some() {
                facts.zone = Facts::zone_of(page.time_zone.as_deref());
            }
        }
    }

    fn keep(&self, item: &google::Item) {
        let google::Item::Event(event) = item else { return };
        let mut kept = self.known.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if event.is_cancelled() {
            kept.remove(&event.id);
            return;
        }
        if kept.len() >= KEPT_EVENTS_MAX && !kept.contains_key(&event.id) {
            kept.clear();
        }
        kept.insert(event.id.clone(), (event.etag.clone(), Kept::of(event)));
    }

    /// What a write must keep of an event in this version.
    async fn kept(&self, update: &EventUpdate<'_>) -> Result<Written<Kept>, Fault> {
        let remembered = {
            let kept = self.known.kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.get(update.id).filter(|(etag, _)| etag == update.expected).map(|(_, kept)| kept.clone())
        };
        if let Some(kept) = remembered {
            return Ok(Written::Done(kept));
        }
        Ok(match self.google.get(&self.calendar, update.id).await? {
            Some(google::Item::Event(event)) if event.is_cancelled() => Written::Gone,
            Some(google::Item::Event(event)) if event.etag == update.expected => {
                Written::Done(Kept::of(&event))
            }
            Some(google::Item::Event(_) | google::Item::Malformed { .. }) => Written::Changed,
            None => Written::Gone,
        })
    }

    /// Nothing of what is asked for is ours to write: the event as it stands.
    async fn unchanged(&self, update: &EventUpdate<'_>, facts: &Facts) -> Result<Written<EventSide>, Fault> {
        Ok(match self.google.get(&self.calendar, update.id).await? {
            None => Written::Gone,
            Some(google::Item::Event(event)) if event.is_cancelled() => Written::Gone,
            Some(google::Item::Event(event)) if event.etag != update.expected => Written::Changed,
            Some(item) => Written::Done(self.written(&item, facts)?),
        })
    }

    /// The side that a write answered.
    fn written(&self, item: &google::Item, facts: &Facts) -> Result<EventSide, Fault> {
        self.keep(item);
        match read::found(item, facts, Seen::Itself) {
            Found::Event(side) => Ok(*side),
            Found::Unreadable { why, .. } => {
                let text = format!("An event that was written to Google Calendar came back so that {why}.");
                Err(Fault::permanent("event_unreadable", text))
            }
        }
    }

    async fn patch(
        &self,
        id: &str,
        expected: Option<&str>,
        patch: &google::EventPatch,
        mail: google::Mail,
    ) -> Result<Written<EventSide>, Fault> {
        let facts = self.facts().await?;
        Ok(match self.google.patch(&self.calendar, id, expected, patch, mail).await? {
            google::Written::Done(item) => Written::Done(self.written(&item, &facts)?),
            google::Written::Changed => Written::Changed,
            google::Written::Gone => Written::Gone,
        })
    }
}

#[async_trait]
impl CalendarClient for GoogleCalendar {
    async fn owner(&self) -> Result<Owner, Fault> {
        // Google names the user by `self` whatever address an invitation went to, so aliases need not be known.
        Ok(Owner { mail: self.facts().await?.mail, aliases: Vec::new() })
    }

    async fn page(&self, request: &Request, events_max: u16) -> Result<PageAnswer, Fault> {
        // The text of a page that nobody can read is as good as an expired one.
        let Some((listing, page)) = pages::read(request) else { return Ok(PageAnswer::Expired) };
        self.facts().await?;
        let query = google::ListQuery { listing: &listing, page: page.as_deref(), events_max };
        let page = match self.google.list(&self.calendar, &query).await? {
            google::Listed::Page(page) => page,
            google::Listed::Expired => return Ok(PageAnswer::Expired),
        };
        self.learn(&page).await;
        let facts = self.facts().await?;
        page.items.iter().for_each(|item| self.keep(item));
        let items = page.items.iter().map(|item| read::item(item, &facts)).collect();
        let next = match page.next_page {
            Some(next) => Next::Page(pages::text(&listing, &next)),
            None => Next::End(page.next_sync.filter(|_| !matches!(listing, google::Listing::Range(_)))),
        };
        Ok(PageAnswer::Page(PageRead { items, next }))
    }

    async fn get(&self, event_id: &str) -> Result<Option<Found>, Fault> {
        let facts = self.facts().await?;
        let Some(item) = self.google.get(&self.calendar, event_id).await? else { return Ok(None) };
        self.keep(&item);
        match &item {
            google::Item::Event(event) if event.is_cancelled() => Ok(None),
            item => Ok(Some(read::found(item, &facts, Seen::Itself))),
        }
    }

    async fn instances(&self, event_id: &str, window: &Window) -> Result<Option<Instances>, Fault> {
        let facts = self.facts().await?;
        let range = google::Range { from: window.from, to: window.to };
        let Some(items) = self.google.instances(&self.calendar, event_id, range).await? else {
            return Ok(None);
        };
        let mut instances = Instances { found: Vec::new(), cancelled: Vec::new() };
        for item in &items {
            self.keep(item);
            match item {
                google::Item::Event(event) if event.is_cancelled() => {
                    instances.cancelled.extend(read::gap(event, &facts));
                }
                item => instances.found.push(read::found(item, &facts, Seen::Instances)),
            }
        }
        Ok(Some(instances))
    }

    async fn find(&self, record: &MeetingRef) -> Result<Vec<Found>, Fault> {
        let facts = self.facts().await?;
        let items = self.google.with_property(&self.calendar, stamp::RECORD, &stamp::text(record)).await?;
        let mut found = Vec::new();
        for item in &items {
            let google::Item::Event(event) = item else { continue };
            // Instances have the properties of their series.
            if !event.is_cancelled() && stamp::read(event) == Stamp::Of(record.clone()) {
                self.keep(item);
                found.push(read::found(item, &facts, Seen::Itself));
            }
        }
        Ok(found)
    }

    async fn create(&self, token: &CreateToken, event: &Event, guests: Guests) -> Result<EventSide, Fault> {
        let facts = self.facts().await?;
        let record = stamp::text(&token.record);
        let after = token.after.map(|after| after.to_string());
        let parts: Vec<&str> =
            [&token.calendar_id, &record].into_iter().chain(&after).map(String::as_str).collect();
        let id = google::EventId::of(&parts);
        let fields = Field::ALL.into_iter().filter(|field| match field {
            Field::Attendees => guests == Guests::Written && !event.attendees.is_empty(),
            _ => true,
        });
        let fields: Vec<Field> = fields.collect();
        let patch = write::patch(event, &fields, &Kept::default(), &facts)
            .properties(&stamp::properties(id.as_str(), &record));
        let item = self.google.insert(&self.calendar, &id, &patch, self.mail).await?;
        match &item {
            google::Item::Event(there) if there.is_cancelled() => Ok(cancelled(there, event, &token.record)),
            item => self.written(item, &facts),
        }
    }

    async fn update(&self, update: &EventUpdate<'_>) -> Result<Written<EventSide>, Fault> {
        let facts = self.facts().await?;
        let is_written = |field: &&Field| **field != Field::Attendees || update.guests == Guests::Written;
        let fields: Vec<Field> = update.fields.iter().filter(is_written).copied().collect();
        let kept = if fields.iter().any(|field| Kept::is_needed_for(*field)) {
            match self.kept(update).await? {
                Written::Done(kept) => kept,
                Written::Changed => return Ok(Written::Changed),
                Written::Gone => return Ok(Written::Gone),
            }
        } else {
            Kept::default()
        };
        let patch = write::patch(update.target, &fields, &kept, &facts);
        if patch.is_empty() {
            return self.unchanged(update, &facts).await;
        }
        let is_personal = fields.iter().all(|field| field.is_personal());
        let mail = if is_personal { google::Mail::None } else { self.mail };
        self.patch(update.id, Some(update.expected), &patch, mail).await
    }

    async fn stamp(&self, event_id: &str, record: &MeetingRef) -> Result<Written<EventSide>, Fault> {
        let record = stamp::text(record);
        let patch = google::EventPatch::default().properties(&stamp::properties(event_id, &record));
        self.patch(event_id, None, &patch, google::Mail::None).await
    }

    async fn delete(&self, event_id: &str, expected: &str) -> Result<Written<()>, Fault> {
        Ok(match self.google.delete(&self.calendar, event_id, expected, self.mail).await? {
            google::Written::Done(()) => Written::Done(()),
            google::Written::Changed => Written::Changed,
            google::Written::Gone => Written::Gone,
        })
    }

    async fn watch(&self, wanted: &WatchWanted) -> Result<Watch, Fault> {
        let channel = google::ChannelWanted {
            id: &wanted.id,
            address: &wanted.address,
            token: &wanted.secret,
            until: wanted.until,
        };
        let channel = self.google.watch(&self.calendar, &channel).await?;
        let until = channel.until.unwrap_or(wanted.until);
        Ok(Watch { id: channel.id, resource_id: Some(channel.resource_id), until })
    }

    async fn renew(&self, _watch: &Watch, _until: Timestamp) -> Result<Option<Watch>, Fault> {
        // A channel ends when it ends.
        Ok(None)
    }

    async fn unwatch(&self, watch: &Watch) -> Result<(), Fault> {
        let missing =
            || Fault::bug("watch_incomplete", "A watch of Google's was kept without its resource id.");
        let resource_id = watch.resource_id.as_deref().ok_or_else(missing)?;
        self.google.stop(&watch.id, resource_id).await
    }

    async fn leave(&self) {
        self.google.leave().await;
    }
}

/// What was created once, and was deleted since: it has its id for ever, and is not revived. Nothing more is sure to be
/// said of it.
fn cancelled(there: &google::Event, wanted: &Event, record: &MeetingRef) -> EventSide {
    EventSide {
        id: there.id.clone(),
        revision: there.etag.clone(),
        key: SharedKey { ical_uid: format!("{}@google.com", there.id), original: None },
        event: Provider::Google.holds(wanted).normalized(),
        status: EventStatus::Cancelled,
        is_organizer: true,
        organizer: None,
        answer: Response::None,
        attendees_cut: false,
        gaps_known: true,
        listed: Vec::new(),
        stamp: Stamp::Of(record.clone()),
        created_at: there.created,
        changed_at: there.updated,
    }
}

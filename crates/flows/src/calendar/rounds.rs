//! A calendar's run: what changed there since the last one, page by page, each applied before the next is asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use shared::clock::elapsed;
use shared::envelope::Cause;
use shared::fault::{Fault, FaultKind};
use shared::flow::{Outcome, Run};
use shared::labelled;
use tracing::{info, warn};
use vault::AccountId;

use super::again::About;
use super::calendars::Opened;
use super::client::{Found, Item, PageAnswer, PageRead};
use super::cursor::{Kind, Page, Step};
use super::event::{OriginalStart, Place, Window};
use super::flow::CalendarFlow;
use super::key::{EventHash, digest};
use super::pair::{Done, Known, Pair, WrittenRecord};
use super::sides::{EventSide, Provider};
use super::standing::{self, Outbound, Standing};
use super::{again, failing};
use crate::guard::SweepFacts;

/// Times that a token may turn out to have expired in one run.
const EXPIRED_MAX: u32 = 3;
/// Circles in one run.
const LOOPS_MAX: u32 = 4;
/// Share of a run's time after which it goes on in another run.
const TIME_SHARE: u32 = 2;
/// Digits of a page's fingerprint.
const FINGERPRINT_DIGITS: usize = 16;

/// A calendar's run.
pub(super) struct Rounds<'a> {
    pub(super) flow: &'a CalendarFlow,
    pub(super) run: &'a Run,
    pub(super) open: &'a Opened,
    pub(super) standing: Standing,
    version: Option<u64>,
    /// Events that the round had so far.
    pub(super) seen: BTreeSet<EventHash>,
    pub(super) wrote: Vec<&'static str>,
    started: Timestamp,
    /// Whether something waits for its organiser's copy.
    pub(super) held_back: bool,
    /// The record that was written last, where others have not heard of it yet.
    pub(super) written: Option<WrittenRecord>,
    /// Whether what fails for one event is handed to a message of its own; else it fails the run.
    hands_on: bool,
    /// With what its deletions are counted; none for what people cause one by one.
    counted: Option<Counted>,
}

/// What deletions are counted with, for the mass-change guard.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Counted {
    id: String,
    since: Timestamp,
}

impl CalendarFlow {
    /// Reads what changed in a calendar, and brings both sides into agreement.
    pub(super) async fn handle_calendar(&self, run: &Run, account: &AccountId) -> Result<Outcome, Fault> {
        let opened = self.calendars.open(account, &self.settings, run.clock.now()).await;
        let result = match opened {
            Ok(Some(open)) => self.read_calendar(run, &open).await,
            // It was taken out, or its provider is not configured any more.
            Ok(None) => return Ok(Outcome { converged: true, ..Outcome::default() }),
            Err(fault) => Err(fault),
        };
        match result {
            Err(fault) if failing::is_over(&fault) => {
                self.ask_to_reconnect(account, &fault, run.clock.now()).await
            }
            result => result,
        }
    }

    async fn read_calendar(&self, run: &Run, open: &Opened) -> Result<Outcome, Fault> {
        let label = failing::label(open.calendar.provider);
        info!(calendar = open.calendar.id, "{label}: Processing calendar {}.", open.calendar.id);
        let (standing, version) = standing::load(&*self.state, &open.id).await?;
        let started = run.clock.now();
        let (seen, wrote) = (BTreeSet::new(), Vec::new());
        let hands_on = true;
        let (held_back, written) = (false, None);
        let mut rounds = Rounds {
            flow: self,
            run,
            open,
            standing,
            version,
            seen,
            wrote,
            started,
            held_back,
            written,
            hands_on,
            counted: None,
        };
        let result = rounds.read_and_watch().await;
        let wrote = rounds.wrote;
        let count = |kinds: &[&str]| wrote.iter().filter(|action| kinds.contains(action)).count();
        let created = count(&["create_meeting", "create_event"]);
        let updated = count(&["update_meeting", "join_meeting", "update_event"]);
        let deleted = count(&["delete_meeting", "delete_event"]);
        if created + updated + deleted > 0 || result.is_ok() {
            info!("{label}: {created} events created, {updated} updated, {deleted} deleted.");
        }
        result?;
        Ok(Outcome { actions: wrote, converged: true, look_again_at: None })
    }
}

impl<'a> Rounds<'a> {
    /// For a look at single pairs, beside the rounds of their calendar.
    pub(super) async fn beside(
        flow: &'a CalendarFlow,
        run: &'a Run,
        open: &'a Opened,
    ) -> Result<Self, Fault> {
        let (mut standing, version) = standing::load(&*flow.state, &open.id).await?;
        standing.cursor.round = None;
        let (seen, wrote, started) = (BTreeSet::new(), Vec::new(), run.clock.now());
        let counted = run.sweep_id.clone().map(|id| Counted { id, since: started });
        Ok(Self {
            flow,
            run,
            open,
            standing,
            version,
            seen,
            wrote,
            started,
            held_back: false,
            written: None,
            hands_on: false,
            counted,
        })
    }

    /// Reads the calendar to its end, and has it watched from then on.
    async fn read_and_watch(&mut self) -> Result<(), Fault> {
        self.read().await?;
        let Self { flow, run, open, .. } = *self;
        if flow.watches.keep(flow, open, false, run).await {
            // What changed before the watch stood was told to nobody.
            self.read().await?;
        }
        Ok(())
    }

    async fn read(&mut self) -> Result<(), Fault> {
        if self.run.cause == Cause::Webhook || self.standing.heard_at.is_none() {
            self.standing.heard_at = Some(self.started);
        }
        self.standing.since = self.standing.since.or(Some(self.started));
        self.learn_grant();
        let (mut expired, mut loops) = (0, 0);
        let resumed = self.standing.cursor.round.clone().filter(|round| round.pages > 0);
        if let Some(round) = resumed {
            self.seen = standing::recall(&*self.flow.state, &self.open.id, &round).await?;
        }
        loop {
            let now = self.run.clock.now();
            let request = self.standing.cursor.request(&self.open.reach, now);
            let round = self.standing.cursor.round.as_ref();
            self.counted = round.map(|round| counted_with(&self.open.calendar.id, round.begun));
            self.save().await?;
            let events_max = self.standing.cursor.page_events(&self.open.reach);
            let page = match self.open.client.page(&request, events_max).await? {
                PageAnswer::Page(page) => page,
                PageAnswer::Expired => {
                    expired += 1;
                    self.expired(expired, now).await?;
                    continue;
                }
            };
            labelled::reach("calendar.after_page");
            match self.apply(page).await? {
                Step::Continues => self.save().await?,
                Step::Ended => {
                    self.save().await?;
                    info!("{}: Received deltaToken. Sync completed.", self.label());
                }
                Step::Compare(window) => {
                    self.compare(&window).await?;
                    let from = self.open.reach.window(now).from.max(window.from);
                    self.standing.outbound = Some(Outbound::of(Window { from, ..window }));
                    self.save().await?;
                    self.seen.clear();
                    if self.standing.cursor.round.is_none() {
                        info!("{}: Received deltaToken. Sync completed.", self.label());
                    }
                }
                Step::Looped => {
                    loops += 1;
                    self.looped(loops).await?;
                    continue;
                }
            }
            if self.standing.cursor.round.is_none() {
                break;
            }
            self.in_time()?;
        }
        if self.standing.cursor.outside_unread {
            self.look_outside().await?;
        }
        if self.standing.left_unread {
            self.look_left().await?;
        }
        self.bring_out().await
    }

    /// A calendar that was connected again was told nothing meanwhile: what changed in the CRM is brought into it.
    fn learn_grant(&mut self) {
        let before = self.standing.granted_at.replace(self.open.granted_at);
        if before.is_some_and(|before| before != self.open.granted_at) && self.standing.cursor.is_read() {
            self.standing.outbound = Some(Outbound::of(self.open.reach.window(self.now())));
            self.standing.left_unread = true;
        }
    }

    async fn expired(&mut self, times: u32, now: Timestamp) -> Result<(), Fault> {
        warn!("{}: Sync state generation expired, restarting.", self.label());
        self.standing.cursor.expired(&self.open.reach, now);
        self.seen.clear();
        self.save().await?;
        if times < EXPIRED_MAX {
            return Ok(());
        }
        let text = "The calendar's change tokens expire as soon as they are there.";
        Err(Fault::retryable("token_expires_at_once", text))
    }

    async fn looped(&mut self, times: u32) -> Result<(), Fault> {
        warn!("{}: The calendar's pages go in a circle; it is read again in smaller ones.", self.label());
        self.seen.clear();
        self.save().await?;
        if times < LOOPS_MAX {
            return Ok(());
        }
        Err(Fault::retryable("pages_in_a_circle", "The calendar's pages go in a circle."))
    }

    /// A calendar of many pages is not read in one run: what is done is stored, and the message comes again.
    pub(super) fn in_time(&self) -> Result<(), Fault> {
        let limit = self.flow.settings.run_time_max / TIME_SHARE;
        if elapsed(self.started, self.run.clock.now()) < limit {
            return Ok(());
        }
        let after = FaultKind::Paused { after: Duration::from_secs(1) };
        Err(Fault::new(
            after,
            "calendar_goes_on",
            "The calendar has more pages; they are read in the next run.",
        ))
    }

    pub(super) async fn save(&mut self) -> Result<(), Fault> {
        let saved =
            standing::save(&*self.flow.state, &self.open.id, &self.standing, self.version, self.run).await?;
        self.version = Some(saved);
        Ok(())
    }

    fn label(&self) -> &'static str {
        failing::label(self.open.calendar.provider)
    }

    /// Applies a page; what it means is not saved yet.
    async fn apply(&mut self, page: PageRead) -> Result<Step, Fault> {
        let items = last_of_each(page.items);
        let hashes: BTreeSet<EventHash> = items.iter().map(|item| EventHash::of(item.id())).collect();
        let new_events = hashes.iter().filter(|hash| !self.seen.contains(*hash)).count();
        let applied = Page {
            next: page.next,
            fingerprint: fingerprint(&items),
            new_events: u64::try_from(new_events).unwrap_or(u64::MAX),
            is_empty: items.is_empty(),
        };
        if items.iter().any(|item| matches!(item, Item::Removed { .. })) {
            self.keep_facts().await?;
        }
        let round = self.standing.cursor.round.clone();
        // A whole window says nothing about whether changes arrive.
        let is_whole = round.as_ref().is_some_and(|round| matches!(round.kind, Kind::Full(_)));
        if !items.is_empty() && !is_whole {
            self.standing.heard_at = Some(self.started);
        }
        self.items(items).await?;
        let step = self.standing.cursor.applied(&applied, self.run.clock.now());
        self.seen.extend(hashes.iter().cloned());
        if let (Step::Continues, Some(round)) = (&step, &round) {
            standing::remember(&*self.flow.state, &self.open.id, round, &hashes).await?;
        }
        if step == Step::Ended {
            self.seen.clear();
        }
        Ok(step)
    }

    /// Series before what is part of them, and what is removed last: a copy may have moved.
    async fn items(&mut self, items: Vec<Item>) -> Result<(), Fault> {
        let mut gaps: BTreeMap<String, BTreeSet<OriginalStart>> = BTreeMap::new();
        let (mut parts, mut removed) = (Vec::new(), Vec::new());
        for item in items {
            match item {
                Item::Found(found) => match *found {
                    Found::Event(event) if event.event.place.original().is_some() => parts.push(event),
                    Found::Event(event) => self.event(*event).await?,
                    Found::Unreadable { id, why, .. } => self.skipped(About::Event(&id), &why),
                },
                Item::Removed { id, is_certain, of_series } => {
                    if let Some((series, original)) = of_series {
                        gaps.entry(series).or_default().insert(original);
                    }
                    removed.push((id, is_certain));
                }
            }
        }
        for event in parts {
            self.event(*event).await?;
        }
        for (id, is_certain) in removed {
            let known = if is_certain { Known::Gone } else { Known::Hinted };
            self.look(About::Event(&id), self.pair().of_event_id(&id, known)).await?;
        }
        for (series, gaps) in gaps {
            self.left_out(&series, &gaps).await?;
        }
        Ok(())
    }

    /// One event of a page.
    pub(super) async fn event(&mut self, mut event: EventSide) -> Result<(), Fault> {
        event.event = self.flow.settings.carried.keep(event.event);
        if self.is_known(&event).await? {
            return Ok(());
        }
        let id = event.id.clone();
        let event = self.flow.known_people(event, &self.open.calendar.user_id, self.run).await?;
        self.look(About::Event(&id), self.pair().of_event(event)).await
    }

    /// An event that may have changed unread, or be gone.
    pub(super) async fn read_anew(&mut self, id: &str) -> Result<(), Fault> {
        match self.open.client.get(id).await {
            Ok(Some(Found::Event(event))) => self.event(*event).await,
            Ok(Some(Found::Unreadable { why, .. })) => {
                self.skipped(About::Event(id), &why);
                Ok(())
            }
            Ok(None) => self.look(About::Event(id), self.pair().of_event_id(id, Known::Gone)).await,
            Err(fault) => self.ended(About::Event(id), Err(fault)).await,
        }
    }

    /// Whether it says what is agreed on: an own write that comes back, or a change of nothing that is synchronised.
    async fn is_known(&self, event: &EventSide) -> Result<bool, Fault> {
        let Some(stored) = self.flow.links.of_event(&self.open.id, &event.id).await? else {
            return Ok(false);
        };
        let link = stored.link;
        if link.tombstone.is_some() {
            return Ok(true);
        }
        if link.creating.is_some() || link.attempt.is_some() || link.conflict.is_some() {
            return Ok(false);
        }
        if link.revision.as_ref() == Some(&event.revision) {
            return Ok(true);
        }
        // Outlook says of a series that it changed, and not which of its occurrences are gone.
        let tells_all =
            self.open.calendar.provider == Provider::Google || event.event.place.series().is_none();
        let cancelled = event.status == super::sides::EventStatus::Cancelled;
        let follows = !cancelled && !event.is_organizer && link.key.as_ref() == Some(&event.key);
        if follows && self.flow.followed(&link, self.run.clock.now()).await?.is_some() {
            return Ok(true);
        }
        let Some(base) = link.base.as_ref().filter(|_| tells_all && !cancelled) else { return Ok(false) };
        let agreed = link.in_calendar(base, self.open.calendar.provider);
        Ok(agreed.differences(&event.event).is_empty()
            && (link.is_organizer, link.answer) == (event.is_organizer, event.answer))
    }

    /// A pair of this round.
    pub(super) fn pair(&self) -> Pair<'a> {
        let mut pair = Pair::new(self.flow, self.run, self.open, self.standing.cursor.is_read());
        pair.counted_with = self.counted.as_ref().map(|counted| counted.id.clone());
        pair.since = self.standing.since;
        pair
    }

    /// Settles a pair. One that cannot be settled does not hold up the calendar: it gets a message of its own.
    pub(super) async fn look(&mut self, about: About<'_>, pair: Pair<'_>) -> Result<(), Fault> {
        if let (About::Event(id), Known::Gone | Known::Hinted) = (&about, &pair.event) {
            self.series_first(id).await?;
        }
        let settled = Box::pin(pair.settle()).await;
        self.ended(about, settled).await
    }

    async fn ended(&mut self, about: About<'_>, settled: Result<Done, Fault>) -> Result<(), Fault> {
        match settled {
            Ok(done) => {
                let made = done
                    .actions
                    .iter()
                    .filter(|action| matches!(**action, "create_meeting" | "create_event"));
                self.standing.links =
                    self.standing.links.saturating_add(u64::try_from(made.count()).unwrap_or(0));
                self.wrote.extend(done.actions);
                if let Some(until) = done.held_back {
                    self.held_back = true;
                    return again::hold_back(self.flow, &self.open.id, about, until, self.run).await;
                }
                if let Some(why) = done.skipped {
                    self.skipped(about, &why);
                }
                if let Some(written) = done.written {
                    if self.hands_on {
                        // EspoCRM does not tell us of our own writes.
                        self.wrote.extend(self.flow.spread(self.run, written, &self.open.id.account).await);
                    } else if self.written.as_ref().is_none_or(|own| own.record == written.record) {
                        self.written = Some(written);
                    }
                }
                if let Some(series) = done.ended_series {
                    Box::pin(self.end_parts(&series)).await?;
                }
                let Some(series) = done.instances else { return Ok(()) };
                let id = series.id.clone();
                Box::pin(self.instances(*series)).await?;
                again::forget(self.flow, &self.open.id, &id).await
            }
            Err(fault) if !self.hands_on || failing::is_of_all(&fault, self.run.attempts_before) => {
                Err(fault)
            }
            Err(fault) => again::note(self.flow, &self.open.id, about, &fault, self.run).await,
        }
    }

    fn skipped(&self, about: About<'_>, why: &str) {
        warn!(calendar = self.open.calendar.id, about = about.name(), "An event is left alone: {why}");
    }

    pub(super) async fn keep_facts(&self) -> Result<(), Fault> {
        let Some(Counted { id, since }) = &self.counted else { return Ok(()) };
        self.flow.guard.keep_facts(id, &SweepFacts { records: self.standing.links, at: *since }).await
    }
}

/// Deletions are counted by the hour: a calendar is read at every change.
fn counted_with(calendar_id: &str, begun: Timestamp) -> Counted {
    let hour = begun.as_second() / 3_600 * 3_600;
    Counted {
        id: format!("{calendar_id}/{}", begun.strftime("%Y-%m-%dT%H")),
        since: Timestamp::from_second(hour).unwrap_or(begun),
    }
}

/// The last word on each event, in the order in which they came.
fn last_of_each(items: Vec<Item>) -> Vec<Item> {
    let mut known = BTreeSet::new();
    let mut kept: Vec<Item> =
        items.into_iter().rev().filter(|item| known.insert(item.id().to_owned())).collect();
    kept.reverse();
    kept
}

fn fingerprint(items: &[Item]) -> u64 {
    let words: Vec<&str> = items
        .iter()
        .flat_map(|item| match item {
            Item::Found(found) => [found.id(), found.revision()],
            Item::Removed { id, .. } => [id.as_str(), "removed"],
        })
        .collect();
    u64::from_str_radix(&digest(&words, FINGERPRINT_DIGITS), 16).unwrap_or_default()
}

/// Whether an event is part of a series.
pub(super) fn series_of(place: &Place) -> Option<&str> {
    match place {
        Place::Occurrence { series_id, .. } | Place::Exception { series_id, .. } => Some(series_id),
        Place::Single | Place::Master(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn removed(id: &str) -> Item {
        Item::Removed { id: id.to_owned(), is_certain: true, of_series: None }
    }

    fn unreadable(id: &str, revision: &str) -> Item {
        let (id, revision, why) = (id.to_owned(), revision.to_owned(), String::new());
        Item::Found(Box::new(Found::Unreadable { id, revision, why }))
    }

    proptest! {
        /// Vendors repeat events within a page, and the last one counts.
        #[test]
        fn the_last_word_on_each_event_counts(ids in proptest::collection::vec("[a-e]", 0..20)) {
            let items: Vec<Item> =
                ids.iter().enumerate().map(|(n, id)| unreadable(id, &n.to_string())).collect();
            let kept = last_of_each(items.clone());
            let expected: Vec<&Item> = items
                .iter()
                .enumerate()
                .filter(|(n, item)| !items[n + 1..].iter().any(|later| later.id() == item.id()))
                .map(|(_, item)| item)
                .collect();
            prop_assert_eq!(kept.iter().collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn pages_are_told_apart_by_their_events_versions() {
        let pages = [
            vec![],
            vec![unreadable("a", "1")],
            vec![unreadable("a", "2")],
            vec![removed("a")],
            vec![unreadable("a", "1"), removed("b")],
        ];
        let prints: BTreeSet<u64> = pages.iter().map(|page| fingerprint(page)).collect();
        assert_eq!(prints.len(), pages.len());
        assert_eq!(fingerprint(&[removed("a")]), fingerprint(&[removed("a")]));
    }
}

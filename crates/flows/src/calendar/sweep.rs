//! The sweep, a page at a time: calendars, events that are to be looked at by themselves, records of the CRM that were
//! changed, and once a day records that the CRM lost.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use shared::clock::elapsed;
use shared::fault::Fault;
use shared::flow::{SweepHit, SweepPage};
use shared::names::CALENDARS_SILENT;
use shared::ports::state::Write;
use vault::AccountId;

use super::crm::{Changed, ChangedAfter, PRESENT_MAX};
use super::flow::CalendarFlow;
use super::key::{CalendarId, Subject, word};
use super::sides::MeetingKind;
use super::standing;
use crate::guard::SweepFacts;

/// Calendars and notes in one page.
const PAGE: u32 = 200;
/// How far a sweep reaches back behind the last one: the CRM's clock, and writes that were under way.
const OVERLAP: SignedDuration = SignedDuration::from_mins(2);
/// How often links are compared with the CRM, to find deletions whose webhook was lost.
const RECONCILE_EVERY: Duration = Duration::from_secs(24 * 3_600);

/// Where a sweep goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "part", rename_all = "snake_case")]
enum Place {
    /// Calendars, after this account; so many before it have been silent.
    Calendars {
        after: Option<AccountId>,
        #[serde(default)]
        silent: u32,
        /// Links of those before it.
        #[serde(default)]
        links: u64,
    },
    /// Events to be looked at by themselves, after this key.
    Noted { after: Option<String> },
    /// Records that were changed, after this one.
    Changed { kind: MeetingKind, after: Option<(Timestamp, Option<String>)>, latest: Option<Timestamp> },
    /// All records of a kind that were changed have been published; the last one was changed then.
    ChangedAll { kind: MeetingKind, latest: Timestamp },
    /// Records that are linked, after this key.
    Linked { after: Option<String> },
}

fn watermark_key(kind: MeetingKind) -> String {
    format!("calendar/swept/{}", word(kind))
}

const RECONCILED: &str = "calendar/reconciled";

impl CalendarFlow {
    pub(super) async fn sweep_page(
        &self,
        cursor: Option<&Value>,
        sweep_id: &str,
        now: Timestamp,
    ) -> Result<SweepPage, Fault> {
        // A cursor that cannot be read starts over, which is safe.
        let place = cursor.and_then(|value| serde_json::from_value(value.clone()).ok());
        let mut place = place.unwrap_or(Place::Calendars { after: None, silent: 0, links: 0 });
        if let Place::ChangedAll { kind, latest } = place {
            let text = latest.to_string();
            self.state.write(Write::put(&watermark_key(kind), text.as_bytes())).await?;
            place = after_kind(kind);
        }
        let (records, next) = match place {
            Place::Calendars { after, silent, links } => {
                let (hits, last, silent, links) =
                    self.sweep_calendars(after.as_ref(), silent, links, now).await?;
                let next = match last {
                    Some(last) => Place::Calendars { after: Some(last), silent, links },
                    None => {
                        self.meter.set(&CALENDARS_SILENT, &[super::NAME], f64::from(silent));
                        let facts = SweepFacts { records: links, at: now };
                        self.guard.keep_facts(sweep_id, &facts).await?;
                        Place::Noted { after: None }
                    }
                };
                (hits, Some(next))
            }
            Place::Noted { after } => {
                let (hits, last) = self.noted(after.as_deref(), PAGE, now).await?;
                let meetings = Place::Changed { kind: MeetingKind::Meeting, after: None, latest: None };
                (hits, last.map_or(Some(meetings), |last| Some(Place::Noted { after: Some(last) })))
            }
            Place::Changed { kind, after, latest } => self.sweep_changed(kind, after, latest, now).await?,
            Place::Linked { after } => self.sweep_linked(after, now).await?,
            Place::ChangedAll { kind, .. } => (Vec::new(), Some(after_kind(kind))),
        };
        let next = next.map(|next| serde_json::to_value(next).unwrap_or_default());
        Ok(SweepPage { records, next })
    }

    async fn sweep_calendars(
        &self,
        after: Option<&AccountId>,
        mut silent: u32,
        mut links: u64,
        now: Timestamp,
    ) -> Result<(Vec<SweepHit>, Option<AccountId>, u32, u64), Fault> {
        let connected = self.calendars.connected(&self.settings, now).await?;
        let rest = connected.iter().filter(|(account, _)| after.is_none_or(|after| *account > after));
        let page = rest.take(usize::try_from(PAGE).unwrap_or(1));
        let (mut hits, mut last) = (Vec::new(), None);
        for (account, summary) in page {
            let key = self.key(&Subject::Calendar(account.clone()))?;
            hits.push(SweepHit { key, changed_at: None });
            let name = self.settings.calendar_of(account);
            let calendar = CalendarId::new(account.clone(), summary.mailbox.as_deref(), name);
            let (standing, _) = standing::load(&*self.state, &calendar).await?;
            let heard_at = standing.heard_at.map_or(summary.granted_at, |at| at.max(summary.granted_at));
            silent += u32::from(elapsed(heard_at, now) > self.settings.nothing_arrived_after);
            links = links.saturating_add(standing.links);
            last = Some(account.clone());
        }
        Ok((hits, last, silent, links))
    }

    /// What was listed before has been published when the next page is asked for; only then the mark moves.
    async fn sweep_changed(
        &self,
        kind: MeetingKind,
        after: Option<(Timestamp, Option<String>)>,
        latest: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<(Vec<SweepHit>, Option<Place>), Fault> {
        let since = match after {
            Some((at, id)) => ChangedAfter { at, id },
            None => ChangedAfter { at: self.swept_until(kind, now).await?, id: None },
        };
        let max = self.settings.sweep_page_records_max;
        let page = self.crm.changed(kind, &since, max).await?;
        let Some(last) = page.last() else {
            let after = latest.map_or_else(|| after_kind(kind), |latest| Place::ChangedAll { kind, latest });
            return Ok((Vec::new(), Some(after)));
        };
        let at = last.at.unwrap_or(since.at);
        let latest = latest.map_or(at, |latest| latest.max(at));
        let next = match page.len() < usize::from(max) {
            true => Place::ChangedAll { kind, latest },
            false => {
                let after = Some((at, Some(last.record.id.clone())));
                Place::Changed { kind, after, latest: Some(latest) }
            }
        };
        let mut hits = Vec::new();
        for changed in page {
            if !self.is_known(&changed, now).await? {
                let key = self.key(&Subject::Record(changed.record))?;
                hits.push(SweepHit { key, changed_at: changed.at });
            }
        }
        Ok((hits, Some(next)))
    }

    /// Whether all calendars that have a record, or should, know this version of it: our own write that comes back.
    async fn is_known(&self, changed: &Changed, now: Timestamp) -> Result<bool, Fault> {
        let Some(version) = changed.version else { return Ok(false) };
        let accounts = self.accounts_with(&changed.record, &changed.users, now).await?;
        let copies = self.copies(&changed.record, now).await?;
        Ok(copies.len() >= accounts.len() && copies.iter().all(|known| known.version == Some(version)))
    }

    async fn swept_until(&self, kind: MeetingKind, now: Timestamp) -> Result<Timestamp, Fault> {
        let found = self.state.get(&watermark_key(kind)).await?;
        let at: Option<Timestamp> =
            found.and_then(|document| std::str::from_utf8(&document.value).ok()?.parse().ok());
        let at = match at {
            Some(at) => at,
            None => {
                // What was there before the first sweep is brought out when a calendar has been read.
                self.state.write(Write::put(&watermark_key(kind), now.to_string().as_bytes())).await?;
                now
            }
        };
        Ok(at.checked_sub(OVERLAP).unwrap_or(Timestamp::MIN))
    }

    /// Records that are linked and that the CRM does not have any more.
    async fn sweep_linked(
        &self,
        after: Option<String>,
        now: Timestamp,
    ) -> Result<(Vec<SweepHit>, Option<Place>), Fault> {
        if after.is_none() {
            let found = self.state.get(RECONCILED).await?;
            let at: Option<Timestamp> =
                found.and_then(|document| std::str::from_utf8(&document.value).ok()?.parse().ok());
            if at.is_some_and(|at| elapsed(at, now) < RECONCILE_EVERY) {
                return Ok((Vec::new(), None));
            }
        }
        let (records, last) = self.links.linked_records(after.as_deref(), PRESENT_MAX).await?;
        let Some(last) = last else {
            let text = now.to_string();
            self.state.write(Write::put(RECONCILED, text.as_bytes())).await?;
            return Ok((Vec::new(), None));
        };
        let present = self.crm.present(&records, None).await?;
        let mut hits = Vec::new();
        for record in records.difference(&present) {
            let copies = self.copies(record, now).await?;
            if copies.iter().any(|known| !known.ended) {
                hits.push(SweepHit { key: self.key(&Subject::Record(record.clone()))?, changed_at: None });
            }
        }
        Ok((hits, Some(Place::Linked { after: Some(last) })))
    }
}

fn after_kind(kind: MeetingKind) -> Place {
    match kind {
        MeetingKind::Meeting => Place::Changed { kind: MeetingKind::Call, after: None, latest: None },
        MeetingKind::Call => Place::Linked { after: None },
    }
}

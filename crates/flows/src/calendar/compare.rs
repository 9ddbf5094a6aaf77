//! After a full round: what is linked and did not come is looked at, lost creates are found, and records without event
//! are brought out.

use std::collections::BTreeSet;

use jiff::Timestamp;
use shared::fault::Fault;

use super::again::{self, About};
use super::crm::PRESENT_MAX;
use super::cursor::{Linked, Missing, missing};
use super::event::{Place, Window};
use super::key::EventHash;
use super::link::PairLink;
use super::rounds::{Rounds, series_of};
use super::sides::MeetingRef;

/// Records of the CRM in one page.
const RECORDS_PAGE: u16 = 100;

impl Rounds<'_> {
    /// Compares a full round of this window with the links.
    pub(super) async fn compare(&mut self, window: &Window) -> Result<(), Fault> {
        let (mut after, mut links) = (None, 0_u64);
        self.keep_facts().await?;
        loop {
            let (page, next) = self.flow.links.page(&self.open.id, after.as_deref()).await?;
            for link in page {
                links += u64::from(link.tombstone.is_none());
                self.compare_link(&link, window).await?;
            }
            let Some(next) = next else { break };
            after = Some(next);
        }
        self.standing.links = links;
        Ok(())
    }

    async fn compare_link(&mut self, link: &PairLink, window: &Window) -> Result<(), Fault> {
        let Some(event_id) = &link.event_id else { return self.settle_birth(link).await };
        let has = |id: &str| self.seen.contains(&EventHash::of(id));
        // An occurrence that is as its rule makes it does not come: its series does, and its instances are looked at.
        let by_series = link.base.as_ref().is_some_and(|base| {
            matches!(base.place, Place::Occurrence { .. }) && series_of(&base.place).is_some_and(has)
        });
        let linked = self.linked(link, has(event_id) || by_series).await?;
        match missing(&linked, window) {
            Missing::No | Missing::Past | Missing::Ahead => Ok(()),
            Missing::Look => self.read_anew(event_id).await,
        }
    }

    /// A link that a round had or had not. What follows another copy takes place when that one does.
    async fn linked(&self, link: &PairLink, seen: bool) -> Result<Linked, Fault> {
        let ended = link.tombstone.is_some();
        let mut base = link.agreed().cloned();
        if base.is_none()
            && !seen
            && let Some(copy) = self.flow.followed(link, self.now()).await?
        {
            base = self.flow.links.base_of(&copy).await?;
        }
        Ok(Linked { base, seen, ended })
    }

    /// A token was lost, and with it what it would have told of events ahead of the window, of which a full round says
    /// nothing: each that is linked gets a message of its own.
    pub(super) async fn look_outside(&mut self) -> Result<(), Fault> {
        let window = match &self.standing.cursor.token {
            Some(token) => token.window,
            None => self.open.reach.window(self.now()),
        };
        let mut after = None;
        loop {
            let (page, next) = self.flow.links.page(&self.open.id, after.as_deref()).await?;
            for link in page {
                let Some(event_id) = link.event_id.clone() else { continue };
                let linked = self.linked(&link, false).await?;
                if missing(&linked, &window) == Missing::Ahead {
                    again::note_unread(self.flow, &self.open.id, &event_id, self.run).await?;
                }
            }
            let Some(next) = next else { break };
            after = Some(next);
        }
        self.standing.cursor.outside_unread = false;
        self.save().await
    }

    /// Records that the calendar's user is not among the people of any more, since before it was connected again: each gets a
    /// message of its own. The list of the user's records does not tell of them.
    pub(super) async fn look_left(&mut self) -> Result<(), Fault> {
        let window = self.open.reach.window(self.now());
        let (user, mut after) = (self.open.calendar.user_id.clone(), None);
        loop {
            let (page, next) = self.flow.links.page(&self.open.id, after.as_deref()).await?;
            let is_in_window = |link: &&PairLink| {
                link.tombstone.is_none() && link.agreed().is_some_and(|agreed| window.has(agreed))
            };
            let linked: Vec<MeetingRef> =
                page.iter().filter(is_in_window).filter_map(|link| link.meeting.clone()).collect();
            for records in linked.chunks(PRESENT_MAX) {
                let records: BTreeSet<MeetingRef> = records.iter().cloned().collect();
                let of_user = self.flow.crm.present(&records, Some(&user)).await?;
                for record in records.difference(&of_user) {
                    again::note_record(self.flow, &self.open.id, record, self.run).await?;
                }
            }
            let Some(next) = next else { break };
            after = Some(next);
        }
        self.standing.left_unread = false;
        self.save().await
    }

    /// An event that was being created when something was lost.
    async fn settle_birth(&mut self, link: &PairLink) -> Result<(), Fault> {
        let Some(record) = &link.meeting else { return Ok(()) };
        let found = self.flow.crm.get(record).await?;
        let pair = self.pair().of_record(record, found.as_ref());
        self.look(About::Record(record), pair).await
    }

    /// Brings the user's records into the calendar that have no event there, or one that is not what they are now.
    pub(super) async fn bring_out(&mut self) -> Result<(), Fault> {
        while let Some(outbound) = self.standing.outbound.clone() {
            if !self.flow.settings.goes_out(outbound.kind) {
                self.standing.outbound = outbound.next_kind();
                continue;
            }
            let user = self.open.calendar.user_id.clone();
            let page = self
                .flow
                .crm
                .of_user(outbound.kind, &user, &outbound.window, outbound.after.as_deref(), RECORDS_PAGE)
                .await?;
            for changed in &page {
                let linked = self.flow.links.of_record(&self.open.id, &changed.record).await?;
                let linked = linked.filter(|stored| stored.link.creating.is_none());
                if linked
                    .as_ref()
                    .is_some_and(|stored| changed.version.is_none() || stored.link.version == changed.version)
                {
                    continue;
                }
                let found = self.flow.crm.get(&changed.record).await?;
                let mut pair = self.pair().of_record(&changed.record, found.as_ref());
                pair.is_news_of_record = linked.is_some();
                self.look(About::Record(&changed.record), pair).await?;
            }
            let is_last = page.len() < usize::from(RECORDS_PAGE);
            self.standing.outbound = match page.last() {
                Some(last) if !is_last => {
                    Some(super::standing::Outbound { after: Some(last.record.id.clone()), ..outbound })
                }
                _ => outbound.next_kind(),
            };
            self.save().await?;
            self.in_time()?;
        }
        Ok(())
    }

    /// The present time.
    pub(super) fn now(&self) -> Timestamp {
        self.run.clock.now()
    }
}

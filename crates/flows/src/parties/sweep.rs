//! The sweep, a page at a time: records that ask for it, records that are due, records that EspoCRM lost.
//!
//! Pages go by id (`id > last`, ordered by id), so records whose status changes meanwhile shift nothing: what is
//! there from beginning to end is found exactly once. What the cursor has passed has been published.

use std::time::Duration;

use connector_espocrm::{ListQuery, Order, Record, Where, values};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use shared::clock::elapsed;
use shared::fault::Fault;
use shared::flow::{SweepHit, SweepPage};
use shared::link;
use shared::ports::state::Write;

use super::link::PartyLink;
use super::map::{self, CRM_CONTENT};
use super::sides::Status;
use super::{NAME, Parties};
use crate::guard::SweepFacts;

/// Links compared with EspoCRM in one request; more would make its address too long.
const LINKS_PAGE: u32 = 100;
/// How often links are compared with EspoCRM, to find deletions whose webhook was lost.
const RECONCILE_EVERY: Duration = Duration::from_secs(24 * 3_600);

/// Where a sweep goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "part", rename_all = "snake_case")]
enum Cursor {
    /// Records that ask for it, after this id.
    Records { after: Option<String> },
    /// Records that are due, after this key of the index.
    Due { after: Option<String> },
    /// Links, after this id.
    Links { after: Option<String> },
}

/// The key of the index of records that are due. Sorted by time.
pub(super) fn due_key(at: Timestamp, id: &str) -> String {
    format!("{}{}/{id}", due_prefix(), at.strftime("%Y-%m-%dT%H:%M:%SZ"))
}

fn due_prefix() -> String {
    format!("due/{NAME}/")
}

impl Parties {
    pub(super) async fn sweep_page(
        &self,
        cursor: Option<&Value>,
        sweep_id: &str,
        now: Timestamp,
    ) -> Result<SweepPage, Fault> {
        // A cursor that cannot be read starts over, which is safe.
        let cursor = cursor.and_then(|value| serde_json::from_value(value.clone()).ok());
        let (records, next) = match cursor {
            None => {
                let records = self.crm.total(&self.entity_type, &ListQuery::default()).await?;
                self.guard.keep_facts(sweep_id, &SweepFacts { records, at: now }).await?;
                self.sweep_records(None, now).await?
            }
            Some(Cursor::Records { after }) => self.sweep_records(after.as_deref(), now).await?,
            Some(Cursor::Due { after }) => self.sweep_due(after.as_deref(), now).await?,
            Some(Cursor::Links { after }) => self.sweep_links(after, now).await?,
        };
        let next = next.map(|next| serde_json::to_value(next).unwrap_or_default());
        Ok(SweepPage { records, next })
    }

    async fn sweep_records(
        &self,
        after: Option<&str>,
        now: Timestamp,
    ) -> Result<(Vec<SweepHit>, Option<Cursor>), Fault> {
        let page = self.crm.list(&self.entity_type, &self.records_query(after, now)).await?;
        let mut hits = Vec::new();
        for record in &page.records {
            if !self.is_known_gone(record).await? {
                let key = self.key(record.id().as_str())?;
                hits.push(SweepHit { key, changed_at: record.timestamp("modifiedAt")? });
            }
        }
        let next = match (page.next_offset, page.records.last()) {
            (Some(_), Some(last)) => Cursor::Records { after: Some(last.id().to_string()) },
            _ => Cursor::Due { after: None },
        };
        Ok((hits, Some(next)))
    }

    fn records_query(&self, after: Option<&str>, now: Timestamp) -> ListQuery {
        let waiting = [Status::PendingSync, Status::Dirty, Status::Failed].map(Status::word);
        let long_ago =
            values::datetime(now.checked_sub(self.settings.look_again.max).unwrap_or(Timestamp::MIN));
        let old = Where::Or(vec![
            Where::is_null("advowareLastSync"),
            Where::less_than("advowareLastSync", long_ago),
        ]);
        let clean = Where::And(vec![Where::equals("syncStatus", Status::Clean.word()), old]);
        let mut filters = vec![Where::Or(vec![Where::any_of("syncStatus", waiting), clean])];
        filters.extend(after.map(|id| Where::greater_than("id", id)));
        let own = ["id", "modifiedAt", "syncStatus", "advowareDeletedAt", "betnr"];
        let select: Vec<&str> = own.into_iter().chain(CRM_CONTENT).collect();
        ListQuery { filters, ..ListQuery::default() }
            .select(&select)
            .order_by("id", Order::Ascending)
            .page_size(self.settings.sweep_page_records_max)
    }

    /// Whether the party is gone from Advoware and the record is as it was when that was noticed.
    async fn is_known_gone(&self, record: &Record) -> Result<bool, Fault> {
        let failed = Status::read(record.text("syncStatus")?) == Some(Status::Failed);
        if !failed || record.timestamp("advowareDeletedAt")?.is_none() {
            return Ok(false);
        }
        let key = self.key(record.id().as_str())?;
        let Some(stored) = link::load::<PartyLink>(&*self.state, &key).await? else { return Ok(false) };
        let party = map::crm_party(record, &self.table)?;
        Ok(stored.link.gone.as_ref() == Some(&party) && record.int("betnr")? == Some(stored.link.bet_nr))
    }

    /// Records whose interval has passed, within the budget of requests an hour. What an earlier page named has
    /// been published, and leaves the index.
    async fn sweep_due(
        &self,
        after: Option<&str>,
        now: Timestamp,
    ) -> Result<(Vec<SweepHit>, Option<Cursor>), Fault> {
        let (prefix, page) = (due_prefix(), u32::from(self.settings.sweep_page_records_max));
        let end = due_key(now, "\u{10ffff}");
        let found = self.state.scan(&prefix, None, page.saturating_mul(2)).await?;
        let mut keys: Vec<String> = found.into_iter().map(|(key, _)| key).filter(|key| *key <= end).collect();
        if let Some(after) = after {
            let published = keys.iter().take_while(|key| key.as_str() <= after).count();
            for key in keys.drain(..published) {
                self.state.write(Write::delete(&key)).await?;
            }
        }
        keys.truncate(page as usize);
        let allowed = self.within_budget(keys.len(), now).await?;
        keys.truncate(allowed);
        let Some(last) = keys.last().cloned() else {
            return Ok((Vec::new(), Some(Cursor::Links { after: None })));
        };
        let hit = |key: &String| {
            let id = key.strip_prefix(&prefix)?.split_once('/')?.1;
            Some(self.key(id).map(|key| SweepHit { key, changed_at: None }))
        };
        let hits = keys.iter().filter_map(hit).collect::<Result<_, _>>()?;
        Ok((hits, Some(Cursor::Due { after: Some(last) })))
    }

    /// How many of so many records may be looked at in this hour; each costs a request to Advoware.
    async fn within_budget(&self, wanted: usize, now: Timestamp) -> Result<usize, Fault> {
        if wanted == 0 {
            return Ok(0);
        }
        let key = format!("budget/{NAME}/{}", now.strftime("%Y-%m-%dT%H"));
        let amount = u64::try_from(wanted).unwrap_or(u64::MAX);
        let spent = self.state.count(&key, amount, Duration::from_secs(3_600)).await?;
        let over = spent.saturating_sub(u64::from(self.settings.calls_per_hour_max));
        Ok(wanted.saturating_sub(usize::try_from(over).unwrap_or(usize::MAX)))
    }

    /// Once a day: records that we have links of and EspoCRM does not show. They are only looked at; what is gone
    /// says the read of each.
    async fn sweep_links(
        &self,
        after: Option<String>,
        now: Timestamp,
    ) -> Result<(Vec<SweepHit>, Option<Cursor>), Fault> {
        let done_key = format!("reconciled/{NAME}");
        if after.is_none() && self.reconciled_lately(&done_key, now).await? {
            return Ok((Vec::new(), None));
        }
        let links =
            link::page::<PartyLink>(&*self.state, &self.spec.name, after.as_deref(), LINKS_PAGE).await?;
        let Some((last, _)) = links.last() else {
            self.state.write(Write::put(&done_key, now.to_string().as_bytes())).await?;
            return Ok((Vec::new(), None));
        };
        let next = Cursor::Links { after: Some(last.clone()) };
        let live: Vec<&String> =
            links.iter().filter(|(_, link)| link.tombstone.is_none()).map(|(id, _)| id).collect();
        if live.is_empty() {
            return Ok((Vec::new(), Some(next)));
        }
        let query =
            ListQuery::filtered(Where::any_of("id", live.iter().map(|id| id.as_str()))).select(&["id"]);
        let page = self.crm.list(&self.entity_type, &query).await?;
        let there: std::collections::BTreeSet<&str> =
            page.records.iter().map(|record| record.id().as_str()).collect();
        let hit = |id: &&String| self.key(id).map(|key| SweepHit { key, changed_at: None });
        let hits =
            live.iter().filter(|id| !there.contains(id.as_str())).map(hit).collect::<Result<_, _>>()?;
        Ok((hits, Some(next)))
    }

    async fn reconciled_lately(&self, key: &str, now: Timestamp) -> Result<bool, Fault> {
        let Some(document) = self.state.get(key).await? else { return Ok(false) };
        let at = std::str::from_utf8(&document.value).ok().and_then(|text| text.parse::<Timestamp>().ok());
        Ok(at.is_some_and(|at| elapsed(at, now) < RECONCILE_EVERY))
    }
}

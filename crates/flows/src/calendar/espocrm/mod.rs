//! The CRM's side, in EspoCRM: Meeting and Call.
//!
//! What is odd: dates of whole days are inclusive, and the times beside them are midnights of the server; a start that is
//! written alone moves the end; ids that are written replace the set; `name` takes no `<`, `>`, `=` and must not be empty;
//! reminders are each user's own, so those of the calendar stand in a field of ours (`needs.rs`).

mod needs;
mod people;
mod read;
pub mod webhook;
mod write;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use async_trait::async_trait;
use connector_espocrm::provision::Needs;
use connector_espocrm::{
    Created, DuplicateCheck, EntityType, EspoCrm, EspoId, IdError, ListQuery, Order, Record, UserRef, Where,
    values,
};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use shared::fault::{Fault, FaultKind};
use shared::flow::Check;

use super::client::Written;
use super::crm::{Changed, ChangedAfter, CrmClient, CrmFound, Person, PersonKind};
use super::event::{Event, Field, Response, Window};
use super::further::Carried;
use super::sides::{MeetingKind, MeetingRef};
use crate::crm_checks::CrmChecks;
use needs::Own;
use people::{Known, Persons, Roster};

/// Meetings of one key that are looked at: MariaDB takes keys that differ in case for one.
const SAME_KEY_MAX: u16 = 20;
/// How far whole days may reach beyond their dates in UTC, anywhere on earth.
const DAY_EDGE_HOURS: i64 = 14;

/// Meetings and calls of one EspoCRM.
#[derive(Debug)]
pub struct EspoCalendar {
    crm: EspoCrm,
    /// The zone of times that name none.
    zone: TimeZone,
    carried: Carried,
    types: [(MeetingKind, EntityType); 2],
    people_types: [EntityType; 3],
    known: Mutex<Known>,
    persons: Mutex<Persons>,
    roster: Mutex<Option<Roster>>,
}

impl EspoCalendar {
    /// Sets it up. Sends nothing. `zone` is that of records which name none: those that people made in EspoCRM. Of what is
    /// not `carried` the fields need not be there.
    ///
    /// # Errors
    /// None that an EspoCRM could cause: the names of its entity types are ours.
    pub fn new(crm: EspoCrm, zone: TimeZone, carried: Carried) -> Result<Self, IdError> {
        let named = |name: &str| EntityType::new(name);
        let people_types = [named("User")?, named("Contact")?, named("Lead")?];
        let (known, persons, roster) = (Mutex::default(), Mutex::default(), Mutex::default());
        Ok(Self { crm, zone, carried, types: types()?, people_types, known, persons, roster })
    }

    /// What the flow needs of EspoCRM.
    ///
    /// # Errors
    /// As [`EspoCalendar::new`].
    pub fn needs(carried: &Carried) -> Result<Needs, IdError> {
        types().map(|types| needs::needs(&types, carried))
    }

    fn entity(&self, kind: MeetingKind) -> &EntityType {
        let [(_, meetings), (_, calls)] = &self.types;
        match kind {
            MeetingKind::Meeting => meetings,
            MeetingKind::Call => calls,
        }
    }

    async fn read(&self, kind: MeetingKind, record: &Record) -> Result<CrmFound, Fault> {
        let linked = read::linked(record)?;
        let mails = self.mails(&read::to_ask(&linked)).await?;
        read::read(record, kind, &mails, &self.zone, &self.carried)
    }

    /// Adds to a patch who is to be linked to a record.
    async fn link_people(
        &self,
        patch: connector_espocrm::Patch,
        present: &Record,
        target: &Event,
    ) -> Result<connector_espocrm::Patch, Fault> {
        let linked = read::linked(present)?;
        let mails = self.mails(&read::to_ask(&linked)).await?;
        let others = target.attendees.keys().filter(|mail| !mails.values().any(|own| own == *mail));
        let found = self.who_lately(&others.cloned().collect()).await?;
        Ok(write::attendees(patch, &linked, &mails, &target.attendees, &found))
    }

    /// Writes to a record whose present version is `expected`.
    async fn write(
        &self,
        record: &MeetingRef,
        expected: Option<u64>,
        patch: &connector_espocrm::Patch,
    ) -> Result<Written<CrmFound>, Fault> {
        match self.crm.update(self.entity(record.kind), &id_of(record)?, patch, expected).await {
            Ok(Some(written)) => self.read(record.kind, &written).await.map(Written::Done),
            Ok(None) => Ok(Written::Gone),
            Err(fault) if fault.kind == FaultKind::Conflict => Ok(Written::Changed),
            Err(fault) => Err(fault),
        }
    }

    async fn changed_page(
        &self,
        kind: MeetingKind,
        query: ListQuery,
        max: u16,
    ) -> Result<Vec<Changed>, Fault> {
        let query = query.select(&["id", "modifiedAt", "versionNumber", "usersIds"]).page_size(max);
        let page = self.crm.list(self.entity(kind), &query).await?;
        page.records.iter().map(|record| changed(kind, record)).collect()
    }
}

fn types() -> Result<[(MeetingKind, EntityType); 2], IdError> {
    let of = |kind| Ok((kind, EntityType::new(needs::type_name(kind))?));
    Ok([of(MeetingKind::Meeting)?, of(MeetingKind::Call)?])
}

fn id_of(record: &MeetingRef) -> Result<EspoId, Fault> {
    EspoId::new(record.id.clone())
        .map_err(|e| Fault::permanent("record_id", format!("{e}; nothing can be looked up.")))
}

fn changed(kind: MeetingKind, record: &Record) -> Result<Changed, Fault> {
    let users = record.attributes().get("usersIds").and_then(Value::as_array).into_iter().flatten();
    Ok(Changed {
        record: MeetingRef { kind, id: record.id().to_string() },
        at: record.timestamp("modifiedAt")?,
        version: record.version().and_then(|version| i64::try_from(version).ok()),
        users: users.filter_map(Value::as_str).map(str::to_owned).collect(),
    })
}

/// The answer to a create leaves out what is null; a read has all.
fn completed(record: Record, carried: &Carried) -> Result<Record, Fault> {
    let natives = ["description", "dateStartDate", "dateEndDate", "assignedUserId"];
    let mut attributes = record.attributes().clone();
    for name in natives.into_iter().chain(Own::needed(carried).map(Own::attribute)) {
        attributes.entry(name).or_insert(Value::Null);
    }
    Record::new(record.entity_type().clone(), attributes).map_err(|what| Fault::bug("record", what))
}

#[async_trait]
impl CrmClient for EspoCalendar {
    async fn get(&self, record: &MeetingRef) -> Result<Option<CrmFound>, Fault> {
        match self.crm.get(self.entity(record.kind), &id_of(record)?).await? {
            Some(found) => self.read(record.kind, &found).await.map(Some),
            None => Ok(None),
        }
    }

    async fn find(&self, key: &str) -> Result<Option<CrmFound>, Fault> {
        let query = ListQuery::filtered(Where::equals(Own::EventKey.attribute(), key))
            .select(&["id", Own::EventKey.attribute()])
            .order_by("createdAt", Order::Ascending)
            .page_size(SAME_KEY_MAX);
        let page = self.crm.list(self.entity(MeetingKind::Meeting), &query).await?;
        for record in &page.records {
            if record.text(Own::EventKey.attribute())? == Some(key) {
                let record = MeetingRef { kind: MeetingKind::Meeting, id: record.id().to_string() };
                return self.get(&record).await;
            }
        }
        Ok(None)
    }

    async fn create(&self, key: &str, event: &Event, user_id: &str) -> Result<CrmFound, Fault> {
        let found = self.who_lately(&event.attendees.keys().cloned().collect()).await?;
        let patch = write::create(key, event, user_id, &found, &self.carried);
        let meetings = self.entity(MeetingKind::Meeting);
        match self.crm.create(meetings, &patch, DuplicateCheck::Skip).await? {
            Created::Record(record) => {
                self.read(MeetingKind::Meeting, &completed(record, &self.carried)?).await
            }
            Created::Duplicates(_) => {
                let text = "EspoCRM looked for duplicates of a meeting although it was asked not to.";
                Err(Fault::permanent("duplicates", text))
            }
        }
    }

    async fn update(
        &self,
        record: &MeetingRef,
        expected: Option<i64>,
        target: &Event,
        fields: &[Field],
    ) -> Result<Written<CrmFound>, Fault> {
        let (entity, id) = (self.entity(record.kind), id_of(record)?);
        let expected = expected.and_then(|version| u64::try_from(version).ok());
        let mut patch = write::content(record.kind, target, fields);
        if patch.is_empty() || fields.contains(&Field::Attendees) {
            let Some(present) = self.crm.get(entity, &id).await? else { return Ok(Written::Gone) };
            if expected.is_some() && present.version() != expected {
                return Ok(Written::Changed);
            }
            if fields.contains(&Field::Attendees) {
                patch = self.link_people(patch, &present, target).await?;
            }
            if patch.is_empty() {
                return self.read(record.kind, &present).await.map(Written::Done);
            }
        }
        self.write(record, expected, &patch).await
    }

    async fn join(
        &self,
        record: &MeetingRef,
        expected: Option<i64>,
        user_id: &str,
        response: Response,
    ) -> Result<Written<CrmFound>, Fault> {
        let (entity, id) = (self.entity(record.kind), id_of(record)?);
        let expected = expected.and_then(|version| u64::try_from(version).ok());
        let Some(present) = self.crm.get(entity, &id).await? else { return Ok(Written::Gone) };
        if expected.is_some() && present.version() != expected {
            return Ok(Written::Changed);
        }
        let patch = write::joined(&read::linked(&present)?, user_id, response);
        if patch.is_empty() {
            return self.read(record.kind, &present).await.map(Written::Done);
        }
        self.write(record, expected, &patch).await
    }

    async fn note_removal(
        &self,
        record: &MeetingRef,
        expected: Option<i64>,
        from: &BTreeSet<String>,
    ) -> Result<Written<CrmFound>, Fault> {
        let expected = expected.and_then(|version| u64::try_from(version).ok());
        self.write(record, expected, &write::removed_from(from)).await
    }

    async fn delete(&self, record: &MeetingRef) -> Result<(), Fault> {
        self.crm.delete(self.entity(record.kind), &id_of(record)?).await.map(|_| ())
    }

    async fn changed(
        &self,
        kind: MeetingKind,
        since: &ChangedAfter,
        max: u16,
    ) -> Result<Vec<Changed>, Fault> {
        let at = values::datetime(since.at);
        let filter = match &since.id {
            None => Where::GreaterThanOrEquals("modifiedAt".to_owned(), at.into()),
            Some(id) => Where::Or(vec![
                Where::greater_than("modifiedAt", at.clone()),
                Where::And(vec![Where::equals("modifiedAt", at), Where::greater_than("id", id.as_str())]),
            ]),
        };
        let query = ListQuery::filtered(filter).order_by("modifiedAt", Order::Ascending);
        self.changed_page(kind, query, max).await
    }

    /// A series counts from its start on, however long ago that is.
    async fn of_user(
        &self,
        kind: MeetingKind,
        user_id: &str,
        window: &Window,
        after: Option<&str>,
        max: u16,
    ) -> Result<Vec<Changed>, Fault> {
        let hours = SignedDuration::from_hours(DAY_EDGE_HOURS);
        let from = window.from.checked_sub(hours).unwrap_or(Timestamp::MIN);
        let to = window.to.checked_add(hours).unwrap_or(Timestamp::MAX);
        let ends = Where::GreaterThanOrEquals("dateEnd".to_owned(), values::datetime(from).into());
        let mut filters = vec![
            Where::linked_with("users", [user_id]),
            // What was held is of the past days that the window has.
            Where::NotEquals("status".to_owned(), "Not Held".into()),
            Where::less_than("dateStart", values::datetime(to)),
            Where::Or(vec![ends, Where::is_not_null(Own::RecurrenceRule.attribute())]),
        ];
        filters.extend(after.map(|id| Where::greater_than("id", id)));
        let query = ListQuery { filters, ..ListQuery::default() }.order_by("id", Order::Ascending);
        self.changed_page(kind, query, max).await
    }

    async fn present(
        &self,
        records: &BTreeSet<MeetingRef>,
        user_id: Option<&str>,
    ) -> Result<BTreeSet<MeetingRef>, Fault> {
        let mut found = BTreeSet::new();
        for kind in [MeetingKind::Meeting, MeetingKind::Call] {
            let ids: Vec<&str> = records
                .iter()
                .filter(|record| record.kind == kind)
                .map(|record| record.id.as_str())
                .collect();
            if ids.is_empty() {
                continue;
            }
            let max = u16::try_from(ids.len()).unwrap_or(u16::MAX);
            let mut filters = vec![Where::any_of("id", ids)];
            filters.extend(user_id.map(|user_id| Where::linked_with("users", [user_id])));
            let query = ListQuery { filters, ..ListQuery::default() }.select(&["id"]).page_size(max);
            let page = self.crm.list(self.entity(kind), &query).await?;
            found.extend(page.records.iter().map(|record| MeetingRef { kind, id: record.id().to_string() }));
        }
        Ok(found)
    }

    async fn people(&self, mails: &BTreeSet<String>) -> Result<BTreeMap<String, Person>, Fault> {
        self.who(mails).await
    }

    async fn mails_of(&self, user_ids: &BTreeSet<String>) -> Result<BTreeMap<String, String>, Fault> {
        let wanted = user_ids.iter().map(|id| (PersonKind::User, id.clone())).collect();
        let found = self.mails(&wanted).await?;
        Ok(found.into_iter().map(|((_, id), mail)| (id, mail)).collect())
    }

    async fn tell(&self, user_id: &str, text: &str) -> Result<(), Fault> {
        let id = EspoId::new(user_id)
            .map_err(|e| Fault::permanent("user_id", format!("{e}; nobody could be told.")))?;
        self.crm.note_to_users(&[UserRef { id, name: String::new() }], text).await.map(|_| ())
    }

    async fn check(&self, webhooks: &BTreeSet<String>) -> Vec<Check> {
        let needs = needs::needs(&self.types, &self.carried);
        let scopes = &["Meeting", "Call", "User", "Contact", "Lead"];
        let actions = &["create", "read", "edit", "delete"];
        CrmChecks { flow: "calendar", crm: &self.crm, needs: &needs, scopes, actions }
            .all(&|id| webhooks.contains(id.as_str()))
            .await
    }

    async fn leave(&self) {
        self.crm.leave().await;
    }
}

#[cfg(test)]
mod tests;

//! Who has which mail address: users, contacts and leads, asked for in bounded requests.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::PoisonError;
use std::time::Duration;

use connector_espocrm::{EntityType, ListQuery, Order, Record, Where};
use shared::fault::Fault;
use tokio::time::Instant;

use super::EspoCalendar;
use super::read::Mails;
use crate::calendar::crm::{Person, PersonKind};

/// Bytes of ids or addresses in one request: they stand in its address.
const LIST_BYTES_MAX: usize = 3_000;
/// Pages that are read of the answer to one request.
const PAGES_MAX: usize = 10;
/// How long an address is believed: reading a meeting would else cost two requests.
const KNOWN_FOR: Duration = Duration::from_secs(600);
/// Addresses that are remembered at most.
const KNOWN_MAX: usize = 20_000;

const SELECTED: [&str; 5] = ["id", "name", "firstName", "lastName", "emailAddress"];
/// Users that one request tells of: in most firms all.
const ROSTER_MAX: u16 = 200;
/// How long nobody is taken to have become a user since.
const ROSTER_FOR: Duration = Duration::from_secs(60);

/// All users by their addresses; none where there are too many for one request.
#[derive(Debug)]
pub(super) struct Roster {
    by_mail: Option<BTreeMap<String, Person>>,
    until: Instant,
}

/// Addresses that were read lately; none of who has none.
pub(super) type Known = BTreeMap<(PersonKind, String), (Option<String>, Instant)>;

/// Who had an address when it was asked for lately; none where nobody had.
pub(super) type Persons = BTreeMap<String, (Option<Person>, Instant)>;

impl EspoCalendar {
    /// The addresses of these people.
    pub(super) async fn mails(&self, wanted: &BTreeSet<(PersonKind, String)>) -> Result<Mails, Fault> {
        let now = Instant::now();
        let (mut mails, mut unknown) = self.known_mails(wanted, now);
        if unknown.contains_key(&PersonKind::User) && self.roster(now).await?.is_some() {
            (mails, unknown) = self.known_mails(wanted, now);
        }
        for (kind, ids) in unknown {
            for some in chunks(&ids) {
                let found = self.list(kind, Where::any_of("id", some.iter().map(String::as_str))).await?;
                let of = |record: &Record| Ok((record.id().to_string(), mail(record)?));
                let found = found.iter().map(of).collect::<Result<BTreeMap<_, _>, Fault>>()?;
                for id in some {
                    let mail = found.get(id).cloned().flatten();
                    self.remember(kind, id, mail.clone(), now);
                    mails.extend(mail.map(|mail| ((kind, id.clone()), mail)));
                }
            }
        }
        Ok(mails)
    }

    /// The addresses of those of whom it was asked lately, and the others.
    fn known_mails(
        &self,
        wanted: &BTreeSet<(PersonKind, String)>,
        now: Instant,
    ) -> (Mails, BTreeMap<PersonKind, Vec<String>>) {
        let (mut mails, mut unknown) = (Mails::new(), BTreeMap::<PersonKind, Vec<String>>::new());
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        for one in wanted {
            match known.get(one).filter(|(_, until)| *until > now) {
                Some((mail, _)) => mails.extend(mail.clone().map(|mail| (one.clone(), mail))),
                None => unknown.entry(one.0).or_default().push(one.1.clone()),
            }
        }
        (mails, unknown)
    }

    /// All users by their addresses, where one request tells of them all; each of them is remembered.
    async fn roster(&self, now: Instant) -> Result<Option<BTreeMap<String, Person>>, Fault> {
        {
            let roster = self.roster.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(roster) = roster.as_ref().filter(|roster| roster.until > now) {
                return Ok(roster.by_mail.clone());
            }
        }
        let query =
            ListQuery::default().select(&SELECTED).order_by("id", Order::Ascending).page_size(ROSTER_MAX);
        let page = self.crm.list(self.person_type(PersonKind::User), &query).await?;
        let is_all = page.records.len() < usize::from(ROSTER_MAX);
        let mut users = BTreeMap::new();
        for record in page.records.iter().filter(|_| is_all) {
            let (mail, id) = (mail(record)?, record.id().to_string());
            self.remember(PersonKind::User, &id, mail.clone(), now);
            let name = record.text("name")?.unwrap_or_default().to_owned();
            if let Some(mail) = mail {
                users.entry(mail).or_insert(Person { kind: PersonKind::User, id, name });
            }
        }
        let by_mail = is_all.then_some(users);
        let until = now + if is_all { ROSTER_FOR } else { KNOWN_FOR };
        *self.roster.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(Roster { by_mail: by_mail.clone(), until });
        Ok(by_mail)
    }

    /// Who has these primary addresses, the first by type and id. By another address of theirs nobody is known: a meeting
    /// names people, not addresses, so what was written by one address would come back as another.
    pub(super) async fn who(&self, wanted: &BTreeSet<String>) -> Result<BTreeMap<String, Person>, Fault> {
        let now = Instant::now();
        let mut found: BTreeMap<String, Person> = BTreeMap::new();
        let mut kinds = vec![PersonKind::User, PersonKind::Contact, PersonKind::Lead];
        if let Some(users) = self.roster(now).await? {
            found.extend(users.into_iter().filter(|(mail, _)| wanted.contains(mail)));
            kinds.retain(|kind| *kind != PersonKind::User);
        }
        for kind in kinds {
            let open: Vec<String> =
                wanted.iter().filter(|mail| !found.contains_key(*mail)).cloned().collect();
            for some in chunks(&open) {
                let filter = Where::any_of("emailAddress", some.iter().map(String::as_str));
                for record in self.list(kind, filter).await? {
                    let Some(mail) = mail(&record)? else { continue };
                    let id = record.id().to_string();
                    self.remember(kind, &id, Some(mail.clone()), now);
                    if wanted.contains(&mail) {
                        let name = record.text("name")?.unwrap_or_default().to_owned();
                        found.entry(mail).or_insert(Person { kind, id, name });
                    }
                }
            }
        }
        let mut persons = self.persons.lock().unwrap_or_else(PoisonError::into_inner);
        if persons.len() + wanted.len() > KNOWN_MAX {
            persons.clear();
        }
        for mail in wanted {
            persons.insert(mail.clone(), (found.get(mail).cloned(), now + KNOWN_FOR));
        }
        drop(persons);
        Ok(found)
    }

    /// The same, of whom it was asked lately as well: what is written is mostly about people who were just looked up.
    pub(super) async fn who_lately(
        &self,
        wanted: &BTreeSet<String>,
    ) -> Result<BTreeMap<String, Person>, Fault> {
        let now = Instant::now();
        let (mut found, mut unknown) = (BTreeMap::new(), BTreeSet::new());
        {
            let known = self.persons.lock().unwrap_or_else(PoisonError::into_inner);
            for mail in wanted {
                match known.get(mail).filter(|(_, until)| *until > now) {
                    Some((Some(person), _)) => _ = found.insert(mail.clone(), person.clone()),
                    Some((None, _)) => {}
                    None => _ = unknown.insert(mail.clone()),
                }
            }
        }
        if !unknown.is_empty() {
            found.extend(self.who(&unknown).await?);
        }
        Ok(found)
    }

    async fn list(&self, kind: PersonKind, filter: Where) -> Result<Vec<Record>, Fault> {
        let query = ListQuery::filtered(filter).select(&SELECTED).order_by("id", Order::Ascending);
        let mut pages = self.crm.pages(self.person_type(kind), query);
        let mut all = Vec::new();
        for _ in 0..PAGES_MAX {
            match pages.next().await? {
                Some(page) => all.extend(page.records),
                None => break,
            }
        }
        Ok(all)
    }

    fn person_type(&self, kind: PersonKind) -> &EntityType {
        let [users, contacts, leads] = &self.people_types;
        match kind {
            PersonKind::User => users,
            PersonKind::Contact => contacts,
            PersonKind::Lead => leads,
        }
    }

    fn remember(&self, kind: PersonKind, id: &str, mail: Option<String>, now: Instant) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
        known.insert((kind, id.to_owned()), (mail, now + KNOWN_FOR));
    }
}

fn mail(record: &Record) -> Result<Option<String>, Fault> {
    Ok(record.text("emailAddress")?.map(str::to_lowercase))
}

/// Values in lists that fit into the address of a request.
fn chunks(values: &[String]) -> Vec<&[String]> {
    let (mut chunks, mut start, mut bytes) = (Vec::new(), 0, 0);
    for (at, value) in values.iter().enumerate() {
        if at > start && bytes + value.len() > LIST_BYTES_MAX {
            chunks.extend(values.get(start..at));
            (start, bytes) = (at, 0);
        }
        bytes += value.len();
    }
    chunks.extend(values.get(start..).filter(|rest| !rest.is_empty()));
    chunks
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn nothing_is_lost_and_no_list_is_too_long(lengths in prop::collection::vec(1usize..400, 0..60)) {
            let values: Vec<String> = lengths.iter().map(|length| "x".repeat(*length)).collect();
            let chunks = chunks(&values);
            prop_assert_eq!(&chunks.concat(), &values);
            for chunk in chunks {
                prop_assert!(!chunk.is_empty());
                prop_assert!(chunk.iter().map(String::len).sum::<usize>() <= LIST_BYTES_MAX);
            }
        }
    }
}

//! EspoCRM as target: teams and users.
//!
//! What is odd: only an administrator writes them. Teams hold users only, so there are no groups within groups. Whose a record
//! is stands in a field of ours for users and in an entry of `positionList` for teams (`needs.rs`); an administrator adopts
//! a user by filling the field (`wecom:user:<userid>`), and releases one by emptying it. Team has no versions, User has them
//! where they are switched on; else the time of the last change stands in, which has a grain of one second. Lists have no
//! numbers and no second address, so users are read one by one.

pub(super) mod form;
mod needs;
mod read;
mod write;

use std::collections::BTreeSet;

use async_trait::async_trait;
use connector_espocrm::provision::Needs;
use connector_espocrm::{
    Created, DuplicateCheck, EntityType, EspoCrm, EspoId, IdError, ListQuery, MAILS, Order, PHONES, Patch,
    Record, Related, USER_NAME_TAKEN, Where,
};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use shared::fault::{Fault, FaultKind};
use shared::flow::{Check, Verdict};

use super::ids::{ExternalId, PREFIX, TargetId};
use super::record::{Attributes, Child, Field, GroupSide, UserSide, differences};
use super::rules::{Form, GroupNames, Hierarchy, Rules};
use super::target::{MembersWritten, Page, Target, UserWritten};
use crate::crm_checks::{CrmChecks, check_version, failed, finding, well};
use needs::{EXTERNAL_ID, POSITIONS};
use write::Contacts;

pub use crate::parties::communications::value::Country;

/// Records with one external id that are looked at.
const SAME_ID_MAX: u16 = 20;
/// Users of a page; each is read by itself.
const USERS_A_PAGE: u16 = 50;
/// Users that are read at once.
const READS_AT_ONCE: usize = 4;
/// Users that one request links.
const LINKS_MAX: usize = 100;
/// The link from a team to its users, and back.
const USERS: &str = "users";
const TEAMS: &str = "teams";

/// What the plans go by with EspoCRM as target, where nothing else is set: team names are paths, and no user is created.
#[must_use]
pub fn rules(hierarchy: Hierarchy, country: Country) -> Rules {
    Rules {
        group_names: GroupNames::Path,
        name_chars_max: form::NAME_CHARS_MAX,
        form: Form::EspoCrm(country),
        creates_users: false,
        without: form::WITHOUT.into(),
        user_department: None,
        ..Rules::default().with_hierarchy(hierarchy)
    }
}

/// Teams and users of one EspoCRM.
#[derive(Debug)]
pub struct EspoTarget {
    crm: EspoCrm,
    country: Country,
    user_type: EntityType,
    team_type: EntityType,
}

/// Linking or its opposite.
#[derive(Debug, Clone, Copy)]
enum Change {
    Add,
    Remove,
}

impl EspoTarget {
    /// Sets it up. Sends nothing. `crm` signs in as an administrator; `country` is that of numbers without country code.
    ///
    /// # Errors
    /// None that an EspoCRM could cause: the names of its entity types are ours.
    pub fn new(crm: EspoCrm, country: Country) -> Result<Self, IdError> {
        let (user_type, team_type) = (EntityType::new("User")?, EntityType::new("Team")?);
        Ok(Self { crm, country, user_type, team_type })
    }

    /// What the flow needs of EspoCRM.
    ///
    /// # Errors
    /// As [`EspoTarget::new`].
    pub fn needs() -> Result<Needs, IdError> {
        needs::needs()
    }

    /// The record and what it is to us; none where it is gone or not ours.
    async fn own_user(&self, id: &EspoId) -> Result<Option<(Record, UserSide)>, Fault> {
        let Some(record) = self.crm.get(&self.user_type, id).await? else { return Ok(None) };
        say_left_alone(&record)?;
        Ok(read::user(&record, self.country)?.map(|side| (record, side)))
    }

    /// The user with an external id that has the smallest id, but for one.
    async fn first_user(
        &self,
        external_id: &ExternalId,
        except: Option<&TargetId>,
    ) -> Result<Option<UserSide>, Fault> {
        let filter = Where::equals(EXTERNAL_ID, external_id.to_string());
        let select = ["id", "type", EXTERNAL_ID];
        let (records, _) = self.page(&self.user_type, vec![filter], &select, SAME_ID_MAX, None).await?;
        for record in records {
            say_left_alone(&record)?;
            let is_left_out = except.is_some_and(|except| record.id().as_str() == except.0);
            if is_left_out || read::owner_of_user(&record)?.as_ref() != Some(external_id) {
                continue;
            }
            if let Some((_, side)) = self.own_user(record.id()).await?
                && side.external_id == *external_id
            {
                return Ok(Some(side));
            }
        }
        Ok(None)
    }

    async fn own_team(&self, id: &EspoId) -> Result<Option<GroupSide>, Fault> {
        match self.crm.get(&self.team_type, id).await? {
            Some(record) => read::team(&record),
            None => Ok(None),
        }
    }

    /// Changes links. A user that is gone is left out; that its own run settles.
    async fn relate(&self, change: Change, team: &EspoId, users: &[EspoId]) -> Result<MembersWritten, Fault> {
        for chunk in users.chunks(LINKS_MAX) {
            if self.relate_once(change, team, chunk).await? == Related::Done {
                continue;
            }
            if self.crm.get(&self.team_type, team).await?.is_none() {
                return Ok(MembersWritten::GroupGone);
            }
            let present = self.present(chunk).await?;
            if self.relate_once(change, team, &present).await? == Related::NotThere {
                let text = format!(
                    "A user was deleted while the members of the team {team} were written in EspoCRM."
                );
                return Err(Fault::retryable("members_gone", text));
            }
        }
        Ok(MembersWritten::Done)
    }

    async fn relate_once(&self, change: Change, team: &EspoId, users: &[EspoId]) -> Result<Related, Fault> {
        match change {
            Change::Add => self.crm.link(&self.team_type, team, USERS, users).await,
            Change::Remove => self.crm.unlink(&self.team_type, team, USERS, users).await,
        }
    }

    /// Those of these users that there are.
    async fn present(&self, users: &[EspoId]) -> Result<Vec<EspoId>, Fault> {
        let ids = users.iter().map(EspoId::as_str);
        let query = ListQuery::filtered(Where::any_of("id", ids)).select(&["id"]);
        let page = self.crm.list(&self.user_type, &query).await?;
        Ok(page.records.iter().map(|record| record.id().clone()).collect())
    }

    async fn create(&self, entity: &EntityType, patch: &Patch) -> Result<Record, Fault> {
        match self.crm.create(entity, patch, DuplicateCheck::Skip).await? {
            Created::Record(record) => Ok(record),
            Created::Duplicates(_) => {
                let text = format!(
                    "EspoCRM took a new {entity} for a duplicate, although it was not to look for any."
                );
                Err(Fault::permanent("refused_as_duplicate", text))
            }
        }
    }

    /// A page of a list by id: what is made or removed meanwhile moves nothing.
    async fn page(
        &self,
        entity: &EntityType,
        mut filters: Vec<Where>,
        select: &[&str],
        size: u16,
        cursor: Option<&str>,
    ) -> Result<(Vec<Record>, Option<String>), Fault> {
        filters.extend(cursor.map(|last| Where::greater_than("id", last)));
        let query = ListQuery { filters, ..ListQuery::default() };
        let query = query.select(select).order_by("id", Order::Ascending).page_size(size);
        let page = self.crm.list(entity, &query).await?;
        let last = page.records.last().map(|record| record.id().to_string());
        Ok((page.records, last.filter(|_| page.next_offset.is_some())))
    }

    async fn check_log_in(&self) -> Check {
        let subject = "EspoCRM administrator";
        match self.crm.app_user().await {
            Ok(user) if user.kind.ends_with("admin") => {
                well(subject, format!("signed in as {}", user.user_name))
            }
            Ok(user) => finding(
                Verdict::Broken,
                subject,
                format!("{} is a user of type {}", user.user_name, user.kind),
                "Writing users and teams needs an administrator's log-in: no API user may do it, whatever its role.",
            ),
            Err(fault) => failed(subject, &fault),
        }
    }

    async fn check_teams(&self) -> Check {
        let subject = "EspoCRM teams";
        let query = ListQuery::default().select(&["id", "name", POSITIONS]).page_size(1);
        match self.crm.list(&self.team_type, &query).await {
            Ok(_) => well(subject, "can be read"),
            Err(fault) => failed(subject, &fault),
        }
    }
}

fn id_of(id: &TargetId) -> Result<EspoId, Fault> {
    EspoId::new(id.0.clone())
        .map_err(|e| Fault::permanent("record_id", format!("{e}; nothing can be looked up.")))
}

/// An administrator is nobody of ours, whatever id it has: what somebody should know of.
fn say_left_alone(record: &Record) -> Result<(), Fault> {
    if let Some(external_id) = read::administrator(record)? {
        tracing::warn!(
            user = %record.id(),
            "A user in EspoCRM has our id {external_id} and is an administrator: it is left alone. Take the id away from \
             it, or make it a regular user."
        );
    }
    Ok(())
}

fn moved_on(what: &str, id: &TargetId) -> Fault {
    let text = format!("{what} {id} in EspoCRM is gone, or was changed since it was read.");
    Fault::new(FaultKind::Conflict, "modified", text)
}

/// Users among members; EspoCRM has no teams within teams.
fn users_of(children: &[(Child, TargetId)]) -> Result<Vec<EspoId>, Fault> {
    let is_user = |child: &Child| matches!(child, Child::Member(_));
    if let Some((child, _)) = children.iter().find(|(child, _)| !is_user(child)) {
        let text = format!(
            "{child:?} cannot be a member of a team in EspoCRM: set the hierarchy of the directory to flat or rollup."
        );
        return Err(Fault::permanent("nested_groups", text));
    }
    children.iter().map(|(_, id)| id_of(id)).collect()
}

/// What became of a write of a user: that a name is taken is an answer.
fn unless_name_taken<T>(written: Result<T, Fault>) -> Result<Option<T>, Fault> {
    match written {
        Ok(written) => Ok(Some(written)),
        Err(fault) if fault.code == USER_NAME_TAKEN => Ok(None),
        Err(fault) => Err(fault),
    }
}

#[async_trait]
impl Target for EspoTarget {
    fn product(&self) -> &'static str {
        "EspoCRM"
    }

    fn without(&self) -> BTreeSet<Field> {
        form::WITHOUT.into()
    }

    async fn find_group(&self, external_id: &ExternalId) -> Result<Option<GroupSide>, Fault> {
        let filter = Where::ArrayAnyOf(POSITIONS.to_owned(), vec![external_id.to_string().into()]);
        let select = ["id", "name", POSITIONS, "modifiedAt"];
        let (records, _) = self.page(&self.team_type, vec![filter], &select, SAME_ID_MAX, None).await?;
        let sides: Vec<Option<GroupSide>> = records.iter().map(read::team).collect::<Result<_, _>>()?;
        Ok(sides.into_iter().flatten().find(|side| side.external_id == *external_id))
    }

    async fn group(&self, id: &TargetId) -> Result<Option<GroupSide>, Fault> {
        self.own_team(&id_of(id)?).await
    }

    async fn find_user(&self, external_id: &ExternalId) -> Result<Option<UserSide>, Fault> {
        self.first_user(external_id, None).await
    }

    async fn second_user(
        &self,
        external_id: &ExternalId,
        first: &TargetId,
    ) -> Result<Option<UserSide>, Fault> {
        self.first_user(external_id, Some(first)).await
    }

    async fn user(&self, id: &TargetId) -> Result<Option<UserSide>, Fault> {
        Ok(self.own_user(&id_of(id)?).await?.map(|(_, side)| side))
    }

    async fn create_group(&self, external_id: &ExternalId, name: &str) -> Result<GroupSide, Fault> {
        let created = self.create(&self.team_type, &write::new_team(external_id, name)).await?;
        read::team(&created)?.ok_or_else(|| {
            let text = format!(
                "EspoCRM made the team {} but did not keep {external_id} in {POSITIONS}: delete the team, and look for what \
                 changes that field.",
                created.id()
            );
            Fault::permanent("attributes_dropped", text)
        })
    }

    async fn update_group(
        &self,
        id: &TargetId,
        expected: Option<&str>,
        name: &str,
    ) -> Result<GroupSide, Fault> {
        let team = id_of(id)?;
        let present = self.own_team(&team).await?.ok_or_else(|| moved_on("The team", id))?;
        if expected.is_some() && present.version.as_deref() != expected {
            return Err(moved_on("The team", id));
        }
        let written = self.crm.update(&self.team_type, &team, &Patch::new().set("name", name), None).await?;
        let side = written.as_ref().map(read::team).transpose()?.flatten();
        side.ok_or_else(|| moved_on("The team", id))
    }

    async fn delete_group(&self, id: &TargetId) -> Result<(), Fault> {
        let team = id_of(id)?;
        if self.own_team(&team).await?.is_some() {
            self.crm.delete(&self.team_type, &team).await?;
        }
        Ok(())
    }

    async fn create_user(
        &self,
        external_id: &ExternalId,
        attributes: &Attributes,
    ) -> Result<UserWritten, Fault> {
        let patch = write::new_user(external_id, attributes);
        let created = self.create(&self.user_type, &patch).await;
        let Some(created) = unless_name_taken(created)? else { return Ok(UserWritten::NameTaken) };
        let id = TargetId(created.id().to_string());
        // The answer leaves out what is null.
        let side = self.user(&id).await?.ok_or_else(|| moved_on("The user", &id))?;
        Ok(UserWritten::Done(side))
    }

    async fn update_user(
        &self,
        id: &TargetId,
        expected: Option<&str>,
        external_id: &ExternalId,
        changes: &Attributes,
    ) -> Result<UserWritten, Fault> {
        let user = id_of(id)?;
        let Some((record, present)) = self.own_user(&user).await? else {
            return Err(moved_on("The user", id));
        };
        if expected.is_some() && present.version.as_deref() != expected {
            return Err(moved_on("The user", id));
        }
        let contacts = Contacts { numbers: record.contact_data(PHONES)?, mails: record.contact_data(MAILS)? };
        // A write that changes nothing moves the version all the same.
        let changes = differences(changes, &present.attributes);
        let mut patch = write::changed(Patch::new(), &contacts, &changes);
        if present.external_id != *external_id {
            patch = write::owned(patch, external_id);
        }
        if patch.is_empty() {
            return Ok(UserWritten::Done(present));
        }
        let written = self.crm.update(&self.user_type, &user, &patch, record.version()).await;
        match unless_name_taken(written)? {
            None => return Ok(UserWritten::NameTaken),
            Some(None) => return Err(moved_on("The user", id)),
            // The answer can show numbers and addresses as they were before.
            Some(Some(_)) => {}
        }
        let side = self.user(id).await?.ok_or_else(|| moved_on("The user", id))?;
        Ok(UserWritten::Done(side))
    }

    async fn delete_user(&self, id: &TargetId) -> Result<(), Fault> {
        let user = id_of(id)?;
        if self.own_user(&user).await?.is_some() {
            self.crm.delete(&self.user_type, &user).await?;
        }
        Ok(())
    }

    async fn change_members(
        &self,
        group: &TargetId,
        add: &[(Child, TargetId)],
        remove: &[(Child, TargetId)],
    ) -> Result<MembersWritten, Fault> {
        let team = id_of(group)?;
        let changes = [(Change::Add, users_of(add)?), (Change::Remove, users_of(remove)?)];
        // Whoever took our id away from it has taken it over.
        if self.own_team(&team).await?.is_none() {
            return Ok(MembersWritten::GroupGone);
        }
        for (change, users) in changes {
            if self.relate(change, &team, &users).await? == MembersWritten::GroupGone {
                return Ok(MembersWritten::GroupGone);
            }
        }
        Ok(MembersWritten::Done)
    }

    async fn members_of(&self, group: &TargetId) -> Result<Option<BTreeSet<TargetId>>, Fault> {
        if self.own_team(&id_of(group)?).await?.is_none() {
            return Ok(None);
        }
        let (mut members, mut cursor) = (BTreeSet::new(), None);
        loop {
            let filter = Where::linked_with(TEAMS, [group.0.as_str()]);
            let size = connector_espocrm::PAGE_SIZE_MAX;
            let (records, next) =
                self.page(&self.user_type, vec![filter], &["id"], size, cursor.as_deref()).await?;
            members.extend(records.iter().map(|record| TargetId(record.id().to_string())));
            match next {
                Some(next) => cursor = Some(next),
                None => return Ok(Some(members)),
            }
        }
    }

    async fn groups(&self, cursor: Option<&str>) -> Result<Page<GroupSide>, Fault> {
        let select = ["id", "name", POSITIONS, "modifiedAt"];
        let size = connector_espocrm::PAGE_SIZE_MAX;
        let (records, next) = self.page(&self.team_type, Vec::new(), &select, size, cursor).await?;
        let sides: Vec<Option<GroupSide>> = records.iter().map(read::team).collect::<Result<_, _>>()?;
        Ok(Page { records: sides.into_iter().flatten().collect(), next })
    }

    async fn users(&self, cursor: Option<&str>) -> Result<Page<UserSide>, Fault> {
        let filter = Where::StartsWith(EXTERNAL_ID.to_owned(), PREFIX.to_owned());
        let (records, next) = self.page(&self.user_type, vec![filter], &["id"], USERS_A_PAGE, cursor).await?;
        let ids: Vec<EspoId> = records.iter().map(|record| record.id().clone()).collect();
        let reads = stream::iter(ids).map(|id| async move { self.own_user(&id).await });
        let sides: Vec<_> = reads.buffered(READS_AT_ONCE).try_collect().await?;
        Ok(Page { records: sides.into_iter().flatten().map(|(_, side)| side).collect(), next })
    }

    async fn check(&self, hierarchy: Hierarchy) -> Vec<Check> {
        let mut checks = vec![self.check_log_in().await];
        if checks.iter().any(|check| check.verdict == Verdict::Broken) {
            return checks;
        }
        if hierarchy == Hierarchy::Nested {
            checks.push(finding(
                Verdict::Broken,
                "EspoCRM hierarchy",
                "nested, but EspoCRM has no teams within teams",
                "Set the hierarchy of the directory to flat or rollup.",
            ));
        }
        checks.push(match self.crm.version().await {
            Ok(version) => check_version(version),
            Err(fault) => failed("EspoCRM version", &fault),
        });
        checks.push(self.check_teams().await);
        match needs::needs() {
            Ok(needs) => {
                let crm_checks =
                    CrmChecks { flow: super::NAME, crm: &self.crm, needs: &needs, scopes: &[], actions: &[] };
                for need in &needs.entities {
                    checks.extend(crm_checks.check_entity(need).await);
                }
            }
            Err(error) => checks.push(finding(
                Verdict::Broken,
                "EspoCRM needs",
                error.to_string(),
                "Report this as a bug.",
            )),
        }
        checks
    }

    async fn leave(&self) {
        self.crm.leave().await;
    }
}

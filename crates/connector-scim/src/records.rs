//! One resource: create, read, change, delete. RFC 7644, sections 3.3 to 3.6.

use http_client::{Answer, Method, Request};
use serde_json::{Map, Value};
use shared::fault::Fault;

use crate::client::Scim;
use crate::error::{self, Absence};
use crate::features::Known;
use crate::id::{self, checked};
use crate::lists::Query;
use crate::paging::Page;
use crate::patch::{Attributes, GroupPatch, UserPatch};
use crate::resource::{Group, Kind, Resource, User, etag};

/// How often a resource is read and put when others write it in between.
const TRIES: usize = 3;

/// What became of a create.
#[derive(Debug, Clone, PartialEq)]
pub enum Created<T> {
    /// Done.
    Done(T),
    /// Another one has the name (409). Look who: ours may be adopted, somebody else's is for a person to settle.
    Taken,
}

/// What became of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Written {
    /// Done.
    Done {
        /// The version now, where the service has versions.
        version: Option<String>,
    },
    /// It has another version than expected (412), or changes all the time.
    Changed,
    /// It is no more. Look it up by its external id.
    Gone,
    /// Another one has the name (409).
    Taken,
}

/// Whether a group is read with its members.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberList {
    /// With them.
    Read,
    /// Without.
    LeftOut,
}

impl Scim {
    /// Creates a user: `POST Users`. Not safe to repeat: our id is not unique at a service. Look it up first, under a
    /// lease, and again where [`crate::may_have_taken_effect`] says so.
    ///
    /// # Errors
    /// Permanent `request_refused`, `endpoint_missing`; what is common to all operations: `unauthorized` and `forbidden`
    /// (the account pauses), `throttled`, `upstream_failed`, `not_scim`, and those of [`http_client::Upstream::send`].
    pub async fn create_user(&self, user: &UserPatch) -> Result<Created<User>, Fault> {
        Ok(self.create(Kind::User, &user.0).await?.into())
    }

    /// Creates a group without members: `POST Groups`. As [`Self::create_user`].
    ///
    /// # Errors
    /// As [`Self::create_user`].
    pub async fn create_group(&self, group: &GroupPatch) -> Result<Created<Group>, Fault> {
        Ok(self.create(Kind::Group, &group.0).await?.into())
    }

    /// Reads a user: `GET Users/{id}`. `None` where the service says that it is not there. Safe to repeat.
    ///
    /// # Errors
    /// What is common to all operations, see [`Self::create_user`].
    pub async fn user(&self, id: &str) -> Result<Option<User>, Fault> {
        Ok(self.read(Kind::User, id, MemberList::LeftOut).await?.map(User))
    }

    /// Reads a group: `GET Groups/{id}`. As [`Self::user`].
    ///
    /// # Errors
    /// As [`Self::user`].
    pub async fn group(&self, id: &str, members: MemberList) -> Result<Option<Group>, Fault> {
        Ok(self.read(Kind::Group, id, members).await?.map(Group))
    }

    /// Writes attributes of a user: `PATCH Users/{id}`, or read, changed and `PUT Users/{id}`; only where its version is
    /// `expected`, if that is given and the service has versions. Safe to repeat.
    ///
    /// Without PATCH and versions the last writer wins: see to it that one resource has one writer at a time.
    ///
    /// # Errors
    /// Permanent `request_refused`; what is common to all operations, see [`Self::create_user`].
    pub async fn update_user(
        &self,
        id: &str,
        expected: Option<&str>,
        patch: &UserPatch,
    ) -> Result<Written, Fault> {
        self.update(Kind::User, id, expected, &patch.0).await
    }

    /// Writes attributes of a group, as [`Self::update_user`].
    ///
    /// # Errors
    /// As [`Self::update_user`].
    pub async fn update_group(
        &self,
        id: &str,
        expected: Option<&str>,
        patch: &GroupPatch,
    ) -> Result<Written, Fault> {
        self.update(Kind::Group, id, expected, &patch.0).await
    }

    /// Deletes a user: `DELETE Users/{id}`; one that is not there is deleted. It stays in the lists of groups' members:
    /// take it out first. Safe to repeat.
    ///
    /// # Errors
    /// What is common to all operations, see [`Self::create_user`].
    pub async fn delete_user(&self, id: &str) -> Result<(), Fault> {
        self.delete(Kind::User, id).await
    }

    /// Deletes a group, as [`Self::delete_user`].
    ///
    /// # Errors
    /// As [`Self::delete_user`].
    pub async fn delete_group(&self, id: &str) -> Result<(), Fault> {
        self.delete(Kind::Group, id).await
    }

    pub(crate) async fn create(
        &self,
        kind: Kind,
        attributes: &Attributes,
    ) -> Result<Created<Resource>, Fault> {
        let known = self.known().await?;
        let endpoint = known.abilities.endpoint(kind);
        let answer = self.send(create_request(endpoint, attributes.create_body(kind))).await?;
        match answer.status() {
            409 => return Ok(Created::Taken),
            404 if error::absence(&answer) == Absence::Told => return Err(error::endpoint_missing(&answer)),
            _ => {}
        }
        let answer = self.good(&answer)?;
        let location = answer.header("location").and_then(id::of_location);
        let (true, Some(id)) = (answer.body().is_empty(), location) else {
            return Resource::read(answer).map(Created::Done);
        };
        let read = self.read(kind, &id, MemberList::LeftOut).await?;
        read.map(Created::Done)
            .ok_or_else(|| answer.unreadable("the location of something that is not there"))
    }

    pub(crate) async fn read(
        &self,
        kind: Kind,
        id: &str,
        members: MemberList,
    ) -> Result<Option<Resource>, Fault> {
        let known = self.known().await?;
        let answer =
            self.send(get_request(known.abilities.endpoint(kind), kind, checked(id)?, members)).await?;
        if self.is_gone(known, kind, &answer).await? {
            return Ok(None);
        }
        Resource::read(self.good(&answer)?).map(Some)
    }

    pub(crate) async fn update(
        &self,
        kind: Kind,
        id: &str,
        expected: Option<&str>,
        attributes: &Attributes,
    ) -> Result<Written, Fault> {
        let known = self.known().await?;
        if attributes.is_empty() {
            return Ok(Written::Done { version: expected.map(str::to_owned) });
        }
        if known.patch.is_on() {
            let version = expected.filter(|_| known.abilities.etag);
            let request = patch_request(
                known.abilities.endpoint(kind),
                checked(id)?,
                version,
                &attributes.patch_body(),
            );
            if let Some(answer) = self.try_feature(&known.patch, request, error::lacks_patch).await? {
                return self.written(known, kind, &answer).await;
            }
        }
        self.put(known, kind, id, expected, |resource| Some(attributes.put_body(resource))).await
    }

    /// Reads a resource, changes it, and puts it back; again where somebody wrote it in between. `change` answers nothing
    /// where there is nothing to change.
    pub(crate) async fn put(
        &self,
        known: &Known,
        kind: Kind,
        id: &str,
        expected: Option<&str>,
        change: impl Fn(&Resource) -> Option<Map<String, Value>>,
    ) -> Result<Written, Fault> {
        let _turn = self.turn(id).await;
        for _ in 0..TRIES {
            let read = self.read(kind, id, MemberList::Read).await?;
            let Some(resource) = read else { return Ok(Written::Gone) };
            let version = resource.version();
            if let (Some(version), Some(expected)) = (version, expected)
                && version != expected
            {
                return Ok(Written::Changed);
            }
            let Some(body) = change(&resource) else {
                return Ok(Written::Done { version: version.map(str::to_owned) });
            };
            let matching = version.filter(|_| known.abilities.etag);
            let answer = self.send(put_request(known.abilities.endpoint(kind), id, matching, body)).await?;
            match self.written(known, kind, &answer).await? {
                Written::Changed if expected.is_none() => {}
                written => return Ok(written),
            }
        }
        Ok(Written::Changed)
    }

    pub(crate) async fn delete(&self, kind: Kind, id: &str) -> Result<(), Fault> {
        let known = self.known().await?;
        let answer = self.send(delete_request(known.abilities.endpoint(kind), checked(id)?)).await?;
        if self.is_gone(known, kind, &answer).await? {
            return Ok(());
        }
        self.good(&answer).map(|_| ())
    }

    pub(crate) async fn written(&self, known: &Known, kind: Kind, answer: &Answer) -> Result<Written, Fault> {
        if let Some(written) = refused(answer) {
            return Ok(written);
        }
        if self.is_gone(known, kind, answer).await? {
            return Ok(Written::Gone);
        }
        self.good(answer).map(|answer| Written::Done { version: version_of(answer) })
    }

    /// Whether an answer says that the resource is gone. Where a 404 may be somebody else's, the collection is asked for
    /// as well: where that is there, it is the resource that is not.
    async fn is_gone(&self, known: &Known, kind: Kind, answer: &Answer) -> Result<bool, Fault> {
        match error::absence(answer) {
            Absence::No => return Ok(false),
            Absence::Told => return Ok(true),
            Absence::Unclear => {}
        }
        let collection = self.send(Query::probe(kind).request(known.abilities.endpoint(kind))).await?;
        let is_there = collection.is_success() && Page::read(&collection).is_ok();
        if is_there { Ok(true) } else { Err(error::fault(answer)) }
    }
}

impl From<Created<Resource>> for Created<User> {
    fn from(created: Created<Resource>) -> Self {
        match created {
            Created::Done(resource) => Self::Done(User(resource)),
            Created::Taken => Self::Taken,
        }
    }
}

impl From<Created<Resource>> for Created<Group> {
    fn from(created: Created<Resource>) -> Self {
        match created {
            Created::Done(resource) => Self::Done(Group(resource)),
            Created::Taken => Self::Taken,
        }
    }
}

fn create_request(endpoint: &str, body: Map<String, Value>) -> Request {
    Request::new(Method::Post, endpoint, &[]).json(&body)
}

fn get_request(endpoint: &str, kind: Kind, id: &str, members: MemberList) -> Request {
    let request = Request::new(Method::Get, one(endpoint), &[id]);
    if kind == Kind::Group && members == MemberList::LeftOut {
        return request.query("excludedAttributes", "members");
    }
    request
}

pub(crate) fn patch_request(endpoint: &str, id: &str, expected: Option<&str>, body: &Value) -> Request {
    matching(Request::new(Method::Patch, one(endpoint), &[id]).json(body), expected)
}

fn put_request(endpoint: &str, id: &str, expected: Option<&str>, body: Map<String, Value>) -> Request {
    matching(Request::new(Method::Put, one(endpoint), &[id]).json(&body), expected)
}

fn delete_request(endpoint: &str, id: &str) -> Request {
    Request::new(Method::Delete, one(endpoint), &[id])
}

fn one(endpoint: &str) -> String {
    format!("{endpoint}/{{id}}")
}

/// A version goes back as it came, its `W/` and quotes included.
fn matching(request: Request, expected: Option<&str>) -> Request {
    match expected {
        Some(version) => request.header("if-match", version),
        None => request,
    }
}

/// Why a write had no effect, where that is no fault.
fn refused(answer: &Answer) -> Option<Written> {
    match answer.status() {
        412 => Some(Written::Changed),
        409 => Some(Written::Taken),
        _ => None,
    }
}

/// The version after a write: of its header, or of the resource that came back.
fn version_of(answer: &Answer) -> Option<String> {
    etag(answer).or_else(|| Some(Resource::read(answer).ok()?.version()?.to_owned()))
}

#[cfg(test)]
mod tests {
    use doubles::Exchange;

    use super::*;
    use crate::fixtures;

    fn check(request: &Request, recorded: &Exchange, operation: &str) {
        assert_eq!((request.operation().as_str(), request.path().as_str()), (operation, recorded.path()));
        assert_eq!(request.header_value("if-match"), recorded.request_header("if-match"));
        if !request.body().is_empty() {
            assert_eq!(serde_json::from_slice::<Value>(request.body()).unwrap(), recorded.request_json());
        }
    }

    fn id_of(recorded: &Exchange) -> &str {
        recorded.path().rsplit('/').next().unwrap()
    }

    #[test]
    fn requests_are_as_recorded() {
        let recorded = fixtures::load("021-create-user-minimal");
        let user = UserPatch::default().user_name("lisi").external_id("wecom:user:lisi");
        check(&create_request("Users", user.0.create_body(Kind::User)), &recorded, "POST Users");

        let recorded = fixtures::load("030-get-user");
        let get = get_request("Users", Kind::User, id_of(&recorded), MemberList::LeftOut);
        check(&get, &recorded, "GET Users/{id}");
        assert!(get.query_pairs().is_empty());

        let recorded = fixtures::load("043-excluded-members");
        let get = get_request("Groups", Kind::Group, id_of(&recorded), MemberList::LeftOut);
        check(&get, &recorded, "GET Groups/{id}");
        assert_eq!(recorded.query("excludedAttributes").as_deref(), Some(get.query_pairs()[0].1.as_str()));

        let recorded = fixtures::load("073-patch-if-match-stale");
        let patch = UserPatch::default().display_name(Some("x")).0.patch_body();
        check(
            &patch_request("Users", id_of(&recorded), Some("W/\"22\""), &patch),
            &recorded,
            "PATCH Users/{id}",
        );

        let recorded = fixtures::load("092-delete-user");
        check(&delete_request("Users", id_of(&recorded)), &recorded, "DELETE Users/{id}");
    }

    #[test]
    fn a_put_goes_back_with_the_version_it_was_read_with() {
        let read = Resource::read(&fixtures::answer("070-put")).unwrap();
        let recorded = fixtures::load("072-put-if-match");
        let change = UserPatch::default().external_id("wecom:user:lisi");
        let mut body = change.0.put_body(&read);
        body.shift_remove("id");
        check(&put_request("Users", id_of(&recorded), read.version(), body), &recorded, "PUT Users/{id}");
    }

    #[test]
    fn what_a_write_met_is_told_apart() {
        for (name, expected) in [
            ("071-put-if-match-stale", Some(Written::Changed)),
            ("073-patch-if-match-stale", Some(Written::Changed)),
            ("062-patch-username-taken", Some(Written::Taken)),
            ("022-create-user-duplicate-username", Some(Written::Taken)),
            ("074-put-unknown", None),
            ("053-patch-deactivate", None),
        ] {
            assert_eq!(refused(&fixtures::answer(name)), expected, "{name}");
        }
    }

    #[test]
    fn the_version_after_a_write_is_where_the_service_puts_it() {
        for (name, expected) in [
            ("012-nest-group-patch-add", "W/\"3\""),
            ("053-patch-deactivate", "W/\"15\""),
            ("055-patch-no-path-okta", "W/\"16\""),
            ("070-put", "W/\"22\""),
        ] {
            assert_eq!(version_of(&fixtures::answer(name)).as_deref(), Some(expected), "{name}");
        }
        let body = r#"{"id":"1","meta":{"version":"W/\"7\""}}"#;
        assert_eq!(version_of(&fixtures::made(200, "application/json", body)).as_deref(), Some("W/\"7\""));
        assert_eq!(version_of(&fixtures::made(204, "", "")), None);
        assert_eq!(version_of(&fixtures::answer("092-delete-user")), None);
    }

    #[test]
    fn creates_are_read_as_recorded() {
        for (name, external_id) in [
            ("010-create-group-root", Some("wecom:dept:1")),
            ("015-create-group-same-externalid", Some("wecom:dept:2")),
            ("020-create-user", Some("wecom:user:zhangsan")),
            ("024-create-user-duplicate-externalid", Some("wecom:user:zhangsan")),
            ("096-media-type-json", None),
        ] {
            let answer = fixtures::answer(name);
            let read = Resource::read(&answer).unwrap();
            assert_eq!(read.text("externalId"), external_id, "{name}");
            assert_eq!(
                answer.header("location").and_then(id::of_location).as_deref(),
                Some(read.id()),
                "{name}"
            );
        }
    }
}

//! Lists and look-ups.

use http_client::{Answer, Method, Request, codes};
use serde_json::Value;
use shared::fault::Fault;

use crate::client::Scim;
use crate::features::Known;
use crate::paging::{Listing, Page, RESOURCES_MAX};
use crate::records::MemberList;
use crate::resource::{Group, Kind, Resource, User};
use crate::{error, filter};

/// What users are looked up by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserKey<'a> {
    /// Our id, exactly. A service does not keep it unique.
    ExternalId(&'a str),
    /// The log-in name, in any case.
    UserName(&'a str),
}

/// What groups are looked up by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupKey<'a> {
    /// Our id, exactly. A service does not keep it unique.
    ExternalId(&'a str),
    /// The name that is shown, in any case.
    DisplayName(&'a str),
}

/// What a resource is looked up by: attribute, value, and whether its case matters.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Key<'a> {
    attribute: &'static str,
    value: &'a str,
    exact: bool,
}

impl<'a> Key<'a> {
    pub(crate) fn external_id(value: &'a str) -> Self {
        Self { attribute: "externalId", value, exact: true }
    }

    /// Some services ignore a filter, or compare in another way.
    fn matches(&self, resource: &Resource) -> bool {
        let text = resource.get(self.attribute).and_then(Value::as_str);
        text.is_some_and(|text| {
            text == self.value || (!self.exact && text.to_lowercase() == self.value.to_lowercase())
        })
    }
}

impl<'a> From<UserKey<'a>> for Key<'a> {
    fn from(key: UserKey<'a>) -> Self {
        match key {
            UserKey::ExternalId(id) => Self::external_id(id),
            UserKey::UserName(value) => Self { attribute: "userName", value, exact: false },
        }
    }
}

impl<'a> From<GroupKey<'a>> for Key<'a> {
    fn from(key: GroupKey<'a>) -> Self {
        match key {
            GroupKey::ExternalId(id) => Self::external_id(id),
            GroupKey::DisplayName(value) => Self { attribute: "displayName", value, exact: false },
        }
    }
}

/// A list, page by page.
#[derive(Debug)]
pub struct Lister<T> {
    scim: Scim,
    kind: Kind,
    members: MemberList,
    listing: Listing,
    of: fn(Resource) -> T,
}

impl<T> Lister<T> {
    /// The next page: `GET Users` or `GET Groups`, with what has not come before. `None` after the last one. It may be
    /// empty. Safe to repeat after a fault.
    ///
    /// # Errors
    /// Retryable `list_endless` where the pages have no end, `answer_unreadable` for what is no list; what is common to
    /// all operations: `unauthorized` and `forbidden` (the account pauses), `throttled`, `upstream_failed`, `not_scim`,
    /// permanent `endpoint_missing`, `request_refused`, and those of [`http_client::Upstream::send`].
    pub async fn next_page(&mut self) -> Result<Option<Vec<T>>, Fault> {
        let Some(start) = self.listing.next() else { return Ok(None) };
        let page = self.scim.page(self.kind, None, self.members, start).await?;
        let page =
            page.ok_or_else(|| Fault::bug("filter_unasked", "A list without filter has none to lack."))?;
        let news = self.listing.take(page).map_err(|_| endless(self.kind))?;
        Ok(Some(news.into_iter().map(self.of).collect()))
    }

    /// Where the next page starts: a list of the same kind can be gone on with from there, also later. None after the last.
    pub fn position(&self) -> Option<u64> {
        self.listing.next()
    }

    /// Goes on from where another list of the same kind was. [`Self::is_complete`] says nothing then.
    #[must_use]
    pub fn starting_at(self, position: u64) -> Self {
        Self { listing: Listing::from(position, RESOURCES_MAX), ..self }
    }

    /// How many there are, by the service's word on the last page.
    pub fn total(&self) -> u64 {
        self.listing.total()
    }

    /// Whether the list is at its end and all came that the service said there was. Only then is missing what did not
    /// come.
    pub fn is_complete(&self) -> bool {
        self.listing.is_complete()
    }
}

impl Scim {
    /// Lists all users, ours or not.
    pub fn users(&self) -> Lister<User> {
        self.lister(Kind::User, MemberList::LeftOut, User)
    }

    /// Lists all groups, ours or not. Members of large groups are large: have them left out where they are not compared.
    pub fn groups(&self, members: MemberList) -> Lister<Group> {
        self.lister(Kind::Group, members, Group)
    }

    fn lister<T>(&self, kind: Kind, members: MemberList, of: fn(Resource) -> T) -> Lister<T> {
        Lister { scim: self.clone(), kind, members, listing: Listing::new(RESOURCES_MAX), of }
    }

    /// Looks users up: `GET Users` with a filter, or through all of them where the service has no filters: then better
    /// list once and keep what is found. Safe to repeat.
    ///
    /// # Errors
    /// As [`Lister::next_page`].
    pub async fn find_users(&self, key: UserKey<'_>) -> Result<Vec<User>, Fault> {
        Ok(self.find(Kind::User, key.into()).await?.into_iter().map(User).collect())
    }

    /// Looks groups up, as [`Self::find_users`]. Their members are left out.
    ///
    /// # Errors
    /// As [`Lister::next_page`].
    pub async fn find_groups(&self, key: GroupKey<'_>) -> Result<Vec<Group>, Fault> {
        Ok(self.find(Kind::Group, key.into()).await?.into_iter().map(Group).collect())
    }

    pub(crate) async fn find(&self, kind: Kind, key: Key<'_>) -> Result<Vec<Resource>, Fault> {
        if self.known().await?.filter.is_on()
            && let Some(found) = self.all(kind, Some(key), key).await?
        {
            return Ok(found);
        }
        let found = self.all(kind, None, key).await?;
        found.ok_or_else(|| Fault::bug("filter_unasked", "A list without filter has none to lack."))
    }

    /// All that match, of those that are asked for. `None` where the service lacks filters.
    async fn all(
        &self,
        kind: Kind,
        asked: Option<Key<'_>>,
        key: Key<'_>,
    ) -> Result<Option<Vec<Resource>>, Fault> {
        let mut listing = Listing::new(RESOURCES_MAX);
        let mut found = Vec::new();
        while let Some(start) = listing.next() {
            let page = self.page(kind, asked, MemberList::LeftOut, start).await?;
            let Some(page) = page else { return Ok(None) };
            let news = listing.take(page).map_err(|_| endless(kind))?;
            found.extend(news.into_iter().filter(|resource| key.matches(resource)));
        }
        Ok(Some(found))
    }

    /// One page. `None` where there is a filter and the service lacks filters.
    async fn page(
        &self,
        kind: Kind,
        key: Option<Key<'_>>,
        members: MemberList,
        start: u64,
    ) -> Result<Option<Page>, Fault> {
        let known = self.known().await?;
        loop {
            let count = known.page.get();
            let query = Query { kind, key, members, start, count, sorted: known.sort.is_on() };
            let answer = match self.ask(known, &query).await {
                Ok(None) => return Ok(None),
                Ok(Some(answer)) => answer,
                Err(fault) if fault.code == codes::ANSWER_TOO_LARGE && known.page.too_many(count) => continue,
                Err(fault) => return Err(fault),
            };
            if error::is_too_much(&answer) && known.page.too_many(count) {
                continue;
            }
            if query.is_sorted() && error::lacks_sort(&answer) {
                known.sort.turn_off(&answer);
                continue;
            }
            if error::absence(&answer) == error::Absence::Told {
                return Err(error::endpoint_missing(&answer));
            }
            return Page::read(self.good(&answer)?).map(Some);
        }
    }

    async fn ask(&self, known: &Known, query: &Query<'_>) -> Result<Option<Answer>, Fault> {
        let request = query.request(known.abilities.endpoint(query.kind));
        match query.key {
            Some(_) => self.try_feature(&known.filter, request, error::lacks_filter).await,
            None => self.send(request).await.map(Some),
        }
    }
}

/// One request of a list.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Query<'a> {
    kind: Kind,
    key: Option<Key<'a>>,
    members: MemberList,
    start: u64,
    count: usize,
    sorted: bool,
}

impl Query<'_> {
    /// The smallest list there is, to see whether there is one.
    pub(crate) fn probe(kind: Kind) -> Self {
        Self { kind, key: None, members: MemberList::LeftOut, start: 1, count: 1, sorted: false }
    }

    /// The few that a filter finds need no order.
    fn is_sorted(&self) -> bool {
        self.sorted && self.key.is_none()
    }

    pub(crate) fn request(&self, endpoint: &str) -> Request {
        let mut request = Request::new(Method::Get, endpoint, &[]);
        if let Some(key) = &self.key {
            request = request.query("filter", filter::eq(key.attribute, key.value));
        }
        if self.kind == Kind::Group && self.members == MemberList::LeftOut {
            request = request.query("excludedAttributes", "members");
        }
        if self.is_sorted() {
            request = request.query("sortBy", "id");
        }
        request.query("startIndex", self.start.to_string()).query("count", self.count.to_string())
    }
}

fn endless(kind: Kind) -> Fault {
    let text = format!(
        "The SCIM service's list of {}s has no end: it repeats itself, or has more than {RESOURCES_MAX}. If this goes \
         on, its paging does not heed startIndex.",
        kind.name().to_lowercase()
    );
    Fault::retryable("list_endless", text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fixtures;

    fn pairs(request: &Request) -> Vec<(&str, &str)> {
        request.query_pairs().iter().map(|(name, value)| (*name, value.as_str())).collect()
    }

    #[test]
    fn look_ups_are_as_recorded() {
        for (name, kind, key) in [
            ("016-filter-group-externalid", Kind::Group, GroupKey::ExternalId("wecom:dept:2").into()),
            ("033-filter-externalid", Kind::User, UserKey::ExternalId("wecom:user:lisi").into()),
            ("034-filter-username", Kind::User, Key::from(UserKey::UserName("LISI"))),
        ] {
            let recorded = fixtures::load(name);
            let query = Query { key: Some(key), sorted: true, ..Query::probe(kind) };
            let request = query.request(recorded.path());
            assert_eq!(request.operation(), format!("GET {}", recorded.path()));
            let sent = request.query_pairs().iter().find(|(name, _)| *name == "filter").unwrap();
            assert_eq!(Some(&sent.1), recorded.query("filter").as_ref(), "{name}");
            assert!(!pairs(&request).iter().any(|(name, _)| *name == "sortBy"), "{name}");
            let found = Page::read(&fixtures::answer(name)).unwrap().resources;
            assert!(!found.is_empty() && found.iter().all(|one| key.matches(one)), "{name}");
        }
    }

    #[test]
    fn pages_are_as_recorded() {
        let recorded = fixtures::load("039-list-page-2");
        let query = Query { start: 3, count: 2, ..Query::probe(Kind::User) };
        let sent = query.request("Users");
        for (name, value) in pairs(&sent) {
            assert_eq!(recorded.query(name).as_deref(), Some(value));
        }
        let groups = Query { sorted: true, ..Query::probe(Kind::Group) }.request("Groups");
        let expected =
            [("excludedAttributes", "members"), ("sortBy", "id"), ("startIndex", "1"), ("count", "1")];
        assert_eq!(pairs(&groups), expected);
        let whole = Query { members: MemberList::Read, ..Query::probe(Kind::Group) }.request("Groups");
        assert_eq!(pairs(&whole), [("startIndex", "1"), ("count", "1")]);
    }

    #[test]
    fn what_a_filter_lets_through_is_looked_at_again() {
        let of = |value: Value| Resource::of(value).unwrap();
        let key = Key::from(UserKey::ExternalId("wecom:user:a"));
        assert!(key.matches(&of(json!({"id": "1", "externalId": "wecom:user:a"}))));
        for other in [
            json!({"id": "1", "externalId": "WECOM:user:a"}),
            json!({"id": "1"}),
            json!({"id": "1", "externalId": null}),
        ] {
            assert!(!key.matches(&of(other.clone())), "{other}");
        }
        let name = Key::from(UserKey::UserName("LiSi"));
        assert!(name.matches(&of(json!({"id": "1", "username": "lisi"}))));
        assert!(!name.matches(&of(json!({"id": "1", "userName": "lisi2"}))));
    }
}

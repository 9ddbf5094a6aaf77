//! Who is in a group: changed in batches, since a change costs a service time in proportion to the group's size.
//!
//! Sent are the forms that every service understands: `add` with an array, and one `remove` with a filter for each that
//! leaves. A `remove` of `members` with a value takes ALL out at some. RFC 7644, section 3.5.2.

use std::collections::HashSet;

use http_client::{Answer, Request};
use serde_json::{Map, Value, json};
use shared::fault::Fault;

use crate::client::Scim;
use crate::error;
use crate::features::Known;
use crate::filter;
use crate::id::checked;
use crate::patch::{patch_body, put, writable};
use crate::records::{MemberList, Written, patch_request};
use crate::resource::{Group, Kind, Member, Resource, get};

/// Who comes into a group and who leaves it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MemberChange {
    /// Who comes; those who are in already stay.
    pub add: Vec<Member>,
    /// The ids of those who leave; who is not in is out already. Who comes as well, comes.
    pub remove: Vec<String>,
}

impl Member {
    /// A user.
    pub fn user(id: &str) -> Self {
        Self { id: id.to_owned(), kind: Some(Kind::User) }
    }

    /// A group.
    pub fn group(id: &str) -> Self {
        Self { id: id.to_owned(), kind: Some(Kind::Group) }
    }

    pub(crate) fn wire(&self) -> Value {
        match self.kind {
            Some(kind) => json!({"value": self.id, "type": kind.name()}),
            None => json!({"value": self.id}),
        }
    }
}

/// One change of one member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step<'a> {
    Add(&'a Member),
    Remove(&'a str),
}

impl MemberChange {
    /// Each member once: first who comes, then who leaves.
    pub(crate) fn steps(&self) -> Vec<Step<'_>> {
        let mut seen = HashSet::new();
        let add = self.add.iter().filter(|member| seen.insert(member.id.as_str()));
        let mut steps: Vec<Step<'_>> = add.map(Step::Add).collect();
        let remove = self.remove.iter().map(String::as_str).filter(|id| seen.insert(id));
        steps.extend(remove.map(Step::Remove));
        steps
    }
}

impl Scim {
    /// Changes who is in a group, a batch after the other: `PATCH Groups/{id}`, or the group read, changed and put. Safe
    /// to repeat, also after a fault between two batches. Whether the members exist is the caller's to see to: many
    /// services take any id.
    ///
    /// # Errors
    /// Permanent `request_refused`, `request_too_large` where not even one change is taken; what is common to all
    /// operations, see [`Self::create_user`].
    pub async fn change_members(&self, group: &str, change: &MemberChange) -> Result<Written, Fault> {
        let known = self.known().await?;
        let steps = change.steps();
        for step in &steps {
            match step {
                Step::Add(member) => checked(&member.id)?,
                Step::Remove(id) => checked(id)?,
            };
        }
        let mut rest = steps.as_slice();
        let mut version = None;
        while !rest.is_empty() {
            let count = known.members.get().min(rest.len());
            let (now, later) = rest.split_at(count);
            let answer = match known.patch.is_on() {
                true => self.patch_members(known, group, now).await?,
                false => None,
            };
            let Some(answer) = answer else {
                return self.put(known, Kind::Group, group, None, |resource| changed(resource, rest)).await;
            };
            if error::is_too_much(&answer) && known.members.too_many(count) {
                continue;
            }
            match self.written(known, Kind::Group, &answer).await? {
                Written::Done { version: now } => (version, rest) = (now, later),
                written => return Ok(written),
            }
        }
        Ok(Written::Done { version })
    }

    async fn patch_members(
        &self,
        known: &Known,
        group: &str,
        steps: &[Step<'_>],
    ) -> Result<Option<Answer>, Fault> {
        let send = async |steps: &[Step<'_>]| {
            self.try_feature(&known.patch, request(known, checked(group)?, steps), error::lacks_patch).await
        };
        let answer = send(steps).await?;
        let Some(refused) = answer.as_ref().filter(|answer| error::is_no_target(answer)) else {
            return Ok(answer);
        };
        // Some refuse to take out who is not in.
        let read = self.read(Kind::Group, group, MemberList::Read).await?;
        let Some(left) = read.map(|read| without_absent(&Group(read), steps)) else {
            return Ok(Some(refused.clone()));
        };
        if left.is_empty() {
            // What was asked for is so: nothing would be an odd thing to send.
            return Ok(Some(Answer::recorded(crate::SYSTEM, refused.operation(), 204, &[], "")));
        }
        send(&left).await
    }
}

fn request(known: &Known, group: &str, steps: &[Step<'_>]) -> Request {
    patch_request(known.abilities.endpoint(Kind::Group), group, None, &body(steps))
}

fn body(steps: &[Step<'_>]) -> Value {
    let (mut add, mut operations) = (Vec::new(), Vec::new());
    for step in steps {
        match step {
            Step::Add(member) => add.push(member.wire()),
            Step::Remove(id) => operations.push(json!({"op": "remove", "path": filter::member(id)})),
        }
    }
    if !add.is_empty() {
        operations.insert(0, add_operation(add));
    }
    patch_body(operations)
}

pub(crate) fn add_operation(members: Vec<Value>) -> Value {
    json!({"op": "add", "path": "members", "value": members})
}

fn without_absent<'a>(group: &Group, steps: &[Step<'a>]) -> Vec<Step<'a>> {
    let members: HashSet<String> = group.members().into_iter().map(|member| member.id).collect();
    let is_left = |step: &&Step<'a>| match step {
        Step::Add(_) => true,
        Step::Remove(id) => members.contains(*id),
    };
    steps.iter().filter(is_left).copied().collect()
}

/// The group with its members changed, for a service without PATCH. `None` where nothing is to be changed.
fn changed(group: &Resource, steps: &[Step<'_>]) -> Option<Map<String, Value>> {
    let before = group.get("members").and_then(Value::as_array).cloned().unwrap_or_default();
    let id_of = |member: &Value| get(member.as_object()?, "value")?.as_str().map(str::to_owned);
    let mut present: HashSet<String> = before.iter().filter_map(id_of).collect();
    let removed: HashSet<&str> =
        steps.iter().filter_map(|step| if let Step::Remove(id) = step { Some(*id) } else { None }).collect();
    let mut members = before.clone();
    members.retain(|member| !id_of(member).is_some_and(|id| removed.contains(id.as_str())));
    for step in steps {
        if let Step::Add(member) = step
            && present.insert(member.id.clone())
        {
            members.push(member.wire());
        }
    }
    (members != before).then(|| {
        let mut body = writable(group);
        let members = if members.is_empty() { Value::Null } else { members.into() };
        put(&mut body, "members", &members);
        body
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fixtures;

    const CHILD: &str = "f4561f52a30d473f801b21d5d5a8c940";

    fn check(name: &str, change: &MemberChange) {
        assert_eq!(body(&change.steps()), fixtures::load(name).request_json(), "{name}");
    }

    fn read(name: &str) -> Resource {
        Resource::read(&fixtures::answer(name)).unwrap()
    }

    #[test]
    fn changes_are_as_recorded() {
        let adding = |member| MemberChange { add: vec![member], ..MemberChange::default() };
        check("012-nest-group-patch-add", &adding(Member::group(CHILD)));
        check("017-nest-cycle", &adding(Member::group("da097b31205a41e08d9c4bd7f6dcf673")));
        check("018-member-unknown-id", &adding(Member::user("no-such-id")));
        check("050-add-member", &adding(Member::user("f550e7184c42432ca238a6a9e2b2d1bb")));
        check("051-add-member-again", &adding(Member::user("f550e7184c42432ca238a6a9e2b2d1bb")));
        let remove = ["no-such-id", "da097b31205a41e08d9c4bd7f6dcf673"].map(str::to_owned).to_vec();
        check("019-remove-bad-members", &MemberChange { remove, ..MemberChange::default() });
    }

    #[test]
    fn a_group_without_patch_is_changed_whole() {
        let parent = read("013-get-parent");
        let change = MemberChange { add: vec![Member::user("u")], remove: vec![CHILD.to_owned()] };
        let body = changed(&parent, &change.steps()).unwrap();
        assert_eq!(body["members"], json!([{"value": "u", "type": "User"}]));
        assert_eq!((body["externalId"].as_str(), body.get("meta")), (Some("wecom:dept:1"), None));
        let empty = MemberChange { remove: vec![CHILD.to_owned()], ..MemberChange::default() };
        assert!(!changed(&parent, &empty.steps()).unwrap().contains_key("members"));
        let none = MemberChange { add: vec![Member::group(CHILD)], remove: vec!["x".to_owned()] };
        assert_eq!(changed(&parent, &none.steps()), None, "so already");
    }

    #[test]
    fn only_who_is_in_is_taken_out() {
        let change =
            MemberChange { add: vec![Member::user("u")], remove: vec!["x".to_owned(), CHILD.to_owned()] };
        let left = without_absent(&Group(read("013-get-parent")), &change.steps());
        assert_eq!(left, [Step::Add(&Member::user("u")), Step::Remove(CHILD)]);
    }

    fn ids() -> impl Strategy<Value = Vec<String>> {
        prop::collection::vec((0_u32..40).prop_map(|id| id.to_string()), 0..60)
    }

    /// What a service makes of a body, by the RFC.
    fn played(members: &mut Vec<String>, body: &Value) {
        for operation in body["Operations"].as_array().unwrap() {
            if operation["op"] == "add" {
                for member in operation["value"].as_array().unwrap() {
                    let id = member["value"].as_str().unwrap().to_owned();
                    if !members.contains(&id) {
                        members.push(id);
                    }
                }
            } else {
                members.retain(|id| operation["path"] != filter::member(id));
            }
        }
    }

    proptest! {
        /// Whatever the sizes of the batches, each change is in one of them, none is larger, and what comes out is what
        /// one put of the whole group makes of it.
        #[test]
        fn batches_cover_all_once(before in ids(), add in ids(), remove in ids(), size in 1_usize..20) {
            let change = MemberChange { add: add.iter().map(|id| Member::user(id)).collect(), remove: remove.clone() };
            let steps = change.steps();
            let distinct: HashSet<&String> = add.iter().chain(&remove).collect();
            prop_assert_eq!(steps.len(), distinct.len());
            let mut members: Vec<String> = Vec::new();
            before.iter().for_each(|id| if !members.contains(id) { members.push(id.clone()) });
            let wire: Vec<Value> = members.iter().map(|id| json!({"value": id, "type": "User"})).collect();
            let group = Resource::of(json!({"id": "g", "members": wire})).unwrap();
            let mut sent = 0;
            for batch in steps.chunks(size) {
                let body = body(batch);
                let count = |op: &Value| op["value"].as_array().map_or(1, Vec::len);
                let changes: usize = body["Operations"].as_array().unwrap().iter().map(count).sum();
                prop_assert!(changes <= size);
                sent += changes;
                played(&mut members, &body);
            }
            prop_assert_eq!(sent, steps.len());
            members.sort();
            let expected: HashSet<&String> =
                before.iter().filter(|id| !remove.contains(id)).chain(&add).collect();
            let mut expected: Vec<String> = expected.into_iter().cloned().collect();
            expected.sort();
            prop_assert_eq!(&members, &expected);
            let put = changed(&group, &steps).map_or(group, |body| Resource::of(body.into()).unwrap());
            let mut put: Vec<String> = Group(put).members().into_iter().map(|member| member.id).collect();
            put.sort();
            prop_assert_eq!(put, expected);
        }
    }
}

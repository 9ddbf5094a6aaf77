//! Reading members.
//!
//! Source: <https://developer.work.weixin.qq.com/document/path/90196>, "获取部门成员", "获取部门成员详情" and "获取成员ID列表"
//! beside it.

use http_client::{Answer, Method, Request};
use serde::Deserialize;
use serde_json::json;
use shared::fault::Fault;

use crate::api::Api;
use crate::wire::{Fields, Listed, Record, unsigned};
use crate::{DepartmentId, Lookup, Member, UserId, WeCom};

/// Most rows of a page of ids.
pub const ID_ROWS_MAX: u32 = 10_000;
/// Longest cursor that is taken, in bytes.
const CURSOR_BYTES_MAX: usize = 1_024;

/// One row of the list of ids: a member in a department.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdRow {
    /// The member.
    pub member: UserId,
    /// One of its departments.
    pub department: DepartmentId,
}

/// A page of the list of ids, unsorted: the rows of a member may be on several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdPage {
    /// The rows.
    pub rows: Listed<IdRow>,
    /// Where the next page begins; none on the last one.
    pub next: Option<String>,
}

impl WeCom {
    /// Reads ids, names and departments of a department's own members: `GET user/simplelist?department_id=`. By the app's
    /// secret. Safe to repeat.
    ///
    /// # Errors
    /// As [`Self::departments`].
    pub async fn member_names(&self, department: DepartmentId) -> Result<Lookup<Listed<Member>>, Fault> {
        let reply = self.call(Api::MemberNames, list_request(Api::MemberNames, department)).await?;
        Lookup::of(reply, read_list)
    }

    /// Reads a department's own members: `GET user/list?department_id=`; those of departments below it are asked for one by
    /// one. By the app's secret; apps made since 2022-06-20 get no contact data. Safe to repeat.
    ///
    /// # Errors
    /// As [`Self::departments`].
    pub async fn members(&self, department: DepartmentId) -> Result<Lookup<Listed<Member>>, Fault> {
        let reply = self.call(Api::Members, list_request(Api::Members, department)).await?;
        Lookup::of(reply, read_list)
    }

    /// Reads one member: `GET user/get?userid=`. By the app's secret. Safe to repeat.
    ///
    /// # Errors
    /// As [`Self::departments`].
    pub async fn member(&self, id: &UserId) -> Result<Lookup<Member>, Fault> {
        let reply = self.call(Api::Member, member_request(id)).await?;
        Lookup::of(reply, |answer| read_one(answer, id))
    }

    /// Reads a page of the ids of all members with their departments: `POST user/list_id`, from the beginning without a
    /// cursor. By the contact sync's secret only. Safe to repeat.
    ///
    /// # Errors
    /// As [`Self::departments`].
    pub async fn member_ids(&self, cursor: Option<&str>, rows_max: u32) -> Result<IdPage, Fault> {
        let reply = self.call(Api::MemberIds, ids_request(cursor, rows_max)).await?;
        read_ids(&reply.good()?, cursor)
    }
}

pub(crate) fn list_request(api: Api, department: DepartmentId) -> Request {
    Request::new(Method::Get, api.path(), &[]).query("department_id", department.to_string())
}

pub(crate) fn member_request(id: &UserId) -> Request {
    Request::new(Method::Get, Api::Member.path(), &[]).query("userid", id.as_str())
}

pub(crate) fn ids_request(cursor: Option<&str>, rows_max: u32) -> Request {
    let limit = rows_max.clamp(1, ID_ROWS_MAX);
    let body = json!({ "cursor": cursor.unwrap_or_default(), "limit": limit });
    Request::new(Method::Post, Api::MemberIds.path(), &[]).json(&body)
}

#[derive(Deserialize)]
struct WireList {
    userlist: Option<Listed<Member>>,
}

#[derive(Deserialize)]
struct WireIds {
    dept_user: Option<Listed<IdRow>>,
    next_cursor: Option<String>,
}

impl Record for IdRow {
    fn read(fields: &Fields) -> Result<Self, &'static str> {
        let member = fields.text("userid").ok_or("it has no userid")?;
        let department = fields.value("department").and_then(unsigned).ok_or("it has no department")?;
        Ok(Self {
            member: UserId::new(member).map_err(|_| "its userid is none")?,
            department: department.try_into().map_err(|_| "its department is none")?,
        })
    }
}

pub(crate) fn read_list(answer: &Answer) -> Result<Listed<Member>, Fault> {
    answer.json::<WireList>()?.userlist.ok_or_else(|| answer.unreadable("no list of members"))
}

/// The fields stand beside `errcode`. The answer may spell the id in another case.
pub(crate) fn read_one(answer: &Answer, id: &UserId) -> Result<Member, Fault> {
    let member = Member::read(&answer.json::<Fields>()?)
        .map_err(|why| answer.unreadable(&format!("a member that is not readable: {why}")))?;
    if member.id != *id {
        return Err(answer.unreadable("another member than was asked for"));
    }
    Ok(member)
}

pub(crate) fn read_ids(answer: &Answer, cursor: Option<&str>) -> Result<IdPage, Fault> {
    let WireIds { dept_user, next_cursor } = answer.json()?;
    let rows = dept_user.ok_or_else(|| answer.unreadable("no list of ids"))?;
    let next = next_cursor.filter(|next| !next.is_empty());
    if next.as_ref().is_some_and(|next| next.len() > CURSOR_BYTES_MAX || Some(next.as_str()) == cursor) {
        // Followed, it would never end.
        return Err(answer.unreadable("a next_cursor that leads nowhere"));
    }
    Ok(IdPage { rows, next })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use serde_json::Value;

    use super::*;
    use crate::{MemberStatus, fixtures};

    fn user(id: &str) -> UserId {
        UserId::new(id).unwrap()
    }

    fn all() -> Listed<Member> {
        read_list(&fixtures::answer(fixtures::text("users.json"))).unwrap()
    }

    #[test]
    fn requests_are_as_the_vendor_says() {
        let list = list_request(Api::Members, DepartmentId::ROOT);
        assert_eq!(list.operation(), "GET user/list");
        assert_eq!(list.query_pairs(), [("department_id", "1".to_owned())]);
        assert_eq!(member_request(&user("O.Brien@hq")).query_pairs(), [("userid", "O.Brien@hq".to_owned())]);
        let body = |cursor, rows| serde_json::from_slice::<Value>(ids_request(cursor, rows).body()).unwrap();
        assert_eq!(body(None, 100), json!({"cursor": "", "limit": 100}));
        assert_eq!(body(Some("c120"), 99_999), json!({"cursor": "c120", "limit": 10_000}));
    }

    #[test]
    fn a_company_is_read_member_by_member() {
        let listed = all();
        assert_eq!((listed.items.len(), listed.unreadable.len()), (300, 0));
        let one = |id: &str| listed.items.iter().find(|it| it.id == user(id)).unwrap();
        assert_eq!(one("zhaoliu").id.as_str(), "ZhaoLiu");
        for (id, active) in [("disabled1", false), ("inactive1", true), ("left1", false), ("u0207", true)] {
            assert_eq!(one(id).is_active(true), Some(active), "{id}");
        }
        assert_eq!(one("inactive1").status, Some(MemberStatus::NotActivated));
        assert_eq!(one("wangwu").departments().unwrap().iter().filter(|id| id.get() == 999_999).count(), 1);
        assert_eq!(one("self_led").direct_leaders.as_deref(), Some(&[user("self_led")][..]));
        assert_eq!(one("ghost_led").direct_leaders.as_deref(), Some(&[user("no-such-user")][..]));
        let (with, without): (Vec<_>, Vec<_>) = listed.items.iter().partition(|it| it.shows_contact_data());
        assert!(!with.is_empty() && !without.is_empty(), "{} with, {} without", with.len(), without.len());
        assert!(without.iter().all(|it| it.mobile.is_none() && it.email.is_none()));
        assert!(
            listed.items.iter().any(|it| it.name.as_ref().is_some_and(|name| name.chars().count() == 64))
        );
        let short = listed
            .items
            .iter()
            .flat_map(|it| it.memberships.iter().flatten())
            .filter(|it| it.order.is_none());
        assert!(short.count() > 0, "orders may be fewer than departments");
    }

    #[test]
    fn pages_of_ids_end_with_an_empty_cursor() {
        let recorded = fixtures::json("user_list_id_pages.json");
        let (mut cursor, mut rows) = (None, Vec::new());
        for (page, expected) in
            recorded["pages"].as_array().unwrap().iter().zip(recorded["cursors"].as_array().unwrap())
        {
            assert_eq!(cursor.as_deref().unwrap_or_default(), expected.as_str().unwrap());
            let page = read_ids(&fixtures::answer(page.to_string()), cursor.as_deref()).unwrap();
            assert!(page.rows.unreadable.is_empty());
            rows.extend(page.rows.items);
            cursor = page.next;
        }
        assert_eq!(cursor, None);
        let ids: HashSet<_> = rows.iter().map(|row| row.member.clone()).collect();
        assert_eq!(ids, all().items.into_iter().map(|it| it.id).collect());
        assert!(rows.len() > ids.len(), "one row for each member and department");
    }

    #[test]
    fn a_cursor_that_leads_nowhere_ends_it() {
        let page = |next: &str| fixtures::answer(format!(r#"{{"dept_user":[],"next_cursor":"{next}"}}"#));
        assert_eq!(read_ids(&page("c1"), Some("c1")).unwrap_err().code, "answer_unreadable");
        assert_eq!(read_ids(&page(&"c".repeat(2_000)), None).unwrap_err().code, "answer_unreadable");
        assert_eq!(read_ids(&page("c2"), Some("c1")).unwrap().next.as_deref(), Some("c2"));
        assert_eq!(read_ids(&fixtures::answer(r#"{"dept_user":[]}"#), None).unwrap().next, None);
        assert!(read_ids(&fixtures::answer(r#"{"next_cursor":""}"#), None).is_err(), "absent is not empty");
    }

    #[test]
    fn one_member_is_the_one_that_was_asked_for_in_any_case() {
        let answer = fixtures::answer(
            r#"{"errcode":0,"errmsg":"ok","userid":"ZhangSan","name":"张三","department":[1]}"#,
        );
        assert_eq!(read_one(&answer, &user("zhangsan")).unwrap().id.as_str(), "ZhangSan");
        assert_eq!(read_one(&answer, &user("lisi")).unwrap_err().code, "answer_unreadable");
        assert!(read_one(&fixtures::answer(r#"{"errcode":0}"#), &user("lisi")).is_err());
    }

    #[test]
    fn a_page_of_ten_thousand_fits() {
        let record = fixtures::json("users.json")["userlist"][0].to_string();
        let body = format!(r#"{{"errcode":0,"userlist":[{}]}}"#, vec![record; 10_000].join(","));
        assert!(body.len() < crate::default_limits().answer_bytes_max, "{} bytes", body.len());
        assert_eq!(read_list(&fixtures::answer(body)).unwrap().items.len(), 10_000);
    }
}

//! Reading departments.
//!
//! Source: <https://developer.work.weixin.qq.com/document/path/90208>, "获取子部门ID列表" and "获取单个部门详情" beside it.

use http_client::{Answer, Method, Request};
use serde::Deserialize;
use shared::fault::Fault;

use crate::api::Api;
use crate::wire::{Fields, Listed, Record as _};
use crate::{Department, DepartmentId, Lookup, WeCom};

impl WeCom {
    /// Reads all visible departments with their names: `GET department/list`. By the app's secret; the vendor calls it slow.
    /// Safe to repeat. An empty list after a full one is a lost permission, not an emptied company.
    ///
    /// # Errors
    /// Permanent `api_forbidden`, `out_of_scope`; unauthorized `sign_in_refused`, `address_not_trusted`, `token_refused`;
    /// throttled; retryable `busy`, `not_wecom`, and those of `http-client`; permanent `secret_missing`.
    pub async fn departments(&self) -> Result<Listed<Department>, Fault> {
        let reply = self.call(Api::DepartmentList, request(Api::DepartmentList, None)).await?;
        read_list(&reply.good()?)
    }

    /// The same for one department and everything below it: `GET department/list?id=`. Safe to repeat.
    ///
    /// # Errors
    /// As [`Self::departments`].
    pub async fn departments_below(&self, id: DepartmentId) -> Result<Lookup<Listed<Department>>, Fault> {
        let reply = self.call(Api::DepartmentList, request(Api::DepartmentList, Some(id))).await?;
        Lookup::of(reply, read_list)
    }

    /// Reads all departments without their names: `GET department/simplelist`. By the contact sync's secret, which sees all,
    /// else by the app's. Safe to repeat.
    ///
    /// # Errors
    /// As [`Self::departments`].
    pub async fn department_ids(&self) -> Result<Listed<Department>, Fault> {
        let reply = self.call(Api::DepartmentIds, request(Api::DepartmentIds, None)).await?;
        read_ids(&reply.good()?)
    }

    /// Reads one department: `GET department/get?id=`. By the app's secret. Safe to repeat.
    ///
    /// # Errors
    /// As [`Self::departments`].
    pub async fn department(&self, id: DepartmentId) -> Result<Lookup<Department>, Fault> {
        let reply = self.call(Api::Department, request(Api::Department, Some(id))).await?;
        Lookup::of(reply, |answer| read_one(answer, id))
    }
}

pub(crate) fn request(api: Api, id: Option<DepartmentId>) -> Request {
    let request = Request::new(Method::Get, api.path(), &[]);
    match id {
        Some(id) => request.query("id", id.to_string()),
        None => request,
    }
}

#[derive(Deserialize)]
struct WireList {
    department: Option<Listed<Department>>,
}

#[derive(Deserialize)]
struct WireIds {
    department_id: Option<Listed<Department>>,
}

#[derive(Deserialize)]
struct WireOne {
    department: Option<Fields>,
}

fn read_list(answer: &Answer) -> Result<Listed<Department>, Fault> {
    answer.json::<WireList>()?.department.ok_or_else(|| answer.unreadable("no list of departments"))
}

pub(crate) fn read_ids(answer: &Answer) -> Result<Listed<Department>, Fault> {
    answer.json::<WireIds>()?.department_id.ok_or_else(|| answer.unreadable("no list of department ids"))
}

fn read_one(answer: &Answer, id: DepartmentId) -> Result<Department, Fault> {
    let fields = answer.json::<WireOne>()?.department.ok_or_else(|| answer.unreadable("no department"))?;
    let department = Department::read(&fields)
        .map_err(|why| answer.unreadable(&format!("a department that is not readable: {why}")))?;
    if department.id != id {
        return Err(answer.unreadable("another department than was asked for"));
    }
    Ok(department)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Parent, fixtures};

    fn id(number: u64) -> DepartmentId {
        number.try_into().unwrap()
    }

    #[test]
    fn requests_name_a_department_or_none() {
        let one = request(Api::Department, Some(id(7)));
        assert_eq!(
            (one.operation().as_str(), one.query_pairs()),
            ("GET department/get", &[("id", "7".to_owned())][..])
        );
        assert!(request(Api::DepartmentList, None).query_pairs().is_empty());
    }

    #[test]
    fn a_tree_is_read_in_any_order() {
        let listed = read_list(&fixtures::answer(fixtures::text("department_list.json"))).unwrap();
        assert_eq!((listed.items.len(), listed.unreadable.len()), (40, 0));
        let first = &listed.items[0];
        assert_eq!((first.id, first.name.as_deref(), first.order), (id(1973), Some("行政部"), Some(40)));
        assert_eq!(first.parent, Some(Parent::Department(id(2654))));
        assert_eq!(first.leaders.as_ref().unwrap()[0].as_str(), "u0137");
        let roots: Vec<_> =
            listed.items.iter().filter(|it| it.parent == Some(Parent::None)).map(|it| it.id).collect();
        assert_eq!(roots, [DepartmentId::ROOT]);
        assert!(listed.items.iter().any(|it| it.order == Some(u32::MAX)), "orders go up to 2^32 - 1");
        assert!(listed.items.iter().any(|it| it.id.get() == 2_147_483_646));
    }

    #[test]
    fn ids_come_without_names() {
        let listed = read_ids(&fixtures::answer(fixtures::text("department_simplelist.json"))).unwrap();
        assert_eq!((listed.items.len(), listed.unreadable.len()), (40, 0));
        assert!(
            listed.items.iter().all(|it| it.name.is_none() && it.leaders.is_none() && it.parent.is_some())
        );
    }

    #[test]
    fn broken_trees_are_read_as_they_are() {
        let listed = read_list(&fixtures::answer(fixtures::text("department_list_broken.json"))).unwrap();
        let ids: Vec<_> = listed.items.iter().map(|it| it.id.get()).collect();
        assert_eq!(ids, [1, 2, 3, 4, 5, 6, 7, 7, 8]);
        assert_eq!(listed.items[8].name, None);
        let scoped = read_list(&fixtures::answer(fixtures::text("department_list_scoped.json"))).unwrap();
        assert!(scoped.items.iter().all(|it| it.parent != Some(Parent::None)), "no root is visible");
    }

    #[test]
    fn one_bad_record_does_not_take_the_page_with_it() {
        let body = r#"{"department":[{"id":"2","parentid":"1","order":"4294967295"},{"name":"x"},{"id":0},7,{"id":3,"order":-1,"parentid":-1}]}"#;
        let listed = read_list(&fixtures::answer(body)).unwrap();
        assert_eq!(listed.items[0].order, Some(u32::MAX));
        assert_eq!((listed.items[1].id, listed.items[1].order, listed.items[1].parent), (id(3), None, None));
        let places: Vec<_> = listed.unreadable.iter().map(|it| it.position).collect();
        assert_eq!(places, [1, 2, 3]);
    }

    #[test]
    fn a_missing_list_is_no_empty_one() {
        for body in ["{}", r#"{"department":null}"#, r#"{"department":{}}"#, r#"{"department":[{"id":1}"#] {
            assert_eq!(read_list(&fixtures::answer(body)).unwrap_err().code, "answer_unreadable", "{body}");
        }
        assert!(read_list(&fixtures::answer(r#"{"department":[]}"#)).unwrap().items.is_empty());
        assert!(read_ids(&fixtures::answer(r#"{"department":[]}"#)).is_err());
    }

    #[test]
    fn one_department_is_the_one_that_was_asked_for() {
        let answer = fixtures::answer(r#"{"errcode":0,"department":{"id":2,"name":"x","parentid":1}}"#);
        assert_eq!(read_one(&answer, id(2)).unwrap().name.as_deref(), Some("x"));
        assert_eq!(read_one(&answer, id(3)).unwrap_err().code, "answer_unreadable");
        assert!(read_one(&fixtures::answer("{}"), id(2)).is_err());
    }
}

//! The examples of WeCom that the tests play, in the flow's own forms. Stands in for the connector.

use std::collections::BTreeMap;

use serde_json::Value;

use super::department::Department;
use super::ids::{DepartmentId, MemberId};
use super::member::Member;

pub fn id(userid: &str) -> MemberId {
    MemberId::new(userid).unwrap()
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn number(value: &Value) -> Option<u32> {
    value.as_u64().and_then(|number| u32::try_from(number).ok())
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn ids(value: &Value) -> Option<Vec<MemberId>> {
    value.as_array().map(|ids| ids.iter().filter_map(Value::as_str).map(id).collect())
}

fn numbers(value: &Value) -> Vec<u32> {
    value.as_array().into_iter().flatten().filter_map(number).collect()
}

pub fn department(value: &Value) -> Department {
    Department {
        id: DepartmentId(number(&value["id"]).unwrap()),
        parent: number(&value["parentid"]).map(DepartmentId),
        name: text(&value["name"]),
        order: number(&value["order"]),
        leaders: ids(&value["department_leader"]),
    }
}

pub fn member(value: &Value) -> Member {
    let userid = value["userid"].as_str().unwrap();
    let small = |value: &Value| number(value).and_then(|number| u8::try_from(number).ok());
    let mut member = Member {
        name: text(&value["name"]),
        main_department: number(&value["main_department"]).map(DepartmentId),
        leaders: ids(&value["direct_leader"]),
        position: text(&value["position"]),
        mobile: text(&value["mobile"]),
        telephone: text(&value["telephone"]),
        email: text(&value["email"]),
        biz_mail: text(&value["biz_mail"]),
        alias: text(&value["alias"]),
        status: small(&value["status"]),
        enabled: small(&value["enable"]).map(|enable| enable != 0),
        ..Member::new(id(userid), userid)
    };
    if value["department"].is_array() {
        let departments: Vec<_> = numbers(&value["department"]).into_iter().map(DepartmentId).collect();
        let leads: Vec<_> = numbers(&value["is_leader_in_dept"]).iter().map(|leads| *leads == 1).collect();
        member.set_departments(&departments, &numbers(&value["order"]), &leads);
    }
    for attribute in value["extattr"]["attrs"].as_array().into_iter().flatten() {
        if let (Some(name), Some(value)) = (text(&attribute["name"]), text(&attribute["text"]["value"])) {
            member.extended.insert(name, value);
        }
    }
    member
}

fn departments(list: &str) -> Vec<Department> {
    json(list).as_array().unwrap().iter().map(department).collect()
}

pub fn company() -> Vec<Department> {
    departments(include_str!("fixtures/department_list.json"))
}

pub fn broken() -> Vec<Department> {
    departments(include_str!("fixtures/department_list_broken.json"))
}

pub fn scoped() -> Vec<Department> {
    departments(include_str!("fixtures/department_list_scoped.json"))
}

pub fn users() -> Vec<Member> {
    json(include_str!("fixtures/users.json")).as_array().unwrap().iter().map(member).collect()
}

/// What the first sync of the company must find.
pub fn expected_first_sync() -> Value {
    json(include_str!("fixtures/expected_first_sync.json"))
}

/// A sequence of what really happens, and of what is told of it.
#[derive(Debug, Clone)]
pub struct Sequence {
    pub name: String,
    pub initial: Value,
    pub ops: Vec<Value>,
    /// Which operation, how many of them WeCom shows by then, and the event.
    pub deliveries: Vec<(usize, usize, Value)>,
    pub expected: Value,
    pub needs_sweep: Value,
    pub invisible: Vec<DepartmentId>,
    /// How events spell a userid.
    pub spelled: BTreeMap<String, String>,
    /// Whether WeCom answers nothing until all events are in.
    pub is_blackout: bool,
}

pub fn sequences() -> Vec<Sequence> {
    let list = json(include_str!("fixtures/sequences.json"));
    let index = |value: &Value| usize::try_from(value.as_u64().unwrap()).unwrap();
    let read = |value: &Value| Sequence {
        name: text(&value["name"]).unwrap(),
        initial: value["initial"].clone(),
        ops: value["ops"].as_array().unwrap().clone(),
        deliveries: value["deliveries"]
            .as_array()
            .unwrap()
            .iter()
            .map(|delivery| (index(&delivery[0]), index(&delivery[1]), delivery[2].clone()))
            .collect(),
        expected: value["expected"].clone(),
        needs_sweep: value["needs_sweep"].clone(),
        invisible: numbers(&value["invisible_departments"]).into_iter().map(DepartmentId).collect(),
        spelled: value["deliver_userid_as"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(userid, spelled)| (userid.clone(), text(spelled).unwrap()))
            .collect(),
        is_blackout: value["api"].is_string(),
    };
    let read: Vec<Sequence> = list.as_array().unwrap().iter().map(read).collect();
    assert_eq!(read.len(), 29);
    read
}

//! The connector's records in the flow's own form. Pure: what is absent stays unknown.

use std::collections::BTreeMap;

use connector_wecom::{Attribute, AttributeValue, MemberStatus, Parent, Unreadable, UserId};

use crate::directory::department::Department;
use crate::directory::ids::{BadUserid, DepartmentId, MemberId};
use crate::directory::member::Member;
use crate::directory::source::{Listed, Row};

/// Most records of one list that are named as unreadable.
pub(super) const MEMBERS_UNREADABLE_MAX: usize = 50;

/// A department's id as the connector has it; none for what is no department.
pub(super) fn wire_id(id: DepartmentId) -> Option<connector_wecom::DepartmentId> {
    u64::from(id.0).try_into().ok()
}

/// A userid as the flow has it.
pub(super) fn canonical_id(userid: &UserId) -> Result<MemberId, BadUserid> {
    MemberId::new(userid.as_str())
}

/// Those that can be somebody's id.
fn ids(userids: &[UserId]) -> Vec<MemberId> {
    userids.iter().filter_map(|userid| canonical_id(userid).ok()).collect()
}

/// A department.
pub(super) fn department(wire: connector_wecom::Department) -> Department {
    let connector_wecom::Department { id, name, parent, order, leaders, name_en: _ } = wire;
    let parent = parent.map(|parent| match parent {
        Parent::None => DepartmentId::NONE,
        Parent::Department(id) => DepartmentId(id.get()),
    });
    Department { id: DepartmentId(id.get()), parent, name, order, leaders: leaders.as_deref().map(ids) }
}

/// All departments.
pub(super) fn departments(
    listed: connector_wecom::Listed<connector_wecom::Department>,
) -> Listed<Department> {
    Listed {
        records: listed.items.into_iter().map(department).collect(),
        unreadable: listed.unreadable.iter().map(|it| unreadable("departments", it)).collect(),
    }
}

/// A member.
pub(super) fn member(wire: connector_wecom::Member) -> Result<Member, BadUserid> {
    let mut member = Member::new(canonical_id(&wire.id)?, wire.id.as_str());
    for membership in wire.memberships.as_deref().unwrap_or_default() {
        let id = DepartmentId(membership.department.get());
        let departments = member.departments.get_or_insert_default();
        if departments.contains(&id) {
            continue;
        }
        departments.push(id);
        member.order.extend(membership.order.map(|order| (id, order)));
        member.leads.extend(membership.is_leader.map(|leads| (id, leads)));
    }
    if wire.memberships.is_some() {
        member.departments.get_or_insert_default();
    }
    member.main_department = wire.main_department.map(|id| DepartmentId(id.get()));
    member.leaders = wire.direct_leaders.as_deref().map(ids);
    member.name = wire.name;
    member.position = wire.position;
    member.mobile = wire.mobile;
    member.telephone = wire.telephone;
    member.email = wire.email;
    member.biz_mail = wire.biz_mail;
    member.alias = wire.alias;
    member.status = wire.status.and_then(status);
    member.enabled = wire.enabled;
    member.extended = extended(wire.attributes.unwrap_or_default());
    Ok(member)
}

/// A number that nobody knows says nothing: nobody is taken out of use for it.
fn status(status: MemberStatus) -> Option<u8> {
    match status {
        MemberStatus::Active => Some(1),
        MemberStatus::Disabled => Some(2),
        MemberStatus::NotActivated => Some(4),
        MemberStatus::Left => Some(5),
        MemberStatus::Other(_) => None,
    }
}

fn extended(attributes: Vec<Attribute>) -> BTreeMap<String, String> {
    let text = |attribute: Attribute| match attribute.value {
        AttributeValue::Text(value) => Some((attribute.name, value)),
        AttributeValue::Web { .. } | AttributeValue::Other(_) => None,
    };
    attributes.into_iter().filter_map(text).collect()
}

/// The members of a department, sorted by id, each once.
pub(super) fn rows(
    department: DepartmentId,
    listed: connector_wecom::Listed<connector_wecom::Member>,
    row: impl Fn(Member) -> Row,
) -> Listed<Row> {
    let of = format!("members of the department {department}");
    let mut said: Vec<String> = listed.unreadable.iter().map(|it| unreadable(&of, it)).collect();
    let mut records: BTreeMap<MemberId, Row> = BTreeMap::new();
    for wire in listed.items {
        match member(wire) {
            Ok(member) => drop(records.insert(member.id.clone(), row(member))),
            Err(bad) => said.push(format!("A record in the list of {of} names {bad}.")),
        }
    }
    said.truncate(MEMBERS_UNREADABLE_MAX);
    Listed { records: records.into_values().collect(), unreadable: said }
}

/// One sentence about a record that cannot be read.
pub(super) fn unreadable(of: &str, it: &Unreadable) -> String {
    format!("Record {} in the list of {of} cannot be read: {}.", it.position + 1, it.why)
}

#[cfg(test)]
mod tests {
    use connector_wecom::{Listed as Wire, Membership};

    use super::*;

    fn wire(userid: &str) -> connector_wecom::Member {
        connector_wecom::Member {
            id: UserId::new(userid).unwrap(),
            name: None,
            memberships: None,
            main_department: None,
            direct_leaders: None,
            position: None,
            mobile: None,
            email: None,
            biz_mail: None,
            telephone: None,
            alias: None,
            english_name: None,
            gender: None,
            status: None,
            enabled: None,
            avatar: None,
            address: None,
            external_position: None,
            attributes: None,
            open_userid: None,
        }
    }

    fn at(department: u64, order: Option<u32>, is_leader: Option<bool>) -> Membership {
        Membership { department: department.try_into().unwrap(), order, is_leader }
    }

    #[test]
    fn what_is_absent_stays_unknown() {
        let bare = member(wire("ZhangSan")).unwrap();
        assert_eq!(bare, Member::new(MemberId::new("zhangsan").unwrap(), "ZhangSan"));
        let empty = connector_wecom::Member {
            memberships: Some(vec![]),
            direct_leaders: Some(vec![]),
            mobile: Some(String::new()),
            ..wire("a")
        };
        let empty = member(empty).unwrap();
        assert_eq!((empty.departments, empty.leaders), (Some(vec![]), Some(vec![])));
        assert_eq!(empty.mobile.as_deref(), Some(""), "known to be empty");
    }

    #[test]
    fn memberships_keep_their_order_and_are_there_once() {
        let memberships = vec![
            at(7, Some(3), Some(true)),
            at(2, None, Some(false)),
            at(7, Some(9), None),
            at(5, Some(1), None),
        ];
        let read = member(connector_wecom::Member { memberships: Some(memberships), ..wire("a") }).unwrap();
        assert_eq!(read.departments, Some([7, 2, 5].map(DepartmentId).to_vec()));
        assert_eq!(read.order, BTreeMap::from([(DepartmentId(7), 3), (DepartmentId(5), 1)]));
        assert_eq!(read.leads, BTreeMap::from([(DepartmentId(7), true), (DepartmentId(2), false)]));
    }

    #[test]
    fn a_status_that_nobody_knows_is_not_known() {
        for (status, expected) in [
            (MemberStatus::Active, Some(1)),
            (MemberStatus::Disabled, Some(2)),
            (MemberStatus::NotActivated, Some(4)),
            (MemberStatus::Left, Some(5)),
            (MemberStatus::Other(3), None),
            (MemberStatus::Other(4_000), None),
        ] {
            let read = member(connector_wecom::Member { status: Some(status), ..wire("a") }).unwrap();
            assert_eq!(read.status, expected, "{status:?}");
        }
    }

    #[test]
    fn only_texts_are_extended_attributes() {
        let one = |name: &str, value| Attribute { name: name.to_owned(), value };
        let web = AttributeValue::Web { title: "t".into(), url: "https://x.example".into() };
        let attributes = vec![
            one("工号", AttributeValue::Text("0042".into())),
            one("w", web),
            one("m", AttributeValue::Other(2)),
        ];
        let read = member(connector_wecom::Member { attributes: Some(attributes), ..wire("a") }).unwrap();
        assert_eq!(read.extended, BTreeMap::from([("工号".to_owned(), "0042".to_owned())]));
    }

    #[test]
    fn leaders_that_can_be_nobody_are_left_out() {
        let leaders = ["Li.Si", "a/b", "张三"].map(|userid| UserId::new(userid).unwrap());
        let read =
            member(connector_wecom::Member { direct_leaders: Some(leaders.into()), ..wire("a") }).unwrap();
        assert_eq!(read.leaders, Some(vec![MemberId::new("li.si").unwrap()]));
    }

    #[test]
    fn a_list_is_sorted_and_says_what_it_cannot_read() {
        let items = ["c", "B", "a/b", "b", "a"].map(wire).into();
        let listed = Wire { items, unreadable: vec![Unreadable { position: 4, why: "it has no userid" }] };
        let rows = rows(DepartmentId(7), listed, |member| Row::Id(member.id));
        let ids: Vec<&str> = rows.records.iter().map(|row| row.id().as_str()).collect();
        assert_eq!(ids, ["a", "b", "c"]);
        assert_eq!(rows.unreadable.len(), 2);
        assert!(rows.unreadable[0].contains("Record 5") && rows.unreadable[0].contains("department 7"));
        assert!(rows.unreadable[1].contains("not a userid"), "{:?}", rows.unreadable);
    }

    #[test]
    fn parents_are_known_none_or_unknown() {
        let with = |parent| {
            let id = 3_u64.try_into().unwrap();
            let leaders = Some(vec![UserId::new("Boss").unwrap()]);
            let order = Some(u32::MAX);
            let wire = connector_wecom::Department { id, name: None, name_en: None, parent, order, leaders };
            department(wire)
        };
        assert_eq!(with(None).parent, None);
        assert_eq!(with(Some(Parent::None)).parent, Some(DepartmentId::NONE));
        let below = with(Some(Parent::Department(7_u64.try_into().unwrap())));
        assert_eq!((below.parent, below.order), (Some(DepartmentId(7)), Some(u32::MAX)));
        assert_eq!(below.leaders, Some(vec![MemberId::new("boss").unwrap()]));
        assert!(wire_id(DepartmentId::NONE).is_none() && wire_id(DepartmentId(7)).is_some());
    }
}

//! A member.

use serde_json::Value;

use crate::wire::{Fields, Record, number, unsigned};
use crate::{Attribute, AttributeValue, DepartmentId, UserId};

/// A member, as far as the call, the secret and the age of the app show it. What is absent is unknown, never empty: apps made
/// since 2022-06-20 get no mobile, mail, gender, avatar and address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// `userid`.
    pub id: UserId,
    /// `name`.
    pub name: Option<String>,
    /// `department`, with `order` and `is_leader_in_dept`, which run along with it and may be shorter: only those that are
    /// visible.
    pub memberships: Option<Vec<Membership>>,
    /// `main_department`; it may be invisible.
    pub main_department: Option<DepartmentId>,
    /// `direct_leader`, up to five; they may be unknown, or form a circle.
    pub direct_leaders: Option<Vec<UserId>>,
    /// `position`.
    pub position: Option<String>,
    /// `mobile`.
    pub mobile: Option<String>,
    /// `email`.
    pub email: Option<String>,
    /// `biz_mail`.
    pub biz_mail: Option<String>,
    /// `telephone`.
    pub telephone: Option<String>,
    /// `alias`.
    pub alias: Option<String>,
    /// `english_name`, of older companies.
    pub english_name: Option<String>,
    /// `gender`.
    pub gender: Option<Gender>,
    /// `status`.
    pub status: Option<MemberStatus>,
    /// `enable`.
    pub enabled: Option<bool>,
    /// `avatar`.
    pub avatar: Option<String>,
    /// `address`.
    pub address: Option<String>,
    /// `external_position`.
    pub external_position: Option<String>,
    /// `extattr.attrs`; those that are not readable are left out.
    pub attributes: Option<Vec<Attribute>>,
    /// `open_userid`, for apps of third parties.
    pub open_userid: Option<String>,
}

/// A member in a department.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Membership {
    /// The department.
    pub department: DepartmentId,
    /// The place in it: the higher one sorts first.
    pub order: Option<u32>,
    /// Whether the member leads it.
    pub is_leader: Option<bool>,
}

/// What WeCom knows of a member's gender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gender {
    /// Not said.
    Unknown,
    /// 1.
    Male,
    /// 2.
    Female,
}

/// Where a member stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberStatus {
    /// 1.
    Active,
    /// 2.
    Disabled,
    /// 4: has not logged in yet.
    NotActivated,
    /// 5: has left the company.
    Left,
    /// Another number.
    Other(i64),
}

impl MemberStatus {
    /// By its number.
    pub fn from_number(number: i64) -> Self {
        match number {
            1 => Self::Active,
            2 => Self::Disabled,
            4 => Self::NotActivated,
            5 => Self::Left,
            other => Self::Other(other),
        }
    }
}

impl Member {
    /// Whether the member works here; nothing where the answer does not say. `not_activated` is what counts for one that
    /// has not logged in yet.
    pub fn is_active(&self, not_activated: bool) -> Option<bool> {
        if self.enabled == Some(false) {
            return Some(false);
        }
        match self.status? {
            MemberStatus::Active => Some(true),
            MemberStatus::NotActivated => Some(not_activated),
            MemberStatus::Disabled | MemberStatus::Left => Some(false),
            MemberStatus::Other(_) => None,
        }
    }

    /// The departments.
    pub fn departments(&self) -> Option<Vec<DepartmentId>> {
        let memberships = self.memberships.as_ref()?;
        Some(memberships.iter().map(|membership| membership.department).collect())
    }

    /// Whether the answer had any of the fields that only older apps get; they may be empty.
    pub fn shows_contact_data(&self) -> bool {
        self.mobile.is_some() || self.email.is_some() || self.biz_mail.is_some() || self.gender.is_some()
    }
}

impl Record for Member {
    fn read(fields: &Fields) -> Result<Self, &'static str> {
        let id = fields.text("userid").ok_or("it has no userid")?;
        Ok(Self {
            id: UserId::new(id).map_err(|_| "its userid is none")?,
            name: fields.text("name"),
            memberships: memberships(fields),
            main_department: fields.value("main_department").and_then(department_id),
            direct_leaders: fields.list("direct_leader").map(user_ids),
            position: fields.text("position"),
            mobile: fields.text("mobile"),
            email: fields.text("email"),
            biz_mail: fields.text("biz_mail"),
            telephone: fields.text("telephone"),
            alias: fields.text("alias"),
            english_name: fields.text("english_name"),
            gender: fields.number("gender").map(|gender| match gender {
                1 => Gender::Male,
                2 => Gender::Female,
                _ => Gender::Unknown,
            }),
            status: fields.number("status").map(MemberStatus::from_number),
            enabled: fields.number("enable").map(|enable| enable != 0),
            avatar: fields.text("avatar"),
            address: fields.text("address"),
            external_position: fields.text("external_position"),
            attributes: fields
                .value("extattr")
                .and_then(|list| Some(attributes(list.get("attrs")?.as_array()?))),
            open_userid: fields.text("open_userid"),
        })
    }
}

/// The lists run along with each other, so one place is one membership even where its department is not readable.
fn memberships(fields: &Fields) -> Option<Vec<Membership>> {
    let orders = fields.list("order").unwrap_or_default();
    let leads = fields.list("is_leader_in_dept").unwrap_or_default();
    let each = fields.list("department")?.iter().enumerate().filter_map(|(place, department)| {
        Some(Membership {
            department: department_id(department)?,
            order: orders.get(place).and_then(number).and_then(|order| u32::try_from(order).ok()),
            is_leader: leads.get(place).and_then(number).map(|leads| leads == 1),
        })
    });
    Some(each.collect())
}

fn department_id(value: &Value) -> Option<DepartmentId> {
    unsigned(value)?.try_into().ok()
}

/// The ids in a list; what is none is left out.
pub(crate) fn user_ids(list: &[Value]) -> Vec<UserId> {
    list.iter().filter_map(|id| UserId::new(id.as_str()?).ok()).collect()
}

fn attributes(list: &[Value]) -> Vec<Attribute> {
    list.iter().filter_map(attribute).collect()
}

fn attribute(value: &Value) -> Option<Attribute> {
    let text = |outer: &str, inner: &str| value.get(outer)?.get(inner)?.as_str().map(str::to_owned);
    let name = value.get("name")?.as_str()?.to_owned();
    let value = match number(value.get("type")?)? {
        0 => AttributeValue::Text(text("text", "value")?),
        1 => AttributeValue::Web { title: text("web", "title")?, url: text("web", "url")? },
        other => AttributeValue::Other(other),
    };
    Some(Attribute { name, value })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn member(value: Value) -> Member {
        Member::read(&serde_json::from_value(value).unwrap()).unwrap()
    }

    #[test]
    fn absent_is_not_empty() {
        let bare = member(json!({"userid": "a"}));
        assert_eq!((bare.name, bare.memberships, bare.mobile, bare.direct_leaders), (None, None, None, None));
        assert_eq!((bare.status, bare.enabled, bare.attributes, bare.gender), (None, None, None, None));
        let empty = member(json!({
            "userid": "a", "name": "", "department": [], "mobile": "", "direct_leader": [], "gender": "0",
            "extattr": {"attrs": []}
        }));
        assert_eq!((empty.name.as_deref(), empty.mobile.as_deref()), (Some(""), Some("")));
        assert_eq!((empty.memberships, empty.direct_leaders), (Some(vec![]), Some(vec![])));
        assert_eq!((empty.attributes, empty.gender), (Some(vec![]), Some(Gender::Unknown)));
        let odd = member(json!({"userid": "a", "name": null, "department": "1", "status": [], "extattr": 7}));
        assert_eq!((odd.name, odd.memberships, odd.status, odd.attributes), (None, None, None, None));
    }

    #[test]
    fn lists_that_run_along_may_be_shorter() {
        let read = member(json!({
            "userid": "a", "department": [1, "7", 0, 999_999], "order": [0, "4294967295"], "is_leader_in_dept": [1, 0, 1]
        }));
        let expected = [(1, Some(0), Some(true)), (7, Some(u32::MAX), Some(false)), (999_999, None, None)];
        let read = read.memberships.unwrap();
        let read: Vec<_> = read.iter().map(|it| (it.department.get(), it.order, it.is_leader)).collect();
        assert_eq!(read, expected);
        let bare = member(json!({"userid": "a", "department": [2]})).memberships.unwrap();
        assert_eq!((bare[0].order, bare[0].is_leader), (None, None));
    }

    #[test]
    fn who_works_here() {
        let active = |status: Value, enable: Value, not_activated| {
            member(json!({"userid": "a", "status": status, "enable": enable})).is_active(not_activated)
        };
        assert_eq!(active(json!(1), json!(1), false), Some(true));
        assert_eq!(active(json!("1"), json!("1"), false), Some(true));
        assert_eq!(active(json!(1), json!(null), false), Some(true));
        assert_eq!(active(json!(1), json!(0), true), Some(false));
        assert_eq!(active(json!(2), json!(1), true), Some(false));
        assert_eq!(
            (active(json!(4), json!(1), true), active(json!(4), json!(1), false)),
            (Some(true), Some(false))
        );
        assert_eq!(active(json!(5), json!(1), true), Some(false));
        assert_eq!(active(json!(3), json!(1), true), None, "nobody knows what that is");
        assert_eq!(active(json!(null), json!(1), true), None);
        assert_eq!(active(json!(null), json!(0), true), Some(false));
    }

    #[test]
    fn attributes_of_both_kinds() {
        let read = member(json!({"userid": "a", "extattr": {"attrs": [
            {"type": 0, "name": "爱好", "text": {"value": "旅游"}},
            {"type": "1", "name": "卡号", "web": {"url": "https://x.test", "title": "t"}},
            {"type": 2, "name": "m", "miniprogram": {}},
            {"type": 0, "name": "broken"}, 7
        ]}}));
        let values: Vec<_> = read.attributes.unwrap().into_iter().map(|it| it.value).collect();
        let web = AttributeValue::Web { title: "t".into(), url: "https://x.test".into() };
        assert_eq!(values, [AttributeValue::Text("旅游".into()), web, AttributeValue::Other(2)]);
    }

    proptest! {
        #[test]
        fn any_shape_of_a_field_leaves_it_unknown(field in 0_usize..8, shape in 0_usize..6) {
            let name = ["name", "department", "order", "is_leader_in_dept", "status", "enable", "extattr", "direct_leader"][field];
            let value = [json!(null), json!({}), json!([[]]), json!(-1), json!(1.5), json!("x")][shape].clone();
            let read = member(json!({"userid": "a", name: value}));
            prop_assert_eq!(read.id.key(), "a");
        }
    }
}

//! What is read: users and groups, kept whole, so that a service without PATCH gets back what it gave.
//!
//! Names of attributes are read in any case; absent, null and `[]` mean the same. RFC 7643, sections 2.1 and 2.5.

use http_client::Answer;
use serde_json::{Map, Value};
use shared::fault::Fault;

use crate::id;

/// The schema of users.
pub(crate) const USER_SCHEMA: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
/// The schema of groups.
pub(crate) const GROUP_SCHEMA: &str = "urn:ietf:params:scim:schemas:core:2.0:Group";
/// The enterprise extension of users.
pub(crate) const ENTERPRISE_SCHEMA: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";

/// What a resource is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A user.
    User,
    /// A group.
    Group,
}

impl Kind {
    /// Its name, as the `type` of a member.
    pub fn name(self) -> &'static str {
        match self {
            Self::User => "User",
            Self::Group => "Group",
        }
    }

    pub(crate) fn schema(self) -> &'static str {
        match self {
            Self::User => USER_SCHEMA,
            Self::Group => GROUP_SCHEMA,
        }
    }

    fn named(text: &str) -> Option<Self> {
        [Self::User, Self::Group].into_iter().find(|kind| kind.name().eq_ignore_ascii_case(text))
    }
}

/// A user, as read.
#[derive(Debug, Clone, PartialEq)]
pub struct User(pub(crate) Resource);

/// A group, as read.
#[derive(Debug, Clone, PartialEq)]
pub struct Group(pub(crate) Resource);

/// The parts of a name. Which of a Chinese name's characters is which is the caller's to say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Name {
    /// As it is shown.
    pub formatted: Option<String>,
    /// The family name.
    pub family: Option<String>,
    /// The given name.
    pub given: Option<String>,
}

/// A mail address or a telephone number.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Contact {
    /// The address or the number.
    pub value: String,
    /// What for: `work`, `mobile`, `other`.
    pub kind: Option<String>,
    /// Whether it is the first one to use.
    pub primary: bool,
}

/// The attributes of the enterprise extension.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Enterprise {
    /// The number of the employee.
    pub employee_number: Option<String>,
    /// The cost centre.
    pub cost_center: Option<String>,
    /// The organisation.
    pub organization: Option<String>,
    /// The division.
    pub division: Option<String>,
    /// The department.
    pub department: Option<String>,
    /// The manager's id.
    pub manager: Option<String>,
}

/// A member of a group, as read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its id.
    pub id: String,
    /// What it is, where the service says so.
    pub kind: Option<Kind>,
}

impl User {
    /// The service's id.
    pub fn id(&self) -> &str {
        self.0.id()
    }

    /// Our id.
    pub fn external_id(&self) -> Option<&str> {
        self.0.text("externalId")
    }

    /// The version, for [`crate::Scim::update_user`].
    pub fn version(&self) -> Option<&str> {
        self.0.version()
    }

    /// The log-in name.
    pub fn user_name(&self) -> Option<&str> {
        self.0.text("userName")
    }

    /// The name that is shown.
    pub fn display_name(&self) -> Option<&str> {
        self.0.text("displayName")
    }

    /// The alias.
    pub fn nick_name(&self) -> Option<&str> {
        self.0.text("nickName")
    }

    /// The position.
    pub fn title(&self) -> Option<&str> {
        self.0.text("title")
    }

    /// Whether the account may be used, where the service says so.
    pub fn active(&self) -> Option<bool> {
        as_bool(self.0.get("active")?)
    }

    /// The parts of the name.
    pub fn name(&self) -> Name {
        let part = |name| text(self.0.get("name").and_then(Value::as_object), name);
        Name { formatted: part("formatted"), family: part("familyName"), given: part("givenName") }
    }

    /// Mail addresses.
    pub fn emails(&self) -> Vec<Contact> {
        contacts(self.0.get("emails"))
    }

    /// Telephone numbers.
    pub fn phone_numbers(&self) -> Vec<Contact> {
        contacts(self.0.get("phoneNumbers"))
    }

    /// The enterprise extension.
    pub fn enterprise(&self) -> Enterprise {
        let extension = self.0.get(ENTERPRISE_SCHEMA).and_then(Value::as_object);
        let manager = extension.and_then(|it| get(it, "manager"));
        Enterprise {
            employee_number: text(extension, "employeeNumber"),
            cost_center: text(extension, "costCenter"),
            organization: text(extension, "organization"),
            division: text(extension, "division"),
            department: text(extension, "department"),
            manager: manager.and_then(manager_id),
        }
    }
}

impl Group {
    /// The service's id.
    pub fn id(&self) -> &str {
        self.0.id()
    }

    /// Our id.
    pub fn external_id(&self) -> Option<&str> {
        self.0.text("externalId")
    }

    /// The version, for [`crate::Scim::update_group`].
    pub fn version(&self) -> Option<&str> {
        self.0.version()
    }

    /// The name that is shown.
    pub fn display_name(&self) -> Option<&str> {
        self.0.text("displayName")
    }

    /// The direct members; empty where they were left out of what was read.
    pub fn members(&self) -> Vec<Member> {
        let members = self.0.get("members").and_then(Value::as_array).into_iter().flatten();
        members
            .filter_map(Value::as_object)
            .filter_map(|member| {
                let kind = text(Some(member), "type").and_then(|kind| Kind::named(&kind));
                Some(Member { id: text(Some(member), "value")?, kind })
            })
            .collect()
    }
}

/// A resource, whole.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Resource {
    attributes: Map<String, Value>,
    /// The `ETag` of the answer, where there was one.
    etag: Option<String>,
}

impl Resource {
    /// A resource with an id that can be used.
    pub(crate) fn of(value: Value) -> Option<Self> {
        let Value::Object(attributes) = value else { return None };
        let usable = get(&attributes, "id").and_then(Value::as_str).is_some_and(id::is_usable);
        usable.then_some(Self { attributes, etag: None })
    }

    /// The one resource of an answer.
    pub(crate) fn read(answer: &Answer) -> Result<Self, Fault> {
        let read = Self::of(answer.json()?).ok_or_else(|| answer.unreadable("JSON that is no resource"))?;
        Ok(Self { etag: etag(answer), ..read })
    }

    pub(crate) fn attributes(&self) -> &Map<String, Value> {
        &self.attributes
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        get(&self.attributes, name)
    }

    pub(crate) fn id(&self) -> &str {
        self.text("id").unwrap_or_default()
    }

    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.get(name)?.as_str()
    }

    pub(crate) fn version(&self) -> Option<&str> {
        let meta = self.get("meta").and_then(Value::as_object);
        let told = meta.and_then(|meta| get(meta, "version")).and_then(Value::as_str);
        self.etag.as_deref().or(told)
    }
}

/// The version that an answer's header names.
pub(crate) fn etag(answer: &Answer) -> Option<String> {
    answer.header("etag").filter(|tag| !tag.is_empty()).map(str::to_owned)
}

/// An attribute, in any case, that has a value.
pub(crate) fn get<'a>(attributes: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    let found = attributes.get(name).or_else(|| {
        attributes.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    });
    found.filter(|value| !is_nothing(value))
}

/// Null and `[]` are no values.
pub(crate) fn is_nothing(value: &Value) -> bool {
    value.is_null() || value.as_array().is_some_and(Vec::is_empty)
}

/// Booleans are booleans; some services give texts.
pub(crate) fn as_bool(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(value) => Some(*value),
        Value::String(text) if text.eq_ignore_ascii_case("true") => Some(true),
        Value::String(text) if text.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

/// The id of a manager; some services give it bare.
pub(crate) fn manager_id(value: &Value) -> Option<String> {
    match value {
        Value::Object(manager) => text(Some(manager), "value"),
        Value::String(id) if !id.is_empty() => Some(id.clone()),
        _ => None,
    }
}

pub(crate) fn contacts(value: Option<&Value>) -> Vec<Contact> {
    let values = value.and_then(Value::as_array).into_iter().flatten();
    values
        .filter_map(Value::as_object)
        .filter_map(|contact| {
            Some(Contact {
                value: text(Some(contact), "value")?,
                kind: text(Some(contact), "type"),
                primary: get(contact, "primary").and_then(as_bool).unwrap_or(false),
            })
        })
        .collect()
}

/// A text that is not empty.
fn text(attributes: Option<&Map<String, Value>>, name: &str) -> Option<String> {
    get(attributes?, name)?.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fixtures;

    fn user(name: &str) -> User {
        User(Resource::read(&fixtures::answer(name)).unwrap())
    }

    #[test]
    fn a_user_is_read_as_recorded() {
        let user = user("030-get-user");
        assert_eq!(user.id(), "f550e7184c42432ca238a6a9e2b2d1bb");
        assert_eq!((user.external_id(), user.version()), (Some("wecom:user:zhangsan"), Some("W/\"8\"")));
        assert_eq!((user.user_name(), user.display_name()), (Some("zhangsan"), Some("张三")));
        assert_eq!(
            (user.nick_name(), user.title(), user.active()),
            (Some("jack"), Some("产品经理"), Some(true))
        );
        let name = user.name();
        assert_eq!((name.family.as_deref(), name.given.as_deref()), (Some("张"), Some("三")));
        let work =
            Contact { value: "zhangsan@example.test".into(), kind: Some("work".into()), primary: true };
        assert_eq!(user.emails(), [work]);
        assert_eq!(user.phone_numbers()[0].kind.as_deref(), Some("mobile"));
        let enterprise = user.enterprise();
        assert_eq!(enterprise.department.as_deref(), Some("研发中心"));
        assert_eq!(enterprise.manager.as_deref(), Some("will-be-set-later"));
        assert_eq!((enterprise.division, enterprise.cost_center), (None, None));
    }

    #[test]
    fn a_user_with_the_least_has_the_rest_not() {
        let user = user("021-create-user-minimal");
        assert_eq!((user.display_name(), user.active(), user.title()), (None, None, None));
        assert!(user.emails().is_empty() && user.name() == Name::default());
        assert_eq!(user.enterprise(), Enterprise::default());
    }

    #[test]
    fn members_are_read_as_recorded() {
        let group = |name| Group(Resource::read(&fixtures::answer(name)).unwrap());
        let parent = group("013-get-parent");
        let child = "f4561f52a30d473f801b21d5d5a8c940";
        assert_eq!(parent.members(), [Member { id: child.to_owned(), kind: Some(Kind::Group) }]);
        assert_eq!(parent.display_name(), Some("示例科技"));
        assert!(group("014-get-child").members().is_empty());
        assert!(group("043-excluded-members").members().is_empty());
        assert_eq!(group("067-after-entra-remove").members()[0].kind, Some(Kind::User));
    }

    #[test]
    fn other_cases_other_forms_and_nothing_are_read() {
        let odd = json!({"ID": "1", "USERNAME": "x", "Active": "False", "emails": null, "phoneNumbers": [],
            "META": {"Version": "W/\"3\""}, ENTERPRISE_SCHEMA.to_uppercase(): {"Manager": "7"}});
        let user = User(Resource::of(odd).unwrap());
        assert_eq!((user.id(), user.user_name(), user.active()), ("1", Some("x"), Some(false)));
        assert_eq!(user.version(), Some("W/\"3\""));
        assert_eq!(user.enterprise().manager.as_deref(), Some("7"));
        assert!(user.emails().is_empty() && user.phone_numbers().is_empty());
    }

    #[test]
    fn what_has_no_usable_id_is_no_resource() {
        for bad in [
            json!({}),
            json!([]),
            json!({"id": null}),
            json!({"id": ""}),
            json!({"id": ".."}),
            json!({"id": 7}),
        ] {
            assert_eq!(Resource::of(bad.clone()), None, "{bad}");
        }
        let page = fixtures::made(200, "text/html", "<html>");
        assert_eq!(Resource::read(&page).unwrap_err().code, "answer_unreadable");
    }
}

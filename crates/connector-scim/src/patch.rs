//! What is written: attributes in three states, as the body of a create, as a PATCH, and as a change to what was read.
//!
//! An attribute that was not named stays as it is; one that was given nothing is cleared; else it gets what was given,
//! and nothing else. RFC 7644, section 3.5.2.

use serde_json::{Map, Value, json};

use crate::resource::{
    Contact, ENTERPRISE_SCHEMA, Group, Kind, Name, Resource, User, as_bool, contacts, get, is_nothing,
    manager_id,
};

/// The schema of a PATCH.
const PATCH_SCHEMA: &str = "urn:ietf:params:scim:api:messages:2.0:PatchOp";
/// What the service fills, and some refuse to be given back.
const READ_ONLY: [&str; 2] = ["meta", "groups"];

/// Attributes of a user to write.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct UserPatch(pub(crate) Attributes);

/// Attributes of a group to write; members are changed by [`crate::Scim::change_members`].
#[derive(Debug, Clone, PartialEq, Default)]
pub struct GroupPatch(pub(crate) Attributes);

impl UserPatch {
    /// Our id.
    #[must_use]
    pub fn external_id(self, id: &str) -> Self {
        self.core("externalId", id.into())
    }

    /// The log-in name; a user cannot be without.
    #[must_use]
    pub fn user_name(self, name: &str) -> Self {
        self.core("userName", name.into())
    }

    /// The name that is shown.
    #[must_use]
    pub fn display_name(self, name: Option<&str>) -> Self {
        self.core("displayName", text(name))
    }

    /// The parts of the name: those that are given. Without any, the name is cleared.
    #[must_use]
    pub fn name(self, name: &Name) -> Self {
        let parts =
            [("formatted", &name.formatted), ("familyName", &name.family), ("givenName", &name.given)];
        let parts: Map<String, Value> = parts
            .into_iter()
            .map(|(key, part)| (key.to_owned(), text(part.as_deref())))
            .filter(|(_, part)| !part.is_null())
            .collect();
        self.core("name", if parts.is_empty() { Value::Null } else { parts.into() })
    }

    /// The alias.
    #[must_use]
    pub fn nick_name(self, name: Option<&str>) -> Self {
        self.core("nickName", text(name))
    }

    /// The position.
    #[must_use]
    pub fn title(self, title: Option<&str>) -> Self {
        self.core("title", text(title))
    }

    /// Whether the account may be used.
    #[must_use]
    pub fn active(self, active: bool) -> Self {
        self.core("active", active.into())
    }

    /// All mail addresses.
    #[must_use]
    pub fn emails(self, emails: &[Contact]) -> Self {
        self.core("emails", list(emails))
    }

    /// All telephone numbers.
    #[must_use]
    pub fn phone_numbers(self, numbers: &[Contact]) -> Self {
        self.core("phoneNumbers", list(numbers))
    }

    /// The number of the employee (enterprise extension).
    #[must_use]
    pub fn employee_number(self, number: Option<&str>) -> Self {
        self.enterprise("employeeNumber", text(number))
    }

    /// The cost centre (enterprise extension).
    #[must_use]
    pub fn cost_center(self, name: Option<&str>) -> Self {
        self.enterprise("costCenter", text(name))
    }

    /// The organisation (enterprise extension).
    #[must_use]
    pub fn organization(self, name: Option<&str>) -> Self {
        self.enterprise("organization", text(name))
    }

    /// The division (enterprise extension).
    #[must_use]
    pub fn division(self, name: Option<&str>) -> Self {
        self.enterprise("division", text(name))
    }

    /// The department (enterprise extension).
    #[must_use]
    pub fn department(self, name: Option<&str>) -> Self {
        self.enterprise("department", text(name))
    }

    /// The id of the manager (enterprise extension).
    #[must_use]
    pub fn manager(self, id: Option<&str>) -> Self {
        let manager = id.filter(|id| !id.is_empty()).map(|id| json!({"value": id}));
        self.enterprise("manager", manager.unwrap_or_default())
    }

    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What of it is not so already: a write without effect still tells others that something changed.
    #[must_use]
    pub fn differing(&self, user: &User) -> Self {
        Self(self.0.differing(&user.0))
    }

    fn core(self, name: &'static str, value: Value) -> Self {
        Self(self.0.with(Home::Core, name, value))
    }

    fn enterprise(self, name: &'static str, value: Value) -> Self {
        Self(self.0.with(Home::Enterprise, name, value))
    }
}

impl GroupPatch {
    /// Our id.
    #[must_use]
    pub fn external_id(self, id: &str) -> Self {
        Self(self.0.with(Home::Core, "externalId", id.into()))
    }

    /// The name that is shown; a group cannot be without.
    #[must_use]
    pub fn display_name(self, name: &str) -> Self {
        Self(self.0.with(Home::Core, "displayName", name.into()))
    }

    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What of it is not so already, as [`UserPatch::differing`].
    #[must_use]
    pub fn differing(&self, group: &Group) -> Self {
        Self(self.0.differing(&group.0))
    }
}

/// Where an attribute lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Home {
    Core,
    Enterprise,
}

/// Attributes with what they are to be; null clears.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Attributes(Vec<(Home, &'static str, Value)>);

impl Attributes {
    fn with(mut self, home: Home, name: &'static str, value: Value) -> Self {
        self.0.retain(|(h, n, _)| (*h, *n) != (home, name));
        self.0.push((home, name, value));
        self
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The text that an attribute gets.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(_, n, _)| *n == name).and_then(|(_, _, value)| value.as_str())
    }

    fn differing(&self, resource: &Resource) -> Self {
        let differs = |(home, name, value): &&(Home, &'static str, Value)| {
            let present = match home {
                Home::Core => resource.get(name),
                Home::Enterprise => {
                    let extension = resource.get(ENTERPRISE_SCHEMA).and_then(Value::as_object);
                    extension.and_then(|extension| get(extension, name))
                }
            };
            !is_so(name, value, present)
        };
        Self(self.0.iter().filter(differs).cloned().collect())
    }

    /// As the body of a create: what is to be cleared is left out.
    pub(crate) fn create_body(&self, kind: Kind) -> Map<String, Value> {
        let empty = Map::from_iter([("schemas".to_owned(), json!([kind.schema()]))]);
        self.changed(empty)
    }

    /// As the body of a PATCH.
    pub(crate) fn patch_body(&self) -> Value {
        let operations = self.0.iter().map(|(home, name, value)| {
            let path = match home {
                Home::Core => (*name).to_owned(),
                Home::Enterprise => format!("{ENTERPRISE_SCHEMA}:{name}"),
            };
            match value {
                Value::Null => json!({"op": "remove", "path": path}),
                value => json!({"op": "replace", "path": path, "value": value}),
            }
        });
        patch_body(operations.collect())
    }

    /// What was read, changed, as the body of a PUT.
    pub(crate) fn put_body(&self, resource: &Resource) -> Map<String, Value> {
        self.changed(writable(resource))
    }

    fn changed(&self, mut body: Map<String, Value>) -> Map<String, Value> {
        for (home, name, value) in &self.0 {
            match home {
                Home::Core => put(&mut body, name, value),
                Home::Enterprise => {
                    let mut extension = match get(&body, ENTERPRISE_SCHEMA) {
                        Some(Value::Object(extension)) => extension.clone(),
                        _ => Map::new(),
                    };
                    put(&mut extension, name, value);
                    let extension = if extension.is_empty() { Value::Null } else { extension.into() };
                    put(&mut body, ENTERPRISE_SCHEMA, &extension);
                }
            }
        }
        name_extension(&mut body);
        body
    }
}

/// A PATCH of these operations.
pub(crate) fn patch_body(operations: Vec<Value>) -> Value {
    json!({"schemas": [PATCH_SCHEMA], "Operations": operations})
}

/// What was read, without what only the service writes.
pub(crate) fn writable(resource: &Resource) -> Map<String, Value> {
    let is_ours = |name: &str| !READ_ONLY.iter().any(|other| other.eq_ignore_ascii_case(name));
    let attributes = resource.attributes().iter();
    attributes
        .filter(|(name, value)| is_ours(name) && !is_nothing(value))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

/// Sets an attribute, in whatever case it is there; null takes it away.
pub(crate) fn put(body: &mut Map<String, Value>, name: &str, value: &Value) {
    let key = body.keys().find(|key| key.eq_ignore_ascii_case(name)).cloned();
    let key = key.unwrap_or_else(|| name.to_owned());
    let merged = match (name, body.get(&key), value) {
        // A PATCH keeps the parts of a name that it does not give.
        ("name", Some(Value::Object(present)), Value::Object(parts)) => {
            let mut name = present.clone();
            parts.iter().for_each(|(part, text)| put(&mut name, part, text));
            Some(name.into())
        }
        (_, _, Value::Null) => None,
        (_, _, value) => Some(value.clone()),
    };
    match merged {
        Some(merged) => drop(body.insert(key, merged)),
        None => drop(body.shift_remove(&key)),
    }
}

/// `schemas` lists every schema that is used.
fn name_extension(body: &mut Map<String, Value>) {
    if get(body, ENTERPRISE_SCHEMA).is_none() {
        return;
    }
    let mut schemas = get(body, "schemas").and_then(Value::as_array).cloned().unwrap_or_default();
    let is_named =
        |schema: &Value| schema.as_str().is_some_and(|s| s.eq_ignore_ascii_case(ENTERPRISE_SCHEMA));
    if !schemas.iter().any(is_named) {
        schemas.push(ENTERPRISE_SCHEMA.into());
        put(body, "schemas", &schemas.into());
    }
}

fn is_so(name: &str, wanted: &Value, present: Option<&Value>) -> bool {
    let Some(present) = present else { return wanted.is_null() };
    match (wanted, present) {
        (Value::Bool(wanted), present) => as_bool(present) == Some(*wanted),
        (Value::Array(_), present) => sorted(contacts(Some(wanted))) == sorted(contacts(Some(present))),
        (Value::Object(_), present) if name == "manager" => manager_id(wanted) == manager_id(present),
        (Value::Object(parts), Value::Object(present)) => {
            parts.iter().all(|(part, text)| get(present, part) == Some(text))
        }
        (wanted, present) => wanted == present,
    }
}

fn sorted(mut contacts: Vec<Contact>) -> Vec<Contact> {
    contacts.sort();
    contacts
}

/// Empty is nothing.
fn text(text: Option<&str>) -> Value {
    text.filter(|text| !text.is_empty()).map_or(Value::Null, Value::from)
}

fn list(contacts: &[Contact]) -> Value {
    let contacts: Vec<Value> = contacts.iter().map(contact).collect();
    if contacts.is_empty() { Value::Null } else { contacts.into() }
}

fn contact(contact: &Contact) -> Value {
    let mut wire = Map::from_iter([("value".to_owned(), contact.value.as_str().into())]);
    if let Some(kind) = &contact.kind {
        wire.insert("type".to_owned(), kind.as_str().into());
    }
    if contact.primary {
        wire.insert("primary".to_owned(), true.into());
    }
    wire.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    fn contact_of(value: &str, kind: &str, primary: bool) -> Contact {
        Contact { value: value.to_owned(), kind: Some(kind.to_owned()), primary }
    }

    fn some(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    fn zhangsan() -> UserPatch {
        UserPatch::default()
            .external_id("wecom:user:zhangsan")
            .user_name("zhangsan")
            .display_name(Some("张三"))
            .nick_name(Some("jack"))
            .name(&Name { formatted: some("张三"), family: some("张"), given: some("三") })
            .title(Some("产品经理"))
            .active(true)
            .emails(&[contact_of("zhangsan@example.test", "work", true)])
            .phone_numbers(&[contact_of("+8613800000000", "mobile", false)])
            .employee_number(Some("A-0001"))
            .department(Some("研发中心"))
            .manager(Some("will-be-set-later"))
    }

    fn check_patch(name: &str, patch: &Attributes) {
        assert_eq!(patch.patch_body(), fixtures::load(name).request_json(), "{name}");
    }

    fn read(name: &str) -> Resource {
        Resource::read(&fixtures::answer(name)).unwrap()
    }

    #[test]
    fn creates_are_as_recorded() {
        let body = |patch: &Attributes, kind| Value::Object(patch.create_body(kind));
        let recorded = |name| fixtures::load(name).request_json();
        assert_eq!(body(&zhangsan().0, Kind::User), recorded("020-create-user"));
        let least = UserPatch::default().user_name("lisi").external_id("wecom:user:lisi");
        assert_eq!(body(&least.0, Kind::User), recorded("021-create-user-minimal"));
        let nothing = least.title(None).emails(&[]).manager(None).name(&Name::default()).division(Some(""));
        assert_eq!(body(&nothing.0, Kind::User), recorded("021-create-user-minimal"), "nothing is left out");
        let root = GroupPatch::default().external_id("wecom:dept:1").display_name("示例科技");
        assert_eq!(body(&root.0, Kind::Group), recorded("010-create-group-root"));
    }

    #[test]
    fn patches_are_as_recorded() {
        check_patch("053-patch-deactivate", &UserPatch::default().active(false).0);
        check_patch(
            "056-patch-manager",
            &UserPatch::default().manager(Some("b27867c5d6264cfcafea5767cb255acb")).0,
        );
        let renamed = UserPatch::default().user_name("zhangsan001").external_id("wecom:user:zhangsan001");
        check_patch("061-patch-username-rename", &renamed.0);
        check_patch("069-patch-no-op", &GroupPatch::default().display_name("研发中心").0);
        let taken = UserPatch::default().display_name(Some("must not stick")).user_name("lisi");
        check_patch("062-patch-username-taken", &taken.0);
    }

    #[test]
    fn forms_that_some_read_otherwise_are_never_sent() {
        let patch = zhangsan().title(None).emails(&[contact_of("x@example.test", "work", true)]);
        let body = patch.0.patch_body();
        let operations = body["Operations"].as_array().unwrap();
        assert_eq!(operations.len(), 12);
        for operation in operations {
            let (op, path) = (operation["op"].as_str().unwrap(), operation["path"].as_str().unwrap());
            assert!(["replace", "remove"].contains(&op) && !path.contains('['), "{operation}");
            assert_eq!(op == "remove", operation.get("value").is_none(), "{operation}");
            assert!(!operation["value"].is_null() || op == "remove", "{operation}");
        }
        assert!(operations.contains(&json!({"op": "remove", "path": "title"})));
    }

    #[test]
    fn a_put_keeps_what_was_not_named() {
        let user = read("030-get-user");
        let patch = UserPatch::default()
            .active(false)
            .name(&Name { given: some("叁"), ..Name::default() })
            .title(None)
            .manager(None)
            .department(Some("销售"));
        let body = Value::Object(patch.0.put_body(&user));
        let mut expected = fixtures::load("020-create-user").request_json();
        expected["id"] = user.id().into();
        expected["active"] = false.into();
        expected["name"]["givenName"] = "叁".into();
        expected.as_object_mut().unwrap().shift_remove("title");
        expected[ENTERPRISE_SCHEMA] = json!({"employeeNumber": "A-0001", "department": "销售"});
        assert_eq!(body, expected, "nothing of meta, all the rest");
    }

    #[test]
    fn a_put_names_an_extension_only_where_there_is_one() {
        let user = read("021-create-user-minimal");
        let body = UserPatch::default().department(Some("销售")).0.put_body(&user);
        assert_eq!(body["schemas"].as_array().unwrap().len(), 2);
        let body = UserPatch::default().department(None).0.put_body(&user);
        assert_eq!((body["schemas"].as_array().unwrap().len(), body.get(ENTERPRISE_SCHEMA)), (1, None));
    }

    #[test]
    fn attributes_are_found_in_any_case() {
        let user =
            Resource::of(json!({"id": "1", "DisplayName": "old", "Groups": [{"value": "g"}]})).unwrap();
        let body = UserPatch::default().display_name(Some("new")).0.put_body(&user);
        assert_eq!(Value::Object(body), json!({"id": "1", "DisplayName": "new"}));
    }

    #[test]
    fn what_is_so_already_is_not_written() {
        let user = User(read("030-get-user"));
        assert!(zhangsan().differing(&user).is_empty());
        assert!(UserPatch::default().division(None).organization(Some("")).differing(&user).is_empty());
        let other =
            zhangsan().title(Some("Chef")).division(Some("x")).active(false).emails(&[]).manager(None);
        let expected = UserPatch::default().title(Some("Chef")).division(Some("x")).active(false).emails(&[]);
        assert_eq!(other.differing(&user), expected.manager(None));
        let group = Group(read("014-get-child"));
        assert!(GroupPatch::default().display_name("研发中心").differing(&group).is_empty());
        assert!(!GroupPatch::default().display_name("研发").differing(&group).is_empty());
    }

    #[test]
    fn the_order_of_addresses_is_no_difference() {
        let (one, two) = (contact_of("a@x.test", "work", true), contact_of("b@x.test", "other", false));
        let wire = json!({"id": "1", "emails": [
            {"value": "b@x.test", "type": "other", "primary": false, "display": "B"},
            {"value": "a@x.test", "type": "work", "primary": "true"}]});
        let user = User(Resource::of(wire).unwrap());
        assert!(UserPatch::default().emails(&[one.clone(), two]).differing(&user).is_empty());
        assert!(!UserPatch::default().emails(&[one]).differing(&user).is_empty());
    }
}

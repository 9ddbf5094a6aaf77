//! Groups and users, between our form and the service's. Pure.

use connector_scim::{Contact, Group, Name, User, UserPatch};

use crate::directory::ids::{ExternalId, TargetId};
use crate::directory::record::{Attributes, Field, GroupSide, UserSide, Value, differences};

/// One of the addresses or numbers that are ours among all of a user's.
#[derive(Debug, Clone, Copy)]
struct Slot {
    field: Field,
    kind: &'static str,
    /// Whether it is the one that is meant where a service keeps no types.
    first: bool,
    /// Whether it is the first one to use, where there is none yet.
    primary: bool,
}

const MAILS: [Slot; 2] = [
    Slot { field: Field::WorkMail, kind: "work", first: true, primary: true },
    Slot { field: Field::OtherMail, kind: "other", first: false, primary: false },
];
const PHONES: [Slot; 2] = [
    Slot { field: Field::MobilePhone, kind: "mobile", first: true, primary: false },
    Slot { field: Field::WorkPhone, kind: "work", first: false, primary: false },
];

/// A group of ours; none where it is somebody else's.
pub(super) fn group_side(group: &Group) -> Option<GroupSide> {
    let external_id = group.external_id()?.parse().ok()?;
    match external_id {
        ExternalId::Department(_) => {}
        ExternalId::Member(_) | ExternalId::Retired(_) => return None,
    }
    Some(GroupSide {
        target: TargetId(group.id().to_owned()),
        version: group.version().map(str::to_owned),
        external_id,
        name: group.display_name().unwrap_or_default().to_owned(),
    })
}

/// A user of ours; none where it is somebody else's.
pub(super) fn user_side(user: &User) -> Option<UserSide> {
    let external_id = user.external_id()?.parse().ok()?;
    match external_id {
        ExternalId::Member(_) | ExternalId::Retired(_) => {}
        ExternalId::Department(_) => return None,
    }
    Some(side(external_id, user))
}

/// A user as it is after a write. What a service keeps in another way, or not at all, counts as written: it would do the
/// same with it again. A full compare reads it, and says so.
pub(super) fn written(external_id: &ExternalId, changes: &Attributes, user: &User) -> UserSide {
    let mut side = side(external_id.clone(), user);
    let changes = differences(changes, &side.attributes);
    side.attributes.extend(changes);
    side
}

fn side(external_id: ExternalId, user: &User) -> UserSide {
    let (name, more) = (user.name(), user.enterprise());
    let mut attributes = Attributes::new();
    let mut put = |field, text: Option<String>| {
        attributes.extend(text.filter(|text| !text.is_empty()).map(|text| (field, Value::Text(text))));
    };
    put(Field::UserName, user.user_name().map(str::to_owned));
    put(Field::DisplayName, user.display_name().map(str::to_owned).or(name.formatted));
    put(Field::FamilyName, name.family);
    put(Field::GivenName, name.given);
    put(Field::NickName, user.nick_name().map(str::to_owned));
    put(Field::Title, user.title().map(str::to_owned));
    for (slots, contacts) in [(MAILS, user.emails()), (PHONES, user.phone_numbers())] {
        for slot in slots {
            put(slot.field, slot.find(&contacts).map(|at| contacts[at].value.clone()));
        }
    }
    put(Field::Department, more.department);
    put(Field::Division, more.division);
    put(Field::EmployeeNumber, more.employee_number);
    put(Field::Manager, more.manager);
    attributes.extend(user.active().map(|active| (Field::Active, Value::Flag(active))));
    UserSide {
        target: TargetId(user.id().to_owned()),
        version: user.version().map(str::to_owned),
        external_id,
        attributes,
    }
}

/// What is to be written to a user that is so now; to a new one without.
pub(super) fn user_patch(changes: &Attributes, present: Option<&User>) -> UserPatch {
    let mut patch = UserPatch::default();
    for (field, value) in changes {
        let text = match value {
            Value::Text(text) => Some(text.as_str()),
            Value::Flag(_) | Value::Texts(_) => None,
        };
        patch = match (field, value) {
            (Field::Active, Value::Flag(active)) => patch.active(*active),
            // Nobody is without; empty is nothing to write.
            (Field::UserName, Value::Text(name)) if !name.is_empty() => patch.user_name(name),
            (Field::DisplayName, _) => patch.display_name(text),
            (Field::NickName, _) => patch.nick_name(text),
            (Field::Title, _) => patch.title(text),
            (Field::Department, _) => patch.department(text),
            (Field::Division, _) => patch.division(text),
            (Field::EmployeeNumber, _) => patch.employee_number(text),
            (Field::Manager, _) => patch.manager(text),
            // Below, together; or without a place.
            (Field::FamilyName | Field::GivenName, _)
            | (Field::WorkMail | Field::OtherMail | Field::MobilePhone | Field::WorkPhone, _)
            | (Field::UserName | Field::Active | Field::Leads, _) => patch,
        };
    }
    if [Field::DisplayName, Field::FamilyName, Field::GivenName].iter().any(|part| changes.contains_key(part))
    {
        patch = patch.name(&name(changes, present.map(User::name).unwrap_or_default()));
    }
    if let Some(mails) = contacts(&MAILS, changes, present.map(User::emails)) {
        patch = patch.emails(&mails);
    }
    if let Some(numbers) = contacts(&PHONES, changes, present.map(User::phone_numbers)) {
        patch = patch.phone_numbers(&numbers);
    }
    patch
}

/// All parts of the name, also those that stay: some services replace the whole of it.
fn name(changes: &Attributes, present: Name) -> Name {
    let part = |field, present: Option<String>| match changes.get(&field) {
        Some(Value::Text(text)) => Some(text.clone()).filter(|text| !text.is_empty()),
        _ => present,
    };
    Name {
        formatted: part(Field::DisplayName, present.formatted),
        family: part(Field::FamilyName, present.family),
        given: part(Field::GivenName, present.given),
    }
}

/// The whole list with what changes of it; none where nothing does.
fn contacts(slots: &[Slot], changes: &Attributes, present: Option<Vec<Contact>>) -> Option<Vec<Contact>> {
    let mut list = present.unwrap_or_default();
    let mut changed = false;
    for slot in slots {
        if let Some(Value::Text(value)) = changes.get(&slot.field) {
            slot.put(&mut list, value);
            changed = true;
        }
    }
    changed.then_some(list)
}

impl Slot {
    fn find(self, contacts: &[Contact]) -> Option<usize> {
        let of = |kind: Option<&str>| {
            let is = |contact: &Contact| match (&contact.kind, kind) {
                (Some(one), Some(other)) => one.eq_ignore_ascii_case(other),
                (None, None) => true,
                _ => false,
            };
            // Lists come in any order: of several, the first one to use is the one.
            let primary = contacts.iter().position(|contact| contact.primary && is(contact));
            primary.or_else(|| contacts.iter().position(is))
        };
        of(Some(self.kind)).or_else(|| self.first.then(|| of(None)).flatten())
    }

    fn put(self, contacts: &mut Vec<Contact>, value: &str) {
        match (self.find(contacts), value.is_empty()) {
            (Some(at), true) => drop(contacts.remove(at)),
            (Some(at), false) => value.clone_into(&mut contacts[at].value),
            (None, true) => {}
            (None, false) => {
                let primary = self.primary && contacts.iter().all(|other| !other.primary);
                let contact = Contact { value: value.to_owned(), kind: Some(self.kind.to_owned()), primary };
                contacts.push(contact);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::Text(text.to_owned())
    }

    fn contact(value: &str, kind: Option<&str>, primary: bool) -> Contact {
        Contact { value: value.to_owned(), kind: kind.map(str::to_owned), primary }
    }

    #[test]
    fn a_new_user_has_all_that_there_is_a_place_for() {
        let changes = Attributes::from([
            (Field::UserName, text("zhangsan")),
            (Field::DisplayName, text("张三")),
            (Field::FamilyName, text("张")),
            (Field::GivenName, text("三")),
            (Field::NickName, text("")),
            (Field::Active, Value::Flag(true)),
            (Field::WorkMail, text("z@example.test")),
            (Field::OtherMail, text("")),
            (Field::MobilePhone, text("+8613800000000")),
            (Field::WorkPhone, text("020-1")),
            (Field::Department, text("研发中心")),
            (Field::Leads, Value::Texts(vec!["wecom:dept:1".to_owned()])),
        ]);
        let some = |text: &str| Some(text.to_owned());
        let expected = UserPatch::default()
            .user_name("zhangsan")
            .display_name(Some("张三"))
            .nick_name(None)
            .active(true)
            .department(Some("研发中心"))
            .name(&Name { formatted: some("张三"), family: some("张"), given: some("三") })
            .emails(&[contact("z@example.test", Some("work"), true)])
            .phone_numbers(&[
                contact("+8613800000000", Some("mobile"), false),
                contact("020-1", Some("work"), false),
            ]);
        assert_eq!(user_patch(&changes, None), expected);
        for (field, part) in [
            (Field::WorkMail, UserPatch::default().emails(&[contact("z@example.test", Some("work"), true)])),
            (Field::UserName, UserPatch::default().user_name("zhangsan")),
            (Field::NickName, UserPatch::default().nick_name(None)),
            (Field::Leads, UserPatch::default()),
        ] {
            let one = Attributes::from([(field, changes[&field].clone())]);
            assert_eq!(user_patch(&one, None), part, "{field:?}");
        }
        assert_eq!(user_patch(&Attributes::from([(Field::UserName, text(""))]), None), UserPatch::default());
    }

    #[test]
    fn addresses_of_others_stay() {
        let present = || {
            vec![
                contact("home@x.test", Some("home"), true),
                contact("old@x.test", Some("Work"), false),
                contact("second@x.test", Some("work"), false),
            ]
        };
        let changes =
            Attributes::from([(Field::WorkMail, text("new@x.test")), (Field::OtherMail, text("o@x.test"))]);
        let mut expected = present();
        expected[1].value = "new@x.test".to_owned();
        expected.push(contact("o@x.test", Some("other"), false));
        assert_eq!(contacts(&MAILS, &changes, Some(present())), Some(expected));
        let none = Attributes::from([(Field::WorkMail, text(""))]);
        let mut expected = present();
        expected.remove(1);
        assert_eq!(contacts(&MAILS, &none, Some(present())), Some(expected));
        assert_eq!(contacts(&PHONES, &changes, Some(Vec::new())), None);
    }

    #[test]
    fn the_order_of_a_list_does_not_matter() {
        let mut list = vec![
            contact("020-1", Some("work"), false),
            contact("+86138", Some("mobile"), true),
            contact("+86139", Some("mobile"), false),
        ];
        for _ in 0..list.len() {
            let found = |slot: Slot| slot.find(&list).map(|at| list[at].value.clone());
            assert_eq!(PHONES.map(found), ["+86138", "020-1"].map(|number| Some(number.to_owned())));
            list.rotate_left(1);
        }
        let untyped = [contact("a@x.test", None, false)];
        assert_eq!(MAILS.map(|slot| slot.find(&untyped)), [Some(0), None]);
    }

    #[test]
    fn a_name_is_written_whole() {
        let some = |text: &str| Some(text.to_owned());
        let present = Name { formatted: some("张三"), family: some("张"), given: some("三") };
        let changes = Attributes::from([(Field::GivenName, text("叁"))]);
        assert_eq!(name(&changes, present.clone()), Name { given: some("叁"), ..present });
    }
}

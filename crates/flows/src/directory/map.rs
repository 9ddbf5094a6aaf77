//! What WeCom's departments and members are in the target.

use super::ids::{DepartmentId, ExternalId, MemberId};
use super::link::{GroupLink, Step};
use super::member::Member;
use super::names;
use super::record::{Attributes, Field, Value};
use super::rules::{GroupNames, Login, Rules};

/// What a member has of a department.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seat<'a> {
    /// The way to it from the top.
    pub(super) way: &'a [Step],
    /// Who leads it, by what the department says.
    pub(super) leaders: &'a [MemberId],
}

impl<'a> Seat<'a> {
    pub(super) fn of(link: &'a GroupLink) -> Self {
        Self { way: &link.way, leaders: link.seen.leaders.as_deref().unwrap_or_default() }
    }

    fn id(&self) -> Option<DepartmentId> {
        self.way.last().map(|step| step.id)
    }
}

/// The name of a group, by the way to it from the top.
pub(super) fn group_name(way: &[Step], rules: &Rules) -> String {
    names::shorten(&rules.form.name(&name_of(way, rules.group_names)), rules.name_chars_max)
}

/// The root is left out of the paths of what is below it.
fn name_of(way: &[Step], names: GroupNames) -> String {
    let below_root = match way {
        [root, below @ ..] if root.id == DepartmentId::ROOT && !below.is_empty() => below,
        _ => way,
    };
    match names {
        GroupNames::Path => names::path(below_root.iter().map(|step| step.name.as_str())),
        GroupNames::Name => way.last().map(|step| step.name.clone()).unwrap_or_default(),
    }
}

/// What a user says. `is_new`: what WeCom does not say gets a beginning; later on it is left as it is.
pub(super) fn user(member: &Member, seats: &[Seat<'_>], rules: &Rules, is_new: bool) -> Attributes {
    let main = seats.iter().find(|seat| seat.id() == member.main()).or(seats.first());
    let mut wanted = Attributes::new();
    let mut put = |field, text: Option<String>| {
        wanted.extend(text.map(|text| (field, Value::Text(text))));
    };
    put(Field::UserName, login(member, rules, is_new));
    let name = member.name.as_deref().map(names::clean).filter(|name| !name.is_empty());
    if let Some(name) = name.or_else(|| is_new.then(|| member.userid.clone())) {
        let split = names::split(&name, &rules.double_surnames);
        put(Field::FamilyName, Some(split.family));
        put(Field::GivenName, Some(split.given));
        put(Field::DisplayName, Some(name));
    }
    put(Field::NickName, member.alias.clone());
    put(Field::Title, member.position.clone());
    put(Field::MobilePhone, member.mobile.clone());
    put(Field::WorkPhone, member.telephone.clone());
    let (work, other) = mails(member, is_new);
    put(Field::WorkMail, work);
    put(Field::OtherMail, other);
    if let (Some(main), Some(names)) = (main, rules.user_department) {
        put(Field::Department, Some(name_of(main.way, names)));
    }
    if let (Some(main), true) = (main, rules.user_division) {
        put(Field::Division, Some(name_of(main.way, GroupNames::Path)));
    }
    let number = rules.employee_number.as_ref().and_then(|name| member.extended.get(name));
    put(Field::EmployeeNumber, number.cloned());
    let active = member.is_active(rules.active).or_else(|| is_new.then_some(true));
    wanted.extend(active.map(|active| (Field::Active, Value::Flag(active))));
    wanted.extend(leads(member, seats).map(|leads| (Field::Leads, Value::Texts(leads))));
    wanted.retain(|field, _| !rules.without.contains(field));
    rules.form.user(wanted)
}

/// A login that WeCom does not give any more stays what it was.
fn login(member: &Member, rules: &Rules, is_new: bool) -> Option<String> {
    let given = match rules.login {
        Login::Userid => Some(&member.userid),
        Login::Mail => member.email.as_ref().or(member.biz_mail.as_ref()),
        Login::Mobile => member.mobile.as_ref(),
    };
    let given = given.filter(|login| !login.is_empty()).cloned();
    given.or_else(|| is_new.then(|| member.userid.clone()))
}

/// The first and the second mail address. Where the own one is not known, the company's is no reason to overwrite it.
fn mails(member: &Member, is_new: bool) -> (Option<String>, Option<String>) {
    let company = member.biz_mail.clone();
    match &member.email {
        Some(own) if !own.is_empty() => (Some(own.clone()), company),
        Some(_) => (company.clone().or_else(|| Some(String::new())), company.map(|_| String::new())),
        None if is_new => (company, None),
        None => (None, None),
    }
}

/// The departments that it leads: by what the member says, else by what the department says.
fn leads(member: &Member, seats: &[Seat<'_>]) -> Option<Vec<String>> {
    member.departments.as_ref()?;
    let leads_one = |id: &DepartmentId, seat: &Seat<'_>| match member.leads.get(id) {
        Some(leads) => *leads,
        None => seat.leaders.contains(&member.id),
    };
    let led = seats.iter().filter_map(|seat| seat.id().filter(|id| leads_one(id, seat)));
    let mut ids: Vec<String> = led.map(|id| ExternalId::Department(id).to_string()).collect();
    ids.sort();
    Some(ids)
}

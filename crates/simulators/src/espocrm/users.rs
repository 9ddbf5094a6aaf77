//! User (read and list), App/user, Settings, Metadata.

use serde_json::{Value, json};

use super::accounts::{Account, AccountKind};
use super::answers::{ok, refuse};
use super::definitions::{ENTITY_TYPE, flag};
use super::list::{self, Source};
use super::{Espocrm, object};
use crate::upstream::Record;
use crate::wire::{Answer, Request};

/// When the users were made; they never change here.
const MADE_AT: &str = "2026-11-20 13:59:04";

fn kind_name(account: &Account) -> &'static str {
    match account.kind {
        AccountKind::Admin => "admin",
        AccountKind::Regular => "regular",
        AccountKind::Api => "api",
    }
}

/// A user as a list shows it.
fn item(account: &Account, maker: &str) -> Record {
    let flag = account.email.as_ref().map(|_| false);
    object(json!({
        "id": account.id, "name": account.name(), "deleted": false, "userName": account.user_name,
        "type": kind_name(account), "salutationName": null, "firstName": account.first_name,
        "lastName": account.last_name, "isActive": account.is_active, "title": account.title,
        "emailAddress": account.email, "phoneNumber": null, "avatarColor": null,
        "createdAt": MADE_AT, "modifiedAt": MADE_AT, "lastAccess": MADE_AT, "middleName": null,
        "emailAddressIsOptedOut": flag, "emailAddressIsInvalid": flag,
        "phoneNumberIsOptedOut": null, "phoneNumberIsInvalid": null,
        "defaultTeamId": null, "defaultTeamName": null, "contactId": null, "contactName": null,
        "avatarId": null, "avatarName": null, "createdById": maker, "createdByName": "Admin",
        "workingTimeCalendarId": null, "workingTimeCalendarName": null,
    }))
}

impl Espocrm {
    fn maker(&self) -> String {
        self.accounts().first().map(|account| account.id.clone()).unwrap_or_default()
    }

    /// A user with everything but what its teams are called: what the account says, and what was written to it.
    pub(super) fn user_record(&self, user: &Account) -> Record {
        let mut shown = item(user, &self.maker());
        let mails: Vec<Value> = user.email.iter().map(|mail| {
            json!({ "emailAddress": mail, "lower": mail.to_lowercase(), "primary": true, "optOut": false, "invalid": false })
        }).collect();
        shown.extend(object(json!({ "emailAddressData": mails, "phoneNumberData": [] })));
        let definitions = self.definitions("User");
        for (name, field) in definitions.fields().filter(|(_, field)| flag(field, "isCustom")) {
            shown.insert(name.to_owned(), field.get("default").cloned().unwrap_or(Value::Null));
        }
        if definitions.has_versions {
            shown.insert("versionNumber".to_owned(), Value::Null);
        }
        shown.extend(self.people.written(&user.id).cloned().unwrap_or_default());
        for name in ["emailAddress", "phoneNumber"] {
            let primary = super::contact_data::primary_address(&shown, name);
            shown.insert(name.to_owned(), primary);
        }
        shown.insert("teamsIds".to_owned(), json!(self.people.teams_of(&user.id)));
        shown
    }

    /// People only, but for an administrator: API users are in no list and cannot be read by one another.
    pub(super) fn user_list(&self, account: &Account, request: &Request, team: Option<&str>) -> Answer {
        let people: Vec<Record> = self
            .accounts()
            .iter()
            .filter(|user| user.kind != AccountKind::Api || account.kind == AccountKind::Admin)
            .filter(|user| account.level("User", "read") == "all" || user.id == account.id)
            .filter(|user| team.is_none_or(|team| self.people.is_member(team, &user.id)))
            .map(|user| self.user_record(user))
            .collect();
        let definitions = self.definitions("User");
        let show = |user: &Record| {
            let mut item = user.clone();
            item.retain(|name, _| !(name.ends_with("Data") || name == "teamsIds"));
            item
        };
        let source = Source {
            records: people.iter().collect(),
            may_read: &|_| true,
            show: &show,
            get: &|user, name| match name {
                "emailAddress" | "phoneNumber" => super::contact_data::addresses(user, name),
                "teams" => user.get("teamsIds").and_then(Value::as_array).cloned().unwrap_or_default(),
                _ => vec![user.get(name).cloned().unwrap_or(Value::Null)],
            },
            is_attribute: &|name| definitions.has_attribute(name) || item(account, "").contains_key(name),
            always: &["createdById", "isActive", "userName", "type"],
            order: ("userName", false),
            show_link: &list::plain_link,
            is_uncounted: false,
        };
        list::answer(request, &source)
    }

    pub(super) fn user(&self, account: &Account, id: &str) -> Answer {
        let is_admin = account.kind == AccountKind::Admin;
        let visible = |user: &&Account| {
            user.id == id && (user.kind != AccountKind::Api || user.id == account.id || is_admin)
        };
        match self.accounts().iter().find(visible) {
            None if is_admin && self.people.deleted(id).is_some() => {
                ok(&Value::Object(self.people.deleted(id).cloned().unwrap_or_default()))
            }
            None => refuse(404, &format!("Record {id} does not exist.")),
            Some(user) if account.level("User", "read") != "all" && user.id != account.id => {
                refuse(403, "No read access.")
            }
            Some(user) => {
                let mut shown = self.user_record(user);
                shown.extend(self.teams_shown(&user.id));
                shown.extend(object(json!({
                    "rolesIds": [], "rolesNames": {},
                    "portalsIds": [], "portalsNames": {}, "portalRolesIds": [], "portalRolesNames": {},
                    "accountsIds": [], "accountsNames": {},
                })));
                if is_admin {
                    shown.extend(self.secrets_of(user));
                }
                ok(&Value::Object(shown))
            }
        }
    }

    /// Who the caller is and what his role lets him do.
    pub(super) fn app_user(&self, account: &Account, request: &Request) -> Answer {
        let mut user = item(account, &self.maker());
        user.shift_remove("lastAccess");
        user.shift_remove("workingTimeCalendarName");
        user.extend(object(json!({
            "ipAddress": request.remote.to_string(), "teamsIds": [], "teamsNames": {}, "teamsColumns": {},
            "emailAddressList": account.email.iter().collect::<Vec<_>>(),
            "userEmailAddressList": account.email.iter().collect::<Vec<_>>(),
            "excludeFromReplyEmailAddressList": [],
        })));
        let mut table = Record::new();
        let scopes = account.role.scopes.keys().map(String::as_str).chain(["Note", "Notification", "User"]);
        for scope in scopes {
            let value = match account.role.scopes.get(scope) {
                Some(Value::Bool(false)) => continue,
                Some(switch @ Value::Bool(true)) => switch.clone(),
                _ => Value::Object(
                    ["read", "stream", "edit", "delete", "create"]
                        .iter()
                        .map(|action| ((*action).to_owned(), json!(account.level(scope, action))))
                        .collect(),
                ),
            };
            table.insert(scope.to_owned(), value);
        }
        if account.kind == AccountKind::Admin {
            table.insert(
                ENTITY_TYPE.to_owned(),
                json!({ "read": "all", "stream": "all", "edit": "all", "delete": "all", "create": "yes" }),
            );
        }
        ok(&json!({ "user": user, "acl": { "table": table } }))
    }

    pub(super) fn settings(&self) -> Answer {
        let mut settings =
            object(serde_json::from_str(include_str!("data/settings.json")).unwrap_or(Value::Null));
        settings.insert("version".to_owned(), json!(self.options.version));
        settings.insert("timeZone".to_owned(), json!(self.options.time_zone));
        ok(&Value::Object(settings))
    }

    pub(super) fn metadata(&self, account: &Account, request: &Request) -> Answer {
        let may_read = |scope: &str| account.level(scope, "read") != "no";
        match self.catalogue.metadata(request.query_value("key").as_deref(), may_read) {
            Some(value) => ok(&value),
            None => ok(&Value::Null).body(""),
        }
    }
}

//! EspoCRM 9.2.7 (9.3.10, where `version` says so) as far as a sync client of CBeteiligte, Meeting and Call sees it, with
//! the people that these name, and an administrator who makes what such a client needs. What the real system has and this one
//! has not is answered 501, so that no test takes it for a real answer.

mod accounts;
mod admin;
mod answers;
mod auth;
mod contact_data;
mod control;
mod definitions;
mod events;
mod index;
mod list;
mod meetings;
mod notes;
mod people;
mod query;
mod records;
mod screen;
mod teams;
mod users;
mod validation;
mod views;
mod webhooks;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};
use uuid::Uuid;

pub use accounts::{Account, AccountKind, Credential, Role};

use accounts::object;
use answers::{method_not_allowed, not_simulated, refuse, routing};
use auth::Lockout;
use definitions::{Catalogue, Definitions, ENTITY_TYPE, OTHER_TYPES, simulated};
use list::Source;
use views::{View, Viewer};

use crate::deliveries;
use crate::host::{Hosting, Simulator};
use crate::store::Store;
use crate::upstream::{Delivery, Record, Upstream};
use crate::wire::{Answer, Request};

/// Key of the API user `sync-api` of [`EspocrmOptions::default`].
pub const API_KEY: &str = "5f1c0b1e6d0a4f0f9c6f7b1f2a3d4e5f";
/// Key of the API user `sync-hmac`.
pub const HMAC_API_KEY: &str = "0123456789abcdef0123456789abcdef";
/// Secret key of the API user `sync-hmac`.
pub const HMAC_SECRET_KEY: &str = "fedcba9876543210fedcba9876543210";
/// Password of the user `admin`.
pub const ADMIN_PASSWORD: &str = "admin-password";
/// Record id of the person at the screen, user `anna`, password `anna-password`.
pub const PERSON_ID: &str = "6b0052294e41f2ecf";

/// Settings of the simulated EspoCRM. [`Simulator::configure`] takes `last_name_required`,
/// `optimistic_concurrency` (booleans), `version` (text), `fields` (`{"name": {...}}` changes parts of a
/// field's definition or adds one, `{"name": null}` removes it), `types` (`{"Meeting": {"fields": {...},
/// "optimistic_concurrency": true}}`: the same of another type), `webhook_allowed_addresses` (`["host:port"]`, what
/// webhookAllowedAddressList is in 9.3), `mention_permission` and
/// `message_permission` (booleans, for all API users), `accounts_active` (`{"user name": false}`) and
/// `forget_failed_logins` (true).
#[derive(Debug, Clone)]
pub struct EspocrmOptions {
    /// Listener, folder, clock.
    pub hosting: Hosting,
    /// Users; the first one is the administrator who made everything that is seeded.
    pub accounts: Vec<Account>,
    /// `Settings.version`.
    pub version: String,
    /// Whether somebody has made CBeteiligte and its fields. What an administrator makes in a running simulator (entity
    /// type, fields, roles, users) is in its journal, and forgotten by a restart, as other settings are.
    pub has_entity_type: bool,
    /// Whether lastName is required, as it is before an administrator changes it.
    pub last_name_required: bool,
    /// optimisticConcurrencyControl of CBeteiligte.
    pub optimistic_concurrency: bool,
    /// `Settings.timeZone`: where days begin.
    pub time_zone: String,
    /// How often the webhook queue is worked off by itself; never when absent.
    pub webhook_interval: Option<Duration>,
    /// Events taken from the queue in one round (webhookQueueEventPortionSize).
    pub webhook_portion: usize,
    /// Wait before a delivery is tried again; 10 minutes in the real system.
    pub webhook_retry_delay: Duration,
}

impl Default for EspocrmOptions {
    fn default() -> Self {
        let person = Account {
            id: PERSON_ID.to_owned(),
            user_name: "anna".to_owned(),
            first_name: Some("Anna".to_owned()),
            last_name: "Anwalt".to_owned(),
            email: Some("anna@kanzlei.example".to_owned()),
            title: Some("RAin".to_owned()),
            kind: AccountKind::Regular,
            credential: Credential::Password("anna-password".to_owned()),
            is_active: true,
            role: Role::sync(),
        };
        let admin = Account {
            id: "6b0051639ebe51f93".to_owned(),
            user_name: "admin".to_owned(),
            first_name: None,
            last_name: "Admin".to_owned(),
            email: None,
            title: None,
            kind: AccountKind::Admin,
            credential: Credential::Password(ADMIN_PASSWORD.to_owned()),
            ..person.clone()
        };
        let key = Credential::ApiKey(API_KEY.to_owned());
        let hmac =
            Credential::Hmac { api_key: HMAC_API_KEY.to_owned(), secret_key: HMAC_SECRET_KEY.to_owned() };
        Self {
            hosting: Hosting::default(),
            accounts: vec![
                admin,
                person,
                Account::api("6b005228b0f01737d", "sync-api", key, Role::sync()),
                Account::api("6b005229c1d2e3f40", "sync-hmac", hmac, Role::sync()),
            ],
            version: "9.2.7".to_owned(),
            has_entity_type: true,
            last_name_required: false,
            optimistic_concurrency: false,
            time_zone: "Europe/Berlin".to_owned(),
            webhook_interval: None,
            webhook_portion: 20,
            webhook_retry_delay: Duration::from_mins(10),
        }
    }
}

/// The simulated system.
#[derive(Debug)]
pub struct Espocrm {
    options: EspocrmOptions,
    catalogue: Catalogue,
    time_zone: TimeZone,
    lockout: Lockout,
    ids: Ids,
    /// Further entity types that were asked for by name; they have no records.
    others: BTreeSet<String>,
    roles: BTreeMap<String, Record>,
    /// Roles by user, where an administrator has set them.
    roles_of: BTreeMap<String, Vec<String>>,
    allowed_addresses: BTreeSet<String>,
    people: people::People,
    indexes: Mutex<index::Indexes>,
}

/// A running EspoCRM.
pub type EspocrmSimulator = Simulator<Espocrm>;

impl EspocrmSimulator {
    /// Starts it on 127.0.0.1, with its webhook job if the options give an interval.
    ///
    /// # Errors
    /// When the port is taken or the folder cannot be used.
    pub async fn start(options: EspocrmOptions) -> io::Result<Self> {
        let (hosting, interval) = (options.hosting.clone(), options.webhook_interval);
        let mut definitions = Definitions::absent();
        if options.has_entity_type {
            definitions = Definitions::recorded();
            let required = json!({ "required": options.last_name_required });
            definitions.change_field("lastName", &required).map_err(io::Error::other)?;
        }
        definitions.has_versions = options.optimistic_concurrency;
        let time_zone = TimeZone::get(&options.time_zone).map_err(io::Error::other)?;
        let espocrm = Espocrm {
            options,
            catalogue: Catalogue::new(definitions),
            time_zone,
            lockout: Lockout::default(),
            ids: Ids::default(),
            others: BTreeSet::new(),
            roles: BTreeMap::new(),
            roles_of: BTreeMap::new(),
            allowed_addresses: BTreeSet::new(),
            people: people::People::default(),
            indexes: Mutex::default(),
        };
        let simulator = Self::host(espocrm, hosting).await?;
        if let Some(interval) = interval {
            tokio::spawn(deliveries::run(simulator.shared().clone(), interval));
        }
        Ok(simulator)
    }

    /// Works off the webhook queue now, as the scheduled job does; answers the number of requests sent.
    pub async fn deliver_webhooks(&self) -> usize {
        deliveries::deliver_due(self.shared()).await
    }
}

/// Makes ids as PHP's `uniqid` does: time in microseconds and four random digits, rising.
#[derive(Debug, Default)]
struct Ids {
    last_us: i64,
}

impl Ids {
    fn next(&mut self, now: Timestamp) -> String {
        self.last_us = now.as_microsecond().max(self.last_us + 1);
        let (seconds, micros) = (self.last_us / 1_000_000, self.last_us % 1_000_000);
        let (_, random, _, _) = Uuid::new_v4().as_fields();
        format!("{seconds:08x}{micros:05x}{random:04x}")
    }
}

impl Espocrm {
    fn accounts(&self) -> &[Account] {
        &self.options.accounts
    }

    fn definitions(&self, scope: &str) -> &Definitions {
        self.catalogue.of(scope)
    }

    fn viewer<'a>(&'a self, store: &'a Store, scope: &str, reader: &'a Account) -> Viewer<'a> {
        let definitions = self.definitions(scope);
        Viewer { definitions, accounts: self.accounts(), store, reader_id: &reader.id }
    }

    fn record_list(&self, store: &Store, account: &Account, scope: &str, request: &Request) -> Answer {
        if account.level(scope, "read") == "no" {
            return refuse(403, "No read access.");
        }
        let definitions = self.definitions(scope);
        let viewer = self.viewer(store, scope, account);
        let show = |record: &Record| viewer.show(record, View::Item);
        let links = definitions.links();
        let get = |record: &Record, name: &str| match name {
            "emailAddress" | "phoneNumber" => contact_data::addresses(record, name),
            "name" => vec![views::title(record)],
            link if links.contains(link) => {
                meetings::ids(record, link).into_iter().map(Value::from).collect()
            }
            _ => vec![record.get(name).cloned().unwrap_or(Value::Null)],
        };
        let parameters = query::parse(request);
        let candidates = {
            let mut indexes = self.indexes.lock().unwrap_or_else(PoisonError::into_inner);
            indexes.candidates(store, scope, &list::filters(&parameters), &get)
        };
        let records: Vec<&Value> = match &candidates {
            Some(ids) => ids.iter().filter_map(|id| store.get(scope, id)).collect(),
            None => store.rows(scope).map(|(_, record)| record).collect(),
        };
        let source = Source {
            records: records
                .into_iter()
                .filter_map(Value::as_object)
                .filter(|record| record.get("deleted").and_then(Value::as_bool) != Some(true))
                .collect(),
            may_read: &|record| account.may(scope, "read", record),
            show: &show,
            show_link: &|record, attribute| viewer.show_link(record, attribute),
            get: &get,
            is_attribute: &|name| definitions.has_attribute(name),
            always: &["createdById", "assignedUserId", "parentName"],
            order: definitions.order(),
            is_uncounted: false,
        };
        list::answer(request, &source)
    }

    /// What the router says before anybody is asked who he is.
    fn route(method: &str, path: &[&str]) -> Option<Answer> {
        match (method, path) {
            ("PUT" | "DELETE", ["Admin", "fieldManager", _, _]) => None,
            (_, [_, _, _, _, ..]) | (_, []) => Some(routing(404, "404 Not Found")),
            ("PUT" | "PATCH" | "DELETE", [_]) => Some(method_not_allowed("GET, POST")),
            ("POST", [controller, _]) if *controller != "Admin" => {
                Some(method_not_allowed("GET, PUT, PATCH, DELETE"))
            }
            _ => None,
        }
    }
}

impl Upstream for Espocrm {
    const NAME: &'static str = "espocrm";

    fn answer(&mut self, store: &mut Store, now: Timestamp, request: &Request) -> io::Result<Answer> {
        let segments = request.segments();
        let ["api", "v1", path @ ..] = segments.as_slice() else {
            return Ok(Answer::html(404, "<html><body>Not Found</body></html>"));
        };
        let method = request.method.as_str();
        if let Some(answer) = Self::route(method, path) {
            return Ok(answer);
        }
        let signed_path = request.path.trim_start_matches("/api/v1/");
        let account =
            match auth::authenticate(&self.options.accounts, &mut self.lockout, now, request, signed_path) {
                Ok(account) => account,
                Err(answer) => return Ok(answer),
            };
        match (method, path) {
            ("GET", ["Settings"]) => Ok(self.settings()),
            ("GET", ["Metadata"]) => Ok(self.metadata(&account, request)),
            ("GET", ["App", "user"]) => Ok(self.app_user(&account, request)),
            ("GET", ["User"]) => Ok(self.user_list(&account, request, None)),
            ("GET", ["User", id]) => Ok(self.user(&account, id)),
            ("GET", ["Notification"]) => self.notifications(store, now, &account, request),
            ("POST", ["Notification"]) if account.kind != AccountKind::Admin => {
                Ok(refuse(403, "No create access."))
            }
            ("DELETE", ["User", _]) if account.kind != AccountKind::Admin => {
                Ok(refuse(403, "No delete access."))
            }
            (_, ["Team", rest @ ..]) => self.team_request(store, now, &account, request, rest),
            ("POST", ["Note"]) => self.create_note(store, now, &account, request),
            (_, ["Webhook"]) => self.webhook(store, now, &account, request, None),
            (_, ["Webhook", id]) => self.webhook(store, now, &account, request, Some(id)),
            (_, [ENTITY_TYPE, ..]) if !self.is_there(ENTITY_TYPE) => {
                Ok(refuse(404, &format!("Controller '{ENTITY_TYPE}' does not exist.")))
            }
            (method, [name, rest @ ..]) if rest.len() <= 1 && simulated(name).is_some() => {
                let scope = simulated(name).unwrap_or(ENTITY_TYPE);
                match (method, rest) {
                    ("GET", []) => Ok(self.record_list(store, &account, scope, request)),
                    ("POST", []) => self.create_record(store, now, scope, &account, request),
                    ("GET", [id]) => Ok(self.read_record(store, &account, scope, id)),
                    ("PUT" | "PATCH", [id]) => self.update_record(store, now, scope, &account, id, request),
                    ("DELETE", [id]) => self.delete_record(store, now, scope, &account, id),
                    _ => Ok(not_simulated(&format!("{method} {}", path.join("/")))),
                }
            }
            (_, ["EntityManager" | "Admin" | "Role", ..]) if account.kind != AccountKind::Admin => {
                Ok(refuse(403, ""))
            }
            ("POST", ["User"]) if account.kind != AccountKind::Admin => Ok(refuse(403, "No create access.")),
            ("PUT" | "PATCH", ["User", _]) if account.kind != AccountKind::Admin => {
                Ok(refuse(403, "No edit access."))
            }
            (_, ["EntityManager" | "Admin" | "Role" | "User", ..]) => {
                self.administrate(store, now, &account, request, path)
            }
            (_, [scope, ..]) if OTHER_TYPES.contains(scope) && account.level(scope, "read") == "no" => {
                Ok(refuse(403, "No read access."))
            }
            (_, [scope, ..])
                if OTHER_TYPES.contains(scope)
                    || ["EntityManager", "Admin", "Role", "App", "Note", "Notification", ENTITY_TYPE]
                        .contains(scope) =>
            {
                Ok(not_simulated(&format!("{method} {}", path.join("/"))))
            }
            (_, [controller, ..]) => Ok(refuse(404, &format!("Controller '{controller}' does not exist."))),
            (_, []) => Ok(routing(404, "404 Not Found")),
        }
    }

    fn page(&mut self, store: &mut Store, now: Timestamp, request: &Request) -> io::Result<Option<Answer>> {
        crate::screen::answer(self, store, now, request).map(Some)
    }

    fn set_base_url(&mut self, _base_url: &str) {}

    fn empty_list(&self) -> Value {
        json!({ "total": 0, "list": [] })
    }

    fn unauthorized(&self) -> Answer {
        auth::refusal()
    }

    fn records(&self, store: &Store) -> Vec<Value> {
        self.all_of(store, ENTITY_TYPE)
    }

    fn record(&self, store: &Store, id: &str) -> Option<Value> {
        self.one_of(store, ENTITY_TYPE, id)
    }

    fn seed(&mut self, store: &mut Store, now: Timestamp, record: Record) -> io::Result<String> {
        self.seed_record(store, now, ENTITY_TYPE, record)
    }

    fn edit(&mut self, store: &mut Store, now: Timestamp, id: &str, fields: &Record) -> Result<(), String> {
        self.edit_as(store, now, PERSON_ID, ENTITY_TYPE, id, fields)
    }

    fn create(&mut self, store: &mut Store, now: Timestamp, fields: &Record) -> Result<String, String> {
        self.create_as(store, now, PERSON_ID, ENTITY_TYPE, fields)
    }

    fn remove(&mut self, store: &mut Store, now: Timestamp, id: &str) -> Result<(), String> {
        self.remove_as(store, now, PERSON_ID, ENTITY_TYPE, id)
    }

    fn control(
        &mut self,
        store: &mut Store,
        now: Timestamp,
        method: &str,
        path: &[&str],
        body: &Value,
    ) -> Result<Value, String> {
        control::answer(self, store, now, method, path, body)
    }

    fn configure(&mut self, settings: &Record) -> Result<(), String> {
        // What an attribute is may become another one.
        self.indexes = Mutex::default();
        for (key, value) in settings {
            let api_users =
                self.options.accounts.iter_mut().filter(|account| account.kind == AccountKind::Api);
            match (key.as_str(), value) {
                ("last_name_required", Value::Bool(_)) => {
                    let change = json!({ "required": value });
                    self.catalogue.beteiligte.change_field("lastName", &change)?;
                }
                ("optimistic_concurrency", Value::Bool(on)) => self.catalogue.beteiligte.has_versions = *on,
                ("version", Value::String(version)) => self.options.version.clone_from(version),
                ("fields", Value::Object(fields)) => {
                    for (name, change) in fields {
                        self.catalogue.beteiligte.change_field(name, change)?;
                    }
                }
                ("types", Value::Object(types)) => {
                    for (name, change) in types {
                        self.configure_type(name, change)?;
                    }
                }
                ("mention_permission", Value::Bool(on)) => {
                    api_users.for_each(|account| account.role.mention_permission = *on);
                }
                ("message_permission", Value::Bool(on)) => {
                    api_users.for_each(|account| account.role.message_permission = *on);
                }
                ("accounts_active", Value::Object(active)) => {
                    for account in &mut self.options.accounts {
                        if let Some(Value::Bool(on)) = active.get(&account.user_name) {
                            account.is_active = *on;
                        }
                    }
                }
                ("webhook_allowed_addresses", Value::Array(addresses)) => {
                    self.allowed_addresses =
                        addresses.iter().filter_map(Value::as_str).map(str::to_owned).collect();
                }
                ("forget_failed_logins", Value::Bool(true)) => self.lockout.clear(),
                _ => return Err(format!("{key}: {value} is no setting of EspoCRM")),
            }
        }
        Ok(())
    }

    fn prepare_deliveries(&mut self, store: &mut Store, now: Timestamp) -> io::Result<()> {
        self.queue_items(store, now)
    }

    fn next_delivery(&mut self, store: &mut Store, now: Timestamp) -> io::Result<Option<Delivery>> {
        self.next_batch(store, now)
    }

    fn settle_delivery(
        &mut self,
        store: &mut Store,
        now: Timestamp,
        delivery: &Delivery,
        status: u16,
    ) -> io::Result<()> {
        self.settle_batch(store, now, delivery, status)
    }
}

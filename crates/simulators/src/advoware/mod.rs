//! Advoware: configurator, token endpoint and parties, as `advoware.md` section 7 asks of a simulator.
//!
//! Where the vendor's behaviour is not known, the harder case for a client is simulated; those places
//! are marked `[A]` (assumption):
//! - `[A]` search compares whole values without regard to case, on `name`, `vorname`, `geburtsdatum` and
//!   `handelsRegisterNummer`; without any of them it is a 400;
//! - `[A]` an unknown Kanzlei is 404; every refused token request is 401;
//! - `[A]` POST is answered 201 with an object that holds `betNr` and a null `rowId`, PUT with 200 and an
//!   array of one such object;
//! - `[A]` `name` is required, `geburtsdatum` must be a date; unknown fields are dropped;
//! - `[A]` a field left out of a PUT is null afterwards; `kommunikation` in it is ignored;
//! - `[A]` a write of a Kommunikation moves the party's `geaendertAm` and the field that shows the kind (`telGesch`,
//!   `mobil`, …), which holds the first value of that kind.

mod communications;
mod parties;
mod token;

use std::io;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::host::{Hosting, Simulator};
use crate::journal::{ActorKind, Operation};
use crate::store::Store;
use crate::upstream::{Record, Upstream};
use crate::wire::{Answer, Request};

/// How a party that is not there is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MissingAnswer {
    /// 200 with `[]`.
    #[default]
    EmptyArray,
    /// 404.
    NotFound,
}

/// What `geaendertAm` holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ModifiedTime {
    /// The time of the last write.
    #[default]
    Reported,
    /// Always null.
    Null,
    /// The field is not there.
    Absent,
}

/// Settings of the simulated Advoware. [`Simulator::configure`] takes `missing_answer`
/// (`empty_array`, `not_found`), `modified_time` (`reported`, `null`, `absent`), `connector_url`
/// (string or null), `token_seconds` and `password`.
#[derive(Debug, Clone)]
pub struct AdvowareOptions {
    /// Listener, folder, clock.
    pub hosting: Hosting,
    /// Kanzleikennung.
    pub kanzlei: String,
    /// Name of the firm's database.
    pub database: String,
    /// Mitarbeiterkürzel.
    pub user: String,
    /// That user's password.
    pub password: String,
    /// The vendor's application id.
    pub app_id: String,
    /// The vendor's key, base64.
    pub api_key: String,
    /// How long a token lives.
    pub token_seconds: u32,
    /// `connectorUrl` of the configurator; a client must use it when it is set.
    pub connector_url: Option<String>,
    /// How a party that is not there is answered.
    pub missing_answer: MissingAnswer,
    /// What `geaendertAm` holds.
    pub modified_time: ModifiedTime,
}

impl Default for AdvowareOptions {
    fn default() -> Self {
        Self {
            hosting: Hosting::default(),
            kanzlei: "musterkanzlei".to_owned(),
            database: "RVG".to_owned(),
            user: "SYNC".to_owned(),
            password: "advoware-password".to_owned(),
            app_id: "simulated-app".to_owned(),
            api_key: "c2ltdWxhdGVkLWFkdm93YXJlLWFwaS1rZXk=".to_owned(),
            token_seconds: 3_600,
            connector_url: None,
            missing_answer: MissingAnswer::default(),
            modified_time: ModifiedTime::default(),
        }
    }
}

/// The simulated system.
#[derive(Debug)]
pub struct Advoware {
    options: AdvowareOptions,
    base_url: String,
}

/// A running Advoware.
pub type AdvowareSimulator = Simulator<Advoware>;

impl AdvowareSimulator {
    /// Starts it on 127.0.0.1.
    ///
    /// # Errors
    /// When the port is taken or the folder cannot be used.
    pub async fn start(options: AdvowareOptions) -> io::Result<Self> {
        let hosting = options.hosting.clone();
        Self::host(Advoware { options, base_url: String::new() }, hosting).await
    }
}

impl Advoware {
    fn configurator(&self, request: &Request) -> Answer {
        match request.query_value("Kanzlei") {
            None => problem(400, "Kanzlei is missing"),
            Some(kanzlei) if kanzlei != self.options.kanzlei => problem(404, "unknown Kanzlei"),
            Some(_) => {
                // As the client calls this machine: it may know it by another name than the listener does.
                let host = request.header("Host").map(|host| format!("http://{host}"));
                let own = format!("{}/", host.as_ref().unwrap_or(&self.base_url));
                let connector = &self.options.connector_url;
                Answer::json(
                    200,
                    &json!({ "relayUrl": own, "connectorUrl": connector, "securityGateway": own }),
                )
            }
        }
    }

    fn advonet(
        &self,
        store: &mut Store,
        now: Timestamp,
        request: &Request,
        rest: &[&str],
    ) -> io::Result<Answer> {
        if let Err(refusal) = token::check_bearer(store, now, request) {
            return Ok(refusal);
        }
        let by = parties::By { kind: ActorKind::Api, name: &self.options.user };
        match (request.method.as_str(), rest) {
            ("GET", []) => Ok(self.search(store, request)),
            ("POST", []) => match parties::read_body(request) {
                Ok(body) => parties::create(store, now, &by, &body).map(|made| match made {
                    Ok(bet_nr) => Answer::json(201, &json!({ "betNr": bet_nr, "rowId": null })),
                    Err(error) => problem(400, &error),
                }),
                Err(refusal) => Ok(refusal),
            },
            (_, [bet_nr, rest @ ..]) => match bet_nr.parse() {
                Ok(bet_nr) => self.party(store, now, request, &by, bet_nr, rest),
                Err(_) => Ok(problem(400, "betNr is not a number")),
            },
            _ => Ok(Answer::status(405)),
        }
    }

    fn party(
        &self,
        store: &mut Store,
        now: Timestamp,
        request: &Request,
        by: &parties::By<'_>,
        bet_nr: u64,
        rest: &[&str],
    ) -> io::Result<Answer> {
        let Some(party) = parties::find(store, bet_nr) else {
            let empty = self.options.missing_answer == MissingAnswer::EmptyArray;
            let is_read = request.method == "GET" && rest.is_empty();
            return Ok(if is_read && empty {
                Answer::json(200, &json!([]))
            } else {
                problem(404, "no such Beteiligter")
            });
        };
        match (request.method.as_str(), rest) {
            ("GET", []) => Ok(Answer::json(200, &json!([self.shown(&party)]))),
            ("PUT", []) => {
                let body = match parties::read_body(request) {
                    Ok(body) => body,
                    Err(refusal) => return Ok(refusal),
                };
                if body.get("betNr").is_some_and(|sent| sent.as_u64() != Some(bet_nr)) {
                    return Ok(problem(400, "betNr in the body is another one"));
                }
                parties::replace(store, now, by, &party, &body).map(|written| match written {
                    Ok(()) => Answer::json(200, &json!([{ "betNr": bet_nr, "rowId": null }])),
                    Err(error) => problem(400, &error),
                })
            }
            (method, ["Kommunikationen", rest @ ..]) => {
                communications::answer(store, now, by, &party, method, rest, request)
            }
            _ => Ok(Answer::status(405)),
        }
    }

    fn search(&self, store: &Store, request: &Request) -> Answer {
        match parties::search(store, request) {
            Ok(found) => {
                Answer::json(200, &Value::Array(found.iter().map(|party| self.shown(party)).collect()))
            }
            Err(error) => problem(400, error),
        }
    }

    /// A party as a read shows it.
    fn shown(&self, party: &Record) -> Value {
        let mut party = party.clone();
        match self.options.modified_time {
            ModifiedTime::Reported => {}
            ModifiedTime::Null => {
                party.insert("geaendertAm".to_owned(), Value::Null);
            }
            ModifiedTime::Absent => {
                party.shift_remove("geaendertAm");
            }
        }
        communications::blank_kinds(&mut party);
        Value::Object(party)
    }
}

/// An error with a JSON body.
fn problem(status: u16, message: &str) -> Answer {
    Answer::json(status, &json!({ "message": message }))
}

fn person() -> parties::By<'static> {
    parties::By { kind: ActorKind::Person, name: "Sachbearbeiter" }
}

impl Upstream for Advoware {
    const NAME: &'static str = "advoware";

    fn answer(&mut self, store: &mut Store, now: Timestamp, request: &Request) -> io::Result<Answer> {
        match (request.method.as_str(), request.segments().as_slice()) {
            ("GET", ["AdvonetConfigurator", "api", "Url"]) => Ok(self.configurator(request)),
            ("POST", ["api", "v1", "Token"]) => token::answer(&self.options, store, now, request),
            (_, ["api", "v1", "advonet", "Beteiligte", rest @ ..]) => self.advonet(store, now, request, rest),
            _ => Ok(problem(404, "no such path")),
        }
    }

    fn set_base_url(&mut self, base_url: &str) {
        base_url.clone_into(&mut self.base_url);
    }

    fn empty_list(&self) -> Value {
        json!([])
    }

    fn unauthorized(&self) -> Answer {
        problem(401, "token is not valid")
    }

    fn records(&self, store: &Store) -> Vec<Value> {
        store.rows(parties::TABLE).map(|(_, party)| party.clone()).collect()
    }

    fn record(&self, store: &Store, id: &str) -> Option<Value> {
        parties::find(store, id.parse().ok()?).map(Value::Object)
    }

    fn seed(&mut self, store: &mut Store, now: Timestamp, record: Record) -> io::Result<String> {
        parties::seed(store, now, record)
    }

    fn edit(&mut self, store: &mut Store, now: Timestamp, id: &str, fields: &Record) -> Result<(), String> {
        let party = id.parse().ok().and_then(|id| parties::find(store, id)).ok_or("no such Beteiligter")?;
        let mut body = party.clone();
        body.extend(fields.clone());
        parties::replace(store, now, &person(), &party, &body).map_err(|error| error.to_string())?
    }

    fn create(&mut self, store: &mut Store, now: Timestamp, fields: &Record) -> Result<String, String> {
        let made = parties::create(store, now, &person(), fields).map_err(|error| error.to_string())?;
        made.map(|bet_nr| bet_nr.to_string())
    }

    fn remove(&mut self, store: &mut Store, now: Timestamp, id: &str) -> Result<(), String> {
        let party = id.parse().ok().and_then(|id| parties::find(store, id)).ok_or("no such Beteiligter")?;
        parties::write(store, now, &person(), Operation::Delete, Some(party), None)
            .map_err(|error| error.to_string())
    }

    fn configure(&mut self, settings: &Record) -> Result<(), String> {
        for (key, value) in settings {
            let options = &mut self.options;
            match (key.as_str(), value) {
                ("missing_answer", Value::String(answer)) if answer == "empty_array" => {
                    options.missing_answer = MissingAnswer::EmptyArray;
                }
                ("missing_answer", Value::String(answer)) if answer == "not_found" => {
                    options.missing_answer = MissingAnswer::NotFound;
                }
                ("modified_time", Value::String(time)) if time == "reported" => {
                    options.modified_time = ModifiedTime::Reported;
                }
                ("modified_time", Value::String(time)) if time == "null" => {
                    options.modified_time = ModifiedTime::Null
                }
                ("modified_time", Value::String(time)) if time == "absent" => {
                    options.modified_time = ModifiedTime::Absent;
                }
                ("connector_url", Value::Null) => options.connector_url = None,
                ("connector_url", Value::String(url)) => options.connector_url = Some(url.clone()),
                ("token_seconds", Value::Number(seconds)) => {
                    options.token_seconds = seconds.as_u64().and_then(|s| u32::try_from(s).ok()).unwrap_or(0);
                }
                ("password", Value::String(password)) => options.password.clone_from(password),
                _ => return Err(format!("{key}: {value} is no setting of Advoware")),
            }
        }
        Ok(())
    }
}

//! The two simulated systems as the demo sees them: through their control API, as their own people would, and
//! (for webhooks) as EspoCRM's API user.

use std::collections::BTreeSet;
use std::time::Duration;

use reqwest::Method;
use reqwest::header::{COOKIE, HeaderName, LOCATION, SET_COOKIE};
use serde_json::{Value, json};
use simulators::demo_data::{Change, Edit, Pair, Side};
use simulators::{ActorKind, FaultRule, JournalEntry};

use super::oracle::Record;
use crate::http;
use crate::simulators::{Addresses, redirect_url};

const TIMEOUT: Duration = Duration::from_secs(20);
/// Entries of the ledger read in one request.
const JOURNAL_PAGE: usize = 200;
/// Records laid out in one request.
const SEED_BATCH: usize = 200;
/// The webhooks that the demo makes in EspoCRM: event, and the path at our listener.
const WEBHOOKS: [&str; 3] = ["create", "update", "delete"];

/// A webhook of ours in EspoCRM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// Its id.
    pub id: String,
    /// The secret that its requests are signed with.
    pub secret: String,
}

/// What a browser was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// Status.
    pub status: u16,
    /// Where it is sent.
    pub location: Option<String>,
    /// The cookie that it is to keep, with its attributes.
    pub cookie: Option<String>,
}

/// Both systems.
#[derive(Debug, Clone)]
pub struct Systems {
    http: reqwest::Client,
    addresses: Addresses,
}

impl Systems {
    /// The systems at these addresses.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new(addresses: Addresses) -> Result<Self, String> {
        let http = http::client(TIMEOUT).map_err(|error| error.to_string())?;
        Ok(Self { http, addresses })
    }

    /// Where they are.
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Whether both answer.
    pub async fn answer(&self) -> bool {
        self.control(Side::Crm, Method::GET, "/_control/faults", None).await.is_ok()
            && self.control(Side::Advoware, Method::GET, "/_control/faults", None).await.is_ok()
    }

    /// The records of one side; those deleted in EspoCRM as well, marked.
    pub async fn records(&self, side: Side) -> Result<Vec<Value>, String> {
        let records = self.control(side, Method::GET, "/_control/records", None).await?;
        serde_json::from_value(records).map_err(|error| error.to_string())
    }

    /// Reads the ledger of one side, a page at a time: all of it is large.
    pub async fn read_journal(
        &self,
        side: Side,
        mut read: impl FnMut(Vec<JournalEntry>),
    ) -> Result<(), String> {
        let mut after = 0;
        loop {
            let (name, base) = self.side(side);
            let page = self.journal_at(name, base, after).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = last.sequence;
            read(page);
        }
    }

    /// Requests that one side answered, those of the control API left out.
    pub async fn requests(&self, side: Side) -> Result<u64, String> {
        let counters = self.control(side, Method::GET, "/_control/counters", None).await?;
        Ok(counters.as_object().into_iter().flatten().filter_map(|(_, count)| count.as_u64()).sum())
    }

    /// Forgets everything and lays the parties out as if they had always been there. Safe to repeat.
    pub async fn lay_out(&self, pairs: &[Pair]) -> Result<(), String> {
        let crm: Vec<&Record> = pairs.iter().map(|pair| &pair.crm).collect();
        let mut seen = BTreeSet::new();
        let advoware = pairs.iter().filter_map(|pair| pair.advoware.as_ref());
        let advoware: Vec<&Record> =
            advoware.filter(|party| seen.insert(party.get("betNr").map(ToString::to_string))).collect();
        for (side, records) in [(Side::Crm, crm), (Side::Advoware, advoware)] {
            self.control(side, Method::POST, "/_control/reset", None).await?;
            for batch in records.chunks(SEED_BATCH) {
                self.control(side, Method::POST, "/_control/records", Some(json!(batch))).await?;
            }
        }
        Ok(())
    }

    /// Does what a person does.
    pub async fn edit(&self, edit: &Edit) -> Result<(), String> {
        let (method, path, body) = edit.control_request();
        let method = method.parse().map_err(|_| format!("{method} is no method"))?;
        self.control(edit.side, method, &path, Some(body)).await.map(|_| ())
    }

    /// The edits that no person made yet. Each record is edited once at most on each side.
    pub async fn outstanding(&self, edits: &[Edit]) -> Result<Vec<Edit>, String> {
        let mut done = BTreeSet::new();
        for (is_crm, side) in [(true, Side::Crm), (false, Side::Advoware)] {
            let by_people = |entry: &JournalEntry| entry.actor_kind == ActorKind::Person;
            let collect = |page: Vec<JournalEntry>| {
                done.extend(page.into_iter().filter(by_people).map(|entry| (is_crm, entry.record_id)));
            };
            self.read_journal(side, collect).await?;
        }
        let is_done = |edit: &&Edit| match &edit.change {
            Change::Edit { id, .. } | Change::Delete { id } => {
                done.contains(&(edit.side == Side::Crm, id.clone()))
            }
            Change::Create { .. } => false,
        };
        Ok(edits.iter().filter(|edit| !is_done(edit)).cloned().collect())
    }

    /// Puts these faults in force, and no others.
    pub async fn misbehave(&self, side: Side, rules: &[FaultRule]) -> Result<(), String> {
        self.control(side, Method::DELETE, "/_control/faults", None).await?;
        self.control(side, Method::POST, "/_control/faults", Some(json!(rules))).await.map(|_| ())
    }

    /// Registers our address with the simulated providers: they send browsers to no other.
    pub async fn register(&self, public_url: &str) -> Result<(), String> {
        let providers = [("microsoft", &self.addresses.microsoft), ("google", &self.addresses.google)];
        for (provider, base) in providers {
            let Some(base) = base else { continue };
            let settings = json!({ "redirect_uris": [redirect_url(public_url, provider)] });
            let request = self.http.post(format!("{base}/_control/settings"));
            let sent = send(request, Some(settings)).await;
            sent.map_err(|why| format!("the simulated {provider} refuses our address: {why}"))?;
        }
        Ok(())
    }

    /// Makes the webhooks in EspoCRM, or directs those that are there to `url`.
    pub async fn webhooks(&self, url: &str) -> Result<Vec<Webhook>, String> {
        let listed = self.espocrm(Method::GET, "Webhook", None).await?;
        let known = listed.get("list").and_then(Value::as_array).cloned().unwrap_or_default();
        let mut webhooks = Vec::new();
        for kind in WEBHOOKS {
            let (event, url) = (format!("CBeteiligte.{kind}"), format!("{url}/{kind}"));
            let hook = match known.iter().find(|hook| text(hook, "event") == event) {
                Some(hook) if text(hook, "url") == url => hook.clone(),
                Some(hook) => {
                    let path = format!("Webhook/{}", text(hook, "id"));
                    self.espocrm(Method::PUT, &path, Some(json!({ "url": url }))).await?
                }
                None => {
                    let body = json!({ "event": event, "url": url, "skipOwn": true });
                    self.espocrm(Method::POST, "Webhook", Some(body)).await?
                }
            };
            webhooks.push(Webhook { id: text(&hook, "id"), secret: text(&hook, "secretKey") });
        }
        Ok(webhooks)
    }

    async fn espocrm(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value, String> {
        let url = format!("{}/api/v1/{path}", self.addresses.espocrm);
        let request = self.http.request(method, url).header("X-Api-Key", simulators::espocrm::API_KEY);
        send(request, body).await.map_err(|why| format!("the simulated EspoCRM refuses {path}: {why}"))
    }

    async fn control(
        &self,
        side: Side,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<Value, String> {
        let (name, base) = self.side(side);
        self.control_at(name, base, method, path, body).await
    }

    fn side(&self, side: Side) -> (&'static str, &str) {
        match side {
            Side::Crm => ("EspoCRM", &self.addresses.espocrm),
            Side::Advoware => ("Advoware", &self.addresses.advoware),
        }
    }

    /// A control request of any simulated system.
    pub async fn control_at(
        &self,
        name: &str,
        base: &str,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<Value, String> {
        let request = self.http.request(method, format!("{base}{path}"));
        send(request, body).await.map_err(|why| format!("the simulated {name} refuses {path}: {why}"))
    }

    /// A page of the ledger of any simulated system: what comes after that number.
    pub async fn journal_at(&self, name: &str, base: &str, after: u64) -> Result<Vec<JournalEntry>, String> {
        let path = format!("/_control/journal?after={after}&limit={JOURNAL_PAGE}");
        let page = self.control_at(name, base, Method::GET, &path, None).await?;
        serde_json::from_value(page).map_err(|error| error.to_string())
    }

    /// Opens an address as a browser does, and follows no redirect.
    pub async fn open(&self, url: &str, cookie: Option<&str>) -> Result<Opened, String> {
        let mut request = self.http.get(url);
        if let Some(cookie) = cookie {
            request = request.header(COOKIE, cookie);
        }
        let answer = request.send().await.map_err(|error| error.to_string())?;
        let header = |name: HeaderName| Some(answer.headers().get(name)?.to_str().ok()?.to_owned());
        Ok(Opened {
            status: answer.status().as_u16(),
            location: header(LOCATION),
            cookie: header(SET_COOKIE),
        })
    }
}

async fn send(request: reqwest::RequestBuilder, body: Option<Value>) -> Result<Value, String> {
    let request = match body {
        Some(body) => request.json(&body),
        None => request,
    };
    let answer = request.send().await.map_err(|error| error.to_string())?;
    let status = answer.status();
    let text = answer.text().await.map_err(|error| error.to_string())?;
    if !status.is_success() {
        return Err(format!("{status} {}", shared::fault::cut(&text, 300)));
    }
    serde_json::from_str(&text).map_err(|error| error.to_string())
}

fn text(value: &Value, field: &str) -> String {
    value.get(field).and_then(Value::as_str).unwrap_or_default().to_owned()
}

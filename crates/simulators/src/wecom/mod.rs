//! WeCom (企业微信): access tokens, the contacts of one company, and the callbacks about them. Shares no code with the connector.
//!
//! | path | what |
//! |---|---|
//! | `GET /cgi-bin/gettoken` | one token of each secret, the same one while it lives |
//! | `GET /cgi-bin/department/list`, `simplelist`, `get` | departments, as far as the app sees them |
//! | `GET /cgi-bin/user/simplelist`, `list`, `get` | members; apps made since 2022-06-20 get no mobile, mail and their kin |
//! | `POST /cgi-bin/user/list_id` | ids of all, page by page; by the contact sync only |
//! | `GET /cgi-bin/getcallbackip` | addresses |
//!
//! All answers have status 200 and an `errcode`. Requests are counted by interface (`user/get`). Main records are departments and
//! members together: their ids are `party:10` and `user:zhangsan` in the control API, a seed with a `userid` is a member, and a
//! person's edit with `newuserid` renames. The control API has, beside what every system has:
//!
//! | request | meaning |
//! |---|---|
//! | `POST /_control/ops` | does what the console would: `{"op": "create_user", "userid", …}`, one or an array; so do `update_user` (with `newuserid` a rename), `delete_user`, `create_party`, `update_party`, `delete_party`, `update_tag`. Refused as WeCom refuses it |
//! | `POST /_control/events` | puts events of the test's own into the queue, in its order: `{"ChangeType", "UserID", …}`, one or an array |
//! | `GET /_control/events` | how many wait, were delivered, are lost |
//! | `GET /_control/check` | the query of a check of the receiver's address, and the expected answer |
//! | `POST /_control/errors`, `DELETE` | errcodes on demand ([`ForcedErrcode`]), and none any more |
//! | `POST /_control/tokens/end` | ends all tokens before their time |
//!
//! People see departments and members at `/`, and change them there; callbacks about it go out as they are set up.
//!
//! Where the vendor's behaviour is not known, the harder case for a client is simulated, marked `[A]`:
//! - `[A]` a member's `department` names departments that the app does not see;
//! - `[A]` a receiver set up today hears of a member's change only when a department or the id changes;
//! - `[A]` a closed interface is closed for a minute, or an hour, from the first refused call on.
//!
//! Not simulated: the limits of an address, writing by the API, tags beyond their events, the asynchronous export, the bound of five
//! seconds on a receiver's answer (it is ten).

mod contacts;
mod crypt;
mod errcode;
mod events;
mod options;
mod quota;
mod reads;
mod sample;
mod screen;
mod tokens;

use std::collections::{BTreeSet, VecDeque};
use std::io;

use jiff::{SignedDuration, Timestamp};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use self::contacts::{DEPARTMENTS, MEMBERS, department_key, member_key, whole_department, whole_member};
use self::errcode::Errcode;
use self::quota::{CallsMax, Quota};
use self::reads::MembersLists;
use crate::deliveries;
use crate::dice::Dice;
use crate::host::Simulator;
use crate::journal::{ActorKind, Operation};
use crate::store::{Change, Note, Store};
use crate::upstream::{Delivery, Record, Upstream};
use crate::wire::{Answer, Request};

pub use self::options::{ForcedErrcode, WecomCallback, WecomOptions};

/// Wrong secrets in an hour before `gettoken` is closed, as users report.
const WRONG_SIGN_INS_MAX: usize = 2_000;

/// The simulated system.
#[derive(Debug)]
pub struct Wecom {
    options: WecomOptions,
    quota: Quota,
    dice: Dice,
    wrong_sign_ins: VecDeque<Timestamp>,
    /// Events that are being sent.
    on_their_way: BTreeSet<String>,
    members_lists: MembersLists,
}

/// A running WeCom.
pub type WecomSimulator = Simulator<Wecom>;

impl WecomSimulator {
    /// Starts it on 127.0.0.1 with the company's own department, and sends callbacks if the options give an interval.
    ///
    /// # Errors
    /// When the port is taken or the folder cannot be used.
    pub async fn start(options: WecomOptions) -> io::Result<Self> {
        let (hosting, interval) = (options.hosting.clone(), options.delivery_interval);
        let seed = options.callback.as_ref().map_or(1, |callback| callback.seed);
        let wecom = Wecom {
            options,
            quota: Quota::default(),
            dice: Dice::new(seed),
            wrong_sign_ins: VecDeque::new(),
            on_their_way: BTreeSet::new(),
            members_lists: MembersLists::default(),
        };
        let simulator = Self::host(wecom, hosting).await?;
        if let Some(interval) = interval {
            tokio::spawn(deliveries::run(simulator.shared().clone(), interval));
        }
        Ok(simulator)
    }

    /// Sends the callbacks that are due, as many at a time as the options say; answers the number of requests sent.
    pub async fn deliver_callbacks(&self) -> usize {
        deliveries::deliver_due(self.shared()).await
    }
}

impl Wecom {
    /// The company itself is always there.
    fn settle(&self, store: &mut Store, now: Timestamp) -> io::Result<()> {
        if store.rows(DEPARTMENTS).next().is_some() {
            return Ok(());
        }
        if self.options.sample {
            return sample::seed(store, now);
        }
        let root = json!({ "id": 1, "name": "根", "parentid": 0 });
        let root = whole_department(&root.as_object().cloned().unwrap_or_default());
        store.commit(now, None, vec![Change::set(DEPARTMENTS, &department_key(1), root)])
    }

    fn api(request: &Request) -> Option<String> {
        request.path.strip_prefix("/cgi-bin/").map(str::to_owned)
    }

    fn by_hand(
        &mut self,
        store: &mut Store,
        now: Timestamp,
        op: &str,
        id: &str,
        fields: &Record,
    ) -> Result<(), String> {
        self.settle(store, now).map_err(|error| error.to_string())?;
        let mut fields = fields.clone();
        let kind = match id.split_once(':') {
            Some(("user", userid)) => {
                fields.insert("userid".to_owned(), json!(userid));
                "user"
            }
            Some(("party", number)) => {
                let number: u64 = number.parse().map_err(|_| format!("{id} is no id"))?;
                fields.insert("id".to_owned(), json!(number));
                "party"
            }
            _ => return Err(format!("{id} is no id: user:zhangsan or party:10")),
        };
        fields.insert("op".to_owned(), json!(format!("{op}_{kind}")));
        self.operate(store, now, &Value::Object(fields), ActorKind::Person)
    }
}

fn id_of(record: &Record) -> String {
    match (record.get("userid").and_then(Value::as_str), record.get("id").and_then(Value::as_u64)) {
        (Some(userid), _) => format!("user:{userid}"),
        (None, id) => format!("party:{}", id.unwrap_or(0)),
    }
}

fn one_or_many<T: DeserializeOwned>(body: &Value) -> Result<Vec<T>, String> {
    let all = match body {
        Value::Array(items) => items.clone(),
        item => vec![item.clone()],
    };
    let from =
        |value| serde_json::from_value(value).map_err(|error| format!("the body does not fit: {error}"));
    all.into_iter().map(from).collect()
}

impl Upstream for Wecom {
    const NAME: &'static str = "wecom";

    fn answer(&mut self, store: &mut Store, now: Timestamp, request: &Request) -> io::Result<Answer> {
        self.settle(store, now)?;
        let Some(api) = Self::api(request) else {
            return Ok(Answer::html(404, "<html><body>404 Not Found</body></html>"));
        };
        let calls_max = CallsMax {
            minute: self.options.calls_per_minute,
            minute_is: SignedDuration::try_from(self.options.minute).unwrap_or(SignedDuration::MAX),
            hour: self.options.calls_per_hour,
        };
        if let Err(refusal) = self.quota.check(&api, now, calls_max) {
            return Ok(refusal.answer());
        }
        if api == "gettoken" {
            return self.get_token(store, now, request);
        }
        Ok(self.read(store, now, &api, request).unwrap_or_else(Errcode::answer))
    }

    fn page(&mut self, store: &mut Store, now: Timestamp, request: &Request) -> io::Result<Option<Answer>> {
        self.settle(store, now)?;
        Ok(Some(screen::answer(self, store, now, request)))
    }

    fn set_base_url(&mut self, _base_url: &str) {}

    fn empty_list(&self) -> Value {
        json!({
            "errcode": 0, "errmsg": "ok", "department": [], "department_id": [], "userlist": [], "dept_user": [],
            "next_cursor": "",
        })
    }

    fn unauthorized(&self) -> Answer {
        Errcode(40014).answer()
    }

    fn records(&self, store: &Store) -> Vec<Value> {
        store.rows(DEPARTMENTS).chain(store.rows(MEMBERS)).map(|(_, row)| row.clone()).collect()
    }

    fn record(&self, store: &Store, id: &str) -> Option<Value> {
        match id.split_once(':')? {
            ("user", userid) => contacts::member(store, userid).cloned(),
            ("party", number) => contacts::department(store, number.parse().ok()?).cloned(),
            _ => None,
        }
    }

    fn seed(&mut self, store: &mut Store, now: Timestamp, record: Record) -> io::Result<String> {
        self.settle(store, now)?;
        let id = id_of(&record);
        let (entity, change, after) = match record.get("userid").and_then(Value::as_str) {
            Some(userid) => {
                let whole = whole_member(&record);
                ("Member", Change::set(MEMBERS, &member_key(userid), whole.clone()), whole)
            }
            None => {
                let number = record.get("id").and_then(Value::as_u64).filter(|number| *number > 0);
                let number =
                    number.ok_or_else(|| io::Error::other("a department has an id, a member a userid"))?;
                let whole = whole_department(&record);
                ("Department", Change::set(DEPARTMENTS, &department_key(number), whole.clone()), whole)
            }
        };
        let note = Note {
            operation: Operation::Create,
            entity,
            record_id: id.clone(),
            actor_kind: ActorKind::Seed,
            actor: "seed".to_owned(),
            before: None,
            after: Some(after),
        };
        store.commit(now, Some(note), vec![change])?;
        Ok(id)
    }

    fn edit(&mut self, store: &mut Store, now: Timestamp, id: &str, fields: &Record) -> Result<(), String> {
        self.by_hand(store, now, "update", id, fields)
    }

    fn create(&mut self, store: &mut Store, now: Timestamp, fields: &Record) -> Result<String, String> {
        let id = id_of(fields);
        self.by_hand(store, now, "create", &id, fields)?;
        Ok(id)
    }

    fn remove(&mut self, store: &mut Store, now: Timestamp, id: &str) -> Result<(), String> {
        self.by_hand(store, now, "delete", id, &Record::new())
    }

    fn configure(&mut self, settings: &Record) -> Result<(), String> {
        self.options.configure(settings)
    }

    fn control(
        &mut self,
        store: &mut Store,
        now: Timestamp,
        method: &str,
        path: &[&str],
        body: &Value,
    ) -> Result<Value, String> {
        self.settle(store, now).map_err(|error| error.to_string())?;
        match (method, path) {
            ("POST", ["ops"]) => {
                for op in one_or_many::<Value>(body)? {
                    self.operate(store, now, &op, ActorKind::Person)?;
                }
                Ok(json!({}))
            }
            ("POST", ["events"]) => {
                let mut queued = 0;
                for event in one_or_many::<Value>(body)? {
                    queued += self.queue(store, now, &event).map_err(|error| error.to_string())?;
                }
                Ok(json!({ "queued": queued }))
            }
            ("GET", ["events"]) => Ok(Self::event_counts(store)),
            ("GET", ["check"]) => {
                self.address_check(now).ok_or_else(|| "there is no receiver, or its key is none".to_owned())
            }
            ("POST", ["errors"]) => {
                self.quota.add(one_or_many(body)?);
                Ok(json!({}))
            }
            ("DELETE", ["errors"]) => {
                self.quota.clear();
                Ok(json!({}))
            }
            ("POST", ["tokens", "end"]) => {
                Self::end_tokens(store, now).map_err(|error| error.to_string())?;
                Ok(json!({}))
            }
            (method, path) => Err(format!("no control request {method} {}", path.join("/"))),
        }
    }

    fn endpoint(&self, request: &Request) -> Option<String> {
        Self::api(request)
    }

    fn lane(&self, _store: &Store, _request: &Request) -> Option<String> {
        Some("company".to_owned())
    }

    fn lane_requests_max(&self) -> usize {
        self.options.concurrency_max
    }

    fn crowded(&mut self) -> Answer {
        Errcode(45033).answer()
    }

    fn deliveries_at_once(&self) -> usize {
        self.options.callback.as_ref().map_or(1, |callback| callback.at_once.max(1))
    }

    fn next_delivery(&mut self, store: &mut Store, now: Timestamp) -> io::Result<Option<Delivery>> {
        Ok(self.next_event(store, now))
    }

    fn settle_delivery(
        &mut self,
        store: &mut Store,
        now: Timestamp,
        delivery: &Delivery,
        status: u16,
    ) -> io::Result<()> {
        self.settle_event(store, now, delivery, status)
    }
}

//! `gettoken`: one token of each secret, the same one for as long as it lives.

use std::io;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::Wecom;
use super::errcode::{Errcode, good};
use crate::store::{Change, Store};
use crate::wire::{Answer, Request};

const TABLE: &str = "tokens";
const COUNTERS: &str = "counters";
const WINDOW: SignedDuration = SignedDuration::from_hours(1);

/// Whose secret a token was had with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holder {
    App,
    ContactSync,
}

impl Holder {
    fn name(self) -> &'static str {
        match self {
            Self::App => "app",
            Self::ContactSync => "contact_sync",
        }
    }
}

fn ends(row: &Value) -> Timestamp {
    row["ends"].as_str().and_then(|text| text.parse().ok()).unwrap_or(Timestamp::MIN)
}

impl Wecom {
    pub(super) fn get_token(
        &mut self,
        store: &mut Store,
        now: Timestamp,
        request: &Request,
    ) -> io::Result<Answer> {
        self.wrong_sign_ins.retain(|at| now.duration_since(*at) < WINDOW);
        if self.wrong_sign_ins.len() >= super::WRONG_SIGN_INS_MAX {
            return Ok(Errcode(45009).answer());
        }
        let holder = match self.signed_in(request) {
            Ok(holder) => holder,
            Err(refusal) => {
                self.wrong_sign_ins.push_back(now);
                return Ok(refusal.answer());
            }
        };
        let secret = self.secret(holder).to_owned();
        let present = store.rows(TABLE).find(|(_, row)| {
            row["holder"] == holder.name()
                && row["secret"] == secret
                && row["over"] == false
                && ends(row) > now
        });
        if let Some((token, row)) = present {
            let left = ends(row).duration_since(now).as_secs();
            return Ok(good(json!({ "access_token": token, "expires_in": left })));
        }
        let number = store.get(COUNTERS, TABLE).and_then(Value::as_u64).unwrap_or(0) + 1;
        let token =
            format!("token-{}-{number}-{:016x}{:016x}", holder.name(), self.dice.roll(), self.dice.roll());
        let life = self.options.token_seconds;
        let end = now.checked_add(SignedDuration::from_secs(life)).unwrap_or(Timestamp::MAX);
        let row =
            json!({ "holder": holder.name(), "secret": secret, "ends": end.to_string(), "over": false });
        let changes = vec![Change::set(COUNTERS, TABLE, json!(number)), Change::set(TABLE, &token, row)];
        store.commit(now, None, changes)?;
        Ok(good(json!({ "access_token": token, "expires_in": life })))
    }

    fn signed_in(&self, request: &Request) -> Result<Holder, Errcode> {
        let corp_id = request.query_value("corpid").ok_or(Errcode(41002))?;
        let secret = request.query_value("corpsecret").ok_or(Errcode(41004))?;
        if corp_id != self.options.corp_id {
            return Err(Errcode(40013));
        }
        [Holder::App, Holder::ContactSync]
            .into_iter()
            .find(|holder| self.secret(*holder) == secret)
            .ok_or(Errcode(40001))
    }

    fn secret(&self, holder: Holder) -> &str {
        match holder {
            Holder::App => &self.options.app_secret,
            Holder::ContactSync => &self.options.contact_sync_secret,
        }
    }

    /// Who calls.
    pub(super) fn holder(&self, store: &Store, now: Timestamp, request: &Request) -> Result<Holder, Errcode> {
        let token =
            request.query_value("access_token").filter(|token| !token.is_empty()).ok_or(Errcode(41001))?;
        let row = store.get(TABLE, &token).ok_or(Errcode(40014))?;
        let holder = if row["holder"] == Holder::App.name() { Holder::App } else { Holder::ContactSync };
        if row["secret"] != self.secret(holder) || row["over"] != false {
            return Err(Errcode(40014));
        }
        if ends(row) <= now {
            return Err(Errcode(42001));
        }
        Ok(holder)
    }

    /// Ends all tokens before their time, as WeCom may.
    pub(super) fn end_tokens(store: &mut Store, now: Timestamp) -> io::Result<()> {
        let over = |(token, row): (&String, &Value)| {
            let mut row = row.clone();
            row["over"] = json!(true);
            Change::set(TABLE, token, row)
        };
        let changes = store.rows(TABLE).map(over).collect();
        store.commit(now, None, changes)
    }
}

//! WeCom's refusals: status 200 and a number.

use serde_json::{Value, json};

use crate::wire::Answer;

/// A refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Errcode(pub i64);

impl Errcode {
    fn word(self) -> &'static str {
        match self.0 {
            -1 => "system busy",
            40001 => "invalid credential",
            40013 => "invalid corpid",
            40014 => "invalid access_token",
            41001 => "access_token missing",
            41002 => "corpid missing",
            41004 => "corpsecret missing",
            42001 => "access_token expired",
            45009 => "api freq out of limit",
            45033 => "api concurrent out of limit",
            48002 => "api forbidden",
            48009 => "api forbidden for contact assistant",
            60003 => "department not found",
            60004 => "parent department not found",
            60005 => "department contains user",
            60006 => "department contains sub departments",
            60007 => "root department not allowed deletion",
            60008 => "department existed",
            60010 => "department cyclic",
            60011 => "no privilege to access/modify contact/party/agent",
            60020 => "not allow to access from your ip",
            60102 => "userid existed",
            60111 => "userid not found",
            60123 => "invalid department id",
            _ => "error",
        }
    }

    /// What stands in `errmsg`.
    pub(super) fn text(self) -> String {
        let code = self.0;
        format!(
            "{}, hint: [1792000000123456789012345], from ip: 127.0.0.1, more info at \
             https://open.work.weixin.qq.com/devtool/query?e={code}",
            self.word()
        )
    }

    pub(super) fn answer(self) -> Answer {
        Answer::json(200, &json!({ "errcode": self.0, "errmsg": self.text() }))
    }

    /// As what is said to a person.
    pub(super) fn said(self) -> String {
        format!("{} ({})", self.word(), self.0)
    }
}

/// A good answer with these members beside `errcode`.
pub(super) fn good(members: Value) -> Answer {
    let mut body = json!({ "errcode": 0, "errmsg": "ok" });
    if let (Some(body), Value::Object(members)) = (body.as_object_mut(), members) {
        body.extend(members);
    }
    Answer::json(200, &body)
}

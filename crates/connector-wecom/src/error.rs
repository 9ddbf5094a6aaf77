//! WeCom's errors: a number in an answer with status 200. The one place that reads them.
//!
//! Source: "全局错误码" in <https://developer.work.weixin.qq.com/document/path/90313>.

use std::time::Duration;

use http_client::{Answer, Redactor, codes};
use serde::Deserialize;
use serde_json::Value;
use shared::fault::{Fault, FaultKind};

/// Code of the fault where an interface is closed to the secret: another one, or another interface, may help.
pub const FORBIDDEN: &str = "api_forbidden";

/// What an answer says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// `errcode`; 0 where it is missing.
    pub(crate) code: i64,
    /// `errmsg`, for a person: prose with a hint and our address, without secrets.
    pub(crate) said: String,
}

/// What is not there for us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    Gone,
    Invisible,
}

#[derive(Deserialize)]
struct WireVerdict {
    #[serde(default)]
    errcode: Value,
    #[serde(default)]
    errmsg: Value,
}

/// Reads whether an answer is a success. `redactor` knows what the request carried.
pub(crate) fn verdict(answer: &Answer, redactor: &Redactor) -> Result<Verdict, Fault> {
    if let Some(fault) = answer.common_fault() {
        return Err(fault);
    }
    if !answer.is_success() {
        let text = format!(
            "{} was answered with status {}, not by WeCom; check the address in the settings.",
            answer.operation(),
            answer.status()
        );
        return Err(answer.fault(FaultKind::Retryable { after: None }, "not_wecom", text));
    }
    let wire: WireVerdict = answer.json()?;
    // A list would be read as a record whose fields are all absent.
    if !answer.body().trim_ascii_start().starts_with(b"{") {
        return Err(answer.unreadable("JSON that is no record"));
    }
    let code = match &wire.errcode {
        Value::Null => Some(0),
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    let code = code.ok_or_else(|| answer.unreadable("an errcode that is no number"))?;
    Ok(Verdict { code, said: redactor.excerpt(wire.errmsg.as_str().unwrap_or_default().as_bytes()) })
}

/// Whether the token is no longer good: another one, once.
pub(crate) fn is_of_the_token(code: i64) -> bool {
    matches!(code, 40014 | 42001)
}

/// Whether WeCom is busy: again at once, a few times.
pub(crate) fn is_busy(code: i64) -> bool {
    code == -1
}

/// Whether the credentials or the settings at WeCom are refused: nothing gets better by asking again.
pub(crate) fn is_of_the_settings(code: i64) -> bool {
    matches!(code, 40001 | 40013 | 40091 | 41001..=41004 | 60020)
}

/// Whether what the call names is not there, or not there for us. Only a call that names something can say so.
pub(crate) fn missing(code: i64) -> Option<Missing> {
    match code {
        60003 | 60123 | 60111 | 40003 | 46004 => Some(Missing::Gone),
        60011 | 50002 => Some(Missing::Invisible),
        _ => None,
    }
}

/// Whether the interface is closed to this secret, whoever is asked for.
pub(crate) fn is_forbidden(code: i64) -> bool {
    matches!(code, 48002 | 48009 | 50003)
}

/// The fault of an answer that asks for fewer calls; its interface waits so long.
pub(crate) fn throttled(answer: &Answer, verdict: &Verdict, after: Duration) -> Fault {
    let seconds = after.as_secs_f64().ceil();
    let text = format!(
        "WeCom asks for fewer calls of {} ({}); they wait {seconds} s. Where this goes on, lower requests_per_second, and look \
         at what else the company calls.",
        answer.operation(),
        or_code(verdict)
    );
    answer.fault(FaultKind::Throttled { after }, codes::THROTTLED, text)
}

/// The fault that an errcode means; 0 means none.
pub(crate) fn fault(answer: &Answer, verdict: &Verdict) -> Fault {
    let (operation, why) = (answer.operation(), or_code(verdict));
    let permanent = |code: &'static str, text: String| answer.fault(FaultKind::Permanent, code, text);
    match verdict.code {
        code if is_busy(code) => {
            let text = format!("WeCom is busy at {operation} ({why}); tried again later.");
            answer.fault(FaultKind::Retryable { after: None }, "busy", text)
        }
        code if is_of_the_token(code) => {
            let text = format!(
                "WeCom refuses the access token at {operation}, and a new one as well ({why}). If this goes on, check that \
                 nobody has changed the secret at WeCom."
            );
            answer.fault(FaultKind::Unauthorized, "token_refused", text)
        }
        60020 => {
            let text = format!(
                "WeCom does not take calls from this address ({why}). Add the address that it names to the trusted IPs of \
                 the app (or of the contact sync) whose secret this is."
            );
            answer.fault(FaultKind::Unauthorized, "address_not_trusted", text)
        }
        code if is_of_the_settings(code) => {
            let text = format!(
                "WeCom refuses corp id or secret at {operation} ({why}). Check corp_id, app_secret and \
                 contact_sync_secret in the settings; each secret stands in the console at its app, that of the contact \
                 sync under its own tool."
            );
            answer.fault(FaultKind::Unauthorized, "sign_in_refused", text)
        }
        code if is_forbidden(code) => permanent(FORBIDDEN, forbidden(operation, &why)),
        60011 | 50002 => permanent(
            "out_of_scope",
            format!(
                "What {operation} is about is outside of the app's visible scope ({why}). Widen the scope at WeCom, to the \
                 whole company as a rule; nothing counts as deleted by this."
            ),
        ),
        60003 | 60123 => permanent(
            "department_unknown",
            format!("The department of {operation} is not there at WeCom, or not yet ({why})."),
        ),
        60111 | 40003 | 46004 => {
            permanent("member_unknown", format!("The member of {operation} is not there at WeCom ({why})."))
        }
        40031 | 40066 | 60004 | 60124 => permanent(
            "list_refused",
            format!("WeCom refuses {operation}: a list in it names something unknown ({why})."),
        ),
        _ => permanent("request_refused", format!("WeCom refuses {operation}: {why}.")),
    }
}

/// What a secret may not do, with the two dates that explain it.
fn forbidden(operation: &str, why: &str) -> String {
    format!(
        "WeCom does not permit {operation} to this secret ({why}). From an address added since 2022-08-15 the contact sync's \
         secret reads ids only, and an app's secret reads no complete lists of ids: set both app_secret (a self-built app whose \
         visible scope is the whole company) and contact_sync_secret. Fields that apps made since 2022-06-20 do not get stay \
         absent. A disabled app (50003) is enabled in WeCom's console."
    )
}

fn or_code(verdict: &Verdict) -> String {
    match verdict.said.trim_end_matches('.') {
        "" => format!("errcode {}", verdict.code),
        said => format!("errcode {}, \"{said}\"", verdict.code),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    fn redactor() -> Redactor {
        Redactor::new(vec!["t0ken-of-ours".to_owned().into()])
    }

    fn check(code: i64, kind: &str, word: &str, says: &str) {
        let answer = fixtures::error(code, "some words, hint: [h], from ip: 1.2.3.4, more info at https://x");
        let verdict = verdict(&answer, &redactor()).unwrap();
        let fault = fault(&answer, &verdict);
        assert_eq!((fault.kind.name(), fault.code), (kind, word), "{code}");
        assert!(fault.text.contains(says), "{code}: {}", fault.text);
        assert!(fault.text.contains(&code.to_string()) && fault.text.contains("1.2.3.4"), "{}", fault.text);
    }

    #[test]
    fn every_error_of_the_table_has_its_fault() {
        check(-1, "retryable", "busy", "later");
        for code in [40001, 40013, 40091, 41001, 41002, 41003, 41004] {
            check(code, "unauthorized", "sign_in_refused", "corp_id");
        }
        for code in [40014, 42001] {
            check(code, "unauthorized", "token_refused", "new one");
        }
        check(60020, "unauthorized", "address_not_trusted", "trusted IPs");
        for code in [48002, 48009, 50003] {
            check(code, "permanent", "api_forbidden", "2022-08-15");
        }
        for code in [60011, 50002] {
            check(code, "permanent", "out_of_scope", "scope");
        }
        for code in [60003, 60123] {
            check(code, "permanent", "department_unknown", "not there");
        }
        for code in [60111, 40003, 46004] {
            check(code, "permanent", "member_unknown", "not there");
        }
        for code in [40031, 40066, 60004, 60124] {
            check(code, "permanent", "list_refused", "unknown");
        }
        for code in [60102, 60104, 60106, 60008, 60005, 60006, 60007, 60010, 1, 99_999] {
            check(code, "permanent", "request_refused", "refuses");
        }
    }

    #[test]
    fn an_errcode_may_be_missing_or_a_text() {
        let code = |body: &str| verdict(&fixtures::answer(body), &redactor()).map(|verdict| verdict.code);
        assert_eq!(code("{}"), Ok(0));
        assert_eq!(code(r#"{"errcode":0,"errmsg":"ok"}"#), Ok(0));
        assert_eq!(code(r#"{"errcode":"60111"}"#), Ok(60111));
        assert_eq!(code(r#"{"errcode":null,"errmsg":7}"#), Ok(0));
        for bad in [r#"{"errcode":[]}"#, r#"{"errcode":"x"}"#, r#"{"errcode":1.5}"#, "[]", "", "<html>", "{"]
        {
            let fault = code(bad).unwrap_err();
            assert_eq!((fault.kind.name(), fault.code), ("retryable", "answer_unreadable"), "{bad}");
        }
    }

    #[test]
    fn what_is_not_wecom_is_said_so() {
        let answer = |status| {
            Answer::recorded("wecom", "GET user/get", status, &[("Content-Type", "text/html")], "<h1>")
        };
        let fault = |status| verdict(&answer(status), &redactor()).unwrap_err();
        assert_eq!((fault(404).kind.name(), fault(404).code), ("retryable", "not_wecom"));
        assert_eq!(fault(502).code, "upstream_failed");
        assert_eq!(fault(200).code, "answer_unreadable");
        assert_eq!(fault(302).code, "redirected");
    }

    #[test]
    fn what_wecom_says_shows_no_secrets() {
        let said = "invalid t0ken-of-ours, access_token=short, and AbCdEfGhIjKlMnOpQrStUvWxYz0123456789";
        let answer = fixtures::error(40014, said);
        let verdict = verdict(&answer, &redactor()).unwrap();
        let text = format!("{:?}", fault(&answer, &verdict));
        for secret in ["t0ken-of-ours", "short", "AbCdEf"] {
            assert!(!text.contains(secret), "{text}");
        }
        assert!(text.contains("invalid ***"), "{text}");
    }

    #[test]
    fn what_is_not_there_is_gone_or_invisible() {
        for code in [60003, 60123, 60111, 40003, 46004] {
            assert_eq!(missing(code), Some(Missing::Gone), "{code}");
        }
        for code in [60011, 50002] {
            assert_eq!(missing(code), Some(Missing::Invisible), "{code}");
        }
        for code in [0, -1, 48009, 60020, 40014] {
            assert_eq!(missing(code), None, "{code}");
        }
    }
}

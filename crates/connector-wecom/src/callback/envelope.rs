//! The envelope of an event: who it is for, and what is encrypted. XML, or JSON where an app is set so.

use serde::Deserialize;
use serde_json::Value;

use super::Refusal;
use super::xml;

/// Longest body that is read, in bytes: an event of a tag with its 1,000 members has some 100,000.
pub const BODY_BYTES_MAX: usize = 1024 * 1024;

/// An envelope; nothing of it is verified but what is encrypted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Envelope {
    pub(crate) to: Option<String>,
    pub(crate) agent_id: Option<String>,
    pub(crate) encrypted: String,
    pub(crate) format: Format,
}

/// How an envelope is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// As a rule.
    Xml,
    /// Some kinds of apps can be set so.
    Json,
}

#[derive(Deserialize)]
struct WireEnvelope {
    tousername: Option<Value>,
    agentid: Option<Value>,
    encrypt: Option<Value>,
}

/// Reads a body, bounded before anything is parsed.
pub(crate) fn read(body: &[u8]) -> Result<Envelope, Refusal> {
    if body.len() > BODY_BYTES_MAX {
        return Err(Refusal::TooLarge("the body"));
    }
    let text = std::str::from_utf8(body).map_err(|_| Refusal::Body("it is no UTF-8"))?;
    if text.trim_start_matches('\u{feff}').trim_start().starts_with('{') {
        read_json(text.trim_start_matches('\u{feff}'))
    } else {
        read_xml(text)
    }
}

fn read_xml(text: &str) -> Result<Envelope, Refusal> {
    let root = xml::read(text).map_err(Refusal::Body)?;
    if root.name != "xml" {
        return Err(Refusal::Body("its root is not xml"));
    }
    let mut encrypted = root.children.iter().filter(|child| child.name == "Encrypt");
    match (encrypted.next(), encrypted.next()) {
        (Some(one), None) => Ok(Envelope {
            to: root.text_of("ToUserName").map(str::to_owned),
            agent_id: root.text_of("AgentID").filter(|id| !id.is_empty()).map(str::to_owned),
            encrypted: one.text.trim().to_owned(),
            format: Format::Xml,
        }),
        (None, _) => Err(Refusal::Body("it has no Encrypt")),
        (Some(_), Some(_)) => Err(Refusal::Body("it has two Encrypt")),
    }
}

fn read_json(text: &str) -> Result<Envelope, Refusal> {
    let wire: WireEnvelope =
        serde_json::from_str(text).map_err(|_| Refusal::Body("it is no envelope in JSON"))?;
    let word = |value: Option<Value>| match value {
        Some(Value::String(text)) => Some(text),
        Some(Value::Number(number)) => Some(number.to_string()),
        _ => None,
    };
    Ok(Envelope {
        to: word(wire.tousername),
        agent_id: word(wire.agentid).filter(|id| !id.is_empty()),
        encrypted: word(wire.encrypt).ok_or(Refusal::Body("it has no encrypt"))?,
        format: Format::Json,
    })
}

/// Writes a body.
pub(crate) fn write(envelope: &Envelope) -> String {
    let (to, agent) =
        (envelope.to.as_deref().unwrap_or_default(), envelope.agent_id.as_deref().unwrap_or_default());
    match envelope.format {
        Format::Xml => format!(
            "<xml><ToUserName>{}</ToUserName><Encrypt>{}</Encrypt><AgentID>{}</AgentID></xml>",
            xml::cdata(to),
            xml::cdata(&envelope.encrypted),
            xml::cdata(agent)
        ),
        Format::Json => {
            serde_json::json!({"tousername": to, "encrypt": envelope.encrypted, "agentid": agent}).to_string()
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(body: &str, to: Option<&str>, agent_id: Option<&str>, format: Format) {
        let expected = Envelope {
            to: to.map(str::to_owned),
            agent_id: agent_id.map(str::to_owned),
            encrypted: "abc=".to_owned(),
            format,
        };
        assert_eq!(read(body.as_bytes()), Ok(expected), "{body}");
    }

    #[test]
    fn both_formats_in_any_order() {
        check(
            "<xml><ToUserName><![CDATA[ww1]]></ToUserName><Encrypt><![CDATA[abc=]]></Encrypt><AgentID><![CDATA[]]></AgentID></xml>",
            Some("ww1"),
            None,
            Format::Xml,
        );
        check(
            "<xml><AgentID>218</AgentID>\n<New><A/></New><Encrypt>\nabc=\n</Encrypt></xml>",
            None,
            Some("218"),
            Format::Xml,
        );
        check(
            r#"{"encrypt":"abc=","agentid":218,"tousername":"ww1"}"#,
            Some("ww1"),
            Some("218"),
            Format::Json,
        );
        check("\u{feff} {\"encrypt\":\"abc=\",\"new\":[]}", None, None, Format::Json);
    }

    #[test]
    fn what_is_none_is_refused() {
        for bad in [
            "",
            "{not xml",
            "{}",
            r#"{"encrypt":null}"#,
            r#"{"encrypt":["abc="]}"#,
            "[]",
            "<xml/>",
            "<html><Encrypt>abc=</Encrypt></html>",
            "<xml><a><Encrypt>abc=</Encrypt></a></xml>",
            "<xml><Encrypt>abc=</Encrypt><Encrypt>abd=</Encrypt></xml>",
        ] {
            assert_eq!(read(bad.as_bytes()).unwrap_err().name(), "body", "{bad}");
        }
        assert_eq!(read(b"<xml>\xff</xml>").unwrap_err().name(), "body");
    }

    #[test]
    fn ten_megabytes_are_refused_before_they_are_parsed() {
        for filling in ["<a>", "{\"a\":", "<a b='1' ", "&#65;", "\u{4e2d}"] {
            let body = filling.repeat(10 * 1024 * 1024 / filling.len());
            assert_eq!(read(body.as_bytes()), Err(Refusal::TooLarge("the body")), "{filling}");
        }
    }

    #[test]
    fn attributes_cost_no_more_than_their_length() {
        // As many as fit: a check of each against each would take minutes.
        let attributes: String = (0..90_000).map(|i| format!(" a{i}=''")).collect();
        let body = format!("<xml{attributes}><Encrypt>abc=</Encrypt></xml>");
        assert!(body.len() < BODY_BYTES_MAX);
        assert_eq!(read(body.as_bytes()).unwrap().encrypted, "abc=");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(to in "[a-z0-9]{0,20}", agent in "[0-9]{1,8}", encrypted in "[A-Za-z0-9+/=]{1,60}", json: bool) {
            let format = if json { Format::Json } else { Format::Xml };
            let envelope = Envelope { to: Some(to), agent_id: Some(agent), encrypted, format };
            prop_assert_eq!(read(write(&envelope).as_bytes()), Ok(envelope));
        }

        #[test]
        fn no_body_makes_it_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&body);
        }
    }
}

//! A callback as it is kept until it is passed on: a line of JSON with what came beside the body, and the body as it came.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use shared::forward::CONTENT_BYTES_MAX;
use shared::record_key::{FlowName, RecordKey};

/// A callback.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Callback {
    /// The query as it came, without the question mark.
    pub query: String,
    /// `Content-Type`.
    pub content_type: Option<String>,
    /// The body.
    pub body: Bytes,
}

/// Why a callback is not passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a callback of {0} bytes is not passed on, at most {CONTENT_BYTES_MAX} are")]
pub struct TooLong(usize);

#[derive(Serialize, Deserialize)]
struct Beside {
    v: u32,
    query: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    content_type: Option<String>,
}

/// The form of what is kept.
const VERSION: u32 = 1;

impl Callback {
    /// The record that stands for it in the flow of a receiver: the same callback has the same one.
    pub fn key(&self, flow: &FlowName) -> Option<RecordKey> {
        let mut hash = Sha256::new_with_prefix(u64::try_from(self.query.len()).ok()?.to_be_bytes());
        hash.update(&self.query);
        hash.update(&self.body);
        RecordKey::new(flow.clone(), hex::encode(hash.finalize())).ok()
    }

    /// As it is kept.
    ///
    /// # Errors
    /// [`TooLong`].
    pub fn write(&self) -> Result<Bytes, TooLong> {
        let beside =
            Beside { v: VERSION, query: self.query.clone(), content_type: self.content_type.clone() };
        // Serialising texts cannot fail.
        let mut content = serde_json::to_vec(&beside).unwrap_or_default();
        content.push(b'\n');
        content.extend_from_slice(&self.body);
        if content.len() > CONTENT_BYTES_MAX {
            return Err(TooLong(self.body.len()));
        }
        Ok(content.into())
    }

    /// Reads what is kept; none where this version has not written it.
    pub fn read(content: &[u8]) -> Option<Self> {
        let end = content.iter().position(|byte| *byte == b'\n')?;
        let (line, rest) = content.split_at(end);
        let beside: Beside = serde_json::from_slice(line).ok()?;
        if beside.v != VERSION {
            return None;
        }
        let body = Bytes::copy_from_slice(rest.get(1..)?);
        Some(Self { query: beside.query, content_type: beside.content_type, body })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn callback(query: &str, body: &'static [u8]) -> Callback {
        Callback { query: query.to_owned(), content_type: None, body: Bytes::from_static(body) }
    }

    #[test]
    fn the_same_callback_is_the_same_record_and_another_one_is_not() {
        let flow = FlowName::new("relay_oa").unwrap();
        let key = |query, body| callback(query, body).key(&flow).unwrap();
        assert_eq!(key("a=1", b"x"), key("a=1", b"x"));
        assert_eq!(key("a=1", b"x").id().len(), 64);
        for other in [key("a=2", b"x"), key("a=1", b"y"), key("a=", b"1x"), key("a=1x", b"")] {
            assert_ne!(key("a=1", b"x"), other);
        }
    }

    #[test]
    fn what_is_too_long_is_not_kept() {
        let body = vec![b'x'; CONTENT_BYTES_MAX];
        let long = Callback { body: body.into(), ..callback("a=1", b"") };
        assert!(long.write().unwrap_err().to_string().contains("not passed on"));
        let fits = vec![b'x'; CONTENT_BYTES_MAX - 100];
        assert!(Callback { body: fits.into(), ..callback("a=1", b"") }.write().is_ok());
    }

    #[test]
    fn what_is_not_ours_is_not_read() {
        for content in [&b""[..], b"\n", b"{}\n", b"{\"v\":2,\"query\":\"\"}\nx", b"{\"v\":1,\"query\":\"\"}"]
        {
            assert_eq!(Callback::read(content), None, "{content:?}");
        }
    }

    proptest! {
        #[test]
        fn it_comes_back_to_the_byte(
            query in "\\PC{0,60}", kind in prop::option::of("[a-z/;= ]{0,30}"), body in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let callback = Callback { query, content_type: kind, body: body.into() };
            prop_assert_eq!(Callback::read(&callback.write().unwrap()), Some(callback));
        }

        #[test]
        fn nothing_kept_makes_it_panic(content in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = Callback::read(&content);
        }
    }
}

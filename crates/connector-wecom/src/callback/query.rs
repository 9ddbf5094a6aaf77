//! The query of a callback.

use url::form_urlencoded;

use super::Refusal;

/// Longest query that is read, in bytes.
pub const QUERY_BYTES_MAX: usize = 16 * 1024;

/// What the query of a callback says; other parameters are left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    /// `msg_signature`.
    pub msg_signature: Option<String>,
    /// `timestamp`, as text: it is signed so.
    pub timestamp: Option<String>,
    /// `nonce`.
    pub nonce: Option<String>,
    /// `echostr`, in the check of the address only.
    pub echostr: Option<String>,
}

impl Query {
    /// Reads a query, percent-decoded once. A `+` stays one: `echostr` is base64, and forms would make it a blank.
    ///
    /// # Errors
    /// [`Refusal::TooLarge`], and [`Refusal::Query`] where a parameter is there twice.
    pub fn parse(query: &str) -> Result<Self, Refusal> {
        if query.len() > QUERY_BYTES_MAX {
            return Err(Refusal::TooLarge("the query"));
        }
        let mut read = Self::default();
        let encoded = query.replace('+', "%2B");
        for (name, value) in form_urlencoded::parse(encoded.as_bytes()) {
            let field = match name.as_ref() {
                "msg_signature" => &mut read.msg_signature,
                "timestamp" => &mut read.timestamp,
                "nonce" => &mut read.nonce,
                "echostr" => &mut read.echostr,
                _ => continue,
            };
            if field.replace(value.into_owned()).is_some() {
                return Err(Refusal::Query("a parameter is there twice"));
            }
        }
        Ok(read)
    }

    /// Of the query of an event, what is signed or signs, as it came. All else is nobody's word: whoever has seen a callback
    /// can add to it.
    pub fn signed_part(query: &str) -> String {
        let is_kept = |pair: &&str| {
            let name = form_urlencoded::parse(pair.as_bytes()).next().map(|(name, _)| name);
            name.is_some_and(|name| ["msg_signature", "timestamp", "nonce"].contains(&name.as_ref()))
        };
        query.split('&').filter(is_kept).collect::<Vec<_>>().join("&")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_signed_stays_as_it_came_and_all_else_goes() {
        for (query, kept) in [
            ("msg_signature=a&timestamp=1&nonce=%6e%2B", "msg_signature=a&timestamp=1&nonce=%6e%2B"),
            ("key=s&nonce=1&&echostr=x&msg%5Fsignature=a&", "nonce=1&msg%5Fsignature=a"),
            ("", ""),
            ("nonces=1&Nonce=1&=nonce", ""),
        ] {
            assert_eq!(Query::signed_part(query), kept, "{query}");
        }
    }

    #[test]
    fn values_are_decoded_once_and_a_plus_stays_one() {
        let read =
            Query::parse("company=1&msg_signature=a&timestamp=1&nonce=n%252B&echostr=a+b%2Bc%2F%3D%3D")
                .unwrap();
        assert_eq!(read.echostr.as_deref(), Some("a+b+c/=="));
        assert_eq!(read.nonce.as_deref(), Some("n%2B"));
        assert_eq!(Query::parse("").unwrap(), Query::default());
    }

    #[test]
    fn what_is_ambiguous_or_endless_is_refused() {
        assert_eq!(Query::parse("nonce=1&nonce=1").unwrap_err().name(), "query");
        let long = format!("nonce={}", "1".repeat(QUERY_BYTES_MAX));
        assert_eq!(Query::parse(&long).unwrap_err().status(), 413);
    }

    proptest! {
        #[test]
        fn whatever_was_encoded_comes_back(value in "\\PC{0,60}") {
            let encoded = form_urlencoded::Serializer::new(String::new()).append_pair("echostr", &value).finish();
            // A form writes a blank as a plus, which senders of callbacks do not.
            let encoded = encoded.replace('+', "%20");
            prop_assert_eq!(Query::parse(&encoded).unwrap().echostr, Some(value));
        }

        #[test]
        fn no_query_makes_it_panic(query in "\\PC{0,200}") {
            let _ = Query::parse(&query);
        }
    }
}

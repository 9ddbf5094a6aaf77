//! Ids of events that a client chooses: the same for the same create, so that repeating it is harmless.

use sha2::{Digest as _, Sha256};

/// What Google takes in an id: base32hex in lower case.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";

/// An id for an event that is not there yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventId(String);

impl EventId {
    /// The id of what these parts name, in this order. Unique in a calendar for ever: also a deleted event keeps it.
    pub fn of(parts: &[&str]) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            // With its length, so that no two lists of parts are one text.
            hash.update(part.len().to_be_bytes());
            hash.update(part.as_bytes());
        }
        Self(base32hex(&hash.finalize()))
    }

    /// The id.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn base32hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 8 / 5 + 1);
    let (mut held, mut bits) = (0_u32, 0_u32);
    let mut push = |index: u32| text.push(char::from(ALPHABET[(index & 31) as usize]));
    for byte in bytes {
        held = ((held << 8) | u32::from(*byte)) & 0xffff;
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            push(held >> bits);
        }
    }
    if bits > 0 {
        push(held << (5 - bits));
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_encoding_is_the_standard_s() {
        // RFC 4648, section 10, in lower case and without padding.
        for (plain, encoded) in
            [("", ""), ("f", "co"), ("fo", "cpng"), ("foo", "cpnmu"), ("foobar", "cpnmuoj1e8")]
        {
            assert_eq!(base32hex(plain.as_bytes()), encoded);
        }
    }

    #[test]
    fn the_same_create_has_the_same_id_and_no_other_one() {
        let id = EventId::of(&["calendar", "Meeting", "1"]);
        assert_eq!(id, EventId::of(&["calendar", "Meeting", "1"]));
        assert_ne!(id, EventId::of(&["calendar", "Meeting1"]));
        assert_ne!(id, EventId::of(&["calendar", "Meetin", "g1"]));
    }

    proptest! {
        #[test]
        fn every_id_is_one_that_google_takes(parts in prop::collection::vec("\\PC{0,20}", 0..4)) {
            let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
            let id = EventId::of(&parts);
            prop_assert_eq!(id.as_str().len(), 52);
            prop_assert!(id.as_str().bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'v').contains(&b)));
        }
    }
}

//! What dead letters that failed alike have in common. Pure.

use serde::{Deserialize, Serialize};
use shared::dead_letter::{DeadLetter, Reason};
use shared::fault::cut;
use shared::record_key::FlowName;
use uuid::Uuid;

/// What stands for the flow of a message that could not be read.
pub const UNKNOWN_FLOW: &str = "unknown";
/// Longest text of a signature, in characters.
const TEXT_CHARS_MAX: usize = 120;
/// Words of at least so many characters that hold a digit are ids.
const ID_CHARS_MIN: usize = 6;

/// What dead letters that failed alike have in common.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Signature {
    /// The flow, or [`UNKNOWN_FLOW`].
    pub flow: String,
    /// Why they are dead.
    pub reason: Reason,
    /// The fault's code.
    pub code: String,
    /// The fault's text without what differs from one record to the next: numbers, ids, quoted values.
    pub text: String,
}

impl Signature {
    /// The signature of a letter.
    pub fn of(letter: &DeadLetter) -> Self {
        Self {
            flow: letter.flow.as_ref().map_or(UNKNOWN_FLOW, FlowName::as_str).to_owned(),
            reason: letter.reason,
            code: letter.code.clone(),
            text: match &letter.key {
                Some(key) => normalised(&letter.text.replace(key.id(), "0")),
                None => normalised(&letter.text),
            },
        }
    }

    /// The short name of the group: twelve hexadecimal digits.
    pub fn group(&self) -> String {
        let name = format!("{}\n{}\n{}\n{}", self.flow, self.reason.name(), self.code, self.text);
        let id = Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes());
        id.simple().to_string().chars().take(12).collect()
    }
}

/// The text without what differs from one record to the next.
fn normalised(text: &str) -> String {
    let mut found = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next().filter(|_| found.len() < 4 * TEXT_CHARS_MAX) {
        let is_apostrophe = found.chars().next_back().is_some_and(char::is_alphanumeric);
        let length = match first {
            '"' | '\'' | '„' | '“' | '«' if !is_apostrophe => quoted_bytes(rest, first),
            _ => None,
        };
        if let Some(bytes) = length {
            found.push('…');
            rest = rest.get(bytes..).unwrap_or_default();
            continue;
        }
        let word = rest.find(|c: char| !is_of_word(c)).unwrap_or(rest.len());
        let (part, after) = rest.split_at(if word == 0 { first.len_utf8() } else { word });
        found.push_str(&plain(part));
        rest = after;
    }
    cut(&found, TEXT_CHARS_MAX)
}

fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() || c == '-' || c == '_'
}

/// Bytes of a quotation at the beginning, its marks included.
fn quoted_bytes(text: &str, mark: char) -> Option<usize> {
    let end = match mark {
        '„' => '“',
        '“' => '”',
        '«' => '»',
        same => same,
    };
    let inner = text.get(mark.len_utf8()..)?;
    inner.find(end).map(|at| mark.len_utf8() + at + end.len_utf8())
}

/// A word as it is, or `#` where it is a number or an id.
fn plain(word: &str) -> String {
    let is_number = word.starts_with(|c: char| c.is_ascii_digit());
    let is_id = word.chars().count() >= ID_CHARS_MIN && word.contains(|c: char| c.is_ascii_digit());
    if is_number || is_id { "#".to_owned() } else { word.to_owned() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_differs_from_one_record_to_the_next_is_left_out() {
        for (text, expected) in [
            ("rechtsform: no such option", "rechtsform: no such option"),
            ("party 4711 was refused", "party # was refused"),
            ("the name \"Ann O'Hara\" is too long", "the name … is too long"),
            ("record 6b00526cc80a09e94 of 2026-11-20 is gone", "record # of # is gone"),
            ("field strasse2 of parties:0192f0c1-2b7e is „Haupt 1“", "field # of parties:# is …"),
            ("it's 5 o'clock", "it's # o'clock"),
            ("HTTP 500 (v1.2)", "HTTP # (v1.#)"),
        ] {
            assert_eq!(normalised(text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_has_a_signature_of_bounded_length(text in ".{0,400}") {
            prop_assert!(normalised(&text).chars().count() <= TEXT_CHARS_MAX);
        }

        #[test]
        fn numbers_do_not_part_a_group(one in 0u32.., other in 0u32..) {
            let of = |n: u32| normalised(&format!("the party {n} has no {n}th address"));
            prop_assert_eq!(of(one), of(other));
        }
    }
}

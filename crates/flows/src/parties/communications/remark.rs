//! The remark of a Kommunikation: our mark, and the user's own text. Pure.
//!
//! `[ESPOCRM:<base64 of the value>:<kommKz>] text`, and `[ESPOCRM-SLOT:<kommKz>] text` for an entry that is free.
//! The value is kept readable rather than hashed: where it was changed in Advoware, the mark still tells the old one.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

const VALUE: &str = "[ESPOCRM:";
const SLOT: &str = "[ESPOCRM-SLOT:";
/// What a mark that people have damaged is still known by.
const TRACE: &str = "ESPOCRM";
const KINDS: std::ops::RangeInclusive<u8> = 1..=12;

/// What a remark says about its entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mark {
    /// Nothing.
    None,
    /// There was a mark, and it cannot be read any more: as if there were none.
    Damaged,
    /// The value that both sides agreed on, as EspoCRM held it.
    Value {
        /// The value.
        value: String,
        /// `kommKz`.
        kind: u8,
    },
    /// Emptied, and free for another value.
    Slot {
        /// `kommKz`.
        kind: u8,
    },
}

/// A remark in its two parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    /// Ours.
    pub mark: Mark,
    /// The user's.
    pub text: String,
}

/// Takes a remark apart. The first readable mark counts, wherever it stands; further ones, and closed ones that
/// cannot be read, are no text of a user's.
pub fn read(remark: &str) -> Remark {
    let mut mark = Mark::None;
    let mut pieces = Vec::new();
    let mut rest = remark;
    let mut piece_start = rest;
    while let Some(at) = rest.find('[') {
        let block = &rest[at..];
        let Some(length) = length(block) else {
            rest = &block[1..];
            continue;
        };
        pieces.push(&piece_start[..piece_start.len() - block.len()]);
        match parse(&block[..length]) {
            Some(found) if matches!(mark, Mark::None | Mark::Damaged) => mark = found,
            Some(_) => {}
            None if mark == Mark::None => mark = Mark::Damaged,
            None => {}
        }
        rest = &block[length..];
        piece_start = rest;
    }
    pieces.push(piece_start);
    let pieces: Vec<&str> = pieces.into_iter().map(str::trim).filter(|piece| !piece.is_empty()).collect();
    let text = pieces.join(" ");
    if mark == Mark::None && text.contains(TRACE) {
        mark = Mark::Damaged;
    }
    Remark { mark, text }
}

/// The length of a closed mark, readable or not, at the start of `text`.
fn length(text: &str) -> Option<usize> {
    let start = [VALUE, SLOT].into_iter().find(|start| text.starts_with(start))?;
    let inside = &text[start.len()..];
    let end = inside.find(|c: char| c == ']' || c == '[' || c.is_whitespace())?;
    inside[end..].starts_with(']').then_some(start.len() + end + 1)
}

fn parse(block: &str) -> Option<Mark> {
    let kind =
        |text: &str| text.parse::<u8>().ok().filter(|kind| KINDS.contains(kind) && !text.starts_with('+'));
    let block = block.strip_suffix(']')?;
    if let Some(text) = block.strip_prefix(SLOT) {
        return Some(Mark::Slot { kind: kind(text)? });
    }
    let (coded, text) = block.strip_prefix(VALUE)?.rsplit_once(':')?;
    let value = String::from_utf8(STANDARD.decode(coded).ok()?).ok()?;
    (!value.trim().is_empty()).then_some(Mark::Value { value, kind: kind(text)? })
}

/// Puts a remark together.
pub fn write(mark: &Mark, text: &str) -> String {
    let mark = match mark {
        Mark::None | Mark::Damaged => String::new(),
        Mark::Value { value, kind } => format!("{VALUE}{}:{kind}]", STANDARD.encode(value)),
        Mark::Slot { kind } => format!("{SLOT}{kind}]"),
    };
    let parts: Vec<&str> = [mark.as_str(), text].into_iter().filter(|part| !part.is_empty()).collect();
    parts.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn value(value: &str, kind: u8) -> Mark {
        Mark::Value { value: value.to_owned(), kind }
    }

    fn check(remark: &str, mark: Mark, text: &str) {
        assert_eq!(read(remark), Remark { mark, text: text.to_owned() }, "{remark}");
    }

    #[test]
    fn a_mark_is_read_wherever_it_stands() {
        let max = STANDARD.encode("max@example.com");
        check(&format!("[ESPOCRM:{max}:4] Sekretariat"), value("max@example.com", 4), "Sekretariat");
        check(&format!("Büro [ESPOCRM:{max}:4]  [intern]"), value("max@example.com", 4), "Büro [intern]");
        check("[ESPOCRM-SLOT:3]", Mark::Slot { kind: 3 }, "");
        check("[ESPOCRM-SLOT:3] Mutter\nnur abends", Mark::Slot { kind: 3 }, "Mutter\nnur abends");
        check(" nur abends ", Mark::None, "nur abends");
        check("", Mark::None, "");
        // A pasted second mark is no text.
        check(&format!("[ESPOCRM-SLOT:1] x [ESPOCRM:{max}:4]"), Mark::Slot { kind: 1 }, "x");
    }

    #[test]
    fn a_damaged_mark_counts_as_none_and_no_text_of_a_users_goes_with_it() {
        for damaged in
            ["[ESPOCRM:!!:1]", "[ESPOCRM:bWF4:13]", "[ESPOCRM:bWF4:0]", "[ESPOCRM:bWF4:]", "[ESPOCRM::1]"]
        {
            check(&format!("{damaged} Sekretariat"), Mark::Damaged, "Sekretariat");
        }
        check("[ESPOCRM-SLOT:99]", Mark::Damaged, "");
        check("[ESPOCRM:/w==:1] x", Mark::Damaged, "x");
        check("[ESPOCRM:bWF4 Sekretariat", Mark::Damaged, "[ESPOCRM:bWF4 Sekretariat");
        check("[ESPOCRM:nicht anrufen:1] x", Mark::Damaged, "[ESPOCRM:nicht anrufen:1] x");
        check("ESPOCRM:bWF4:1] x", Mark::Damaged, "ESPOCRM:bWF4:1] x");
        // What is left of a damaged one does not hide a good one.
        check("[ESPOCRM:bW [ESPOCRM:bWF4:1] x", value("max", 1), "[ESPOCRM:bW x");
    }

    fn words() -> impl Strategy<Value = String> {
        "[ a-zß:\\[\\]\n]{0,12}".prop_map(|text| read(&text).text)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_written_is_read(value in "[ -~ä]{1,20}", kind in 1u8..=12, text in words(), slot: bool) {
            prop_assume!(!value.trim().is_empty());
            let mark = if slot { Mark::Slot { kind } } else { Mark::Value { value, kind } };
            let written = write(&mark, &text);
            prop_assert_eq!(read(&written), Remark { mark, text });
        }

        #[test]
        fn any_text_is_read_without_losing_what_is_no_mark(before in words(), junk in "[A-Za-z0-9+/=:!-]{0,12}", after in words()) {
            let read = read(&format!("{before} [ESPOCRM:{junk}] {after}"));
            for part in [before, after] {
                prop_assert!(read.text.contains(&part), "{read:?}");
            }
        }

        #[test]
        fn any_text_at_all_is_read(text in "(\\[ESPOCRM(-SLOT)?:|[\\[\\] :=1a-z]){0,12}") {
            let once = read(&text);
            let again = read(&write(&once.mark, &once.text));
            prop_assert_eq!(again.text, once.text);
        }
    }
}

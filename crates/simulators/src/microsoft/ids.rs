//! Ids as Exchange makes them: they hold `/`, `=`, `-` and `_`, differ in case alone, and the ordinary form changes when an
//! event moves to another calendar, the immutable one does not.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::civil::Date;

/// Which form a request asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Form {
    /// Changes with the calendar.
    #[default]
    Ordinary,
    /// `Prefer: IdType="ImmutableId"`.
    Immutable,
}

/// What an event's id names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct EventId {
    /// The event's number.
    pub(super) number: u64,
    /// How often it had moved, in an ordinary id.
    pub(super) revision: Option<u32>,
    /// The slot, where the id names one occurrence of a series.
    pub(super) slot: Option<Date>,
}

const ORDINARY: &str = "AAMkAGI1/";
const IMMUTABLE: &str = "AAkALgAAAAAAHYQDEapmEc2byACqAC-";
const ITEM: &str = "_BGAAA";
const SLOT: &str = "_FRAAgI";

/// Two neighbours differ in the case of one letter.
fn number_text(number: u64) -> String {
    format!("{:09x}{}", number / 2, if number.is_multiple_of(2) { 'q' } else { 'Q' })
}

fn read_number(text: &str) -> Option<u64> {
    let odd = match text.get(9..10)? {
        "q" => 0,
        "Q" => 1,
        _ => return None,
    };
    let half = text.get(..9)?;
    let well_formed = half.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    u64::from_str_radix(half, 16).ok().filter(|_| well_formed).map(|half| half * 2 + odd)
}

/// An event's id, or that of one of its occurrences.
pub(super) fn event(form: Form, number: u64, revision: u32, slot: Option<Date>) -> String {
    let number = number_text(number);
    let tail = match slot {
        None => format!("{ITEM}="),
        Some(date) => format!("{SLOT}{:04}{:02}{:02}==", date.year(), date.month(), date.day()),
    };
    match form {
        Form::Ordinary => format!("{ORDINARY}{number}-{revision:04x}{tail}"),
        Form::Immutable => format!("{IMMUTABLE}{number}{tail}"),
    }
}

/// Reads both forms; none for what no id can be.
pub(super) fn read(id: &str) -> Option<EventId> {
    let (number, revision, tail) = if let Some(rest) = id.strip_prefix(ORDINARY) {
        let revision = u32::from_str_radix(rest.get(11..15)?, 16).ok()?;
        (read_number(rest.get(..10)?)?, Some(revision), rest.get(15..)?)
    } else {
        let rest = id.strip_prefix(IMMUTABLE)?;
        (read_number(rest.get(..10)?)?, None, rest.get(10..)?)
    };
    let slot = match tail.strip_prefix(SLOT) {
        Some(date) => Some(date.strip_suffix("==")?.parse::<Date>().ok()?),
        None if tail == format!("{ITEM}=") => None,
        None => return None,
    };
    let named = EventId { number, revision, slot };
    let form = if revision.is_some() { Form::Ordinary } else { Form::Immutable };
    (event(form, number, revision.unwrap_or(0), slot) == id).then_some(named)
}

/// What a write moves; `@odata.etag` is `W/"<changeKey>"`.
pub(super) fn change_key(change: u64) -> String {
    let mut bytes = [0xfb_u8, 0xef, 0x3f, 0x12, 0x5a, 0x77, 0x40, 0x9e, 0, 0, 0, 0, 0, 0, 0, 0];
    bytes[8..].copy_from_slice(&change.to_be_bytes());
    STANDARD.encode(bytes)
}

/// `W/"<changeKey>"`.
pub(super) fn etag(change: u64) -> String {
    format!("W/\"{}\"", change_key(change))
}

/// The same in all calendars that hold a copy.
pub(super) fn i_cal_uid(number: u64) -> String {
    format!("040000008200E00074C5B7101A82E00800000000{number:016X}000000000000000010000000EC4597557F0CB34E")
}

/// A calendar's id: constant.
pub(super) fn calendar(number: u64) -> String {
    format!("AAMkAGI2TGu/{number:09x}-_AAA=")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read() {
        for number in [0, 1, 2, 77, u64::from(u32::MAX)] {
            for slot in [None, Some("2026-03-09".parse().unwrap())] {
                let ordinary = event(Form::Ordinary, number, 3, slot);
                assert_eq!(read(&ordinary), Some(EventId { number, revision: Some(3), slot }));
                let immutable = event(Form::Immutable, number, 3, slot);
                assert_eq!(read(&immutable), Some(EventId { number, revision: None, slot }));
            }
        }
        for id in
            ["", "AAMkAGI1/", "AAMkAGI1/000000000q-0000_BGAAA", "aamkagi1/000000000q-0000_bgaaa=", "x", "ä"]
        {
            assert_eq!(read(id), None, "{id}");
        }
    }

    #[test]
    fn neighbours_differ_in_case_alone() {
        let (one, other) = (event(Form::Immutable, 4, 0, None), event(Form::Immutable, 5, 0, None));
        assert_ne!(one, other);
        assert!(one.eq_ignore_ascii_case(&other));
    }
}

//! What `dlq` prints for people. Pure.

use std::fmt::Write as _;

use jiff::Timestamp;
use operations::dead_letters::{Ending, Groups, Listing, Shown};
use serde_json::Value;
use shared::dead_letter::{DeadLetter, Resolution};
use shared::envelope::{Envelope, Replay};
use shared::fault::cut;

use crate::output::{self, counted};

/// Longest text of a line in a list, in characters; `show` has all of it.
const TEXT_CHARS_MAX: usize = 160;
/// Longest value of a change that is shown, in characters.
const VALUE_CHARS_MAX: usize = 80;

/// To the second: nobody reads more in a table.
fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}

/// `3 dead letters are open`.
pub fn open(count: u64) -> String {
    match count {
        0 => "no dead letter is open".to_owned(),
        1 => "1 dead letter is open".to_owned(),
        count => format!("{count} dead letters are open"),
    }
}

fn nothing(is_filtered: bool) -> String {
    let text = if is_filtered { "No open dead letter is like that." } else { "No dead letter is open." };
    format!("{text}\n")
}

/// The letters of a listing.
pub fn table(listing: &Listing) -> String {
    if listing.letters.is_empty() {
        return String::new();
    }
    output::table(
        ["ID", "RECORD", "REASON", "CODE", "SINCE", "TRIES", "TEXT"],
        listing.letters.iter().map(|letter| {
            [
                letter.id.to_string(),
                letter.key.as_ref().map_or_else(|| letter.flow_name().to_owned(), ToString::to_string),
                letter.reason.name().to_owned(),
                letter.code.clone(),
                time(letter.at),
                letter.attempts.to_string(),
                cut(&letter.text, TEXT_CHARS_MAX),
            ]
        }),
    )
}

/// A page of the list.
pub fn listing(listing: &Listing, is_filtered: bool) -> String {
    let mut text = match listing.letters.is_empty() {
        true => nothing(is_filtered),
        false => table(listing),
    };
    if let (true, Some(last)) = (listing.has_more, listing.letters.last()) {
        let of = listing.total.map(|total| format!(" of {total}")).unwrap_or_default();
        let shown = counted(listing.letters.len(), "dead letter");
        let _ = writeln!(text, "… {shown}{of}; the next page: --after {}", last.id);
    }
    if listing.unreadable > 0 {
        let unreadable = usize::try_from(listing.unreadable).unwrap_or(usize::MAX);
        let _ = writeln!(
            text,
            "{} of the log cannot be read: written by a newer version, or damaged.",
            counted(unreadable, "record")
        );
    }
    text
}

/// The groups.
pub fn groups(groups: &Groups, is_filtered: bool) -> String {
    if groups.groups.is_empty() {
        return nothing(is_filtered);
    }
    let rows = groups.groups.iter().map(|group| {
        [
            group.group.clone(),
            group.count.to_string(),
            group.flow.clone(),
            group.reason.name().to_owned(),
            group.code.clone(),
            time(group.first),
            time(group.last),
            group.text.clone(),
        ]
    });
    let mut text = output::table(["GROUP", "OPEN", "FLOW", "REASON", "CODE", "FIRST", "LAST", "TEXT"], rows);
    if groups.left_out > 0 {
        let _ = writeln!(text, "… and {}: use the filters.", counted(groups.left_out, "smaller group"));
    }
    text
}

/// The replays that a letter's message went through before.
pub fn replays(letter: &DeadLetter) -> Vec<Replay> {
    Envelope::parse(letter.message.as_bytes()).map(|message| message.replays).unwrap_or_default()
}

/// A letter as one line.
pub fn line(letter: &DeadLetter) -> String {
    let record = letter.key.as_ref().map_or_else(|| "unknown record".to_owned(), ToString::to_string);
    let text = cut(&letter.text.replace('\n', " "), TEXT_CHARS_MAX);
    format!("{}  {}  {record}  {}  {}  {text}", time(letter.at), letter.id, letter.reason.name(), letter.code)
}

/// A letter with all that is known.
pub fn letter(shown: &Shown) -> String {
    let letter = &shown.letter;
    let record = letter.key.as_ref().map_or_else(|| "unknown".to_owned(), ToString::to_string);
    let mut rows = vec![
        ["id".to_owned(), letter.id.to_string()],
        ["record".to_owned(), record],
        ["reason".to_owned(), format!("{}: {}", letter.reason.name(), letter.reason.meaning())],
        ["error".to_owned(), format!("{} ({}, {})", letter.text, letter.fault, letter.code)],
    ];
    if let Some(first_seen) = letter.first_seen {
        rows.push(["first seen".to_owned(), time(first_seen)]);
    }
    rows.push(["since".to_owned(), time(letter.at)]);
    rows.push(["worker".to_owned(), format!("{} ({})", letter.worker, letter.version)]);
    if !letter.trace_id.is_empty() {
        rows.push(["trace".to_owned(), letter.trace_id.clone()]);
    }
    if let Some(answer) = &letter.answer {
        let status = answer.status.map_or_else(|| "no answer".to_owned(), |status| status.to_string());
        rows.push(["answer".to_owned(), format!("{} {}: {status}", answer.system, answer.operation)]);
        if !answer.excerpt.is_empty() {
            rows.push(["excerpt".to_owned(), answer.excerpt.clone()]);
        }
    }
    let (closed, edited) = ending(shown.ending.as_ref());
    rows.push(["state".to_owned(), closed]);
    let mut text = output::table(["", ""], rows);
    let history = history(letter);
    if !history.is_empty() {
        let table = output::table(["ATTEMPT", "AT", "TOOK", "WORKER", "ERROR"], history);
        let _ = write!(text, "\n{table}");
    }
    let _ = write!(text, "\nThe message\n{}\n", message(&letter.message));
    if let Some(edited) = edited {
        let _ = write!(text, "\nThe message that was sent in its place\n{}\n", message(edited));
    }
    text
}

/// Attempts and replays in the order of time.
fn history(letter: &DeadLetter) -> Vec<[String; 5]> {
    let attempts = letter.attempts.iter().map(|attempt| {
        let took = format!("{} ms", attempt.duration_ms);
        let error = format!("{} ({})", cut(&attempt.text, TEXT_CHARS_MAX), attempt.code);
        (attempt.at, [String::new(), time(attempt.at), took, attempt.worker.clone(), error])
    });
    let replays = replays(letter).into_iter().map(|replay| {
        let what = format!("replayed by {} as dead letter {}", replay.by, replay.letter);
        (replay.at, ["replay".to_owned(), time(replay.at), String::new(), String::new(), what])
    });
    let mut rows: Vec<(Timestamp, [String; 5])> = attempts.chain(replays).collect();
    rows.sort_by_key(|(at, _)| *at);
    let mut number = 0;
    let numbered = rows.into_iter().map(|(_, mut row)| {
        if row[0].is_empty() {
            number += 1;
            row[0] = number.to_string();
        }
        row
    });
    numbered.collect()
}

/// How a letter stands, and the message that was sent in place of its own.
fn ending(ending: Option<&Ending>) -> (String, Option<&String>) {
    match ending {
        None => ("open".to_owned(), None),
        Some(Ending::Dropped) => ("dropped by the log".to_owned(), None),
        Some(Ending::Resolved { resolution, by, note, edited, at, .. }) => {
            let how = match (resolution, edited) {
                (Resolution::Replayed, None) => "replayed",
                (Resolution::Replayed, Some(_)) => "edited and replayed",
                (Resolution::Discarded, _) => "discarded",
                (Resolution::Superseded, _) => "closed by a later success",
            };
            let why = if note.is_empty() { String::new() } else { format!(": {note}") };
            (format!("{how} by {by} at {}{why}", time(*at)), edited.as_ref())
        }
    }
}

/// A message, indented where it is JSON.
pub fn message(text: &str) -> String {
    let value = serde_json::from_str::<Value>(text);
    value.ok().and_then(|value| serde_json::to_string_pretty(&value).ok()).unwrap_or_else(|| text.to_owned())
}

/// What an edited message says otherwise, field by field. Attempts and replays are not the editor's.
pub fn changes(before: &str, after: &str) -> String {
    let fields = |text: &str| match serde_json::from_str::<Value>(text) {
        Ok(Value::Object(fields)) => fields,
        _ => serde_json::Map::new(),
    };
    let (before, after) = (fields(before), fields(after));
    let mut names: Vec<&String> =
        before.keys().chain(after.keys().filter(|name| !before.contains_key(*name))).collect();
    names.retain(|name| name.as_str() != "data" && before.get(*name) != after.get(*name));
    if names.is_empty() {
        return "Nothing was changed.\n".to_owned();
    }
    let value =
        |found: Option<&Value>| found.map_or_else(String::new, |v| cut(&v.to_string(), VALUE_CHARS_MAX));
    let rows = names.into_iter().map(|name| [name.clone(), value(before.get(name)), value(after.get(name))]);
    output::table(["FIELD", "WAS", "IS"], rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use operations::dead_letters::{Group, LetterSummary};
    use shared::dead_letter::Reason;
    use shared::envelope::{Attempt, Cause, Operation};
    use shared::fault::Fault;
    use shared::trace::TraceParent;
    use uuid::Uuid;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn attempt(time: &str) -> Attempt {
        Attempt {
            at: at(time),
            worker: "host-1".into(),
            duration_ms: 120,
            fault: "permanent".into(),
            code: "validation_failed".into(),
            text: "rechtsform: no such option".into(),
        }
    }

    fn example() -> DeadLetter {
        let id = Uuid::from_u128(0x44136fa3_55b3_878a_9146_ad16f7e8649e);
        let key = "parties:6b00526cc80a09e94".parse().unwrap();
        let seen = at("2026-11-20T11:00:00Z");
        let envelope = Envelope::new(
            Uuid::from_u128(7),
            "/test",
            key,
            Operation::Update,
            Cause::Webhook,
            TraceParent::new(1, 2),
            seen,
        );
        let replay =
            Replay { letter: Uuid::from_u128(7), by: "anna".into(), at: at("2026-11-20T11:30:00Z"), copy: 1 };
        let envelope = envelope.after_attempt(attempt("2026-11-20T11:00:01Z")).replayed(id, replay);
        let envelope = envelope.after_attempt(attempt("2026-11-20T11:30:01Z"));
        let fault = Fault::permanent("validation_failed", "rechtsform: no such option");
        let mut letter = DeadLetter::of_envelope(
            &envelope,
            Reason::Permanent,
            &fault,
            "host-1",
            at("2026-11-20T12:00:00Z"),
        );
        letter.version = "0.1.0".into();
        letter
    }

    #[test]
    fn a_list_says_how_to_go_on() {
        let letters = vec![LetterSummary::of(&example(), 3)];
        let page = Listing { letters, total: Some(7), has_more: true, unreadable: 1 };
        insta::assert_snapshot!(listing(&page, false), @r"
        ID                                    RECORD                     REASON     CODE               SINCE                 TRIES  TEXT
        44136fa3-55b3-878a-9146-ad16f7e8649e  parties:6b00526cc80a09e94  permanent  validation_failed  2026-11-20 12:00:00Z  2      rechtsform: no such option
        … 1 dead letter of 7; the next page: --after 44136fa3-55b3-878a-9146-ad16f7e8649e
        1 record of the log cannot be read: written by a newer version, or damaged.
        ");
        let none = Listing { letters: Vec::new(), total: Some(0), has_more: false, unreadable: 0 };
        assert_eq!(listing(&none, false), "No dead letter is open.\n");
        assert_eq!(listing(&none, true), "No open dead letter is like that.\n");
    }

    #[test]
    fn groups_are_aligned() {
        let group = Group {
            group: "3fa1c09d22b7".into(),
            flow: "parties".into(),
            reason: Reason::Permanent,
            code: "validation_failed".into(),
            text: "rechtsform: no such option".into(),
            count: 412,
            first: at("2026-11-19T08:00:00Z"),
            last: at("2026-11-20T12:00:00Z"),
            example: Uuid::nil(),
        };
        insta::assert_snapshot!(groups(&Groups { groups: vec![group], left_out: 2 }, false), @r"
        GROUP         OPEN  FLOW     REASON     CODE               FIRST                 LAST                  TEXT
        3fa1c09d22b7  412   parties  permanent  validation_failed  2026-11-19 08:00:00Z  2026-11-20 12:00:00Z  rechtsform: no such option
        … and 2 smaller groups: use the filters.
        ");
    }

    #[test]
    fn a_letter_is_shown_whole_with_its_earlier_lives() {
        let mut shown = Shown { letter: example(), ending: None };
        let text = letter(&shown);
        let line = |begin: &str| text.lines().find(|line| line.starts_with(begin)).unwrap_or_default();
        assert!(line("reason").ends_with("permanent: it would fail in the same way for ever"), "{text}");
        assert!(line("state").ends_with("open"), "{text}");
        // The attempt of the first life, its replay, the attempt of the second.
        assert!(line("1 ").contains("2026-11-20 11:00:01Z"), "{text}");
        assert!(line("replay ").contains("replayed by anna as dead letter 00000000"), "{text}");
        assert!(line("2 ").contains("2026-11-20 11:30:01Z"), "{text}");
        assert!(text.contains("\nThe message\n{\n"), "{text}");
        shown.ending = Some(Ending::Resolved {
            position: 9,
            resolution: Resolution::Discarded,
            by: "bert".into(),
            note: "entered twice".into(),
            edited: None,
            at: at("2026-11-20T13:00:00Z"),
        });
        assert!(letter(&shown).contains("discarded by bert at 2026-11-20 13:00:00Z: entered twice"));
    }

    #[test]
    fn a_line_holds_the_record_and_the_error() {
        assert_eq!(
            line(&example()),
            "2026-11-20 12:00:00Z  44136fa3-55b3-878a-9146-ad16f7e8649e  parties:6b00526cc80a09e94  permanent  \
             validation_failed  rechtsform: no such option"
        );
    }

    #[test]
    fn changes_are_named_field_by_field() {
        let before = r#"{"type":"syncfleet.parties.update","subject":"a","data":{"attempts":[]}}"#;
        let after = r#"{"type":"syncfleet.parties.check","subject":"a","data":{}}"#;
        let text = changes(before, after);
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        let change = ["type", "\"syncfleet.parties.update\"", "\"syncfleet.parties.check\""];
        assert_eq!(lines, [["FIELD", "WAS", "IS"], change]);
        assert_eq!(changes(before, before), "Nothing was changed.\n");
    }
}

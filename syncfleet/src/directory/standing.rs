//! How a directory stands: what is known of it, and how it is shown. Pure.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use flows::directory::first_sync::{FirstSync, Phase};
use flows::directory::last_sweep::LastSweep;
use jiff::Timestamp;
use serde::Serialize;
use shared::record_key::RecordKey;
use uuid::Uuid;

use super::difference::words;
use crate::output::{self, counted};
use crate::status::ago;

/// Records that are named among those waited for.
const AWAITED_MAX: usize = 20;

/// How it stands, also as JSON.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Standing {
    /// When it was looked.
    pub at: Timestamp,
    /// The first sync; none before one was asked for.
    pub first_sync: Option<Course>,
    /// The open dead letter of the message that goes on with it.
    pub dead_letter: Option<Uuid>,
    /// What the last sweep found; none before the first one.
    pub last_sweep: Option<LastSweep>,
    /// Workers that serve the flow.
    pub workers: usize,
    /// What the guard holds back.
    pub held_back: Option<String>,
    /// What messages wait for, by the record that is waited for.
    pub parked: Vec<Awaited>,
}

/// How a first sync stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Course {
    /// Which one.
    pub id: String,
    /// Who asked for it.
    pub by: String,
    /// When it was begun.
    pub begun_at: Timestamp,
    /// When it was over.
    pub ended_at: Option<Timestamp>,
    /// What it does.
    pub phase: Phase,
    /// What is done: departments and members, each in each phase.
    pub done: u64,
    /// How much that will be; none where WeCom does not say how many members there are.
    pub total: Option<u64>,
    /// How much a second.
    pub per_second: Option<f64>,
    /// Seconds that are left.
    pub left_seconds: Option<u64>,
    /// Departments and members that were left out, each with a line in the log.
    pub odd: u64,
}

/// A record that messages wait for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Awaited {
    /// Which.
    pub waits_for: RecordKey,
    /// How many wait.
    pub messages: usize,
    /// Since when the first of them waits.
    pub since: Timestamp,
}

impl Course {
    /// How it stands now.
    pub fn of(sync: &FirstSync, now: Timestamp) -> Self {
        let progress = sync.progress(now);
        Self {
            id: sync.id.clone(),
            by: sync.by.clone(),
            begun_at: sync.begun_at,
            ended_at: sync.ended_at,
            phase: progress.phase,
            done: progress.done,
            total: progress.total,
            per_second: progress.per_second,
            left_seconds: progress.left.map(|left| left.as_secs()),
            odd: sync.odd,
        }
    }

    /// Whether it is over.
    pub fn is_over(&self) -> bool {
        self.phase == Phase::Done
    }

    /// One line.
    pub fn line(&self) -> String {
        if self.is_over() {
            return format!("{} done", self.done);
        }
        let share = self.total.filter(|total| *total > 0).map(|total| self.done * 100 / total);
        let mut text = match (self.total, share) {
            (Some(total), Some(share)) => format!("{} of {total} done ({share} %)", self.done),
            _ => format!("{} done (how many there are is not known)", self.done),
        };
        if let Some(rate) = self.per_second {
            let _ = write!(text, ", {rate:.1} a second");
        }
        if let Some(left) = self.left_seconds {
            let _ = write!(text, ", about {} left", span(Duration::from_secs(left)));
        }
        text
    }
}

/// How often each record is waited for, the one with most first.
pub fn awaited(waiting: impl IntoIterator<Item = (RecordKey, Timestamp)>) -> Vec<Awaited> {
    let mut by_record: BTreeMap<RecordKey, (usize, Timestamp)> = BTreeMap::new();
    for (waits_for, since) in waiting {
        let (messages, first) = by_record.entry(waits_for).or_insert((0, since));
        *messages += 1;
        *first = since.min(*first);
    }
    let awaited = |(waits_for, (messages, since))| Awaited { waits_for, messages, since };
    let mut found: Vec<Awaited> = by_record.into_iter().map(awaited).collect();
    found.sort_by(|one, other| (other.messages, &one.waits_for).cmp(&(one.messages, &other.waits_for)));
    found
}

/// What a phase does, and the how many-th it is.
pub fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Departments => "1 of 5: departments, parents first",
        Phase::Members => "2 of 5: members",
        Phase::Memberships => "3 of 5: who is in which group",
        Phase::Leaders => "4 of 5: managers",
        Phase::Strays => "5 of 5: records of ours that belong to nobody",
        Phase::Done => "over",
    }
}

impl Standing {
    /// For people.
    pub fn text(&self) -> String {
        let mut text = String::new();
        match &self.first_sync {
            None => text.push_str(
                "No first sync was asked for yet: look with `syncfleet directory diff`, begin with `syncfleet directory \
                 first-sync`.\n",
            ),
            Some(course) => text.push_str(&self.course_text(course)),
        }
        if let Some(letter) = self.dead_letter {
            let _ = writeln!(
                text,
                "NOBODY GOES ON: the message of the first sync became dead letter {letter}. `syncfleet dlq show {letter}` says \
                 why; when that is mended: `syncfleet dlq replay {letter}`. It goes on where it stopped."
            );
        }
        if let Some(last) = &self.last_sweep {
            text.push_str(&self.sweep_text(last));
        }
        if self.workers == 0 {
            text.push_str("No worker serves flow directory: nothing goes on until one is started.\n");
        }
        if let Some(held_back) = &self.held_back {
            let _ = writeln!(text, "HELD BACK: {held_back}");
        }
        text.push_str(&self.parked_text());
        text
    }

    fn course_text(&self, course: &Course) -> String {
        let mut rows = vec![
            ("asked for", format!("{} by {}", ago(course.begun_at, self.at), course.by)),
            ("phase", phase(course.phase).to_owned()),
            ("progress", course.line()),
        ];
        if let Some(ended_at) = course.ended_at {
            let took = Duration::try_from(ended_at.duration_since(course.begun_at)).unwrap_or_default();
            rows.push(("over", format!("{}, it took {}", ago(ended_at, self.at), span(took))));
        }
        if course.odd > 0 {
            rows.push(("left out", format!("{}, see the workers' log for each", course.odd)));
        }
        let rows = rows.into_iter().map(|(what, value)| [format!("  {what}"), value]);
        format!("First sync {}\n{}", course.id, output::table(["", ""], rows))
    }

    fn sweep_text(&self, last: &LastSweep) -> String {
        let LastSweep { wecom, target, counts, unreadable, odd, .. } = last;
        let mut text = format!(
            "Last sweep: {} compared {wecom} departments and members in WeCom with {target} of ours in the target",
            ago(last.read_at, self.at)
        );
        if last.ended_at.is_none() {
            text.push_str(", and is not through with the members of groups");
        }
        let more = [
            ("cannot be read in WeCom, see the workers' log", *unreadable),
            ("is below itself, or below a department that is not there", *odd),
        ];
        let found = counts.iter().map(|(why, count)| (words(*why), *count)).chain(more);
        let rows: Vec<_> = found
            .filter(|(_, count)| *count > 0)
            .map(|(what, count)| [format!("  {what}"), count.to_string()])
            .collect();
        if rows.is_empty() {
            text.push_str(
                "; nothing differed.
",
            );
        } else {
            text.push_str(". It found:\n");
            text.push_str(&output::table(["", ""], rows));
        }
        text
    }

    fn parked_text(&self) -> String {
        let messages = self.parked.iter().map(|awaited| awaited.messages).sum();
        if messages == 0 {
            return "No message waits for another record.\n".to_owned();
        }
        let rows = self.parked.iter().take(AWAITED_MAX).map(|awaited| {
            let Awaited { waits_for, messages, since } = awaited;
            [format!("  {}", waits_for.id()), messages.to_string(), ago(*since, self.at)]
        });
        let table = output::table(["  WAIT FOR", "MESSAGES", "SINCE"], rows);
        let more = self.parked.len().saturating_sub(AWAITED_MAX);
        let more = if more > 0 { format!("  … and for {more} more\n") } else { String::new() };
        let verb = if messages == 1 { "waits" } else { "wait" };
        format!(
            "{} {verb} for other records (`syncfleet parked list`)\n{table}{more}",
            counted(messages, "message")
        )
    }
}

/// `3 h`, as exact as it is of use.
fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flows::directory::drift::Drifted;
    use flows::directory::first_sync::{Begin, Request, begin};
    use shared::record_key::FlowName;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn sync() -> FirstSync {
        let request = Request { id: "0192f0c1", by: "anna", again: false, now: at("2026-11-20T11:00:00Z") };
        let Begin::Start(sync) = begin(None, &request) else { panic!("nothing is there") };
        *sync
    }

    fn key(id: &str) -> RecordKey {
        RecordKey::new(FlowName::new("directory").unwrap(), id).unwrap()
    }

    fn standing(first_sync: Option<FirstSync>) -> Standing {
        let now = at("2026-11-20T12:00:00Z");
        let first_sync = first_sync.map(|sync| Course::of(&sync, now));
        Standing {
            at: now,
            first_sync,
            dead_letter: None,
            last_sweep: None,
            workers: 2,
            held_back: None,
            parked: Vec::new(),
        }
    }

    #[test]
    fn one_under_way_says_how_long_it_takes() {
        let under_way = FirstSync {
            phase: Phase::Members,
            done: 36_000,
            odd: 2,
            departments: 5_000,
            members: Some(100_000),
            ..sync()
        };
        let waiting = [
            ("dept.4", "2026-11-20T11:59:00Z"),
            ("dept.9", "2026-11-20T11:58:00Z"),
            ("dept.9", "2026-11-20T11:50:00Z"),
        ];
        let waiting = waiting.map(|(id, since)| (key(id), at(since)));
        let standing = Standing { parked: awaited(waiting), ..standing(Some(under_way)) };
        insta::assert_snapshot!(standing.text(), @r"
        First sync 0192f0c1
          asked for  60 min ago by anna
          phase      2 of 5: members
          progress   36000 of 210000 done (17 %), 10.0 a second, about 4 h left
          left out   2, see the workers' log for each
        3 messages wait for other records (`syncfleet parked list`)
          WAIT FOR  MESSAGES  SINCE
          dept.9    2         10 min ago
          dept.4    1         60 s ago
        ");
        let json = serde_json::to_value(&standing).unwrap();
        assert_eq!(json["first_sync"]["left_seconds"], 17_400);
        assert_eq!(json["first_sync"]["phase"], "members");
        assert_eq!(json["parked"][0]["messages"], 2);
    }

    #[test]
    fn one_that_is_over_says_when_and_how_long_it_took() {
        let over =
            FirstSync { phase: Phase::Done, ended_at: Some(at("2026-11-20T11:40:00Z")), done: 12, ..sync() };
        insta::assert_snapshot!(standing(Some(over)).text(), @r"
        First sync 0192f0c1
          asked for  60 min ago by anna
          phase      over
          progress   12 done
          over       20 min ago, it took 40 min
        No message waits for another record.
        ");
    }

    #[test]
    fn the_last_sweep_says_what_it_found() {
        let last = LastSweep {
            sweep_id: "s1".to_owned(),
            read_at: at("2026-11-20T02:10:00Z"),
            ended_at: Some(at("2026-11-20T02:11:00Z")),
            wecom: 110,
            target: 108,
            counts: [(Drifted::Missing, 2), (Drifted::Members, 1)].into(),
            unreadable: 0,
            odd: 1,
        };
        let found = Standing { last_sweep: Some(last.clone()), ..standing(None) };
        insta::assert_snapshot!(found.sweep_text(&last), @r"
        Last sweep: 9 h ago compared 110 departments and members in WeCom with 108 of ours in the target. It found:
          is not in the target                                      2
          the members of its group are others                       1
          is below itself, or below a department that is not there  1
        ");
        let nothing = LastSweep { ended_at: None, counts: BTreeMap::new(), odd: 0, ..last };
        insta::assert_snapshot!(found.sweep_text(&nothing), @"Last sweep: 9 h ago compared 110 departments and members in WeCom with 108 of ours in the target, and is not through with the members of groups; nothing differed.");
    }

    #[test]
    fn what_hinders_is_said() {
        let held_back = Some("30 of 100 users would be ended".to_owned());
        let standing = Standing { workers: 0, held_back, ..standing(None) };
        insta::assert_snapshot!(standing.text(), @r"
        No first sync was asked for yet: look with `syncfleet directory diff`, begin with `syncfleet directory first-sync`.
        No worker serves flow directory: nothing goes on until one is started.
        HELD BACK: 30 of 100 users would be ended
        No message waits for another record.
        ");
    }

    #[test]
    fn a_first_sync_that_nobody_goes_on_with_says_what_to_do() {
        let dead_letter = Some(Uuid::from_u128(7));
        let text = Standing { dead_letter, ..standing(Some(sync())) }.text();
        let said = text.lines().find(|line| line.starts_with("NOBODY GOES ON")).unwrap();
        insta::assert_snapshot!(said, @"NOBODY GOES ON: the message of the first sync became dead letter 00000000-0000-0000-0000-000000000007. `syncfleet dlq show 00000000-0000-0000-0000-000000000007` says why; when that is mended: `syncfleet dlq replay 00000000-0000-0000-0000-000000000007`. It goes on where it stopped.");
    }

    #[test]
    fn a_long_list_is_cut_and_still_counted() {
        let now = at("2026-11-20T12:00:00Z");
        let parked = awaited((0..30).map(|n| (key(&format!("dept.{n}")), now)));
        let text = Standing { parked, ..standing(None) }.text();
        assert!(text.contains("30 messages wait") && text.contains("and for 10 more"), "{text}");
    }
}

//! What the demo ends with: a table, and whether everything is as it must be. Pure.

use std::fmt::Write as _;

use serde::Serialize;
use simulators::demo_data::{Category, identity};
use simulators::{ActorKind, JournalEntry, Operation, duplicate_creates, writes_without_change};

use super::judge::Held;
use super::oracle::Expected;
use crate::output;

/// Differences that are told; more would hide the table.
const DIFFERENCES_MAX: usize = 10;

/// The end of a demo.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Whether everything is as it must be.
    pub equal: bool,
    /// What was out of step, and how it ended.
    pub categories: Vec<Row>,
    /// What is not as it must be.
    pub differences: Vec<String>,
    /// What was written, and what must not have been.
    pub written: Written,
    /// Dead letters that are open.
    pub dead_letters_open: usize,
    /// Requests to EspoCRM and Advoware.
    pub requests: [u64; 2],
    /// How long it took.
    pub seconds: f64,
    /// Resident memory of this process (producer and worker) now, and at its highest.
    pub memory_bytes: [u64; 2],
}

/// Parties that were out of step in one way.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// 1: before the first sync; 2: changed by people afterwards.
    pub round: u8,
    /// In which way.
    pub category: Category,
    /// How many.
    pub parties: usize,
    /// How many of them ended as they must.
    pub as_expected: usize,
}

/// What the ledgers of both systems say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Written {
    /// Parties created in Advoware.
    pub created: usize,
    /// Parties updated in Advoware.
    pub updated_in_advoware: usize,
    /// Records whose content was updated in EspoCRM.
    pub updated_in_espocrm: usize,
    /// Notices to users, of conflicts and failures.
    pub notices: usize,
    /// Parties that were created twice: must be 0.
    pub created_twice: usize,
    /// Writes that changed nothing: must be 0.
    pub writes_without_change: usize,
}

/// Reads the ledgers of both systems, page after page.
#[derive(Debug, Default)]
pub struct Ledger {
    written: Written,
    /// Parties that came and went.
    parties: Vec<JournalEntry>,
}

impl Ledger {
    /// Takes a page into account.
    pub fn read(&mut self, page: Vec<JournalEntry>) {
        self.written.writes_without_change += writes_without_change(&page).len();
        for entry in page {
            if entry.actor_kind == ActorKind::Api {
                self.count(&entry);
            }
            if entry.entity == "Beteiligte" && entry.operation != Operation::Update {
                self.parties.push(entry);
            }
        }
    }

    fn count(&mut self, entry: &JournalEntry) {
        let written = &mut self.written;
        match (entry.entity.as_str(), entry.operation) {
            ("Beteiligte", Operation::Create) => written.created += 1,
            ("Beteiligte", Operation::Update) => written.updated_in_advoware += 1,
            ("CBeteiligte", Operation::Update)
                if entry.changed_fields().iter().any(|name| is_content(name)) =>
            {
                written.updated_in_espocrm += 1;
            }
            ("Note", Operation::Create) => written.notices += 1,
            _ => {}
        }
    }

    /// What it comes to.
    pub fn written(&self) -> Written {
        Written { created_twice: duplicate_creates(&self.parties, identity).len(), ..self.written }
    }
}

fn is_content(field: &str) -> bool {
    let mapped = [
        "firstName",
        "lastName",
        "firmenname",
        "rechtsform",
        "salutationName",
        "dateOfBirth",
        "handelsregisterNummer",
        "phoneNumberData",
        "emailAddressData",
    ];
    mapped.contains(&field)
}

/// How many parties of each category there are, and how many are as they must be.
pub fn rows(expected: &[Expected], held: &Held) -> Vec<Row> {
    let of = |round: u8, category, pairs: Vec<&Expected>| Row {
        round,
        category,
        parties: pairs.len(),
        as_expected: pairs.iter().filter(|pair| held.difference(pair).is_none()).count(),
    };
    let first = Category::ALL
        .map(|category| of(1, category, expected.iter().filter(|pair| pair.first == category).collect()));
    let second = Category::ALL.map(|category| {
        of(2, category, expected.iter().filter(|pair| pair.second == Some(category)).collect())
    });
    first.into_iter().chain(second).filter(|row| row.parties > 0).collect()
}

/// What is not as it must be, told at most for a few.
pub fn differences(expected: &[Expected], held: &Held) -> Vec<String> {
    let told = |pair: &Expected| Some(format!("CBeteiligte {}: {}", pair.crm_id, held.difference(pair)?));
    let mut all: Vec<String> = expected.iter().filter_map(told).collect();
    all.extend(held.surplus(expected));
    let more = all.len().saturating_sub(DIFFERENCES_MAX);
    if more > 0 {
        all.truncate(DIFFERENCES_MAX);
        all.push(format!("… and {more} more"));
    }
    all
}

/// In which way parties are out of step, and what must come of it.
pub fn words(category: Category) -> (&'static str, &'static str) {
    match category {
        Category::OnlyInCrm => ("only in EspoCRM", "created in Advoware"),
        Category::OddName => ("only in EspoCRM, odd names", "created, letter by letter"),
        Category::EqualNeverLinked => ("equal, never linked", "linked"),
        Category::DifferentNeverLinked => ("different, never linked", "EspoCRM wins"),
        Category::KindDiffersNeverLinked => ("company here, person there", "EspoCRM wins"),
        Category::UnknownSalutation => ("salutation without counterpart", "left as it is"),
        Category::OlderIntegrationCrmChanged => ("synced years ago, newer in EspoCRM", "EspoCRM wins"),
        Category::OlderIntegrationAdvowareChanged => ("synced years ago, newer in Advoware", "Advoware wins"),
        Category::DuplicateBetnr => ("one betnr in two records", "dead letter"),
        Category::RefusedByAdvoware => ("without a name", "dead letter"),
        Category::NumbersInOtherForms => ("numbers in other forms", "linked, never doubled"),
        Category::NumbersOnOneSide => ("numbers on one side", "on both, free entries used"),
        Category::MarksDamaged => ("damaged marks", "written anew, remarks kept"),
        Category::NumberChangedInCrm => ("number changed in EspoCRM", "updated in Advoware"),
        Category::NumberChangedInAdvoware => ("number changed in Advoware", "updated in EspoCRM"),
        Category::NumbersDeleted => ("numbers deleted on both sides", "removed, entries set free"),
        Category::NumbersOnBothSides => ("numbers changed on both sides", "merged"),
        Category::SameNumberOnBothSides => {
            ("same number changed on both sides", "conflict: EspoCRM wins, user told")
        }
        Category::GoneFromAdvoware => ("gone from Advoware", "said so, not created anew"),
        Category::ChangedInCrm => ("changed in EspoCRM", "updated in Advoware"),
        Category::ChangedInAdvoware => ("changed in Advoware", "updated in EspoCRM"),
        Category::BothDifferentFields => ("changed on both sides", "merged"),
        Category::BothSameField => ("changed on both sides, same field", "conflict: EspoCRM wins, user told"),
        Category::BothSameValue => ("changed alike on both sides", "nothing to write"),
        Category::KindChanged => ("person became company, or back", "updated on the other side"),
        Category::UnknownLegalForm => ("legal form unknown to EspoCRM", "dead letter"),
        Category::DeletedInCrm => ("deleted in EspoCRM", "kept in Advoware"),
        Category::Repaired => ("given a name at last", "created, dead letter closed"),
    }
}

impl Report {
    /// Everything for people.
    pub fn text(&self) -> String {
        let rows = self.categories.iter().map(|row| {
            let (what, ending) = words(row.category);
            let verdict = if row.as_expected == row.parties { "all" } else { "NOT ALL" };
            let count = format!("{verdict} {} of {}", row.as_expected, row.parties);
            let round = if row.round == 1 { "at first" } else { "by people" };
            [round.to_owned(), what.to_owned(), row.parties.to_string(), ending.to_owned(), count]
        });
        let mut text = output::table(["OUT OF STEP", "HOW", "PARTIES", "MUST BE", "IS"], rows);
        let written = &self.written;
        let rows = [
            ("created in Advoware", written.created.to_string()),
            ("updated in Advoware", written.updated_in_advoware.to_string()),
            ("updated in EspoCRM", written.updated_in_espocrm.to_string()),
            ("users told of conflicts and failures", written.notices.to_string()),
            ("dead letters open", self.dead_letters_open.to_string()),
            ("parties created twice", must_be_none(written.created_twice)),
            ("writes that changed nothing", must_be_none(written.writes_without_change)),
            ("requests to EspoCRM, Advoware", format!("{}, {}", self.requests[0], self.requests[1])),
            ("memory of producer and worker", memory(self.memory_bytes)),
            ("time", format!("{:.1} s", self.seconds)),
        ];
        let _ =
            write!(text, "\n{}", output::table(["", ""], rows.map(|(what, value)| [what.to_owned(), value])));
        for difference in &self.differences {
            let _ = writeln!(text, "NOT EQUAL: {difference}");
        }
        text.push_str(match self.equal {
            true => "\nBoth sides are equal to what they must be, computed from people's edits alone.\n",
            false => "\nThe sides are NOT as they must be.\n",
        });
        text
    }
}

fn must_be_none(count: usize) -> String {
    if count == 0 { "0".to_owned() } else { format!("{count}  (MUST BE 0)") }
}

#[expect(clippy::cast_precision_loss, reason = "for reading")]
fn memory([now, highest]: [u64; 2]) -> String {
    let mebibytes = |bytes: u64| bytes as f64 / (1024.0 * 1024.0);
    format!("{:.0} MiB, {:.0} MiB at the highest", mebibytes(now), mebibytes(highest))
}

/// Resident memory now and at its highest, in bytes, of the text of `/proc/self/status`; 0 where it is not told.
pub fn memory_of(status: &str) -> [u64; 2] {
    let kibibytes = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim_start_matches(':').split_whitespace().next()?.parse::<u64>().ok()
    };
    ["VmRSS", "VmHWM"].map(|name| kibibytes(name).unwrap_or(0) * 1024)
}

/// The CBeteiligte id of each dead letter.
pub fn ids_of(letters: &[operations::dead_letters::LetterSummary]) -> Vec<String> {
    letters.iter().filter_map(|letter| Some(letter.key.as_ref()?.id().to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_names_what_is_wrong() {
        let row = |round, category, parties, as_expected| Row { round, category, parties, as_expected };
        let report = Report {
            equal: false,
            categories: vec![
                row(1, Category::OnlyInCrm, 90, 90),
                row(2, Category::BothDifferentFields, 12, 11),
            ],
            differences: vec!["CBeteiligte a: a dead letter is open".into()],
            written: Written { created: 90, created_twice: 1, ..Written::default() },
            dead_letters_open: 3,
            requests: [1_200, 900],
            seconds: 21.34,
            memory_bytes: [40 << 20, 48 << 20],
        };
        insta::assert_snapshot!(report.text(), @r"
        OUT OF STEP  HOW                    PARTIES  MUST BE              IS
        at first     only in EspoCRM        90       created in Advoware  all 90 of 90
        by people    changed on both sides  12       merged               NOT ALL 11 of 12

        created in Advoware                   90
        updated in Advoware                   0
        updated in EspoCRM                    0
        users told of conflicts and failures  0
        dead letters open                     3
        parties created twice                 1  (MUST BE 0)
        writes that changed nothing           0
        requests to EspoCRM, Advoware         1200, 900
        memory of producer and worker         40 MiB, 48 MiB at the highest
        time                                  21.3 s
        NOT EQUAL: CBeteiligte a: a dead letter is open

        The sides are NOT as they must be.
        ");
    }

    #[test]
    fn memory_is_read_from_the_kernel() {
        let status = "Name:\tsyncfleet\nVmHWM:\t   51200 kB\nVmRSS:\t   40960 kB\n";
        assert_eq!(memory_of(status), [40_960 * 1024, 51_200 * 1024]);
        assert_eq!(memory_of(""), [0, 0]);
    }

    #[test]
    fn every_category_has_words_of_its_own() {
        let words: std::collections::BTreeSet<&str> =
            Category::ALL.into_iter().map(|it| words(it).0).collect();
        assert_eq!(words.len(), Category::ALL.len());
    }
}

//! What differs between WeCom and the target, for people. Pure.

use std::fmt::Write as _;

use flows::directory::diff::{Diff, Shown};
use flows::directory::drift::Drifted;
use shared::fault::cut;

use crate::output;

/// Longest value shown in a table, in characters; `--json` has all of it.
const VALUE_CHARS_MAX: usize = 60;

/// Whether nothing differs.
pub fn is_equal(diff: &Diff) -> bool {
    diff.counts.values().all(|count| *count == 0)
}

/// Everything for people.
pub fn text(diff: &Diff) -> String {
    let mut text = format!(
        "Departments and members in WeCom: {}, of ours in the target: {}, the same on both sides: {}.\n",
        diff.wecom, diff.target, diff.equal
    );
    if is_equal(diff) {
        text.push_str("Nothing differs.\n");
    } else {
        let rows = diff.counts.iter().filter(|(_, count)| **count > 0);
        let rows = rows.map(|(why, count)| [words(*why).to_owned(), count.to_string()]);
        let _ = write!(text, "\n{}", output::table(["WHAT DIFFERS", "RECORDS"], rows));
    }
    if !diff.first.is_empty() {
        let table =
            output::table(["RECORD", "FIELD", "PRESENT", "PLANNED"], diff.first.iter().flat_map(rows_of));
        let all: u64 = diff.counts.values().sum();
        let _ = write!(text, "\n{table}");
        let more = all.saturating_sub(u64::try_from(diff.first.len()).unwrap_or(u64::MAX));
        if more > 0 {
            let _ = writeln!(text, "… and {more} more: --limit shows more of them.");
        }
        text.push_str("`syncfleet plan directory RECORD` says what a run would do.\n");
    }
    if diff.unreadable > 0 {
        let _ = writeln!(text, "\nCould not be read in WeCom, and is left alone: {}", diff.unreadable);
        for sentence in &diff.unreadable_first {
            let _ = writeln!(text, "  {sentence}");
        }
    }
    text
}

pub(super) fn words(why: Drifted) -> &'static str {
    match why {
        Drifted::Missing => "is not in the target",
        Drifted::Extra => "is in the target, and WeCom does not list it",
        Drifted::Differs => "says something else in the target",
        Drifted::Double => "is in the target more than once",
        Drifted::Leaders => "reports to others than was remembered",
        Drifted::Manager => "has another manager in the target",
        Drifted::Lost => "is remembered, and neither side has it",
        Drifted::Unfinished => "a run was stopped before all was done",
        Drifted::Members => "the members of its group are others",
    }
}

/// A line for each field; one that says why where no field is known.
fn rows_of(shown: &Shown) -> Vec<[String; 4]> {
    let value = |value: &Option<String>| match value {
        None => "(empty)".to_owned(),
        Some(text) => format!("{:?}", cut(text, VALUE_CHARS_MAX)),
    };
    if shown.differences.is_empty() {
        return vec![[shown.id.clone(), words(shown.why).to_owned(), String::new(), String::new()]];
    }
    let row = |difference: &shared::flow::Difference| {
        [shown.id.clone(), difference.field.clone(), value(&difference.present), value(&difference.planned)]
    };
    shown.differences.iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::flow::Difference;

    fn nothing() -> Diff {
        Diff {
            wecom: 341,
            target: 341,
            equal: 341,
            counts: [].into(),
            first: Vec::new(),
            unreadable: 0,
            unreadable_first: Vec::new(),
        }
    }

    #[test]
    fn sides_that_agree_need_one_line() {
        insta::assert_snapshot!(text(&nothing()), @r"
        Departments and members in WeCom: 341, of ours in the target: 341, the same on both sides: 341.
        Nothing differs.
        ");
        assert!(is_equal(&Diff { counts: [(Drifted::Missing, 0)].into(), ..nothing() }));
    }

    #[test]
    fn what_differs_is_counted_and_the_first_of_it_shown_field_by_field() {
        let difference = |field: &str, present: Option<&str>, planned: Option<&str>| Difference {
            system: "SCIM".into(),
            field: field.into(),
            present: present.map(str::to_owned),
            planned: planned.map(str::to_owned),
        };
        let shown = |id: &str, why, differences| Shown { id: id.into(), why, differences };
        let diff = Diff {
            target: 340,
            equal: 329,
            counts: [(Drifted::Missing, 1), (Drifted::Differs, 10), (Drifted::Members, 1)].into(),
            first: vec![
                shown("user.lisi", Drifted::Missing, vec![difference("userName", None, Some("lisi"))]),
                shown(
                    "user.zhangsan",
                    Drifted::Differs,
                    vec![
                        difference("title", Some("经理"), Some("总监")),
                        difference("active", Some("true"), Some("false")),
                    ],
                ),
                shown("leader.wang", Drifted::Leaders, Vec::new()),
            ],
            unreadable: 1,
            unreadable_first: vec!["Department 12 has no name.".into()],
            ..nothing()
        };
        assert!(!is_equal(&diff));
        insta::assert_snapshot!(text(&diff), @r#"
        Departments and members in WeCom: 341, of ours in the target: 340, the same on both sides: 329.

        WHAT DIFFERS                         RECORDS
        is not in the target                 1
        says something else in the target    10
        the members of its group are others  1

        RECORD         FIELD                                  PRESENT  PLANNED
        user.lisi      userName                               (empty)  "lisi"
        user.zhangsan  title                                  "经理"   "总监"
        user.zhangsan  active                                 "true"   "false"
        leader.wang    reports to others than was remembered
        … and 9 more: --limit shows more of them.
        `syncfleet plan directory RECORD` says what a run would do.

        Could not be read in WeCom, and is left alone: 1
          Department 12 has no name.
        "#);
    }
}

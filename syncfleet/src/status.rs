//! `status`: how the installation stands.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

use jiff::Timestamp;
use operations::dead_letters::DeadLetterDesk;
use operations::status::{FlowStatus, Sources, Status, snapshot};
use serde::Serialize;
use shared::flow::SourceStatus;

use crate::accounts::list::{Line, table};
use crate::output::{self, EXIT_WRONG, Outcome};
use crate::{accounts, operator};

/// Runs the command.
pub async fn run(file: Option<&Path>, json: bool) -> Outcome {
    let (_, parts) = operator::visit(file)?;
    let flows = parts.topologies();
    let desk = DeadLetterDesk::new(parts.queue.clone(), parts.state.clone(), flows.clone());
    let mut held_back = BTreeMap::new();
    for flow in &parts.flows {
        if let Ok(Some(text)) = flow.held_back().await {
            held_back.insert(flow.spec().name.to_string(), text);
        }
    }
    let sources = Sources {
        held_back: &held_back,
        queue: parts.queue.as_ref(),
        state: parts.state.as_ref(),
        desk: &desk,
        flows: &flows,
    };
    let mut status = snapshot(sources, parts.clock.now()).await;
    let (mut calendars, mut directory) = (Vec::new(), Vec::new());
    for flow in &parts.flows {
        // Where the store does not answer, a problem says so already.
        let sources = flow.sources(parts.clock.now()).await.unwrap_or_default();
        match flow.spec().name.as_str() {
            flows::directory::NAME => directory.extend(sources),
            _ => calendars.extend(sources),
        }
    }
    let accounts = accounts::lines(&parts).await.unwrap_or_else(|problem| {
        // Where the store does not answer, one line says so.
        if status.problems.is_empty() {
            status.problems.push(problem);
        }
        Vec::new()
    });
    if json {
        let (sources, directory) = (&calendars, &directory);
        output::json(&Whole { status: &status, sources, directory, accounts: &accounts });
    } else {
        let sources = calendars_text(&calendars, status.at) + &directory_text(&directory, status.at);
        output::line(text(&status) + &sources + &accounts_text(&accounts, status.at));
    }
    if status.problems.is_empty() { Ok(ExitCode::SUCCESS) } else { Err(ExitCode::from(EXIT_WRONG)) }
}

/// What is printed as JSON.
#[derive(Serialize)]
struct Whole<'a> {
    #[serde(flatten)]
    status: &'a Status,
    sources: &'a [SourceStatus],
    directory: &'a [SourceStatus],
    accounts: &'a [Line],
}

/// The calendars for people.
fn calendars_text(sources: &[SourceStatus], now: Timestamp) -> String {
    if sources.is_empty() {
        return String::new();
    }
    let rows = sources.iter().map(|source| {
        [
            source.source.clone(),
            source.user.clone(),
            source.synced_at.map_or_else(|| "never".to_owned(), |at| ago(at, now)),
            if source.has_token { "yes" } else { "no" }.to_owned(),
            source.linked.to_string(),
            source.phase.clone(),
        ]
    });
    let header = ["CALENDAR", "USER", "LAST SYNCED", "DELTA TOKEN", "EVENTS LINKED", "STATE"];
    format!("\nCalendars\n{}", indented(&output::table(header, rows)))
}

/// The directory for people.
fn directory_text(sources: &[SourceStatus], now: Timestamp) -> String {
    let rows = sources.iter().map(|source| {
        let first_sync = match source.synced_at {
            Some(at) => format!("over since {}", ago(at, now).trim_end_matches(" ago")),
            None => format!("{}: see `syncfleet directory status`", source.phase),
        };
        [source.source.clone(), first_sync, source.linked.to_string()]
    });
    if sources.is_empty() {
        return String::new();
    }
    let header = ["FROM", "FIRST SYNC", "GROUPS AND USERS LINKED"];
    format!("\nDirectory\n{}", indented(&output::table(header, rows)))
}

/// The accounts for people: how many, and those that somebody must see to.
fn accounts_text(accounts: &[Line], now: Timestamp) -> String {
    if accounts.is_empty() {
        return String::new();
    }
    let wrong: Vec<Line> =
        accounts.iter().filter(|line| line.state != "active" || line.ends_soon).cloned().collect();
    let mut text = format!("\nAccounts\n  {} connected", accounts.len());
    if wrong.is_empty() {
        text.push('\n');
    } else {
        let _ = write!(text, ", {} to see to:\n{}", wrong.len(), indented(&table(&wrong, now)));
    }
    text
}

/// The snapshot for people.
fn text(status: &Status) -> String {
    let mut text = String::new();
    for problem in &status.problems {
        let _ = writeln!(text, "Problem: {problem}");
    }
    if status.flows.is_empty() {
        text.push_str("No flow is enabled: see [flow.…] in `syncfleet config default`.\n");
    }
    for flow in &status.flows {
        let rows = rows(flow, status.at).into_iter().map(|(what, value)| [what.to_owned(), value]);
        let _ = write!(text, "{}\n{}", flow.flow, indented(&output::table(["", ""], rows)));
    }
    if !status.dead_letters.is_empty() {
        let rows = status.dead_letters.iter().map(|open| {
            [
                open.flow.clone(),
                open.reason.name().to_owned(),
                open.count.to_string(),
                ago(open.first, status.at),
            ]
        });
        let table = output::table(["FLOW", "REASON", "OPEN", "FIRST"], rows);
        let _ = write!(text, "\nDead letters\n{}", indented(&table));
    }
    text
}

fn rows(flow: &FlowStatus, now: Timestamp) -> Vec<(&'static str, String)> {
    let count = |count: Option<u64>| count.map_or_else(|| "unknown".to_owned(), |count| count.to_string());
    let workers = match flow.workers.len() {
        0 => "none: messages wait until one is started".to_owned(),
        _ => {
            let share =
                |(name, shards): (&String, &usize)| format!("{name} ({shards} of {} shards)", flow.shards);
            flow.workers.iter().map(share).collect::<Vec<_>>().join(", ")
        }
    };
    let sweep = match (flow.sweep_tick, flow.sweep_going_on) {
        (None, _) => "never fired".to_owned(),
        (Some(tick), true) => format!("going on, fired {}", ago(tick, now)),
        (Some(tick), false) => format!("fired {}", ago(tick, now)),
    };
    let success = flow.sweep_last_success.map(|at| format!(", last ended well {}", ago(at, now)));
    let mut rows = vec![
        ("messages", format!("{} ready, {} waiting for their time", count(flow.ready), count(flow.delayed))),
        ("oldest", flow.oldest.map_or_else(|| "none".to_owned(), |at| ago(at, now))),
        ("workers", workers),
        ("sweep", sweep + &success.unwrap_or_default()),
        ("dead letters", flow.dead_letters.to_string()),
    ];
    rows.extend(flow.held_back.clone().map(|text| ("HELD BACK", text)));
    rows
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}\n")).collect()
}

/// `3 min ago`.
pub fn ago(at: Timestamp, now: Timestamp) -> String {
    let seconds = now.duration_since(at).as_secs();
    match seconds {
        ..0 => format!("in {} s", -seconds),
        0..120 => format!("{seconds} s ago"),
        120..7_200 => format!("{} min ago", seconds / 60),
        7_200..172_800 => format!("{} h ago", seconds / 3_600),
        _ => format!("{} days ago", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use operations::dead_letters::OpenCount;
    use shared::dead_letter::Reason;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_directory_says_how_its_first_sync_stands() {
        let now = at("2026-11-20T12:00:00Z");
        let source = |phase: &str, synced_at: Option<&str>| SourceStatus {
            source: "wecom".into(),
            user: "anna".into(),
            phase: phase.into(),
            synced_at: synced_at.map(at),
            has_token: synced_at.is_some(),
            linked: 340,
        };
        assert_eq!(directory_text(&[], now), "");
        let under_way = directory_text(&[source("members", None)], now);
        assert!(under_way.contains("members: see `syncfleet directory status`"), "{under_way}");
        let over = directory_text(&[source("done", Some("2026-11-20T09:00:00Z"))], now);
        assert!(over.contains("over since 3 h") && over.contains("340"), "{over}");
    }

    #[test]
    fn accounts_are_counted_and_those_to_see_to_are_named() {
        let now = at("2026-11-20T12:00:00Z");
        let line = |user: &str, state| Line {
            account: format!("microsoft/user/{user}").parse().unwrap(),
            provider: "microsoft".into(),
            user: Some(user.into()),
            state,
            problem: None,
            since: Some(now),
            refreshed_at: None,
            ends_at: None,
            ends_soon: false,
            told: false,
        };
        assert_eq!(accounts_text(&[], now), "");
        assert_eq!(accounts_text(&[line("anna", "active")], now), "\nAccounts\n  1 connected\n");
        let text = accounts_text(&[line("anna", "active"), line("bernd", "needs_reconnect")], now);
        assert!(text.contains("2 connected, 1 to see to:"), "{text}");
        assert!(text.contains("bernd") && !text.contains("anna"), "{text}");
    }

    #[test]
    fn a_status_says_what_waits_and_who_works() {
        let flow = FlowStatus {
            flow: "parties".into(),
            ready: Some(12),
            delayed: Some(3),
            oldest: Some(at("2026-11-20T11:58:30Z")),
            dead_letters: 2,
            workers: [("host-1".to_owned(), 9), ("host-2".to_owned(), 7)].into(),
            shards: 16,
            sweep_tick: Some(at("2026-11-20T11:45:00Z")),
            held_back: None,
            sweep_going_on: false,
            sweep_last_success: Some(at("2026-11-20T11:45:03Z")),
        };
        let idle = FlowStatus {
            flow: "calendar".into(),
            ready: None,
            delayed: None,
            oldest: None,
            dead_letters: 0,
            workers: [].into(),
            shards: 16,
            sweep_tick: None,
            held_back: None,
            sweep_going_on: false,
            sweep_last_success: None,
        };
        let status = Status {
            at: at("2026-11-20T12:00:00Z"),
            version: "0.1.0".into(),
            problems: vec!["queue: no answer".into()],
            flows: vec![flow, idle],
            dead_letters: vec![OpenCount {
                flow: "parties".into(),
                reason: Reason::Permanent,
                count: 2,
                first: at("2026-11-17T12:00:00Z"),
            }],
        };
        insta::assert_snapshot!(text(&status), @r"
        Problem: queue: no answer
        parties
          messages      12 ready, 3 waiting for their time
          oldest        90 s ago
          workers       host-1 (9 of 16 shards), host-2 (7 of 16 shards)
          sweep         fired 15 min ago, last ended well 14 min ago
          dead letters  2
        calendar
          messages      unknown ready, unknown waiting for their time
          oldest        none
          workers       none: messages wait until one is started
          sweep         never fired
          dead letters  0

        Dead letters
          FLOW     REASON     OPEN  FIRST
          parties  permanent  2     3 days ago
        ");
    }
}

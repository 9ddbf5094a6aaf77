//! What people ask the flow for: how calendars stand, checks, previews.

use jiff::Timestamp;
use shared::clock::SystemClock;
use shared::envelope::{Cause, Operation};
use shared::fault::Fault;
use shared::flow::{Check, Difference, NoHints, Preview, Run, SourceStatus, Unguarded, Verdict};
use shared::record_key::RecordKey;
use std::sync::Arc;

use super::action::Action;
use super::crm::CrmFound;
use super::event::Event;
use super::flow::CalendarFlow;
use super::key::{CalendarId, Subject};
use super::notice::product;
use super::pair::{Known, KnownRecord};
use super::rounds::Rounds;
use super::{reasons, standing};

impl CalendarFlow {
    /// How the calendars stand.
    pub(super) async fn standings(&self, now: Timestamp) -> Result<Vec<SourceStatus>, Fault> {
        let mut found = Vec::new();
        for (account, summary) in self.calendars.connected(&self.settings, now).await?.iter() {
            let name = self.settings.calendar_of(account);
            let calendar = CalendarId::new(account.clone(), summary.mailbox.as_deref(), name);
            let (standing, _) = standing::load(&*self.state, &calendar).await?;
            found.push(SourceStatus {
                source: calendar.text(),
                user: account.user().map(ToString::to_string).unwrap_or_default(),
                phase: standing.cursor.phase().to_owned(),
                synced_at: standing.cursor.synced_at,
                has_token: standing.cursor.token.is_some(),
                linked: self.linked(&calendar).await?,
            });
        }
        Ok(found)
    }

    async fn linked(&self, calendar: &CalendarId) -> Result<u64, Fault> {
        let (mut after, mut linked) = (None, 0);
        loop {
            let (page, next) = self.links.page(calendar, after.as_deref()).await?;
            let alive = page.iter().filter(|link| link.tombstone.is_none()).count();
            linked += u64::try_from(alive).unwrap_or(u64::MAX);
            match next {
                Some(next) => after = Some(next),
                None => return Ok(linked),
            }
        }
    }

    pub(super) async fn check_all(&self) -> Vec<Check> {
        // What cannot be had from the vault is said by the check of the vault.
        let _known = self.watches.learn().await;
        let webhooks = self.watches.webhooks.known().keys().map(ToString::to_string).collect();
        let mut checks = self.crm.check(&webhooks).await;
        let connected = match self.calendars.connected(&self.settings, Timestamp::UNIX_EPOCH).await {
            Ok(connected) => connected,
            Err(fault) => {
                checks.push(Check {
                    subject: "accounts".to_owned(),
                    verdict: Verdict::Broken,
                    seen: fault.text,
                    remedy: "Correct what the text names, then check again.".to_owned(),
                });
                return checks;
            }
        };
        if connected.is_empty() {
            checks.push(Check {
                subject: "accounts with calendars".to_owned(),
                verdict: Verdict::Warning,
                seen: "none is connected".to_owned(),
                remedy: "Send users a link (`syncfleet accounts connect`).".to_owned(),
            });
        }
        checks
    }

    /// What a run of a record or of one event would do now. A calendar's changes are not asked for: that would move
    /// nothing here, but tells nothing either before they are applied.
    pub(super) async fn preview_run(&self, key: &RecordKey, now: Timestamp) -> Result<Preview, Fault> {
        let run = Run {
            key: key.clone(),
            operation: Operation::Update,
            cause: Cause::Manual,
            sweep_id: None,
            attempts_before: 0,
            is_suspect: false,
            trace_id: String::new(),
            guard: Arc::new(Unguarded),
            clock: Arc::new(SystemClock),
            hints: Arc::new(NoHints),
        };
        match Subject::read(key.id()) {
            Some(Subject::Record(record)) => {
                let found = self.crm.get(&record).await?;
                let (mut summaries, mut differences) = (Vec::new(), Vec::new());
                for account in self.accounts_of(&record, found.as_ref(), &run).await? {
                    let Some(open) = self.calendars.open(&account, &self.settings, now).await? else {
                        continue;
                    };
                    let rounds = Rounds::beside(self, &run, &open).await?;
                    let mut pair = rounds.pair().of_record(&record, found.as_ref());
                    let summary = match pair.plan().await? {
                        None => "is left alone".to_owned(),
                        Some(plan) => {
                            for action in &plan.actions {
                                let event = match &pair.event {
                                    Known::Found(event) => Some(&event.event),
                                    _ => None,
                                };
                                let meeting = match &pair.meeting {
                                    KnownRecord::Found(meeting) => Some(&meeting.event),
                                    _ => None,
                                };
                                differences.extend(differences_of(
                                    action,
                                    event,
                                    meeting,
                                    product(open.calendar.provider),
                                ));
                            }
                            reasons::summary(&plan)
                        }
                    };
                    summaries.push(format!("{}: {summary}", open.calendar.id));
                }
                if let Some(CrmFound::Unreadable { why, .. }) = &found {
                    summaries.push(why.clone());
                }
                if summaries.is_empty() {
                    summaries.push("no calendar has it, and none of its users has connected one".to_owned());
                }
                Ok(Preview { summary: summaries.join("; "), differences })
            }
            Some(Subject::Calendar(_)) => Ok(Preview {
                summary: "reads what changed in this calendar since the last time".to_owned(),
                differences: Vec::new(),
            }),
            Some(Subject::Watch(_)) => Ok(Preview {
                summary: "renews the watch of this calendar".to_owned(),
                differences: Vec::new(),
            }),
            Some(Subject::Event(..)) => Ok(Preview {
                summary: "reads this event, and looks at it again".to_owned(),
                differences: Vec::new(),
            }),
            None => Err(Fault::permanent(
                "record_id",
                format!("{key} names neither a calendar nor a record (meeting.ID, call.ID, PROVIDER.USER)."),
            )),
        }
    }
}

fn differences_of(
    action: &Action,
    event: Option<&Event>,
    meeting: Option<&Event>,
    product: &str,
) -> Vec<Difference> {
    let (system, present, target, fields) = match action {
        Action::UpdateEvent { target, fields, .. } => (product, event, target, fields),
        Action::UpdateMeeting { target, fields, .. } => ("EspoCRM", meeting, target, fields),
        _ => return Vec::new(),
    };
    fields
        .iter()
        .map(|field| Difference {
            system: system.to_owned(),
            field: format!("{field:?}").to_lowercase(),
            present: present.map(|present| present.show(*field)).filter(|text| !text.is_empty()),
            planned: Some(target.show(*field)).filter(|text| !text.is_empty()),
        })
        .collect()
}

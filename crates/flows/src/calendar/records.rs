//! A record's run: what changed in the CRM, for all calendars that have it or should.

use std::collections::BTreeSet;

use jiff::Timestamp;
use shared::envelope::Cause;
use shared::fault::Fault;
use shared::flow::{Outcome, Run};
use tracing::warn;
use vault::{AccountId, CrmUser};

use super::again::About;
use super::calendars::Opened;
use super::copies::{self, Copy};
use super::crm::CrmFound;
use super::failing;
use super::flow::CalendarFlow;
use super::pair::WrittenRecord;
use super::rounds::Rounds;
use super::sides::MeetingRef;

/// Passes through a record's calendars in one run.
const PASSES_MAX: u32 = 3;

/// What a record is gone through for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum News {
    /// It changed in the CRM; of its events, their calendars tell.
    OfRecord,
    /// Anything may have changed.
    Any,
}

impl CalendarFlow {
    /// Brings a record and its events into agreement.
    pub(super) async fn handle_record(&self, run: &Run, record: &MeetingRef) -> Result<Outcome, Fault> {
        let found = self.crm.get(record).await?;
        // Whoever asks for a look by hand has everything compared.
        let is_asked = matches!(run.cause, Cause::Manual | Cause::Replay);
        let news = if is_asked || self.is_noted(record).await? { News::Any } else { News::OfRecord };
        let (record, users) = (record.clone(), users_of(found.as_ref()));
        let wrote = self.settle_all(run, WrittenRecord { record, users, found }, None, news).await?;
        Ok(Outcome { actions: wrote, converged: true, look_again_at: None })
    }

    /// Goes through the calendars of a record until none of them has news for another one: what one says is for the
    /// others to hear, also for those before it. The first time `from` is left out, which wrote the record.
    async fn settle_all(
        &self,
        run: &Run,
        mut present: WrittenRecord,
        mut from: Option<&AccountId>,
        mut news: News,
    ) -> Result<Vec<&'static str>, Fault> {
        let mut wrote = Vec::new();
        for _ in 0..PASSES_MAX {
            let (actions, written, again) = self.pass(run, &present, from, news).await?;
            wrote.extend(actions);
            (present, from, news) = (written.unwrap_or(present), None, News::Any);
            if !again && !self.invites_twice(run, &present).await? {
                break;
            }
        }
        self.forget_record(&present.record).await?;
        Ok(wrote)
    }

    /// Whether somebody is invited by two events of a meeting, which a further pass takes back.
    async fn invites_twice(&self, run: &Run, present: &WrittenRecord) -> Result<bool, Fault> {
        let Some(CrmFound::Meeting(meeting)) = &present.found else { return Ok(false) };
        let known = self.copies(&present.record, run.clock.now()).await?;
        let copies: Vec<Copy> = known.into_iter().filter_map(|known| known.copy).collect();
        Ok(copies::invites_twice(&copies, &meeting.side, self.settings.send_mail))
    }

    /// Goes through all calendars once. What fails in one does not keep the others back. Answers the record as it was
    /// written, and whether other calendars than those after it have to hear of it.
    async fn pass(
        &self,
        run: &Run,
        before: &WrittenRecord,
        from: Option<&AccountId>,
        news: News,
    ) -> Result<(Vec<&'static str>, Option<WrittenRecord>, bool), Fault> {
        let (mut wrote, mut failed, mut earlier) = (Vec::new(), None, from.is_some());
        let mut present: Option<WrittenRecord> = None;
        let mut again = false;
        let record = &before.record;
        let accounts = self.accounts_with(record, &before.users, run.clock.now()).await?;
        for account in accounts.iter().filter(|account| Some(*account) != from) {
            let found = present.as_ref().unwrap_or(before).found.as_ref();
            match self.record_in(run, record, found, account, news).await {
                Ok((actions, written)) => {
                    wrote.extend(actions);
                    again |= written.is_some() && earlier;
                    present = written.or(present);
                }
                Err(fault) if failed.is_none() => failed = Some(fault),
                Err(fault) => {
                    warn!(error.type = fault.code, "A further calendar of the record failed: {fault}");
                }
            }
            earlier = true;
        }
        failed.map_or(Ok((wrote, present, again)), Err)
    }

    /// The accounts whose calendars have the record or are about to, and those of its users.
    pub(super) async fn accounts_of(
        &self,
        record: &MeetingRef,
        found: Option<&CrmFound>,
        run: &Run,
    ) -> Result<Vec<AccountId>, Fault> {
        self.accounts_with(record, &users_of(found), run.clock.now()).await
    }

    pub(super) async fn accounts_with(
        &self,
        record: &MeetingRef,
        users: &BTreeSet<String>,
        now: Timestamp,
    ) -> Result<Vec<AccountId>, Fault> {
        let connected = self.calendars.connected(&self.settings, now).await?;
        let linked: BTreeSet<String> =
            self.copies(record, now).await?.into_iter().map(|known| known.calendar).collect();
        let goes_out = self.settings.goes_out(record.kind);
        let concerns = |account: &&AccountId| {
            let user = user_of(account);
            let prefix = format!("{}.{user}.", account.provider);
            goes_out && users.contains(user) || linked.iter().any(|calendar| calendar.starts_with(&prefix))
        };
        Ok(connected.keys().filter(concerns).cloned().collect())
    }

    /// Brings a record that was just written into the other calendars that have it or should. What fails here is found
    /// by the sweep, since the version there is another one; of a deletion, by what was noted before it.
    pub(super) async fn spread(
        &self,
        run: &Run,
        written: WrittenRecord,
        from: &AccountId,
    ) -> Vec<&'static str> {
        match Box::pin(self.settle_all(run, written, Some(from), News::Any)).await {
            Ok(wrote) => wrote,
            Err(fault) => {
                warn!(error.type = fault.code, "Other calendars of a record are left to the sweep: {fault}");
                Vec::new()
            }
        }
    }

    async fn record_in(
        &self,
        run: &Run,
        record: &MeetingRef,
        found: Option<&CrmFound>,
        account: &AccountId,
        news: News,
    ) -> Result<(Vec<&'static str>, Option<WrittenRecord>), Fault> {
        let opened = self.calendars.open(account, &self.settings, run.clock.now()).await;
        let open = match opened {
            Ok(Some(open)) => open,
            Ok(None) => return Ok((Vec::new(), None)),
            Err(fault) => return Err(self.of_account(account, fault, run).await),
        };
        match self.pair_of(run, record, found, &open, news).await {
            Ok(done) => Ok(done),
            Err(fault) if failing::is_over(&fault) => Err(self.of_account(account, fault, run).await),
            Err(fault) => Err(fault),
        }
    }

    async fn pair_of(
        &self,
        run: &Run,
        record: &MeetingRef,
        found: Option<&CrmFound>,
        open: &Opened,
        news: News,
    ) -> Result<(Vec<&'static str>, Option<WrittenRecord>), Fault> {
        let mut rounds = Rounds::beside(self, run, open).await?;
        let mut pair = rounds.pair().of_record(record, found);
        pair.is_news_of_record = news == News::OfRecord;
        rounds.look(About::Record(record), pair).await?;
        // Days of a series that go with it have records of their own, and notes where others have to hear.
        Ok((rounds.wrote, rounds.written.filter(|written| written.record == *record)))
    }

    /// A record waits for an account that must be connected again; its user is told once.
    async fn of_account(&self, account: &AccountId, fault: Fault, run: &Run) -> Fault {
        if !failing::is_over(&fault) {
            return fault;
        }
        if let Err(problem) = self.ask_to_reconnect(account, &fault, run.clock.now()).await {
            warn!(error.type = problem.code, "The user of an account could not be told: {problem}");
        }
        fault
    }
}

fn user_of(account: &AccountId) -> &str {
    account.user().map_or("", CrmUser::as_str)
}

fn users_of(found: Option<&CrmFound>) -> BTreeSet<String> {
    match found {
        Some(CrmFound::Meeting(meeting)) => meeting.side.users.clone(),
        Some(CrmFound::Unreadable { .. }) | None => BTreeSet::new(),
    }
}

//! The flow as the engine sees it.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::Value;
use shared::fault::Fault;
use shared::flow::{
    Check, Failure, Flow, FlowSpec, Outcome, Preview, Run, SourceStatus, SweepPage, WebhookContent,
    WebhookRefusal, WebhookRequest,
};
use shared::meter::Meter;
use shared::names::CONFLICTS;
use shared::ports::state::State;
use shared::record_key::{FlowName, RecordKey};
use vault::{AccountId, Accounts, Connecting, CrmUser, ProviderName, Secrets};

use super::NAME;
use super::action::Plan;
use super::calendars::Calendars;
use super::client::CalendarProvider;
use super::copies::Copy;
use super::crm::CrmClient;
use super::key::Subject;
use super::link::PairLink;
use super::links::{KnownCopy, Links};
use super::people::People;
use super::plan::Policy;
use super::settings::CalendarSettings;
use super::sides::MeetingRef;
use super::watch::Watches;
use crate::guard::MassGuard;

/// The flow.
#[derive(Debug)]
pub struct CalendarFlow {
    spec: FlowSpec,
    pub(super) settings: CalendarSettings,
    pub(super) crm: Arc<dyn CrmClient>,
    pub(super) calendars: Calendars,
    pub(super) links: Links,
    pub(super) people: People,
    pub(super) guard: MassGuard,
    pub(super) watches: Watches,
    pub(super) connecting: Connecting,
    pub(super) state: Arc<dyn State>,
    pub(super) meter: Arc<dyn Meter>,
}

/// What the flow is made of.
#[derive(Debug)]
pub struct CalendarParts {
    /// Its settings.
    pub settings: CalendarSettings,
    /// The CRM.
    pub crm: Arc<dyn CrmClient>,
    /// Calendars, by the provider of their accounts.
    pub providers: BTreeMap<ProviderName, Arc<dyn CalendarProvider>>,
    /// The accounts.
    pub accounts: Accounts,
    /// Makes links to connect accounts with.
    pub connecting: Connecting,
    /// The secrets of webhooks and watches.
    pub secrets: Secrets,
    /// The store.
    pub state: Arc<dyn State>,
    /// Metrics.
    pub meter: Arc<dyn Meter>,
}

impl CalendarFlow {
    /// Sets the flow up. Sends nothing.
    ///
    /// # Errors
    /// For the key of `webhook_secrets` that is no id of a webhook.
    pub fn new(parts: CalendarParts) -> Result<Self, String> {
        let CalendarParts { settings, crm, providers, accounts, connecting, secrets, state, meter } = parts;
        let spec = FlowSpec {
            name: FlowName::new(NAME).map_err(|e| e.to_string())?,
            title: "EspoCRM meetings and calls ↔ Outlook and Google calendars",
            shards: settings.shards,
            retry: settings.retry.clone(),
            run_time_max: settings.run_time_max,
        };
        let watches = Watches::new(secrets, &settings.webhook_secrets).map_err(|e| e.to_string())?;
        let guard = MassGuard {
            flow: NAME,
            ask_again_label: "calendar.ask_again_seconds",
            share_max: settings.mass_change_share_max,
            count_min: settings.mass_change_count_min,
            state: state.clone(),
            meter: meter.clone(),
        };
        let calendars = Calendars::new(accounts, providers, spec.name.clone(), state.clone());
        Ok(Self {
            spec,
            crm,
            calendars,
            links: Links(state.clone()),
            people: People::default(),
            guard,
            watches,
            connecting,
            state,
            meter,
            settings,
        })
    }

    /// The key of a message.
    pub(super) fn key(&self, subject: &Subject) -> Result<RecordKey, Fault> {
        subject
            .key(&self.spec.name)
            .map_err(|e| Fault::bug("record_key", format!("An id is no record id: {e}.")))
    }

    /// Says what a plan amounts to, in metrics.
    pub(super) fn note(&self, plan: &Plan) {
        if plan.conflicts > 0 {
            let policy = match self.settings.policy {
                Policy::NewestWins => "newest_wins",
                Policy::CrmWins => "crm_wins",
                Policy::CalendarWins => "remote_wins",
                Policy::Ask => "ask",
            };
            let conflicts = u64::try_from(plan.conflicts).unwrap_or(u64::MAX);
            self.meter.add(&CONFLICTS, &[NAME, policy], conflicts);
        }
    }
}

impl CalendarFlow {
    /// The copies of a record that are linked and alive, and the calendars that had one. What was linked in a calendar that
    /// is not connected any more has nothing to say.
    pub(super) async fn copies(&self, record: &MeetingRef, now: Timestamp) -> Result<Vec<KnownCopy>, Fault> {
        let current = self.calendars.current(&self.settings, now).await?;
        let (copies, has_others) = self.links.copies(record, &current).await?;
        if !has_others || !self.calendars.is_old(now) {
            return Ok(copies);
        }
        // Just connected, perhaps.
        self.calendars.forget_list();
        let current = self.calendars.current(&self.settings, now).await?;
        Ok(self.links.copies(record, &current).await?.0)
    }

    /// The copy that a link's event follows by itself: the organiser's, which is linked and alive.
    pub(super) async fn followed(&self, link: &PairLink, now: Timestamp) -> Result<Option<Copy>, Fault> {
        let (true, Some(record), Some(key)) = (link.follows(), &link.meeting, &link.key) else {
            return Ok(None);
        };
        let copies = self.copies(record, now).await?;
        Ok(copies.into_iter().filter_map(|known| known.copy).find(|it| it.is_organizer && it.key == *key))
    }
}

#[async_trait]
impl Flow for CalendarFlow {
    fn spec(&self) -> &FlowSpec {
        &self.spec
    }

    async fn handle(&self, run: &Run) -> Result<Outcome, Fault> {
        match Subject::read(run.key.id()) {
            Some(Subject::Calendar(account)) => self.handle_calendar(run, &account).await,
            Some(Subject::Event(calendar, event)) => self.handle_event(run, &calendar, event).await,
            Some(Subject::Watch(calendar)) => self.handle_watch(run, &calendar).await,
            Some(Subject::Record(record)) => self.handle_record(run, &record).await,
            None => {
                let text =
                    format!("{} names neither a calendar nor a record; nothing can be looked up.", run.key);
                Err(Fault::permanent("record_id", text))
            }
        }
    }

    async fn leave(&self) {
        self.calendars.leave().await;
        self.calendars.accounts().leave().await;
        self.crm.leave().await;
    }

    async fn report(&self, run: &Run, failure: &Failure<'_>) -> Result<(), Fault> {
        self.report_failure(run, failure).await
    }

    async fn sweep(
        &self,
        cursor: Option<&Value>,
        sweep_id: &str,
        now: Timestamp,
    ) -> Result<SweepPage, Fault> {
        self.sweep_page(cursor, sweep_id, now).await
    }

    fn read_webhook(&self, request: &WebhookRequest<'_>) -> Result<WebhookContent, WebhookRefusal> {
        self.read_delivery(request)
    }

    fn key_of_account(&self, provider: &str, crm_user: &str) -> Option<RecordKey> {
        let provider = ProviderName::new(provider).ok()?;
        let account = AccountId::of_user(provider, CrmUser::new(crm_user).ok()?);
        self.calendars.provider(&account)?;
        account.record_key(&self.spec.name)
    }

    async fn learn(&self) -> Result<bool, Fault> {
        self.watches.learn().await
    }

    async fn check(&self) -> Vec<Check> {
        self.check_all().await
    }

    async fn preview(&self, key: &RecordKey, now: Timestamp) -> Result<Preview, Fault> {
        self.preview_run(key, now).await
    }

    async fn sources(&self, now: Timestamp) -> Result<Vec<SourceStatus>, Fault> {
        self.standings(now).await
    }

    async fn held_back(&self) -> Result<Option<String>, Fault> {
        self.guard.held_text().await
    }

    async fn release(&self, by: &str, now: Timestamp) -> Result<u32, Fault> {
        self.guard.release(by, now).await
    }
}

//! `parties`: the master data of parties to a case, with their phone numbers and mail addresses, kept the same in
//! EspoCRM (CBeteiligte) and Advoware (Beteiligte).
//!
//! # The rules
//! - A message names a CBeteiligte; a run reads both sides afresh, plans (`plan.rs`, pure), and executes.
//! - No key (`betnr`): it is created in Advoware. The intent is written down before the request; an intent without
//!   outcome means: search first, adopt the one party that fits and is linked to nobody, create when there is
//!   none, stop when there are several and other records' intents do not say whose they are.
//! - Else three-way, field by field, with the base both sides last agreed on. Where there is none (first sync),
//!   equal records are adopted, else EspoCRM wins and what it overwrites is kept in the link's history. Data of an
//!   older integration, with neither base nor row id, is judged by `modifiedAt` and `geaendertAm` against
//!   `advowareLastSync`. Change detection is by content, never by our own time stamps: contents are compared even
//!   where the row id is the known one, which comes to the same and needs no second path.
//! - Both sides changed a field to different values: the policy decides, the user is told once, and the value
//!   that lost is kept. `ask` writes nothing; once the person has cleared the status (anything but `conflict`,
//!   `syncing`, `failed`, `permanently_failed`), what EspoCRM says counts.
//! - Person or company: an Advoware party with a first name is a person, else a company. A person without a first
//!   name cannot be told from a company there; one that EspoCRM or the base knows as such stays one. Kind and
//!   names are one value as soon as anybody changes the kind, so the two are never mixed. Date of birth is mapped
//!   for persons only, register number for companies only; where a kind changes, what is not mapped any more is
//!   left alone on both sides, and what is newly mapped is merged with an empty base.
//! - A salutation without counterpart is left as it is on both sides, with a warning.
//! - Before the first write of a run, the link notes what is begun (`link::Attempt`) and what will be overwritten.
//!   After a crash or a lost answer, what has arrived counts as agreed: an edit made since is a change, no conflict.
//! - Nothing is ever deleted in Advoware. A deleted CBeteiligte leaves a tombstone; a party gone from Advoware is
//!   marked in EspoCRM and never created anew, unless a person empties `betnr` of such a record.
//! - One `betnr` in two records: neither is synchronised; both become dead letters that name each other.
//! - Phone numbers and mail addresses have rules of their own: see `communications`.
//! - What a sweep overwrites or tombstones is counted; beyond the set share it waits for a person.
//!
//! Vendors: <https://docs.espocrm.com/development/api/>, Advoware's API pages on its support site.

mod action;
mod agree;
mod apply;
mod check;
mod claim;
pub(crate) mod communications;
mod conclude;
mod execute;
mod link;
mod look;
mod lost;
mod map;
mod marker;
mod merge;
mod needs;
mod notice;
mod older;
mod party;
mod plan;
mod preview;
mod report;
mod settings;
mod sides;
mod sweep;
mod webhook;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use connector_advoware::Advoware;
use connector_espocrm::provision::Needs;
use connector_espocrm::{EntityType, EspoCrm, EspoId};
use jiff::Timestamp;
use serde_json::Value;
use shared::fault::Fault;
use shared::flow::{
    Check, Failure, Flow, FlowSpec, Outcome, Preview, Run, SweepPage, WebhookContent, WebhookRefusal,
    WebhookRequest,
};
use shared::meter::Meter;
use shared::ports::state::State;
use shared::record_key::{FlowName, RecordKey};

use crate::guard::MassGuard;

pub use communications::kind::CommunicationsSettings;
pub use link::LookAgain;
pub use plan::Policy;
pub use settings::{PartiesSettings, SettingsError};

use crate::webhook_secrets::WebhookSecrets;
use communications::kind::Kinds;
use party::SalutationTable;
use plan::Rules;

/// The flow's name.
pub const NAME: &str = "parties";

/// The flow.
#[derive(Debug)]
pub struct Parties {
    spec: FlowSpec,
    crm: EspoCrm,
    advoware: Advoware,
    state: Arc<dyn State>,
    meter: Arc<dyn Meter>,
    entity_type: EntityType,
    table: SalutationTable,
    rules: Rules,
    /// Salutations that EspoCRM refused since this process started; at most those of the table.
    refused: Mutex<BTreeSet<String>>,
    secrets: WebhookSecrets,
    guard: MassGuard,
    settings: PartiesSettings,
}

impl Parties {
    /// Sets the flow up. Sends nothing.
    ///
    /// # Errors
    /// [`SettingsError`] for a setting that cannot be used.
    pub fn new(
        settings: PartiesSettings,
        crm: EspoCrm,
        advoware: Advoware,
        state: Arc<dyn State>,
        meter: Arc<dyn Meter>,
    ) -> Result<Self, SettingsError> {
        let entity_type = EntityType::new(settings.entity_type.clone())
            .map_err(|e| SettingsError::new("entity_type", e))?;
        if let Some(id) = &settings.notify_user_id {
            EspoId::new(id.clone()).map_err(|e| SettingsError::new("notify_user_id", e))?;
        }
        let secrets = WebhookSecrets::configured(NAME, &settings.webhook_secrets)
            .map_err(|e| SettingsError::new("webhook_secrets", e))?;
        let spec = FlowSpec {
            name: FlowName::new(NAME).map_err(|e| SettingsError::new("name", e))?,
            title: "EspoCRM CBeteiligte ↔ Advoware Beteiligte",
            shards: settings.shards,
            retry: settings.retry.clone(),
            run_time_max: settings.run_time_max,
        };
        let rules = Rules {
            policy: settings.policy,
            look_again: settings.look_again,
            last_sync_age_max: settings.look_again.max,
            fallback_user_id: settings.notify_user_id.clone(),
            communications: settings.communications.as_ref().map(kinds).transpose()?,
            ..Rules::default()
        };
        let table = SalutationTable::new(settings.salutations.clone());
        let guard = MassGuard {
            flow: NAME,
            ask_again_label: "parties.ask_again_seconds",
            share_max: settings.mass_change_share_max,
            count_min: settings.mass_change_count_min,
            state: state.clone(),
            meter: meter.clone(),
        };
        let refused = Mutex::default();
        Ok(Self {
            spec,
            crm,
            advoware,
            state,
            meter,
            entity_type,
            table,
            rules,
            refused,
            secrets,
            guard,
            settings,
        })
    }

    /// With the secrets of the webhooks that were provisioned.
    #[must_use]
    pub fn with_vault(mut self, vault: vault::Secrets) -> Self {
        self.secrets.vault = Some(vault);
        self
    }

    /// What the flow needs of EspoCRM.
    pub fn needs(&self) -> Needs {
        needs::needs(&self.entity_type, &self.table, self.rules.communications.as_ref())
    }

    /// The same, before there is a flow: from its settings alone.
    ///
    /// # Errors
    /// As [`Parties::new`].
    pub fn needs_of(settings: &PartiesSettings) -> Result<Needs, SettingsError> {
        let entity_type = EntityType::new(settings.entity_type.clone())
            .map_err(|e| SettingsError::new("entity_type", e))?;
        let table = SalutationTable::new(settings.salutations.clone());
        let kinds = settings.communications.as_ref().map(kinds).transpose()?;
        Ok(needs::needs(&entity_type, &table, kinds.as_ref()))
    }

    /// The rules, with what was learned about EspoCRM's options.
    fn rules(&self) -> Rules {
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Rules { refused_salutations: refused, ..self.rules.clone() }
    }

    fn key(&self, id: &str) -> Result<RecordKey, Fault> {
        RecordKey::new(self.spec.name.clone(), id)
            .map_err(|e| Fault::bug("record_key", format!("An id of EspoCRM is no record id: {e}.")))
    }
}

/// Reads a number at once: the first one costs a quarter of a second, and no record has to wait for it.
fn kinds(settings: &CommunicationsSettings) -> Result<Kinds, SettingsError> {
    let kinds = Kinds::new(settings).map_err(|(key, why)| SettingsError::new(key, why))?;
    communications::value::read("+493012345678", kinds.country);
    Ok(kinds)
}

/// The id of the CBeteiligte that a key names.
fn crm_id(key: &RecordKey) -> Result<EspoId, Fault> {
    EspoId::new(key.id())
        .map_err(|e| Fault::permanent("record_id", format!("{e}; nothing can be looked up.")))
}

#[async_trait]
impl Flow for Parties {
    fn spec(&self) -> &FlowSpec {
        &self.spec
    }

    async fn handle(&self, run: &Run) -> Result<Outcome, Fault> {
        self.execute(run).await
    }

    async fn leave(&self) {
        self.crm.leave().await;
        self.advoware.leave().await;
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
        webhook::read(self, request).map(WebhookContent::Items)
    }

    async fn learn(&self) -> Result<bool, Fault> {
        self.secrets.learn().await
    }

    async fn check(&self) -> Vec<Check> {
        self.check_all().await
    }

    async fn preview(&self, key: &RecordKey, now: Timestamp) -> Result<Preview, Fault> {
        self.preview_run(key, now).await
    }

    async fn held_back(&self) -> Result<Option<String>, Fault> {
        self.guard.held_text().await
    }

    async fn release(&self, by: &str, now: Timestamp) -> Result<u32, Fault> {
        self.guard.release(by, now).await
    }
}

#[cfg(test)]
mod golden;
#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

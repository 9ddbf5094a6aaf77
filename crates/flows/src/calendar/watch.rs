//! Watches: the vendors are asked to say when something changes. What they say is a hint; sweeps find the rest.
//!
//! A watch's secret is made of the installation's key and the calendar's id, so nothing has to be looked up to verify a
//! notification.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use shared::clock::{elapsed, later};
use shared::fault::Fault;
use shared::flow::{Outcome, Run};
use shared::ports::state::Write;
use tracing::{debug, warn};
use url::Url;

use super::NAME;
use super::calendars::Opened;
use super::client::{Watch, WatchWanted};
use super::flow::CalendarFlow;
use super::key::{CalendarId, Subject, digest};
use crate::webhook_secrets::WebhookSecrets;

/// What a key is derived for.
const PURPOSE: &str = "calendar watches";
/// How long a watch is asked for; Outlook's longest is just under seven days.
const LIFE: Duration = Duration::from_secs(6 * 24 * 3_600);
/// Digits that tell secrets apart.
const MARK_DIGITS: usize = 16;
/// How long a watch that could not be had is not asked for again.
const PAUSE: Duration = Duration::from_secs(15 * 60);

/// The secrets with which deliveries are verified.
#[derive(Debug)]
pub(super) struct Watches {
    secrets: vault::Secrets,
    pub(super) webhooks: WebhookSecrets,
}

/// A watch as it is kept.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    id: String,
    resource_id: Option<String>,
    since: Timestamp,
    until: Timestamp,
    address: String,
    /// Tells secrets apart: with another key of the installation it is another one.
    #[serde(default)]
    secret: String,
    /// Not to be asked for again before then.
    #[serde(default)]
    not_before: Option<Timestamp>,
}

impl Kept {
    /// Half of its life: vendors cut what is asked for.
    fn renew_at(&self) -> Timestamp {
        later(self.since, elapsed(self.since, self.until) / 2)
    }
}

fn key(open: &Opened) -> String {
    format!("calendar/watch/{}", open.id.text())
}

impl Watches {
    pub(super) fn new(
        secrets: vault::Secrets,
        configured: &BTreeMap<String, SecretString>,
    ) -> Result<Self, connector_espocrm::IdError> {
        let mut webhooks = WebhookSecrets::configured(NAME, configured)?;
        webhooks.vault = Some(secrets.clone());
        Ok(Self { secrets, webhooks })
    }

    pub(super) async fn learn(&self) -> Result<bool, Fault> {
        self.webhooks.learn().await
    }

    /// The secret of a calendar's watches.
    pub(super) fn secret(&self, calendar: &str) -> Result<SecretString, Fault> {
        let signed = self.secrets.sign(PURPOSE, calendar.as_bytes());
        let signed = signed.map_err(|error| Fault::permanent("vault", format!("{error}.")))?;
        Ok(SecretString::from(hex::encode(signed)))
    }

    /// Keeps the watch of a calendar alive. Without it the sweeps do all, so nothing fails here.
    /// `at_once` for one that has to be renewed now. Answers whether one was made: then what changed since the calendar
    /// was last read may have been told to nobody.
    pub(super) async fn keep(&self, flow: &CalendarFlow, open: &Opened, at_once: bool, run: &Run) -> bool {
        let Some(public_url) = &flow.settings.public_url else { return false };
        let fault = match self.kept(flow, open, public_url, at_once, run).await {
            Ok(is_new) => return is_new,
            Err(fault) => fault,
        };
        warn!(
            calendar = open.calendar.id,
            error.type = fault.code,
            "The calendar does not notify us of changes, so they wait for the sweep: {fault}"
        );
        if let Err(problem) = self.pause(flow, open, run.clock.now()).await {
            debug!("That could not be noted: {problem}");
        }
        false
    }

    /// Asks for no watch for a while. One that there is stays known: it tells of changes until it ends, and has to be ended
    /// once another one stands.
    async fn pause(&self, flow: &CalendarFlow, open: &Opened, now: Timestamp) -> Result<(), Fault> {
        let known = self.known(flow, open).await?;
        let none = || Kept {
            id: String::new(),
            resource_id: None,
            since: now,
            until: now,
            address: String::new(),
            secret: String::new(),
            not_before: None,
        };
        let kept = Kept { not_before: Some(later(now, PAUSE)), ..known.unwrap_or_else(none) };
        self.write(flow, open, &kept).await
    }

    async fn known(&self, flow: &CalendarFlow, open: &Opened) -> Result<Option<Kept>, Fault> {
        let known = flow.state.get(&key(open)).await?;
        Ok(known.and_then(|document| serde_json::from_slice(&document.value).ok()))
    }

    /// Answers whether a watch was made.
    async fn kept(
        &self,
        flow: &CalendarFlow,
        open: &Opened,
        public_url: &Url,
        at_once: bool,
        run: &Run,
    ) -> Result<bool, Fault> {
        let now = run.clock.now();
        let known = self.known(flow, open).await?;
        let address = address(public_url, &open.id.text());
        let secret = self.secret(&open.id.text())?;
        let mark = digest(&[secret.expose_secret()], MARK_DIGITS);
        let known = known
            .map(|kept| if kept.secret == mark { kept } else { Kept { address: String::new(), ..kept } });
        if let Some(kept) = &known {
            let lasts = !at_once && now < kept.renew_at();
            if kept.not_before.is_some_and(|at| now < at) || (lasts && kept.address == address) {
                return Ok(false);
            }
        }
        let until = later(now, LIFE);
        let before = known.filter(|kept| !kept.id.is_empty());
        if let Some(kept) = before.as_ref().filter(|kept| kept.until > now && kept.address == address) {
            let watch = watch_of(kept);
            if let Some(renewed) = open.client.renew(&watch, until).await? {
                self.write(flow, open, &kept_of(&renewed, &address, &mark, now)).await?;
                return Ok(false);
            }
        }
        let wanted = WatchWanted {
            id: format!("{:032x}", fastrand::u128(..)),
            lifecycle_address: format!("{address}/lifecycle"),
            address: address.clone(),
            secret,
            until,
        };
        let watch = open.client.watch(&wanted).await?;
        self.write(flow, open, &kept_of(&watch, &address, &mark, now)).await?;
        if let Some(kept) = before.filter(|kept| kept.id != watch.id)
            && let Err(fault) = open.client.unwatch(&watch_of(&kept)).await
        {
            // It ends by itself, and tells nothing that is wrong until then.
            debug!("The watch of before could not be ended: {fault}");
        }
        Ok(true)
    }

    async fn write(&self, flow: &CalendarFlow, open: &Opened, kept: &Kept) -> Result<(), Fault> {
        // Serialising plain structs cannot fail.
        let value = serde_json::to_vec(kept).unwrap_or_default();
        flow.state.write(Write::put(&key(open), &value)).await?;
        Ok(())
    }
}

impl CalendarFlow {
    /// Renews the watch of a calendar now, since the vendor says that it ends or has ended. Where another one was made, the
    /// calendar is read: what changed before that was told to nobody.
    pub(super) async fn handle_watch(&self, run: &Run, calendar: &CalendarId) -> Result<Outcome, Fault> {
        let opened = self.calendars.open(&calendar.account, &self.settings, run.clock.now()).await?;
        // It was taken out, or another mailbox is connected now.
        if let Some(open) = opened.filter(|open| open.id == *calendar)
            && self.watches.keep(self, &open, true, run).await
        {
            run.hints.hint(run, &[self.key(&Subject::Calendar(calendar.account.clone()))?]).await?;
        }
        Ok(Outcome { converged: true, ..Outcome::default() })
    }
}

fn address(public_url: &Url, calendar: &str) -> String {
    let base = public_url.as_str().trim_end_matches('/');
    format!("{base}/webhooks/{NAME}/watch/{calendar}")
}

fn watch_of(kept: &Kept) -> Watch {
    Watch { id: kept.id.clone(), resource_id: kept.resource_id.clone(), until: kept.until }
}

fn kept_of(watch: &Watch, address: &str, mark: &str, since: Timestamp) -> Kept {
    let Watch { id, resource_id, until } = watch.clone();
    Kept {
        id,
        resource_id,
        since,
        until,
        address: address.to_owned(),
        secret: mark.to_owned(),
        not_before: None,
    }
}

//! The calendars that users connected: opened once for each process, with what is known of their owners.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use shared::clock::elapsed;
use shared::fault::Fault;
use shared::ports::state::{READ_KEYS_MAX, State, Write};
use shared::record_key::FlowName;
use tracing::debug;
use vault::{AccountId, AccountSummary, Accounts, GrantState, ProviderName};

use super::client::{CalendarClient, CalendarProvider, Owner};
use super::cursor::Reach;
use super::key::{CalendarId, digest};
use super::settings::CalendarSettings;
use super::sides::{Calendar, Provider};

/// How long the list of accounts is used before it is read again.
const ACCOUNTS_FRESH: Duration = Duration::from_secs(30);
/// How long it says for certain who is not connected.
const LIST_JUST_READ: Duration = Duration::from_secs(1);
/// Accounts read in one page.
const PAGE: u32 = 200;
/// Accounts at most.
const ACCOUNTS_MAX: usize = 20_000;
/// How long the vendor's word on who owns a mailbox is kept.
const OWNER_KEPT: Duration = Duration::from_secs(24 * 3_600);
/// How long it is remembered whose a mailbox is: longer than until the vendor is asked again.
const MAILBOX_KEPT: Duration = Duration::from_secs(7 * 24 * 3_600);
/// Calendars that are opened at once to learn whose mailboxes they are.
const OPENED_AT_ONCE_MAX: usize = 50;
/// Digits of the hash of a mail address.
const MAIL_DIGITS: usize = 32;

/// A calendar that can be asked.
#[derive(Debug, Clone)]
pub(super) struct Opened {
    /// Our id of it.
    pub id: CalendarId,
    /// For plans.
    pub calendar: Calendar,
    /// Addresses of its owner.
    pub owner: Owner,
    /// How far it is synchronised.
    pub reach: Reach,
    /// Users who have a calendar that is synchronised.
    pub connected: Arc<BTreeSet<String>>,
    /// When its user last agreed to it.
    pub granted_at: Timestamp,
    /// Where to ask.
    pub client: Arc<dyn CalendarClient>,
}

/// The accounts whose calendars are synchronised.
pub(super) type Connected = Arc<BTreeMap<AccountId, AccountSummary>>;

/// The calendars of all accounts.
#[derive(Debug)]
pub(super) struct Calendars {
    accounts: Accounts,
    providers: BTreeMap<ProviderName, Arc<dyn CalendarProvider>>,
    flow: FlowName,
    state: Arc<dyn State>,
    clients: Mutex<HashMap<CalendarId, Arc<dyn CalendarClient>>>,
    list: Mutex<Option<(Timestamp, Connected)>>,
    /// The list whose mailboxes were looked at last.
    looked_at: Mutex<Option<Connected>>,
}

/// What is known of a mailbox.
#[derive(Debug, Serialize, Deserialize)]
struct KnownOwner {
    mail: String,
    aliases: Vec<String>,
    /// Since when: another connection may be another mailbox.
    granted_at: Timestamp,
}

/// Whose a mailbox is.
#[derive(Debug, Serialize, Deserialize)]
struct MailboxOf {
    account: AccountId,
    /// Since when: another connection may be another mailbox.
    granted_at: Timestamp,
}

fn owner_key(calendar: &CalendarId) -> String {
    format!("calendar/owner/{}", calendar.text())
}

fn mailbox_key(mail: &str) -> String {
    format!("calendar/mailbox/{}", digest(&[mail], MAIL_DIGITS))
}

impl Calendars {
    pub(super) fn new(
        accounts: Accounts,
        providers: BTreeMap<ProviderName, Arc<dyn CalendarProvider>>,
        flow: FlowName,
        state: Arc<dyn State>,
    ) -> Self {
        Self {
            accounts,
            providers,
            flow,
            state,
            clients: Mutex::default(),
            list: Mutex::default(),
            looked_at: Mutex::default(),
        }
    }

    pub(super) fn accounts(&self) -> &Accounts {
        &self.accounts
    }

    /// The accounts whose calendars are synchronised.
    pub(super) async fn connected(
        &self,
        settings: &CalendarSettings,
        now: Timestamp,
    ) -> Result<Connected, Fault> {
        let known = self.list.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let is_fresh = |at: Timestamp| at <= now && elapsed(at, now) < ACCOUNTS_FRESH;
        if let Some((_, list)) = known.filter(|(at, _)| is_fresh(*at)) {
            return Ok(list);
        }
        let mut found = BTreeMap::new();
        let mut after = None;
        loop {
            let page = self.accounts.list(after.as_ref(), PAGE).await.map_err(|error| error.fault())?;
            let Some(last) = page.last().map(|listed| listed.account.clone()) else { break };
            for listed in page {
                let has_calendars = self.providers.contains_key(&listed.account.provider);
                let serves = listed.account.user().is_some_and(|user| settings.serves(user.as_str()));
                if let Some(summary) = listed.summary.filter(|_| has_calendars && serves) {
                    found.insert(listed.account, summary);
                }
            }
            if found.len() >= ACCOUNTS_MAX {
                break;
            }
            after = Some(last);
        }
        let found = Arc::new(found);
        *self.list.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, found.clone()));
        Ok(found)
    }

    /// The calendars of these accounts, as their mailboxes and the settings are now.
    pub(super) async fn current(
        &self,
        settings: &CalendarSettings,
        now: Timestamp,
    ) -> Result<BTreeMap<String, Provider>, Fault> {
        let connected = self.connected(settings, now).await?;
        let calendar = |(account, summary): (&AccountId, &AccountSummary)| {
            let name = settings.calendar_of(account);
            let id = CalendarId::new(account.clone(), summary.mailbox.as_deref(), name);
            Some((id.text(), self.provider(account)?))
        };
        Ok(connected.iter().filter_map(calendar).collect())
    }

    /// Whether the list of accounts was not read just now.
    pub(super) fn is_old(&self, now: Timestamp) -> bool {
        let list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        list.as_ref().is_none_or(|(at, _)| elapsed(*at, now) >= LIST_JUST_READ)
    }

    /// The list of accounts is read anew when it is needed next.
    pub(super) fn forget_list(&self) {
        *self.list.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Users who have a calendar that is synchronised.
    pub(super) async fn users(
        &self,
        settings: &CalendarSettings,
        now: Timestamp,
    ) -> Result<BTreeSet<String>, Fault> {
        let connected = self.connected(settings, now).await?;
        Ok(connected
            .keys()
            .filter_map(|account| account.user().map(|user| user.as_str().to_owned()))
            .collect())
    }

    /// Whose calendars a provider has; none for one that is not configured.
    pub(super) fn provider(&self, account: &AccountId) -> Option<Provider> {
        self.providers.get(&account.provider).map(|provider| provider.provider())
    }

    /// Opens the calendar of an account; none where it is not connected.
    pub(super) async fn open(
        &self,
        account: &AccountId,
        settings: &CalendarSettings,
        now: Timestamp,
    ) -> Result<Option<Opened>, Fault> {
        let (Some(provider), Some(user)) = (self.providers.get(&account.provider), account.user()) else {
            return Ok(None);
        };
        if !settings.serves(user.as_str()) {
            return Ok(None);
        }
        let summary = match self.connected(settings, now).await?.get(account) {
            Some(summary) => Some(summary.clone()),
            // Just connected, perhaps: then the list is old, and may lack others who were.
            None => {
                let found = self.accounts.account(account).await.map_err(|error| error.fault())?;
                if found.is_some() {
                    self.forget_list();
                }
                found
            }
        };
        let Some(summary) = summary else { return Ok(None) };
        let name = settings.calendar_of(account);
        let id = CalendarId::new(account.clone(), summary.mailbox.as_deref(), name);
        let known = self.clients.lock().unwrap_or_else(PoisonError::into_inner).get(&id).cloned();
        let client = match known {
            Some(client) => client,
            None => {
                let client = provider.open(
                    account,
                    self.accounts.source(account.clone(), account.record_key(&self.flow)),
                    name,
                )?;
                let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
                clients.entry(id.clone()).or_insert(client).clone()
            }
        };
        let owner = self.owner(&id, &summary, client.as_ref()).await?;
        let kind = provider.provider();
        let calendar = Calendar {
            id: id.text(),
            provider: kind,
            user_id: user.as_str().to_owned(),
            mail: owner.mail.clone(),
        };
        let reach = settings.reach(user.as_str());
        let connected = Arc::new(self.users(settings, now).await?);
        let granted_at = summary.granted_at;
        Ok(Some(Opened { id, calendar, owner, reach, connected, granted_at, client }))
    }

    async fn owner(
        &self,
        id: &CalendarId,
        summary: &AccountSummary,
        client: &dyn CalendarClient,
    ) -> Result<Owner, Fault> {
        let key = owner_key(id);
        let known = self.state.get(&key).await?;
        let known = known.and_then(|document| serde_json::from_slice::<KnownOwner>(&document.value).ok());
        if let Some(known) = known.filter(|known| known.granted_at == summary.granted_at) {
            return Ok(Owner { mail: known.mail, aliases: known.aliases });
        }
        let owner = client.owner().await?;
        let known = KnownOwner {
            mail: owner.mail.clone(),
            aliases: owner.aliases.clone(),
            granted_at: summary.granted_at,
        };
        // Serialising plain structs cannot fail.
        let value = serde_json::to_vec(&known).unwrap_or_default();
        self.state.write(Write { time_to_live: Some(OWNER_KEPT), ..Write::put(&key, &value) }).await?;
        let of = MailboxOf { account: summary.account.clone(), granted_at: summary.granted_at };
        let of = serde_json::to_vec(&of).unwrap_or_default();
        for mail in owner.aliases.iter().chain([&owner.mail]) {
            let key = mailbox_key(mail);
            self.state.write(Write { time_to_live: Some(MAILBOX_KEPT), ..Write::put(&key, &of) }).await?;
        }
        Ok(owner)
    }

    /// Learns whose mailboxes the calendars are that were not opened yet, after a start or the loss of our memory: else a
    /// colleague's mailbox would be a stranger's until the colleague's calendar has its turn.
    async fn learn_owners(&self, settings: &CalendarSettings, now: Timestamp) -> Result<(), Fault> {
        let connected = self.connected(settings, now).await?;
        let before = self.looked_at.lock().unwrap_or_else(PoisonError::into_inner).replace(connected.clone());
        if before.is_some_and(|before| Arc::ptr_eq(&before, &connected)) {
            return Ok(());
        }
        let active: Vec<(&AccountId, String)> = connected
            .iter()
            .filter(|(_, summary)| summary.state == GrantState::Active)
            .map(|(account, summary)| {
                let name = settings.calendar_of(account);
                (account, owner_key(&CalendarId::new(account.clone(), summary.mailbox.as_deref(), name)))
            })
            .collect();
        let mut unknown = Vec::new();
        for some in active.chunks(READ_KEYS_MAX) {
            let keys: Vec<&str> = some.iter().map(|(_, key)| key.as_str()).collect();
            let present = self.state.are_present(&keys).await?;
            unknown.extend(some.iter().zip(present).filter(|(_, known)| !known).map(|((it, _), _)| *it));
        }
        for account in unknown.into_iter().take(OPENED_AT_ONCE_MAX) {
            if let Err(fault) = Box::pin(self.open(account, settings, now)).await {
                debug!(account = %account, "Whose mailbox it is will be known when it can be read: {fault}");
            }
        }
        Ok(())
    }

    /// Which of these addresses are mailboxes that users have connected, and whose.
    pub(super) async fn owners(
        &self,
        mails: &BTreeSet<&String>,
        settings: &CalendarSettings,
        now: Timestamp,
    ) -> Result<BTreeMap<String, String>, Fault> {
        self.learn_owners(settings, now).await?;
        let mails: Vec<&String> = mails.iter().copied().collect();
        let connected = self.connected(settings, now).await?;
        let mut owners = BTreeMap::new();
        for some in mails.chunks(READ_KEYS_MAX) {
            let keys: Vec<String> = some.iter().map(|mail| mailbox_key(mail)).collect();
            let asked: Vec<&str> = keys.iter().map(String::as_str).collect();
            for (mail, document) in some.iter().zip(self.state.get_many(&asked).await?) {
                let of = document.and_then(|it| serde_json::from_slice::<MailboxOf>(&it.value).ok());
                let is_current = |of: &MailboxOf| {
                    connected.get(&of.account).is_some_and(|summary| summary.granted_at == of.granted_at)
                };
                let of = of.filter(is_current);
                if let Some(user) = of.as_ref().and_then(|of| of.account.user()) {
                    owners.insert((*mail).clone(), user.as_str().to_owned());
                }
            }
        }
        Ok(owners)
    }

    /// Gives back what this process holds in the fleet.
    pub(super) async fn leave(&self) {
        let clients: Vec<_> =
            self.clients.lock().unwrap_or_else(PoisonError::into_inner).drain().map(|(_, c)| c).collect();
        futures_util::future::join_all(clients.iter().map(|client| client.leave())).await;
    }
}

//! Looks into the ledgers of the simulated systems and at the accounts, and says what happened.

use std::collections::BTreeMap;

use super::super::systems::Systems;
use super::account::Account;
use super::happenings::{Happenings, Place};
use crate::output::note;

/// What was seen so far.
pub(super) struct Watch<'a> {
    systems: &'a Systems,
    account: &'a Account<'a>,
    /// Systems with their addresses, and up to where their ledgers were read.
    ledgers: Vec<(Place, String, u64)>,
    happenings: Happenings,
    accounts: BTreeMap<String, &'static str>,
}

impl<'a> Watch<'a> {
    /// Remembers what people did before, so that it is known when it arrives, and says nothing of it.
    pub(super) async fn begin(systems: &'a Systems, account: &'a Account<'a>) -> Result<Self, String> {
        let addresses = systems.addresses().clone();
        let places = [
            (Place::Outlook, addresses.microsoft),
            (Place::Google, addresses.google),
            (Place::EspoCrm, Some(addresses.espocrm)),
        ];
        let ledgers = places.into_iter().filter_map(|(place, base)| Some((place, base?, 0))).collect();
        let accounts = BTreeMap::new();
        let mut watch = Self { systems, account, ledgers, happenings: Happenings::default(), accounts };
        watch.read_ledgers().await?;
        for line in account.all().await? {
            watch.accounts.insert(line.provider, line.state);
        }
        Ok(watch)
    }

    /// What happened since the last look.
    pub(super) async fn look(&mut self) -> Result<Vec<String>, String> {
        let mut lines = Vec::new();
        match self.account.all().await {
            Ok(all) => {
                for line in all {
                    if self.accounts.insert(line.provider.clone(), line.state) != Some(line.state) {
                        lines.push(match line.state {
                            "active" => format!("Connected: an account at {}", line.provider),
                            _ => format!("To be connected again: the account at {}", line.provider),
                        });
                    }
                }
            }
            Err(why) => note(why),
        }
        lines.extend(self.read_ledgers().await?);
        Ok(lines)
    }

    async fn read_ledgers(&mut self) -> Result<Vec<String>, String> {
        let mut entries = Vec::new();
        for (place, base, read_to) in &mut self.ledgers {
            loop {
                let page = self.systems.journal_at(place.name(), base, *read_to).await?;
                let Some(last) = page.last() else { break };
                *read_to = last.sequence;
                entries.extend(page.into_iter().map(|entry| (*place, entry)));
            }
        }
        entries.sort_by_key(|(_, entry)| entry.at);
        Ok(entries.iter().filter_map(|(place, entry)| self.happenings.tell(*place, entry)).collect())
    }
}

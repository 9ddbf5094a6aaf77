//! What the flow needs of its surroundings, and what to do where something is missing.

use connector_espocrm::EspoId;
use shared::flow::{Check, Verdict};

use super::{NAME, Parties};
use crate::crm_checks::{CrmChecks, failed, finding, well};

impl Parties {
    pub(super) async fn check_all(&self) -> Vec<Check> {
        let (mut checks, advoware) = tokio::join!(self.check_crm(), self.check_advoware());
        checks.push(advoware);
        checks
    }

    async fn check_advoware(&self) -> Check {
        match self.advoware.sign_in().await {
            Ok(url) => well("Advoware sign-in", format!("a token was issued; the firm's server is {url}")),
            Err(fault) => failed("Advoware sign-in", &fault),
        }
    }

    async fn check_crm(&self) -> Vec<Check> {
        // What cannot be had from the vault is said by the check of the vault.
        let _known = self.secrets.learn().await;
        let needs = self.needs();
        let scopes = [self.entity_type.as_str()];
        let actions = &["read", "edit"];
        let checks = CrmChecks { flow: NAME, crm: &self.crm, needs: &needs, scopes: &scopes, actions };
        let mut checks = checks.all(&|id| self.secrets.is_known(id)).await;
        checks.extend(self.check_notify_user().await);
        checks
    }

    async fn check_notify_user(&self) -> Option<Check> {
        let subject = "flow.parties.notify_user_id";
        let Some(id) = &self.rules.fallback_user_id else {
            let seen = "not set: nobody is told where a record has no assigned user";
            return Some(finding(Verdict::Warning, subject, seen, "Enter the id of an EspoCRM user."));
        };
        let id = EspoId::new(id.clone()).ok()?;
        Some(match self.crm.user(&id).await {
            Ok(Some(user)) if user.is_active => well(subject, user.user_name),
            Ok(Some(user)) => finding(
                Verdict::Warning,
                subject,
                format!("{} is not active", user.user_name),
                "Name another user.",
            ),
            Ok(None) => {
                finding(Verdict::Warning, subject, format!("there is no user {id}"), "Correct the id.")
            }
            Err(fault) => failed(subject, &fault),
        })
    }
}

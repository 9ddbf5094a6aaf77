//! Carrying actions out, one by one. What is done stays done: whoever runs it again goes on from there.

use std::process::ExitCode;

use assembly::program::{EXIT_CONFIGURATION, EXIT_UNAVAILABLE};
use connector_espocrm::provision::Action;
use connector_espocrm::{ApiUser, EspoCrm, EspoId, Webhook, WebhookRequest};
use secrecy::{ExposeSecret as _, SecretString};
use shared::fault::Fault;

use super::{Setting, key_file};
use crate::output::{self, fail};

/// What one action found out that a later one needs.
#[derive(Debug, Default)]
pub(super) struct Session {
    role: Option<EspoId>,
    api_key: Option<SecretString>,
    client: Option<EspoCrm>,
    /// Secrets of this run that were asked for, and what they are.
    shown: Vec<(String, SecretString)>,
    is_key_shown: bool,
}

impl Session {
    /// Takes over what was found.
    pub(super) fn begin(&mut self, role: Option<EspoId>, user: Option<&ApiUser>, client: Option<EspoCrm>) {
        self.role = role;
        self.api_key = user.and_then(|user| user.api_key.clone());
        self.client = client;
    }

    pub(super) fn key_is_shown(&self) -> bool {
        self.is_key_shown
    }

    /// The secrets that are to be shown, each once.
    pub(super) fn shown(&self) -> impl Iterator<Item = (&str, &str)> {
        self.shown.iter().map(|(what, secret)| (what.as_str(), secret.expose_secret()))
    }

    /// Carries a plan out; answers how many actions were done.
    pub(super) async fn carry_out(
        &mut self,
        setting: &Setting,
        actions: &[Action],
        is_quiet: bool,
    ) -> Result<usize, ExitCode> {
        for (done, action) in actions.iter().enumerate() {
            if let Err(why) = self.carry_out_one(setting, action).await {
                let code = if why.is_setting { EXIT_CONFIGURATION } else { EXIT_UNAVAILABLE };
                // Secrets that were asked for are lost where they are not said now.
                self.shown().for_each(|(what, secret)| output::line(format!("{what}: {secret}")));
                let text = format!(
                    "could not {action}: {}\n{done} of {} done. What is done stays; run it again, and it goes on from there.",
                    why.text,
                    actions.len()
                );
                return Err(fail(code, text));
            }
            if !is_quiet {
                output::line(format!("done: {action}"));
            }
        }
        Ok(actions.len())
    }

    async fn carry_out_one(&mut self, setting: &Setting, action: &Action) -> Result<(), Why> {
        let admin = &setting.administration.admin;
        match action {
            Action::CreateEntity { entity, body } => {
                let made = admin.create_entity(body).await?;
                if made != *entity {
                    let text = format!(
                        "EspoCRM named it {made}, as its setting customPrefixDisabled says. Set \
                         flow.parties.entity_type = \"{made}\"."
                    );
                    return Err(Why { text, is_setting: true });
                }
            }
            Action::SwitchOnVersions { entity } => admin.switch_on_versions(entity).await?,
            Action::CreateField { entity, body, .. } => admin.create_field(entity, body).await?,
            Action::ChangeField { entity, field, body, .. } => {
                admin.change_field(entity, field, body).await?
            }
            Action::CreateRole { name, data, permissions, .. } => {
                self.role = Some(admin.create_role(name, data, permissions).await?);
            }
            Action::ExtendRole { id, data, permissions, .. } => {
                admin.change_role(id, data, permissions).await?;
            }
            Action::CreateUser { name, .. } => {
                let (_, key) = admin.create_api_user(name, self.role()?).await?;
                self.client = Some(setting.administration.user(key.clone()).map_err(setting_wrong)?);
                self.api_key = Some(key);
            }
            Action::KeepKey { user } => self.keep_key(setting, user)?,
            Action::GiveRole { user, roles, .. } => {
                let mut roles = roles.clone();
                roles.push(self.role()?.clone());
                admin.set_roles(user, &roles).await?;
            }
            Action::CreateWebhook { event, url } => {
                let webhook = self.create_webhook(event, url).await?;
                self.keep_secret(setting, &webhook).await?;
            }
            Action::ChangeWebhook { id, .. } => self.client()?.switch_webhook_on(id).await?,
            Action::KeepSecret { id, .. } => {
                let webhooks = self.client()?.webhooks().await?;
                let webhook = webhooks.iter().find(|webhook| webhook.id == *id);
                let gone = || Why::text("it is gone again");
                self.keep_secret(setting, webhook.ok_or_else(gone)?).await?;
            }
        }
        Ok(())
    }

    fn keep_key(&mut self, setting: &Setting, user: &str) -> Result<(), Why> {
        let Some(key) = self.api_key.clone() else {
            return Err(Why::text(format!(
                "EspoCRM does not show the key of {user}. Have a new one made there (Administration, API Users, {user}), \
                 and put it where connector.espocrm.api_key says."
            )));
        };
        if let Some(path) = &setting.key_file {
            key_file::write(path, &key)
                .map_err(|error| Why::text(format!("{} cannot be written: {error}", path.display())))?;
        }
        if setting.show_secrets {
            self.shown.push((format!("key of the API user {user}"), key));
            self.is_key_shown = true;
        }
        Ok(())
    }

    /// Makes a webhook, unless there is one: the API user may have been unable to see it before it had the right.
    async fn create_webhook(&self, event: &str, url: &str) -> Result<Webhook, Why> {
        let client = self.client()?;
        let same = |webhook: &Webhook| webhook.event == event && webhook.url == url;
        if let Some(webhook) = client.webhooks().await?.into_iter().find(same) {
            return Ok(webhook);
        }
        let request = WebhookRequest { event: event.to_owned(), url: url.to_owned(), skip_own: true };
        Ok(client.create_webhook(&request).await?)
    }

    async fn keep_secret(&mut self, setting: &Setting, webhook: &Webhook) -> Result<(), Why> {
        let Some(secret) = &webhook.secret_key else {
            return Err(Why::text("EspoCRM does not show its secret"));
        };
        let name = setting.administration.secret_name(&webhook.event, &webhook.id);
        setting.vault.put(&name, secret).await.map_err(|error| Why::text(error.to_string()))?;
        if setting.show_secrets {
            self.shown
                .push((format!("secret of the webhook {} ({})", webhook.event, webhook.id), secret.clone()));
        }
        Ok(())
    }

    fn role(&self) -> Result<&EspoId, Why> {
        self.role.as_ref().ok_or_else(|| Why::text("the role is gone again"))
    }

    fn client(&self) -> Result<&EspoCrm, Why> {
        self.client.as_ref().ok_or_else(|| {
            Why::text("EspoCRM does not show the API user's key; put it where connector.espocrm.api_key says")
        })
    }
}

/// Why an action could not be carried out.
struct Why {
    text: String,
    is_setting: bool,
}

impl Why {
    fn text(text: impl Into<String>) -> Self {
        Self { text: text.into(), is_setting: false }
    }
}

impl From<Fault> for Why {
    fn from(fault: Fault) -> Self {
        Self::text(fault.text)
    }
}

fn setting_wrong(error: shared::ports::PortError) -> Why {
    Why { text: error.to_string(), is_setting: true }
}

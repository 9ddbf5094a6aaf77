//! Registrations of webhooks: list, create, switch on, delete.

use http_client::{Answer, Method, Request};
use secrecy::SecretString;
use serde::{Deserialize, Deserializer, Serialize};
use shared::fault::Fault;

use crate::{EspoCrm, EspoId, ListQuery, PAGE_SIZE_MAX, admin, error};

/// A registered webhook.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Webhook {
    /// Its id, which deliveries carry in their signature.
    pub id: EspoId,
    /// `CBeteiligte.create`, `.update`, `.delete`, `.fieldUpdate.<field>`.
    pub event: String,
    /// Where deliveries go.
    pub url: String,
    /// Whether deliveries are made.
    #[serde(default)]
    pub is_active: bool,
    /// Whether events that its owner caused are left out.
    #[serde(default)]
    pub skip_own: bool,
    /// The key that signs the deliveries.
    #[serde(default, deserialize_with = "secret")]
    pub secret_key: Option<SecretString>,
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SecretString>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.map(SecretString::from))
}

/// A webhook to register.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WebhookRequest {
    /// `CBeteiligte.create`, …; it cannot be changed later (a change is ignored silently).
    pub event: String,
    /// Where deliveries go: one URL for each event, since deliveries do not name theirs.
    pub url: String,
    /// Whether events that we cause ourselves are left out.
    pub skip_own: bool,
}

/// Most webhooks that are read; EspoCRM allows an API user 50 (`webhookMaxCountPerUser`).
const WEBHOOKS_MAX: u16 = PAGE_SIZE_MAX;

impl EspoCrm {
    /// The API user's webhooks, secrets included: `GET Webhook`. Safe to repeat.
    ///
    /// # Errors
    /// Permanent `forbidden` where the role lacks the switch `Webhook`; retryable `answer_unreadable` where more
    /// than 200 exist; else as [`EspoCrm::get`].
    pub async fn webhooks(&self) -> Result<Vec<Webhook>, Fault> {
        read_webhooks(&self.send(webhooks_request()).await?)
    }

    /// Registers a webhook: `POST Webhook`. NOT safe to repeat: the same event and URL twice makes two deliveries,
    /// so list first.
    ///
    /// # Errors
    /// Permanent `forbidden` (no right, unknown type or field) and `webhook_address_internal` (from 9.3.2 on
    /// internal addresses are refused); else as [`EspoCrm::create`].
    pub async fn create_webhook(&self, webhook: &WebhookRequest) -> Result<Webhook, Fault> {
        let answer = self.send(create_request(webhook)).await?;
        if let Some(fault) = admin::internal_address(&answer, &webhook.url) {
            return Err(fault);
        }
        error::success(&answer)?.json()
    }

    /// Switches a webhook on, and makes it leave out what we cause ourselves: `PUT Webhook/{id}`. Safe to repeat.
    ///
    /// # Errors
    /// As [`EspoCrm::create`].
    pub async fn switch_webhook_on(&self, id: &EspoId) -> Result<(), Fault> {
        let body = serde_json::json!({ "isActive": true, "skipOwn": true });
        let request = Request::new(Method::Put, "Webhook/{id}", &[id.as_str()]).json(&body);
        error::success(&self.send(request).await?).map(|_| ())
    }

    /// Removes a webhook: `DELETE Webhook/{id}`. Answers whether it existed. Safe to repeat.
    ///
    /// # Errors
    /// As [`EspoCrm::get`].
    pub async fn delete_webhook(&self, id: &EspoId) -> Result<bool, Fault> {
        let answer = self.send(Request::new(Method::Delete, "Webhook/{id}", &[id.as_str()])).await?;
        if error::is_gone(&answer) {
            return Ok(false);
        }
        error::success(&answer).map(|_| true)
    }
}

fn webhooks_request() -> Request {
    let params = ListQuery::default().page_size(WEBHOOKS_MAX).to_json();
    Request::new(Method::Get, "Webhook", &[]).query("searchParams", params.to_string())
}

#[derive(Deserialize)]
struct WireWebhooks {
    total: i64,
    list: Vec<Webhook>,
}

fn read_webhooks(answer: &Answer) -> Result<Vec<Webhook>, Fault> {
    let WireWebhooks { total, list } = error::success(answer)?.json()?;
    if usize::try_from(total).is_ok_and(|total| total > list.len()) {
        return Err(answer.unreadable("only a part of its webhooks"));
    }
    Ok(list)
}

fn create_request(webhook: &WebhookRequest) -> Request {
    Request::new(Method::Post, "Webhook", &[]).json(webhook)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;
    use secrecy::ExposeSecret as _;
    use serde_json::Value;

    #[test]
    fn a_registration_is_the_recorded_one() {
        let recorded = fixtures::load("202-webhook-create-skip-own");
        let webhook = WebhookRequest {
            event: "CBeteiligte.update".into(),
            url: "https://sync.example.test/hook/skipown".into(),
            skip_own: true,
        };
        let body: Value = serde_json::from_slice(create_request(&webhook).body()).unwrap();
        assert_eq!(body, recorded.request_json());
        let created: Webhook = error::success(&recorded.answer("POST Webhook")).unwrap().json().unwrap();
        assert!(created.skip_own && created.is_active);
        assert_eq!(created.secret_key.as_ref().unwrap().expose_secret(), "ffe1dd9f5bf746698f1fae357411959d");
        assert!(!format!("{created:?}").contains("ffe1dd9f"), "{created:?}");
    }

    #[test]
    fn registrations_are_listed_whole_or_not_at_all() {
        let recorded = fixtures::load("203-webhook-list");
        let webhooks = read_webhooks(&recorded.answer("GET Webhook")).unwrap();
        assert_eq!(webhooks.len(), 7);
        assert!(webhooks.iter().any(|w| w.event == "CBeteiligte.update" && w.skip_own));
        let cut = Answer::recorded("espocrm", "GET Webhook", 200, &[], r#"{"total":7,"list":[]}"#);
        assert!(read_webhooks(&cut).is_err());
    }
}

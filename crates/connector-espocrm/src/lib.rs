//! The EspoCRM REST API as it really behaves (9.2.2 and later).
//!
//! [`EspoCrm`] is one account at one CRM. Each operation is two pure halves, a request and the reading of its
//! answer, with `http-client` between them. Records are dynamic ([`Record`], [`Patch`]), since every CRM has
//! fields of its own. What is odd about the vendor's API stands in the README and, once each, in the code.

mod admin;
mod auth;
mod client;
mod contact_data;
mod error;
#[cfg(test)]
mod fixtures;
mod id;
mod metadata;
mod notes;
pub mod provision;
mod query;
mod record;
mod records;
mod relations;
mod users;
pub mod values;
pub mod webhook;
mod webhooks;
mod wire;

pub use admin::ApiUser;
pub use auth::Credentials;
pub use client::{EspoCrm, Settings};
pub use contact_data::{ContactEntry, MAILS, PHONES, contact_data};
pub use error::USER_NAME_TAKEN;
pub use http_client::{Limits, SetupError, may_have_taken_effect};
pub use id::{EntityType, EspoId, IdError};
pub use metadata::{EntityDefinition, FieldDefinition, Scope, Version};
pub use notes::UserRef;
pub use query::{ListQuery, Order, PAGE_SIZE_MAX, Where};
pub use record::Record;
pub use records::{Created, DuplicateCheck, Page, Pages};
pub use relations::Related;
pub use users::{AppUser, Level, User};
pub use webhooks::{Webhook, WebhookRequest};
pub use wire::Patch;

/// The system's name in faults, metrics and logs.
pub const SYSTEM: &str = "espocrm";

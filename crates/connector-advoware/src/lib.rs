//! The Advoware REST API: address discovery, signed token, parties.
//!
//! [`Advoware`] is one employee's account at one law firm. Each operation is two pure halves, a request and the
//! reading of its answer, with `http-client` between them. What the vendor does not document is assumed in one
//! place, the module `assumptions`.

mod address;
mod assumptions;
mod client;
mod communications;
mod error;
mod id;
mod parties;
mod party;
mod token;

pub use client::{Advoware, Credentials, Settings};
pub use communications::{Communication, CommunicationFields};
pub use http_client::{Limits, SetupError, may_have_taken_effect};
pub use id::{BetNr, IdError, RowId};
pub use parties::{Search, Written};
pub use party::{Field, Party, PartyPatch};

/// The system's name in faults, metrics and logs.
pub const SYSTEM: &str = "advoware";
/// The name of sign-in in faults, metrics and logs: it runs elsewhere, fails on its own, and a refusal there is what
/// locks an account out.
pub const SIGN_IN_SYSTEM: &str = "advoware_sign_in";
/// The name of address discovery in faults, metrics and logs.
pub const CONFIGURATOR_SYSTEM: &str = "advoware_configurator";

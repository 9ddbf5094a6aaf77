//! Upstreams to test against: HTTP servers that share no type with the connectors.
//!
//! [`EspocrmSimulator`] behaves as a real EspoCRM 9.2.7 was recorded to behave (the recorded exchanges in
//! `fixtures/` are replayed by this crate's tests); [`AdvowareSimulator`] as the vendor's documentation and
//! production write-ups describe, with the harder case wherever those are silent; [`GoogleSimulator`] takes only what
//! the vendor's discovery document has; [`WecomSimulator`] as the vendor's pages and reports of users describe WeCom;
//! [`ScimSimulator`] as the independent SCIM server of the tests, so that a conformance client has no complaint, and worse
//! ones.
//!
//! ```no_run
//! # async fn example() -> std::io::Result<()> {
//! use simulators::{EspocrmOptions, EspocrmSimulator, FaultKind, FaultRule};
//!
//! let crm = EspocrmSimulator::start(EspocrmOptions::default()).await?;
//! crm.fault(FaultRule::new(FaultKind::TimeoutAfter).on("PUT", "/api/v1/CBeteiligte/*").times(1));
//! // ... let the product work against crm.base_url() ...
//! assert!(simulators::writes_without_change(&crm.journal()).is_empty());
//! # Ok(()) }
//! ```
//!
//! Every accepted write is in the [journal](JournalEntry); every fault of [`FaultKind`] can be had on
//! demand. A test in another process does the same through the [control API](control), and people see the calendars of
//! EspoCRM, Microsoft and Google in a browser, at `/` of each.

pub mod advoware;
mod clock;
mod connection;
pub mod control;
mod deliveries;
pub mod demo_data;
mod dice;
mod dispatch;
pub mod espocrm;
mod faults;
pub mod google;
mod host;
mod journal;
pub mod microsoft;
pub mod scim;
mod screen;
mod serve;
mod store;
pub mod upstream;
pub mod wecom;
pub mod wire;

pub use advoware::{AdvowareOptions, AdvowareSimulator};
pub use clock::Clock;
pub use dice::Dice;
pub use espocrm::{EspocrmOptions, EspocrmSimulator};
pub use faults::{FaultKind, FaultRule, Faults};
pub use google::{GoogleOptions, GoogleSimulator};
pub use host::{Hosting, Simulator};
pub use journal::{ActorKind, JournalEntry, Operation, duplicate_creates, read_file, writes_without_change};
pub use microsoft::{MicrosoftOptions, MicrosoftSimulator};
pub use scim::{ScimOptions, ScimSimulator};
pub use serve::{ServeOptions, Served, serve};
pub use store::Store;
pub use upstream::Record;
pub use wecom::{WecomOptions, WecomSimulator};

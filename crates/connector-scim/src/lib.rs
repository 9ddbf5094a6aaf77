//! SCIM 2.0 as a client: users, groups and who is in them, at whatever service speaks it.
//!
//! [`Scim`] is one service. Each operation is two pure halves, a request and the reading of its answer, with
//! `http-client` between them. What a service lacks (bulk, PATCH, filters, etags) is done in another way behind the
//! same methods: callers do not see which.
//!
//! Schemas: RFC 7643 <https://www.rfc-editor.org/rfc/rfc7643>, protocol: RFC 7644
//! <https://www.rfc-editor.org/rfc/rfc7644>.

mod abilities;
mod apply;
mod bulk;
mod client;
mod error;
mod features;
mod filter;
#[cfg(test)]
mod fixtures;
mod id;
mod lists;
mod members;
mod nesting;
mod order;
mod paging;
mod patch;
mod records;
mod resource;
mod schemas;
#[cfg(test)]
mod scripted;

pub use abilities::{Abilities, BulkLimits, Overrides};
pub use apply::Outcome;
pub use client::{Scim, Settings, Sizes, default_limits};
pub use http_client::{Limits, SetupError, may_have_taken_effect};
pub use lists::{GroupKey, Lister, UserKey};
pub use members::MemberChange;
pub use nesting::Nesting;
pub use order::{Operation, Target};
pub use patch::{GroupPatch, UserPatch};
pub use records::{Created, MemberList, Written};
pub use resource::{Contact, Enterprise, Group, Kind, Member, Name, User};

/// The system's name in faults, metrics and logs.
pub const SYSTEM: &str = "scim";

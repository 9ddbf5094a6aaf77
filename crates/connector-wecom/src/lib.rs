//! WeCom (企业微信) contacts: departments and members, and the callbacks about them.
//!
//! [`WeCom`] is one company, read with up to two secrets. Each operation is two pure halves, a request and the reading of its
//! answer, with `http-client` between them; [`callback`] is pure as a whole. What is odd about the vendor's API stands in the
//! README and, once each, in the code.
//!
//! Vendor: <https://developer.work.weixin.qq.com/document/path/90193>.

mod abilities;
mod addresses;
mod api;
mod attribute;
pub mod callback;
mod client;
mod department;
mod departments;
mod error;
#[cfg(test)]
mod fixtures;
mod id;
mod lookup;
mod member;
mod members;
pub mod relay;
mod secret;
mod shelf;
mod throttle;
mod token;
mod tokens;
mod wire;

pub use abilities::{Abilities, Ability, Lack};
pub use attribute::{Attribute, AttributeValue};
pub use client::{Settings, WeCom, default_limits};
pub use department::{Department, Parent};
pub use error::FORBIDDEN;
pub use http_client::{Limits, SetupError};
pub use id::{DepartmentId, IdError, USER_ID_CHARS_MAX, UserId};
pub use lookup::Lookup;
pub use member::{Gender, Member, MemberStatus, Membership};
pub use members::{ID_ROWS_MAX, IdPage, IdRow};
pub use secret::Secret;
pub use shelf::{MemoryShelf, TokenShelf};
pub use wire::{Listed, Unreadable};

/// The system's name in faults, metrics and logs; each interface adds its own to it.
pub const SYSTEM: &str = "wecom";
/// The name of asking for access tokens in faults, metrics and logs.
pub const SIGN_IN_SYSTEM: &str = "wecom_gettoken";

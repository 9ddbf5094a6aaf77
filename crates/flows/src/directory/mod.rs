//! `directory`: the departments and members of WeCom, kept the same in a target with groups and users.
//!
//! What is decided is pure (`plan.rs` and what it uses), in canonical forms of its own. WeCom is the source: the target
//! follows, and only records that carry our prefix are touched.
//!
//! # The rules
//! - A message is a hint. Its run reads in WeCom what is the case now; what WeCom does not know is gone, whatever an
//!   event said, and what WeCom does not tell (absent) is not known, never to be cleared.
//! - A userid counts without regard to case.
//! - Departments come before members and parents before children: what a run depends on and is not there is read and created
//!   first, up the way to the root. Where WeCom does not know it yet, or does not answer, the run parks under it before
//!   anything of its own is written. What we may not see is left out and reported; nobody waits for it.
//! - A department that is below itself, or names no parent, itself or an unknown one, is attached to the root and reported. For
//!   an unknown one an event's run waits first: that one's event may come yet.
//!   Where by our memory a move makes a cycle, our memory is older than WeCom: those in between are read again and moved
//!   first.
//! - Creating, ending and renaming are done under a lease of the external id, and a create only after a search for the
//!   external id: what is found is adopted, a deactivated twin as well.
//! - Members of groups are noted one by one, and written for a group in batches by a run of the group (`memberships.rs`).
//! - A changed userid moves the account; where there are two by then, the older one stays unless the other one has been in
//!   use, and the second is taken out of use. The old userid is not taken for gone.
//! - Who is gone is taken out of all groups and deactivated, or by setting deleted. A department's group is taken out of the
//!   one above it and deleted.
//! - Managers are set in a second pass (`leaders.rs`); nobody waits for one. Who reported to one that is gone is told.
//! - The first sync (`first_sync.rs`) has one record, and goes on where it stopped. The full compare (`compare.rs`) only hints:
//!   nothing is ended because a list does not have it. What it found, and what a person asks for, is looked at in the target as
//!   well; who is gone and was switched on again there is switched off.
//!
//! Vendors: <https://developer.work.weixin.qq.com/document/path/90193>, RFC 7643 and RFC 7644.

pub mod action;
pub mod compare;
mod deciding;
pub mod delivery;
pub mod department;
mod departments;
pub mod diff;
mod documents;
pub mod drift;
pub mod espocrm;
pub mod first_sync;
mod first_sync_record;
pub mod flow;
mod hierarchy;
pub mod ids;
pub mod key;
pub mod known;
pub mod last_sweep;
mod leaders;
mod leases;
pub mod link;
mod lists;
mod map;
pub mod member;
mod members;
mod members_compare;
pub mod memberships;
pub mod names;
mod need;
mod packed;
mod patience;
pub mod plan;
mod pretend;
mod reading;
pub mod record;
mod report;
mod roll;
pub mod rules;
pub mod scim;
mod scope;
pub mod settings;
mod settle;
pub mod source;
mod strays;
mod sweep;
mod syncing;
pub mod target;
pub mod tree;
pub mod wecom;
mod whole_writes;

pub use deciding::Mode;

/// The flow's name.
pub const NAME: &str = "directory";

#[cfg(test)]
mod examples;
#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod model;
#[cfg(test)]
mod rounds;
#[cfg(test)]
mod sequences;
#[cfg(test)]
mod shell_tests;
#[cfg(test)]
mod tests;

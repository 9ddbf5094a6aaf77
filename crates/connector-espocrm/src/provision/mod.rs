//! What an EspoCRM must have, what it has, and what has to be done so that it has it.
//!
//! [`Needs`] is declared by a flow; checks and provisioning both compare it with what is found, by [`lacks`].
//! [`plan_provision`] is pure; the requests that carry its actions out are in `admin.rs`.

mod found;
mod need;
mod plan;
mod rights;

pub use found::{EntityFound, Found, RoleFound, UserFound, WebhookFound};
pub use need::{EntityNeed, FieldNeed, Lack, Needs, Right, Template, lacks};
pub use plan::{Action, Obstacle, Plan, Wanted, plan_provision};

#[cfg(test)]
mod properties;

//! `relay_…`: callbacks of WeCom on to a further receiver, one flow for each. WeCom calls one address only, and that is ours.
//!
//! # The rules
//! - What is passed on was verified before, and goes on as it came: body, content type, and what is signed of the query.
//! - A record is one callback, by its hash. Its content is in the state store, where the producer put it before it published
//!   the message; what was sent leaves a mark, so that a message that comes twice sends once.
//! - Each receiver has a queue, limits, a breaker, tries and dead letters of its own: a slow one delays nobody.
//! - A receiver may get a callback more than once, and in another order, as it may from WeCom.
//! - Nothing is found by a sweep: what is lost here is lost at the receiver only.

mod callback;
mod flow;
mod settings;

pub use callback::{Callback, TooLong};
pub use connector_wecom::relay::{RELAYED_BY, RELAYED_BY_US, default_limits};
pub use flow::RelayFlow;
pub use settings::{PREFIX, RelaySettings};

#[cfg(test)]
mod tests;

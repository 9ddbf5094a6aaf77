//! Calendars of Microsoft 365 by their connector, over HTTP, against a simulated one that takes nothing but what the
//! vendor's own description has.

mod changes;
mod events;
mod limits;
mod watches;
mod world;

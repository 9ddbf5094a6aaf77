//! What all connectors share: sending a request to an upstream account, within limits, and reading what comes
//! back.
//!
//! A connector builds a [`Request`] (pure), hands it to its [`Upstream`], and reads the [`Answer`] (pure). In
//! between stand the account's limits: rate and concurrency, the circuit breaker, pauses, all of them the whole
//! fleet's (see [`Fleet`]); then the deadline and the bound on the answer's size. This is the only crate that knows `reqwest`. It knows no vendor.

mod account;
mod answer;
pub mod breaker;
mod desk;
mod effect;
mod fleet;
mod guarded;
mod limiter;
mod redact;
mod request;
pub mod retry_after;
mod settings;
mod tls;
mod transport;
mod upstream;

pub use answer::Answer;
pub use effect::{codes, may_have_taken_effect};
pub use fleet::Fleet;
pub use guarded::{guard, guarded};
pub use redact::Redactor;
pub use request::{Method, Request};
pub use settings::{Limits, SetupError, base_url};
pub use tls::install_crypto_provider;
pub use upstream::Upstream;

//! Secrets at rest: sealed with XChaCha20-Poly1305 under a key that is not in the state store.
//!
//! A sealed secret is a small JSON document: the id of its key, a nonce of its own, the ciphertext. Its place in the
//! store is part of what is authenticated, so that one secret cannot be put in another's place. Keys rotate: what is
//! sealed is sealed with the present key, what was sealed with a former one is opened as long as that one is named.

mod key;
mod sealed;
mod store;

pub use key::{Key, KeyError, KeySource};
pub use store::{Secrets, VaultError};

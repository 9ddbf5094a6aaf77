//! The keys in the store, and what may be one of ours. Pure.

use shared::ports::PortError;
use shared::ports::state::{DOCUMENT_BYTES_MAX, KEY_BYTES_MAX};

/// The keys under one prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Keys {
    prefix: String,
}

impl Keys {
    /// The keys under `prefix`.
    pub(crate) fn new(prefix: impl Into<String>) -> Self {
        Self { prefix: prefix.into() }
    }

    /// A document: a hash with its version and value.
    pub(crate) fn document(&self, key: &str) -> String {
        format!("{}{key}", self.documents())
    }

    /// What every document's key begins with.
    pub(crate) fn documents(&self) -> String {
        format!("{}/document/", self.prefix)
    }

    /// The sorted set of all documents' keys; may name some that have ended.
    pub(crate) fn index(&self) -> String {
        format!("{}/index", self.prefix)
    }

    /// How far the index has been looked through for entries of documents that have ended.
    pub(crate) fn looked_through(&self) -> String {
        format!("{}/index_looked_through", self.prefix)
    }

    /// The last version that was given out.
    pub(crate) fn version(&self) -> String {
        format!("{}/version", self.prefix)
    }

    /// A lease: a hash with its holder and term.
    pub(crate) fn lease(&self, name: &str) -> String {
        format!("{}/lease/{name}", self.prefix)
    }

    /// The last term of a lease; never ends.
    pub(crate) fn term(&self, name: &str) -> String {
        format!("{}/term/{name}", self.prefix)
    }

    /// A counter.
    pub(crate) fn counter(&self, key: &str) -> String {
        format!("{}/counter/{key}", self.prefix)
    }
}

/// Refuses keys that no adapter accepts.
///
/// # Errors
/// [`PortError::Misconfigured`] with the key's size.
pub(crate) fn check_key(key: &str) -> Result<(), PortError> {
    if key.len() > KEY_BYTES_MAX {
        return Err(PortError::Misconfigured(format!(
            "a key of the state store may have {KEY_BYTES_MAX} bytes at most, this one has {}",
            key.len()
        )));
    }
    Ok(())
}

/// Refuses documents that no adapter accepts.
///
/// # Errors
/// [`PortError::Misconfigured`] with the document's size.
pub(crate) fn check_document(key: &str, value: &[u8]) -> Result<(), PortError> {
    if value.len() > DOCUMENT_BYTES_MAX {
        return Err(PortError::Misconfigured(format!(
            "a document of the state store may have {DOCUMENT_BYTES_MAX} bytes at most, '{key}' would have {}",
            value.len()
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_things_share_a_key() {
        let keys = Keys::new("t");
        let (index, looked_through) = (keys.index(), keys.looked_through());
        let all =
            [keys.document("x"), index, looked_through, keys.version(), keys.lease("x"), keys.term("x")];
        let distinct: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(distinct.len(), all.len());
    }

    #[test]
    fn sizes_are_bounded() {
        check_key("a").unwrap();
        check_key(&"a".repeat(KEY_BYTES_MAX)).unwrap();
        assert!(check_key(&"a".repeat(KEY_BYTES_MAX + 1)).is_err());
        check_document("a", &vec![0; DOCUMENT_BYTES_MAX]).unwrap();
        assert!(check_document("a", &vec![0; DOCUMENT_BYTES_MAX + 1]).is_err());
    }
}

//! The one error of the harness: a sentence for whoever reads the failed test.

use std::fmt;

/// What the harness could not do, and what to do about it.
#[derive(Clone)]
pub struct HarnessError(String);

/// Result of a harness operation.
pub type Result<T> = std::result::Result<T, HarnessError>;

impl HarnessError {
    /// An error that reads `message`.
    pub fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

impl fmt::Display for HarnessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The same text as `Display`, since tests show errors by `unwrap`.
impl fmt::Debug for HarnessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for HarnessError {}

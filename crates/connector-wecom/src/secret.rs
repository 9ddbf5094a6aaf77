//! Whose secret a call is made with.

use std::fmt;

/// The secrets of a company: each belongs to one app, and may do what that app may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Secret {
    /// Of a self-built app: names and departments of its visible scope.
    App,
    /// Of the contact sync, the console's own tool: all ids, and since 2022-08-15 nothing else.
    ContactSync,
}

impl Secret {
    /// Its name in the settings.
    pub fn setting(self) -> &'static str {
        match self {
            Self::App => "app_secret",
            Self::ContactSync => "contact_sync_secret",
        }
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.setting())
    }
}

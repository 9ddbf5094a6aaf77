//! What became of looking for one thing.

use http_client::Answer;
use shared::fault::Fault;

use crate::client::Reply;
use crate::error::Missing;

/// What became of looking for one thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lookup<T> {
    /// It is there.
    Found(T),
    /// WeCom says that it is not there (60111, 60003 and their kin); a department may be not there yet.
    Gone,
    /// It is outside of the visible scope (60011, 50002): not for us. Nothing is deleted for that.
    Invisible,
}

impl<T> Lookup<T> {
    /// What was found.
    pub fn found(self) -> Option<T> {
        match self {
            Self::Found(it) => Some(it),
            Self::Gone | Self::Invisible => None,
        }
    }

    pub(crate) fn of(reply: Reply, read: impl FnOnce(&Answer) -> Result<T, Fault>) -> Result<Self, Fault> {
        match reply {
            Reply::Good(answer) => read(&answer).map(Self::Found),
            Reply::Missing(Missing::Gone, _) => Ok(Self::Gone),
            Reply::Missing(Missing::Invisible, _) => Ok(Self::Invisible),
        }
    }
}

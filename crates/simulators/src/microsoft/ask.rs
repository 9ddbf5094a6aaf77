//! A request of Graph, once it is known who asks for which mailbox.

use jiff::Timestamp;

use super::Mailbox;
use super::events::By;
use super::prefer::Prefer;
use crate::journal::ActorKind;
use crate::wire::Request;

/// Who holds the token.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    pub(super) client: String,
    /// The person who gave consent; none with application permission.
    pub(super) mailbox: Option<String>,
    pub(super) scopes: Vec<String>,
}

/// A request that was let in.
pub(super) struct Ask<'a> {
    pub(super) now: Timestamp,
    pub(super) request: &'a Request,
    pub(super) caller: &'a Caller,
    pub(super) mailbox: Mailbox,
    pub(super) prefer: Prefer,
    /// `http://…/v1.0`, as the client calls it.
    pub(super) root: String,
    /// The whole address without the query.
    pub(super) url: String,
}

impl Ask<'_> {
    pub(super) fn by(&self) -> By {
        let name = self.caller.mailbox.clone().unwrap_or_else(|| self.caller.client.clone());
        By { kind: ActorKind::Api, name }
    }
}

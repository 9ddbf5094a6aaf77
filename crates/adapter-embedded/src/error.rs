//! From what SQLite says to what the ports say.

use std::path::Path;

use rusqlite::ErrorCode;
use shared::ports::PortError;

/// Why a piece of work inside a transaction did not happen.
#[derive(Debug)]
pub(crate) enum WorkError {
    /// The database failed.
    Sql(rusqlite::Error),
    /// The work is refused as it stands.
    Refused(PortError),
}

impl From<rusqlite::Error> for WorkError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<PortError> for WorkError {
    fn from(error: PortError) -> Self {
        Self::Refused(error)
    }
}

/// The port's error for a failure of the database file at `path`.
pub(crate) fn port_error(path: &Path, error: &rusqlite::Error) -> PortError {
    let file = path.display();
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => PortError::Full(format!(
            "the disk of {file} is full: nothing was taken, nothing is lost; make room and it goes on"
        )),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => PortError::Misconfigured(format!(
            "{file} is damaged or no database ({error}): stop every program that uses it, keep a copy of \
             its directory, then restore a backup, or rebuild it with `sqlite3 {file} .recover`"
        )),
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::CannotOpen) => {
            PortError::Misconfigured(format!(
                "{file} cannot be written ({error}): check the owner and the permissions of its directory"
            ))
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => PortError::Unavailable(format!(
            "{file} is kept locked by another process ({error}): look for a program that holds it open, \
             such as a database shell with an open transaction"
        )),
        _ => PortError::Unavailable(format!("{file} could not be read or written: {error}")),
    }
}

//! The directory: who may serve it, and its database file.

use std::fs::{DirBuilder, File, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};
use shared::ports::PortError;

use crate::error::port_error;

/// The schema this build writes and reads.
const SCHEMA_VERSION: i32 = 3;
/// From each older version to the next, the oldest first.
const UPGRADES: [&str; 2] = [include_str!("schema_1_to_2.sql"), include_str!("schema_2_to_3.sql")];
/// Marks the file as ours (`SyFl`), so that another program's database is never written to.
const APPLICATION_ID: i32 = 0x5379_466c;
const DATABASE_FILE: &str = "syncfleet.db";
const SERVING_FILE: &str = "serving.lock";
const OPENING_FILE: &str = "opening.lock";
const LOCK_TEXT_BYTES_MAX: u64 = 200;
/// How long to wait for another process's transaction.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// The write-ahead log is cut back to this after a burst, in bytes.
const LOG_BYTES_KEPT: i64 = 64 * 1024 * 1024;
const STATEMENTS_CACHED: usize = 64;

/// Makes the directory where it is missing.
pub(crate) fn make(dir: &Path) -> Result<(), PortError> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|error| {
        PortError::Misconfigured(format!(
            "the directory {} cannot be made ({error}): check the path and the permissions above it",
            dir.display()
        ))
    })
}

/// The right to serve the directory; ends with the value, or with the process however that ends.
#[derive(Debug)]
pub(crate) struct ServingLock(#[expect(dead_code, reason = "holds the lock")] File);

impl ServingLock {
    /// Takes the right.
    pub(crate) fn take(dir: &Path) -> Result<Self, PortError> {
        let path = dir.join(SERVING_FILE);
        let mut file = lock_file(&path)?;
        match file.try_lock() {
            Ok(()) => {
                write_holder(&mut file).map_err(|error| cannot_lock(&path, &error))?;
                Ok(Self(file))
            }
            Err(TryLockError::WouldBlock) => Err(PortError::Misconfigured(format!(
                "{} is already served by {}: stop that program first, or use another directory; \
                 two programs cannot consume one embedded queue",
                dir.display(),
                read_holder(&mut file)
            ))),
            Err(TryLockError::Error(error)) => Err(cannot_lock(&path, &error)),
        }
    }
}

fn lock_file(path: &Path) -> Result<File, PortError> {
    let file = File::options().read(true).write(true).create(true).truncate(false).open(path);
    file.map_err(|error| cannot_lock(path, &error))
}

fn cannot_lock(path: &Path, error: &std::io::Error) -> PortError {
    PortError::Misconfigured(format!(
        "{} cannot be locked ({error}): the directory must be writable and on a local disk",
        path.display()
    ))
}

fn write_holder(file: &mut File) -> std::io::Result<()> {
    let program = std::env::current_exe().ok();
    let name = program.as_deref().and_then(Path::file_name).unwrap_or_default().to_string_lossy();
    file.set_len(0)?;
    write!(file, "process {} ({name})", std::process::id())
}

fn read_holder(file: &mut File) -> String {
    let mut text = String::new();
    let _unreadable = file.rewind().and_then(|()| file.take(LOCK_TEXT_BYTES_MAX).read_to_string(&mut text));
    if text.is_empty() { "another process".to_owned() } else { text }
}

/// The path of the database in a directory.
pub(crate) fn database_path(dir: &Path) -> PathBuf {
    dir.join(DATABASE_FILE)
}

/// Opens the database for writing, creating or checking its schema.
pub(crate) fn open_database(dir: &Path) -> Result<Connection, PortError> {
    let path = database_path(dir);
    // Only one process at a time sets the file up: a change of the journal mode takes no turns by itself.
    let opening = lock_file(&dir.join(OPENING_FILE))?;
    opening.lock().map_err(|error| cannot_lock(&dir.join(OPENING_FILE), &error))?;
    let connection = Connection::open(&path).map_err(|error| port_error(&path, &error))?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(|error| port_error(&path, &error))?;
    check_owner(&connection, &path)?;
    set_up(&connection, &path).map_err(|error| port_error(&path, &error))?;
    Ok(connection)
}

/// Opens a further connection that only reads.
pub(crate) fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_CACHED);
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

/// Refuses a database that is not ours, or newer than this build, before anything is written to it.
fn check_owner(connection: &Connection, path: &Path) -> Result<(), PortError> {
    let read = |pragma| connection.pragma_query_value(None, pragma, |row| row.get::<_, i32>(0));
    let found = || -> rusqlite::Result<(i32, i32, i64)> {
        let tables = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        Ok((read("application_id")?, read("user_version")?, tables))
    };
    let file = path.display();
    match found().map_err(|error| port_error(path, &error))? {
        (0, 0, 0) | (APPLICATION_ID, 1..=SCHEMA_VERSION, _) => Ok(()),
        (APPLICATION_ID, version, _) => Err(PortError::Misconfigured(format!(
            "{file} has schema version {version}, this program knows up to {SCHEMA_VERSION}: it was written \
             by a newer version of syncfleet; run that version, or restore a backup from before the upgrade"
        ))),
        _ => Err(PortError::Misconfigured(format!(
            "{file} is a database of another program: name another directory"
        ))),
    }
}

fn set_up(connection: &Connection, path: &Path) -> rusqlite::Result<()> {
    connection.set_prepared_statement_cache_capacity(STATEMENTS_CACHED);
    let mode: String = connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    if mode != "wal" {
        tracing::warn!(path = %path.display(), mode, "the database has no write-ahead log: it will be slow");
    }
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "journal_size_limit", LOG_BYTES_KEPT)?;
    let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
    let version: i32 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if version == 0 {
        transaction.execute_batch(include_str!("schema.sql"))?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    } else {
        for (from, upgrade) in (1..).zip(UPGRADES) {
            if from >= version {
                transaction.execute_batch(upgrade)?;
            }
        }
    }
    if version != SCHEMA_VERSION {
        transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
    }
    transaction.commit()
}

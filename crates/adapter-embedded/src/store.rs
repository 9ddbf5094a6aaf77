//! What both ports share: the directory's database, its writer and readers, and the desks of the consumers.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use rusqlite::{Connection, Transaction, TransactionBehavior};
use shared::clock::Clock;
use shared::ports::PortError;

use crate::desk::{Desks, Return, Returns};
use crate::error::{WorkError, port_error};
use crate::prune::Pruning;
use crate::readers::Readers;
use crate::writer::{Chores, Writer};
use crate::{EmbeddedOptions, Role, directory, documents, leases, messages, time};

#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) writer: Writer,
    pub(crate) readers: Readers,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) desks: Arc<Desks>,
    pub(crate) returns: Arc<Returns>,
    pub(crate) room: Room,
    pub(crate) role: Role,
    /// The name of this tenure, where we serve the directory.
    pub(crate) tenure: Option<String>,
    pub(crate) delivery_limit: u32,
    pub(crate) dir: PathBuf,
    consumers: AtomicI64,
}

impl Store {
    pub(crate) fn open(options: EmbeddedOptions) -> Result<Self, PortError> {
        let EmbeddedOptions {
            dir,
            role,
            clock,
            delivery_limit,
            bytes_max,
            disk_free_bytes_min,
            resolved_retention,
        } = options;
        directory::make(&dir)?;
        let lock = match role {
            Role::Serving => Some(directory::ServingLock::take(&dir)?),
            Role::Visiting => None,
        };
        let path = directory::database_path(&dir);
        let connection = directory::open_database(&dir)?;
        let tenure = match role {
            Role::Serving => Some(take_over(&connection).map_err(|error| port_error(&path, &error))?),
            Role::Visiting => None,
        };
        let (desks, returns) = (Arc::<Desks>::default(), Arc::<Returns>::default());
        let chores = StoreChores {
            desks: Arc::clone(&desks),
            returns: Arc::clone(&returns),
            data_version: None,
            returns_fail: false,
            pruning: (role == Role::Serving).then(|| Pruning::new(Arc::clone(&clock), resolved_retention)),
        };
        Ok(Self {
            writer: Writer::start(connection, path.clone(), returns.bell(), chores, lock)?,
            readers: Readers::new(path.clone()),
            clock,
            desks,
            returns,
            room: Room { path, bytes_max, disk_free_bytes_min },
            role,
            tenure,
            delivery_limit,
            dir,
            consumers: AtomicI64::new(1),
        })
    }

    /// A number for a new consumer, unique in this process.
    pub(crate) fn consumer_number(&self) -> i64 {
        self.consumers.fetch_add(1, Ordering::Relaxed)
    }
}

/// Ends what a dead process held: the lock that we have proves that it is gone. Answers the name of our tenure.
fn take_over(connection: &Connection) -> rusqlite::Result<String> {
    let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
    messages::release_everything(&transaction)?;
    leases::end_all(&transaction)?;
    let tenure = documents::next_number(&transaction)?.to_string();
    transaction.commit()?;
    Ok(tenure)
}

/// How large the database may grow by what is new.
#[derive(Debug, Clone)]
pub(crate) struct Room {
    path: PathBuf,
    bytes_max: u64,
    disk_free_bytes_min: u64,
}

impl Room {
    /// Refuses when there is no room for anything new. What empties the database never asks.
    pub(crate) fn check(&self, connection: &Connection) -> Result<(), WorkError> {
        let read = |sql| -> rusqlite::Result<u64> {
            connection.prepare_cached(sql)?.query_row([], |row| row.get(0)).map(time::number)
        };
        let pages = read("PRAGMA page_count")?.saturating_sub(read("PRAGMA freelist_count")?);
        let bytes = pages.saturating_mul(read("PRAGMA page_size")?);
        let (file, way_out) = (self.path.display(), "nothing new was taken, nothing is lost");
        let full = |text: String| Err(WorkError::Refused(PortError::Full(text)));
        if bytes > self.bytes_max {
            let limit = self.bytes_max;
            return full(format!(
                "{file} holds {bytes} bytes, more than its limit of {limit}: {way_out}; let the workers catch up, or \
                 raise the limit"
            ));
        }
        match self.disk_free_bytes() {
            Some(free) if free < self.disk_free_bytes_min => full(format!(
                "the disk of {file} has {free} bytes free, less than the {} that must stay so: {way_out}; make room, \
                 and it goes on",
                self.disk_free_bytes_min
            )),
            _ => Ok(()),
        }
    }

    /// `None` where the system does not say.
    fn disk_free_bytes(&self) -> Option<u64> {
        let disk = rustix::fs::statvfs(self.path.parent()?).ok()?;
        Some(disk.f_bavail.saturating_mul(disk.f_frsize))
    }
}

struct StoreChores {
    desks: Arc<Desks>,
    returns: Arc<Returns>,
    data_version: Option<i64>,
    returns_fail: bool,
    pruning: Option<Pruning>,
}

impl Chores for StoreChores {
    fn run(&mut self, connection: &Connection) {
        self.write_returns(connection);
        self.notice_visitors(connection);
        if let Some(pruning) = &mut self.pruning {
            pruning.run(connection);
        }
    }
}

impl StoreChores {
    fn write_returns(&mut self, connection: &Connection) {
        let waiting = self.returns.take();
        if waiting.is_empty() {
            return;
        }
        match write_all(connection, &waiting) {
            Ok(()) => {
                self.returns_fail = false;
                waiting.into_iter().for_each(Return::announce);
            }
            Err(error) => {
                if !std::mem::replace(&mut self.returns_fail, true) {
                    tracing::warn!(%error, "unsettled messages cannot be handed back yet; trying again");
                }
                self.returns.put_back(waiting);
            }
        }
    }

    /// Another process wrote: there may be messages for any consumer.
    fn notice_visitors(&mut self, connection: &Connection) {
        let version = connection
            .prepare_cached("PRAGMA data_version")
            .and_then(|mut statement| statement.query_row([], |row| row.get(0)))
            .ok();
        if version != self.data_version {
            self.data_version = version;
            self.desks.ring_all();
        }
    }
}

fn write_all(connection: &Connection, returns: &[Return]) -> rusqlite::Result<()> {
    let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
    for item in returns {
        item.write(&transaction)?;
    }
    transaction.commit()
}

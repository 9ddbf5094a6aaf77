//! The writer: one thread, one connection, many requests in one transaction.
//!
//! A request is answered after the commit that made it durable. Each runs in a savepoint, so that one that
//! fails leaves its neighbours alone; when the transaction as a whole fails (disk full), the write-ahead log is
//! emptied and its requests are tried one by one, so that those which need no room (acknowledgements) still succeed.

use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::{Connection, Transaction, TransactionBehavior};
use shared::ports::PortError;
use tokio::sync::{Notify, mpsc, oneshot};

use crate::error::{WorkError, port_error};

/// Requests that wait at most; more make their senders wait.
const WAITING_MAX: usize = 512;
/// Requests in one transaction at most.
const GROUP_MAX: usize = 256;
/// How often the writer looks around when nobody asks for anything.
const TICK: Duration = Duration::from_millis(100);

/// What the thread does beside the requests.
pub(crate) trait Chores: Send + 'static {
    /// Called after each group and each tick, outside any transaction.
    fn run(&mut self, connection: &Connection);
}

/// The sending side of the writer. Dropping it lets the thread finish what waits, and waits for that.
#[derive(Debug)]
pub(crate) struct Writer {
    jobs: Option<mpsc::Sender<Box<dyn Job>>>,
    bell: Arc<Notify>,
    thread: Option<JoinHandle<()>>,
    path: PathBuf,
}

impl Writer {
    /// Starts the thread. `bell` wakes it for its chores; `guard` is held until it has ended.
    pub(crate) fn start(
        connection: Connection,
        path: PathBuf,
        bell: Arc<Notify>,
        chores: impl Chores,
        guard: impl Send + 'static,
    ) -> Result<Self, PortError> {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        let cannot = |error: std::io::Error| {
            PortError::Unavailable(format!("the writer of {} cannot be started: {error}", path.display()))
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().map_err(cannot)?;
        let looped = Loop { connection, path: path.clone(), jobs: receiver, bell: Arc::clone(&bell), chores };
        let thread = std::thread::Builder::new()
            .name("embedded-writer".to_owned())
            .spawn(move || {
                looped.run(&runtime);
                drop(guard);
            })
            .map_err(cannot)?;
        Ok(Self { jobs: Some(sender), bell, thread: Some(thread), path })
    }

    /// Has `work` run in a transaction; answers when it is durable.
    ///
    /// `work` may run more than once before a commit succeeds. `then` runs in the writer's thread with the
    /// outcome, also when nobody waits for the answer any more.
    pub(crate) async fn submit<T, W, A>(&self, work: W, then: A) -> Result<T, PortError>
    where
        T: Send + 'static,
        W: FnMut(&Connection) -> Result<T, WorkError> + Send + 'static,
        A: FnOnce(&Result<T, PortError>) + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let job = Request { work, outcome: None, then, reply };
        let jobs = self.jobs.as_ref().ok_or_else(|| self.gone())?;
        jobs.send(Box::new(job)).await.map_err(|_closed| self.gone())?;
        answer.await.map_err(|_dropped| self.gone())?
    }

    fn gone(&self) -> PortError {
        PortError::Unavailable(format!(
            "the writer of {} has ended: start the program again",
            self.path.display()
        ))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.jobs = None;
        self.bell.notify_one();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!(path = %self.path.display(), "the writer has panicked");
        }
    }
}

/// A request as the thread sees it.
trait Job: Send + Debug {
    /// Runs it; `Err` means that its changes must be undone.
    fn run(&mut self, connection: &Connection, path: &Path) -> Result<(), Undo>;
    /// Answers it. `lost` says why the transaction around it did not happen.
    fn finish(self: Box<Self>, lost: Option<PortError>);
}

/// The changes of one request must be undone.
struct Undo;

struct Request<T, W, A> {
    work: W,
    outcome: Option<Result<T, PortError>>,
    then: A,
    reply: oneshot::Sender<Result<T, PortError>>,
}

impl<T, W, A> Debug for Request<T, W, A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Request")
    }
}

impl<T, W, A> Job for Request<T, W, A>
where
    T: Send,
    W: FnMut(&Connection) -> Result<T, WorkError> + Send,
    A: FnOnce(&Result<T, PortError>) + Send,
{
    fn run(&mut self, connection: &Connection, path: &Path) -> Result<(), Undo> {
        let outcome = (self.work)(connection).map_err(|error| match error {
            WorkError::Sql(error) => port_error(path, &error),
            WorkError::Refused(error) => error,
        });
        let undo = if outcome.is_err() { Err(Undo) } else { Ok(()) };
        self.outcome = Some(outcome);
        undo
    }

    fn finish(self: Box<Self>, lost: Option<PortError>) {
        let Self { outcome, then, reply, .. } = *self;
        let never = || Err(PortError::Unavailable("the request was never run".to_owned()));
        let outcome = lost.map_or_else(|| outcome.unwrap_or_else(never), Err);
        then(&outcome);
        // Nobody waits any more: what was written stays written.
        let _nobody = reply.send(outcome);
    }
}

struct Loop<C> {
    connection: Connection,
    path: PathBuf,
    jobs: mpsc::Receiver<Box<dyn Job>>,
    bell: Arc<Notify>,
    chores: C,
}

/// How a transaction ended that did not commit.
enum Failed {
    /// It could not begin: no other would.
    AtBegin(rusqlite::Error),
    /// Something in it failed.
    Inside(rusqlite::Error),
    /// The database ended it as a whole, as it does when the disk is full; the request it stopped at knows why.
    RolledBack,
}

impl<C: Chores> Loop<C> {
    fn run(mut self, runtime: &tokio::runtime::Runtime) {
        let mut group = Vec::with_capacity(GROUP_MAX);
        while runtime.block_on(self.fill(&mut group)) {
            self.handle(&mut group);
            self.chores.run(&self.connection);
        }
        self.chores.run(&self.connection);
    }

    /// Waits for requests, a ring, or the tick; `false` when there will be no more requests.
    async fn fill(&mut self, group: &mut Vec<Box<dyn Job>>) -> bool {
        tokio::select! {
            count = self.jobs.recv_many(group, GROUP_MAX) => count > 0,
            () = self.bell.notified() => true,
            () = tokio::time::sleep(TICK) => true,
        }
    }

    fn handle(&self, group: &mut Vec<Box<dyn Job>>) {
        if group.is_empty() {
            return;
        }
        match self.transact(group) {
            Ok(()) => group.drain(..).for_each(|job| job.finish(None)),
            Err(Failed::AtBegin(error)) => {
                let error = port_error(&self.path, &error);
                group.drain(..).for_each(|job| job.finish(Some(error.clone())));
            }
            Err(Failed::Inside(_) | Failed::RolledBack) => {
                self.empty_log();
                self.handle_one_by_one(group);
            }
        }
    }

    /// Where the disk is full, the write-ahead log cannot grow, and even deleting needs room in it: what it holds goes
    /// to the database, whose pages that are free already take it.
    fn empty_log(&self) {
        let emptied = self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        if let Err(error) = emptied {
            tracing::debug!(%error, "the write-ahead log cannot be emptied");
        }
    }

    fn handle_one_by_one(&self, group: &mut Vec<Box<dyn Job>>) {
        let mut beginning_failed = None;
        for mut job in group.drain(..) {
            let lost =
                beginning_failed.clone().or_else(|| match self.transact(std::slice::from_mut(&mut job)) {
                    Ok(()) | Err(Failed::RolledBack) => None,
                    Err(Failed::Inside(error)) => Some(port_error(&self.path, &error)),
                    Err(Failed::AtBegin(error)) => {
                        Some(beginning_failed.insert(port_error(&self.path, &error)).clone())
                    }
                });
            job.finish(lost);
        }
    }

    fn transact(&self, group: &mut [Box<dyn Job>]) -> Result<(), Failed> {
        let transaction = Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate)
            .map_err(Failed::AtBegin)?;
        match group {
            // There is nobody to protect from it: what must be undone is the transaction.
            [job] => match job.run(&transaction, &self.path) {
                Err(Undo) if transaction.is_autocommit() => return Err(Failed::RolledBack),
                Err(Undo) => return transaction.rollback().map_err(Failed::Inside),
                Ok(()) => {}
            },
            jobs => jobs
                .iter_mut()
                .try_for_each(|job| run_in_savepoint(&transaction, job.as_mut(), &self.path))?,
        }
        transaction.commit().map_err(Failed::Inside)
    }
}

fn run_in_savepoint(transaction: &Transaction<'_>, job: &mut dyn Job, path: &Path) -> Result<(), Failed> {
    let execute = |sql| {
        let done = transaction.prepare_cached(sql).and_then(|mut statement| statement.execute([]));
        done.map(|_| ()).map_err(Failed::Inside)
    };
    execute("SAVEPOINT request")?;
    if job.run(transaction, path).is_err() {
        if transaction.is_autocommit() {
            return Err(Failed::RolledBack);
        }
        execute("ROLLBACK TO request")?;
    }
    execute("RELEASE request")
}

//! Reads: a few connections beside the writer's, on the runtime's threads for blocking work.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use shared::ports::PortError;
use tokio::sync::Semaphore;

use crate::directory::open_reader;
use crate::error::port_error;

/// Reads at the same time at most; more wait.
const READS_MAX: usize = 4;

#[derive(Debug)]
pub(crate) struct Readers {
    path: PathBuf,
    turns: Arc<Semaphore>,
    idle: Arc<Mutex<Vec<Connection>>>,
}

impl Readers {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, turns: Arc::new(Semaphore::new(READS_MAX)), idle: Arc::default() }
    }

    /// Has `work` read what is committed now.
    pub(crate) async fn read<T, W>(&self, work: W) -> Result<T, PortError>
    where
        T: Send + 'static,
        W: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let gone = || {
            PortError::Unavailable(format!("reading {} was stopped: the program ends", self.path.display()))
        };
        let turn = Arc::clone(&self.turns).acquire_owned().await.map_err(|_closed| gone())?;
        let (path, idle) = (self.path.clone(), Arc::clone(&self.idle));
        let read = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let kept = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let connection = kept.map_or_else(|| open_reader(&path), Ok);
            let connection = connection.map_err(|error| port_error(&path, &error))?;
            let found = work(&connection).map_err(|error| port_error(&path, &error));
            idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            found
        });
        read.await.map_err(|_stopped| gone())?
    }
}

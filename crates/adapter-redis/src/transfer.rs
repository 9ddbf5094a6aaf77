//! Carrying everything to another store.

use std::time::Duration;

use async_trait::async_trait;
use shared::ports::PortError;
use shared::ports::state::State as _;
use shared::ports::transfer::{Exported, ExportedCounter, TransferState};

use crate::state::RedisState;

/// Keys that one step of a search looks at.
const STEP_KEYS: u32 = 1_000;

#[async_trait]
impl TransferState for RedisState {
    async fn export(&self, after: Option<&str>, limit: u32) -> Result<Vec<Exported>, PortError> {
        let found = self.scan("", after, limit).await?;
        let names: Vec<String> = found.iter().map(|(key, _)| self.keys().document(key)).collect();
        let ends = self.ends_in(&names).await?;
        let documents = found.into_iter().zip(ends).filter_map(|((key, document), ends)| {
            let time_to_live = ends.of_existing()?;
            Some(Exported { key, value: document.value, time_to_live })
        });
        Ok(documents.collect())
    }

    async fn export_counters(&self) -> Result<Vec<ExportedCounter>, PortError> {
        let begin = self.keys().counter("");
        let names = self.names(&begin).await?;
        let (values, ends) = (self.numbers(&names).await?, self.ends_in(&names).await?);
        let mut found: Vec<ExportedCounter> = Vec::new();
        for ((name, value), ends) in names.iter().zip(values).zip(ends) {
            let (Some(value), Some(Some(ends_in))) = (value, ends.of_existing()) else { continue };
            let key = name.strip_prefix(&begin).unwrap_or(name).to_owned();
            found.push(ExportedCounter { key, value, ends_in });
        }
        found.sort_by(|one, other| one.key.cmp(&other.key));
        Ok(found)
    }

    async fn held_leases(&self) -> Result<Vec<String>, PortError> {
        let begin = self.keys().lease("");
        let names = self.names(&begin).await?;
        Ok(names.iter().map(|name| name.strip_prefix(&begin).unwrap_or(name).to_owned()).collect())
    }

    /// Numbers here never are below the server's time in microseconds, so that one in the past is exceeded anyway.
    async fn rise_above(&self, floor: u64) -> Result<u64, PortError> {
        let (seconds, micros): (u64, u64) =
            self.ask(async |connection| redis::cmd("TIME").query_async(connection).await).await?;
        let now = seconds * 1_000_000 + micros;
        if floor >= now {
            return Err(PortError::Misconfigured(format!(
                "versions and terms have come to {floor}, beyond the clock of Redis at {} ({now}): set that clock right",
                self.address()
            )));
        }
        let mut counters = self.names(&self.keys().term("")).await?;
        counters.push(self.keys().version());
        let given_out = self.numbers(&counters).await?;
        Ok(given_out.into_iter().flatten().max().unwrap_or(0).max(now))
    }
}

/// What `PTTL` answers: -2 for no key, -1 for one that stays, else milliseconds.
#[derive(Debug, Clone, Copy)]
struct EndsIn(i64);

impl EndsIn {
    /// None when the key is gone.
    fn of_existing(self) -> Option<Option<Duration>> {
        match self.0 {
            -2 => None,
            milliseconds => Some(u64::try_from(milliseconds).ok().map(Duration::from_millis)),
        }
    }
}

impl RedisState {
    async fn ends_in(&self, names: &[String]) -> Result<Vec<EndsIn>, PortError> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let mut pipeline = redis::pipe();
        for name in names {
            pipeline.cmd("PTTL").arg(name);
        }
        let ends: Vec<i64> = self.ask(async |connection| pipeline.query_async(connection).await).await?;
        Ok(ends.into_iter().map(EndsIn).collect())
    }

    /// The numbers behind keys; none where there is no key.
    async fn numbers(&self, names: &[String]) -> Result<Vec<Option<u64>>, PortError> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let mut pipeline = redis::pipe();
        for name in names {
            pipeline.cmd("GET").arg(name);
        }
        self.ask(async |connection| pipeline.query_async(connection).await).await
    }

    /// All keys of the server that begin so.
    async fn names(&self, begin: &str) -> Result<Vec<String>, PortError> {
        let (mut names, mut cursor) = (Vec::new(), 0_u64);
        loop {
            let mut command = redis::cmd("SCAN");
            command.arg(cursor).arg("MATCH").arg(format!("{begin}*")).arg("COUNT").arg(STEP_KEYS);
            let (next, found): (u64, Vec<String>) =
                self.ask(async |connection| command.query_async(connection).await).await?;
            names.extend(found);
            if next == 0 {
                break;
            }
            cursor = next;
        }
        names.sort_unstable();
        // A search may give a key twice.
        names.dedup();
        Ok(names)
    }
}

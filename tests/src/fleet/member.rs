//! One program of the installation, over several lives.

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;

use crate::ports::free_port;
use crate::{HarnessError, Program, Result, RunningProgram};

/// A drain takes `drain_seconds` at most; a busy machine may take longer to notice.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(60);

/// Which program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `producer`.
    Producer,
    /// `worker`.
    Worker,
    /// `syncfleet up`: both in one process.
    Up,
}

impl Kind {
    fn program(self) -> &'static str {
        match self {
            Self::Producer => "producer",
            Self::Worker => "worker",
            Self::Up => "syncfleet",
        }
    }
}

/// A program with its own name and addresses.
pub struct Member {
    kind: Kind,
    name: String,
    program: Program,
    private_port: u16,
    webhook_port: Option<u16>,
    running: Option<RunningProgram>,
    /// What its earlier lives printed.
    log: String,
    /// Watched texts that its earlier lives printed.
    printed: BTreeSet<String>,
}

impl Member {
    /// One that was never started.
    ///
    /// # Errors
    /// When it is not built, or no port is free.
    pub fn new(kind: Kind, number: usize) -> Result<Self> {
        let name = format!("{}-{number}", kind.program());
        let program = Program::new(kind.program())?;
        let program = if kind == Kind::Up { program.arg("up") } else { program };
        let webhook_port = if kind == Kind::Worker { None } else { Some(free_port()?) };
        let private_port = free_port()?;
        let (log, printed) = (String::new(), BTreeSet::new());
        Ok(Self { kind, name, program, private_port, webhook_port, running: None, log, printed })
    }

    /// Gives it the folder with its settings, what it has of its own, and secrets: by the variables that hold them.
    pub fn configure(&mut self, folder: &Path, secrets: &[(String, String)], settings: &[(&str, String)]) {
        let mut own = vec![("OPERATIONS__LISTEN".to_owned(), format!("127.0.0.1:{}", self.private_port))];
        own.extend(["PRODUCER__NAME", "WORKER__NAME"].map(|key| (key.to_owned(), self.name.clone())));
        let webhooks = self.webhook_port.map_or_else(String::new, |port| format!("127.0.0.1:{port}"));
        own.push(("PRODUCER__WEBHOOK_LISTEN".to_owned(), webhooks));
        own.push(("PRODUCER__SPOOL__DIR".to_owned(), format!("spool-{}", self.name)));
        own.extend(settings.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
        for (key, value) in own {
            self.set(&key, &value);
        }
        for (variable, secret) in secrets {
            self.change(|program| program.env(variable, secret).watch_for(secret));
        }
        self.change(|program| program.current_dir(folder));
    }

    /// Changes a setting, such as `WORKER__NAME`; counts from its next life on.
    pub fn set(&mut self, key: &str, value: &str) {
        self.change(|program| program.env(format!("SYNCFLEET__{key}"), value));
    }

    /// Changes its environment; counts from its next life on.
    pub fn change(&mut self, change: impl FnOnce(Program) -> Program) {
        let program = std::mem::replace(&mut self.program, Program::at(""));
        self.program = change(program);
    }

    /// Which program it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where metrics and health are shown, without a slash at the end.
    pub fn private_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.private_port)
    }

    /// Where it takes webhooks, if it does, without a slash at the end.
    pub fn webhook_url(&self) -> Option<String> {
        self.webhook_port.map(|port| format!("http://127.0.0.1:{port}"))
    }

    /// Starts it; kills its present life, if there is one.
    ///
    /// # Errors
    /// When the process cannot be created.
    pub fn start(&mut self) -> Result<()> {
        self.kill_9();
        self.running = Some(self.program.start()?);
        Ok(())
    }

    /// The present life.
    ///
    /// # Errors
    /// When it was not started.
    pub fn process(&mut self) -> Result<&mut RunningProgram> {
        let Self { name, running, .. } = self;
        running.as_mut().ok_or_else(|| HarnessError::new(format!("{name} does not run")))
    }

    /// SIGKILL. Safe to repeat.
    pub fn kill_9(&mut self) {
        if let Some(mut running) = self.running.take() {
            running.kill_9();
            self.keep(&running);
        }
    }

    /// Whether it runs (or is frozen).
    pub fn is_running(&mut self) -> bool {
        self.running.as_mut().is_some_and(RunningProgram::is_running)
    }

    fn keep(&mut self, ended: &RunningProgram) {
        self.log.push_str(&ended.log());
        self.printed.extend(ended.printed());
    }

    /// SIGTERM, and waits for its end. A program that the signal met before it had printed anything has begun nothing
    /// and may end of it.
    ///
    /// # Errors
    /// When it does not end in time, or not with success.
    pub async fn drain(&mut self) -> Result<()> {
        let Some(mut running) = self.running.take() else { return Ok(()) };
        running.terminate();
        let status = running.wait_exit(DRAIN_TIMEOUT).await?;
        self.keep(&running);
        let log = running.log();
        let has_begun = status.signal() != Some(Signal::TERM.as_raw()) || !log.is_empty();
        if status.success() || !has_begun {
            return Ok(());
        }
        Err(HarnessError::new(format!("{} ended with {status} after SIGTERM:\n{log}", self.name)))
    }

    /// Which of the watched texts all its lives printed.
    pub fn printed(&self) -> BTreeSet<String> {
        let now = self.running.as_ref().map(RunningProgram::printed).unwrap_or_default();
        self.printed.union(&now).cloned().collect()
    }

    /// What all its lives printed, as far as it is kept.
    pub fn log(&self) -> String {
        let now = self.running.as_ref().map(RunningProgram::log).unwrap_or_default();
        format!("{}{now}", self.log)
    }
}

//! Programs under test: started from the target folder, logs kept, killed at will.

use std::collections::{BTreeSet, VecDeque};
use std::ffi::OsString;
use std::io::{BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::supervise::Supervised;
use crate::{HarnessError, Result, wait};

const LOG_LINES_MAX: usize = 2_000;
const LINE_BYTES_MAX: u64 = 16 * 1024;
const SHOWN_LINES_MAX: usize = 100;

/// Where cargo put the program `name` (`producer`, `worker`, `syncfleet`).
///
/// # Errors
/// When it is not built, with the command that builds it.
pub fn program_path(name: &str) -> Result<PathBuf> {
    let test = std::env::current_exe()
        .map_err(|error| HarnessError::new(format!("the test binary does not know its own path: {error}")))?;
    // target/debug/deps/conformance-0123 → target/debug/name
    let folder = test.parent().and_then(Path::parent).unwrap_or_else(|| Path::new("."));
    let path = folder.join(name);
    if path.exists() {
        return Ok(path);
    }
    Err(HarnessError::new(format!(
        "program `{name}` is not built in {}: run `cargo build --workspace --bins`, \
         or run the tests by `cargo xtask test`, which does",
        folder.display()
    )))
}

/// A program that is about to be started.
///
/// It inherits the environment except `SYNCFLEET__…`, so that no setting of the developer's leaks in.
pub struct Program {
    path: PathBuf,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    folder: Option<PathBuf>,
    watched: Vec<String>,
}

impl Program {
    /// One of our own programs, by name.
    ///
    /// # Errors
    /// As [`program_path`].
    pub fn new(name: &str) -> Result<Self> {
        program_path(name).map(Self::at)
    }

    /// Any program, by path.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), args: Vec::new(), env: Vec::new(), folder: None, watched: Vec::new() }
    }

    /// Adds one argument.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<A: Into<OsString>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets one environment variable.
    #[must_use]
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Looks for this text in every line that it prints, also in those that are not kept: see
    /// [`RunningProgram::printed`].
    #[must_use]
    pub fn watch_for(mut self, text: impl Into<String>) -> Self {
        self.watched.push(text.into());
        self
    }

    /// Sets the working folder.
    #[must_use]
    pub fn current_dir(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folder = Some(folder.into());
        self
    }

    /// Starts it.
    ///
    /// # Errors
    /// When the process cannot be created.
    pub fn start(&self) -> Result<RunningProgram> {
        let mut process = Supervised::start(&self.path, &self.args, |command| {
            for (name, _) in std::env::vars_os() {
                if name.to_string_lossy().starts_with("SYNCFLEET__") {
                    command.env_remove(name);
                }
            }
            command.envs(self.env.iter().map(|(name, value)| (name, value)));
            if let Some(folder) = &self.folder {
                command.current_dir(folder);
            }
            command.stdout(Stdio::piped()).stderr(Stdio::piped());
        })?;
        let log = Log::watching(&self.watched);
        let (stdout, stderr) = process.take_output();
        if let Some(stdout) = stdout {
            log.follow(stdout);
        }
        if let Some(stderr) = stderr {
            log.follow(stderr);
        }
        let name = self.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(RunningProgram { name, process, log })
    }
}

/// A started program. Drop kills it, and prints its last log lines if the test is failing.
pub struct RunningProgram {
    name: String,
    process: Supervised,
    log: Log,
}

impl RunningProgram {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Whether it runs (or is frozen).
    pub fn is_running(&mut self) -> bool {
        self.process.ended().is_none()
    }

    /// SIGKILL; it is gone when this returns. Safe to repeat.
    pub fn kill_9(&mut self) {
        self.process.kill_9();
    }

    /// SIGTERM: asks it to drain; returns at once.
    pub fn terminate(&mut self) {
        self.process.terminate();
    }

    /// SIGINT; returns at once.
    pub fn interrupt(&mut self) {
        self.process.interrupt();
    }

    /// SIGSTOP.
    pub fn freeze(&mut self) {
        self.process.freeze();
    }

    /// SIGCONT.
    pub fn thaw(&mut self) {
        self.process.thaw();
    }

    /// Waits until it has ended by itself.
    ///
    /// # Errors
    /// When it still runs after `timeout`, with its last log lines.
    pub async fn wait_exit(&mut self, timeout: Duration) -> Result<ExitStatus> {
        let ended = self.process.wait_exit(timeout).await;
        ended.map_err(|error| HarnessError::new(format!("{error}\n{}", self.tail())))
    }

    /// What it printed so far on both outputs: the last 2,000 lines.
    pub fn log(&self) -> String {
        self.log.last(LOG_LINES_MAX)
    }

    /// Which of the watched texts it printed so far.
    pub fn printed(&self) -> BTreeSet<String> {
        self.log.with(|state| state.seen.clone())
    }

    /// Waits until everything is read that it printed, which takes its end, and returns the last 2,000 lines.
    ///
    /// # Errors
    /// When its outputs stay open.
    pub async fn complete_log(&self, timeout: Duration) -> Result<String> {
        let what = format!("end of the output of {}", self.name);
        let complete = || if self.log.is_complete() { Ok(()) } else { Err("open") };
        wait::try_until(&what, timeout, async || complete()).await?;
        Ok(self.log())
    }

    /// Waits for a log line that contains `text` and returns it.
    ///
    /// # Errors
    /// When the program ends or `timeout` passes first, with its last log lines.
    pub async fn wait_for_log(&mut self, text: &str, timeout: Duration) -> Result<String> {
        let Self { process, log, name } = self;
        let what = format!("line with `{text}` in the log of {name}");
        let found = wait::try_until(&what, timeout, async || {
            let ended = process.ended();
            match (log.find(text), ended) {
                (Some(line), _) => Ok(Ok(line)),
                // A program that ended may still have lines in its pipes: look until they are read.
                (None, Some(status)) if log.is_complete() => Ok(Err(format!("{name} ended with {status}"))),
                (None, _) => Err("not printed"),
            }
        })
        .await;
        match found {
            Ok(Ok(line)) => Ok(line),
            Ok(Err(ended)) => Err(HarnessError::new(format!("no {what}: {ended}\n{}", self.tail()))),
            Err(error) => Err(HarnessError::new(format!("{error}\n{}", self.tail()))),
        }
    }

    fn tail(&self) -> String {
        let Self { name, log, .. } = self;
        format!("--- {name} (process {}) printed last ---\n{}", self.pid(), log.last(SHOWN_LINES_MAX))
    }
}

impl Drop for RunningProgram {
    fn drop(&mut self) {
        self.process.kill_9();
        if std::thread::panicking() {
            #[expect(clippy::print_stderr, reason = "the log of a program whose test fails")]
            {
                eprintln!("{}", self.tail());
            }
        }
    }
}

/// The last lines of both outputs. Readers are threads: a program may outlive the runtime of one test.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<LogState>>);

#[derive(Default)]
struct LogState {
    watched: Vec<String>,
    seen: BTreeSet<String>,
    lines: VecDeque<String>,
    readers: usize,
}

impl Log {
    fn watching(texts: &[String]) -> Self {
        Self(Arc::new(Mutex::new(LogState { watched: texts.to_vec(), ..LogState::default() })))
    }

    fn follow(&self, output: impl Read + Send + 'static) {
        self.with(|state| state.readers += 1);
        let log = self.clone();
        std::thread::spawn(move || {
            let mut output = BufReader::new(output);
            let mut line = Vec::new();
            while let Ok(1..) = (&mut output).take(LINE_BYTES_MAX).read_until(b'\n', &mut line) {
                let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                log.with(|state| {
                    let LogState { watched, seen, .. } = state;
                    let found = watched.iter().filter(|watched| text.contains(watched.as_str()));
                    seen.extend(found.cloned());
                    if state.lines.len() == LOG_LINES_MAX {
                        state.lines.pop_front();
                    }
                    state.lines.push_back(text);
                });
                line.clear();
            }
            log.with(|state| state.readers -= 1);
        });
    }

    fn last(&self, count: usize) -> String {
        self.with(|state| {
            let skipped = state.lines.len().saturating_sub(count);
            state.lines.iter().skip(skipped).map(|line| format!("{line}\n")).collect()
        })
    }

    fn find(&self, text: &str) -> Option<String> {
        self.with(|state| state.lines.iter().find(|line| line.contains(text)).cloned())
    }

    fn is_complete(&self) -> bool {
        self.with(|state| state.readers == 0)
    }

    fn with<T>(&self, use_state: impl FnOnce(&mut LogState) -> T) -> T {
        use_state(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(20);

    fn shell(script: &str) -> Program {
        Program::at("/bin/sh").args(["-c", script])
    }

    #[tokio::test]
    async fn keeps_what_a_program_prints_and_how_it_ends() {
        let mut program =
            shell("echo out $GREETING; echo err >&2; exit 3").env("GREETING", "hello").start().unwrap();
        assert_eq!(program.wait_exit(SOON).await.unwrap().code(), Some(3));
        program.wait_for_log("out hello", SOON).await.unwrap();
        program.wait_for_log("err", SOON).await.unwrap();
        let error = program.wait_for_log("never printed", SOON).await.unwrap_err().to_string();
        assert!(error.contains("exit status: 3") && error.contains("out hello"), "{error}");
    }

    #[tokio::test]
    async fn keeps_the_last_lines_only() {
        let mut program =
            shell("i=0; while [ $i -lt 2500 ]; do echo line $i; i=$((i+1)); done").start().unwrap();
        program.wait_for_log("line 2499", SOON).await.unwrap();
        let log = program.log();
        assert_eq!(log.lines().count(), LOG_LINES_MAX);
        assert!(!log.contains("line 499\n"), "the oldest lines are dropped");
    }

    #[tokio::test]
    async fn a_program_may_end_in_its_own_way_or_be_killed() {
        let script = "trap 'echo drained; exit 0' TERM; echo ready; while :; do sleep 0.05; done";
        let mut polite = shell(script).start().unwrap();
        polite.wait_for_log("ready", SOON).await.unwrap();
        polite.terminate();
        assert!(polite.wait_exit(SOON).await.unwrap().success());
        polite.wait_for_log("drained", SOON).await.unwrap();

        let mut killed = shell(script).start().unwrap();
        killed.wait_for_log("ready", SOON).await.unwrap();
        killed.kill_9();
        assert!(!killed.is_running() && !killed.log().contains("drained"));
    }

    #[test]
    fn says_how_to_build_a_missing_program() {
        let error = program_path("no-such-program").unwrap_err().to_string();
        assert!(error.contains("cargo build --workspace --bins"), "{error}");
    }
}

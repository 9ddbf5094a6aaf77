//! Child processes that cannot outlive the test binary.
//!
//! One watchdog shell per test binary reads from a pipe that only this process writes to. When this
//! process is gone, for whatever reason, the pipe closes: the watchdog kills every registered process
//! group and removes every registered folder. A child waits at a gate until it is registered, so that
//! there is no moment in which a killed test binary leaves one behind.

use std::ffi::OsStr;
use std::io::Write as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use crate::{HarnessError, Result, wait};

const WATCHDOG: &str = r#"
trap '' HUP INT TERM
groups= folders=
while read -r verb value; do
    case $verb in
    kill) groups="$groups $value" ;;
    spare) kept=; for group in $groups; do [ "$group" = "$value" ] || kept="$kept $group"; done; groups=$kept ;;
    remove) folders="$folders
$value" ;;
    esac
done
for group in $groups; do kill -s KILL -- "-$group"; done
IFS='
'
for try in 1 2 3 4 5; do
    rm -rf -- $folders && break
    sleep 0.2
done
"#;

/// The child's own shell: waits for the word that it is registered, then becomes the program.
const GATE: &str = r#"read -r _ || exit 1; exec "$0" "$@" </dev/null"#;

static PIPE: LazyLock<std::result::Result<Mutex<ChildStdin>, String>> = LazyLock::new(|| {
    let mut child = Command::new("sh")
        .args(["-c", WATCHDOG])
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .map_err(|error| format!("the watchdog shell does not start: {error}"))?;
    child.stdin.take().map(Mutex::new).ok_or_else(|| "the watchdog shell has no input".to_owned())
});

fn tell_watchdog(line: &str) -> Result<()> {
    let pipe = PIPE.as_ref().map_err(|error| HarnessError::new(error.clone()))?;
    let mut pipe = pipe.lock().unwrap_or_else(PoisonError::into_inner);
    writeln!(pipe, "{line}")
        .map_err(|error| HarnessError::new(format!("the watchdog shell is gone: {error}; end the test run")))
}

/// A fresh folder under the system's temporary folder, removed on drop or with the test binary.
pub struct Folder(tempfile::TempDir);

impl Folder {
    /// Creates the folder; `label` is part of its name.
    ///
    /// # Errors
    /// When the temporary folder cannot be written.
    pub fn new(label: &str) -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix(&format!("syncfleet-{label}-"))
            .tempdir()
            .map_err(|error| HarnessError::new(format!("no temporary folder for {label}: {error}")))?;
        tell_watchdog(&format!("remove {}", folder.path().display()))?;
        Ok(Self(folder))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// A path inside it.
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path().join(name)
    }
}

/// A running child in a process group of its own.
pub struct Supervised {
    name: String,
    child: Child,
    group: Pid,
    ended: Option<ExitStatus>,
}

impl Supervised {
    /// Starts `program`; `configure` sets environment, folder and output of the command.
    ///
    /// # Errors
    /// When the process cannot be created. A program that does not exist ends with exit code 127.
    pub fn start<A: AsRef<OsStr>>(
        program: &Path,
        args: impl IntoIterator<Item = A>,
        configure: impl FnOnce(&mut Command),
    ) -> Result<Self> {
        let name = program.file_name().unwrap_or(program.as_os_str()).to_string_lossy().into_owned();
        let failed =
            |what: &str, error: std::io::Error| HarnessError::new(format!("{name} does not {what}: {error}"));
        let mut command = Command::new("sh");
        command.arg("-c").arg(GATE).arg(program).args(args);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        configure(&mut command);
        command.stdin(Stdio::piped()).process_group(0);

        let mut child = command.spawn().map_err(|error| failed("start", error))?;
        let gate = child.stdin.take();
        let group = Pid::from_child(&child);
        let mut supervised = Self { name: name.clone(), child, group, ended: None };
        tell_watchdog(&format!("kill {}", supervised.pid()))?;
        if let Some(mut gate) = gate
            && let Err(error) = gate.write_all(b"go\n")
        {
            supervised.kill_9();
            return Err(failed("pass its gate", error));
        }
        Ok(supervised)
    }

    /// The process id, which is the id of its group as well.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The child's output pipes, when `configure` asked for pipes.
    pub fn take_output(&mut self) -> (Option<std::process::ChildStdout>, Option<std::process::ChildStderr>) {
        (self.child.stdout.take(), self.child.stderr.take())
    }

    /// How it ended, or `None` while it runs.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none()
            && let Ok(Some(status)) = self.child.try_wait()
        {
            self.set_ended(status);
        }
        self.ended
    }

    /// Ends the whole group with SIGKILL and waits until the process is gone. Safe to repeat.
    pub fn kill_9(&mut self) {
        if self.ended().is_none() {
            self.signal(Signal::KILL);
            let status = self.child.wait().unwrap_or_else(|_| ExitStatus::from_raw(9));
            self.set_ended(status);
        }
    }

    /// Asks the group to end with SIGTERM; returns at once.
    pub fn terminate(&mut self) {
        self.signal(Signal::TERM);
    }

    /// Interrupts the group with SIGINT, as a key at a terminal does; returns at once.
    pub fn interrupt(&mut self) {
        self.signal(Signal::INT);
    }

    /// Stops the group with SIGSTOP: its connections stay open, nothing answers. On a busy machine a process goes on for a
    /// while until the signal has reached all its threads; this is over when the process stands still.
    pub fn freeze(&mut self) {
        self.signal(Signal::STOP);
        if self.ended().is_none() {
            let stands = WaitIdOptions::STOPPED | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
            let _ended_meanwhile = waitid(WaitId::Pid(self.group), stands);
        }
    }

    /// Lets a frozen group go on (SIGCONT).
    pub fn thaw(&mut self) {
        self.signal(Signal::CONT);
    }

    /// Waits until the process has ended by itself.
    ///
    /// # Errors
    /// When it still runs after `timeout`.
    pub async fn wait_exit(&mut self, timeout: Duration) -> Result<ExitStatus> {
        let what = format!("end of {} (process {})", self.name, self.pid());
        wait::try_until(&what, timeout, async || self.ended().ok_or("running")).await
    }

    fn signal(&mut self, signal: Signal) {
        if self.ended().is_none() {
            // A group that is already gone is what every caller of a signal wants or soon notices.
            let _gone = kill_process_group(self.group, signal);
        }
    }

    fn set_ended(&mut self, status: ExitStatus) {
        self.ended = Some(status);
        let _watchdog_gone = tell_watchdog(&format!("spare {}", self.pid()));
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        self.kill_9();
    }
}

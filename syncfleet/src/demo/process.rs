//! The simulated systems in a process of their own: started, found again, ended.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::time::Instant;

use super::bind;
use super::systems::Systems;
use crate::simulators::Addresses;

/// How long they go on after the last request.
const IDLE_SECONDS: u64 = 300;
const START_TIME_MAX: Duration = Duration::from_secs(20);
const LOOK_PAUSE: Duration = Duration::from_millis(50);

/// The systems that run in the directory; starts them where none do. They live on when this process is killed.
///
/// # Errors
/// A sentence about why they do not run.
pub async fn find_or_start(dir: &Path) -> Result<Systems, String> {
    if let Some(systems) = find(dir).await? {
        return Ok(systems);
    }
    let log = dir.join("simulators.log");
    start(&dir.join("simulators"), &log)
        .await
        .map_err(|error| format!("the simulators do not start: {error}"))?;
    let deadline = Instant::now() + START_TIME_MAX;
    loop {
        if let Some(systems) = find(dir).await? {
            return Ok(systems);
        }
        if Instant::now() >= deadline {
            return Err(format!("the simulators do not answer; {} may say why", log.display()));
        }
        tokio::time::sleep(LOOK_PAUSE).await;
    }
}

async fn find(dir: &Path) -> Result<Option<Systems>, String> {
    let Some(addresses) = Addresses::load(&dir.join("simulators")) else { return Ok(None) };
    let systems = Systems::new(addresses)?;
    Ok(systems.answer().await.then_some(systems))
}

async fn start(dir: &Path, log: &Path) -> io::Result<()> {
    let ports = ports_of_before(dir).await;
    let log = OpenOptions::new().create(true).append(true).open(log)?;
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("simulators").arg("--dir").arg(dir).args(["--idle", &IDLE_SECONDS.to_string()]);
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    for (option, port) in ports {
        command.arg(option).arg(port.to_string());
    }
    // A group of its own: Ctrl-C in the terminal is for the demo.
    command.process_group(0).spawn().map(|_| ())
}

/// The ports that the systems had when they last ran here, as far as nobody has them: pages and settings that name them
/// stay good.
async fn ports_of_before(dir: &Path) -> Vec<(&'static str, u16)> {
    let Some(before) = Addresses::load(dir) else { return Vec::new() };
    let options = [
        ("--espocrm-port", Some(before.espocrm)),
        ("--advoware-port", Some(before.advoware)),
        ("--microsoft-port", before.microsoft),
        ("--google-port", before.google),
        ("--wecom-port", before.wecom),
        ("--scim-port", before.scim),
    ];
    let mut ports = Vec::new();
    for (option, address) in options {
        let port = address.and_then(|address| port_of(&address));
        if let Some(port) = port
            && bind(port).await.is_ok()
        {
            ports.push((option, port));
        }
    }
    ports
}

/// The port of a base address, with or without a path.
fn port_of(address: &str) -> Option<u16> {
    let (_, after) = address.rsplit_once(':')?;
    after.split('/').next()?.parse().ok()
}

/// Ends the systems that run in the directory, if any do, and waits until they are gone.
pub async fn end(dir: &Path) -> Result<(), String> {
    let Some(systems) = find(dir).await? else { return Ok(()) };
    let pid = i32::try_from(systems.addresses().pid).ok().and_then(Pid::from_raw);
    if let Some(pid) = pid {
        // One that is gone already is what is wanted.
        let _ = kill_process(pid, Signal::TERM);
    }
    let deadline = Instant::now() + START_TIME_MAX;
    while systems.answer().await {
        if Instant::now() >= deadline {
            return Err("the simulators do not end".to_owned());
        }
        tokio::time::sleep(LOOK_PAUSE).await;
    }
    Ok(())
}

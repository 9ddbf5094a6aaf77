//! A private Redis server: `appendonly yes`, `appendfsync everysec`, own folder, own port.

use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;

use crate::ports::free_port;
use crate::supervise::{Folder, Supervised};
use crate::{HarnessError, Result, wait};

const PROGRAM: &str = "/usr/bin/redis-server";
const READY_TIMEOUT: Duration = Duration::from_secs(30);
const STOP_TIMEOUT: Duration = Duration::from_secs(20);
const START_TRIES: u32 = 3;

/// The server that all tests of this binary share; keep apart by key prefix ([`crate::unique_name`]).
///
/// # Errors
/// As [`Redis::start`].
pub async fn shared_redis() -> Result<&'static Redis> {
    static SHARED: OnceCell<Redis> = OnceCell::const_new();
    SHARED.get_or_try_init(Redis::start).await
}

/// A Redis process of our own. Drop ends it and removes its data.
pub struct Redis {
    folder: Folder,
    port: u16,
    server: Supervised,
}

impl Redis {
    /// Starts a server with an empty folder and waits until it answers.
    ///
    /// # Errors
    /// When the package is missing (with what to install) or the server does not become ready.
    pub async fn start() -> Result<Self> {
        if !Path::new(PROGRAM).exists() {
            return Err(HarnessError::new(format!(
                "{PROGRAM} is missing: install it with `apt-get install -y redis-server`, \
                 or run `cargo xtask test`, which does"
            )));
        }
        let mut last = None;
        for _ in 0..START_TRIES {
            let folder = Folder::new("redis")?;
            let port = free_port()?;
            let server = launch(&folder, port)?;
            let mut redis = Self { folder, port, server };
            match redis.ready().await {
                Ok(()) => return Ok(redis),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| HarnessError::new("Redis was never started")))
    }

    /// `redis://127.0.0.1:PORT/0`
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    /// The port it listens on, also while it is down.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// SIGKILL: loses what it had not yet written to its append-only file, about a second at most.
    pub fn kill_9(&mut self) {
        self.server.kill_9();
    }

    /// Ends it in good order (SIGTERM), data synced.
    ///
    /// # Errors
    /// When it has not ended after 20 s.
    pub async fn stop(&mut self) -> Result<()> {
        self.server.thaw();
        self.server.terminate();
        self.server.wait_exit(STOP_TIMEOUT).await.map(drop)
    }

    /// Starts it again on the same port and data, stopping it first if it runs.
    ///
    /// # Errors
    /// As [`Redis::start`] and [`Redis::stop`].
    pub async fn restart(&mut self) -> Result<()> {
        if self.server.ended().is_none() {
            self.stop().await?;
        }
        self.server = launch(&self.folder, self.port)?;
        self.ready().await
    }

    /// SIGSTOP: connections stay open, nothing answers.
    pub fn freeze(&mut self) {
        self.server.freeze();
    }

    /// SIGCONT: goes on after [`Redis::freeze`].
    pub fn thaw(&mut self) {
        self.server.thaw();
    }

    async fn ready(&mut self) -> Result<()> {
        let server = &mut self.server;
        let port = self.port;
        let ready = wait::try_until("ready Redis server", READY_TIMEOUT, async || {
            if let Some(status) = server.ended() {
                return Ok(Err(format!("ended with {status}")));
            }
            match ping(port).await {
                Ok(answer) if answer.starts_with("+PONG") => Ok(Ok(())),
                Ok(answer) => Err(answer),
                Err(error) => Err(error.to_string()),
            }
        })
        .await;
        let problem = match ready {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(ended)) => ended,
            Err(timeout) => timeout.to_string(),
        };
        let log = std::fs::read_to_string(self.folder.join("redis.log")).unwrap_or_default();
        Err(HarnessError::new(format!("redis-server on port {port}: {problem}; its log ends:\n{log}")))
    }
}

fn launch(folder: &Folder, port: u16) -> Result<Supervised> {
    let port = port.to_string();
    let args = [
        ["--port", port.as_str()],
        ["--bind", "127.0.0.1"],
        ["--dir", "."],
        ["--logfile", "redis.log"],
        ["--daemonize", "no"],
        ["--appendonly", "yes"],
        ["--appendfsync", "everysec"],
        ["--save", ""],
    ];
    Supervised::start(Path::new(PROGRAM), args.iter().flatten(), |command| {
        command.current_dir(folder.path());
    })
}

async fn ping(port: u16) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.write_all(b"PING\r\n").await?;
    let mut answer = [0; 128];
    let length = stream.read(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
}

//! A private Redis server: `appendonly yes`, `appendfsync always`, own folder, own port.

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
    /// The port of the server that it began as a replica of.
    primary: Option<u16>,
    server: Supervised,
}

/// What a server held at one time.
pub struct BackUp(Folder);

/// The files that hold the data.
const DATA: &str = "appendonlydir";

impl Redis {
    /// Starts a server with an empty folder and waits until it answers.
    ///
    /// # Errors
    /// When the package is missing (with what to install) or the server does not become ready.
    pub async fn start() -> Result<Self> {
        Self::start_as(None).await
    }

    /// Starts a replica of another server, and waits until it has everything.
    ///
    /// # Errors
    /// As [`Redis::start`], and when it does not catch up.
    pub async fn start_replica_of(primary: &Self) -> Result<Self> {
        let replica = Self::start_as(Some(primary.port)).await?;
        replica.has_caught_up().await?;
        Ok(replica)
    }

    /// Starts one that ended again, as the replica of another, and waits until it has everything.
    ///
    /// # Errors
    /// As [`Redis::start_replica_of`].
    pub async fn follow(&mut self, primary: &Self) -> Result<()> {
        self.primary = Some(primary.port);
        self.restart().await?;
        self.has_caught_up().await
    }

    async fn has_caught_up(&self) -> Result<()> {
        wait::try_until("replica that has caught up", READY_TIMEOUT, async || {
            let info = self.control(&["INFO", "replication"]).await.map_err(|error| error.to_string())?;
            if info.contains("master_link_status:up") { Ok(()) } else { Err(info) }
        })
        .await
    }

    async fn start_as(primary: Option<u16>) -> Result<Self> {
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
            let server = launch(&folder, port, primary)?;
            let mut redis = Self { folder, port, primary, server };
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

    /// SIGKILL: nothing that was answered is lost.
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
        self.server = launch(&self.folder, self.port, self.primary)?;
        self.ready().await
    }

    /// Makes a replica the primary, for good.
    ///
    /// # Errors
    /// As [`Redis::control`].
    pub async fn promote(&mut self) -> Result<()> {
        self.primary = None;
        self.control(&["REPLICAOF", "NO", "ONE"]).await.map(drop)
    }

    /// Runs a command and returns its answer as text, for example `&["FLUSHALL"]`.
    ///
    /// # Errors
    /// When the server does not answer, or refuses.
    pub async fn control(&self, command: &[&str]) -> Result<String> {
        let failed =
            |error: redis::RedisError| HarnessError::new(format!("redis {}: {error}", command.join(" ")));
        let client = redis::Client::open(self.url()).map_err(failed)?;
        // By default it gives up after half a second, which a busy machine may take.
        let patient = redis::AsyncConnectionConfig::new()
            .set_connection_timeout(Some(READY_TIMEOUT))
            .set_response_timeout(Some(READY_TIMEOUT));
        let connecting = client.get_multiplexed_async_connection_with_config(&patient);
        let mut connection = connecting.await.map_err(failed)?;
        let mut request = redis::Cmd::new();
        for part in command {
            request.arg(*part);
        }
        let answer: redis::Value = request.query_async(&mut connection).await.map_err(failed)?;
        Ok(redis::from_redis_value(answer.clone()).unwrap_or_else(|_| format!("{answer:?}")))
    }

    /// A copy of what it holds now.
    ///
    /// # Errors
    /// When the files cannot be copied.
    pub fn back_up(&self) -> Result<BackUp> {
        let copy = Folder::new("redis-backup")?;
        copy_files(&self.folder.join(DATA), copy.path())?;
        Ok(BackUp(copy))
    }

    /// Puts a copy in the place of what it holds, and starts it again.
    ///
    /// # Errors
    /// As [`Redis::restart`], or when the files cannot be copied.
    pub async fn restore(&mut self, copy: &BackUp) -> Result<()> {
        self.stop().await?;
        let data = self.folder.join(DATA);
        std::fs::remove_dir_all(&data)
            .and_then(|()| std::fs::create_dir(&data))
            .map_err(|error| HarnessError::new(format!("{} is not emptied: {error}", data.display())))?;
        copy_files(copy.0.path(), &data)?;
        self.restart().await
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

fn launch(folder: &Folder, port: u16, primary: Option<u16>) -> Result<Supervised> {
    let port = port.to_string();
    let args = [
        ["--port", port.as_str()],
        ["--bind", "127.0.0.1"],
        ["--dir", "."],
        ["--logfile", "redis.log"],
        ["--daemonize", "no"],
        ["--appendonly", "yes"],
        ["--appendfsync", "always"],
        ["--save", ""],
    ];
    let primary = primary.map(|port| format!("127.0.0.1 {port}"));
    let replica = primary.iter().flat_map(|primary| ["--replicaof", primary.as_str()]);
    Supervised::start(Path::new(PROGRAM), args.iter().flatten().copied().chain(replica), |command| {
        command.current_dir(folder.path());
    })
}

fn copy_files(from: &Path, to: &Path) -> Result<()> {
    let copy = || -> std::io::Result<()> {
        for file in std::fs::read_dir(from)? {
            let file = file?;
            std::fs::copy(file.path(), to.join(file.file_name()))?;
        }
        Ok(())
    };
    copy().map_err(|error| HarnessError::new(format!("{} is not copied: {error}", from.display())))
}

async fn ping(port: u16) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.write_all(b"PING\r\n").await?;
    let mut answer = [0; 128];
    let length = stream.read(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
}

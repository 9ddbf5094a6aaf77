//! A private RabbitMQ node, from the distribution's package but apart from the system's own node:
//! own name, ports, epmd, data, log, configuration, plugins and cookie, all on 127.0.0.1.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use lapin::{Connection, ConnectionProperties};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;

use crate::ports::free_port;
use crate::supervise::{Folder, Supervised};
use crate::{HarnessError, Result, unique_name, wait};

/// The package's own scripts: the wrapper on the PATH would switch user and folder.
const SERVER: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";
const CONTROL: &str = "/usr/lib/rabbitmq/bin/rabbitmqctl";
const EPMD: &str = "/usr/bin/epmd";
/// A node takes 5 to 10 s alone on two cores; other work may slow it down several times.
const READY_TIMEOUT: Duration = Duration::from_secs(120);
/// A node that was killed is back in seconds; RabbitMQ 3.10 was seen to hang for ever in its start after several
/// kills in a row.
const RESTART_TIMEOUT: Duration = Duration::from_secs(45);
/// A node of a cluster has the copies of all queues to recover, and asks the others.
const REJOIN_TIMEOUT: Duration = Duration::from_secs(240);
/// An accepted connection whose handshake is never answered must not use up the whole wait.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);
const DIAGNOSIS_TIMEOUT: Duration = Duration::from_secs(20);
const STOP_TIMEOUT: Duration = Duration::from_secs(60);
const START_TRIES: u32 = 3;
/// What nodes know each other by; all of them listen on 127.0.0.1 only, with names of their own.
const COOKIE: &str = "SYNCFLEETTESTS";

/// The node that all tests of this binary share, since a start takes seconds.
///
/// Keep apart by queue prefix ([`unique_name`]) or by [`Rabbitmq::create_vhost`]; a test that kills,
/// stops or freezes starts its own.
///
/// # Errors
/// As [`Rabbitmq::start`].
pub async fn shared_rabbitmq() -> Result<&'static Rabbitmq> {
    static SHARED: OnceCell<Rabbitmq> = OnceCell::const_new();
    SHARED.get_or_try_init(Rabbitmq::start).await
}

/// A RabbitMQ node of our own. Drop ends it with its epmd and removes its data.
pub struct Rabbitmq {
    node: Node,
    server: Supervised,
    // After `server`: dropped last, so that the node never misses its epmd.
    _epmd: Arc<Epmd>,
}

/// The daemon by which nodes find each other.
struct Epmd {
    port: u16,
    _daemon: Supervised,
    _folder: Folder,
}

/// What stays the same over restarts.
struct Node {
    folder: Folder,
    name: String,
    port: u16,
    dist_port: u16,
    epmd_port: u16,
}

impl Rabbitmq {
    /// Starts a node with empty data and waits until it accepts AMQP connections.
    ///
    /// # Errors
    /// When the package is missing (with what to install) or the node does not become ready.
    pub async fn start() -> Result<Self> {
        for program in [SERVER, CONTROL, EPMD] {
            if !Path::new(program).exists() {
                return Err(HarnessError::new(format!(
                    "{program} is missing: install it with `apt-get install -y rabbitmq-server`, \
                     or run `cargo xtask test`, which does"
                )));
            }
        }
        let mut last = None;
        for _ in 0..START_TRIES {
            match Self::start_once().await {
                Ok(rabbitmq) => return Ok(rabbitmq),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| HarnessError::new("RabbitMQ was never started")))
    }

    async fn start_once() -> Result<Self> {
        Self::start_beside(Arc::new(Epmd::start().await?)).await
    }

    async fn start_beside(epmd: Arc<Epmd>) -> Result<Self> {
        let node = Node::new(epmd.port)?;
        let mut rabbitmq = Self { server: node.launch_server()?, _epmd: epmd, node };
        rabbitmq.ready(READY_TIMEOUT).await?;
        Ok(rabbitmq)
    }

    /// Starts a cluster of so many nodes, all with empty data. Takes about 20 s a node.
    ///
    /// # Errors
    /// As [`Rabbitmq::start`], or when a node does not join.
    pub async fn start_cluster(nodes: usize) -> Result<Vec<Self>> {
        let first = Self::start().await?;
        let mut cluster = vec![first];
        for _ in 1..nodes {
            let node = Self::start_beside(Arc::clone(&cluster[0]._epmd)).await?;
            node.control(&["stop_app"]).await?;
            node.control(&["join_cluster", &cluster[0].node.name]).await?;
            node.control(&["start_app"]).await?;
            cluster.push(node);
        }
        Ok(cluster)
    }

    /// Where it is, as `host:port`.
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.node.port)
    }

    /// `amqp://guest:guest@127.0.0.1:PORT/%2f`, the default virtual host.
    pub fn url(&self) -> String {
        self.url_of("%2f")
    }

    /// The port it listens on, also while it is down.
    pub fn port(&self) -> u16 {
        self.node.port
    }

    /// A new virtual host and its URL: complete isolation, for about two seconds of set-up.
    ///
    /// # Errors
    /// As [`Rabbitmq::control`].
    pub async fn create_vhost(&self) -> Result<String> {
        let name = unique_name("vhost");
        self.control(&["add_vhost", &name]).await?;
        self.control(&["set_permissions", "-p", &name, "guest", ".*", ".*", ".*"]).await?;
        Ok(self.url_of(&name))
    }

    /// Runs `rabbitmqctl` on this node and returns what it printed, for example
    /// `&["set_vm_memory_high_watermark", "0"]` to make it block publishers.
    ///
    /// # Errors
    /// When the command fails, with its output.
    pub async fn control(&self, args: &[&str]) -> Result<String> {
        let mut command = Command::new(CONTROL);
        self.node.environment(&mut command);
        command.arg("--quiet").args(["-n", &self.node.name]).args(args).stdin(Stdio::null());
        let failed =
            |text: &str| HarnessError::new(format!("rabbitmqctl {}: {}", args.join(" "), text.trim()));
        let output = tokio::process::Command::from(command)
            .kill_on_drop(true)
            .output()
            .await
            .map_err(|error| failed(&error.to_string()))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(failed(&format!(
            "{}\n{}",
            String::from_utf8_lossy(&output.stderr),
            String::from_utf8_lossy(&output.stdout)
        )))
    }

    /// SIGKILL of the Erlang VM. Confirmed persistent messages survive.
    pub fn kill_9(&mut self) {
        self.server.kill_9();
    }

    /// Ends it in good order (SIGTERM).
    ///
    /// # Errors
    /// When it has not ended after 60 s.
    pub async fn stop(&mut self) -> Result<()> {
        self.server.thaw();
        self.server.terminate();
        self.server.wait_exit(STOP_TIMEOUT).await.map(drop)
    }

    /// Starts it again on the same port and data, stopping it first if it runs.
    ///
    /// # Errors
    /// As [`Rabbitmq::start`] and [`Rabbitmq::stop`].
    pub async fn restart(&mut self) -> Result<()> {
        self.restart_within(RESTART_TIMEOUT).await
    }

    /// The same for a node of a cluster, whose start takes longer.
    ///
    /// # Errors
    /// As [`Rabbitmq::restart`].
    pub async fn rejoin(&mut self) -> Result<()> {
        self.restart_within(REJOIN_TIMEOUT).await
    }

    #[expect(clippy::print_stderr, reason = "the reader of a test's output wants to know")]
    async fn restart_within(&mut self, timeout: Duration) -> Result<()> {
        if self.server.ended().is_none() {
            self.stop().await?;
        }
        let mut last = None;
        for _ in 0..START_TRIES {
            self.server = self.node.launch_server()?;
            match self.ready(timeout).await {
                Ok(()) => return Ok(()),
                Err(error) => {
                    eprintln!("The node hung in its start; it is killed and started again: {error}");
                    last = Some(error);
                    self.kill_9();
                }
            }
        }
        Err(last.unwrap_or_else(|| HarnessError::new("RabbitMQ was never started")))
    }

    /// SIGSTOP of the Erlang VM: connections stay open, nothing answers.
    pub fn freeze(&mut self) {
        self.server.freeze();
    }

    /// SIGCONT: goes on after [`Rabbitmq::freeze`].
    pub fn thaw(&mut self) {
        self.server.thaw();
    }

    fn url_of(&self, vhost: &str) -> String {
        format!("amqp://guest:guest@127.0.0.1:{}/{vhost}", self.node.port)
    }

    async fn ready(&mut self, timeout: Duration) -> Result<()> {
        let url = self.url();
        let server = &mut self.server;
        let ready = wait::try_until("AMQP connection", timeout, async || {
            if let Some(status) = server.ended() {
                return Ok(Err(format!("ended with {status}")));
            }
            match within(ATTEMPT_TIMEOUT, Connection::connect(&url, ConnectionProperties::default())).await? {
                Ok(connection) => {
                    let _closing = within(ATTEMPT_TIMEOUT, connection.close(200, "ready".into())).await?;
                    Ok(Ok(()))
                }
                Err(error) => Err(error.to_string()),
            }
        })
        .await;
        match ready {
            Ok(Ok(())) => Ok(()),
            Ok(Err(ended)) => Err(self.node.not_ready(&ended)),
            Err(timeout) => {
                let stuck =
                    within(DIAGNOSIS_TIMEOUT, self.control(&["eval", "rabbit_diagnostics:maybe_stuck()."]));
                let stuck = match stuck.await {
                    Ok(Ok(text)) => text,
                    Ok(Err(error)) => error.to_string(),
                    Err(error) => error,
                };
                Err(self.node.not_ready(&format!("{timeout}; processes that stand still: {stuck}")))
            }
        }
    }
}

/// What hangs is a state of its own, told apart from what was seen before.
async fn within<T>(timeout: Duration, work: impl Future<Output = T>) -> std::result::Result<T, String> {
    tokio::time::timeout(timeout, work).await.map_err(|_elapsed| format!("no answer within {timeout:?}"))
}

impl Epmd {
    async fn start() -> Result<Self> {
        let (folder, port) = (Folder::new("epmd")?, free_port()?);
        let arguments = ["-port", &port.to_string(), "-address", "127.0.0.1"].map(str::to_owned);
        let mut daemon = Supervised::start(Path::new(EPMD), arguments, |command| {
            command.current_dir(folder.path());
        })?;
        wait::try_until("epmd", READY_TIMEOUT, async || {
            match TcpStream::connect(("127.0.0.1", port)).await {
                Ok(_) => Ok(()),
                Err(error) => Err(format!("{error}, process ended: {:?}", daemon.ended())),
            }
        })
        .await?;
        Ok(Self { port, _daemon: daemon, _folder: folder })
    }
}

impl Node {
    fn new(epmd_port: u16) -> Result<Self> {
        let folder = Folder::new("rabbitmq")?;
        let node = Self {
            name: format!("{}@localhost", unique_name("syncfleet")),
            port: free_port()?,
            dist_port: free_port()?,
            epmd_port,
            folder,
        };
        let config = format!(
            "listeners.tcp.default = 127.0.0.1:{}\nlog.console = false\nlog.file.level = warning\n\
             disk_free_limit.absolute = 50MB\n",
            node.port
        );
        let cookie = node.folder.join(".erlang.cookie");
        fs::write(node.folder.join("rabbitmq.conf"), config)
            .and_then(|()| fs::write(node.folder.join("enabled_plugins"), "[]."))
            .and_then(|()| fs::write(&cookie, COOKIE))
            .and_then(|()| fs::set_permissions(&cookie, fs::Permissions::from_mode(0o400)))
            .map_err(|error| {
                HarnessError::new(format!("the node's configuration is not written: {error}"))
            })?;
        Ok(node)
    }

    fn environment(&self, command: &mut Command) {
        let folder = self.folder.path();
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("RABBITMQ_") {
                command.env_remove(name);
            }
        }
        command
            .current_dir(folder)
            .env("HOME", folder)
            .env("RABBITMQ_NODENAME", &self.name)
            .env("RABBITMQ_NODE_PORT", self.port.to_string())
            .env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_DIST_PORT", self.dist_port.to_string())
            .env("ERL_EPMD_PORT", self.epmd_port.to_string())
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_MNESIA_BASE", folder.join("data"))
            .env("RABBITMQ_LOG_BASE", folder.join("log"))
            .env("RABBITMQ_CONFIG_FILE", folder.join("rabbitmq.conf"))
            .env("RABBITMQ_ADVANCED_CONFIG_FILE", folder.join("advanced.config"))
            .env("RABBITMQ_CONF_ENV_FILE", folder.join("rabbitmq-env.conf"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", folder.join("enabled_plugins"))
            .env("RABBITMQ_GENERATED_CONFIG_DIR", folder.join("generated"))
            .env("RABBITMQ_PID_FILE", folder.join("pid"))
            // rabbitmqctl listens as well, by default on ten fixed ports of all interfaces.
            .env("RABBITMQ_CTL_DIST_PORT_MIN", "0")
            .env("RABBITMQ_CTL_DIST_PORT_MAX", "0")
            .env("RABBITMQ_CTL_ERL_ARGS", "-kernel inet_dist_use_interface {127,0,0,1}")
            .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "-kernel inet_dist_use_interface {127,0,0,1}")
            // The script then becomes the Erlang VM in place of staying its parent, so that signals
            // reach the VM and nothing else.
            .env("RUNNING_UNDER_SYSTEMD", "true");
    }

    fn launch_server(&self) -> Result<Supervised> {
        let output = || -> std::io::Result<Stdio> {
            Ok(File::options().create(true).append(true).open(self.folder.join("output"))?.into())
        };
        let open = |error| HarnessError::new(format!("the node's output file does not open: {error}"));
        let (stdout, stderr) = (output().map_err(open)?, output().map_err(open)?);
        Supervised::start(Path::new(SERVER), None::<&str>, |command| {
            self.environment(command);
            command.stdout(stdout).stderr(stderr);
        })
    }

    fn not_ready(&self, problem: &str) -> HarnessError {
        let log = self.folder.join("log").join(format!("{}.log", self.name));
        let read = |path: &Path| fs::read_to_string(path).unwrap_or_default();
        let text = format!("{}\n{}", read(&self.folder.join("output")), read(&log));
        let lines: Vec<&str> = text.lines().collect();
        let tail = lines[lines.len().saturating_sub(60)..].join("\n");
        HarnessError::new(format!("RabbitMQ node {}: {problem}; its output and log end:\n{tail}", self.name))
    }
}

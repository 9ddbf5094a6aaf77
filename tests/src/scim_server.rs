//! A SCIM server of independent make (`scim2-server` of PyPI), private to a test: everything in memory, gone at its end.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use crate::ports::free_port;
use crate::process::{Program, RunningProgram};
use crate::supervise::Folder;
use crate::{HarnessError, Result, python};

/// The environment that has it, below the target folder.
const ENVIRONMENT: &str = "scim-server";
const READY_TIMEOUT: Duration = Duration::from_secs(90);
const STOP_TIMEOUT: Duration = Duration::from_secs(30);
const START_TRIES: u32 = 3;

/// A SCIM server of our own. Drop ends it.
pub struct ScimServer {
    program: RunningProgram,
    folder: Folder,
    port: u16,
}

/// What it is started with, beside the test.
fn files() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scim_server")
}

impl ScimServer {
    /// The token that it takes.
    pub const TOKEN: &str = "scim-test-token";

    /// One that can do everything.
    ///
    /// # Errors
    /// When it is not installed (with the command that does), or does not become ready.
    pub async fn start() -> Result<Self> {
        Self::start_with(&[]).await
    }

    /// One without PATCH, bulk and etags, and with 50 resources in a page.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn start_minimal() -> Result<Self> {
        let config = files().join("minimal.json");
        Self::start_with(&["--service-provider-config", &config.to_string_lossy()]).await
    }

    async fn start_with(args: &[&str]) -> Result<Self> {
        let environment = python::environment(ENVIRONMENT, &files().join("requirements.txt"))?;
        let mut last = None;
        for _ in 0..START_TRIES {
            let folder = Folder::new("scim")?;
            let port = free_port()?;
            // Whoever starts the tests in the background has them ignore SIGINT, and Python with them.
            let program = Program::at("env")
                .arg("--default-signal=INT")
                .arg(environment.join("bin/scim2-server"))
                .args(["--hostname", "127.0.0.1", "--port", &port.to_string(), "--bearer-token", Self::TOKEN])
                .arg("--dump-resources")
                .arg(folder.join("resources.json"))
                .args(args)
                // Nothing is compiled into the environment, and what is printed is printed at once.
                .env("PYTHONDONTWRITEBYTECODE", "1")
                .env("PYTHONUNBUFFERED", "1");
            let mut program = program.start()?;
            match program.wait_for_log("Serving SCIM on", READY_TIMEOUT).await {
                Ok(_) => return Ok(Self { program, folder, port }),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| HarnessError::new("the SCIM server was never started")))
    }

    /// `http://127.0.0.1:PORT/v2`
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/v2", self.port)
    }

    /// How many requests it had whose line begins so, such as `PATCH /v2/Groups/`, of the last 2,000.
    pub fn requests(&self, begin: &str) -> usize {
        let line = format!("\"{begin}");
        self.program.log().lines().filter(|printed| printed.contains(&line)).count()
    }

    /// Ends it, and answers all that it held.
    ///
    /// # Errors
    /// When it does not end, or does not tell.
    pub async fn end(mut self) -> Result<Vec<Value>> {
        self.program.interrupt();
        self.program.wait_exit(STOP_TIMEOUT).await?;
        let path = self.folder.join("resources.json");
        let told = |error: String| HarnessError::new(format!("{}: {error}", path.display()));
        let text = std::fs::read_to_string(&path).map_err(|error| told(error.to_string()))?;
        serde_json::from_str(&text).map_err(|error| told(error.to_string()))
    }
}

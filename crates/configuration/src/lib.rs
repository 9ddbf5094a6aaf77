//! The configuration: `config/default.toml`, the operator's file and the environment, laid over each other and
//! read once into typed structs.
//!
//! `config/default.toml` says which keys there are; the readers of the sections say what each may be, and a test
//! holds both against each other. All problems are reported together. This crate alone reads the environment.
//!
//! Adding a section: its keys with their comments in `config/default.toml`, and a struct with its reader in
//! `flows.rs` or `connectors.rs`.

mod connectors;
mod effective;
mod flows;
mod layers;
mod problem;
mod reader;
mod secret;
mod settings;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

pub use connectors::{Advoware, Connectors, EspoCrm, EspoCrmAuth, RequestLimits};
pub use effective::EffectiveSetting;
pub use flows::{Communications, ConflictPolicy, Flows, Parties};
pub use layers::DEFAULTS;
pub use problem::{Origin, Problem, Problems};
pub use settings::{
    Embedded, Log, LogFormat, LogLevel, Operations, Producer, QueueBacking, RabbitMq, Redis, Spool,
    StateBacking, Worker,
};

use layers::Layers;
use reader::Reader;
use secret::Need;

/// The operator's file where none is named: in the working directory, and only if it is there.
pub const FILE_NAME: &str = "syncfleet.toml";
/// Largest file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// The whole configuration, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where messages wait.
    pub queue: QueueBacking,
    /// Where links, cursors and leases are kept.
    pub state: StateBacking,
    /// The embedded backing of both.
    pub embedded: Embedded,
    /// The worker.
    pub worker: Worker,
    /// The producer.
    pub producer: Producer,
    /// The private listener.
    pub operations: Operations,
    /// The logs.
    pub log: Log,
    /// The connectors that enabled flows need: those are always there.
    pub connector: Connectors,
    /// The flows that are enabled.
    pub flow: Flows,
    effective: Vec<EffectiveSetting>,
}

/// The environment of this process, for [`Config::load`]. Variables that are no UTF-8 are left out.
pub fn environment() -> BTreeMap<String, String> {
    let text = |text: std::ffi::OsString| text.into_string().ok();
    std::env::vars_os().filter_map(|(name, value)| Some((text(name)?, text(value)?))).collect()
}

fn read_bounded(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    std::fs::File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(std::io::Error::other(format!("it has more than {FILE_BYTES_MAX} bytes")));
    }
    Ok(text)
}

impl Config {
    /// Reads the defaults, the file and the environment. Without a `file`, [`FILE_NAME`] is read if it is there.
    /// Reads the files of secrets as well; writes nothing.
    ///
    /// # Errors
    /// Everything that is wrong, together.
    pub fn load(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, Problems> {
        let path = file.unwrap_or(Path::new(FILE_NAME));
        let name = path.display().to_string();
        let text = match read_bounded(path) {
            Ok(text) => text,
            Err(error) if file.is_none() && error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => {
                return Err(Problems(vec![Problem {
                    origin: Origin::File { path: name, line: 0 },
                    key: String::new(),
                    found: format!("a file that cannot be read ({error})"),
                    expected: "a readable TOML file".into(),
                    hint: String::new(),
                }]));
            }
        };
        Self::from_text(&name, &text, environment)
    }

    /// The same with the operator's file given as text; `name` is how problems call it.
    ///
    /// # Errors
    /// Everything that is wrong, together.
    pub fn from_text(
        name: &str,
        text: &str,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, Problems> {
        let environment: BTreeMap<String, String> = environment.into_iter().collect();
        let mut problems = Vec::new();
        let mut layers = Layers::of_defaults(&mut problems);
        layers.lay_file(name, text, &mut problems);
        layers.lay_environment(&environment, &mut problems);
        let mut reader = Reader::new(&layers, &environment);
        let config = Self::read(&mut reader);
        problems.append(&mut reader.problems);
        if problems.is_empty() { Ok(config) } else { Err(Problems(problems)) }
    }

    fn read(reader: &mut Reader<'_>) -> Self {
        let producer = settings::producer(reader);
        let parties_enabled = flows::parties_enabled(reader);
        let need = Need::required_if(parties_enabled, "because flow.parties is enabled");
        Self {
            queue: settings::queue(reader),
            state: settings::state(reader),
            embedded: settings::embedded(reader),
            worker: settings::worker(reader),
            operations: settings::operations(reader, &producer),
            producer,
            log: settings::log(reader),
            connector: Connectors {
                espocrm: connectors::espocrm(reader, need),
                advoware: connectors::advoware(reader, need),
            },
            flow: Flows { parties: flows::parties(reader, parties_enabled) },
            effective: effective::settings(reader.layers, &reader.secrets),
        }
    }

    /// Every key with its effective value and where that comes from; secrets are masked.
    pub fn effective(&self) -> &[EffectiveSetting] {
        &self.effective
    }

    /// The same as a TOML document with comments, secrets as `"***"`.
    pub fn masked(&self) -> String {
        effective::document(&self.effective)
    }
}

//! The configuration: `config/default.toml`, the operator's file and the environment, laid over each other and
//! read once into typed structs.
//!
//! `config/default.toml` says which keys there are; the readers of the sections say what each may be, and a test
//! holds both against each other. All problems are reported together. This crate alone reads the environment.
//!
//! Adding a section: its keys with their comments in `config/default.toml`, and a struct with its reader in
//! `flows.rs` or `connectors.rs`.

mod accounts;
mod calendar;
mod connectors;
mod directory;
mod effective;
mod flows;
mod layers;
mod problem;
mod provision;
mod reader;
mod scim;
mod secret;
mod settings;
#[cfg(test)]
mod tests;
mod wecom;

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

pub use accounts::{
    AccountsSection, Client, ClientProof, Google, Microsoft, OtherProvider, Providers, UsedToken,
};
pub use calendar::{CALENDAR_FIELDS, Calendar, CalendarReach, CalendarUser};
pub use connectors::{Advoware, Connectors, EspoCrm, EspoCrmAdmin, EspoCrmAuth, RequestLimits};
pub use directory::{DepartmentText, Directory, DirectoryTarget, Hierarchy, Leavers, Login, Relay};
pub use effective::EffectiveSetting;
pub use flows::{Communications, ConflictPolicy, Flows, Parties};
pub use layers::DEFAULTS;
pub use problem::{Origin, Problem, Problems};
pub use provision::ProvisionEspoCrm;
pub use scim::{Scim, ScimAbilities};
pub use settings::{
    Embedded, Log, LogFormat, LogLevel, Operations, Producer, QueueBacking, RabbitMq, Redis, Spool,
    StateBacking, Vault, Worker,
};
pub use wecom::{WeCom, WeComCallback};

use connectors::EspoCrmNeeds;
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
    /// What seals the secrets in the state store.
    pub vault: Vault,
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
    /// The providers of accounts.
    pub provider: Providers,
    /// How accounts are connected; there when there is a provider.
    pub accounts: Option<AccountsSection>,
    /// The flows that are enabled.
    pub flow: Flows,
    /// What provisioning uses; there when it was loaded for that ([`Config::load_to_provision`]) and a flow needs it.
    pub provision: Option<ProvisionEspoCrm>,
    effective: Vec<EffectiveSetting>,
}

/// What a configuration is read for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// To run programs: everything that enabled flows need must be there.
    Run,
    /// To provision: the administrator's log-in must be there, and what is to be made need not.
    Provision,
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
        Self::load_for(Purpose::Run, file, environment)
    }

    /// The same for `provision`: with the administrator's log-in, and without what is yet to be made (the API user's
    /// key) or is another system's.
    ///
    /// # Errors
    /// Everything that is wrong, together.
    pub fn load_to_provision(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, Problems> {
        Self::load_for(Purpose::Provision, file, environment)
    }

    fn load_for(
        purpose: Purpose,
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
        Self::parse(purpose, &name, &text, environment)
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
        Self::parse(Purpose::Run, name, text, environment)
    }

    fn parse(
        purpose: Purpose,
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
        let config = Self::read(purpose, &mut reader);
        problems.append(&mut reader.problems);
        if problems.is_empty() { Ok(config) } else { Err(Problems(problems)) }
    }

    fn read(purpose: Purpose, reader: &mut Reader<'_>) -> Self {
        let producer = settings::producer(reader);
        let (parties_enabled, calendar_enabled) = (flows::parties_enabled(reader), calendar::enabled(reader));
        let directory_enabled = directory::enabled(reader);
        let writes_users = directory_enabled.has(DirectoryTarget::EspoCrm);
        let of_parties = Need::required_if(parties_enabled, "because flow.parties is enabled");
        let of_directory =
            Need::required_if(directory_enabled.target.is_some(), "because flow.directory is enabled");
        let of_teams = Need::required_if(writes_users, "because flow.directory.target is \"espocrm\"");
        let of_scim = Need::required_if(
            directory_enabled.has(DirectoryTarget::Scim),
            "because flow.directory.target is \"scim\"",
        );
        let of_user = of_parties.or(Need::required_if(calendar_enabled, "because flow.calendar is enabled"));
        let to_provision = purpose == Purpose::Provision;
        let beside = |need: Need| if to_provision { Need::Unused } else { need };
        let needs_of_crm = EspoCrmNeeds {
            url: of_user.or(of_teams),
            key: match of_user.or(of_teams) {
                Need::Required(_) if to_provision => Need::ToBeMade,
                _ => of_user,
            },
            admin: beside(of_teams),
        };
        let to_provision = Need::required_if(
            to_provision && matches!(needs_of_crm.url, Need::Required(_)),
            "to provision what the enabled flows need",
        );
        let provider = accounts::providers(reader);
        let (queue, state, embedded) =
            (settings::queue(reader), settings::state(reader), settings::embedded(reader));
        // On one machine there is a key beside the database.
        let is_shared = matches!(state, StateBacking::Redis(_));
        let of_tokens = match directory_enabled.target {
            Some(_) if is_shared && purpose != Purpose::Provision => Need::Required(
                "because flow.directory keeps WeCom's tokens in Redis, sealed: `syncfleet vault new-key` makes one",
            ),
            _ => Need::Optional,
        };
        let (vault, worker) = (settings::vault(reader, of_tokens), settings::worker(reader));
        let (operations, log) = (settings::operations(reader, &producer), settings::log(reader));
        let espocrm = connectors::espocrm(reader, needs_of_crm);
        Self {
            queue,
            state,
            embedded,
            vault,
            worker,
            operations,
            producer,
            log,
            connector: Connectors {
                espocrm: espocrm.account(),
                espocrm_admin: espocrm.admin_account(),
                advoware: connectors::advoware(reader, beside(of_parties)),
                wecom: wecom::wecom(reader, beside(of_directory), directory_enabled.is_relayed),
                scim: scim::scim(reader, beside(of_scim)),
            },
            accounts: accounts::accounts(reader, &provider),
            flow: Flows {
                parties: flows::parties(reader, parties_enabled),
                calendar: calendar::calendar(reader, calendar_enabled, &provider),
                directory: directory::directory(reader, directory_enabled),
            },
            provider,
            provision: provision::espocrm(reader, to_provision, espocrm),
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

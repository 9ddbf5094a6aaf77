//! The command line. Help texts are the manual: one line in lists, the rest and examples with `--help`.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use shared::record_key::FlowName;

use crate::directory::DirectoryCommand;
use crate::dlq::DlqCommand;

const EXIT_CODES: &str = "\
Exit codes:
  0   done
  1   done, and something is wrong: a check failed, a record did not converge, the demo ended unequal
  64  wrong command line
  69  something that must be there is not: queue, store, directory, upstream, worker
  78  wrong configuration

Every setting is explained by `syncfleet config default`.";

/// Keeps business systems in agreement: the operator's program.
#[derive(Debug, Parser)]
#[command(name = "syncfleet", version, after_long_help = EXIT_CODES, max_term_width = 100)]
pub struct Cli {
    /// The settings; ./syncfleet.toml where none is named.
    #[arg(long, short, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run producer and worker in one process.
    ///
    /// Takes webhooks, fires sweeps and serves all flows that are enabled, until SIGTERM or Ctrl-C; then finishes
    /// what it holds. With the embedded queue and store nothing else is needed on the machine.
    #[command(after_long_help = "Examples:\n  syncfleet up\n  syncfleet --config /etc/syncfleet.toml up")]
    Up,
    /// Show it at work on two simulated systems, and check the result.
    Demo(DemoArgs),
    /// Check settings, secrets, queue, store, upstream systems and their fields.
    ///
    /// Says of each what was seen and, where something is wrong, what to do. Writes nothing. Ends with 1 if
    /// anything does not work.
    #[command(
        after_long_help = "Examples:\n  syncfleet doctor\n  syncfleet doctor --json | jq '.[] | select(.verdict != \"well\")'"
    )]
    Doctor(JsonArgs),
    /// Make in EspoCRM what the enabled flows need: fields, role, API user, webhooks.
    ///
    /// Shows what is lacking, and with --yes makes it, as the administrator of [provision.espocrm]. Removes nothing:
    /// no field, no option, no right, no webhook. Can be repeated, also after it was killed; a second run finds nothing
    /// to do. The API user's key goes to the file that connector.espocrm.api_key refers to, readable by its owner
    /// only; the webhooks' secrets are kept encrypted in the state store, where producers find them within seconds.
    Provision(ProvisionArgs),
    /// Show what a sync of a record would write, field by field, and write nothing.
    #[command(after_long_help = "Example:\n  syncfleet plan parties 6b00526cc80a09e94")]
    Plan(PlanArgs),
    /// Ask for a sync of a record now.
    ///
    /// Publishes a message and waits until both sides agree or the attempt failed. A worker does the work: one
    /// must run (`syncfleet up`, or `worker` in a fleet).
    #[command(after_long_help = "Example:\n  syncfleet sync parties 6b00526cc80a09e94")]
    Sync(SyncArgs),
    /// Show flows, queues, workers, sweeps and open dead letters.
    Status(JsonArgs),
    /// Look at dead letters, send them again, or give them up.
    ///
    /// A dead letter is a message that will not be tried again by itself. It closes by itself when a later sync
    /// of the same record succeeds.
    #[command(subcommand)]
    Dlq(DlqCommand),
    /// Let go on what waits for a person: a mass change, or a fleet whose store was lost.
    ///
    /// A sweep that would overwrite or tombstone an unusual share of the records stops and waits. So does the whole
    /// fleet when its state store was emptied or is an older copy: put the right one back where you can; else look
    /// that both systems are as they should be, and release the store. Links are then made anew from what both sides
    /// hold: where they differ, the conflict policy decides, so that edits made in the remote system since the last
    /// sync may be overwritten. `syncfleet status` says whether something waits.
    #[command(
        after_long_help = "Examples:\n  syncfleet release parties --by anna\n  syncfleet release --store --by anna"
    )]
    Release(ReleaseArgs),
    /// Look at messages that wait for other records.
    ///
    /// A message whose record depends on another one, such as a child whose parent is not linked yet, is parked until
    /// a sync of that one succeeds.
    #[command(subcommand)]
    Parked(ParkedCommand),
    /// Move the installation to another queue and store: from one machine to a fleet, or back.
    ///
    /// Messages are moved, everything else is copied, and both sides are compared at the end. Stop all programs of
    /// both first. Killed at any moment, it goes on when it is run again. The source keeps its copies, and no program
    /// serves it any more; the target must be empty.
    Migrate(MigrateArgs),
    /// The departments and members of WeCom in their target: first sync, progress, differences.
    #[command(subcommand)]
    Directory(DirectoryCommand),
    /// Look at accounts at other providers, let users connect them, check them, take them out.
    ///
    /// A user connects an account with a link, in the browser. Where the provider ends a grant, the account needs to be
    /// connected again: its messages wait until then.
    #[command(subcommand)]
    Accounts(AccountsCommand),
    /// Make keys for the secrets in the state store, and change them.
    #[command(subcommand)]
    Vault(VaultCommand),
    /// Check or explain the configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Ask a running program whether it is well; for container health checks.
    ///
    /// Ends with 0 if the address answers with a 2xx status, else with 1.
    #[command(after_long_help = "Example:\n  syncfleet health --url http://127.0.0.1:9180/readyz")]
    Health(HealthArgs),
    /// Host the simulated EspoCRM, Advoware, Microsoft and Google of the demo.
    #[command(hide = true)]
    Simulators(SimulatorsArgs),
}

/// Output for scripts.
#[derive(Debug, Clone, Copy, Args)]
pub struct JsonArgs {
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `demo`
#[derive(Debug, Clone, Args)]
#[command(after_long_help = "\
Two simulated systems, EspoCRM and Advoware, are laid out with parties that are out of step in every way: missing \
on one side, changed on one or both, deleted, refused. They run as a process of their own, are changed by simulated \
people while the fleet works, and fail on purpose: slow answers, 429, 500, answers lost after the write. At the end \
both sides are compared with what they should be, computed from the people's edits alone.

Kill it at any moment (kill -9) and start it again: it goes on where it stood.

Examples:
  syncfleet demo
  syncfleet demo --parties 1000 --faults many
  syncfleet demo --keep-running
  syncfleet demo calendars
  syncfleet demo directory")]
#[command(args_conflicts_with_subcommands = true, disable_help_subcommand = true)]
pub struct DemoArgs {
    /// Another demo.
    #[command(subcommand)]
    pub other: Option<OtherDemo>,
    /// Directory of the demo's data; created, and emptied for a new demo after one that ended.
    #[arg(long, value_name = "DIR", default_value = ".syncfleet-demo")]
    pub dir: PathBuf,
    /// How many parties, about.
    #[arg(long, value_name = "N", default_value_t = 300, value_parser = clap::value_parser!(u32).range(20..=20_000))]
    pub parties: u32,
    /// Seed of names, edits and faults: the same seed is the same demo.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// How badly the simulated systems behave.
    #[arg(long, value_enum, default_value_t = FaultLevel::Some)]
    pub faults: FaultLevel,
    /// Go on with random edits until Ctrl-C.
    #[arg(long)]
    pub keep_running: bool,
    /// Print the result as JSON.
    #[arg(long)]
    pub json: bool,
}

/// `demo …`
#[derive(Debug, Clone, Subcommand)]
pub enum OtherDemo {
    /// Keep a calendar in Outlook and the meetings in EspoCRM the same, to be tried out in a browser.
    ///
    /// A simulated Microsoft 365 and a simulated EspoCRM show their pages in the browser. Connect the account with the
    /// link that is printed, then add, change or delete an event on either page: it arrives on the other, and a line is
    /// printed here. Goes on until Ctrl-C.
    #[command(after_long_help = "\
Kill it at any moment (kill -9) and start it again: it goes on where it stood. For a new one, remove the directory.

Examples:
  syncfleet demo calendars
  syncfleet demo calendars --connect")]
    Calendars(CalendarsArgs),
    /// Keep the departments and members of a simulated WeCom the same in a simulated SCIM service, and check the result.
    ///
    /// A first sync, and then a day on which people join, leave, move and are renamed, of which WeCom tells in another order.
    /// At the end the SCIM service is compared with what WeCom holds. It begins anew each time.
    #[command(after_long_help = "\
Examples:
  syncfleet demo directory
  syncfleet demo directory --members 3000 --json")]
    Directory(DirectoryDemoArgs),
}

/// `demo directory`
#[derive(Debug, Clone, Args)]
pub struct DirectoryDemoArgs {
    /// Directory of the demo's data; created, and emptied.
    #[arg(long, value_name = "DIR", default_value = ".syncfleet-demo-directory")]
    pub dir: PathBuf,
    /// How many members the company has.
    #[arg(long, value_name = "N", default_value_t = 300, value_parser = clap::value_parser!(u64).range(50..=20_000))]
    pub members: u64,
    /// Seed of names, seats and the order of callbacks: the same seed is the same demo.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Print the result as JSON.
    #[arg(long)]
    pub json: bool,
}

/// `demo calendars`
#[derive(Debug, Clone, Args)]
pub struct CalendarsArgs {
    /// Directory of the demo's data; created.
    #[arg(long, value_name = "DIR", default_value = ".syncfleet-demo-calendars")]
    pub dir: PathBuf,
    /// Connect the account at once, as if its user had opened the link and accepted.
    #[arg(long)]
    pub connect: bool,
}

/// How badly the simulated systems behave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FaultLevel {
    /// They always answer.
    None,
    /// As on a bad day.
    Some,
    /// Worse than any real system.
    Many,
}

/// A record of a flow.
#[derive(Debug, Clone, Args)]
pub struct RecordArgs {
    /// The flow, such as parties.
    #[arg(value_name = "FLOW", value_parser = flow_name)]
    pub flow: FlowName,
    /// The record's id in the flow's anchor system (parties: EspoCRM).
    #[arg(value_name = "ID")]
    pub id: String,
}

/// `plan`
#[derive(Debug, Clone, Args)]
pub struct PlanArgs {
    /// Which record.
    #[command(flatten)]
    pub record: RecordArgs,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `sync`
#[derive(Debug, Clone, Args)]
pub struct SyncArgs {
    /// Which record.
    #[command(flatten)]
    pub record: RecordArgs,
    /// Return when the message is in the queue.
    #[arg(long)]
    pub no_wait: bool,
    /// Longest wait in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, conflicts_with = "no_wait")]
    pub timeout: u64,
}

/// `parked …`
#[derive(Debug, Subcommand)]
pub enum ParkedCommand {
    /// List them, those that wait longest first. Changes nothing.
    #[command(after_long_help = "Example:\n  syncfleet parked list --json | jq 'group_by(.waits_for)'")]
    List(ParkedListArgs),
}

/// `parked list`
#[derive(Debug, Clone, Args)]
pub struct ParkedListArgs {
    /// Only those of this flow.
    #[arg(long, value_name = "FLOW", value_parser = flow_name)]
    pub flow: Option<FlowName>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `migrate`
#[derive(Debug, Clone, Args)]
#[command(
    after_long_help = "Examples:\n  syncfleet --config one-machine.toml migrate --to fleet.toml --dry-run\n  syncfleet --config one-machine.toml migrate --to fleet.toml"
)]
pub struct MigrateArgs {
    /// The settings to move to; --config names those to move from.
    #[arg(long, value_name = "FILE")]
    pub to: PathBuf,
    /// Say what would be moved, and move nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Give up a migration that was not finished: move back what was moved.
    #[arg(long, conflicts_with = "dry_run")]
    pub abandon: bool,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `provision`
#[derive(Debug, Clone, Default, Args)]
#[command(after_long_help = "Examples:\n  syncfleet provision --dry-run\n  syncfleet provision --yes")]
pub struct ProvisionArgs {
    /// Say what is lacking, and do nothing.
    #[arg(long, conflicts_with = "yes")]
    pub dry_run: bool,
    /// Do it.
    #[arg(long)]
    pub yes: bool,
    /// Where to put the key of a new API user; the file that connector.espocrm.api_key refers to where none is given.
    #[arg(long, value_name = "FILE")]
    pub api_key_file: Option<PathBuf>,
    /// Print the secrets that this run makes or keeps: the API user's key, the webhooks' secrets.
    #[arg(long)]
    pub show_secrets: bool,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `accounts …`
#[derive(Debug, Subcommand)]
pub enum AccountsCommand {
    /// List them: state, since when, last token, end. Changes nothing.
    #[command(
        after_long_help = "Example:\n  syncfleet accounts list --json | jq '.[] | select(.state != \"active\")'"
    )]
    List(JsonArgs),
    /// Print a link with which a user connects an account.
    Connect(AccountsConnectArgs),
    /// Ask the provider for a token, to see whether a grant works: all of them, or one.
    ///
    /// Ends with 1 where one does not. One that was over works again where the provider says so.
    Check(AccountsCheckArgs),
    /// Take an account out: give the grant back to the provider where it takes it, and delete it here.
    Revoke(AccountArgs),
}

/// `accounts connect`
#[derive(Debug, Clone, Args)]
#[command(after_long_help = "Example:\n  syncfleet accounts connect microsoft 6b00526cc80a09e94")]
pub struct AccountsConnectArgs {
    /// The provider, such as microsoft or google.
    #[arg(value_name = "PROVIDER")]
    pub provider: String,
    /// Id of the CRM user.
    #[arg(value_name = "USER")]
    pub user: String,
    /// How long the link is good, up to seven days; accounts.link_seconds where none is given.
    #[arg(long, value_name = "MINUTES", value_parser = clap::value_parser!(u64).range(1..=10_080))]
    pub minutes: Option<u64>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `accounts check`
#[derive(Debug, Clone, Args)]
#[command(
    after_long_help = "Examples:\n  syncfleet accounts check\n  syncfleet accounts check microsoft 6b00526cc80a09e94\n  syncfleet accounts check microsoft --application"
)]
pub struct AccountsCheckArgs {
    /// The provider, such as microsoft or google; all accounts where none is given.
    #[arg(value_name = "PROVIDER")]
    pub provider: Option<String>,
    /// Id of the CRM user.
    #[arg(value_name = "USER")]
    pub user: Option<String>,
    /// The application's own account.
    #[arg(long, conflicts_with = "user", requires = "provider")]
    pub application: bool,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `accounts revoke`
#[derive(Debug, Clone, Args)]
#[command(after_long_help = "Example:\n  syncfleet accounts revoke google 6b00526cc80a09e94")]
pub struct AccountArgs {
    /// The provider, such as microsoft or google.
    #[arg(value_name = "PROVIDER")]
    pub provider: String,
    /// Id of the CRM user.
    #[arg(value_name = "USER", required_unless_present = "application")]
    pub user: Option<String>,
    /// The application's own account.
    #[arg(long, conflicts_with = "user")]
    pub application: bool,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `vault …`
#[derive(Debug, Clone, Copy, Subcommand)]
pub enum VaultCommand {
    /// Print a fresh key, for vault.key.
    ///
    /// To change keys, name the former one under [vault.old_keys], restart all programs with both, and let
    /// `syncfleet vault rotate-key` seal everything anew.
    #[command(
        after_long_help = "Example:\n  (umask 077; syncfleet vault new-key > /etc/syncfleet/vault-key)"
    )]
    NewKey,
    /// Seal all secrets in the state store with the present key, so that former keys can be thrown away.
    ///
    /// The former keys must still be named under [vault.old_keys]. Killed at any moment, it goes on when it is run again;
    /// programs may run meanwhile. Says what remains, and ends with 1 if anything does.
    RotateKey(JsonArgs),
}

/// `release`
#[derive(Debug, Clone, Args)]
pub struct ReleaseArgs {
    /// The flow whose mass change is released, such as parties.
    #[arg(value_name = "FLOW", value_parser = flow_name, required_unless_present = "store")]
    pub flow: Option<FlowName>,
    /// Go on with the state store as it is.
    #[arg(long, conflicts_with = "flow")]
    pub store: bool,
    /// Who releases; kept with the release. The user's name where none is given.
    #[arg(long, value_name = "NAME")]
    pub by: Option<String>,
}

/// `config …`
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print the configuration in force and where each value came from, secrets masked.
    ///
    /// With problems: prints all of them, and ends with 78.
    Check(JsonArgs),
    /// Print every setting with its default and meaning: a file to start from.
    #[command(after_long_help = "Example:\n  syncfleet config default > syncfleet.toml")]
    Default,
}

/// `health`
#[derive(Debug, Clone, Args)]
pub struct HealthArgs {
    /// The address to ask.
    #[arg(long, default_value = "http://127.0.0.1:9180/readyz")]
    pub url: String,
    /// Longest wait in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 4)]
    pub timeout: u64,
}

/// `simulators`
#[derive(Debug, Clone, Args)]
pub struct SimulatorsArgs {
    /// Address to listen on.
    #[arg(long, default_value = "127.0.0.1")]
    pub address: IpAddr,
    /// EspoCRM's port; 0 takes a free one.
    #[arg(long, default_value_t = 0)]
    pub espocrm_port: u16,
    /// Advoware's port; 0 takes a free one.
    #[arg(long, default_value_t = 0)]
    pub advoware_port: u16,
    /// Microsoft's port; 0 takes a free one.
    #[arg(long, default_value_t = 0)]
    pub microsoft_port: u16,
    /// Google's port; 0 takes a free one.
    #[arg(long, default_value_t = 0)]
    pub google_port: u16,
    /// WeCom's port; 0 takes a free one.
    #[arg(long, default_value_t = 0)]
    pub wecom_port: u16,
    /// The SCIM service's port; 0 takes a free one.
    #[arg(long, default_value_t = 0)]
    pub scim_port: u16,
    /// Address at which browsers reach the producer: accounts.public_url.
    #[arg(long, value_name = "URL", default_value = "http://localhost:8080")]
    pub public_url: String,
    /// Where WeCom's callbacks go; /webhooks/directory below the public URL where absent.
    #[arg(long, value_name = "URL")]
    pub wecom_callback: Option<String>,
    /// Directory for records and journal, and for a file that says where they listen; in memory without one.
    #[arg(long)]
    pub dir: Option<PathBuf>,
    /// End after so many seconds without a request.
    #[arg(long, value_name = "SECONDS")]
    pub idle: Option<u64>,
}

/// A flow's name on the command line.
///
/// # Errors
/// What a name must be.
pub fn flow_name(text: &str) -> Result<FlowName, String> {
    FlowName::new(text).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    fn help(path: &[&str], long: bool) -> String {
        let mut command = Cli::command().term_width(100);
        command.build();
        let mut found = &mut command;
        for name in path {
            found = found.find_subcommand_mut(name).unwrap();
        }
        let text = if long { found.render_long_help() } else { found.render_help() };
        text.to_string().lines().map(|line| format!("{}\n", line.trim_end())).collect()
    }

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_short_help_is_one_line_for_each_command() {
        insta::assert_snapshot!(help(&[], false), @r"
        Keeps business systems in agreement: the operator's program

        Usage: syncfleet [OPTIONS] <COMMAND>

        Commands:
          up         Run producer and worker in one process
          demo       Show it at work on two simulated systems, and check the result
          doctor     Check settings, secrets, queue, store, upstream systems and their fields
          provision  Make in EspoCRM what the enabled flows need: fields, role, API user, webhooks
          plan       Show what a sync of a record would write, field by field, and write nothing
          sync       Ask for a sync of a record now
          status     Show flows, queues, workers, sweeps and open dead letters
          dlq        Look at dead letters, send them again, or give them up
          release    Let go on what waits for a person: a mass change, or a fleet whose store was lost
          parked     Look at messages that wait for other records
          migrate    Move the installation to another queue and store: from one machine to a fleet, or back
          directory  The departments and members of WeCom in their target: first sync, progress, differences
          accounts   Look at accounts at other providers, let users connect them, check them, take them out
          vault      Make keys for the secrets in the state store, and change them
          config     Check or explain the configuration
          health     Ask a running program whether it is well; for container health checks
          help       Print this message or the help of the given subcommand(s)

        Options:
          -c, --config <FILE>  The settings; ./syncfleet.toml where none is named
          -h, --help           Print help (see more with '--help')
          -V, --version        Print version
        ");
    }

    #[test]
    fn the_long_help_has_examples() {
        insta::assert_snapshot!(help(&["dlq", "discard"], true), @r"
        Give up, with a reason that is kept

        Usage: syncfleet dlq discard [OPTIONS] --reason <TEXT> [ID]...

        Arguments:
          [ID]...
                  Ids of dead letters

        Options:
          -c, --config <FILE>
                  The settings; ./syncfleet.toml where none is named

              --group <GROUP>
                  All of this group of `dlq groups`

              --reason <TEXT>
                  Why

              --by <NAME>
                  Who does it; kept with the dead letter. The user's name where none is given

          -h, --help
                  Print help (see a summary with '-h')

        Examples:
          syncfleet dlq discard 0192f0c1-2b7e-7c3a-9d55-0242ac120002 --reason 'party was entered twice'
          syncfleet dlq discard --group 3fa1c09d22b7 --reason 'test records'
        ");
    }

    #[test]
    fn every_command_and_argument_is_explained() {
        let mut command = Cli::command();
        command.build();
        let mut waiting = vec![&command];
        while let Some(command) = waiting.pop() {
            assert!(command.get_about().is_some(), "{} has no help", command.get_name());
            for argument in command.get_arguments() {
                assert!(
                    argument.get_help().is_some(),
                    "{} {} has no help",
                    command.get_name(),
                    argument.get_id()
                );
            }
            waiting.extend(command.get_subcommands().filter(|command| command.get_name() != "help"));
        }
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        let parsed = |args: &[&str]| Cli::try_parse_from(["syncfleet"].iter().chain(args)).map(|_| ());
        let id = "0192f0c1-2b7e-7c3a-9d55-0242ac120002";
        assert!(parsed(&["dlq", "replay", id, "--dry-run"]).is_ok());
        assert!(parsed(&["dlq", "replay", "--all", "--reason", "permanent"]).is_ok());
        for wrong in [
            &["dlq", "replay"][..],
            &["dlq", "replay", "--all", id],
            &["dlq", "replay", "--all", "--reason", "bored"],
            &["dlq", "discard", id],
            &["dlq", "discard", id, "--reason", ""],
            &["sync", "parties", "x", "--no-wait", "--timeout", "3"],
            &["plan", "Parties", "x"],
            &["demo", "--parties", "3"],
        ] {
            assert!(parsed(wrong).is_err(), "{wrong:?}");
        }
    }
}

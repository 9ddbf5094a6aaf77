//! `provision`: makes in EspoCRM what the enabled flows need, after it has shown what.

mod apply;
mod key_file;
mod look;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use assembly::program::{
    EXIT_CONFIGURATION, EXIT_UNAVAILABLE, EXIT_USAGE, load_configuration_to_provision, start,
};
use assembly::{Administration, Role, administration};
use configuration::Config;
use connector_espocrm::provision::{Action, Plan, plan_provision};
use serde::Serialize;

use crate::cli::ProvisionArgs;
use crate::output::{self, EXIT_WRONG, Outcome, counted, fail};
use apply::Session;

/// How often it looks again at what is still lacking after its plan was carried out.
const ROUNDS_MAX: u32 = 3;

/// What provisioning works with.
struct Setting {
    administration: Administration,
    vault: vault::Secrets,
    /// Webhooks whose secrets stand in the settings.
    configured_secrets: Vec<String>,
    /// Where the API user's key goes; nowhere where it is only shown.
    key_file: Option<PathBuf>,
    /// Whether the settings hold the key.
    is_key_configured: bool,
    show_secrets: bool,
}

/// The outcome for scripts.
#[derive(Debug, Serialize)]
struct Report {
    espocrm: String,
    /// What was to do.
    actions: Vec<String>,
    /// What is in the way.
    obstacles: Vec<String>,
    /// How much of it was done.
    done: usize,
}

/// Runs the command.
pub async fn run(file: Option<&Path>, args: &ProvisionArgs) -> Outcome {
    let config = load_configuration_to_provision(file)?;
    let setting = set_up(&config, args)?;
    let mut session = Session::default();
    let mut report: Option<Report> = None;
    let mut done = 0;
    for _ in 0..ROUNDS_MAX {
        let (found, plan) = plan(&setting, &mut session).await?;
        let is_first = report.is_none();
        let report = report.get_or_insert_with(|| Report {
            espocrm: found.version.to_string(),
            actions: plan.actions.iter().map(ToString::to_string).collect(),
            obstacles: plan.obstacles.iter().map(|obstacle| obstacle.0.clone()).collect(),
            done: 0,
        });
        if is_first && !args.json {
            output::line(text(report));
        }
        if let Some(code) = decide(args, &plan, report, is_first) {
            return Ok(code);
        }
        if plan.actions.is_empty() {
            report.done = done;
            conclude(args, report, &session);
            return Ok(ExitCode::SUCCESS);
        }
        done += session.carry_out(&setting, &plan.actions, args.json).await?;
    }
    Err(still_lacking(done))
}

/// Does all that is to be done, and says nothing but what is in the way. Answers how much it was.
pub async fn quietly(config: &Config) -> Result<usize, ExitCode> {
    let args = ProvisionArgs { yes: true, ..ProvisionArgs::default() };
    let setting = set_up(config, &args)?;
    let mut session = Session::default();
    let mut done = 0;
    for _ in 0..ROUNDS_MAX {
        let (_, plan) = plan(&setting, &mut session).await?;
        if let Some(obstacle) = plan.obstacles.first() {
            return Err(fail(EXIT_WRONG, &obstacle.0));
        }
        if plan.actions.is_empty() {
            return Ok(done);
        }
        done += session.carry_out(&setting, &plan.actions, true).await?;
    }
    Err(still_lacking(done))
}

fn still_lacking(done: usize) -> ExitCode {
    fail(
        EXIT_WRONG,
        format!(
            "{} done, and EspoCRM still lacks something: see what `syncfleet provision --dry-run` names, and whether \
             somebody or something takes it away",
            counted(done, "action")
        ),
    )
}

fn set_up(config: &Config, args: &ProvisionArgs) -> Result<Setting, ExitCode> {
    let (parts, _) = start(config, Role::Visiting)?;
    let wrong = |text: String| fail(EXIT_CONFIGURATION, text);
    let administration =
        administration(config, parts.clock.clone()).map_err(|error| wrong(error.to_string()))?;
    let (Some(administration), Some(provision)) = (administration, &config.provision) else {
        return Err(wrong(
            "no flow is enabled that needs EspoCRM: set flow.parties.enabled = true".to_owned(),
        ));
    };
    if provision.is_hmac && provision.auth.is_none() {
        return Err(wrong(
            "API users are made with a key only: set connector.espocrm.auth = \"api_key\", or make the user by hand and \
             configure both its keys"
                .to_owned(),
        ));
    }
    let parties = config.flow.parties.iter();
    Ok(Setting {
        administration,
        vault: parts.vault,
        configured_secrets: parties.flat_map(|parties| parties.webhook_secrets.keys().cloned()).collect(),
        key_file: args.api_key_file.clone().or_else(|| provision.api_key_file.clone()),
        is_key_configured: provision.auth.is_some(),
        show_secrets: args.show_secrets,
    })
}

type Planned = (connector_espocrm::provision::Found, Plan);

/// Looks, and plans; adds what is in the way on this machine.
async fn plan(setting: &Setting, session: &mut Session) -> Result<Planned, ExitCode> {
    let found = look::look(setting, session).await?;
    let mut plan = plan_provision(&setting.administration.wanted, &found);
    let obstacle = |text: String| connector_espocrm::provision::Obstacle(text);
    let keeps_key = plan.actions.iter().any(|action| matches!(action, Action::KeepKey { .. }));
    if keeps_key && setting.key_file.is_none() && !setting.show_secrets {
        plan.obstacles.push(obstacle(
            "Nobody would learn the API user's key: let connector.espocrm.api_key refer to the file it is to be kept in \
             (\"file:/path\"), or say --api-key-file PATH or --show-secrets."
                .to_owned(),
        ));
    }
    let keeps_secret =
        |action: &Action| matches!(action, Action::CreateWebhook { .. } | Action::KeepSecret { .. });
    if plan.actions.iter().any(keeps_secret)
        && let Err(error) = setting.vault.check()
    {
        plan.obstacles.push(obstacle(format!("{error}.")));
    }
    Ok((found, plan))
}

/// How the command ends before anything is done; `None` where it goes on.
fn decide(args: &ProvisionArgs, plan: &Plan, report: &Report, is_first: bool) -> Option<ExitCode> {
    let end = |code: ExitCode| {
        if args.json {
            output::json(report);
        }
        Some(code)
    };
    if !plan.obstacles.is_empty() {
        if !is_first {
            output::note(plan.obstacles.iter().map(|it| it.0.as_str()).collect::<Vec<_>>().join("\n"));
        }
        return end(fail(
            EXIT_WRONG,
            "something must be changed by a person first, see above; nothing more was done",
        ));
    }
    if args.dry_run {
        output::note("Nothing was done.");
        return end(ExitCode::SUCCESS);
    }
    if !plan.actions.is_empty() && !args.yes {
        return end(fail(EXIT_USAGE, "nothing was done: say --yes to have it done"));
    }
    None
}

fn conclude(args: &ProvisionArgs, report: &Report, session: &Session) {
    if args.json {
        output::json(report);
    } else if report.done > 0 {
        output::line(format!("{} done. EspoCRM has what the flows need.", counted(report.done, "action")));
    }
    for (what, secret) in session.shown() {
        output::line(format!("{what}: {secret}"));
    }
}

fn text(report: &Report) -> String {
    let mut text = String::new();
    if report.actions.is_empty() && report.obstacles.is_empty() {
        return format!("EspoCRM {} has what the flows need: nothing to do.", report.espocrm);
    }
    if !report.actions.is_empty() {
        text.push_str(&format!("To do in EspoCRM {}:\n", report.espocrm));
        report.actions.iter().for_each(|action| text.push_str(&format!("  {action}\n")));
    }
    if !report.obstacles.is_empty() {
        text.push_str("In the way:\n");
        report.obstacles.iter().for_each(|obstacle| text.push_str(&format!("  {obstacle}\n")));
    }
    text
}

/// EspoCRM refused or failed.
fn failed(what: &str, fault: &shared::fault::Fault) -> ExitCode {
    fail(EXIT_UNAVAILABLE, format!("{what}: {}", fault.text))
}

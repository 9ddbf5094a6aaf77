//! `accounts`: who is connected where, connecting, checking, taking out.

pub mod list;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use assembly::Parts;
use assembly::program::{EXIT_UNAVAILABLE, EXIT_USAGE};
use configuration::Config;
use serde_json::json;
use shared::clock::later;
use vault::{AccessError, AccountId, ConnectError, Connecting, CrmUser, ProviderName, Revoked};

use crate::cli::{AccountArgs, AccountsCheckArgs, AccountsCommand, AccountsConnectArgs};
use crate::operator;
use crate::output::{self, EXIT_WRONG, Outcome, counted, fail};
use list::Line;

/// Runs the command.
pub async fn run(file: Option<&Path>, command: &AccountsCommand) -> Outcome {
    let (config, parts) = operator::visit(file)?;
    match command {
        AccountsCommand::List(args) => show(&parts, args.json).await,
        AccountsCommand::Connect(args) => connect(&config, &parts, args),
        AccountsCommand::Check(args) => check(&parts, args).await,
        AccountsCommand::Revoke(args) => revoke(&parts, args).await,
    }
}

async fn show(parts: &Parts, json: bool) -> Outcome {
    let lines = list::read(parts).await.map_err(failed)?;
    if json {
        output::json(&lines);
    } else if lines.is_empty() {
        output::line(
            "No account is connected. `syncfleet accounts connect PROVIDER USER` makes a link for a user.",
        );
    } else {
        output::line(format!(
            "{}\n{}",
            list::table(&lines, parts.clock.now()),
            counted(lines.len(), "account")
        ));
    }
    Ok(ExitCode::SUCCESS)
}

/// Makes a link; sends it nowhere.
fn connect(config: &Config, parts: &Parts, args: &AccountsConnectArgs) -> Outcome {
    let (connecting, life) = match (&parts.connecting, &config.accounts) {
        (Some(connecting), Some(accounts)) => (connecting, accounts.link_life),
        _ => return Err(no_provider()),
    };
    let (provider, user) = (provider(connecting, &args.provider)?, user(&args.user)?);
    let life = args.minutes.map_or(life, |minutes| Duration::from_secs(minutes * 60));
    let now = parts.clock.now();
    let link = connecting.link(&provider, &user, life, now).map_err(|error| link_failed(&error))?;
    let expires = later(now, life);
    if args.json {
        output::json(&json!({
            "provider": provider.as_str(),
            "user": user.as_str(),
            "link": link.as_str(),
            "expires": expires,
            "redirect_url": connecting.redirect_url(&provider).as_str(),
        }));
    } else {
        output::line(link.as_str());
        output::note(format!(
            "Good until {}, once. Send it to this user alone: whoever opens it connects an account of their own. At the \
             provider this address must be registered: {}",
            list::second(expires),
            connecting.redirect_url(&provider)
        ));
    }
    Ok(ExitCode::SUCCESS)
}

/// Asks the providers whether the grants work.
async fn check(parts: &Parts, args: &AccountsCheckArgs) -> Outcome {
    let accounts: Vec<AccountId> = match &args.provider {
        Some(name) => vec![account(name, args.user.as_deref(), args.application)?],
        None => list::read(parts).await.map_err(failed)?.into_iter().map(|line| line.account).collect(),
    };
    let mut rows = Vec::new();
    for account in accounts {
        let checked = parts.accounts.check(&account).await;
        rows.push((account, checked.map_err(|error| error.to_string())));
    }
    parts.accounts.leave().await;
    let wrong = rows.iter().any(|(_, checked)| checked.is_err());
    if args.json {
        let row = |(account, checked): &(AccountId, Result<_, String>)| json!({ "account": account, "works": checked.is_ok(), "problem": checked.as_ref().err() });
        output::json(&rows.iter().map(row).collect::<Vec<_>>());
    } else if rows.is_empty() {
        output::line("No account is connected.");
    } else {
        let row = |(account, checked): &(AccountId, Result<_, String>)| {
            let said = checked.as_ref().err().cloned().unwrap_or_else(|| "works".to_owned());
            [account.to_string(), said]
        };
        output::line(output::table(["ACCOUNT", "CHECKED"], rows.iter().map(row)));
    }
    Ok(ExitCode::from(if wrong { EXIT_WRONG } else { 0 }))
}

async fn revoke(parts: &Parts, args: &AccountArgs) -> Outcome {
    let account = account(&args.provider, args.user.as_deref(), args.application)?;
    let revoked = parts.accounts.revoke(&account).await;
    parts.accounts.leave().await;
    let (word, text) = match revoked.map_err(failed)? {
        Revoked::AtProvider => {
            ("at_provider", format!("{account} is taken out, and the provider took the grant back."))
        }
        Revoked::HereOnly => (
            "here_only",
            format!(
                "{account} is taken out here. The provider was told nothing: its user ends the access in the account's \
                 settings there."
            ),
        ),
        Revoked::Nothing => ("nothing", format!("{account} was not connected.")),
    };
    if args.json {
        output::json(&json!({ "account": account, "revoked": word }));
    } else {
        output::line(text);
    }
    Ok(ExitCode::SUCCESS)
}

fn account(provider: &str, id: Option<&str>, application: bool) -> Result<AccountId, ExitCode> {
    let provider = ProviderName::new(provider).map_err(|error| fail(EXIT_USAGE, error.to_string()))?;
    match id {
        Some(id) => Ok(AccountId::of_user(provider, user(id)?)),
        None if application => Ok(AccountId::of_application(provider)),
        None => Err(fail(EXIT_USAGE, "whose account? Give the id of a CRM user, or --application")),
    }
}

fn user(id: &str) -> Result<CrmUser, ExitCode> {
    CrmUser::new(id).map_err(|error| fail(EXIT_USAGE, error.to_string()))
}

fn provider(connecting: &Connecting, name: &str) -> Result<ProviderName, ExitCode> {
    let known: Vec<&str> = connecting.accounts().providers().map(|it| it.name.as_str()).collect();
    match ProviderName::new(name) {
        Ok(provider) if known.contains(&name) => Ok(provider),
        _ => Err(fail(
            EXIT_USAGE,
            format!("no provider {name} is configured; there are: {}", known.join(", ")),
        )),
    }
}

fn no_provider() -> ExitCode {
    let what = "no provider is configured: see [provider.…] and [accounts] in `syncfleet config default`";
    fail(EXIT_USAGE, what)
}

fn link_failed(error: &ConnectError) -> ExitCode {
    let detail = error.detail().unwrap_or_else(|| error.to_string());
    fail(EXIT_UNAVAILABLE, format!("no link can be made: {detail}"))
}

fn failed(error: AccessError) -> ExitCode {
    fail(EXIT_UNAVAILABLE, error.to_string())
}

/// The accounts, for `status`; `Err` with the reason.
pub async fn lines(parts: &Parts) -> Result<Vec<Line>, String> {
    list::read(parts).await.map_err(|error| format!("accounts: {error}"))
}

//! `doctor`: looks at everything that must be right, and says what to do where it is not.

use std::path::Path;
use std::process::ExitCode;

use assembly::program::load_configuration;
use assembly::{Parts, Role};
use configuration::{Config, QueueBacking, StateBacking};
use jiff::tz::TimeZone;
use secrecy::SecretString;
use shared::flow::{Check, Verdict};
use shared::generation;
use vault::{AccountId, KeySource, Provider, SecretExpiry, VaultError, secret_expiry};

use crate::accounts::list::{self, Line};
use crate::keys;
use crate::output::{self, EXIT_WRONG, Outcome, counted};

/// Runs the command.
pub async fn run(file: Option<&Path>, json: bool) -> Outcome {
    let config = load_configuration(file)?;
    let checks = examine(&config).await;
    if json {
        output::json(&checks);
    } else {
        output::line(text(&checks));
    }
    let broken = checks.iter().any(|check| check.verdict == Verdict::Broken);
    Ok(ExitCode::from(if broken { EXIT_WRONG } else { 0 }))
}

async fn examine(config: &Config) -> Vec<Check> {
    let mut checks = vec![settings(config), flows(config)];
    checks.extend(secrets(config));
    checks.extend(directory(config));
    checks.extend(spool(config));
    http_client::install_crypto_provider();
    let (meter, clock) = (shared::meter::NoMeter, shared::clock::SystemClock);
    match assembly::build(config, Role::Visiting, std::sync::Arc::new(meter), std::sync::Arc::new(clock)) {
        Ok(parts) => checks.extend(reachable(config, &parts).await),
        Err(problem) => {
            checks.push(broken("queue and state", problem.to_string(), "see above: it says what to do"))
        }
    }
    checks
}

async fn reachable(config: &Config, parts: &Parts) -> Vec<Check> {
    let mut checks = parts.check_backings().await;
    checks.extend(store(parts).await);
    let kept = parts.vault.list("").await;
    let sealed = kept.as_ref().map_or(0, Vec::len);
    checks.extend(vault(parts, kept));
    checks.extend(webhooks(config, sealed));
    checks.extend(accounts(parts).await);
    for flow in &parts.flows {
        checks.extend(flow.check().await);
        // Else whoever comes next waits until the places at the accounts end by themselves.
        flow.leave().await;
    }
    parts.accounts.leave().await;
    checks
}

/// Whether the state store is the one it was; where it or the queue does not answer, that is said already.
async fn store(parts: &Parts) -> Option<Check> {
    let subject = "state store";
    match generation::loss(parts.queue.as_ref(), parts.state.as_ref()).await.ok()? {
        None => Some(well(subject, "is the one that the queue knows".into())),
        Some(loss) => {
            Some(broken(subject, loss.text().into(), "see \"The state store was lost\" in the runbook"))
        }
    }
}

fn settings(config: &Config) -> Check {
    let changed = config.effective().iter().filter(|it| it.origin != configuration::Origin::Default).count();
    well("settings", format!("{} read, {changed} of them changed", config.effective().len()))
}

fn flows(config: &Config) -> Check {
    let parties = config.flow.parties.as_ref().map(|_| "parties");
    let enabled: Vec<&str> =
        parties.into_iter().chain(config.flow.calendar.as_ref().map(|_| "calendar")).collect();
    match enabled.as_slice() {
        [] => warning(
            "flows",
            "none is enabled".into(),
            "set flow.parties.enabled = true, and what it asks for",
        ),
        [one] => well("flows", format!("{one} is enabled")),
        several => well("flows", format!("{} are enabled", several.join(" and "))),
    }
}

/// The applications' secrets, and the accounts that somebody must see to.
async fn accounts(parts: &Parts) -> Vec<Check> {
    let mut checks: Vec<Check> =
        parts.accounts.providers().map(|provider| secret_of(parts, provider)).collect();
    for provider in parts.accounts.providers() {
        checks.extend(permissions_of(parts, provider).await);
    }
    // That the store does not answer is said already.
    let Ok(lines) = list::read(parts).await else { return checks };
    if lines.is_empty() && checks.is_empty() {
        return checks;
    }
    let wrong: Vec<&Line> = lines.iter().filter(|line| line.state != "active").collect();
    let ending = lines.iter().filter(|line| line.ends_soon).count();
    let all = counted(lines.len(), "account");
    checks.push(match (wrong.as_slice(), ending) {
        ([], _) if lines.is_empty() => well("accounts", "none is connected yet".into()),
        ([], 0) => well("accounts", format!("{all}, all connected")),
        ([], _) => warning(
            "accounts",
            format!("{all}, of which {ending} end soon, since they are not used or their time is over"),
            "see `syncfleet accounts list`; `syncfleet accounts check` uses those that may be used",
        ),
        ([first, ..], _) => warning(
            "accounts",
            format!("{all}, of which {} must be connected again, such as {}", wrong.len(), first.account),
            "`syncfleet accounts connect` makes a link for the user",
        ),
    });
    checks
}

/// Whether the application gets tokens of its own, where it has permissions of its own.
async fn permissions_of(parts: &Parts, provider: &Provider) -> Option<Check> {
    provider.application_scope.as_ref()?;
    let subject = format!("{} application permissions", provider.label);
    let account = AccountId::of_application(provider.name.clone());
    Some(match parts.accounts.check(&account).await {
        Ok(_) => well(&subject, "the application gets tokens of its own".into()),
        Err(error) => broken(
            &subject,
            error.to_string(),
            "an administrator gives the application its permissions at the provider; else take them out of the settings",
        ),
    })
}

fn secret_of(parts: &Parts, provider: &Provider) -> Check {
    let subject = format!("{} application", provider.label);
    let key = format!("provider.{}", provider.name);
    let today = parts.clock.now().to_zoned(TimeZone::UTC).date();
    match secret_expiry(provider, today) {
        SecretExpiry::Far => well(&subject, "its secret does not end soon".into()),
        // Google's secrets do not end by themselves.
        SecretExpiry::Unknown if provider.name.as_str() != "microsoft" => {
            well(&subject, "no end of its secret is known".into())
        }
        SecretExpiry::Unknown => warning(
            &subject,
            "it is not known when its secret ends".into(),
            &format!("set {key}.client_secret_expires, to be told ahead"),
        ),
        SecretExpiry::Soon(days) => warning(
            &subject,
            format!("its secret ends in {days} days"),
            &format!("make a new one at the provider, and put it where {key}.client_secret refers to"),
        ),
        SecretExpiry::Expired => broken(
            &subject,
            format!("its secret has ended, by {key}.client_secret_expires"),
            &format!("make a new one at the provider, and put it where {key}.client_secret refers to"),
        ),
    }
}

fn secrets(config: &Config) -> Vec<Check> {
    let (secrets, files) = (keys::secrets(config), keys::secret_files(config));
    let mut checks =
        vec![well("secrets", format!("{} found by reference", counted(secrets.len(), "secret")))];
    for path in keys::open_to_others(&files) {
        let remedy = format!("chmod o= {}", path.display());
        checks.push(warning(
            "secret file",
            format!("{} may be read by anybody here", path.display()),
            &remedy,
        ));
    }
    for leak in keys::leaks(Path::new("."), &secrets, &files) {
        let seen = format!("{}:{} holds the secret of {}", leak.path.display(), leak.line, leak.key);
        let remedy = "take it out of the file, and have a new one issued if others could read it";
        checks.push(broken("secrets in files", seen, remedy));
    }
    checks
}

fn directory(config: &Config) -> Option<Check> {
    let used =
        matches!(config.queue, QueueBacking::Embedded) || matches!(config.state, StateBacking::Embedded);
    used.then(|| writable("directory", &config.embedded.dir, "change its owner, or embedded.dir"))
}

/// Where webhooks wait while RabbitMQ is away: of the producer in whose place the doctor is asked.
fn spool(config: &Config) -> Option<Check> {
    let spool = config.producer.spool.as_ref()?;
    matches!(config.queue, QueueBacking::RabbitMq(_))
        .then(|| writable("spool", &spool.dir, "change its owner, or producer.spool.dir"))
}

fn writable(what: &str, dir: &Path, remedy: &str) -> Check {
    let subject = format!("{what} {}", dir.display());
    match tempfile::tempfile_in(nearest_existing(dir)) {
        Ok(_) => well(&subject, "can be written".into()),
        Err(error) => broken(&subject, format!("cannot be written: {error}"), remedy),
    }
}

/// The directory, or the nearest one above that is there: it is made when it is needed.
fn nearest_existing(dir: &Path) -> &Path {
    let there = |path: &&Path| path.as_os_str().is_empty() || path.exists();
    match dir.ancestors().find(there) {
        Some(path) if !path.as_os_str().is_empty() => path,
        _ => Path::new("."),
    }
}

type Kept = Result<Vec<(String, Result<SecretString, VaultError>)>, VaultError>;

/// The secrets in the state store, and the key that opens them.
fn vault(parts: &Parts, kept: Kept) -> Option<Check> {
    let subject = "secrets in the state store";
    let kept = match kept {
        Ok(kept) => kept,
        // That the store does not answer is said already.
        Err(VaultError::Store(_)) => return None,
        Err(error) => return Some(broken(subject, error.to_string(), "see above: it says what to do")),
    };
    if let Some((_, Err(error))) = kept.iter().find(|(_, secret)| secret.is_err()) {
        return Some(broken(subject, error.to_string(), "see above: it says what to do"));
    }
    let count = counted(kept.len(), "secret");
    Some(match parts.vault.source() {
        KeySource::File(path) if !kept.is_empty() => well(
            subject,
            format!(
                "{count}, sealed with the key in {}: back that file up, apart from the directory",
                path.display()
            ),
        ),
        KeySource::Given(_) => well(subject, format!("{count}, sealed with the key of vault.key")),
        KeySource::File(_) | KeySource::Missing => return None,
    })
}

fn webhooks(config: &Config, sealed: usize) -> Option<Check> {
    let parties = config.flow.parties.as_ref()?;
    let known = parties.webhook_secrets.len() + sealed;
    Some(match (config.producer.webhook_listen, known) {
        (None, _) => warning(
            "webhooks",
            "switched off: changes in EspoCRM are found by sweeps only".into(),
            "set producer.webhook_listen",
        ),
        (Some(_), 0) => warning(
            "webhooks",
            "no secret is known, so each webhook is refused: changes in EspoCRM are found by sweeps only"
                .into(),
            "let `syncfleet provision` make the webhooks and keep their secrets",
        ),
        (Some(address), known) => well("webhooks", format!("{address}, {}", counted(known, "secret"))),
    })
}

fn well(subject: &str, seen: String) -> Check {
    Check { subject: subject.to_owned(), verdict: Verdict::Well, seen, remedy: String::new() }
}

fn warning(subject: &str, seen: String, remedy: &str) -> Check {
    Check { subject: subject.to_owned(), verdict: Verdict::Warning, seen, remedy: remedy.to_owned() }
}

fn broken(subject: &str, seen: String, remedy: &str) -> Check {
    Check { subject: subject.to_owned(), verdict: Verdict::Broken, seen, remedy: remedy.to_owned() }
}

fn text(checks: &[Check]) -> String {
    let rows = checks.iter().map(|check| {
        let verdict = match check.verdict {
            Verdict::Well => "well",
            Verdict::Warning => "WARNING",
            Verdict::Broken => "BROKEN",
        };
        [verdict.to_owned(), check.subject.clone(), check.seen.clone(), check.remedy.clone()]
    });
    let table = output::table(["VERDICT", "SUBJECT", "SEEN", "WHAT TO DO"], rows);
    let count = |verdict| checks.iter().filter(|check| check.verdict == verdict).count();
    format!(
        "{table}\n{}: {} broken, {} to look at.\n",
        counted(checks.len(), "check"),
        count(Verdict::Broken),
        count(Verdict::Warning)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_says_what_to_do() {
        let checks = [
            well("settings", "94 read, 3 of them changed".into()),
            broken("EspoCRM field CBeteiligte.betnr", "missing".into(), "add it: int"),
        ];
        insta::assert_snapshot!(text(&checks), @r"
        VERDICT  SUBJECT                          SEEN                        WHAT TO DO
        well     settings                         94 read, 3 of them changed
        BROKEN   EspoCRM field CBeteiligte.betnr  missing                     add it: int

        2 checks: 1 broken, 0 to look at.
        ");
    }

    #[test]
    fn a_spool_is_looked_at_where_there_is_one() {
        assert!(spool(&Config::from_text("test.toml", "", []).unwrap()).is_none());
        let dir = tempfile::tempdir().unwrap();
        let of = |path: &Path| {
            let text = format!(
                "queue.kind = \"rabbitmq\"\nproducer.spool.dir = {path:?}\n[queue.rabbitmq]\n\
                 url = \"amqp://guest@localhost\"\npassword = \"env:P\"\n"
            );
            spool(&Config::from_text("test.toml", &text, [("P".into(), "p".into())]).unwrap()).unwrap()
        };
        assert_eq!(of(&dir.path().join("spool")).verdict, Verdict::Well);
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert_eq!(of(&file).verdict, Verdict::Broken);
    }

    #[test]
    fn a_directory_that_is_made_later_is_judged_by_the_one_above() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(nearest_existing(&dir.path().join("a/b")), dir.path());
        assert_eq!(nearest_existing(Path::new("not-there")), Path::new("."));
    }
}

//! Looks for secrets where none belong: in files beside the configuration, written out.

use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use configuration::{Config, EspoCrmAuth, QueueBacking, StateBacking};
use secrecy::{ExposeSecret as _, SecretString};

/// Files looked into at most, and how deep.
const FILES_MAX: usize = 2_000;
const DEPTH_MAX: usize = 3;
/// Larger files are no configuration and no notes.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// Shorter secrets would be found in any text.
const SECRET_BYTES_MIN: usize = 8;
/// Folders of tools, not of people.
const SKIPPED: [&str; 2] = ["target", "node_modules"];

/// A secret and the setting that refers to it.
pub type Named<'c> = (String, &'c SecretString);

/// The secrets in force.
pub fn secrets(config: &Config) -> Vec<Named<'_>> {
    let mut secrets = Vec::new();
    let mut add = |key: &str, secret| secrets.push((key.to_owned(), secret));
    if let QueueBacking::RabbitMq(settings) = &config.queue {
        add("queue.rabbitmq.password", &settings.password);
    }
    if let StateBacking::Redis(settings) = &config.state
        && let Some(password) = &settings.password
    {
        add("state.redis.password", password);
    }
    if let Some(espocrm) = &config.connector.espocrm {
        match &espocrm.auth {
            EspoCrmAuth::ApiKey { api_key } => add("connector.espocrm.api_key", api_key),
            EspoCrmAuth::Hmac { api_key, secret_key } => {
                add("connector.espocrm.api_key", api_key);
                add("connector.espocrm.secret_key", secret_key);
            }
        }
    }
    if let Some(advoware) = &config.connector.advoware {
        add("connector.advoware.api_key", &advoware.api_key);
        add("connector.advoware.password", &advoware.password);
    }
    if let Some(key) = &config.vault.key {
        add("vault.key", key);
    }
    for (name, key) in &config.vault.old_keys {
        add(&format!("vault.old_keys.{name}"), key);
    }
    for (id, secret) in config.flow.parties.iter().flat_map(|parties| &parties.webhook_secrets) {
        add(&format!("flow.parties.webhook_secrets.{id}"), secret);
    }
    for (provider, secret) in config.provider.secrets() {
        add(&format!("provider.{provider}.client_secret"), secret);
    }
    for (id, secret) in config.flow.calendar.iter().flat_map(|calendar| &calendar.webhook_secrets) {
        add(&format!("flow.calendar.webhook_secrets.{id}"), secret);
    }
    secrets
}

/// The files that settings refer to for their secrets.
pub fn secret_files(config: &Config) -> Vec<PathBuf> {
    let references = config.effective().iter().filter_map(|setting| setting.reference.as_deref());
    references.filter_map(|reference| reference.strip_prefix("file:")).map(PathBuf::from).collect()
}

/// A secret written out in a file.
#[derive(Debug, PartialEq, Eq)]
pub struct Leak {
    /// The file.
    pub path: PathBuf,
    /// The line, from 1.
    pub line: usize,
    /// The setting whose secret it is.
    pub key: String,
}

/// Searches the files below `dir` but for the secrets' own.
pub fn leaks(dir: &Path, secrets: &[Named<'_>], own: &[PathBuf]) -> Vec<Leak> {
    let own: Vec<PathBuf> = own.iter().filter_map(|path| path.canonicalize().ok()).collect();
    let files = files_below(dir)
        .into_iter()
        .filter(|path| path.canonicalize().is_ok_and(|path| !own.contains(&path)));
    files
        .flat_map(|path| {
            let text = read(&path).unwrap_or_default();
            let found = find(&text, secrets);
            found.into_iter().map(move |(line, key)| Leak { path: path.clone(), line, key })
        })
        .collect()
}

/// Secret files that others than their owner may read.
pub fn open_to_others(files: &[PathBuf]) -> Vec<&PathBuf> {
    let mode = |path: &PathBuf| std::fs::metadata(path).map(|meta| meta.permissions().mode()).unwrap_or(0);
    files.iter().filter(|path| mode(path) & 0o007 != 0).collect()
}

fn files_below(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![(dir.to_owned(), 0)];
    while let Some((folder, depth)) = folders.pop() {
        let mut entries: Vec<_> = std::fs::read_dir(&folder).into_iter().flatten().flatten().collect();
        entries.sort_by_key(std::fs::DirEntry::file_name);
        for entry in entries {
            let name = entry.file_name().to_string_lossy().into_owned();
            match entry.file_type() {
                Ok(kind) if kind.is_file() && files.len() < FILES_MAX => files.push(entry.path()),
                Ok(kind) if kind.is_dir() && depth < DEPTH_MAX && is_of_people(&name) => {
                    folders.push((entry.path(), depth + 1));
                }
                _ => {}
            }
        }
    }
    files
}

fn is_of_people(folder: &str) -> bool {
    !folder.starts_with('.') && !SKIPPED.contains(&folder)
}

fn read(path: &Path) -> std::io::Result<String> {
    if std::fs::metadata(path)?.len() > FILE_BYTES_MAX {
        return Ok(String::new());
    }
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The lines with a secret, and whose it is. Pure.
fn find(text: &str, secrets: &[Named<'_>]) -> Vec<(usize, String)> {
    let worth = |secret: &SecretString| secret.expose_secret().len() >= SECRET_BYTES_MIN;
    let mut found = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let hits =
            secrets.iter().filter(|(_, secret)| worth(secret) && line.contains(secret.expose_secret()));
        found.extend(hits.map(|(key, _)| (index + 1, key.clone())));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_in_a_document_is_found_and_its_own_file_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let secret = SecretString::from("5f1c0b1e6d0a4f0f");
        let short = SecretString::from("abc");
        let secrets =
            [("connector.x.api_key".to_owned(), &secret), ("connector.x.password".to_owned(), &short)];
        std::fs::create_dir(dir.path().join("docs")).unwrap();
        std::fs::create_dir(dir.path().join("target")).unwrap();
        let own = dir.path().join("key");
        std::fs::write(&own, "5f1c0b1e6d0a4f0f\n").unwrap();
        std::fs::write(dir.path().join("docs/notes.md"), "abc\nkey: 5f1c0b1e6d0a4f0f.\n").unwrap();
        std::fs::write(dir.path().join("target/x"), "5f1c0b1e6d0a4f0f").unwrap();
        let found = leaks(dir.path(), &secrets, std::slice::from_ref(&own));
        let expected =
            Leak { path: dir.path().join("docs/notes.md"), line: 2, key: "connector.x.api_key".into() };
        assert_eq!(found, [expected]);
    }

    #[test]
    fn a_secret_that_anybody_may_read_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let [open, closed] = [("open", 0o644), ("closed", 0o640)].map(|(name, mode)| {
            let path = dir.path().join(name);
            std::fs::write(&path, "x").unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            path
        });
        assert_eq!(open_to_others(&[open.clone(), closed]), [&open]);
    }
}

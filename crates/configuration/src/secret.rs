//! Secrets by reference: `env:NAME` or `file:/path`. A secret written out is refused wherever it stands, and no
//! text of ours repeats what was found.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use secrecy::SecretString;

use crate::layers::{Setting, Value};

/// Largest file that a secret is read from, in bytes.
const FILE_BYTES_MAX: u64 = 64 * 1024;
/// What a secret setting must be.
pub(crate) const EXPECTED: &str = "a reference to a secret, \"env:NAME\" or \"file:/path\"";

/// Whether a setting must be there.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Need {
    /// It must; the words say why, and end the sentence "expected a text, …".
    Required(&'static str),
    /// It may be left out.
    Optional,
    /// It may be left out, and what it refers to need not be there yet: it is about to be made.
    ToBeMade,
    /// The part that would use it is switched off: only its form is checked.
    Unused,
}

impl Need {
    /// Required for the reason given when `condition` holds, else unused.
    pub(crate) fn required_if(condition: bool, why: &'static str) -> Self {
        if condition { Self::Required(why) } else { Self::Unused }
    }

    /// This one, or the other where this is unused.
    pub(crate) fn or(self, other: Self) -> Self {
        if let Self::Unused = self { other } else { self }
    }
}

/// Why a secret could not be had.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SecretProblem {
    pub(crate) found: String,
    pub(crate) expected: String,
    pub(crate) hint: String,
}

fn problem(found: impl Into<String>, expected: impl Into<String>, hint: impl Into<String>) -> SecretProblem {
    SecretProblem { found: found.into(), expected: expected.into(), hint: hint.into() }
}

/// The secret that a setting refers to; `None` where none is set and none is needed.
pub(crate) fn resolve(
    setting: &Setting,
    need: Need,
    environment: &BTreeMap<String, String>,
) -> Result<Option<SecretString>, SecretProblem> {
    let Value::Text(reference) = &setting.value else {
        return Err(literal());
    };
    if reference.is_empty() {
        return match need {
            Need::Required(why) => Err(problem("\"\"", format!("{EXPECTED}, {why}"), "")),
            Need::Optional | Need::ToBeMade | Need::Unused => Ok(None),
        };
    }
    let secret = match reference.split_once(':') {
        Some(("env", name)) if is_variable(name) => match need {
            Need::Unused => return Ok(None),
            Need::ToBeMade if !environment.contains_key(name) => return Ok(None),
            _ => from_environment(name, environment)?,
        },
        Some(("file", path)) if !path.is_empty() => match need {
            Need::Unused => return Ok(None),
            Need::ToBeMade if !Path::new(path).exists() => return Ok(None),
            _ => from_file(path)?,
        },
        _ => return Err(literal()),
    };
    Ok(Some(secret.into()))
}

/// The file that a setting refers to.
pub(crate) fn file_of(setting: &Setting) -> Option<PathBuf> {
    let Value::Text(reference) = &setting.value else { return None };
    reference.strip_prefix("file:").filter(|path| !path.is_empty()).map(PathBuf::from)
}

fn literal() -> SecretProblem {
    let hint = "put the secret into an environment variable or a file, and refer to it";
    problem("a value that is no reference (not shown)", EXPECTED, hint)
}

fn is_variable(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn from_environment(name: &str, environment: &BTreeMap<String, String>) -> Result<String, SecretProblem> {
    let set = "that variable in the environment of this program, not empty";
    match environment.get(name) {
        None => Err(problem(format!("env:{name}, which is not set"), set, "")),
        Some(value) if value.trim().is_empty() => {
            Err(problem(format!("env:{name}, which is empty"), set, ""))
        }
        Some(value) => Ok(value.clone()),
    }
}

fn from_file(path: &str) -> Result<String, SecretProblem> {
    let expected = "a readable file of text with the secret, not empty";
    let refuse = |why: String| problem(format!("file:{path}, which {why}"), expected, "");
    let file = File::open(path).map_err(|error| refuse(format!("cannot be opened ({error})")))?;
    let mut text = String::new();
    file.take(FILE_BYTES_MAX + 1)
        .read_to_string(&mut text)
        .map_err(|error| refuse(format!("cannot be read ({error})")))?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(refuse(format!("has more than {FILE_BYTES_MAX} bytes")));
    }
    let secret = text.trim_end_matches(['\r', '\n']);
    if secret.trim().is_empty() {
        return Err(refuse("is empty".into()));
    }
    Ok(secret.to_owned())
}

//! Python packages that the tests use: the vendors' own client libraries, which `tests/scenarios/clients.rs` lets work
//! against the simulators, and SCIM of independent make: the server, which `tests/scenarios/scim_server.rs` lets the
//! connector work against, and the conformance client, which `clients.rs` lets check the simulator. Each set in a private virtual environment below the target folder, made anew when the pinned versions change.

use std::fs;
use std::path::Path;

use crate::run::{Failure, Outcome, command, root, run as execute, target_dir};

/// A set of packages.
struct Set {
    what: &'static str,
    /// The pinned versions with their hashes.
    requirements: &'static str,
    /// The environment, which the tests know by this name.
    folder: &'static str,
}

const SETS: [Set; 2] = [
    Set {
        what: "The vendors' client libraries",
        requirements: "tests/clients/requirements.txt",
        folder: "client-libraries",
    },
    Set {
        what: "The independent SCIM server and conformance client",
        requirements: "tests/scim_server/requirements.txt",
        folder: "scim-server",
    },
];

/// Installs what is not installed yet.
///
/// # Errors
/// When an environment cannot be made, or the registry of packages is out of reach.
pub fn install() -> Outcome {
    SETS.iter().try_for_each(install_set)
}

fn install_set(set: &Set) -> Outcome {
    let (folder, wanted) = (target_dir().join(set.folder), root().join(set.requirements));
    let python = folder.join("bin/python");
    // Copied there at the very end.
    let mark = folder.join("requirements.txt");
    if is_same(&wanted, &mark)
        && command(&python, &["--version"]).output().is_ok_and(|it| it.status.success())
    {
        return Ok(());
    }
    println!("\n{}: installed into {}, once:", set.what, folder.display());
    let failed =
        |what: &str, error: &std::io::Error| Failure(format!("{}: {what}: {error}", folder.display()));
    if folder.exists() {
        fs::remove_dir_all(&folder).map_err(|error| failed("it cannot be removed", &error))?;
    }
    let mut make = command("python3", &["-m", "venv"]);
    make.arg(&folder);
    execute(make)?;
    let words =
        ["-m", "pip", "install", "--quiet", "--no-input", "--no-compile", "--disable-pip-version-check"];
    let mut fill = command(&python, &words);
    fill.args(["--only-binary", ":all:", "--require-hashes", "--requirement"]).arg(&wanted);
    execute(fill)?;
    fs::copy(&wanted, &mark).map(|_| ()).map_err(|error| failed("it cannot be marked", &error))
}

fn is_same(one: &Path, other: &Path) -> bool {
    matches!((fs::read(one), fs::read(other)), (Ok(one), Ok(other)) if one == other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_version_is_pinned_by_hashes() {
        let libraries: [&[&str]; 2] = [
            &["msal==", "msgraph-sdk==", "google-api-python-client==", "google-auth-oauthlib=="],
            &["scim2-server==0.8.3", "scim2-tester==0.5.2", "scim2-models==", "pydantic=="],
        ];
        for (set, libraries) in SETS.iter().zip(libraries) {
            let text = fs::read_to_string(root().join(set.requirements)).unwrap();
            let pinned = text.lines().filter(|line| line.contains("==")).count();
            assert!(pinned > 4 && text.matches("--hash=sha256:").count() >= pinned, "{}", set.what);
            for library in libraries {
                assert!(text.lines().any(|line| line.starts_with(library)), "{library}");
            }
        }
    }

    #[test]
    fn what_is_not_there_is_not_the_same() {
        let wanted = root().join(SETS[0].requirements);
        assert!(is_same(&wanted, &wanted));
        assert!(!is_same(&wanted, &root().join("Cargo.toml")) && !is_same(&wanted, &root().join("none")));
        assert!(!is_same(&wanted, &root().join(SETS[1].requirements)));
    }
}

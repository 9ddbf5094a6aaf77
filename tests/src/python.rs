//! Python packages that `cargo xtask test` installs.

use std::path::{Path, PathBuf};

use crate::{HarnessError, Result};

/// The environment below the target folder that has the packages in the versions that are asked for.
///
/// # Errors
/// When they are not installed, with the command that installs them.
pub fn environment(name: &str, requirements: &Path) -> Result<PathBuf> {
    let test = std::env::current_exe().map_err(|error| HarnessError::new(error.to_string()))?;
    // target/debug/deps/scenarios-0123 → target/{name}
    let folder = test.ancestors().nth(3).unwrap_or(Path::new(".")).join(name);
    let read = |path: &Path| std::fs::read(path).ok();
    let installed = read(&folder.join("requirements.txt"));
    if installed.is_some() && installed == read(requirements) {
        return Ok(folder);
    }
    Err(HarnessError::new(format!(
        "{} has not the packages that {} names: run the tests by `cargo xtask test`, which installs them",
        folder.display(),
        requirements.display()
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_how_to_install_what_is_missing() {
        let error = environment("no-such-folder", Path::new("none")).unwrap_err().to_string();
        assert!(error.contains("no-such-folder") && error.contains("cargo xtask test"), "{error}");
    }
}

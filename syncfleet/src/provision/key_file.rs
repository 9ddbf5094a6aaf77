//! The API user's key in a file of its own.

use std::io::Write as _;
use std::path::Path;

use secrecy::{ExposeSecret as _, SecretString};

/// Writes a new file, whole or not at all, readable by its owner only. One that is there stays, and is an error.
pub(super) fn write(path: &Path, key: &SecretString) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // A temporary file has the mode 0600.
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(key.expose_secret().as_bytes())?;
    file.write_all(b"\n")?;
    file.as_file().sync_all()?;
    file.persist_noclobber(path).map(|_| ()).map_err(|error| error.error)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_key_is_written_once_and_for_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        write(&path, &"6951b034578251eab746983fa302e468".into()).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "6951b034578251eab746983fa302e468\n");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(write(&path, &"another".into()).is_err());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        assert!(write(&dir.path().join("no/such/folder"), &"x".into()).is_err());
    }
}

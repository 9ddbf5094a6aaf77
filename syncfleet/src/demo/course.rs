//! How far a demo has come: kept in its directory, so that a killed one goes on where it stood.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use simulators::demo_data::Edit;

/// What a demo leaves in its directory; all of it goes when a new one begins.
const LEFTOVERS: [&str; 5] = ["course.json", "data", "secrets", "simulators", "syncfleet.toml"];

/// How far a demo has come.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Course {
    /// Seed of parties and edits.
    pub seed: u64,
    /// How many parties were asked for.
    pub parties: u32,
    /// What is to be done next.
    pub stage: Stage,
}

/// A part of the demo.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// The parties are not laid out yet, or only some of them.
    LayingOut,
    /// The parties are laid out and brought into step for the first time.
    FirstRound,
    /// People make these edits, which are brought into step.
    SecondRound {
        /// The edits, decided before the first of them was made.
        edits: Vec<Edit>,
        /// The keys that Advoware gave out in the first round, by CBeteiligte.
        bet_nrs: BTreeMap<String, u64>,
    },
    /// It came to its end.
    Ended,
}

/// A directory that this process alone runs a demo in.
#[derive(Debug)]
pub struct DemoDir {
    path: PathBuf,
    _lock: File,
}

impl DemoDir {
    /// Takes the directory; makes it if it is not there.
    ///
    /// # Errors
    /// A sentence: another demo runs in it, it is not a demo's, or it cannot be written.
    pub fn take(path: &Path) -> Result<Self, String> {
        let shown = path.display();
        let cannot =
            |error: io::Error| format!("directory {shown} cannot be used: {error}; name another with --dir");
        let is_foreign = fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some())
            && !path.join("demo.lock").exists();
        if is_foreign {
            return Err(format!(
                "directory {shown} holds something else than a demo; name another with --dir"
            ));
        }
        fs::create_dir_all(path).map_err(cannot)?;
        let path = path.canonicalize().map_err(cannot)?;
        let lock = File::create(path.join("demo.lock")).map_err(cannot)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path, _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(format!(
                "a demo already runs in {shown}; wait for its end, or name another directory with --dir"
            )),
            Err(TryLockError::Error(error)) => Err(cannot(error)),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A path in it.
    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The demo that was begun here; none where there was none, or it cannot be read.
    pub fn course(&self) -> Option<Course> {
        serde_json::from_slice(&fs::read(self.join("course.json")).ok()?).ok()
    }

    /// Keeps how far the demo has come, at once and durably.
    ///
    /// # Errors
    /// As the file system's.
    pub fn keep(&self, course: &Course) -> io::Result<()> {
        let new = self.join("course.json.new");
        let mut file = File::create(&new)?;
        file.write_all(&serde_json::to_vec(course)?)?;
        file.sync_all()?;
        fs::rename(new, self.join("course.json"))
    }

    /// Removes what a demo left, for a new one.
    ///
    /// # Errors
    /// As the file system's.
    pub fn clear(&self) -> io::Result<()> {
        for name in LEFTOVERS {
            let path = self.join(name);
            let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            match removed {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_demo_goes_on_where_it_stood_and_nobody_else_may() {
        let outer = tempfile::tempdir().unwrap();
        let path = outer.path().join("demo");
        let dir = DemoDir::take(&path).unwrap();
        assert_eq!(dir.course(), None);
        let course = Course { seed: 3, parties: 40, stage: Stage::FirstRound };
        dir.keep(&course).unwrap();
        assert!(DemoDir::take(&path).unwrap_err().contains("already runs"));
        drop(dir);
        let again = DemoDir::take(&path).unwrap();
        assert_eq!(again.course(), Some(course));
        again.clear().unwrap();
        assert_eq!(again.course(), None);
    }

    #[test]
    fn a_directory_with_other_things_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("thesis.odt"), "x").unwrap();
        assert!(DemoDir::take(dir.path()).unwrap_err().contains("something else"));
    }
}

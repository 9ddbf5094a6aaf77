//! `cargo xtask tidy`: the rules of this repository that no other tool knows.
//!
//! Each rule is a pure function from files to findings and has a test that shows it fail.

mod configuration;
mod documents;
mod imports;
mod manifests;
mod purity;
mod size;
mod source;
mod words;

use std::fmt;
use std::process::Command;

use crate::run::{Failure, Outcome, root};

/// A text file of the repository.
pub struct File {
    /// From the root, with `/`.
    pub path: String,
    /// Its content.
    pub text: String,
}

/// A broken rule.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// The file, from the root.
    pub path: String,
    /// From 1.
    pub line: usize,
    /// What is wrong, and after it what to do.
    pub what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.what)
    }
}

impl File {
    fn finding(&self, line: usize, what: impl Into<String>) -> Finding {
        Finding { path: self.path.clone(), line, what: what.into() }
    }

    fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }
}

/// Runs all rules over the files that git knows or would take.
///
/// # Errors
/// When a rule is broken; the findings are printed.
pub fn run() -> Outcome {
    let files = read_all()?;
    let findings = check(&files);
    for finding in &findings {
        println!("{finding}");
    }
    match findings.len() {
        0 => {
            println!("{} files are tidy", files.len());
            Ok(())
        }
        count => Err(Failure(format!("tidy: {count} findings"))),
    }
}

fn check(files: &[File]) -> Vec<Finding> {
    let rules = [
        configuration::check,
        documents::check,
        imports::check,
        manifests::check,
        purity::check,
        size::check,
        source::check,
        words::check,
    ];
    let mut findings: Vec<Finding> = rules.iter().flat_map(|rule| rule(files)).collect();
    findings.sort();
    findings
}

fn read_all() -> Result<Vec<File>, Failure> {
    let listed = Command::new("git")
        // A checkout may belong to another user than the one who checks it, as in containers.
        .args(["-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .map_err(|error| Failure(format!("tidy asks git for the files: {error}")))?;
    if !listed.status.success() {
        return Err(Failure(format!(
            "tidy asks git for the files: {}",
            String::from_utf8_lossy(&listed.stderr)
        )));
    }
    let mut files = Vec::new();
    for path in String::from_utf8_lossy(&listed.stdout).split_terminator('\0') {
        // A deleted file stays listed until the commit; one that is not text has no lines to check.
        if let Ok(text) = std::fs::read_to_string(root().join(path)) {
            files.push(File { path: path.to_owned(), text });
        }
    }
    if files.is_empty() {
        return Err(Failure("tidy found no files: is this a git checkout?".to_owned()));
    }
    Ok(files)
}

#[cfg(test)]
mod testing {
    use super::{File, Finding};

    /// A file from its path and content.
    pub fn file(path: &str, text: &str) -> File {
        File { path: path.to_owned(), text: text.to_owned() }
    }

    /// Asserts that the rule finds exactly these places (`path:line`) with these words.
    pub fn assert_finds(rule: fn(&[File]) -> Vec<Finding>, files: &[File], expected: &[(&str, &str)]) {
        let found: Vec<String> = rule(files).iter().map(ToString::to_string).collect();
        assert_eq!(found.len(), expected.len(), "{found:#?}");
        for ((place, words), text) in expected.iter().zip(&found) {
            assert!(
                text.starts_with(&format!("{place}: ")) && text.contains(words),
                "{place} {words}: {text}"
            );
        }
    }
}

//! No program as it is released has labelled points, at which the chaos suite breaks it.

use crate::run::{Failure, Outcome, command};

/// The crate that is there only where points are.
const CRATE: &str = "fail v";

/// Asks cargo what the programs are made of, by the command that builds them.
///
/// # Errors
/// When they have labelled points, or cargo does not say.
pub fn check() -> Outcome {
    let args = ["tree", "--edges", "normal,build", "--prefix", "none", "--format", "{p}"];
    let output = command("cargo", &args).output();
    let output = output.map_err(|error| Failure(format!("`cargo tree` does not start: {error}")))?;
    let (said, complained) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if !output.status.success() {
        return Err(Failure(format!("`cargo tree` failed: {complained}")));
    }
    verdict(&said)
}

fn verdict(tree: &str) -> Outcome {
    if !tree.lines().any(|line| line.starts_with("worker v")) {
        return Err(Failure("`cargo tree` does not name the programs".to_owned()));
    }
    if tree.lines().any(|line| line.starts_with(CRATE)) {
        let why = "a plain `cargo build --release` has labelled points: keep `tests` out of default-members, and the \
                   feature labelled-points out of every other manifest";
        return Err(Failure(why.to_owned()));
    }
    println!("no labelled points in what is released");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_crate_of_the_points() {
        assert!(verdict("worker v0.1.0 (/x)\nfailure v1.0.0\n").is_ok());
        assert!(verdict("worker v0.1.0 (/x)\nfail v0.5.1\n").is_err());
        assert!(verdict("").is_err());
    }
}

//! What decides is pure: the same input gives the same decision, in any test, without set-up.

use super::source::{Code, Token, lines_with, tokens};
use super::{File, Finding};

/// Files of these names decide, except below these folders: there, `plan.rs` is a command, not a decision.
const PURE: [&str; 5] = ["plan.rs", "settlement.rs", "retry.rs", "routing.rs", "change.rs"];
const ELSEWHERE: [&str; 3] = ["syncfleet/", "tests/", "xtask/"];

/// Token sequence, and what it stands for.
const FORBIDDEN: [(&[&str], &str); 12] = [
    (&["async"], "async code"),
    (&["await"], "async code"),
    (&["now", "("], "a clock"),
    (&["elapsed", "("], "a clock"),
    (&["rand", ":", ":"], "randomness"),
    (&["new_v4"], "randomness"),
    (&["now_v7"], "randomness and a clock"),
    (&["fs", ":", ":"], "files"),
    (&["std", ":", ":", "net"], "the network"),
    (&["std", ":", ":", "env"], "the environment"),
    (&["tokio"], "a runtime"),
    (&["tracing"], "logging"),
];

pub fn check(files: &[File]) -> Vec<Finding> {
    let pure = files.iter().filter(|file| {
        let name = file.path.rsplit('/').next().unwrap_or_default();
        PURE.contains(&name) && !ELSEWHERE.iter().any(|folder| file.path.starts_with(folder))
    });
    pure.flat_map(|file| {
        let tokens = tokens(file, Code::WithoutTests);
        FORBIDDEN.iter().flat_map(move |(pattern, meaning)| {
            let lines = lines_with(&without_definitions(&tokens), pattern);
            lines.into_iter().map(move |line| {
                file.finding(
                    line,
                    format!(
                        "{meaning} (`{}`) in a pure file: make it an argument, or move it to the shell",
                        pattern.concat()
                    ),
                )
            })
        })
    })
    .collect()
}

/// `fn now(` names a function of ours; only calls read a clock.
fn without_definitions(tokens: &[Token]) -> Vec<Token> {
    let mut previous_is_fn = false;
    let mut kept = Vec::new();
    for token in tokens {
        if !previous_is_fn {
            kept.push(token.clone());
        }
        previous_is_fn = token.text == "fn";
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_finds, file};
    use super::*;

    #[test]
    fn finds_what_makes_a_decision_depend_on_more_than_its_input() {
        let text = "use std::net::IpAddr;\nasync fn a() {}\nfn b() { Timestamp::now (); tracing::info!(\"x\") }\n\
            fn now() {}\nfn c(now: T) { // Utc::now()\n}\n#[cfg(test)]\nmod tests { fn t() { now(); } }";
        assert_finds(
            check,
            &[file("crates/flows/src/parties/plan.rs", text), file("worker/src/dispatch.rs", text)],
            &[
                ("crates/flows/src/parties/plan.rs:2", "async"),
                ("crates/flows/src/parties/plan.rs:3", "a clock"),
                ("crates/flows/src/parties/plan.rs:1", "the network"),
                ("crates/flows/src/parties/plan.rs:3", "logging"),
            ],
        );
    }

    #[test]
    fn knows_every_pure_file() {
        for name in PURE {
            assert_eq!(
                check(&[file(&format!("shared/src/{name}"), "fn a() { rand::random() }")]).len(),
                1,
                "{name}"
            );
        }
    }
}

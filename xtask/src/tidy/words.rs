//! Words that belong in one place, or nowhere.

use super::source::{Code, lines_with, tokens};
use super::{File, Finding};

struct Rule {
    patterns: &'static [&'static [&'static str]],
    code: Code,
    allowed: &'static [&'static str],
    what: &'static str,
}

const RULES: [Rule; 4] = [
    Rule {
        patterns: &[
            &["env", ":", ":", "var"],
            &["env", ":", ":", "var_os"],
            &["env", ":", ":", "vars"],
            &["env", ":", ":", "vars_os"],
        ],
        code: Code::WithoutTests,
        allowed: &["crates/configuration/", "xtask/", "tests/"],
        what: "reads the environment: settings come from the configuration crate",
    },
    Rule {
        patterns: &[&["backoff", ":", ":"]],
        code: Code::All,
        allowed: &["shared/src/retry.rs"],
        what: "uses `backoff`, which is unmaintained: go through shared/src/retry.rs, its only user",
    },
    Rule {
        patterns: &[&["#", "[", "ignore"]],
        code: Code::All,
        allowed: &[],
        what: "an ignored test: make it run, or delete it",
    },
    Rule {
        patterns: &[&["todo", "!"], &["unimplemented", "!"]],
        code: Code::All,
        allowed: &[],
        what: "code that is not there: write it, or leave the function out",
    },
];

/// Where names of metrics may stand: their home, and tests that look from outside.
const METRIC_HOMES: [&str; 3] = ["shared/src/names.rs", "tests/", "xtask/"];

pub fn check(files: &[File]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files {
        if file.is_rust() {
            for rule in &RULES {
                findings.extend(broken(file, rule));
            }
            findings.extend(metric_names(file));
        }
        findings.extend(paths_of_a_machine(file));
    }
    findings
}

fn broken(file: &File, rule: &Rule) -> Vec<Finding> {
    if rule.allowed.iter().any(|place| file.path.starts_with(place)) {
        return Vec::new();
    }
    let tokens = tokens(file, rule.code);
    let mut lines: Vec<usize> =
        rule.patterns.iter().flat_map(|pattern| lines_with(&tokens, pattern)).collect();
    lines.sort_unstable();
    lines.dedup();
    lines.into_iter().map(|line| file.finding(line, rule.what)).collect()
}

fn metric_names(file: &File) -> Vec<Finding> {
    if METRIC_HOMES.iter().any(|place| file.path.starts_with(place)) {
        return Vec::new();
    }
    let is_metric = |text: &str| text.trim_start_matches(['b', 'r', '#']).starts_with("\"syncfleet_");
    tokens(file, Code::WithoutTests)
        .iter()
        .filter(|token| is_metric(&token.text))
        .map(|token| file.finding(token.line, "a metric's name: use the constant in shared/src/names.rs"))
        .collect()
}

fn paths_of_a_machine(file: &File) -> Vec<Finding> {
    // Put together here, so that this file does not contain them.
    let absolute = ["work", "root"].map(|folder| format!("/{folder}/"));
    let outside = ["apis", "design", "hooks", "spec"].map(|folder| format!("../shared/{folder}"));
    let forbidden = [&absolute[..], &outside[..]].concat();
    let mut findings = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        for path in forbidden.iter().filter(|path| line.contains(path.as_str())) {
            let what = format!("`{path}` exists on one machine only: copy what is needed, or leave it out");
            findings.push(file.finding(index + 1, what));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_finds, file};
    use super::*;

    #[test]
    fn finds_a_reader_of_the_environment() {
        let text =
            "fn a() { std::env::var(\"X\"); }\n#[cfg(test)]\nmod tests { fn b() { std::env::var(\"X\"); } }";
        let files = [file("worker/src/a.rs", text), file("crates/configuration/src/a.rs", text)];
        assert_finds(check, &files, &[("worker/src/a.rs:1", "configuration crate")]);
    }

    #[test]
    fn finds_a_second_user_of_backoff() {
        let text = "use backoff::ExponentialBackoff;";
        let files = [file("worker/src/a.rs", text), file("shared/src/retry.rs", text)];
        assert_finds(check, &files, &[("worker/src/a.rs:1", "retry.rs")]);
    }

    #[test]
    fn finds_tests_and_code_that_are_not_there() {
        let text = "#[test]\n#[ignore]\nfn a() {}\n#[ignore = \"slow\"]\nfn b() { todo!() }\nfn c() { unimplemented!(\"x\") }";
        let expected = [
            ("tests/a.rs:2", "ignored test"),
            ("tests/a.rs:4", "ignored test"),
            ("tests/a.rs:5", "not there"),
            ("tests/a.rs:6", "not there"),
        ];
        assert_finds(check, &[file("tests/a.rs", text)], &expected);
    }

    #[test]
    fn finds_a_metric_name_outside_its_home() {
        let text =
            "const A: &str = \"syncfleet_leader\"; // syncfleet_leader\nconst B: &str = \"syncfleet\";";
        let files = [file("worker/src/a.rs", text), file("shared/src/names.rs", text)];
        assert_finds(check, &files, &[("worker/src/a.rs:1", "names.rs")]);
    }

    #[test]
    fn finds_paths_of_one_machine_in_any_file() {
        let text =
            format!("see /{}/x.md\nsee [x](../shared/src/x.rs)\nsee ../shared/{}", "work", "spec/x.md");
        let expected = [("docs/a.md:1", "one machine only"), ("docs/a.md:3", "one machine only")];
        assert_finds(check, &[file("docs/a.md", &text)], &expected);
    }
}

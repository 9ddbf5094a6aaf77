//! Who may import what. Cargo keeps the rule, since a crate cannot name what its manifest omits: so the
//! manifests are what is checked, and that each names nothing its code does not use.

use std::collections::BTreeSet;

use toml::{Table, Value};

use super::manifests::{DEPENDENCIES, crates, line_of};
use super::source::{Code, tokens};
use super::{File, Finding};

/// Libraries that only some crates may use.
const RESTRICTED: [(&str, &[&str]); 8] = [
    ("reqwest", &["http-client", "simulators", "syncfleet", "system-tests"]),
    ("axum", &["operations", "producer", "simulators", "syncfleet", "system-tests"]),
    ("lapin", &["adapter-rabbitmq", "system-tests"]),
    ("redis", &["adapter-redis", "system-tests"]),
    ("rusqlite", &["adapter-embedded", "system-tests"]),
    ("backoff", &["shared"]),
    ("chacha20poly1305", &["vault"]),
    ("oauth2", &["vault"]),
];

/// A test may serve HTTP for itself.
const SERVER: &str = "axum";

/// What tests of any crate may stand on, and nothing else.
const DOUBLES: &str = "doubles";

/// `shared` has no runtime either, except in its tests.
const RUNTIME: &str = "tokio";

pub fn check(files: &[File]) -> Vec<Finding> {
    let manifests: Vec<(&File, Table)> = crates(files).collect();
    let ours: BTreeSet<&str> = manifests.iter().filter_map(|(_, manifest)| name_of(manifest)).collect();
    let mut findings = Vec::new();
    for (file, manifest) in &manifests {
        let Some(package) = name_of(manifest) else { continue };
        let words = words_of(file, files);
        for table in DEPENDENCIES {
            for (dependency, _) in manifest.get(table).and_then(Value::as_table).into_iter().flatten() {
                let mut report = |what| findings.push(file.finding(line_of(file, table, dependency), what));
                if let Some(what) = forbidden(package, dependency, table, &ours) {
                    report(what);
                }
                if !words.contains(&dependency.replace('-', "_")) {
                    report(format!("`{dependency}` is in the manifest and not in the code: take it out"));
                }
            }
        }
    }
    findings
}

fn forbidden(package: &str, dependency: &str, table: &str, ours: &BTreeSet<&str>) -> Option<String> {
    if dependency == DOUBLES {
        return (table != "dev-dependencies").then(|| format!("`{DOUBLES}` is for dev-dependencies only"));
    }
    if ours.contains(dependency) {
        let ok = may_import(package, dependency);
        return (!ok).then(|| {
            format!("`{package}` may not import `{dependency}`: see the import rule in ARCHITECTURE.md")
        });
    }
    if package == "shared" && dependency == RUNTIME && table == "dependencies" {
        return Some("`shared` has no runtime: leave waiting and spawning to its users".to_owned());
    }
    if dependency == SERVER && table == "dev-dependencies" {
        return None;
    }
    let (_, users) = RESTRICTED.iter().find(|(name, _)| *name == dependency)?;
    (!users.contains(&package))
        .then(|| format!("`{dependency}` is for {} only: go through one of them", users.join(", ")))
}

fn may_import(package: &str, dependency: &str) -> bool {
    let adapter = dependency.starts_with("adapter-");
    let connector = dependency.starts_with("connector-");
    match package {
        "producer" | "worker" | "syncfleet" | "system-tests" => true,
        "assembly" => {
            adapter
                || connector
                || matches!(
                    dependency,
                    "shared"
                        | "configuration"
                        | "flows"
                        | "http-client"
                        | "leasing"
                        | "operations"
                        | "telemetry"
                        | "vault"
                )
        }
        "flows" => connector || matches!(dependency, "shared" | "vault"),
        "operations" | "http-client" | "leasing" | "telemetry" | "configuration" => dependency == "shared",
        "vault" | DOUBLES => matches!(dependency, "shared" | "http-client"),
        "shared" | "simulators" | "xtask" => false,
        _ if package.starts_with("connector-") => matches!(dependency, "shared" | "http-client"),
        _ if package.starts_with("adapter-") => dependency == "shared",
        // A crate the rule does not know yet: whoever adds it decides here.
        _ => false,
    }
}

fn name_of(manifest: &Table) -> Option<&str> {
    manifest.get("package")?.get("name")?.as_str()
}

/// Every token of the Rust files beside and below a manifest.
fn words_of(manifest: &File, files: &[File]) -> BTreeSet<String> {
    let folder = manifest.path.strip_suffix("Cargo.toml").unwrap_or_default();
    files
        .iter()
        .filter(|file| file.is_rust() && file.path.starts_with(folder))
        .flat_map(|file| tokens(file, Code::All))
        .map(|token| token.text)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_finds, file};
    use super::*;

    fn package(name: &str, dependencies: &[&str]) -> Vec<File> {
        let lines: String = dependencies.iter().map(|name| format!("{name}.workspace = true\n")).collect();
        let uses: String =
            dependencies.iter().map(|name| format!("use {}::X;\n", name.replace('-', "_"))).collect();
        vec![
            file(
                &format!("{name}/Cargo.toml"),
                &format!("[package]\nname = \"{name}\"\n[dependencies]\n{lines}"),
            ),
            file(&format!("{name}/src/lib.rs"), &uses),
        ]
    }

    fn workspace(packages: &[(&str, &[&str])]) -> Vec<File> {
        packages.iter().flat_map(|(name, dependencies)| package(name, dependencies)).collect()
    }

    #[test]
    fn allows_the_picture_in_the_documents() {
        let files = workspace(&[
            ("shared", &["backoff", "serde"]),
            ("http-client", &["shared", "reqwest"]),
            ("connector-espocrm", &["shared", "http-client"]),
            ("adapter-redis", &["shared", "redis", "tokio"]),
            ("configuration", &["shared"]),
            ("vault", &["shared", "chacha20poly1305"]),
            ("flows", &["shared", "connector-espocrm", "vault"]),
            ("operations", &["shared", "axum"]),
            ("assembly", &["adapter-redis", "connector-espocrm", "flows", "configuration", "http-client"]),
            ("simulators", &["axum", "reqwest"]),
            ("worker", &["shared", "assembly", "operations"]),
        ]);
        assert_finds(check, &files, &[]);
    }

    #[test]
    fn a_test_may_serve_http_but_not_reach_a_broker() {
        let manifest =
            "[package]\nname = \"connector-espocrm\"\n[dev-dependencies]\naxum = \"1\"\nlapin = \"1\"\n";
        let files = [
            file("connector-espocrm/Cargo.toml", manifest),
            file("connector-espocrm/src/lib.rs", "use axum::X;\nuse lapin::X;\n"),
        ];
        assert_finds(check, &files, &[("connector-espocrm/Cargo.toml:5", "`lapin` is for")]);
    }

    #[test]
    fn only_tests_stand_on_doubles() {
        let manifest = |table: &str| {
            let text = format!("[package]\nname = \"vault\"\n[{table}]\ndoubles = \"1\"\n");
            [file("vault/Cargo.toml", &text), file("vault/src/lib.rs", "use doubles::X;\n")]
        };
        assert_finds(check, &manifest("dev-dependencies"), &[]);
        assert_finds(check, &manifest("dependencies"), &[("vault/Cargo.toml:4", "dev-dependencies only")]);
        assert_finds(check, &workspace(&[("doubles", &["shared", "http-client"])]), &[]);
    }

    #[test]
    fn finds_an_import_against_the_rule() {
        let files = workspace(&[
            ("shared", &["tokio", "flows"]),
            ("adapter-redis", &["adapter-embedded"]),
            ("adapter-embedded", &["redis"]),
            ("connector-espocrm", &["flows", "reqwest"]),
            ("flows", &["adapter-redis", "lapin", "chacha20poly1305"]),
            ("operations", &["assembly"]),
            ("assembly", &["worker"]),
            ("simulators", &["shared"]),
            ("worker", &["axum"]),
            ("new-crate", &["shared"]),
        ]);
        let expected = [
            ("shared/Cargo.toml:4", "no runtime"),
            ("shared/Cargo.toml:5", "may not import `flows`"),
            ("adapter-redis/Cargo.toml:4", "may not import"),
            ("adapter-embedded/Cargo.toml:4", "`redis` is for adapter-redis"),
            ("connector-espocrm/Cargo.toml:4", "may not import"),
            ("connector-espocrm/Cargo.toml:5", "`reqwest` is for"),
            ("flows/Cargo.toml:4", "may not import"),
            ("flows/Cargo.toml:5", "`lapin` is for"),
            ("flows/Cargo.toml:6", "`chacha20poly1305` is for vault"),
            ("operations/Cargo.toml:4", "may not import"),
            ("assembly/Cargo.toml:4", "may not import"),
            ("simulators/Cargo.toml:4", "may not import"),
            ("worker/Cargo.toml:4", "`axum` is for"),
            ("new-crate/Cargo.toml:4", "may not import"),
        ];
        assert_finds(check, &files, &expected);
    }

    #[test]
    fn finds_a_dependency_that_no_code_names() {
        let mut files = workspace(&[("flows", &["serde", "jiff"])]);
        files[1].text = "use jiff::Zoned; // serde".to_owned();
        assert_finds(check, &files, &[("flows/Cargo.toml:4", "`serde` is in the manifest")]);
    }
}

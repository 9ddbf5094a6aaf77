//! One list of versions and lints: every crate inherits.

use toml::{Table, Value};

use super::{File, Finding};

const INHERITED: [&str; 5] = ["version", "edition", "rust-version", "license", "publish"];
/// The tables of a manifest that name dependencies.
pub const DEPENDENCIES: [&str; 3] = ["dependencies", "dev-dependencies", "build-dependencies"];

/// The manifests of the workspace's crates, parsed; those that do not parse are cargo's to report.
pub fn crates(files: &[File]) -> impl Iterator<Item = (&File, Table)> {
    files
        .iter()
        .filter(|file| file.path.ends_with("/Cargo.toml"))
        .filter_map(|file| Some((file, file.text.parse::<Table>().ok()?)))
        .filter(|(_, manifest)| manifest.contains_key("package"))
}

/// The line of a key in a table, or 1.
pub fn line_of(file: &File, table: &str, key: &str) -> usize {
    let mut current = "";
    for (index, line) in file.text.lines().enumerate() {
        let line = line.trim();
        if let Some(header) = line.strip_prefix('[') {
            current = header.trim_end_matches(']');
            if current == format!("{table}.{key}") || (current == table && key.is_empty()) {
                return index + 1;
            }
        } else if current == table && line.split(['.', '=', ' ']).next() == Some(key) {
            return index + 1;
        }
    }
    1
}

pub fn check(files: &[File]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (file, manifest) in crates(files) {
        let package = manifest.get("package").and_then(Value::as_table);
        for key in INHERITED {
            if !inherits(package.and_then(|package| package.get(key))) {
                let line = line_of(file, "package", key);
                findings.push(file.finding(line, format!("own `{key}`: write `{key}.workspace = true`")));
            }
        }
        if !inherits(manifest.get("lints")) {
            let line = line_of(file, "lints", "");
            findings.push(file.finding(line, "own lints: write `workspace = true` under `[lints]`"));
        }
        for table in DEPENDENCIES {
            for (name, value) in manifest.get(table).and_then(Value::as_table).into_iter().flatten() {
                if !inherits(Some(value)) {
                    let what = format!(
                        "own version of `{name}`: put it into the root's [workspace.dependencies] and write \
                         `{name}.workspace = true`"
                    );
                    findings.push(file.finding(line_of(file, table, name), what));
                }
            }
        }
    }
    findings
}

fn inherits(value: Option<&Value>) -> bool {
    value.and_then(|value| value.get("workspace")).and_then(Value::as_bool) == Some(true)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_finds, file};
    use super::*;

    #[test]
    fn finds_what_a_crate_does_not_inherit() {
        let good = "[package]\nname = \"a\"\nversion.workspace = true\nedition.workspace = true\n\
            rust-version.workspace = true\nlicense.workspace = true\npublish.workspace = true\n\
            [lints]\nworkspace = true\n[dependencies]\nserde.workspace = true\n";
        assert_finds(check, &[file("a/Cargo.toml", good)], &[]);
        let bad = good
            .replace("edition.workspace = true", "edition = \"2021\"")
            .replace("[lints]\nworkspace = true\n", "")
            .replace("serde.workspace = true", "serde = \"*\"");
        let expected = [
            ("a/Cargo.toml:4", "`edition`"),
            ("a/Cargo.toml:1", "lints"),
            ("a/Cargo.toml:9", "version of `serde`"),
        ];
        assert_finds(check, &[file("a/Cargo.toml", &bad)], &expected);
    }
}

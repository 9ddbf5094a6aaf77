//! Links in documents lead somewhere; decision records are numbered once.

use std::collections::{BTreeMap, BTreeSet};

use super::{File, Finding};

pub fn check(files: &[File]) -> Vec<Finding> {
    let mut findings = dead_links(files);
    findings.extend(decision_records(files));
    findings
}

fn dead_links(files: &[File]) -> Vec<Finding> {
    let documents: BTreeMap<&str, &File> = files
        .iter()
        .filter(|file| file.path.ends_with(".md"))
        .map(|file| (file.path.as_str(), file))
        .collect();
    let known = files_and_folders(files);
    let mut findings = Vec::new();
    for (path, file) in &documents {
        for (line, link) in links(&file.text) {
            let (target, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let Some(target) = resolve(path, target) else {
                findings
                    .push(file.finding(line, format!("link `{link}` leaves the repository: write it out")));
                continue;
            };
            if !known.contains(target.as_str()) {
                findings.push(file.finding(line, format!("dead link `{link}`: there is no `{target}`")));
            } else if !anchor.is_empty()
                && let Some(document) = documents.get(target.as_str())
                && !headings(&document.text).contains(anchor)
            {
                findings
                    .push(file.finding(line, format!("dead link `{link}`: `{target}` has no such heading")));
            }
        }
    }
    findings
}

fn files_and_folders(files: &[File]) -> BTreeSet<&str> {
    let mut known = BTreeSet::from([""]);
    for file in files {
        known.insert(file.path.as_str());
        known.extend(file.path.match_indices('/').map(|(position, _)| &file.path[..position]));
    }
    known
}

/// The path from the root, or `None` when it climbs above it.
fn resolve(document: &str, target: &str) -> Option<String> {
    if target.is_empty() {
        return Some(document.to_owned());
    }
    let mut parts: Vec<&str> = match target.starts_with('/') {
        true => Vec::new(),
        false => document.split('/').rev().skip(1).collect::<Vec<_>>().into_iter().rev().collect(),
    };
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// Targets of relative links outside code, with their lines.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (line, prose) in prose_lines(text) {
        let inline = prose.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next());
        let reference =
            prose.strip_prefix('[').and_then(|rest| rest.split_once("]: ")).map(|(_, target)| target.trim());
        for target in inline.chain(reference) {
            let target = target.trim_matches(['<', '>']);
            if !target.is_empty() && !target.contains(':') {
                found.push((line, target.to_owned()));
            }
        }
    }
    found
}

/// The anchors of a document's headings, as GitHub makes them.
fn headings(text: &str) -> BTreeSet<String> {
    let mut anchors = BTreeSet::new();
    for (_, line) in prose_lines(text) {
        let title = line.trim_start_matches('#');
        if title.len() < line.len() && title.starts_with(' ') {
            let kept = title.trim().to_lowercase();
            let anchor: String = kept
                .chars()
                .filter(|character| character.is_alphanumeric() || matches!(character, ' ' | '-' | '_'))
                .map(|character| if character == ' ' { '-' } else { character })
                .collect();
            let repeated =
                (1..).map(|number| format!("{anchor}-{number}")).find(|name| !anchors.contains(name));
            if !anchors.insert(anchor) {
                anchors.extend(repeated);
            }
        }
    }
    anchors
}

/// Lines outside fenced code, numbered from 1.
fn prose_lines(text: &str) -> Vec<(usize, String)> {
    let mut fenced = false;
    let mut lines = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            lines.push((index + 1, line.to_owned()));
        }
    }
    lines
}

fn decision_records(files: &[File]) -> Vec<Finding> {
    let mut numbers: BTreeMap<&str, &str> = BTreeMap::new();
    let mut findings = Vec::new();
    for file in files {
        let Some(name) = file.path.strip_prefix("docs/adr/").filter(|name| *name != "README.md") else {
            continue;
        };
        let number = name.get(..4).filter(|number| number.chars().all(|digit| digit.is_ascii_digit()));
        match number {
            Some(number) if name.get(4..5) == Some("-") && name.ends_with(".md") => {
                if let Some(first) = numbers.insert(number, name) {
                    findings.push(
                        file.finding(1, format!("number {number} is taken by {first}: take the next one")),
                    );
                }
            }
            _ => findings.push(file.finding(1, "not named as a decision record: NNNN-title.md")),
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_finds, file};
    use super::*;

    #[test]
    fn finds_dead_links() {
        let text = "[a](b.md) [b](../README.md#two-words) ![c](gone.png)\n```\n[x](gone)\n```\n\
            [d](https://x.org/y) [e](#here) [f](../shared/)\n## Here\n[g](#there)\n[h]: ../gone.md\n[i](../../outside.md)";
        let files = [
            file("docs/a.md", text),
            file("docs/b.md", ""),
            file("README.md", "# Two words!\n[x](docs/b.md#nowhere)"),
            file("shared/Cargo.toml", ""),
        ];
        let expected = [
            ("README.md:2", "no such heading"),
            ("docs/a.md:1", "no `docs/gone.png`"),
            ("docs/a.md:7", "no such heading"),
            ("docs/a.md:8", "no `gone.md`"),
            ("docs/a.md:9", "leaves the repository"),
        ];
        assert_finds(check, &files, &expected);
    }

    #[test]
    fn finds_a_number_used_twice_and_a_record_without_one() {
        let files = [
            file("docs/adr/0001-a.md", ""),
            file("docs/adr/0001-b.md", ""),
            file("docs/adr/0002-c.md", ""),
            file("docs/adr/notes.md", ""),
            file("docs/adr/README.md", ""),
        ];
        assert_finds(
            check,
            &files,
            &[("docs/adr/0001-b.md:1", "taken by"), ("docs/adr/notes.md:1", "NNNN-title")],
        );
    }
}

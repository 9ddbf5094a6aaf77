//! Every setting explains itself, and documents name none that does not exist.

use toml::{Table, Value};

use super::{File, Finding};

const DEFAULTS: &str = "config/default.toml";
const PREFIX: &str = "SYNCFLEET__";
/// How documents write the general form.
const PLACEHOLDER: &str = "SYNCFLEET__SECTION__KEY";

pub fn check(files: &[File]) -> Vec<Finding> {
    let Some(defaults) = files.iter().find(|file| file.path == DEFAULTS) else { return Vec::new() };
    let mut findings = undocumented(defaults);
    if let Ok(settings) = defaults.text.parse::<Table>() {
        let documents =
            files.iter().filter(|file| [".md", ".yml", ".toml"].iter().any(|end| file.path.ends_with(end)));
        findings.extend(documents.flat_map(|file| unknown_variables(file, &settings)));
    }
    findings
}

fn unknown_variables(file: &File, settings: &Table) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        for (position, _) in line.match_indices(PREFIX) {
            let rest = &line[position..];
            let is_name = |character: char| {
                character.is_ascii_uppercase() || character.is_ascii_digit() || character == '_'
            };
            let name = &rest[..rest.find(|character| !is_name(character)).unwrap_or(rest.len())];
            if ![PREFIX, PLACEHOLDER].contains(&name)
                && !exists(&name[PREFIX.len()..].to_lowercase(), settings)
            {
                let what = format!("`{name}` sets nothing: {DEFAULTS} has no such key; correct the name");
                findings.push(file.finding(index + 1, what));
            }
        }
    }
    findings
}

fn exists(name: &str, settings: &Table) -> bool {
    let (key, rest) = name.split_once("__").unwrap_or((name, ""));
    match settings.get(key) {
        // An empty table takes keys of the operator's own.
        Some(Value::Table(table)) => table.is_empty() || (!rest.is_empty() && exists(rest, table)),
        Some(_) => rest.is_empty(),
        None => false,
    }
}

fn undocumented(file: &File) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut previous_is_comment = false;
    // The entries of a table with quoted keys are data: the comment above its header explains them.
    let mut table_has_comment = false;
    // Above 0 inside an array or inline table that spans lines: its entries are no keys.
    let mut depth = 0_usize;
    for (index, line) in file.text.lines().enumerate() {
        let (code, comment) = split_comment(line);
        let code = code.trim();
        let is_header = depth == 0 && code.starts_with('[');
        if is_header {
            table_has_comment = previous_is_comment;
        }
        let is_explained_data = table_has_comment && code.starts_with('"');
        if depth == 0
            && !is_header
            && let Some((key, _)) = code.split_once('=')
            && !previous_is_comment
            && !is_explained_data
            && comment.is_none()
        {
            let what = format!(
                "key `{}` has no comment: say above it what it means, its unit and its bounds",
                key.trim()
            );
            findings.push(file.finding(index + 1, what));
        }
        if !is_header {
            depth = code.chars().fold(depth, |depth, character| match character {
                '[' | '{' => depth + 1,
                ']' | '}' => depth.saturating_sub(1),
                _ => depth,
            });
        }
        previous_is_comment = code.is_empty() && comment.is_some_and(|text| !text.trim().is_empty());
    }
    findings
}

/// Splits at the first `#` outside quotes, and blanks what is within them.
fn split_comment(line: &str) -> (String, Option<&str>) {
    let mut quote = None;
    let mut code = String::new();
    for (position, character) in line.char_indices() {
        match quote {
            None if character == '#' => return (code, Some(&line[position + 1..])),
            None if character == '"' || character == '\'' => quote = Some(character),
            Some(open) if open == character => quote = None,
            Some(_) => continue,
            None => {}
        }
        code.push(character);
    }
    (code, None)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_finds, file};
    use super::*;

    #[test]
    fn finds_a_key_without_comment() {
        let text = "# What it is.\na = 1\nb = 2 # said here\nc = \"# no comment = [\"\n\n[table]\n# Delays.\n\
            d = [\n  1, # one\n  2,\n]\ne = { x = 1 }\n#\nf = 1\n\
            # A map.\n[map]\n\"x\" = 1\n[other]\n\"y\" = 1\n";
        let expected = [
            ("config/default.toml:4", "`c`"),
            ("config/default.toml:12", "`e`"),
            ("config/default.toml:14", "`f`"),
            ("config/default.toml:19", "no comment"),
        ];
        assert_finds(check, &[file(DEFAULTS, text), file("other.toml", text)], &expected);
    }

    #[test]
    fn finds_a_variable_that_sets_nothing() {
        let defaults = "[queue]\n# Kind.\nkind = \"embedded\"\n[map]\n";
        let text = "SYNCFLEET__SECTION__KEY, SYNCFLEET__, SYNCFLEET__QUEUE__KIND: x and SYNCFLEET__MAP__OWN\n\
            SYNCFLEET__QUEUE__KINDS=x `SYNCFLEET__QUEUE`\n";
        let expected = [("a.yml:2", "SYNCFLEET__QUEUE__KINDS"), ("a.yml:2", "`SYNCFLEET__QUEUE`")];
        assert_finds(check, &[file(DEFAULTS, defaults), file("a.yml", text)], &expected);
    }
}

//! Every setting explains itself.

use super::{File, Finding};

const DEFAULTS: &str = "config/default.toml";

pub fn check(files: &[File]) -> Vec<Finding> {
    files.iter().filter(|file| file.path == DEFAULTS).flat_map(undocumented).collect()
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
}

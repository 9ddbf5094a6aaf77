//! Files that a reader can take in.

use super::{File, Finding};

const LINES_MAX: usize = 800;

pub fn check(files: &[File]) -> Vec<Finding> {
    files
        .iter()
        .filter(|file| file.is_rust())
        .filter_map(|file| {
            let lines = file.text.lines().count();
            (lines > LINES_MAX)
                .then(|| file.finding(lines, format!("{lines} lines, at most {LINES_MAX}: split by purpose")))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_finds, file};
    use super::*;

    #[test]
    fn finds_a_file_that_is_too_long() {
        let files = [
            file("a.rs", &"\n".repeat(801)),
            file("b.rs", &"\n".repeat(800)),
            file("c.md", &"\n".repeat(900)),
        ];
        assert_finds(check, &files, &[("a.rs:801", "split by purpose")]);
    }
}

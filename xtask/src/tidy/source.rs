//! Rust files as tokens with lines, so that comments and strings are not taken for code.

use std::str::FromStr as _;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

use super::{File, Finding};

/// One token: an identifier, a literal, or one character of punctuation or bracket.
#[derive(Clone)]
pub struct Token {
    pub line: usize,
    pub text: String,
}

/// Which code of a file a rule looks at.
#[derive(Clone, Copy, PartialEq)]
pub enum Code {
    /// All of it.
    All,
    /// All but items under `#[cfg(test)]`, files `tests.rs` and folders `tests`.
    WithoutTests,
}

/// The tokens of a Rust file; none if it does not parse ([`check`] reports that).
pub fn tokens(file: &File, code: Code) -> Vec<Token> {
    let mut tokens = Vec::new();
    let is_test = file.path.split('/').any(|part| matches!(part, "tests" | "tests.rs"));
    if is_test && code == Code::WithoutTests {
        return tokens;
    }
    if let Ok(stream) = TokenStream::from_str(&file.text) {
        flatten(stream, code, &mut tokens);
    }
    tokens
}

/// The lines in which `pattern` occurs as consecutive tokens.
pub fn lines_with(tokens: &[Token], pattern: &[&str]) -> Vec<usize> {
    tokens
        .windows(pattern.len())
        .filter(|window| window.iter().zip(pattern).all(|(token, word)| token.text == *word))
        .map(|window| window[0].line)
        .collect()
}

/// Files that are no Rust.
pub fn check(files: &[File]) -> Vec<Finding> {
    files
        .iter()
        .filter(|file| file.is_rust())
        .filter_map(|file| TokenStream::from_str(&file.text).err().map(|error| (file, error)))
        .map(|(file, error)| file.finding(error.span().start().line, "does not parse as Rust: correct it"))
        .collect()
}

fn flatten(stream: TokenStream, code: Code, tokens: &mut Vec<Token>) {
    let mut test_item = false;
    for tree in stream {
        let line = tree.span().start().line;
        match tree {
            TokenTree::Group(group) => {
                let (open, close) = brackets(group.delimiter());
                let inner = group.stream();
                let attribute =
                    group.delimiter() == Delimiter::Bracket && tokens.last().is_some_and(|t| t.text == "#");
                if attribute
                    && code == Code::WithoutTests
                    && inner.to_string().replace(' ', "") == "cfg(test)"
                {
                    test_item = true;
                }
                // The body ends the item; an attribute, a signature or a visibility does not.
                let body = group.delimiter() == Delimiter::Brace;
                if test_item && !attribute {
                    test_item = !body;
                    continue;
                }
                tokens.push(Token { line, text: open.to_owned() });
                flatten(inner, code, tokens);
                let line = group.span_close().start().line;
                tokens.push(Token { line, text: close.to_owned() });
            }
            other => {
                let text = other.to_string();
                if test_item && text == ";" {
                    test_item = false;
                } else if !test_item || text == "#" {
                    tokens.push(Token { line, text });
                }
            }
        }
    }
}

fn brackets(delimiter: Delimiter) -> (&'static str, &'static str) {
    match delimiter {
        Delimiter::Parenthesis => ("(", ")"),
        Delimiter::Brace => ("{", "}"),
        Delimiter::Bracket => ("[", "]"),
        Delimiter::None => ("", ""),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_finds, file};
    use super::*;

    const TEXT: &str = "// word ( in a comment\n/// word(\nfn a() { word(\"word(\") }\n\
        #[cfg(test)]\n#[expect(x)]\nmod tests { fn b() { word() } }\n\
        #[cfg(test)]\nuse word::word();\nfn c() { word () }";

    #[test]
    fn sees_code_and_neither_comments_nor_strings() {
        let file = file("a.rs", TEXT);
        assert_eq!(lines_with(&tokens(&file, Code::All), &["word", "("]), [3, 6, 8, 9]);
    }

    #[test]
    fn leaves_out_tests_when_asked() {
        let file = file("a.rs", TEXT);
        assert_eq!(lines_with(&tokens(&file, Code::WithoutTests), &["word", "("]), [3, 9]);
        for path in ["flows/src/parties/tests.rs", "flows/tests/a.rs"] {
            assert!(
                tokens(&super::super::testing::file(path, TEXT), Code::WithoutTests).is_empty(),
                "{path}"
            );
        }
    }

    #[test]
    fn finds_a_file_that_is_no_rust() {
        assert_finds(check, &[file("a.rs", "fn a() {\n  ]\n")], &[("a.rs:2", "does not parse")]);
    }
}

//! Descriptions: what Google shows as HTML, and the CRM as plain text. Pure.
//!
//! A description is HTML once a person has edited it on Google's page, and plain text as applications wrote it; nothing
//! says which. It counts as HTML where it has one of the tags that Google's page writes, or a character reference. Plain
//! text that would be taken for it is written with references, so that what is written is what is read.

/// The tags that Google's page writes.
const TAGS: [&str; 22] = [
    "a",
    "b",
    "blockquote",
    "br",
    "code",
    "div",
    "em",
    "font",
    "h1",
    "h2",
    "h3",
    "html-blob",
    "i",
    "li",
    "ol",
    "p",
    "pre",
    "s",
    "span",
    "strong",
    "u",
    "ul",
];
/// Longest tag and character reference that are looked for, in bytes: a link may be long, a reference is not.
const TAG_BYTES_MAX: usize = 4_096;
const REFERENCE_BYTES_MAX: usize = 12;

/// A piece of a text.
enum Piece<'a> {
    Text(char),
    Tag { name: String, closes: bool, attributes: &'a str },
    Reference(char),
}

/// The plain text of a description.
pub fn to_text(description: &str) -> String {
    if !is_html(description) {
        return description.to_owned();
    }
    let mut text = String::with_capacity(description.len());
    let mut link: Option<(String, usize)> = None;
    for piece in Pieces(description) {
        match piece {
            Piece::Text(char) | Piece::Reference(char) => text.push(char),
            Piece::Tag { name, closes, attributes } => match (name.as_str(), closes) {
                ("br", _) => text.push('\n'),
                ("p" | "div" | "ul" | "ol" | "blockquote" | "pre" | "h1" | "h2" | "h3", _) => {
                    new_line(&mut text)
                }
                ("li", false) => {
                    new_line(&mut text);
                    text.push_str("- ");
                }
                ("a", false) => link = target(attributes).map(|target| (target, text.len())),
                ("a", true) => {
                    if let Some((target, from)) = link.take() {
                        let shown = text.get(from..).unwrap_or_default().trim();
                        let same = shown == target || target.strip_prefix("mailto:") == Some(shown);
                        if !same {
                            text.push_str(&format!(" ({target})"));
                        }
                    }
                }
                _ => {}
            },
        }
    }
    text
}

/// The description that is read as this text.
pub fn from_text(text: &str) -> String {
    if !is_html(text) {
        return text.to_owned();
    }
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn is_html(text: &str) -> bool {
    Pieces(text).any(|piece| !matches!(piece, Piece::Text(_)))
}

fn new_line(text: &mut String) {
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
}

/// Where a link goes to.
fn target(attributes: &str) -> Option<String> {
    let (_, after) = attributes.split_once("href=")?;
    let quote = after.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
    let target: &str = after.get(1..)?.split(quote).next()?;
    let read = Pieces(target).map(|piece| match piece {
        Piece::Text(char) | Piece::Reference(char) => char,
        Piece::Tag { .. } => ' ',
    });
    Some(read.collect()).filter(|target: &String| !target.is_empty())
}

/// What is left of a text.
struct Pieces<'a>(&'a str);

impl<'a> Iterator for Pieces<'a> {
    type Item = Piece<'a>;

    fn next(&mut self) -> Option<Piece<'a>> {
        let first = self.0.chars().next()?;
        let found = match first {
            '<' => tag(self.0),
            '&' => reference(self.0),
            _ => None,
        };
        let (piece, length) = found.unwrap_or((Piece::Text(first), first.len_utf8()));
        self.0 = self.0.get(length..).unwrap_or_default();
        Some(piece)
    }
}

/// One of the tags, and its length.
fn tag(text: &str) -> Option<(Piece<'_>, usize)> {
    // A tag has no other one in it: so each character is looked at twice at most.
    let end = text.bytes().take(TAG_BYTES_MAX).skip(1).position(|byte| matches!(byte, b'<' | b'>'))? + 1;
    let inside = text.get(1..end).filter(|_| text.as_bytes().get(end) == Some(&b'>'))?;
    let closes = inside.starts_with('/');
    let inside = inside.trim_start_matches('/').trim_end_matches('/');
    let (name, attributes) = inside.split_once(char::is_whitespace).unwrap_or((inside, ""));
    let name = name.to_ascii_lowercase();
    let has_attributes = attributes.trim().is_empty() || attributes.contains('=');
    if !TAGS.contains(&name.as_str()) || !has_attributes {
        return None;
    }
    Some((Piece::Tag { name, closes, attributes }, end + 1))
}

/// A character reference, and its length.
fn reference(text: &str) -> Option<(Piece<'_>, usize)> {
    let end = text.bytes().take(REFERENCE_BYTES_MAX).position(|byte| byte == b';')?;
    let char = match text.get(1..end)? {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        "nbsp" => ' ',
        number => {
            let code = match number.strip_prefix("#x").or(number.strip_prefix("#X")) {
                Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                None => number.strip_prefix('#')?.parse().ok()?,
            };
            char::from_u32(code).filter(|char| !char.is_control() || *char == '\n')?
        }
    };
    Some((Piece::Reference(char), end + 1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_people_write_on_google_s_page_is_read() {
        for (html, text) in [
            ("<b>Agenda</b>", "Agenda"),
            ("a<br>b<br/>c", "a\nb\nc"),
            ("<p>One</p><p>Two</p>", "One\nTwo\n"),
            ("Bring:<ul><li>pen</li><li>paper</li></ul>", "Bring:\n- pen\n- paper\n"),
            ("<span>1 &lt; 2 &amp;&amp; 3&nbsp;&gt; 2 &#252;&#xFC;</span>", "1 < 2 && 3 > 2 üü"),
            (
                r#"see <a href="https://x.example/?a=1&amp;b=2">here</a>"#,
                "see here (https://x.example/?a=1&b=2)",
            ),
            (r#"<a href="https://x.example/">https://x.example/</a>"#, "https://x.example/"),
            (r#"<a href='mailto:e@x.org' target=_blank>e@x.org</a>"#, "e@x.org"),
            ("<html-blob><u></u>kept<u></u></html-blob>", "kept"),
        ] {
            assert_eq!(to_text(html), text, "{html}");
        }
    }

    #[test]
    fn plain_text_stays_what_it_is() {
        for text in
            ["", "1 < 2 & 3 > 2", "Erika <erika@example.org>", "a & b; c", "<foo> <bar/>", "if (a<b && c>d)"]
        {
            assert_eq!((to_text(text).as_str(), from_text(text).as_str()), (text, text));
        }
    }

    #[test]
    fn text_that_looks_like_html_is_written_so_that_it_comes_back() {
        for text in
            ["<b>no tag</b>", "&amp; is how it is written", "a<br>b\nc", "&#x41;", "<script>x</script><p>"]
        {
            assert_ne!(from_text(text), text);
            assert_eq!(to_text(&from_text(text)), text);
        }
    }

    #[test]
    fn a_megabyte_of_anything_is_read() {
        for unit in ["<", "&", "<a href=\"", "<b>", "&amp;"] {
            let text = unit.repeat(1_000_000 / unit.len());
            assert!(to_text(&text).len() <= text.len());
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_what_is_read(text in "([ -~\n]|<b>|</p>|&lt;|&amp;|<a href=\"x\">|ü){0,30}") {
            prop_assert_eq!(to_text(&from_text(&text)), text);
        }
    }
}

//! XML as callbacks are written: elements and text. Attributes are passed over; a document type, entities of its own and
//! instructions are refused, and so is what is deep or many.
//!
//! One pass over the text: what an unsigned body holds must not cost more than its length. (A reader that checks attributes
//! for duplicates compares each with each.)

use quick_xml::Reader;
use quick_xml::events::{BytesRef, Event};

/// Deepest nesting: `ExtAttr` has five.
const DEPTH_MAX: usize = 16;
/// Most elements of a document.
const ELEMENTS_MAX: usize = 4_000;

/// An element with its text (CDATA or not, joined) and the elements in it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Element {
    pub(crate) name: String,
    pub(crate) text: String,
    pub(crate) children: Vec<Element>,
}

impl Element {
    /// The first element of a name.
    pub(crate) fn child(&self, name: &str) -> Option<&Element> {
        self.children.iter().find(|child| child.name == name)
    }

    /// The text of the first element of a name; an empty element has an empty one.
    pub(crate) fn text_of(&self, name: &str) -> Option<&str> {
        self.child(name).map(|child| child.text.as_str())
    }
}

/// Reads a document, and answers its root, or what is wrong with it.
pub(crate) fn read(text: &str) -> Result<Element, &'static str> {
    let mut reader = Reader::from_str(text.trim_start_matches('\u{feff}'));
    // The elements that are open, the document itself at the bottom.
    let mut open = vec![Element::default()];
    let mut elements = 0_usize;
    loop {
        match reader.read_event().map_err(|_| "it is no XML")? {
            Event::Start(tag) => {
                elements += 1;
                if elements > ELEMENTS_MAX || open.len() > DEPTH_MAX {
                    return Err("too many elements, or too deep");
                }
                open.push(named(tag.name().as_ref()));
            }
            Event::Empty(tag) => {
                elements += 1;
                if elements > ELEMENTS_MAX {
                    return Err("too many elements, or too deep");
                }
                add(&mut open, named(tag.name().as_ref()));
            }
            Event::End(_) => {
                let closed = open.pop().filter(|_| !open.is_empty()).ok_or("an end without a beginning")?;
                add(&mut open, closed);
            }
            Event::Text(text) => append(&mut open, &text.xml10_content().map_err(|_| "it is no UTF-8")?),
            Event::CData(text) => {
                append(&mut open, &text.xml10_content().map_err(|_| "it is no UTF-8")?);
            }
            Event::GeneralRef(reference) => {
                let character = resolve(&reference).ok_or("an entity that is none of the five")?;
                append(&mut open, character.encode_utf8(&mut [0; 4]));
            }
            Event::DocType(_) => return Err("a document type, which is not read"),
            Event::PI(_) => return Err("an instruction, which is not read"),
            Event::Comment(_) | Event::Decl(_) => {}
            Event::Eof => break,
        }
    }
    let document = open.pop().filter(|_| open.is_empty()).ok_or("it ends in the middle")?;
    if !document.text.trim().is_empty() {
        return Err("text outside of its root");
    }
    let [root] = <[Element; 1]>::try_from(document.children).map_err(|_| "not one root")?;
    Ok(root)
}

fn named(name: &[u8]) -> Element {
    Element { name: String::from_utf8_lossy(name).into_owned(), ..Element::default() }
}

fn add(open: &mut [Element], element: Element) {
    if let Some(parent) = open.last_mut() {
        parent.children.push(element);
    }
}

fn append(open: &mut [Element], text: &str) {
    if let Some(parent) = open.last_mut() {
        parent.text.push_str(text);
    }
}

/// A numbered character, or one of the five that XML itself names.
fn resolve(reference: &BytesRef<'_>) -> Option<char> {
    if let Some(character) = reference.resolve_char_ref().ok()? {
        return Some(character);
    }
    match reference.as_ref() {
        b"lt" => Some('<'),
        b"gt" => Some('>'),
        b"amp" => Some('&'),
        b"apos" => Some('\''),
        b"quot" => Some('"'),
        _ => None,
    }
}

/// A text as it stands in an element; what would end a CDATA section is written in two of them.
pub(crate) fn cdata(text: &str) -> String {
    format!("<![CDATA[{}]]>", text.replace("]]>", "]]]]><![CDATA[>"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn text_is_read_whichever_way_it_is_written() {
        let root = read(
            "\u{feff}<?xml version=\"1.0\"?>\n<xml a=\"1\"><A>1</A><B><![CDATA[a & <b>]]></B><C/><D></D><E>a&amp;&#x4e2d;<!-- no \
             --><![CDATA[]]]]>b</E><F> x </F></xml>\n",
        )
        .unwrap();
        let text = |name| root.text_of(name).unwrap();
        assert_eq!((text("A"), text("B"), text("C"), text("D")), ("1", "a & <b>", "", ""));
        assert_eq!((text("E"), text("F")), ("a&中]]b", " x "));
        assert_eq!(root.text_of("G"), None);
    }

    #[test]
    fn what_is_no_plain_document_is_refused() {
        let deep = format!("{}{}", "<a>".repeat(100_000), "</a>".repeat(100_000));
        let wide = format!("<a>{}</a>", "<b/>".repeat(100_000));
        for bad in [
            "",
            "x",
            "{\"a\":1}",
            "<a>",
            "<a></b>",
            "</a>",
            "<a/><b/>",
            "<a/>x",
            "<a><![CDATA[x</a>",
            "<a>&x;</a>",
            "<a>&</a>",
            "<a>&#0;</a>",
            "<!DOCTYPE a><a/>",
            "<!DOCTYPE a [<!ENTITY x \"y\">]><a>&x;</a>",
            "<?php ?><a/>",
            deep.as_str(),
            wide.as_str(),
        ] {
            assert!(read(bad).is_err(), "{}", &bad[..bad.len().min(60)]);
        }
    }

    #[test]
    fn a_bomb_is_refused_at_its_first_line() {
        let mut bomb = "<!DOCTYPE lolz [<!ENTITY lol \"lol\">".to_owned();
        for level in 1..10 {
            let above = format!("&lol{};", level - 1).repeat(10);
            bomb.push_str(&format!("<!ENTITY lol{level} \"{above}\">"));
        }
        bomb.push_str("]><xml>&lol9;</xml>");
        assert_eq!(read(&bomb), Err("a document type, which is not read"));
    }

    proptest! {
        #[test]
        fn any_text_comes_back_from_cdata(text in "[^\\r\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f]{0,80}") {
            let root = read(&format!("<xml><A>{}</A></xml>", cdata(&text))).unwrap();
            prop_assert_eq!(root.text_of("A").unwrap(), text);
        }

        #[test]
        fn nothing_makes_it_panic(text in "(<|>|/|a|xml|!\\[CDATA\\[|\\]\\]>|&|;|#|!DOCTYPE|\\?|\"|\\PC){0,60}") {
            let _ = read(&text);
        }
    }
}

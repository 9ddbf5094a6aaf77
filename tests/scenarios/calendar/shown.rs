//! What a system shows, as a person reads it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Date;

use super::affairs::Kind;
use super::says::{Show, Span, marked};

/// Where something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    Crm(Kind),
    Calendar(usize),
}

#[derive(Debug, Clone)]
pub struct Shown {
    pub place: Place,
    pub id: String,
    pub subject: String,
    pub span: Span,
    pub body: String,
    pub location: String,
    pub show: Show,
    pub private: bool,
    /// In a calendar the addresses that are invited, its own aside; in the CRM the ids of users and contacts.
    pub people: BTreeSet<String>,
    /// What users answered, by their ids, in the CRM.
    pub answers: BTreeMap<String, String>,
    /// Whose it is, in the CRM.
    pub assigned: String,
    /// Of one of a series that differs from its rule: the day it had.
    pub original: Option<Date>,
    pub is_series: bool,
    /// The rule, as it stands there.
    pub rule: String,
    /// `Planned`, `Held`, `Not Held`; `cancelled` for an event that is off and still lies about.
    pub status: String,
}

impl Shown {
    /// Which affair it is about.
    pub fn number(&self) -> Option<usize> {
        marked(&self.subject)
    }

    pub fn is_cancelled(&self) -> bool {
        self.status == "cancelled"
    }
}

/// Text without markup, and without the list of attendees that stands below the body of some events.
pub fn plain(html: &str) -> String {
    let mut out = String::new();
    let html = html.split_once("</head>").map_or(html, |(_, rest)| rest).replace("\r\n", "");
    let mut rest = html.as_str();
    while let Some((text, after)) = rest.split_once('<') {
        out.push_str(text);
        let (tag, after) = after.split_once('>').unwrap_or((after, ""));
        if tag.starts_with("br") || tag.starts_with("/div") || tag.starts_with("/p") {
            out.push('\n');
        }
        rest = after;
    }
    out.push_str(rest);
    let entities =
        [("&lt;", "<"), ("&gt;", ">"), ("&nbsp;", " "), ("&quot;", "\""), ("&#39;", "'"), ("&amp;", "&")];
    entities.into_iter().fold(out, |text, (entity, character)| text.replace(entity, character))
}

/// A body as both sides must have it.
pub fn body(text: &str) -> String {
    let own = text.split_once("-- Attendees (kept by the CRM):").map_or(text, |(own, _)| own);
    own.replace("\r\n", "\n").trim().to_owned()
}

/// The addresses in the list below a body.
pub fn listed(text: &str) -> BTreeSet<String> {
    let Some((_, list)) = text.split_once("-- Attendees (kept by the CRM):") else { return BTreeSet::new() };
    let mail = |line: &str| {
        let line = line.trim().strip_prefix("- ")?;
        let mail = line.rsplit_once('<').map_or(line, |(_, mail)| mail.trim_end_matches('>'));
        Some(mail.trim().to_owned())
    };
    list.lines().filter_map(mail).collect()
}

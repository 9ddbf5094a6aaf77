//! Query options: `$select`, `$expand` and `$filter` as far as a sync of calendars needs them.

use super::answers::Refusal;
use super::description;
use crate::wire::Request;

/// Items in a list that names no number.
const TOP: usize = 10;
const TOP_MAX: usize = 1_000;

/// What `$filter` asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Filter {
    /// An extended property's id and value.
    Property(String, String),
    /// `iCalUId eq '…'`.
    ICalUid(String),
}

/// The options of a request for events.
#[derive(Debug, Clone, Default)]
pub(super) struct Options {
    /// Members to show; all when none is named.
    pub(super) select: Vec<String>,
    /// Ids of the extended properties to show.
    pub(super) properties: Vec<String>,
    pub(super) exceptions: bool,
    pub(super) filter: Option<Filter>,
    pub(super) top: usize,
    pub(super) skip: usize,
    pub(super) count: bool,
}

fn bad(message: impl Into<String>) -> Refusal {
    Refusal::new(400, "RequestBroker--ParseUri", message)
}

/// The first value of a query option, whose name has no case.
pub(super) fn value(request: &Request, name: &str) -> Option<String> {
    request.query_pairs().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

impl Options {
    pub(super) fn read(request: &Request) -> Result<Self, Refusal> {
        let mut options = Self { top: TOP, ..Self::default() };
        for (name, value) in request.query_pairs() {
            let number =
                || value.parse::<usize>().map_err(|_| bad(format!("Invalid value '{value}' for {name}.")));
            match name.to_ascii_lowercase().as_str() {
                "$select" => {
                    for member in value.split(',').map(str::trim) {
                        if !description::has_member("event", member) {
                            let message = format!(
                                "Could not find a property named '{member}' on type 'microsoft.graph.event'."
                            );
                            return Err(Refusal::outside(400, "RequestBroker--ParseUri", message));
                        }
                        options.select.push(member.to_owned());
                    }
                }
                "$expand" => options.expand(&value)?,
                "$filter" => options.filter = Some(filter(&value)?),
                "$top" => match number()? {
                    0 => return Err(bad("Invalid value '0' for $top.")),
                    top => options.top = top.min(TOP_MAX),
                },
                "$skip" => options.skip = number()?,
                "$count" => options.count = value == "true",
                "$orderby" | "$search" => return Err(Refusal::not_simulated(&name)),
                _ => {}
            }
        }
        Ok(options)
    }

    fn expand(&mut self, text: &str) -> Result<(), Refusal> {
        let text = text.trim();
        if text == "exceptionOccurrences" {
            self.exceptions = true;
            return Ok(());
        }
        let (name, rest) = text.split_once('(').unwrap_or((text, ""));
        if !name.eq_ignore_ascii_case("singleValueExtendedProperties") {
            return Err(Refusal::not_simulated(&format!("$expand={name}")));
        }
        let inner = rest.strip_suffix(')').map(str::trim).and_then(|inner| inner.strip_prefix("$filter="));
        let inner = inner
            .ok_or_else(|| bad("Extended properties can be expanded only with a $filter on their id."))?;
        for part in inner.split(" or ") {
            let quoted = part.trim().strip_prefix("id eq ").and_then(literal);
            let (id, rest) = quoted.ok_or_else(|| bad(format!("Invalid filter clause: '{part}'.")))?;
            if !rest.trim().is_empty() {
                return Err(bad(format!("Invalid filter clause: '{part}'.")));
            }
            self.properties.push(id);
        }
        Ok(())
    }
}

/// A quoted literal at the beginning, and what follows it. A quote within is written twice.
fn literal(text: &str) -> Option<(String, &str)> {
    let mut rest = text.trim_start().strip_prefix('\'')?;
    let mut value = String::new();
    loop {
        let (part, after) = rest.split_once('\'')?;
        value.push_str(part);
        match after.strip_prefix('\'') {
            Some(more) => {
                value.push('\'');
                rest = more;
            }
            None => return Some((value, after)),
        }
    }
}

fn filter(text: &str) -> Result<Filter, Refusal> {
    let wrong = || bad(format!("Invalid filter clause: '{text}'."));
    let text = text.trim();
    if let Some(rest) = text.strip_prefix("iCalUId eq ") {
        let (uid, rest) = literal(rest).ok_or_else(wrong)?;
        return if rest.trim().is_empty() { Ok(Filter::ICalUid(uid)) } else { Err(wrong()) };
    }
    let Some(inner) = strip_prefix_any_case(text, "singleValueExtendedProperties/any(") else {
        return Err(Refusal::not_simulated("this $filter"));
    };
    let inner = inner.trim_end().strip_suffix(')').ok_or_else(wrong)?;
    let (variable, clause) = inner.split_once(':').ok_or_else(wrong)?;
    let variable = variable.trim();
    let clause = clause.trim().strip_prefix(&format!("{variable}/id eq ")).ok_or_else(wrong)?;
    let (id, rest) = literal(clause).ok_or_else(wrong)?;
    let rest = rest.trim_start().strip_prefix("and ").ok_or_else(wrong)?.trim_start();
    let rest = rest.strip_prefix(&format!("{variable}/value eq ")).ok_or_else(wrong)?;
    let (value, rest) = literal(rest).ok_or_else(wrong)?;
    if rest.trim().is_empty() { Ok(Filter::Property(id, value)) } else { Err(wrong()) }
}

fn strip_prefix_any_case<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let head = text.get(..prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then(|| &text[prefix.len()..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_on_one_property_is_read() {
        let id = "String {66f5a359-4659-4638-81a3-d1d2b2f5c5b4} Name CrmId";
        let text = format!("singleValueExtendedProperties/Any(ep: ep/id eq '{id}' and ep/value eq 'it''s')");
        assert_eq!(filter(&text).unwrap(), Filter::Property(id.to_owned(), "it's".to_owned()));
        assert_eq!(filter("iCalUId eq '04'").unwrap(), Filter::ICalUid("04".to_owned()));
        for text in
            ["iCalUId eq 04", "singleValueExtendedProperties/any(ep: ep/id eq 'x')", "iCalUId eq '04' and x"]
        {
            assert_eq!(filter(text).unwrap_err().status, 400, "{text}");
        }
        assert_eq!(filter("subject eq 'x'").unwrap_err().status, 501);
    }
}

//! Filters: comparisons with `and`, `or`, `not` and brackets. RFC 7644, section 3.4.2.2.

use serde_json::Value;

use super::refusal::Refusal;

/// How deep brackets go.
const DEPTH_MAX: usize = 20;

/// A filter.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Filter {
    And(Box<Filter>, Box<Filter>),
    Or(Box<Filter>, Box<Filter>),
    Not(Box<Filter>),
    Present(String),
    Compare(String, Comparison, Value),
}

/// How two values are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Contains,
    Begins,
    Ends,
}

impl Filter {
    pub(super) fn parse(text: &str) -> Result<Self, Refusal> {
        let mut parser = Parser { tokens: tokens(text)?, at: 0, depth: 0 };
        let filter = parser.any()?;
        if parser.at == parser.tokens.len() { Ok(filter) } else { Err(invalid("something follows")) }
    }

    /// `attribute eq "text"` and nothing else.
    pub(super) fn equality(&self) -> Option<(&str, &str)> {
        match self {
            Self::Compare(path, Comparison::Equal, Value::String(text)) => Some((path, text)),
            _ => None,
        }
    }

    pub(super) fn matches(&self, resource: &Value) -> bool {
        match self {
            Self::And(one, other) => one.matches(resource) && other.matches(resource),
            Self::Or(one, other) => one.matches(resource) || other.matches(resource),
            Self::Not(filter) => !filter.matches(resource),
            Self::Present(path) => values(resource, path).next().is_some(),
            Self::Compare(path, Comparison::NotEqual, wanted) => {
                !values(resource, path).any(|value| compare(path, Comparison::Equal, value, wanted))
            }
            Self::Compare(path, comparison, wanted) => {
                values(resource, path).any(|value| compare(path, *comparison, value, wanted))
            }
        }
    }
}

/// Ids are compared exactly, all other texts without regard to case.
fn compare(path: &str, comparison: Comparison, value: &Value, wanted: &Value) -> bool {
    let (Some(value), Some(wanted)) = (value.as_str(), wanted.as_str()) else { return value == wanted };
    let exact = ["externalId", "id", "value", "members.value"].iter().any(|id| id.eq_ignore_ascii_case(path));
    let fold = |text: &str| if exact { text.to_owned() } else { text.to_lowercase() };
    let (value, wanted) = (fold(value), fold(wanted));
    match comparison {
        Comparison::Equal => value == wanted,
        Comparison::NotEqual => value != wanted,
        Comparison::Contains => value.contains(&wanted),
        Comparison::Begins => value.starts_with(&wanted),
        Comparison::Ends => value.ends_with(&wanted),
    }
}

/// What a path names: each of a list's values, or its `value` part.
fn values<'a>(resource: &'a Value, path: &str) -> impl Iterator<Item = &'a Value> {
    let (name, part) = match path.split_once('.') {
        Some((name, part)) => (name, part),
        None => (path, "value"),
    };
    let part = part.to_owned();
    let found = get(resource, name);
    let items: Vec<&Value> = match found {
        None => Vec::new(),
        Some(Value::Array(list)) => list.iter().collect(),
        Some(one) => vec![one],
    };
    items.into_iter().filter_map(move |item| match item {
        Value::Object(_) => get(item, &part),
        one => Some(one),
    })
}

fn get<'a>(resource: &'a Value, name: &str) -> Option<&'a Value> {
    resource.as_object()?.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Word(String),
    Literal(Value),
    Open,
    Close,
}

fn invalid(why: &str) -> Refusal {
    Refusal::bad("invalidFilter", format!("invalid syntax: {why}"))
}

fn tokens(text: &str) -> Result<Vec<Token>, Refusal> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let taken = match first {
            '(' | ')' => {
                tokens.push(if first == '(' { Token::Open } else { Token::Close });
                1
            }
            '"' => {
                let mut stream = serde_json::Deserializer::from_str(rest).into_iter::<Value>();
                let text = stream.next().and_then(Result::ok).ok_or_else(|| invalid("quotes do not end"))?;
                tokens.push(Token::Literal(text));
                stream.byte_offset()
            }
            _ => {
                let end = rest.find(|c: char| c.is_whitespace() || "()\"".contains(c)).unwrap_or(rest.len());
                let word = &rest[..end];
                tokens.push(match serde_json::from_str(word) {
                    Ok(literal) => Token::Literal(literal),
                    Err(_) => Token::Word(word.to_owned()),
                });
                end
            }
        };
        rest = rest[taken..].trim_start();
    }
    Ok(tokens)
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
    depth: usize,
}

impl Parser {
    fn next(&mut self) -> Option<Token> {
        let token = self.tokens.get(self.at).cloned();
        self.at += usize::from(token.is_some());
        token
    }

    fn takes(&mut self, word: &str) -> bool {
        let is =
            matches!(self.tokens.get(self.at), Some(Token::Word(next)) if next.eq_ignore_ascii_case(word));
        self.at += usize::from(is);
        is
    }

    fn any(&mut self) -> Result<Filter, Refusal> {
        let mut filter = self.all()?;
        while self.takes("or") {
            filter = Filter::Or(Box::new(filter), Box::new(self.all()?));
        }
        Ok(filter)
    }

    fn all(&mut self) -> Result<Filter, Refusal> {
        let mut filter = self.one()?;
        while self.takes("and") {
            filter = Filter::And(Box::new(filter), Box::new(self.one()?));
        }
        Ok(filter)
    }

    fn one(&mut self) -> Result<Filter, Refusal> {
        if self.takes("not") {
            self.deeper()?;
            let filter = Filter::Not(Box::new(self.one()?));
            self.depth -= 1;
            return Ok(filter);
        }
        let path = match self.next() {
            Some(Token::Open) => return self.bracketed(),
            Some(Token::Word(path)) => path,
            _ => return Err(invalid("an attribute is missing")),
        };
        let Some(Token::Word(operator)) = self.next() else { return Err(invalid("an operator is missing")) };
        let comparison = match operator.to_lowercase().as_str() {
            "pr" => return Ok(Filter::Present(path)),
            "eq" => Comparison::Equal,
            "ne" => Comparison::NotEqual,
            "co" => Comparison::Contains,
            "sw" => Comparison::Begins,
            "ew" => Comparison::Ends,
            _ => return Err(invalid("no such operator")),
        };
        match self.next() {
            Some(Token::Literal(value)) => Ok(Filter::Compare(path, comparison, value)),
            _ => Err(invalid("a value is missing")),
        }
    }

    fn deeper(&mut self) -> Result<(), Refusal> {
        self.depth += 1;
        if self.depth > DEPTH_MAX { Err(invalid("too many brackets")) } else { Ok(()) }
    }

    fn bracketed(&mut self) -> Result<Filter, Refusal> {
        self.deeper()?;
        let filter = self.any()?;
        self.depth -= 1;
        if self.next() == Some(Token::Close) { Ok(filter) } else { Err(invalid("a bracket is open")) }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn finds(text: &str) -> bool {
        let user = json!({
            "id": "1", "externalId": "wecom:user:lisi", "userName": "LiSi", "active": true,
            "emails": [{"value": "a@x.test", "type": "home"}, {"value": "b@x.test", "type": "work"}],
        });
        Filter::parse(text).unwrap().matches(&user)
    }

    #[test]
    fn filters_find() {
        for text in [
            r#"externalId eq "wecom:user:lisi""#,
            r#"userName EQ "LISI""#,
            r#"EXTERNALID sw "wecom:" and active eq true"#,
            r#"emails.type eq "work""#,
            r#"emails co "b@""#,
            r#"nickName pr or (userName pr and not (title pr))"#,
            r#"userName ne "x" and userName ew "si""#,
        ] {
            assert!(finds(text), "{text}");
        }
        for text in
            [r#"externalId eq "wecom:user:LISI""#, r#"userName eq "lisi" and active eq false"#, "title pr"]
        {
            assert!(!finds(text), "{text}");
        }
    }

    #[test]
    fn what_is_no_filter_is_refused() {
        let deep = format!("{}a pr{}", "(".repeat(30), ")".repeat(30));
        for text in
            ["", "externalId equals \"x\"", "a eq", "a eq \"x", "a pr b", "(a pr", "\"x\" eq a", &deep]
        {
            assert_eq!(Filter::parse(text).unwrap_err().status, 400, "{text}");
        }
        let quoted = Filter::parse(r#"userName eq "a\"b (c) and""#).unwrap();
        assert_eq!(quoted.equality(), Some(("userName", "a\"b (c) and")));
    }
}

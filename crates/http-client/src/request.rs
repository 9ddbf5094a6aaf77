//! A request, as data.

use std::fmt;

use bytes::Bytes;
use secrecy::SecretString;
use serde::Serialize;
use url::Url;

/// The method of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Reads.
    Get,
    /// Creates.
    Post,
    /// Writes.
    Put,
    /// Writes a part.
    Patch,
    /// Removes.
    Delete,
}

impl Method {
    /// The method's name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }

    /// Whether it changes something upstream.
    pub fn writes(self) -> bool {
        self != Self::Get
    }
}

/// A request, relative to a base address.
///
/// Its path is a template such as `CBeteiligte/{id}`: the template names the operation in metrics, spans and
/// faults, so that no record id gets there.
#[derive(Clone)]
pub struct Request {
    pub(crate) method: Method,
    pub(crate) template: String,
    pub(crate) segments: Vec<String>,
    pub(crate) link: Option<Url>,
    pub(crate) query: Vec<(&'static str, String)>,
    pub(crate) secret_query: Vec<(&'static str, SecretString)>,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) secret_headers: Vec<(&'static str, SecretString)>,
    pub(crate) body: Option<Bytes>,
    pub(crate) pages_are_good: bool,
}

impl Request {
    /// A request to `template`, whose segments in braces are replaced by `values`, in order. Segments are
    /// percent-encoded when the request is sent.
    pub fn new(method: Method, template: impl Into<String>, values: &[&str]) -> Self {
        let template = template.into();
        let mut values = values.iter();
        let segments = template
            .split('/')
            .map(|segment| match segment.starts_with('{') {
                true => values.next().map_or(segment, |value| value).to_owned(),
                false => segment.to_owned(),
            })
            .collect();
        Self {
            method,
            template,
            segments,
            link: None,
            query: Vec::new(),
            secret_query: Vec::new(),
            headers: Vec::new(),
            secret_headers: Vec::new(),
            body: None,
            pages_are_good: false,
        }
    }

    /// A request to a link that the upstream gave, exactly as it gave it: for pages. `template` only names the operation.
    /// It is not sent anywhere but to the base address's own host.
    pub fn to_link(method: Method, template: impl Into<String>, link: Url) -> Self {
        Self { link: Some(link), ..Self::new(method, template, &[]) }
    }

    /// Adds a query parameter; it is encoded when the request is sent.
    #[must_use]
    pub fn query(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.query.push((name, value.into()));
        self
    }

    /// Adds a query parameter that is never printed, behind all others; for upstreams that take credentials in no other
    /// place.
    #[must_use]
    pub fn secret_query(mut self, name: &'static str, value: SecretString) -> Self {
        self.secret_query.push((name, value));
        self
    }

    /// Adds a header, in the place of one with the same name.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
        self.headers.push((name, value.into()));
        self
    }

    /// Adds a header that is never printed.
    #[must_use]
    pub fn secret_header(mut self, name: &'static str, value: SecretString) -> Self {
        self.secret_headers.push((name, value));
        self
    }

    /// Sets the body, as `application/json`. What cannot be written as JSON (a map with keys that are no text)
    /// becomes `null`; the types of the connectors have none.
    #[must_use]
    pub fn json(mut self, body: &impl Serialize) -> Self {
        let bytes = serde_json::to_vec(body).unwrap_or_else(|_| b"null".to_vec());
        self.body = Some(Bytes::from(bytes));
        self.header("content-type", "application/json")
    }

    /// Sets a body that is a form, encoded already. It may hold secrets, as every body may.
    #[must_use]
    pub fn form(self, body: impl Into<Bytes>) -> Self {
        self.body_as("application/x-www-form-urlencoded", body)
    }

    /// Sets a body as it is, of any type.
    #[must_use]
    pub fn body_as(mut self, content_type: impl Into<String>, body: impl Into<Bytes>) -> Self {
        self.body = Some(body.into());
        self.header("content-type", content_type)
    }

    /// A page with a good status is a good answer here. Elsewhere it is an error page of somebody in between.
    #[must_use]
    pub fn pages_are_good(mut self) -> Self {
        self.pages_are_good = true;
        self
    }

    /// The method.
    pub fn method(&self) -> Method {
        self.method
    }

    /// The path, relative to the base address, without query.
    pub fn path(&self) -> String {
        self.segments.join("/")
    }

    /// The segments of the path, before encoding.
    pub fn path_segments(&self) -> &[String] {
        &self.segments
    }

    /// The link it goes to, where it goes to one.
    pub fn link(&self) -> Option<&Url> {
        self.link.as_ref()
    }

    /// The query parameters that are no secrets, before encoding.
    pub fn query_pairs(&self) -> &[(&'static str, String)] {
        &self.query
    }

    /// The value of a header that is no secret.
    pub fn header_value(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The value of a secret header.
    pub fn secret_header_value(&self, name: &str) -> Option<&SecretString> {
        self.secret_headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The body, empty when there is none.
    pub fn body(&self) -> &[u8] {
        self.body.as_deref().unwrap_or_default()
    }

    /// Method and path template: the operation's name.
    pub fn operation(&self) -> String {
        format!("{} {}", self.method.as_str(), self.template)
    }
}

/// Shows neither values nor body: they may hold secrets and personal data.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Request({}, {} bytes, headers ***)", self.operation(), self.body().len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_template_is_filled_in_order_and_names_the_operation() {
        let request =
            Request::new(Method::Delete, "CBeteiligte/{id}/{link}", &["6b00526cc80a09e94", "teams"]);
        assert_eq!(request.path(), "CBeteiligte/6b00526cc80a09e94/teams");
        assert_eq!(request.operation(), "DELETE CBeteiligte/{id}/{link}");
    }

    #[test]
    fn a_header_is_there_once() {
        let request = Request::new(Method::Post, "Users", &[]).json(&json!({}));
        let request = request.header("Content-Type", "application/scim+json");
        assert_eq!(request.header_value("content-type"), Some("application/scim+json"));
        assert_eq!(request.headers.len(), 1);
    }

    #[test]
    fn nothing_secret_is_printed() {
        let request = Request::new(Method::Post, "api/v1/Token", &[])
            .secret_header("x-api-key", SecretString::from("hush-hush"))
            .secret_query("access_token", SecretString::from("hush-hush"))
            .header("x-other", "quiet")
            .json(&json!({"Password": "hush-hush"}));
        let printed = format!("{request:?}");
        assert!(!printed.contains("hush") && !printed.contains("quiet"), "{printed}");
        assert!(printed.contains("***"), "{printed}");
    }
}

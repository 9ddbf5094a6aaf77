//! A request and an answer as the simulated systems see them, without any framework type.

use std::net::IpAddr;

use axum::body::Bytes;
use axum::http::{HeaderMap, Method, Uri};
use serde_json::Value;

/// A request, read completely.
#[derive(Debug, Clone)]
pub struct Request {
    /// Method, upper case.
    pub method: String,
    /// Path without query, as sent.
    pub path: String,
    /// Query string, as sent, without the question mark.
    pub query: String,
    /// Headers.
    pub headers: HeaderMap,
    /// Body.
    pub body: Bytes,
    /// Address of the client.
    pub remote: IpAddr,
    /// What the addresses answered that the system asked for before it took the request.
    pub handshakes: Vec<Handshake>,
}

/// The answer of an address that was asked to prove that it listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handshake {
    /// The address.
    pub url: String,
    /// Status; 0 is no connection, 408 a time-out.
    pub status: u16,
    /// Content-Type.
    pub content_type: String,
    /// Body, cut at a thousand bytes.
    pub body: String,
}

impl Request {
    pub(crate) fn new(method: &Method, uri: &Uri, headers: HeaderMap, body: Bytes, remote: IpAddr) -> Self {
        Self {
            method: method.as_str().to_owned(),
            path: uri.path().to_owned(),
            query: uri.query().unwrap_or_default().to_owned(),
            headers,
            body,
            remote,
            handshakes: Vec::new(),
        }
    }

    /// A header's value, if it is there and readable.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The decoded query pairs in order.
    pub fn query_pairs(&self) -> impl Iterator<Item = (String, String)> + '_ {
        url::form_urlencoded::parse(self.query.as_bytes())
            .map(|(name, value)| (name.into_owned(), value.into_owned()))
    }

    /// The first value of a query parameter.
    #[must_use]
    pub fn query_value(&self, name: &str) -> Option<String> {
        self.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// The path's non-empty segments.
    #[must_use]
    pub fn segments(&self) -> Vec<&str> {
        self.path.split('/').filter(|segment| !segment.is_empty()).collect()
    }
}

/// An answer before it goes out.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Headers in order.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Vec<u8>,
}

impl Answer {
    /// An answer without body or headers.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new() }
    }

    /// A JSON answer.
    #[must_use]
    pub fn json(status: u16, body: &Value) -> Self {
        Self::status(status).with("Content-Type", "application/json").body(body.to_string())
    }

    /// An HTML answer.
    #[must_use]
    pub fn html(status: u16, body: &str) -> Self {
        Self::status(status).with("Content-Type", "text/html; charset=UTF-8").body(body)
    }

    /// With one header more.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// With this body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }
}

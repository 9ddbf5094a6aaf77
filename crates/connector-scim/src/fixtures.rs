//! Reads the recorded exchanges in `fixtures/`: one exchange a file, request and answer as on the wire.

use http_client::Answer;
use serde_json::Value;

/// A recorded exchange.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) method: String,
    /// Path and query, without `/v2/`.
    pub(crate) target: String,
    request_headers: Vec<(String, String)>,
    request_body: String,
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

/// Loads `fixtures/{name}.http`.
pub(crate) fn load(name: &str) -> Exchange {
    let path = format!("{}/fixtures/{name}.http", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
    let text: String =
        text.lines().skip_while(|l| l.starts_with('#') || l.is_empty()).collect::<Vec<_>>().join("\n");
    let at = text.find("\nHTTP/1.1 ").unwrap_or_else(|| panic!("{path} has no answer"));
    let (request_line, request_headers, request_body) = split(&text[..at]);
    let (status_line, headers, body) = split(&text[at + 1..]);
    let mut words = request_line.split(' ');
    let method = words.next().unwrap().to_owned();
    let target = words.next().unwrap().trim_start_matches("/v2/").to_owned();
    let status = status_line.split(' ').nth(1).unwrap().parse().unwrap();
    Exchange { method, target, request_headers, request_body, status, headers, body }
}

/// The recorded answer, as if the connector had received it.
pub(crate) fn answer(name: &str) -> Answer {
    load(name).answer()
}

/// An answer that nobody recorded.
pub(crate) fn made(status: u16, kind: &str, body: &str) -> Answer {
    Answer::recorded(crate::SYSTEM, "GET test", status, &[("Content-Type", kind)], body.to_owned())
}

fn split(message: &str) -> (&str, Vec<(String, String)>, String) {
    let (head, body) = message.split_once("\n\n").unwrap_or((message, ""));
    let mut lines = head.lines();
    let first = lines.next().unwrap();
    let headers =
        lines.filter_map(|l| l.split_once(':')).map(|(n, v)| (n.to_lowercase(), v.trim().to_owned()));
    (first, headers.collect(), body.trim().to_owned())
}

impl Exchange {
    pub(crate) fn answer(&self) -> Answer {
        let headers: Vec<_> = self.headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        let operation = format!("{} test", self.method);
        Answer::recorded(crate::SYSTEM, &operation, self.status, &headers, self.body.clone())
    }

    pub(crate) fn request_json(&self) -> Value {
        serde_json::from_str(&self.request_body).unwrap()
    }

    /// The path, without `/v2/` and query.
    pub(crate) fn path(&self) -> &str {
        self.target.split('?').next().unwrap()
    }

    /// A decoded parameter.
    pub(crate) fn query(&self, name: &str) -> Option<String> {
        let url = url::Url::parse(&format!("http://x/{}", self.target)).unwrap();
        url.query_pairs().find(|(n, _)| n == name).map(|(_, value)| value.into_owned())
    }

    /// The value of a request's header.
    pub(crate) fn request_header(&self, name: &str) -> Option<&str> {
        self.request_headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

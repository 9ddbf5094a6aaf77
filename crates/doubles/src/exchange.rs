//! Recorded exchanges with an upstream: one a file, request and answer as on the wire, below lines with `#`.

use http_client::Answer;
use serde_json::Value;
use url::Url;

/// What was recorded, and where.
#[derive(Debug, Clone, Copy)]
pub struct Recordings {
    /// Whose answers they are.
    pub system: &'static str,
    /// The folder of the crate; they are in `fixtures/` below it.
    pub folder: &'static str,
    /// What every path begins with, and is left out of [`Exchange::target`].
    pub base: &'static str,
}

/// A recorded exchange.
#[derive(Debug)]
pub struct Exchange {
    system: &'static str,
    /// The request's method.
    pub method: String,
    /// Path and query, without what every path begins with.
    pub target: String,
    /// With names in lower case.
    request_headers: Vec<(String, String)>,
    /// The request's body.
    pub request_body: String,
    /// None where only a request was recorded.
    answer: Option<Recorded>,
}

#[derive(Debug)]
struct Recorded {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

impl Recordings {
    /// Reads `fixtures/{name}.http`.
    ///
    /// # Panics
    /// Where it is not there or no exchange.
    pub fn load(&self, name: &str) -> Exchange {
        let path = format!("{}/fixtures/{name}.http", self.folder);
        let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
        let lines = text.lines().skip_while(|line| line.starts_with('#') || line.is_empty());
        self.read(&lines.collect::<Vec<_>>().join("\n"))
    }

    fn read(&self, text: &str) -> Exchange {
        let (request, answer) = match text.find("\nHTTP/1.1 ") {
            Some(at) => (&text[..at], Some(recorded(&text[at + 1..]))),
            None => (text, None),
        };
        let (line, request_headers, request_body) = split(request);
        let mut words = line.split(' ');
        let method = words.next().unwrap().to_owned();
        let target = words.next().unwrap();
        let target = target.strip_prefix(self.base).unwrap_or(target).to_owned();
        Exchange { system: self.system, method, target, request_headers, request_body, answer }
    }
}

fn recorded(answer: &str) -> Recorded {
    let (line, headers, body) = split(answer);
    Recorded { status: line.split(' ').nth(1).unwrap().parse().unwrap(), headers, body }
}

fn split(message: &str) -> (&str, Vec<(String, String)>, String) {
    let (head, body) = message.split_once("\n\n").unwrap_or((message, ""));
    let mut lines = head.lines();
    let first = lines.next().unwrap();
    let headers = lines.filter_map(|line| line.split_once(':'));
    let headers = headers.map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()));
    (first, headers.collect(), body.trim().to_owned())
}

impl Exchange {
    fn recorded(&self) -> &Recorded {
        self.answer.as_ref().unwrap_or_else(|| panic!("{} {} has no answer", self.method, self.target))
    }

    /// The recorded answer, as if the connector had received it.
    ///
    /// # Panics
    /// Where only the request was recorded.
    pub fn answer(&self, operation: &str) -> Answer {
        let Recorded { status, headers, body } = self.recorded();
        let headers: Vec<_> = headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        Answer::recorded(self.system, operation, *status, &headers, body.clone())
    }

    /// The answer's body.
    ///
    /// # Panics
    /// Where it is no JSON, or only the request was recorded.
    pub fn answer_json(&self) -> Value {
        serde_json::from_str(&self.recorded().body).unwrap()
    }

    /// The request's body.
    ///
    /// # Panics
    /// Where it is no JSON.
    pub fn request_json(&self) -> Value {
        serde_json::from_str(&self.request_body).unwrap()
    }

    /// The value of a request's header, by its name in lower case.
    pub fn request_header(&self, name: &str) -> Option<&str> {
        self.request_headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// [`Exchange::target`] without its query.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// A decoded parameter of the request.
    ///
    /// # Panics
    /// Where the target is none.
    pub fn query(&self, name: &str) -> Option<String> {
        let url = Url::parse(&format!("http://x/{}", self.target)).unwrap();
        url.query_pairs().find(|(n, _)| n == name).map(|(_, value)| value.into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORDINGS: Recordings = Recordings { system: "x", folder: "", base: "/v2/" };

    #[test]
    fn a_request_and_its_answer_are_read_as_on_the_wire() {
        let exchange = RECORDINGS.read(
            "POST /v2/Users?a=b%20c HTTP/1.1\nETag: 1\n\n{\"n\":1}\nHTTP/1.1 201 Created\nX-A: y\n\n{\"n\":2}\n",
        );
        assert_eq!((exchange.method.as_str(), exchange.path()), ("POST", "Users"));
        assert_eq!(exchange.query("a").as_deref(), Some("b c"));
        assert_eq!(exchange.request_header("etag"), Some("1"));
        assert_eq!(
            (exchange.request_json()["n"].as_i64(), exchange.answer_json()["n"].as_i64()),
            (Some(1), Some(2))
        );
        let answer = exchange.answer("POST Users");
        assert_eq!((answer.status(), answer.header("x-a")), (201, Some("y")));
    }

    #[test]
    #[should_panic(expected = "GET Users has no answer")]
    fn an_answer_that_was_not_recorded_is_none() {
        RECORDINGS.read("GET /v2/Users HTTP/1.1\n").answer("GET Users");
    }
}

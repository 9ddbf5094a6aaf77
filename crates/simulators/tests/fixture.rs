//! Recorded exchanges of a real EspoCRM 9.2.7.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value;

/// One recorded exchange.
#[derive(Debug, Clone)]
pub struct Exchange {
    pub comment: String,
    pub method: String,
    pub target: String,
    pub request_headers: Vec<(String, String)>,
    pub request_body: String,
    /// 0 for what EspoCRM itself sent.
    pub status: u16,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

pub fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/espocrm")
}

/// The names of all recorded exchanges, without `.http`.
pub fn names() -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter_map(|name| name.strip_suffix(".http").map(str::to_owned))
        .collect();
    names.sort();
    names
}

pub fn load(name: &str) -> Exchange {
    let text = std::fs::read_to_string(folder().join(format!("{name}.http"))).unwrap();
    let comment: Vec<&str> =
        text.lines().take_while(|line| line.starts_with('#') || line.is_empty()).collect();
    let mut lines = text.lines().skip(comment.len()).peekable();
    let request_line: Vec<&str> = lines.next().unwrap().split(' ').collect();
    let headers = |lines: &mut dyn Iterator<Item = &str>| -> Vec<(String, String)> {
        lines
            .take_while(|line| !line.is_empty())
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
            .collect()
    };
    let request_headers = headers(&mut lines);
    let mut request_body = Vec::new();
    while let Some(line) = lines.next_if(|line| !line.starts_with("HTTP/1.1 ")) {
        request_body.push(line);
    }
    let status = lines.next().map_or(0, |line| line.split(' ').nth(1).unwrap().parse().unwrap());
    let headers = headers(&mut lines).into_iter().map(|(name, value)| (name.to_lowercase(), value)).collect();
    Exchange {
        comment: comment.join("\n"),
        method: request_line[0].to_owned(),
        target: request_line[1].to_owned(),
        request_headers,
        request_body: request_body.join("\n").trim().to_owned(),
        status,
        headers,
        body: lines.collect::<Vec<_>>().join("\n").trim().to_owned(),
    }
}

impl Exchange {
    /// The complete top-level members of a body whose recording was cut.
    pub fn cut_json(&self) -> serde_json::Map<String, Value> {
        let (body, _) = self.body.split_once("... (cut").expect("a cut recording");
        let members: Vec<usize> = body.match_indices("\n  \"").map(|(at, _)| at).collect();
        let last = *members.last().unwrap();
        let whole = body[..last].trim_end().trim_end_matches(',');
        serde_json::from_str(&format!("{whole}\n}}")).unwrap()
    }
}

/// Where two bodies differ in shape: other keys or other JSON types, recursively. Lists are compared as far
/// as both go. Maps by id (`teamsNames` ...) differ in their keys by nature: both must be maps.
pub fn shape_differences(at: &str, recorded: &Value, own: &Value) -> Vec<String> {
    match (recorded, own) {
        (Value::Object(recorded), Value::Object(own)) => {
            if ["Names", "Columns"].iter().any(|end| at.ends_with(end)) {
                return Vec::new();
            }
            let missing = recorded
                .keys()
                .filter(|key| !own.contains_key(*key))
                .map(|key| format!("{at}.{key} is missing"));
            let extra = own
                .keys()
                .filter(|key| !recorded.contains_key(*key))
                .map(|key| format!("{at}.{key} is too much"));
            let inner = recorded
                .iter()
                .filter_map(|(key, value)| {
                    Some(shape_differences(&format!("{at}.{key}"), value, own.get(key)?))
                })
                .flatten();
            missing.chain(extra).chain(inner).collect()
        }
        (Value::Array(recorded), Value::Array(own)) => {
            if recorded.is_empty() != own.is_empty() && !at.contains("Ids") {
                return vec![format!("{at} has {} items, recorded {}", own.len(), recorded.len())];
            }
            let pairs = recorded.iter().zip(own).enumerate();
            pairs
                .flat_map(|(index, (recorded, own))| {
                    shape_differences(&format!("{at}[{index}]"), recorded, own)
                })
                .collect()
        }
        (recorded, own) if std::mem::discriminant(recorded) == std::mem::discriminant(own) => Vec::new(),
        (recorded, own) => vec![format!("{at} is {own}, recorded {recorded}")],
    }
}

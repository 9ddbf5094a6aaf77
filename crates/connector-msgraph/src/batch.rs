//! Several events in one call: `POST $batch`. What does not come well in it is asked for by itself.
//! Vendor: <https://learn.microsoft.com/graph/json-batching>.

use std::collections::BTreeMap;

use http_client::{Answer, Method, Request};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use shared::fault::Fault;
use url::Url;

use crate::calendar::{Calendar, get_request, read_get};
use crate::client::{Prefer, checked};
use crate::event::Event;
use crate::{SYSTEM, error};

/// Items in one call: as many as one mailbox takes at once. More would throttle each other.
const ITEMS_MAX: usize = 4;

#[derive(Serialize)]
struct Item {
    id: String,
    method: &'static str,
    url: String,
    headers: BTreeMap<&'static str, String>,
}

#[derive(Deserialize)]
struct Responses {
    responses: Vec<Response>,
}

#[derive(Deserialize)]
struct Response {
    id: String,
    status: u16,
    #[serde(default)]
    body: Value,
}

impl Calendar {
    /// Several events, as [`Calendar::get`] reads them, in the order of their ids. Safe to repeat.
    ///
    /// # Errors
    /// As [`Calendar::get`].
    pub async fn get_many(&self, ids: &[String]) -> Result<Vec<Option<Event>>, Fault> {
        let mut events = Vec::with_capacity(ids.len());
        for part in ids.chunks(ITEMS_MAX) {
            if let [id] = part {
                events.push(self.get(id).await?);
                continue;
            }
            let answer = self.graph.send(request(part)?).await?;
            let mut found = read(error::success(&answer)?)?;
            for (at, id) in part.iter().enumerate() {
                events.push(match found.remove(&at) {
                    Some(event) => event,
                    None => self.get(id).await?,
                });
            }
        }
        Ok(events)
    }
}

fn request(ids: &[String]) -> Result<Request, Fault> {
    let items: Vec<Item> = ids
        .iter()
        .enumerate()
        .map(|(at, id)| item(at, &get_request(checked(id)?, false)))
        .collect::<Result<_, _>>()?;
    Ok(Prefer::default().on(Request::new(Method::Post, "$batch", &[]).json(&json!({ "requests": items }))))
}

fn item(at: usize, request: &Request) -> Result<Item, Fault> {
    let bug = || Fault::bug("batch_invalid", "A request cannot be put into a batch.");
    // The host does not matter: the address goes out without it.
    let mut url = Url::parse("https://graph.microsoft.com").map_err(|_| bug())?;
    url.path_segments_mut().map_err(|()| bug())?.extend(request.path_segments());
    url.query_pairs_mut().extend_pairs(request.query_pairs());
    let query = url.query().unwrap_or_default().replace('+', "%20");
    let prefer = request.header_value("prefer").unwrap_or_default().to_owned();
    Ok(Item {
        id: at.to_string(),
        method: request.method().as_str(),
        url: format!("{}?{query}", url.path()),
        headers: BTreeMap::from([("Prefer", prefer)]),
    })
}

/// What came well, by place: an event, or that there is none.
fn read(answer: &Answer) -> Result<BTreeMap<usize, Option<Event>>, Fault> {
    let responses: Responses = answer.json()?;
    let mut found = BTreeMap::new();
    for response in responses.responses {
        let Ok(at) = response.id.parse() else { continue };
        let head = [("content-type", "application/json")];
        let single =
            Answer::recorded(SYSTEM, "GET me/events/{id}", response.status, &head, response.body.to_string());
        if let Ok(event) = read_get(&single) {
            found.insert(at, event);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::tests::recorded;

    #[test]
    fn ids_are_encoded_and_preferences_are_in_each_item() {
        let request = request(&["a/b==".to_owned(), "c".to_owned()]).unwrap();
        let body: Value = serde_json::from_slice(request.body()).unwrap();
        let url = body["requests"][0]["url"].as_str().unwrap();
        assert!(url.starts_with("/me/events/a%2Fb==?%24select=id%2C"), "{url}");
        assert!(!url.contains('+') && url.contains("%20eq%20"), "{url}");
        assert!(body["requests"][1]["headers"]["Prefer"].as_str().unwrap().contains("ImmutableId"));
        assert_eq!(body["requests"][1]["method"], "GET");
    }

    #[test]
    fn only_what_came_well_is_taken() {
        let answer = |body: String| {
            Answer::recorded(SYSTEM, "POST $batch", 200, &[("Content-Type", "application/json")], body)
        };
        let found = read(&answer(recorded("batch-02-mixed.response.json"))).unwrap();
        assert_eq!(found.keys().copied().collect::<Vec<_>>(), [1], "throttled, and failed for another");
        assert_eq!(found[&1].as_ref().unwrap().id, "AAMkAGI1AAAt9AHjAAA=");
        let gone = r#"{"responses":[{"id":"0","status":404,"body":{"error":{"code":"ErrorItemNotFound"}}}]}"#;
        assert_eq!(read(&answer(gone.to_owned())).unwrap()[&0], None);
        assert!(read(&answer("{}".to_owned())).is_err());
    }
}

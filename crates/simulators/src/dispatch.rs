//! From a request to its answer: control, counting, faults, then the simulated system.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, HeaderValue, Method, Response, Uri};
use serde_json::{Value, json};

use crate::connection::Peer;
use crate::control;
use crate::faults::FaultKind;
use crate::host::Shared;
use crate::upstream::Upstream;
use crate::wire::{Answer, Request};

pub(crate) async fn dispatch<U: Upstream>(
    State(shared): State<Arc<Shared<U>>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let mut request = Request::new(&method, &uri, headers, body, peer.address);
    if let Some(page) = shared.page(&request) {
        return respond(&shared, page);
    }
    shared.note_activity();
    if control::is_control(&request) {
        return respond(&shared, control::answer(&shared, &request).await);
    }
    shared.count(&request);
    let _place = match shared.enter(&request) {
        Ok(place) => place,
        Err(answer) => return respond(&shared, answer),
    };
    let mut fault = None;
    for struck in shared.faults.strike(&request.method, &request.path, shared.now()) {
        match struck {
            FaultKind::Latency { latency_ms } => tokio::time::sleep(Duration::from_millis(latency_ms)).await,
            other => fault = Some(other),
        }
    }
    match fault {
        None | Some(FaultKind::Latency { .. }) => {
            respond(&shared, shared.answer_after_handshakes(&mut request).await)
        }
        Some(FaultKind::CutBody) => cut_body(shared.answer_after_handshakes(&mut request).await),
        Some(FaultKind::TimeoutAfter) => {
            shared.answer_after_handshakes(&mut request).await;
            never(&shared, &peer).await
        }
        Some(FaultKind::CloseAfter) => {
            shared.answer_after_handshakes(&mut request).await;
            close(&peer)
        }
        Some(FaultKind::TimeoutBefore) => never(&shared, &peer).await,
        Some(FaultKind::CloseBefore) => close(&peer),
        Some(FaultKind::Throttled { retry_after }) => {
            respond(&shared, Answer::status(429).with("Retry-After", retry_after))
        }
        Some(FaultKind::Status { status }) => respond(&shared, Answer::status(status)),
        Some(FaultKind::Unauthorized) => {
            let answer = shared.core().upstream.unauthorized();
            respond(&shared, answer)
        }
        Some(FaultKind::HtmlPage) => {
            respond(&shared, Answer::html(200, "<!DOCTYPE html><html><body>Maintenance</body></html>"))
        }
        Some(FaultKind::HtmlBadGateway) => {
            respond(&shared, Answer::html(502, "<html><body><h1>502 Bad Gateway</h1></body></html>"))
        }
        Some(FaultKind::EmptyList) => {
            let list = shared.core().upstream.empty_list();
            respond(&shared, Answer::json(200, &list))
        }
        Some(FaultKind::ShortList) => {
            respond(&shared, part_of_list(shared.answer_after_handshakes(&mut request).await, true))
        }
        Some(FaultKind::HoledList) => {
            respond(&shared, part_of_list(shared.answer_after_handshakes(&mut request).await, false))
        }
    }
}

/// What lists are called, by all systems.
const LISTS: [&str; 8] =
    ["list", "value", "items", "userlist", "dept_user", "department_id", "department", "Resources"];

/// One half of a list; the first one says that nothing follows. What is no list stays as it is.
fn part_of_list(mut answer: Answer, is_first: bool) -> Answer {
    let Ok(mut body) = serde_json::from_slice::<Value>(&answer.body) else { return answer };
    let list = if body.is_array() {
        Some(&mut body)
    } else {
        let name = LISTS.into_iter().find(|name| body.get(name).is_some_and(Value::is_array));
        name.and_then(|name| body.get_mut(name))
    };
    let Some(list) = list.and_then(Value::as_array_mut) else { return answer };
    let second = list.split_off(list.len() / 2);
    if is_first {
        let length = list.len();
        for name in ["totalResults", "itemsPerPage"] {
            if let Some(number) = body.get_mut(name) {
                *number = json!(length);
            }
        }
        if let Some(total) = body.get_mut("total") {
            *total = if total.as_i64().is_some_and(|total| total < 0) { json!(-2) } else { json!(length) };
        }
    } else {
        *list = second;
    }
    answer.body = body.to_string().into();
    answer
}

fn builder(answer: &Answer) -> axum::http::response::Builder {
    let mut response = Response::builder().status(answer.status);
    for (name, value) in &answer.headers {
        // A reason may repeat what the client sent: header bytes, not necessarily ASCII.
        if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
            response = response.header(name, value);
        }
    }
    response
}

fn respond<U: Upstream>(shared: &Shared<U>, answer: Answer) -> Response<Body> {
    let date = shared.now().strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    builder(&answer).header("Date", date).body(Body::from(answer.body)).unwrap_or_else(|error| {
        tracing::error!(%error, "an answer could not be built");
        Response::default()
    })
}

/// Promises the whole body and breaks off after half of it.
fn cut_body(answer: Answer) -> Response<Body> {
    let length = answer.body.len().max(2);
    let response = builder(&answer).header("Content-Length", length);
    let half = Bytes::copy_from_slice(answer.body.get(..length / 2).unwrap_or_default());
    let stream = futures_util::stream::unfold(Some(half), |half| async move {
        match half {
            Some(half) => Some((Ok(half), None)),
            None => {
                // Lets the first half be sent before the connection breaks.
                tokio::task::yield_now().await;
                Some((Err(io::Error::other("cut off by a fault rule")), None))
            }
        }
    });
    response.body(Body::from_stream(stream)).unwrap_or_default()
}

async fn never<U: Upstream>(shared: &Shared<U>, peer: &Peer) -> Response<Body> {
    shared.stopped().await;
    close(peer)
}

fn close(peer: &Peer) -> Response<Body> {
    peer.cut_off();
    Response::default()
}

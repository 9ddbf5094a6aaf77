//! Webhooks: verified on the raw body, answered 2xx only after their messages are durable.
//!
//! A sender such as EspoCRM gives up at once on most statuses and comes again only on a few, so that "not now"
//! is always 503 (never 429 or 502).

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use bytes::Bytes;
use futures_util::future::try_join_all;
use shared::envelope::Cause;
use shared::flow::{
    CHALLENGE_BYTES_MAX, Flow, WebhookContent, WebhookItem, WebhookMethod, WebhookRefusal, WebhookRequest,
};
use shared::ports::PortError;
use shared::ports::queue::Outbound;
use shared::record_key::RecordKey;
use shared::{labelled, names};
use tokio::sync::Semaphore;
use tracing::{info, warn};

use crate::body::{Bodies, Unread};
use crate::run::Engine;
use crate::{forward, intake};

/// When a sender that honours it may come again.
const RETRY_AFTER_SECONDS: &str = "30";

/// What the webhook routes share.
#[derive(Clone)]
struct Intake {
    engine: Arc<Engine>,
    flows: Arc<Vec<Arc<dyn Flow>>>,
    bodies: Bodies,
    permits: Arc<Semaphore>,
}

/// The public routes: `POST /webhooks/<flow>/<path>`, and GET for flows that answer it.
pub fn routes(engine: Arc<Engine>, flows: Vec<Arc<dyn Flow>>) -> Router {
    let at_once = engine.settings.webhook_concurrency_max.max(1);
    let bodies = Bodies::new(engine.settings.webhook_body_bytes_max, at_once);
    let intake =
        Intake { engine, flows: Arc::new(flows), bodies, permits: Arc::new(Semaphore::new(at_once)) };
    Router::new()
        .route("/webhooks/{flow}", post(receive_bare).get(receive_bare))
        .route("/webhooks/{flow}/{*path}", post(receive).get(receive))
        .with_state(intake)
}

async fn receive_bare(intake: State<Intake>, Path(flow): Path<String>, request: Request) -> Response {
    receive(intake, Path((flow, String::new())), request).await
}

async fn receive(
    State(intake): State<Intake>,
    Path((flow, path)): Path<(String, String)>,
    request: Request,
) -> Response {
    let Some(flow) = intake.flows.iter().find(|known| known.spec().name.as_str() == flow) else {
        return refuse(&intake.engine, "unknown", StatusCode::NOT_FOUND, "unknown_flow", "no such flow");
    };
    let name = flow.spec().name.as_str();
    // HEAD comes with GET, and nobody sends it who is to be answered.
    let method = match *request.method() {
        Method::POST => WebhookMethod::Post,
        Method::GET if flow.answers_get(&path) => WebhookMethod::Get,
        _ => {
            let why = "only POST is taken here";
            let refusal = refuse(&intake.engine, name, StatusCode::METHOD_NOT_ALLOWED, "method", why);
            return ([(header::ALLOW, "POST")], refusal).into_response();
        }
    };
    let (head, body) = request.into_parts();
    let body = match intake.bodies.read(body).await {
        Ok(body) => body,
        Err(Unread::NoRoom) => return not_now(&intake.engine, name, "too many large bodies at once"),
        Err(Unread::TooLarge) => {
            let why = "the body is larger than producer.webhook_body_bytes_max";
            return refuse(&intake.engine, name, StatusCode::PAYLOAD_TOO_LARGE, "body_refused", why);
        }
        Err(Unread::Broken(why)) => {
            return refuse(&intake.engine, name, StatusCode::BAD_REQUEST, "body_refused", &why);
        }
    };
    // Only for what is whole: whoever sends slowly would keep the others out.
    let Ok(_permit) = intake.permits.try_acquire() else {
        return not_now(&intake.engine, name, "too many webhooks at once");
    };
    let (uri, headers) = (head.uri, head.headers);
    let headers: Vec<(&str, &str)> =
        headers.iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?))).collect();
    let (path, query) = (path.as_str(), uri.query());
    let request = WebhookRequest { method, path, query, headers: &headers, body: &body.bytes };
    accept(&intake, flow, &request).await
}

async fn accept(intake: &Intake, flow: &Arc<dyn Flow>, request: &WebhookRequest<'_>) -> Response {
    let engine = &*intake.engine;
    let name = flow.spec().name.as_str();
    let items = match read(engine, flow, request).await {
        Ok(WebhookContent::Items(items)) => items,
        Ok(WebhookContent::Challenge(text)) => return answer_challenge(engine, name, text),
        Err(Refused::NotNow(why)) => return not_now(engine, name, &why),
        Err(Refused::ForGood(refusal)) => {
            let (status, outcome) = match refusal {
                WebhookRefusal::Unverified(_) => (StatusCode::UNAUTHORIZED, "unverified"),
                WebhookRefusal::Malformed(_) => (StatusCode::BAD_REQUEST, "malformed"),
                WebhookRefusal::Unknown(_) => (StatusCode::NOT_FOUND, "unknown_path"),
            };
            return refuse(engine, name, status, outcome, &refusal.to_string());
        }
    };
    engine.meter.set(&names::LAST_EVENT, &[name], engine.clock.now().as_duration().as_secs_f64());
    labelled::reach("producer.after_verify");
    let (batch, forwards) = messages(engine, flow, items);
    let taken = async {
        let mut batches = vec![(flow.spec(), batch)];
        batches.extend(forward::keep(engine, &intake.flows, &forwards).await?);
        // Side by side: together they have as long as one of them.
        try_join_all(batches.iter().map(async |(spec, batch)| {
            let taken = intake::take(engine, spec, batch).await?;
            engine.meter.add(&names::WEBHOOK_ITEMS, &[spec.name.as_str(), taken.name()], batch.len() as u64);
            Ok::<_, PortError>(())
        }))
        .await
    };
    match taken.await {
        Ok(_) => {
            labelled::reach("producer.after_publish");
            engine.meter.add(&names::WEBHOOKS, &[name, "accepted"], 1);
            StatusCode::OK.into_response()
        }
        Err(problem) => not_now(engine, name, &problem.to_string()),
    }
}

/// Why a webhook is not taken.
enum Refused {
    ForGood(WebhookRefusal),
    NotNow(String),
}

/// Reads a webhook; one that is not verified is read again where the flow has just learned of new ones.
async fn read(
    engine: &Engine,
    flow: &Arc<dyn Flow>,
    request: &WebhookRequest<'_>,
) -> Result<WebhookContent, Refused> {
    match flow.read_webhook(request) {
        Err(refusal @ WebhookRefusal::Unverified(_)) => {
            let learned = tokio::time::timeout(engine.settings.webhook_answer_max / 4, flow.learn()).await;
            match learned {
                Ok(Ok(true)) => flow.read_webhook(request).map_err(Refused::ForGood),
                Ok(Ok(false)) => Err(Refused::ForGood(refusal)),
                Ok(Err(fault)) => Err(Refused::NotNow(fault.text)),
                Err(_) => {
                    Err(Refused::NotNow("whether the webhook is a new one is not known in time".to_owned()))
                }
            }
        }
        read => read.map_err(Refused::ForGood),
    }
}

/// The messages of a webhook's items, one per record (the same record may be in it several times), and what is to be passed
/// on.
fn messages(
    engine: &Engine,
    flow: &Arc<dyn Flow>,
    items: Vec<WebhookItem>,
) -> (Vec<Outbound>, Vec<(RecordKey, Bytes)>) {
    let name = flow.spec().name.as_str();
    let count = |outcome| engine.meter.add(&names::WEBHOOK_ITEMS, &[name, outcome], 1);
    let (mut batch, mut forwards) = (Vec::with_capacity(items.len()), Vec::new());
    let mut seen = std::collections::HashSet::new();
    for item in items {
        match item {
            WebhookItem::Record(key, operation) if seen.insert((key.clone(), operation.name())) => {
                let envelope = engine.envelope(key, operation, Cause::Webhook);
                batch.push(Outbound::of(&envelope, flow.spec().shards));
            }
            WebhookItem::Record(..) => count("duplicate"),
            WebhookItem::Forward { key, content } => forwards.push((key, content)),
            WebhookItem::Echo => count("echo"),
            WebhookItem::Malformed(why) => {
                count("malformed");
                warn!(flow.name = name, "An item of a webhook is left out, the others go on: {why}");
            }
        }
    }
    (batch, forwards)
}

/// The text as it is, which came with the request: never as anything that a browser would run.
fn answer_challenge(engine: &Engine, flow: &str, text: String) -> Response {
    if text.len() > CHALLENGE_BYTES_MAX {
        return refuse(engine, flow, StatusCode::BAD_REQUEST, "malformed", "the challenge is too long");
    }
    engine.meter.add(&names::WEBHOOKS, &[flow, "challenge"], 1);
    let headers = [
        (header::CONTENT_TYPE, "text/plain"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (StatusCode::OK, headers, text).into_response()
}

fn refuse(engine: &Engine, flow: &str, status: StatusCode, outcome: &str, why: &str) -> Response {
    engine.meter.add(&names::WEBHOOKS, &[flow, outcome], 1);
    info!(flow.name = flow, status = status.as_u16(), "A webhook was refused: {why}");
    (status, why.to_owned()).into_response()
}

fn not_now(engine: &Engine, flow: &str, why: &str) -> Response {
    engine.meter.add(&names::WEBHOOKS, &[flow, "unavailable"], 1);
    warn!(flow.name = flow, "A webhook was answered 503, the sender will come again: {why}");
    let headers = [(header::RETRY_AFTER, RETRY_AFTER_SECONDS)];
    (StatusCode::SERVICE_UNAVAILABLE, headers, "not now, come again").into_response()
}

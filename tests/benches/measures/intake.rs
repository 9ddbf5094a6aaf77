//! Signed webhooks until they are durable, through the real producer; beside an HTTP server that only verifies
//! them, and beside publishing with nothing in front.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use bytes::Bytes;
use futures_util::future::join_all;
use reqwest::Url;
use system_tests::fleet::Webhook;
use system_tests::http::signature;
use system_tests::{Backing, Fleet, Plan, Program};
use tokio::net::TcpListener;

use crate::Size;
use crate::contender::BarePublisher;
use crate::load::{CONNECTIONS, Load, send};
use crate::servers::{Servers, load};
use crate::table::{Goal, MILLISECONDS, PER_SECOND, Table};

/// The word in `main`'s arguments.
pub const WORD: &str = "bare-http";
const BODY_BYTES: usize = 1_024;
const PATIENCE: Duration = Duration::from_secs(60);

/// Measures the producer and both ceilings in turns.
pub async fn measure(table: &mut Table, servers: &Servers, size: Size) {
    let backing = Backing::Servers { rabbitmq: servers.rabbitmq.url(), redis: servers.redis.url() };
    let settings = vec![("FLOW__PARTIES__SWEEP_CRON", "0 0 1 1 *".to_owned())];
    let plan = Plan { settings, sends_webhooks: false, ..Plan::new(backing, 1, 0) };
    let mut fleet = Fleet::new(plan).await.unwrap();
    fleet.start_ready().await.unwrap();
    let hook = fleet.webhooks.iter().find(|hook| hook.url.ends_with("/update")).unwrap().clone();
    let requests: Vec<Vec<u8>> = (0..size.of(20_000)).map(|number| request(&hook, number)).collect();

    let [mut ours, mut http, mut publish] = [Vec::new(), Vec::new(), Vec::new()];
    let publisher = BarePublisher::new(&load(&servers.settings())).await;
    for _ in 0..size.runs(5) {
        ours.push(send(address(&hook), &requests).await);
        http.push(bare_http(&hook, &requests).await);
        publish.push(bare_publish(&publisher, requests.len()).await);
    }
    fleet.drain().await.unwrap();
    let rates = |loads: &[Load]| loads.iter().map(|load| load.per_second).collect::<Vec<f64>>();
    let (ours_rates, http_rates, publish_rates) = (rates(&ours), rates(&http), rates(&publish));
    let smaller: Vec<f64> =
        http_rates.iter().zip(&publish_rates).map(|(one, other)| one.min(*other)).collect();
    let what = "intake: webhooks until durable, beside the smaller ceiling";
    table.compare(what, PER_SECOND, &ours_rates, &smaller, Goal::AtLeast(0.7));
    table.compare("intake: beside the bare HTTP server", PER_SECOND, &ours_rates, &http_rates, Goal::Shown);
    table.compare("intake: beside the bare publish", PER_SECOND, &ours_rates, &publish_rates, Goal::Shown);
    for (name, of) in [("p50", (|load| load.p50_ms) as fn(&Load) -> f64), ("p99", |load| load.p99_ms)] {
        let [ours, publish] = [&ours, &publish].map(|loads| loads.iter().map(of).collect::<Vec<f64>>());
        let what = format!("intake: {name} of {CONNECTIONS} at once, beside the bare publish");
        table.compare(what, MILLISECONDS, &ours, &publish, Goal::Shown);
    }
}

/// A webhook's request as it goes over the wire.
fn request(hook: &Webhook, number: usize) -> Vec<u8> {
    let filler = "x".repeat(BODY_BYTES - 60);
    let body = format!(r#"[{{"id":"6b00{number:013x}","lastName":"{filler}"}}]"#);
    let url = Url::parse(&hook.url).unwrap();
    let head = format!(
        "POST {} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\nsignature: {}\r\n\
         content-length: {}\r\n\r\n",
        url.path(),
        address(hook),
        signature(hook, body.as_bytes()),
        body.len(),
    );
    [head.as_bytes(), body.as_bytes()].concat()
}

fn address(hook: &Webhook) -> SocketAddr {
    let url = Url::parse(&hook.url).unwrap();
    url.socket_addrs(|| None).unwrap()[0]
}

async fn bare_http(hook: &Webhook, requests: &[Vec<u8>]) -> Load {
    let program =
        Program::at(std::env::current_exe().unwrap()).args([WORD, &hook.id, &hook.secret, &hook.url]);
    let mut program = program.start().unwrap();
    let line = program.wait_for_log("listening at ", PATIENCE).await.unwrap();
    let address = line.trim_start_matches("listening at ").parse().unwrap();
    send(address, requests).await
}

/// The process of the bare server: id, secret and address of the webhook.
pub async fn serve(args: &[String]) -> ExitCode {
    let [id, secret, url] = args else { unreachable!("started by bare_http") };
    let path = Url::parse(url).unwrap().path().to_owned();
    let hook = Webhook { id: id.clone(), secret: secret.clone(), url: url.clone() };
    let verify = async |State(hook): State<Webhook>, headers: HeaderMap, body: Bytes| {
        let signed = headers.get("signature").and_then(|value| value.to_str().ok());
        if signed == Some(&signature(&hook, &body)) { StatusCode::OK } else { StatusCode::UNAUTHORIZED }
    };
    let routes = Router::new().route(&path, post(verify)).with_state(hook);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("listening at {}", listener.local_addr().unwrap());
    axum::serve(listener, routes).await.unwrap();
    ExitCode::SUCCESS
}

async fn bare_publish(publisher: &BarePublisher, count: usize) -> Load {
    let body = Bytes::from(vec![b'x'; 500]);
    let begun = Instant::now();
    let share = async |_| {
        let mut times = Vec::new();
        for _ in 0..count / CONNECTIONS {
            let begun = Instant::now();
            publisher.publish(&body, 1).await;
            times.push(begun.elapsed());
        }
        times
    };
    let times = join_all((0..CONNECTIONS).map(share)).await.concat();
    Load::new(begun, &times)
}

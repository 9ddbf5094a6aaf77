//! A process that works in an embedded directory until it is killed, for `embedded_kills.rs` and
//! `embedded_processes.rs`. It prints a line before and after each thing it does, so that whoever kills it knows
//! what it was promised.
//!
//! Usage: `embedded-child work|serve <directory>`

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use adapter_embedded::{Embedded, EmbeddedOptions, Role};
use jiff::Timestamp;
use shared::clock::{Clock as _, SystemClock};
use shared::dead_letter::{DeadLetter, Reason};
use shared::ports::PortError;
use shared::ports::queue::{Delivery, FlowTopology, Outbound, Queue as _};
use shared::ports::state::{Expected, State as _, Write, Written};
use shared::record_key::FlowName;
use shared::routing::{Shard, shards_of};
use tokio::task::JoinSet;
use uuid::Uuid;

const PUBLISHERS: usize = 4;
const STATE_WRITERS: usize = 2;
const SHARDS: u16 = 2;
const YEAR: Duration = Duration::from_secs(365 * 24 * 3_600);

#[tokio::main]
async fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let (Some(verb), Some(dir)) = (args.next(), args.next().map(PathBuf::from)) else {
        say("failed usage: embedded-child work|serve <directory>");
        return ExitCode::from(2);
    };
    let outcome = match verb.as_str() {
        "work" => work(dir).await,
        _ => serve(dir).await,
    };
    if let Err(error) = outcome {
        say(&format!("failed {error}"));
    }
    ExitCode::FAILURE
}

/// One line, in one write: a kill cuts at most the last one.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    let _reader_gone = out.write_all(format!("{line}\n").as_bytes()).and_then(|()| out.flush());
}

async fn open(dir: PathBuf) -> Result<(Embedded, FlowName), PortError> {
    let mut options = EmbeddedOptions::new(dir, Role::Serving, Arc::new(SystemClock));
    // Kills are what is tested here, not poison.
    options.delivery_limit = 10_000;
    let embedded = Embedded::open(options)?;
    let flow = FlowName::new("parties").map_err(|error| PortError::Misconfigured(error.to_string()))?;
    embedded.queue.prepare(&[FlowTopology { flow: flow.clone(), shards: SHARDS }]).await?;
    Ok((embedded, flow))
}

/// Does everything at once; ends by itself only with an error.
async fn work(dir: PathBuf) -> Result<(), PortError> {
    let (embedded, flow) = open(dir).await?;
    let mut tasks = JoinSet::new();
    for number in 0..PUBLISHERS {
        tasks.spawn(publish(embedded.clone(), flow.clone(), number));
    }
    for shard in shards_of(&flow, SHARDS) {
        tasks.spawn(consume(embedded.clone(), shard));
    }
    for number in 0..STATE_WRITERS {
        tasks.spawn(count(embedded.clone(), format!("count/{number}")));
    }
    say("ready");
    while let Some(ended) = tasks.join_next().await {
        ended.map_err(|error| PortError::Unavailable(error.to_string()))??;
    }
    Ok(())
}

async fn publish(embedded: Embedded, flow: FlowName, number: usize) -> Result<(), PortError> {
    loop {
        let batch: Vec<Outbound> = (0..=number)
            .map(|at| {
                let id = Uuid::now_v7();
                let shard = Shard { flow: flow.clone(), number: u16::from(at % 2 == 1) };
                Outbound { shard, id, body: format!("{id} 0").into(), not_before: None }
            })
            .collect();
        embedded.queue.publish(&batch).await?;
        batch.iter().for_each(|message| say(&format!("published {}", message.id)));
        // Leaves something to settle, and something that is not settled when the kill comes.
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

async fn consume(embedded: Embedded, shard: Shard) -> Result<(), PortError> {
    let mut consumer = embedded.queue.consume(&shard, 8).await?;
    loop {
        let delivery = consumer.next().await?;
        settle(delivery).await?;
    }
}

/// Settles by the last byte of the id, which is random: some come again, some wait for ever, the others end.
async fn settle(delivery: Delivery) -> Result<(), PortError> {
    let text = String::from_utf8_lossy(&delivery.body).into_owned();
    let broken = || PortError::Misconfigured(format!("a body that nobody published: {text}"));
    let (id, retries) = text.split_once(' ').ok_or_else(broken)?;
    let (id, retries): (Uuid, u32) =
        (id.parse().map_err(|_| broken())?, retries.parse().map_err(|_| broken())?);
    let now = SystemClock.now();
    match id.as_bytes().last().copied().unwrap_or_default() % 8 {
        7 if delivery.redeliveries == 0 => drop(delivery),
        4 | 5 if retries < 3 => {
            let body = format!("{id} {}", retries + 1).into();
            delivery.receipt.retry(body, now + Duration::from_millis(5)).await?;
            say(&format!("retried {id} {}", retries + 1));
        }
        6 => delivery.receipt.retry(delivery.body, now + YEAR).await?,
        3 => {
            say(&format!("ending {id}"));
            delivery.receipt.dead_letter(letter(id, now)).await?;
            say(&format!("buried {id}"));
        }
        _ => {
            say(&format!("ending {id}"));
            delivery.receipt.ack().await?;
            say(&format!("acked {id}"));
        }
    }
    Ok(())
}

fn letter(id: Uuid, now: Timestamp) -> DeadLetter {
    let letter =
        DeadLetter::of_bytes(id.as_bytes(), None, Reason::Permanent, "refused", "refused", "child", now);
    DeadLetter { id, ..letter }
}

async fn count(embedded: Embedded, key: String) -> Result<(), PortError> {
    loop {
        let found = embedded.state.get(&key).await?;
        let (before, expected) = found.map_or((0, Expected::Absent), |document| {
            let text = String::from_utf8_lossy(&document.value).into_owned();
            (text.parse::<u64>().unwrap_or(0), Expected::Version(document.version))
        });
        let value = (before + 1).to_string();
        let written = embedded.state.write(Write { expected, ..Write::put(&key, value.as_bytes()) }).await?;
        if let Written::Done(version) = written {
            say(&format!("counted {key} {value} {version}"));
        }
    }
}

/// Serves shard 0 and says what it gets, acknowledging nothing.
async fn serve(dir: PathBuf) -> Result<(), PortError> {
    let (embedded, flow) = open(dir).await?;
    let mut consumer = embedded.queue.consume(&Shard { flow, number: 0 }, 100).await?;
    say("ready");
    let mut held = Vec::new();
    loop {
        let delivery = consumer.next().await?;
        say(&format!("got {}", String::from_utf8_lossy(&delivery.body)));
        held.push(delivery);
    }
}

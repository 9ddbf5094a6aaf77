//! Reading the dead-letter stream: from a position to its present end, removing nothing.
//!
//! A stream's length cannot be asked for, and a consumer at its end waits for more. So the end is looked for
//! first: a consumer at `last` is sent the stream's last chunk (there is one: each start of a program writes a
//! record) as far as its credit goes, and the answer to a request made after the first record arrived comes
//! behind all of them.

use futures_util::{FutureExt as _, StreamExt as _};
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Consumer};
use shared::ports::PortError;
use shared::ports::queue::{DeadLetterPage, LogEntry};
use tokio::time::{Instant, timeout_at};

use crate::connection::{Closing, Connector, close};
use crate::error::{port_error, timed_out};
use crate::message;
use crate::record::{Raw, Record};

const DOING: &str = "reading the dead letters";
/// Records in flight, and between two acknowledgements.
const CREDIT: u16 = 500;

/// Reads at most `limit` events from position `from`.
pub(crate) async fn scan(
    connector: &Connector,
    stream: &str,
    from: u64,
    limit: u32,
) -> Result<DeadLetterPage, PortError> {
    let mut reader = Reader::open(connector, stream, AMQPValue::LongString("last".into())).await?;
    let end = reader.end().await;
    close(&reader.channel, connector.answer_timeout).await;
    let end = end?;
    if from > end {
        return Ok(DeadLetterPage { next: from.min(end + 1), at_end: true, ..DeadLetterPage::default() });
    }
    let position = AMQPValue::LongLongInt(i64::try_from(from).unwrap_or(i64::MAX));
    let mut reader = Reader::open(connector, stream, position).await?;
    let page = reader.page(end, limit.max(1)).await;
    close(&reader.channel, connector.answer_timeout).await;
    page
}

/// The position behind the record `token` that `append` appends. A consumer that waits for it at a replica that lags
/// is sent it as soon as that has caught up.
pub(crate) async fn end_behind(
    connector: &Connector,
    stream: &str,
    token: &[u8],
    append: impl Future<Output = Result<(), PortError>>,
) -> Result<u64, PortError> {
    // Before it is appended: a consumer that begins at the last chunk then might begin behind it.
    let mut reader = Reader::open(connector, stream, AMQPValue::LongString("last".into())).await?;
    let found = async {
        append.await?;
        loop {
            let delivery = reader.next().await?;
            if delivery.data == token {
                return Ok(position_of(&delivery) + 1);
            }
        }
    };
    let end = found.await;
    close(&reader.channel, connector.answer_timeout).await;
    end
}

/// A consumer on the stream, for one scan.
struct Reader<'a> {
    connector: &'a Connector,
    channel: Channel,
    consumer: Consumer,
    /// A scan that is given up leaves no consumer behind.
    _closing: Closing,
    unacknowledged: u16,
    /// An answer that takes longer is given up; renewed by each record.
    deadline: Instant,
}

impl<'a> Reader<'a> {
    async fn open(connector: &'a Connector, stream: &str, position: AMQPValue) -> Result<Self, PortError> {
        let channel = connector.channel().await?;
        let closing = Closing::new(&channel, connector.answer_timeout);
        connector.answer(DOING, channel.basic_qos(CREDIT, BasicQosOptions::default())).await?;
        let mut arguments = FieldTable::default();
        arguments.insert("x-stream-offset".into(), position);
        let options = BasicConsumeOptions::default();
        let consuming = channel.basic_consume(stream.into(), "".into(), options, arguments);
        let consumer = connector.answer(DOING, consuming).await?;
        let deadline = Instant::now() + connector.answer_timeout;
        Ok(Self { connector, channel, consumer, _closing: closing, unacknowledged: 0, deadline })
    }

    /// The position of the stream's last record.
    async fn end(&mut self) -> Result<u64, PortError> {
        let mut end = position_of(&self.next().await?);
        loop {
            let before = end;
            // The barrier: what was on its way has arrived when this is answered.
            let barrier = self.channel.basic_qos(CREDIT, BasicQosOptions::default());
            self.connector.answer(DOING, barrier).await?;
            while let Some(delivery) = self.consumer.next().now_or_never() {
                end = end.max(position_of(&self.taken(delivery).await?));
            }
            if end == before {
                return Ok(end);
            }
        }
    }

    /// Reads up to position `end`.
    async fn page(&mut self, end: u64, limit: u32) -> Result<DeadLetterPage, PortError> {
        let mut page = DeadLetterPage::default();
        let mut found = 0u32;
        loop {
            let delivery = self.next().await?;
            let position = position_of(&delivery);
            match read(&delivery) {
                Record::Event(event) => {
                    page.entries.push(LogEntry { position, event: *event });
                    found += 1;
                }
                Record::Unreadable => {
                    page.unreadable += 1;
                    found += 1;
                }
                Record::Nothing => {}
            }
            page.next = position + 1;
            page.at_end = position >= end;
            if page.at_end || found >= limit {
                return Ok(page);
            }
        }
    }

    async fn next(&mut self) -> Result<Delivery, PortError> {
        match timeout_at(self.deadline, self.consumer.next()).await {
            Ok(delivery) => self.taken(delivery).await,
            Err(_elapsed) => Err(timed_out(&self.connector.address, DOING)),
        }
    }

    async fn taken(&mut self, delivery: Option<lapin::Result<Delivery>>) -> Result<Delivery, PortError> {
        let address = &self.connector.address;
        let delivery = match delivery {
            Some(Ok(delivery)) => delivery,
            Some(Err(error)) => return Err(port_error(address, DOING, &error)),
            None => {
                return Err(PortError::Unavailable(format!(
                    "RabbitMQ at {address} ended {DOING}: the stream is being moved or the broker stops"
                )));
            }
        };
        self.unacknowledged += 1;
        if self.unacknowledged >= CREDIT / 2 {
            self.unacknowledged = 0;
            self.connector.answer(DOING, delivery.ack(BasicAckOptions { multiple: true })).await?;
        }
        self.deadline = Instant::now() + self.connector.answer_timeout;
        Ok(delivery)
    }
}

fn position_of(delivery: &Delivery) -> u64 {
    message::offset(&delivery.properties).unwrap_or(0)
}

fn read(delivery: &Delivery) -> Record {
    Raw {
        kind: message::record_kind(&delivery.properties),
        routing_key: delivery.routing_key.as_str(),
        published_at: message::published_at(&delivery.properties),
        body: &delivery.data,
    }
    .read()
}

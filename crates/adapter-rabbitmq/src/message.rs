//! What a message carries beside its body: our headers, and the broker's. Pure.

use bytes::Bytes;
use jiff::Timestamp;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};

/// The earliest time of delivery, in milliseconds since 1970.
const NOT_BEFORE: &str = "syncfleet-not-before-ms";
/// Whether it is due when it comes out of its delay queue, whatever a clock says: the one who delayed it and the one who
/// takes it may have clocks that differ by hours.
const LAST_DELAY: &str = "syncfleet-last-delay";
/// Redeliveries that an earlier copy of the message had, when it was given back.
const REDELIVERIES: &str = "syncfleet-redeliveries";
/// What a record of the dead-letter stream is; broker-made ones have none.
const RECORD: &str = "syncfleet-record";
/// The broker's count of redeliveries; absent or 0 at first.
const DELIVERY_COUNT: &str = "x-delivery-count";
/// A stream record's position.
const STREAM_OFFSET: &str = "x-stream-offset";

/// A message to publish.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Letter {
    /// Where to.
    pub(crate) exchange: String,
    /// The routing key.
    pub(crate) routing_key: String,
    /// The content.
    pub(crate) body: Bytes,
    /// The rest.
    pub(crate) properties: BasicProperties,
}

/// Properties of a message for a shard.
pub(crate) fn work_properties(
    id: Option<&str>,
    not_before: Option<Timestamp>,
    is_last_delay: bool,
    redeliveries: u32,
    now: Timestamp,
) -> BasicProperties {
    let mut headers = FieldTable::default();
    if is_last_delay {
        headers.insert(LAST_DELAY.into(), AMQPValue::Boolean(true));
    }
    if let Some(at) = not_before {
        headers.insert(NOT_BEFORE.into(), AMQPValue::LongLongInt(ceil_ms(at)));
    }
    if redeliveries > 0 {
        headers.insert(REDELIVERIES.into(), AMQPValue::LongLongInt(i64::from(redeliveries)));
    }
    persistent(now, id).with_headers(headers)
}

/// What a record that we append to the dead-letter stream is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RecordKind {
    /// A [`shared::dead_letter::DeadLetterEvent`] in JSON.
    Event,
    /// Written at each start, so that the stream is never empty and its end can be found.
    Start,
}

/// Properties of a record of the dead-letter stream.
pub(crate) fn record_properties(kind: RecordKind, now: Timestamp) -> BasicProperties {
    let word = match kind {
        RecordKind::Event => "event",
        RecordKind::Start => "start",
    };
    let mut headers = FieldTable::default();
    headers.insert(RECORD.into(), AMQPValue::LongString(word.into()));
    persistent(now, None).with_headers(headers)
}

fn persistent(now: Timestamp, id: Option<&str>) -> BasicProperties {
    let properties = BasicProperties::default()
        .with_delivery_mode(2)
        .with_content_type("application/json".into())
        .with_timestamp(u64::try_from(now.as_second()).unwrap_or(0));
    match id {
        Some(id) => properties.with_message_id(id.into()),
        None => properties,
    }
}

/// Never before the time asked for: a part of a millisecond counts as a whole one.
fn ceil_ms(at: Timestamp) -> i64 {
    let ms = at.as_millisecond();
    let exact = Timestamp::from_millisecond(ms).is_ok_and(|floor| floor >= at);
    if exact { ms } else { ms.saturating_add(1) }
}

/// The earliest time of delivery; `None` is at once.
pub(crate) fn not_before(properties: &BasicProperties) -> Option<Timestamp> {
    Timestamp::from_millisecond(integer(properties, NOT_BEFORE)?).ok()
}

/// The earliest time of delivery of a message that a shard's consumer gets; `None` is at once.
pub(crate) fn still_not_before(properties: &BasicProperties) -> Option<Timestamp> {
    let headers = properties.headers().as_ref();
    let is_due = headers.is_some_and(|headers| headers.inner().contains_key(LAST_DELAY));
    if is_due { None } else { not_before(properties) }
}

/// How often a message was handed over before, in this copy and those before it.
pub(crate) fn redeliveries(properties: &BasicProperties, redelivered: bool) -> u32 {
    let count = |name| integer(properties, name).and_then(|n| u32::try_from(n).ok());
    let here = count(DELIVERY_COUNT).unwrap_or_else(|| u32::from(redelivered));
    here.saturating_add(count(REDELIVERIES).unwrap_or(0))
}

/// When this copy was published; whole seconds.
pub(crate) fn published_at(properties: &BasicProperties) -> Option<Timestamp> {
    let seconds = i64::try_from((*properties.timestamp())?).ok()?;
    // A sender that counts in milliseconds is out of range, and unknown.
    Timestamp::from_second(seconds).ok()
}

/// The position of a stream's record.
pub(crate) fn offset(properties: &BasicProperties) -> Option<u64> {
    integer(properties, STREAM_OFFSET).and_then(|n| u64::try_from(n).ok())
}

/// The kind of a stream's record: `None` where it has no header of ours, `Some(None)` for an unknown word.
pub(crate) fn record_kind(properties: &BasicProperties) -> Option<Option<RecordKind>> {
    let value = properties.headers().as_ref()?.inner().get(RECORD)?;
    let word = value.as_long_string().map(ToString::to_string);
    Some(match word.as_deref() {
        Some("event") => Some(RecordKind::Event),
        Some("start") => Some(RecordKind::Start),
        _ => None,
    })
}

fn integer(properties: &BasicProperties, name: &str) -> Option<i64> {
    match properties.headers().as_ref()?.inner().get(name)? {
        AMQPValue::LongLongInt(n) => Some(*n),
        AMQPValue::LongInt(n) => Some(i64::from(*n)),
        AMQPValue::LongUInt(n) => Some(i64::from(*n)),
        AMQPValue::ShortInt(n) => Some(i64::from(*n)),
        AMQPValue::ShortUInt(n) => Some(i64::from(*n)),
        AMQPValue::ShortShortInt(n) => Some(i64::from(*n)),
        AMQPValue::ShortShortUInt(n) => Some(i64::from(*n)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_written_and_read() {
        let now: Timestamp = "2026-11-20T09:15:00Z".parse().unwrap();
        let due: Timestamp = "2026-11-20T09:15:10.0000001Z".parse().unwrap();
        let properties = work_properties(Some("id-1"), Some(due), false, 3, now);
        assert_eq!(published_at(&properties), Some(now));
        assert!(not_before(&properties).unwrap() >= due, "rounded up");
        assert_eq!(still_not_before(&properties), not_before(&properties));
        let last = work_properties(Some("id-1"), Some(due), true, 3, now);
        assert_eq!(not_before(&last), not_before(&properties), "known where it waits");
        assert_eq!(still_not_before(&last), None, "due when it comes out, whatever a clock says");
        assert_eq!(redeliveries(&properties, false), 3);
        assert_eq!(record_kind(&properties), None);
        assert_eq!(*properties.delivery_mode(), Some(2));
        let start = record_properties(RecordKind::Start, now);
        assert_eq!(record_kind(&start), Some(Some(RecordKind::Start)));
    }

    #[test]
    fn the_brokers_count_is_added_to_what_earlier_copies_had() {
        let mut headers = FieldTable::default();
        headers.insert(DELIVERY_COUNT.into(), AMQPValue::LongLongInt(2));
        headers.insert(REDELIVERIES.into(), AMQPValue::LongLongInt(5));
        let properties = BasicProperties::default().with_headers(headers);
        assert_eq!(redeliveries(&properties, true), 7);
        assert_eq!(redeliveries(&BasicProperties::default(), true), 1);
        assert_eq!(redeliveries(&BasicProperties::default(), false), 0);
    }
}

//! The messages: moved, since RabbitMQ gives none to be read that is not to be consumed.

use shared::envelope::Envelope;
use shared::labelled;
use shared::ports::queue::{FlowTopology, Outbound};
use shared::ports::transfer::OpenMessage;
use shared::routing::Shard;
use uuid::Uuid;

use super::mark::{self, Mark};
use super::report::{Line, Sum};
use super::{MigrationError, Side};

/// Messages moved at a time: so many may double when it is interrupted.
const BATCH: u16 = 500;

/// Moves the messages of one flow.
pub(super) async fn carry(
    from: &Side<'_>,
    to: &Side<'_>,
    flow: &FlowTopology,
    mark: &mut Mark,
) -> Result<(), MigrationError> {
    let shards =
        to.flows.iter().find(|other| other.flow == flow.flow).map_or(flow.shards, |other| other.shards);
    let mut moved = mark.moved.get(&flow.flow).copied().unwrap_or_default();
    moved.interrupted += std::mem::take(&mut moved.under_way);
    let mut unloading = from.queue.unload(&from.present(flow).await?).await?;
    loop {
        let batch = unloading.next(BATCH).await?;
        moved.under_way = batch.len() as u64;
        mark.moved.insert(flow.flow.clone(), moved);
        mark::save(from.state, mark).await?;
        if batch.is_empty() {
            return Ok(());
        }
        let outbound: Vec<Outbound> = batch.iter().map(|message| outbound(message, shards)).collect();
        to.queue.publish(&outbound).await?;
        labelled::reach("migrate.after_publish");
        unloading.remove().await?;
        labelled::reach("migrate.after_remove");
        let mut sum = Sum { count: moved.messages, checksum: moved.checksum };
        batch.iter().for_each(|message| sum.add(&[&message.body]));
        (moved.messages, moved.checksum) = (sum.count, sum.checksum);
    }
}

/// A message on its way to its shard there; what is no message of ours keeps its shard's number, as far as it can.
fn outbound(message: &OpenMessage, shards: u16) -> Outbound {
    let known = Envelope::parse(&message.body).ok();
    let outbound = known.filter(|envelope| envelope.key.flow() == &message.shard.flow).map_or_else(
        || {
            let number = message.shard.number % shards.max(1);
            let shard = Shard { number, ..message.shard.clone() };
            Outbound { shard, id: Uuid::now_v7(), body: message.body.clone(), not_before: None }
        },
        |envelope| Outbound::of(&envelope, shards),
    );
    Outbound { body: message.body.clone(), not_before: message.not_before, ..outbound }
}

/// Compares what was moved with what is there.
pub(super) async fn compare(
    from: &Side<'_>,
    to: &Side<'_>,
    here: &FlowTopology,
    there: &FlowTopology,
    mark: &Mark,
) -> Result<Line, MigrationError> {
    let moved = mark.moved.get(&here.flow).copied().unwrap_or_default();
    let (left, arrived) = (from.waiting(here).await?, to.waiting(there).await?);
    let mut notes = Vec::new();
    if moved.interrupted > 0 {
        notes.push(format!("{} at most were moved once more after an interruption", moved.interrupted));
    }
    if left > 0 {
        notes.push(format!("{left} are left in the source"));
    }
    let sum = Sum { count: moved.messages, checksum: moved.checksum };
    let expected = moved.messages..=moved.messages + moved.interrupted;
    let line = Line::moved(format!("messages {}", here.flow), sum, arrived, expected, notes.join("; "));
    Ok(Line { equal: line.equal && left == 0, ..line })
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use shared::envelope::{Cause, Operation};
    use shared::routing::shard_of;
    use shared::trace::TraceParent;

    use super::*;

    #[test]
    fn a_message_goes_to_the_shard_of_its_key_and_what_is_none_stays_about_where_it_was() {
        let key: shared::record_key::RecordKey = "parties:42".parse().unwrap();
        let (id, trace, now) = (Uuid::from_u128(7), TraceParent::new(1, 2), Timestamp::UNIX_EPOCH);
        let envelope = Envelope::new(id, "/test", key.clone(), Operation::Check, Cause::Manual, trace, now);
        let shard = Shard { flow: key.flow().clone(), number: 13 };
        let message = OpenMessage { shard, body: envelope.to_bytes().into(), not_before: Some(now) };
        let sent = outbound(&message, 4);
        assert_eq!((sent.shard, sent.id, sent.not_before), (shard_of(&key, 4), id, Some(now)));
        let sent = outbound(&OpenMessage { body: "no JSON".into(), ..message }, 4);
        assert_eq!((sent.shard.number, &sent.body[..], sent.not_before), (1, &b"no JSON"[..], Some(now)));
    }
}

//! How the whole installation stands, as one snapshot: for `syncfleet status`, with or without `--json`.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use shared::ports::queue::{Depth, FlowTopology, Queue};
use shared::ports::state::State;
use shared::routing::{server_of, shards_of};
use shared::{cursor, generation, membership};

use crate::dead_letters::{DeadLetterDesk, OpenCount};
use crate::sweep_state::{SweepState, cursor_name};

/// What the snapshot is taken of.
#[derive(Debug, Clone, Copy)]
pub struct Sources<'a> {
    /// The queue.
    pub queue: &'a dyn Queue,
    /// The state store.
    pub state: &'a dyn State,
    /// The dead letters.
    pub desk: &'a DeadLetterDesk,
    /// The flows that are enabled.
    pub flows: &'a [FlowTopology],
    /// What each flow's mass-change guard holds back, as [`shared::flow::Flow::held_back`] says, by the flow's name.
    pub held_back: &'a BTreeMap<String, String>,
}

/// The snapshot. What could not be read is left out, and `problems` says why.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Status {
    /// When it was taken.
    pub at: Timestamp,
    /// The version of the program that took it.
    pub version: String,
    /// What is wrong; empty when queue and state store answered everything.
    pub problems: Vec<String>,
    /// The flows that are enabled.
    pub flows: Vec<FlowStatus>,
    /// The open dead letters, those of other flows included.
    pub dead_letters: Vec<OpenCount>,
}

/// How one flow stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FlowStatus {
    /// Its name.
    pub flow: String,
    /// Messages that wait or are being handled.
    pub ready: Option<u64>,
    /// Messages that wait for their time.
    pub delayed: Option<u64>,
    /// When the oldest waiting message was published, where that is known.
    pub oldest: Option<Timestamp>,
    /// Open dead letters.
    pub dead_letters: u64,
    /// The workers that live, each with the number of shards that fall to it.
    pub workers: BTreeMap<String, usize>,
    /// Shards of the flow.
    pub shards: u16,
    /// The last tick of its cron line that was fired.
    pub sweep_tick: Option<Timestamp>,
    /// What the mass-change guard holds back until a person releases it.
    pub held_back: Option<String>,
    /// Whether a sweep is going on.
    pub sweep_going_on: bool,
    /// When a sweep last ended well.
    pub sweep_last_success: Option<Timestamp>,
}

/// Takes the snapshot. Changes nothing; answers also when queue or store do not.
pub async fn snapshot(sources: Sources<'_>, now: Timestamp) -> Status {
    let mut problems = Vec::new();
    // Where queue or store do not answer, that is said below.
    if let Ok(Some(loss)) = generation::loss(sources.queue, sources.state).await {
        problems.push(format!("the fleet pauses: {}", loss.text()));
    }
    let dead_letters = known(sources.desk.counts().await, "dead letters", &mut problems).unwrap_or_default();
    let mut flows = Vec::new();
    for topology in sources.flows {
        flows.push(flow_status(sources, topology, &dead_letters, &mut problems).await);
    }
    Status { at: now, version: shared::VERSION.to_owned(), problems, flows, dead_letters }
}

async fn flow_status(
    sources: Sources<'_>,
    topology: &FlowTopology,
    dead_letters: &[OpenCount],
    problems: &mut Vec<String>,
) -> FlowStatus {
    let flow = &topology.flow;
    let depth = known(sources.queue.depth(topology).await, "queue", problems);
    let members = known(membership::members(sources.state, flow).await, "workers", problems);
    let sweep = cursor::load::<SweepState>(sources.state, &cursor_name(flow)).await;
    let sweep = known(sweep, "sweeps", problems).flatten();
    let of_flow = dead_letters.iter().filter(|open| open.flow == flow.as_str());
    FlowStatus {
        flow: flow.to_string(),
        ready: depth.map(|depth: Depth| depth.ready),
        delayed: depth.map(|depth| depth.delayed),
        oldest: depth.and_then(|depth| depth.oldest),
        dead_letters: of_flow.map(|open| open.count).sum(),
        workers: shares(topology, &members.unwrap_or_default()),
        shards: topology.shards,
        sweep_tick: sweep.as_ref().map(|sweep| sweep.tick),
        held_back: sources.held_back.get(flow.as_str()).cloned(),
        sweep_going_on: sweep.as_ref().is_some_and(|sweep| sweep.unfinished),
        sweep_last_success: sweep.and_then(|sweep| sweep.last_success),
    }
}

/// How many shards fall to each worker.
fn shares(topology: &FlowTopology, members: &[String]) -> BTreeMap<String, usize> {
    let mut shares: BTreeMap<String, usize> = members.iter().map(|member| (member.clone(), 0)).collect();
    for shard in shards_of(&topology.flow, topology.shards) {
        if let Some(count) = server_of(&shard, members).and_then(|member| shares.get_mut(member)) {
            *count += 1;
        }
    }
    shares
}

fn known<T>(
    answer: Result<T, shared::ports::PortError>,
    what: &str,
    problems: &mut Vec<String>,
) -> Option<T> {
    answer
        .map_err(|error| {
            let problem = format!("{what}: {error}");
            if !problems.contains(&problem) {
                problems.push(problem);
            }
        })
        .ok()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::Ordering;
    use std::time::Duration;

    use shared::ports::state::Write;
    use shared::record_key::FlowName;

    use super::*;
    use crate::doubles::{MemoryQueue, MemoryState};

    #[tokio::test]
    async fn a_snapshot_shows_workers_sweeps_and_depth_and_survives_a_queue_that_is_away() {
        let (queue, state) = (Arc::new(MemoryQueue::default()), Arc::new(MemoryState::default()));
        let flow = FlowName::new("parties").unwrap();
        let flows = [FlowTopology { flow: flow.clone(), shards: 16 }];
        let desk = DeadLetterDesk::new(queue.clone(), state.clone(), flows.to_vec());
        for member in ["worker-1", "worker-2"] {
            membership::announce(state.as_ref(), &flow, member, "process", Duration::from_secs(15))
                .await
                .unwrap();
        }
        let now: Timestamp = "2026-11-20T09:15:00Z".parse().unwrap();
        let sweep = SweepState {
            tick: now,
            sweep_id: now.to_string(),
            unfinished: true,
            from: None,
            last_success: Some(Timestamp::UNIX_EPOCH),
        };
        let document = serde_json::to_vec(&sweep).unwrap();
        let key = format!("cursor/{}", cursor_name(&flow));
        state.write(Write::put(&key, &document)).await.unwrap();

        let held_back = BTreeMap::from([("parties".to_owned(), "a sweep waits".to_owned())]);
        let sources = Sources {
            queue: queue.as_ref(),
            state: state.as_ref(),
            desk: &desk,
            flows: &flows,
            held_back: &held_back,
        };
        let status = snapshot(sources, now).await;
        assert_eq!(status.flows[0].held_back.as_deref(), Some("a sweep waits"));
        let parties = &status.flows[0];
        assert_eq!((parties.ready, parties.delayed, status.problems.len()), (Some(0), Some(1), 0));
        assert_eq!(parties.workers.len(), 2);
        assert_eq!(parties.workers.values().sum::<usize>(), 16);
        assert_eq!(
            (parties.sweep_tick, parties.sweep_last_success),
            (Some(now), Some(Timestamp::UNIX_EPOCH))
        );
        assert!(parties.sweep_going_on);
        assert!(serde_json::to_string(&status).unwrap().contains("\"workers\":{\"worker-1\":"));

        queue.remember("generation").await.unwrap();
        let status = snapshot(sources, now).await;
        assert!(status.problems[0].contains("release --store"), "{:?}", status.problems);

        queue.is_away.store(true, Ordering::SeqCst);
        let status = snapshot(sources, now).await;
        assert_eq!((status.flows[0].ready, status.flows[0].workers.len()), (None, 2));
        assert_eq!(status.problems.len(), 2, "{:?}", status.problems);
    }
}

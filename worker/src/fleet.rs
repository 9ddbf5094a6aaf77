//! Who serves what: announces this worker, sees who else lives, and serves the shards that rendezvous hashing
//! gives it. A shard that moves away is drained before it is let go.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use shared::flow::Flow;
use shared::membership;
use shared::names;
use shared::ports::PortError;
use shared::routing::{Shard, server_of, shards_of};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::pump::Shaft;
use crate::run::{Engine, topology};
use crate::shard::{self, Stop};
use crate::trial;
use crate::turns::Turns;

/// How long a shard may take to hand back what was cut off.
const CUT_TIME_MAX: Duration = Duration::from_secs(2);

/// How often readiness is told which shards are consumed.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// A flow with the turns of its runs.
#[derive(Clone)]
struct Served {
    flow: Arc<dyn Flow>,
    /// Its shards, and those that an earlier, larger number left behind: their messages are sent on.
    shards: u16,
    turns: Turns,
}

/// A shard's task, and how to stop it.
struct Task {
    stop: Stop,
    handle: JoinHandle<()>,
}

/// Serves until `stop` is cancelled, then drains within the set time.
pub async fn serve(engine: Arc<Engine>, flows: Vec<Arc<dyn Flow>>, stop: CancellationToken) {
    let alone = Arc::new(Semaphore::new(1));
    let served = flows.into_iter().map(async |flow| {
        let turns = Turns::new(engine.settings.concurrency_max, alone.clone());
        Served { shards: shards_present(&engine, flow.as_ref()).await, flow, turns }
    });
    let Some(flows) = stop.run_until_cancelled(join_all(served)).await else { return };
    let mut tasks: HashMap<Shard, Task> = HashMap::new();
    let mut ticks = tokio::time::interval(engine.settings.member_ttl / 3);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut looks = tokio::time::interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let assigning = tokio::select! {
            () = stop.cancelled() => break,
            _ = ticks.tick() => true,
            _ = looks.tick() => false,
        };
        tasks.retain(|_, task| !task.handle.is_finished());
        for served in flows.iter().filter(|_| assigning) {
            let assigned = stop.run_until_cancelled(assignment(&engine, served)).await;
            match assigned {
                Some(Ok(mine)) => assign(&engine, served, &mine, &mut tasks),
                Some(Err(PortError::Lost(problem))) => debug!("Shards cannot be assigned: {problem}"),
                Some(Err(problem)) => {
                    warn!("Shards cannot be assigned now, what is served goes on: {problem}")
                }
                None => break,
            }
        }
        if assigning {
            stop.run_until_cancelled(trial::strike_out(&engine)).await;
        }
        flows.iter().for_each(|served| report(&engine, served.flow.as_ref(), &tasks));
    }
    drain(&engine, &flows, tasks).await;
}

async fn shards_present(engine: &Engine, flow: &dyn Flow) -> u16 {
    let topology = topology(flow);
    match engine.queue.shards_present(&topology).await {
        Ok(present) if present > topology.shards => {
            warn!(
                flow.name = %topology.flow,
                "There are queues for {present} shards, and {} are configured: what comes in the others is sent on; \
                 delete their queues when they have been empty for as long as a retry may wait.",
                topology.shards
            );
            present
        }
        Ok(present) => present,
        Err(problem) => {
            warn!(flow.name = %topology.flow, "Whether shards were left behind cannot be seen: {problem}");
            topology.shards
        }
    }
}

async fn assignment(engine: &Engine, served: &Served) -> Result<Vec<Shard>, PortError> {
    let (state, spec) = (engine.state.as_ref(), served.flow.spec());
    let me = &engine.settings.name;
    membership::announce(state, &spec.name, me, &engine.settings.holder, engine.settings.member_ttl).await?;
    let mut members = membership::members(state, &spec.name).await?;
    // However long the store took: a worker that lives does not drain its shards because its own announcement ended.
    if !members.contains(me) {
        members.push(me.clone());
    }
    Ok(shards_of(&spec.name, served.shards).filter(|shard| server_of(shard, &members) == Some(me)).collect())
}

fn assign(engine: &Arc<Engine>, served: &Served, mine: &[Shard], tasks: &mut HashMap<Shard, Task>) {
    let name = &served.flow.spec().name;
    for (shard, task) in tasks.iter().filter(|(shard, _)| shard.flow == *name && !mine.contains(shard)) {
        if !task.stop.drain.is_cancelled() {
            info!(flow.name = %name, shard = %shard, "The shard moves to another worker; draining it.");
            task.stop.drain.cancel();
        }
    }
    for shard in mine {
        // A task that still drains ends first; the next tick starts a new one.
        tasks.entry(shard.clone()).or_insert_with(|| {
            let stop = Stop::default();
            let shaft = Shaft {
                engine: engine.clone(),
                flow: served.flow.clone(),
                shard: shard.clone(),
                turns: served.turns.clone(),
            };
            let serving = shard::serve(Arc::new(shaft), stop.clone());
            Task { stop, handle: tokio::spawn(serving) }
        });
    }
}

fn report(engine: &Engine, flow: &dyn Flow, tasks: &HashMap<Shard, Task>) {
    let name = &flow.spec().name;
    let assigned =
        tasks.iter().filter(|(shard, task)| shard.flow == *name && !task.stop.drain.is_cancelled()).count();
    let consuming = engine.consuming.count(name);
    #[expect(clippy::cast_precision_loss, reason = "at most 256 shards")]
    engine.meter.set(&names::SHARDS_SERVED, &[name.as_str()], consuming as f64);
    let text = format!("{consuming} of {assigned} shards consuming");
    let fact = if consuming >= assigned { Ok(text) } else { Err(text) };
    engine.health.set(&format!("consumers_{name}"), fact);
}

/// Ends all shards. Whoever lives gets them at once, each as soon as its lease is given up.
async fn drain(engine: &Engine, flows: &[Served], mut tasks: HashMap<Shard, Task>) {
    for served in flows {
        let part = format!("consumers_{}", served.flow.spec().name);
        engine.health.set(&part, Err("draining: nothing more is taken".to_owned()));
    }
    tasks.values().for_each(|task| task.stop.drain.cancel());
    let deadline = Instant::now() + engine.settings.drain;
    let leaving = async {
        if timeout_at(deadline, leave(engine, flows)).await.is_err() {
            warn!("Leaving could not be announced in time; the membership ends by itself.");
        }
    };
    tokio::join!(leaving, end(&mut tasks, deadline));
    if timeout(CUT_TIME_MAX, trial::strike_out(engine)).await.is_err() {
        warn!(
            "Runs that were cut off could not be struck out in time: they count as ended with their worker."
        );
    }
}

async fn leave(engine: &Engine, flows: &[Served]) {
    for served in flows {
        let name = &served.flow.spec().name;
        if let Err(problem) = membership::leave(engine.state.as_ref(), name, &engine.settings.name).await {
            warn!(flow.name = %name, "Leaving could not be announced; the membership ends by itself: {problem}");
        }
    }
}

async fn end(tasks: &mut HashMap<Shard, Task>, deadline: Instant) {
    for (shard, task) in tasks.iter_mut() {
        if timeout_at(deadline, &mut task.handle).await.is_err() {
            warn!(shard = %shard, "The drain time is over; unfinished messages are handed back.");
            task.stop.cut.cancel();
        }
    }
    for task in tasks.values_mut().filter(|task| !task.handle.is_finished()) {
        if timeout_at(deadline + CUT_TIME_MAX, &mut task.handle).await.is_err() {
            task.handle.abort();
        }
    }
}

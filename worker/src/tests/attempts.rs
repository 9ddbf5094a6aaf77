//! What counts as an attempt, and where it is counted.

use shared::routing::shard_of;

use super::*;

#[tokio::test]
async fn what_costs_no_attempt_ends_at_its_greatest_age() {
    let kind = FaultKind::Paused { after: Duration::from_millis(1) };
    let mut flow = Scripted::script(&[("p", Behaviour::Fail(kind))], true);
    flow.spec.retry.age_max = Duration::from_millis(500);
    let flow = Arc::new(flow);
    let mut bench = Bench::new(flow.clone());
    bench.publish(&["p"]).await;
    bench.begin();
    bench.until_empty().await;
    let letters = bench.letters().await;
    assert_eq!((letters.len(), letters[0].reason, letters[0].attempts.len()), (1, Reason::Expired, 1));
    let reports: Vec<Option<Reason>> = flow.reports.lock().unwrap().iter().map(|(.., dead)| *dead).collect();
    assert_eq!(reports, [Some(Reason::Expired)], "its user was told of what cost no attempt");
    bench.end().await;
}

#[tokio::test]
async fn what_is_handed_back_or_cut_off_at_a_stop_has_cost_no_attempt() {
    let mut flow = Scripted::script(&[("a", Behaviour::Held)], true);
    flow.spec.run_time_max = PATIENCE * 2;
    let flow = Arc::new(flow);
    let mut bench = Bench::changed(flow.clone(), |engine| engine.settings.drain = Duration::from_millis(200));
    bench.publish(&["a"]).await;
    bench.begin();
    bench.until("the run", || flow.runs_of("a") == 1).await;
    bench.publish(&["a"; 5]).await;
    bench.until_depth(2).await;
    bench.stop.cancel();
    bench.task.take().unwrap().await.unwrap();
    let shard = shard_of(&envelope("a").key, 4);
    let mut consumer = bench.engine.queue.consume(&shard, 10).await.unwrap();
    for _ in 0..2 {
        let delivery = tokio::time::timeout(PATIENCE, consumer.next()).await.unwrap().unwrap();
        let envelope = Envelope::parse(&delivery.body).unwrap();
        assert_eq!((envelope.attempt, envelope.history.len()), (0, 0));
        delivery.receipt.ack().await.unwrap();
    }
    assert!(bench.letters().await.is_empty());
}

#[tokio::test]
async fn attempts_are_counted_in_the_message_whoever_runs_it() {
    let flow = Scripted::new(&[("bad", Behaviour::Fail(FaultKind::Retryable { after: None }))], true);
    let mut bench = Bench::changed(flow.clone(), |engine| engine.settings.name = "worker-one".to_owned());
    let begun = envelope("bad");
    let earlier = |worker: &str| shared::envelope::Attempt {
        at: SystemClock.now(),
        worker: worker.to_owned(),
        duration_ms: 1,
        fault: "retryable".to_owned(),
        code: "scripted".to_owned(),
        text: "as told".to_owned(),
    };
    let begun = begun.after_attempt(earlier("worker-two")).after_attempt(earlier("worker-three"));
    bench.engine.queue.prepare(&[bench.topology()]).await.unwrap();
    bench.engine.queue.publish(&[Outbound::of(&begun, 4)]).await.unwrap();
    bench.begin();
    bench.until_empty().await;
    assert_eq!(flow.runs_of("bad"), 3);
    let letters = bench.letters().await;
    let workers: Vec<&str> = letters[0].attempts.iter().map(|attempt| attempt.worker.as_str()).collect();
    assert_eq!(workers, ["worker-two", "worker-three", "worker-one", "worker-one", "worker-one"]);
    bench.end().await;
}

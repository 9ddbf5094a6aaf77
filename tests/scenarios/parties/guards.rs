//! The mass-change guard.

use std::time::Duration;

use flows::parties::PartiesSettings;
use serde_json::json;
use shared::clock::Clock as _;
use shared::envelope::Cause;
use shared::fault::Fault;
use shared::flow::{Flow as _, Outcome};

use super::bench::{Bench, company};
use super::deletions::swept;

async fn by_sweep(bench: &Bench, id: &str, sweep_id: &str) -> Result<Outcome, Fault> {
    let mut run = bench.run(id);
    run.cause = Cause::Sweep;
    run.sweep_id = Some(sweep_id.to_owned());
    bench.flow.handle(&run).await
}

#[tokio::test]
async fn a_sweep_that_overwrites_too_much_waits_for_a_person() {
    let settings = PartiesSettings {
        mass_change_count_min: 3,
        mass_change_share_max: 0.5,
        ..PartiesSettings::default()
    };
    let bench = Bench::new(settings).await;
    let mut ids = Vec::new();
    for _ in 0..8 {
        let (id, bet_nr) = bench.linked(company()).await;
        bench.edit_party(bet_nr, json!({ "name": "Alles gleich" }));
        ids.push(id);
    }
    swept(&bench).await;
    let mut waiting = Vec::new();
    for id in &ids {
        match by_sweep(&bench, id, "s1").await {
            Ok(_) => {}
            Err(fault) => {
                assert_eq!((fault.kind.name(), fault.code), ("paused", "mass_change"));
                waiting.push(id);
            }
        }
    }
    assert_eq!(waiting.len(), 4, "half of 8 may be overwritten");
    // The next sweep does not go round the guard, and what nothing is overwritten in goes on.
    assert_eq!(by_sweep(&bench, waiting[0], "s2").await.unwrap_err().code, "mass_change");
    by_sweep(&bench, &ids[0], "s1").await.unwrap();
    // What a person or a webhook asks for is not held.
    bench.handle(waiting[0]).await.unwrap();
    bench.clock.advance(Duration::from_secs(1));
    assert_eq!(bench.flow.release("anna", bench.clock.now()).await.unwrap(), 2);
    assert_eq!(bench.flow.release("anna", bench.clock.now()).await.unwrap(), 0);
    for id in waiting {
        by_sweep(&bench, id, "s1").await.unwrap();
        assert_eq!(bench.crm_of(id)["firmenname"], "Alles gleich");
    }
}

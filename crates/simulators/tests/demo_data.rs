//! The demo's data are such as both systems take.

use serde_json::{Value, json};
use simulators::demo_data::{self, Category};
use simulators::{AdvowareOptions, AdvowareSimulator, Dice, EspocrmOptions, EspocrmSimulator};

use crate::replay::object;

const SEED: u64 = 20_261_120;

async fn seeded() -> (EspocrmSimulator, AdvowareSimulator) {
    let crm = EspocrmSimulator::start(EspocrmOptions::default()).await.unwrap();
    let advoware = AdvowareSimulator::start(AdvowareOptions::default()).await.unwrap();
    for pair in demo_data::initial(SEED, 200) {
        crm.seed(pair.crm).unwrap();
        if let Some(party) = pair.advoware {
            advoware.seed(party).unwrap();
        }
    }
    (crm, advoware)
}

/// As if a first sync had been: whatever has one partner is in step.
fn pretend_synced(crm: &EspocrmSimulator) {
    for record in crm.records().into_iter().filter(|record| !record["betnr"].is_null()) {
        crm.edit_as_person(record["id"].as_str().unwrap(), &object(json!({ "syncStatus": "clean" })))
            .unwrap();
    }
}

#[tokio::test]
async fn every_value_laid_out_passes_the_crm_s_own_validation() {
    let (crm, _advoware) = seeded().await;
    for record in crm.records() {
        let mut fields = object(record.clone());
        fields.retain(|name, value| !value.is_null() && name != "id");
        let id = record["id"].as_str().unwrap();
        crm.edit_as_person(id, &fields).unwrap_or_else(|error| panic!("seed {SEED}, {id}: {error}"));
    }
}

#[tokio::test]
async fn both_sides_take_every_edit_of_the_second_round() {
    let (crm, advoware) = seeded().await;
    pretend_synced(&crm);
    let edits = demo_data::second_round(SEED, &crm.records(), &advoware.records());
    assert!(edits.iter().any(|edit| edit.category == Category::Repaired));
    for edit in edits {
        edit.apply(&crm, &advoware).unwrap_or_else(|error| panic!("seed {SEED}, {edit:?}: {error}"));
    }
}

#[tokio::test]
async fn both_sides_take_random_edits_for_ever() {
    let (crm, advoware) = seeded().await;
    pretend_synced(&crm);
    let mut dice = Dice::new(SEED);
    for step in 0..100 {
        for edit in demo_data::random_edits(&mut dice, step, &crm.records(), &advoware.records()) {
            edit.apply(&crm, &advoware)
                .unwrap_or_else(|error| panic!("seed {SEED}, step {step}, {edit:?}: {error}"));
        }
    }
    let parties: Vec<Value> = advoware.records();
    assert!(parties.iter().all(|party| demo_data::identity(party).is_some()));
}

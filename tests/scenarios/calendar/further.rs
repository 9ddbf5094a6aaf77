//! What is carried over only where it is asked for: categories, importance, and where the calendar shows the event.

use std::collections::BTreeSet;

use flows::calendar::further::Carried;
use serde_json::{Value, json};

use super::affairs::Kind;
use super::object;
use super::script::Edit;
use super::time::{connected, meeting};
use super::world::World;

/// Users 0 and 1 have Outlook and Google.
const USERS: [usize; 2] = [0, 1];

/// A world in which it is asked for.
async fn asking() -> World {
    let mut world = connected(&USERS).await;
    let fields = json!({
        "cCategories": { "type": "text" },
        "cImportance": { "type": "enum", "options": ["normal", "low", "high"], "default": "normal" },
        "cWebLink": { "type": "text" },
    });
    let types = json!({ "Meeting": { "fields": fields }, "Call": { "fields": fields } });
    world.office.crm.configure(&object(json!({ "types": types }))).unwrap();
    world.installation.carried = Carried::of(["categories", "importance", "web_link"]);
    world.restart().await;
    world
}

fn only<'a>(records: &'a [Value], what: &str) -> &'a Value {
    let alive: Vec<&Value> =
        records.iter().filter(|it| it["deleted"] != true && it["status"] != "cancelled").collect();
    assert_eq!(alive.len(), 1, "{what}: {alive:#?}");
    alive[0]
}

/// The meeting, and Outlook's event of it.
fn both(world: &World) -> (Value, Value) {
    let meetings = world.office.crm.records_of("Meeting");
    let events = world.office.microsoft.records();
    (only(&meetings, "meeting").clone(), only(&events, "event").clone())
}

fn edit_event(world: &World, fields: Value) {
    let events = world.office.microsoft.records();
    let event = only(&events, "event");
    world.office.microsoft.edit_as_person(event["id"].as_str().unwrap(), &object(fields)).unwrap();
}

fn edit_meeting(world: &World, fields: Value) {
    let (meeting, _) = both(world);
    let user = &world.office.users[0].crm_id;
    world.office.crm.edit_as(user, "Meeting", meeting["id"].as_str().unwrap(), &object(fields)).unwrap();
}

#[tokio::test]
async fn what_is_asked_for_goes_both_ways_and_the_calendars_own_link_one_way() {
    let mut world = asking().await;
    let calendar = world.calendars_of(0)[0];
    let (says, guests) = (meeting(0), BTreeSet::new());
    world.perform(&Edit::Event { calendar, says, guests, rule: None });
    edit_event(&world, json!({ "categories": ["Mandat", "Frist, wichtig"], "importance": "high" }));
    world.rest("made in Outlook").await;
    let (meeting, _) = both(&world);
    assert_eq!(
        (&meeting["cCategories"], &meeting["cImportance"]),
        (&json!("Frist, wichtig\nMandat"), &json!("high"))
    );
    assert!(
        meeting["cWebLink"].as_str().unwrap().starts_with("https://outlook.office365.com/"),
        "{meeting:#}"
    );

    edit_meeting(&world, json!({ "cCategories": "Mandat\n Beratung ", "cImportance": "low" }));
    world.rest("changed in the CRM").await;
    let (_, event) = both(&world);
    assert_eq!((&event["categories"], &event["importance"]), (&json!(["Beratung", "Mandat"]), &json!("low")));

    edit_event(&world, json!({ "categories": [] }));
    edit_meeting(&world, json!({ "cImportance": "normal" }));
    world.rest("changed on both sides").await;
    let (meeting, event) = both(&world);
    assert_eq!((&meeting["cCategories"], &event["categories"]), (&json!(null), &json!([])));
    assert_eq!((&meeting["cImportance"], &event["importance"]), (&json!("normal"), &json!("normal")));
    // Nothing is left to write.
    let written = world.office.microsoft.journal_sequence();
    world.forget().await;
    let mut written = world.office.microsoft.journal_after(written);
    written.retain(|entry| entry.entity == "event");
    assert_eq!(written, []);
}

#[tokio::test]
async fn google_has_no_more_of_it_than_its_link_and_takes_nothing_from_the_meeting() {
    let mut world = asking().await;
    let (kind, users, contacts) = (Kind::Meeting, BTreeSet::from([1]), BTreeSet::new());
    world.perform(&Edit::Meeting { kind, assigned: 1, users, contacts, says: meeting(0) });
    let id = world.office.crm.records_of("Meeting")[0]["id"].as_str().unwrap().to_owned();
    let user = world.office.users[1].crm_id.clone();
    let said = object(json!({ "cCategories": "Mandat", "cImportance": "high" }));
    world.office.crm.edit_as(&user, "Meeting", &id, &said).unwrap();
    world.rest("made in the CRM").await;
    let renamed = object(json!({ "summary": "Umbenannt #0." }));
    let calendar = world.calendars_of(1)[0];
    let event = world.office.affairs[0].copies[&calendar].id.clone().unwrap();
    world.office.google.edit_as_person(&event, &renamed).unwrap();
    world.quiet().await;
    let meetings = world.office.crm.records_of("Meeting");
    let meeting = only(&meetings, "meeting");
    assert_eq!((&meeting["name"], &meeting["cCategories"]), (&json!("Umbenannt #0."), &json!("Mandat")));
    assert_eq!(meeting["cImportance"], "high");
    assert!(
        meeting["cWebLink"].as_str().unwrap().starts_with("https://www.google.com/calendar/"),
        "{meeting:#}"
    );
}

#[tokio::test]
async fn what_is_not_asked_for_is_neither_read_nor_written() {
    let mut world = connected(&USERS).await;
    let calendar = world.calendars_of(0)[0];
    world.perform(&Edit::Event { calendar, says: meeting(0), guests: BTreeSet::new(), rule: None });
    world.rest("made").await;
    edit_event(&world, json!({ "categories": ["Mandat"], "importance": "high" }));
    let written = world.office.crm.journal_sequence();
    world.rest("changed").await;
    assert_eq!(world.office.crm.journal_sequence(), written);
    let (_, event) = both(&world);
    assert_eq!(event["categories"], json!(["Mandat"]));
}

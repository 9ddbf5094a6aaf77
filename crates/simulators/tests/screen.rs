//! The pages on which people work.

use serde_json::json;
use simulators::google::GoogleUser;
use simulators::{
    ActorKind, EspocrmOptions, EspocrmSimulator, FaultKind, FaultRule, GoogleOptions, GoogleSimulator,
    JournalEntry, MicrosoftOptions, MicrosoftSimulator,
};
use url::form_urlencoded;

use crate::http::{Got, send};

const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");
const TITLE: &str = "<script>alert('1')</script> & \"more\"";
/// The real system takes no `<` in names.
const TITLE_IN_CRM: &str = "Smith & \"sons\"";

async fn look(base: &str, path: &str) -> String {
    let got = send(base, "GET", path, &[], "").await.unwrap();
    assert_eq!(got.status, 200, "{}", String::from_utf8_lossy(&got.body));
    String::from_utf8(got.body).unwrap()
}

async fn submit(base: &str, path: &str, fields: &[(&str, &str)]) -> Got {
    let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    send(base, "POST", path, &[FORM], &body).await.unwrap()
}

/// The value of the field of that name in the form of the event with this title.
fn value(page: &str, title: &str, name: &str) -> String {
    let shown = format!("name=\"title_before\" value=\"{title}\"");
    let forms = page.split("<form").find(|form| form.contains(&shown));
    let form = forms.unwrap_or_else(|| panic!("{title} is not shown: {page}"));
    let field = form.split(&format!("name=\"{name}\"")).nth(1).unwrap();
    let field = field.split("value=\"").nth(1).unwrap();
    field.split('"').next().unwrap().to_owned()
}

/// Adds, changes and deletes an event as a person does, and answers what was written.
async fn a_week_of_work(base: &str, owner: &str, title: &str, journal: impl Fn() -> Vec<JournalEntry>) {
    let week = format!(
        "/?{}&week=2026-11-25",
        form_urlencoded::Serializer::new(String::new()).append_pair("who", owner).finish()
    );
    let (day, from, to) = (("day", "2026-11-26"), ("from", "09:00"), ("to", "10:30"));
    let added =
        submit(base, &week, &[("do", "add"), ("kind", "Meeting"), ("title", title), day, from, to]).await;
    assert_eq!(added.status, 303, "{}", String::from_utf8_lossy(&added.body));
    let page = look(base, added.header("location").unwrap()).await;
    assert!(!page.contains("<script>alert"), "{page}");
    let escaped =
        title.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;");
    assert_eq!(
        (value(&page, &escaped, "from"), value(&page, &escaped, "to")),
        ("09:00".into(), "10:30".into())
    );

    let id = value(&page, &escaped, "id");
    let save = [("do", "save"), ("id", &id), ("title", "Jour fixe"), ("title_before", title), day];
    let times = [("from", "13:00"), ("from_before", "09:00"), ("to", "14:00"), ("to_before", "10:30")];
    assert_eq!(submit(base, &week, &[&save[..], &times].concat()).await.status, 303);
    let page = look(base, &week).await;
    assert_eq!(
        (value(&page, "Jour fixe", "from"), value(&page, "Jour fixe", "to")),
        ("13:00".into(), "14:00".into())
    );
    // What was not changed is not written.
    let same = [("do", "save"), ("id", &*id), ("title", "Jour fixe"), ("title_before", "Jour fixe")];
    assert_eq!(submit(base, &week, &same).await.status, 303);
    assert!(!look(base, "/?week=2026-11-16").await.contains("Jour fixe"), "another week");

    assert_eq!(submit(base, &week, &[("do", "delete"), ("id", &id)]).await.status, 303);
    assert!(!look(base, &week).await.contains("Jour fixe"));
    let again = submit(base, &week, &[("do", "delete"), ("id", &id)]).await;
    assert_eq!(again.status, 400);
    assert!(String::from_utf8(again.body).unwrap().contains("role=\"alert\""), "a refusal is shown");
    assert_eq!(send(base, "GET", "/?who=nobody", &[], "").await.unwrap().status, 404);

    let by_people: Vec<JournalEntry> =
        journal().into_iter().filter(|entry| entry.actor_kind == ActorKind::Person).collect();
    assert_eq!(by_people.len(), 3, "{by_people:#?}");
}

#[tokio::test]
async fn outlook_has_a_page_for_people() {
    let microsoft = MicrosoftSimulator::start(MicrosoftOptions::default()).await.unwrap();
    a_week_of_work(&microsoft.base_url(), "bernd@kanzlei.example", TITLE, || microsoft.journal()).await;
    assert_eq!(microsoft.journal()[0].actor, "bernd@kanzlei.example");
}

#[tokio::test]
async fn google_calendar_has_a_page_for_people() {
    let google = GoogleSimulator::start(GoogleOptions::default()).await.unwrap();
    a_week_of_work(&google.base_url(), "bernd@kanzlei.example", TITLE, || google.journal()).await;
}

#[tokio::test]
async fn espocrm_has_a_page_for_people() {
    let crm = EspocrmSimulator::start(EspocrmOptions::default()).await.unwrap();
    let base = crm.base_url();
    a_week_of_work(&base, "anna", TITLE_IN_CRM, || crm.journal()).await;
    let times = [("day", "2026-11-26"), ("from", "09:00"), ("to", "10:00")];
    let user = [("do", "add"), ("kind", "User"), ("title", "x")];
    let got = submit(&base, "/", &[&user[..], &times].concat()).await;
    assert_eq!(got.status, 400, "a user is no event");
}

#[tokio::test]
async fn days_and_series_are_shown_as_what_they_are() {
    let options =
        GoogleOptions { users: vec![GoogleUser::new("anna@kanzlei.example")], ..GoogleOptions::default() };
    let google = GoogleSimulator::start(options).await.unwrap();
    let zone = "Europe/Berlin";
    let event = |event: serde_json::Value| event.as_object().cloned().unwrap();
    let series = json!({ "summary": "Jour fixe", "recurrence": ["RRULE:FREQ=WEEKLY"],
        "start": { "dateTime": "2026-11-09T09:00:00", "timeZone": zone },
        "end": { "dateTime": "2026-11-09T10:00:00", "timeZone": zone } });
    google.create_as_person(&event(series)).unwrap();
    let days =
        json!({ "summary": "Fair", "start": { "date": "2026-11-21" }, "end": { "date": "2026-11-25" } });
    google.create_as_person(&event(days)).unwrap();
    let page = look(&google.base_url(), "/?week=2026-11-26").await;
    assert!(page.contains("all day") && page.contains("repeats"), "{page}");
    assert_eq!(
        (value(&page, "Jour fixe", "day"), value(&page, "Jour fixe", "from")),
        ("2026-11-23".into(), "09:00".into())
    );
}

#[tokio::test]
async fn a_page_is_no_request_of_a_client() {
    let microsoft = MicrosoftSimulator::start(MicrosoftOptions::default()).await.unwrap();
    microsoft.fault(FaultRule::new(FaultKind::Status { status: 503 }));
    look(&microsoft.base_url(), "/").await;
    assert!(microsoft.counters().is_empty(), "{:?}", microsoft.counters());
}

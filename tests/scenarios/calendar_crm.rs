//! The CRM's side of the flow `calendar`, against the simulated EspoCRM.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use connector_espocrm::provision::{Action, Found, Wanted, plan_provision};
use connector_espocrm::{Credentials, EspoCrm, Settings, Version};
use flows::calendar::client::Written;
use flows::calendar::crm::{ChangedAfter, CrmClient as _, CrmFound, CrmMeeting, PersonKind};
use flows::calendar::espocrm::EspoCalendar;
use flows::calendar::event::{Attendee, Event, Field, Place, Reach, Response, When, Window};
use flows::calendar::further::{Carried, Further, Importance};
use flows::calendar::series::Series;
use flows::calendar::sides::{MeetingKind, MeetingRef, MeetingStatus};
use http_client::Limits;
use jiff::tz::TimeZone;
use serde_json::{Value, json};
use shared::clock::SystemClock;
use shared::flow::Verdict;
use shared::meter::NoMeter;
use simulators::espocrm::{ADMIN_PASSWORD, API_KEY, Account, PERSON_ID};
use simulators::{Clock, EspocrmOptions, EspocrmSimulator, Hosting, Record, writes_without_change};

const BERT_ID: &str = "6b0052294e41f2ed0";
const GET: &str = "GET /api/v1/Meeting/{id}";
const PUT: &str = "PUT /api/v1/Meeting/{id}";

struct Bench {
    crm: EspocrmSimulator,
    client: EspoCalendar,
}

fn object(value: Value) -> Record {
    let Value::Object(object) = value else { panic!("no object: {value}") };
    object
}

/// All that can be carried over.
fn all() -> Carried {
    Carried::of(Carried::WORDS.map(|(word, _)| word))
}

fn connect(crm: &EspocrmSimulator, credentials: Credentials) -> EspoCrm {
    let limits =
        Limits { deadline: Duration::from_secs(5), requests_per_second_max: 1_000, ..Limits::default() };
    let settings = Settings { url: crm.base_url().parse().unwrap(), credentials, limits, fleet: None };
    EspoCrm::new(settings, Arc::new(NoMeter), Arc::new(SystemClock)).unwrap()
}

/// Without provisioning; every request at the same second.
async fn bare() -> Bench {
    bare_with(Vec::new()).await
}

async fn bare_with(further: Vec<Account>) -> Bench {
    let noon = "2026-03-20T12:00:00Z".parse().unwrap();
    let hosting = Hosting { clock: Clock::from_fn(move || noon), ..Hosting::default() };
    let mut options = EspocrmOptions { hosting, ..EspocrmOptions::default() };
    options.accounts.push(Account::person(BERT_ID, "bert", "Bert", "Beirat", "Bert@kanzlei.example"));
    options.accounts.extend(further);
    let crm = EspocrmSimulator::start(options).await.unwrap();
    let api = connect(&crm, Credentials::ApiKey(API_KEY.into()));
    let client = EspoCalendar::new(api, TimeZone::get("Europe/Berlin").unwrap(), all()).unwrap();
    Bench { crm, client }
}

/// With what the flow needs of Meeting and Call, made as `syncfleet provision` makes it.
async fn bench() -> Bench {
    let bench = bare().await;
    let credentials =
        Credentials::Password { user_name: "admin".to_owned(), password: ADMIN_PASSWORD.into() };
    let admin = connect(&bench.crm, credentials);
    let needs = EspoCalendar::needs(&all()).unwrap();
    let wanted = Wanted { needs: vec![needs.clone()], user: "x".into(), role: "x".into(), webhook_url: None };
    let mut entities = BTreeMap::new();
    for need in &needs.entities {
        entities.insert(need.name.clone(), admin.entity_found(&need.name).await.unwrap().unwrap());
    }
    let found = Found {
        version: Version(9, 2, 7),
        entities,
        role: None,
        user: None,
        webhooks: Vec::new(),
        secrets_known: BTreeSet::new(),
        is_key_known: false,
    };
    let plan = plan_provision(&wanted, &found);
    assert_eq!(plan.obstacles, []);
    for action in &plan.actions {
        match action {
            Action::CreateField { entity, body, .. } => admin.create_field(entity, body).await.unwrap(),
            Action::SwitchOnVersions { entity } => admin.switch_on_versions(entity).await.unwrap(),
            Action::ChangeField { .. } | Action::CreateEntity { .. } => panic!("{action}"),
            _ => {}
        }
    }
    bench
}

impl Bench {
    fn contact(&self, last: &str, mail: &str) -> String {
        let fields = json!({ "firstName": "Petra", "lastName": last, "emailAddress": mail });
        self.crm.create_as(PERSON_ID, "Contact", &object(fields)).unwrap()
    }

    /// A person makes a meeting of an hour, so many days after the 1st of April.
    fn meeting(&self, user: &str, day: i64, with: Value) -> MeetingRef {
        let at = |hour: u8| format!("2026-04-{:02} {hour:02}:00:00", day + 1);
        let mut fields = object(json!({
            "name": "Termin", "dateStart": at(9), "dateEnd": at(10), "assignedUserId": user,
        }));
        fields.extend(object(with));
        MeetingRef { kind: MeetingKind::Meeting, id: self.crm.create_as(user, "Meeting", &fields).unwrap() }
    }

    fn record(&self, record: &MeetingRef) -> Value {
        let name = if record.kind == MeetingKind::Meeting { "Meeting" } else { "Call" };
        self.crm.record_of(name, &record.id).unwrap()
    }

    async fn get(&self, record: &MeetingRef) -> CrmMeeting {
        meeting(self.client.get(record).await.unwrap().unwrap())
    }

    fn calls(&self, endpoint: &str) -> u64 {
        self.crm.counters().get(endpoint).copied().unwrap_or_default()
    }
}

fn meeting(found: CrmFound) -> CrmMeeting {
    match found {
        CrmFound::Meeting(meeting) => *meeting,
        CrmFound::Unreadable { why, .. } => panic!("{why}"),
    }
}

fn done(written: Written<CrmFound>) -> CrmMeeting {
    match written {
        Written::Done(found) => meeting(found),
        other => panic!("{other:?}"),
    }
}

fn hour() -> When {
    When::Timed {
        start: "2026-03-27T09:00[Europe/Berlin]".parse().unwrap(),
        end: "2026-03-27T10:00[Europe/Berlin]".parse().unwrap(),
    }
}

fn person(name: &str, response: Response) -> Attendee {
    Attendee { name: name.to_owned(), response, reach: Reach::Known, address: None }
}

fn window() -> Window {
    Window { from: "2026-04-01T00:00:00Z".parse().unwrap(), to: "2026-05-01T00:00:00Z".parse().unwrap() }
}

#[tokio::test]
async fn a_new_meeting_has_all_that_its_event_says_and_is_found_by_its_key() {
    let bench = bench().await;
    let contact = bench.contact("Kontakt", "petra@firma.example");
    let mut event = Event::new("A <-> B", hour());
    event.location = "Room 1".to_owned();
    event.online_link = Some("https://meet.example/abc".to_owned());
    event.reminders = [15, 60].into();
    event.further = Further {
        categories: ["Mandat".to_owned(), "Frist, wichtig".to_owned()].into(),
        importance: Importance::High,
        web_link: Some("https://outlook.example/1".to_owned()),
    };
    event.place = Place::Master(Series::from_lines(&["RRULE:FREQ=WEEKLY;COUNT=5"], &hour()).unwrap());
    event.attendees = [
        ("petra@firma.example".to_owned(), person("Petra Kontakt", Response::Tentative)),
        ("bert@kanzlei.example".to_owned(), person("Bert Beirat", Response::Accepted)),
        ("stranger@else.example".to_owned(), person("", Response::Accepted)),
    ]
    .into();
    let key = format!("{}|2026", "ü".repeat(186));
    let made = meeting(bench.client.create(&key, &event, PERSON_ID).await.unwrap());
    let mut read = made.side.event.clone();
    assert_eq!(read.attendees.remove("anna@kanzlei.example").unwrap().reach, Reach::Known);
    event.attendees.remove("stranger@else.example");
    assert_eq!(event.differences(&read), []);
    assert_eq!((made.side.status, made.side.version), (MeetingStatus::Planned, Some(1)));
    assert_eq!(made.side.assigned_user_id.as_deref(), Some(PERSON_ID));
    assert_eq!(made.side.users, [PERSON_ID, BERT_ID].map(str::to_owned).into());
    assert_eq!(made.user_mails[BERT_ID], "bert@kanzlei.example");
    let record = bench.record(&made.side.record);
    assert_eq!((&record["cLocation"], &record["cReminderMinutes"]), (&json!("Room 1"), &json!("15, 60")));
    assert_eq!(record["contactsColumns"][&contact]["status"], "Tentative");

    assert_eq!(meeting(bench.client.find(&key).await.unwrap().unwrap()), made);
    assert_eq!(
        bench.client.find(&key.to_uppercase()).await.unwrap(),
        None,
        "the database takes it for the same"
    );
    assert_eq!(bench.get(&made.side.record).await, made, "the answer to a create says as much as a read");
}

#[tokio::test]
async fn only_what_is_named_is_written_and_only_to_the_version_that_was_read() {
    let bench = bench().await;
    let record = bench.meeting(PERSON_ID, 0, json!({ "description": "Akte" }));
    let read = bench.get(&record).await;
    let mut target = read.side.event.clone();
    (target.subject, target.body) = ("Neu".to_owned(), "not to be written".to_owned());
    target.when =
        When::AllDay { first: jiff::civil::date(2026, 12, 24), after: jiff::civil::date(2026, 12, 27) };
    let fields = [Field::Subject, Field::When];
    let written = done(bench.client.update(&record, read.side.version, &target, &fields).await.unwrap());
    assert_eq!(
        (written.side.event.when.clone(), written.side.event.body.as_str()),
        (target.when.clone(), "Akte")
    );
    let stored = bench.record(&record);
    assert_eq!((&stored["isAllDay"], &stored["dateEndDate"]), (&json!(true), &json!("2026-12-26")));

    target.when = hour();
    let again = bench.client.update(&record, read.side.version, &target, &[Field::When]).await.unwrap();
    assert_eq!(again, Written::Changed);
    let back =
        done(bench.client.update(&record, written.side.version, &target, &[Field::When]).await.unwrap());
    assert_eq!(back.side.event.when, hour());
    assert_eq!(bench.record(&record)["dateStartDate"], Value::Null);

    bench.client.delete(&record).await.unwrap();
    bench.client.delete(&record).await.unwrap();
    assert_eq!(bench.client.get(&record).await.unwrap(), None);
    assert_eq!(bench.client.update(&record, None, &target, &[Field::Subject]).await.unwrap(), Written::Gone);
    assert_eq!(
        bench.client.update(&record, None, &target, &[Field::Attendees]).await.unwrap(),
        Written::Gone
    );
    assert!(writes_without_change(&bench.crm.journal()).is_empty());
}

#[tokio::test]
async fn calendars_from_which_an_event_was_deleted_are_noted_with_its_record() {
    let bench = bench().await;
    let record = bench.meeting(PERSON_ID, 0, json!({}));
    let read = bench.get(&record).await;
    assert!(read.side.removed_from.is_empty());
    let from = ["google.6b00526cc80a09e94.1234abcd", "microsoft.6b00526cc80a09e94.5678ef01"];
    let from = from.map(str::to_owned).into();
    let noted = done(bench.client.note_removal(&record, read.side.version, &from).await.unwrap());
    assert_eq!((&noted.side.removed_from, noted.side.event), (&from, read.side.event));
    assert_eq!(bench.get(&record).await.side.removed_from, from);
    let other = [String::from("google.6b00526cc80a09e94.1234abcd")].into();
    let late = bench.client.note_removal(&record, read.side.version, &other).await.unwrap();
    assert_eq!(late, Written::Changed, "somebody has written it since it was read");
    bench.client.delete(&record).await.unwrap();
    assert_eq!(bench.client.note_removal(&record, None, &from).await.unwrap(), Written::Gone);
}

#[tokio::test]
async fn attendees_are_written_one_by_one_and_nothing_is_written_where_nothing_differs() {
    let bench = bench().await;
    let [first, second] =
        [("A", "a@firma.example"), ("B", "b@firma.example")].map(|(last, mail)| bench.contact(last, mail));
    let columns = json!({ &first: { "status": "Accepted" }, &second: { "status": "Declined" } });
    let record =
        bench.meeting(PERSON_ID, 0, json!({ "contactsIds": [first, second], "contactsColumns": columns }));
    let read = bench.get(&record).await;
    let mut target = read.side.event.clone();
    target.attendees.remove("a@firma.example");
    target.attendees.insert("bert@kanzlei.example".to_owned(), person("", Response::None));
    target.attendees.insert("stranger@else.example".to_owned(), person("", Response::None));
    let fields = [Field::Attendees];
    let written = done(bench.client.update(&record, read.side.version, &target, &fields).await.unwrap());
    let mails: Vec<&String> = written.side.event.attendees.keys().collect();
    assert_eq!(mails, ["anna@kanzlei.example", "b@firma.example", "bert@kanzlei.example"]);
    assert_eq!(written.side.event.attendees["b@firma.example"].response, Response::Declined);
    assert_eq!(written.side.event.attendees["anna@kanzlei.example"].response, Response::Accepted);

    bench.crm.clear_counters();
    let same = bench.client.update(&record, written.side.version, &target, &fields).await.unwrap();
    assert_eq!(done(same), written);
    assert_eq!(bench.calls(PUT), 0);
    bench.get(&record).await;
    assert_eq!(bench.calls("GET /api/v1/Contact"), 0, "the stranger was asked for just before");
}

#[tokio::test]
async fn reading_again_asks_for_nobody_again() {
    let bench = bench().await;
    let contact = bench.contact("A", "a@firma.example");
    let record = bench.meeting(PERSON_ID, 0, json!({ "contactsIds": [contact] }));
    for _ in 0..3 {
        assert_eq!(bench.get(&record).await.side.event.attendees.len(), 2);
    }
    let counted = [GET, "GET /api/v1/User", "GET /api/v1/Contact"].map(|call| bench.calls(call));
    assert_eq!(counted, [3, 1, 1]);
}

#[tokio::test]
async fn people_are_known_by_their_primary_address_users_first() {
    let bench = bench().await;
    let contact = bench.contact("Beirat", "bert@kanzlei.example");
    let lead = json!({ "lastName": "Lead", "emailAddress": "lea@firma.example" });
    bench.crm.create_as(PERSON_ID, "Lead", &object(lead)).unwrap();
    let second = json!([
        { "emailAddress": "first@firma.example", "primary": true },
        { "emailAddress": "second@firma.example", "primary": false },
    ]);
    let both = json!({ "lastName": "Zwei", "emailAddressData": second });
    bench.crm.create_as(PERSON_ID, "Contact", &object(both)).unwrap();
    let asked = ["bert@kanzlei.example", "lea@firma.example", "second@firma.example", "x@else.example"];
    let found = bench.client.people(&asked.map(str::to_owned).into()).await.unwrap();
    let kinds: Vec<(&str, PersonKind)> =
        found.iter().map(|(mail, person)| (mail.as_str(), person.kind)).collect();
    assert_eq!(kinds, [(asked[0], PersonKind::User), (asked[1], PersonKind::Lead)]);
    assert_ne!(found[asked[0]].id, contact);
    assert_eq!(found[asked[0]].name, "Bert Beirat");
}

#[tokio::test]
async fn many_people_are_asked_for_in_bounded_requests() {
    let bench = bench().await;
    let mails: BTreeSet<String> =
        (0..300).map(|n| format!("somebody.with.a.long.name.{n:03}@firma.example")).collect();
    let contacts: Vec<String> = mails.iter().map(|mail| bench.contact("Viele", mail)).collect();
    let found = bench.client.people(&mails).await.unwrap();
    assert_eq!(found.keys().cloned().collect::<BTreeSet<_>>(), mails);
    let record = bench.meeting(PERSON_ID, 0, json!({ "contactsIds": contacts }));
    let fresh =
        EspoCalendar::new(connect(&bench.crm, Credentials::ApiKey(API_KEY.into())), TimeZone::UTC, all())
            .unwrap();
    bench.crm.clear_counters();
    let read = meeting(fresh.get(&record).await.unwrap().unwrap());
    assert_eq!(read.side.event.attendees.len(), 301);
    assert_eq!(bench.calls("GET /api/v1/Contact"), 2);
}

#[tokio::test]
async fn users_are_known_at_once_where_one_request_tells_of_all_and_else_by_their_addresses() {
    let mail = |n: usize| format!("person{n}@firma.example");
    let user = |n: usize| {
        let (id, name) = (format!("6b0052294e42{n:05x}"), format!("person{n}"));
        Account::person(&id, &name, "Petra", &format!("Person{n}"), &mail(n))
    };
    for (count, first, second) in [(150, 1, 0), (230, 2, 1)] {
        let bench = bare_with((0..count).map(user).collect()).await;
        for (n, calls) in [(count - 1, first), (3, second)] {
            bench.crm.clear_counters();
            let found = bench.client.people(&[mail(n)].into()).await.unwrap();
            assert_eq!(found[&mail(n)].kind, PersonKind::User);
            assert_eq!(bench.calls("GET /api/v1/User"), calls, "{n} of {count}");
        }
    }
}

#[tokio::test]
async fn changes_come_page_by_page_each_once() {
    let bench = bench().await;
    let made: BTreeSet<MeetingRef> = (0..7).map(|day| bench.meeting(PERSON_ID, day, json!({}))).collect();
    let noon = "2026-03-20T12:00:00Z".parse().unwrap();
    let mut since = ChangedAfter { at: noon, id: None };
    let mut seen = Vec::new();
    loop {
        let page = bench.client.changed(MeetingKind::Meeting, &since, 3).await.unwrap();
        assert!(page.len() <= 3);
        let Some(last) = page.last() else { break };
        since = ChangedAfter { at: last.at.unwrap(), id: Some(last.record.id.clone()) };
        seen.extend(page.into_iter().map(|changed| {
            assert_eq!(changed.version, Some(1));
            changed.record
        }));
    }
    assert_eq!(seen.len(), 7);
    assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), made);
    let later = ChangedAfter { at: "2026-03-20T12:00:01Z".parse().unwrap(), id: None };
    assert_eq!(bench.client.changed(MeetingKind::Meeting, &later, 3).await.unwrap(), []);
    assert_eq!(
        bench.client.changed(MeetingKind::Call, &ChangedAfter { at: noon, id: None }, 3).await.unwrap(),
        []
    );
}

#[tokio::test]
async fn a_users_records_in_the_window_come_page_by_page_but_for_those_that_did_not_take_place() {
    let bench = bench().await;
    let mine: BTreeSet<String> =
        (0..5).map(|day| bench.meeting(PERSON_ID, day, json!({ "usersIds": [BERT_ID] })).id).collect();
    let alone = bench.meeting(PERSON_ID, 3, json!({}));
    let held = bench.meeting(BERT_ID, 3, json!({ "status": "Held" }));
    bench.meeting(BERT_ID, 3, json!({ "status": "Not Held" }));
    let long_ago = json!({ "dateStart": "2025-04-01 09:00:00", "dateEnd": "2025-04-01 10:00:00" });
    bench.meeting(BERT_ID, 0, long_ago.clone());
    let mut rule = long_ago;
    rule["cRecurrenceRule"] = json!("RRULE:FREQ=WEEKLY");
    let series = bench.meeting(BERT_ID, 0, rule);
    let expected: BTreeSet<String> = mine.into_iter().chain([series.id, held.id]).collect();
    let (mut seen, mut after) = (BTreeSet::new(), None::<String>);
    loop {
        let page = bench
            .client
            .of_user(MeetingKind::Meeting, BERT_ID, &window(), after.as_deref(), 2)
            .await
            .unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.record.id.clone());
        seen.extend(page.into_iter().map(|changed| changed.record.id));
    }
    assert_eq!(seen, expected);
    assert!(!seen.contains(&alone.id));
}

#[tokio::test]
async fn a_call_goes_both_ways_and_stays_a_call() {
    let bench = bench().await;
    let fields = json!({
        "name": "Anruf", "dateStart": "2026-04-01 09:00:00", "dateEnd": "2026-04-01 09:10:00",
        "assignedUserId": BERT_ID, "direction": "Inbound",
    });
    let id = bench.crm.create_as(BERT_ID, "Call", &object(fields)).unwrap();
    let record = MeetingRef { kind: MeetingKind::Call, id };
    let read = bench.get(&record).await;
    let mut target = read.side.event.clone();
    (target.when, target.location) = (hour(), "Room 1".to_owned());
    let fields = [Field::When, Field::Location];
    let written = done(bench.client.update(&record, read.side.version, &target, &fields).await.unwrap());
    assert_eq!(target.differences(&written.side.event), []);
    assert_eq!(bench.record(&record)["direction"], "Inbound");
}

#[tokio::test]
async fn a_record_that_cannot_be_read_says_which_and_why() {
    let bench = bench().await;
    let backwards = json!({ "dateStart": "2026-04-01 09:00:00", "dateEnd": "2026-04-01 08:00:00" });
    let record = bench.meeting(PERSON_ID, 0, backwards);
    match bench.client.get(&record).await.unwrap().unwrap() {
        CrmFound::Unreadable { record: which, why } => {
            assert_eq!(which, record);
            assert!(why.contains("ends before it starts"), "{why}");
        }
        CrmFound::Meeting(meeting) => panic!("{meeting:?}"),
    }
}

#[tokio::test]
async fn a_user_is_told() {
    let bench = bench().await;
    bench.client.tell(BERT_ID, "Changed to different values").await.unwrap();
    let note = bench.crm.journal().into_iter().find(|entry| entry.entity == "Note").unwrap().after.unwrap();
    assert_eq!(note["usersIds"], json!([BERT_ID]));
}

#[tokio::test]
async fn what_is_provisioned_is_what_is_checked() {
    let verdicts = async |bench: &Bench, verdict: Verdict| -> Vec<String> {
        let checks = bench.client.check(&BTreeSet::new()).await;
        checks.into_iter().filter(|check| check.verdict == verdict).map(|check| check.subject).collect()
    };
    let bench = bench().await;
    assert_eq!(verdicts(&bench, Verdict::Broken).await, Vec::<String>::new());
    let warned = verdicts(&bench, Verdict::Warning).await;
    assert_eq!(warned.len(), 6, "{warned:?}");
    assert!(warned.iter().all(|subject| subject.contains("webhook")), "{warned:?}");

    let bare = bare().await;
    let broken = verdicts(&bare, Verdict::Broken).await;
    assert_eq!(broken.len(), 28, "{broken:?}");
    assert!(broken.contains(&"EspoCRM field Call.cEventKey".to_owned()), "{broken:?}");
    let record = bare.meeting(PERSON_ID, 0, json!({}));
    let fault = bare.client.get(&record).await.unwrap_err();
    assert_eq!(fault.code, "attribute_missing");
}

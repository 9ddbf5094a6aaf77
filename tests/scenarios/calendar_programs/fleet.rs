//! Calendars of both providers by a fleet on RabbitMQ and Redis, whose workers are killed while they write.

use jiff::Timestamp;
use serde_json::json;
use shared::clock::{Clock as _, SystemClock};
use simulators::{ActorKind, Dice, FaultKind, FaultRule, JournalEntry};
use system_tests::{Backing, Kind, shared_rabbitmq, shared_redis, wait};

use super::bench::{ANNA, BERND, Bench, OFTEN, Person, Shown, at, crm_times, google_times, outlook_times};
use crate::fleet::seed;
use crate::{SOON, object};

const WORKERS: usize = 3;
/// How often a worker is killed in a round,
const KILLS: usize = 4;
/// each time after up to so many more writes: few enough that the round is not over by then.
const WRITES_BETWEEN_MAX: usize = 5;
/// Records of each kind that are there before the accounts are connected.
const EACH: i8 = 4;

async fn bench() -> Bench {
    let (rabbitmq, redis) = (shared_rabbitmq().await.unwrap(), shared_redis().await.unwrap());
    let backing = Backing::Servers { rabbitmq: rabbitmq.url(), redis: redis.url() };
    let kinds = [&[Kind::Producer][..], &[Kind::Worker; WORKERS]].concat();
    let bench = Bench::new(&backing, &kinds, OFTEN).await;
    bench.said(&["provision", "--yes"]).await;
    let slow = || FaultRule::new(FaultKind::Latency { latency_ms: 20 });
    bench.crm.fault(slow());
    bench.microsoft.fault(slow());
    bench.google.fault(slow());
    bench
}

/// How many writes of ours the systems have taken.
fn writes(bench: &Bench) -> usize {
    let ours = |entry: &JournalEntry| entry.actor_kind == ActorKind::Api;
    let journals = [bench.crm.journal(), bench.microsoft.journal(), bench.google.journal()];
    journals.iter().flatten().filter(|entry| ours(entry)).count()
}

/// Kills workers while they write, each after some more writes, and starts them again at once.
async fn kill_workers(bench: &mut Bench, dice: &mut Dice) {
    let mut next = writes(bench);
    for _ in 0..KILLS {
        next += 1 + dice.below(WRITES_BETWEEN_MAX);
        wait::until("some writes", SOON, async || {
            let done = writes(bench);
            if done >= next { Ok(()) } else { Err(done) }
        })
        .await;
        let worker = &mut bench.members[1 + dice.below(WORKERS)];
        println!("kill -9 of {} after {next} writes", worker.name());
        worker.kill_9();
        worker.start().unwrap();
    }
}

/// What must be where.
#[derive(Default)]
struct Expected {
    crm: Vec<Shown>,
    outlook: Vec<Shown>,
    google: Vec<Shown>,
}

impl Expected {
    fn meeting(&mut self, people: &[Person], name: &str, hour: i8) {
        let shown = (name.to_owned(), at(hour));
        self.crm.push(shown.clone());
        let is_in = |person: Person| people.iter().any(|it| it.id == person.id);
        self.outlook.extend(Some(shown.clone()).filter(|_| is_in(ANNA)));
        self.google.extend(Some(shown).filter(|_| is_in(BERND)));
    }

    async fn come_true(mut self, bench: &Bench, what: &str) {
        for shown in [&mut self.crm, &mut self.outlook, &mut self.google] {
            shown.sort();
        }
        let expected = [self.crm, self.outlook, self.google];
        let agreed = wait::try_until(what, SOON, async || {
            let found = [bench.in_crm(), bench.in_outlook(ANNA), bench.in_google(BERND)];
            if found == expected { Ok(()) } else { Err(found) }
        });
        if let Err(error) = agreed.await {
            panic!("{}\n{error}\nmust be {expected:?}", bench.logs());
        }
    }
}

fn name(what: &str, number: i8) -> String {
    format!("{what} {number}")
}

#[tokio::test]
async fn a_fleet_follows_both_providers_while_its_workers_are_killed() {
    let mut dice = Dice::new(seed());
    let mut bench = bench().await;
    let mut expected = Expected::default();
    let (mut events, mut meetings) = (Vec::new(), Vec::new());
    for number in 0..EACH {
        let hour = 6 + number;
        let subject = name("Gespräch in Outlook", number);
        events.push(bench.event_at_outlook(ANNA, &subject, at(hour)));
        expected.meeting(&[ANNA], &subject, hour);
        let subject = name("Gespräch in Google", number);
        events.push(bench.event_at_google(BERND, &subject, at(hour)));
        expected.meeting(&[BERND], &subject, hour);
        for (entity, people) in [("Meeting", &[ANNA][..]), ("Call", &[BERND]), ("Meeting", &[ANNA, BERND])] {
            let name = name(&format!("{entity} von {}", people.len()), number);
            meetings.push((entity, bench.record_at_espocrm(entity, people, &name, at(hour))));
            expected.meeting(people, &name, hour);
        }
    }
    bench.start().await;
    bench.connect("microsoft", ANNA).await;
    bench.connect("google", BERND).await;
    kill_workers(&mut bench, &mut dice).await;
    expected.come_true(&bench, "the first agreement").await;

    let expected = edit(&bench, &events, &meetings);
    kill_workers(&mut bench, &mut dice).await;
    expected.come_true(&bench, "agreement on the edits").await;

    // What no name shows may still be on its way: whoever was killed before an event had its record's id writes that yet.
    is_settled(&bench, SystemClock.now()).await;
    // The sweeps that follow find nothing more to do.
    bench.drain().await;
    let before = writes(&bench);
    bench.start().await;
    is_settled(&bench, SystemClock.now()).await;
    bench.drain().await;
    assert_eq!(writes(&bench), before, "nothing is written where all agree");
    bench.assert_quiet();
    bench.assert_discreet();
}

/// A second round: on each side something is renamed, moved, deleted and made.
fn edit(bench: &Bench, events: &[String], meetings: &[(&str, String)]) -> Expected {
    let mut expected = Expected::default();
    let late = 14;
    let (outlook, google): (Vec<_>, Vec<_>) = events.chunks(2).map(|pair| (&pair[0], &pair[1])).unzip();
    bench
        .microsoft
        .edit_as_person(outlook[0], &object(json!({ "subject": "Umbenannt in Outlook" })))
        .unwrap();
    expected.meeting(&[ANNA], "Umbenannt in Outlook", 6);
    bench.microsoft.edit_as_person(outlook[1], &outlook_times(at(late))).unwrap();
    expected.meeting(&[ANNA], "Gespräch in Outlook 1", late);
    bench.microsoft.delete_as_person(outlook[2]).unwrap();
    bench.google.edit_as_person(google[0], &object(json!({ "summary": "Umbenannt in Google" }))).unwrap();
    expected.meeting(&[BERND], "Umbenannt in Google", 6);
    bench.google.edit_as_person(google[1], &google_times(at(late))).unwrap();
    expected.meeting(&[BERND], "Gespräch in Google 1", late);
    bench.google.delete_as_person(google[2]).unwrap();
    // Both sides of one pair, in different fields.
    let subject = "Beide Seiten: hier der Name";
    let mut records = bench.crm.records_of("Meeting").into_iter();
    let meeting = records.rfind(|it| it["name"] == "Gespräch in Outlook 3").unwrap();
    let id = meeting["id"].as_str().unwrap();
    bench.crm.edit_as(ANNA.id, "Meeting", id, &object(json!({ "name": subject }))).unwrap();
    bench.microsoft.edit_as_person(outlook[3], &outlook_times(at(late + 1))).unwrap();
    expected.meeting(&[ANNA], subject, late + 1);
    expected.meeting(&[BERND], "Gespräch in Google 3", 9);

    let kinds: [(&str, &[Person], &str); 3] = [
        ("Meeting", &[ANNA], "Meeting von 1"),
        ("Call", &[BERND], "Call von 1"),
        ("Meeting", &[ANNA, BERND], "Meeting von 2"),
    ];
    for (kind, (entity, people, before)) in kinds.into_iter().enumerate() {
        let id = |number: usize| &meetings[3 * number + kind].1;
        let renamed = format!("Umbenannt im CRM: {before}");
        bench.crm.edit_as(people[0].id, entity, id(0), &object(json!({ "name": renamed }))).unwrap();
        expected.meeting(people, &renamed, 6);
        bench.crm.edit_as(people[0].id, entity, id(1), &crm_times(at(late))).unwrap();
        expected.meeting(people, &name(before, 1), late);
        bench.crm.delete_as(people[0].id, entity, id(2)).unwrap();
        expected.meeting(people, &name(before, 3), 9);
        let made = format!("Neu im CRM: {before}");
        bench.record_at_espocrm(entity, people, &made, at(10));
        expected.meeting(people, &made, 10);
    }
    bench.event_at_outlook(ANNA, "Neu in Outlook", at(11));
    expected.meeting(&[ANNA], "Neu in Outlook", 11);
    bench.event_at_google(BERND, "Neu in Google", at(11));
    expected.meeting(&[BERND], "Neu in Google", 11);
    expected
}

/// Waits until a sweep that began after that moment is worked off; then each calendar is read to its end and knows its
/// events, and no letter is dead.
async fn is_settled(bench: &Bench, since: Timestamp) {
    let linked = [bench.in_outlook(ANNA).len(), bench.in_google(BERND).len()];
    wait::until("nothing to do", SOON, async || {
        let status = bench.status().await;
        let flow = &status["flows"][0];
        let swept = flow["sweep_tick"].as_str().and_then(|at| at.parse::<Timestamp>().ok());
        let is_over = swept.is_some_and(|at| at > since)
            && [&flow["sweep_going_on"], &flow["ready"], &flow["delayed"]]
                == [&json!(false), &json!(0), &json!(0)];
        let calendar = |provider: &str, linked: usize| {
            let all = status["sources"].as_array().into_iter().flatten();
            let mut own = all.filter(|it| it["source"].as_str().is_some_and(|text| text.contains(provider)));
            own.any(|it| (&it["linked"], &it["has_token"]) == (&json!(linked), &json!(true)))
        };
        let knows_all = calendar("microsoft", linked[0]) && calendar("google", linked[1]);
        let is_well = is_over && knows_all && status["dead_letters"] == json!([]);
        if is_well { Ok(()) } else { Err(status) }
    })
    .await;
}

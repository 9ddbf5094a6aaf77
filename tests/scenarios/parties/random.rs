//! Random edits of master data, phone numbers and mail addresses on both sides, with faults and stops in between:
//! afterwards both sides say what their people wrote, nothing was created twice, nothing was written that did not
//! differ, and no operation took more requests than it may.
//!
//! `MODEL_SEEDS` and `MODEL_FLEET_SEEDS` say how many seeds are played in this process and by real programs on RabbitMQ
//! and Redis, `MODEL_FIRST_SEED` with which the first of them begins: `cargo xtask model` sets them.

use std::collections::BTreeMap;
use std::time::Duration;

use flows::parties::PartiesSettings;
use futures_util::{StreamExt as _, stream};
use serde_json::{Value, json};
use shared::fault::FaultKind as Kind;
use shared::flow::{Failure, Flow as _};
use simulators::{AdvowareSimulator, Dice, EspocrmSimulator, FaultKind, FaultRule, JournalEntry, Operation};
use system_tests::fleet::Webhook;
use system_tests::{Backing, Fleet, Plan, shared_rabbitmq, shared_redis, wait};

use super::bench::{At, Bench, object};
use super::lists::Lists;

const RECORDS: usize = 3;
const EPOCHS: usize = 3;
/// Edits of one seed, in all.
const EDITS: usize = 30;
const SEEDS: u64 = 200;
const FLEET_SEEDS: u64 = 5;
/// Seeds that are played beside each other.
const AT_ONCE: usize = 4;
/// Long enough for anything that works, on a busy machine.
const SOON: Duration = Duration::from_secs(120);

/// What a company or a person may say, in EspoCRM's and in Advoware's words.
struct Field {
    crm: &'static str,
    advoware: &'static str,
    values: &'static [(&'static str, &'static str)],
}

const LEGAL_FORM: Field =
    Field { crm: "rechtsform", advoware: "rechtsform", values: &[("GmbH", "GmbH"), ("AG", "AG"), ("", "")] };
const COMPANY: [Field; 3] = [
    Field {
        crm: "firmenname",
        advoware: "name",
        values: &[("Ä GmbH", "Ä GmbH"), ("O'B  & C", "O'B  & C"), ("Zoë", "Zoë")],
    },
    Field {
        crm: "handelsregisterNummer",
        advoware: "handelsRegisterNummer",
        values: &[("HRB 1", "HRB 1"), ("HRA 22", "HRA 22"), ("", "")],
    },
    LEGAL_FORM,
];
const PERSON: [Field; 5] = [
    Field {
        crm: "lastName",
        advoware: "name",
        values: &[("Müller", "Müller"), ("von  Ötz", "von  Ötz"), ("Lee", "Lee")],
    },
    Field { crm: "firstName", advoware: "vorname", values: &[("Anna", "Anna"), ("Jörg-Uwe", "Jörg-Uwe")] },
    Field {
        crm: "salutationName",
        advoware: "anrede",
        values: &[("Mr.", "Herr"), ("Ms.", "Frau"), ("", "")],
    },
    Field {
        crm: "dateOfBirth",
        advoware: "geburtsdatum",
        values: &[("1980-05-17", "1980-05-17"), ("2000-02-29", "2000-02-29"), ("", "")],
    },
    LEGAL_FORM,
];

/// The systems that people work with.
#[derive(Clone, Copy)]
pub struct Office<'a> {
    pub crm: &'a EspocrmSimulator,
    pub advoware: &'a AdvowareSimulator,
}

impl Office<'_> {
    pub fn record(&self, id: &str) -> Value {
        self.crm.record(id).unwrap()
    }

    pub fn party(&self, bet_nr: i64) -> Value {
        self.advoware.record(&bet_nr.to_string()).unwrap()
    }

    pub fn edit_record(&self, id: &str, fields: Value) {
        self.crm.edit_as_person(id, &object(fields)).unwrap();
    }

    pub fn edit_party(&self, bet_nr: i64, fields: Value) {
        self.advoware.edit_as_person(&bet_nr.to_string(), &object(fields)).unwrap();
    }
}

/// One pair, with what its people last wrote. Within an epoch each field, and each list's value, is one side's.
struct Pair {
    id: String,
    fields: &'static [Field],
    expected: BTreeMap<&'static str, (&'static str, &'static str)>,
    lists: Lists,
}

fn or_null(text: &str) -> Value {
    if text.is_empty() { Value::Null } else { json!(text) }
}

fn pick(dice: &mut Dice, field: &Field) -> (&'static str, &'static str) {
    field.values[dice.below(field.values.len())]
}

impl Pair {
    fn new(office: Office<'_>, dice: &mut Dice, number: usize) -> Self {
        let fields: &'static [Field] = if number.is_multiple_of(2) { &PERSON } else { &COMPANY };
        let expected: BTreeMap<_, _> = fields.iter().map(|field| (field.crm, pick(dice, field))).collect();
        let mut lists = Lists::new(number);
        let mut record = json!({ "description": format!("kept {number}") });
        for field in fields.iter().filter(|field| !expected[field.crm].0.is_empty()) {
            record[field.crm] = json!(expected[field.crm].0);
        }
        lists.lay_out_in_crm(dice, &mut record);
        // Some are there already on the other side, and differ.
        if dice.chance(0.4) {
            let mut party = json!({ "strasse": format!("kept {number}") });
            fields.iter().for_each(|field| party[field.advoware] = or_null(pick(dice, field).1));
            lists.lay_out_in_advoware(dice, &mut party);
            record["betnr"] =
                json!(office.advoware.create_as_person(&object(party)).unwrap().parse::<i64>().unwrap());
        }
        let id = office.crm.create_as_person(&object(record)).unwrap();
        Self { id, fields, expected, lists }
    }

    /// A person of the field's side writes another value.
    fn edit(&mut self, office: Office<'_>, dice: &mut Dice, owners: &[bool]) {
        if dice.chance(0.5) {
            let bet_nr = office.record(&self.id)["betnr"].as_i64();
            self.lists.edit(office, dice, &self.id, bet_nr);
            return;
        }
        let at = dice.below(self.fields.len());
        let (field, value) = (&self.fields[at], pick(dice, &self.fields[at]));
        let bet_nr = office.record(&self.id)["betnr"].as_i64();
        match (owners[at], bet_nr) {
            // EspoCRM's people can only empty an enum with its empty option.
            (true, _) if matches!(field.crm, "rechtsform" | "salutationName") => {
                office.edit_record(&self.id, json!({ field.crm: value.0 }));
            }
            (true, _) => office.edit_record(&self.id, json!({ field.crm: or_null(value.0) })),
            (false, Some(bet_nr)) => office.edit_party(bet_nr, json!({ field.advoware: or_null(value.1) })),
            (false, None) => return,
        }
        self.expected.insert(field.crm, value);
    }

    /// What is not as its people wrote it.
    fn complaints(&self, office: Office<'_>) -> Vec<String> {
        let record = office.record(&self.id);
        let Some(bet_nr) = record["betnr"].as_i64() else {
            return vec!["not created in Advoware".to_owned()];
        };
        let party = office.party(bet_nr);
        let mut wrong = Vec::new();
        let mut check = |what: &str, found: (Value, Value), expected: (Value, Value)| {
            if found != expected {
                wrong.push(format!("{what} is {found:?}, expected {expected:?}"));
            }
        };
        for field in self.fields {
            let expected = self.expected[field.crm];
            let shown = |value: &Value| json!(value.as_str().unwrap_or_default().replace("T00:00:00", ""));
            let found = (shown(&record[field.crm]), shown(&party[field.advoware]));
            check(field.crm, found, (json!(expected.0), json!(expected.1)));
        }
        let said = (record["syncStatus"].clone(), record["syncErrorMessage"].clone());
        check("status, error", said, (json!("clean"), Value::Null));
        let rows = (record["advowareRowId"].clone(), party["rowId"].clone());
        check("row id", (rows.0, Value::Null), (rows.1, Value::Null));
        let kept = record["description"].as_str().is_some_and(|text| text.starts_with("kept"));
        check("description", (json!(kept), Value::Null), (json!(true), Value::Null));
        wrong.extend(self.lists.complaints(&record, &party));
        wrong
    }
}

const FAULTS: [FaultKind; 5] = [
    FaultKind::CloseAfter,
    FaultKind::CloseBefore,
    FaultKind::CutBody,
    FaultKind::HtmlBadGateway,
    FaultKind::Status { status: 503 },
];

/// Requests fail in every way, each with this share and of each way.
fn trouble(office: Office<'_>, seed: u64, share: f64) {
    for (n, fault) in FAULTS.into_iter().enumerate() {
        let seed = seed.wrapping_add(n as u64);
        let sometimes =
            |method: &str, path: &str| FaultRule::new(fault.clone()).on(method, path).sometimes(share, seed);
        for (method, path) in [
            ("POST", "*/Beteiligte"),
            ("POST", "*/Kommunikationen"),
            ("PUT", "*/Beteiligte/*"),
            ("GET", "*/Beteiligte*"),
        ] {
            office.advoware.fault(sometimes(method, path));
        }
        for method in ["GET", "PUT"] {
            office.crm.fault(sometimes(method, "*/CBeteiligte*"));
        }
    }
}

/// Requests of one operation, and the entries that it changed.
#[derive(Debug, Default, Clone, Copy)]
struct Calls {
    creates: u64,
    reads: u64,
    puts: u64,
    entry_writes: u64,
    entries_changed: u64,
    crm_writes: u64,
    notes: u64,
}

impl Calls {
    /// Of what happened since [`Bench::forget`], and since the journal had this length.
    fn of(bench: &Bench, since: usize) -> Self {
        let calls = bench.calls();
        let count = |name: &str| calls.get(name).copied().unwrap_or(0);
        let is_entry = |name: &&String| name.contains("Kommunikationen");
        let entries = |value: &Option<Value>| {
            let entries =
                value.iter().flat_map(|party| party["kommunikation"].as_array().cloned().unwrap_or_default());
            entries.map(|entry| (entry["id"].to_string(), entry)).collect::<BTreeMap<_, _>>()
        };
        let journal = bench.advoware.journal();
        let changed = |entry: &JournalEntry| {
            let (before, after) = (entries(&entry.before), entries(&entry.after));
            after
                .into_iter()
                .filter(|(id, now)| before.get(id) != Some(now))
                .map(|(id, _)| (entry.record_id.clone(), id))
                .collect::<Vec<_>>()
        };
        let updates = journal[since..].iter().filter(|entry| entry.operation == Operation::Update);
        let mut ids: Vec<_> = updates.flat_map(changed).collect();
        ids.sort_unstable();
        ids.dedup();
        Self {
            creates: count(super::bench::POST),
            reads: count(super::bench::GET),
            puts: count(super::bench::PUT),
            entry_writes: calls.iter().filter(|(name, _)| is_entry(name)).map(|(_, n)| n).sum(),
            entries_changed: ids.len() as u64,
            crm_writes: count(super::bench::CRM_PUT),
            notes: count(super::bench::NOTE),
        }
    }

    /// As the specification bounds them, with one more for each entry that changes.
    fn check(self, what: &str) {
        assert_eq!(
            self.entry_writes, self.entries_changed,
            "{what}: one request for each changed entry: {self:?}"
        );
        let party = self.creates + self.reads + self.puts;
        let most = if self.creates > 0 { 2 } else { 3 };
        // Only a damaged mark is told of: no value is both sides'.
        assert!(party <= most && self.crm_writes <= 1 && self.notes <= 1, "{what}: {self:?}");
        let writes = self.creates + self.puts + self.entry_writes + self.crm_writes;
        assert!(writes > 0 || party <= 1, "{what}: nothing was written: {self:?}");
    }
}

/// The most requests that one operation took.
#[derive(Debug, Default, Clone, Copy)]
struct Most {
    party: u64,
    entries: u64,
    crm_writes: u64,
    operations: u64,
}

impl Most {
    fn take(&mut self, calls: Calls) {
        self.party = self.party.max(calls.creates + calls.reads + calls.puts);
        self.entries = self.entries.max(calls.entry_writes);
        self.crm_writes = self.crm_writes.max(calls.crm_writes);
        self.operations += 1;
    }

    fn and(self, other: Self) -> Self {
        Self {
            party: self.party.max(other.party),
            entries: self.entries.max(other.entries),
            crm_writes: self.crm_writes.max(other.crm_writes),
            operations: self.operations + other.operations,
        }
    }
}

/// One run that may be stopped anywhere, and its report.
async fn disturbed(bench: &Bench, dice: &mut Dice, id: &str) {
    let mut run = bench.run(id);
    if dice.chance(0.4) {
        run.guard = At::stop(u32::try_from(dice.below(12)).unwrap());
    }
    if let Err(fault) = bench.flow.handle(&run).await
        && matches!(fault.kind, Kind::Retryable { .. })
    {
        let failure = Failure { fault: &fault, attempts: 1, dead_letter: None };
        bench.flow.report(&run, &failure).await.ok();
    }
}

/// One run without trouble: it reaches the end within the bounds, and a second one writes nothing.
async fn undisturbed(bench: &Bench, pair: &Pair, what: &str) -> Calls {
    bench.forget();
    let since = bench.advoware.journal().len();
    if let Err(fault) = bench.handle(&pair.id).await {
        panic!("{what}: {fault}");
    }
    let calls = Calls::of(bench, since);
    calls.check(what);
    let settled = bench.counterpart(&pair.id)["kommunikation"].clone();
    let again = bench.handle(&pair.id).await.unwrap().actions;
    let after = &bench.counterpart(&pair.id)["kommunikation"];
    assert_eq!(
        again,
        Vec::<&str>::new(),
        "{what}: written again\n{settled:#}\n{after:#}\n{:#}",
        bench.crm_of(&pair.id)
    );
    assert_eq!(
        pair.complaints(bench.office()),
        Vec::<String>::new(),
        "{what}\n{:#}\n{:#}",
        bench.crm_of(&pair.id),
        bench.counterpart(&pair.id)
    );
    calls
}

fn owners(pairs: &[Pair], dice: &mut Dice, epoch: usize) -> Vec<Vec<bool>> {
    // Before the first sync there is nothing to compare with, so only EspoCRM's people write.
    let of =
        |pair: &Pair, dice: &mut Dice| pair.fields.iter().map(|_| epoch == 0 || dice.chance(0.5)).collect();
    pairs.iter().map(|pair| of(pair, dice)).collect()
}

async fn check(seed: u64) -> Most {
    let mut dice = Dice::new(seed);
    // However slow the machine is, no run takes long enough to say so in the record: that would be one more write.
    let settings = PartiesSettings { syncing_status_after: SOON, ..PartiesSettings::default() };
    let bench = Bench::new(settings).await;
    let mut pairs: Vec<Pair> = (0..RECORDS).map(|n| Pair::new(bench.office(), &mut dice, n)).collect();
    let mut most = Most::default();
    for epoch in 0..EPOCHS {
        let owners = owners(&pairs, &mut dice, epoch);
        pairs.iter_mut().for_each(|pair| pair.lists.begin_epoch(&mut dice, epoch == 0));
        trouble(bench.office(), dice.roll(), 0.06);
        for _ in 0..EDITS / EPOCHS {
            let at = dice.below(pairs.len());
            pairs[at].edit(bench.office(), &mut dice, &owners[at]);
            if dice.chance(0.7) {
                let at = dice.below(pairs.len());
                disturbed(&bench, &mut dice, &pairs[at].id).await;
            }
        }
        bench.crm.faults().clear();
        bench.advoware.faults().clear();
        for pair in &pairs {
            let what = format!("seed {seed}, epoch {epoch}, {}", pair.id);
            most.take(undisturbed(&bench, pair, &what).await);
        }
    }
    judge(bench.office(), &pairs, &format!("seed {seed}"));
    most
}

/// What both systems' ledgers say at the end.
fn judge(office: Office<'_>, pairs: &[Pair], what: &str) {
    assert_eq!(office.advoware.records().len(), pairs.len(), "{what}: created twice");
    let (crm, advoware) = (office.crm.journal(), office.advoware.journal());
    for journal in [&crm, &advoware] {
        let idle = simulators::writes_without_change(journal);
        assert!(idle.is_empty(), "{what}: {idle:#?}");
    }
    let posts = crm.iter().filter(|entry| entry.entity == "Note");
    let conflicts = posts.filter(|entry| {
        entry
            .after
            .as_ref()
            .is_some_and(|note| note["post"].as_str().is_some_and(|text| text.contains("different values")))
    });
    assert_eq!(conflicts.count(), 0, "{what}: no value was both sides'");
}

#[expect(clippy::disallowed_methods, reason = "how much is played is said by whoever plays")]
fn number(variable: &str, default: u64) -> u64 {
    match std::env::var(variable) {
        Ok(text) => text.parse().unwrap_or_else(|e| panic!("{variable}={text}: {e}")),
        Err(_) => default,
    }
}

/// The seeds to play: from the first, or from one that nobody has seen yet.
fn seeds(variable: &str, default: u64) -> std::ops::Range<u64> {
    let first = number("MODEL_FIRST_SEED", fastrand::u64(..u64::from(u32::MAX)));
    let count = number(variable, default);
    println!("MODEL_FIRST_SEED={first} {variable}={count}");
    first..first + count
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_sides_end_as_their_people_wrote() {
    let (seeds, begun) = (seeds("MODEL_SEEDS", SEEDS), std::time::Instant::now());
    let count = seeds.end - seeds.start;
    let played = stream::iter(seeds.map(|seed| async move {
        let played = tokio::spawn(check(seed)).await;
        played.unwrap_or_else(|error| panic!("seed {seed}: {error}"))
    }));
    let most = played.buffer_unordered(AT_ONCE).fold(Most::default(), async |all, one| all.and(one)).await;
    println!(
        "{count} seeds, {EDITS} edits each, {:?}; requests of one operation at most: {most:?}",
        begun.elapsed()
    );
}

/// What real programs settle, killed and restarted meanwhile.
async fn check_fleet(seed: u64) {
    println!("seed {seed}");
    let mut dice = Dice::new(seed);
    let (rabbitmq, redis) = (shared_rabbitmq().await.unwrap(), shared_redis().await.unwrap());
    let backing = Backing::Servers { rabbitmq: rabbitmq.url(), redis: redis.url() };
    let mut fleet = Fleet::new(Plan::new(backing, 1, 2)).await.unwrap();
    let mut pairs: Vec<Pair> = {
        let office = Office { crm: &fleet.crm, advoware: &fleet.advoware };
        (0..RECORDS).map(|n| Pair::new(office, &mut dice, n)).collect()
    };
    let webhooks = fleet.webhooks.clone();
    fleet.start_ready().await.unwrap();
    for epoch in 0..EPOCHS {
        let owners = owners(&pairs, &mut dice, epoch);
        pairs.iter_mut().for_each(|pair| pair.lists.begin_epoch(&mut dice, epoch == 0));
        trouble(Office { crm: &fleet.crm, advoware: &fleet.advoware }, dice.roll(), 0.01);
        for _ in 0..EDITS / EPOCHS {
            let at = dice.below(pairs.len());
            let office = Office { crm: &fleet.crm, advoware: &fleet.advoware };
            // Advoware knows no versions: what a person writes there while the same record is written is lost. So
            // they write while nothing is on its way.
            wait::until("a record at rest", SOON, async || at_rest(office, &pairs[at].id)).await;
            pairs[at].edit(office, &mut dice, &owners[at]);
            tell(&fleet, &webhooks, &mut dice, &pairs[at].id).await;
            if dice.chance(0.15) {
                let member = dice.below(fleet.members.len());
                fleet.members[member].kill_9();
                fleet.members[member].start().unwrap();
            }
        }
        fleet.crm.faults().clear();
        fleet.advoware.faults().clear();
        fleet.ready().await.unwrap();
        for pair in &pairs {
            fleet
                .crm
                .edit_as_person(&pair.id, &object(json!({ "syncStatus": "dirty", "syncRetryCount": 0 })))
                .unwrap();
            tell(&fleet, &webhooks, &mut dice, &pair.id).await;
            let office = Office { crm: &fleet.crm, advoware: &fleet.advoware };
            let what = format!("seed {seed}, epoch {epoch}, agreement");
            wait::until(&what, SOON, async || {
                let wrong = pair.complaints(office);
                if wrong.is_empty() { Ok(()) } else { Err(wrong) }
            })
            .await;
        }
    }
    fleet.drain().await.unwrap();
    let office = Office { crm: &fleet.crm, advoware: &fleet.advoware };
    for pair in &pairs {
        assert_eq!(pair.complaints(office), Vec::<String>::new(), "seed {seed}");
    }
    judge(office, &pairs, &format!("seed {seed}"));
    assert_eq!(fleet.leaks(), Vec::<String>::new(), "seed {seed}");
}

/// Whether nothing is on its way for a record. What was given up, faults being as they are, a person sets going again.
fn at_rest(office: Office<'_>, id: &str) -> Result<(), Value> {
    let record = office.record(id);
    if record["syncStatus"] == "permanently_failed" {
        office.edit_record(id, json!({ "syncStatus": "dirty", "syncRetryCount": 0 }));
    }
    let row = record["betnr"].as_i64().map(|bet_nr| office.party(bet_nr)["rowId"].clone());
    if record["syncStatus"] == "clean" && row.as_ref() == Some(&record["advowareRowId"]) {
        Ok(())
    } else {
        Err(record)
    }
}

/// Sends a webhook until it is taken.
async fn tell(fleet: &Fleet, webhooks: &[Webhook], dice: &mut Dice, id: &str) {
    let fitting: Vec<&Webhook> = webhooks.iter().filter(|hook| hook.url.ends_with("update")).collect();
    let hook = fitting[dice.below(fitting.len())];
    let body = json!([{ "id": id, "description": "told" }]).to_string();
    wait::until("a webhook that is taken", SOON, async || {
        match fleet.http.deliver(hook, body.clone()).await {
            Ok(answer) if (200..300).contains(&answer.status) => Ok(()),
            other => Err(other.map(|answer| answer.status).ok()),
        }
    })
    .await;
}

#[tokio::test]
async fn programs_bring_both_sides_to_what_their_people_wrote() {
    for seed in seeds("MODEL_FLEET_SEEDS", FLEET_SEEDS) {
        check_fleet(seed).await;
    }
}

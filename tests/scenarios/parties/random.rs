//! Random edits on both sides, with faults and stops in between: afterwards both sides say what their people
//! wrote, nothing was created twice, and nothing was written that did not differ.

use std::collections::BTreeMap;

use flows::parties::PartiesSettings;
use serde_json::{Value, json};
use shared::fault::FaultKind as Kind;
use shared::flow::{Failure, Flow as _};
use simulators::{Dice, FaultKind, FaultRule};

use super::bench::{At, Bench};

const RECORDS: usize = 5;
const EPOCHS: usize = 3;
const EDITS: usize = 25;

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

/// One pair, with what its people last wrote. Within an epoch each field is one side's.
struct Pair {
    id: String,
    fields: &'static [Field],
    expected: BTreeMap<&'static str, (&'static str, &'static str)>,
}

fn or_null(text: &str) -> Value {
    if text.is_empty() { Value::Null } else { json!(text) }
}

fn pick(dice: &mut Dice, field: &Field) -> (&'static str, &'static str) {
    field.values[dice.below(field.values.len())]
}

impl Pair {
    fn new(bench: &Bench, dice: &mut Dice, number: usize) -> Self {
        let fields: &'static [Field] = if number.is_multiple_of(2) { &PERSON } else { &COMPANY };
        let expected: BTreeMap<_, _> = fields.iter().map(|field| (field.crm, pick(dice, field))).collect();
        let mut record = json!({ "description": format!("kept {number}") });
        for field in fields.iter().filter(|field| !expected[field.crm].0.is_empty()) {
            record[field.crm] = json!(expected[field.crm].0);
        }
        // Some are there already on the other side, and differ.
        if dice.chance(0.4) {
            let mut party = json!({ "strasse": format!("kept {number}") });
            fields.iter().for_each(|field| party[field.advoware] = or_null(pick(dice, field).1));
            record["betnr"] = json!(bench.party(party));
        }
        Self { id: bench.record(record), fields, expected }
    }

    /// A person of the field's side writes another value.
    fn edit(&mut self, bench: &Bench, dice: &mut Dice, owners: &[bool]) {
        let at = dice.below(self.fields.len());
        let (field, value) = (&self.fields[at], pick(dice, &self.fields[at]));
        let bet_nr = bench.crm_of(&self.id)["betnr"].as_i64();
        match (owners[at], bet_nr) {
            // EspoCRM's people can only empty an enum with its empty option.
            (true, _) if matches!(field.crm, "rechtsform" | "salutationName") => {
                bench.edit_record(&self.id, json!({ field.crm: value.0 }));
            }
            (true, _) => bench.edit_record(&self.id, json!({ field.crm: or_null(value.0) })),
            (false, Some(bet_nr)) => bench.edit_party(bet_nr, json!({ field.advoware: or_null(value.1) })),
            (false, None) => return,
        }
        self.expected.insert(field.crm, value);
    }

    fn check(&self, bench: &Bench) {
        let (record, party) = (bench.crm_of(&self.id), bench.counterpart(&self.id));
        for field in self.fields {
            let expected = self.expected[field.crm];
            let shown =
                |value: &Value| value.as_str().unwrap_or_default().chars().take(40).collect::<String>();
            let theirs = shown(&party[field.advoware]).replace("T00:00:00", "");
            assert_eq!(
                (shown(&record[field.crm]).as_str(), theirs.as_str()),
                expected,
                "{}\n{record:#}\n{party:#}",
                field.crm
            );
        }
        assert_eq!((&record["syncStatus"], &record["syncErrorMessage"]), (&json!("clean"), &Value::Null));
        assert_eq!(record["advowareRowId"], party["rowId"]);
        assert!(record["description"].as_str().unwrap().starts_with("kept"));
    }
}

fn trouble(bench: &Bench, seed: u64) {
    for (n, fault) in [
        FaultKind::CloseAfter,
        FaultKind::CloseBefore,
        FaultKind::CutBody,
        FaultKind::HtmlBadGateway,
        FaultKind::Status { status: 503 },
    ]
    .into_iter()
    .enumerate()
    {
        let seed = seed.wrapping_add(n as u64);
        bench.crm.fault(FaultRule::new(fault.clone()).on("*", "*/CBeteiligte*").sometimes(0.04, seed));
        for (method, path) in [("POST", "*/Beteiligte"), ("PUT", "*/Beteiligte/*"), ("GET", "*/Beteiligte*")]
        {
            bench.advoware.fault(FaultRule::new(fault.clone()).on(method, path).sometimes(0.06, seed));
        }
        for method in ["GET", "PUT"] {
            bench.crm.fault(FaultRule::new(fault.clone()).on(method, "*/CBeteiligte*").sometimes(0.05, seed));
        }
    }
}

/// One run that may be stopped anywhere, and its report.
async fn disturbed(bench: &Bench, dice: &mut Dice, id: &str) {
    let mut run = bench.run(id);
    if dice.chance(0.4) {
        run.guard = At::stop(u32::try_from(dice.below(9)).unwrap());
    }
    if let Err(fault) = bench.flow.handle(&run).await
        && matches!(fault.kind, Kind::Retryable { .. })
    {
        let failure = Failure { fault: &fault, attempts: 1, dead_letter: None };
        bench.flow.report(&run, &failure).await.ok();
    }
}

async fn check(seed: u64) {
    println!("seed {seed}");
    let mut dice = Dice::new(seed);
    let bench = Bench::new(PartiesSettings::default()).await;
    let mut pairs: Vec<Pair> = (0..RECORDS).map(|n| Pair::new(&bench, &mut dice, n)).collect();
    for epoch in 0..EPOCHS {
        // Before the first sync there is nothing to compare with, so only EspoCRM's people write.
        let owners: Vec<Vec<bool>> = pairs
            .iter()
            .map(|pair| pair.fields.iter().map(|_| epoch == 0 || dice.chance(0.5)).collect())
            .collect();
        trouble(&bench, dice.roll());
        for _ in 0..EDITS {
            let at = dice.below(pairs.len());
            pairs[at].edit(&bench, &mut dice, &owners[at]);
            if dice.chance(0.7) {
                let at = dice.below(pairs.len());
                disturbed(&bench, &mut dice, &pairs[at].id).await;
            }
        }
        bench.crm.faults().clear();
        bench.advoware.faults().clear();
        for pair in &pairs {
            bench.dispatch(&pair.id).await;
            assert_eq!(bench.handle(&pair.id).await.unwrap().actions, Vec::<&str>::new(), "seed {seed}");
            pair.check(&bench);
        }
    }
    assert_eq!(bench.advoware.records().len(), RECORDS, "seed {seed}: created twice");
    assert_eq!(bench.notices(), Vec::<String>::new(), "seed {seed}: no field was both sides'");
    for journal in [bench.crm.journal(), bench.advoware.journal()] {
        let idle = simulators::writes_without_change(&journal);
        assert!(idle.is_empty(), "seed {seed}: {idle:#?}");
    }
}

#[tokio::test]
async fn both_sides_end_as_their_people_wrote() {
    for seed in 1..=6 {
        check(seed).await;
    }
    check(fastrand::u64(..)).await;
}

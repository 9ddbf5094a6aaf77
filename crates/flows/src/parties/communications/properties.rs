//! The properties of the plan for phone numbers and mail addresses, within the whole plan of a party: any two lists
//! and any memory, damaged marks, entries in any order, failed writes and stops anywhere. Printed with its seed on
//! failure.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::memory::{Known, Pending, Problem};
use super::remark::{self, Mark};
use super::value::{self, Key, Value};
use super::{Class, CrmEntry, RemoteEntry};
use crate::parties::action::Action;
use crate::parties::model::{End, Stop, World};
use crate::parties::party::{Identity, Kind, Party};
use crate::parties::plan::Policy;
use crate::parties::sides::Status;
use crate::parties::tests::agreed;

/// Each case reads some hundred phone numbers.
const CASES: u32 = 2_000;

fn config() -> ProptestConfig {
    ProptestConfig { cases: CASES, failure_persistence: None, ..ProptestConfig::default() }
}

/// The same few values in many forms, so that they meet: numbers as Advoware's people write them, and in E.164.
const PHONES: [(&str, [&str; 3]); 5] = [
    ("+4951112345", ["0511 12345", "0511/123-45", "+49 (0)511 12345"]),
    ("+491701234567", ["0170 1234567", "+49 170 1234567", "0049 170 1234567"]),
    ("+49511999999", ["0511 999999", "(0511) 99 99 99", "0511-999999"]),
    ("+4951122222", ["0511 22222", "+49 511 222-22", "0511 22222 ext. 7"]),
    ("+43123456", ["+43 1 23456", "0043 1 23456", "+43 123456"]),
];
const MAILS: [(&str, [&str; 3]); 3] = [
    ("Erika@Example.de", ["erika@example.de", " Erika@Example.de", "ERIKA@EXAMPLE.DE"]),
    ("max@example.com", ["max@example.com", "Max@Example.com", "max@example.com "]),
    ("office@example.org", ["office@example.org", "Office@example.org", "office@example.ORG"]),
];
const FOREIGN: [&str; 4] = ["110", "siehe Akte", "www.example.de", "0511 12345 Sekretariat"];
const TYPES: [&str; 6] = ["Office", "Mobile", "Home", "Fax", "Other", "Own"];

fn phone() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(PHONES.map(|(crm, _)| crm).to_vec())
}

fn mail() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(MAILS.map(|(crm, _)| crm).to_vec())
}

fn agreed_value() -> impl Strategy<Value = &'static str> {
    prop_oneof![2 => phone(), 1 => mail()]
}

fn written_value() -> impl Strategy<Value = &'static str> {
    let forms: Vec<&str> =
        PHONES.iter().chain(&MAILS).flat_map(|(crm, forms)| [&[*crm], &forms[..]].concat()).collect();
    prop_oneof![
        8 => proptest::sample::select(forms),
        2 => Just(""),
        1 => proptest::sample::select(FOREIGN.to_vec()),
    ]
}

fn crm_lists() -> impl Strategy<Value = Vec<CrmEntry>> {
    let flags = (any::<bool>(), proptest::bool::weighted(0.2), proptest::bool::weighted(0.2));
    let phones =
        proptest::collection::btree_map(phone(), (proptest::sample::select(TYPES.to_vec()), flags), 0..4);
    let mails = proptest::collection::btree_map(mail(), flags, 0..3);
    (phones, mails, any::<usize>(), proptest::bool::weighted(0.9)).prop_map(
        |(phones, mails, first, has_primary)| {
            let entry = |class,
                         value: &str,
                         kind: Option<&str>,
                         (_, opt_out, invalid): (bool, bool, bool)| CrmEntry {
                class,
                value: value.to_owned(),
                kind: kind.map(str::to_owned),
                primary: false,
                opt_out,
                invalid,
            };
            let mut phones: Vec<_> = phones
                .into_iter()
                .map(|(v, (kind, flags))| entry(Class::Phone, v, Some(kind), flags))
                .collect();
            let mut mails: Vec<_> =
                mails.into_iter().map(|(v, flags)| entry(Class::Mail, v, None, flags)).collect();
            for list in [&mut phones, &mut mails] {
                if has_primary && !list.is_empty() {
                    let at = first % list.len();
                    list[at].primary = true;
                }
            }
            [phones, mails].concat()
        },
    )
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![3 => Just(String::new()), 2 => Just("Sekretariat".to_owned()), 1 => Just("nur [abends]\nMutter".to_owned())]
}

fn damage(mark: String, how: u8, at: usize) -> String {
    let mut chars: Vec<char> = mark.chars().collect();
    let at = at % chars.len().max(1);
    match how {
        0 => drop(chars.remove(at)),
        1 => chars.insert(at, 'ß'),
        2 => chars.truncate(at),
        _ => chars[at] = '!',
    }
    chars.into_iter().collect()
}

prop_compose! {
    fn entry()(
        value in written_value(), marked in proptest::option::weighted(0.8, agreed_value()),
        kind in 1u8..=12, text in text(), online: bool,
        broken in proptest::option::weighted(0.15, (0u8..4, any::<usize>())), in_front in proptest::bool::weighted(0.1),
        is_slot in proptest::bool::weighted(0.1),
    ) -> RemoteEntry {
        let mark = match marked {
            _ if is_slot => Mark::Slot { kind },
            Some(value) => Mark::Value { value: value.to_owned(), kind },
            None => Mark::None,
        };
        let mut mark = remark::write(&mark, "");
        if let (Some((how, at)), false) = (broken, mark.is_empty()) {
            mark = damage(mark, how, at);
        }
        let remark = if in_front { format!("{text} {mark}") } else { format!("{mark} {text}") };
        RemoteEntry { id: 0, value: value.to_owned(), remark: remark.trim().to_owned(), online }
    }
}

prop_compose! {
    /// Any two lists, any memory, in agreement or not.
    fn world()(
        crm in crm_lists(), entries in proptest::collection::vec(entry(), 0..5), shift in 0usize..5,
        known in proptest::collection::btree_map(1i64..8, (agreed_value(), any::<bool>()), 0..5),
        mirror in proptest::option::of((1u8..=8, written_value())),
        policy in proptest::sample::select(vec![Policy::CrmWins, Policy::RemoteWins, Policy::NewestWins]),
    ) -> World {
        let mut world = agreed(party(), policy);
        let mut entries = entries;
        entries.iter_mut().enumerate().for_each(|(at, entry)| entry.id = i64::try_from(at).unwrap() + 1);
        let at = shift.min(entries.len());
        entries.rotate_left(at);
        let remote = world.parties.get_mut(&1).unwrap();
        remote.communications.entries = entries;
        remote.communications.mirrors = mirror.into_iter().map(|(kind, value)| (kind, value.to_owned())).collect();
        world.crm.as_mut().unwrap().communications = crm;
        let known = known.into_iter().map(|(id, (value, primary))| Known { id, value: value.to_owned(), primary });
        world.link.as_mut().unwrap().communications.known = known.collect();
        world
    }
}

fn party() -> Party {
    Party {
        identity: Identity {
            kind: Kind::Person,
            name: Some("Muster".into()),
            first_name: Some("Erika".into()),
        },
        legal_form: None,
        salutation: None,
        birth_date: None,
        register_number: None,
    }
}

fn read(text: &str) -> Value {
    value::read(text, value::Country::default())
}

fn crm_keys(world: &World) -> Vec<Key> {
    let entries = &world.crm.as_ref().unwrap().communications;
    entries.iter().filter_map(|e| value::key(&e.value, value::Country::default())).collect()
}

/// Entries that are synchronised and hold a value, with it.
fn remote_values(world: &World) -> Vec<(i64, Key)> {
    let mut values = Vec::new();
    let remote = &world.parties[&1].communications;
    for entry in &remote.entries {
        let mark = remark::read(&entry.remark).mark;
        let is_internet = matches!(mark, Mark::Value { kind: 5, .. } | Mark::Slot { kind: 5 });
        if let Value::Known(key) = read(&entry.value) {
            let same = |shown: &&(u8, String)| read(&shown.1) == Value::Known(key.clone());
            let is_unmarked = matches!(mark, Mark::None | Mark::Damaged);
            let shown = remote.mirrors.iter().filter(|_| is_unmarked).find(same).map(|(kind, _)| *kind);
            if !is_internet && shown != Some(5) {
                values.push((entry.id, key));
            }
        }
    }
    values
}

/// Their values; how often each stands in Advoware.
fn remote_keys(world: &World) -> BTreeMap<Key, usize> {
    let mut keys = BTreeMap::new();
    remote_values(world).into_iter().for_each(|(_, key)| *keys.entry(key).or_default() += 1);
    keys
}

/// Values that an entry stood for before somebody wrote into it what is no value: they are left as they are.
fn frozen(world: &World) -> BTreeSet<Key> {
    let known = &world.link.as_ref().unwrap().communications;
    let entries = world.parties[&1].communications.entries.iter();
    let is_foreign = |e: &&RemoteEntry| matches!(read(&e.value), Value::Neither | Value::NotInternational);
    entries
        .filter(is_foreign)
        .filter_map(|entry| match remark::read(&entry.remark).mark {
            Mark::Value { value, .. } => Some(value),
            _ => known.known(entry.id).map(|known| known.value.clone()),
        })
        .filter_map(|value| value::key(&value, value::Country::default()))
        .collect()
}

fn check_agreement(world: &World) {
    let (crm, remote, frozen) = (crm_keys(world), remote_keys(world), frozen(world));
    let ours: BTreeSet<&Key> = crm.iter().collect();
    assert_eq!(ours.len(), crm.len(), "a value stands twice in EspoCRM: {world:#?}");
    let theirs: BTreeSet<&Key> = remote.keys().collect();
    let missing: Vec<_> = ours.difference(&theirs).filter(|key| !frozen.contains(key)).collect();
    assert!(missing.is_empty(), "not in Advoware: {missing:?} {world:#?}");
    let missing: Vec<_> = theirs.difference(&ours).collect();
    assert!(missing.is_empty(), "not in EspoCRM: {missing:?} {world:#?}");
}

/// What the users wrote into remarks themselves.
fn texts(world: &World) -> BTreeMap<i64, String> {
    let entries = world.parties[&1].communications.entries.iter();
    entries.map(|entry| (entry.id, remark::read(&entry.remark).text)).collect()
}

fn flags(world: &World) -> BTreeMap<Key, (bool, bool, bool)> {
    let entries = world.crm.as_ref().unwrap().communications.iter();
    let key = |e: &CrmEntry| value::key(&e.value, value::Country::default());
    entries.filter_map(|e| Some((key(e)?, (e.primary, e.opt_out, e.invalid)))).collect()
}

fn check_kept(before: &World, after: &World) {
    let (old, new) = (texts(before), texts(after));
    for (id, text) in old {
        assert_eq!(Some(&text), new.get(&id), "a user's remark is lost: {before:#?}\n{after:#?}");
    }
    let (old, new) = (remote_keys(before), remote_keys(after));
    for (key, count) in new {
        assert!(
            count <= old.get(&key).copied().unwrap_or(0).max(1),
            "{key:?} is doubled: {before:#?}\n{after:#?}"
        );
    }
    let (old, new) = (flags(before), flags(after));
    for (key, (primary, opt_out, invalid)) in &old {
        if let Some(found) = new.get(key) {
            assert!(!primary || found.0, "{key:?} is not the first any more: {before:#?}\n{after:#?}");
            assert_eq!((*opt_out, *invalid), (found.1, found.2), "{key:?}: {before:#?}\n{after:#?}");
        }
    }
    for class in Class::ALL {
        let count = |world: &World| {
            let entries = world.crm.as_ref().unwrap().communications.iter();
            entries.filter(|e| e.class == class && e.primary).count()
        };
        assert!(
            count(after) <= 1
                && count(after) >= count(before).min(usize::from(new.keys().any(|k| k.class() == class)))
        );
    }
}

/// What must not depend on stops or on the order of entries.
fn outcome(world: &World) -> impl PartialEq + std::fmt::Debug + use<> {
    let side = &world.parties[&1].communications;
    let entries: BTreeMap<i64, RemoteEntry> = side.entries.iter().map(|e| (e.id, e.clone())).collect();
    (
        world.crm.as_ref().unwrap().communications.clone(),
        entries,
        world.link.as_ref().unwrap().communications.clone(),
    )
}

/// Found by the model of both systems: seed 1048.
#[test]
fn a_value_that_was_emptied_before_it_reached_the_crm_frees_its_entry() {
    let mut world = agreed(party(), Policy::CrmWins);
    let mark = Mark::Value { value: PHONES[0].0.to_owned(), kind: 1 };
    let entry =
        RemoteEntry { id: 1, value: String::new(), remark: remark::write(&mark, "Mutter"), online: false };
    world.parties.get_mut(&1).unwrap().communications.entries = vec![entry];
    let pending = Pending { id: 1, before: None, after: Some(PHONES[0].0.to_owned()) };
    world.link.as_mut().unwrap().communications.pending = vec![pending];
    assert!(matches!(world.run(None), End::Done(_)));
    assert_eq!(world.parties[&1].communications.entries[0].remark, "[ESPOCRM-SLOT:1] Mutter");
    assert_eq!(world.plan().unwrap().actions, Vec::<Action>::new());
}

/// Found by the model of both systems: seed 1082.
#[test]
fn a_mark_that_ran_ahead_still_does_where_the_one_after_it_was_not_written() {
    let (old, between, new) = (PHONES[0].0, PHONES[1].0, PHONES[2].0);
    let mut world = in_step(old);
    write_in_advoware(&mut world, 1, between);
    // The mark is written, and then nothing can be read back.
    assert_eq!(world.run(Some(Stop { step: 2, after_effect: false })), End::Stopped);
    write_in_advoware(&mut world, 1, new);
    // The mark cannot be written.
    assert_eq!(world.run(Some(Stop { step: 1, after_effect: false })), End::Stopped);
    assert!(matches!(world.run(None), End::Done(_)));
    assert_eq!(crm_keys(&world), vec![Key::Phone(new.to_owned())]);
    assert_eq!(world.parties[&1].communications.entries[0].value, new);
    assert_eq!(world.plan().unwrap().actions, Vec::<Action>::new());
    assert_eq!(world.notices, Vec::new());
}

/// An entry that was new, and removed by somebody while EspoCRM's answer was lost.
#[test]
fn what_was_removed_with_its_entry_is_removed_from_the_crm_at_any_attempt() {
    let mut world = in_step(PHONES[0].0);
    let entries = &mut world.parties.get_mut(&1).unwrap().communications.entries;
    entries.push(RemoteEntry { id: 2, value: PHONES[1].0.to_owned(), remark: String::new(), online: false });
    world.parties.get_mut(&1).unwrap().row_id = Some("edited".to_owned());
    assert_eq!(world.run(Some(Stop { step: 3, after_effect: true })), End::Stopped);
    assert_eq!(crm_keys(&world).len(), 2);
    world.parties.get_mut(&1).unwrap().communications.entries.pop();
    assert_eq!(world.run(Some(Stop { step: 0, after_effect: true })), End::Stopped);
    assert!(matches!(world.run(None), End::Done(_)));
    assert_eq!(crm_keys(&world), vec![Key::Phone(PHONES[0].0.to_owned())]);
    assert_eq!(world.parties[&1].communications.entries.len(), 1);
}

/// What a field shows that holds the value of an entry from before it was emptied is another entry.
#[test]
fn an_empty_entry_has_no_kind_from_a_field_that_shows_what_it_held() {
    let mut world = agreed(party(), Policy::CrmWins);
    let remote = &mut world.parties.get_mut(&1).unwrap().communications;
    let remark = "[ESPOCRMKzQ5NTExMTIzNDU=:1]".to_owned();
    remote.entries = vec![RemoteEntry { id: 4, value: String::new(), remark, online: false }];
    remote.mirrors = vec![(5, PHONES[0].0.to_owned())];
    let known = Known { id: 4, value: PHONES[0].0.to_owned(), primary: false };
    world.link.as_mut().unwrap().communications.known = vec![known];
    assert!(matches!(world.run(None), End::Done(_)));
    assert_eq!(world.plan().unwrap().actions, Vec::<Action>::new());
}

/// EspoCRM would refuse the whole list for it.
#[test]
fn a_list_that_is_written_holds_no_national_number() {
    let mut world = in_step(PHONES[0].0);
    world.crm.as_mut().unwrap().communications[0].value = PHONES[0].1[0].to_owned();
    assert_eq!(world.plan().unwrap().actions, Vec::<Action>::new());
    let entries = &mut world.parties.get_mut(&1).unwrap().communications.entries;
    entries.push(RemoteEntry {
        id: 2,
        value: PHONES[1].1[0].to_owned(),
        remark: String::new(),
        online: false,
    });
    assert!(matches!(world.run(None), End::Done(_)));
    let values = world.crm.as_ref().unwrap().communications.iter().map(|entry| entry.value.as_str());
    assert_eq!(values.collect::<Vec<_>>(), [PHONES[0].0, PHONES[1].0]);
    assert_eq!(world.plan().unwrap().actions, Vec::<Action>::new());
}

/// Both sides hold this number and nothing else, and the link knows it.
fn in_step(value: &str) -> World {
    let mut world = agreed(party(), Policy::CrmWins);
    let mark = Mark::Value { value: value.to_owned(), kind: 1 };
    let entry =
        RemoteEntry { id: 1, value: value.to_owned(), remark: remark::write(&mark, ""), online: false };
    world.parties.get_mut(&1).unwrap().communications.entries = vec![entry];
    world.crm.as_mut().unwrap().communications = vec![CrmEntry {
        class: Class::Phone,
        value: value.to_owned(),
        kind: Some("Office".to_owned()),
        primary: true,
        opt_out: false,
        invalid: false,
    }];
    world.settle().unwrap();
    world
}

/// Numbers that nobody has had before.
const FRESH: [&str; 4] = ["+49305550101", "+49305550102", "+49305550103", "+49305550104"];

/// A person writes another number in the place of one.
fn change(world: &mut World, in_crm: bool, old: &Key, new: &str) {
    if in_crm {
        let is_old = |entry: &&mut CrmEntry| read(&entry.value) == Value::Known(old.clone());
        let entries = &mut world.crm.as_mut().unwrap().communications;
        new.clone_into(&mut entries.iter_mut().find(is_old).unwrap().value);
    } else {
        let (id, _) = remote_values(world).into_iter().find(|(_, key)| key == old).unwrap();
        write_in_advoware(world, id, new);
    }
}

fn write_in_advoware(world: &mut World, id: i64, value: &str) {
    let entries = &mut world.parties.get_mut(&1).unwrap().communications.entries;
    value.clone_into(&mut entries.iter_mut().find(|entry| entry.id == id).unwrap().value);
}

proptest! {
    #![proptest_config(config())]

    /// Both sides agree after one run, nothing of anybody's is lost or doubled, and a second run writes nothing.
    #[test]
    fn one_run_settles_everything(mut world in world()) {
        let before = world.clone();
        prop_assert!(matches!(world.run(None), End::Done(_)));
        check_agreement(&world);
        check_kept(&before, &world);
        let again = world.plan().unwrap();
        prop_assert_eq!(&again.actions, &Vec::<Action>::new(), "{:#?}\n{:#?}", before, world);
        prop_assert!(world.puts == 0 && world.patches <= 1);
    }

    /// In Advoware one write for each entry that changes, and no more.
    #[test]
    fn an_entry_is_written_once(mut world in world()) {
        let before = world.parties[&1].communications.entries.clone();
        world.run(None);
        let after = &world.parties[&1].communications.entries;
        let changed = after.iter().filter(|entry| !before.contains(entry)).count();
        prop_assert_eq!(usize::try_from(world.entry_writes).unwrap(), changed);
    }

    /// The order of entries says nothing.
    #[test]
    fn the_order_of_entries_does_not_matter(mut world in world(), shift in 0usize..5) {
        let mut other = world.clone();
        let entries = &mut other.parties.get_mut(&1).unwrap().communications.entries;
        let at = shift.min(entries.len());
        entries.rotate_left(at);
        world.run(None);
        other.run(None);
        prop_assert!(outcome(&world) == outcome(&other), "{:#?}\n{:#?}", outcome(&world), outcome(&other));
    }

    /// Stopped before or after the effect of any step (a failed write, a lost answer, a crash), the next runs come to
    /// the same end.
    #[test]
    fn a_stop_anywhere_changes_nothing_in_the_end(mut world in world(), step in 0usize..9, after_effect: bool, twice: bool) {
        let before = world.clone();
        let mut undisturbed = world.clone();
        undisturbed.settle().unwrap();
        let stop = Some(Stop { step, after_effect });
        let mut stops = usize::from(world.run(stop) == End::Stopped);
        if twice {
            stops += usize::from(world.run(stop) == End::Stopped);
        }
        world.settle().unwrap();
        prop_assert!(
            outcome(&world) == outcome(&undisturbed),
            "{:#?}\n{:#?}\n{:#?}", before, outcome(&world), outcome(&undisturbed)
        );
        prop_assert!(world.notices.len() >= undisturbed.notices.len(), "{:#?}\n{:#?}", world.notices, undisturbed.notices);
        prop_assert!(world.notices.len() <= undisturbed.notices.len() * (1 + stops), "{:#?}", world.notices);
    }

    /// One side's people change a number again and again while runs end anywhere: both sides end with what they wrote
    /// last, and with everything else as it was.
    #[test]
    fn what_was_written_last_arrives(
        mut world in world(), at: usize, in_crm: bool,
        stops in proptest::collection::vec((0usize..7, any::<bool>()), 1..=FRESH.len()),
    ) {
        world.settle().unwrap();
        let numbers: Vec<Key> = if in_crm { crm_keys(&world) } else { remote_keys(&world).into_keys().collect() };
        let numbers: Vec<Key> = numbers.into_iter().filter(|key| key.class() == Class::Phone).collect();
        prop_assume!(!numbers.is_empty());
        let mut present = numbers[at % numbers.len()].clone();
        let mut expected: BTreeSet<Key> = crm_keys(&world).into_iter().collect();
        if in_crm || remote_keys(&world)[&present] == 1 {
            expected.remove(&present);
        }
        for (fresh, (step, after_effect)) in FRESH.into_iter().zip(stops) {
            change(&mut world, in_crm, &present, fresh);
            present = Key::Phone(fresh.to_owned());
            world.run(Some(Stop { step, after_effect }));
        }
        let before = world.clone();
        world.settle().unwrap();
        expected.insert(present);
        let found: BTreeSet<Key> = crm_keys(&world).into_iter().collect();
        prop_assert!(found == expected, "{:?} {:?}\n{:#?}\n{:#?}", found, expected, before, world);
        check_agreement(&world);
    }

    /// A record that says `clean` is agreed on, however its first run ended: what Advoware's people write from then on
    /// is a change, and not what loses at a first sync.
    #[test]
    fn an_edit_after_a_first_run_survives(
        mut world in world(), has_row_id: bool, step in 0usize..9, after_effect: bool,
    ) {
        world.link = None;
        let crm = world.crm.as_mut().unwrap();
        crm.status = None;
        crm.row_id = crm.row_id.take().filter(|_| has_row_id);
        world.run(Some(Stop { step, after_effect }));
        if world.crm.as_ref().unwrap().status == Some(Status::Clean) {
            let party = world.parties.get_mut(&1).unwrap();
            (party.legal_form, party.row_id) = (Some("AG".to_owned()), Some("edited".to_owned()));
            world.settle().unwrap();
            prop_assert_eq!(world.crm.as_ref().unwrap().party.legal_form.as_deref(), Some("AG"));
            prop_assert_eq!(world.parties[&1].legal_form.as_deref(), Some("AG"));
        }
    }

    /// What is odd is told once, not at every look.
    #[test]
    fn a_problem_is_told_once(mut world in world(), again in 1usize..4) {
        world.settle().unwrap();
        let told = world.notices.len();
        for _ in 0..again {
            world.run(None);
        }
        prop_assert_eq!(world.notices.len(), told);
        let known = &world.link.as_ref().unwrap().communications.told;
        let is_damage = |problem: &&Problem| matches!(problem, Problem::MarkDamaged { .. });
        prop_assert!(known.iter().filter(is_damage).all(|problem| match problem {
            Problem::MarkDamaged { value, .. } => !matches!(read(value), Value::Known(_)),
            _ => true,
        }), "{:#?}", world);
    }

    /// A person who is asked decides with what EspoCRM says; until then nothing is written.
    #[test]
    fn a_conflict_may_wait_for_a_person(mut world in world()) {
        world.rules.policy = Policy::Ask;
        let before = world.clone();
        world.settle().unwrap();
        let crm = world.crm.as_mut().unwrap();
        if crm.status == Some(Status::Conflict) {
            prop_assert_eq!(&world.parties, &before.parties);
            prop_assert_eq!(&crm.communications, &before.crm.as_ref().unwrap().communications);
            crm.status = Some(Status::Dirty);
            world.settle().unwrap();
        }
        check_agreement(&world);
        check_kept(&before, &world);
    }

    /// Marks alone are enough: an installation that has lost its store sees no change where there was none.
    #[test]
    fn what_is_in_step_stays_so_without_the_store(mut world in world()) {
        world.settle().unwrap();
        let settled = world.clone();
        // What only the store knew of an entry that is no value any more cannot be known without it.
        let entries = &world.parties[&1].communications.entries;
        prop_assume!(entries.iter().all(|entry| {
            let is_marked = matches!(remark::read(&entry.remark).mark, Mark::Value { .. });
            is_marked || world.link.as_ref().unwrap().communications.known(entry.id).is_none()
        }));
        world.link = None;
        world.settle().unwrap();
        prop_assert_eq!(&world.crm.as_ref().unwrap().communications, &settled.crm.as_ref().unwrap().communications);
        prop_assert_eq!(&world.parties[&1].communications, &settled.parties[&1].communications);
    }
}

//! The properties of the plan, each under at least 10,000 generated cases. Printed with its seed on failure.

use std::time::Duration;

use jiff::Timestamp;
use proptest::prelude::*;
use shared::clock::later;

use super::action::{Action, Verdict};
use super::link::{LookAgain, OpenConflict, PartyLink};
use super::map::is_candidate;
use super::model::{End, Stop, World, edit_remote, remote_of};
use super::party::{Field, Identity, Kind, Party, Salutation};
use super::plan::{self, CreateIntent, GONE_TEXT, Policy, Rules};
use super::sides::{CrmSide, RemoteSide, Status, User};

const CASES: u32 = 10_000;

fn config() -> ProptestConfig {
    ProptestConfig { cases: CASES, failure_persistence: None, ..ProptestConfig::default() }
}

fn now() -> Timestamp {
    "2026-11-20T09:15:00Z".parse().unwrap()
}

fn word() -> impl Strategy<Value = Option<String>> {
    proptest::option::weighted(0.8, prop_oneof!["A", "B", "C"])
}

fn identity() -> impl Strategy<Value = Identity> {
    (any::<bool>(), word(), word()).prop_map(|(person, name, first_name)| match person {
        true => Identity { kind: Kind::Person, name, first_name },
        false => Identity { kind: Kind::Company, name, first_name: None },
    })
}

fn known() -> impl Strategy<Value = Salutation> {
    prop_oneof![Just("Mr."), Just("Ms.")].prop_map(|word| Salutation::Known(word.to_owned()))
}

fn birth_date() -> impl Strategy<Value = Option<jiff::civil::Date>> {
    proptest::option::of((1i8..3).prop_map(|day| jiff::civil::date(1980, 5, day)))
}

fn party(salutation: impl Strategy<Value = Option<Salutation>> + 'static) -> BoxedStrategy<Party> {
    (identity(), word(), salutation, birth_date(), word())
        .prop_map(|(identity, legal_form, salutation, birth_date, register_number)| Party {
            identity,
            legal_form,
            salutation,
            birth_date,
            register_number,
        })
        .boxed()
}

fn crm_party() -> impl Strategy<Value = Party> {
    let only = Just(Salutation::CrmOnly("Dr.".to_owned()));
    party(proptest::option::of(prop_oneof![3 => known(), 1 => only]))
}

fn remote_party() -> impl Strategy<Value = Party> {
    let only = Just(Salutation::RemoteOnly("Firma".to_owned()));
    party(proptest::option::of(prop_oneof![3 => known(), 1 => only]))
}

fn status() -> impl Strategy<Value = Option<Status>> {
    proptest::option::of(proptest::sample::select(Status::ALL.to_vec()))
}

fn time() -> impl Strategy<Value = Option<Timestamp>> {
    proptest::option::of((0i64..4).prop_map(|n| now() - jiff::SignedDuration::from_hours(20 * n)))
}

prop_compose! {
    fn crm_side(bet_nr: Option<i64>)(
        party in crm_party(), row in proptest::option::of(0u64..3), status in status(), last_sync in time(),
        modified_at in time(), deleted_at in time(), failed: bool, assigned: bool,
    ) -> CrmSide {
        CrmSide {
            id: "6b00526cc80a09e94".into(),
            party,
            communications: Vec::new(),
            bet_nr,
            row_id: row.map(|n| format!("row{n}")),
            status,
            last_sync,
            deleted_at,
            error: failed.then(|| GONE_TEXT.into()),
            retry_count: i64::from(failed),
            modified_at,
            assigned_user: assigned.then(|| User { id: "u1".into(), name: "Anna".into() }),
        }
    }
}

fn policy() -> impl Strategy<Value = Policy> {
    proptest::sample::select(vec![Policy::CrmWins, Policy::RemoteWins, Policy::NewestWins, Policy::Ask])
}

fn rules_of(policy: Policy) -> Rules {
    Rules { policy, fallback_user_id: Some("u9".into()), ..Rules::default() }
}

prop_compose! {
    fn link(bet_nr: i64)(
        base in proptest::option::weighted(0.8, party(proptest::option::of(known()))), row in 0u64..3,
        gone in proptest::option::weighted(0.2, crm_party()), deleted: bool, asked in proptest::option::of(any::<bool>()),
        hours in 1u64..24, due: bool,
    ) -> PartyLink {
        PartyLink {
            row_id: Some(format!("row{row}")),
            base: base.map(Party::masked),
            gone,
            tombstone: deleted.then(now),
            conflict: asked.map(|asked| OpenConflict { fields: Vec::new(), asked, winner: None }),
            interval_seconds: hours * 3_600,
            due_at: due.then(now),
            ..PartyLink::new(bet_nr, LookAgain::default())
        }
    }
}

prop_compose! {
    /// Any state of both systems and of our memory, plausible or not.
    fn world()(
        key in proptest::option::of(1i64..3), link_key in 1i64..3, intent_key in proptest::option::of(1i64..3),
        policy in policy(),
    )(
        crm in proptest::option::weighted(0.95, crm_side(key).boxed()),
        link in proptest::option::of(link(link_key).boxed()),
        intent in proptest::option::weighted(0.2, crm_party()),
        intent_key in Just(intent_key),
        intent_found in any::<bool>(),
        remotes in proptest::collection::btree_map(1i64..3, (remote_party(), time()), 0..3),
        policy in Just(policy),
    ) -> World {
        let parties = remotes.into_iter().map(|(key, (party, changed_at))| {
            (key, RemoteSide { changed_at, ..remote_of(key, 1, &person_rule(party), now()) })
        });
        World {
            crm, parties: parties.collect(), link,
            intent: intent.map(|party| {
                let salutation = party.salutation.clone().filter(|s| matches!(s, Salutation::Known(_)));
                CreateIntent { party: Party { salutation, ..party.masked() }, bet_nr: intent_key, found: intent_key.is_some() && intent_found }
            }),
            notices: Vec::new(), creates: 0, puts: 0, entry_writes: 0, patches: 0, rules: rules_of(policy), now: now(), row: 10,
            intruder: None,
        }
    }
}

/// Advoware has no kind: what has no first name is read as a company.
fn person_rule(mut party: Party) -> Party {
    if party.identity.first_name.is_none() {
        party.identity.kind = Kind::Company;
    }
    party
}

/// A linked pair in agreement, with everything settled.
pub(super) fn agreed(party: Party, policy: Policy) -> World {
    let party = party.masked();
    let crm = CrmSide {
        id: "6b00526cc80a09e94".into(),
        party: party.clone(),
        communications: Vec::new(),
        bet_nr: Some(1),
        row_id: Some("row1".into()),
        status: Some(Status::Clean),
        last_sync: Some(now()),
        deleted_at: None,
        error: None,
        retry_count: 0,
        modified_at: Some(now()),
        assigned_user: Some(User { id: "u1".into(), name: "Anna".into() }),
    };
    let link = PartyLink {
        base: Some(party.clone()),
        row_id: Some("row1".into()),
        ..PartyLink::new(1, LookAgain::default())
    };
    World {
        crm: Some(crm),
        parties: [(1, remote_of(1, 1, &party, now()))].into(),
        link: Some(link),
        intent: None,
        notices: Vec::new(),
        creates: 0,
        puts: 0,
        entry_writes: 0,
        patches: 0,
        rules: rules_of(policy),
        now: now(),
        row: 10,
        intruder: None,
    }
}

fn named(party: Party) -> Party {
    let name = party.identity.name.clone().unwrap_or("N".into());
    Party { identity: Identity { name: Some(name), ..party.identity }, ..party }
}

fn known_party() -> impl Strategy<Value = Party> {
    party(proptest::option::of(known())).prop_map(named)
}

/// What of a pair differs, as the plan compares it; salutations without counterpart may.
fn difference(world: &World) -> Option<String> {
    let (crm, remote) = (world.crm.as_ref()?, world.remote()?);
    let ours = crm.party.clone().masked();
    let theirs = remote.party(Some(&ours), Some(&ours)).masked();
    let carried = |s: &Option<Salutation>| matches!(s, None | Some(Salutation::Known(_)));
    let salutation =
        carried(&ours.salutation) && carried(&theirs.salutation) && ours.salutation != theirs.salutation;
    let same = ours.identity == theirs.identity
        && ours.legal_form == theirs.legal_form
        && ours.birth_date == theirs.birth_date
        && ours.register_number == theirs.register_number
        && !salutation;
    (!same).then(|| format!("{ours:#?}\n{theirs:#?}"))
}

/// What a restart must not change: both sides' content and how the record stands.
fn outcome(world: &World) -> impl PartialEq + std::fmt::Debug + use<> {
    let crm = world
        .crm
        .as_ref()
        .map(|c| (c.party.clone(), c.status, c.bet_nr, c.deleted_at.is_some(), c.error.clone()));
    let remotes: Vec<_> =
        world.parties.values().map(|r| RemoteSide { row_id: None, changed_at: None, ..r.clone() }).collect();
    let link = world.link.as_ref().map(|l| (l.bet_nr, l.base.clone(), l.tombstone.is_some(), l.gone.clone()));
    (crm, remotes, link, world.creates)
}

proptest! {
    #![proptest_config(config())]

    /// *total*, *settles*, *quiet*: any state is planned without panic, one run reaches the end, and then nothing
    /// is planned, neither now nor for our own writes coming back.
    #[test]
    fn one_run_settles_everything(mut world in world().boxed()) {
        let begun = world.clone();
        let end = world.run(None);
        prop_assert!(world.creates <= 1 && world.puts <= 1 && world.patches <= 1);
        match end {
            End::Refused(fault) => {
                prop_assert_eq!(fault.code, "no_name");
                prop_assert_eq!((world.creates, world.puts, world.patches), (0, 0, 0));
            }
            End::Done(verdict) => {
                let again = world.plan().unwrap();
                prop_assert_eq!(&again.actions, &Vec::<Action>::new(), "{:#?}", begun);
                if verdict == Verdict::Converges {
                    prop_assert_eq!(difference(&world), None);
                    prop_assert_eq!(world.crm.as_ref().unwrap().status, Some(Status::Clean));
                    let crm = world.crm.as_ref().unwrap();
                    prop_assert!(crm.error.is_none() || crm.status == begun.crm.as_ref().unwrap().status);
                }
            }
            other => prop_assert!(false, "{other:?}"),
        }
    }

    /// *restarts*: stopped before or after the effect of any step, the next runs reach the same end, with one
    /// create at most.
    #[test]
    fn a_stop_anywhere_changes_nothing_in_the_end(mut world in world().boxed(), step in 0usize..9, after_effect: bool, twice: bool) {
        let keyless = world.crm.as_ref().filter(|crm| plan::bet_nr(crm, world.link.as_ref(), world.intent.as_ref()).is_none());
        if let Some(party) = keyless.map(|crm| crm.party.clone().masked()) {
            // A twin that is linked to nobody would rightly be adopted after a create whose outcome is not known.
            world.parties.retain(|_, found| !is_candidate(found, &party));
        }
        let mut undisturbed = world.clone();
        let stop = Some(Stop { step, after_effect });
        let settled = undisturbed.settle();
        let mut stopped = world.run(stop) == End::Stopped;
        if twice {
            stopped |= world.run(stop) == End::Stopped;
        }
        prop_assert_eq!(world.settle(), settled.clone());
        if settled.is_ok() {
            prop_assert!(outcome(&world) == outcome(&undisturbed), "{:#?}\n{:#?}", outcome(&world), outcome(&undisturbed));
        }
        let extra = if stopped { 2 } else { 0 };
        prop_assert!(world.notices.len() >= undisturbed.notices.len());
        prop_assert!(world.notices.len() <= undisturbed.notices.len() + extra);
    }

    /// *keeps*: changes of different fields on both sides all survive, on both sides.
    #[test]
    fn changes_of_different_fields_are_merged(
        base in known_party(), mine in known_party(), theirs in known_party(), who in proptest::array::uniform5(0u8..3),
        policy in policy(),
    ) {
        let mut world = agreed(base.clone(), policy);
        let mut wanted = base.masked();
        let theirs = person_rule(theirs);
        let remote_edits = who[0] == 2;
        let source = |n: usize| match who[n] { 1 => Some(&mine), 2 => Some(&theirs), _ => None };
        if let Some(p) = source(0) { wanted.identity = p.identity.clone(); }
        if let Some(p) = source(1) { wanted.legal_form = p.legal_form.clone(); }
        if let Some(p) = source(2) { wanted.salutation = p.salutation.clone(); }
        if let Some(p) = source(3) { wanted.birth_date = p.birth_date; }
        if let Some(p) = source(4) { wanted.register_number = p.register_number.clone(); }
        let crm = &mut world.crm.as_mut().unwrap().party;
        if who[0] == 1 { crm.identity = mine.identity.clone(); }
        if who[1] == 1 { crm.legal_form = mine.legal_form.clone(); }
        if who[2] == 1 { crm.salutation = mine.salutation.clone(); }
        if who[3] == 1 { crm.birth_date = mine.birth_date; }
        if who[4] == 1 { crm.register_number = mine.register_number.clone(); }
        let remote = world.parties.get_mut(&1).unwrap();
        if who[0] == 2 { (remote.name, remote.first_name) = (theirs.identity.name.clone(), theirs.identity.first_name.clone()); }
        if who[1] == 2 { remote.legal_form = theirs.legal_form.clone(); }
        if who[2] == 2 { remote.salutation = theirs.salutation.clone(); }
        if who[3] == 2 { remote.birth_date = theirs.birth_date; }
        if who[4] == 2 { remote.register_number = theirs.register_number.clone(); }
        remote.row_id = Some("row2".into());
        // A person without a first name cannot be told from a company in Advoware: what we know it to be counts.
        if remote_edits {
            wanted.identity = world.parties[&1].party(world.link.as_ref().unwrap().base.as_ref(), Some(&world.crm.as_ref().unwrap().party)).identity;
        }
        world.settle().unwrap();
        prop_assert_eq!(difference(&world), None);
        let got = world.crm.as_ref().unwrap().party.clone().masked();
        let wanted = wanted.masked();
        prop_assert_eq!((&got.identity, &got.legal_form, &got.salutation), (&wanted.identity, &wanted.legal_form, &wanted.salutation));
        prop_assert_eq!((&got.birth_date, &got.register_number), (&wanted.birth_date, &wanted.register_number));
        prop_assert!(world.notices.is_empty());
    }

    /// *keeps*, over stops: what a side goes on editing after a run was stopped is a change, not a conflict with the
    /// half of our own writes that has arrived.
    #[test]
    fn edits_after_a_stop_survive(
        base in known_party(), mine in known_party(), theirs in known_party(), later_mine in known_party(),
        later_theirs in known_party(), step in 0usize..9, after_effect: bool, policy in policy(),
    ) {
        let base = Party { identity: Identity { kind: Kind::Company, first_name: None, ..base.identity.clone() }, ..base };
        let mut world = agreed(base, policy);
        for (mine, theirs, stop) in [(mine, theirs, Some(Stop { step, after_effect })), (later_mine, later_theirs, None)] {
            // EspoCRM's people edit name and legal form, Advoware's salutation and register number.
            let crm = &mut world.crm.as_mut().unwrap().party;
            crm.identity.name.clone_from(&mine.identity.name);
            crm.legal_form.clone_from(&mine.legal_form);
            let remote = world.parties.get_mut(&1).unwrap();
            remote.salutation.clone_from(&theirs.salutation);
            remote.register_number.clone_from(&theirs.register_number);
            let wanted = (mine.identity.name, mine.legal_form, theirs.salutation, theirs.register_number);
            if stop.is_some() {
                world.run(stop);
                continue;
            }
            world.settle().unwrap();
            prop_assert_eq!(difference(&world), None);
            let got = world.crm.as_ref().unwrap().party.clone();
            prop_assert_eq!((got.identity.name, got.legal_form, got.salutation, got.register_number), wanted);
            prop_assert!(world.notices.is_empty());
        }
    }

    /// A field that both sides changed to different values goes as the policy says, is kept in the history, and is
    /// told about once.
    #[test]
    fn conflicts_go_as_the_policy_says(base in known_party(), policy in policy(), remote_is_newer: bool, runs in 1usize..4) {
        let mut world = agreed(base, policy);
        let crm = world.crm.as_mut().unwrap();
        crm.party.legal_form = Some("ours".into());
        crm.modified_at = Some(later(now(), Duration::from_secs(60)));
        let remote = world.parties.get_mut(&1).unwrap();
        edit_remote(remote, Field::LegalForm, Some("theirs".into()));
        remote.row_id = Some("row2".into());
        remote.changed_at = remote_is_newer.then(|| later(now(), Duration::from_secs(120)));
        for _ in 0..runs {
            world.run(None);
        }
        let forms = (world.crm.as_ref().unwrap().party.legal_form.clone().unwrap(), world.parties[&1].legal_form.clone().unwrap());
        let both = |form: &str| (form.to_owned(), form.to_owned());
        let (expected, status, lost) = match (policy, remote_is_newer) {
            (Policy::CrmWins, _) | (Policy::NewestWins, false) => (both("ours"), Status::Clean, Some("theirs")),
            (Policy::RemoteWins, _) | (Policy::NewestWins, true) => (both("theirs"), Status::Clean, Some("ours")),
            (Policy::Ask, _) => (("ours".into(), "theirs".into()), Status::Conflict, None),
        };
        prop_assert_eq!(forms, expected);
        prop_assert_eq!(world.crm.as_ref().unwrap().status, Some(status));
        prop_assert_eq!(world.notices.len(), 1);
        let text = &world.notices[0].text;
        prop_assert!(text.contains("rechtsform") && text.contains("“ours”") && text.contains("“theirs”"), "{}", text);
        let kept: Vec<&str> = world.link.as_ref().unwrap().history.iter().map(|o| o.value.as_str()).collect();
        prop_assert_eq!(kept, lost.into_iter().collect::<Vec<_>>());
    }

    /// While a person is asked, nothing is written; a cleared status is their decision, and so is agreement.
    #[test]
    fn a_person_who_is_asked_decides(base in known_party(), agree: bool, fails: bool) {
        let mut world = agreed(base, Policy::Ask);
        world.crm.as_mut().unwrap().party.legal_form = Some("ours".into());
        world.parties.get_mut(&1).unwrap().legal_form = Some("theirs".into());
        world.run(None);
        prop_assert_eq!((world.puts, world.patches), (0, 1));
        if fails {
            // Our own report of a failure is not a person's decision.
            world.crm.as_mut().unwrap().status = Some(Status::Failed);
            world.run(None);
            prop_assert_eq!((world.puts, world.crm.as_ref().unwrap().status), (0, Some(Status::Conflict)));
        }
        let crm = world.crm.as_mut().unwrap();
        let expected = if agree { "theirs" } else { "decided" };
        crm.party.legal_form = Some(expected.into());
        crm.status = if agree { crm.status } else { Some(Status::Dirty) };
        world.settle().unwrap();
        prop_assert_eq!(world.parties[&1].legal_form.as_deref(), Some(expected));
        prop_assert_eq!(world.crm.as_ref().unwrap().status, Some(Status::Clean));
        prop_assert_eq!(world.notices.len(), 1);
    }

    /// Nothing is ever deleted or created anew because a record is gone.
    #[test]
    fn deletions_write_nothing_to_the_other_side(mut world in world().boxed(), crm_side_deleted: bool) {
        if crm_side_deleted {
            world.crm = None;
        } else {
            world.parties.clear();
        }
        let keyless = world.crm.as_ref().is_some_and(|crm| {
            plan::bet_nr(crm, world.link.as_ref(), world.intent.as_ref()).is_none()
        });
        let before = world.parties.clone();
        let party = world.crm.as_ref().map(|crm| crm.party.clone());
        if world.settle().is_ok() && !keyless {
            prop_assert_eq!((world.creates, world.puts), (0, 0));
            prop_assert_eq!(&world.parties, &before);
            prop_assert_eq!(world.crm.as_ref().map(|crm| crm.party.clone()), party);
            if let Some(crm) = &world.crm {
                prop_assert_eq!(crm.status, Some(Status::Failed));
                prop_assert_eq!(crm.error.as_deref(), Some(GONE_TEXT));
                prop_assert!(crm.deleted_at.is_some());
            } else if let Some(link) = &world.link {
                prop_assert!(link.tombstone.is_some());
            }
        }
    }

    /// The first sync of two records: EspoCRM wins, and what Advoware said is kept.
    #[test]
    fn at_the_first_sync_the_crm_wins(crm in known_party(), remote in known_party(), policy in policy(), row: bool) {
        let mut world = agreed(crm.clone(), policy);
        world.link = None;
        let record = world.crm.as_mut().unwrap();
        record.row_id = row.then(|| "row1".into());
        record.last_sync = None;
        world.parties.insert(1, remote_of(1, 1, &remote, now()));
        let theirs = world.parties[&1].party(None, Some(&crm)).masked();
        world.settle().unwrap();
        let crm = crm.masked();
        let got = world.parties[&1].party(Some(&crm), Some(&crm)).masked();
        prop_assert_eq!(&got, &crm);
        let history = &world.link.as_ref().unwrap().history;
        for field in [Field::LegalForm, Field::Salutation] {
            let lost = theirs.text(field).filter(|_| theirs.text(field) != crm.text(field));
            prop_assert_eq!(history.iter().find(|o| o.field == field.into()).map(|o| o.value.clone()), lost);
        }
        prop_assert!(world.notices.is_empty());
    }

    /// Data of an older integration, with neither base nor row id: the times decide, and a missing one counts as
    /// unchanged.
    #[test]
    fn an_older_integration_is_judged_by_its_times(
        crm in known_party(), remote in known_party(), ours in proptest::option::of(any::<bool>()),
        theirs in proptest::option::of(any::<bool>()), synced: bool, policy in policy(),
    ) {
        let mut world = agreed(crm.clone(), policy);
        let last = now() - jiff::SignedDuration::from_hours(1_000);
        let time = |newer: Option<bool>| newer.map(|newer| if newer { later(last, Duration::from_secs(60)) } else { last });
        let record = world.crm.as_mut().unwrap();
        (record.row_id, record.last_sync, record.modified_at) = (None, synced.then_some(last), time(ours));
        world.link = None;
        let side = remote_of(1, 1, &person_rule(remote), now());
        let remote = side.party(None, Some(&crm)).masked();
        world.parties.insert(1, RemoteSide { changed_at: time(theirs), ..side });
        let before = difference(&world);
        world.settle().unwrap();
        let crm = crm.masked();
        let got = world.crm.as_ref().unwrap().party.clone().masked();
        let changed = |newer: Option<bool>| synced && newer == Some(true);
        let remote_wins = match (changed(ours), changed(theirs)) {
            (false, true) => true,
            (true, true) => policy == Policy::RemoteWins,
            _ => false,
        };
        let asked = before.is_some() && changed(ours) && changed(theirs) && policy == Policy::Ask;
        let expected = if remote_wins { remote } else { crm };
        prop_assert_eq!((&got.identity, &got.legal_form), (&expected.identity, &expected.legal_form));
        prop_assert_eq!(difference(&world).is_some(), asked);
    }

    /// An edit between our PUT and our GET is not adopted as agreed: the record stays dirty, and the edit arrives.
    #[test]
    fn an_edit_between_write_and_reading_back_survives(base in known_party(), policy in policy()) {
        let mut world = agreed(base, policy);
        world.crm.as_mut().unwrap().party.identity.name = Some("ours".into());
        world.intruder = Some((Field::LegalForm, Some("meanwhile".into())));
        prop_assert_eq!(world.run(None), End::Differs);
        prop_assert_eq!(world.crm.as_ref().unwrap().status, Some(Status::Dirty));
        world.settle().unwrap();
        prop_assert_eq!(difference(&world), None);
        prop_assert_eq!(world.crm.as_ref().unwrap().party.legal_form.as_deref(), Some("meanwhile"));
        prop_assert_eq!(world.parties[&1].name.as_deref(), Some("ours"));
    }

    /// No change costs no write, or one where the status or its age asks for it.
    #[test]
    fn no_change_costs_one_patch_at_most(base in known_party(), status in status(), hours in 0u64..60, policy in policy()) {
        let mut world = agreed(base, policy);
        world.crm.as_mut().unwrap().status = status;
        world.now = later(now(), Duration::from_secs(hours * 3_600));
        let needed = status != Some(Status::Clean) || hours >= 24;
        world.run(None);
        prop_assert_eq!((world.creates, world.puts, world.patches), (0, 0, u32::from(needed)));
    }

    /// A party's names are never mixed with a company's in EspoCRM.
    #[test]
    fn kinds_are_never_mixed(mut world in world().boxed()) {
        world.settle().ok();
        if let Some(crm) = &world.crm {
            prop_assert!(crm.party.identity.kind == Kind::Person || crm.party.identity.first_name.is_none());
        }
    }
}

//! The script, its people and the oracle by themselves, without a flow: each system says what its own people wrote.

use std::sync::Arc;
use std::time::Duration;

use jiff::ToSpan as _;
use jiff::civil::{Date, date};
use serde_json::json;
use shared::clock::{Clock as _, ManualClock};

use super::affairs::Standing;
use super::object;
use super::oracle::{complaints, learn};
use super::people::Office;
use super::says::midnight;
use super::script::{Edit, Present, Script};

async fn play(seed: u64, days: i64, first: Date) -> (Office, Vec<String>) {
    let clock = Arc::new(ManualClock::new(midnight(first)));
    let mut office = Office::open(10, seed, &clock).await;
    super::crm::provision(&office.crm);
    office.calendars.iter_mut().for_each(|calendar| calendar.is_connected = true);
    let mut script = Script::new(seed);
    let mut log = Vec::new();
    for day in 0..days {
        for at in script.instants(first + day.days(), 40) {
            let wait = at.duration_since(clock.now());
            clock.advance(Duration::try_from(wait).unwrap_or(Duration::ZERO));
            let present = Present {
                now: clock.now(),
                users: office.users.len(),
                affairs: &office.affairs,
                calendars: &office.calendars,
                affairs_max: 500,
                is_at_night: true,
            };
            let Some(edit) = script.next(present) else { continue };
            // What the flow would have linked is not here.
            if matches!(edit, Edit::CopyEvent { .. }) {
                continue;
            }
            log.push(format!("{edit:?}"));
            office.perform(&edit, &clock).unwrap_or_else(|why| panic!("seed {seed}, {edit:?}: {why}"));
        }
        check(&mut office, &format!("seed {seed}, day {day}"));
    }
    (office, log)
}

fn wrong(office: &mut Office) -> Vec<String> {
    let seen = office.look();
    let Office { affairs, users, calendars, .. } = office;
    affairs.iter_mut().for_each(|affair| learn(affair, &seen, users, calendars));
    let people = office.people();
    office
        .affairs
        .iter()
        .flat_map(|affair| complaints(affair, &seen, people))
        .chain(seen.strange.clone())
        .collect()
}

fn check(office: &mut Office, what: &str) {
    assert_eq!(wrong(office), Vec::<String>::new(), "{what}");
    office.affairs.iter_mut().for_each(super::affairs::Affair::settle);
}

#[tokio::test]
async fn each_system_says_what_its_own_people_wrote() {
    for (seed, first) in [(1, date(2026, 5, 4)), (2, date(2026, 3, 28)), (3, date(2026, 10, 24))] {
        let (office, log) = play(seed, 4, first).await;
        assert!(office.affairs.len() > 40, "{}", office.affairs.len());
        assert!(log.len() > 100, "{}", log.len());
    }
}

#[tokio::test]
async fn a_seed_plays_the_same_again() {
    let (one, other) = (play(7, 2, date(2026, 5, 4)).await.1, play(7, 2, date(2026, 5, 4)).await.1);
    assert_eq!(one, other);
}

#[tokio::test]
async fn the_oracle_sees_what_is_wrong() {
    let (mut office, _) = play(11, 1, date(2026, 5, 4)).await;
    let about = |office: &Office, of_crm: bool| {
        let fits = |affair: &&super::affairs::Affair| {
            affair.rule.is_none()
                && affair.copies.len() == usize::from(!of_crm)
                && (affair.meeting == Standing::There) == of_crm
        };
        office.affairs.iter().find(fits).unwrap().clone()
    };
    let meeting = about(&office, true);
    let (user, id) = (office.users[meeting.assigned].crm_id.clone(), meeting.id.clone().unwrap());
    office
        .crm
        .edit_as(&user, meeting.kind.name(), &id, &object(json!({ "description": "anderes" })))
        .unwrap();
    assert!(wrong(&mut office).iter().any(|why| why.contains("body is")), "a value");
    office.crm.delete_as(&user, meeting.kind.name(), &id).unwrap();
    assert!(wrong(&mut office).iter().any(|why| why.ends_with("missing")), "a loss");
    let event = about(&office, false);
    let calendar = *event.copies.keys().next().unwrap();
    let twice = Edit::Event { calendar, says: event.says.clone(), guests: Default::default(), rule: None };
    office.perform(&twice, &ManualClock::new(midnight(date(2026, 5, 5)))).unwrap();
    office.affairs.pop();
    assert!(wrong(&mut office).iter().any(|why| why.ends_with("there 2 times")), "a duplicate");
    office.affairs[event.number].copies.get_mut(&calendar).unwrap().standing = Standing::Gone;
    assert!(wrong(&mut office).iter().any(|why| why.ends_with("there again")), "a resurrection");
}

mod rules {
    //! What the oracle makes of deeds, by the flow's description.

    use std::collections::BTreeSet;

    use jiff::civil::date;

    use super::super::affairs::{Affair, Calendar, Copy, Standing, Tie};
    use super::super::says::{Change, Provider, Says, Show, When, ZONES};

    fn calendars() -> Vec<Calendar> {
        let calendar = |user: usize, provider: Provider| Calendar {
            user,
            provider,
            mail: format!("{user}@x.example"),
            key: format!("{}.{user}", provider.name()),
            is_connected: true,
            is_away: false,
        };
        vec![
            calendar(0, Provider::Microsoft),
            calendar(1, Provider::Google),
            calendar(2, Provider::Microsoft),
        ]
    }

    fn says() -> Says {
        Says {
            subject: "A #0.".into(),
            when: When::Timed { start: date(2026, 5, 4).at(9, 0, 0, 0), minutes: 60, zone: ZONES[0] },
            body: String::new(),
            location: String::new(),
            show: Show::Busy,
            private: false,
        }
    }

    /// A meeting of the CRM with a copy of its own in each of these calendars.
    fn meeting(own: &[usize]) -> Affair {
        let mut affair = Affair { meeting: Standing::There, ..Affair::new(0, says(), 0) };
        for at in own {
            affair.copies.insert(*at, copy(true, &[]));
        }
        affair
    }

    fn copy(is_own: bool, guests: &[&str]) -> Copy {
        let guests: BTreeSet<String> = guests.iter().map(|guest| (*guest).to_owned()).collect();
        let (standing, tie) = (Standing::There, Tie::Linked);
        Copy { id: None, says: says(), is_own, is_ours: false, standing, tie, guests }
    }

    fn states(affair: &Affair) -> (Standing, Vec<Standing>) {
        (affair.meeting, affair.copies.values().map(|copy| copy.standing).collect())
    }

    #[test]
    fn a_deleted_source_takes_the_meeting_and_further_copies_do_not() {
        let all = calendars();
        let mut source = meeting(&[0, 1]);
        source.delete_in_calendar(0, None, &all);
        assert_eq!(states(&source), (Standing::Gone, vec![Standing::Gone, Standing::Gone]));
        let mut further = meeting(&[0, 1]);
        further.delete_in_calendar(1, None, &all);
        assert_eq!(states(&further), (Standing::There, vec![Standing::There, Standing::Gone]));
        let mut held = Affair { is_planned: false, ..meeting(&[0, 1]) };
        held.delete_in_calendar(0, None, &all);
        assert_eq!(states(&held), (Standing::There, vec![Standing::Gone, Standing::There]));
    }

    #[test]
    fn a_deleted_meeting_leaves_what_would_reach_others() {
        let all = calendars();
        let mut affair = meeting(&[1]);
        affair.copies.insert(0, copy(true, &["2@x.example"]));
        affair.copies.insert(2, copy(false, &[]));
        affair.delete_in_crm(None, &all);
        assert_eq!(states(&affair), (Standing::Gone, vec![Standing::There, Standing::Gone, Standing::There]));
        assert_eq!(affair.copies[&0].tie, Tie::Ended);
    }

    #[test]
    fn a_value_reaches_every_copy_that_may_be_written() {
        let all = calendars();
        let change = Change::Location("Raum 1".into());
        let mut affair = meeting(&[0, 1]);
        affair.in_calendar(1, &change, &all);
        assert_eq!(affair.says.location, "Raum 1");
        assert_eq!(affair.copies[&0].says.location, "Raum 1");
        let mut invited = meeting(&[1]);
        invited.copies.insert(0, copy(true, &["2@x.example"]));
        invited.copies.insert(2, copy(false, &[]));
        invited.in_crm(&change, &all);
        assert_eq!(invited.copies[&0].says.location, "", "its guests would be mailed");
        assert!(invited.has_left && invited.copies[&1].says.location == "Raum 1");
        let later = Change::Location("Raum 2".into());
        invited.in_calendar(0, &later, &all);
        assert_eq!(
            (invited.says.location.as_str(), invited.copies[&2].says.location.as_str()),
            ("Raum 2", "Raum 2")
        );
        let mut own = meeting(&[0, 1]);
        own.in_calendar(1, &Change::Show(Show::Free), &all);
        assert_eq!(
            (own.says.show, own.copies[&0].says.show),
            (Show::Busy, Show::Busy),
            "a user's own affair"
        );
    }

    #[test]
    fn the_later_of_two_edits_wins_and_against_a_further_copy_the_meeting() {
        let all = calendars();
        let (here, there) = (Change::Body("hier".into()), Change::Body("dort".into()));
        for (at, later, wins) in [(0, true, "hier"), (0, false, "dort"), (1, true, "dort")] {
            let mut affair = meeting(&[0, 1]);
            affair.clash(at, &here, &there, later, &all);
            let said = [&affair.says.body, &affair.copies[&0].says.body, &affair.copies[&1].says.body];
            assert_eq!(said, [wins; 3], "{at} {later}");
        }
    }

    #[test]
    fn what_was_edited_meanwhile_stays() {
        let all = calendars();
        let change = Change::Body("neu".into());
        let mut kept = meeting(&[0, 1]);
        kept.delete_in_calendar(0, Some(&change), &all);
        assert_eq!(states(&kept), (Standing::There, vec![Standing::Gone, Standing::There]));
        assert_eq!(kept.copies[&1].says.body, "neu");
        let mut kept = meeting(&[0, 1]);
        kept.delete_in_crm(Some((1, &change)), &all);
        assert_eq!(states(&kept), (Standing::Gone, vec![Standing::Gone, Standing::There]));
    }
}

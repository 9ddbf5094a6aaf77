//! Many processes share an account over a store that is slow, loses answers and goes away, while they crash, freeze
//! and come back: in simulated time, on the pure parts alone.

use std::time::Duration;

use fastrand::Rng;
use jiff::Timestamp;
use proptest::prelude::*;

use super::ledger::{Ledger, Moment};
use super::seat::{FRESH, Seat, TIME_TO_LIVE};
use crate::desk::{Desk, Pass, Step};
use crate::settings::Limits;

const TICK: Duration = Duration::from_millis(10);

struct Store {
    ledger: Option<Ledger>,
    version: u64,
    away: bool,
}

enum Look {
    Next(Duration),
    Read { began: Duration, at: Duration },
    Write { began: Duration, at: Duration, version: u64, ledger: Ledger, write: bool, told: usize },
}

struct Request {
    ends: Duration,
    pass: Option<Pass>,
    /// Begun by a process that has never reached the store.
    stray: bool,
}

struct Process {
    desk: Desk,
    look: Look,
    frozen_until: Duration,
    seated: bool,
    requests: Vec<Request>,
    queued: u32,
    sent: Vec<Duration>,
}

impl Process {
    fn new(number: usize, life: u32, limits: Limits, now: Duration) -> Self {
        let seat = Seat::new(format!("p{number}-{life}"), limits.concurrency_max);
        Self {
            desk: Desk::new(limits, Some(seat)),
            look: Look::Next(now),
            frozen_until: Duration::ZERO,
            seated: false,
            requests: Vec::new(),
            queued: 0,
            sent: Vec::new(),
        }
    }

    fn look_soon(&mut self, now: Duration) {
        if let Look::Next(at) = &mut self.look {
            *at = (*at).min(now + TICK);
        }
    }

    /// Lets the reads and writes of the document go on.
    fn look(&mut self, store: &mut Store, delay: Duration, answer_lost: bool, now: Duration) {
        let moment = Moment { own: now, wall: Timestamp::UNIX_EPOCH + now };
        let next = match &self.look {
            Look::Next(at) if now >= *at => Look::Read { began: now, at: now + delay },
            Look::Read { at, .. } | Look::Write { at, .. } if now >= *at && store.away => {
                self.desk.look_failed(now);
                Look::Next(now + Duration::from_millis(500))
            }
            Look::Read { began, at } if now >= *at => {
                let Some((ledger, write, told)) = self.desk.report(store.ledger.as_ref(), moment) else {
                    return;
                };
                let version = store.version;
                Look::Write { began: *began, at: now + delay, version, ledger, write, told }
            }
            Look::Write { began, at, version, ledger, write, told } if now >= *at => {
                if *write && *version != store.version {
                    Look::Read { began: now, at: now + delay }
                } else {
                    if *write {
                        store.ledger = Some(ledger.clone());
                        store.version += 1;
                    }
                    if answer_lost {
                        self.desk.look_failed(now);
                    } else {
                        self.desk.looked(ledger, *told, *write, *began, moment);
                        self.seated = true;
                    }
                    Look::Next(now + TICK.max(self.desk.next_look(now)))
                }
            }
            _ => return,
        };
        self.look = next;
    }

    /// Ends what is done, and sends what may go out.
    fn work(&mut self, length: Duration, now: Duration) {
        for request in self.requests.iter_mut().filter(|request| request.ends <= now) {
            if let Some(pass) = request.pass.take() {
                self.desk.succeeded(pass.admission);
                self.desk.accepted(now);
                self.desk.done(&pass, false, now);
            }
        }
        self.requests.retain(|request| request.pass.is_some());
        while self.queued > 0 {
            match self.desk.step(now) {
                Step::Go(pass) => {
                    let stray = !self.seated;
                    self.requests.push(Request { ends: now + length, pass: Some(pass), stray });
                    if !stray {
                        self.sent.push(now);
                    }
                    self.queued -= 1;
                    self.desk.leave_queue();
                }
                Step::Ask(_) => {
                    self.look_soon(now);
                    break;
                }
                _ => break,
            }
        }
        if self.desk.has_news() {
            self.look_soon(now);
        }
    }

    fn enqueue(&mut self, now: Duration) {
        self.queued += 1;
        self.desk.queue(now);
    }

    /// Requests on their way, as the upstream sees them.
    fn in_flight(&self, now: Duration) -> usize {
        self.requests.iter().filter(|request| request.ends > now && !request.stray).count()
    }
}

fn limits(concurrency_max: u32, requests_per_second_max: u32) -> Limits {
    Limits { concurrency_max, requests_per_second_max, ..Limits::default() }
}

fn millis(rng: &mut Rng, range: std::ops::Range<u64>) -> Duration {
    Duration::from_millis(rng.u64(range))
}

/// A minute and a half with every trouble there is.
fn play(seed: u64, processes: usize, limits: Limits) -> Result<(), TestCaseError> {
    let mut rng = Rng::with_seed(seed);
    let mut store = Store { ledger: None, version: 0, away: false };
    let mut lives = 0;
    let mut fleet: Vec<_> =
        (0..processes).map(|number| Process::new(number, 0, limits, Duration::ZERO)).collect();
    let mut sent = Vec::new();
    let mut away_until = Duration::ZERO;
    let mut now = Duration::ZERO;
    while now < Duration::from_secs(90) {
        now += TICK;
        if rng.u32(..3_000) == 0 {
            away_until = now + millis(&mut rng, 100..40_000);
        }
        store.away = now < away_until;
        for (number, process) in fleet.iter_mut().enumerate() {
            if rng.u32(..4_000) == 0 {
                process.frozen_until = now + millis(&mut rng, 10..30_000);
            }
            if rng.u32(..4_000) == 0 {
                lives += 1;
                sent.append(&mut process.sent);
                *process = Process::new(number, lives, limits, now);
            }
            if now < process.frozen_until {
                continue;
            }
            if rng.u32(..100) < 4 && process.queued < 20 {
                (0..rng.u32(1..6)).for_each(|_| process.enqueue(now));
            }
            let delay = millis(&mut rng, 0..60);
            process.look(&mut store, delay, rng.u32(..200) == 0, now);
            process.work(millis(&mut rng, 1..3_000), now);
        }
        let in_flight: usize = fleet.iter().map(|process| process.in_flight(now)).sum();
        prop_assert!(
            in_flight <= limits.concurrency_max as usize,
            "{in_flight} at once at {now:?} (store away: {}) {:?}",
            store.away,
            store.ledger
        );
    }
    fleet.iter_mut().for_each(|process| sent.append(&mut process.sent));
    check_rate(sent, processes, limits)
}

/// In any span of time no more than the rate, one second's worth, and one for each process.
fn check_rate(mut sent: Vec<Duration>, processes: usize, limits: Limits) -> Result<(), TestCaseError> {
    sent.sort();
    let rate = f64::from(limits.requests_per_second_max);
    // The worst span ends at a request; this is the most that came above the rate up to it.
    let mut worst_from = f64::MAX;
    for (count, at) in sent.iter().enumerate() {
        let above = count as f64 - at.as_secs_f64() * rate;
        worst_from = worst_from.min(above);
        let burst = above - worst_from + 1.0;
        prop_assert!(burst <= rate + processes as f64 + 0.01, "{burst} at once at {at:?}");
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn the_fleet_never_exceeds_its_limits(
        seed in any::<u64>(), processes in 1_usize..7, slots_max in 1_u32..12, rate in 1_u32..40,
    ) {
        play(seed, processes, limits(slots_max, rate))?;
    }
}

/// All processes always have requests of the same length; answers how many each sent.
fn saturated(processes: usize, limits: Limits, length: Duration, span: Duration) -> Vec<Vec<Duration>> {
    let mut rng = Rng::with_seed(7);
    let mut store = Store { ledger: None, version: 0, away: false };
    let mut fleet: Vec<_> =
        (0..processes).map(|number| Process::new(number, 0, limits, Duration::ZERO)).collect();
    let mut now = Duration::ZERO;
    while now < span {
        now += TICK;
        for process in &mut fleet {
            while process.queued < 20 {
                process.enqueue(now);
            }
            let delay = millis(&mut rng, 0..20);
            process.look(&mut store, delay, false, now);
            process.work(length, now);
        }
    }
    fleet.into_iter().map(|process| process.sent).collect()
}

#[test]
fn forty_processes_share_four_slots_and_none_starves() {
    let span = Duration::from_secs(75);
    let length = Duration::from_millis(100);
    let sent = saturated(40, limits(4, 1_000), length, span);
    for (number, sent) in sent.iter().enumerate() {
        let mut last = Duration::ZERO;
        for at in sent.iter().chain([&span]) {
            assert!(*at - last < Duration::from_secs(30), "process {number} waited from {last:?} to {at:?}");
            last = *at;
        }
    }
    let all: usize = sent.iter().map(Vec::len).sum();
    let possible = 4.0 * span.as_secs_f64() / length.as_secs_f64();
    assert!(all as f64 > 0.6 * possible, "{all} of {possible}");
}

#[test]
fn a_few_processes_share_evenly_and_use_everything() {
    let span = Duration::from_secs(60);
    let length = Duration::from_millis(100);
    let sent = saturated(3, limits(9, 1_000), length, span);
    let possible = 9.0 * span.as_secs_f64() / length.as_secs_f64();
    for sent in &sent {
        let share = sent.len() as f64 / possible;
        assert!((0.28..0.35).contains(&share), "{share}");
    }
}

#[test]
fn a_rate_is_used_up_and_shared_evenly() {
    let sent = saturated(3, limits(9, 30), Duration::from_millis(10), Duration::from_secs(60));
    for sent in &sent {
        assert!((540..=640).contains(&sent.len()), "{}", sent.len());
    }
}

/// A fleet in which every process holds its part, and then the store goes away for good.
fn without_store(processes: usize, limits: Limits) -> (Vec<Process>, Duration) {
    let mut store = Store { ledger: None, version: 0, away: false };
    let mut fleet: Vec<_> =
        (0..processes).map(|number| Process::new(number, 0, limits, Duration::ZERO)).collect();
    let mut now = Duration::ZERO;
    while now < Duration::from_secs(40) {
        now += TICK;
        store.away = now > Duration::from_secs(10);
        for process in &mut fleet {
            while process.queued < 20 {
                process.enqueue(now);
            }
            process.look(&mut store, TICK, false, now);
            process.work(Duration::from_millis(50), now);
        }
    }
    (fleet, now)
}

#[test]
fn without_the_store_each_goes_on_with_its_share() {
    let (fleet, now) = without_store(3, limits(9, 300));
    let lost = Duration::from_secs(10) + TIME_TO_LIVE + FRESH;
    for process in &fleet {
        assert!(!process.desk.standing(now).shared);
        let since = process.sent.iter().filter(|at| **at > lost).count() as f64;
        let most = (now - lost).as_secs_f64() * 60.0;
        assert!(since > 0.8 * most && since <= most + 3.0, "{since} of {most}");
    }
    let (fleet, _) = without_store(5, limits(2, 300));
    let going_on = fleet.iter().filter(|process| process.sent.last() > Some(&lost)).count();
    assert_eq!(going_on, 2, "whoever holds a slot goes on, nobody else");
}

//! An office, the flow, and time: days with edits and trouble, nights in which all comes to rest and is compared.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp, ToSpan as _};
use shared::clock::{Clock as _, ManualClock};
use shared::names::CALENDARS_SILENT;

use super::affairs::{Reach, Standing};
use super::calls::{Calls, Time};
use super::engine::Engine;
use super::faults;
use super::hooks::Hooks;
use super::installation::{Installation, PAGE_EVENTS, VAULT};
use super::oracle::{complaints, learn, learn_own, learn_undecided};
use super::people::Office;
use super::says::{Provider, midnight};
use super::script::{Edit, Present, Script};
use super::store::Tearing;

/// How often the flow sweeps.
const SWEEP_EVERY: SignedDuration = SignedDuration::from_hours(4);
/// How often what waits is looked at.
const TICK: SignedDuration = SignedDuration::from_mins(10);
/// A deletion in the CRM whose webhook was lost is found by the daily comparison of what is linked, which is part of a
/// sweep: the runbook's known limits.
const UNHEARD_MAX: SignedDuration = SignedDuration::from_mins((24 + 4) * 60 + 20);
/// Back and ahead; short, so that things move into the window and out of it.
pub const REACH: Reach = Reach { back_days: 30, ahead_days: 60 };

/// What is played.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    pub seed: u64,
    pub users: usize,
    /// Meetings and events that people make, in all.
    pub affairs: usize,
    pub first: Date,
    pub days: i64,
    pub edits_a_day: usize,
    pub has_trouble: bool,
    /// Whether people work at all hours.
    pub is_at_night: bool,
}

pub struct World {
    pub plan: Plan,
    pub office: Office,
    pub clock: Arc<ManualClock>,
    pub store: Arc<Tearing>,
    pub engine: Engine,
    pub installation: Installation,
    pub script: Script,
    pub edits: usize,
    /// What somebody does while no process runs, after the next one has died.
    pub while_down: Option<Edit>,
    /// Pages that had to be read of calendars as a whole, and of links, as many as there were at the time.
    calendar_pages: u64,
    link_pages: u64,
    windows: u64,
    /// Calendars that the provider forgot how far they were read, and how often they had been looked at by then.
    forgotten: BTreeMap<usize, u64>,
    hooks: Hooks,
    next_sweep: Timestamp,
}

impl World {
    pub async fn open(plan: Plan) -> Self {
        let clock = Arc::new(ManualClock::new(midnight(plan.first)));
        let office = Office::open(plan.users, plan.seed, &clock).await;
        let hooks = Hooks::start(plan.seed).await;
        let installation = Installation::open(&office, &clock, &hooks.url).await;
        let store = Arc::clone(&installation.store);
        let flow = installation.flow(&office).await;
        let engine = Engine::new(flow, Arc::clone(&clock), Arc::clone(&store), Box::new(office.counting()));
        let next_sweep = clock.now();
        let script = Script::new(plan.seed);
        Self {
            plan,
            office,
            clock,
            store,
            engine,
            installation,
            script,
            edits: 0,
            while_down: None,
            calendar_pages: 0,
            link_pages: 0,
            windows: 0,
            forgotten: BTreeMap::new(),
            hooks,
            next_sweep,
        }
    }

    /// All but one user connect; some meetings and events are there before anything is read.
    pub async fn begin(&mut self) {
        for at in 0..self.office.calendars.len() {
            if self.office.calendars[at].user != self.late() {
                self.connect(at).await;
            }
        }
        for _ in 0..self.plan.affairs / 8 {
            self.make();
        }
        self.rest("begin").await;
        self.calendar_pages += of(self.office.calendars.len()) * self.pages();
        self.windows += of(self.office.calendars.len());
    }

    /// Events that are linked.
    fn live(&self) -> u64 {
        let copies = self.office.affairs.iter().flat_map(|it| it.copies.values());
        of(copies.filter(|copy| copy.standing == Standing::There).count())
    }

    /// Pages of one calendar, as a rule.
    fn pages(&self) -> u64 {
        self.live() / of(self.office.calendars.len()) / u64::from(PAGE_EVENTS) + 1
    }

    /// Who connects late: somebody with Outlook alone. Google would put events that invite the user into a calendar that
    /// is not connected yet, one for each colleague's event (known, and to be decided by the flow).
    fn late(&self) -> usize {
        (0..self.plan.users).rev().find(|user| user % 2 == 0 && user % 5 != 4).unwrap_or(0)
    }

    pub async fn connect_late(&mut self) {
        for at in self.calendars_of(self.late()) {
            self.connect(at).await;
        }
        // What lies in the window now is brought out, wherever people move it in the course of the day.
        self.follow();
    }

    /// The oracle takes note of what has to be there by now.
    pub fn follow(&mut self) {
        let (now, office) = (self.clock.now(), &mut self.office);
        let (users, calendars) = (&office.users, &office.calendars);
        office.affairs.iter_mut().for_each(|affair| affair.follow(now, REACH, users, calendars));
    }

    pub fn calendars_of(&self, user: usize) -> Vec<usize> {
        let all = self.office.calendars.iter().enumerate();
        all.filter(|(_, calendar)| calendar.user == user).map(|(at, _)| at).collect()
    }

    /// The process ends, and another one begins.
    pub async fn restart(&mut self) {
        let flow = self.installation.flow(&self.office).await;
        self.engine = Engine::new(
            flow,
            Arc::clone(&self.clock),
            Arc::clone(&self.store),
            Box::new(self.office.counting()),
        );
        self.next_sweep = self.clock.now();
    }

    /// Whatever the CRM tells from now on is lost.
    pub fn lose_webhooks(&self) {
        self.hooks.astray(1.0, 0.0);
    }

    pub fn sweep_now(&mut self) {
        self.next_sweep = self.clock.now();
    }

    /// Some steps, with nothing in between.
    pub fn news(&mut self) {
        for _ in 0..6 {
            self.edit();
            self.clock.advance(Duration::from_secs(60));
        }
        self.sweep_now();
    }

    pub fn calls(&self) -> Calls {
        let office = &self.office;
        let passed = self.clock.now().duration_since(midnight(self.plan.first));
        let days = u64::try_from(passed.as_hours()).unwrap().div_ceil(24) + 1;
        let copies = office.affairs.iter().flat_map(|it| &it.copies);
        let is_outlook = |at: usize| office.calendars[at].provider == Provider::Microsoft;
        let gone = copies.filter(|(at, copy)| is_outlook(**at) && copy.standing == Standing::Gone).count();
        let time = Time {
            days,
            calendars: of(office.calendars.len()),
            windows: self.windows,
            link_pages: self.link_pages,
            removals: of(gone),
            further_pages: self.calendar_pages,
            writes: office.affairs.iter().map(|affair| affair.least_requests).sum(),
        };
        Calls::of((office.counting())(), &self.engine.runs, &time)
    }

    fn today(&self, day: i64) -> Date {
        self.plan.first + day.days()
    }

    /// A calendar's user connects it, for the first time or again.
    pub async fn connect(&mut self, at: usize) {
        let calendar = self.office.calendars[at].clone();
        self.installation.connect(&self.office, &calendar).await;
        let calendar = &mut self.office.calendars[at];
        (calendar.is_connected, calendar.is_away) = (true, false);
        let user = &self.office.users[calendar.user].crm_id;
        let key = self.engine.flow.key_of_account(calendar.provider.name(), user).unwrap();
        self.engine.ask(key);
        self.engine.wake();
    }

    /// A calendar's user does not want it synchronised any more.
    pub async fn disconnect(&mut self, at: usize) {
        self.installation.disconnect(&self.office, &self.office.calendars[at]).await;
        self.office.calendars[at].is_connected = false;
    }

    /// Calendars that have heard nothing for too long, as of the last sweep.
    pub fn silent(&self) -> Option<f64> {
        self.installation.gauges.of(&CALENDARS_SILENT)
    }

    pub fn lose_grant(&mut self, at: usize) {
        faults::revoke(&self.office, &self.office.calendars[at]);
        self.office.calendars[at].is_away = true;
    }

    /// Time goes on, and what is due is done.
    pub async fn advance_to(&mut self, to: Timestamp) {
        loop {
            self.tick().await;
            let now = self.clock.now();
            if now >= to {
                return;
            }
            let due = self.engine.next_due().map_or(to, |due| due.max(now + SignedDuration::from_secs(1)));
            let next =
                (now + TICK).min(to).min(due).min(self.next_sweep.max(now + SignedDuration::from_secs(1)));
            self.clock.advance(Duration::try_from(next.duration_since(now)).unwrap());
        }
    }

    async fn tick(&mut self) {
        self.hear().await;
        if self.clock.now() >= self.next_sweep {
            self.next_sweep = self.clock.now() + SWEEP_EVERY;
            let torn = self.engine.runs.torn;
            // A sweep that failed comes again with the next one.
            if self.engine.sweep().await.is_err() {
                self.next_sweep = self.clock.now() + TICK;
            }
            if self.engine.runs.torn > torn {
                self.engine.begin_again(self.installation.flow(&self.office).await);
            }
        }
        while self.engine.work().await {
            // Until another process is there, what the dead one had leased has ended.
            self.clock.advance(Duration::from_secs(90));
            if let Some(edit) = self.while_down.take() {
                self.perform(&edit);
            }
            self.engine.begin_again(self.installation.flow(&self.office).await);
        }
    }

    /// Notifications that are due arrive.
    pub async fn hear(&mut self) {
        self.office.microsoft.deliver_notifications().await;
        self.office.google.deliver_notifications().await;
        self.office.crm.deliver_webhooks().await;
        for received in self.hooks.drain() {
            self.engine.take(&received).await;
        }
        for id in self.hooks.unheard() {
            let affair = self.office.affairs.iter_mut().find(|affair| affair.id.as_ref() == Some(&id));
            if let Some(affair) = affair {
                affair.unheard_since = Some(self.clock.now());
            }
        }
    }

    fn make(&mut self) {
        let (office, plan, now) = (&self.office, &self.plan, self.clock.now());
        if let Some(edit) = self.script.make(present(office, plan, now)) {
            self.perform(&edit);
        }
    }

    /// A step of the script.
    pub fn edit(&mut self) {
        let (office, plan, now) = (&self.office, &self.plan, self.clock.now());
        if let Some(edit) = self.script.next(present(office, plan, now)) {
            self.perform(&edit);
        }
    }

    pub fn perform(&mut self, edit: &Edit) {
        let what = format!("seed {}, {}, {edit:?}", self.plan.seed, self.clock.now());
        if tracing_wanted() {
            println!("{what}");
        }
        self.office.perform(edit, &self.clock).unwrap_or_else(|why| panic!("{what}: {why}"));
        self.edits += 1;
    }

    /// A day: people, and trouble.
    pub async fn day(&mut self, day: i64) {
        let date = self.today(day);
        if self.plan.has_trouble {
            faults::strew(&self.office, &mut self.script.dice);
            faults::lose(&self.office, 0.1, &mut self.script.dice);
            self.hooks.astray(0.05, 0.05);
        }
        for at in self.script.instants(date, self.plan.edits_a_day) {
            self.advance_to(at).await;
            self.trouble();
            self.edit();
        }
        self.advance_to(midnight(date) + SignedDuration::from_hours(22)).await;
        self.rest(&format!("day {day}")).await;
        self.link_pages += 1 + self.live() / 100;
        if day % 7 == 6 {
            let outlooks = self.office.calendars.iter().filter(|it| it.provider == Provider::Microsoft);
            self.calendar_pages += of(outlooks.count()) * self.pages();
            self.windows += of(self.office.calendars.len());
        }
    }

    /// Now and then something larger goes wrong.
    fn trouble(&mut self) {
        if !self.plan.has_trouble {
            return;
        }
        let dice = &mut self.script.dice;
        match dice.below(60) {
            0 => faults::end_access(&self.office),
            1 => {
                let at = dice.below(self.office.calendars.len());
                let after = Some(u32::try_from(dice.below(3)).unwrap()).filter(|_| dice.chance(0.7));
                let forgotten = faults::forget(&self.office, at, after, dice);
                forgotten.into_iter().for_each(|at| self.is_read_anew(at));
            }
            2..=4 => {
                let writes = u32::try_from(dice.below(12)).unwrap();
                let is_done = dice.chance(0.5);
                self.store.arm(writes, is_done);
            }
            _ => {}
        }
    }

    /// A calendar has to be read as a whole: once, even if the provider forgets it again before that.
    fn is_read_anew(&mut self, at: usize) {
        let calendar = &self.office.calendars[at];
        let user = &self.office.users[calendar.user].crm_id;
        let key = self.engine.flow.key_of_account(calendar.provider.name(), user).unwrap();
        let looks = self.engine.looks_at(&key);
        if self.forgotten.insert(at, looks) != Some(looks) {
            self.calendar_pages += self.pages();
            self.windows += 1;
        }
    }

    /// Nothing goes wrong any more, all is done, and all is compared.
    pub async fn rest(&mut self, what: &str) {
        faults::clear(&self.office);
        faults::lose(&self.office, 0.0, &mut self.script.dice);
        self.hooks.astray(0.0, 0.0);
        self.store.disarm();
        let later = self.clock.now() + SignedDuration::from_mins(20);
        self.advance_to(later).await;
        self.engine.replay();
        for _ in 0..2 {
            self.next_sweep = self.clock.now();
            self.quiet().await;
        }
        self.check(what).await;
    }

    /// Our memory is lost, but for the grants.
    pub async fn forget(&mut self) {
        self.lose_memory().await;
        self.rest("after the store was emptied").await;
    }

    /// The same, and nothing has been looked at yet.
    pub async fn lose_memory(&mut self) {
        let removed = self.store.empty_but(&VAULT).await;
        assert!(removed > 0);
        let (affairs, calendars) = (&mut self.office.affairs, &self.office.calendars);
        affairs.iter_mut().for_each(|affair| affair.forget(calendars));
        self.restart().await;
    }

    /// Nobody writes any more what lies outside the window.
    pub fn close_outside(&mut self) {
        let now = self.clock.now();
        let outside = self.office.affairs.iter_mut().filter(|affair| !affair.is_inside(now, REACH));
        outside.for_each(|affair| affair.is_closed = true);
    }

    /// What lies at the edge of the window, which is set anew in each calendar on another day.
    pub fn at_edge(&self) -> BTreeSet<usize> {
        let now = self.clock.now();
        let affairs = self.office.affairs.iter().filter(|affair| affair.is_at_edge(now, REACH));
        affairs.map(|affair| affair.number).collect()
    }

    /// As long as it takes until nothing can be unheard any more.
    pub async fn outlast(&mut self) {
        self.advance_to(self.clock.now() + UNHEARD_MAX).await;
        self.rest("a day later").await;
    }

    /// Until nothing waits.
    pub async fn quiet(&mut self) {
        for _ in 0..200 {
            self.tick().await;
            self.hear().await;
            let Some(due) = self.engine.next_due() else { return };
            let now = self.clock.now();
            let wait = due.duration_since(now).max(SignedDuration::from_secs(1));
            self.clock.advance(Duration::try_from(wait).unwrap());
        }
        panic!("seed {}: it never comes to rest: {:?}", self.plan.seed, self.engine.waiting_keys());
    }

    /// All systems say what they must say.
    pub async fn check(&mut self, what: &str) {
        let wrong = self.complaints();
        if !wrong.is_empty() {
            println!("told: {:#?}", self.notices_after(0).iter().rev().take(12).collect::<Vec<_>>());
            println!("{}", super::history::of(&self.office, &wrong));
            let kept = super::history::kept(&self.office, &*self.store, &wrong);
            println!("{}", kept.await);
            println!("{:?}", self.engine.runs);
        }
        let shown = wrong.iter().take(20).cloned().collect::<Vec<_>>().join("\n  ");
        assert!(
            wrong.is_empty(),
            "seed {}, {what}, {}: {} complaints\n  {shown}",
            self.plan.seed,
            self.clock.now(),
            wrong.len()
        );
    }

    pub fn complaints(&mut self) -> Vec<String> {
        self.follow();
        let (now, office) = (self.clock.now(), &mut self.office);
        let seen = office.look();
        for affair in &mut office.affairs {
            learn(affair, &seen, &office.users, &office.calendars);
            affair.hear(&office.calendars);
            learn_own(affair, &seen, &office.calendars);
            learn_undecided(affair, &seen, &office.calendars);
        }
        let mut wrong: Vec<String> = seen.strange.clone();
        let mut settled = Vec::new();
        for (number, affair) in office.affairs.iter().enumerate() {
            let is_away = |user: usize| office.calendars.iter().any(|it| it.user == user && it.is_away);
            let waits = affair.users.iter().any(|user| is_away(*user))
                || affair.copies.keys().any(|at| office.calendars[*at].is_away);
            let is_unheard =
                affair.unheard_since.is_some_and(|since| now.duration_since(since) < UNHEARD_MAX);
            if waits || is_unheard {
                continue;
            }
            wrong.extend(complaints(affair, &seen, office.people()));
            settled.push(number);
        }
        settled.into_iter().for_each(|number| office.affairs[number].settle());
        if !office.calendars.iter().any(|calendar| calendar.is_away) {
            wrong.extend(self.engine.parked_keys().map(|key| format!("{key} waits for an account")));
        }
        wrong.extend(self.engine.dead.iter().map(|(key, (_, why))| format!("{key} was given up: {why}")));
        wrong.extend(self.engine.runs.refused.iter().map(|why| format!("refused: {why}")));
        wrong.extend(office.microsoft.mails_by_clients().iter().map(|mail| format!("a mail: {mail}")));
        let mails = office.google.mails();
        let by_clients = mails.iter().filter(|mail| mail.actor_kind == simulators::ActorKind::Api);
        wrong.extend(by_clients.map(|mail| format!("a mail: {:?}", mail.after)));
        wrong.extend(office.microsoft.outside_description().iter().map(|it| format!("outside Graph: {it}")));
        wrong
            .extend(office.google.outside_description().iter().map(|it| format!("outside Google's: {it:?}")));
        wrong
    }

    /// What people were told after this entry of the CRM's journal.
    pub fn notices_after(&self, sequence: u64) -> Vec<String> {
        let journal = self.office.crm.journal_after(sequence);
        let notes = journal.iter().filter(|entry| entry.entity == "Note");
        notes.filter_map(|entry| Some(entry.after.as_ref()?["post"].as_str()?.to_owned())).collect()
    }

    /// What people made, and how much of it is still there.
    pub fn counts(&self) -> String {
        let affairs = &self.office.affairs;
        let there = affairs.iter().filter(|it| it.meeting == Standing::There).count();
        let copies = affairs.iter().flat_map(|it| it.copies.values());
        let live = copies.filter(|copy| copy.standing == Standing::There).count();
        format!(
            "{} affairs, {} edits; in the end {there} meetings and calls, {live} events; {:?}",
            affairs.len(),
            self.edits,
            self.engine.runs
        )
    }
}

fn of(number: usize) -> u64 {
    u64::try_from(number).unwrap()
}

fn present<'a>(office: &'a Office, plan: &Plan, now: Timestamp) -> Present<'a> {
    Present {
        now,
        users: office.users.len(),
        affairs: &office.affairs,
        calendars: &office.calendars,
        affairs_max: plan.affairs,
        is_at_night: plan.is_at_night,
    }
}

/// Whether each step is printed.
#[expect(clippy::disallowed_methods, reason = "how much is told is said by whoever plays")]
pub fn tracing_wanted() -> bool {
    std::env::var("CALENDAR_STEPS").is_ok()
}

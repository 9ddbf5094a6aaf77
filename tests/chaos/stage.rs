//! What a case plays on: servers, an installation, the people who work with it.

use std::cell::Cell;

use simulators::Dice;
use system_tests::{Backing, Fleet, Member, Plan, shared_rabbitmq, shared_redis};

use crate::case::{Counts, Sizes};
use crate::ledger;
use crate::people::{Office, People};

/// A sweep would find what a lost webhook was about: with this schedule there is one at the start, and then none.
const NO_SWEEPS: &str = "0 0 0 1 1 *";

/// What a case has.
pub struct Stage {
    pub seed: u64,
    pub dice: Dice,
    pub sizes: Sizes,
    pub counts: Counts,
}

/// An installation and its people.
pub struct World {
    pub fleet: Fleet,
    pub people: People,
}

impl World {
    /// Lets people work while one blow after the other falls, until they have done what the case asks for and a blow
    /// said that it was enough. Blows fall until the last webhook is taken, since a program that was told to die may
    /// do so because of it and then must be started again. A blow that has begun comes to its end.
    pub async fn broken(
        &mut self,
        stage: &mut Stage,
        mut blow: impl AsyncFnMut(&mut [Member], &mut Stage) -> bool,
    ) {
        let World { fleet: Fleet { crm, advoware, http, webhooks, members, .. }, people } = self;
        let office = Office { crm, advoware, http, webhooks };
        let asked = stage.sizes.syncs;
        let (is_over, is_enough) = (Cell::new(false), Cell::new(false));
        let working = async {
            people.work(office, |count| count < asked || !is_enough.get()).await;
            is_over.set(true);
        };
        let breaking = async {
            while !is_over.get() {
                is_enough.set(blow(members, stage).await || is_enough.get());
            }
        };
        tokio::join!(working, breaking);
    }
}

impl Stage {
    pub fn new(seed: u64, sizes: Sizes) -> Self {
        Self { seed, dice: Dice::new(seed), sizes, counts: Counts::default() }
    }

    /// The servers of this binary, for cases that do not damage them.
    pub async fn shared_servers(&self) -> Backing {
        let (rabbitmq, redis) = (shared_rabbitmq().await.unwrap(), shared_redis().await.unwrap());
        Backing::Servers { rabbitmq: rabbitmq.url(), redis: redis.url() }
    }

    /// An installation, quiet until somebody does something: only webhooks tell it what changed.
    pub fn plan(&self, backing: Backing, producers: usize, workers: usize) -> Plan {
        let settings = vec![
            ("FLOW__PARTIES__SWEEP_CRON", NO_SWEEPS.to_owned()),
            ("WORKER__CONCURRENCY_MAX", "8".to_owned()),
        ];
        Plan { settings, sends_webhooks: false, ..Plan::new(backing, producers, workers) }
    }

    /// The installation with its parties laid out and in step.
    pub async fn open(&mut self, plan: Plan) -> World {
        self.open_with(plan, |_, _| {}).await
    }

    /// The same with programs that are prepared, and people who are told, first.
    pub async fn open_with(&mut self, plan: Plan, tell: impl FnOnce(&mut Fleet, &People)) -> World {
        let mut fleet = Fleet::new(plan).await.unwrap();
        let people = People::new(self.dice.roll());
        tell(&mut fleet, &people);
        people.lay_out(&fleet, self.sizes.parties);
        fleet.start_ready().await.unwrap();
        ledger::until_settled(&mut fleet, &people).await;
        World { fleet, people }
    }

    /// Waits until all is quiet, ends the programs and judges. `dead` are the ids whose messages may, and must, have
    /// become dead letters.
    pub async fn judge(&mut self, world: World, dead: &[String]) {
        let World { mut fleet, people } = world;
        ledger::until_settled(&mut fleet, &people).await;
        fleet.drain().await.unwrap();
        let dead = [people.nameless(), dead.to_vec()].concat();
        ledger::judge(&fleet, &people, &dead, &mut self.counts).await;
    }
}

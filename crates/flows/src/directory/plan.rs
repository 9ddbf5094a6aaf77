//! The decision about one message: what WeCom says now, what we remember and what the target says, as far as it is known,
//! give what to look up or to do next. No clock, no I/O, no randomness; the same input gives the same plan.
//!
//! The shell goes on until a plan is over: it answers looks ([`Known::learn`]), takes the lease ([`Known::leased`]), asks
//! the mass-change guard, does the steps in order ([`Known::done`]), and plans again. Where a step is not done as asked for
//! ([`super::known::Done::NameTaken`], [`super::known::Done::GroupGone`]), the rest of the pass is left out. A run that is
//! stopped anywhere is begun anew with nothing known, and comes to the same end.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::action::{Action, Plan, Verdict};
use super::deciding::{Deciding, Mode};
use super::ids::DepartmentId;
use super::key::Key;
use super::known::Known;
use super::need::{Need, Why};
use super::rules::Rules;

/// Decides.
pub fn plan(key: &Key, known: &Known, rules: &Rules, mode: Mode, now: Timestamp) -> Plan {
    let mut deciding = Deciding { known, rules, mode, now, oddities: Vec::new(), broken: BTreeSet::new() };
    let result = decide(key, &mut deciding);
    let oddities = std::mem::take(&mut deciding.oddities);
    Plan { oddities, ..result.map_or_else(pass, Plan::over) }
}

fn decide(key: &Key, deciding: &mut Deciding<'_>) -> Result<Verdict, Need> {
    let mut result = once(key, deciding);
    // Each cycle is broken in passes of its own; afterwards it is none any more.
    if let Err(Need::Cycle(cycle)) = &result {
        let cycle = cycle.clone();
        result = deciding.break_cycle(&cycle).and_then(|()| once(key, deciding));
    }
    result
}

fn once(key: &Key, deciding: &mut Deciding<'_>) -> Result<Verdict, Need> {
    match key {
        Key::Department(id) => deciding.department(*id),
        Key::Member(id) => deciding.member(id),
        Key::Rename { old, new } => deciding.rename(old, new),
        Key::Members(id) => deciding.memberships(*id),
        Key::Leader(id) => deciding.leader(id),
    }
}

fn pass(need: Need) -> Plan {
    let goes_on = Plan::over(Verdict::GoesOn);
    match need {
        Need::Look(looks) => Plan { looks, ..goes_on },
        Need::Lease(lease) => Plan { lease: Some(lease), ..goes_on },
        Need::Do(actions, mass_change) => Plan { actions, mass_change, ..goes_on },
        Need::Park(awaited) => Plan::over(Verdict::Parks { awaited }),
        Need::Refuse(refusal) => Plan::over(Verdict::Refused(refusal)),
        Need::Missing(id, why) => {
            let awaited = Key::Department(id);
            // What WeCom does not know yet, an event will name; what could not be read has to be looked at by somebody.
            let hint = match why {
                Why::Unknown => Vec::new(),
                Why::Unavailable => vec![Action::Hint(awaited.clone())],
            };
            Plan { actions: hint, ..Plan::over(Verdict::Parks { awaited }) }
        }
        Need::Cycle(ids) => {
            let smallest = ids.iter().min().copied().unwrap_or(DepartmentId::ROOT);
            Plan::over(Verdict::Parks { awaited: Key::Department(smallest) })
        }
    }
}

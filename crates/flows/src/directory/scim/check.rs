//! What the flow needs of a SCIM service, and what of it is not there.

use std::time::Duration;

use connector_scim::{Abilities, Nesting};
use shared::fault::Fault;
use shared::flow::{Check, Verdict};
use shared::ports::state::Fence;

use super::ScimTarget;
use crate::directory::record::Field;
use crate::directory::rules::Hierarchy;

const SERVICE: &str = "SCIM service";
const GROUPS: &str = "SCIM groups";
const FILTERS: &str = "SCIM filters";
const ENTERPRISE: &str = "SCIM enterprise extension";
const NESTING: &str = "SCIM groups within groups";
/// The lease under which groups are made to try nesting with: two at once would delete each other's.
const PROBE_LEASE: &str = "directory:scim:probe";
/// Longer than the few requests of a probe take.
const PROBE_TIME_MAX: Duration = Duration::from_secs(300);

impl ScimTarget {
    pub(super) async fn check_all(&self, hierarchy: Hierarchy) -> Vec<Check> {
        let abilities = match self.scim.abilities().await {
            Ok(abilities) => abilities,
            Err(fault) => return vec![failed(SERVICE, &fault)],
        };
        let mut checks = vec![self.check_reading(&abilities).await];
        checks.extend(lacks(&abilities, !self.without.contains(&Field::Manager)));
        if hierarchy == Hierarchy::Nested && abilities.groups {
            checks.push(self.check_nesting().await);
        }
        checks
    }

    /// Discovery may be open to everybody: only reading users shows that the token is good.
    async fn check_reading(&self, abilities: &Abilities) -> Check {
        match self.scim.users().next_page().await {
            Ok(_) => well(SERVICE, described(abilities)),
            Err(fault) => failed(SERVICE, &fault),
        }
    }

    async fn check_nesting(&self) -> Check {
        let holder = format!("{:016x}", fastrand::u64(..));
        let grant = match self.state.acquire_lease(PROBE_LEASE, &holder, PROBE_TIME_MAX).await {
            Ok(Some(grant)) => grant,
            Ok(None) => {
                let seen = "not tried: another process is trying it now".to_owned();
                return check(NESTING, Verdict::Warning, seen, "check again in a minute");
            }
            Err(error) => return failed(NESTING, &Fault::from(error)),
        };
        let found = self.scim.probe_nesting().await;
        let fence = Fence { lease: PROBE_LEASE.to_owned(), term: grant.term };
        if let Err(error) = self.state.release_lease(&fence, &holder).await {
            tracing::warn!(%error, "the lease of the probe could not be given back: it ends by itself");
        }
        match found {
            Ok(Nesting::Works) => match self.scim.nesting_told().await {
                Ok(Some(false)) => {
                    let seen = "its schema says that it takes none, and yet it took one";
                    let remedy = "set the directory's hierarchy to flat or rollup, or have its maker say what it takes";
                    check(NESTING, Verdict::Warning, seen.to_owned(), remedy)
                }
                // Its word counts only against what was seen.
                Ok(_) | Err(_) => well(NESTING, "the service takes them".to_owned()),
            },
            Ok(Nesting::Refused { why }) => {
                let remedy = "set the directory's hierarchy to flat or rollup";
                check(NESTING, Verdict::Broken, why, remedy)
            }
            Err(fault) => failed(NESTING, &fault),
        }
    }
}

/// What is done in another way without anybody noticing is no lack.
fn lacks(abilities: &Abilities, wants_enterprise: bool) -> Vec<Check> {
    let mut checks = Vec::new();
    if !abilities.groups {
        let remedy = "take another service: departments cannot be kept in this one; if it does have groups, \
                      say so in the settings of SCIM";
        checks.push(check(GROUPS, Verdict::Broken, "there are none".to_owned(), remedy));
    }
    if !abilities.filter {
        let seen = "there are none: each look-up lists everything".to_owned();
        let remedy = "expect a slow first sync; if it does have filters, say so in the settings of SCIM";
        checks.push(check(FILTERS, Verdict::Warning, seen, remedy));
    }
    if wants_enterprise && !abilities.enterprise {
        let seen =
            "there is none: department, division, number and manager are not written, and each full compare \
                    finds them missing"
                .to_owned();
        let remedy = "turn the enterprise extension off in the settings of SCIM";
        checks.push(check(ENTERPRISE, Verdict::Warning, seen, remedy));
    }
    checks
}

fn described(abilities: &Abilities) -> String {
    let features = [
        ("PATCH", abilities.patch),
        ("bulk", abilities.bulk.is_some()),
        ("filters", abilities.filter),
        ("sorting", abilities.sort),
        ("versions", abilities.etag),
    ];
    let list = |on: bool| {
        let names: Vec<&str> = features.iter().filter(|(_, is)| *is == on).map(|(name, _)| *name).collect();
        if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
    };
    format!("answers; has {}; lacks {}", list(true), list(false))
}

fn check(subject: &str, verdict: Verdict, seen: String, remedy: &str) -> Check {
    Check { subject: subject.to_owned(), verdict, seen, remedy: remedy.to_owned() }
}

fn well(subject: &str, seen: String) -> Check {
    check(subject, Verdict::Well, seen, "")
}

/// A fault's text says what to do.
fn failed(subject: &str, fault: &Fault) -> Check {
    check(subject, Verdict::Broken, fault.code.to_owned(), &fault.text)
}

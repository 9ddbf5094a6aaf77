//! What the company's secrets may read, as findings. Pure.

use connector_wecom::{Abilities, Ability, Lack};
use shared::flow::{Check, Verdict};

use crate::crm_checks::{finding, well};

/// One finding for each ability.
pub(super) fn findings(abilities: &Abilities) -> Vec<Check> {
    let names = "the departments' groups have no names without it";
    let nobody = "without it nobody can be looked at";
    let unknown = "mobile and mail stay unknown, and are left as they are in the target";
    let ids = "optional: without it the first sync does not know its end";
    let parts = "departments outside of it, and their members, are left out";
    [
        ("names of departments", &abilities.department_names, names, Verdict::Broken),
        ("members", &abilities.members, nobody, Verdict::Broken),
        ("members' contact data", &abilities.contact_data, unknown, Verdict::Well),
        ("complete lists of ids", &abilities.all_ids, ids, Verdict::Well),
        ("the whole company", &abilities.whole_company, parts, Verdict::Warning),
    ]
    .into_iter()
    .map(|(what, ability, without, verdict)| one(what, ability, without, verdict))
    .collect()
}

/// `verdict` is what it means where the ability is lacking.
fn one(what: &str, ability: &Ability, without: &str, verdict: Verdict) -> Check {
    let subject = format!("WeCom {what}");
    match ability {
        Ability::With(secret) => well(subject, format!("read with {secret}")),
        Ability::Unknown => well(subject, "not known: there was nobody to try it with"),
        // A secret that is set and does not work is put right, whatever it is for.
        Ability::Not(Lack::Refused { secret, what }) => {
            finding(Verdict::Broken, subject, format!("{secret} is refused"), what.clone())
        }
        Ability::Not(lack) if verdict == Verdict::Well => well(subject, format!("{lack}; {without}")),
        Ability::Not(lack) => finding(
            verdict,
            subject,
            format!("cannot be read: {without}"),
            format!("Put this right: {lack}."),
        ),
    }
}

#[cfg(test)]
mod tests {
    use connector_wecom::Secret;

    use super::*;

    fn whole() -> Abilities {
        let with = || Ability::With(Secret::App);
        Abilities {
            department_names: with(),
            members: with(),
            contact_data: with(),
            all_ids: Ability::With(Secret::ContactSync),
            whole_company: with(),
        }
    }

    fn verdicts(abilities: &Abilities) -> Vec<Verdict> {
        findings(abilities).iter().map(|check| check.verdict).collect()
    }

    #[test]
    fn what_may_be_read_is_well() {
        assert_eq!(verdicts(&whole()), [Verdict::Well; 5]);
        let unknown = Abilities { contact_data: Ability::Unknown, ..whole() };
        assert_eq!(verdicts(&unknown), [Verdict::Well; 5]);
    }

    #[test]
    fn an_app_of_today_without_the_contact_sync_is_well_and_says_what_it_does_not_get() {
        let today = Abilities {
            contact_data: Ability::Not(Lack::Fields(Secret::App)),
            all_ids: Ability::Not(Lack::Secret(Secret::ContactSync)),
            ..whole()
        };
        let found = findings(&today);
        assert!(found.iter().all(|check| check.verdict == Verdict::Well && check.remedy.is_empty()));
        assert!(found[2].seen.contains("2022-06-20") && found[3].seen.contains("contact_sync_secret"));
    }

    #[test]
    fn what_is_lacking_says_what_to_do() {
        let scoped = Abilities { whole_company: Ability::Not(Lack::Scope(Secret::App)), ..whole() };
        let found = findings(&scoped);
        assert_eq!(found[4].verdict, Verdict::Warning);
        assert!(found[4].remedy.contains("visible scope"), "{:?}", found[4]);
        let none = Abilities { members: Ability::Not(Lack::Secret(Secret::App)), ..whole() };
        assert_eq!(findings(&none)[1].verdict, Verdict::Broken);
        assert!(findings(&none)[1].remedy.contains("app_secret"));
        let refused = Lack::Refused { secret: Secret::ContactSync, what: "Check the secret.".into() };
        let refused = Abilities { all_ids: Ability::Not(refused), ..whole() };
        assert_eq!(findings(&refused)[3].verdict, Verdict::Broken);
    }
}

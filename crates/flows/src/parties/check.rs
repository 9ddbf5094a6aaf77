//! What the flow needs of its surroundings, and what to do where something is missing.

use connector_espocrm::provision::{Lack, Needs, Right, lacks};
use connector_espocrm::{AppUser, EntityDefinition, EspoId, Level, Version};
use shared::fault::Fault;
use shared::flow::{Check, Verdict};

use super::Parties;
use super::needs::VERSION_MIN;

fn well(subject: impl Into<String>, seen: impl Into<String>) -> Check {
    Check { subject: subject.into(), verdict: Verdict::Well, seen: seen.into(), remedy: String::new() }
}

fn finding(
    verdict: Verdict,
    subject: impl Into<String>,
    seen: impl Into<String>,
    remedy: impl Into<String>,
) -> Check {
    Check { subject: subject.into(), verdict, seen: seen.into(), remedy: remedy.into() }
}

fn failed(subject: impl Into<String>, fault: &Fault) -> Check {
    finding(Verdict::Broken, subject, fault.text.clone(), "Correct what the text names, then check again.")
}

impl Parties {
    pub(super) async fn check_all(&self) -> Vec<Check> {
        let (mut checks, advoware) = tokio::join!(self.check_crm(), self.check_advoware());
        checks.push(advoware);
        checks
    }

    async fn check_advoware(&self) -> Check {
        match self.advoware.sign_in().await {
            Ok(url) => well("Advoware sign-in", format!("a token was issued; the firm's server is {url}")),
            Err(fault) => failed("Advoware sign-in", &fault),
        }
    }

    async fn check_crm(&self) -> Vec<Check> {
        let user = match self.crm.app_user().await {
            Ok(user) => user,
            Err(fault) => return vec![failed("EspoCRM sign-in", &fault)],
        };
        let mut checks = vec![well("EspoCRM sign-in", format!("signed in as {}", user.user_name))];
        if user.kind != "api" {
            checks.push(finding(
                Verdict::Warning,
                "EspoCRM user",
                format!("{} is a user of type {}", user.user_name, user.kind),
                "Use an API user of its own: only then webhooks can leave its own writes out (skipOwn).",
            ));
        }
        checks.push(match self.crm.version().await {
            Ok(version) => check_version(version),
            Err(fault) => failed("EspoCRM version", &fault),
        });
        let (entity, needs) = (self.entity_type.as_str(), self.needs());
        checks.extend(needs.rights.iter().filter_map(|right| check_right(&needs, right, &user)));
        match self.crm.entity_definition(&self.entity_type).await {
            Ok(Some(definition)) => checks.extend(self.check_fields(&needs, &definition)),
            Ok(None) => checks.push(finding(
                Verdict::Broken,
                format!("EspoCRM entity type {entity}"),
                "unknown, or hidden from the API user",
                "Let `syncfleet provision` make it, or correct flow.parties.entity_type.",
            )),
            Err(fault) => checks.push(failed(format!("EspoCRM entity type {entity}"), &fault)),
        }
        checks.extend(self.check_webhooks().await);
        if let Some(check) = self.check_notify_user().await {
            checks.push(check);
        }
        checks
    }

    fn check_fields(&self, needs: &Needs, definition: &EntityDefinition) -> Vec<Check> {
        let mut checks = Vec::new();
        for need in &needs.entity.fields {
            let subject = format!("EspoCRM field {}.{}", self.entity_type, need.name);
            let lacks = lacks(need, definition.fields.get(need.name));
            if lacks.is_empty() {
                checks.push(well(subject.clone(), need.kind()));
            }
            checks.extend(
                lacks.iter().map(|lack| check_lack(subject.clone(), need.kind(), need.length_min, lack)),
            );
        }
        if !definition.has_versions {
            checks.push(finding(
                Verdict::Warning,
                format!("EspoCRM entity type {}", self.entity_type),
                "without optimistic concurrency control: an edit made while a sync writes may be overwritten",
                "Let `syncfleet provision` switch it on.",
            ));
        }
        checks
    }

    async fn check_webhooks(&self) -> Vec<Check> {
        let webhooks = match self.crm.webhooks().await {
            Ok(webhooks) => webhooks,
            Err(fault) => return vec![failed("EspoCRM webhooks", &fault)],
        };
        // What cannot be had from the vault is said by the check of the vault.
        let _known = self.secrets.learn().await;
        let mut checks = Vec::new();
        for (event, _) in self.needs().webhooks {
            let subject = format!("EspoCRM webhook {event}");
            let ours: Vec<_> = webhooks.iter().filter(|webhook| webhook.event == event).collect();
            let remedy = "Without it, changes wait for the next sweep. Let `syncfleet provision` make it.";
            checks.push(match ours.as_slice() {
                [] => finding(Verdict::Warning, subject, "none", remedy),
                [one] if !one.is_active => {
                    finding(Verdict::Warning, subject, "switched off", "Switch it on.")
                }
                [one] if !one.skip_own => finding(
                    Verdict::Warning,
                    subject,
                    "it reports our own writes too",
                    "Switch skipOwn on; else every write of ours comes back and costs a delivery.",
                ),
                [one] if !self.secrets.is_known(&one.id) => finding(
                    Verdict::Broken,
                    subject,
                    format!("the secret of {} is not known, so its deliveries are refused", one.id),
                    "Let `syncfleet provision` keep it, or enter it in flow.parties.webhook_secrets.",
                ),
                [one] => well(subject, format!("{} to {}", one.id, one.url)),
                several => finding(
                    Verdict::Warning,
                    subject,
                    format!("{} of them, each of which is delivered", several.len()),
                    "Remove all but one, unless they go to different installations.",
                ),
            });
        }
        checks
    }

    async fn check_notify_user(&self) -> Option<Check> {
        let subject = "flow.parties.notify_user_id";
        let Some(id) = &self.rules.fallback_user_id else {
            let seen = "not set: nobody is told where a record has no assigned user";
            return Some(finding(Verdict::Warning, subject, seen, "Enter the id of an EspoCRM user."));
        };
        let id = EspoId::new(id.clone()).ok()?;
        Some(match self.crm.user(&id).await {
            Ok(Some(user)) if user.is_active => well(subject, user.user_name),
            Ok(Some(user)) => finding(
                Verdict::Warning,
                subject,
                format!("{} is not active", user.user_name),
                "Name another user.",
            ),
            Ok(None) => {
                finding(Verdict::Warning, subject, format!("there is no user {id}"), "Correct the id.")
            }
            Err(fault) => failed(subject, &fault),
        })
    }
}

fn check_version(version: Version) -> Check {
    let subject = "EspoCRM version";
    if version >= VERSION_MIN {
        return well(subject, version.to_string());
    }
    let remedy =
        format!("Update EspoCRM to {VERSION_MIN} or later: before it, webhooks report our own writes.");
    finding(Verdict::Broken, subject, version.to_string(), remedy)
}

/// The rights that `App/user` shows. Creating is not among those asked for: a fleet that only updates does without.
fn check_right(needs: &Needs, right: &Right, user: &AppUser) -> Option<Check> {
    let Right::Records(scope, action @ ("read" | "edit")) = right else { return None };
    if scope != needs.entity.name.as_str() {
        return None;
    }
    let subject = format!("EspoCRM right to {action} {scope}");
    Some(match user.right(scope, action) {
        Level::All => well(subject, "all"),
        Level::No => finding(
            Verdict::Broken,
            subject,
            "no",
            "Let `syncfleet provision` give the API user this right on all records.",
        ),
        Level::Own | Level::Team => finding(
            Verdict::Warning,
            subject,
            "not on all records",
            "Let `syncfleet provision` give the API user this right on all records; the others are taken for deleted.",
        ),
    })
}

fn check_lack(subject: String, kind: &str, length: Option<u32>, lack: &Lack) -> Check {
    let provision = "`syncfleet provision` does it.";
    let broken = |seen: String, remedy: String| finding(Verdict::Broken, subject.clone(), seen, remedy);
    let options = |verdict, missing: &[String]| {
        let missing: Vec<&str> =
            missing.iter().map(|option| if option.is_empty() { "(empty)" } else { option }).collect();
        let remedy = if missing.contains(&"(empty)") {
            format!("Add these options: EspoCRM refuses to empty an enum without an empty one. {provision}")
        } else {
            format!("Add these options. {provision}")
        };
        finding(verdict, subject.clone(), format!("without the options {}", missing.join(", ")), remedy)
    };
    match lack {
        Lack::Missing => broken("missing".to_owned(), format!("Create it, of type {kind}. {provision}")),
        Lack::OtherKind(other) => {
            broken(format!("of type {other}"), format!("Create it anew, of type {kind}."))
        }
        Lack::NotStored => {
            broken("not stored".to_owned(), format!("Create it anew, of type {kind} and stored."))
        }
        Lack::ReadOnly => broken("read-only".to_owned(), format!("Make it writable. {provision}")),
        Lack::Short(present) => broken(
            format!("at most {present} characters"),
            format!("Set its maximum length to {}. {provision}", length.unwrap_or_default()),
        ),
        Lack::OptionsNeeded(missing) => options(Verdict::Broken, missing),
        Lack::OptionsWished(missing) => options(Verdict::Warning, missing),
        Lack::Required => broken(
            "required".to_owned(),
            format!("Switch \"required\" off: companies have no last name. {provision}"),
        ),
    }
}

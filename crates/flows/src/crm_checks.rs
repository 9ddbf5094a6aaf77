//! What a flow needs of EspoCRM, checked: who we are, what we may do, which fields and webhooks there are.

use connector_espocrm::provision::{EntityNeed, Lack, Needs, Right, lacks};
use connector_espocrm::{AppUser, EntityDefinition, EspoCrm, EspoId, Level, Version};
use shared::fault::Fault;
use shared::flow::{Check, Verdict};

/// The oldest EspoCRM that leaves our own writes out of its webhooks (`skipOwn`).
pub const VERSION_MIN: Version = Version(9, 2, 2);

/// All is well.
pub fn well(subject: impl Into<String>, seen: impl Into<String>) -> Check {
    Check { subject: subject.into(), verdict: Verdict::Well, seen: seen.into(), remedy: String::new() }
}

/// What somebody should look at.
pub fn finding(
    verdict: Verdict,
    subject: impl Into<String>,
    seen: impl Into<String>,
    remedy: impl Into<String>,
) -> Check {
    Check { subject: subject.into(), verdict, seen: seen.into(), remedy: remedy.into() }
}

/// What could not even be looked at.
pub fn failed(subject: impl Into<String>, fault: &Fault) -> Check {
    finding(Verdict::Broken, subject, fault.text.clone(), "Correct what the text names, then check again.")
}

/// Who asks, and what it needs.
#[derive(Debug)]
pub struct CrmChecks<'a> {
    /// The flow's name, as in its section of the settings.
    pub flow: &'static str,
    /// The CRM, as the API user.
    pub crm: &'a EspoCrm,
    /// What is needed.
    pub needs: &'a Needs,
    /// Of which types the rights to records are asked for.
    pub scopes: &'a [&'a str],
    /// Which of these rights, by what may be done: a fleet that only updates does without creating.
    pub actions: &'static [&'static str],
}

impl CrmChecks<'_> {
    /// All of it. `is_secret_known`: whether a webhook's deliveries can be verified.
    pub async fn all(&self, is_secret_known: &(dyn Fn(&EspoId) -> bool + Sync)) -> Vec<Check> {
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
        checks.extend(self.needs.rights.iter().filter_map(|right| self.check_right(right, &user)));
        for need in &self.needs.entities {
            checks.extend(self.check_entity(need).await);
        }
        checks.extend(self.check_webhooks(is_secret_known).await);
        checks
    }

    /// An entity type and its fields.
    pub async fn check_entity(&self, need: &EntityNeed) -> Vec<Check> {
        let subject = format!("EspoCRM entity type {}", need.name);
        match self.crm.entity_definition(&need.name).await {
            Ok(Some(definition)) => check_fields(need, &definition),
            Ok(None) => {
                let remedy = match need.template {
                    Some(_) => format!(
                        "Let `syncfleet provision` make it, or correct flow.{}.entity_type.",
                        self.flow
                    ),
                    None => {
                        "Let `syncfleet provision` give the API user the rights that are needed.".to_owned()
                    }
                };
                vec![finding(Verdict::Broken, subject, "unknown, or hidden from the API user", remedy)]
            }
            Err(fault) => vec![failed(subject, &fault)],
        }
    }

    /// The rights that `App/user` shows.
    fn check_right(&self, right: &Right, user: &AppUser) -> Option<Check> {
        let Right::Records(scope, action) = right else { return None };
        if !self.scopes.contains(&scope.as_str()) || !self.actions.contains(action) {
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

    async fn check_webhooks(&self, is_secret_known: &(dyn Fn(&EspoId) -> bool + Sync)) -> Vec<Check> {
        let webhooks = match self.crm.webhooks().await {
            Ok(webhooks) => webhooks,
            Err(fault) => return vec![failed("EspoCRM webhooks", &fault)],
        };
        let mut checks = Vec::new();
        for (event, _) in &self.needs.webhooks {
            let subject = format!("EspoCRM webhook {event}");
            let ours: Vec<_> = webhooks.iter().filter(|webhook| webhook.event == *event).collect();
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
                [one] if !is_secret_known(&one.id) => finding(
                    Verdict::Broken,
                    subject,
                    format!("the secret of {} is not known, so its deliveries are refused", one.id),
                    format!(
                        "Let `syncfleet provision` keep it, or enter it in flow.{}.webhook_secrets.",
                        self.flow
                    ),
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
}

fn check_fields(need: &EntityNeed, definition: &EntityDefinition) -> Vec<Check> {
    let mut checks = Vec::new();
    for field in &need.fields {
        let attribute = need.attribute(field);
        let subject = format!("EspoCRM field {}.{attribute}", need.name);
        let lacks = lacks(field, definition.fields.get(&attribute));
        if lacks.is_empty() {
            checks.push(well(subject.clone(), field.kind()));
        }
        checks.extend(
            lacks.iter().map(|lack| check_lack(subject.clone(), field.kind(), field.length_min, lack)),
        );
    }
    if !definition.has_versions {
        checks.push(finding(
            Verdict::Warning,
            format!("EspoCRM entity type {}", need.name),
            "without optimistic concurrency control: an edit made while a sync writes may be overwritten",
            "Let `syncfleet provision` switch it on.",
        ));
    }
    checks
}

/// Whether the version will do.
pub fn check_version(version: Version) -> Check {
    let subject = "EspoCRM version";
    if version >= VERSION_MIN {
        return well(subject, version.to_string());
    }
    let remedy =
        format!("Update EspoCRM to {VERSION_MIN} or later: before it, webhooks report our own writes.");
    finding(Verdict::Broken, subject, version.to_string(), remedy)
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
            format!("Switch \"required\" off: it has to be empty in some records. {provision}"),
        ),
    }
}

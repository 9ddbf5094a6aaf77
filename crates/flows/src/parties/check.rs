//! What the flow needs of its surroundings, and what to do where something is missing.

use std::collections::BTreeSet;

use connector_espocrm::{EntityDefinition, EspoId, FieldDefinition, Level, Version};
use shared::fault::Fault;
use shared::flow::{Check, Verdict};

use super::Parties;
use super::sides::Status;

/// The oldest EspoCRM that leaves our own writes out of its webhooks (`skipOwn`).
const VERSION_MIN: Version = Version(9, 2, 2);

/// A field as the flow needs it: name, type, shortest maximum length, whether the product brings it.
const FIELDS: [(&str, &str, Option<u32>); 14] = [
    ("betnr", "int", None),
    ("advowareRowId", "varchar", Some(50)),
    ("syncStatus", "enum", None),
    ("advowareLastSync", "datetime", None),
    ("advowareDeletedAt", "datetime", None),
    ("syncErrorMessage", "text", Some(2_000)),
    ("syncRetryCount", "int", None),
    ("lastName", "varchar", None),
    ("firstName", "varchar", None),
    ("firmenname", "varchar", None),
    ("rechtsform", "enum", None),
    ("salutationName", "enum", None),
    ("dateOfBirth", "date", None),
    ("handelsregisterNummer", "varchar", None),
];

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
        let entity = self.entity_type.as_str();
        checks.extend(["read", "edit"].map(|action| check_right(entity, action, user.right(entity, action))));
        match self.crm.entity_definition(&self.entity_type).await {
            Ok(Some(definition)) => checks.extend(self.check_fields(&definition)),
            Ok(None) => checks.push(finding(
                Verdict::Broken,
                format!("EspoCRM entity type {entity}"),
                "unknown, or hidden from the API user",
                "Create it from the template Person, or correct flow.parties.entity_type.",
            )),
            Err(fault) => checks.push(failed(format!("EspoCRM entity type {entity}"), &fault)),
        }
        checks.extend(self.check_webhooks().await);
        if let Some(check) = self.check_notify_user().await {
            checks.push(check);
        }
        checks
    }

    fn check_fields(&self, definition: &EntityDefinition) -> Vec<Check> {
        let subject = |name: &str| format!("EspoCRM field {}.{name}", self.entity_type);
        let mut checks = Vec::new();
        for (name, kind, length) in FIELDS {
            checks.push(check_field(subject(name), kind, length, definition.fields.get(name)));
        }
        let lists = [("phoneNumber", "phone"), ("emailAddress", "email")];
        for (name, kind) in lists.into_iter().filter(|_| self.rules.communications.is_some()) {
            checks.push(check_field(subject(name), kind, None, definition.fields.get(name)));
        }
        let options = |name: &str| -> BTreeSet<&str> {
            let field = definition.fields.get(name);
            field.map(|f| f.options.iter().map(String::as_str).collect()).unwrap_or_default()
        };
        let missing = |name: &str, wanted: &mut dyn Iterator<Item = &str>| -> Vec<String> {
            let present = options(name);
            wanted.filter(|word| !present.contains(word)).map(str::to_owned).collect()
        };
        let status = missing("syncStatus", &mut Status::ALL.into_iter().map(Status::word));
        checks.extend(check_options(subject("syncStatus"), Verdict::Broken, &status));
        let words = missing("salutationName", &mut self.table.crm_words());
        checks.extend(check_options(subject("salutationName"), Verdict::Warning, &words));
        if let (Some(kinds), Some(phone)) = (
            &self.rules.communications,
            definition.fields.get("phoneNumber").filter(|f| !f.type_list.is_empty()),
        ) {
            let missing: BTreeSet<&str> =
                kinds.words().filter(|word| !phone.type_list.iter().any(|present| present == word)).collect();
            let missing: Vec<String> = missing.into_iter().map(str::to_owned).collect();
            checks.extend(check_options(subject("phoneNumber"), Verdict::Broken, &missing));
        }
        for name in ["rechtsform", "salutationName"] {
            let empty = missing(name, &mut [""].into_iter());
            if !empty.is_empty() && definition.fields.contains_key(name) {
                checks.push(finding(
                    Verdict::Warning,
                    subject(name),
                    "it has no empty option",
                    "Add an empty option: EspoCRM refuses to empty an enum without one.",
                ));
            }
        }
        if definition.fields.get("lastName").is_some_and(|field| field.required) {
            checks.push(finding(
                Verdict::Broken,
                subject("lastName"),
                "required",
                "Switch \"required\" off: companies have no last name.",
            ));
        }
        checks
    }

    async fn check_webhooks(&self) -> Vec<Check> {
        let webhooks = match self.crm.webhooks().await {
            Ok(webhooks) => webhooks,
            Err(fault) => return vec![failed("EspoCRM webhooks", &fault)],
        };
        let mut checks = Vec::new();
        for event in ["create", "update", "delete"].map(|what| format!("{}.{what}", self.entity_type)) {
            let subject = format!("EspoCRM webhook {event}");
            let ours: Vec<_> = webhooks.iter().filter(|webhook| webhook.event == event).collect();
            let remedy = "Without it, changes wait for the next sweep. Make one for this event, with skipOwn, and \
                          enter its secret in flow.parties.webhook_secrets.";
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
                [one] if !self.webhook_secrets.contains_key(&one.id) => finding(
                    Verdict::Broken,
                    subject,
                    format!("the secret of {} is not configured, so its deliveries are refused", one.id),
                    "Enter it in flow.parties.webhook_secrets.",
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

fn check_right(entity: &str, action: &str, level: Level) -> Check {
    let subject = format!("EspoCRM right to {action} {entity}");
    match level {
        Level::All => well(subject, "all"),
        Level::No => {
            finding(Verdict::Broken, subject, "no", "Give the API user's role this right on all records.")
        }
        Level::Own | Level::Team => finding(
            Verdict::Warning,
            subject,
            "not on all records",
            "Give the API user's role this right on all records; the others are taken for deleted.",
        ),
    }
}

fn check_field(subject: String, kind: &str, length: Option<u32>, field: Option<&FieldDefinition>) -> Check {
    let Some(field) = field else {
        return finding(Verdict::Broken, subject, "missing", format!("Create it, of type {kind}."));
    };
    if field.kind != kind {
        let seen = format!("of type {}", field.kind);
        return finding(Verdict::Broken, subject, seen, format!("Create it anew, of type {kind}."));
    }
    if field.read_only || field.not_storable {
        return finding(Verdict::Broken, subject, "read-only or not stored", "Make it writable and stored.");
    }
    let short = length.zip(field.max_length).filter(|(needed, present)| present < needed);
    if let Some((needed, present)) = short {
        let seen = format!("at most {present} characters");
        return finding(Verdict::Broken, subject, seen, format!("Set its maximum length to {needed}."));
    }
    well(subject, kind)
}

fn check_options(subject: String, verdict: Verdict, missing: &[String]) -> Option<Check> {
    if missing.is_empty() {
        return None;
    }
    Some(finding(
        verdict,
        subject,
        format!("without the options {}", missing.join(", ")),
        "Add these options.",
    ))
}

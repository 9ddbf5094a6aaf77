//! What users are told in the CRM. Pure; the texts hold the values, so they go nowhere else.

use super::communications::memory::Problem;
use super::link::ConflictField;
use super::merge::Winner;
use super::party::Kind;
use super::plan::Rules;
use super::sides::{CrmSide, User};

/// A stream post addressed to one user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// To whom.
    pub user: User,
    /// What, in EspoCRM's Markdown.
    pub text: String,
}

/// The user to tell: the record's assigned one, else the configured one.
pub fn recipient(assigned: Option<&User>, fallback_id: Option<&str>) -> Option<User> {
    let fallback = || fallback_id.map(|id| User { id: id.to_owned(), name: String::new() });
    assigned.cloned().or_else(fallback)
}

/// A conflict was decided by the policy. Without `winner`, it is not known any more by whom.
pub fn decided(
    crm: &CrmSide,
    bet_nr: i64,
    fields: &[ConflictField],
    winner: Option<Winner>,
    rules: &Rules,
) -> Option<Notice> {
    let outcome = match winner {
        Some(Winner::Crm) => "EspoCRM's values were kept and written to Advoware.",
        Some(Winner::Remote) => "Advoware's values were kept and written to EspoCRM.",
        None => "Both sides agree again.",
    };
    conflict(crm, bet_nr, fields, outcome, rules)
}

/// A conflict waits for a person.
pub fn asked(crm: &CrmSide, bet_nr: i64, fields: &[ConflictField], rules: &Rules) -> Option<Notice> {
    let outcome = "Nothing was written. Please enter the right values here and set the sync status to dirty: \
                   what stands here then counts.";
    conflict(crm, bet_nr, fields, outcome, rules)
}

/// What stands in `syncErrorMessage` while a person is asked.
pub fn waiting_text(fields: &[ConflictField]) -> String {
    let mut names: Vec<&str> = fields.iter().map(|f| f.field.remote_name()).collect();
    names.dedup();
    format!(
        "EspoCRM and Advoware were changed to different values: {}. Enter the right values and set syncStatus to dirty.",
        names.join(", ")
    )
}

/// What is odd about phone numbers and mail addresses, told once. The key is not known before the party is created.
pub fn problems(crm: &CrmSide, bet_nr: Option<i64>, problems: &[Problem], rules: &Rules) -> Option<Notice> {
    if problems.is_empty() {
        return None;
    }
    let user = recipient(crm.assigned_user.as_ref(), rules.fallback_user_id.as_deref())?;
    let lines: Vec<String> = problems.iter().map(|problem| format!("- {}", problem.text())).collect();
    let key = bet_nr.map(|bet_nr| format!(" (BetNr {bet_nr})")).unwrap_or_default();
    let text = format!("Phone numbers and mail addresses: **{}**{key}\n\n{}", title(crm), lines.join("\n"));
    Some(Notice { user, text })
}

/// A dead letter is open.
pub fn failed(record: &str, error: &str) -> String {
    format!(
        "Synchronisation with Advoware failed for good: **{record}**\n\n{error}\n\n\
         After it is put right, set the sync status to dirty."
    )
}

fn conflict(
    crm: &CrmSide,
    bet_nr: i64,
    fields: &[ConflictField],
    outcome: &str,
    rules: &Rules,
) -> Option<Notice> {
    let user = recipient(crm.assigned_user.as_ref(), rules.fallback_user_id.as_deref())?;
    let shown = |value: &Option<String>| value.as_ref().map_or("empty".to_owned(), |v| format!("“{v}”"));
    let kind = crm.party.identity.kind;
    let lines: Vec<String> = fields
        .iter()
        .map(|f| {
            let name = f.field.crm_name(kind);
            format!("- **{name}**: EspoCRM {}, Advoware {}", shown(&f.crm), shown(&f.remote))
        })
        .collect();
    let name = title(crm);
    let text = format!(
        "Changed to different values in EspoCRM and Advoware: **{name}** (BetNr {bet_nr})\n\n{}\n\n{outcome}",
        lines.join("\n")
    );
    Some(Notice { user, text })
}

fn title(crm: &CrmSide) -> String {
    let identity = &crm.party.identity;
    let first = if identity.kind == Kind::Person { identity.first_name.as_deref() } else { None };
    let parts: Vec<&str> = first.into_iter().chain(identity.name.as_deref()).collect();
    if parts.is_empty() { crm.id.clone() } else { parts.join(" ") }
}

//! Golden plans, printed as text: what a change of the rules changes shows in their difference.

use std::fmt::Write as _;

use shared::fault::Fault;

use super::action::{Action, Plan};
use super::communications::memory::{Known, Memory};
use super::communications::remark::{self, Mark};
use super::communications::{Class, CrmEntry, EntryWrite, Remote as Communications, RemoteEntry};
use super::link::{LookAgain, PartyLink, Subject};
use super::model::{remote_of, write_entry};
use super::party::{Field, Identity, Kind, Party, Salutation};
use super::plan::{Input, Policy, Remote, Rules, plan};
use super::sides::{CrmPatch, CrmSide, RemoteSide, Status, User};

fn erika() -> Party {
    Party {
        identity: Identity {
            kind: Kind::Person,
            name: Some("Muster".into()),
            first_name: Some("Erika".into()),
        },
        legal_form: None,
        salutation: Some(Salutation::Known("Ms.".into())),
        birth_date: Some(jiff::civil::date(1980, 5, 17)),
        register_number: None,
    }
}

fn company(name: &str) -> Party {
    Party {
        identity: Identity { kind: Kind::Company, name: Some(name.into()), first_name: None },
        legal_form: Some("GmbH".into()),
        salutation: None,
        birth_date: None,
        register_number: Some("HRB 1".into()),
    }
}

struct Case {
    crm: Option<CrmSide>,
    remote: Remote,
    link: Option<PartyLink>,
    rules: Rules,
}

impl Case {
    /// A linked pair in agreement.
    fn agreed(party: &Party) -> Self {
        let now = "2026-11-20T09:15:00Z".parse().unwrap();
        let crm = CrmSide {
            id: "6b00526cc80a09e94".into(),
            party: party.clone(),
            communications: Vec::new(),
            bet_nr: Some(104_860),
            row_id: Some("row1".into()),
            status: Some(Status::Clean),
            last_sync: Some(now),
            deleted_at: None,
            error: None,
            retry_count: 0,
            modified_at: Some(now),
            assigned_user: Some(User { id: "u1".into(), name: "Anna".into() }),
        };
        let link = PartyLink {
            base: Some(party.clone()),
            row_id: Some("row1".into()),
            ..PartyLink::new(104_860, LookAgain::default())
        };
        let remote = Remote::Found(Box::new(remote_of(104_860, 1, party, now)));
        Self { crm: Some(crm), remote, link: Some(link), rules: Rules::default() }
    }

    fn crm(mut self, edit: impl FnOnce(&mut CrmSide)) -> Self {
        edit(self.crm.as_mut().unwrap());
        self
    }

    fn remote(mut self, edit: impl FnOnce(&mut RemoteSide)) -> Self {
        let Remote::Found(remote) = &mut self.remote else { panic!("no party") };
        remote.row_id = Some("row2".into());
        edit(remote);
        self
    }

    fn check(&self, name: &str) {
        let input = Input {
            crm: self.crm.as_ref(),
            remote: &self.remote,
            link: self.link.as_ref(),
            intent: None,
            rules: &self.rules,
            now: "2026-11-20T10:00:00Z".parse().unwrap(),
        };
        let text = print(plan(&input), &input);
        let mut settings = insta::Settings::clone_current();
        settings.set_snapshot_path("golden");
        settings.set_prepend_module_to_snapshot(false);
        settings.bind(|| insta::assert_snapshot!(name, text));
    }
}

fn print(plan: Result<Plan, Fault>, input: &Input<'_>) -> String {
    let plan = match plan {
        Ok(plan) => plan,
        Err(fault) => return format!("refused, {}: {}", fault.code, fault.text),
    };
    let mut text = format!("{:?}\n", plan.verdict);
    plan.actions.iter().for_each(|action| line(&mut text, action));
    if let Some(settling) = &plan.settling {
        let held = match input.remote {
            Remote::Found(remote) => remote.bet_nr,
            Remote::None | Remote::Gone(_) => 104_861,
        };
        let mut held = remote_of(held, 3, &settling.expected, input.now);
        held.communications = written(input, &plan.actions);
        text.push_str("when that is what was written:\n");
        settling.conclude(&held, input.rules, input.now).actions.iter().for_each(|a| line(&mut text, a));
        text.push_str("when somebody wrote in between:\n");
        let meanwhile = RemoteSide { legal_form: Some("KG".into()), ..held };
        settling.conclude(&meanwhile, input.rules, input.now).actions.iter().for_each(|a| line(&mut text, a));
    }
    plan.warnings.iter().for_each(|warning| writeln!(text, "warning: {warning}").unwrap());
    text
}

/// Advoware's entries once a plan is applied.
fn written(input: &Input<'_>, actions: &[Action]) -> Communications {
    let mut held = match input.remote {
        Remote::Found(remote) => remote.communications.clone(),
        Remote::None | Remote::Gone(_) => Communications::default(),
    };
    actions.iter().for_each(|action| {
        if let Action::WriteEntry { write, .. } = action {
            write_entry(&mut held.entries, write);
        }
    });
    held
}

fn line(text: &mut String, action: &Action) {
    let values = |party: &Party, fields: &[Field]| {
        let shown = |field: &Field| {
            format!("{field:?}={}", party.text(*field).map_or("(empty)".into(), |v| format!("{v:?}")))
        };
        fields.iter().map(shown).collect::<Vec<_>>().join(", ")
    };
    let detail = match action {
        Action::DeclareIntent(intent) => values(&intent.party, &Field::ALL),
        Action::CreateParty(party) => values(party, &Field::ALL),
        Action::UpdateParty { bet_nr, target, fields } => format!("{bet_nr}: {}", values(target, fields)),
        Action::UpdateRecord(patch) => record(patch, &values),
        Action::WriteEntry { write, .. } => entry(write),
        Action::Notify(notice) => format!("{}: {:?}", notice.user.id, notice.text),
        Action::SaveLink(link) => self::link(link),
        Action::KeepKey(_) | Action::ReadBack | Action::SettleIntent => String::new(),
    };
    writeln!(text, "- {} {detail}", action.name()).unwrap();
}

fn record(patch: &CrmPatch, values: &dyn Fn(&Party, &[Field]) -> String) -> String {
    let mut parts = vec![format!("status={}", patch.status.word())];
    parts.extend(patch.content.as_ref().map(|(party, fields)| values(party, fields)));
    if let Some((entries, classes)) = &patch.communications {
        parts.extend(classes.iter().map(|class| list(*class, entries)));
    }
    parts.extend(patch.bet_nr.map(|key| format!("betnr={key}")));
    parts.extend(patch.row_id.as_ref().map(|row| format!("row={row:?}")));
    parts.extend(patch.last_sync.map(|at| format!("last_sync={at}")));
    parts.extend(patch.deleted_at.map(|at| format!("deleted_at={at:?}")));
    parts.extend(patch.error.as_ref().map(|error| format!("error={error:?}")));
    parts.extend(patch.retry_count.map(|count| format!("retries={count}")));
    parts.join(", ")
}

fn entry(write: &EntryWrite) -> String {
    match write {
        EntryWrite::Create { kind, value, remark, online } => {
            format!("kind={kind} {value:?} {remark:?} online={online}")
        }
        EntryWrite::Update(RemoteEntry { id, value, remark, online }) => {
            format!("{id}: {value:?} {remark:?} online={online}")
        }
    }
}

fn list(class: Class, entries: &[CrmEntry]) -> String {
    let flag = |on: bool, sign: &'static str| if on { sign } else { "" };
    let shown = |e: &CrmEntry| {
        let kind = e.kind.as_deref().map(|kind| format!(" {kind}")).unwrap_or_default();
        let flags = [flag(e.primary, " primary"), flag(e.opt_out, " opt-out"), flag(e.invalid, " invalid")];
        format!("{}{kind}{}", e.value, flags.concat())
    };
    let shown: Vec<String> = entries.iter().filter(|entry| entry.class == class).map(shown).collect();
    format!("{}=[{}]", class.crm_name(), shown.join(", "))
}

fn link(link: &PartyLink) -> String {
    let mut parts = vec![format!("{} row={:?}", link.bet_nr, link.row_id)];
    let name = |party: &Party| {
        let Identity { kind, name, first_name } = &party.identity;
        format!("{kind:?} {} {}", first_name.as_deref().unwrap_or("-"), name.as_deref().unwrap_or("-"))
    };
    parts.push(format!("base={:?}", link.base.as_ref().map(name)));
    let subject = |subject: &Subject| match subject {
        Subject::Field(field) => format!("{field:?}"),
        Subject::Communication(class) => format!("{class:?}"),
    };
    parts.extend(
        link.history.iter().map(|o| format!("kept {} {} {:?}", o.system, subject(&o.field), o.value)),
    );
    let Memory { known, pending, untold, told } = &link.communications;
    let known =
        known.iter().map(|k| format!("knows {} {}{}", k.id, k.value, if k.primary { "*" } else { "" }));
    parts.extend(known);
    parts.extend(pending.iter().map(|p| format!("ahead {} {:?} to {:?}", p.id, p.before, p.after)));
    parts.extend(untold.iter().map(|problem| format!("untold {problem:?}")));
    parts.extend(told.iter().map(|problem| format!("told {problem:?}")));
    parts.extend(link.conflict.as_ref().map(|c| format!("conflict asked={} winner={:?}", c.asked, c.winner)));
    parts.extend(
        link.attempt.as_ref().map(|a| format!("attempt crm={:?} advoware={:?}", a.to_crm, a.to_remote)),
    );
    parts.extend(link.gone.is_some().then(|| "gone".to_owned()));
    parts.extend(link.tombstone.map(|at| format!("tombstone={at}")));
    parts.extend(link.due_at.map(|at| format!("due={at}")));
    parts.join(", ")
}

#[test]
fn create() {
    let case = Case { remote: Remote::None, link: None, ..Case::agreed(&erika()) };
    case.crm(|crm| (crm.bet_nr, crm.row_id, crm.last_sync) = (None, None, None)).check("create");
}

#[test]
fn nothing() {
    Case::agreed(&erika()).check("nothing");
}

#[test]
fn merge() {
    let case = Case::agreed(&company("Alt")).crm(|crm| crm.party.identity.name = Some("Neu".into()));
    case.remote(|remote| remote.register_number = Some("HRB 2".into())).check("merge");
}

#[test]
fn person_becomes_company() {
    Case::agreed(&erika())
        .remote(|remote| (remote.name, remote.first_name) = (Some("Muster GmbH".into()), None))
        .check("person_becomes_company");
}

#[test]
fn company_becomes_person() {
    Case::agreed(&company("Muster GmbH")).crm(|crm| crm.party = erika()).check("company_becomes_person");
}

#[test]
fn first_sync() {
    let case = Case { link: None, ..Case::agreed(&company("CRM")) };
    case.remote(|remote| remote.name = Some("Advoware".into())).check("first_sync");
}

#[test]
fn conflicts() {
    for policy in [Policy::CrmWins, Policy::RemoteWins, Policy::NewestWins, Policy::Ask] {
        let case = Case::agreed(&company("Alt")).crm(|crm| crm.party.identity.name = Some("Unser".into()));
        let mut case = case.remote(|remote| remote.name = Some("Ihr".into()));
        case.rules.policy = policy;
        case.check(&format!("conflict_{}", policy.name()));
    }
}

#[test]
fn deletions() {
    Case { crm: None, ..Case::agreed(&erika()) }.check("deleted_in_the_crm");
    Case { remote: Remote::Gone(104_860), ..Case::agreed(&erika()) }.check("gone_from_advoware");
}

#[test]
fn unknown_salutation() {
    Case::agreed(&erika())
        .remote(|remote| remote.salutation = Some(Salutation::RemoteOnly("Firma".into())))
        .check("unknown_salutation");
}

#[test]
fn without_name() {
    let case = Case { remote: Remote::None, link: None, ..Case::agreed(&erika()) };
    let nobody = Identity { kind: Kind::Person, name: None, first_name: None };
    case.crm(|crm| (crm.bet_nr, crm.party.identity) = (None, nobody)).check("without_name");
}

fn phone(value: &str, kind: &str, primary: bool) -> CrmEntry {
    let (value, kind) = (value.to_owned(), Some(kind.to_owned()));
    CrmEntry { class: Class::Phone, value, kind, primary, opt_out: false, invalid: false }
}

fn mail(value: &str, primary: bool) -> CrmEntry {
    let value = value.to_owned();
    CrmEntry { class: Class::Mail, value, kind: None, primary, opt_out: false, invalid: false }
}

fn kept(id: i64, value: &str, remark: &str) -> RemoteEntry {
    RemoteEntry { id, value: value.to_owned(), remark: remark.to_owned(), online: false }
}

fn marked(id: i64, value: &str, marked: &str, kind: u8, text: &str) -> RemoteEntry {
    kept(id, value, &remark::write(&Mark::Value { value: marked.to_owned(), kind }, text))
}

/// Both sides' lists; what is marked is remembered as well, the first number as the primary one.
fn communications(crm: Vec<CrmEntry>, entries: Vec<RemoteEntry>) -> Case {
    let mut case = Case::agreed(&erika());
    let known = |entry: &RemoteEntry| match remark::read(&entry.remark).mark {
        Mark::Value { value, .. } => Some(Known { id: entry.id, primary: entry.id == 1, value }),
        _ => None,
    };
    let link = case.link.as_mut().unwrap();
    link.communications.known = entries.iter().filter_map(known).collect();
    case.crm(|side| side.communications = crm)
        .remote(|side| side.communications = Communications { entries, mirrors: Vec::new() })
}

#[test]
fn communications_of_a_first_sync() {
    let mut crm = phone("+4951112345", "Office", true);
    crm.opt_out = true;
    let crm = vec![crm, phone("+491701234567", "Mobile", false), mail("Erika@Example.de", true)];
    let entries = vec![
        kept(1, "0511/123-45", "Zentrale"),
        kept(2, "0511 999999", ""),
        kept(3, "erika@example.de", ""),
        kept(4, "www.example.de", "Homepage"),
        kept(5, "110", ""),
        kept(6, "", "[ESPOCRM-SLOT:3]"),
    ];
    let mut case = communications(crm, entries);
    case.link = None;
    case.check("communications_first_sync");
}

#[test]
fn communications_of_a_create() {
    let case = Case { remote: Remote::None, link: None, ..Case::agreed(&erika()) };
    let lists = vec![phone("+491701234567", "Mobile", true), mail("erika@example.de", true)];
    case.crm(|crm| (crm.bet_nr, crm.row_id, crm.last_sync, crm.communications) = (None, None, None, lists))
        .check("communications_create");
}

#[test]
fn communications_in_step() {
    let crm = vec![phone("+4951112345", "Office", true)];
    communications(crm, vec![marked(1, "0511 12345", "+4951112345", 1, "Zentrale")])
        .check("communications_nothing");
}

#[test]
fn communications_changed_in_the_crm() {
    let crm = vec![phone("+4951167890", "Office", true), phone("+4951144444", "Home", false)];
    let entries = vec![
        marked(1, "0511 12345", "+4951112345", 1, "Zentrale"),
        marked(2, "0511 333333", "+49511333333", 2, "nachts"),
    ];
    communications(crm, entries).check("communications_crm_changed");
}

#[test]
fn communications_changed_in_advoware() {
    let crm = vec![
        phone("+4951112345", "Office", true),
        phone("+491701234567", "Mobile", false),
        mail("alt@example.de", true),
    ];
    let entries = vec![
        marked(1, "0511 67890", "+4951112345", 1, "Zentrale"),
        marked(2, "", "+491701234567", 3, "verloren"),
        kept(3, "neu@example.de", "Sekretariat"),
    ];
    let mut case = communications(crm, entries);
    let gone = Known { id: 4, value: "alt@example.de".into(), primary: true };
    case.link.as_mut().unwrap().communications.known.push(gone);
    case.check("communications_advoware_changed");
}

#[test]
fn communications_damaged() {
    let crm = vec![phone("+4951112345", "Office", true)];
    let entries = vec![kept(1, "0511 12345", "[ESPOCRM:KzQ5NTEx:99] Zentrale")];
    communications(crm, entries).check("communications_damaged");
}

#[test]
fn communications_in_conflict() {
    for policy in [Policy::CrmWins, Policy::RemoteWins, Policy::Ask] {
        let crm = vec![phone("+4951167890", "Office", true)];
        let entries = vec![
            marked(1, "0511 99999", "+4951112345", 1, "Zentrale"),
            marked(2, "0511 88888", "+4951122222", 6, ""),
        ];
        let mut case = communications(crm, entries);
        case.rules.policy = policy;
        case.check(&format!("communications_conflict_{}", policy.name()));
    }
}

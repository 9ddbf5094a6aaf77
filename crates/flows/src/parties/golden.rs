//! Golden plans, printed as text: what a change of the rules changes shows in their difference.

use std::fmt::Write as _;

use shared::fault::Fault;

use super::action::{Action, Plan};
use super::link::{LookAgain, PartyLink};
use super::model::remote_of;
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
        let remote = Remote::Found(remote_of(104_860, 1, party, now));
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
        let held = remote_of(held, 3, &settling.expected, input.now);
        text.push_str("when that is what was written:\n");
        settling.conclude(&held, input.rules, input.now).actions.iter().for_each(|a| line(&mut text, a));
        text.push_str("when somebody wrote in between:\n");
        let meanwhile = RemoteSide { legal_form: Some("KG".into()), ..held };
        settling.conclude(&meanwhile, input.rules, input.now).actions.iter().for_each(|a| line(&mut text, a));
    }
    plan.warnings.iter().for_each(|warning| writeln!(text, "warning: {warning}").unwrap());
    text
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
        Action::Notify(notice) => format!("{}: {:?}", notice.user.id, notice.text),
        Action::SaveLink(link) => self::link(link),
        Action::KeepKey(_) | Action::ReadBack | Action::SettleIntent => String::new(),
    };
    writeln!(text, "- {} {detail}", action.name()).unwrap();
}

fn record(patch: &CrmPatch, values: &dyn Fn(&Party, &[Field]) -> String) -> String {
    let mut parts = vec![format!("status={}", patch.status.word())];
    parts.extend(patch.content.as_ref().map(|(party, fields)| values(party, fields)));
    parts.extend(patch.bet_nr.map(|key| format!("betnr={key}")));
    parts.extend(patch.row_id.as_ref().map(|row| format!("row={row:?}")));
    parts.extend(patch.last_sync.map(|at| format!("last_sync={at}")));
    parts.extend(patch.deleted_at.map(|at| format!("deleted_at={at:?}")));
    parts.extend(patch.error.as_ref().map(|error| format!("error={error:?}")));
    parts.extend(patch.retry_count.map(|count| format!("retries={count}")));
    parts.join(", ")
}

fn link(link: &PartyLink) -> String {
    let mut parts = vec![format!("{} row={:?}", link.bet_nr, link.row_id)];
    let name = |party: &Party| {
        let Identity { kind, name, first_name } = &party.identity;
        format!("{kind:?} {} {}", first_name.as_deref().unwrap_or("-"), name.as_deref().unwrap_or("-"))
    };
    parts.push(format!("base={:?}", link.base.as_ref().map(name)));
    parts.extend(link.history.iter().map(|o| format!("kept {} {:?} {:?}", o.system, o.field, o.value)));
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

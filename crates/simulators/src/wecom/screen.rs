//! What people see at `/`: departments with their members, forms to add, change and delete them, and how callbacks go out.
//! What is done on it is done by a person's hand in the console.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use maud::{Markup, html};
use serde_json::{Value, json};
use url::form_urlencoded;

use super::Wecom;
use super::contacts::{DEPARTMENTS, MEMBERS, departments_of};
use crate::journal::ActorKind;
use crate::screen::{Colour, away, page, renewing};
use crate::store::Store;
use crate::wire::{Answer, Request};

/// WeCom's blue.
const COLOUR: Colour = Colour("#2b7cd3");
const TITLE: &str = "Simulated WeCom";
/// How long what has just changed is marked.
const FRESH: SignedDuration = SignedDuration::from_secs(6);
/// Changes that are looked at for that.
const FRESH_MAX: u64 = 200;
/// Departments, and members of each, that are shown.
const DEPARTMENTS_MAX: usize = 200;
const MEMBERS_MAX: usize = 100;
/// Longest text that is taken.
const CHARS_MAX: usize = 200;

/// A department in the order of the page, with how deep it is.
struct Placed<'a> {
    depth: usize,
    department: &'a Value,
    members: Vec<&'a Value>,
}

/// What a person entered.
struct Form(Vec<(String, String)>);

impl Form {
    fn read(request: &Request) -> Self {
        let fields = form_urlencoded::parse(&request.body);
        Self(fields.map(|(name, value)| (name.into_owned(), value.trim().to_owned())).collect())
    }

    fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }

    fn text(&self, name: &str) -> Result<&str, String> {
        match self.get(name) {
            "" => Err(format!("It needs a {name}.")),
            text if text.chars().count() > CHARS_MAX => {
                Err(format!("The {name} is longer than {CHARS_MAX} characters."))
            }
            text => Ok(text),
        }
    }

    fn number(&self, name: &str) -> Result<u64, String> {
        self.get(name).parse().map_err(|_| format!("The {name} is a number."))
    }

    /// `10, 20`.
    fn departments(&self) -> Result<Vec<u64>, String> {
        let parts = self.get("departments").split(',').map(str::trim).filter(|part| !part.is_empty());
        let ids: Result<Vec<u64>, _> = parts.map(str::parse).collect();
        ids.ok()
            .filter(|ids| !ids.is_empty())
            .ok_or_else(|| "Departments are numbers with commas.".to_owned())
    }

    fn share(&self, name: &str) -> Result<f64, String> {
        let percent = self.number(name)?.min(100);
        Ok(f64::from(u8::try_from(percent).unwrap_or(100)) / 100.0)
    }
}

/// The page, or what became of what was done on it.
pub(super) fn answer(wecom: &mut Wecom, store: &mut Store, now: Timestamp, request: &Request) -> Answer {
    if request.method == "POST" {
        return match act(wecom, store, now, &Form::read(request)) {
            // What is reloaded then is the page, not what was done on it.
            Ok(()) => Answer::status(303).with("Location", "/"),
            Err(refusal) => shown(wecom, store, now, Some(&refusal)),
        };
    }
    shown(wecom, store, now, None)
}

fn act(wecom: &mut Wecom, store: &mut Store, now: Timestamp, form: &Form) -> Result<(), String> {
    let op = match form.get("do") {
        "add_department" => {
            let id = 1 + store.rows(DEPARTMENTS).filter_map(|(_, row)| row["id"].as_u64()).max().unwrap_or(0);
            let (name, parent) = (form.text("name")?, form.number("parent")?);
            json!({ "op": "create_party", "id": id, "name": name, "parentid": parent })
        }
        "save_department" => {
            let mut op =
                json!({ "op": "update_party", "id": form.number("id")?, "name": form.text("name")? });
            // The company itself is below nothing.
            if !form.get("parent").is_empty() {
                op["parentid"] = json!(form.number("parent")?);
            }
            op
        }
        "delete_department" => json!({ "op": "delete_party", "id": form.number("id")? }),
        "add_member" => {
            let (userid, name) = (form.text("userid")?, form.text("name")?);
            let departments = known(store, form.departments()?)?;
            json!({ "op": "create_user", "userid": userid, "name": name, "department": departments })
        }
        "save_member" => save_member(store, form)?,
        "delete_member" => json!({ "op": "delete_user", "userid": form.text("id")? }),
        "callbacks" => return set_callbacks(wecom, form),
        _ => return Err("This form is not known.".to_owned()),
    };
    wecom.operate(store, now, &op, ActorKind::Person)
}

/// Only what was changed: WeCom tells of nothing else.
fn save_member(store: &Store, form: &Form) -> Result<Value, String> {
    let id = form.text("id")?;
    let before = super::contacts::member(store, id).ok_or("This member is not there any more.")?;
    let mut op = json!({ "op": "update_user", "userid": id });
    let departments = known(store, form.departments()?)?;
    if departments != departments_of(before) {
        op["main_department"] = json!(departments.first());
        op["department"] = json!(departments);
    }
    for name in ["name", "position"] {
        let text = if name == "name" { form.text(name)? } else { form.get(name) };
        if before[name] != text {
            op[name] = json!(text);
        }
    }
    let userid = form.text("userid")?;
    if before["userid"] != userid {
        op["newuserid"] = json!(userid);
    }
    let is_enabled = form.get("enabled") == "on";
    if is_enabled != (before["enable"] != 0) {
        op["enable"] = json!(u8::from(is_enabled));
        op["status"] = json!(if is_enabled { 1 } else { 2 });
    }
    Ok(op)
}

fn known(store: &Store, ids: Vec<u64>) -> Result<Vec<u64>, String> {
    match ids.iter().find(|id| super::contacts::department(store, **id).is_none()) {
        Some(id) => Err(format!("There is no department {id}.")),
        None => Ok(ids),
    }
}

fn set_callbacks(wecom: &mut Wecom, form: &Form) -> Result<(), String> {
    let (doubled, lost) = (form.share("doubled")?, form.share("lost")?);
    let callback = wecom.options.callback.as_mut().ok_or("No receiver of callbacks is set up.")?;
    callback.shuffled = form.get("shuffled") == "on";
    callback.doubled_probability = doubled;
    callback.lost_probability = lost;
    Ok(())
}

/// Depth first, the higher order first; what is below nothing that is there comes last.
fn placed(store: &Store) -> Vec<Placed<'_>> {
    let mut below: BTreeMap<u64, Vec<&Value>> = BTreeMap::new();
    let mut members: BTreeMap<u64, Vec<&Value>> = BTreeMap::new();
    for (_, row) in store.rows(DEPARTMENTS) {
        below.entry(row["parentid"].as_u64().unwrap_or(0)).or_default().push(row);
    }
    for (_, row) in store.rows(MEMBERS) {
        for id in departments_of(row) {
            members.entry(id).or_default().push(row);
        }
    }
    for siblings in below.values_mut() {
        siblings.sort_by_key(|row| std::cmp::Reverse(row["order"].as_u64().unwrap_or(0)));
    }
    let mut open: Vec<(usize, &Value)> =
        below.remove(&0).unwrap_or_default().into_iter().rev().map(|row| (0, row)).collect();
    let mut found = Vec::new();
    loop {
        let (depth, department) = match open.pop() {
            Some(next) => next,
            None => match below.pop_first() {
                Some((_, rows)) => {
                    open.extend(rows.into_iter().rev().map(|row| (1, row)));
                    continue;
                }
                None => return found,
            },
        };
        let id = department["id"].as_u64().unwrap_or(0);
        let children = below.remove(&id).unwrap_or_default();
        open.extend(children.into_iter().rev().map(|row| (depth + 1, row)));
        found.push(Placed { depth, department, members: members.remove(&id).unwrap_or_default() });
    }
}

fn shown(wecom: &Wecom, store: &Store, now: Timestamp, refusal: Option<&str>) -> Answer {
    let placed = placed(store);
    let after = store.sequence().saturating_sub(FRESH_MAX);
    let recent = store.journal_after(after, usize::MAX);
    let fresh: BTreeSet<String> = recent
        .into_iter()
        .filter(|entry| now.duration_since(entry.at) < FRESH)
        .map(|entry| entry.record_id.to_lowercase())
        .collect();
    let departments = placed.len();
    let body = html! {
        header {
            h1 { (TITLE) }
            p.owner { (departments) " departments, " (store.rows(MEMBERS).count()) " members" }
        }
        main {
            @if let Some(refusal) = refusal { p.refusal role="alert" { (refusal) } }
            (forms(wecom))
            section #content.departments {
                @for one in placed.iter().take(DEPARTMENTS_MAX) { (of_department(one, &fresh)) }
                @if departments > DEPARTMENTS_MAX {
                    div.day { h2 { "and " (departments - DEPARTMENTS_MAX) " more" } }
                }
                div.day { h2 { "Callbacks" } div.events { (counts(wecom, store)) } }
            }
            (away())
        }
        (renewing())
    };
    page(if refusal.is_some() { 400 } else { 200 }, COLOUR, TITLE, &body)
}

fn counts(wecom: &Wecom, store: &Store) -> Markup {
    let counts = Wecom::event_counts(store);
    html! {
        @match &wecom.options.callback {
            Some(callback) => {
                p { (counts["delivered"]) " delivered, " (counts["waiting"]) " wait, " (counts["lost"]) " lost" }
                p { "They go to " (callback.url) "." }
            }
            None => p { "No receiver is set up." }
        }
    }
}

fn forms(wecom: &Wecom) -> Markup {
    html! {
        form.new method="post" action="/" autocomplete="off" {
            input.short type="text" name="userid" placeholder="userid" aria-label="userid" maxlength="64" required;
            input.title type="text" name="name" placeholder="New member" aria-label="Name" maxlength="64" required;
            input.short type="text" name="departments" placeholder="2, 21" aria-label="Departments" required;
            button name="do" value="add_member" { "Add member" }
        }
        form.new method="post" action="/" autocomplete="off" {
            input.title type="text" name="name" placeholder="New department" aria-label="Name" maxlength="64" required;
            input.short type="number" name="parent" placeholder="below" aria-label="Parent" min="1" required;
            button name="do" value="add_department" { "Add department" }
        }
        @if let Some(callback) = &wecom.options.callback {
            form.new.callbacks method="post" action="/" autocomplete="off" {
                span { "Callbacks" }
                label { input type="checkbox" name="shuffled" checked[callback.shuffled]; "in any order" }
                label { input type="number" name="doubled" min="0" max="100" value=(percent(callback.doubled_probability)); "% twice" }
                label { input type="number" name="lost" min="0" max="100" value=(percent(callback.lost_probability)); "% lost" }
                button name="do" value="callbacks" { "Set" }
            }
        }
    }
}

fn percent(share: f64) -> String {
    format!("{:.0}", share * 100.0)
}

fn text<'a>(row: &'a Value, name: &str) -> &'a str {
    row[name].as_str().unwrap_or_default()
}

fn of_department(one: &Placed<'_>, fresh: &BTreeSet<String>) -> Markup {
    let (department, id) = (one.department, one.department["id"].to_string());
    let is_root = department["parentid"] == 0;
    html! {
        div.day {
            form.department.fresh[fresh.contains(&id)] method="post" action="/" autocomplete="off"
                style={ "--depth: " (one.depth) } {
                input type="hidden" name="id" value=(id);
                span title="Department" { (id) }
                input.title type="text" name="name" aria-label="Name" value=(text(department, "name")) maxlength="64" required;
                @if !is_root {
                    input.short type="number" name="parent" aria-label="Parent" value=(department["parentid"]) min="1" required;
                }
                button.save name="do" value="save_department" { "Save" }
                @if !is_root {
                    button.delete name="do" value="delete_department" formnovalidate { "Delete" }
                }
            }
            div.events {
                @for member in one.members.iter().take(MEMBERS_MAX) { (of_member(member, fresh)) }
                @if one.members.len() > MEMBERS_MAX { p { "and " (one.members.len() - MEMBERS_MAX) " more" } }
            }
        }
    }
}

fn of_member(member: &Value, fresh: &BTreeSet<String>) -> Markup {
    let userid = text(member, "userid");
    let departments: Vec<String> = departments_of(member).iter().map(u64::to_string).collect();
    let is_fresh = fresh.contains(&userid.to_lowercase());
    html! {
        form.event.fresh[is_fresh] method="post" action="/" autocomplete="off" {
            input type="hidden" name="id" value=(userid);
            input.title type="text" name="name" aria-label="Name" value=(text(member, "name")) maxlength="64" required;
            input.short type="text" name="userid" aria-label="userid" value=(userid) maxlength="64" required;
            input.short type="text" name="departments" aria-label="Departments" value=(departments.join(", ")) required;
            input.short type="text" name="position" aria-label="Position" value=(text(member, "position")) maxlength="128";
            input type="checkbox" name="enabled" aria-label="Enabled" title="Enabled" checked[member["enable"] != 0];
            button.save name="do" value="save_member" { "Save" }
            button.delete name="do" value="delete_member" formnovalidate { "Delete" }
        }
    }
}

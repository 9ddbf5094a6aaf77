//! What people see of a simulated calendar at `/` of its listener: the events of a week, and forms to add, change and delete
//! one. The page renews itself, so that what arrives is watched; what is done on it is done by a person's hand.
//!
//! Requests for it are no requests of a client: they are not counted, meet no fault, and keep no idle process alive.

mod page;
mod visit;

use std::io;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _, Zoned};

pub(crate) use page::{Colour, away, page, renewing, short};

use crate::store::Store;
use crate::upstream::Record;
use crate::wire::{Answer, Request};
use visit::{Doing, Visit};

/// Whose page it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Owner {
    /// Stands for him in addresses, and is shown.
    pub(crate) name: String,
    /// Where his days begin.
    pub(crate) zone: TimeZone,
}

/// An event as it is shown.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    /// By which a person's hand finds it.
    pub(crate) id: String,
    pub(crate) title: String,
    pub(crate) start: Zoned,
    pub(crate) end: Zoned,
    pub(crate) is_all_day: bool,
    pub(crate) place: String,
    /// What else is to be known: `Call`, `repeats`, `cancelled`.
    pub(crate) notes: Vec<String>,
    pub(crate) modified: Option<Timestamp>,
}

/// What a person enters.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Entered {
    pub(crate) title: Option<String>,
    /// Start and end, both or none.
    pub(crate) times: Option<(Zoned, Zoned)>,
}

/// A system with such a page.
pub(crate) trait Screen {
    /// What it is called.
    const PRODUCT: &'static str;
    /// Its colour.
    const COLOUR: Colour;
    /// The kinds of which one is chosen for a new event; none where there is one only.
    const KINDS: &'static [&'static str] = &[];

    /// Whose pages there are; the first one's is shown to whoever names nobody.
    fn owners(&mut self, store: &mut Store, now: Timestamp) -> io::Result<Vec<Owner>>;

    /// The events that touch these times, in any order.
    fn entries(&self, store: &Store, owner: &Owner, from: Timestamp, until: Timestamp) -> Vec<Entry>;

    /// The fields of an event that say this, as a person's hand takes them.
    fn fields(&self, owner: &Owner, entered: &Entered) -> Record;

    /// Makes one. An error is what the system says against it, as it is with the others.
    fn add(
        &mut self,
        store: &mut Store,
        now: Timestamp,
        owner: &Owner,
        kind: Option<&str>,
        fields: Record,
    ) -> Result<(), String>;

    /// Changes one.
    fn save(
        &mut self,
        store: &mut Store,
        now: Timestamp,
        owner: &Owner,
        id: &str,
        fields: &Record,
    ) -> Result<(), String>;

    /// Deletes one.
    fn delete(&mut self, store: &mut Store, now: Timestamp, owner: &Owner, id: &str) -> Result<(), String>;
}

/// Whether the request is for the page.
pub(crate) fn is_asked_for(request: &Request) -> bool {
    request.path == "/" && ["GET", "HEAD", "POST"].contains(&request.method.as_str())
}

/// The page, or what became of what was done on it.
pub(crate) fn answer<S: Screen>(
    system: &mut S,
    store: &mut Store,
    now: Timestamp,
    request: &Request,
) -> io::Result<Answer> {
    let owners = system.owners(store, now)?;
    let Some((visit, owner)) = Visit::read(request, &owners, now) else { return Ok(Answer::status(404)) };
    if request.method == "POST" {
        match act(system, store, now, &visit, owner) {
            // What is reloaded then is the page, not what was done on it.
            Ok(()) => return Ok(Answer::status(303).with("Location", visit.address())),
            Err(refusal) => return Ok(shown::<S>(system, store, now, &owners, &visit, Some(&refusal))),
        }
    }
    Ok(shown::<S>(system, store, now, &owners, &visit, None))
}

fn act<S: Screen>(
    system: &mut S,
    store: &mut Store,
    now: Timestamp,
    visit: &Visit,
    owner: &Owner,
) -> Result<(), String> {
    match visit.doing(&owner.zone)? {
        Doing::Add { kind, entered } => {
            let kind = match S::KINDS {
                [] => None,
                kinds => {
                    let chosen = kinds.iter().find(|known| Some(**known) == kind.as_deref());
                    Some(*chosen.ok_or("There is no such kind of event.")?)
                }
            };
            let fields = system.fields(owner, &entered);
            system.add(store, now, owner, kind, fields)
        }
        Doing::Save { id, entered } => {
            let fields = system.fields(owner, &entered);
            if fields.is_empty() { Ok(()) } else { system.save(store, now, owner, &id, &fields) }
        }
        Doing::Delete { id } => system.delete(store, now, owner, &id),
    }
}

fn shown<S: Screen>(
    system: &S,
    store: &Store,
    now: Timestamp,
    owners: &[Owner],
    visit: &Visit,
    refusal: Option<&str>,
) -> Answer {
    let Some(owner) = owners.iter().find(|owner| owner.name == visit.owner) else {
        return Answer::status(404);
    };
    let midnight = |date: Date| date.to_zoned(owner.zone.clone()).map(|zoned| zoned.timestamp());
    let (from, until) = (midnight(visit.monday), midnight(visit.monday.saturating_add(7.days())));
    let mut entries = match (from, until) {
        (Ok(from), Ok(until)) => system.entries(store, owner, from, until),
        _ => Vec::new(),
    };
    entries.sort_by(|one, other| {
        let order = |entry: &Entry| (entry.start.timestamp(), entry.title.clone());
        order(one).cmp(&order(other))
    });
    page::week(&page::Week {
        product: S::PRODUCT,
        colour: S::COLOUR,
        kinds: S::KINDS,
        owner,
        owners,
        visit,
        now,
        entries: &entries,
        refusal,
    })
}

//! Meetings: the attendees' copies, the answers of attendees, and the mails that all of it sends.

use jiff::civil::Date;
use serde_json::{Value, json};

use super::Mailbox;
use super::event::{Event, Item, Person, has_address};
use super::state::{Mail, Work};

/// What the organiser decides for everybody.
const SHARED: [&str; 13] = [
    "subject",
    "body",
    "location",
    "locations",
    "attendees",
    "importance",
    "isAllDay",
    "responseRequested",
    "allowNewTimeProposals",
    "hideAttendees",
    "isOnlineMeeting",
    "onlineMeetingProvider",
    "onlineMeeting",
];

/// The addresses that are invited.
pub(super) fn invited(item: &Item) -> Vec<String> {
    let address = |attendee: &Value| attendee["emailAddress"]["address"].as_str().map(str::to_owned);
    item.attendees().iter().filter_map(address).collect()
}

fn mailbox_of<'a>(mailboxes: &'a [Mailbox], address: &str) -> Option<&'a Mailbox> {
    mailboxes.iter().find(|mailbox| mailbox.address.eq_ignore_ascii_case(address))
}

/// Tells all who are and were invited what the organiser wrote: mails, and copies where the mailbox is one of ours.
pub(super) fn tell(
    work: &mut Work<'_>,
    mailboxes: &[Mailbox],
    event: &mut Event,
    before: &[String],
    slot: Option<Date>,
) {
    let item = slot.and_then(|slot| event.exceptions.get(&slot)).unwrap_or(&event.item);
    let invited = invited(item);
    let organizer = event.organizer.address.clone();
    let is_organizer = |address: &str| address.eq_ignore_ascii_case(&organizer);
    for address in invited.iter().filter(|address| !is_organizer(address)) {
        let is_known = before.iter().any(|known| known.eq_ignore_ascii_case(address));
        work.mail(if is_known { Mail::Update } else { Mail::Invitation }, &organizer, address, event);
        if let Some(mailbox) = mailbox_of(mailboxes, address) {
            renew_copy(work, event, mailbox);
        }
    }
    let is_gone = |address: &&String| !invited.iter().any(|still| still.eq_ignore_ascii_case(address));
    for address in before.iter().filter(is_gone).filter(|address| !is_organizer(address)) {
        work.mail(Mail::Cancellation, &organizer, address, event);
        if slot.is_none() {
            cancel_copy(work, event, address);
        }
    }
}

/// The attendees' copies of a meeting that was always there: nobody is told.
pub(super) fn lay_out(work: &mut Work<'_>, mailboxes: &[Mailbox], event: &mut Event) {
    let organizer = event.organizer.address.clone();
    for address in invited(&event.item).iter().filter(|address| !address.eq_ignore_ascii_case(&organizer)) {
        if let Some(mailbox) = mailbox_of(mailboxes, address) {
            renew_copy(work, event, mailbox);
        }
    }
}

/// Tells all who were invited that the meeting, or one occurrence of it, is off.
pub(super) fn call_off(work: &mut Work<'_>, event: &mut Event, before: &[String], slot: Option<Date>) {
    let organizer = event.organizer.address.clone();
    for address in before.iter().filter(|address| !address.eq_ignore_ascii_case(&organizer)) {
        work.mail(Mail::Cancellation, &organizer, address, event);
        match slot {
            None => cancel_copy(work, event, address),
            Some(slot) => {
                let Some(mut copy) = copy_of(work, event, address) else { continue };
                let mut item = copy.exceptions.remove(&slot).unwrap_or_else(|| copy.regular(slot));
                cancel(&mut item);
                work.stamp(&mut item);
                copy.exceptions.insert(slot, item);
                work.put(&copy);
            }
        }
    }
}

fn copy_of(work: &Work<'_>, event: &Event, address: &str) -> Option<Event> {
    work.event(*event.copies.get(&address.to_lowercase())?)
}

fn cancel(item: &mut Item) {
    if item.is_cancelled {
        return;
    }
    let subject = item.fields.get("subject").and_then(Value::as_str).unwrap_or_default();
    let subject = format!("Canceled: {subject}");
    item.set("subject", json!(subject));
    item.set("showAs", json!("free"));
    item.is_cancelled = true;
}

fn cancel_copy(work: &mut Work<'_>, event: &mut Event, address: &str) {
    if let Some(mut copy) = copy_of(work, event, address) {
        let mut item = copy.item.clone();
        cancel(&mut item);
        work.stamp(&mut item);
        copy.item = item;
        copy.copy_of = None;
        work.put(&copy);
    }
    event.copies.remove(&address.to_lowercase());
}

/// Writes the organiser's state into an attendee's copy, or makes the copy.
fn renew_copy(work: &mut Work<'_>, event: &mut Event, mailbox: &Mailbox) {
    let mut copy = copy_of(work, event, &mailbox.address).unwrap_or_else(|| new_copy(work, event, mailbox));
    event.copies.insert(mailbox.address.to_lowercase(), copy.number);
    let is_moved = (copy.item.start, copy.item.end) != (event.item.start, event.item.end)
        || copy.recurrence != event.recurrence;
    if is_moved {
        copy.exceptions.clear();
        copy.gaps.clear();
        copy.recurrence.clone_from(&event.recurrence);
    }
    let mut item = copy.item.clone();
    share(&event.item, &mut item, is_moved);
    if item != copy.item {
        work.stamp(&mut item);
        copy.item = item;
    }
    for (slot, theirs) in &event.exceptions {
        let before = copy.exceptions.get(slot).cloned();
        let mut item = before.clone().unwrap_or_else(|| copy.regular(*slot));
        let is_moved = (item.start, item.end) != (theirs.start, theirs.end);
        share(theirs, &mut item, is_moved);
        if before.as_ref() != Some(&item) {
            work.stamp(&mut item);
            copy.exceptions.insert(*slot, item);
        }
    }
    for slot in &event.gaps {
        let is_cancelled = copy.exceptions.get(slot).is_some_and(|item| item.is_cancelled);
        if !is_cancelled && !copy.gaps.contains(slot) {
            let mut item = copy.exceptions.remove(slot).unwrap_or_else(|| copy.regular(*slot));
            cancel(&mut item);
            work.stamp(&mut item);
            copy.exceptions.insert(*slot, item);
        }
    }
    work.put(&copy);
}

fn share(theirs: &Item, ours: &mut Item, is_moved: bool) {
    for name in SHARED {
        ours.set(name, theirs.fields.get(name).cloned().unwrap_or(Value::Null));
    }
    (ours.start, ours.end) = (theirs.start, theirs.end);
    (ours.start_zone, ours.end_zone) = (theirs.start_zone.clone(), theirs.end_zone.clone());
    if is_moved {
        "notResponded".clone_into(&mut ours.response);
        ours.response_time = None;
    }
}

fn new_copy(work: &mut Work<'_>, event: &Event, mailbox: &Mailbox) -> Event {
    let mut item = Item::new(work.now, "notResponded");
    item.set("showAs", json!("tentative"));
    Event {
        number: work.number(),
        revision: 0,
        mailbox: mailbox.address.clone(),
        calendar: mailbox.default_calendar(),
        row: 0,
        i_cal_uid: event.i_cal_uid.clone(),
        transaction_id: None,
        organizer: event.organizer.clone(),
        is_organizer: false,
        copies: std::collections::BTreeMap::new(),
        copy_of: Some(event.number),
        item,
        recurrence: None,
        exceptions: std::collections::BTreeMap::new(),
        gaps: std::collections::BTreeSet::new(),
    }
}

/// An attendee answers; declining takes the copy, or the occurrence, out of the calendar.
pub(super) fn respond(
    work: &mut Work<'_>,
    copy: &mut Event,
    slot: Option<Date>,
    response: &str,
    is_told: bool,
    who: &Person,
) {
    let now = work.now;
    if is_told {
        work.mail(Mail::Response, &who.address, &copy.organizer.address.clone(), copy);
    }
    let answer = |item: &mut Item| {
        response.clone_into(&mut item.response);
        item.response_time = Some(now);
        item.set("showAs", json!(if response == "accepted" { "busy" } else { "tentative" }));
    };
    match (slot, response) {
        (None, "declined") => work.remove(copy),
        (None, _) => {
            answer(&mut copy.item);
            let mut item = copy.item.clone();
            work.stamp(&mut item);
            copy.item = item;
            work.put(copy);
        }
        (Some(slot), "declined") => {
            copy.exceptions.remove(&slot);
            copy.gaps.insert(slot);
            work.put(copy);
        }
        (Some(slot), _) => {
            let mut item = copy.exceptions.remove(&slot).unwrap_or_else(|| copy.regular(slot));
            answer(&mut item);
            work.stamp(&mut item);
            copy.exceptions.insert(slot, item);
            work.put(copy);
        }
    }
    if is_told && let Some(mut event) = copy.copy_of.and_then(|number| work.event(number)) {
        note_answer(work, &mut event, slot, response, who);
        if slot.is_none() && response == "declined" {
            event.copies.remove(&who.address.to_lowercase());
        }
        work.put(&event);
    }
}

/// At the organiser's: who answered what. `[A]` The answer to one occurrence shows only where that is an exception.
fn note_answer(work: &mut Work<'_>, event: &mut Event, slot: Option<Date>, response: &str, who: &Person) {
    let mut item = match slot {
        None => event.item.clone(),
        Some(slot) => match event.exceptions.get(&slot) {
            Some(item) => item.clone(),
            None => return,
        },
    };
    let mut attendees = item.attendees().to_vec();
    for attendee in attendees.iter_mut().filter(|attendee| has_address(attendee, &who.address)) {
        attendee["status"] = json!({ "response": response, "time": super::render::stamp(work.now) });
    }
    item.set("attendees", Value::Array(attendees));
    work.stamp(&mut item);
    match slot {
        None => event.item = item,
        Some(slot) => {
            event.exceptions.insert(slot, item);
        }
    }
}

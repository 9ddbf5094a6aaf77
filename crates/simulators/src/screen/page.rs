//! The page itself: one document without anything from elsewhere. What is shown of records is escaped by `maud`.

use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp, ToSpan as _};
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::visit::{Visit, address};
use super::{Entry, Owner};
use crate::wire::Answer;

/// How long what has just changed is marked.
const FRESH: SignedDuration = SignedDuration::from_secs(6);

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// A product's colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Colour(pub(crate) &'static str);

/// What the page of a week shows.
pub(super) struct Week<'a> {
    pub(super) product: &'static str,
    pub(super) colour: Colour,
    pub(super) kinds: &'static [&'static str],
    pub(super) owner: &'a Owner,
    pub(super) owners: &'a [Owner],
    pub(super) visit: &'a Visit,
    pub(super) now: Timestamp,
    /// In order.
    pub(super) entries: &'a [Entry],
    /// What the system said against what was to be done.
    pub(super) refusal: Option<&'a str>,
}

/// A page of a simulated system.
pub(crate) fn page(status: u16, colour: Colour, title: &str, body: &Markup) -> Answer {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                link rel="icon" href="data:,";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body style={ "--own: " (colour.0) } { (body) }
        }
    };
    Answer::html(status, &page.into_string()).with("Cache-Control", "no-store")
}

/// What is shown once nobody answers any more.
pub(crate) fn away() -> Markup {
    html! { p.away hidden { "No answer: the simulators do not run any more. Start the demo again." } }
}

/// Renews the section `content` of the page.
pub(crate) fn renewing() -> Markup {
    html! { script { (PreEscaped(SCRIPT)) } }
}

/// A permission without the address of what it is for.
pub(crate) fn short(scope: &str) -> &str {
    scope.rsplit_once('/').map_or(scope, |(_, name)| name)
}

pub(super) fn week(week: &Week<'_>) -> Answer {
    let today = week.now.to_zoned(week.owner.zone.clone()).date();
    let body = html! {
        (head(week, today))
        main {
            @if let Some(refusal) = week.refusal { p.refusal role="alert" { (refusal) } }
            (form(week, today))
            section #content { @for day in days(week.visit.monday) { (of_day(week, day, today)) } }
            (away())
        }
        (renewing())
    };
    let status = if week.refusal.is_some() { 400 } else { 200 };
    page(status, week.colour, &format!("{} — {}", week.product, week.owner.name), &body)
}

fn days(monday: Date) -> impl Iterator<Item = Date> {
    (0..7).map(move |day: i64| monday.saturating_add(day.days()))
}

fn head(week: &Week<'_>, today: Date) -> Markup {
    let Visit { owner, monday, .. } = week.visit;
    let sunday = monday.saturating_add(6.days());
    html! {
        header {
            h1 { (week.product) }
            p.owner {
                @for (at, one) in week.owners.iter().enumerate() {
                    @if at > 0 { " · " }
                    @if one.name == *owner { strong { (one.name) } }
                    @else { a href=(address(&one.name, *monday)) { (one.name) } }
                }
            }
            nav {
                a href=(address(owner, monday.saturating_sub(7.days()))) title="The week before" { "‹" }
                span { (monday.strftime("%-d %b")) " – " (sunday.strftime("%-d %b %Y")) }
                a href=(address(owner, monday.saturating_add(7.days()))) title="The week after" { "›" }
                a href=(address(owner, today)) { "Today" }
            }
        }
    }
}

/// The form for a new event: today, in the next full hour; in other weeks on their Monday.
fn form(week: &Week<'_>, today: Date) -> Markup {
    let monday = week.visit.monday;
    let day = if days(monday).any(|day| day == today) { today } else { monday };
    let hour = week.now.to_zoned(week.owner.zone.clone()).hour().saturating_add(1).clamp(8, 21);
    html! {
        form.new method="post" action=(week.visit.address()) autocomplete="off" {
            input type="text" name="title" placeholder="New event" aria-label="Title" maxlength="200" required autofocus;
            @if !week.kinds.is_empty() {
                select name="kind" aria-label="Kind" {
                    @for kind in week.kinds { option { (kind) } }
                }
            }
            input type="date" name="day" aria-label="Day" value=(day) required;
            input type="time" name="from" aria-label="From" value=(format!("{hour:02}:00")) required;
            span { "–" }
            input type="time" name="to" aria-label="To" value=(format!("{:02}:00", hour.saturating_add(1))) required;
            button name="do" value="add" { "Add" }
        }
    }
}

fn of_day(week: &Week<'_>, day: Date, today: Date) -> Markup {
    // What began before this week stands on its first day.
    let is_of = |entry: &&Entry| entry.start.date().max(week.visit.monday) == day;
    let entries: Vec<&Entry> = week.entries.iter().filter(is_of).collect();
    html! {
        div.day.today[day == today] {
            h2 { span { (day.strftime("%a")) } " " (day.strftime("%-d %b")) }
            div.events {
                @for entry in entries { (event(week, entry)) }
            }
        }
    }
}

fn event(week: &Week<'_>, entry: &Entry) -> Markup {
    let is_fresh = entry.modified.is_some_and(|at| week.now.duration_since(at) < FRESH);
    let time = |at: &jiff::Zoned| at.strftime("%H:%M").to_string();
    let (from, to) = (time(&entry.start), time(&entry.end));
    html! {
        form.event.fresh[is_fresh] method="post" action=(week.visit.address()) autocomplete="off" {
            input type="hidden" name="id" value=(entry.id);
            @if entry.is_all_day {
                span.times { "all day" }
            } @else {
                span.times {
                    input type="hidden" name="day" value=(entry.start.date());
                    input type="hidden" name="from_before" value=(from);
                    input type="hidden" name="to_before" value=(to);
                    input type="time" name="from" aria-label="From" value=(from) required;
                    "–"
                    input type="time" name="to" aria-label="To" value=(to) required;
                }
            }
            input type="hidden" name="title_before" value=(entry.title);
            input.title type="text" name="title" aria-label="Title" value=(entry.title) maxlength="200" required;
            span.notes {
                @if !entry.place.is_empty() { span.place { (entry.place) } }
                @for note in &entry.notes { span.note { (note) } }
            }
            button.save name="do" value="save" { "Save" }
            button.delete name="do" value="delete" title="Delete" formnovalidate { "Delete" }
        }
    }
}

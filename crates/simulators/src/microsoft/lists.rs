//! Reading events: lists, the calendar view, a series' instances.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::answers::{self, Refusal, Stop};
use super::ask::Ask;
use super::event::Event;
use super::events::{self, Target};
use super::query::{self, Filter, Options};
use super::render::{self, Style};
use super::state;
use crate::store::Store;
use crate::upstream::Record;
use crate::wire::Answer;

/// Reads `startDateTime` and `endDateTime`; without an offset they are UTC.
pub(super) fn window(ask: &Ask<'_>) -> Result<(Timestamp, Timestamp), Refusal> {
    let read = |name: &str| {
        let text = query::value(ask.request, name).filter(|text| !text.is_empty());
        let text = text.ok_or_else(|| {
            Refusal::new(
                400,
                "ErrorInvalidParameter",
                format!("This request requires a time window: {name} is missing."),
            )
        })?;
        let zoned = text.parse::<Timestamp>().ok();
        let wall = || text.parse::<jiff::civil::DateTime>().ok()?.to_zoned(jiff::tz::TimeZone::UTC).ok();
        zoned.or_else(|| wall().map(|zoned| zoned.timestamp())).ok_or_else(|| {
            Refusal::new(
                400,
                "ErrorInvalidParameter",
                format!("The value '{text}' of {name} is no date and time."),
            )
        })
    };
    let window = (read("startDateTime")?, read("endDateTime")?);
    if window.1 <= window.0 {
        return Err(Refusal::new(
            400,
            "ErrorInvalidParameter",
            "The end of the time window lies before its start.",
        ));
    }
    Ok(window)
}

fn target(style: &Style, target: &Target, options: &Options) -> Value {
    let item = target.item();
    let shown = match target.slot {
        None => render::whole(style, &target.event),
        Some(slot) => render::occurrence(style, &target.event, slot, &item),
    };
    render::optioned(style, &target.event, target.slot, &item, shown, options)
}

/// One event, as an answer of its own.
pub(super) fn one(ask: &Ask<'_>, status: u16, found: &Target, options: &Options) -> Answer {
    let shown = target(&Style::of(&ask.prefer), found, options);
    let context = format!("{}/$metadata#users('{}')/events/$entity", ask.root, ask.mailbox.object_id);
    let mut body = Record::new();
    body.insert("@odata.context".to_owned(), json!(context));
    body.extend(shown.as_object().cloned().unwrap_or_default());
    answers::ok(status, &Value::Object(body))
}

/// `GET …/events/{id}`.
pub(super) fn get(store: &Store, ask: &Ask<'_>, calendar: Option<&str>, id: &str) -> Result<Answer, Stop> {
    let options = Options::read(ask.request)?;
    let found = events::find(store, &ask.mailbox, calendar, id)?;
    Ok(one(ask, 200, &found, &options))
}

/// `GET …/events`: single events and masters.
pub(super) fn list(store: &Store, ask: &Ask<'_>, calendar: &str) -> Result<Answer, Stop> {
    let options = Options::read(ask.request)?;
    // Looked for in what is stored: reading every event of a mailbox anew would take too long.
    let fits = |event: &&Value| match &options.filter {
        None => true,
        // The name of a property has a case, its value has none.
        Some(Filter::Property(id, value)) => {
            let own = event["item"]["properties"].get(id).and_then(Value::as_str);
            own.is_some_and(|own| own.to_lowercase() == value.to_lowercase())
        }
        Some(Filter::ICalUid(uid)) => event["i_cal_uid"] == json!(uid),
    };
    let found = state::stored_of(store, calendar).filter(fits).filter_map(state::read);
    let found = found.map(|event| Target { event, slot: None });
    Ok(page(ask, &options, "events", found.collect()))
}

/// `GET …/calendarView`: single events and occurrences, no masters.
pub(super) fn view(store: &Store, ask: &Ask<'_>, calendar: &str) -> Result<Answer, Stop> {
    let options = Options::read(ask.request)?;
    if options.filter.is_some() {
        return Err(Refusal::not_simulated("$filter of a calendarView").into());
    }
    let window = window(ask)?;
    let mut found = within(store, calendar, window);
    found.sort_by_key(|found| found.item().span());
    Ok(page(ask, &options, "calendarView", found))
}

/// The single events and occurrences of a calendar that touch these times.
pub(super) fn within(store: &Store, calendar: &str, window: (Timestamp, Timestamp)) -> Vec<Target> {
    let mut found: Vec<Target> = Vec::new();
    for event in state::events_of(store, calendar) {
        if event.recurrence.is_none() {
            found.extend(event.item.touches(window).then_some(Target { event, slot: None }));
        } else {
            found.extend(slots(&event, window));
        }
    }
    found
}

fn slots(event: &Event, window: (Timestamp, Timestamp)) -> Vec<Target> {
    let slots: Vec<jiff::civil::Date> = event.occurrences(window).iter().map(|(slot, _)| *slot).collect();
    slots.into_iter().map(|slot| Target { event: event.clone(), slot: Some(slot) }).collect()
}

/// `GET …/events/{id}/instances`.
pub(super) fn instances(
    store: &Store,
    ask: &Ask<'_>,
    calendar: Option<&str>,
    id: &str,
) -> Result<Answer, Stop> {
    let options = Options::read(ask.request)?;
    let window = window(ask)?;
    let found = events::find(store, &ask.mailbox, calendar, id)?;
    if found.slot.is_some() || found.event.recurrence.is_none() {
        let message = "Your request can't be completed. The event is no series.";
        return Err(Refusal::new(400, "ErrorInvalidRequest", message).into());
    }
    Ok(page(ask, &options, "instances", slots(&found.event, window)))
}

/// The page of a list that `$top` and `$skip` ask for.
fn page(ask: &Ask<'_>, options: &Options, what: &str, found: Vec<Target>) -> Answer {
    let style = Style::of(&ask.prefer);
    let total = found.len();
    let shown: Vec<Value> = found
        .iter()
        .skip(options.skip)
        .take(options.top)
        .map(|found| target(&style, found, options))
        .collect();
    let mut body = Record::new();
    let context = format!("{}/$metadata#users('{}')/{what}", ask.root, ask.mailbox.object_id);
    body.insert("@odata.context".to_owned(), json!(context));
    if options.count {
        body.insert("@odata.count".to_owned(), json!(total));
    }
    body.insert("value".to_owned(), Value::Array(shown));
    if options.skip + options.top < total {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        for (name, value) in ask.request.query_pairs().filter(|(name, _)| !name.eq_ignore_ascii_case("$skip"))
        {
            query.append_pair(&name, &value);
        }
        query.append_pair("$skip", &(options.skip + options.top).to_string());
        body.insert("@odata.nextLink".to_owned(), json!(format!("{}?{}", ask.url, query.finish())));
    }
    answers::ok(200, &Value::Object(body))
}

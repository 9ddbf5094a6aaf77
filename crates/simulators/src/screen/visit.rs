//! A person's request, read: whose week, and what is to be done.

use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _, Zoned};
use url::form_urlencoded;

use super::{Entered, Owner};
use crate::wire::Request;

/// Longest title that is taken.
const TITLE_CHARS_MAX: usize = 200;

/// A visit of the page.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Visit {
    pub(super) owner: String,
    /// The first day of the week.
    pub(super) monday: Date,
    form: Vec<(String, String)>,
}

/// What a form asks for.
#[derive(Debug, PartialEq)]
pub(super) enum Doing {
    Add { kind: Option<String>, entered: Entered },
    Save { id: String, entered: Entered },
    Delete { id: String },
}

/// The Monday of a day's week.
fn monday_of(date: Date) -> Date {
    date.saturating_sub(i64::from(date.weekday().to_monday_zero_offset()).days())
}

impl Visit {
    /// None where it names somebody unknown, or nobody is there.
    pub(super) fn read<'o>(
        request: &Request,
        owners: &'o [Owner],
        now: Timestamp,
    ) -> Option<(Self, &'o Owner)> {
        let owner = match request.query_value("who") {
            Some(name) => owners.iter().find(|owner| owner.name == name)?,
            None => owners.first()?,
        };
        let day = request.query_value("week").and_then(|day| day.parse().ok());
        let day: Date = day.unwrap_or_else(|| now.to_zoned(owner.zone.clone()).date());
        let form = form_urlencoded::parse(&request.body);
        let form = form.map(|(name, value)| (name.into_owned(), value.into_owned())).collect();
        Some((Self { owner: owner.name.clone(), monday: monday_of(day), form }, owner))
    }

    /// Where the same is shown.
    pub(super) fn address(&self) -> String {
        address(&self.owner, self.monday)
    }

    fn get(&self, name: &str) -> Option<&str> {
        let found = self.form.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.trim()).filter(|value| !value.is_empty())
    }

    /// An error is for the person.
    pub(super) fn doing(&self, zone: &TimeZone) -> Result<Doing, String> {
        let id = || self.get("id").map(str::to_owned).ok_or("Which event?");
        match self.get("do") {
            Some("add") => {
                let times = self.times(zone)?.ok_or("It needs a day, a start and an end.")?;
                let entered = Entered { title: Some(self.title()?), times: Some(times) };
                Ok(Doing::Add { kind: self.get("kind").map(str::to_owned), entered })
            }
            Some("save") => {
                let changed = |name: &str| self.get(name) != self.get(&format!("{name}_before"));
                let title = if changed("title") { Some(self.title()?) } else { None };
                let times = if changed("from") || changed("to") { self.times(zone)? } else { None };
                Ok(Doing::Save { id: id()?, entered: Entered { title, times } })
            }
            Some("delete") => Ok(Doing::Delete { id: id()? }),
            _ => Err("This form is not known.".to_owned()),
        }
    }

    fn title(&self) -> Result<String, String> {
        let title = self.get("title").ok_or("It needs a title.")?;
        if title.chars().count() > TITLE_CHARS_MAX {
            return Err(format!("The title is longer than {TITLE_CHARS_MAX} characters."));
        }
        Ok(title.to_owned())
    }

    /// What ends when or before it begins ends the day after.
    fn times(&self, zone: &TimeZone) -> Result<Option<(Zoned, Zoned)>, String> {
        let (Some(day), Some(from), Some(to)) = (self.get("day"), self.get("from"), self.get("to")) else {
            return Ok(None);
        };
        let day: Date = day.parse().map_err(|_| "This is no day.")?;
        let time = |text: &str| text.parse::<Time>().map_err(|_| "This is no time of a day.");
        let (from, to) = (time(from)?, time(to)?);
        let last = if to > from { day } else { day.saturating_add(1.day()) };
        let at = |day: Date, time: Time| {
            day.to_datetime(time).to_zoned(zone.clone()).map_err(|_| "There is no such time.")
        };
        Ok(Some((at(day, from)?, at(last, to)?)))
    }
}

/// The page of somebody's week.
pub(super) fn address(owner: &str, monday: Date) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("who", owner).append_pair("week", &monday.to_string());
    format!("/?{}", query.finish())
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::{HeaderMap, Method, Uri};
    use std::net::Ipv4Addr;

    fn owners() -> Vec<Owner> {
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        ["anna@kanzlei.example", "bernd"].map(|name| Owner { name: name.into(), zone: zone.clone() }).into()
    }

    fn visit(path: &'static str, body: &'static str) -> Option<Visit> {
        let remote = Ipv4Addr::LOCALHOST.into();
        let request =
            Request::new(&Method::POST, &Uri::from_static(path), HeaderMap::new(), body.into(), remote);
        let now = "2026-11-25T23:30:00Z".parse().unwrap();
        Visit::read(&request, &owners(), now).map(|(visit, _)| visit)
    }

    fn doing(body: &'static str) -> Result<Doing, String> {
        visit("/", body).unwrap().doing(&owners()[0].zone)
    }

    #[test]
    fn the_week_is_the_one_of_today_where_the_person_is() {
        let today = visit("/", "").unwrap();
        assert_eq!(today.address(), "/?who=anna%40kanzlei.example&week=2026-11-23");
        let other = visit("/?who=bernd&week=2026-11-22", "").unwrap();
        assert_eq!((other.owner.as_str(), other.monday.to_string()), ("bernd", "2026-11-16".to_owned()));
        assert_eq!(visit("/?who=bernd&week=%3Cscript%3E", "").unwrap().monday.to_string(), "2026-11-23");
        assert_eq!(visit("/?who=nobody", ""), None);
    }

    #[test]
    fn only_what_was_changed_is_saved() {
        let saved = |body| match doing(body).unwrap() {
            Doing::Save { entered, .. } => entered,
            other => panic!("{other:?}"),
        };
        let same = "do=save&id=7&title=A&title_before=A&day=2026-11-25&from=09:00&from_before=09:00&to=10:00&to_before=10:00";
        assert_eq!(saved(same), Entered::default());
        let renamed = saved("do=save&id=7&title=B&title_before=A");
        assert_eq!((renamed.title.as_deref(), renamed.times), (Some("B"), None));
        let moved = "do=save&id=7&title=A&title_before=A&day=2026-11-25&from=22:00&from_before=09:00&to=00:30&to_before=10:00";
        let (start, end) = saved(moved).times.unwrap();
        assert_eq!(start.timestamp().to_string(), "2026-11-25T21:00:00Z");
        assert_eq!(end.timestamp().to_string(), "2026-11-25T23:30:00Z");
    }

    #[test]
    fn what_cannot_be_done_is_said() {
        for (body, why) in [
            ("do=add&title=A", "needs a day"),
            ("do=add&title=&day=2026-11-25&from=09:00&to=10:00", "needs a title"),
            ("do=add&title=A&day=soon&from=09:00&to=10:00", "no day"),
            ("do=add&title=A&day=2026-11-25&from=late&to=10:00", "no time"),
            ("do=save&title=A", "Which event"),
            ("do=burn&id=7", "not known"),
        ] {
            let said = doing(body).unwrap_err();
            assert!(said.contains(why), "{body}: {said}");
        }
    }
}

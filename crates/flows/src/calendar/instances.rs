//! The instances of a series: what of them is gone or changed is told by nothing else.

use std::collections::BTreeSet;

use shared::fault::Fault;

use super::again::About;
use super::client::{Found, Instances};
use super::event::{OriginalStart, Place};
use super::pair::Known;
use super::rounds::Rounds;
use super::series::{Holding, Series};
use super::sides::{EventSide, SharedKey};

impl Rounds<'_> {
    /// Reads a series, and compares its instances.
    pub(super) async fn look_at_series(&mut self, id: &str) -> Result<(), Fault> {
        match self.open.client.get(id).await? {
            Some(Found::Event(master)) => {
                // What the master itself says of its gaps is news where the run that noted it was cut off.
                if master.event.place.series().is_some_and(|series| !series.gaps.is_empty()) {
                    self.with_gaps(EventSide::clone(&master), BTreeSet::new()).await?;
                }
                self.instances(*master).await
            }
            Some(Found::Unreadable { .. }) => Ok(()),
            None => self.look(About::Event(id), self.pair().of_event_id(id, Known::Gone)).await,
        }
    }

    /// Compares the instances of a series inside the window with what is known of them.
    pub(super) async fn instances(&mut self, master: EventSide) -> Result<(), Fault> {
        let Some(series) = master.event.place.series().cloned() else { return Ok(()) };
        let window = self.open.reach.window(self.now());
        let Some(found) = self.open.client.instances(&master.id, &window).await? else {
            return self
                .look(About::Event(&master.id), self.pair().of_event_id(&master.id, Known::Gone))
                .await;
        };
        let gaps = gaps(&series, &master, &found, &window);
        for gap in &gaps {
            self.end_part(&master, gap).await?;
        }
        match series.holding(&self.flow.settings.crm_series) {
            Holding::Series => {
                if !gaps.is_subset(&series.gaps) {
                    self.with_gaps(master, gaps).await?;
                }
                for part in found.found.into_iter().filter_map(changed_part) {
                    self.event(part).await?;
                }
            }
            Holding::Occurrences => {
                for part in found.found {
                    self.occurrence(part).await?;
                }
            }
        }
        Ok(())
    }

    /// Occurrences that were cancelled by themselves.
    pub(super) async fn left_out(
        &mut self,
        series_id: &str,
        gaps: &BTreeSet<OriginalStart>,
    ) -> Result<(), Fault> {
        let Some(Found::Event(master)) = self.open.client.get(series_id).await? else { return Ok(()) };
        let Some(series) = master.event.place.series() else { return Ok(()) };
        if series.holding(&self.flow.settings.crm_series) == Holding::Occurrences
            || gaps.is_subset(&series.gaps)
        {
            return Ok(());
        }
        self.with_gaps(*master, gaps.clone()).await
    }

    /// The series with further occurrences left out.
    async fn with_gaps(&mut self, mut master: EventSide, gaps: BTreeSet<OriginalStart>) -> Result<(), Fault> {
        if let Place::Master(series) = &mut master.event.place {
            series.gaps.extend(gaps);
        }
        let id = master.id.clone();
        let master = self.flow.known_people(master, &self.open.calendar.user_id, self.run).await?;
        self.look(About::Event(&id), self.pair().of_event(master)).await
    }

    /// The meeting of an occurrence that does not take place any more.
    async fn end_part(&mut self, master: &EventSide, gap: &OriginalStart) -> Result<(), Fault> {
        let key = SharedKey { ical_uid: master.key.ical_uid.clone(), original: Some(gap.clone()) };
        let Some(stored) = self.flow.links.of_key_in(&self.open.id, &key.text()).await? else {
            return Ok(());
        };
        let alive = stored.link.tombstone.is_none();
        let Some(id) = stored.link.event_id.filter(|_| alive) else { return Ok(()) };
        self.look(About::Event(&id), self.pair().of_event_id(&id, Known::Gone)).await
    }

    /// The meetings of a series' exceptions, or occurrences, once it has come to its end.
    pub(super) async fn end_parts(&mut self, series: &SharedKey) -> Result<(), Fault> {
        let mut after = None;
        loop {
            let (page, next) = self.flow.links.page(&self.open.id, after.as_deref()).await?;
            for link in page {
                let is_of_series =
                    |key: &SharedKey| key.ical_uid == series.ical_uid && key.original.is_some();
                let is_part = link.tombstone.is_none() && link.key.as_ref().is_some_and(is_of_series);
                if let Some(id) = link.event_id.filter(|_| is_part) {
                    self.look(About::Event(&id), self.pair().of_event_id(&id, Known::Gone)).await?;
                }
            }
            let Some(next) = next else { return Ok(()) };
            after = Some(next);
        }
    }

    async fn occurrence(&mut self, part: Found) -> Result<(), Fault> {
        let Found::Event(event) = part else { return Ok(()) };
        let id = event.id.clone();
        let event = self.flow.known_people(*event, &self.open.calendar.user_id, self.run).await?;
        let mut pair = self.pair().of_event(event);
        pair.holding = Holding::Occurrences;
        self.look(About::Event(&id), pair).await
    }
}

/// An instance that was changed by itself.
fn changed_part(found: Found) -> Option<EventSide> {
    match found {
        Found::Event(event) if matches!(event.event.place, Place::Exception { .. }) => Some(*event),
        Found::Event(_) | Found::Unreadable { .. } => None,
    }
}

/// Starts by the rule inside the window at which nothing takes place.
fn gaps(
    series: &Series,
    master: &EventSide,
    found: &Instances,
    window: &super::event::Window,
) -> BTreeSet<OriginalStart> {
    let mut gaps: BTreeSet<OriginalStart> = found.cancelled.iter().cloned().collect();
    let unreadable = found.found.iter().any(|found| matches!(found, Found::Unreadable { .. }));
    let Ok(expected) = series.occurrences(&master.event.when, window.from, window.to) else { return gaps };
    if unreadable {
        // What cannot be read takes place.
        return gaps;
    }
    let present: BTreeSet<OriginalStart> = found
        .found
        .iter()
        .filter_map(|found| match found {
            Found::Event(event) => event.event.place.original().cloned(),
            Found::Unreadable { .. } => None,
        })
        .collect();
    // Those at the window's edges may be left out by the vendor for being outside by its own clock.
    let inside = |when: &super::event::When| {
        let (Ok(from), Ok(to)) = (
            window.from.checked_add(jiff::SignedDuration::from_hours(48)),
            window.to.checked_sub(jiff::SignedDuration::from_hours(48)),
        ) else {
            return false;
        };
        when.touches(from, to)
    };
    gaps.extend(
        expected
            .into_iter()
            .filter(|occurrence| inside(&occurrence.when) && !present.contains(&occurrence.original))
            .map(|occurrence| occurrence.original),
    );
    gaps
}

#[cfg(test)]
mod tests {
    use super::super::event::{Event, Response, When, Window};
    use super::super::sides::{EventStatus, Stamp};
    use super::*;

    fn at(text: &str) -> jiff::Zoned {
        text.parse().unwrap()
    }

    fn event_side(event: Event) -> EventSide {
        EventSide {
            id: "master".into(),
            revision: "1".into(),
            key: SharedKey { ical_uid: "uid".into(), original: event.place.original().cloned() },
            event,
            status: EventStatus::Confirmed,
            is_organizer: true,
            organizer: None,
            answer: Response::None,
            attendees_cut: false,
            gaps_known: false,
            listed: Vec::new(),
            stamp: Stamp::None,
            created_at: None,
            changed_at: None,
        }
    }

    fn daily() -> EventSide {
        let when = When::Timed {
            start: at("2026-03-02T09:00[Europe/Berlin]"),
            end: at("2026-03-02T10:00[Europe/Berlin]"),
        };
        let series = Series::from_lines(&["RRULE:FREQ=DAILY;COUNT=30"], &when).unwrap();
        event_side(Event { place: Place::Master(series), ..Event::new("daily", when) })
    }

    fn window(from: &str, to: &str) -> Window {
        Window { from: from.parse().unwrap(), to: to.parse().unwrap() }
    }

    fn instances(master: &EventSide, window: &Window, without: &[&str]) -> Instances {
        let series = master.event.place.series().unwrap();
        let all = series.occurrences(&master.event.when, window.from, window.to).unwrap();
        let there = all.into_iter().filter(|one| !without.contains(&one.original.text().as_str()));
        let found = there
            .map(|one| Found::Event(Box::new(event_side(one.event(&master.event, &master.id)))))
            .collect();
        Instances { found, cancelled: Vec::new() }
    }

    #[test]
    fn what_the_rule_says_and_the_calendar_does_not_have_is_a_gap() {
        let (master, window) = (daily(), window("2026-02-01T00:00:00Z", "2026-05-01T00:00:00Z"));
        let series = master.event.place.series().unwrap();
        let found = instances(&master, &window, &[]);
        assert!(gaps(series, &master, &found, &window).is_empty());
        let found = instances(&master, &window, &["2026-03-05T08:00:00Z", "2026-03-30T07:00:00Z"]);
        let gaps: Vec<String> =
            gaps(series, &master, &found, &window).iter().map(OriginalStart::text).collect();
        assert_eq!(gaps, ["2026-03-05T08:00:00Z", "2026-03-30T07:00:00Z"]);
    }

    #[test]
    fn at_the_windows_edge_nothing_is_concluded_and_neither_from_what_cannot_be_read() {
        let master = daily();
        let series = master.event.place.series().unwrap();
        let edge = window("2026-03-05T08:30:00Z", "2026-05-01T00:00:00Z");
        let found = instances(&master, &edge, &["2026-03-05T08:00:00Z"]);
        assert!(gaps(series, &master, &found, &edge).is_empty());
        let window = window("2026-02-01T00:00:00Z", "2026-05-01T00:00:00Z");
        let mut found = instances(&master, &window, &["2026-03-10T08:00:00Z"]);
        let unreadable = Found::Unreadable { id: "x".into(), revision: "1".into(), why: "a zone".into() };
        found.found.push(unreadable);
        assert!(gaps(series, &master, &found, &window).is_empty());
    }
}

//! Reading the open letters, newest first, whatever their number: a lane for each flow and reason, merged by time.

use std::collections::VecDeque;

use futures_util::future::try_join_all;
use shared::ports::PortError;
use shared::ports::state::State;

use super::documents::{self, COUNTS, LetterSummary, Tally, lane, place};
use super::projector::DOCUMENTS_MAX;
use super::select::Filter;

/// Letters read from a lane at first; more when these do not suffice.
const FIRST: u32 = 50;

/// A walk over the open letters that match, newest first. Letters that are closed meanwhile may or may not come.
#[derive(Debug)]
pub struct Walk<'a> {
    state: &'a dyn State,
    filter: Filter,
    lanes: Vec<Lane>,
}

#[derive(Debug)]
struct Lane {
    prefix: String,
    after: Option<String>,
    letters: VecDeque<LetterSummary>,
    page: u32,
    is_read: bool,
}

impl Lane {
    async fn fill(&mut self, state: &dyn State) -> Result<(), PortError> {
        if self.is_read || !self.letters.is_empty() {
            return Ok(());
        }
        let found = state.scan(&self.prefix, self.after.as_deref(), self.page).await?;
        self.is_read = found.len() < self.page as usize;
        self.page = DOCUMENTS_MAX;
        if let Some((last, _)) = found.last() {
            self.after = Some(last.clone());
        }
        self.letters.extend(found.iter().filter_map(|(_, document)| documents::read(Some(document))));
        Ok(())
    }

    fn first(&self) -> Option<String> {
        self.letters.front().map(|letter| place(letter.at, &letter.id))
    }
}

impl<'a> Walk<'a> {
    /// Begins behind the place `after`, or with the newest.
    pub(super) async fn begin(
        state: &'a dyn State,
        filter: &Filter,
        after: Option<&str>,
    ) -> Result<Self, PortError> {
        let before = filter.before.map(documents::backwards);
        // What is younger is before it in a lane; the later one of both is where to begin.
        let after = after.map(str::to_owned).max(before);
        let (mut lanes, mut tallies) = (Vec::new(), Tallies::new(COUNTS));
        while let Some(page) = tallies.next(state).await? {
            let covered = |tally: &Tally| filter.covers(&tally.signature.flow, tally.signature.reason);
            lanes.extend(page.into_iter().filter(covered).map(|tally| {
                let prefix = lane(&tally.signature.flow, tally.signature.reason);
                let after = after.as_ref().map(|place| format!("{prefix}{place}"));
                Lane { prefix, after, letters: VecDeque::new(), page: FIRST, is_read: false }
            }));
        }
        try_join_all(lanes.iter_mut().map(|lane| lane.fill(state))).await?;
        Ok(Self { state, filter: filter.clone(), lanes })
    }

    /// The next letter that matches.
    ///
    /// # Errors
    /// As the store's.
    pub async fn next(&mut self) -> Result<Option<LetterSummary>, PortError> {
        loop {
            let newest = (self.lanes.iter_mut())
                .filter_map(|lane| lane.first().map(|place| (place, lane)))
                .min_by(|(one, _), (other, _)| one.cmp(other));
            let Some((_, lane)) = newest else { return Ok(None) };
            let Some(letter) = lane.letters.pop_front() else { return Ok(None) };
            lane.fill(self.state).await?;
            let too_old = |since: jiff::Timestamp| letter.at.as_microsecond() < since.as_microsecond();
            if self.filter.since.is_some_and(too_old) {
                return Ok(None);
            }
            if self.filter.matches(&letter) {
                return Ok(Some(letter));
            }
        }
    }

    /// Up to `limit` of the next letters that match.
    ///
    /// # Errors
    /// As the store's.
    pub async fn take(&mut self, limit: usize) -> Result<Vec<LetterSummary>, PortError> {
        let mut letters = Vec::new();
        while letters.len() < limit
            && let Some(letter) = self.next().await?
        {
            letters.push(letter);
        }
        Ok(letters)
    }
}

/// The tallies of which any letter is open, page by page.
#[derive(Debug)]
pub(super) struct Tallies {
    prefix: &'static str,
    after: Option<String>,
    is_read: bool,
}

impl Tallies {
    pub(super) fn new(prefix: &'static str) -> Self {
        Self { prefix, after: None, is_read: false }
    }

    pub(super) async fn next(&mut self, state: &dyn State) -> Result<Option<Vec<Tally>>, PortError> {
        if self.is_read {
            return Ok(None);
        }
        let found = state.scan(self.prefix, self.after.as_deref(), DOCUMENTS_MAX).await?;
        self.is_read = found.len() < DOCUMENTS_MAX as usize;
        self.after = found.last().map(|(last, _)| last.clone());
        let read = found.iter().filter_map(|(_, document)| documents::read::<Tally>(Some(document)));
        Ok(Some(read.filter(|tally| tally.count > 0).collect()))
    }
}

//! Limits of a minute, for each interface, and errors that a test asked for.

use std::collections::{BTreeMap, VecDeque};

use jiff::{SignedDuration, Timestamp};

use super::errcode::Errcode;
use super::options::ForcedErrcode;

const MINUTE: SignedDuration = SignedDuration::from_secs(60);

/// Calls of the last minute, interfaces that are closed, and what is to go wrong.
#[derive(Debug, Default)]
pub(super) struct Quota {
    calls: BTreeMap<String, VecDeque<Timestamp>>,
    closed_until: BTreeMap<String, Timestamp>,
    errors: Vec<(ForcedErrcode, usize)>,
}

impl Quota {
    pub(super) fn add(&mut self, errors: Vec<ForcedErrcode>) {
        self.errors.extend(errors.into_iter().map(|error| (error, 0)));
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Counts a call, and answers why it is refused, if it is. An interface over its limit is closed for a minute.
    pub(super) fn check(
        &mut self,
        api: &str,
        now: Timestamp,
        calls_max: Option<usize>,
    ) -> Result<(), Errcode> {
        self.strike(api)?;
        if self.closed_until.get(api).is_some_and(|until| now < *until) {
            return Err(Errcode(45009));
        }
        let Some(calls_max) = calls_max else { return Ok(()) };
        let calls = self.calls.entry(api.to_owned()).or_default();
        calls.retain(|at| now.duration_since(*at) < MINUTE);
        if calls.len() >= calls_max {
            calls.clear();
            self.closed_until.insert(api.to_owned(), now.checked_add(MINUTE).unwrap_or(Timestamp::MAX));
            return Err(Errcode(45009));
        }
        calls.push_back(now);
        Ok(())
    }

    fn strike(&mut self, api: &str) -> Result<(), Errcode> {
        let fits =
            |error: &ForcedErrcode| error.api.as_deref().is_none_or(|of| of == api) && error.times != Some(0);
        let Some((error, struck)) = self.errors.iter_mut().find(|(error, _)| fits(error)) else {
            return Ok(());
        };
        let code = error.errcodes.get(*struck % error.errcodes.len().max(1)).copied();
        *struck += 1;
        error.times = error.times.map(|left| left.saturating_sub(1));
        code.map_or(Ok(()), |code| Err(Errcode(code)))
    }
}

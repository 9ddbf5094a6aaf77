//! Limits of a minute and of an hour, for each interface, and errors that a test asked for.

use std::collections::{BTreeMap, VecDeque};

use jiff::{SignedDuration, Timestamp};

use super::errcode::Errcode;
use super::options::ForcedErrcode;

const HOUR: SignedDuration = SignedDuration::from_hours(1);

/// How many calls there may be in a minute and in an hour; no limit where absent.
#[derive(Debug, Clone, Copy)]
pub(super) struct CallsMax {
    pub(super) minute: Option<usize>,
    /// How long a minute is.
    pub(super) minute_is: SignedDuration,
    pub(super) hour: Option<usize>,
}

/// Calls of the last minute and hour, interfaces that are closed, and what is to go wrong.
#[derive(Debug, Default)]
pub(super) struct Quota {
    minute: BTreeMap<String, VecDeque<Timestamp>>,
    hour: BTreeMap<String, VecDeque<Timestamp>>,
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

    /// Counts a call, and answers why it is refused, if it is. An interface over a limit is closed for as long as the limit
    /// counts.
    pub(super) fn check(&mut self, api: &str, now: Timestamp, calls_max: CallsMax) -> Result<(), Errcode> {
        self.strike(api)?;
        if self.closed_until.get(api).is_some_and(|until| now < *until) {
            return Err(Errcode(45009));
        }
        let windows = [
            (&mut self.minute, calls_max.minute_is, calls_max.minute),
            (&mut self.hour, HOUR, calls_max.hour),
        ];
        for (calls, window, calls_max) in windows {
            let Some(calls_max) = calls_max else { continue };
            let calls = calls.entry(api.to_owned()).or_default();
            while calls.front().is_some_and(|at| now.duration_since(*at) >= window) {
                calls.pop_front();
            }
            if calls.len() >= calls_max {
                calls.clear();
                let until = now.checked_add(window).unwrap_or(Timestamp::MAX);
                self.closed_until.insert(api.to_owned(), until);
                return Err(Errcode(45009));
            }
            calls.push_back(now);
        }
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

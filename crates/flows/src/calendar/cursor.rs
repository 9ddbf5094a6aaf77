//! Incremental sync of one calendar, as a state machine: what to ask for next, and what an answer makes of it. Pure;
//! the shell fetches, applies a page, and stores the state after every one.
//!
//! ```text
//! first round ──► changes ──► changes ──► …          each round: pages, then the token for the next one
//!     ▲              │ expired: the whole calendar again, compared with the links
//!     └──────────────┘
//! window runs short: a new round beside the old token ──► the old token a last time ──► both swapped at once
//! ```

use jiff::{SignedDuration, Timestamp, ToSpan};
use serde::{Deserialize, Serialize};

use super::event::{Event, Window};

/// Pages of one round at most: more is a loop, or no calendar.
pub const PAGES_MAX: u32 = 5_000;
/// Loops after which a calendar is read without tokens.
pub const LOOPS_MAX: u32 = 2;
/// Share of the time ahead that has to be left; below it the window is set anew.
const AHEAD_LEFT: (i64, i64) = (2, 3);
/// How long before the window something may have ended to be read where a token was lost: all that ever was in the calendar
/// would be too much.
const LOOKED_BACK: SignedDuration = SignedDuration::from_hours(90 * 24);
/// Longest age of a window.
const WINDOW_AGE_MAX_HOURS: i64 = 7 * 24;

/// How far back and ahead a calendar is synchronised, and in what portions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reach {
    /// Days back.
    pub back_days: u16,
    /// Days ahead.
    pub ahead_days: u16,
    /// Events asked for in one page.
    pub page_events_max: u16,
}

impl Reach {
    /// The window as of now.
    pub fn window(&self, now: Timestamp) -> Window {
        let hours = |days: u16| i64::from(days) * 24;
        Window {
            from: now.checked_sub(hours(self.back_days).hours()).unwrap_or(Timestamp::MIN),
            to: now.checked_add(hours(self.ahead_days).hours()).unwrap_or(Timestamp::MAX),
        }
    }

    /// The window that is read as of now where a token was lost: only it would have told what has changed of the past.
    pub fn window_after_loss(&self, now: Timestamp) -> Window {
        let window = self.window(now);
        Window { from: window.from.checked_sub(LOOKED_BACK).unwrap_or(Timestamp::MIN), ..window }
    }

    /// When what starts then has come into every calendar's window: each is set anew on a day of its own, and some hours
    /// late.
    pub fn seen_by_all(&self, start: Timestamp) -> Timestamp {
        let ahead = i64::from(self.ahead_days) * 24;
        let age = WINDOW_AGE_MAX_HOURS.min(ahead * (AHEAD_LEFT.1 - AHEAD_LEFT.0) / AHEAD_LEFT.1);
        start.checked_sub((ahead - age - age / 7).hours()).unwrap_or(Timestamp::MIN)
    }
}

/// Where a calendar's sync stands.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Cursor {
    /// The token of the last complete round.
    pub token: Option<Token>,
    /// The round that is under way.
    pub round: Option<Round>,
    /// What a new round beside the old token answered with; it replaces that one after its last use.
    pub next_token: Option<Token>,
    /// Rounds that went in a circle, since the last one that came to its end.
    #[serde(default)]
    pub loops: u32,
    /// When a round last came to its end.
    pub synced_at: Option<Timestamp>,
    /// Whether linked events ahead of the window may have changed unread: only a token tells of them, and one was lost.
    #[serde(default)]
    pub outside_unread: bool,
}

/// A delta link or sync token. Opaque; not a secret, but long.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// As the vendor gave it.
    pub text: String,
    /// The window it is bound to.
    pub window: Window,
    /// When that window was made.
    pub since: Timestamp,
}

/// A round of pages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Round {
    /// What it reads.
    pub kind: Kind,
    /// The window.
    pub window: Window,
    /// When it was begun.
    pub begun: Timestamp,
    /// The next page; none for the first.
    pub page: Option<String>,
    /// Pages applied.
    pub pages: u32,
    /// Events in them so far that were not in an earlier page.
    pub events: u64,
    /// What the last page held.
    pub last_page: Option<u64>,
}

/// What a round reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The whole window. What is linked and does not come is looked at.
    Full(Why),
    /// What changed since the token.
    Changes,
    /// The same, a last time, beside a new token.
    LastChanges,
}

/// Why the whole window is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// There was no token yet.
    First,
    /// The token has expired.
    Expired,
    /// The window slides.
    Window,
    /// Pages went in a circle.
    Loop,
}

/// What to ask the calendar for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// The first page of the whole window.
    Full(Window),
    /// The first page of what changed.
    Changes(String),
    /// A further page. For Google, the token of the round goes with it.
    Page {
        /// The page's token.
        page: String,
        /// The token of the round, for changes.
        token: Option<String>,
    },
    /// The whole window without tokens: these go in a circle.
    Listing(Window),
}

/// What a page held, once it has been applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// What comes after it.
    pub next: Next,
    /// A number made of the ids and versions in it.
    pub fingerprint: u64,
    /// Events in it that were not in an earlier page of the round.
    pub new_events: u64,
    /// Whether it was empty: such pages are normal.
    pub is_empty: bool,
}

/// What comes after a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Another page.
    Page(String),
    /// The round has ended, with the token for the next one; none for a listing.
    End(Option<String>),
}

/// What an applied page means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The round goes on.
    Continues,
    /// The whole window was read: compare it with the links, and only then store the state.
    Compare(Window),
    /// The round has ended.
    Ended,
    /// Pages go in a circle; the round was stopped, and nothing of its token is kept.
    Looped,
}

impl Cursor {
    /// What to ask for, having begun a round where none is under way. Store the state before asking.
    pub fn request(&mut self, reach: &Reach, now: Timestamp) -> Request {
        let (token, loops) = (self.token.clone(), self.loops);
        self.outside_unread |= self.round.is_none() && token.is_none() && self.is_read();
        let whole = self.whole(reach, now);
        let round = self.round.get_or_insert_with(|| begin(token.as_ref(), loops, reach, whole, now));
        let changes = matches!(round.kind, Kind::Changes | Kind::LastChanges);
        let text = token.filter(|_| changes).map(|token| token.text);
        match (&round.page, text) {
            (Some(page), token) => Request::Page { page: page.clone(), token },
            (None, Some(token)) => Request::Changes(token),
            (None, None) if round.kind == Kind::Full(Why::Loop) && self.loops >= LOOPS_MAX => {
                Request::Listing(round.window)
            }
            (None, None) => Request::Full(round.window),
        }
    }

    /// What follows from a page that has been applied. Store the state after it.
    pub fn applied(&mut self, page: &Page, now: Timestamp) -> Step {
        let Some(mut round) = self.round.take() else { return Step::Ended };
        round.pages = round.pages.saturating_add(1);
        round.events = round.events.saturating_add(page.new_events);
        match &page.next {
            Next::Page(next) => {
                let same_link = round.page.as_ref() == Some(next);
                let same_page =
                    !page.is_empty && page.new_events == 0 && round.last_page == Some(page.fingerprint);
                if same_link || same_page || round.pages >= PAGES_MAX {
                    return self.looped();
                }
                round.page = Some(next.clone());
                round.last_page = Some(page.fingerprint);
                self.round = Some(round);
                Step::Continues
            }
            Next::End(token) => self.end(&round, token.clone(), now),
        }
    }

    /// The token, or the page's, has expired (410 and its like): the whole window again. Nothing is concluded from
    /// what was not seen meanwhile.
    pub fn expired(&mut self, reach: &Reach, now: Timestamp) {
        let kind = self.round.as_ref().map(|round| round.kind);
        self.outside_unread |= matches!(kind, Some(Kind::Changes | Kind::LastChanges));
        let why = match kind {
            Some(Kind::Full(why)) => why,
            Some(Kind::Changes | Kind::LastChanges) | None => Why::Expired,
        };
        // While the window slides, the old token is as good as before.
        let token = self.token.take().filter(|_| why == Why::Window);
        let round = Some(full(why, self.whole(reach, now), now));
        *self = Self { token, round, next_token: None, ..self.clone() };
    }

    /// The window for a round that reads all of it.
    fn whole(&self, reach: &Reach, now: Timestamp) -> Window {
        if self.outside_unread { reach.window_after_loss(now) } else { reach.window(now) }
    }

    /// Whether the calendar was read from beginning to end once: before that, nothing is created in it.
    pub fn is_read(&self) -> bool {
        self.synced_at.is_some()
    }

    /// The word for the state, for people.
    pub fn phase(&self) -> &'static str {
        match (&self.round, &self.token) {
            (None, None) => "initial",
            (Some(Round { kind: Kind::Full(_), .. }), _) => "paging",
            (_, Some(_)) | (Some(_), None) => "incremental",
        }
    }

    fn looped(&mut self) -> Step {
        let window = self.token.as_ref().map(|token| token.window);
        self.loops = self.loops.saturating_add(1);
        self.next_token = None;
        // A circle of changes comes again with the same token.
        if self.loops >= LOOPS_MAX || window.is_none() {
            self.token = None;
        }
        Step::Looped
    }

    fn end(&mut self, round: &Round, text: Option<String>, now: Timestamp) -> Step {
        let since = match (&self.token, round.kind) {
            (Some(token), Kind::Changes | Kind::LastChanges) => token.since,
            _ => round.begun,
        };
        let token = text.map(|text| Token { text, window: round.window, since });
        match round.kind {
            Kind::Full(Why::Window) if self.token.is_some() && token.is_some() => {
                self.next_token = token;
                let old = self.token.as_ref().map_or(round.window, |token| token.window);
                self.round = Some(Round { kind: Kind::LastChanges, ..full(Why::Window, old, now) });
                return Step::Compare(round.window);
            }
            Kind::LastChanges => self.token = self.next_token.take(),
            Kind::Full(_) | Kind::Changes => self.token = token,
        }
        self.loops = 0;
        self.synced_at = Some(now);
        if matches!(round.kind, Kind::Full(_)) { Step::Compare(round.window) } else { Step::Ended }
    }
}

fn begin(token: Option<&Token>, loops: u32, reach: &Reach, whole: Window, now: Timestamp) -> Round {
    match token {
        None if loops > 0 => full(Why::Loop, whole, now),
        None => full(Why::First, whole, now),
        Some(token) if is_short(token, reach, now) => full(Why::Window, whole, now),
        Some(token) => Round { kind: Kind::Changes, ..full(Why::First, token.window, now) },
    }
}

fn full(why: Why, window: Window, now: Timestamp) -> Round {
    Round { kind: Kind::Full(why), window, begun: now, page: None, pages: 0, events: 0, last_page: None }
}

/// Whether the end of the window comes near: less than two thirds of the time ahead are left, or it is a week old.
fn is_short(token: &Token, reach: &Reach, now: Timestamp) -> bool {
    let seconds = |from: Timestamp, to: Timestamp| from.duration_until(to).as_secs();
    let whole = i64::from(reach.ahead_days) * 24 * 3_600;
    let short = seconds(now, token.window.to) * AHEAD_LEFT.1 < whole * AHEAD_LEFT.0;
    short || seconds(token.since, now) >= WINDOW_AGE_MAX_HOURS * 3_600
}

/// A link, for the comparison with a full round.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Linked {
    /// What it last said.
    pub base: Option<Event>,
    /// Whether the round had it.
    pub seen: bool,
    /// Whether the pair has come to its end.
    pub ended: bool,
}

/// What a full round says of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// The round had it, or it has come to its end.
    No,
    /// It ended before the window: it fell out, and is kept.
    Past,
    /// It begins after the window: it was moved out, and is kept.
    Ahead,
    /// It should have come: look at it before anything is called deleted.
    Look,
}

/// What a full round of this window says of a link.
pub fn missing(link: &Linked, window: &Window) -> Missing {
    match &link.base {
        _ if link.seen || link.ended => Missing::No,
        Some(base) if window.has(base) => Missing::Look,
        Some(base) if base.when.started_by() >= window.to => Missing::Ahead,
        Some(_) => Missing::Past,
        None => Missing::Look,
    }
}

impl Cursor {
    /// Events to ask for in a page: fewer after a circle, which may come from where pages are cut.
    pub fn page_events(&self, reach: &Reach) -> u16 {
        (reach.page_events_max >> self.loops.min(8)).max(1)
    }
}

#[cfg(test)]
#[path = "cursor_tests.rs"]
mod tests;

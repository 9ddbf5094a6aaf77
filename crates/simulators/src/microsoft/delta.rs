//! `calendarView/delta`: rounds of pages over a calendar's log, within a window that is fixed in the token.
//!
//! `[A]` What changed during a round comes in the next one; a series comes whole with any change in it.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Microsoft;
use super::answers::{self, Refusal, Stop};
use super::ask::Ask;
use super::ids;
use super::lists;
use super::query;
use super::render::{self, Style};
use super::state::{self, Row};
use crate::dice::Dice;
use crate::store::Store;
use crate::upstream::Record;
use crate::wire::Answer;

/// Options that the function has in the description, and refuses.
const REFUSED: [&str; 5] = ["$select", "$filter", "$expand", "$orderby", "$search"];

/// How a token that has died is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TokenDeath {
    /// 410 with `Location`: the same window with an empty token.
    #[default]
    GoneWithLocation,
    /// 410 `SyncStateNotFound`.
    Gone,
    /// 410 `resyncRequired`.
    ResyncRequired,
    /// 400 `syncStateNotFound`.
    BadRequest,
    /// 404 `SyncStateInvalid`.
    NotFound,
}

impl TokenDeath {
    /// `gone_with_location`, `gone`, `resync_required`, `bad_request`, `not_found`.
    pub(super) fn read(name: &str) -> Option<Self> {
        match name {
            "gone_with_location" => Some(Self::GoneWithLocation),
            "gone" => Some(Self::Gone),
            "resync_required" => Some(Self::ResyncRequired),
            "bad_request" => Some(Self::BadRequest),
            "not_found" => Some(Self::NotFound),
            _ => None,
        }
    }

    fn refusal(self, location: String) -> Refusal {
        let message = "The sync state generation is not found; generation=149;[highest=157][157][155][156].";
        match self {
            Self::GoneWithLocation => {
                Refusal::new(410, "SyncStateNotFound", message).with("Location", location)
            }
            Self::Gone => Refusal::new(410, "SyncStateNotFound", message),
            Self::ResyncRequired => Refusal::new(410, "resyncRequired", "Resync required."),
            Self::BadRequest => Refusal::new(400, "syncStateNotFound", message),
            Self::NotFound => Refusal::new(404, "SyncStateInvalid", "The sync state is invalid."),
        }
    }
}

/// Which tokens of a mailbox have died, and when the others do.
#[derive(Debug, Clone, Default)]
pub(super) struct Deaths {
    /// Tokens of older generations are dead.
    pub(super) generation: u64,
    /// Requests that are still answered before the tokens die.
    pub(super) after_requests: Option<u32>,
    pub(super) death: TokenDeath,
    /// Links that are answered by themselves, with the page they had.
    pub(super) stalls: u32,
}

/// What a link carries.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Token {
    calendar: String,
    start: Timestamp,
    end: Timestamp,
    /// The last row that was shown.
    after: u64,
    /// The last row of the round; set by its first page.
    until: Option<u64>,
    is_first_round: bool,
    issued: Timestamp,
    generation: u64,
    /// Pages of the round so far.
    page: u32,
}

impl Token {
    fn text(&self) -> String {
        URL_SAFE_NO_PAD.encode(json!(self).to_string())
    }

    fn read(text: &str) -> Option<Self> {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()
    }
}

impl Microsoft {
    pub(super) fn delta(&mut self, store: &Store, ask: &Ask<'_>, calendar: &str) -> Result<Answer, Stop> {
        if let Some(refused) = REFUSED.iter().find(|name| query::value(ask.request, name).is_some()) {
            let message = format!(
                "The following parameters are not supported with change tracking over the \
                                   'CalendarView' resource: '{refused}'."
            );
            return Err(Refusal::new(400, "ErrorInvalidUrlQuery", message).into());
        }
        let text = |name: &str| query::value(ask.request, name).filter(|text| !text.is_empty());
        let (skip, delta) = (text("$skiptoken"), text("$deltatoken"));
        let is_link = skip.is_some() || delta.is_some();
        let generation = self.deaths.entry(ask.mailbox.address.clone()).or_default().generation;
        let token = match skip.or(delta) {
            Some(text) => {
                let invalid = || Refusal::new(400, "SyncStateInvalid", "Badly formed token.");
                Token::read(&text).filter(|token| token.calendar == calendar).ok_or_else(invalid)?
            }
            None => {
                let window = lists::window(ask)?;
                Token {
                    calendar: calendar.to_owned(),
                    start: window.0,
                    end: window.1,
                    after: 0,
                    until: None,
                    is_first_round: true,
                    issued: ask.now,
                    generation,
                    page: 0,
                }
            }
        };
        if is_link {
            self.check_life(ask, &token)?;
            let deaths = self.deaths.entry(ask.mailbox.address.clone()).or_default();
            if deaths.stalls > 0 {
                deaths.stalls -= 1;
                return Ok(self.page(store, ask, token, true));
            }
        }
        Ok(self.page(store, ask, token, false))
    }

    fn check_life(&mut self, ask: &Ask<'_>, token: &Token) -> Result<(), Refusal> {
        let life = self.options.delta_token_hours.map(|hours| SignedDuration::from_hours(i64::from(hours)));
        let deaths = self.deaths.entry(ask.mailbox.address.clone()).or_default();
        match deaths.after_requests {
            Some(0) => {
                deaths.after_requests = None;
                deaths.generation += 1;
            }
            Some(left) => deaths.after_requests = Some(left - 1),
            None => {}
        }
        let is_old = life.is_some_and(|life| ask.now.duration_since(token.issued) > life);
        if token.generation >= deaths.generation && !is_old {
            return Ok(());
        }
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.append_pair("startDateTime", &token.start.to_string());
        query.append_pair("endDateTime", &token.end.to_string());
        let location = format!("{}?{}&$deltatoken=", ask.url, query.finish());
        Err(deaths.death.refusal(location))
    }

    /// One page; one that stalls names the link it was asked by as the next one.
    fn page(&self, store: &Store, ask: &Ask<'_>, mut token: Token, is_stalled: bool) -> Answer {
        let delay = SignedDuration::from_secs(i64::from(self.options.delta_delay_seconds));
        let visible = ask.now.checked_sub(delay).unwrap_or(ask.now);
        let rows: Vec<(u64, Row)> = state::rows_after(store, &token.calendar, token.after)
            .take_while(|(_, row)| row.at <= visible)
            .collect();
        let until = *token.until.get_or_insert(rows.last().map_or(token.after, |(row, _)| *row));
        let style = Style::of(&ask.prefer);
        let mut dice = Dice::new(self.options.seed ^ token.after.rotate_left(20) ^ u64::from(token.page));
        let is_empty = dice.chance(self.options.empty_page_chance);
        let mut value = Vec::new();
        if dice.chance(self.options.replay_chance) && !is_empty {
            let shown =
                state::rows_after(store, &token.calendar, 0).take_while(|(row, _)| *row <= token.after);
            value.extend(shown.last().map(|(_, row)| items(store, &style, &token, row)).unwrap_or_default());
        }
        let mut has_new = false;
        let mut is_full = is_empty;
        for (at, row) in rows.iter().take_while(|(at, _)| *at <= until && !is_empty) {
            // A series is not split, so that a page may be larger than was asked for.
            // A replay may fill it, but each page shows something new.
            if value.len() >= ask.prefer.page_size && has_new {
                is_full = true;
                break;
            }
            value.extend(items(store, &style, &token, *row));
            token.after = *at;
            has_new = true;
        }
        token.page += 1;
        let (name, option) =
            if is_full { ("@odata.nextLink", "$skiptoken") } else { ("@odata.deltaLink", "$deltatoken") };
        if !is_full {
            token.after = until;
            token.until = None;
            token.is_first_round = false;
            token.issued = ask.now;
        }
        let mut body = Record::new();
        body.insert("@odata.context".to_owned(), json!(format!("{}/$metadata#Collection(event)", ask.root)));
        if is_stalled {
            let own = format!("{}?{}", ask.url, ask.request.query);
            body.insert("@odata.nextLink".to_owned(), json!(own));
        } else {
            body.insert(name.to_owned(), json!(format!("{}?{option}={}", ask.url, token.text())));
        }
        body.insert("value".to_owned(), Value::Array(value));
        answers::ok(200, &Value::Object(body)).with("Preference-Applied", "odata.track-changes")
    }
}

fn removed(id: &str) -> Value {
    json!({ "@odata.type": "#microsoft.graph.event", "id": id, "@removed": { "reason": "deleted" } })
}

fn full(shown: Record) -> Value {
    let mut item = Record::new();
    item.insert("@odata.type".to_owned(), json!("#microsoft.graph.event"));
    item.extend(shown);
    Value::Object(item)
}

/// What a round shows of a row.
fn items(store: &Store, style: &Style, token: &Token, row: Row) -> Vec<Value> {
    let unless_first = |items: Vec<Value>| if token.is_first_round { Vec::new() } else { items };
    if let Some(revision) = row.gone {
        return unless_first(vec![removed(&ids::event(style.form, row.number, revision, None))]);
    }
    let Some(event) = state::find(store, row.number) else { return Vec::new() };
    let window = (token.start, token.end);
    if !event.touches(window) {
        // Changed and lying outside the window looks as deleted does.
        return unless_first(vec![removed(&ids::event(style.form, event.number, event.revision, None))]);
    }
    let mut found = vec![full(render::whole(style, &event))];
    let occurrences = event.occurrences(window);
    for (slot, item) in &occurrences {
        found.push(if event.exceptions.contains_key(slot) {
            full(render::occurrence(style, &event, *slot, item))
        } else {
            render::reduced(style, &event, *slot, item)
        });
    }
    let outside =
        event.exceptions.keys().filter(|slot| !occurrences.iter().any(|(inside, _)| inside == *slot));
    let outside = outside
        .map(|slot| removed(&ids::event(style.form, event.number, event.revision, Some(*slot))))
        .collect();
    found.extend(unless_first(outside));
    found
}

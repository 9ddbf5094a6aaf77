//! Generations of the state store: how a fleet notices that the store was emptied, or is an older copy.
//!
//! A document, [`KEY`], names the store's generation: an id made once, and a number that rises every minute. The
//! queue remembers both, so that a fleet that was stopped meanwhile notices as well. While a process runs, the
//! document is written again and again; its version only rises, so that a store with a lower one is an older copy.
//!
//! Nobody who works with a store reads or writes it once it is lost ([`State::enter`]), until a person has begun a
//! new generation with [`release`]. The flows then adopt what both sides hold.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::ports::PortError;
use crate::ports::queue::Queue;
use crate::ports::state::{Expected, State, Write, Written};

/// The key of the document that names the store's generation.
pub const KEY: &str = "generation";
/// The key of the document that says when a person last began a new one.
const RELEASED_KEY: &str = "generation_released";
/// What the document says in a store that is an older copy.
const LOST: &[u8] = b"lost";
/// The mark by which the queue knows that there was a generation at all.
const ANY: &str = "generation";
/// How many steps of a generation's number a queue may have forgotten.
const FORGOTTEN_MAX: u64 = 3;
/// How often a release that clashes with others is tried again.
const TRIES_MAX: u32 = 20;

/// The store's generation, at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Generation {
    /// Made once; another one means another generation.
    pub id: Uuid,
    /// Rises while the fleet runs.
    pub number: u64,
    /// The version of the document.
    pub version: u64,
}

impl Generation {
    /// What the document holds: its beginning, up to and with the point, stands for the whole generation.
    pub fn text(&self) -> String {
        format!("{}{}", self.prefix(), self.number)
    }

    /// What the document begins with.
    pub fn prefix(&self) -> String {
        format!("{}.", self.id.simple())
    }

    /// The mark by which the queue knows it.
    fn mark(&self) -> String {
        format!("{ANY}.{}", self.text())
    }

    fn parse(text: &[u8], version: u64) -> Option<Self> {
        let (id, number) = std::str::from_utf8(text).ok()?.split_once('.')?;
        Some(Self { id: Uuid::try_parse(id).ok()?, number: number.parse().ok()?, version })
    }
}

/// What the store holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// No generation: it is new, or was emptied.
    Nothing,
    /// This one.
    Of(Generation),
    /// The flag that it is an older copy, in this version.
    Flag(u64),
}

impl Found {
    /// Whether nobody but the clock has moved it on.
    fn is_still(self, later: Self) -> bool {
        match (self, later) {
            (Self::Of(one), Self::Of(other)) => one.id == other.id && one.number == other.number,
            (one, other) => one == other,
        }
    }
}

/// How the store stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is in this generation, and complete as far as anybody knows.
    Known(Generation),
    /// It is lost.
    Lost(Loss),
}

/// How a store was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// It holds nothing of what it held.
    Emptied,
    /// It is an older copy, or another fleet's.
    Older,
}

impl Loss {
    /// A sentence that says what happened and what to do.
    pub fn text(self) -> &'static str {
        match self {
            Self::Emptied => {
                "the state store is empty, although this fleet has used it: it was emptied, or its address or \
                 namespace points elsewhere. Nothing is handled until it is right again, or a person begins anew \
                 with `syncfleet release --store`"
            }
            Self::Older => {
                "the state store is an older copy of what it was, or another fleet's: what was written since is \
                 missing. Nothing is handled until it is right again, or a person goes on with it by `syncfleet \
                 release --store`"
            }
        }
    }
}

/// A person's word that the fleet goes on with a store that was lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub by: String,
}

/// What follows from what the store holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Judgement {
    /// The generation that is known, no older than it was.
    Same(Generation),
    /// The queue must say whether it is the right one.
    Ask,
    /// It is lost.
    Lost(Loss),
}

/// Judges the store by what this process knew of it.
fn judge(found: Found, entered: Option<&Generation>) -> Judgement {
    match (found, entered) {
        (Found::Flag(_), _) => Judgement::Lost(Loss::Older),
        (Found::Nothing, Some(_)) => Judgement::Lost(Loss::Emptied),
        (Found::Of(present), Some(known)) if present.id == known.id && present.version >= known.version => {
            Judgement::Same(present)
        }
        (Found::Of(present), Some(known)) if present.id == known.id => Judgement::Lost(Loss::Older),
        (Found::Nothing | Found::Of(_), _) => Judgement::Ask,
    }
}

/// Reads what the store holds.
///
/// # Errors
/// As the store's.
pub async fn read(state: &dyn State) -> Result<Found, PortError> {
    Ok(match state.get(KEY).await? {
        None => Found::Nothing,
        Some(document) => Generation::parse(&document.value, document.version)
            .map_or(Found::Flag(document.version), Found::Of),
    })
}

/// Looks how the store stands; begins the first generation where queue and store are both new, and flags a store
/// that is older than it was. `entered` is what this process found last.
///
/// # Errors
/// As the store's, and the queue's where it must be asked.
pub async fn look(
    queue: &dyn Queue,
    state: &dyn State,
    entered: Option<&Generation>,
) -> Result<Standing, PortError> {
    let mut found = read(state).await?;
    loop {
        match judge(found, entered) {
            Judgement::Same(generation) => return Ok(Standing::Known(generation)),
            Judgement::Lost(loss) => {
                // Those who knew less of it would take it for the right one.
                if let Found::Of(_) = found {
                    write(state, LOST, found).await?;
                }
                return Ok(Standing::Lost(loss));
            }
            Judgement::Ask => {
                if let Some(generation) = ask(queue, state, found).await? {
                    return Ok(Standing::Known(generation));
                }
            }
        }
        // Somebody may have written between the store's answer and the queue's.
        let again = read(state).await?;
        if found.is_still(again) {
            return Ok(Standing::Lost(if found == Found::Nothing { Loss::Emptied } else { Loss::Older }));
        }
        found = again;
    }
}

/// How the store stands, as far as can be told without writing; `None` where all is well or nothing has begun.
///
/// # Errors
/// As the store's and the queue's.
pub async fn loss(queue: &dyn Queue, state: &dyn State) -> Result<Option<Loss>, PortError> {
    let found = read(state).await?;
    let knows_any = queue.remembers(ANY).await?;
    if let Found::Of(generation) = found
        && known_step(queue, generation).await?.is_some()
    {
        return Ok(None);
    }
    Ok(match found {
        Found::Flag(_) => Some(Loss::Older),
        _ if !knows_any => None,
        Found::Nothing => Some(Loss::Emptied),
        // Somebody may have moved on between the store's answer and the queue's.
        Found::Of(_) if !found.is_still(read(state).await?) => None,
        Found::Of(_) => Some(Loss::Older),
    })
}

/// The step of a generation that the queue knows: the present one, or one a little before. A broker that is killed may
/// forget what it was told last, and a store that is further than the queue knows is no older copy.
async fn known_step(queue: &dyn Queue, generation: Generation) -> Result<Option<Generation>, PortError> {
    for back in 0..=generation.number.min(FORGOTTEN_MAX) {
        let step = Generation { number: generation.number - back, ..generation };
        if queue.remembers(&step.mark()).await? {
            return Ok(Some(step));
        }
    }
    Ok(None)
}

/// The generation that the store holds, if the queue knows it, or knows of none; begins the first one.
async fn ask(queue: &dyn Queue, state: &dyn State, found: Found) -> Result<Option<Generation>, PortError> {
    // Asked first: another process that begins tells the queue of its generation, and then that there is one.
    let knows_any = queue.remembers(ANY).await?;
    if let Found::Of(generation) = found
        && let Some(step) = known_step(queue, generation).await?
    {
        if step.number < generation.number {
            queue.remember(&generation.mark()).await?;
            queue.forget(&step.mark()).await?;
        }
        return Ok(Some(generation));
    }
    if knows_any {
        return Ok(None);
    }
    // The queue is new. What the store holds is right, and the queue is told; else both are new.
    let generation = match found {
        Found::Of(generation) => generation,
        Found::Nothing | Found::Flag(_) => {
            let first = Generation { id: Uuid::new_v4(), number: 0, version: 0 };
            match write(state, first.text().as_bytes(), found).await? {
                Some(version) => Generation { version, ..first },
                None => return Ok(None),
            }
        }
    };
    queue.remember(&generation.mark()).await?;
    queue.remember(ANY).await?;
    Ok(Some(generation))
}

/// Writes the document over what was found; `None` when something else is there now.
async fn write(state: &dyn State, value: &[u8], found: Found) -> Result<Option<u64>, PortError> {
    let expected = match found {
        Found::Nothing => Expected::Absent,
        Found::Of(Generation { version, .. }) | Found::Flag(version) => Expected::Version(version),
    };
    match state.write(Write { expected, ..Write::put(KEY, value) }).await? {
        Written::Done(version) => Ok(Some(version)),
        Written::Clash => Ok(None),
    }
}

/// Writes the document anew, so that its version rises. Answers the generation in its new version; the one given,
/// when somebody else wrote meanwhile.
///
/// # Errors
/// As the store's.
pub async fn beat(state: &dyn State, generation: Generation) -> Result<Generation, PortError> {
    let written = write(state, generation.text().as_bytes(), Found::Of(generation)).await?;
    Ok(written.map_or(generation, |version| Generation { version, ..generation }))
}

/// Moves on to the next number, which the queue then knows in place of the present one: a copy of the store that was
/// made before is an older one, also for a fleet that was stopped when it came back.
///
/// # Errors
/// As the queue's and the store's.
pub async fn advance(
    queue: &dyn Queue,
    state: &dyn State,
    generation: Generation,
) -> Result<Generation, PortError> {
    let next = Generation { number: generation.number + 1, ..generation };
    queue.remember(&next.mark()).await?;
    queue.remember(ANY).await?;
    if let Some(version) = write(state, next.text().as_bytes(), Found::Of(generation)).await? {
        queue.forget(&generation.mark()).await?;
        return Ok(Generation { version, ..next });
    }
    // Somebody else wrote. The queue must not go on knowing a step that the store is past; another process may have
    // taken it, or be about to.
    if let Found::Of(present) = read(state).await?
        && (present.id != next.id || present.number > next.number)
    {
        queue.forget(&next.mark()).await?;
    }
    Ok(generation)
}

/// Forgets in the queue what this process knew of a generation that has ended.
///
/// # Errors
/// As the queue's.
pub async fn forget(queue: &dyn Queue, ended: Generation) -> Result<(), PortError> {
    for number in ended.number.saturating_sub(1)..=ended.number + 1 {
        queue.forget(&Generation { number, ..ended }.mark()).await?;
    }
    Ok(())
}

/// Begins a new generation in a store that is lost, or that the queue does not know: the fleet goes on with what it
/// holds. `None` when nothing is wrong with the store.
///
/// # Errors
/// As the queue's and the store's; [`PortError::Unavailable`] when others keep writing.
pub async fn release(
    queue: &dyn Queue,
    state: &dyn State,
    by: &str,
    now: Timestamp,
) -> Result<Option<Generation>, PortError> {
    let release = serde_json::to_vec(&Release { at: now, by: by.to_owned() })
        .map_err(|e| PortError::Misconfigured(format!("the release cannot be written as JSON: {e}")))?;
    for _ in 0..TRIES_MAX {
        if let Standing::Known(_) = look(queue, state, None).await? {
            return Ok(None);
        }
        let found = read(state).await?;
        let next = Generation { id: Uuid::new_v4(), number: 0, version: 0 };
        state.write(Write::put(RELEASED_KEY, &release)).await?;
        queue.remember(&next.mark()).await?;
        queue.remember(ANY).await?;
        if let Some(version) = write(state, next.text().as_bytes(), found).await? {
            return Ok(Some(Generation { version, ..next }));
        }
        queue.forget(&next.mark()).await?;
    }
    Err(PortError::Unavailable("the store's generation keeps changing; try again".to_owned()))
}

/// The last time that a person went on with a store that was lost: of what was done before, the store may know
/// nothing.
///
/// # Errors
/// As the store's; [`PortError::Misconfigured`] when what is stored cannot be read.
pub async fn last_release(state: &dyn State) -> Result<Option<Release>, PortError> {
    let Some(document) = state.get(RELEASED_KEY).await? else { return Ok(None) };
    serde_json::from_slice(&document.value).map(Some).map_err(|error| {
        PortError::Misconfigured(format!("the document '{RELEASED_KEY}' cannot be read: {error}"))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn generation(id: u128, number: u64, version: u64) -> Generation {
        Generation { id: Uuid::from_u128(id), number, version }
    }

    #[test]
    fn the_store_is_judged_by_what_was_known_of_it() {
        let known = generation(1, 5, 50);
        let entered = Some(&known);
        for (found, entered, expected) in [
            (Found::Nothing, None, Judgement::Ask),
            (Found::Nothing, entered, Judgement::Lost(Loss::Emptied)),
            (Found::Of(known), None, Judgement::Ask),
            (Found::Of(known), entered, Judgement::Same(known)),
            (Found::Of(generation(1, 6, 60)), entered, Judgement::Same(generation(1, 6, 60))),
            (Found::Of(generation(1, 5, 49)), entered, Judgement::Lost(Loss::Older)),
            (Found::Of(generation(2, 0, 90)), entered, Judgement::Ask),
            (Found::Flag(60), None, Judgement::Lost(Loss::Older)),
            (Found::Flag(60), entered, Judgement::Lost(Loss::Older)),
        ] {
            assert_eq!(judge(found, entered), expected, "{found:?} {entered:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_and_a_mark_is_one(id in any::<u128>(), number in any::<u64>(), version in any::<u64>()) {
            let generation = generation(id, number, version);
            prop_assert_eq!(Generation::parse(generation.text().as_bytes(), version), Some(generation));
            prop_assert!(generation.text().starts_with(&generation.prefix()));
            prop_assert!(generation.mark().len() <= crate::ports::queue::MARK_BYTES_MAX);
            prop_assert!(Generation::parse(LOST, version).is_none());
        }
    }
}

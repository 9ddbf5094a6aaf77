//! Sealing anew what a former key sealed, so that the former key can be thrown away.

use shared::ports::state::{Expected, Versioned, Write, Written};

use crate::sealed::Sealed;
use crate::store::{PAGE, PREFIX, name_of};
use crate::{Key, KeyError, Secrets, VaultError};

/// How often a secret that changes meanwhile is tried again; the next run finds what is left.
const TRIES_MAX: u32 = 3;
/// How many secrets that cannot be opened are named.
const NAMED_MAX: usize = 20;

/// What a page of secrets, or all of them, came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resealed {
    /// Sealed under a former key before, and under the present one now.
    pub resealed: u64,
    /// Under the present key already.
    pub present: u64,
    /// Not opened by any key that is configured, or damaged: left as they are.
    pub unreadable: u64,
    /// Names of such, the first of them.
    pub unreadable_names: Vec<String>,
    /// Changed again and again meanwhile: another run finds them.
    pub left: u64,
    /// Where to go on; nothing at the end.
    pub next: Option<String>,
}

impl Resealed {
    fn add(&mut self, page: Self) {
        self.resealed += page.resealed;
        self.present += page.present;
        self.unreadable += page.unreadable;
        self.left += page.left;
        self.unreadable_names.extend(page.unreadable_names);
        self.unreadable_names.truncate(NAMED_MAX);
        self.next = page.next;
    }

    /// Whether the former keys are needed no longer.
    pub fn is_complete(&self) -> bool {
        self.next.is_none() && self.left == 0 && self.unreadable == 0
    }
}

enum Outcome {
    Resealed,
    Present,
    Unreadable,
    Left,
}

impl Secrets {
    /// Seals every secret under the present key that is not yet. Killed at any point and run again it goes on; it
    /// never writes over what changed since it was read.
    ///
    /// What ends by itself within minutes (sign-ins under way) is left: until then the former key must stay.
    ///
    /// # Errors
    /// [`VaultError::Store`], and [`VaultError::Key`] where there is no usable present key.
    pub async fn reseal_all(&self) -> Result<Resealed, VaultError> {
        let mut all = Resealed::default();
        loop {
            let page = self.reseal_page(all.next.as_deref()).await?;
            all.add(page);
            if all.next.is_none() {
                return Ok(all);
            }
        }
    }

    /// The same for the secrets of one page behind `after`, which is what the page before says.
    ///
    /// # Errors
    /// As [`Self::reseal_all`].
    pub async fn reseal_page(&self, after: Option<&str>) -> Result<Resealed, VaultError> {
        let key = self.source.read()?.ok_or(KeyError::Missing)?;
        let page = self.state.scan(PREFIX, after, PAGE).await?;
        let mut done = Resealed { next: page.last().map(|(place, _)| place.clone()), ..Resealed::default() };
        for (place, document) in page {
            match self.reseal(&key, &place, document).await? {
                Outcome::Resealed => done.resealed += 1,
                Outcome::Present => done.present += 1,
                Outcome::Left => done.left += 1,
                Outcome::Unreadable => {
                    done.unreadable += 1;
                    if done.unreadable_names.len() < NAMED_MAX {
                        done.unreadable_names.push(name_of(&place));
                    }
                }
            }
        }
        Ok(done)
    }

    async fn reseal(&self, key: &Key, place: &str, mut document: Versioned) -> Result<Outcome, VaultError> {
        for _ in 0..TRIES_MAX {
            let Ok(sealed) = Sealed::read(&document.value) else { return Ok(Outcome::Unreadable) };
            if sealed.key == key.id() {
                return Ok(Outcome::Present);
            }
            let Ok(secret) = self.open(None, place, &document) else { return Ok(Outcome::Unreadable) };
            let damaged = || VaultError::Damaged(name_of(place));
            let anew = Sealed::seal(key, place, &secret).ok_or_else(damaged)?.with_about(sealed.about);
            let anew = serde_json::to_vec(&anew).map_err(|_| damaged())?;
            let expected = Expected::Version(document.version);
            let written = self.state.write(Write { expected, ..Write::put(place, &anew) }).await?;
            if matches!(written, Written::Done(_)) {
                return Ok(Outcome::Resealed);
            }
            match self.state.get(place).await? {
                Some(present) => document = present,
                // Deleted meanwhile: nothing is left to seal.
                None => return Ok(Outcome::Present),
            }
        }
        Ok(Outcome::Left)
    }
}

//! What turned out in this run: features that are off after all, and sizes that were too large.

use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

use http_client::{Answer, Request};
use shared::fault::Fault;
use tokio::sync::Mutex;

use crate::abilities::Abilities;
use crate::client::{Scim, Sizes};

const UNPROVEN: u8 = 0;
const PROVEN: u8 = 1;
const OFF: u8 = 2;

/// A feature that a service may lack, whatever it says.
#[derive(Debug)]
pub(crate) struct Feature {
    name: &'static str,
    state: AtomicU8,
    /// Until it was seen to work it is tried once at a time: each refusal is a 5xx, and several in a row look like a
    /// service that fails.
    first: Mutex<()>,
}

impl Feature {
    fn new(name: &'static str, on: bool) -> Self {
        Self { name, state: AtomicU8::new(if on { UNPROVEN } else { OFF }), first: Mutex::default() }
    }

    pub(crate) fn is_on(&self) -> bool {
        self.state.load(Ordering::Relaxed) != OFF
    }

    pub(crate) fn is_proven(&self) -> bool {
        self.state.load(Ordering::Relaxed) == PROVEN
    }

    fn prove(&self) {
        // Once off, it stays so for the run.
        let _ = self.state.compare_exchange(UNPROVEN, PROVEN, Ordering::Relaxed, Ordering::Relaxed);
    }

    pub(crate) fn turn_off(&self, answer: &Answer) {
        if self.state.swap(OFF, Ordering::Relaxed) != OFF {
            tracing::warn!(
                feature = self.name,
                http.response.status_code = answer.status(),
                "the SCIM service lacks a feature: done in another way from now on"
            );
        }
    }
}

/// A number of things at once, which shrinks where it is too many.
#[derive(Debug)]
pub(crate) struct Size(AtomicUsize);

impl Size {
    fn new(size: usize) -> Self {
        Self(AtomicUsize::new(size.max(1)))
    }

    pub(crate) fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// So many were too many. Answers whether fewer can be tried.
    pub(crate) fn too_many(&self, count: usize) -> bool {
        self.0.fetch_min((count / 2).max(1), Ordering::Relaxed);
        count > 1
    }
}

/// What is known about a service.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) abilities: Abilities,
    pub(crate) patch: Feature,
    pub(crate) bulk: Feature,
    pub(crate) filter: Feature,
    pub(crate) sort: Feature,
    pub(crate) page: Size,
    pub(crate) members: Size,
    pub(crate) operations: Size,
}

impl Known {
    pub(crate) fn new(abilities: Abilities, sizes: &Sizes) -> Self {
        let at_most = |told: Option<usize>, chosen: usize| Size::new(told.unwrap_or(chosen).min(chosen));
        let told_page = abilities.page_resources_max.map(|max| max as usize);
        Self {
            patch: Feature::new("patch", abilities.patch),
            bulk: Feature::new("bulk", abilities.bulk.is_some()),
            filter: Feature::new("filter", abilities.filter),
            sort: Feature::new("sort", abilities.sort),
            page: at_most(told_page, sizes.page_resources_max),
            members: Size::new(sizes.members_max),
            operations: at_most(abilities.bulk.map(|bulk| bulk.operations_max), sizes.bulk_operations_max),
            abilities,
        }
    }

    pub(crate) fn abilities_now(&self) -> Abilities {
        Abilities {
            patch: self.patch.is_on(),
            bulk: self.abilities.bulk.filter(|_| self.bulk.is_on()),
            filter: self.filter.is_on(),
            sort: self.sort.is_on(),
            ..self.abilities.clone()
        }
    }
}

impl Scim {
    /// Sends a request that needs a feature. `None` where the service lacks it, as far as is known or by this answer.
    pub(crate) async fn try_feature(
        &self,
        feature: &Feature,
        request: Request,
        lacks: fn(&Answer) -> bool,
    ) -> Result<Option<Answer>, Fault> {
        let _alone = if feature.is_proven() { None } else { Some(feature.first.lock().await) };
        if !feature.is_on() {
            return Ok(None);
        }
        let answer = self.send(request).await?;
        if lacks(&answer) {
            feature.turn_off(&answer);
            return Ok(None);
        }
        if answer.is_success() {
            feature.prove();
        }
        Ok(Some(answer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    #[test]
    fn what_is_off_stays_off() {
        let feature = Feature::new("patch", true);
        assert!(feature.is_on() && !feature.is_proven());
        feature.prove();
        assert!(feature.is_on() && feature.is_proven());
        feature.turn_off(&fixtures::answer("098-me"));
        feature.prove();
        assert!(!feature.is_on() && !feature.is_proven());
        assert!(!Feature::new("bulk", false).is_on());
    }

    #[test]
    fn sizes_shrink_to_one_and_never_grow() {
        let size = Size::new(100);
        assert!(size.too_many(100));
        assert_eq!(size.get(), 50);
        assert!(size.too_many(100), "another one of the same size, which was on its way");
        assert_eq!(size.get(), 50);
        assert!(size.too_many(3) && size.get() == 1);
        assert!(!size.too_many(1));
        assert_eq!((size.get(), Size::new(0).get()), (1, 1));
    }

    #[test]
    fn both_bounds_are_kept() {
        let config = fixtures::answer("001-service-provider-config").json().unwrap();
        let abilities = Abilities::read(Some(&config), None, &crate::Overrides::default());
        let sizes = Sizes { page_resources_max: 5_000, bulk_operations_max: 5_000, ..Sizes::default() };
        let known = Known::new(abilities.clone(), &sizes);
        assert_eq!((known.page.get(), known.operations.get()), (1_000, 1_000));
        let known = Known::new(abilities.clone(), &Sizes::default());
        assert_eq!((known.page.get(), known.operations.get(), known.members.get()), (200, 100, 100));
        known.bulk.turn_off(&fixtures::answer("098-me"));
        assert_eq!(known.abilities_now(), Abilities { bulk: None, ..abilities });
    }
}

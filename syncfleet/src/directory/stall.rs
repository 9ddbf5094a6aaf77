//! Whether a first sync that is watched stands still for good. Pure.

use flows::directory::first_sync::Phase;
use uuid::Uuid;

use super::standing::Course;

/// Looks at a dead letter without any progress that are taken for the end. Whoever has just asked for the first sync once
/// more has published a message of its own, and the letter stays open until that one has succeeded.
const LOOKS_MAX: u32 = 15;

/// What was seen last.
#[derive(Debug, Default)]
pub struct Stall {
    seen: Option<(Phase, u64)>,
    looks: u32,
}

impl Stall {
    /// Takes a look; answers whether nobody goes on with it.
    pub fn is_for_good(&mut self, course: &Course, dead_letter: Option<Uuid>) -> bool {
        let seen = (course.phase, course.done);
        let stands = dead_letter.is_some() && self.seen == Some(seen);
        self.looks = if stands { self.looks + 1 } else { 0 };
        self.seen = Some(seen);
        self.looks >= LOOKS_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flows::directory::first_sync::{Begin, Request, begin};

    fn course(done: u64) -> Course {
        let now = "2026-11-20T12:00:00Z".parse().unwrap();
        let request = Request { id: "0192f0c1", by: "anna", again: false, now };
        let Begin::Start(sync) = begin(None, &request) else { panic!("nothing was there") };
        Course { done, ..Course::of(&sync, now) }
    }

    #[test]
    fn a_dead_letter_without_progress_is_the_end() {
        let letter = Some(Uuid::from_u128(7));
        let mut stall = Stall::default();
        let looks = (0..100).take_while(|_| !stall.is_for_good(&course(5), letter)).count();
        assert_eq!(looks, 15);
    }

    #[test]
    fn whatever_goes_on_or_only_waits_is_not() {
        let letter = Some(Uuid::from_u128(7));
        let mut stall = Stall::default();
        assert!((0..100).all(|done| !stall.is_for_good(&course(done), letter)));
        assert!((0..100).all(|_| !stall.is_for_good(&course(100), None)));
        assert!((0..14).all(|_| !stall.is_for_good(&course(100), letter)));
        assert!(!stall.is_for_good(&course(101), letter), "a replay goes on with it");
        assert!((0..14).all(|_| !stall.is_for_good(&course(101), letter)));
        assert!(stall.is_for_good(&course(101), letter));
    }
}

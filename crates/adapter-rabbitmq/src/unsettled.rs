//! The deliveries of one channel that are unsettled, and the fewest acknowledgements that settle some. Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;

/// One acknowledgement as the broker gets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ack {
    /// The delivery.
    pub(crate) tag: u64,
    /// Also of everything that was delivered before.
    pub(crate) and_before: bool,
}

/// By delivery tag, which rises: when each was published, as far as that is known.
#[derive(Debug, Default)]
pub(crate) struct Unsettled(BTreeMap<u64, Option<Timestamp>>);

impl Unsettled {
    /// Takes note of a delivery.
    pub(crate) fn add(&mut self, tag: u64, published_at: Option<Timestamp>) {
        self.0.insert(tag, published_at);
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// When the oldest of them was published.
    pub(crate) fn oldest(&self) -> Option<Timestamp> {
        self.0.values().flatten().min().copied()
    }

    /// Settles deliveries; answers the fewest acknowledgements that say so, and of no other.
    pub(crate) fn settle(&mut self, tags: &[u64]) -> Vec<Ack> {
        for tag in tags {
            self.0.remove(tag);
        }
        let first = self.0.first_key_value().map_or(u64::MAX, |(tag, _)| *tag);
        let (before, beyond): (Vec<u64>, Vec<u64>) = tags.iter().partition(|tag| **tag < first);
        let before = before.into_iter().max().map(|tag| Ack { tag, and_before: true });
        before.into_iter().chain(beyond.into_iter().map(|tag| Ack { tag, and_before: false })).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_acknowledgement_is_enough_up_to_the_first_that_is_unsettled() {
        let mut unsettled = Unsettled::default();
        (1..=6).for_each(|tag| unsettled.add(tag, None));
        let ack = |tag, and_before| Ack { tag, and_before };
        assert_eq!(unsettled.settle(&[2]), [ack(2, false)]);
        assert_eq!(unsettled.settle(&[3, 1, 5]), [ack(3, true), ack(5, false)]);
        assert_eq!(unsettled.settle(&[6, 4]), [ack(6, true)]);
        unsettled.add(7, None);
        assert_eq!(unsettled.settle(&[7]), [ack(7, true)]);
    }

    #[test]
    fn what_is_held_is_counted_until_it_is_settled() {
        let mut unsettled = Unsettled::default();
        let at = |second| Timestamp::from_second(second).ok();
        [at(9), None, at(5)]
            .into_iter()
            .zip(1..)
            .for_each(|(published_at, tag)| unsettled.add(tag, published_at));
        assert_eq!((unsettled.len(), unsettled.oldest()), (3, at(5)));
        unsettled.settle(&[3]);
        assert_eq!((unsettled.len(), unsettled.oldest()), (2, at(9)));
        unsettled.settle(&[1]);
        assert_eq!((unsettled.len(), unsettled.oldest()), (1, None));
    }

    proptest! {
        /// The broker closes the channel over an acknowledgement that it does not wait for.
        #[test]
        fn what_is_settled_is_acknowledged_once_and_nothing_else_is(
            batches in proptest::collection::vec(proptest::collection::vec(0usize..8, 1..6), 1..60),
        ) {
            let (mut unsettled, mut broker, mut open) = (Unsettled::default(), BTreeSet::new(), Vec::new());
            let mut delivered = 0;
            for batch in batches {
                while open.len() < 8 {
                    delivered += 1;
                    unsettled.add(delivered, None);
                    broker.insert(delivered);
                    open.push(delivered);
                }
                // The broker has sent another one, which nobody has taken note of yet.
                broker.insert(delivered + 1);
                let mut tags = Vec::new();
                for choice in batch {
                    if choice < open.len() {
                        tags.push(open.swap_remove(choice));
                    }
                }
                for ack in unsettled.settle(&tags) {
                    prop_assert!(broker.contains(&ack.tag), "{} is not waited for", ack.tag);
                    broker.retain(|tag| *tag != ack.tag && !(ack.and_before && *tag < ack.tag));
                }
                let expected: BTreeSet<u64> = open.iter().copied().chain([delivered + 1]).collect();
                prop_assert_eq!(&broker, &expected);
                prop_assert_eq!(unsettled.len(), open.len());
            }
        }
    }
}

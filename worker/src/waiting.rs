//! Which key runs next: messages of one key are gathered while the key runs, and handled together by its next
//! run. Pure.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::Hash;

/// Messages `M` of a shard, by key `K`.
#[derive(Debug)]
pub struct Waiting<K, M> {
    by_key: HashMap<K, Vec<M>>,
    order: VecDeque<K>,
    running: HashSet<K>,
}

impl<K: Hash + Eq + Clone, M> Default for Waiting<K, M> {
    fn default() -> Self {
        Self { by_key: HashMap::new(), order: VecDeque::new(), running: HashSet::new() }
    }
}

impl<K: Hash + Eq + Clone, M> Waiting<K, M> {
    /// Takes a message in.
    pub fn push(&mut self, key: K, message: M) {
        let waiting = self.by_key.entry(key.clone()).or_default();
        if waiting.is_empty() {
            self.order.push_back(key);
        }
        waiting.push(message);
    }

    /// The next key that may run, with all its waiting messages; the key runs until [`Self::finished`].
    pub fn start_next(&mut self) -> Option<(K, Vec<M>)> {
        let at = self.order.iter().position(|key| !self.running.contains(key))?;
        let key = self.order.remove(at)?;
        let messages = self.by_key.remove(&key)?;
        self.running.insert(key.clone());
        Some((key, messages))
    }

    /// Whether a key waits that does not run.
    pub fn may_start(&self) -> bool {
        self.order.iter().any(|key| !self.running.contains(key))
    }

    /// The key's run is over.
    pub fn finished(&mut self, key: &K) {
        self.running.remove(key);
    }

    /// How many keys run.
    pub fn running(&self) -> usize {
        self.running.len()
    }

    /// Takes out everything that waits and has not started.
    pub fn take_all(&mut self) -> Vec<M> {
        self.order.clear();
        self.by_key.drain().flat_map(|(_, messages)| messages).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn messages_that_arrive_during_a_run_share_the_next_one() {
        let mut waiting = Waiting::default();
        waiting.push("a", 1);
        assert_eq!(waiting.start_next(), Some(("a", vec![1])));
        waiting.push("a", 2);
        waiting.push("b", 3);
        waiting.push("a", 4);
        assert_eq!(waiting.start_next(), Some(("b", vec![3])));
        assert_eq!(waiting.start_next(), None);
        waiting.finished(&"a");
        assert_eq!(waiting.start_next(), Some(("a", vec![2, 4])));
    }

    proptest! {
        #[test]
        fn no_key_runs_twice_at_once_and_nothing_is_lost(steps in proptest::collection::vec((0u8..4, 0u8..6), 1..300)) {
            let mut waiting = Waiting::default();
            let (mut pushed, mut seen, mut running) = (0usize, 0usize, HashSet::new());
            for (step, key) in steps {
                match step {
                    0 | 1 => {
                        waiting.push(key, ());
                        pushed += 1;
                    }
                    2 => if let Some((key, messages)) = waiting.start_next() {
                        prop_assert!(running.insert(key), "key {} ran twice at once", key);
                        seen += messages.len();
                    },
                    _ => if running.remove(&key) {
                        waiting.finished(&key);
                    },
                }
                prop_assert_eq!(waiting.running(), running.len());
            }
            prop_assert_eq!(seen + waiting.take_all().len(), pushed);
        }
    }
}

//! Which key runs next: messages of one key are gathered while the key runs, and handled together by its next
//! run. Pure.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::Hash;
use std::time::{Duration, Instant};

/// Messages `M` of a shard, by key `K`.
///
/// A key rests from the beginning of its run until `rest` is over, so that a burst of messages costs few runs,
/// however short each of them is. What is remembered of that is bounded by the runs begun within one rest.
#[derive(Debug)]
pub struct Waiting<K, M> {
    rest: Duration,
    by_key: HashMap<K, Vec<M>>,
    /// Keys with messages that may start now.
    ready: VecDeque<K>,
    running: HashSet<K>,
    resting: HashSet<K>,
    /// When each rest ends, the next one first.
    rests: VecDeque<(Instant, K)>,
}

impl<K: Hash + Eq + Clone, M> Waiting<K, M> {
    /// Nothing waits; two runs of one key begin at least `rest` apart.
    pub fn new(rest: Duration) -> Self {
        Self {
            rest,
            by_key: HashMap::new(),
            ready: VecDeque::new(),
            running: HashSet::new(),
            resting: HashSet::new(),
            rests: VecDeque::new(),
        }
    }

    /// Takes a message in; answers all that wait for the key's next run, of which one at least must stay.
    pub fn push(&mut self, key: K, message: M) -> &mut Vec<M> {
        if !self.by_key.contains_key(&key) && self.is_idle(&key) {
            self.ready.push_back(key.clone());
        }
        let messages = self.by_key.entry(key).or_default();
        messages.push(message);
        messages
    }

    /// The next key that may run, with all its waiting messages; the key runs until [`Self::finished`].
    pub fn start_next(&mut self, now: Instant) -> Option<(K, Vec<M>)> {
        self.wake(now);
        let key = self.ready.pop_front()?;
        let messages = self.by_key.remove(&key)?;
        self.running.insert(key.clone());
        if !self.rest.is_zero() {
            self.resting.insert(key.clone());
            self.rests.push_back((now + self.rest, key.clone()));
        }
        Some((key, messages))
    }

    /// Whether a key may start.
    pub fn may_start(&self) -> bool {
        !self.ready.is_empty()
    }

    /// The key's run is over.
    pub fn finished(&mut self, key: &K) {
        self.running.remove(key);
        self.ready_if_waiting(key);
    }

    /// Ends the rests that are over.
    pub fn wake(&mut self, now: Instant) {
        while let Some((_, key)) = self.rests.pop_front_if(|(end, _)| *end <= now) {
            self.resting.remove(&key);
            self.ready_if_waiting(&key);
        }
    }

    /// When to [`Self::wake`]; `None` while no message waits for the end of a rest.
    pub fn next_wake(&self) -> Option<Instant> {
        let all_ready_or_running = self.by_key.len() <= self.ready.len();
        self.rests.front().filter(|_| !all_ready_or_running).map(|(end, _)| *end)
    }

    /// Takes out what waits and is meant.
    pub fn take(&mut self, is_meant: impl Fn(&M) -> bool) -> Vec<M> {
        let mut taken = Vec::new();
        self.by_key.retain(|_, messages| {
            taken.extend(messages.extract_if(.., |message| is_meant(message)));
            !messages.is_empty()
        });
        let by_key = &self.by_key;
        self.ready.retain(|key| by_key.contains_key(key));
        taken
    }

    /// Takes out everything that waits and has not started.
    pub fn take_all(&mut self) -> Vec<M> {
        self.ready.clear();
        self.by_key.drain().flat_map(|(_, messages)| messages).collect()
    }

    fn is_idle(&self, key: &K) -> bool {
        !self.running.contains(key) && !self.resting.contains(key)
    }

    fn ready_if_waiting(&mut self, key: &K) {
        if self.is_idle(key) && self.by_key.contains_key(key) {
            self.ready.push_back(key.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const REST: Duration = Duration::from_secs(2);

    #[test]
    fn messages_that_arrive_during_a_run_share_the_next_one() {
        let now = Instant::now();
        let mut waiting = Waiting::new(Duration::ZERO);
        waiting.push("a", 1);
        assert_eq!(waiting.start_next(now), Some(("a", vec![1])));
        waiting.push("a", 2);
        waiting.push("b", 3);
        waiting.push("a", 4);
        assert_eq!(waiting.start_next(now), Some(("b", vec![3])));
        assert_eq!(waiting.start_next(now), None);
        waiting.finished(&"a");
        assert_eq!(waiting.start_next(now), Some(("a", vec![2, 4])));
    }

    #[test]
    fn a_key_rests_from_the_beginning_of_its_run_and_others_do_not_wait_for_it() {
        let begin = Instant::now();
        let mut waiting = Waiting::new(REST);
        waiting.push("a", 1);
        assert!(waiting.start_next(begin).is_some());
        assert_eq!(waiting.next_wake(), None, "nothing waits");
        waiting.finished(&"a");
        waiting.push("a", 2);
        assert!(!waiting.may_start());
        assert_eq!(waiting.next_wake(), Some(begin + REST));
        waiting.push("b", 3);
        assert_eq!(waiting.start_next(begin + REST / 2), Some(("b", vec![3])));
        waiting.wake(begin + REST);
        assert_eq!(waiting.start_next(begin + REST), Some(("a", vec![2])));
        assert_eq!(waiting.next_wake(), None);
    }

    proptest! {
        #[test]
        fn no_key_runs_twice_at_once_or_too_soon_and_nothing_is_lost(
            steps in proptest::collection::vec((0u8..6, 0u8..6), 1..300), rest_ms in 0u64..4,
        ) {
            let (mut now, rest) = (Instant::now(), Duration::from_millis(rest_ms));
            let mut waiting = Waiting::new(rest);
            let (mut pushed, mut seen) = (0usize, 0usize);
            let (mut running, mut begun) = (HashSet::new(), HashMap::new());
            for (step, key) in steps {
                match step {
                    0 | 1 => {
                        waiting.push(key, key);
                        pushed += 1;
                    }
                    2 => if let Some((key, messages)) = waiting.start_next(now) {
                        prop_assert!(running.insert(key), "key {} ran twice at once", key);
                        if let Some(last) = begun.insert(key, now) {
                            prop_assert!(now - last >= rest, "key {} ran again too soon", key);
                        }
                        seen += messages.len();
                    },
                    3 => now += Duration::from_millis(1),
                    4 => pushed -= waiting.take(|taken| *taken == key).len(),
                    _ => if running.remove(&key) {
                        waiting.finished(&key);
                    },
                }
            }
            for key in running {
                waiting.finished(&key);
            }
            // Whatever waits is started by and by, woken when it said so.
            while seen < pushed {
                now = waiting.next_wake().unwrap_or(now).max(now);
                let Some((key, messages)) = waiting.start_next(now) else {
                    prop_assert!(waiting.next_wake().is_some_and(|at| at > now), "nobody would wake it");
                    continue;
                };
                waiting.finished(&key);
                seen += messages.len();
            }
            prop_assert!(waiting.take_all().is_empty());
        }
    }
}

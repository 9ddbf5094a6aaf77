//! Where messages go: shards, queue names, and who serves which shard. Pure.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::record_key::{FlowName, RecordKey};

/// Most shards a flow may have.
pub const SHARDS_MAX: u16 = 256;

/// One shard of a flow: messages of one key always go to the same one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Shard {
    /// The flow.
    pub flow: FlowName,
    /// Number, from 0.
    pub number: u16,
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03}", self.flow, self.number)
    }
}

/// The shard of a key among `shards` of its flow: a stable hash, the same in every program and version.
pub fn shard_of(key: &RecordKey, shards: u16) -> Shard {
    let number = hash(&[key.flow().as_str(), key.id()]) % u64::from(shards.clamp(1, SHARDS_MAX));
    Shard { flow: key.flow().clone(), number: u16::try_from(number).unwrap_or(0) }
}

/// All shards of a flow.
pub fn shards_of(flow: &FlowName, shards: u16) -> impl Iterator<Item = Shard> + use<> {
    let flow = flow.clone();
    (0..shards.clamp(1, SHARDS_MAX)).map(move |number| Shard { flow: flow.clone(), number })
}

/// Who of `members` serves `shard`, by rendezvous hashing: each worker computes the same answer, and a member
/// that joins or leaves moves only its own share. `None` when there are no members.
pub fn server_of<'m>(shard: &Shard, members: &'m [String]) -> Option<&'m String> {
    members.iter().max_by_key(|member| (hash(&[&shard.to_string(), member.as_str()]), member.as_str()))
}

fn hash(parts: &[&str]) -> u64 {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part.as_bytes());
        hasher.update([0]);
    }
    let digest = hasher.finalize();
    digest.iter().take(8).fold(0, |sum, byte| (sum << 8) | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parties() -> FlowName {
        FlowName::new("parties").unwrap()
    }

    #[test]
    fn the_hash_is_stable_over_versions() {
        let numbers: Vec<u16> = ["a", "b", "6b00526cc80a09e94"]
            .iter()
            .map(|id| shard_of(&RecordKey::new(parties(), *id).unwrap(), 16).number)
            .collect();
        insta::assert_debug_snapshot!(numbers, @"
        [
            14,
            2,
            2,
        ]
        ");
    }

    #[test]
    fn keys_spread_over_shards_and_shards_over_members() {
        let mut per_shard = [0u32; 16];
        for n in 0..16_000 {
            per_shard
                [usize::from(shard_of(&RecordKey::new(parties(), n.to_string()).unwrap(), 16).number)] += 1;
        }
        assert!(per_shard.iter().all(|n| (800..1_200).contains(n)), "{per_shard:?}");
        let members: Vec<String> = (0..4).map(|n| format!("worker-{n}")).collect();
        for member in &members {
            let share = shards_of(&parties(), 256).filter(|s| server_of(s, &members) == Some(member)).count();
            assert!((40..90).contains(&share), "{member}: {share}");
        }
    }

    proptest! {
        #[test]
        fn a_member_that_leaves_moves_only_its_share(count in 2usize..20, leaver in 0usize..20) {
            let members: Vec<String> = (0..count).map(|n| format!("worker-{n}")).collect();
            let gone = members[leaver % count].clone();
            let rest: Vec<String> = members.iter().filter(|m| **m != gone).cloned().collect();
            for shard in shards_of(&parties(), 16) {
                let before = server_of(&shard, &members);
                if before != Some(&gone) {
                    prop_assert_eq!(before, server_of(&shard, &rest));
                }
            }
        }
    }
}

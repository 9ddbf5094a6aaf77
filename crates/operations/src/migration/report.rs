//! What was found on both sides.

use serde::Serialize;
use sha2::{Digest as _, Sha256};

/// A count and a checksum that does not depend on the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Sum {
    pub(super) count: u64,
    pub(super) checksum: u64,
}

impl Sum {
    /// Counts one in, which consists of these parts.
    pub(super) fn add(&mut self, parts: &[&[u8]]) {
        let mut hasher = Sha256::new();
        for part in parts {
            hasher.update((part.len() as u64).to_be_bytes());
            hasher.update(part);
        }
        let digest = hasher.finalize();
        let number = digest.iter().take(8).fold(0, |sum, byte| (sum << 8) | u64::from(*byte));
        self.count += 1;
        self.checksum = self.checksum.wrapping_add(number);
    }

    pub(super) fn plus(self, other: Self) -> Self {
        let checksum = self.checksum.wrapping_add(other.checksum);
        Self { count: self.count + other.count, checksum }
    }

    fn text(self) -> String {
        format!("{:016x}", self.checksum)
    }
}

/// One kind of thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    /// Which kind.
    pub kind: String,
    /// How many there are, or were, in the source.
    pub from: u64,
    /// How many there are in the target; `None` before anything was moved.
    pub to: Option<u64>,
    /// The checksum of those in the source.
    pub checksum_from: Option<String>,
    /// The checksum of those in the target, where they can be read.
    pub checksum_to: Option<String>,
    /// What else is to be known; may be empty.
    pub note: String,
    /// Whether both are the same.
    pub equal: bool,
}

impl Line {
    pub(super) fn counted(kind: String, from: u64) -> Self {
        let (to, checksum_from, checksum_to) = (None, None, None);
        Self { kind, from, to, checksum_from, checksum_to, note: String::new(), equal: true }
    }

    pub(super) fn compared(kind: String, from: Sum, to: Sum) -> Self {
        Self {
            to: Some(to.count),
            checksum_from: Some(from.text()),
            checksum_to: Some(to.text()),
            equal: from == to,
            ..Self::counted(kind, from.count)
        }
    }

    /// What can be read once only: `count` are in the target, `range` are expected.
    pub(super) fn moved(
        kind: String,
        moved: Sum,
        count: u64,
        range: std::ops::RangeInclusive<u64>,
        note: String,
    ) -> Self {
        Self {
            to: Some(count),
            checksum_from: Some(moved.text()),
            note,
            equal: range.contains(&count),
            ..Self::counted(kind, moved.count)
        }
    }
}

/// All kinds.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Report {
    /// The kinds.
    pub lines: Vec<Line>,
}

impl Report {
    /// Whether both sides have the same of everything.
    pub fn is_equal(&self) -> bool {
        self.lines.iter().all(|line| line.equal)
    }
}

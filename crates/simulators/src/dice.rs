//! Seeded random numbers whose sequence never changes with a library's version, so that a printed
//! seed replays a failure for ever (SplitMix64).

/// A source of repeatable random numbers.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// The same seed gives the same sequence.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from 0 to `end - 1`; 0 when `end` is 0.
    pub fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.roll() % end).unwrap_or(0)
    }

    /// True with the given probability (0 to 1).
    pub fn chance(&mut self, probability: f64) -> bool {
        const STEPS: u32 = 1 << 30;
        let step = u32::try_from(self.roll() % u64::from(STEPS)).unwrap_or(0);
        f64::from(step) < probability * f64::from(STEPS)
    }

    /// One of the options, or the default value when there is none.
    pub fn pick<T: Clone + Default>(&mut self, options: &[T]) -> T {
        options.get(self.below(options.len())).cloned().unwrap_or_default()
    }
}

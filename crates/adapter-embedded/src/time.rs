//! Times and numbers as the database keeps them.

use jiff::Timestamp;

/// Microseconds, rounded down: for the present time.
pub(crate) fn floor(at: Timestamp) -> i64 {
    clamp(at.as_nanosecond().div_euclid(1_000))
}

/// Microseconds, rounded up: for times before which something must not happen.
pub(crate) fn ceil(at: Timestamp) -> i64 {
    clamp(-(-at.as_nanosecond()).div_euclid(1_000))
}

/// The time of a column.
pub(crate) fn timestamp(micros: i64) -> Timestamp {
    Timestamp::from_microsecond(micros).unwrap_or(if micros < 0 { Timestamp::MIN } else { Timestamp::MAX })
}

/// A count or version for a column; beyond the column's range it is the largest there is.
pub(crate) fn column(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A count or version of a column.
pub(crate) fn number(column: i64) -> u64 {
    u64::try_from(column).unwrap_or(0)
}

fn clamp(number: i128) -> i64 {
    i64::try_from(number).unwrap_or(if number < 0 { i64::MIN } else { i64::MAX })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_never_makes_anything_early() {
        let at = |nanos| Timestamp::from_nanosecond(nanos).unwrap();
        assert_eq!((floor(at(1_999)), ceil(at(1_001))), (1, 2));
        assert_eq!((floor(at(2_000)), ceil(at(2_000))), (2, 2));
        assert_eq!((floor(at(-1)), ceil(at(-1))), (-1, 0));
        assert!(timestamp(ceil(Timestamp::MAX)) <= Timestamp::MAX);
        assert_eq!(timestamp(floor(Timestamp::UNIX_EPOCH)), Timestamp::UNIX_EPOCH);
    }
}

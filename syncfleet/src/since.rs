//! "Since when", as people say it: an age or a time. Pure.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// Since when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// So long ago.
    Age(Duration),
    /// At this time.
    Time(Timestamp),
}

impl Since {
    /// The moment that is meant, seen from `now`.
    pub fn before(self, now: Timestamp) -> Timestamp {
        match self {
            Self::Time(time) => time,
            Self::Age(age) => SignedDuration::try_from(age)
                .ok()
                .and_then(|age| now.checked_sub(age).ok())
                .unwrap_or(Timestamp::MIN),
        }
    }
}

/// Reads an age (`90s`, `30m`, `24h`, `7d`, `2w`) or a time (RFC 3339).
///
/// # Errors
/// What would be understood.
pub fn parse(text: &str) -> Result<Since, String> {
    if let Ok(time) = text.parse() {
        return Ok(Since::Time(time));
    }
    let expected =
        || "expected an age such as 30m, 24h, 7d, or a time such as 2026-11-20T09:00:00Z".to_owned();
    let split = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(expected)?;
    let (count, unit) = text.split_at(split);
    let count: u64 = count.parse().map_err(|_| expected())?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        "w" => 604_800,
        _ => return Err(expected()),
    };
    count.checked_mul(seconds).map(|seconds| Since::Age(Duration::from_secs(seconds))).ok_or_else(expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_and_times_are_understood_and_nothing_else() {
        let now: Timestamp = "2026-11-20T12:00:00Z".parse().unwrap();
        for (text, expected) in [
            ("90s", "2026-11-20T11:58:30Z"),
            ("30m", "2026-11-20T11:30:00Z"),
            ("24h", "2026-11-19T12:00:00Z"),
            ("7d", "2026-11-13T12:00:00Z"),
            ("2026-11-01T00:00:00Z", "2026-11-01T00:00:00Z"),
            ("99999999w", "-009999-01-02T01:59:59Z"),
        ] {
            assert_eq!(parse(text).unwrap().before(now), expected.parse::<Timestamp>().unwrap(), "{text}");
        }
        for text in ["", "h", "5", "5 h", "-5h", "yesterday", "99999999999999999999h"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}

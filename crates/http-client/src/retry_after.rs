//! `Retry-After` (RFC 9110, section 10.2.3): seconds, or a date. Microsoft Graph sends fractions of seconds as well.

use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::rfc2822;

/// Longest wait that is taken from an upstream; a longer wish is cut to it.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// How long to wait, at most [`RETRY_AFTER_MAX`] and never less than was asked for below that. A date is
/// compared with `now`: take the answer's own `Date`, where it has one, since clocks differ. `None` when the text
/// is neither.
pub fn parse(text: &str, now: Timestamp) -> Option<Duration> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        let seconds = text.parse().unwrap_or(u64::MAX);
        return Some(Duration::from_secs(seconds).min(RETRY_AFTER_MAX));
    }
    if let Some(wait) = fraction(text) {
        return Some(wait.min(RETRY_AFTER_MAX));
    }
    let wait = parse_date(text)?.duration_since(now);
    Some(Duration::try_from(wait).unwrap_or(Duration::ZERO).min(RETRY_AFTER_MAX))
}

/// `2.128`, as whole milliseconds, never less than was asked for.
fn fraction(text: &str) -> Option<Duration> {
    let (seconds, part) = text.split_once('.')?;
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !is_number(seconds) || !is_number(part) {
        return None;
    }
    let millis: u64 = format!("{part:0<3}").get(..3)?.parse().ok()?;
    let up = u64::from(part.bytes().skip(3).any(|b| b != b'0'));
    let seconds = Duration::from_secs(seconds.parse().unwrap_or(u64::MAX));
    Some(seconds.saturating_add(Duration::from_millis(millis + up)))
}

/// Reads an HTTP date in its preferred form, such as `Fri, 20 Nov 2026 14:20:28 GMT`.
pub fn parse_date(text: &str) -> Option<Timestamp> {
    rfc2822::DateTimeParser::new().parse_timestamp(text.trim()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(text: &str, expected_seconds: Option<u64>) {
        let now = "2026-11-20T14:20:28Z".parse().unwrap();
        assert_eq!(parse(text, now), expected_seconds.map(Duration::from_secs), "{text:?}");
    }

    #[test]
    fn seconds_and_dates_are_read_and_everything_else_refused() {
        check("0", Some(0));
        check(" 120 ", Some(120));
        check("Fri, 20 Nov 2026 14:22:28 GMT", Some(120));
        check("Fri, 20 Nov 2026 14:00:00 GMT", Some(0));
        check("99999999999999999999999999", Some(86_400));
        check("Fri, 20 Nov 2099 14:22:28 GMT", Some(86_400));
        for bad in ["", "soon", "-1", "1.", ".5", "1.5.2", "1,5", "12 s", "2026-11-20"] {
            check(bad, None);
        }
    }

    #[test]
    fn fractions_of_a_second_are_never_shortened() {
        let wait = |text| parse(text, Timestamp::UNIX_EPOCH).unwrap().as_millis();
        assert_eq!(
            (wait("2.128"), wait("1.5"), wait("0.0001"), wait("600.1280")),
            (2_128, 1_500, 1, 600_128)
        );
        assert_eq!(parse("99999999999999999999999.5", Timestamp::UNIX_EPOCH), Some(RETRY_AFTER_MAX));
    }

    #[test]
    fn a_fraction_of_our_clock_never_shortens_the_wait() {
        let now = "2026-11-20T14:20:28.001Z".parse().unwrap();
        assert_eq!(parse("Fri, 20 Nov 2026 14:20:29 GMT", now), Some(Duration::from_millis(999)));
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic_and_within_the_cap(text in "\\PC{0,40}", second in 0_i64..4_000_000_000) {
            let now = Timestamp::from_second(second).unwrap();
            if let Some(wait) = parse(&text, now) {
                prop_assert!(wait <= RETRY_AFTER_MAX);
            }
        }

        #[test]
        fn seconds_are_kept_exactly(seconds in 0_u64..=86_400) {
            prop_assert_eq!(parse(&seconds.to_string(), Timestamp::UNIX_EPOCH), Some(Duration::from_secs(seconds)));
        }
    }
}

//! How long to wait before another attempt. Pure but for the dice; waits for nothing itself.

use std::time::{Duration, SystemTime};

use http::HeaderMap;
use http::header::RETRY_AFTER;

/// No delay after a failure is shorter, whatever the server asks for: two sides that are eager would spin.
pub(super) const LEAST: Duration = Duration::from_millis(10);

/// Delays that double with each failure in a row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Backoff {
    /// The delay to begin with.
    pub(super) base: Duration,
    /// Where doubling ends; a longer `base` stands all the same.
    pub(super) most: Duration,
}

impl Backoff {
    /// The delay after so many failures in a row: `base` after none; else doubled for each, of which a part between half
    /// and all is taken by `chance` (0 to 1), so that clients that failed together do not come back together.
    pub(super) fn delay(&self, failures: u32, chance: f64) -> Duration {
        let base = self.base.max(LEAST);
        if failures == 0 {
            return base;
        }
        let doubled = base.checked_mul(1_u32.checked_shl(failures).unwrap_or(u32::MAX)).unwrap_or(Duration::MAX);
        let full = doubled.min(self.most.max(base));
        (full / 2 + (full / 2).mul_f64(chance.clamp(0.0, 1.0))).max(base)
    }
}

/// What `Retry-After` asks for (RFC 9110 10.2.3): seconds, or a date. A date in the past is no delay.
pub(crate) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::UNIX_EPOCH;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn delays_double_up_to_the_most_and_vary_by_half() {
        let backoff = Backoff { base: 3 * SECOND, most: 60 * SECOND };
        let least: Vec<_> = (0..8).map(|failures| backoff.delay(failures, 0.0).as_secs()).collect();
        let most: Vec<_> = (0..8).map(|failures| backoff.delay(failures, 1.0).as_secs()).collect();
        assert_eq!(least, [3, 3, 6, 12, 24, 30, 30, 30]);
        assert_eq!(most, [3, 6, 12, 24, 48, 60, 60, 60]);
        for failures in [31, 32, 33, u32::MAX] {
            assert_eq!(backoff.delay(failures, 1.0), 60 * SECOND);
        }
    }

    #[test]
    fn a_base_beyond_the_most_stands_and_none_at_all_does_not_spin() {
        let slow = Backoff { base: 90 * SECOND, most: 60 * SECOND };
        assert_eq!((slow.delay(0, 0.5), slow.delay(9, 0.5)), (90 * SECOND, 90 * SECOND));
        let eager = Backoff { base: Duration::ZERO, most: Duration::ZERO };
        assert_eq!((eager.delay(0, 0.0), eager.delay(5, 0.0)), (LEAST, LEAST));
        let endless = Backoff { base: Duration::MAX, most: Duration::MAX };
        assert_eq!(endless.delay(3, 1.0), Duration::MAX);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = UNIX_EPOCH + Duration::from_secs(784_111_777);
        for (value, expected) in [
            ("120", Some(120)),
            ("0", Some(0)),
            ("99999999999999999999", Some(u64::MAX)),
            ("Sun, 06 Nov 1994 08:49:57 GMT", Some(20)),
            ("Sun, 06 Nov 1994 08:49:07 GMT", Some(0)),
            ("-1", None),
            ("soon", None),
            ("", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, value.parse().unwrap());
            assert_eq!(retry_after(&headers, now), expected.map(Duration::from_secs), "{value}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }
}

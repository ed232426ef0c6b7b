//! Signatures of webhooks: whether an event was sent by Stripe, and lately. Pure: time is a parameter, nothing is sent.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::hex;

/// How far the time of a signature may be from ours unless something else is said.
pub const TOLERANCE: Duration = Duration::from_secs(300);

/// Why the signature of a webhook was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SignatureError {
    /// There is no secret, or one that is empty: anybody could sign with that.
    NoSecret,
    /// The header has no time, more than one, or no signature of the scheme `v1`.
    Malformed,
    /// None of the signatures is one of these secrets over this payload. The payload must be the very bytes that came.
    Mismatch,
    /// The signature is right and older than the tolerance: perhaps somebody sends it again.
    TooOld,
    /// The signature is right and of a time further ahead than the tolerance.
    TooNew,
}

impl fmt::Display for SignatureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoSecret => "there is no secret to verify the signature with",
            Self::Malformed => "the header `Stripe-Signature` has no time or no signature of the scheme v1",
            Self::Mismatch => "no signature is right for the payload; it must be the body as it came, byte by byte",
            Self::TooOld => "the signature is right but too old",
            Self::TooNew => "the signature is right but of a time that is yet to come",
        })
    }
}

impl std::error::Error for SignatureError {}

/// Verifies that the payload of a webhook was signed with one of the secrets, at a time no further from `now` than
/// `tolerance` (usually [`TOLERANCE`]).
///
/// `header` is the value of `Stripe-Signature`. Signatures of other schemes than `v1` are passed over; one that is right is
/// enough. They are compared in constant time.
///
/// # Errors
///
/// Why the payload is not to be trusted.
///
/// # Examples
///
/// ```
/// use marmot::stripe::webhook::{self, SignatureError};
/// use std::time::SystemTime;
///
/// let (payload, header) = (b"{}", "t=1760000000,v1=00");
/// let verdict = webhook::verify(payload, header, &["whsec_4711"], webhook::TOLERANCE, SystemTime::now());
/// assert_eq!(verdict, Err(SignatureError::Mismatch));
/// ```
pub fn verify<S: AsRef<str>>(
    payload: &[u8],
    header: &str,
    secrets: &[S],
    tolerance: Duration,
    now: SystemTime,
) -> Result<(), SignatureError> {
    if secrets.is_empty() || secrets.iter().any(|secret| secret.as_ref().is_empty()) {
        return Err(SignatureError::NoSecret);
    }
    let signed = Signed::parse(header).ok_or(SignatureError::Malformed)?;
    // None is left out when one was found: the time tells nothing of which secret it was.
    let matches = secrets.iter().filter(|secret| signed.is_by(secret.as_ref(), payload)).count();
    if matches == 0 {
        return Err(SignatureError::Mismatch);
    }
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let then = Duration::from_secs(signed.seconds);
    if now.saturating_sub(then) > tolerance {
        Err(SignatureError::TooOld)
    } else if then.saturating_sub(now) > tolerance {
        Err(SignatureError::TooNew)
    } else {
        Ok(())
    }
}

/// What the header says.
struct Signed<'a> {
    /// The time as it is signed.
    time: &'a str,
    seconds: u64,
    signatures: Vec<&'a str>,
}

impl<'a> Signed<'a> {
    fn parse(header: &'a str) -> Option<Self> {
        let entries = || header.split(',').filter_map(|entry| entry.trim().split_once('='));
        let values = |name: &'static str| entries().filter(move |(known, _)| *known == name).map(|(_, value)| value);
        let mut times = values("t");
        let time = times.next().filter(|time| time.bytes().all(|byte| byte.is_ascii_digit()))?;
        let signatures: Vec<_> = values("v1").collect();
        let is_whole = times.next().is_none() && !signatures.is_empty();
        is_whole.then_some(Self { time, seconds: time.parse().ok()?, signatures })
    }

    /// Whether one of the signatures was made with this secret.
    fn is_by(&self, secret: &str, payload: &[u8]) -> bool {
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else { return false };
        mac.update(self.time.as_bytes());
        mac.update(b".");
        mac.update(payload);
        // In constant time.
        let is_right =
            |text: &&&str| hex::decode::<32>(text).is_some_and(|bytes| mac.clone().verify_slice(&bytes).is_ok());
        self.signatures.iter().filter(is_right).count() > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_test";
    const PAYLOAD: &[u8] = br#"{"id": "evt_1", "object": "event"}"#;
    const TIME: u64 = 1_760_000_000;

    fn sign(secret: &str, time: &str, payload: &[u8]) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
        mac.update(time.as_bytes());
        mac.update(b".");
        mac.update(payload);
        hex::encode(&mac.finalize().into_bytes())
    }

    fn header(secret: &str) -> String {
        format!("t={TIME},v1={}", sign(secret, &TIME.to_string(), PAYLOAD))
    }

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn check(header: &str, secrets: &[&str], now: u64) -> Result<(), SignatureError> {
        verify(PAYLOAD, header, secrets, TOLERANCE, at(now))
    }

    #[test]
    fn a_signature_made_elsewhere_is_right() {
        // By `printf '1760000000.{"id": "evt_1"}' | openssl dgst -sha256 -hmac whsec_test`.
        let made = "88e27bad59013ce23d5e84af12638b657ad8b02d081d08cf6d13bc6e5d439857";
        let header = format!("t={TIME},v1={made}");
        assert_eq!(verify(br#"{"id": "evt_1"}"#, &header, &[SECRET], TOLERANCE, at(TIME)), Ok(()));
        assert_eq!(made, sign(SECRET, "1760000000", br#"{"id": "evt_1"}"#));
    }

    #[test]
    fn a_signature_is_for_its_payload_its_time_and_its_secret() {
        assert_eq!(check(&header(SECRET), &[SECRET], TIME), Ok(()));
        assert_eq!(check(&header(SECRET), &["whsec_tesT"], TIME), Err(SignatureError::Mismatch));
        let other = format!("{} ", String::from_utf8_lossy(PAYLOAD));
        let verdict = verify(other.as_bytes(), &header(SECRET), &[SECRET], TOLERANCE, at(TIME));
        assert_eq!(verdict, Err(SignatureError::Mismatch));
        let moved = header(SECRET).replace("t=1760000000", "t=1760000001");
        assert_eq!(check(&moved, &[SECRET], TIME), Err(SignatureError::Mismatch));
        let zeroes = header(SECRET).replace("t=1760000000", "t=01760000000");
        assert_eq!(check(&zeroes, &[SECRET], TIME), Err(SignatureError::Mismatch));
    }

    #[test]
    fn the_time_is_within_the_tolerance_on_both_sides() {
        for (now, verdict) in [
            (TIME, Ok(())),
            (TIME + 300, Ok(())),
            (TIME + 301, Err(SignatureError::TooOld)),
            (TIME - 300, Ok(())),
            (TIME - 301, Err(SignatureError::TooNew)),
            (0, Err(SignatureError::TooNew)),
        ] {
            assert_eq!(check(&header(SECRET), &[SECRET], now), verdict, "{now}");
        }
        // A wrong signature is a wrong one, whatever its time.
        assert_eq!(check(&header("other"), &[SECRET], TIME + 999), Err(SignatureError::Mismatch));
    }

    #[test]
    fn one_of_several_secrets_and_signatures_is_enough() {
        assert_eq!(check(&header(SECRET), &["old", SECRET], TIME), Ok(()));
        let zeroes = "0".repeat(64);
        let own = sign(SECRET, &TIME.to_string(), PAYLOAD);
        for header in [
            format!("t={TIME},v1={zeroes},v1={own}"),
            format!("v1={own},v0=x,t={TIME}"),
            format!("t={TIME}, v1={own}, v2=x"),
            format!("t={TIME},v1=short,v1={own},junk"),
            format!("t={TIME},v1={}", own.to_uppercase()),
        ] {
            assert_eq!(check(&header, &[SECRET], TIME), Ok(()), "{header}");
        }
        // The scheme v0 is for test events of old and proves nothing.
        assert_eq!(check(&format!("t={TIME},v0={own}"), &[SECRET], TIME), Err(SignatureError::Malformed));
        assert_eq!(check(&format!("t={TIME},v0={own},v1={zeroes}"), &[SECRET], TIME), Err(SignatureError::Mismatch));
    }

    #[test]
    fn headers_and_secrets_that_prove_nothing_are_refused() {
        let own = sign(SECRET, &TIME.to_string(), PAYLOAD);
        for header in [
            String::new(),
            format!("v1={own}"),
            format!("t={TIME}"),
            format!("t=,v1={own}"),
            format!("t=+{TIME},v1={own}"),
            format!("t=99999999999999999999999,v1={own}"),
            format!("t={TIME},t={TIME},v1={own}"),
        ] {
            assert_eq!(check(&header, &[SECRET], TIME), Err(SignatureError::Malformed), "{header}");
        }
        for wrong in [&own[..62], &own[..63], &format!("{own}00"), &own.replace(|_| true, "g"), "ä".repeat(32).as_str()]
        {
            assert_eq!(check(&format!("t={TIME},v1={wrong}"), &[SECRET], TIME), Err(SignatureError::Mismatch));
        }
        assert_eq!(check(&header(""), &[""], TIME), Err(SignatureError::NoSecret));
        assert_eq!(check(&header(SECRET), &[SECRET, ""], TIME), Err(SignatureError::NoSecret));
        assert_eq!(check(&header(SECRET), &[], TIME), Err(SignatureError::NoSecret));
    }
}

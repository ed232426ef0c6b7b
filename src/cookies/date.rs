//! Dates: the cookie-date of RFC 6265bis 5.1.1, and calendar arithmetic. Pure, knows no time zone but UTC.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

const DAY: i64 = 86_400;

/// A date and time of day in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Civil {
    pub(crate) year: i64,
    pub(crate) month: i64,
    pub(crate) day: i64,
    pub(crate) hour: i64,
    pub(crate) minute: i64,
    pub(crate) second: i64,
}

impl Civil {
    /// Seconds since 1970; `None` for a day or a time of day that does not exist. There are no leap seconds.
    pub(crate) fn unix_seconds(self) -> Option<i64> {
        let Self { year, month, day, hour, minute, second } = self;
        let exists = (1..=9999).contains(&year)
            && (1..=12).contains(&month)
            && (1..=days_of(year, month)).contains(&day)
            && (0..24).contains(&hour)
            && (0..60).contains(&minute)
            && (0..60).contains(&second);
        let days = days_before_year(year) - days_before_year(1970)
            + (1..month).map(|month| days_of(year, month)).sum::<i64>()
            + (day - 1);
        exists.then_some(days * DAY + hour * 3600 + minute * 60 + second)
    }

    /// The date of a number of seconds since 1970. Times beyond the years 1 to 9999 become the nearest that is inside.
    pub(crate) fn from_unix_seconds(seconds: i64) -> Self {
        let first = -days_before_year(1970) * DAY;
        let last = (days_before_year(10_000) - days_before_year(1970)) * DAY - 1;
        let seconds = seconds.clamp(first, last);
        let days = seconds.div_euclid(DAY) + days_before_year(1970);
        // No year is longer than 366 days, so the guess is never too late.
        let mut year = (days / 366).max(1);
        while days_before_year(year + 1) <= days {
            year += 1;
        }
        let mut day = days - days_before_year(year);
        let mut month = 1;
        while day >= days_of(year, month) {
            day -= days_of(year, month);
            month += 1;
        }
        let time = seconds.rem_euclid(DAY);
        Self { year, month, day: day + 1, hour: time / 3600, minute: time / 60 % 60, second: time % 60 }
    }
}

/// Days between the start of the year 1 and the start of `year`, in the Gregorian calendar.
fn days_before_year(year: i64) -> i64 {
    let past = year - 1;
    past * 365 + past / 4 - past / 100 + past / 400
}

fn days_of(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// The time that many seconds after 1970; 1970 itself for what is before.
pub(crate) fn from_unix(seconds: i64) -> SystemTime {
    let seconds = u64::try_from(seconds).unwrap_or(0);
    UNIX_EPOCH.checked_add(Duration::from_secs(seconds)).unwrap_or(UNIX_EPOCH)
}

/// Whole seconds since 1970; 0 for what is before.
pub(crate) fn to_unix(time: SystemTime) -> i64 {
    let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    i64::try_from(seconds).unwrap_or(i64::MAX)
}

/// RFC 6265bis 5.1.1: the lenient way to read a date. Takes the words in any order and skips what it does not know.
pub(super) fn parse_cookie_date(text: &[u8]) -> Option<SystemTime> {
    let (mut time, mut day, mut month, mut year) = (None, None, None, None);
    for token in text.split(|byte| is_delimiter(*byte)).filter(|token| !token.is_empty()) {
        if time.is_none() {
            time = parse_time(token);
            if time.is_some() {
                continue;
            }
        }
        if day.is_none() {
            day = parse_number(token, 1, 2);
            if day.is_some() {
                continue;
            }
        }
        if month.is_none() {
            month = parse_month(token);
            if month.is_some() {
                continue;
            }
        }
        if year.is_none() {
            year = parse_number(token, 2, 4);
        }
    }
    let ((hour, minute, second), day, month) = (time?, day?, month?);
    let year = match year? {
        year @ 70..=99 => year + 1900,
        year @ 0..=69 => year + 2000,
        year => year,
    };
    if year < 1601 {
        return None;
    }
    Civil { year, month, day, hour, minute, second }.unix_seconds().map(from_unix)
}

fn is_delimiter(byte: u8) -> bool {
    matches!(byte, 0x09 | 0x20..=0x2F | 0x3B..=0x40 | 0x5B..=0x60 | 0x7B..=0x7E)
}

/// Splits digits off the front: at least `min`, at most `max`, and none may follow.
fn digits(text: &[u8], min: usize, max: usize) -> Option<(i64, &[u8])> {
    let count = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if !(min..=max).contains(&count) {
        return None;
    }
    let number = text[..count].iter().fold(0, |number, digit| number * 10 + i64::from(digit - b'0'));
    Some((number, &text[count..]))
}

/// Digits, then nothing or anything that begins with no digit.
fn parse_number(token: &[u8], min: usize, max: usize) -> Option<i64> {
    digits(token, min, max).map(|(number, _)| number)
}

fn parse_time(token: &[u8]) -> Option<(i64, i64, i64)> {
    let (hour, rest) = digits(token, 1, 2)?;
    let (minute, rest) = digits(rest.strip_prefix(b":")?, 1, 2)?;
    let (second, _) = digits(rest.strip_prefix(b":")?, 1, 2)?;
    Some((hour, minute, second))
}

fn parse_month(token: &[u8]) -> Option<i64> {
    const MONTHS: [&[u8; 3]; 12] =
        [b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec"];
    let start = token.get(..3)?.to_ascii_lowercase();
    let index = MONTHS.iter().position(|month| start == *month)?;
    i64::try_from(index + 1).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_all_known_forms_are_read() {
        // 1994-11-06 08:49:37 UTC
        let then = from_unix(784_111_777);
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            "6 nov 1994 8:49:37",
            "08:49:37 1994 06 NOVEMBER",
            "Wrongday, 06-Nov-1994 08:49:37 PST",
            "06-Nov-1994 08:49:37.123Z",
            "(06)[Nov]{1994}~08:49:37",
            "6th Nov94 94 08:49:37",
            "06 Nov 94AD 08:49:37zulu",
            "\t06\tNov\t1994\t08:49:37\t",
        ] {
            assert_eq!(parse_cookie_date(text.as_bytes()), Some(then), "{text}");
        }
    }

    #[test]
    fn what_is_no_date_is_none() {
        for text in [
            "",
            "tomorrow",
            "Sun, 06 Nov 1994",
            "06 Nov 08:49:37",
            "Nov 1994 08:49:37",
            "06 1994 08:49:37",
            "00 Nov 1994 08:49:37",
            "31 Nov 1994 08:49:37",
            "32 Dec 1994 08:49:37",
            "29 Feb 2023 08:49:37",
            "29 Feb 1900 08:49:37",
            "06 Nov 1600 08:49:37",
            "06 Nov 19940 08:49:37",
            "06 Nov 1994 24:00:00",
            "06 Nov 1994 08:60:00",
            "06 Nov 1994 08:49:60",
            "06 Nov 1994 08:49",
            "006 Nov 1994 08:49:37",
            "06 Nov 1994 008:49:37",
            "06 No 1994 08:49:37",
        ] {
            assert_eq!(parse_cookie_date(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn two_digit_years_are_of_1970_to_2069() {
        let year = |text: &str| {
            let time = parse_cookie_date(format!("01 Jan {text} 00:00:00").as_bytes())?;
            Some(Civil::from_unix_seconds(to_unix(time)).year)
        };
        assert_eq!(year("70"), Some(1970));
        assert_eq!(year("99"), Some(1999));
        assert_eq!(year("00"), Some(2000));
        assert_eq!(year("69"), Some(2069));
        // Before 1970: in the past all the same.
        assert_eq!(year("1601"), Some(1970));
    }

    #[test]
    fn the_calendar_goes_there_and_back() {
        for seconds in (-62_135_596_800_i64..253_402_300_800).step_by(86_399 * 331) {
            assert_eq!(Civil::from_unix_seconds(seconds).unix_seconds(), Some(seconds));
        }
        let leap = Civil { year: 2024, month: 2, day: 29, hour: 23, minute: 59, second: 59 };
        assert_eq!(leap.unix_seconds(), Some(1_709_251_199));
        assert_eq!(Civil::from_unix_seconds(1_709_251_199), leap);
        assert_eq!(Civil::from_unix_seconds(i64::MAX).year, 9999);
        assert_eq!(Civil::from_unix_seconds(i64::MIN).year, 1);
    }
}

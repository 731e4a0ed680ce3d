//! The two ways to write a time: `20130524T000000Z` of SigV4 and the dates of HTTP (RFC 9110, section 5.6.7).

use crate::clock::{Civil, Timestamp};

/// The time of a request, to the second, as SigV4 writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AmzDate(Timestamp);

fn number(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0u64, |n, digit| digit.is_ascii_digit().then(|| n * 10 + u64::from(digit - b'0')))
}

impl AmzDate {
    /// The second that `time` lies in.
    #[must_use]
    pub const fn of(time: Timestamp) -> Self {
        Self(Timestamp::from_unix_millis(time.unix_millis() / 1000 * 1000))
    }

    /// Reads `YYYYMMDD'T'HHMMSS'Z'`, nothing else.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let text: &[u8; 16] = text.try_into().ok()?;
        if text.get(8) != Some(&b'T') || text.get(15) != Some(&b'Z') {
            return None;
        }
        let part = |from: usize, to: usize| number(text.get(from..to)?);
        Timestamp::from_civil(Civil {
            year: part(0, 4)?,
            month: part(4, 6)?,
            day: part(6, 8)?,
            hour: part(9, 11)?,
            minute: part(11, 13)?,
            second: part(13, 15).filter(|second| *second < 60)?,
        })
        .map(Self)
    }

    /// The point in time.
    #[must_use]
    pub const fn timestamp(self) -> Timestamp {
        self.0
    }

    /// `YYYYMMDD'T'HHMMSS'Z'`.
    #[must_use]
    pub fn long(self) -> String {
        let Civil { year, month, day, hour, minute, second } = self.0.civil();
        format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
    }

    /// `YYYYMMDD`, the date of a credential scope.
    #[must_use]
    pub fn short(self) -> String {
        let Civil { year, month, day, .. } = self.0.civil();
        format!("{year:04}{month:02}{day:02}")
    }
}

const DAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// IMF-fixdate: `Fri, 24 May 2013 00:00:00 GMT`.
#[must_use]
pub fn format_http_date(time: Timestamp) -> String {
    let name = |names: &[&'static str], index: u64| {
        usize::try_from(index).ok().and_then(|index| names.get(index)).copied().unwrap_or_default()
    };
    let Civil { year, month, day, hour, minute, second } = time.civil();
    let (weekday, month) = (name(&DAYS, time.weekday()), name(&MONTHS, month - 1));
    format!("{weekday}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} GMT")
}

/// Reads the three forms of RFC 9110: IMF-fixdate, RFC 850 (a year of two digits lies between 1970 and 2069), asctime.
/// `+0000`, `-0000` and `UTC` are taken for `GMT`, as some clients write them. The day's name is not checked against the date.
#[must_use]
pub fn parse_http_date(text: &str) -> Option<Timestamp> {
    let mut words = text.split_ascii_whitespace();
    let first = words.next()?;
    let month_of = |name: &str| {
        let index = MONTHS.iter().position(|month| month.eq_ignore_ascii_case(name))?;
        u64::try_from(index).ok().map(|index| index + 1)
    };
    let digits = |text: &str, len: &[usize]| len.contains(&text.len()).then(|| number(text.as_bytes()))?;
    let time_of = |text: &str| {
        let mut parts = text.split(':').map(|part| digits(part, &[2]));
        let time = (parts.next()??, parts.next()??, parts.next()??);
        parts.next().is_none().then_some(time)
    };
    let is_day = |name: &str| {
        DAYS.iter().any(|day| name.len() >= 3 && name.get(..3).is_some_and(|start| start.eq_ignore_ascii_case(day)))
    };
    let is_zone = |zone: &str| matches!(zone, "GMT" | "UTC" | "+0000" | "-0000");
    let (year, month, day, (hour, minute, second)) = if let Some(name) = first.strip_suffix(',') {
        if !is_day(name) {
            return None;
        }
        let next = words.next()?;
        let date = if next.contains('-') {
            let mut parts = next.split('-');
            let (day, month, year) = (parts.next()?, parts.next()?, parts.next()?);
            if parts.next().is_some() {
                return None;
            }
            let year = digits(year, &[2])?;
            (if year < 70 { 2000 + year } else { 1900 + year }, month_of(month)?, digits(day, &[2])?)
        } else {
            let (month, year) = (words.next()?, words.next()?);
            (digits(year, &[4])?, month_of(month)?, digits(next, &[1, 2])?)
        };
        let time = time_of(words.next()?)?;
        if !is_zone(words.next()?) {
            return None;
        }
        (date.0, date.1, date.2, time)
    } else {
        if !is_day(first) || first.len() != 3 {
            return None;
        }
        let (month, day, time, year) = (words.next()?, words.next()?, words.next()?, words.next()?);
        (digits(year, &[4])?, month_of(month)?, digits(day, &[1, 2])?, time_of(time)?)
    };
    if words.next().is_some() {
        return None;
    }
    Timestamp::from_civil(Civil { year, month, day, hour, minute, second })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const EXAMPLE: Timestamp = Timestamp::from_unix_millis(1_369_353_600_000);

    #[test]
    fn aws_dates_have_one_form() {
        assert_eq!(AmzDate::parse(b"20130524T000000Z").map(AmzDate::timestamp), Some(EXAMPLE));
        assert_eq!(AmzDate::of(EXAMPLE).long(), "20130524T000000Z");
        assert_eq!(AmzDate::of(EXAMPLE).short(), "20130524");
        for bad in [
            "",
            "20130524T000000",
            "20130524T000000z",
            "20130524 000000Z",
            "20130532T000000Z",
            "20130524T240000Z",
            "20130524T000060Z",
            "2013-05-24T00:00:00Z",
            " 20130524T000000Z",
            "20130524T000000ZZ",
            "+0130524T000000Z",
        ] {
            assert_eq!(AmzDate::parse(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn http_dates_have_three_forms() {
        assert_eq!(format_http_date(EXAMPLE), "Fri, 24 May 2013 00:00:00 GMT");
        for good in [
            "Fri, 24 May 2013 00:00:00 GMT",
            "Fri, 24 May 2013 00:00:00 +0000",
            "Friday, 24-May-13 00:00:00 GMT",
            "Fri May 24 00:00:00 2013",
            "fri, 24 may 2013 00:00:00 GMT",
        ] {
            assert_eq!(parse_http_date(good), Some(EXAMPLE), "{good}");
        }
        for bad in [
            "",
            "Fri, 24 May 2013 00:00:00",
            "Fri, 24 May 2013 00:00:00 CET",
            "Fri, 31 Feb 2013 00:00:00 GMT",
            "Foo, 24 May 2013 00:00:00 GMT",
            "Fri, 24 May 2013 00:00 GMT",
            "Fri, 24 May 2013 00:00:00 GMT x",
            "2013-05-24T00:00:00Z",
            "Fri, 24 May 13 00:00:00 GMT",
            "Fri, +4 May 2013 00:00:00 GMT",
            "é, 24 May 2013",
        ] {
            assert_eq!(parse_http_date(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn both_forms_run_both_ways(seconds in 0u64..253_402_300_799) {
            let time = Timestamp::from_unix_millis(seconds * 1000);
            prop_assert_eq!(parse_http_date(&format_http_date(time)), Some(time));
            prop_assert_eq!(AmzDate::parse(AmzDate::of(time).long().as_bytes()), Some(AmzDate::of(time)));
        }

        #[test]
        fn hostile_dates_never_panic(text in ".*") {
            let _ = parse_http_date(&text);
            let _ = AmzDate::parse(text.as_bytes());
        }
    }
}

//! `Range`: text → what is asked → bytes of an object of some length.
//!
//! ```text
//! bytes=a-b → [a, min(b+1, L))    bytes=a- → [a, L)    bytes=-n → [L − min(n, L), L)
//! ```
//!
//! As S3 does: what is malformed, of another unit, or several ranges at once, is ignored (200 with the whole); a range
//! without a single byte of the object is 416.

use super::error::{ErrorCode, S3Error};
use crate::object::PlaintextRange;

/// One range as it was asked, before the object's length is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RangeSpec {
    /// `a-b`, both inclusive, a ≤ b.
    FromTo(u64, u64),
    /// `a-`.
    From(u64),
    /// `-n`: the last n bytes.
    Suffix(u64),
}

/// Digits only; numbers beyond u64 are as good as its maximum: no object is that long.
fn number(text: &str) -> Option<u64> {
    if text.is_empty() || text.len() > 1024 || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some(text.bytes().fold(0u64, |n, b| n.saturating_mul(10).saturating_add(u64::from(b - b'0'))))
}

impl RangeSpec {
    /// Reads `Range`; `None` for what S3 ignores.
    #[must_use]
    pub fn parse(header: &[u8]) -> Option<Self> {
        let text = str::from_utf8(header).ok()?.trim_ascii();
        let (unit, ranges) = text.split_once('=')?;
        if !unit.eq_ignore_ascii_case("bytes") {
            return None;
        }
        match ranges.trim_ascii().split_once('-')? {
            ("", suffix) => number(suffix).map(Self::Suffix),
            (first, "") => number(first).map(Self::From),
            (first, last) => {
                let (first, last) = (number(first)?, number(last)?);
                (first <= last).then_some(Self::FromTo(first, last))
            }
        }
    }

    /// Reads `x-amz-copy-source-range`, which has one form only: `bytes=a-b`.
    pub fn parse_copy_source(header: &[u8]) -> Result<Self, S3Error> {
        match Self::parse(header) {
            Some(range @ Self::FromTo(..)) if header.starts_with(b"bytes=") => Ok(range),
            _ => Err(S3Error::argument(
                "x-amz-copy-source-range",
                "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the \
                 zero-based offsets of the first and last bytes to copy",
            )),
        }
    }

    /// The bytes of an object of `len` bytes; `InvalidRange` if there is none.
    pub fn resolve(self, len: u64) -> Result<PlaintextRange, S3Error> {
        let (start, end) = match self {
            Self::FromTo(first, last) => (first, last.saturating_add(1).min(len)),
            Self::From(first) => (first, len),
            Self::Suffix(n) => (len.saturating_sub(n), len),
        };
        PlaintextRange::new(start, end)
            .filter(|range| !range.is_empty())
            .ok_or_else(|| S3Error::from(ErrorCode::InvalidRange).with("ActualObjectSize", len.to_string()))
    }

    /// The bytes of a copy's source of `len` bytes. A range that reaches beyond its end is `InvalidRange`, not cut short: the
    /// part would not be what was asked for.
    pub fn resolve_copy_source(self, len: u64) -> Result<PlaintextRange, S3Error> {
        match self {
            Self::FromTo(_, last) if last >= len => {
                Err(S3Error::from(ErrorCode::InvalidRange).with("ActualObjectSize", len.to_string()))
            }
            range => range.resolve(len),
        }
    }
}

/// `Content-Range` of an answer; `range` is not empty.
#[must_use]
pub fn content_range(range: PlaintextRange, len: u64) -> String {
    format!("bytes {}-{}/{len}", range.start(), range.end().saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_range_of_each_form_is_read() {
        for (text, range) in [
            ("bytes=0-9", RangeSpec::FromTo(0, 9)),
            ("bytes=5-5", RangeSpec::FromTo(5, 5)),
            ("Bytes= 7-", RangeSpec::From(7)),
            ("bytes=-3", RangeSpec::Suffix(3)),
            ("bytes=0-99999999999999999999999", RangeSpec::FromTo(0, u64::MAX)),
        ] {
            assert_eq!(RangeSpec::parse(text.as_bytes()), Some(range), "{text}");
        }
    }

    #[test]
    fn what_s3_ignores_is_none() {
        for text in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=a-b",
            "bytes=9-0",
            "bytes=0-1,3-4",
            "lines=0-1",
            "bytes=0-1-2",
            "bytes=+1-2",
            "bytes=--1",
            "bytes=1 - 2",
            "bytes:0-1",
            "bytes=0x1-2",
            "bytes=0-1\0",
        ] {
            assert_eq!(RangeSpec::parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(RangeSpec::parse(&[0xff, 0xfe]), None);
    }

    #[test]
    fn ranges_resolve_against_a_length() {
        let resolve = |text: &str, len| {
            RangeSpec::parse(text.as_bytes()).unwrap().resolve(len).map(|r| (r.start(), r.end())).map_err(|e| e.code())
        };
        let unsatisfiable = Err(ErrorCode::InvalidRange);
        assert_eq!(resolve("bytes=0-9", 5), Ok((0, 5)));
        assert_eq!(resolve("bytes=4-4", 5), Ok((4, 5)));
        assert_eq!(resolve("bytes=5-", 5), unsatisfiable);
        assert_eq!(resolve("bytes=5-9", 5), unsatisfiable);
        assert_eq!(resolve("bytes=-9", 5), Ok((0, 5)));
        assert_eq!(resolve("bytes=-0", 5), unsatisfiable);
        assert_eq!(resolve("bytes=-1", 0), unsatisfiable);
        assert_eq!(resolve("bytes=0-", 0), unsatisfiable);
        assert_eq!(resolve("bytes=18446744073709551615-18446744073709551615", u64::MAX), unsatisfiable);
        assert_eq!(content_range(PlaintextRange::new(2, 5).unwrap(), 9), "bytes 2-4/9");
    }

    #[test]
    fn a_copy_source_range_has_one_form() {
        assert_eq!(RangeSpec::parse_copy_source(b"bytes=0-9"), Ok(RangeSpec::FromTo(0, 9)));
        for bad in ["bytes=0-", "bytes=-9", "0-9", "bytes=9-0", "bytes=0-1,2-3", "BYTES=0-9"] {
            assert!(RangeSpec::parse_copy_source(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_copy_source_range_is_never_cut_short() {
        let resolve = |text: &str, len| {
            let range = RangeSpec::parse_copy_source(text.as_bytes()).unwrap().resolve_copy_source(len);
            range.map(|r| (r.start(), r.end())).map_err(|e| e.code())
        };
        assert_eq!(resolve("bytes=0-4", 5), Ok((0, 5)));
        for (text, len) in [("bytes=0-5", 5), ("bytes=0-21", 5), ("bytes=0-0", 0), ("bytes=0-18446744073709551615", 5)]
        {
            assert_eq!(resolve(text, len), Err(ErrorCode::InvalidRange), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_resolved_range_lies_within_the_object(a in any::<u64>(), b in any::<u64>(), len in any::<u64>()) {
            for spec in [RangeSpec::FromTo(a.min(b), a.max(b)), RangeSpec::From(a), RangeSpec::Suffix(a)] {
                if let Ok(range) = spec.resolve(len) {
                    prop_assert!(range.start() < range.end() && range.end() <= len);
                }
            }
        }
    }
}

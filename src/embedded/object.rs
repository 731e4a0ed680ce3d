//! The words of the store: bucket names, `ETag`s, metadata, conditions, ranges.

use std::fmt::{self, Write as _};
use std::net::Ipv4Addr;
use std::ops::Range;
use std::str::FromStr;

use md5::{Digest as _, Md5};

use super::error::StoreError;
use super::version::{Extras, VersionId};
use crate::clock::Timestamp;
use crate::object::PartNumber;

/// The name of a bucket, by S3's rules for general purpose buckets.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BucketName(String);

impl BucketName {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BucketName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for BucketName {
    type Err = StoreError;

    fn from_str(name: &str) -> Result<Self, StoreError> {
        let refuse = |why| Err(StoreError::InvalidBucketName(why));
        let edge = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        if !(3..=63).contains(&name.len()) {
            return refuse("3 to 63 characters");
        }
        if !name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-')) {
            return refuse("only a-z, 0-9, '.' and '-'");
        }
        if !edge(name.bytes().next()) || !edge(name.bytes().next_back()) {
            return refuse("it begins and ends with a letter or digit");
        }
        if name.contains("..") {
            return refuse("no two dots in a row");
        }
        if name.parse::<Ipv4Addr>().is_ok() {
            return refuse("not an IP address");
        }
        if ["xn--", "sthree-", "amzn-s3-demo-"].iter().any(|p| name.starts_with(p))
            || ["-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3"].iter().any(|s| name.ends_with(s))
        {
            return refuse("a prefix or suffix that S3 reserves");
        }
        Ok(Self(name.to_owned()))
    }
}

/// An entity tag, without quotes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ETag(String);

impl ETag {
    /// An entity tag from a client: surrounding quotes are dropped.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let bare = text.strip_prefix('"').and_then(|t| t.strip_suffix('"')).unwrap_or(text);
        Self(bare.to_owned())
    }

    /// hex(MD5 of the body), or hex(MD5 of the parts' MD5s) ‖ "-" ‖ number of parts.
    pub(super) fn of(md5: [u8; 16], parts: u32) -> Self {
        let mut text = String::with_capacity(38);
        for byte in md5 {
            // writing to a String cannot fail
            let _ = write!(text, "{byte:02x}");
        }
        if parts > 0 {
            let _ = write!(text, "-{parts}");
        }
        Self(text)
    }

    /// The tag without quotes.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ETag {
    /// With quotes, as HTTP writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0)
    }
}

/// MD5 of the concatenation of the parts' MD5s.
pub(super) fn md5_of_md5s<'a>(parts: impl IntoIterator<Item = &'a [u8; 16]>) -> [u8; 16] {
    let mut state = Md5::new();
    for part in parts {
        state.update(part);
    }
    state.finalize().into()
}

/// What is stored beside a body and given back as it came. All of it together has at most
/// [`ObjectMeta::MAX_LEN`] bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObjectMeta {
    /// System headers such as `content-type`, in the order they came.
    pub headers: Vec<(String, String)>,
    /// User metadata: names without `x-amz-meta-`, in the order they came.
    pub user: Vec<(String, String)>,
    /// Bytes for the caller's own use.
    pub opaque: Vec<u8>,
}

impl ObjectMeta {
    /// The most bytes of names and values together. S3's own limit on user metadata (2 KiB) is the protocol's to keep.
    pub const MAX_LEN: usize = 64 * 1024;

    pub(super) fn check(&self) -> Result<(), StoreError> {
        let pairs = self.headers.iter().chain(&self.user);
        // eight bytes of lengths per pair count too, or any number of empty pairs would fit
        let len = pairs.fold(self.opaque.len(), |sum, (name, value)| {
            sum.saturating_add(8).saturating_add(name.len()).saturating_add(value.len())
        });
        if len <= Self::MAX_LEN { Ok(()) } else { Err(StoreError::MetadataTooLarge { maximum: Self::MAX_LEN }) }
    }
}

/// What must hold for a write to happen. Checked in the transaction that makes the write visible.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum WriteCondition {
    /// Write in any case.
    #[default]
    None,
    /// `If-None-Match: *`: only if there is no such object.
    IfNoneMatchAny,
    /// `If-Match`: only if the object exists with this `ETag`.
    IfMatch(ETag),
}

impl WriteCondition {
    /// Whether the write may happen, given the present object's `ETag` if there is one.
    ///
    /// As in S3, `If-Match` on an object that is not there is 404, not 412.
    pub fn check(&self, current: Option<&ETag>) -> Result<(), StoreError> {
        match (self, current) {
            (Self::None, _) | (Self::IfNoneMatchAny, None) => Ok(()),
            (Self::IfMatch(_), None) => Err(StoreError::NoSuchKey),
            (Self::IfMatch(wanted), Some(etag)) if wanted == etag || wanted.as_str() == "*" => Ok(()),
            (Self::IfNoneMatchAny | Self::IfMatch(_), Some(_)) => Err(StoreError::PreconditionFailed),
        }
    }
}

/// The value of `If-Match` or `If-None-Match`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ETagMatch {
    /// `*`: any object.
    Any,
    /// One of these.
    OneOf(Vec<ETag>),
}

impl ETagMatch {
    /// Reads a header: `*`, or tags with or without quotes or `W/`, separated by commas.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        if text.trim() == "*" {
            return Self::Any;
        }
        let tag = |t: &str| ETag::new(t.trim().strip_prefix("W/").unwrap_or(t.trim()));
        Self::OneOf(text.split(',').map(tag).collect())
    }

    fn matches(&self, etag: &ETag) -> bool {
        match self {
            Self::Any => true,
            Self::OneOf(tags) => tags.iter().any(|t| t == etag || t.as_str() == "*"),
        }
    }
}

/// The conditions of a read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadCondition {
    /// `If-Match`.
    pub if_match: Option<ETagMatch>,
    /// `If-None-Match`.
    pub if_none_match: Option<ETagMatch>,
    /// `If-Modified-Since`.
    pub if_modified_since: Option<Timestamp>,
    /// `If-Unmodified-Since`.
    pub if_unmodified_since: Option<Timestamp>,
}

/// What the conditions of a read say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Answer with the object.
    Proceed,
    /// 304.
    NotModified,
    /// 412.
    PreconditionFailed,
}

impl ReadCondition {
    /// S3's (and RFC 9110's) precedence; times are compared by the second, the unit of HTTP's dates:
    ///
    /// 1. `If-Match` false → 412; `If-Match` true → `If-Unmodified-Since` does not count
    /// 2. without `If-Match`: modified after `If-Unmodified-Since` → 412
    /// 3. `If-None-Match` hit → 304; miss → `If-Modified-Since` does not count
    /// 4. without `If-None-Match`: not modified after `If-Modified-Since` → 304
    #[must_use]
    pub fn evaluate(&self, etag: &ETag, modified: Timestamp) -> Verdict {
        let after = |since: Timestamp| modified.unix_millis() / 1000 > since.unix_millis() / 1000;
        let refused = match &self.if_match {
            Some(tags) => !tags.matches(etag),
            None => self.if_unmodified_since.is_some_and(after),
        };
        if refused {
            return Verdict::PreconditionFailed;
        }
        let current = match &self.if_none_match {
            Some(tags) => tags.matches(etag),
            None => self.if_modified_since.is_some_and(|since| !after(since)),
        };
        if current { Verdict::NotModified } else { Verdict::Proceed }
    }
}

/// Which bytes of an object are asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReadRange {
    /// All.
    #[default]
    Whole,
    /// `bytes=first-`
    From(u64),
    /// `bytes=first-last`, both included.
    Span {
        /// The first byte.
        first: u64,
        /// The last byte; behind the end means the end.
        last: u64,
    },
    /// `bytes=-n`
    Suffix(u64),
    /// `partNumber=n`
    Part(PartNumber),
}

impl ReadRange {
    /// The bytes meant, half-open; `part` finds a part's.
    pub(super) fn resolve(
        self,
        size: u64,
        part: impl FnOnce(PartNumber) -> Option<Range<u64>>,
    ) -> Result<Range<u64>, StoreError> {
        let range = match self {
            Self::Whole => return Ok(0..size),
            Self::Part(number) => return part(number).ok_or(StoreError::InvalidPartNumber),
            Self::From(first) => first..size,
            Self::Span { first, last } => first..last.saturating_add(1).min(size),
            Self::Suffix(n) => size.saturating_sub(n)..size,
        };
        if range.start < range.end { Ok(range) } else { Err(StoreError::InvalidRange { size }) }
    }
}

/// What is known of an object without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectInfo {
    /// Its size in bytes.
    pub size: u64,
    /// Its `ETag`.
    pub etag: ETag,
    /// When it was written.
    pub modified: Timestamp,
    /// What was stored beside it.
    pub meta: ObjectMeta,
    /// The number of parts it was completed from; none if it came in one piece.
    pub parts: Option<u32>,
    /// Its version; none in a bucket that never kept any.
    pub version: Option<VersionId>,
    /// Its tags and its lock.
    pub extras: Extras,
    /// A number that no other version of any object in this store has; later versions have greater ones.
    pub sequence: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bucket_names_follow_s3s_rules() {
        for good in ["abc", "a-b", "a.b.c", "1.2.3", "1.2.3.4.5", &"x".repeat(63), "a--b", "xn-a"] {
            assert!(good.parse::<BucketName>().is_ok_and(|n| n.as_str() == good), "{good}");
        }
        for bad in [
            "",
            "ab",
            &"x".repeat(64),
            "Abc",
            "a_b",
            "-ab",
            "ab-",
            ".ab",
            "ab.",
            "a..b",
            "1.2.3.4",
            "xn--abc",
            "sthree-a",
            "amzn-s3-demo-x",
            "a-s3alias",
            "a--ol-s3",
            "a.mrap",
            "a--x-s3",
            "a/b",
            "äbc",
            "../abc",
        ] {
            assert!(matches!(bad.parse::<BucketName>(), Err(StoreError::InvalidBucketName(_))), "{bad}");
        }
    }

    #[test]
    fn read_conditions_have_s3s_precedence() {
        use Verdict::{NotModified, PreconditionFailed, Proceed};
        let etag = ETag::new("\"e\"");
        let at = |s: u64| Timestamp::from_unix_millis(s * 1000);
        let modified = Timestamp::from_unix_millis(10_500);
        let hit = || Some(ETagMatch::parse("\"x\", W/\"e\""));
        let miss = || Some(ETagMatch::parse("\"x\""));
        let any = || Some(ETagMatch::parse("*"));
        for (if_match, if_none_match, since, unmodified, verdict) in [
            (None, None, None, None, Proceed),
            (hit(), None, None, None, Proceed),
            (any(), None, None, None, Proceed),
            (miss(), None, None, None, PreconditionFailed),
            (None, hit(), None, None, NotModified),
            (None, any(), None, None, NotModified),
            (None, miss(), None, None, Proceed),
            // a date in the object's own second is not before it
            (None, None, Some(at(10)), None, NotModified),
            (None, None, Some(at(9)), None, Proceed),
            (None, None, None, Some(at(10)), Proceed),
            (None, None, None, Some(at(9)), PreconditionFailed),
            // If-Match true beats If-Unmodified-Since false; If-None-Match false beats If-Modified-Since false
            (hit(), None, None, Some(at(9)), Proceed),
            (None, hit(), Some(at(9)), None, NotModified),
            (None, miss(), Some(at(11)), None, Proceed),
            // 412 beats 304
            (miss(), hit(), None, None, PreconditionFailed),
            (hit(), hit(), None, None, NotModified),
            (None, hit(), None, Some(at(9)), PreconditionFailed),
        ] {
            let condition =
                ReadCondition { if_match, if_none_match, if_modified_since: since, if_unmodified_since: unmodified };
            assert_eq!(condition.evaluate(&etag, modified), verdict, "{condition:?}");
        }
    }

    #[test]
    fn ranges_resolve_as_in_s3() {
        let resolve = |range: ReadRange, size| range.resolve(size, |_| None).ok();
        assert_eq!(resolve(ReadRange::Whole, 0), Some(0..0));
        assert_eq!(resolve(ReadRange::From(0), 0), None);
        assert_eq!(resolve(ReadRange::Suffix(1), 0), None);
        assert_eq!(resolve(ReadRange::Suffix(0), 10), None);
        assert_eq!(resolve(ReadRange::Suffix(3), 10), Some(7..10));
        assert_eq!(resolve(ReadRange::Suffix(30), 10), Some(0..10));
        assert_eq!(resolve(ReadRange::From(9), 10), Some(9..10));
        assert_eq!(resolve(ReadRange::From(10), 10), None);
        assert_eq!(resolve(ReadRange::Span { first: 2, last: u64::MAX }, 10), Some(2..10));
        assert_eq!(resolve(ReadRange::Span { first: 2, last: 2 }, 10), Some(2..3));
        assert_eq!(resolve(ReadRange::Span { first: 3, last: 2 }, 10), None);
    }

    #[test]
    fn write_conditions_answer_as_s3_does() {
        let (a, b) = (ETag::new("a"), ETag::new("b"));
        assert!(WriteCondition::IfNoneMatchAny.check(None).is_ok());
        assert!(matches!(WriteCondition::IfNoneMatchAny.check(Some(&a)), Err(StoreError::PreconditionFailed)));
        assert!(WriteCondition::IfMatch(a.clone()).check(Some(&a)).is_ok());
        assert!(matches!(WriteCondition::IfMatch(a.clone()).check(Some(&b)), Err(StoreError::PreconditionFailed)));
        assert!(matches!(WriteCondition::IfMatch(a).check(None), Err(StoreError::NoSuchKey)));
    }

    #[test]
    fn etags_are_md5_or_md5_of_md5s() {
        let md5 = |b: &[u8]| -> [u8; 16] { Md5::digest(b).into() };
        assert_eq!(ETag::of(md5(b""), 0).as_str(), "d41d8cd98f00b204e9800998ecf8427e");
        let of_parts = md5_of_md5s([&md5(b"a"), &md5(b"b")]);
        assert_eq!(of_parts, md5(&[md5(b"a"), md5(b"b")].concat()));
        assert_eq!(ETag::of([0xab; 16], 2).as_str(), format!("{}-2", "ab".repeat(16)));
        assert_eq!(ETag::new("\"x\"").to_string(), "\"x\"");
        assert_eq!(ETag::new("\"x").as_str(), "\"x");
    }
}

//! Conditions on ETag and time, with S3's precedence.
//!
//! Reads: `If-Match` decides before `If-Unmodified-Since`, `If-None-Match` before `If-Modified-Since`; where the ETag's
//! condition is present, the time's is not looked at. A time that cannot be read, or lies in the future, is ignored.
//! Sources: "Conditional reads", "Add preconditions to S3 operations with conditional requests".

use super::error::{ErrorCode, S3Error};
use crate::clock::Timestamp;
use crate::sigv4::{Headers, parse_http_date};

/// Greatest number of ETags in one condition.
const MAX_ETAGS: usize = 64;

/// `*`, or a list of ETags without their quotes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EtagCondition {
    /// Any object.
    Any,
    /// One of these.
    OneOf(Vec<String>),
}

impl EtagCondition {
    /// Reads `*` or a list of ETags, quoted or not, `W/` allowed. Commas inside of quotes belong to the ETag.
    pub fn parse(header: &[u8]) -> Result<Self, S3Error> {
        let malformed = || S3Error::new(ErrorCode::InvalidArgument, "The ETag condition is malformed.");
        let text = str::from_utf8(header).map_err(|_| malformed())?.trim_ascii();
        if text == "*" {
            return Ok(Self::Any);
        }
        let mut tags = Vec::new();
        let mut rest = text;
        loop {
            rest = rest.trim_ascii_start();
            rest = rest.strip_prefix("W/").unwrap_or(rest);
            let (tag, behind) = match rest.strip_prefix('"') {
                Some(quoted) => {
                    let (tag, behind) = quoted.split_once('"').ok_or_else(malformed)?;
                    (tag, behind.trim_ascii_start())
                }
                None => rest.find(',').map_or((rest.trim_ascii_end(), ""), |at| {
                    let (tag, behind) = rest.split_at(at);
                    (tag.trim_ascii_end(), behind)
                }),
            };
            if tags.len() == MAX_ETAGS || !tag.bytes().all(|b| b.is_ascii_graphic() && b != b'"') || tag.is_empty() {
                return Err(malformed());
            }
            tags.push(tag.to_owned());
            if behind.is_empty() {
                return Ok(Self::OneOf(tags));
            }
            rest = behind.strip_prefix(',').ok_or_else(malformed)?;
        }
    }

    /// Whether an object with one of these ETags (without quotes) meets it. An object may go by several.
    #[must_use]
    pub fn matches(&self, etags: &[&str]) -> bool {
        match self {
            Self::Any => true,
            Self::OneOf(tags) => tags.iter().any(|tag| etags.contains(&tag.as_str())),
        }
    }
}

/// The conditions of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    /// The object must have one of these ETags.
    pub if_match: Option<EtagCondition>,
    /// The object must have none of these ETags.
    pub if_none_match: Option<EtagCondition>,
    /// The object must have changed after this time.
    pub if_modified_since: Option<Timestamp>,
    /// The object must not have changed after this time.
    pub if_unmodified_since: Option<Timestamp>,
}

/// What the conditions say about an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Go on.
    Proceed,
    /// 304.
    NotModified,
    /// 412.
    PreconditionFailed,
}

impl Conditions {
    /// Reads `If-Match`, `If-None-Match`, `If-Modified-Since`, `If-Unmodified-Since`.
    pub fn of(headers: Headers<'_>) -> Result<Self, S3Error> {
        Self::read(headers, ["if-match", "if-none-match", "if-modified-since", "if-unmodified-since"])
    }

    /// Reads the four `x-amz-copy-source-if-*` headers.
    pub fn of_copy_source(headers: Headers<'_>) -> Result<Self, S3Error> {
        Self::read(
            headers,
            [
                "x-amz-copy-source-if-match",
                "x-amz-copy-source-if-none-match",
                "x-amz-copy-source-if-modified-since",
                "x-amz-copy-source-if-unmodified-since",
            ],
        )
    }

    fn read(headers: Headers<'_>, names: [&'static str; 4]) -> Result<Self, S3Error> {
        let [if_match, if_none_match, modified, unmodified] = names;
        let one = |name| headers.one(name).map_err(|_| S3Error::argument(name, "A condition stands twice."));
        let tags = |name| one(name)?.map(EtagCondition::parse).transpose();
        let time = |name| {
            let text = one(name)?.and_then(|text| str::from_utf8(text).ok());
            Ok::<_, S3Error>(text.and_then(parse_http_date))
        };
        Ok(Self {
            if_match: tags(if_match)?,
            if_none_match: tags(if_none_match)?,
            if_modified_since: time(modified)?,
            if_unmodified_since: time(unmodified)?,
        })
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Judges an object that exists, for a read. `etags`: all that it goes by, without quotes.
    #[must_use]
    pub fn judge(&self, etags: &[&str], last_modified: Timestamp, now: Timestamp) -> Verdict {
        let seconds = |time: Timestamp| time.unix_millis() / 1000;
        let held = match (&self.if_match, self.if_unmodified_since) {
            (Some(condition), _) => condition.matches(etags),
            (None, Some(time)) => seconds(last_modified) <= seconds(time),
            (None, None) => true,
        };
        if !held {
            return Verdict::PreconditionFailed;
        }
        let unchanged = match (&self.if_none_match, self.if_modified_since) {
            (Some(condition), _) => condition.matches(etags),
            (None, Some(time)) => seconds(time) <= seconds(now) && seconds(last_modified) <= seconds(time),
            (None, None) => false,
        };
        if unchanged { Verdict::NotModified } else { Verdict::Proceed }
    }

    /// Judges the source of a copy: as a read, but what would be 304 is 412.
    #[must_use]
    pub fn judge_copy_source(&self, etags: &[&str], last_modified: Timestamp, now: Timestamp) -> Verdict {
        match self.judge(etags, last_modified, now) {
            Verdict::NotModified => Verdict::PreconditionFailed,
            verdict => verdict,
        }
    }
}

/// The condition of a write. S3 knows `If-None-Match: *` and `If-Match` with one ETag; other stores know the other way round
/// too, so that is theirs to judge. Anything else, times among it, is 501: a guard must not be dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriteCondition {
    /// None.
    Always,
    /// Only if there is no object of that key.
    IfAbsent,
    /// Only if there is one.
    IfPresent,
    /// Only if the object has this ETag (without quotes).
    IfMatch(String),
    /// Only if there is none with this ETag (without quotes).
    IfNoneMatch(String),
}

impl WriteCondition {
    /// Reads `If-Match` and `If-None-Match` of PutObject, CompleteMultipartUpload, CopyObject and DeleteObject.
    pub fn of(headers: Headers<'_>) -> Result<Self, S3Error> {
        if headers.has("if-modified-since") || headers.has("if-unmodified-since") {
            return Err(S3Error::not_implemented("A condition on time on a write"));
        }
        let conditions = Conditions::of(headers)?;
        match (conditions.if_match, conditions.if_none_match) {
            (None, None) => Ok(Self::Always),
            (None, Some(EtagCondition::Any)) => Ok(Self::IfAbsent),
            (Some(EtagCondition::OneOf(tags)), None) if tags.len() == 1 => {
                tags.into_iter().next().map(Self::IfMatch).ok_or_else(|| ErrorCode::InternalError.into())
            }
            (Some(EtagCondition::Any), None) => Ok(Self::IfPresent),
            (None, Some(EtagCondition::OneOf(tags))) if tags.len() == 1 => {
                tags.into_iter().next().map(Self::IfNoneMatch).ok_or_else(|| ErrorCode::InternalError.into())
            }
            (Some(_), Some(_)) => Err(S3Error::not_implemented("If-Match together with If-None-Match on a write")),
            (Some(_), None) => Err(S3Error::not_implemented("If-Match on a write with other than one ETag")),
            (None, Some(_)) => Err(S3Error::not_implemented("If-None-Match on a write with other than * and one ETag")),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sigv4::HeaderField;

    const T: fn(u64) -> Timestamp = |seconds| Timestamp::from_unix_millis(1_369_353_600_000 + seconds * 1000);

    #[test]
    fn etag_lists_are_read_quoted_or_not() {
        for (text, tags) in [
            ("\"a\"", vec!["a"]),
            ("a", vec!["a"]),
            ("W/\"a\", \"b,c\" ,d", vec!["a", "b,c", "d"]),
            (" a , b ", vec!["a", "b"]),
        ] {
            let expected = EtagCondition::OneOf(tags.into_iter().map(str::to_owned).collect());
            assert_eq!(EtagCondition::parse(text.as_bytes()), Ok(expected), "{text}");
        }
        assert_eq!(EtagCondition::parse(b" * "), Ok(EtagCondition::Any));
        for bad in ["", "\"a", "\"a\"b", "a,", ",a", "\"\"", "a b", "\"a\0\"", &"a,".repeat(100)] {
            assert!(EtagCondition::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn etags_decide_before_times() {
        let judge = |fields: &[HeaderField<'_>]| {
            Conditions::of(Headers::new(fields)).unwrap().judge(&["e", "e-0"], T(0), T(100))
        };
        let before: HeaderField<'_> = ("if-unmodified-since", b"Thu, 23 May 2013 23:59:59 GMT");
        let same: HeaderField<'_> = ("if-modified-since", b"Fri, 24 May 2013 00:00:00 GMT");
        assert_eq!(judge(&[]), Verdict::Proceed);
        assert_eq!(judge(&[("if-match", b"\"e\"")]), Verdict::Proceed);
        assert_eq!(judge(&[("if-match", b"\"e-0\"")]), Verdict::Proceed);
        assert_eq!(judge(&[("if-match", b"\"x\"")]), Verdict::PreconditionFailed);
        assert_eq!(judge(&[before]), Verdict::PreconditionFailed);
        assert_eq!(judge(&[("if-match", b"*"), before]), Verdict::Proceed);
        assert_eq!(judge(&[same]), Verdict::NotModified);
        assert_eq!(judge(&[("if-none-match", b"\"x\""), same]), Verdict::Proceed);
        assert_eq!(judge(&[("if-none-match", b"x, e")]), Verdict::NotModified);
        assert_eq!(judge(&[("if-none-match", b"e"), ("if-match", b"x")]), Verdict::PreconditionFailed);
        assert_eq!(judge(&[("if-modified-since", b"rubbish")]), Verdict::Proceed);
        assert_eq!(judge(&[("if-modified-since", b"Fri, 24 May 2099 00:00:00 GMT")]), Verdict::Proceed);
        let source = Conditions::of_copy_source(Headers::new(&[("x-amz-copy-source-if-none-match", b"e")])).unwrap();
        assert_eq!(source.judge_copy_source(&["e"], T(0), T(0)), Verdict::PreconditionFailed);
        assert!(Conditions::of(Headers::new(&[("if-match", b"a"), ("If-Match", b"b")])).is_err());
    }

    #[test]
    fn writes_know_two_conditions() {
        let of = |fields: &[HeaderField<'_>]| WriteCondition::of(Headers::new(fields)).map_err(|e| e.status());
        assert_eq!(of(&[]), Ok(WriteCondition::Always));
        assert_eq!(of(&[("if-none-match", b"*")]), Ok(WriteCondition::IfAbsent));
        assert_eq!(of(&[("if-match", b"\"a\"")]), Ok(WriteCondition::IfMatch("a".into())));
        assert_eq!(of(&[("if-match", b"*")]), Ok(WriteCondition::IfPresent));
        assert_eq!(of(&[("if-none-match", b"a")]), Ok(WriteCondition::IfNoneMatch("a".into())));
        assert_eq!(of(&[("if-none-match", b"a, b")]), Err(501));
        assert_eq!(of(&[("if-match", b"a, b")]), Err(501));
        assert_eq!(of(&[("if-match", b"a"), ("if-none-match", b"*")]), Err(501));
        assert_eq!(of(&[("If-Unmodified-Since", b"Fri, 24 May 2013 00:00:00 GMT")]), Err(501));
        assert_eq!(of(&[("if-modified-since", b"rubbish"), ("if-none-match", b"*")]), Err(501));
    }

    proptest! {
        #[test]
        fn hostile_conditions_never_panic(text in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = EtagCondition::parse(&text);
        }
    }
}

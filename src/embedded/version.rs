//! The words of versions, tags and locks.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use super::error::StoreError;
use crate::clock::Timestamp;

/// Whether a bucket keeps versions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Versioning {
    /// It never did: a write takes the place of what was there.
    #[default]
    Never,
    /// Every write and every deletion is a version of its own.
    Enabled,
    /// It did: what was kept stays, and what is written now is the version `null`.
    Suspended,
}

/// Names one version of an object. No id but `null` is given out twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VersionId(Id);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Id {
    Null,
    Sequence(u64),
}

impl VersionId {
    /// The version of what was written before the bucket kept versions, or while they were suspended.
    pub const NULL: Self = Self(Id::Null);

    pub(super) const fn of(sequence: u64, is_null: bool) -> Self {
        Self(if is_null { Id::Null } else { Id::Sequence(sequence) })
    }

    pub(super) const fn sequence(self) -> Option<u64> {
        match self.0 {
            Id::Null => None,
            Id::Sequence(sequence) => Some(sequence),
        }
    }
}

impl fmt::Display for VersionId {
    /// 16 hexadecimal digits, or `null`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Id::Null => f.write_str("null"),
            Id::Sequence(sequence) => write!(f, "{sequence:016x}"),
        }
    }
}

impl FromStr for VersionId {
    type Err = StoreError;

    fn from_str(text: &str) -> Result<Self, StoreError> {
        if text == "null" {
            return Ok(Self::NULL);
        }
        let is_ours = text.len() == 16 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let sequence = u64::from_str_radix(text, 16).ok().filter(|_| is_ours);
        sequence.map(|sequence| Self(Id::Sequence(sequence))).ok_or(StoreError::InvalidVersionId)
    }
}

/// Tags, by S3's rules: of an object at most 10, of a bucket at most 50.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tags(Vec<(String, String)>);

impl Tags {
    /// Tags of an object.
    pub fn of_object(tags: Vec<(String, String)>) -> Result<Self, StoreError> {
        Self::checked(tags, 10)
    }

    /// Tags of a bucket.
    pub fn of_bucket(tags: Vec<(String, String)>) -> Result<Self, StoreError> {
        Self::checked(tags, 50)
    }

    /// What was checked when it was written.
    pub(super) const fn stored(tags: Vec<(String, String)>) -> Self {
        Self(tags)
    }

    fn checked(tags: Vec<(String, String)>, most: usize) -> Result<Self, StoreError> {
        let is_text =
            |text: &str| text.chars().all(|c| c.is_alphanumeric() || c.is_whitespace() || "_.:/=+-@".contains(c));
        let refuse = |why| Err(StoreError::InvalidTag(why));
        if tags.len() > most {
            return refuse("more tags than there may be");
        }
        let mut keys = BTreeSet::new();
        for (key, value) in &tags {
            if !(1..=128).contains(&key.chars().count()) || value.chars().count() > 256 {
                return refuse("a key of 1 to 128 characters, a value of at most 256");
            }
            if !is_text(key) || !is_text(value) || key.starts_with("aws:") {
                return refuse("letters, digits, spaces and + - = . _ : / @, and no key that begins with aws:");
            }
            if !keys.insert(key) {
                return refuse("no key twice");
            }
        }
        Ok(Self(tags))
    }

    /// Keys and values, in the order they came.
    #[must_use]
    pub fn pairs(&self) -> &[(String, String)] {
        &self.0
    }
}

/// How strictly a retention holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetentionMode {
    /// Who may bypass it can delete the version, and shorten or remove the retention.
    Governance,
    /// Nobody can.
    Compliance,
}

impl RetentionMode {
    /// S3's word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Governance => "GOVERNANCE",
            Self::Compliance => "COMPLIANCE",
        }
    }

    /// By S3's word.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Governance, Self::Compliance].into_iter().find(|mode| mode.as_str() == name)
    }
}

/// Until when a version cannot be deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// How strictly.
    pub mode: RetentionMode,
    /// Until when.
    pub until: Timestamp,
}

/// What keeps a version from being deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ObjectLock {
    /// Until a point in time.
    pub retention: Option<Retention>,
    /// Until it is taken off; none if nobody ever said.
    pub legal_hold: Option<bool>,
}

impl ObjectLock {
    /// Whether the version may be deleted.
    pub(super) fn permits_deletion(&self, now: Timestamp, bypass: bool) -> bool {
        let is_retained =
            |retention: Retention| retention.until > now && !(bypass && retention.mode == RetentionMode::Governance);
        self.legal_hold != Some(true) && !self.retention.is_some_and(is_retained)
    }

    /// Whether the retention may become `new`: longer in any case, otherwise only where it can be bypassed.
    pub(super) fn permits_retention(&self, new: Option<Retention>, now: Timestamp, bypass: bool) -> bool {
        let Some(old) = self.retention.filter(|old| old.until > now) else { return true };
        let is_longer = new.is_some_and(|new| new.mode == old.mode && new.until >= old.until);
        is_longer || bypass && old.mode == RetentionMode::Governance
    }
}

/// How long what is written to a bucket is retained if nothing else is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DefaultRetention {
    /// How strictly.
    pub mode: RetentionMode,
    /// For how long.
    pub period: Period,
}

/// A time of retention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Period {
    /// So many days, 1 to 36500.
    Days(u32),
    /// So many years of 365 days, 1 to 100.
    Years(u32),
}

impl DefaultRetention {
    pub(super) const fn is_valid(self) -> bool {
        match self.period {
            Period::Days(days) => days >= 1 && days <= 36_500,
            Period::Years(years) => years >= 1 && years <= 100,
        }
    }

    pub(super) fn from(self, now: Timestamp) -> Retention {
        let days = match self.period {
            Period::Days(days) => u64::from(days),
            Period::Years(years) => u64::from(years) * 365,
        };
        let until = Timestamp::from_unix_millis(now.unix_millis().saturating_add(days * 86_400_000));
        Retention { mode: self.mode, until }
    }
}

/// The object lock of a bucket: once there, it stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BucketLock {
    /// What holds of every new version that comes without a retention of its own.
    pub default: Option<DefaultRetention>,
}

/// What a new object comes with, beside its metadata, that may be changed later.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extras {
    /// Its tags.
    pub tags: Tags,
    /// What keeps it from being deleted; without a retention, the bucket's default.
    pub lock: ObjectLock,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_ids_are_read_as_they_are_written() {
        for id in [VersionId::NULL, VersionId::of(7, false), VersionId::of(u64::MAX, false)] {
            assert_eq!(id.to_string().parse::<VersionId>().unwrap(), id);
        }
        assert_eq!(VersionId::of(7, true), VersionId::NULL);
        for bad in
            ["", "v1", "7", "000000000000000G", "000000000000000A", "+000000000000007", "Null", "00000000000000001"]
        {
            assert!(matches!(bad.parse::<VersionId>(), Err(StoreError::InvalidVersionId)), "{bad}");
        }
    }

    #[test]
    fn tags_have_s3s_limits() {
        let tags = |n: usize| (0..n).map(|i| (format!("k{i}"), String::new())).collect::<Vec<_>>();
        let one = |key: &str, value: &str| Tags::of_object(vec![(key.to_owned(), value.to_owned())]);
        assert!(Tags::of_object(tags(10)).is_ok() && Tags::of_object(tags(11)).is_err());
        assert!(Tags::of_bucket(tags(50)).is_ok() && Tags::of_bucket(tags(51)).is_err());
        assert!(one(&"ü".repeat(128), &"ü".repeat(256)).is_ok());
        assert!(one("a b+c-d=e.f_g:h/i@j", "").is_ok());
        for (key, value) in [("", "v"), (&*"k".repeat(129), ""), ("k", &*"v".repeat(257)), ("aws:k", ""), ("k", "<")] {
            assert!(matches!(one(key, value), Err(StoreError::InvalidTag(_))), "{key}={value}");
        }
        assert!(Tags::of_object([tags(2), tags(1)].concat()).is_err());
    }

    #[test]
    fn a_retention_is_lengthened_by_anyone_and_shortened_only_where_it_can_be_bypassed() {
        use RetentionMode::{Compliance, Governance};
        let at = Timestamp::from_unix_millis;
        let some = |mode, until| Some(Retention { mode, until: at(until) });
        for (old, new, now, bypass, allowed) in [
            (None, some(Governance, 20), 10, false, true),
            (some(Governance, 20), some(Governance, 30), 10, false, true),
            (some(Governance, 20), some(Governance, 15), 10, false, false),
            (some(Governance, 20), some(Governance, 15), 10, true, true),
            (some(Governance, 20), some(Compliance, 30), 10, false, false),
            (some(Governance, 20), None, 10, false, false),
            (some(Governance, 20), None, 10, true, true),
            (some(Compliance, 20), some(Compliance, 30), 10, false, true),
            (some(Compliance, 20), some(Compliance, 15), 10, true, false),
            (some(Compliance, 20), some(Governance, 30), 10, true, false),
            (some(Compliance, 20), None, 10, true, false),
            (some(Compliance, 20), None, 20, false, true),
        ] {
            let lock = ObjectLock { retention: old, legal_hold: None };
            assert_eq!(lock.permits_retention(new, at(now), bypass), allowed, "{old:?} {new:?} {now} {bypass}");
        }
        let lock = |retention, legal_hold| ObjectLock { retention, legal_hold };
        assert!(lock(None, Some(false)).permits_deletion(at(10), false));
        assert!(!lock(None, Some(true)).permits_deletion(at(10), true));
        assert!(!lock(some(Governance, 20), None).permits_deletion(at(19), false));
        assert!(lock(some(Governance, 20), None).permits_deletion(at(19), true));
        assert!(!lock(some(Compliance, 20), None).permits_deletion(at(19), true));
        assert!(lock(some(Compliance, 20), None).permits_deletion(at(20), false));
    }
}

//! The gateway's policy: which buckets there are, who may do what, and how much of it.

use std::borrow::{Borrow, Cow};
use std::sync::Arc;
use std::time::Duration;

use crate::keys::EntryName;
use crate::object::{BucketId, TenantId};
use crate::s3::error::{ErrorCode, S3Error};
use crate::s3::target::BucketName;
use crate::secret::Secret;
use crate::sigv4::AccessKeyId;
use crate::store::identity::Issuer;

/// A bucket's name as applications say it, or the start of such names: `logs`, `team-*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NamePattern {
    /// This name only.
    Exact(String),
    /// Every name that begins so and goes on.
    Prefix(String),
}

impl NamePattern {
    /// Reads `NAME` or `START*`; a star stands only at the end.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text.split_once('*') {
            None if !text.is_empty() => Some(Self::Exact(text.to_owned())),
            Some((start, "")) => Some(Self::Prefix(start.to_owned())),
            _ => None,
        }
    }

    /// The name in which the star stands for `rest`.
    #[must_use]
    pub fn expand(&self, rest: &str) -> String {
        match self {
            Self::Exact(exact) => exact.clone(),
            Self::Prefix(start) => format!("{start}{rest}"),
        }
    }

    /// What the star stands for if `name` fits; empty for an exact name.
    #[must_use]
    pub fn matched<'a>(&self, name: &'a str) -> Option<&'a str> {
        match self {
            Self::Exact(exact) => (exact == name).then_some(""),
            Self::Prefix(start) => name.strip_prefix(start.as_str()).filter(|rest| !rest.is_empty()),
        }
    }
}

impl std::fmt::Display for NamePattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exact(exact) => f.write_str(exact),
            Self::Prefix(start) => write!(f, "{start}*"),
        }
    }
}

/// Origins of pages: `https://app.example`, with one star for a part of it, or `*` for all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginPattern(String);

impl OriginPattern {
    /// Reads an origin as browsers write it: scheme, host, and port if it is not the scheme's, all in lower case.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_origin = text.split_once("://").is_some_and(|(scheme, authority)| {
            let is_plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.:[]*".contains(&b);
            !scheme.is_empty()
                && scheme.bytes().all(|b| b.is_ascii_lowercase() || b"+-.".contains(&b))
                && !authority.is_empty()
                && authority.bytes().all(is_plain)
                && authority.matches('*').count() <= 1
        });
        (text == "*" || is_origin).then(|| Self(text.to_owned()))
    }

    /// Whether it is the one for all.
    #[must_use]
    pub fn is_any(&self) -> bool {
        self.0 == "*"
    }

    /// Whether `origin` fits. A star within one stands for at least a letter.
    #[must_use]
    pub fn matches(&self, origin: &str) -> bool {
        match self.0.split_once('*') {
            _ if self.is_any() => true,
            None => self.0 == origin,
            Some((start, end)) => {
                let rest = origin.strip_prefix(start).and_then(|rest| rest.strip_suffix(end));
                rest.is_some_and(|rest| !rest.is_empty())
            }
        }
    }
}

/// A text in which `*` stands for what the pattern's star stood for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(String);

impl Template {
    /// Any text with at most one star.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        (!text.is_empty() && text.matches('*').count() <= 1).then(|| Self(text.to_owned()))
    }

    /// Whether it has a star.
    #[must_use]
    pub fn has_star(&self) -> bool {
        self.0.contains('*')
    }

    /// The text for `rest`.
    #[must_use]
    pub fn expand(&self, rest: &str) -> String {
        self.0.replacen('*', rest, 1)
    }

    /// What the star stands for if `text` is an expansion; empty for a template without one.
    #[must_use]
    pub fn matched<'a>(&self, text: &'a str) -> Option<&'a str> {
        match self.0.split_once('*') {
            None => (self.0 == text).then_some(""),
            Some((start, end)) => {
                text.strip_prefix(start).and_then(|rest| rest.strip_suffix(end)).filter(|rest| !rest.is_empty())
            }
        }
    }
}

impl std::fmt::Display for Template {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// What stands in an id for what a name's star stands for. Ids have no dots: where there is one, `-` is written `--`, a dot `-0`,
/// and a dash ends it. As no bucket's name ends so, no two names have one id.
fn part_of_id(rest: &str) -> Cow<'_, str> {
    if !rest.contains('.') {
        return rest.into();
    }
    (rest.replace('-', "--").replace('.', "-0") + "-").into()
}

/// One `[[bucket]]`.
pub struct BucketRule {
    /// What applications say.
    pub name: NamePattern,
    /// The upstream's name in the configuration.
    pub upstream: String,
    /// The bucket's name there.
    pub upstream_name: Template,
    /// The id that is bound into every object; it outlives a change of either name.
    pub id: Template,
    /// Whose it is.
    pub tenant: TenantId,
    /// Whose newest active version seals.
    pub kek: EntryName,
    /// Whether bodies carry a recovery record.
    pub recovery: bool,
    /// Objects up to this length are verified whole before the status line.
    pub verify_whole: u64,
    /// What may be done here without a signature, as far as the store allows it too.
    pub anonymous: Option<Access>,
    /// What clients see as an object's ETag.
    pub etag: EtagMode,
    /// Pages of which origins the store's CORS rules may let in.
    pub cors_origins: Vec<OriginPattern>,
    /// Which places within the store applications may choose for new buckets; `*`: any.
    pub locations: Vec<String>,
    /// Whether applications may name other buckets, topics and queues, in rules of replication and notification: the store
    /// opens them to whoever the gateway is there.
    pub destinations: bool,
    /// The upstream bucket that holds the records of unfinished uploads, if not this one.
    pub state_bucket: Option<String>,
}

/// What clients see as an object's ETag.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EtagMode {
    /// The store's, marked.
    #[default]
    Opaque,
    /// The MD5 of the plaintext, where it is known. Lists show the store's all the same.
    Md5,
}

/// A bucket as one request means it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketNames {
    /// The bucket's name upstream.
    pub upstream_name: String,
    /// The bucket's id.
    pub id: BucketId,
}

impl BucketRule {
    /// Of the rules that fit `name` the one that counts: an exact one, else that with the longest start.
    pub fn chosen<R: Borrow<Self>>(rules: impl IntoIterator<Item = R>, name: &str) -> Option<R> {
        let fits = rules.into_iter().filter(|rule| rule.borrow().name.matched(name).is_some());
        fits.max_by_key(|rule| match &rule.borrow().name {
            NamePattern::Exact(_) => usize::MAX,
            NamePattern::Prefix(start) => start.len(),
        })
    }

    /// The names for `name`, `None` if this rule is not about it. An expansion that is no valid id or no valid upstream
    /// name is `InvalidBucketName`.
    pub fn names(&self, name: &BucketName) -> Result<Option<BucketNames>, S3Error> {
        let Some(rest) = self.name.matched(name.as_str()) else { return Ok(None) };
        let upstream_name = self.upstream_name.expand(rest);
        BucketName::parse(&upstream_name).map_err(|_| S3Error::from(ErrorCode::InvalidBucketName))?;
        let id = self.id.expand(&part_of_id(rest)).parse().map_err(|_| S3Error::from(ErrorCode::InvalidBucketName))?;
        Ok(Some(BucketNames { upstream_name, id }))
    }
}

/// What a credential may do in its buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Everything.
    ReadWrite,
    /// GET, HEAD, LIST.
    ReadOnly,
    /// PUT and multipart; no read, list, delete, copy source.
    WriteOnly,
}

/// One `[[credential]]`.
pub struct CredentialRule {
    /// The id that clients send.
    pub access_key_id: AccessKeyId,
    /// The secret that clients sign with.
    pub secret: Arc<Secret<str>>,
    /// Whose it is; it reaches only buckets of this tenant.
    pub tenant: TenantId,
    /// The buckets it reaches.
    pub buckets: Vec<NamePattern>,
    /// What it may do there.
    pub access: Access,
    /// Its own identity upstream, if it has one.
    pub upstream_credentials: Option<Arc<Issuer>>,
    /// The greatest number of its requests at once.
    pub max_requests: u32,
    /// The greatest number of its requests in a second; `None`: no limit.
    pub requests_per_second: Option<u32>,
    /// Whether it may sign by Signature Version 2 as well.
    pub signature_v2: bool,
}

/// Limits of the whole process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The greatest size of a request's header section.
    pub header: usize,
    /// The greatest size of an object's user metadata, names and values.
    pub metadata: usize,
    /// The greatest number of requests at once; beyond it: 503 SlowDown.
    pub requests: u32,
    /// The greatest number of connections; beyond it new ones wait in the listener's backlog.
    pub connections: u32,
    /// The budget that all bodies under way share, in bytes.
    pub memory: usize,
}

/// Time-outs of the downstream side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Until a request's header section is there.
    pub header: Duration,
    /// Between two bytes that move on a connection with a request under way.
    pub idle: Duration,
    /// Between two requests of a connection.
    pub keep_alive: Duration,
    /// How long requests under way may go on once the process was told to stop.
    pub drain: Duration,
}

/// The policy.
pub struct Settings {
    /// The only region that scopes may name; GetBucketLocation answers it.
    pub region: String,
    /// Hosts below which buckets are named in virtual-host style.
    pub domains: Vec<String>,
    /// Limits.
    pub limits: Limits,
    /// Time-outs.
    pub timeouts: Timeouts,
    /// The buckets; of several rules that fit, an exact one wins, then the longest start.
    pub buckets: Vec<BucketRule>,
    /// The credentials.
    pub credentials: Vec<CredentialRule>,
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn names_with_dots_have_ids_of_their_own() {
        assert_eq!(part_of_id("aaa-111"), "aaa-111");
        assert_eq!(part_of_id("www.example.com"), "www-0example-0com-");
        // all that a star can stand for, up to six characters of an alphabet that has what matters
        let mut all: Vec<String> = vec![String::new()];
        let mut seen: HashMap<String, String> = HashMap::new();
        for _ in 0..6 {
            all = all.iter().flat_map(|text| ["a", "0", "-", "."].map(|letter| format!("{text}{letter}"))).collect();
            for rest in all.iter().filter(|rest| rest.ends_with(['a', '0'])) {
                let id = part_of_id(rest).into_owned();
                assert!(id.parse::<BucketId>().is_ok(), "{rest}");
                assert_eq!(seen.insert(id.clone(), rest.clone()), None, "{rest} and another are {id}");
            }
        }
    }
}

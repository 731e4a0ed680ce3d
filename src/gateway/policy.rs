//! Who may do what where: credential and bucket name → [`Place`], or a refusal.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use zeroize::Zeroizing;

use super::error::Failure;
use super::records::is_reserved;
use super::settings::{Access, BucketRule, CredentialRule, NamePattern};
use crate::keys::{KeyScope, Purpose};
use crate::object::{Address, BucketId, ObjectKey, TenantId};
use crate::s3::error::{ErrorCode, S3Error};
use crate::s3::operation::Operation;
use crate::s3::target::BucketName;
use crate::secret::Secret;
use crate::sigv4::AccessKeyId;
use crate::store::settings::Profile;
use crate::store::{Identity, Upstream};

/// What a request does, as far as rights go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Right {
    /// Reads content or metadata of an object.
    Read,
    /// Names objects or unfinished uploads.
    List,
    /// Writes an object or a part.
    Write,
    /// Removes an object, or a bucket, or makes one.
    Change,
    /// Asks whether the bucket is there.
    Probe,
    /// Asks what a page of another origin may do: no more than the store's CORS rules say.
    Preflight,
}

impl Access {
    const fn allows(self, right: Right) -> bool {
        match (self, right) {
            (Self::ReadWrite, _) | (_, Right::Probe | Right::Preflight) => true,
            (Self::ReadOnly, right) => matches!(right, Right::Read | Right::List),
            (Self::WriteOnly, right) => matches!(right, Right::Write),
        }
    }
}

/// A credential with its account of use.
pub(super) struct Caller {
    pub(super) rule: CredentialRule,
    /// Whether it is nobody: its requests to the store are not signed either.
    is_anonymous: bool,
    account: Arc<Account>,
}

/// How much of what it may a credential uses now. It outlives a change of its rule.
struct Account {
    under_way: AtomicU32,
    bucket: Mutex<TokenBucket>,
}

impl Account {
    fn new() -> Arc<Self> {
        let bucket = Mutex::new(TokenBucket { tokens: 0.0, at: None });
        Arc::new(Self { under_way: AtomicU32::new(0), bucket })
    }
}

/// Requests that may still be begun: `rate` more every second, one second's worth at most.
struct TokenBucket {
    tokens: f64,
    at: Option<Instant>,
}

/// A request of a caller that is under way.
pub(super) struct UnderWay(Arc<Account>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Caller {
    fn new(rule: CredentialRule, is_anonymous: bool, account: Arc<Account>) -> Arc<Self> {
        Arc::new(Self { rule, is_anonymous, account })
    }

    /// Whoever asks a tenant's buckets without a signature. Its rule names no bucket: each bucket's own rule allows it.
    fn anonymous(tenant: &TenantId, max_requests: u32, account: &Arc<Account>) -> Option<Arc<Self>> {
        let rule = CredentialRule {
            access_key_id: AccessKeyId::parse("anonymous")?,
            secret: Arc::new(Secret::from_text(&Zeroizing::new(String::new()))),
            tenant: tenant.clone(),
            buckets: vec![NamePattern::Prefix(String::new())],
            access: Access::ReadWrite,
            upstream_credentials: None,
            max_requests,
            requests_per_second: None,
            signature_v2: false,
        };
        Some(Self::new(rule, true, Arc::clone(account)))
    }

    /// Whether it is whoever does not sign.
    pub(super) const fn is_anonymous(&self) -> bool {
        self.is_anonymous
    }

    /// As whom the store is asked on its behalf.
    pub(super) fn identity(&self) -> Identity<'_> {
        match &self.rule.upstream_credentials {
            _ if self.is_anonymous => Identity::Nobody,
            Some(credentials) => Identity::Of(credentials),
            None => Identity::Own,
        }
    }

    /// Begins a request, or refuses it: too many at once, or in this second.
    pub(super) fn begin(&self, now: Instant) -> Result<UnderWay, Failure> {
        let begun = self.account.under_way.fetch_add(1, Ordering::Relaxed);
        let under_way = UnderWay(Arc::clone(&self.account));
        if begun >= self.rule.max_requests {
            return Err(Failure::slow_down("the credential's limit of requests at once"));
        }
        if let Some(rate) = self.rule.requests_per_second {
            let rate = f64::from(rate.max(1));
            let mut bucket = self.account.bucket.lock().unwrap_or_else(PoisonError::into_inner);
            let since = bucket.at.map_or(1.0, |at| now.saturating_duration_since(at).as_secs_f64());
            bucket.tokens = (bucket.tokens + since * rate).min(rate);
            bucket.at = Some(now);
            if bucket.tokens < 1.0 {
                return Err(Failure::slow_down("the credential's rate of requests"));
            }
            bucket.tokens -= 1.0;
        }
        Ok(under_way)
    }
}

/// A bucket as one caller means it.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) rule: Arc<BucketRule>,
    pub(super) upstream: Arc<Upstream>,
    pub(super) caller: Arc<Caller>,
    /// What the caller says.
    pub(super) bucket: BucketName,
    /// What the store says.
    pub(super) upstream_name: String,
    pub(super) id: BucketId,
    pub(super) scope: KeyScope,
}

impl Place {
    /// The address that is bound into an object.
    pub(super) fn address(&self, key: &ObjectKey) -> Address {
        Address { tenant: self.rule.tenant.clone(), bucket: self.id.clone(), key: key.clone() }
    }

    /// Whether an application may have an object of that key here: the gateway's own keys are nobody's, and to a store that
    /// drops slashes another key would be meant.
    pub(super) fn admits(&self, key: &ObjectKey) -> Result<(), S3Error> {
        check_key(key)?;
        self.takes(key)
    }

    /// Whether the store keeps that key as it is.
    fn takes(&self, key: &ObjectKey) -> Result<(), S3Error> {
        if self.upstream.profile() == Profile::Minio && key.as_bytes().starts_with(b"/") {
            let message = "The store behind this bucket drops a slash at a key's beginning.";
            return Err(S3Error::argument("key", message));
        }
        Ok(())
    }

    /// Where the records of unfinished uploads lie.
    pub(super) fn state_bucket(&self) -> &str {
        self.rule.state_bucket.as_deref().unwrap_or(&self.upstream_name)
    }
}

/// The rules, ready for lookup.
pub(super) struct Policy {
    rules: Vec<Arc<BucketRule>>,
    callers: HashMap<AccessKeyId, Arc<Caller>>,
    /// For each tenant whoever has no signature; one account for all of them, who are perhaps one.
    anonymous: Vec<Arc<Caller>>,
    unsigned: Arc<Account>,
    upstreams: HashMap<String, Arc<Upstream>>,
}

impl Policy {
    pub(super) fn new(
        rules: Vec<BucketRule>,
        credentials: Vec<CredentialRule>,
        upstreams: impl IntoIterator<Item = Arc<Upstream>>,
        max_requests: u32,
        former: Option<&Self>,
    ) -> Self {
        let mut tenants: Vec<&TenantId> = rules.iter().map(|rule| &rule.tenant).collect();
        tenants.sort_unstable();
        tenants.dedup();
        // half of the places at most: those who sign find the other half, less a quarter for forms that are not read yet
        let unsigned = former.map_or_else(Account::new, |former| Arc::clone(&former.unsigned));
        let max_unsigned = (max_requests / 2).max(1);
        let anonymous = tenants.into_iter().filter_map(|tenant| Caller::anonymous(tenant, max_unsigned, &unsigned));
        let anonymous = anonymous.collect();
        let callers = credentials.into_iter().map(|mut rule| {
            let before = former.and_then(|former| former.callers.get(&rule.access_key_id));
            let account = before.map_or_else(Account::new, |before| Arc::clone(&before.account));
            let asked = before.and_then(|before| before.rule.upstream_credentials.as_ref());
            rule.upstream_credentials = rule.upstream_credentials.map(|issuer| match asked {
                Some(former) => issuer.after(former),
                None => issuer,
            });
            (rule.access_key_id.clone(), Caller::new(rule, false, account))
        });
        Self {
            rules: rules.into_iter().map(Arc::new).collect(),
            callers: callers.collect(),
            anonymous,
            unsigned,
            upstreams: upstreams.into_iter().map(|upstream| (upstream.name().to_owned(), upstream)).collect(),
        }
    }

    pub(super) fn caller(&self, id: &AccessKeyId) -> Result<&Arc<Caller>, Failure> {
        self.callers.get(id).ok_or_else(|| ErrorCode::InvalidAccessKeyId.into())
    }

    /// Who asks without a signature. The bucket tells whose it is; a name that two tenants give to a bucket tells nothing. A list of
    /// buckets is asked of the only tenant who opens any.
    pub(super) fn nobody(&self, operation: &Operation) -> Result<&Arc<Caller>, Failure> {
        let is_preflight = matches!(operation, Operation::Preflight { .. });
        // in the same words whether the bucket is there or not
        let denied = || Failure::from(if is_preflight { ErrorCode::AccessForbidden } else { ErrorCode::AccessDenied });
        let bucket = match operation {
            Operation::ListBuckets { .. } => None,
            other => Some(other.bucket().ok_or_else(denied)?),
        };
        let mut found = self.anonymous.iter().filter(|caller| {
            let Some(bucket) = bucket else { return self.rules_of(caller).any(|rule| rule.anonymous.is_some()) };
            let rule = BucketRule::chosen(self.rules_of(caller).cloned(), bucket.as_str());
            rule.is_some_and(|rule| is_preflight || rule.anonymous.is_some())
        });
        match (found.next(), found.next()) {
            (Some(caller), None) => Ok(caller),
            _ => Err(denied()),
        }
    }

    /// The rules of a caller's tenant.
    pub(super) fn rules_of<'a>(&'a self, caller: &'a Caller) -> impl Iterator<Item = &'a Arc<BucketRule>> {
        self.rules.iter().filter(|rule| rule.tenant == caller.rule.tenant)
    }

    pub(super) fn upstream(&self, name: &str) -> Result<&Arc<Upstream>, Failure> {
        self.upstreams.get(name).ok_or_else(|| Failure::ours("a bucket names an upstream that is not configured"))
    }

    /// Whether records of uploads lie in a bucket: no application reaches it, though its name fits a pattern.
    fn is_own_bucket(&self, upstream: &Upstream, name: &str) -> bool {
        self.rules.iter().any(|rule| {
            rule.state_bucket.as_deref() == Some(name)
                && self.upstreams.get(&rule.upstream).is_some_and(|other| other.endpoint() == upstream.endpoint())
        })
    }

    /// Whether the caller's list of buckets has this one.
    pub(super) fn reaches(caller: &Caller, bucket: &str) -> bool {
        caller.rule.buckets.iter().any(|pattern| pattern.matched(bucket).is_some())
    }

    /// The place that `caller` means by `bucket`, if it may do there what it wants.
    ///
    /// Which buckets exist is nobody's business but that of those who reach them: what is outside a credential's list is
    /// refused in the same words whether it exists or not.
    pub(super) fn place(&self, caller: &Arc<Caller>, bucket: &BucketName, right: Right) -> Result<Place, Failure> {
        if !Self::reaches(caller, bucket.as_str()) || !caller.rule.access.allows(right) {
            return Err(ErrorCode::AccessDenied.into());
        }
        let rule = BucketRule::chosen(self.rules_of(caller).cloned(), bucket.as_str())
            .ok_or(S3Error::from(ErrorCode::NoSuchBucket))?;
        let is_let_in = || right == Right::Preflight || rule.anonymous.is_some_and(|access| access.allows(right));
        if caller.is_anonymous && !is_let_in() {
            return Err(ErrorCode::AccessDenied.into());
        }
        let names = rule.names(bucket)?.ok_or(S3Error::from(ErrorCode::NoSuchBucket))?;
        let upstream = self.upstream(&rule.upstream)?;
        if self.is_own_bucket(upstream, &names.upstream_name) {
            return Err(ErrorCode::AccessDenied.into());
        }
        Ok(Place {
            upstream: Arc::clone(upstream),
            caller: Arc::clone(caller),
            bucket: bucket.clone(),
            upstream_name: names.upstream_name,
            id: names.id,
            scope: KeyScope::new(rule.tenant.clone(), rule.kek.clone(), Purpose::Serve),
            rule,
        })
    }

    /// As [`Policy::place`], for an object: the gateway's own keys are nobody's.
    pub(super) fn place_of(
        &self,
        caller: &Arc<Caller>,
        bucket: &BucketName,
        key: &ObjectKey,
        right: Right,
    ) -> Result<Place, Failure> {
        check_key(key)?;
        let place = self.place(caller, bucket, right)?;
        place.takes(key)?;
        Ok(place)
    }
}

/// Refuses keys that are nobody's, or would be to a store or a proxy that resolves segments of dots, whether it keeps empty
/// segments or not.
fn check_key(key: &ObjectKey) -> Result<(), S3Error> {
    let key = key.as_bytes();
    if is_reserved(key) {
        return Err(reserved());
    }
    let mut has_dots = key.split(|byte| *byte == b'/').map(|segment| matches!(segment, b"." | b".."));
    if !has_dots.any(|is_dots| is_dots) {
        return Ok(());
    }
    for keeps_empty in [true, false] {
        match resolved(key, keeps_empty) {
            Some(key) if is_reserved(&key) => return Err(reserved()),
            Some(key) if key.iter().any(|byte| *byte != b'/') => {}
            // the bucket itself, or what is beside it
            _ => return Err(S3Error::new(ErrorCode::InvalidURI, "The key's dots lead out of the bucket.")),
        }
    }
    Ok(())
}

/// A key without its `.` and `..`; `None` if these lead out of the bucket.
fn resolved(key: &[u8], keeps_empty: bool) -> Option<Vec<u8>> {
    let mut segments: Vec<&[u8]> = Vec::new();
    for segment in key.split(|byte| *byte == b'/') {
        match segment {
            b"." => {}
            b".." => drop(segments.pop()?),
            b"" if !keeps_empty => {}
            segment => segments.push(segment),
        }
    }
    Some(segments.join(&b'/'))
}

/// The refusal of a reserved key.
fn reserved() -> S3Error {
    S3Error::new(ErrorCode::AccessDenied, "Keys that begin with .sealgate/ are the gateway's own.")
}

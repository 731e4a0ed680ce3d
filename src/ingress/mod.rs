//! What a request must pass before anything is done for it: signature, parsing, and the verification of its body.
//!
//! ```text
//! head ── Verifier::accept ──▶ Accepted { operation, headers, caller }     nothing of it was believed before
//! body ── Accepted::body ────▶ IngressBody: pieces of the decoded body; its end means that every declared digest,
//!                              checksum, chunk signature and length holds
//! ```
//!
//! Shared by the gateway and by the embedded store's S3 face, which both are S3 servers.

pub mod answer;
mod body;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, header};

pub use body::{IngressBody, MAX_CHUNK_UNRESERVED};

use crate::clock::Timestamp;
use crate::net::server::Peer;
use crate::s3::error::{ErrorCode, S3Error};
use crate::s3::form::is_form;
use crate::s3::operation::{Operation, effective_headers};
use crate::s3::target::{Target, bucket_of_host};
use crate::secret::Secret;
use crate::sigv2;
use crate::sigv4::uri::Query;
use crate::sigv4::{
    AccessKeyId, AuthError, Authentication, ChunkSignatures, Claim, ContentSha256, CredentialScope, HeaderField,
    Headers, PostClaim, RequestView, SigningKey, Verified,
};

/// How many signing keys are kept: one per credential, and per day around midnight.
const KEPT_KEYS: usize = 4096;

/// Verifies the heads of requests.
pub struct Verifier {
    region: String,
    domains: Vec<String>,
    lets_nobody_in: bool,
    secrets: HashMap<AccessKeyId, Arc<Secret<str>>>,
    /// Who may sign by version 2 as well.
    by_version_2: HashSet<AccessKeyId>,
    /// A derived key costs four HMACs; it is good for a day.
    keys: Mutex<HashMap<AccessKeyId, Vec<SigningKey>>>,
}

/// A request whose head holds. It has no `Debug`: it holds names.
pub struct Accepted {
    /// What is asked.
    pub operation: Operation,
    /// The headers that count, those in a presigned URL's query included.
    pub headers: HeaderMap,
    /// Host and path as the client wrote them.
    pub at: String,
    /// Who asks; nobody, if it is not signed, which only a verifier that is told so accepts.
    pub caller: Option<AccessKeyId>,
    payload: ContentSha256,
    chunk_signatures: Option<ChunkSignatures>,
}

/// The fields of `headers` as the protocol's code reads them.
#[must_use]
pub fn fields(headers: &HeaderMap) -> Vec<HeaderField<'_>> {
    headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect()
}

impl Verifier {
    /// A verifier for one region, the virtual-host domains, and what is known of every caller.
    #[must_use]
    pub fn new(
        region: &str,
        domains: &[String],
        credentials: impl IntoIterator<Item = (AccessKeyId, Arc<Secret<str>>)>,
    ) -> Self {
        Self {
            region: region.to_owned(),
            domains: domains.iter().map(|domain| domain.to_ascii_lowercase()).collect(),
            lets_nobody_in: false,
            secrets: credentials.into_iter().collect(),
            by_version_2: HashSet::new(),
            keys: Mutex::default(),
        }
    }

    /// Accepts requests without a signature too, preflight requests among them. Whoever takes them must judge them.
    #[must_use]
    pub fn with_anonymous(mut self) -> Self {
        self.lets_nobody_in = true;
        self
    }

    /// Accepts signatures of version 2 from these as well.
    #[must_use]
    pub fn with_version_2(mut self, ids: impl IntoIterator<Item = AccessKeyId>) -> Self {
        self.by_version_2 = ids.into_iter().collect();
        self
    }

    /// Verifies the signature, and reads what is asked. The body is not verified yet: see [`Accepted::body`].
    pub fn accept(&self, parts: Parts, now: Timestamp) -> Result<Accepted, S3Error> {
        let Parts { method, uri, mut headers, extensions, .. } = parts;
        let is_tls = extensions.get::<Peer>().is_some_and(|peer| peer.tls);
        let host = one_host(&uri, &mut headers)?;
        let mut query = Query::parse(uri.query().unwrap_or_default())?;
        let received = fields(&headers);
        let view = RequestView {
            method: method.as_str(),
            path: uri.path(),
            query: uri.query().unwrap_or_default(),
            headers: Headers::new(&received),
        };
        let mut added = Vec::new();
        let bucket = || bucket_of_host(&host, &self.domains);
        let (caller, verified) = if self.lets_nobody_in && method == http::Method::OPTIONS {
            (self.asks_about_presigned(&view, &query, bucket()?.as_deref(), now), None)
        } else if self.reads_version_2(&view, &query) {
            let claim = sigv2::Claim::of(&view, &query, bucket()?.as_deref(), now)?;
            let (caller, _) = self.by_version_2(claim)?;
            (query, added) = sigv2::parted(&query);
            (Some(caller), None)
        } else {
            match Authentication::of(&view, &query, &self.region, now)? {
                Authentication::Signed(claim) => {
                    let verified = self.verified(*claim)?;
                    (Some(verified.access_key_id().clone()), Some(verified))
                }
                Authentication::Anonymous if self.lets_nobody_in => (None, None),
                Authentication::Anonymous => return Err(refuse_anonymous(method.as_str(), view.headers)),
            }
        };
        let payload = match &verified {
            Some(verified) => verified.payload(),
            // what is not signed by chunks
            None => unsigned_payload(view.headers)?,
        };

        let target = Target::parse(&host, uri.path(), &self.domains)?;
        let at = format!("{host}{}", uri.path());
        let field = |name: &str, value: &[u8]| {
            let refusal = || S3Error::new(ErrorCode::InvalidArgument, "A header in the query is no header.");
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| refusal())?;
            Ok::<_, S3Error>((name, HeaderValue::from_bytes(value).map_err(|_| refusal())?))
        };
        let mut from_query = Vec::new();
        for (name, value) in &added {
            if !view.headers.has(name) {
                from_query.push(field(name, value)?);
            }
        }
        let operation = {
            let effective = effective_headers(Headers::new(&received), &query, is_tls)?;
            let operation = Operation::parse(method.as_str(), target, &query, Headers::new(&effective))?;
            for (name, value) in effective.iter().skip(received.len()) {
                from_query.push(field(name, value)?);
            }
            operation
        };
        drop(received);
        if caller.is_none()
            && let Operation::GetObject(read) | Operation::HeadObject(read) = &operation
            && !read.overrides.is_empty()
        {
            let message = "Request specific response headers cannot be used for anonymous GET requests.";
            return Err(S3Error::new(ErrorCode::InvalidRequest, message));
        }
        headers.extend(from_query);
        Ok(Accepted {
            operation,
            headers,
            at,
            caller,
            payload,
            chunk_signatures: verified.and_then(|verified| verified.chunk_signatures()),
        })
    }

    /// Verifies the signature of a form's fields; the answer is who signed, and the policy. `None`: nobody.
    pub fn verify_form(
        &self,
        fields: &[HeaderField<'_>],
        now: Timestamp,
    ) -> Result<Option<(AccessKeyId, Vec<u8>)>, S3Error> {
        if !self.by_version_2.is_empty()
            && let Some(claim) = sigv2::Claim::of_form(Headers::new(fields))?
        {
            return Ok(Some(self.by_version_2(claim)?));
        }
        let Some(claim) = PostClaim::parse(Headers::new(fields), &self.region, now)? else { return Ok(None) };
        let key = self.signing_key(claim.access_key_id(), claim.scope())?;
        Ok(Some(claim.verify(&key)?))
    }

    /// A preflight request about a presigned URL comes from its signer: the signature is that of the request to come. Any
    /// other is nobody's, for a browser signs none: a URL that signs headers cannot be verified before they are there.
    fn asks_about_presigned(
        &self,
        view: &RequestView<'_>,
        query: &Query,
        bucket: Option<&str>,
        now: Timestamp,
    ) -> Option<AccessKeyId> {
        let method = view.headers.one("access-control-request-method").ok()??;
        if view.headers.has("authorization") {
            return None;
        }
        let announced = RequestView { method: str::from_utf8(method).ok()?, ..*view };
        if self.reads_version_2(&announced, query) {
            let claim = sigv2::Claim::of(&announced, query, bucket, now).ok()?;
            return self.by_version_2(claim).ok().map(|(caller, _)| caller);
        }
        match Authentication::of(&announced, query, &self.region, now).ok()? {
            Authentication::Signed(claim) => Some(self.verified(*claim).ok()?.access_key_id().clone()),
            Authentication::Anonymous => None,
        }
    }

    fn reads_version_2(&self, view: &RequestView<'_>, query: &Query) -> bool {
        !self.by_version_2.is_empty() && sigv2::is_claimed(view, query)
    }

    fn verified(&self, claim: Claim) -> Result<Verified, S3Error> {
        let key = self.signing_key(claim.access_key_id(), claim.scope())?;
        claim.verify(&key).map_err(|error| match error {
            AuthError::Misuse => ErrorCode::InternalError.into(),
            error => S3Error::from(error),
        })
    }

    /// Verifies a signature of version 2; the answer is who signed, and the string that was signed.
    fn by_version_2(&self, claim: sigv2::Claim) -> Result<(AccessKeyId, Vec<u8>), S3Error> {
        let id = claim.access_key_id();
        let secret = self.secrets.get(id).ok_or(S3Error::from(ErrorCode::InvalidAccessKeyId))?;
        let verified = claim.verify(secret)?;
        // only who knows the secret hears that it is not for this version
        if !self.by_version_2.contains(&verified.0) {
            return Err(AuthError::SignatureV2.into());
        }
        Ok(verified)
    }

    fn signing_key(&self, id: &AccessKeyId, scope: &CredentialScope) -> Result<SigningKey, S3Error> {
        let secret = self.secrets.get(id).ok_or(S3Error::from(ErrorCode::InvalidAccessKeyId))?;
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = keys.get(id).and_then(|kept| kept.iter().find(|key| key.scope() == scope)) {
            return Ok(key.clone());
        }
        let key = SigningKey::derive(secret, scope);
        if keys.len() >= KEPT_KEYS && !keys.contains_key(id) {
            keys.clear();
        }
        let kept = keys.entry(id.clone()).or_default();
        // two days around midnight; a presigned URL of an older day takes a place and loses it again
        if kept.len() >= 3 {
            kept.remove(0);
        }
        kept.push(key.clone());
        Ok(key)
    }
}

/// What an unsigned request says of its body. It can have no signed chunks.
fn unsigned_payload(headers: Headers<'_>) -> Result<ContentSha256, S3Error> {
    let refusal =
        || S3Error::new(ErrorCode::InvalidRequest, "A request that is not signed by version 4 has no signed chunks.");
    match headers.one("x-amz-content-sha256").map_err(|_| refusal())?.map(ContentSha256::parse).transpose()? {
        Some(ContentSha256::Streaming | ContentSha256::StreamingTrailer) => Err(refusal()),
        said => Ok(said.unwrap_or(ContentSha256::Unsigned)),
    }
}

/// A form upload brings its signature in the body; everything else without one is refused.
fn refuse_anonymous(method: &str, headers: Headers<'_>) -> S3Error {
    if method == "POST" && is_form(headers) {
        S3Error::not_implemented("PostObject")
    } else {
        ErrorCode::AccessDenied.into()
    }
}

/// The host, which stands in `Host` (HTTP/1.1) or in the target (HTTP/2, absolute form) and is then put where the signature
/// looks for it. Two different ones are an attempt to be understood in two ways.
fn one_host(uri: &http::Uri, headers: &mut HeaderMap) -> Result<String, S3Error> {
    let refusal = || S3Error::new(ErrorCode::InvalidRequest, "The request has no host, or more than one.");
    let mut values = headers.get_all(header::HOST).iter();
    let (first, second) = (values.next(), values.next());
    if second.is_some() {
        return Err(refusal());
    }
    let first = first.map(|value| value.to_str().map(str::to_owned)).transpose().map_err(|_| refusal())?;
    match (first, uri.authority()) {
        (Some(host), None) => Ok(host),
        (Some(host), Some(authority)) if host.eq_ignore_ascii_case(authority.as_str()) => Ok(host),
        (None, Some(authority)) => {
            let value = HeaderValue::from_str(authority.as_str()).map_err(|_| refusal())?;
            headers.insert(header::HOST, value);
            Ok(authority.as_str().to_owned())
        }
        _ => Err(refusal()),
    }
}

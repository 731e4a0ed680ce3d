//! Signing our own requests to a store, with the canonicalisation that verifies.

use super::authorization::{MAX_EXPIRES_SECONDS, RequestView};
use super::canonical::{ALGORITHM, Canonical, ContentSha256, canonical_path, canonical_query, string_to_sign};
use super::chunk::ChunkSignatures;
use super::date::AmzDate;
use super::error::AuthError;
use super::headers::{HeaderField, Headers};
use super::key::SigningKey;
use super::uri::Query;
use crate::digest::{SHA256_LEN, hex};
use crate::secret::Secret;

/// Headers that proxies and HTTP libraries change or drop on the way, and the signature's own.
const NEVER_SIGNED: [&str; 11] = [
    "accept-encoding",
    "authorization",
    "connection",
    "content-length",
    "expect",
    "keep-alive",
    "te",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "x-amzn-trace-id",
];

/// With what a request is signed. It has no `Debug`.
#[derive(Clone, Copy)]
pub struct Credentials<'a> {
    /// The id of the credential.
    pub access_key_id: &'a str,
    /// The signing key of the request's day and the store's region.
    pub key: &'a SigningKey,
    /// The token of temporary credentials.
    pub session_token: Option<&'a Secret<str>>,
}

/// What signing adds to a request. It has no `Debug`.
pub struct SignedFields<'a> {
    date: AmzDate,
    long_date: String,
    content_sha256: String,
    authorization: String,
    session_token: Option<&'a Secret<str>>,
    key: &'a SigningKey,
    signature: [u8; SHA256_LEN],
}

impl SignedFields<'_> {
    /// The header fields to add, all of them. The values must not be logged.
    pub fn fields(&self) -> impl Iterator<Item = (&'static str, &str)> {
        [
            ("x-amz-date", self.long_date.as_str()),
            ("x-amz-content-sha256", &self.content_sha256),
            ("authorization", &self.authorization),
        ]
        .into_iter()
        .chain(self.session_token.map(|token| ("x-amz-security-token", token.expose_secret())))
    }

    /// The chain of chunk signatures, for a body that is signed by chunks.
    #[must_use]
    pub fn chunk_signatures(&self) -> ChunkSignatures {
        ChunkSignatures::new(self.key.clone(), self.date, self.signature)
    }
}

struct Signature {
    signed: String,
    signature: [u8; SHA256_LEN],
}

fn signature_of(
    request: &RequestView<'_>,
    query: &Query,
    headers: &[HeaderField<'_>],
    key: &SigningKey,
    date: AmzDate,
    payload: ContentSha256,
    signed: &[&str],
) -> Result<Signature, AuthError> {
    let path = canonical_path(request.path).map_err(|_| AuthError::Uri)?;
    let canonical = Canonical {
        method: request.method,
        path: &path,
        query: &canonical_query(query, false),
        headers: Headers::new(headers),
        signed,
        payload,
    }
    .to_bytes();
    let text = string_to_sign(date, key.scope(), &canonical);
    let signature = key.sign(text.as_bytes());
    Ok(Signature { signed: signed.join(";"), signature })
}

fn signed_names(headers: &[HeaderField<'_>]) -> Vec<String> {
    let mut names: Vec<String> = headers
        .iter()
        .map(|(name, _)| name.to_ascii_lowercase())
        .filter(|name| !NEVER_SIGNED.contains(&name.as_str()))
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

fn require_host_and_day(request: &RequestView<'_>, key: &SigningKey, date: AmzDate) -> Result<(), AuthError> {
    match request.headers.one("host") {
        Ok(Some(_)) if key.scope().date() == date.short() => Ok(()),
        _ => Err(AuthError::Misuse),
    }
}

/// Signs a request in its header: all of `request.headers` but those that proxies change, `host` among them.
///
/// The headers must not already hold what is added: `x-amz-date`, `x-amz-content-sha256`, `x-amz-security-token`,
/// `authorization`. `credentials.key` must be of `date`'s day. The caller then sends exactly these headers, this path
/// and this query, and a body as `payload` says.
pub fn sign<'a>(
    request: &RequestView<'_>,
    credentials: &Credentials<'a>,
    date: AmzDate,
    payload: ContentSha256,
) -> Result<SignedFields<'a>, AuthError> {
    require_host_and_day(request, credentials.key, date)?;
    let added = ["x-amz-date", "x-amz-content-sha256", "x-amz-security-token", "authorization"];
    if added.into_iter().any(|name| request.headers.has(name)) {
        return Err(AuthError::Misuse);
    }
    let query = Query::parse(request.query).map_err(|_| AuthError::Uri)?;
    let (long_date, content_sha256) = (date.long(), payload.to_text());
    let mut headers: Vec<HeaderField<'_>> = request.headers.iter().collect();
    headers.push(("x-amz-date", long_date.as_bytes()));
    headers.push(("x-amz-content-sha256", content_sha256.as_bytes()));
    if let Some(token) = credentials.session_token {
        headers.push(("x-amz-security-token", token.expose_secret().as_bytes()));
    }
    let names = signed_names(&headers);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let made = signature_of(request, &query, &headers, credentials.key, date, payload, &names)?;
    let authorization = format!(
        "{ALGORITHM} Credential={}/{},SignedHeaders={},Signature={}",
        credentials.access_key_id,
        credentials.key.scope().to_text(),
        made.signed,
        hex(&made.signature)
    );
    Ok(SignedFields {
        date,
        long_date,
        content_sha256,
        authorization,
        session_token: credentials.session_token,
        key: credentials.key,
        signature: made.signature,
    })
}

/// The query of a presigned URL that is good for `expires_seconds` (1 to 604800) from `date` on, with the request's own
/// parameters before the signature's. The body is not signed. The caller keeps it as a secret: whoever has it has the
/// right it gives.
pub fn presign(
    request: &RequestView<'_>,
    credentials: &Credentials<'_>,
    date: AmzDate,
    expires_seconds: u64,
) -> Result<String, AuthError> {
    require_host_and_day(request, credentials.key, date)?;
    if !(1..=MAX_EXPIRES_SECONDS).contains(&expires_seconds) {
        return Err(AuthError::Misuse);
    }
    let headers: Vec<HeaderField<'_>> = request.headers.iter().collect();
    let names = signed_names(&headers);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut query = Query::parse(request.query).map_err(|_| AuthError::Uri)?;
    query.push("X-Amz-Algorithm", ALGORITHM);
    query.push("X-Amz-Credential", format!("{}/{}", credentials.access_key_id, credentials.key.scope().to_text()));
    query.push("X-Amz-Date", date.long());
    query.push("X-Amz-Expires", expires_seconds.to_string());
    query.push("X-Amz-SignedHeaders", names.join(";"));
    if let Some(token) = credentials.session_token {
        query.push("X-Amz-Security-Token", token.expose_secret());
    }
    let payload = ContentSha256::Unsigned;
    let made = signature_of(request, &query, &headers, credentials.key, date, payload, &names)?;
    query.push("X-Amz-Signature", hex(&made.signature));
    Ok(query.to_encoded())
}

//! From a request to a claim, and from a claim to what is verified.
//!
//! Sources: "Authenticating Requests: Using the Authorization Header", "Authenticating Requests: Using Query
//! Parameters".

use super::canonical::{ALGORITHM, Canonical, ContentSha256, canonical_path, canonical_query, string_to_sign};
use super::chunk::ChunkSignatures;
use super::date::{AmzDate, parse_http_date};
use super::error::AuthError;
use super::headers::Headers;
use super::key::SigningKey;
use super::scope::{AccessKeyId, CredentialScope};
use super::uri::Query;
use crate::clock::Timestamp;
use crate::digest::{SHA256_LEN, unhex};

/// How far a client's clock may be off: 15 minutes.
pub const MAX_SKEW_MILLIS: u64 = 15 * 60 * 1000;
/// The longest life of a presigned URL: 7 days.
pub const MAX_EXPIRES_SECONDS: u64 = 604_800;
/// The parameters of a presigned URL's signature.
pub const PRESIGNED: [&str; 7] = [
    "X-Amz-Algorithm",
    "X-Amz-Credential",
    "X-Amz-Date",
    "X-Amz-Expires",
    "X-Amz-SignedHeaders",
    "X-Amz-Signature",
    "X-Amz-Content-Sha256",
];
/// The longest `Authorization` header.
const MAX_AUTHORIZATION_LEN: usize = 8192;

/// A request as it was received, before any decoding. It has no `Debug`.
#[derive(Clone, Copy)]
pub struct RequestView<'a> {
    /// The method.
    pub method: &'a str,
    /// The path as it stands in the request line, percent-encoded; of an absolute URI the path alone.
    pub path: &'a str,
    /// What stands behind `?`, or nothing.
    pub query: &'a str,
    /// All header fields.
    pub headers: Headers<'a>,
}

/// How a request claims to be authenticated.
pub enum Authentication {
    /// Not at all. The caller refuses it unless the bucket allows it.
    Anonymous,
    /// By a signature that is not verified yet.
    Signed(Box<Claim>),
}

/// Where the signature stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presentation {
    /// In the `Authorization` header.
    Header,
    /// In the query: a presigned URL.
    Query,
}

/// A parsed signature that is **not believed yet**: all checks but that of the signature itself are done.
///
/// Look up the secret of [`Claim::access_key_id`] (unknown: `InvalidAccessKeyId`), then [`Claim::verify`]. It has no
/// `Debug`.
pub struct Claim {
    access_key_id: AccessKeyId,
    scope: CredentialScope,
    date: AmzDate,
    presentation: Presentation,
    payload: ContentSha256,
    string_to_sign: String,
    signature: [u8; SHA256_LEN],
}

/// A request whose signature holds. Its body is not verified yet: see [`Verified::payload`].
pub struct Verified {
    access_key_id: AccessKeyId,
    date: AmzDate,
    presentation: Presentation,
    payload: ContentSha256,
    key: SigningKey,
    signature: [u8; SHA256_LEN],
}

impl Verified {
    /// Who signed.
    #[must_use]
    pub const fn access_key_id(&self) -> &AccessKeyId {
        &self.access_key_id
    }

    /// The time of the request by the client's clock, within 15 minutes of ours (presigned: of its making).
    #[must_use]
    pub const fn date(&self) -> AmzDate {
        self.date
    }

    /// Header or query.
    #[must_use]
    pub const fn presentation(&self) -> Presentation {
        self.presentation
    }

    /// What was signed about the body, which whoever reads the body must compare with it.
    #[must_use]
    pub const fn payload(&self) -> ContentSha256 {
        self.payload
    }

    /// The chain of chunk signatures, where the body is signed by chunks; the request's signature is its seed.
    #[must_use]
    pub fn chunk_signatures(&self) -> Option<ChunkSignatures> {
        matches!(self.payload, ContentSha256::Streaming | ContentSha256::StreamingTrailer)
            .then(|| ChunkSignatures::new(self.key.clone(), self.date, self.signature))
    }
}

impl Claim {
    /// Who claims to have signed.
    #[must_use]
    pub const fn access_key_id(&self) -> &AccessKeyId {
        &self.access_key_id
    }

    /// For which scope the signing key must be derived.
    #[must_use]
    pub const fn scope(&self) -> &CredentialScope {
        &self.scope
    }

    /// Compares the signature, in constant time. `key` is derived from the secret of [`Claim::access_key_id`] for
    /// [`Claim::scope`]; one of another scope is [`AuthError::Misuse`].
    pub fn verify(self, key: &SigningKey) -> Result<Verified, AuthError> {
        if *key.scope() != self.scope {
            return Err(AuthError::Misuse);
        }
        if !key.is_signature_of(self.string_to_sign.as_bytes(), &self.signature) {
            return Err(AuthError::SignatureMismatch);
        }
        Ok(Verified {
            access_key_id: self.access_key_id,
            date: self.date,
            presentation: self.presentation,
            payload: self.payload,
            key: key.clone(),
            signature: self.signature,
        })
    }

    #[cfg(test)]
    pub(super) fn string_to_sign(&self) -> &str {
        &self.string_to_sign
    }
}

impl Authentication {
    /// Reads how `request` is signed, and checks everything that needs no secret: form, scope, region, times, and that
    /// `host` and every `x-amz-*` header is signed.
    ///
    /// `query` is `request.query` decoded; `region` is the only one accepted. S3's pages ask clients to sign
    /// `content-type` too but S3 does not refuse those that do not, nor does this.
    pub fn of(request: &RequestView<'_>, query: &Query, region: &str, now: Timestamp) -> Result<Self, AuthError> {
        Ok(match parse(request, query, region, now)? {
            None => Self::Anonymous,
            Some((claim, _)) => Self::Signed(Box::new(claim)),
        })
    }
}

/// The claim with the canonical request it was made of.
pub(super) fn parse(
    request: &RequestView<'_>,
    query: &Query,
    region: &str,
    now: Timestamp,
) -> Result<Option<(Claim, Vec<u8>)>, AuthError> {
    let authorization = request.headers.one("authorization").map_err(|_| AuthError::RepeatedHeader)?;
    let in_query = |name: &str| query.parameters().iter().any(|p| p.name.eq_ignore_ascii_case(name.as_bytes()));
    // one of them is enough: what is left of a presigned URL is a bad signature, never none
    let presigned = PRESIGNED.into_iter().any(in_query);
    let presigned_v2 = query.has("AWSAccessKeyId") || (query.has("Signature") && query.has("Expires"));
    if authorization.is_some() && (presigned || presigned_v2) {
        return Err(AuthError::TwoMechanisms);
    }
    if presigned_v2 {
        return Err(AuthError::SignatureV2);
    }
    if request.headers.has("x-amz-security-token") || in_query("X-Amz-Security-Token") {
        return Err(AuthError::SecurityToken);
    }
    let parts = match authorization {
        Some(value) => from_header(request, value, region, now)?,
        None if presigned => from_query(request, query, region, now)?,
        None => return Ok(None),
    };
    let signed = signed_names(&parts, request.headers)?;
    let path = canonical_path(request.path).map_err(|_| AuthError::Uri)?;
    let canonical_request = Canonical {
        method: request.method,
        path: &path,
        query: &canonical_query(query, presigned),
        headers: request.headers,
        signed: &signed,
        payload: parts.payload,
    }
    .to_bytes();
    let claim = Claim {
        string_to_sign: string_to_sign(parts.date, &parts.scope, &canonical_request),
        access_key_id: parts.access_key_id,
        scope: parts.scope,
        date: parts.date,
        presentation: parts.presentation,
        payload: parts.payload,
        signature: parts.signature,
    };
    Ok(Some((claim, canonical_request)))
}

struct Parts {
    access_key_id: AccessKeyId,
    scope: CredentialScope,
    date: AmzDate,
    /// The time was read from `Date`, which must then be signed.
    date_header: bool,
    presentation: Presentation,
    payload: ContentSha256,
    signed: String,
    signature: [u8; SHA256_LEN],
}

fn from_header(request: &RequestView<'_>, value: &[u8], region: &str, now: Timestamp) -> Result<Parts, AuthError> {
    let value = str::from_utf8(value).map_err(|_| AuthError::Malformed("it is not a text"))?;
    if value.len() > MAX_AUTHORIZATION_LEN {
        return Err(AuthError::Malformed("it is too long"));
    }
    let (scheme, rest) = value.split_once(' ').unwrap_or((value, ""));
    match scheme {
        ALGORITHM => {}
        "AWS4-ECDSA-P256-SHA256" => return Err(AuthError::SignatureV4a),
        "AWS" => return Err(AuthError::SignatureV2),
        _ => return Err(AuthError::UnsupportedScheme),
    }
    let (mut credential, mut signed, mut signature) = (None, None, None);
    for component in rest.split(',') {
        let (name, value) = component
            .trim_matches(' ')
            .split_once('=')
            .ok_or(AuthError::Malformed("it is a list of name=value components, separated by commas"))?;
        let slot = match name {
            "Credential" => &mut credential,
            "SignedHeaders" => &mut signed,
            "Signature" => &mut signature,
            _ => return Err(AuthError::Malformed("it has an unknown component")),
        };
        if slot.replace(value).is_some() {
            return Err(AuthError::Malformed("it has a component twice"));
        }
    }
    let credential = credential.ok_or(AuthError::Malformed("missing Credential"))?;
    let signed = signed.ok_or(AuthError::Malformed("missing SignedHeaders"))?;
    let signature = signature.ok_or(AuthError::Malformed("missing Signature"))?;
    let (access_key_id, scope) = CredentialScope::parse_credential(credential).map_err(AuthError::Malformed)?;
    if scope.region() != region {
        return Err(AuthError::Region { expected: region.to_owned() });
    }
    let signature =
        unhex(signature.as_bytes()).ok_or(AuthError::Malformed("the Signature is not 64 hexadecimal digits"))?;
    let one = |name| request.headers.one(name).map_err(|_| AuthError::RepeatedHeader);
    let (date, date_header) = match (one("x-amz-date")?, one("date")?) {
        (Some(text), _) => (AmzDate::parse(text), false),
        (None, Some(text)) => {
            let http = || str::from_utf8(text).ok().and_then(parse_http_date).map(AmzDate::of);
            (AmzDate::parse(text).or_else(http), true)
        }
        (None, None) => (None, false),
    };
    let date = date.ok_or(AuthError::MissingDate)?;
    if now.unix_millis().abs_diff(date.timestamp().unix_millis()) > MAX_SKEW_MILLIS {
        return Err(AuthError::TimeTooSkewed);
    }
    if date.short() != scope.date() {
        return Err(AuthError::Malformed("the Credential's date is not that of the request"));
    }
    let payload = one("x-amz-content-sha256")?.ok_or(AuthError::MissingContentSha256)?;
    Ok(Parts {
        access_key_id,
        scope,
        date,
        date_header,
        presentation: Presentation::Header,
        payload: ContentSha256::parse(payload)?,
        signed: signed.to_owned(),
        signature,
    })
}

fn one_parameter<'q>(query: &'q Query, name: &str, missing: &'static str) -> Result<&'q str, AuthError> {
    let mut values = query.parameters().iter().filter(|parameter| parameter.name == name.as_bytes());
    let value = values.next().ok_or(AuthError::Query(missing))?;
    if values.next().is_some() {
        return Err(AuthError::Query("a parameter stands twice"));
    }
    str::from_utf8(&value.value).map_err(|_| AuthError::Query("a parameter is not a text"))
}

fn from_query(request: &RequestView<'_>, query: &Query, region: &str, now: Timestamp) -> Result<Parts, AuthError> {
    // another spelling would be signed, and yet not be what is read below
    let spelt = |name: &[u8]| PRESIGNED.into_iter().find(|known| name.eq_ignore_ascii_case(known.as_bytes()));
    if query.parameters().iter().any(|p| spelt(&p.name).is_some_and(|known| known.as_bytes() != p.name)) {
        return Err(AuthError::Query("a parameter's name is not spelt as S3 spells it"));
    }
    let one = |name, missing| one_parameter(query, name, missing);
    match one("X-Amz-Algorithm", "X-Amz-Algorithm is missing")? {
        ALGORITHM => {}
        "AWS4-ECDSA-P256-SHA256" => return Err(AuthError::SignatureV4a),
        _ => return Err(AuthError::Query("X-Amz-Algorithm only supports AWS4-HMAC-SHA256")),
    }
    let credential = one("X-Amz-Credential", "X-Amz-Credential is missing")?;
    let date = one("X-Amz-Date", "X-Amz-Date is missing")?;
    let expires = one("X-Amz-Expires", "X-Amz-Expires is missing")?;
    let signed = one("X-Amz-SignedHeaders", "X-Amz-SignedHeaders is missing")?;
    let signature = one("X-Amz-Signature", "X-Amz-Signature is missing")?;
    let (access_key_id, scope) = CredentialScope::parse_credential(credential).map_err(AuthError::Query)?;
    if scope.region() != region {
        return Err(AuthError::QueryRegion { expected: region.to_owned() });
    }
    let date = AmzDate::parse(date.as_bytes())
        .ok_or(AuthError::Query("X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\""))?;
    if date.short() != scope.date() {
        return Err(AuthError::Query("the Credential's date is not that of X-Amz-Date"));
    }
    let digits = expires.strip_prefix('-').unwrap_or(expires);
    let digits = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let expires = expires
        .parse::<i64>()
        .ok()
        .map(|seconds| u64::try_from(seconds).unwrap_or(0))
        .filter(|seconds| digits && *seconds <= MAX_EXPIRES_SECONDS)
        .ok_or(AuthError::Query("X-Amz-Expires must be a number of seconds from 1 to 604800"))?;
    let made = date.timestamp().unix_millis();
    if now.unix_millis().saturating_add(MAX_SKEW_MILLIS) < made {
        return Err(AuthError::NotYetValid);
    }
    // as S3: the expiry has no allowance for skew; a URL that ends before it begins was never good
    if expires == 0 || now.unix_millis() > made.saturating_add(expires * 1000) {
        return Err(AuthError::Expired);
    }
    let signature =
        unhex(signature.as_bytes()).ok_or(AuthError::Query("X-Amz-Signature is not 64 hexadecimal digits"))?;
    let header = request.headers.one("x-amz-content-sha256").map_err(|_| AuthError::RepeatedHeader)?;
    let in_query = match query.first("X-Amz-Content-Sha256") {
        Some(_) => Some(one("X-Amz-Content-Sha256", "")?.as_bytes()),
        None => None,
    };
    if header.is_some() && in_query.is_some() && header != in_query {
        return Err(AuthError::InvalidContentSha256);
    }
    let payload = match header.or(in_query) {
        Some(text) => ContentSha256::parse(text)?,
        None => ContentSha256::Unsigned,
    };
    if matches!(payload, ContentSha256::Streaming | ContentSha256::StreamingTrailer) {
        return Err(AuthError::Query("a presigned URL cannot sign the chunks of its body"));
    }
    Ok(Parts {
        access_key_id,
        scope,
        date,
        date_header: false,
        presentation: Presentation::Query,
        payload,
        signed: signed.to_owned(),
        signature,
    })
}

/// The signed names, if they are in order and all that must be signed is among them.
fn signed_names<'p>(parts: &'p Parts, headers: Headers<'_>) -> Result<Vec<&'p str>, AuthError> {
    let malformed = |text| match parts.presentation {
        Presentation::Header => AuthError::Malformed(text),
        Presentation::Query => AuthError::Query(text),
    };
    let names: Vec<&str> = parts.signed.split(';').collect();
    let is_name = |name: &&str| {
        !name.is_empty()
            && name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9') || b"!#$%&'*+-.^_`|~".contains(&b))
    };
    if !names.iter().all(is_name) {
        return Err(malformed("SignedHeaders is a list of header names in lower case, separated by semicolons"));
    }
    if !names.is_sorted_by(|a, b| a < b) {
        return Err(malformed("SignedHeaders is not sorted, or names a header twice"));
    }
    let is_signed = |name: &str| names.iter().any(|signed| signed.eq_ignore_ascii_case(name));
    if !is_signed("host") {
        return Err(malformed("SignedHeaders does not contain host"));
    }
    if parts.date_header && !is_signed("date") {
        return Err(AuthError::UnsignedHeader);
    }
    let is_amz = |name: &str| name.get(..6).is_some_and(|start| start.eq_ignore_ascii_case("x-amz-"));
    if headers.iter().any(|(name, _)| is_amz(name) && !is_signed(name)) {
        return Err(AuthError::UnsignedHeader);
    }
    if headers.one("host").map_err(|_| AuthError::RepeatedHeader)?.is_none() {
        return Err(AuthError::SignatureMismatch);
    }
    // what was signed but did not arrive: the request is not the one that was signed
    if names.iter().any(|name| !headers.has(name)) {
        return Err(AuthError::SignatureMismatch);
    }
    Ok(names)
}

//! What passes between the two sides' headers, and what is kept back: one page.

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::error::Failure;
use super::etag;
use crate::digest::ChecksumType;
use crate::digest::ChecksumValue;
use crate::format::envelope::METADATA_KEY;
use crate::format::metadata::{Checksum, ContentField, Metadata};
use crate::ingress::fields;
use crate::s3::checksum::{checksum_header, format_checksum};
use crate::s3::error::{ErrorCode, S3Error};
use crate::s3::metadata::{ObjectHeaders, USER_PREFIX, encode_rfc2047};
use crate::s3::operation::{HeaderUse, amz_header_use};
use crate::s3::xml::unquoted;
use crate::sigv4::Headers;

/// The header in which an object's envelope travels.
pub(super) const ENVELOPE: HeaderName = HeaderName::from_static("x-amz-meta-sealgate");
/// What the store is told of every object's content.
pub(super) const CIPHERTEXT_TYPE: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// Headers of the store's answers that mean the same for the plaintext.
const PASSED_BACK: &[&str] = &[
    "last-modified",
    "x-amz-version-id",
    "x-amz-delete-marker",
    "x-amz-copy-source-version-id",
    "x-amz-storage-class",
    "x-amz-server-side-encryption",
    "x-amz-server-side-encryption-aws-kms-key-id",
    "x-amz-server-side-encryption-bucket-key-enabled",
    "x-amz-expiration",
    "x-amz-restore",
    "x-amz-archive-status",
    "x-amz-replication-status",
    "x-amz-request-charged",
    "x-amz-object-lock-mode",
    "x-amz-object-lock-retain-until-date",
    "x-amz-object-lock-legal-hold",
    "x-amz-tagging-count",
    "x-amz-transition-default-minimum-object-size",
    "x-amz-abort-date",
    "x-amz-abort-rule-id",
];

fn name(text: &str) -> Option<HeaderName> {
    HeaderName::from_bytes(text.as_bytes()).ok()
}

/// The headers of a client's request that the store gets as they are.
pub(super) fn forwarded(headers: &HeaderMap) -> HeaderMap {
    let mut out = HeaderMap::new();
    for (name, value) in headers {
        if name.as_str().starts_with("x-amz-") && amz_header_use(name.as_str()) == Some(HeaderUse::Forwarded) {
            out.append(name.clone(), value.clone());
        }
    }
    out
}

/// Refuses what no header of a signed request may hold: stores read other bytes in other ways than they were signed, and would
/// blame the signature.
pub(super) fn check_forwarded(headers: &HeaderMap) -> Result<(), Failure> {
    for (name, value) in headers {
        let name = name.as_str();
        let goes_on = name.starts_with("x-amz-") && amz_header_use(name) == Some(HeaderUse::Forwarded);
        if goes_on && !value.as_bytes().iter().all(|byte| matches!(byte, b' '..=b'~')) {
            let shown: String = name.chars().take(64).collect();
            let error = S3Error::new(ErrorCode::InvalidArgument, "A header holds other characters than ASCII.");
            return Err(error.with("ArgumentName", shown).into());
        }
    }
    Ok(())
}

/// Of those only the ones that any request may carry: who pays, and who should own the bucket.
pub(super) fn forwarded_to_reads(headers: &HeaderMap) -> HeaderMap {
    let mut out = HeaderMap::new();
    for name in ["x-amz-request-payer", "x-amz-expected-bucket-owner"] {
        if let Some(value) = headers.get(name) {
            out.insert(HeaderName::from_static(name), value.clone());
        }
    }
    out
}

/// The headers of the store's answer that the client gets: the listed ones, and the ETag as it is shown.
pub(super) fn passed_back(answer: &HeaderMap) -> HeaderMap {
    let mut out = HeaderMap::new();
    for listed in PASSED_BACK {
        if let (Some(name), Some(value)) = (name(listed), answer.get(*listed)) {
            out.insert(name, value.clone());
        }
    }
    if let Some(etag) = upstream_etag(answer)
        && let Ok(value) = HeaderValue::from_str(&quoted(&etag::downstream(&etag)))
    {
        out.insert(header::ETAG, value);
    }
    out
}

/// The store's ETag, without quotes.
pub(super) fn upstream_etag(answer: &HeaderMap) -> Option<String> {
    let text = answer.get(header::ETAG)?.to_str().ok()?;
    let etag = unquoted(text.trim()).to_owned();
    (!etag.is_empty() && !etag.contains('"')).then_some(etag)
}

/// An ETag as it stands in a header.
pub(super) fn quoted(etag: &str) -> String {
    format!("\"{etag}\"")
}

/// The metadata that a request gives its object, to be sealed with it. `limit` is for names and values of user metadata.
pub(super) fn metadata(headers: &HeaderMap, limit: usize) -> Result<Metadata, Failure> {
    let received = fields(headers);
    let object = ObjectHeaders::of(Headers::new(&received))?;
    let mut metadata = Metadata::default();
    for (name, value) in &object.content {
        let field = ContentField::ALL.into_iter().find(|field| field.name() == *name);
        metadata.set_content(field.ok_or_else(|| Failure::ours("an unknown content header"))?, value)?;
    }
    let mut len = 0usize;
    for (name, value) in &object.user {
        len = len.saturating_add(name.len()).saturating_add(value.len());
        if len > limit {
            return Err(S3Error::from(ErrorCode::MetadataTooLarge).with("MaxSizeAllowed", limit.to_string()).into());
        }
        metadata.add_user(name.as_bytes(), value)?;
    }
    Ok(metadata)
}

/// The envelope of the store's answer: one header, once.
pub(super) fn envelope_text(answer: &HeaderMap) -> Result<&str, Failure> {
    let mut values = answer.get_all(&ENVELOPE).iter();
    let first = values.next().ok_or_else(|| {
        let mut failure = Failure::from(ErrorCode::ObjectNotSealed);
        failure.alert = Some("not_sealed");
        failure.blame = crate::telemetry::Blame::Integrity;
        failure
    })?;
    if values.next().is_some() {
        return Err(Failure::integrity("the envelope stands twice"));
    }
    debug_assert_eq!(ENVELOPE.as_str().len(), USER_PREFIX.len() + METADATA_KEY.len());
    first.to_str().map_err(|_| Failure::integrity("the envelope is no text"))
}

/// The sealed metadata as headers of an answer to GET and HEAD, with what the request overrides; `raw`: what is not ASCII as it is.
pub(super) fn object_headers(
    metadata: &Metadata,
    overrides: &[(&'static str, Vec<u8>)],
    raw: bool,
    out: &mut HeaderMap,
) -> Result<(), Failure> {
    let broken = || Failure::integrity("sealed metadata that is no header");
    out.insert(header::CONTENT_TYPE, HeaderValue::from_static("binary/octet-stream"));
    for field in ContentField::ALL {
        if let Some(value) = metadata.content(field) {
            let value = HeaderValue::from_bytes(value).map_err(|_| broken())?;
            out.insert(HeaderName::from_static(field.name()), value);
        }
    }
    for (name, value) in overrides {
        let value = HeaderValue::from_bytes(value).map_err(|_| S3Error::argument(name, "The value is no header's."))?;
        out.insert(HeaderName::from_static(name), value);
    }
    for (name, value) in metadata.user() {
        let name = [USER_PREFIX.as_bytes(), name].concat();
        let name = HeaderName::from_bytes(&name).map_err(|_| broken())?;
        let value = if raw {
            HeaderValue::from_bytes(value)
        } else {
            HeaderValue::from_bytes(encode_rfc2047(value).as_bytes())
        };
        out.insert(name, value.map_err(|_| broken())?);
    }
    Ok(())
}

/// Adds a checksum of the plaintext to an answer. `parts` is the number of parts of a composite one.
pub(super) fn insert_checksum(checksum: &Checksum, parts: Option<u16>, out: &mut HeaderMap) {
    let Some(value) = ChecksumValue::new(checksum.algorithm(), checksum.value()) else { return };
    let mut text = format_checksum(&value);
    if let (ChecksumType::Composite, Some(parts)) = (checksum.over(), parts) {
        text = format!("{text}-{parts}");
    }
    if let (Some(name), Ok(value)) = (name(&checksum_header(checksum.algorithm())), HeaderValue::from_str(&text)) {
        out.insert(name, value);
        out.insert(HeaderName::from_static("x-amz-checksum-type"), HeaderValue::from_static(checksum.over().name()));
    }
}

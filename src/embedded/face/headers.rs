//! What headers say of conditions, metadata, versions, tags and locks.

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::value;
use crate::embedded::{
    ETag, ETagMatch, Extras, ObjectInfo, ObjectLock, ObjectMeta, ReadCondition, Retention, RetentionMode, Tags,
    VersionId, WriteCondition,
};
use crate::ingress::fields;
use crate::s3::conditional::{self, Conditions, EtagCondition};
use crate::s3::error::{ErrorCode, S3Error};
use crate::s3::metadata::{ObjectHeaders, USER_PREFIX, encode_rfc2047};
use crate::s3::xml::{LegalHold, Tagging, format_time, parse_time};
use crate::sigv4::{Headers, format_http_date};

pub(super) const VERSION_ID: HeaderName = HeaderName::from_static("x-amz-version-id");
pub(super) const SOURCE_VERSION_ID: HeaderName = HeaderName::from_static("x-amz-copy-source-version-id");
pub(super) const DELETE_MARKER: HeaderName = HeaderName::from_static("x-amz-delete-marker");
const LOCK_MODE: HeaderName = HeaderName::from_static("x-amz-object-lock-mode");
const RETAIN_UNTIL: HeaderName = HeaderName::from_static("x-amz-object-lock-retain-until-date");
const LEGAL_HOLD: HeaderName = HeaderName::from_static("x-amz-object-lock-legal-hold");

fn etag_match(condition: EtagCondition) -> ETagMatch {
    match condition {
        EtagCondition::Any => ETagMatch::Any,
        EtagCondition::OneOf(tags) => ETagMatch::OneOf(tags.iter().map(|tag| ETag::new(tag)).collect()),
    }
}

pub(super) fn read_condition(conditions: Conditions) -> ReadCondition {
    ReadCondition {
        if_match: conditions.if_match.map(etag_match),
        if_none_match: conditions.if_none_match.map(etag_match),
        if_modified_since: conditions.if_modified_since,
        if_unmodified_since: conditions.if_unmodified_since,
    }
}

pub(super) fn write_condition(headers: &HeaderMap) -> Result<WriteCondition, S3Error> {
    let received = fields(headers);
    Ok(match conditional::WriteCondition::of(Headers::new(&received))? {
        conditional::WriteCondition::Always => WriteCondition::None,
        conditional::WriteCondition::IfAbsent => WriteCondition::IfNoneMatchAny,
        conditional::WriteCondition::IfPresent | conditional::WriteCondition::IfNoneMatch(_) => {
            return Err(S3Error::not_implemented("Another condition of a write than If-None-Match: * and If-Match"));
        }
        conditional::WriteCondition::IfMatch(etag) => WriteCondition::IfMatch(ETag::new(&etag)),
    })
}

/// A value as text: UTF-8, or Latin-1 where it is none.
fn text(value: &[u8]) -> String {
    str::from_utf8(value).map_or_else(|_| value.iter().map(|b| char::from(*b)).collect(), str::to_owned)
}

pub(super) fn meta(headers: &HeaderMap) -> Result<ObjectMeta, S3Error> {
    let received = fields(headers);
    let object = ObjectHeaders::of(Headers::new(&received))?;
    Ok(ObjectMeta {
        headers: object.content.iter().map(|(name, value)| ((*name).to_owned(), text(value))).collect(),
        user: object.user.iter().map(|(name, value)| (name.clone(), text(value))).collect(),
        opaque: Vec::new(),
    })
}

/// The version that a request names.
pub(super) fn version_of(text: Option<&str>) -> Result<Option<VersionId>, S3Error> {
    let refusal = |_| S3Error::argument("versionId", "Invalid version id specified");
    text.map(|text| text.parse().map_err(refusal)).transpose()
}

/// Says which version it is, where there are versions.
pub(super) fn version_header(out: &mut HeaderMap, name: HeaderName, version: Option<VersionId>) -> Result<(), S3Error> {
    if let Some(version) = version {
        out.insert(name, value(&version.to_string())?);
    }
    Ok(())
}

/// The tags that a request gives its object.
pub(super) fn tags(headers: &HeaderMap) -> Result<Tags, S3Error> {
    match headers.get("x-amz-tagging") {
        None => Ok(Tags::default()),
        Some(tags) => Ok(Tags::of_object(Tagging::of_header(tags.as_bytes())?.0)?),
    }
}

/// The tags and the lock that a request gives its object.
pub(super) fn extras(headers: &HeaderMap) -> Result<Extras, S3Error> {
    Ok(Extras { tags: tags(headers)?, lock: object_lock(headers)? })
}

/// The lock that a request gives its object.
pub(super) fn object_lock(headers: &HeaderMap) -> Result<ObjectLock, S3Error> {
    let text = |name: &HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let retention = match (text(&LOCK_MODE), text(&RETAIN_UNTIL)) {
        (None, None) => None,
        (Some(mode), Some(until)) => {
            let mode = RetentionMode::from_name(mode)
                .ok_or(S3Error::argument("x-amz-object-lock-mode", "Unknown wormMode directive."))?;
            let until = parse_time(until).ok_or(S3Error::argument(
                "x-amz-object-lock-retain-until-date",
                "The retain until date must be provided in ISO 8601 format",
            ))?;
            Some(Retention { mode, until })
        }
        _ => {
            return Err(S3Error::argument(
                "x-amz-object-lock-mode",
                "x-amz-object-lock-retain-until-date and x-amz-object-lock-mode must both be supplied",
            ));
        }
    };
    let refusal = || S3Error::argument("x-amz-object-lock-legal-hold", "Legal Hold must be either of 'ON' or 'OFF'");
    let legal_hold =
        text(&LEGAL_HOLD).map(|hold| LegalHold::from_name(hold).map(|hold| hold.0).ok_or_else(refusal)).transpose()?;
    Ok(ObjectLock { retention, legal_hold })
}

/// Whether a retention is to be bypassed.
pub(super) fn bypasses_governance(headers: &HeaderMap) -> bool {
    headers.get("x-amz-bypass-governance-retention").is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"true"))
}

/// What an answer says of an object.
pub(super) fn object_headers(info: &ObjectInfo, overrides: &[(&'static str, Vec<u8>)]) -> Result<HeaderMap, S3Error> {
    let mut out = HeaderMap::new();
    out.insert(header::ETAG, value(&info.etag.to_string())?);
    out.insert(header::LAST_MODIFIED, value(&format_http_date(info.modified))?);
    out.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    out.insert(header::CONTENT_TYPE, HeaderValue::from_static("binary/octet-stream"));
    for (name, text) in &info.meta.headers {
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(text.as_bytes()))
        {
            out.insert(name, value);
        }
    }
    for (name, text) in overrides {
        let value = HeaderValue::from_bytes(text).map_err(|_| S3Error::from(ErrorCode::InvalidArgument))?;
        out.insert(HeaderName::from_static(name), value);
    }
    for (name, text) in &info.meta.user {
        let name = HeaderName::from_bytes(format!("{USER_PREFIX}{name}").as_bytes());
        if let Ok(name) = name {
            out.insert(name, value(&encode_rfc2047(text.as_bytes()))?);
        }
    }
    version_header(&mut out, VERSION_ID, info.version)?;
    let Extras { tags, lock } = &info.extras;
    if !tags.pairs().is_empty() {
        out.insert(HeaderName::from_static("x-amz-tagging-count"), HeaderValue::from(tags.pairs().len()));
    }
    if let Some(retention) = lock.retention {
        out.insert(LOCK_MODE, HeaderValue::from_static(retention.mode.as_str()));
        out.insert(RETAIN_UNTIL, value(&format_time(retention.until))?);
    }
    if let Some(is_held) = lock.legal_hold {
        out.insert(LEGAL_HOLD, HeaderValue::from_static(LegalHold(is_held).name()));
    }
    Ok(out)
}

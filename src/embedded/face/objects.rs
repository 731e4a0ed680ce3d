//! Objects: written, read, copied, deleted.

use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};

use super::headers::{
    DELETE_MARKER, SOURCE_VERSION_ID, VERSION_ID, bypasses_governance, extras, meta, object_headers, object_lock,
    read_condition, tags, version_header, version_of, write_condition,
};
use super::{Face, MAX_DOCUMENT_LEN, copied, key_text, name_of, stream, value};
use crate::embedded::{CopyRequest, Deletion, ObjectLock, PutWriter, ReadRange, Store, VersionId};
use crate::ingress::answer::{document, empty};
use crate::ingress::{Accepted, fields};
use crate::net::body::Body;
use crate::object::ObjectKey;
use crate::s3::conditional::Conditions;
use crate::s3::error::{ErrorCode, S3Error};
use crate::s3::operation::{CopySource, MetadataDirective, ObjectRef, ReadObject};
use crate::s3::range::RangeSpec;
use crate::s3::target::BucketName;
use crate::s3::xml::{CopyKind, DeleteFailure, DeleteRequest, DeleteResult, DeletedObject};
use crate::sigv4::Headers;

impl Face {
    /// GetObject and HeadObject.
    pub(super) async fn get(
        &self,
        read: &ReadObject,
        headers: &HeaderMap,
        wants_body: bool,
    ) -> Result<Response<Body>, S3Error> {
        let version = version_of(read.version_id.as_deref())?;
        let received = fields(headers);
        let condition = read_condition(Conditions::of(Headers::new(&received))?);
        let asked = headers.get(header::RANGE).and_then(|value| RangeSpec::parse(value.as_bytes()));
        let range = match (read.part_number, asked) {
            (Some(part), _) => ReadRange::Part(part),
            (None, None) => ReadRange::Whole,
            (None, Some(RangeSpec::FromTo(first, last))) => ReadRange::Span { first, last },
            (None, Some(RangeSpec::From(first))) => ReadRange::From(first),
            (None, Some(RangeSpec::Suffix(n))) => ReadRange::Suffix(n),
        };
        let (bucket, key) = (name_of(&read.object.bucket)?, read.object.key.clone());
        let object = self.blocking(move |store| store.get_version(&bucket, &key, version, &condition, range)).await?;
        let mut out = object_headers(&object.info, &read.overrides)?;
        let len = object.range.end.saturating_sub(object.range.start);
        out.insert(header::CONTENT_LENGTH, HeaderValue::from(len));
        let mut status = StatusCode::OK;
        if range != ReadRange::Whole && len > 0 {
            status = StatusCode::PARTIAL_CONTENT;
            let last = object.range.end - 1;
            out.insert(
                header::CONTENT_RANGE,
                value(&format!("bytes {}-{last}/{}", object.range.start, object.info.size))?,
            );
        }
        if let (ReadRange::Part(_), Some(parts)) = (range, object.info.parts) {
            out.insert(HeaderName::from_static("x-amz-mp-parts-count"), HeaderValue::from(parts));
        }
        let mut response = empty(status);
        if wants_body {
            *response.body_mut() = stream(object.body, len);
        }
        *response.headers_mut() = out;
        Ok(response)
    }

    /// PutObject.
    pub(super) async fn put(
        &self,
        object: &ObjectRef,
        accepted: &mut Accepted,
        body: Body,
    ) -> Result<Response<Body>, S3Error> {
        let (meta, condition) = (meta(&accepted.headers)?, write_condition(&accepted.headers)?);
        let extras = extras(&accepted.headers)?;
        if extras.lock != ObjectLock::default() && !accepted.declared()?.has_integrity() {
            return Err(S3Error::new(
                ErrorCode::InvalidRequest,
                "Content-MD5 OR x-amz-checksum- HTTP header is required for Put Object requests with Object Lock parameters",
            ));
        }
        let body = accepted.body(body, false, None, None)?;
        let (bucket, key) = (name_of(&object.bucket)?, object.key.clone());
        let begin = move |store: &Store| store.put(&bucket, &key);
        let commit = move |writer: PutWriter| writer.commit_with(meta, extras, condition);
        let (written, out) = self.receive(body, begin, PutWriter::write, commit).await?;
        Self::written(&written, out)
    }

    /// DeleteObject.
    pub(super) async fn delete(
        &self,
        object: &ObjectRef,
        version_id: Option<&str>,
        headers: &HeaderMap,
    ) -> Result<Response<Body>, S3Error> {
        let deletion = Deletion {
            key: object.key.clone(),
            version: version_of(version_id)?,
            condition: write_condition(headers)?,
            bypass_governance: bypasses_governance(headers),
        };
        let bucket = name_of(&object.bucket)?;
        let deleted = self.blocking(move |store| store.delete_version(&bucket, deletion)).await?;
        let mut response = empty(StatusCode::NO_CONTENT);
        version_header(response.headers_mut(), VERSION_ID, deleted.version)?;
        if deleted.is_marker {
            response.headers_mut().insert(DELETE_MARKER, HeaderValue::from_static("true"));
        }
        Ok(response)
    }

    /// DeleteObjects.
    pub(super) async fn delete_many(
        &self,
        bucket: &BucketName,
        accepted: &mut Accepted,
        body: Body,
    ) -> Result<Response<Body>, S3Error> {
        if !accepted.declared()?.has_integrity() {
            return Err(S3Error::new(
                ErrorCode::InvalidRequest,
                "Missing required header for this request: Content-MD5",
            ));
        }
        let request = DeleteRequest::parse(&accepted.collect(body, MAX_DOCUMENT_LEN).await?)?;
        let name = name_of(bucket)?;
        let bypass_governance = bypasses_governance(&accepted.headers);
        let (mut deletions, mut errors) = (Vec::new(), Vec::new());
        for object in request.objects {
            match object.version_id.as_deref().map(str::parse::<VersionId>).transpose() {
                Ok(version) => deletions.push(Deletion { bypass_governance, ..Deletion::of(object.key, version) }),
                // no version has such an id
                Err(_) => errors.push(failure(&object.key, object.version_id, &ErrorCode::NoSuchVersion.into())),
            }
        }
        let asked: Vec<_> = deletions.iter().map(|deletion| (deletion.key.clone(), deletion.version)).collect();
        let answers = self.blocking(move |store| store.delete_versions(&name, deletions)).await?;
        let mut deleted = Vec::new();
        for ((key, version), answer) in asked.into_iter().zip(answers) {
            let version_id = version.map(|version| version.to_string());
            match answer {
                Ok(answer) => deleted.push(DeletedObject {
                    key: key_text(key.as_bytes()),
                    version_id,
                    delete_marker: answer.is_marker,
                    delete_marker_version_id: answer.version.filter(|_| answer.is_marker).map(|id| id.to_string()),
                }),
                Err(error) => errors.push(failure(&key, version_id, &error.into())),
            }
        }
        let deleted = if request.quiet { Vec::new() } else { deleted };
        Ok(document(DeleteResult { deleted, errors }.to_xml()))
    }

    /// CopyObject.
    pub(super) async fn copy(
        &self,
        object: &ObjectRef,
        source: &CopySource,
        directive: MetadataDirective,
        headers: &HeaderMap,
    ) -> Result<Response<Body>, S3Error> {
        let from_version = version_of(source.version_id.as_deref())?;
        let received = fields(headers);
        let from_condition = read_condition(Conditions::of_copy_source(Headers::new(&received))?);
        let condition = write_condition(headers)?;
        let meta = match directive {
            MetadataDirective::Copy => None,
            MetadataDirective::Replace => Some(meta(headers)?),
        };
        let tags = match headers.get("x-amz-tagging-directive").map(HeaderValue::as_bytes) {
            None | Some(b"COPY") => None,
            Some(b"REPLACE") => Some(tags(headers)?),
            Some(_) => return Err(S3Error::argument("x-amz-tagging-directive", "Unknown tagging directive.")),
        };
        let lock = object_lock(headers)?;
        let (from_bucket, from_key) = (name_of(&source.object.bucket)?, source.object.key.clone());
        let (bucket, key) = (name_of(&object.bucket)?, object.key.clone());
        if meta.is_none() && from_version.is_none() && from_bucket == bucket && from_key == key {
            return Err(S3Error::new(ErrorCode::InvalidRequest, "An object cannot be copied to itself unchanged."));
        }
        let written = self
            .blocking(move |store| {
                let request = CopyRequest {
                    from_bucket: &from_bucket,
                    from_key: &from_key,
                    from_version,
                    from_condition,
                    bucket: &bucket,
                    key: &key,
                    meta,
                    tags,
                    lock,
                    condition,
                };
                store.copy(request)
            })
            .await?;
        let mut response = document(copied(&written).to_xml(CopyKind::Object));
        version_header(response.headers_mut(), VERSION_ID, written.version)?;
        version_header(response.headers_mut(), SOURCE_VERSION_ID, written.from_version)?;
        Ok(response)
    }
}

/// What DeleteObjects says of an object that it did not delete.
fn failure(key: &ObjectKey, version_id: Option<String>, error: &S3Error) -> DeleteFailure {
    DeleteFailure {
        key: key_text(key.as_bytes()),
        version_id,
        code: error.code().name().to_owned(),
        message: error.message().to_owned(),
    }
}

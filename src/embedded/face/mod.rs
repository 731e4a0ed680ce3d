//! The store's S3 face: what makes it a provider that any S3 client can talk to.
//!
//! Through the project's own ingress, parser and XML, and nothing of the gateway's: it is what the gateway is built against,
//! and what a client sees that is pointed at the provider's side.

use std::io::Read as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt as _;
use tokio::sync::mpsc;

use super::{
    CopyRequest, ETag, ETagMatch, ListRequest, ListUploadsRequest, ObjectInfo, ObjectMeta, PartCopy, ReadCondition,
    ReadRange, Store, StoreError, Upload, UploadId, WriteCondition, Written,
};
use crate::clock::Clock;
use crate::digest::hex;
use crate::ingress::answer::{self, document, empty};
use crate::ingress::{Accepted, IngressBody, Verifier, fields};
use crate::net::body::{Body, BodyError};
use crate::net::server::{Connection, Handler, Peer};
use crate::s3::checksum::{checksum_header, format_checksum};
use crate::s3::conditional::{self, Conditions, EtagCondition};
use crate::s3::error::{ErrorCode, S3Error};
use crate::s3::metadata::{ObjectHeaders, USER_PREFIX, encode_rfc2047};
use crate::s3::operation::{
    CopySource, Listing, MetadataDirective, ObjectRef, Operation, ReadObject, TagAction, UploadRef,
};
use crate::s3::range::RangeSpec;
use crate::s3::target::BucketName;
use crate::s3::xml::{
    CompleteMultipartUploadResult, CopyKind, CopyResult, DeleteFailure, DeleteRequest, DeleteResult, DeletedObject,
    InitiateMultipartUploadResult, ListAllMyBucketsResult, ListBucketResult, ListMultipartUploadsResult,
    ListPartsResult, ListedBucket, ListedObject, ListedPart, ListedUpload, Owner, Page, XmlWriter, location_xml,
    parse_complete_multipart_upload, parse_create_bucket,
};
use crate::secret::Secret;
use crate::sigv4::{AccessKeyId, Headers, format_http_date};
use crate::telemetry::trace::Ids;

/// The longest document of a request.
const MAX_DOCUMENT_LEN: usize = 8 << 20;
/// How much is read from disk at once.
const PIECE_LEN: usize = 256 << 10;
/// How many pieces wait between disk and network.
const PIECES_AHEAD: usize = 2;

/// An S3 server over a [`Store`], for one credential.
pub struct Face {
    store: Store,
    verifier: Verifier,
    region: String,
    clock: Arc<dyn Clock>,
    ids: Ids,
}

fn internal(_: tokio::task::JoinError) -> S3Error {
    ErrorCode::InternalError.into()
}

impl From<StoreError> for S3Error {
    fn from(error: StoreError) -> Self {
        if let StoreError::NotModified { etag, modified } = &error {
            return Self::from(ErrorCode::NotModified)
                .with("ETag", etag.to_string())
                .with("LastModified", format_http_date(*modified));
        }
        let code = error.code().and_then(ErrorCode::from_name).unwrap_or(ErrorCode::InternalError);
        match error {
            StoreError::InvalidRange { size } => Self::from(code).with("ActualObjectSize", size.to_string()),
            _ => code.into(),
        }
    }
}

fn etag_match(condition: EtagCondition) -> ETagMatch {
    match condition {
        EtagCondition::Any => ETagMatch::Any,
        EtagCondition::OneOf(tags) => ETagMatch::OneOf(tags.iter().map(|tag| ETag::new(tag)).collect()),
    }
}

fn read_condition(conditions: Conditions) -> ReadCondition {
    ReadCondition {
        if_match: conditions.if_match.map(etag_match),
        if_none_match: conditions.if_none_match.map(etag_match),
        if_modified_since: conditions.if_modified_since,
        if_unmodified_since: conditions.if_unmodified_since,
    }
}

fn write_condition(headers: &HeaderMap) -> Result<WriteCondition, S3Error> {
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

fn meta(headers: &HeaderMap) -> Result<ObjectMeta, S3Error> {
    let received = fields(headers);
    let object = ObjectHeaders::of(Headers::new(&received))?;
    Ok(ObjectMeta {
        headers: object.content.iter().map(|(name, value)| ((*name).to_owned(), text(value))).collect(),
        user: object.user.iter().map(|(name, value)| (name.clone(), text(value))).collect(),
        opaque: Vec::new(),
    })
}

fn name_of(bucket: &BucketName) -> Result<super::BucketName, S3Error> {
    bucket.as_str().parse().map_err(|_| ErrorCode::InvalidBucketName.into())
}

/// A key as text: the face takes no others.
fn key_text(key: &[u8]) -> String {
    String::from_utf8_lossy(key).into_owned()
}

fn value(text: &str) -> Result<HeaderValue, S3Error> {
    HeaderValue::from_str(text).map_err(|_| ErrorCode::InternalError.into())
}

/// What an answer says of an object.
fn object_headers(info: &ObjectInfo, overrides: &[(&'static str, Vec<u8>)]) -> Result<HeaderMap, S3Error> {
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
    Ok(out)
}

/// A body that a blocking reader fills.
struct Pieces {
    pieces: mpsc::Receiver<Result<Bytes, BodyError>>,
    left: u64,
}

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let polled = self.pieces.poll_recv(cx);
        polled.map(|piece| {
            piece.map(|piece| {
                let piece = piece?;
                self.left = self.left.saturating_sub(piece.len() as u64);
                Ok(Frame::data(piece))
            })
        })
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// What the blocking side is told of a body on its way in.
enum Incoming {
    Piece(Bytes),
    /// It is whole and verified.
    End,
}

impl Face {
    /// A face of `store` that answers to one credential in one region.
    #[must_use]
    pub fn new(store: Store, region: &str, credential: (AccessKeyId, Arc<Secret<str>>), clock: Arc<dyn Clock>) -> Self {
        let verifier = Verifier::new(region, &[], [credential]);
        Self { store, verifier, region: region.to_owned(), clock, ids: Ids::default() }
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, S3Error> {
        let store = self.store.clone();
        Ok(on_disk(move || work(&store)).await??)
    }

    /// Writes a body piece by piece; `commit` is reached only if it came whole and verified.
    async fn receive<W: Send + 'static, T: Send + 'static>(
        &self,
        mut body: IngressBody,
        begin: impl FnOnce(&Store) -> Result<W, StoreError> + Send + 'static,
        write: impl Fn(&mut W, &[u8]) -> Result<(), StoreError> + Send + Sync + 'static,
        commit: impl FnOnce(W) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<(T, HeaderMap), S3Error> {
        let write = Arc::new(write);
        let (to_disk, mut pieces) = mpsc::channel::<Incoming>(PIECES_AHEAD);
        let store = self.store.clone();
        // a thread is taken for what has come, not for the time until more comes
        let writing = tokio::spawn(async move {
            let mut writer = on_disk(move || begin(&store)).await??;
            let mut batch = Vec::with_capacity(PIECES_AHEAD);
            // without an end the body was refused: dropped without a commit, nothing is left of it
            while pieces.recv_many(&mut batch, PIECES_AHEAD).await > 0 {
                let mut ended = false;
                let mut bytes = Vec::with_capacity(batch.len());
                for incoming in batch.drain(..) {
                    match incoming {
                        Incoming::Piece(piece) => bytes.push(piece),
                        Incoming::End => ended = true,
                    }
                }
                let write = Arc::clone(&write);
                writer = on_disk(move || {
                    for piece in &bytes {
                        write(&mut writer, piece)?;
                    }
                    Ok::<_, StoreError>(writer)
                })
                .await??;
                if ended {
                    return Ok::<_, S3Error>(Some(on_disk(move || commit(writer)).await??));
                }
            }
            Ok(None)
        });
        let mut refused = None;
        loop {
            let sent = match body.piece().await {
                Ok(Some(piece)) => to_disk.send(Incoming::Piece(piece)).await,
                Ok(None) => {
                    let _ = to_disk.send(Incoming::End).await;
                    break;
                }
                Err(error) => {
                    refused = Some(error);
                    break;
                }
            };
            if sent.is_err() {
                break;
            }
        }
        drop(to_disk);
        let written = writing.await.map_err(internal)?;
        if let Some(error) = refused {
            return Err(error);
        }
        let written = written?.ok_or(S3Error::from(ErrorCode::InternalError))?;
        let mut out = HeaderMap::new();
        if let Some(checksum) = body.take_verified().and_then(|verified| verified.checksum)
            && let Ok(name) = HeaderName::from_bytes(checksum_header(checksum.algorithm()).as_bytes())
        {
            out.insert(name, value(&format_checksum(&checksum))?);
        }
        Ok((written, out))
    }

    fn written(written: &Written, mut out: HeaderMap) -> Result<Response<Body>, S3Error> {
        out.insert(header::ETAG, value(&written.etag.to_string())?);
        let mut response = empty(StatusCode::OK);
        *response.headers_mut() = out;
        Ok(response)
    }

    async fn serve(&self, head: http::request::Parts, body: Body) -> Result<Response<Body>, S3Error> {
        let connection = head.extensions.get::<Connection>().cloned();
        let mut accepted = self.verifier.accept(head, self.clock.now())?;
        if let Some(connection) = connection {
            connection.know();
        }
        let operation = accepted.operation.clone();
        match &operation {
            Operation::ListBuckets { prefix, .. } => self.list_buckets(prefix.clone()).await,
            Operation::CreateBucket(bucket) => {
                let xml = accepted.collect(body, MAX_DOCUMENT_LEN).await?;
                if parse_create_bucket(&xml)?.is_some_and(|location| location != self.region) {
                    return Err(ErrorCode::IllegalLocationConstraintException.into());
                }
                let bucket = name_of(bucket)?;
                self.blocking(move |store| store.create_bucket(&bucket)).await?;
                Ok(empty(StatusCode::OK))
            }
            Operation::DeleteBucket(bucket) => {
                let bucket = name_of(bucket)?;
                self.blocking(move |store| store.delete_bucket(&bucket)).await?;
                Ok(empty(StatusCode::NO_CONTENT))
            }
            Operation::HeadBucket(bucket) | Operation::GetBucketLocation(bucket) => {
                let bucket = name_of(bucket)?;
                self.blocking(move |store| store.head_bucket(&bucket)).await?;
                if matches!(operation, Operation::HeadBucket(_)) {
                    return Ok(empty(StatusCode::OK));
                }
                Ok(document(location_xml(&self.region)))
            }
            Operation::PutObject(object) => {
                let (meta, condition) = (meta(&accepted.headers)?, write_condition(&accepted.headers)?);
                let body = accepted.body(body, false, None, None)?;
                let (bucket, key) = (name_of(&object.bucket)?, object.key.clone());
                let begin = move |store: &Store| store.put(&bucket, &key);
                let commit = move |writer: super::PutWriter| writer.commit(meta, condition);
                let (written, out) = self.receive(body, begin, super::PutWriter::write, commit).await?;
                Self::written(&written, out)
            }
            Operation::GetObject(read) => self.get(read, &accepted.headers, true).await,
            Operation::HeadObject(read) => self.get(read, &accepted.headers, false).await,
            Operation::DeleteObject { object, version_id } => {
                no_version(version_id.as_deref())?;
                let condition = write_condition(&accepted.headers)?;
                let (bucket, key) = (name_of(&object.bucket)?, object.key.clone());
                self.blocking(move |store| match condition {
                    WriteCondition::None => store.delete(&bucket, &key),
                    condition => store.delete_if(&bucket, &key, condition),
                })
                .await?;
                Ok(empty(StatusCode::NO_CONTENT))
            }
            Operation::DeleteObjects(bucket) => self.delete_many(bucket, &mut accepted, body).await,
            Operation::CopyObject { object, source, directive } => {
                self.copy(object, source, *directive, &accepted.headers).await
            }
            Operation::ListObjects { bucket, listing, marker } => {
                let page = Page::V1 { marker: marker.clone(), next_marker: None };
                self.list(bucket, listing, marker.clone().into_bytes(), page).await
            }
            Operation::ListObjectsV2 { bucket, listing, continuation_token, start_after, .. } => {
                let after = match continuation_token {
                    None => start_after.clone().unwrap_or_default().into_bytes(),
                    Some(token) => unhex_text(token).filter(|after| !after.is_empty()).ok_or_else(|| {
                        S3Error::argument("continuation-token", "The continuation token provided is incorrect")
                    })?,
                };
                let page = Page::V2 {
                    key_count: 0,
                    continuation_token: continuation_token.clone(),
                    next_continuation_token: None,
                    start_after: start_after.clone(),
                };
                self.list(bucket, listing, after, page).await
            }
            Operation::ObjectTagging { object, version_id, action } => {
                no_version(version_id.as_deref())?;
                if *action == TagAction::Put {
                    return Err(S3Error::not_implemented(operation.name()));
                }
                let (bucket, key) = (name_of(&object.bucket)?, object.key.clone());
                self.blocking(move |store| store.head(&bucket, &key)).await?;
                if *action == TagAction::Delete {
                    return Ok(empty(StatusCode::NO_CONTENT));
                }
                // there are no tags here: an object has an empty set
                let mut xml = XmlWriter::new();
                xml.root("Tagging");
                xml.text("TagSet", "");
                xml.close("Tagging");
                Ok(document(xml.finish()))
            }
            other => self.multipart(other, &mut accepted, body).await,
        }
    }

    async fn multipart(
        &self,
        operation: &Operation,
        accepted: &mut Accepted,
        body: Body,
    ) -> Result<Response<Body>, S3Error> {
        match operation {
            Operation::CreateMultipartUpload(object) => {
                let (bucket, key, meta) = (name_of(&object.bucket)?, object.key.clone(), meta(&accepted.headers)?);
                let upload = self.blocking(move |store| store.create_upload(&bucket, &key, meta)).await?;
                let result = InitiateMultipartUploadResult {
                    bucket: object.bucket.as_str().to_owned(),
                    key: key_text(object.key.as_bytes()),
                    upload_id: upload.id.as_str().to_owned(),
                };
                Ok(document(result.to_xml()))
            }
            Operation::UploadPart { upload, part } => {
                let body = accepted.body(body, false, None, None)?;
                let (upload, part) = (upload_of(upload)?, *part);
                let begin = move |store: &Store| store.upload_part(&upload, part);
                let (written, out) =
                    self.receive(body, begin, super::PartWriter::write, super::PartWriter::commit).await?;
                Self::written(&written, out)
            }
            Operation::UploadPartCopy { upload, part, source, range } => {
                no_version(source.version_id.as_deref())?;
                let received = fields(&accepted.headers);
                let from_condition = read_condition(Conditions::of_copy_source(Headers::new(&received))?);
                let (from_bucket, from_key) = (name_of(&source.object.bucket)?, source.object.key.clone());
                let (upload, part, range) = (upload_of(upload)?, *part, *range);
                let written = self
                    .blocking(move |store| {
                        let size = store.head(&from_bucket, &from_key)?.size;
                        let range = match range {
                            None => ReadRange::Whole,
                            Some(range) => match range.resolve_copy_source(size) {
                                Ok(range) => ReadRange::Span { first: range.start(), last: range.end() - 1 },
                                Err(_) => return Err(StoreError::InvalidRange { size }),
                            },
                        };
                        let copy = PartCopy { from_bucket: &from_bucket, from_key: &from_key, from_condition, range };
                        store.upload_part_copy(&upload, part, &copy)
                    })
                    .await?;
                Ok(document(copied(&written).to_xml(CopyKind::Part)))
            }
            Operation::CompleteMultipartUpload(upload) => {
                let condition = write_condition(&accepted.headers)?;
                let xml = accepted.collect(body, MAX_DOCUMENT_LEN).await?;
                let parts = parse_complete_multipart_upload(&xml)?;
                let parts: Vec<_> = parts.into_iter().map(|part| (part.number, ETag::new(&part.etag))).collect();
                let of = upload_of(upload)?;
                let written = self.blocking(move |store| store.complete_upload(&of, &parts, condition)).await?;
                let result = CompleteMultipartUploadResult {
                    location: format!("/{}", upload.object.bucket.as_str()),
                    bucket: upload.object.bucket.as_str().to_owned(),
                    key: key_text(upload.object.key.as_bytes()),
                    etag: written.etag.to_string(),
                    checksum: None,
                };
                Ok(document(result.to_xml()))
            }
            Operation::AbortMultipartUpload(upload) => {
                let upload = upload_of(upload)?;
                self.blocking(move |store| store.abort_upload(&upload)).await?;
                Ok(empty(StatusCode::NO_CONTENT))
            }
            Operation::ListParts { upload, part_number_marker, max_parts } => {
                self.list_parts(upload, *part_number_marker, *max_parts).await
            }
            Operation::ListMultipartUploads { bucket, listing, key_marker, upload_id_marker } => {
                self.list_uploads(bucket, listing, key_marker, upload_id_marker).await
            }
            other => Err(S3Error::not_implemented(other.name())),
        }
    }

    async fn list_buckets(&self, prefix: Option<String>) -> Result<Response<Body>, S3Error> {
        let buckets = self.blocking(Store::list_buckets).await?;
        let buckets = buckets
            .into_iter()
            .filter(|bucket| prefix.as_ref().is_none_or(|prefix| bucket.name.as_str().starts_with(prefix)))
            .map(|bucket| ListedBucket { name: bucket.name.as_str().to_owned(), created: bucket.created })
            .collect();
        let owner = Some(owner());
        Ok(document(ListAllMyBucketsResult { owner, buckets, continuation_token: None, prefix }.to_xml()))
    }

    async fn get(&self, read: &ReadObject, headers: &HeaderMap, wants_body: bool) -> Result<Response<Body>, S3Error> {
        no_version(read.version_id.as_deref())?;
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
        let object = self.blocking(move |store| store.get(&bucket, &key, &condition, range)).await?;
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

    async fn delete_many(
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
        let (mut keys, mut errors) = (Vec::new(), Vec::new());
        for object in request.objects {
            match no_version(object.version_id.as_deref()) {
                Ok(()) => keys.push(object.key),
                Err(error) => errors.push(DeleteFailure {
                    key: key_text(object.key.as_bytes()),
                    version_id: object.version_id,
                    code: error.code().name().to_owned(),
                    message: error.message().to_owned(),
                }),
            }
        }
        let deleted: Vec<DeletedObject> = keys
            .iter()
            .map(|key| DeletedObject {
                key: key_text(key.as_bytes()),
                version_id: None,
                delete_marker: false,
                delete_marker_version_id: None,
            })
            .collect();
        self.blocking(move |store| store.delete_many(&name, &keys)).await?;
        let deleted = if request.quiet { Vec::new() } else { deleted };
        Ok(document(DeleteResult { deleted, errors }.to_xml()))
    }

    async fn copy(
        &self,
        object: &ObjectRef,
        source: &CopySource,
        directive: MetadataDirective,
        headers: &HeaderMap,
    ) -> Result<Response<Body>, S3Error> {
        no_version(source.version_id.as_deref())?;
        let received = fields(headers);
        let from_condition = read_condition(Conditions::of_copy_source(Headers::new(&received))?);
        let condition = write_condition(headers)?;
        let meta = match directive {
            MetadataDirective::Copy => None,
            MetadataDirective::Replace => Some(meta(headers)?),
        };
        let (from_bucket, from_key) = (name_of(&source.object.bucket)?, source.object.key.clone());
        let (bucket, key) = (name_of(&object.bucket)?, object.key.clone());
        if meta.is_none() && from_bucket == bucket && from_key == key {
            return Err(S3Error::new(ErrorCode::InvalidRequest, "An object cannot be copied to itself unchanged."));
        }
        let written = self
            .blocking(move |store| {
                let request = CopyRequest {
                    from_bucket: &from_bucket,
                    from_key: &from_key,
                    from_condition,
                    bucket: &bucket,
                    key: &key,
                    meta,
                    condition,
                };
                store.copy(request)
            })
            .await?;
        Ok(document(copied(&written).to_xml(CopyKind::Object)))
    }

    async fn list(
        &self,
        bucket: &BucketName,
        listing: &Listing,
        after: Vec<u8>,
        mut page: Page,
    ) -> Result<Response<Body>, S3Error> {
        let name = name_of(bucket)?;
        let request = ListRequest {
            prefix: listing.prefix.clone().into_bytes(),
            delimiter: listing.delimiter.clone().unwrap_or_default().into_bytes(),
            after,
            max_keys: listing.max,
        };
        let found = self.blocking(move |store| store.list(&name, &request)).await?;
        let is_truncated = found.is_truncated();
        match &mut page {
            // S3 gives it only with a delimiter; else the last key says it
            Page::V1 { next_marker, .. } => {
                *next_marker = found.next.as_deref().map(key_text).filter(|_| listing.delimiter.is_some());
            }
            Page::V2 { key_count, next_continuation_token, .. } => {
                *key_count = u32::try_from(found.objects.len() + found.common_prefixes.len()).unwrap_or(u32::MAX);
                *next_continuation_token = found.next.as_deref().map(hex);
            }
        }
        let result = ListBucketResult {
            name: bucket.as_str().to_owned(),
            prefix: listing.prefix.clone(),
            delimiter: listing.delimiter.clone(),
            max_keys: listing.max,
            is_truncated,
            encoding: listing.encoding,
            page,
            contents: found
                .objects
                .into_iter()
                .map(|object| ListedObject {
                    key: key_text(object.key.as_bytes()),
                    last_modified: object.modified,
                    etag: object.etag.to_string(),
                    size: object.size,
                    storage_class: Some("STANDARD".to_owned()),
                    owner: None,
                })
                .collect(),
            common_prefixes: found.common_prefixes.iter().map(|prefix| key_text(prefix)).collect(),
        };
        Ok(document(result.to_xml()))
    }

    async fn list_parts(&self, upload: &UploadRef, marker: u32, max_parts: u32) -> Result<Response<Body>, S3Error> {
        let of = upload_of(upload)?;
        let page = self.blocking(move |store| store.list_parts(&of, marker, max_parts)).await?;
        let result = ListPartsResult {
            bucket: upload.object.bucket.as_str().to_owned(),
            key: key_text(upload.object.key.as_bytes()),
            upload_id: upload.upload_id.clone(),
            part_number_marker: marker,
            next_part_number_marker: page.next.map(crate::object::PartNumber::get),
            max_parts,
            is_truncated: page.next.is_some(),
            initiator: Some(owner()),
            owner: Some(owner()),
            storage_class: Some("STANDARD".to_owned()),
            checksum: None,
            parts: page
                .parts
                .into_iter()
                .map(|part| ListedPart {
                    number: part.number,
                    last_modified: part.modified,
                    etag: part.etag.to_string(),
                    size: part.size,
                    checksums: Vec::new(),
                })
                .collect(),
        };
        Ok(document(result.to_xml()))
    }

    async fn list_uploads(
        &self,
        bucket: &BucketName,
        listing: &Listing,
        key_marker: &str,
        upload_id_marker: &str,
    ) -> Result<Response<Body>, S3Error> {
        let name = name_of(bucket)?;
        let request = ListUploadsRequest {
            prefix: listing.prefix.clone().into_bytes(),
            delimiter: listing.delimiter.clone().unwrap_or_default().into_bytes(),
            key_marker: key_marker.as_bytes().to_vec(),
            id_marker: Some(upload_id_marker).filter(|id| !id.is_empty() && !key_marker.is_empty()).map(UploadId::new),
            max_uploads: listing.max,
        };
        let page = self.blocking(move |store| store.list_uploads(&name, &request)).await?;
        let (next_key, next_id) = page.next.map_or((None, None), |(key, id)| (Some(key), id));
        let result = ListMultipartUploadsResult {
            bucket: bucket.as_str().to_owned(),
            prefix: listing.prefix.clone(),
            delimiter: listing.delimiter.clone(),
            key_marker: key_marker.to_owned(),
            upload_id_marker: upload_id_marker.to_owned(),
            is_truncated: next_key.is_some(),
            next_key_marker: next_key.as_deref().map(key_text),
            next_upload_id_marker: next_id.map(|id| id.as_str().to_owned()),
            max_uploads: listing.max,
            encoding: listing.encoding,
            uploads: page
                .uploads
                .into_iter()
                .map(|upload| ListedUpload {
                    key: key_text(upload.key.as_bytes()),
                    upload_id: upload.id.as_str().to_owned(),
                    initiated: upload.initiated,
                    initiator: Some(owner()),
                    owner: Some(owner()),
                    storage_class: Some("STANDARD".to_owned()),
                    checksum: None,
                })
                .collect(),
            common_prefixes: page.common_prefixes.iter().map(|prefix| key_text(prefix)).collect(),
        };
        Ok(document(result.to_xml()))
    }
}

fn owner() -> Owner {
    Owner { id: "embedded".to_owned(), display_name: None }
}

fn copied(written: &Written) -> CopyResult {
    CopyResult { etag: written.etag.to_string(), last_modified: written.modified, checksums: Vec::new() }
}

fn upload_of(upload: &UploadRef) -> Result<Upload, S3Error> {
    Ok(Upload {
        bucket: name_of(&upload.object.bucket)?,
        key: upload.object.key.clone(),
        id: UploadId::new(&upload.upload_id),
    })
}

/// There are no versions but the one of a bucket that has none.
fn no_version(version: Option<&str>) -> Result<(), S3Error> {
    if version.is_none_or(|version| version == "null") { Ok(()) } else { Err(ErrorCode::NoSuchVersion.into()) }
}

fn unhex_text(text: &str) -> Option<Vec<u8>> {
    let digit = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
    text.as_bytes()
        .chunks(2)
        .map(|pair| match pair {
            [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
            _ => None,
        })
        .collect()
}

/// Work that waits for the disk, on a thread of its own.
async fn on_disk<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, S3Error> {
    tokio::task::spawn_blocking(work).await.map_err(internal)
}

/// Streams a body from disk. A thread is taken for each piece, not for the time that its receiver takes.
fn stream(mut body: super::Body, len: u64) -> Body {
    let (to_network, pieces) = mpsc::channel(PIECES_AHEAD);
    let piece_len = usize::try_from(len).unwrap_or(PIECE_LEN).clamp(1, PIECE_LEN);
    tokio::spawn(async move {
        while let Ok(place) = to_network.reserve().await {
            let read = on_disk(move || {
                let mut piece = vec![0; piece_len];
                let read = body.read(&mut piece);
                (body, piece, read)
            });
            let Ok((back, mut piece, read)) = read.await else { return };
            body = back;
            match read {
                Ok(0) => return,
                Ok(len) => {
                    piece.truncate(len);
                    place.send(Ok(Bytes::from(piece)));
                }
                Err(_) => {
                    place.send(Err(BodyError::Aborted));
                    return;
                }
            }
        }
    });
    Pieces { pieces, left: len }.boxed_unsync()
}

impl Handler for Face {
    async fn handle(&self, request: Request<Body>, _: Peer) -> Response<Body> {
        let (head, body) = request.into_parts();
        let method = head.method.clone();
        let (id, _) = self.ids.next();
        let mut response = match self.serve(head, body).await {
            Ok(response) => response,
            Err(error) => refusal(&error, &method, &id),
        };
        if let Ok(value) = HeaderValue::from_str(&id) {
            response.headers_mut().insert(HeaderName::from_static("x-amz-request-id"), value);
        }
        response
    }
}

/// The answer to a refusal, with what a condition was judged by.
fn refusal(error: &S3Error, method: &Method, id: &str) -> Response<Body> {
    let mut response = answer::refusal(error, method, id, "embedded");
    let is_unmodified = response.status() == StatusCode::NOT_MODIFIED;
    for (element, name) in [("ETag", header::ETAG), ("LastModified", header::LAST_MODIFIED)] {
        let found = error.fields().iter().find(|(field, _)| *field == element && is_unmodified);
        if let Some(value) = found.and_then(|(_, text)| HeaderValue::from_str(text).ok()) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

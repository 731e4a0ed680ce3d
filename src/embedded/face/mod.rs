//! The store's S3 face: what makes it a provider that any S3 client can talk to.
//!
//! Through the project's own ingress, parser and XML, and nothing of the gateway's: it is what the gateway is built against,
//! and what a client sees that is pointed at the provider's side.

mod documents;
mod headers;
mod lists;
mod multipart;
mod objects;

use std::io::Read as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt as _;
use tokio::sync::mpsc;

use self::headers::{DELETE_MARKER, VERSION_ID, version_header};
use super::{Store, StoreError, Written};
use crate::clock::Clock;
use crate::ingress::answer::{self, document, empty};
use crate::ingress::{IngressBody, Verifier};
use crate::net::body::{Body, BodyError};
use crate::net::server::{Connection, Handler, Peer};
use crate::s3::checksum::{checksum_header, format_checksum};
use crate::s3::error::{ErrorCode, S3Error};
use crate::s3::operation::Operation;
use crate::s3::target::BucketName;
use crate::s3::xml::{CopyResult, Owner, Page, location_xml, parse_create_bucket};
use crate::secret::Secret;
use crate::sigv4::{AccessKeyId, format_http_date};
use crate::telemetry::trace::Ids;

/// The longest document of a request.
const MAX_DOCUMENT_LEN: usize = 8 << 20;
/// The element by which a refusal says that it met a delete marker.
const RESOURCE_TYPE: &str = "ResourceType";
const IS_MARKER: &str = "DeleteMarker";
/// How much is read from disk at once.
const PIECE_LEN: usize = 256 << 10;
/// How many pieces wait between disk and network.
const PIECES_AHEAD: usize = 2;

/// An S3 server over a [`Store`]. Whoever has one of its credentials may do everything.
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
        if let StoreError::DeleteMarker { version, modified, by_id } = error {
            let code = if by_id { ErrorCode::MethodNotAllowed } else { ErrorCode::NoSuchKey };
            let error = Self::from(code).with(RESOURCE_TYPE, IS_MARKER).with("VersionId", version.to_string());
            return if by_id { error.with("LastModified", format_http_date(modified)) } else { error };
        }
        let code = error.code().and_then(ErrorCode::from_name).unwrap_or(ErrorCode::InternalError);
        match error {
            StoreError::InvalidRange { size } => Self::from(code).with("ActualObjectSize", size.to_string()),
            StoreError::InvalidVersionId => Self::argument("versionId", "Invalid version id specified"),
            StoreError::RetentionInThePast => Self::new(code, "The retain until date must be in the future!"),
            StoreError::InvalidRequest(why) => Self::new(code, why),
            _ => code.into(),
        }
    }
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
    /// A face of `store` that answers to these credentials in one region.
    #[must_use]
    pub fn new(
        store: Store,
        region: &str,
        credentials: impl IntoIterator<Item = (AccessKeyId, Arc<Secret<str>>)>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let verifier = Verifier::new(region, &[], credentials);
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
        version_header(&mut out, VERSION_ID, written.version)?;
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
                let with_lock = accepted.headers.get("x-amz-bucket-object-lock-enabled");
                let with_lock = with_lock.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"true"));
                let create = if with_lock { Store::create_bucket_with_lock } else { Store::create_bucket };
                self.blocking(move |store| create(store, &bucket)).await?;
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
            Operation::PutObject(object) => self.put(object, &mut accepted, body).await,
            Operation::GetObject(read) => self.get(read, &accepted.headers, true).await,
            Operation::HeadObject(read) => self.get(read, &accepted.headers, false).await,
            Operation::DeleteObject { object, version_id } => {
                self.delete(object, version_id.as_deref(), &accepted.headers).await
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
            Operation::ListObjectVersions { bucket, listing, key_marker, version_id_marker } => {
                self.list_versions(bucket, listing, (key_marker, version_id_marker)).await
            }
            Operation::ObjectTagging { object, version_id, action } => {
                self.tagging((object, version_id.as_deref()), *action, &mut accepted, body).await
            }
            Operation::SubResource(request) => self.sub_resource(request, &mut accepted, body).await,
            other => self.multipart(other, &mut accepted, body).await,
        }
    }
}

fn copied(written: &Written) -> CopyResult {
    CopyResult { etag: written.etag.to_string(), last_modified: written.modified, checksums: Vec::new() }
}

fn owner() -> Owner {
    Owner { id: "embedded".to_owned(), display_name: None }
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

/// The answer to a refusal, with what a condition was judged by, or the delete marker that was met.
fn refusal(error: &S3Error, method: &Method, id: &str) -> Response<Body> {
    let mut response = answer::refusal(error, method, id, "embedded");
    let field = |name: &str| error.fields().iter().find(|(field, _)| *field == name).map(|(_, text)| text.as_str());
    let is_marker = field(RESOURCE_TYPE) == Some(IS_MARKER);
    if response.status() != StatusCode::NOT_MODIFIED && !is_marker {
        return response;
    }
    let told = [("ETag", header::ETAG), ("LastModified", header::LAST_MODIFIED), ("VersionId", VERSION_ID)];
    for (element, name) in told {
        if let Some(value) = field(element).and_then(|text| HeaderValue::from_str(text).ok()) {
            response.headers_mut().insert(name, value);
        }
    }
    if is_marker {
        response.headers_mut().insert(DELETE_MARKER, HeaderValue::from_static("true"));
    }
    if is_marker && response.status() == StatusCode::METHOD_NOT_ALLOWED {
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("DELETE"));
    }
    response
}

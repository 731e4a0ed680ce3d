//! Multipart uploads: one data key per upload, which rests sealed in the store until Complete or Abort.
//!
//! No replica keeps anything of an upload: what it needs lies in the store, under the reserved prefix (see [`super::records`]).

mod complete;
mod parts;

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};

use super::Call;
use super::envelope::SealedHeader;
use super::error::Failure;
use super::headers::{self, CIPHERTEXT_TYPE, ENVELOPE, forwarded, forwarded_to_reads, passed_back, upstream_etag};
use super::policy::{Place, Right};
use super::records::{UploadNames, UploadNote, behind, initiator, is_reserved};
use super::upstream::discard_answer;
use crate::digest::{ChecksumAlgorithm, ChecksumType};
use crate::format::context::Context;
use crate::format::envelope::{Envelope, HeaderBody, MAX_HEADER_LEN, Unverified};
use crate::format::metadata::Metadata;
use crate::ingress::answer::document;
use crate::ingress::fields;
use crate::net::body::{self, Body};
use crate::object::{ObjectKey, PartNumber};
use crate::s3::checksum::multipart_checksum;
use crate::s3::error::ErrorCode;
use crate::s3::operation::{Listing, ObjectRef, UploadRef};
use crate::s3::target::BucketName;
use crate::s3::xml::{InitiateMultipartUploadResult, ListBucketResult, ListMultipartUploadsResult};
use crate::sigv4::Headers;
use crate::sigv4::uri::Query;
use crate::store::{Answer, Identity, Payload, StoreError, StoreRequest};

/// The longest answer to Create and Complete: a key, percent-encoded, in two places.
const MAX_ANSWER_LEN: usize = 64 << 10;
/// The longest page of uploads: 1000 keys and ids.
const MAX_UPLOADS_LEN: usize = 4 << 20;
/// What a staged part takes in memory.
const STAGED_PART_BYTES: usize = 256;
/// What is asked for on a page of parts.
const MAX_PAGE: u32 = 1000;
/// The longest such page: an entry of a part, with checksums and owners, has less than 2 KiB.
const MAX_PAGE_LEN: usize = 2 << 20;
/// How long a state record is remembered. It is the wrapped key only: every use unwraps it anew.
const REMEMBERED: Duration = Duration::from_mins(5);
const MAX_REMEMBERED: usize = 1024;

/// State records that were read: bytes of the store's, which say nothing without the KEK.
#[derive(Default)]
pub(super) struct States(Mutex<Remembered>);

#[derive(Default)]
struct Remembered {
    records: HashMap<StateName, (StateRecord, Instant)>,
    order: VecDeque<StateName>,
}

/// Upstream, bucket and key of a state record.
type StateName = (String, String, String);

#[derive(Clone)]
struct StateRecord {
    bytes: Bytes,
    version_id: Option<String>,
}

impl States {
    fn find(&self, name: &StateName) -> Option<StateRecord> {
        let remembered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (record, since) = remembered.records.get(name)?;
        (since.elapsed() < REMEMBERED).then(|| record.clone())
    }

    fn remember(&self, name: StateName, record: StateRecord) {
        let mut remembered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if remembered.records.insert(name.clone(), (record, Instant::now())).is_none() {
            remembered.order.push_back(name);
        }
        while remembered.order.len() > MAX_REMEMBERED {
            if let Some(oldest) = remembered.order.pop_front() {
                remembered.records.remove(&oldest);
            }
        }
    }

    fn forget(&self, name: &StateName) {
        let mut remembered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        remembered.records.remove(name);
        remembered.order.retain(|other| other != name);
    }
}

/// An upload's state, believed.
pub(super) struct State {
    envelope: Envelope,
    version_id: Option<String>,
}

impl State {
    fn declared(&self) -> Option<(ChecksumAlgorithm, ChecksumType)> {
        self.envelope.metadata().declared_checksum()
    }
}

/// Whether the store said that there is no such object.
fn is_missing(failure: &Failure) -> bool {
    failure.code() == ErrorCode::NoSuchKey
}

impl Call<'_> {
    /// A small request about an upload.
    pub(super) async fn about_upload(
        &self,
        place: &Place,
        method: Method,
        (bucket, key): (&str, Option<&[u8]>),
        query: Query,
        headers: HeaderMap,
        body: Payload,
    ) -> Result<Answer, Failure> {
        let request = StoreRequest {
            method,
            bucket: Some(bucket),
            key,
            query,
            headers,
            body,
            ..self.exchange.request(&place.caller)
        };
        Ok(self.exchange.send(&place.upstream, request).await?)
    }

    /// A request about one of the gateway's own keys, or a list of them. In the client's bucket it is the client's, with what that
    /// says of who pays; a `state_bucket` is the gateway's own.
    fn about_records<'a>(&self, place: &'a Place, key: Option<&'a [u8]>) -> StoreRequest<'a> {
        let bucket = Some(place.state_bucket());
        let request = self.exchange.request(&place.caller);
        if place.rule.state_bucket.is_some() {
            StoreRequest { bucket, key, identity: Identity::Own, ..request }
        } else {
            StoreRequest { bucket, key, headers: forwarded_to_reads(&self.accepted.headers), ..request }
        }
    }

    async fn ask_records(&self, place: &Place, request: StoreRequest<'_>) -> Result<Answer, Failure> {
        self.exchange.send(&place.upstream, request).await.map_err(|error| Self::refused_records(place, error))
    }

    /// What the store refuses the gateway in a bucket of its own is not the client's to hear.
    fn refused_records(place: &Place, error: StoreError) -> Failure {
        if place.rule.state_bucket.is_none() {
            return error.into();
        }
        match (error.status(), error.code()) {
            (Some(404), Some(ErrorCode::NoSuchBucket)) | (Some(401 | 403), _) => {
                Failure::credentials("the store refuses the gateway its own bucket, the state_bucket")
            }
            (Some(404 | 409 | 412 | 429), _) => error.into(),
            (Some(400..500), _) => Failure::upstream("the store refuses a record of an upload"),
            _ => error.into(),
        }
    }

    /// Whether what the gateway does in a bucket of its own it does for somebody who is another to the store.
    fn speaks_for_another(place: &Place) -> bool {
        place.rule.state_bucket.is_some() && !matches!(place.caller.identity(), Identity::Own)
    }

    /// Nobody waits for credentials in a place that others wait for: those of both are there before.
    async fn ready(&self, place: &Place) -> Result<(), Failure> {
        if Self::speaks_for_another(place) {
            place.upstream.ready(Identity::Own).await?;
            place.upstream.ready(place.caller.identity()).await?;
        }
        Ok(())
    }

    /// The query that names an upload.
    fn upload_query(upload: &UploadRef) -> Query {
        let mut query = Query::default();
        query.push("uploadId", upload.upload_id.as_str());
        query
    }

    async fn upload_place(&self, upload: &UploadRef) -> Result<(Place, UploadNames), Failure> {
        let place = self.core.policy.place_of(self.caller, &upload.object.bucket, &upload.object.key, Right::Write)?;
        self.exchange.note_place(&place);
        self.ready(&place).await?;
        let names = UploadNames::of(&place.address(&upload.object.key), &upload.upload_id);
        Ok((place, names))
    }

    fn state_name(place: &Place, names: &UploadNames) -> StateName {
        (place.rule.upstream.clone(), place.state_bucket().to_owned(), names.state())
    }

    /// CreateMultipartUpload.
    pub(super) async fn create_upload(&mut self, object: &ObjectRef) -> Result<Response<Body>, Failure> {
        let place = self.core.policy.place_of(self.caller, &object.bucket, &object.key, Right::Write)?;
        self.exchange.note_place(&place);
        self.ready(&place).await?;
        let mut metadata = headers::metadata(&self.accepted.headers, self.core.limits.metadata)?;
        let declared = {
            let received = fields(&self.accepted.headers);
            multipart_checksum(Headers::new(&received))?
        };
        let context = Context::object(&place.address(&object.key));
        let dek = self.core.draw_dek(&context)?;
        let sealed: SealedHeader =
            self.core.seal_header(&place, &context, HeaderBody::Multipart, &mut metadata, &dek).await?;
        let mut to_store = forwarded(&self.accepted.headers);
        to_store.insert(ENVELOPE, sealed.value()?);
        to_store.insert(header::CONTENT_TYPE, CIPHERTEXT_TYPE);
        let mut query = Query::default();
        query.push("uploads", "");
        let at = (place.upstream_name.as_str(), Some(object.key.as_bytes()));
        let answer = self.about_upload(&place, Method::POST, at, query, to_store, Payload::Empty).await?;
        let mut out = passed_back(&answer.headers);
        let created = InitiateMultipartUploadResult::parse(&answer.bytes(MAX_ANSWER_LEN).await?)?;
        let upload = UploadRef { object: object.clone(), upload_id: created.upload_id };

        let mut state = Metadata::default();
        state.set_create_tag(sealed.header.tag())?;
        if let Some((algorithm, over)) = declared {
            state.set_declared_checksum(algorithm, over)?;
        }
        if let Err(failure) = self.write_state(&place, &upload, &mut state, &dek).await {
            // an upload without its state could never be completed
            let at = (place.upstream_name.as_str(), Some(object.key.as_bytes()));
            let (query, headers) = (Self::upload_query(&upload), forwarded_to_reads(&self.accepted.headers));
            let _ = self.about_upload(&place, Method::DELETE, at, query, headers, Payload::Empty).await;
            return Err(failure);
        }
        if let Some((algorithm, over)) = declared {
            let values = [("x-amz-checksum-algorithm", algorithm.name()), ("x-amz-checksum-type", over.name())];
            for (name, value) in values {
                out.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
            }
        }
        let result = InitiateMultipartUploadResult {
            bucket: object.bucket.as_str().to_owned(),
            key: String::from_utf8_lossy(object.key.as_bytes()).into_owned(),
            upload_id: upload.upload_id,
        };
        let mut response = document(result.to_xml());
        response.headers_mut().extend(out);
        Ok(response)
    }

    async fn write_state(
        &self,
        place: &Place,
        upload: &UploadRef,
        state: &mut Metadata,
        dek: &crate::crypto::wrap::DataKey,
    ) -> Result<(), Failure> {
        let context = Context::upload(&place.address(&upload.object.key), &upload.upload_id);
        let sealed = self.core.seal_header(place, &context, HeaderBody::UploadState, state, dek).await?;
        let name = UploadNames::of(&place.address(&upload.object.key), &upload.upload_id).state();
        let mut request = self.about_records(place, Some(name.as_bytes()));
        request.method = Method::PUT;
        request.headers.insert(header::CONTENT_TYPE, CIPHERTEXT_TYPE);
        // an id that the store hands out twice must not put another key under parts that are there
        if place.upstream.profile().capabilities().if_none_match {
            request.headers.insert(header::IF_NONE_MATCH, HeaderValue::from_static("*"));
        }
        request.body = Payload::Bytes(Bytes::copy_from_slice(sealed.header.as_bytes()));
        UploadNote {
            bucket: place.upstream_name.clone(),
            key: upload.object.key.clone(),
            upload_id: upload.upload_id.clone(),
            // what nobody began is asked about as the gateway
            by: (Self::speaks_for_another(place) && !place.caller.is_anonymous())
                .then(|| initiator(&place.caller.rule.access_key_id)),
        }
        .put(&mut request.headers);
        match self.ask_records(place, request).await {
            Ok(answer) => {
                discard_answer(answer).await;
                Ok(())
            }
            Err(failure) if failure.code() == ErrorCode::PreconditionFailed => {
                Err(Failure::upstream("the store gave an upload id for the second time"))
            }
            Err(failure) => Err(failure),
        }
    }

    /// The state of an upload. Where it is missing, the store is asked whether the upload is: only then there is none.
    async fn state(&self, place: &Place, names: &UploadNames, upload: &UploadRef) -> Result<State, Failure> {
        let name = Self::state_name(place, names);
        let record = match self.core.states.find(&name) {
            Some(record) => record,
            None => match self.read_state(place, names).await {
                Ok(record) => {
                    self.core.states.remember(name, record.clone());
                    record
                }
                Err(failure) if is_missing(&failure) => {
                    self.upload_exists(place, upload).await?;
                    return Err(Failure::upstream("the state of an upload that exists is missing"));
                }
                Err(failure) => return Err(failure),
            },
        };
        let context = Context::upload(&place.address(&upload.object.key), &upload.upload_id);
        let unverified = Unverified::parse(&record.bytes)?;
        let dek = self.core.keys.unwrap(&place.scope, &unverified.binding(&context), unverified.wrapped()).await?;
        Ok(State { envelope: unverified.verify_upload_state(dek, &context)?, version_id: record.version_id })
    }

    async fn read_state(&self, place: &Place, names: &UploadNames) -> Result<StateRecord, Failure> {
        let key = names.state();
        let answer = self.ask_records(place, self.about_records(place, Some(key.as_bytes()))).await?;
        let version_id = version_id(&answer.headers);
        Ok(StateRecord { bytes: answer.bytes(MAX_HEADER_LEN).await?, version_id })
    }

    /// `NoSuchUpload` unless the store has the upload.
    async fn upload_exists(&self, place: &Place, upload: &UploadRef) -> Result<(), Failure> {
        let mut query = Self::upload_query(upload);
        query.push("max-parts", "1");
        let at = (place.upstream_name.as_str(), Some(upload.object.key.as_bytes()));
        let headers = forwarded_to_reads(&self.accepted.headers);
        let answer = self.about_upload(place, Method::GET, at, query, headers, Payload::Empty).await?;
        discard_answer(answer).await;
        Ok(())
    }

    /// AbortMultipartUpload: the upload first, then what lies beside it.
    pub(super) async fn abort_upload(&mut self, upload: &UploadRef) -> Result<Response<Body>, Failure> {
        let (place, names) = self.upload_place(upload).await?;
        let at = (place.upstream_name.as_str(), Some(upload.object.key.as_bytes()));
        let headers = forwarded_to_reads(&self.accepted.headers);
        let aborted =
            self.about_upload(&place, Method::DELETE, at, Self::upload_query(upload), headers, Payload::Empty).await;
        // that it is gone, who sees other buckets by these names may hear too: `gc` looks closer
        let gone = matches!(&aborted, Err(failure) if failure.code() == ErrorCode::NoSuchUpload)
            && !Self::speaks_for_another(&place);
        if aborted.is_ok() || gone {
            self.clear(&place, &names, None).await;
        }
        discard_answer(aborted?).await;
        let mut response = Response::new(body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        Ok(response)
    }

    /// Removes what lies beside an upload that is no more. What cannot be removed, because the store locks it or does not
    /// answer, changes nothing of what was done, and is told so; `gc` finds it.
    async fn clear(&self, place: &Place, names: &UploadNames, version_id: Option<String>) {
        if let Err(failure) = self.remove_records(place, names, version_id).await {
            let (request_id, error, cause) = (&self.exchange.request_id, failure.code().name(), &failure.cause);
            tracing::warn!(target: "sealgate::gateway", %request_id, error, %cause, "records of an upload stay behind");
        }
        self.core.states.forget(&Self::state_name(place, names));
    }

    /// Staged parts, then the state.
    async fn remove_records(
        &self,
        place: &Place,
        names: &UploadNames,
        version_id: Option<String>,
    ) -> Result<(), Failure> {
        for key in self.staged(place, names).await? {
            self.remove(place, &key.key).await?;
        }
        let state = names.state();
        match version_id {
            Some(version_id) => self.remove_version(place, &state, Some(&version_id)).await?,
            None => self.remove(place, &state).await?,
        }
        Ok(())
    }

    /// What lies at one of the gateway's own keys.
    async fn own_object(&self, place: &Place, key: &str) -> Result<Option<OwnObject>, Failure> {
        let request = StoreRequest { method: Method::HEAD, ..self.about_records(place, Some(key.as_bytes())) };
        match self.ask_records(place, request).await {
            Ok(answer) => {
                Ok(Some(OwnObject { etag: upstream_etag(&answer.headers), version_id: version_id(&answer.headers) }))
            }
            Err(failure) if is_missing(&failure) => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// Removes one of the gateway's own keys, by version id where it has one: no marker is left.
    async fn remove(&self, place: &Place, key: &str) -> Result<(), Failure> {
        match self.own_object(place, key).await? {
            Some(object) => self.remove_version(place, key, object.version_id.as_deref()).await,
            None => Ok(()),
        }
    }

    /// Removes one of the gateway's own keys if what lies there has that ETag: another attempt's is not ours to remove.
    async fn remove_if(&self, place: &Place, key: &str, etag: &str) -> Result<(), Failure> {
        match self.own_object(place, key).await? {
            Some(object) if object.etag.as_deref() == Some(etag) => {
                self.remove_version(place, key, object.version_id.as_deref()).await
            }
            _ => Ok(()),
        }
    }

    async fn remove_version(&self, place: &Place, key: &str, version_id: Option<&str>) -> Result<(), Failure> {
        let mut query = Query::default();
        if let Some(version_id) = version_id {
            query.push("versionId", version_id);
        }
        let request = StoreRequest { method: Method::DELETE, query, ..self.about_records(place, Some(key.as_bytes())) };
        match self.ask_records(place, request).await {
            Ok(answer) => {
                discard_answer(answer).await;
                Ok(())
            }
            Err(failure) if is_missing(&failure) => Ok(()),
            Err(failure) => Err(failure),
        }
    }

    /// The staged parts of an upload, in order of their numbers.
    async fn staged(&self, place: &Place, names: &UploadNames) -> Result<Vec<StagedPart>, Failure> {
        let prefix = names.staged_prefix();
        let mut staged: Vec<StagedPart> = Vec::new();
        let mut token: Option<String> = None;
        // at most 10 000 parts, 1000 on a page
        for _ in 0..12 {
            let mut query = Query::default();
            query.push("list-type", "2");
            query.push("prefix", prefix.as_str());
            query.push("encoding-type", "url");
            query.push("max-keys", MAX_PAGE.to_string());
            if let Some(token) = &token {
                query.push("continuation-token", token.as_str());
            }
            let answer = self.ask_records(place, StoreRequest { query, ..self.about_records(place, None) }).await?;
            let document = self.core.read_document(self.exchange, answer, MAX_PAGE_LEN).await?;
            let page = ListBucketResult::parse(&document.bytes, true)?;
            if page.contents.len() > MAX_PAGE as usize {
                return Err(Failure::upstream("a page of the store's list that is longer than was asked for"));
            }
            self.exchange.hold([self.core.reserve(self.exchange, page.contents.len() * STAGED_PART_BYTES).await?]);
            for object in page.contents {
                let number = object.key.strip_prefix(&prefix).filter(|text| text.len() == 5);
                let number = number.and_then(|text| text.parse::<u32>().ok()).and_then(|n| PartNumber::new(n).ok());
                let number = number.ok_or_else(|| Failure::integrity("a staged part with another name"))?;
                if staged.last().is_some_and(|last| last.number >= number) {
                    return Err(Failure::upstream("the store's list of staged parts is not in order"));
                }
                staged.push(StagedPart {
                    number,
                    key: object.key,
                    etag: object.etag,
                    size: object.size,
                    last_modified: object.last_modified,
                });
            }
            token = match page.page {
                crate::s3::xml::Page::V2 { next_continuation_token, .. } if page.is_truncated => {
                    next_continuation_token
                }
                _ => return Ok(staged),
            };
        }
        Err(Failure::upstream("the store's list of staged parts does not end"))
    }

    /// ListMultipartUploads.
    pub(super) async fn list_uploads(
        &mut self,
        bucket: &BucketName,
        listing: &Listing,
        key_marker: &str,
        upload_id_marker: &str,
    ) -> Result<Response<Body>, Failure> {
        let place = self.core.policy.place(self.caller, bucket, Right::List)?;
        self.exchange.note_place(&place);
        let mut query = Query::default();
        query.push("uploads", "");
        for (name, value) in [
            ("prefix", listing.prefix.as_str()),
            ("delimiter", listing.delimiter.as_deref().unwrap_or_default()),
            ("key-marker", key_marker),
            ("upload-id-marker", upload_id_marker),
        ] {
            if !value.is_empty() {
                query.push(name, value);
            }
        }
        query.push("max-uploads", listing.max.to_string());
        query.push("encoding-type", "url");
        let headers = forwarded_to_reads(&self.accepted.headers);
        let at = (place.upstream_name.as_str(), None);
        let answer = self.about_upload(&place, Method::GET, at, query, headers, Payload::Empty).await?;
        let answered = self.core.read_document(self.exchange, answer, MAX_UPLOADS_LEN).await?;
        self.exchange.hold(answered.leases);
        let mut result = ListMultipartUploadsResult::parse(&answered.bytes)?;
        if result.uploads.len() + result.common_prefixes.len() > MAX_PAGE as usize {
            return Err(Failure::upstream("a page of the store's list that is longer than was asked for"));
        }
        let last = result.next_key_marker.clone();
        let last = last.or_else(|| result.uploads.iter().map(|upload| upload.key.clone()).max());
        result.uploads.retain(|upload| !is_reserved(upload.key.as_bytes()));
        result.common_prefixes.retain(|prefix| !is_reserved(prefix.as_bytes()));
        // a next page begins behind the gateway's own keys, and behind the last page is none
        if !result.is_truncated {
            (result.next_key_marker, result.next_upload_id_marker) = (None, None);
        } else if let Some(behind) = last.as_deref().and_then(behind) {
            (result.next_key_marker, result.next_upload_id_marker) = (Some(behind), None);
        }
        bucket.as_str().clone_into(&mut result.bucket);
        key_marker.clone_into(&mut result.key_marker);
        upload_id_marker.clone_into(&mut result.upload_id_marker);
        result.encoding = listing.encoding;
        result.max_uploads = listing.max;
        Ok(document(result.to_xml()))
    }
}

/// What lies at one of the gateway's own keys.
struct OwnObject {
    etag: Option<String>,
    version_id: Option<String>,
}

/// A part that waits for Complete under the reserved prefix.
struct StagedPart {
    number: PartNumber,
    key: String,
    etag: String,
    size: u64,
    last_modified: crate::clock::Timestamp,
}

impl StagedPart {
    fn object_key(&self) -> Result<ObjectKey, Failure> {
        ObjectKey::new(self.key.as_bytes()).map_err(|_| Failure::ours("a staged key that is none"))
    }
}

/// The version id of an answer, where the bucket has versions.
fn version_id(headers: &HeaderMap) -> Option<String> {
    let text = headers.get("x-amz-version-id")?.to_str().ok()?;
    (!text.is_empty() && text != "null").then(|| text.to_owned())
}

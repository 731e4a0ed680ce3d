//! CopyObject: on the store where its profile is known to honour the condition that makes it safe, else through the gateway.
//!
//! Source and destination of one tenant under one KEK entry share the data key: only a new header is written, which the store
//! must put on exactly the body that was read (`x-amz-copy-source-if-match`); a store that ignores the condition would put it
//! on another body and destroy it. Across KEKs or stores the object is opened and sealed anew.

use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};

use super::Call;
use super::error::{Failure, FailureSlot};
use super::headers::{self, CIPHERTEXT_TYPE, ENVELOPE, forwarded, forwarded_to_reads, passed_back, quoted};
use super::list::listed_etag;
use super::policy::{Place, Right};
use super::pump::{self, DigestsSlot, Plaintext};
use super::read::{Asked, Opening, begun_again, conditions, range_reader};
use super::settings::EtagMode;
use super::tails;
use super::upstream::{Source, Stored, changed, discard_answer};
use super::write::NewObject;
use crate::digest::{ChecksumAlgorithm, ChecksumHasher, ChecksumType, hex};
use crate::format::context::Context;
use crate::format::layout::Layout;
use crate::format::metadata::Metadata;
use crate::format::trailer::Digests;
use crate::ingress::answer::document;
use crate::net::body::Body;
use crate::object::PlaintextRange;
use crate::s3::error::{ErrorCode, S3Error};
use crate::s3::operation::{CopySource, MetadataDirective, ObjectRef};
use crate::s3::xml::{Answer as XmlAnswer, CopyKind, CopyResult, unquoted};
use crate::sigv4::uri::{Slash, encode};
use crate::store::{DELETE_MARKER, StoreRequest, error_in_200};

const MAX_ANSWER_LEN: usize = 64 << 10;
/// S3 copies no more in one request.
const MAX_COPY_LEN: u64 = 5 << 30;

pub(super) const SOURCE_VERSION_ID: HeaderName = HeaderName::from_static("x-amz-copy-source-version-id");
const TAGGING: HeaderName = HeaderName::from_static("x-amz-tagging");
const TAGGING_DIRECTIVE: HeaderName = HeaderName::from_static("x-amz-tagging-directive");

impl Call<'_> {
    /// CopyObject. A source that changes while it is copied is begun again, and judged by the copy's conditions again.
    pub(super) async fn copy(
        &mut self,
        object: &ObjectRef,
        from: &CopySource,
        directive: MetadataDirective,
    ) -> Result<Response<Body>, Failure> {
        begun_again(|| self.copy_once(object, from, directive)).await
    }

    async fn copy_once(
        &self,
        object: &ObjectRef,
        from: &CopySource,
        directive: MetadataDirective,
    ) -> Result<Response<Body>, Failure> {
        let (place, source, opening) = self.copy_source(object, from).await?;
        let is_itself = place.upstream_name == opening.source.place.upstream_name
            && place.rule.upstream == opening.source.place.rule.upstream
            && object.key == from.object.key
            && from.version_id.is_none();
        let request = &self.accepted.headers;
        let changes = ["x-amz-storage-class", "x-amz-server-side-encryption", "x-amz-tagging-directive"];
        if is_itself && directive == MetadataDirective::Copy && !changes.iter().any(|name| request.contains_key(*name))
        {
            return Err(S3Error::new(
                ErrorCode::InvalidRequest,
                "This copy request is illegal because it is trying to copy an object to itself without changing the \
                 object's metadata, storage class, website redirect location or encryption attributes.",
            )
            .into());
        }
        if request.contains_key("x-amz-checksum-algorithm") {
            return Err(S3Error::not_implemented("x-amz-checksum-algorithm of CopyObject").into());
        }
        let metadata = self.copied_metadata(&opening.envelope, directive)?;
        let mut to_store = forwarded(request);
        to_store.extend(self.write_condition(&place, &object.key).await?);
        let shares_key = place.rule.tenant == opening.source.place.rule.tenant
            && place.rule.kek == opening.source.place.rule.kek
            && place.rule.upstream == opening.source.place.rule.upstream
            && place.upstream.profile().capabilities().copy_source_if_match
            && opening.shape.total <= MAX_COPY_LEN;
        if shares_key {
            self.copy_on_store(&place, object, source, opening, metadata, to_store).await
        } else {
            self.copy_through(&place, object, opening, metadata, to_store).await
        }
    }

    /// Authorises both sides, and believes the source's header under the copy's conditions.
    pub(super) async fn copy_source(
        &self,
        object: &ObjectRef,
        from: &CopySource,
    ) -> Result<(Place, Source, Opening), Failure> {
        let place = self.core.policy.place_of(self.caller, &object.bucket, &object.key, Right::Write)?;
        self.exchange.note_place(&place);
        // the caller must be allowed to read it, as by GET
        let origin = self.core.policy.place_of(self.caller, &from.object.bucket, &from.object.key, Right::Read)?;
        let mut reads = forwarded_to_reads(&self.accepted.headers);
        reads.remove("x-amz-expected-bucket-owner");
        if let Some(owner) = self.accepted.headers.get("x-amz-source-expected-bucket-owner") {
            reads.insert(HeaderName::from_static("x-amz-expected-bucket-owner"), owner.clone());
        }
        let source = Source::new(origin, from.object.key.clone(), from.version_id.clone(), &reads, self.exchange);
        let mode = source.place.rule.etag;
        let Asked { to_store, ours } = conditions(&self.accepted.headers, true, mode)?;
        let opening = self.core.head_object(source.clone(), Some(&to_store)).await.map_err(|mut failure| {
            let meets_marker = failure.validators.iter().any(|(name, _)| *name == DELETE_MARKER);
            // what is said of the source is not said of the copy
            failure.validators.clear();
            match failure.code() {
                // a copy answers 412 where a read answers 304
                ErrorCode::NotModified => failure.error = ErrorCode::PreconditionFailed.into(),
                ErrorCode::MethodNotAllowed if meets_marker || from.version_id.is_some() => {
                    let message =
                        "The source of a copy request may not specifically refer to a delete marker by version id.";
                    failure.error = S3Error::new(ErrorCode::InvalidRequest, message);
                }
                _ => {}
            }
            failure
        })?;
        if let Some(ours) = &ours {
            let named = opening.plaintext_etag(self.core, mode, None).await?;
            opening.judge(ours, named.as_deref(), true, self.core.now())?;
        }
        Ok((place, source, opening))
    }

    fn copied_metadata(
        &self,
        envelope: &crate::format::envelope::Envelope,
        directive: MetadataDirective,
    ) -> Result<Metadata, Failure> {
        match directive {
            MetadataDirective::Copy => Ok(envelope.metadata().clone()),
            MetadataDirective::Replace => {
                let mut metadata = headers::metadata(&self.accepted.headers, self.core.limits.metadata)?;
                if let Some(checksum) = envelope.metadata().checksum() {
                    metadata.set_checksum(&checksum)?;
                }
                if let Some(md5) = envelope.metadata().content_md5() {
                    metadata.set_content_md5(md5)?;
                }
                Ok(metadata)
            }
        }
    }

    /// A new header for the same body, on the store.
    async fn copy_on_store(
        &self,
        place: &Place,
        object: &ObjectRef,
        source: Source,
        opening: Opening,
        mut metadata: Metadata,
        mut to_store: HeaderMap,
    ) -> Result<Response<Body>, Failure> {
        // the layout is checked before anything is written
        let (_, tail) = opening.layout(self.core).await?;
        let named = opening.plaintext_etag(self.core, place.rule.etag, tail.as_deref()).await?;
        let context = Context::object(&place.address(&object.key));
        let envelope = &opening.envelope;
        let sealed = self.core.seal_header(place, &context, envelope.body(), &mut metadata, envelope.dek()).await?;
        let etag = opening.source.etag.clone().ok_or_else(|| Failure::ours("a source that is not pinned"))?;
        // without a slash before it: policies compare it so
        let mut from = format!("{}/{}", source.place.upstream_name, encode(source.key.as_bytes(), Slash::Keep));
        if let Some(version) = &source.version_id {
            from.push_str("?versionId=");
            from.push_str(&encode(version.as_bytes(), Slash::Encode));
        }
        let value = |text: &str| HeaderValue::from_str(text).map_err(|_| Failure::ours("a copy that is no header"));
        to_store.insert(HeaderName::from_static("x-amz-copy-source"), value(&from)?);
        to_store.insert(HeaderName::from_static("x-amz-copy-source-if-match"), value(&quoted(&etag))?);
        to_store.insert(HeaderName::from_static("x-amz-metadata-directive"), HeaderValue::from_static("REPLACE"));
        to_store.insert(ENVELOPE, sealed.value()?);
        to_store.insert(header::CONTENT_TYPE, CIPHERTEXT_TYPE);
        let request = StoreRequest {
            method: Method::PUT,
            bucket: Some(&place.upstream_name),
            key: Some(object.key.as_bytes()),
            headers: to_store,
            ..self.exchange.request(&place.caller)
        };
        let sent = async {
            let answer = self.exchange.send(&place.upstream, request).await?;
            let out = passed_back(&answer.headers);
            match CopyResult::parse(&answer.bytes(MAX_ANSWER_LEN).await?, CopyKind::Object)? {
                XmlAnswer::Done(result) => Ok((result, out)),
                XmlAnswer::Failed(error) => Err(Failure::from(error_in_200(&error))),
            }
        };
        let (result, out) = match sent.await {
            Ok(done) => done,
            // the condition may be the client's, on the copy, or ours, on the source: if that is as it was, the client's
            Err(failure) if matches!(failure.code(), ErrorCode::PreconditionFailed | ErrorCode::NoSuchKey) => {
                discard_answer(opening.source.request(Method::HEAD, None, None).await.map_err(changed)?).await;
                return Err(failure);
            }
            Err(failure) => return Err(failure),
        };
        // what is there now must be the body that the header is of
        let mut copied = Source::new(place.clone(), object.key.clone(), None, &self.accepted.headers, self.exchange);
        copied.etag = Some(unquoted(&result.etag).to_owned()).filter(|etag| !etag.is_empty());
        if copied.etag.is_none() {
            let there = self.core.head_object(copied, None).await?;
            if *there.envelope.tag() != sealed.header.tag() {
                return Ok(Self::copied(&result, named, out));
            }
            copied = there.source;
        }
        match tails::read(&copied, envelope, opening.shape.total).await {
            Ok(_) => Ok(Self::copied(&result, named, out)),
            Err(failure) => match failure.code() {
                // written over since, or archived
                ErrorCode::OperationAborted | ErrorCode::InvalidObjectState => Ok(Self::copied(&result, named, out)),
                _ => Err(failure),
            },
        }
    }

    /// The answer; `named` is the ETag in place of the store's.
    fn copied(result: &CopyResult, named: Option<String>, mut out: HeaderMap) -> Response<Body> {
        let etag = named.map_or_else(|| listed_etag(&result.etag), |named| quoted(&named));
        let shown = CopyResult { etag, last_modified: result.last_modified, checksums: Vec::new() };
        let mut response = document(shown.to_xml(CopyKind::Object));
        *response.status_mut() = StatusCode::OK;
        out.remove(header::ETAG);
        out.remove(header::LAST_MODIFIED);
        response.headers_mut().extend(out);
        response
    }

    /// Opened and sealed anew, on its way through the gateway.
    async fn copy_through(
        &self,
        place: &Place,
        object: &ObjectRef,
        opening: Opening,
        metadata: Metadata,
        mut to_store: HeaderMap,
    ) -> Result<Response<Body>, Failure> {
        // a PUT knows no directive: the tags that a copy would have are sent
        let replaces = to_store.remove(TAGGING_DIRECTIVE).is_some_and(|directive| directive == "REPLACE");
        if !replaces {
            if to_store.contains_key(TAGGING) {
                let message = "Tags of a copy's own need x-amz-tagging-directive: REPLACE.";
                return Err(S3Error::argument("x-amz-tagging-directive", message).into());
            }
            let tags = self.tags_of(&opening.source).await?;
            if !tags.0.is_empty() {
                let value = HeaderValue::from_str(&tags.to_header());
                to_store.insert(TAGGING, value.map_err(|_| Failure::ours("tags that are no header"))?);
            }
        }
        // what was verified of the source holds of the copy: the digests of its trailer go along
        let tail = tails::read(&opening.source, &opening.envelope, opening.shape.total).await?;
        let digests = tail.opened.trailer().digests();
        let checksum = digests.checksum.clone().filter(|(checksum, _)| checksum.over() == ChecksumType::FullObject);
        let carried = Digests { md5: digests.md5, checksum };
        let mut metadata = metadata;
        if metadata.checksum().is_some_and(|checksum| checksum.over() != ChecksumType::FullObject) {
            metadata = without_checksum(&metadata)?;
        }
        let len = tail.layout.plaintext_len();
        let plain = PlaintextRange::new(0, len).ok_or_else(|| Failure::ours("an object of negative length"))?;
        let known = metadata.content_md5().or(carried.md5);
        let from_version = opening.headers.get("x-amz-version-id").cloned();
        let is_wanted = place.rule.etag == EtagMode::Md5 && known.is_none();
        let hasher = is_wanted.then(|| Box::new(ChecksumHasher::new(ChecksumAlgorithm::Md5)));
        let plaintext = Self::opened_source(opening, tail.layout, plain, hasher)?;
        let new = NewObject { place, key: &object.key, metadata, headers: to_store, plaintext, len, carried };
        let (answer, verified) = self.put_sealed(new).await?;
        let made = verified.extra.as_ref().map(|extra| hex(extra.as_bytes()));
        let named = known.map(|md5| hex(&md5)).or(made).filter(|_| place.rule.etag == EtagMode::Md5);
        let mut out = passed_back(&answer.headers);
        out.extend(from_version.map(|version| (SOURCE_VERSION_ID, version)));
        let etag = headers::upstream_etag(&answer.headers).unwrap_or_default();
        let result = CopyResult { etag: quoted(&etag), last_modified: self.core.now(), checksums: Vec::new() };
        Ok(Self::copied(&result, named, out))
    }

    /// A range of a copy's source as plaintext; `hasher` makes a checksum of it that is wanted.
    pub(super) fn opened_source(
        opening: Opening,
        layout: Layout,
        plain: PlaintextRange,
        hasher: Option<Box<ChecksumHasher>>,
    ) -> Result<Plaintext, Failure> {
        let Opening { source, envelope, shape, .. } = opening;
        let failure = FailureSlot::default();
        let (reader, until) = range_reader(&envelope, layout, plain)?;
        let stored = Stored::unread(source, shape.total, until);
        let body = pump::open(reader, stored, plain.len(), failure.clone(), (None, DigestsSlot::default()));
        Ok(Plaintext::Opened { body, failure, hasher })
    }
}

/// The metadata without its checksum: a composite one is not of an object without parts.
fn without_checksum(metadata: &Metadata) -> Result<Metadata, Failure> {
    let mut out = Metadata::default();
    for field in crate::format::metadata::ContentField::ALL {
        if let Some(value) = metadata.content(field) {
            out.set_content(field, value)?;
        }
    }
    for (name, value) in metadata.user() {
        out.add_user(name, value)?;
    }
    if let Some(md5) = metadata.content_md5() {
        out.set_content_md5(md5)?;
    }
    Ok(out)
}

//! PutObject.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, header};

use super::envelope::SealedHeader;
use super::error::Failure;
use super::etag;
use super::headers::{self, CIPHERTEXT_TYPE, ENVELOPE, forwarded, insert_checksum, passed_back, quoted};
use super::policy::{Place, Right};
use super::pump::{self, ObjectKeys, Plaintext, VerifiedSlot};
use super::read::begun_again;
use super::settings::EtagMode;
use super::upstream::Source;
use super::{Call, TRANSFER_BASE};
use crate::crypto::wrap::DataKey;
use crate::digest::{ChecksumType, hex};
use crate::format::context::Context;
use crate::format::envelope::HeaderBody;
use crate::format::geometry::{MAX_SINGLE_PUT_LEN, object_len};
use crate::format::metadata::{Checksum, Metadata};
use crate::format::seal::ObjectSealer;
use crate::format::suite::FreshSalt;
use crate::format::trailer::Digests;
use crate::ingress::fields;
use crate::net::body::{self, Body};
use crate::object::ObjectKey;
use crate::s3::checksum::VerifiedBody;
use crate::s3::conditional::WriteCondition;
use crate::s3::error::ErrorCode;
use crate::s3::operation::ObjectRef;
use crate::sigv4::Headers;
use crate::store::{Answer, Payload, StoreRequest};

/// Longer metadata has no room for an MD5 beside it; the trailer has it all the same.
const ROOM_WITH_MD5: usize = 1280;

/// What a client expects that sends no body before it is asked for.
const EXPECTED: &str = "100-continue";

/// The condition of a write, as the store must judge it.
fn to_store(condition: &WriteCondition, place: &Place) -> Result<HeaderMap, Failure> {
    let mut out = HeaderMap::new();
    let of_etag = |tag: &str| {
        let text = place.upstream.profile().if_match_of_write(&etag::upstream(tag));
        HeaderValue::from_str(&text).map_err(|_| Failure::from(ErrorCode::InvalidArgument))
    };
    match condition {
        WriteCondition::Always => None,
        WriteCondition::IfAbsent => out.insert(header::IF_NONE_MATCH, HeaderValue::from_static("*")),
        WriteCondition::IfPresent => out.insert(header::IF_MATCH, HeaderValue::from_static("*")),
        WriteCondition::IfNoneMatch(tag) => out.insert(header::IF_NONE_MATCH, of_etag(tag)?),
        WriteCondition::IfMatch(tag) => out.insert(header::IF_MATCH, of_etag(tag)?),
    };
    Ok(out)
}

/// A new simple object: what is sealed, and where it goes.
pub(super) struct NewObject<'a> {
    pub(super) place: &'a Place,
    pub(super) key: &'a ObjectKey,
    pub(super) metadata: Metadata,
    /// Headers for the store: conditions and what is forwarded.
    pub(super) headers: HeaderMap,
    pub(super) plaintext: Plaintext,
    pub(super) len: u64,
    /// Digests that are carried from a copy's source.
    pub(super) carried: Digests,
}

impl Call<'_> {
    /// The condition of a write, as the store must judge it. It knows no ETag of a plaintext: which object has that is looked
    /// up first, and the store judges whether that one is still there. It is the current version, also where one is deleted by its
    /// id.
    pub(super) async fn write_condition(&self, place: &Place, key: &ObjectKey) -> Result<HeaderMap, Failure> {
        let received = fields(&self.accepted.headers);
        let condition = WriteCondition::of(Headers::new(&received))?;
        let (WriteCondition::IfMatch(tag) | WriteCondition::IfNoneMatch(tag)) = &condition else {
            return to_store(&condition, place);
        };
        if place.rule.etag == EtagMode::Opaque || etag::is_marked(tag) {
            return to_store(&condition, place);
        }
        // whoever may not read learns of no content
        self.core.policy.place_of(self.caller, &place.bucket, key, Right::Read)?;
        let there = begun_again(|| self.names_there(place, key)).await?;
        let is_named = there.as_ref().is_some_and(|(stored, named)| named.as_ref() == Some(tag) || stored == tag);
        let condition = match (condition, there) {
            (WriteCondition::IfMatch(_), None) => return Err(ErrorCode::NoSuchKey.into()),
            (WriteCondition::IfMatch(_), Some((stored, _))) if is_named => WriteCondition::IfMatch(stored),
            (WriteCondition::IfMatch(_), Some(_)) => return Err(ErrorCode::PreconditionFailed.into()),
            (_, None) => WriteCondition::IfAbsent,
            (_, Some(_)) if is_named => return Err(ErrorCode::PreconditionFailed.into()),
            // as long as that one is there, it has another ETag
            (_, Some((stored, _))) => WriteCondition::IfMatch(stored),
        };
        to_store(&condition, place)
    }

    /// What an object goes by that is there: the ETag made of the store's, and that of its plaintext.
    async fn names_there(&self, place: &Place, key: &ObjectKey) -> Result<Option<(String, Option<String>)>, Failure> {
        let source = Source::new(place.clone(), key.clone(), None, &self.accepted.headers, self.exchange);
        let opening = match self.core.head_object(source, None).await {
            Err(failure) if failure.code() == ErrorCode::NoSuchKey => return Ok(None),
            opening => opening?,
        };
        let stored = etag::downstream(opening.source.etag.as_deref().unwrap_or_default());
        let named = opening.plaintext_etag(self.core, place.rule.etag, None).await?;
        Ok(Some((stored, named)))
    }

    /// A body that is short enough to be read before its object is begun, with its MD5 in the header then: whoever asks for
    /// that needs no second request. Where others are, it comes behind the body.
    async fn with_md5(&mut self, place: &Place, metadata: &mut Metadata) -> Result<(Plaintext, u64), Failure> {
        let is_wanted = place.rule.etag == EtagMode::Md5;
        let memory = Some(self.core.memory(self.exchange).clone());
        let body = self.take_body();
        let mut ingress = self.accepted.body(body, is_wanted, None, memory)?;
        let len = ingress.len();
        let short = usize::try_from(len).ok().filter(|_| len <= place.rule.verify_whole && !self.waits_for_store());
        let Some(short) = short.filter(|_| is_wanted && metadata.content_md5().is_none()) else {
            return Ok((Plaintext::Ingress(Box::new(ingress)), len));
        };
        // all that the transfer takes: who holds some of it must not wait for more
        self.exchange.hold([self.core.reserve(self.exchange, short + TRANSFER_BASE).await?]);
        let bytes = ingress.collect().await?;
        let verified = ingress.take_verified();
        let md5 = verified.as_ref().and_then(|verified| verified.md5);
        if let Some(md5) = md5.filter(|_| metadata.encode().is_ok_and(|bytes| bytes.len() <= ROOM_WITH_MD5)) {
            metadata.set_content_md5(md5)?;
        }
        Ok((Plaintext::Held(Some(bytes), verified), len))
    }

    /// PutObject.
    pub(super) async fn put(&mut self, object: &ObjectRef) -> Result<Response<Body>, Failure> {
        let place = self.core.policy.place_of(self.caller, &object.bucket, &object.key, Right::Write)?;
        self.exchange.note_place(&place);
        let mut headers = forwarded(&self.accepted.headers);
        headers.extend(self.write_condition(&place, &object.key).await?);
        let mut metadata = headers::metadata(&self.accepted.headers, self.core.limits.metadata)?;
        // what the head declares is sealed with it: the object appears only if the body is so
        let declared = self.accepted.declared()?;
        if let Some(value) = declared.checksum() {
            let checksum = Checksum::new(value.algorithm(), ChecksumType::FullObject, value.as_bytes())?;
            metadata.set_checksum(&checksum)?;
        }
        if let Some(md5) = declared.content_md5() {
            metadata.set_content_md5(md5)?;
        }
        let (plaintext, len) = self.with_md5(&place, &mut metadata).await?;
        let new = NewObject {
            place: &place,
            key: &object.key,
            metadata,
            headers,
            plaintext,
            len,
            carried: Digests::default(),
        };
        let (answer, verified) = self.put_sealed(new).await?;
        let mut out = passed_back(&answer.headers);
        out.remove(header::LAST_MODIFIED);
        answered_checksum(&verified, &mut out)?;
        if let Some(md5) = verified.md5.filter(|_| place.rule.etag == EtagMode::Md5) {
            let etag = HeaderValue::from_str(&quoted(&hex(&md5)));
            out.insert(header::ETAG, etag.map_err(|_| Failure::ours("an ETag that is no header"))?);
        }
        let mut response = Response::new(body::empty());
        *response.headers_mut() = out;
        super::upstream::discard_answer(answer).await;
        Ok(response)
    }

    /// Seals an object under a data key of its own and puts it. On an error no object appeared.
    pub(super) async fn put_sealed(&self, new: NewObject<'_>) -> Result<(Answer, VerifiedBody), Failure> {
        let NewObject { place, key, mut metadata, mut headers, plaintext, len, carried } = new;
        if len > MAX_SINGLE_PUT_LEN {
            return Err(ErrorCode::EntityTooLarge.into());
        }
        let stored_len = object_len(len).ok_or_else(|| Failure::from(ErrorCode::EntityTooLarge))?;
        let _lease = match &plaintext {
            Plaintext::Held(..) => None,
            _ => Some(self.core.reserve_transfer(self.exchange, len).await?),
        };
        let context = Context::object(&place.address(key));
        let dek: Arc<DataKey> = self.core.draw_dek(&context)?;
        let salt: FreshSalt = self.core.random.draw_fresh(self.core.now(), b"seg_salt")?;
        let body = HeaderBody::Simple { salt: *salt.as_bytes(), p: len };
        let sealed: SealedHeader = self.core.seal_header(place, &context, body, &mut metadata, &dek).await?;
        let record = self.core.recovery_record(place, sealed.wrapped.kek_id, &dek).await?;
        headers.insert(ENVELOPE, sealed.value()?);
        headers.insert(header::CONTENT_TYPE, CIPHERTEXT_TYPE);
        if matches!(plaintext, Plaintext::Ingress(_)) {
            headers.extend(self.expected());
        }
        let sealer = ObjectSealer::new(&dek, salt, len)?;
        let verified = VerifiedSlot::default();
        let keys = ObjectKeys { dek, record, carried };
        let body = pump::seal_object(keys, sealer, plaintext, stored_len, self.exchange, verified.clone());
        let request = StoreRequest {
            method: Method::PUT,
            bucket: Some(&place.upstream_name),
            key: Some(key.as_bytes()),
            headers,
            body: Payload::Stream { body, len: stored_len },
            ..self.exchange.request(&place.caller)
        };
        let answer = self.send_body(place, request).await?;
        Ok((answer, verified.take()?))
    }

    /// Whether the body is not asked for before the store asks for it: of who signs nothing, the store alone says whether they
    /// may write.
    fn waits_for_store(&self) -> bool {
        let expected = self.accepted.headers.get(header::EXPECT);
        self.caller.is_anonymous() && expected.is_some_and(|expected| expected == EXPECTED)
    }

    /// What of that the store is told, with a body that the client sends.
    pub(super) fn expected(&self) -> Option<(HeaderName, HeaderValue)> {
        self.waits_for_store().then_some((header::EXPECT, HeaderValue::from_static(EXPECTED)))
    }

    /// Sends a request whose body is made on the way: if the body was given up, that is the reason, not the store's.
    pub(super) async fn send_body(&self, place: &Place, request: StoreRequest<'_>) -> Result<Answer, Failure> {
        let sent = self.exchange.send(&place.upstream, request).await;
        sent.map_err(|error| self.exchange.failure.take().unwrap_or_else(|| error.into()))
    }
}

/// The checksum that was verified, as S3 answers it.
pub(super) fn answered_checksum(verified: &VerifiedBody, out: &mut HeaderMap) -> Result<(), Failure> {
    if let Some(value) = &verified.checksum {
        let checksum = Checksum::new(value.algorithm(), ChecksumType::FullObject, value.as_bytes())?;
        insert_checksum(&checksum, None, out);
    }
    Ok(())
}

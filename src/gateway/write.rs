//! PutObject.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Method, Response, header};

use super::Call;
use super::envelope::SealedHeader;
use super::error::Failure;
use super::etag;
use super::headers::{self, CIPHERTEXT_TYPE, ENVELOPE, forwarded, insert_checksum, passed_back};
use super::policy::{Place, Right};
use super::pump::{self, ObjectKeys, Plaintext, VerifiedSlot};
use crate::crypto::wrap::DataKey;
use crate::digest::ChecksumType;
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

/// The condition of a write, as the store must judge it.
pub(super) fn write_condition(headers: &HeaderMap, place: &Place) -> Result<HeaderMap, Failure> {
    let received = fields(headers);
    let mut out = HeaderMap::new();
    match WriteCondition::of(Headers::new(&received))? {
        WriteCondition::Always => {}
        WriteCondition::IfAbsent => {
            out.insert(header::IF_NONE_MATCH, HeaderValue::from_static("*"));
        }
        WriteCondition::IfPresent => {
            out.insert(header::IF_MATCH, HeaderValue::from_static("*"));
        }
        WriteCondition::IfNoneMatch(etag) => {
            let value = HeaderValue::from_str(&place.upstream.profile().if_match_of_write(&etag::upstream(&etag)));
            out.insert(header::IF_NONE_MATCH, value.map_err(|_| Failure::from(ErrorCode::InvalidArgument))?);
        }
        WriteCondition::IfMatch(etag) => {
            let value = HeaderValue::from_str(&place.upstream.profile().if_match_of_write(&etag::upstream(&etag)));
            out.insert(header::IF_MATCH, value.map_err(|_| Failure::from(ErrorCode::InvalidArgument))?);
        }
    }
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
    /// PutObject.
    pub(super) async fn put(&mut self, object: &ObjectRef) -> Result<Response<Body>, Failure> {
        let place = self.core.policy.place_of(self.caller, &object.bucket, &object.key, Right::Write)?;
        self.exchange.note_place(&place);
        let mut headers = forwarded(&self.accepted.headers);
        headers.extend(write_condition(&self.accepted.headers, &place)?);
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
        let body = self.take_body();
        let ingress = self.accepted.body(body, false, None, Some(self.core.memory(self.exchange).clone()))?;
        let len = ingress.len();
        let plaintext = Plaintext::Ingress(Box::new(ingress));
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
        let _lease = self.core.reserve_transfer(self.exchange, len).await?;
        let context = Context::object(&place.address(key));
        let dek: Arc<DataKey> = self.core.draw_dek(&context)?;
        let salt: FreshSalt = self.core.random.draw_fresh(self.core.now(), b"seg_salt")?;
        let body = HeaderBody::Simple { salt: *salt.as_bytes(), p: len };
        let sealed: SealedHeader = self.core.seal_header(place, &context, body, &mut metadata, &dek).await?;
        let record = self.core.recovery_record(place, sealed.wrapped.kek_id, &dek).await?;
        headers.insert(ENVELOPE, sealed.value()?);
        headers.insert(header::CONTENT_TYPE, CIPHERTEXT_TYPE);
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

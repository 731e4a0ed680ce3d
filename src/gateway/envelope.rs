//! Headers of objects: written with a fresh data key or for a copy, read and believed.

use std::sync::Arc;

use http::HeaderValue;

use super::Core;
use super::error::Failure;
use super::policy::Place;
use crate::clock::Timestamp;
use crate::crypto::wrap::{DataKey, RECORD_LEN, WrappedKey};
use crate::format::context::Context;
use crate::format::envelope::{Draft, Envelope, Header, HeaderBody, Unverified};
use crate::format::metadata::Metadata;
use crate::format::suite::Suite;
use crate::format::trailer::record_nonce;
use crate::object::ObjectKey;

/// A header that was sealed, and what it was sealed with.
pub(super) struct SealedHeader {
    pub(super) header: Header,
    pub(super) wrapped: WrappedKey,
}

impl SealedHeader {
    /// The header's text, as the store keeps it.
    pub(super) fn value(&self) -> Result<HeaderValue, Failure> {
        HeaderValue::from_str(&self.header.to_text()).map_err(|_| Failure::ours("an envelope that is no header"))
    }
}

impl Core {
    /// A data key that was never used.
    pub(super) fn draw_dek(&self, context: &Context) -> Result<Arc<DataKey>, Failure> {
        Ok(Arc::new(DataKey::new(self.random.draw(self.clock.now(), context.as_bytes())?)))
    }

    /// Seals a header of `place`'s newest KEK, with its time of writing.
    pub(super) async fn seal_header(
        &self,
        place: &Place,
        context: &Context,
        body: HeaderBody,
        metadata: &mut Metadata,
        dek: &DataKey,
    ) -> Result<SealedHeader, Failure> {
        let now = self.clock.now();
        metadata.set_written_at(now)?;
        let hdr_nonce = self.random.draw_fresh(now, b"hdr_nonce")?;
        let draft = Draft { body, hdr_nonce, metadata, context };
        let wrapped = self.keys.wrap(&place.scope, &draft.binding(), dek).await?;
        let header = draft.seal(&wrapped, dek)?;
        Ok(SealedHeader { header, wrapped })
    }

    /// The recovery record of a body, where the bucket wants one and the KEK can give it.
    pub(super) async fn recovery_record(
        &self,
        place: &Place,
        kek_id: crate::crypto::wrap::KekId,
        dek: &DataKey,
    ) -> Result<Option<[u8; RECORD_LEN]>, Failure> {
        if !place.rule.recovery {
            return Ok(None);
        }
        let suite = Suite::Aes256GcmSha512.byte();
        Ok(self.keys.seal_record(&place.scope, kek_id, suite, &record_nonce(dek), dek).await?)
    }

    /// Reads and believes the header of an object. Nothing of it is used before.
    pub(super) async fn open_header(
        &self,
        place: &Place,
        key: &ObjectKey,
        text: &str,
    ) -> Result<Arc<Envelope>, Failure> {
        let context = Context::object(&place.address(key));
        let unverified = Unverified::parse_text(text)?;
        let dek = self.keys.unwrap(&place.scope, &unverified.binding(&context), unverified.wrapped()).await?;
        Ok(Arc::new(unverified.verify_object(dek, &context)?))
    }

    /// Our clock.
    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

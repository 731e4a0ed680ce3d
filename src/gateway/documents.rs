//! Documents of the store's, read within the memory budget: what a hostile store sends takes no more than a client's body does.

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;

use super::Core;
use super::error::Failure;
use super::exchange::Exchange;
use super::upstream::content_length;
use crate::net::budget::Lease;
use crate::store::Answer;

/// What is reserved at a time for a document that does not say how long it is.
const STEP: usize = 64 << 10;
/// What an element takes when it is parsed, for each `<` of it.
const PER_MARK: usize = 96;
/// What its texts take: as they came, parsed, and in the answer that is made of them.
const PER_BYTE: usize = 3;

/// A document, and the memory that it and what is parsed of it take.
pub(super) struct Document {
    pub(super) bytes: Bytes,
    pub(super) leases: Vec<Lease>,
}

impl Core {
    /// Reads the body of an answer, which must not be longer than `limit`.
    pub(super) async fn read_document(
        &self,
        exchange: &Exchange,
        answer: Answer,
        limit: usize,
    ) -> Result<Document, Failure> {
        let too_long = || Failure::upstream("the store's answer is longer than any");
        let declared = content_length(&answer.headers).map(|len| usize::try_from(len).unwrap_or(usize::MAX));
        if declared.is_some_and(|len| len > limit) {
            return Err(too_long());
        }
        let mut reserved = declared.unwrap_or(STEP);
        let mut leases = vec![self.reserve(exchange, reserved).await?];
        let (mut body, mut bytes) = (answer.body, BytesMut::with_capacity(reserved));
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| Failure::upstream("the store's answer broke off"))?;
            let Ok(data) = frame.into_data() else { continue };
            let len = bytes.len().saturating_add(data.len());
            if len > limit {
                return Err(too_long());
            }
            if len > reserved {
                let more = (len - reserved).max(reserved.min(limit - reserved));
                leases.push(self.reserve(exchange, more).await?);
                reserved += more;
            }
            bytes.extend_from_slice(&data);
        }
        let marks = bytes.as_ref().split(|byte: &u8| *byte == b'<').count();
        leases.push(self.reserve(exchange, marks * PER_MARK + bytes.len() * PER_BYTE).await?);
        Ok(Document { bytes: bytes.freeze(), leases })
    }
}

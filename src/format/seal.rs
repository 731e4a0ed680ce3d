//! Sealing the body of a simple object: chunks in place, then the tail.
//!
//! [`ObjectSealer`] → the last chunk → [`Finisher`] → [`Tail`]. A type per step: no chunk can follow the last, and
//! there is no tail before it.

use super::error::SealError;
use super::geometry;
use super::segment::{SegmentId, SegmentSealer};
use super::suite::{FreshSalt, Kind, Salt};
use super::trailer::{Digests, Tail, Trailer, seal_tail};
use crate::crypto::aead::Tag;
use crate::crypto::wrap::{DataKey, RECORD_LEN};

/// Seals the chunks of one object.
pub struct ObjectSealer {
    segment: SegmentSealer,
    finisher: Finisher,
}

impl ObjectSealer {
    /// Begins an object of exactly `p` bytes. `salt` must be freshly drawn, and be the one in the header.
    ///
    /// ```compile_fail,E0382
    /// # use sealgate::{crypto::wrap::DataKey, format::{seal::ObjectSealer, suite::FreshSalt}};
    /// # fn twice(dek: &DataKey, salt: FreshSalt) {
    /// let once = ObjectSealer::new(dek, salt, 5);
    /// let twice = ObjectSealer::new(dek, salt, 5);
    /// # }
    /// ```
    #[expect(clippy::needless_pass_by_value, reason = "a salt is used up")]
    pub fn new(dek: &DataKey, salt: FreshSalt, p: u64) -> Result<Self, SealError> {
        let salt = *salt.as_bytes();
        let id = SegmentId { kind: Kind::Simple, part_no: 0, p, salt };
        Ok(Self { segment: SegmentSealer::danger_new(dek, &id)?, finisher: Finisher { p, salt } })
    }

    /// Plaintext length of the chunk that comes next.
    #[must_use]
    pub fn next_len(&self) -> usize {
        self.segment.next_len()
    }

    /// Whether the chunk that comes next is the last.
    #[must_use]
    pub const fn next_is_last(&self) -> bool {
        self.segment.next_is_last()
    }

    /// Encrypts the next chunk, full and not the last, in place and returns its tag, which follows it.
    #[inline]
    pub fn seal_chunk(&mut self, chunk: &mut [u8]) -> Result<Tag, SealError> {
        self.segment.seal_chunk(chunk)
    }

    /// Encrypts the last chunk in place; its tag follows it, and then the tail.
    pub fn seal_last(self, chunk: &mut [u8]) -> Result<(Tag, Finisher), SealError> {
        let tag = self.segment.seal_last(chunk)?;
        Ok((tag, self.finisher))
    }
}

/// An object whose chunks are sealed.
#[derive(Clone, Copy)]
pub struct Finisher {
    p: u64,
    salt: Salt,
}

impl Finisher {
    /// Seals the tail. `dek` must be the object's; `digests` only those that were verified against the plaintext.
    pub fn finish(self, dek: &DataKey, digests: Digests, record: Option<&[u8; RECORD_LEN]>) -> Result<Tail, SealError> {
        let trailer = Trailer::simple(self.p, self.salt, digests)?;
        let segments_len = geometry::segment_len(self.p).ok_or(SealError::TooLong)?;
        seal_tail(dek, &trailer, record, segments_len)
    }
}

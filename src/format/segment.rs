//! A segment: the hot core.
//!
//! ```text
//! k ‖ n(12) ‖ c(32) = X(key, label ‖ AEAD name ‖ 0x00 ‖ salt(24) ‖ context, …)
//! chunk j           = AEAD(k, n XOR be96(j), plaintext[jC .. min((j+1)C, p)), no associated data),  j = 0 .. ⌊p/C⌋
//! ```
//!
//! This is c2sp.org/chunked-encryption; sealgate's profile ([`SealgateV1`]) has 64 KiB chunks, a label of its own and
//! suite ‖ kind ‖ part number(u32) ‖ p(u64) as context, so that the plaintext length is in the key. The code is
//! generic over the profile and runs the published vectors of the original.
//!
//! A segment is sealed front to back, once: [`ChunkSealer`] owns its counter and is consumed by the last chunk, so no
//! (key, nonce) pair is used twice. Opening may start at any chunk.

use std::marker::PhantomData;

use subtle::ConstantTimeEq;
use zeroize::Zeroize;

use super::error::{OpenError, SealError};
use super::geometry;
use super::suite::{CHUNK_LEN, Kind, MAX_PART_LEN, MAX_PLAINTEXT_LEN, Salt, Suite};
use crate::crypto::aead::{Aead, NONCE_LEN, RingAes256Gcm, Tag};
use crate::crypto::kdf::Prk;
use crate::crypto::nonce::BaseNonce;
use crate::crypto::wrap::DataKey;
use crate::secret::Secret;

/// Length of a segment's key commitment.
pub const COMMITMENT_LEN: usize = 32;

/// A segment's commitment to its key: public, compared in constant time all the same.
pub type Commitment = [u8; COMMITMENT_LEN];

const MAX_KEY_LEN: usize = 32;

/// What makes one instance of chunked encryption: cipher, label and chunk length.
pub trait Profile {
    /// The cipher of the chunks.
    type Aead: Aead;
    /// What the derivation's info begins with, up to the cipher's name.
    const LABEL: &'static [u8];
    /// Plaintext bytes of a full chunk.
    const CHUNK_LEN: usize;
    /// No chunk at or behind this index.
    const MAX_CHUNKS: u64 = 1 << 38;
}

/// sealgate's own profile: AES-256-GCM in chunks of 64 KiB.
pub struct SealgateV1;

impl Profile for SealgateV1 {
    type Aead = RingAes256Gcm;
    const LABEL: &'static [u8] = b"sealgate/v1/segment+";
    const CHUNK_LEN: usize = CHUNK_LEN;
    // P ≤ 2^56 in chunks of 2^16
    const MAX_CHUNKS: u64 = (1 << 40) + 1;
}

/// The keys of one segment: cipher, base nonce and commitment.
pub struct SegmentKeys<P: Profile> {
    aead: P::Aead,
    nonce: BaseNonce,
    commitment: Commitment,
    profile: PhantomData<P>,
}

impl<P: Profile> SegmentKeys<P> {
    /// Derives the keys of the segment with `salt` and `context`, as the module's page says.
    ///
    /// `salt` must be fresh for every attempt at sealing under one key, also when the same bytes are sealed again.
    #[must_use]
    pub fn derive(prk: &Prk, salt: &Salt, context: &[&[u8]]) -> Self {
        let mut key = Secret::<[u8; MAX_KEY_LEN]>::zeroed();
        let mut nonce = [0; NONCE_LEN];
        let mut commitment = [0; COMMITMENT_LEN];
        let mut info: Vec<&[u8]> = Vec::with_capacity(4 + context.len());
        info.extend_from_slice(&[P::LABEL, P::Aead::NAME.as_bytes(), &[0], salt]);
        info.extend_from_slice(context);
        let (key, _) = key.expose_secret_mut().split_at_mut(P::Aead::KEY_LEN.min(MAX_KEY_LEN));
        prk.expand_into(&info, &mut [key, &mut nonce, &mut commitment]);
        // The key has the cipher's own length, so the cipher takes it.
        let aead = P::Aead::new(key).unwrap_or_else(|_| unreachable!("a key of the cipher's own length is taken"));
        let keys = Self { aead, nonce: BaseNonce::new(nonce), commitment, profile: PhantomData };
        nonce.zeroize();
        keys
    }

    /// The segment's commitment to its key.
    #[must_use]
    pub const fn commitment(&self) -> &Commitment {
        &self.commitment
    }

    /// Whether `stored` is this segment's commitment, in constant time.
    #[must_use]
    pub fn commits_to(&self, stored: &[u8]) -> bool {
        self.commitment.as_slice().ct_eq(stored).into()
    }

    /// Verifies and decrypts chunk `index` in place: `sealed` = ciphertext ‖ tag, and the plaintext is returned.
    ///
    /// Opening is allowed in any order. The caller must know from elsewhere how long the chunk at this index is: a
    /// full one but for the last ([`SegmentOpener`] does).
    #[inline]
    pub fn open_chunk<'a>(&self, index: u64, sealed: &'a mut [u8]) -> Option<&'a mut [u8]> {
        if index >= P::MAX_CHUNKS {
            return None;
        }
        self.aead.open_in_place(&self.nonce.at(index), &[], sealed).ok()
    }
}

/// Seals the chunks of one segment, front to back, each once.
pub struct ChunkSealer<P: Profile> {
    keys: SegmentKeys<P>,
    next: u64,
}

impl<P: Profile> ChunkSealer<P> {
    /// Begins at chunk 0. `keys` must have been derived with a salt that was never used to seal before.
    #[must_use]
    pub const fn new(keys: SegmentKeys<P>) -> Self {
        Self { keys, next: 0 }
    }

    /// Encrypts the next full chunk in place and returns its tag, which follows it in the stored bytes.
    #[inline]
    pub fn seal_full(&mut self, chunk: &mut [u8]) -> Result<Tag, SealError> {
        if chunk.len() != P::CHUNK_LEN {
            return Err(SealError::Misuse("a chunk that is not the last is full"));
        }
        self.seal(chunk)
    }

    /// Encrypts the last chunk, shorter than a full one and possibly empty, and ends the segment.
    pub fn seal_last(mut self, chunk: &mut [u8]) -> Result<Tag, SealError> {
        if chunk.len() >= P::CHUNK_LEN {
            return Err(SealError::Misuse("the last chunk is shorter than a full one"));
        }
        self.seal(chunk)
    }

    #[inline]
    fn seal(&mut self, chunk: &mut [u8]) -> Result<Tag, SealError> {
        if self.next >= P::MAX_CHUNKS {
            return Err(SealError::TooLong);
        }
        let nonce = self.keys.nonce.at(self.next);
        self.next += 1;
        self.keys.aead.seal_in_place(&nonce, &[], chunk).map_err(|_| SealError::TooLong)
    }
}

/// What a segment of an object is: kind, part number (0 for kind 1), plaintext length and salt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentId {
    /// Simple or multipart.
    pub kind: Kind,
    /// 0 for a simple object, else 1..=10000.
    pub part_no: u32,
    /// Plaintext length of the segment.
    pub p: u64,
    /// The attempt's salt.
    pub salt: Salt,
}

impl SegmentId {
    /// The segment's keys under a data key.
    #[must_use]
    pub fn keys(&self, dek: &DataKey) -> SegmentKeys<SealgateV1> {
        let head = [Suite::Aes256GcmSha512.byte(), self.kind.byte()];
        SegmentKeys::derive(dek.prk(), &self.salt, &[&head, &self.part_no.to_be_bytes(), &self.p.to_be_bytes()])
    }

    const fn is_too_long(&self) -> bool {
        match self.kind {
            Kind::Multipart => self.p > MAX_PART_LEN,
            Kind::Simple | Kind::UploadState => self.p > MAX_PLAINTEXT_LEN,
        }
    }
}

/// Seals the chunks of an object's segment, holding the caller to the length that is in the key.
pub struct SegmentSealer {
    sealer: ChunkSealer<SealgateV1>,
    p: u64,
}

impl SegmentSealer {
    /// Begins the segment. `id.salt` must be freshly drawn for this attempt:
    /// [`ObjectSealer`](super::seal::ObjectSealer) and [`PartSealer`](super::parts::PartSealer) see to that by type.
    pub fn danger_new(dek: &DataKey, id: &SegmentId) -> Result<Self, SealError> {
        if id.is_too_long() {
            return Err(SealError::TooLong);
        }
        Ok(Self { sealer: ChunkSealer::new(id.keys(dek)), p: id.p })
    }

    /// The segment's commitment to its key.
    #[must_use]
    pub const fn commitment(&self) -> &Commitment {
        self.sealer.keys.commitment()
    }

    /// Plaintext length of the chunk that comes next; the last one's is less than a full chunk.
    #[must_use]
    pub fn next_len(&self) -> usize {
        geometry::chunk_len(self.p, self.sealer.next).unwrap_or_default()
    }

    /// Whether the chunk that comes next is the last.
    #[must_use]
    pub const fn next_is_last(&self) -> bool {
        self.sealer.next + 1 == geometry::chunk_count(self.p)
    }

    /// Encrypts the next chunk, which must be full and not the last, in place and returns its tag.
    #[inline]
    pub fn seal_chunk(&mut self, chunk: &mut [u8]) -> Result<Tag, SealError> {
        if self.next_is_last() {
            return Err(SealError::Misuse("the last chunk is sealed by seal_last"));
        }
        self.sealer.seal_full(chunk)
    }

    /// Encrypts the last chunk in place, of exactly [`SegmentSealer::next_len`] bytes, and ends the segment.
    pub fn seal_last(self, chunk: &mut [u8]) -> Result<Tag, SealError> {
        if !self.next_is_last() {
            return Err(SealError::Misuse("there are chunks before the last one"));
        }
        if chunk.len() != self.next_len() {
            return Err(SealError::Misuse("the plaintext has another length than was announced"));
        }
        self.sealer.seal_last(chunk)
    }
}

/// Opens the chunks of an object's segment at any index.
pub struct SegmentOpener {
    keys: SegmentKeys<SealgateV1>,
    segment: u32,
    p: u64,
}

impl SegmentOpener {
    /// The opener of a segment; `segment` is its position in the body, for errors.
    pub fn new(dek: &DataKey, id: &SegmentId, segment: u32) -> Result<Self, OpenError> {
        if id.is_too_long() {
            return Err(OpenError::Size);
        }
        Ok(Self { keys: id.keys(dek), segment, p: id.p })
    }

    /// Whether `stored` is this segment's commitment.
    #[must_use]
    pub fn commits_to(&self, stored: &[u8]) -> bool {
        self.keys.commits_to(stored)
    }

    /// Verifies and decrypts chunk `index` in place; `sealed` must be exactly that chunk and its tag.
    #[inline]
    pub fn open<'a>(&self, index: u64, sealed: &'a mut [u8]) -> Result<&'a mut [u8], OpenError> {
        let expected = geometry::chunk_len(self.p, index).ok_or(OpenError::Misuse("no such chunk"))?;
        if sealed.len() != expected + crate::crypto::aead::TAG_LEN {
            return Err(OpenError::Misuse("a chunk of another length"));
        }
        let segment = self.segment;
        self.keys.open_chunk(index, sealed).ok_or(OpenError::Chunk { segment, index })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dek() -> DataKey {
        DataKey::new(Secret::from_bytes([5; 32]))
    }

    fn id(p: u64) -> SegmentId {
        SegmentId { kind: Kind::Simple, part_no: 0, p, salt: [6; 24] }
    }

    #[test]
    fn every_field_of_the_id_is_in_the_key() {
        let base = id(7);
        let commitment = *base.keys(&dek()).commitment();
        assert_eq!(commitment, *base.keys(&dek()).commitment());
        assert!(base.keys(&dek()).commits_to(&commitment));
        for other in [
            SegmentId { kind: Kind::Multipart, ..base },
            SegmentId { part_no: 1, ..base },
            SegmentId { p: 8, ..base },
            SegmentId { salt: [7; 24], ..base },
        ] {
            assert!(!other.keys(&dek()).commits_to(&commitment));
        }
        assert!(!base.keys(&DataKey::new(Secret::from_bytes([4; 32]))).commits_to(&commitment));
        assert!(!base.keys(&dek()).commits_to(&commitment[..31]));
    }

    #[test]
    fn the_sealer_refuses_chunks_that_do_not_come_next() {
        let mut full = vec![0; CHUNK_LEN];
        let mut sealer = SegmentSealer::danger_new(&dek(), &id(CHUNK_LEN as u64 + 5)).unwrap();
        assert_eq!(sealer.next_len(), CHUNK_LEN);
        assert!(!sealer.next_is_last());
        assert!(matches!(sealer.seal_chunk(&mut full[1..]), Err(SealError::Misuse(_))));
        assert!(sealer.seal_chunk(&mut full).is_ok());
        assert!(sealer.next_is_last());
        assert!(matches!(sealer.seal_chunk(&mut full), Err(SealError::Misuse(_))), "one chunk too many");
        assert_eq!(sealer.next_len(), 5);
        assert!(matches!(sealer.seal_last(&mut [0; 4]), Err(SealError::Misuse(_))), "short");
        let early = SegmentSealer::danger_new(&dek(), &id(CHUNK_LEN as u64)).unwrap();
        assert!(matches!(early.seal_last(&mut []), Err(SealError::Misuse(_))), "chunks are missing");
        let exact = SegmentSealer::danger_new(&dek(), &id(3)).unwrap();
        assert!(exact.seal_last(&mut [0; 3]).is_ok());
        let mut sealer = ChunkSealer::new(id(0).keys(&dek()));
        assert!(matches!(sealer.seal_full(&mut [0; 9]), Err(SealError::Misuse(_))));
        assert!(matches!(sealer.seal_last(&mut full), Err(SealError::Misuse(_))), "a full chunk is not the last");
    }

    #[test]
    fn the_counter_reaches_to_the_last_chunk_of_the_longest_object() {
        assert_eq!(SealgateV1::MAX_CHUNKS, geometry::chunk_count(MAX_PLAINTEXT_LEN));
    }

    #[test]
    fn lengths_beyond_the_formats_are_refused_both_ways() {
        for (too_long, longest) in [
            (id(MAX_PLAINTEXT_LEN + 1), id(MAX_PLAINTEXT_LEN)),
            (
                SegmentId { kind: Kind::Multipart, part_no: 1, ..id(MAX_PART_LEN + 1) },
                SegmentId { kind: Kind::Multipart, part_no: 1, ..id(MAX_PART_LEN) },
            ),
        ] {
            assert_eq!(SegmentSealer::danger_new(&dek(), &too_long).err(), Some(SealError::TooLong));
            assert_eq!(SegmentOpener::new(&dek(), &too_long, 0).err(), Some(OpenError::Size));
            assert!(SegmentSealer::danger_new(&dek(), &longest).is_ok());
            assert!(SegmentOpener::new(&dek(), &longest, 0).is_ok());
        }
    }

    #[test]
    fn chunks_open_at_their_index_only() {
        let p = 2 * CHUNK_LEN as u64;
        let mut sealer = SegmentSealer::danger_new(&dek(), &id(p)).unwrap();
        let mut chunks = Vec::new();
        for byte in [1, 2] {
            let mut chunk = vec![byte; CHUNK_LEN];
            let tag = sealer.seal_chunk(&mut chunk).unwrap();
            chunk.extend_from_slice(&tag);
            chunks.push(chunk);
        }
        chunks.push(sealer.seal_last(&mut []).unwrap().to_vec());
        let opener = SegmentOpener::new(&dek(), &id(p), 3).unwrap();
        assert_eq!(opener.open(1, &mut chunks[1].clone()).unwrap(), vec![2; CHUNK_LEN]);
        assert_eq!(opener.open(0, &mut chunks[0].clone()).unwrap(), vec![1; CHUNK_LEN]);
        assert!(opener.open(2, &mut chunks[2].clone()).unwrap().is_empty());
        let mut other = chunks[1].clone();
        let swapped = opener.open(0, &mut other);
        assert_eq!(swapped, Err(OpenError::Chunk { segment: 3, index: 0 }));
        assert!(matches!(opener.open(2, &mut chunks[1].clone()), Err(OpenError::Misuse(_))));
        assert!(matches!(opener.open(3, &mut chunks[2].clone()), Err(OpenError::Misuse(_))));
        assert!(matches!(opener.open(0, &mut chunks[0][1..].to_vec()), Err(OpenError::Misuse(_))));
    }

    #[test]
    fn no_chunk_is_sealed_or_opened_at_the_counters_limit() {
        struct Tiny;
        impl Profile for Tiny {
            type Aead = RingAes256Gcm;
            const LABEL: &'static [u8] = b"tiny+";
            const CHUNK_LEN: usize = 1;
            const MAX_CHUNKS: u64 = 2;
        }
        let dek = dek();
        let keys = || SegmentKeys::<Tiny>::derive(dek.prk(), &[0; 24], &[]);
        let mut sealer = ChunkSealer::new(keys());
        assert!(sealer.seal_full(&mut [0]).is_ok());
        assert!(sealer.seal_full(&mut [0]).is_ok());
        assert_eq!(sealer.seal_full(&mut [0]), Err(SealError::TooLong));
        assert_eq!(sealer.seal_last(&mut []), Err(SealError::TooLong));
        let mut past_limit = [0u8; 17];
        let at_limit = keys();
        let tag = at_limit.aead.seal_in_place(&at_limit.nonce.at(2), &[], &mut past_limit[..1]).unwrap();
        past_limit[1..].copy_from_slice(&tag);
        assert!(keys().open_chunk(2, &mut past_limit).is_none());
    }
}

//! Parts of multipart uploads: the head before a part's chunks, and the ETag that a client carries back.
//!
//! ```text
//! head (72) = "SGP1" ‖ part_no u32 ‖ p u64 ‖ salt 24 ‖ c 32
//! ETag      = <upstream ETag>-S,  S = base64url(salt 24 ‖ p u48 ‖ a u8 ‖ v 8 ‖ mac 12), 68 characters
//! mac       = HMAC-SHA-512(X(DEK, "sealgate/v1/part\0" ‖ suite, 32),
//!                          part_no u32 ‖ p u64 ‖ salt ‖ lp(upstream ETag) ‖ a ‖ lp(whole value))[0..12)
//! ```
//!
//! a is the algorithm of the checksum that was verified for the part (0: none), v its value if it has at most 8 bytes,
//! left-aligned, else zeros. The MAC binds attempt, upstream ETag, size and checksum, so Complete believes nothing
//! that the provider or the client says of a part.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq;

use super::cursor::Cursor;
use super::error::{OpenError, SealError};
use super::metadata::ChecksumAlgorithm;
use super::segment::{COMMITMENT_LEN, SegmentId, SegmentSealer};
use super::suite::{FreshSalt, Kind, MAX_PART_LEN, SALT_LEN, Salt, Suite};
use crate::crypto::aead::Tag;
use crate::crypto::wrap::DataKey;
use crate::digest::HmacSha512;
use crate::object::PartNumber;

/// Length of the head of a part.
pub const HEAD_LEN: usize = 16 + SALT_LEN + COMMITMENT_LEN;
/// Length of what is appended to the upstream ETag, without the dash.
pub const PART_TAG_LEN: usize = 68;

const MAGIC: &[u8; 4] = b"SGP1";
const PART_LABEL: &[u8] = b"sealgate/v1/part\0";
const MAC_LEN: usize = 12;
const INLINE_VALUE_LEN: usize = 8;

/// The head of a part as it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartHead {
    /// The part's number.
    pub part_no: u32,
    /// The part's plaintext length.
    pub p: u64,
    /// The attempt's salt.
    pub salt: Salt,
    /// The commitment to the segment's key.
    pub commitment: [u8; COMMITMENT_LEN],
}

impl PartHead {
    /// Reads a head; nothing in it is believed but what its magic says.
    pub fn parse(bytes: &[u8; HEAD_LEN]) -> Result<Self, OpenError> {
        const SHORT: OpenError = OpenError::PartHead("cut short");
        let mut cursor = Cursor::new(bytes);
        if cursor.array().ok_or(SHORT)? != *MAGIC {
            return Err(OpenError::PartHead("no part begins here"));
        }
        Ok(Self {
            part_no: cursor.u32().ok_or(SHORT)?,
            p: cursor.u64().ok_or(SHORT)?,
            salt: cursor.array().ok_or(SHORT)?,
            commitment: cursor.array().ok_or(SHORT)?,
        })
    }

    fn encode(&self) -> [u8; HEAD_LEN] {
        let mut head = [0; HEAD_LEN];
        let fields = [&MAGIC[..], &self.part_no.to_be_bytes(), &self.p.to_be_bytes(), &self.salt, &self.commitment];
        head.iter_mut().zip(fields.into_iter().flatten()).for_each(|(to, from)| *to = *from);
        head
    }
}

/// Seals one attempt at a part.
pub struct PartSealer {
    head: [u8; HEAD_LEN],
    segment: SegmentSealer,
}

impl PartSealer {
    /// Begins the attempt. `salt` must be freshly drawn for it: a part sent again may have other bytes.
    ///
    /// ```compile_fail,E0382
    /// # use sealgate::{crypto::wrap::DataKey, format::{parts::PartSealer, suite::FreshSalt}, object::PartNumber};
    /// # fn twice(dek: &DataKey, part_no: PartNumber, salt: FreshSalt) {
    /// let once = PartSealer::new(dek, part_no, 5, salt);
    /// let twice = PartSealer::new(dek, part_no, 5, salt);
    /// # }
    /// ```
    #[expect(clippy::needless_pass_by_value, reason = "a salt is used up")]
    pub fn new(dek: &DataKey, part_no: PartNumber, p: u64, salt: FreshSalt) -> Result<Self, SealError> {
        let salt = *salt.as_bytes();
        if salt == [0; SALT_LEN] {
            return Err(SealError::Misuse("a salt of zeros means an unpinned part"));
        }
        let id = SegmentId { kind: Kind::Multipart, part_no: part_no.get(), p, salt };
        let segment = SegmentSealer::danger_new(dek, &id)?;
        let head = PartHead { part_no: part_no.get(), p, salt, commitment: *segment.commitment() }.encode();
        Ok(Self { head, segment })
    }

    /// The part's head, which stands before its chunks.
    #[must_use]
    pub const fn head(&self) -> &[u8; HEAD_LEN] {
        &self.head
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

    /// Encrypts the next chunk, full and not the last, in place and returns its tag.
    pub fn seal_chunk(&mut self, chunk: &mut [u8]) -> Result<Tag, SealError> {
        self.segment.seal_chunk(chunk)
    }

    /// Encrypts the last chunk in place and ends the part.
    pub fn seal_last(self, chunk: &mut [u8]) -> Result<Tag, SealError> {
        self.segment.seal_last(chunk)
    }
}

/// A checksum of a part that was verified against its plaintext.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartChecksum<'a> {
    /// The algorithm.
    pub algorithm: ChecksumAlgorithm,
    /// The value, of the algorithm's length.
    pub value: &'a [u8],
}

/// What the ETag of a part attests to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartAttempt<'a> {
    /// The part's number.
    pub part_no: PartNumber,
    /// The part's plaintext length.
    pub p: u64,
    /// The attempt's salt.
    pub salt: Salt,
    /// The provider's ETag of the attempt, without quotes.
    pub upstream_etag: &'a str,
    /// The checksum that was verified, if one was sent.
    pub checksum: Option<PartChecksum<'a>>,
}

impl PartAttempt<'_> {
    fn mac(&self, dek: &DataKey) -> [u8; MAC_LEN] {
        let key = dek.prk().expand::<32>(&[PART_LABEL, &[Suite::Aes256GcmSha512.byte()]]);
        let lp = |len: usize| u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes();
        let (algorithm, value) = self.checksum.map_or((0, &[][..]), |c| (c.algorithm as u8, c.value));
        let mac = HmacSha512::new(key.expose_secret()).mac([
            &self.part_no.get().to_be_bytes()[..],
            &self.p.to_be_bytes(),
            &self.salt,
            &lp(self.upstream_etag.len()),
            self.upstream_etag.as_bytes(),
            &[algorithm],
            &lp(value.len()),
            value,
        ]);
        mac.first_chunk().copied().unwrap_or_default()
    }

    /// The ETag that the client gets: `<upstream ETag>-S`, without quotes.
    pub fn etag(&self, dek: &DataKey) -> Result<String, SealError> {
        if self.p > MAX_PART_LEN {
            return Err(SealError::TooLong);
        }
        let mut inline = [0; INLINE_VALUE_LEN];
        let mut algorithm = 0;
        if let Some(checksum) = self.checksum {
            if checksum.value.len() != checksum.algorithm.value_len() {
                return Err(SealError::Checksum("its value has the wrong length"));
            }
            algorithm = checksum.algorithm as u8;
            if checksum.value.len() <= INLINE_VALUE_LEN {
                inline.iter_mut().zip(checksum.value).for_each(|(to, from)| *to = *from);
            }
        }
        let [_, _, p @ ..] = self.p.to_be_bytes();
        let tag = [&self.salt[..], &p, &[algorithm], &inline, &self.mac(dek)].concat();
        Ok(format!("{}-{}", self.upstream_etag, URL_SAFE_NO_PAD.encode(tag)))
    }
}

/// The ETag of a part as a client carries it back, split but not believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartTag<'a> {
    upstream_etag: &'a str,
    salt: Salt,
    p: u64,
    algorithm: u8,
    inline: [u8; INLINE_VALUE_LEN],
    mac: [u8; MAC_LEN],
}

impl<'a> PartTag<'a> {
    /// Splits an ETag without quotes. `None` if its last 69 characters are not a dash and 68 canonical ones of
    /// base64url: then it is the provider's own, and its part is unpinned.
    #[must_use]
    pub fn split(etag: &'a str) -> Option<Self> {
        let at = etag.len().checked_sub(PART_TAG_LEN + 1)?;
        let (upstream_etag, suffix) = etag.split_at_checked(at)?;
        let bytes = URL_SAFE_NO_PAD.decode(suffix.strip_prefix('-')?).ok()?;
        let mut cursor = Cursor::new(&bytes);
        let salt = cursor.array()?;
        let [p0, p1, p2, p3, p4, p5] = cursor.array()?;
        let p = u64::from_be_bytes([0, 0, p0, p1, p2, p3, p4, p5]);
        let algorithm = cursor.u8()?;
        let inline = cursor.array()?;
        let mac = cursor.array()?;
        cursor.is_empty().then_some(Self { upstream_etag, salt, p, algorithm, inline, mac })
    }

    /// The provider's ETag of the attempt, without quotes.
    #[must_use]
    pub const fn upstream_etag(&self) -> &'a str {
        self.upstream_etag
    }

    /// Proves that the ETag was issued under `dek` for part `part_no`, and returns what it attests to.
    ///
    /// `checksum` is the part's value from the request, of a checksum that does not fit into the ETag (more than
    /// 8 bytes); it is proved by the MAC. For shorter ones it is ignored, because the ETag has the verified value.
    pub fn verify(
        &'a self,
        dek: &DataKey,
        part_no: PartNumber,
        checksum: Option<&'a [u8]>,
    ) -> Result<PartAttempt<'a>, OpenError> {
        let checksum = if self.algorithm == 0 {
            None
        } else {
            let algorithm = ChecksumAlgorithm::from_byte(self.algorithm).ok_or(OpenError::PartTag)?;
            let value = if algorithm.value_len() <= INLINE_VALUE_LEN {
                self.inline.get(..algorithm.value_len()).ok_or(OpenError::PartTag)?
            } else {
                checksum.filter(|value| value.len() == algorithm.value_len()).ok_or(OpenError::PartTag)?
            };
            Some(PartChecksum { algorithm, value })
        };
        let used = checksum.map_or(0, |c| if c.value.len() <= INLINE_VALUE_LEN { c.value.len() } else { 0 });
        if self.inline.iter().skip(used).any(|&byte| byte != 0) {
            return Err(OpenError::PartTag);
        }
        let attempt = PartAttempt { part_no, p: self.p, salt: self.salt, upstream_etag: self.upstream_etag, checksum };
        if self.p > MAX_PART_LEN || !bool::from(attempt.mac(dek).ct_eq(&self.mac)) {
            return Err(OpenError::PartTag);
        }
        Ok(attempt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    fn dek() -> DataKey {
        DataKey::new(Secret::from_bytes([2; 32]))
    }

    fn salt(bytes: [u8; SALT_LEN]) -> FreshSalt {
        FreshSalt::danger_from_bytes(bytes)
    }

    fn attempt(p: u64, checksum: Option<PartChecksum<'_>>) -> PartAttempt<'_> {
        PartAttempt { part_no: PartNumber::new(3).unwrap(), p, salt: [9; SALT_LEN], upstream_etag: "abc", checksum }
    }

    #[test]
    fn a_head_says_what_it_was_made_of() {
        let sealer = PartSealer::new(&dek(), PartNumber::new(3).unwrap(), 70_000, salt([9; SALT_LEN])).unwrap();
        assert_eq!(sealer.next_len(), 65_536);
        assert!(!sealer.next_is_last());
        let head = PartHead::parse(sealer.head()).unwrap();
        assert_eq!((head.part_no, head.p, head.salt), (3, 70_000, [9; SALT_LEN]));
        assert_eq!(head.commitment, *sealer.segment.commitment());
        assert_eq!(head.encode(), *sealer.head());
        let mut other = *sealer.head();
        other[0] ^= 1;
        assert!(matches!(PartHead::parse(&other), Err(OpenError::PartHead(_))));
        let last = PartSealer::new(&dek(), PartNumber::new(1).unwrap(), 5, salt([9; SALT_LEN])).unwrap();
        assert!(last.next_is_last());
        assert!(last.seal_last(&mut [0; 5]).is_ok());
    }

    #[test]
    fn a_salt_of_zeros_is_no_attempt() {
        let refused = PartSealer::new(&dek(), PartNumber::new(1).unwrap(), 5, salt([0; SALT_LEN]));
        assert!(matches!(refused.err(), Some(SealError::Misuse(_))));
    }

    #[test]
    fn an_etag_attests_to_parts_up_to_2_to_the_46() {
        let longest = attempt(MAX_PART_LEN, None).etag(&dek()).unwrap();
        let tag = PartTag::split(&longest).unwrap();
        assert_eq!(tag.verify(&dek(), PartNumber::new(3).unwrap(), None).map(|a| a.p), Ok(MAX_PART_LEN));
        assert_eq!(attempt(MAX_PART_LEN + 1, None).etag(&dek()), Err(SealError::TooLong));
    }

    #[test]
    fn a_checksum_has_its_algorithms_length() {
        let crc = |value| Some(PartChecksum { algorithm: ChecksumAlgorithm::Crc32, value });
        assert!(matches!(attempt(1, crc(&[1, 2, 3])).etag(&dek()), Err(SealError::Checksum(_))));
        let etag = attempt(1, crc(&[1, 2, 3, 4])).etag(&dek()).unwrap();
        let part_no = PartNumber::new(3).unwrap();
        let tag = PartTag::split(&etag).unwrap();
        assert_eq!(tag.verify(&dek(), part_no, Some(b"ignored")), Ok(attempt(1, crc(&[1, 2, 3, 4]))));
    }

    #[test]
    fn bytes_behind_a_checksum_and_unknown_algorithms_do_not_verify_even_if_authentic() {
        // forged with the right key, so that only the rule refuses it
        let part_no = PartNumber::new(3).unwrap();
        let forge_len = |p: u64, algorithm: u8, inline: [u8; 8], value: &[u8]| {
            let key = dek().prk().expand::<32>(&[PART_LABEL, &[1]]);
            let fields = [&3u32.to_be_bytes()[..], &p.to_be_bytes(), &[9; 24], &3u32.to_be_bytes(), b"abc"];
            let len = u32::try_from(value.len()).unwrap().to_be_bytes();
            let rest = [&[algorithm][..], &len, value];
            let mac = HmacSha512::new(key.expose_secret()).mac(fields.into_iter().chain(rest));
            let tag = [&[9; 24][..], &p.to_be_bytes()[2..], &[algorithm], &inline, &mac[..12]].concat();
            format!("abc-{}", URL_SAFE_NO_PAD.encode(tag))
        };
        let forge = |algorithm, inline, value: &[u8]| forge_len(1, algorithm, inline, value);
        let verify =
            |etag: &str, value: Option<&[u8]>| PartTag::split(etag).unwrap().verify(&dek(), part_no, value).map(|_| ());
        assert_eq!(verify(&forge(1, [1, 2, 3, 4, 0, 0, 0, 0], &[1, 2, 3, 4]), None), Ok(()));
        assert_eq!(verify(&forge(1, [1, 2, 3, 4, 0, 0, 0, 1], &[1, 2, 3, 4]), None), Err(OpenError::PartTag));
        assert_eq!(verify(&forge(0, [0; 8], b""), None), Ok(()));
        assert_eq!(verify(&forge(0, [1, 0, 0, 0, 0, 0, 0, 0], b""), None), Err(OpenError::PartTag));
        assert_eq!(verify(&forge(11, [0; 8], b""), None), Err(OpenError::PartTag));
        let sha1 = [5; 20];
        assert_eq!(verify(&forge(3, [0; 8], &sha1), Some(&sha1)), Ok(()));
        assert_eq!(verify(&forge(3, [0, 0, 0, 0, 0, 0, 0, 1], &sha1), Some(&sha1)), Err(OpenError::PartTag));
        assert_eq!(verify(&forge_len(MAX_PART_LEN, 0, [0; 8], b""), None), Ok(()));
        assert_eq!(verify(&forge_len(MAX_PART_LEN + 1, 0, [0; 8], b""), None), Err(OpenError::PartTag));
        let crc64 = [6; 8];
        assert_eq!(verify(&forge(5, crc64, &crc64), None), Ok(()));
    }
}

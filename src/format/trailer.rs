//! The tail of a body: padding, recovery record, sealed trailer, footer.
//!
//! ```text
//! ts(32) ‖ rnonce(24) = X(DEK, "sealgate/v1/tail\0" ‖ suite, 56)
//! tsalt               = HMAC-SHA-512(ts, lp(trailer) ‖ u64 total ‖ record)[0..16)
//! footer (32)         = "SGTRLR01" ‖ tsalt(16) ‖ u32 length of the sealed trailer ‖ u16 length of record ‖ u16 0
//! tk(32) ‖ tn(12)     = X(DEK, "sealgate/v1/trailer\0" ‖ suite ‖ tsalt, 44)
//! sealed trailer      = AES-256-GCM(tk, tn, trailer, aad = footer ‖ u64 total ‖ record)
//!
//! trailer: 0 version 1 | 1 kind | 2 flags u16 (bit 0 MD5, bit 1 checksum) | 4 N u32 | 8 P u64 | 16 MD5 (16)
//!          32 checksum algorithm | 33 type | 34 composite count u16 | 36 E = 36 u16 | 38 length of ext u16
//!          40 checksum value (64) | 104 true length = 0 u64 | 112 N entries of E bytes | ext
//! entry:   part_no u32 ‖ p u64 ‖ salt 24               kind 1: 0, P, seg_salt; kind 2: salt all zero = unpinned
//! ```
//!
//! Everything here is a function of data key, content and record: two gateways that complete one upload write the
//! same bytes. The trailer's key depends on what it seals, so another trailer never meets the same (key, nonce).

use subtle::ConstantTimeEq;

use super::cursor::Cursor;
use super::envelope::{Envelope, HeaderBody};
use super::error::{OpenError, SealError};
use super::geometry;
use super::metadata::{Checksum, ChecksumAlgorithm, ChecksumType, parse_tlv};
use super::suite::{Kind, MAX_PART_LEN, MAX_PLAINTEXT_LEN, MIN_PART_LEN, SALT_LEN, Salt, Suite, VERSION};
use crate::crypto::aead::{Aead, ErasingAes256Gcm, NONCE_LEN, TAG_LEN};
use crate::crypto::wrap::{DataKey, KEK_ID_LEN, KekId, RECORD_LEN, RECORD_NONCE_LEN};
use crate::digest::HmacSha512;
use crate::object::PartNumber;
use crate::secret::Secret;

/// Length of the footer: the last bytes of every body.
pub const FOOTER_LEN: usize = 32;

const MAGIC: &[u8; 8] = b"SGTRLR01";
const TAIL_LABEL: &[u8] = b"sealgate/v1/tail\0";
const TRAILER_LABEL: &[u8] = b"sealgate/v1/trailer\0";
const TSALT_LEN: usize = 16;
const FIXED_LEN: usize = 112;
const ENTRY_LEN: usize = 36;
/// Fixed part, one entry, tag.
const MIN_SEALED_LEN: u64 = (FIXED_LEN + ENTRY_LEN + TAG_LEN) as u64;
const FLAG_MD5: u16 = 1;
const FLAG_CHECKSUM: u16 = 2;
const CHECKSUM_FIELD_LEN: usize = 64;

/// A segment as the trailer lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// 0 in a simple object, else the part's number.
    pub part_no: u32,
    /// Plaintext length.
    pub p: u64,
    /// The segment's salt; all zero in a multipart object: unpinned, the part's own head has it.
    pub salt: Salt,
}

impl Entry {
    /// Whether the trailer does not say which attempt at the part is the right one.
    #[must_use]
    pub fn is_unpinned(&self) -> bool {
        self.salt == [0; SALT_LEN]
    }
}

/// Digests of the plaintext, verified when it was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Digests {
    /// MD5 of the plaintext.
    pub md5: Option<[u8; 16]>,
    /// A checksum and, for a composite one, the number of parts it runs over.
    pub checksum: Option<(Checksum, u16)>,
}

/// What stands in a trailer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trailer {
    kind: Kind,
    p: u64,
    digests: Digests,
    entries: Vec<Entry>,
}

fn entries_fault(kind: Kind, p: u64, entries: &[Entry]) -> Option<&'static str> {
    if kind == Kind::Simple {
        return match entries {
            [entry] if entry.part_no == 0 && entry.p == p && p <= MAX_PLAINTEXT_LEN => None,
            _ => Some("a simple object is one entry, of part 0 and the whole length"),
        };
    }
    let Some((last, before)) = entries.split_last() else { return Some("no entry") };
    let mut sum = 0u64;
    let mut previous = 0;
    for entry in entries {
        if entry.part_no <= previous || entry.part_no > PartNumber::MAX {
            return Some("part numbers are not strictly ascending from 1 to 10000");
        }
        if entry.p > MAX_PART_LEN {
            return Some("a part is too long");
        }
        previous = entry.part_no;
        // at most 10 000 parts of at most 2^46 bytes: no overflow
        sum += entry.p;
    }
    debug_assert!(last.p <= MAX_PART_LEN);
    if before.iter().any(|entry| entry.p < MIN_PART_LEN) {
        return Some("a part that is not the last is shorter than 4 MiB");
    }
    if sum != p {
        return Some("the parts do not add up to the object");
    }
    (p > MAX_PLAINTEXT_LEN).then_some("the object is too long")
}

impl Trailer {
    /// The trailer of an object of one segment.
    pub fn simple(p: u64, salt: Salt, digests: Digests) -> Result<Self, SealError> {
        Self::new(Kind::Simple, p, vec![Entry { part_no: 0, p, salt }], digests)
    }

    /// The trailer of an object of several parts, in ascending order.
    pub fn multipart(entries: Vec<Entry>, digests: Digests) -> Result<Self, SealError> {
        let p = entries
            .iter()
            .try_fold(0u64, |sum, entry| sum.checked_add(entry.p))
            .ok_or(SealError::Parts("the object is too long"))?;
        Self::new(Kind::Multipart, p, entries, digests)
    }

    fn new(kind: Kind, p: u64, entries: Vec<Entry>, digests: Digests) -> Result<Self, SealError> {
        if let Some(fault) = entries_fault(kind, p, &entries) {
            return Err(SealError::Parts(fault));
        }
        if let Some((checksum, count)) = &digests.checksum
            && (*count == 0) != (checksum.over() == ChecksumType::FullObject)
        {
            return Err(SealError::Checksum("a composite checksum, and no other, has a count of parts"));
        }
        Ok(Self { kind, p, digests, entries })
    }

    /// Simple or multipart.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// Plaintext length of the object.
    #[must_use]
    pub const fn plaintext_len(&self) -> u64 {
        self.p
    }

    /// Digests of the plaintext.
    #[must_use]
    pub const fn digests(&self) -> &Digests {
        &self.digests
    }

    /// The object's segments, in order.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(FIXED_LEN + ENTRY_LEN * self.entries.len() + TAG_LEN);
        let flags = u16::from(self.digests.md5.is_some()) * FLAG_MD5
            + u16::from(self.digests.checksum.is_some()) * FLAG_CHECKSUM;
        let count = u32::try_from(self.entries.len()).unwrap_or(u32::MAX);
        out.extend_from_slice(&[VERSION, self.kind.byte()]);
        out.extend_from_slice(&flags.to_be_bytes());
        out.extend_from_slice(&count.to_be_bytes());
        out.extend_from_slice(&self.p.to_be_bytes());
        out.extend_from_slice(&self.digests.md5.unwrap_or_default());
        let mut value = [0; CHECKSUM_FIELD_LEN];
        let (mut algorithm, mut over, mut parts) = (0, 0, 0);
        if let Some((checksum, count)) = &self.digests.checksum {
            (algorithm, over, parts) = (checksum.algorithm() as u8, checksum.over() as u8, *count);
            value.iter_mut().zip(checksum.value()).for_each(|(to, from)| *to = *from);
        }
        out.extend_from_slice(&[algorithm, over]);
        out.extend_from_slice(&parts.to_be_bytes());
        out.extend_from_slice(&36u16.to_be_bytes());
        out.extend_from_slice(&0u16.to_be_bytes());
        out.extend_from_slice(&value);
        out.extend_from_slice(&0u64.to_be_bytes());
        for entry in &self.entries {
            out.extend_from_slice(&entry.part_no.to_be_bytes());
            out.extend_from_slice(&entry.p.to_be_bytes());
            out.extend_from_slice(&entry.salt);
        }
        out
    }

    /// Reads a decrypted trailer of an object of `p0` bytes of plaintext by its size.
    fn parse(bytes: &[u8], p0: u64) -> Result<Self, &'static str> {
        const SHORT: &str = "cut short";
        let mut cursor = Cursor::new(bytes);
        if cursor.u8().ok_or(SHORT)? != VERSION {
            return Err("unknown version");
        }
        let Some(kind @ (Kind::Simple | Kind::Multipart)) = Kind::from_byte(cursor.u8().ok_or(SHORT)?) else {
            return Err("unknown kind");
        };
        let flags = cursor.u16().ok_or(SHORT)?;
        if flags & !(FLAG_MD5 | FLAG_CHECKSUM) != 0 {
            return Err("unknown flags");
        }
        let count = cursor.u32().ok_or(SHORT)?;
        let p = cursor.u64().ok_or(SHORT)?;
        let md5: [u8; 16] = cursor.array().ok_or(SHORT)?;
        let algorithm = cursor.u8().ok_or(SHORT)?;
        let over = cursor.u8().ok_or(SHORT)?;
        let parts = cursor.u16().ok_or(SHORT)?;
        let entry_len = usize::from(cursor.u16().ok_or(SHORT)?);
        let ext_len = usize::from(cursor.u16().ok_or(SHORT)?);
        let value: [u8; CHECKSUM_FIELD_LEN] = cursor.array().ok_or(SHORT)?;
        if cursor.u64().ok_or(SHORT)? != 0 {
            return Err("a true length in an object that is not padded");
        }
        let digests =
            Digests { md5: parse_md5(flags, md5)?, checksum: parse_checksum(flags, algorithm, over, parts, &value)? };
        if !(1..=PartNumber::MAX).contains(&count) {
            return Err("an impossible number of entries");
        }
        if entry_len < ENTRY_LEN {
            return Err("entries are too short");
        }
        let count = usize::try_from(count).map_err(|_| SHORT)?;
        // at most 10 000 entries of at most 65 535 bytes
        if cursor.rest().len() != count * entry_len + ext_len {
            return Err("another length than its fields add up to");
        }
        let mut entries = Vec::with_capacity(count);
        for _ in 0..count {
            let mut entry = Cursor::new(cursor.take(entry_len).ok_or(SHORT)?);
            let part_no = entry.u32().ok_or(SHORT)?;
            let p = entry.u64().ok_or(SHORT)?;
            let salt = entry.array().ok_or(SHORT)?;
            entries.push(Entry { part_no, p, salt });
        }
        parse_tlv(cursor.rest(), |tag, _| if tag < 0x80 { Err("an unknown critical extension") } else { Ok(()) })?;
        if p != p0 {
            return Err("another length than the body's size says");
        }
        if let Some(fault) = entries_fault(kind, p, &entries) {
            return Err(fault);
        }
        Ok(Self { kind, p, digests, entries })
    }

    /// Whether this trailer belongs to the object of that header.
    pub(super) fn check_header(&self, envelope: &Envelope) -> Result<(), OpenError> {
        let entry_matches = match envelope.body() {
            HeaderBody::Simple { salt, p } => self.entries == [Entry { part_no: 0, p, salt }],
            HeaderBody::Multipart => true,
            HeaderBody::UploadState => false,
        };
        if self.kind != envelope.body().kind() || !entry_matches {
            return Err(OpenError::Trailer("it is not that of the header"));
        }
        let metadata = envelope.metadata();
        let differs =
            |header: Option<&[u8]>, trailer: Option<&[u8]>| matches!((header, trailer), (Some(h), Some(t)) if h != t);
        let md5_differs =
            differs(metadata.content_md5().as_ref().map(|m| &m[..]), self.digests.md5.as_ref().map(|m| &m[..]));
        let checksum_differs = match (metadata.checksum(), &self.digests.checksum) {
            (Some(header), Some((trailer, _))) => header != *trailer,
            _ => false,
        };
        if md5_differs || checksum_differs {
            return Err(OpenError::Trailer("its digests are not those of the header"));
        }
        Ok(())
    }
}

fn parse_md5(flags: u16, md5: [u8; 16]) -> Result<Option<[u8; 16]>, &'static str> {
    if flags & FLAG_MD5 != 0 {
        Ok(Some(md5))
    } else if md5 == [0; 16] {
        Ok(None)
    } else {
        Err("an MD5 that its flags deny")
    }
}

fn parse_checksum(
    flags: u16,
    algorithm: u8,
    over: u8,
    parts: u16,
    value: &[u8; CHECKSUM_FIELD_LEN],
) -> Result<Option<(Checksum, u16)>, &'static str> {
    if flags & FLAG_CHECKSUM == 0 {
        let clear = algorithm == 0 && over == 0 && parts == 0 && *value == [0; CHECKSUM_FIELD_LEN];
        return if clear { Ok(None) } else { Err("a checksum that its flags deny") };
    }
    let algorithm = ChecksumAlgorithm::from_byte(algorithm).ok_or("unknown checksum algorithm")?;
    let over = ChecksumType::from_byte(over).ok_or("unknown checksum type")?;
    if (parts == 0) != (over == ChecksumType::FullObject) {
        return Err("a composite checksum, and no other, has a count of parts");
    }
    let (value, rest) = value.split_at_checked(algorithm.value_len()).ok_or("unknown checksum algorithm")?;
    if rest.iter().any(|&byte| byte != 0) {
        return Err("a checksum longer than its algorithm's");
    }
    let checksum = Checksum::new(algorithm, over, value).map_err(|_| "unknown checksum algorithm")?;
    Ok(Some((checksum, parts)))
}

struct TailKeys {
    ts: HmacSha512,
    rnonce: [u8; RECORD_NONCE_LEN],
}

impl TailKeys {
    fn derive(dek: &DataKey) -> Self {
        let mut ts = Secret::<[u8; 32]>::zeroed();
        let mut rnonce = [0; RECORD_NONCE_LEN];
        let info: [&[u8]; 2] = [TAIL_LABEL, &[Suite::Aes256GcmSha512.byte()]];
        dek.prk().expand_into(&info, &mut [ts.expose_secret_mut(), &mut rnonce]);
        Self { ts: HmacSha512::new(ts.expose_secret()), rnonce }
    }

    fn tsalt(&self, trailer: &[u8], total: u64, record: &[u8]) -> [u8; TSALT_LEN] {
        let len = u32::try_from(trailer.len()).unwrap_or(u32::MAX).to_be_bytes();
        let mac = self.ts.mac([&len[..], trailer, &total.to_be_bytes(), record]);
        mac.first_chunk().copied().unwrap_or_default()
    }
}

fn trailer_cipher(dek: &DataKey, tsalt: &[u8; TSALT_LEN]) -> (ErasingAes256Gcm, [u8; NONCE_LEN]) {
    let mut tk = Secret::<[u8; 32]>::zeroed();
    let mut tn = [0; NONCE_LEN];
    let info: [&[u8]; 3] = [TRAILER_LABEL, &[Suite::Aes256GcmSha512.byte()], tsalt];
    dek.prk().expand_into(&info, &mut [tk.expose_secret_mut(), &mut tn]);
    // The key has the cipher's own length, so the cipher takes it.
    let cipher = ErasingAes256Gcm::new(tk.expose_secret())
        .unwrap_or_else(|_| unreachable!("a key of the cipher's own length is taken"));
    (cipher, tn)
}

/// The nonce of the recovery record of an object under `dek`: what
/// [`Kek::seal_record`](crate::crypto::wrap::Kek::seal_record) is called with.
#[must_use]
pub fn record_nonce(dek: &DataKey) -> [u8; RECORD_NONCE_LEN] {
    TailKeys::derive(dek).rnonce
}

/// The bytes behind the chunks of a body.
#[derive(Clone, PartialEq, Eq)]
pub struct Tail {
    /// So many zero bytes come first.
    pub padding: u64,
    /// Then these: record, sealed trailer and footer.
    pub bytes: Vec<u8>,
}

/// Seals the tail of a body whose segments (with the heads of parts) take `segments_len` bytes.
///
/// `record`, if there is one, must be for this data key and [`record_nonce`].
pub fn seal_tail(
    dek: &DataKey,
    trailer: &Trailer,
    record: Option<&[u8; RECORD_LEN]>,
    segments_len: u64,
) -> Result<Tail, SealError> {
    let total = geometry::object_len(trailer.p).ok_or(SealError::TooLong)?;
    let record: &[u8] = record.map_or(&[], |record| record);
    let mut text = trailer.encode();
    let tsalt = TailKeys::derive(dek).tsalt(&text, total, record);
    let sealed_len = text.len() + TAG_LEN;
    let footer = encode_footer(&tsalt, sealed_len, record.len())?;
    let (cipher, nonce) = trailer_cipher(dek, &tsalt);
    let aad = [&footer[..], &total.to_be_bytes(), record].concat();
    let tag = cipher.seal_in_place(&nonce, &aad, &mut text).map_err(|_| SealError::TooLong)?;
    let bytes = [record, &text, &tag, &footer].concat();
    let used = u64::try_from(bytes.len()).ok().and_then(|len| len.checked_add(segments_len));
    let padding = used
        .and_then(|used| total.checked_sub(used))
        .ok_or(SealError::Parts("the segments leave no room for the trailer"))?;
    Ok(Tail { padding, bytes })
}

fn encode_footer(tsalt: &[u8; TSALT_LEN], sealed: usize, record: usize) -> Result<[u8; FOOTER_LEN], SealError> {
    let sealed = u32::try_from(sealed).map_err(|_| SealError::TooLong)?;
    let record = u16::try_from(record).map_err(|_| SealError::TooLong)?;
    let mut footer = [0; FOOTER_LEN];
    let fields = [&MAGIC[..], tsalt, &sealed.to_be_bytes(), &record.to_be_bytes(), &[0, 0]];
    footer.iter_mut().zip(fields.into_iter().flatten()).for_each(|(to, from)| *to = *from);
    Ok(footer)
}

/// The footer of a body of known size: how long its tail is. Not believed until [`Footer::open`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Footer {
    bytes: [u8; FOOTER_LEN],
    tsalt: [u8; TSALT_LEN],
    total: u64,
    p0: u64,
    sealed_len: u64,
    record_len: u64,
}

impl Footer {
    /// Reads the last 32 bytes of a body of `total` bytes. Lengths are checked before anything of them is read.
    pub fn parse(bytes: &[u8; FOOTER_LEN], total: u64) -> Result<Self, OpenError> {
        const MALFORMED: OpenError = OpenError::Trailer("malformed footer");
        let p0 = geometry::plaintext_len(total).ok_or(OpenError::Size)?;
        let mut cursor = Cursor::new(bytes);
        if cursor.array().ok_or(MALFORMED)? != *MAGIC {
            return Err(OpenError::Trailer("no footer stands at the end"));
        }
        let tsalt = cursor.array().ok_or(MALFORMED)?;
        let sealed_len = u64::from(cursor.u32().ok_or(MALFORMED)?);
        let record_len = u64::from(cursor.u16().ok_or(MALFORMED)?);
        if cursor.u16().ok_or(MALFORMED)? != 0 {
            return Err(OpenError::Trailer("reserved bytes are not zero"));
        }
        if record_len != 0 && record_len != RECORD_LEN as u64 {
            return Err(OpenError::Trailer("an impossible length of the recovery record"));
        }
        if sealed_len < MIN_SEALED_LEN || sealed_len > geometry::max_sealed_trailer_len(p0, record_len) {
            return Err(OpenError::Trailer("an impossible length of the trailer"));
        }
        Ok(Self { bytes: *bytes, tsalt, total, p0, sealed_len, record_len })
    }

    /// Length of record, sealed trailer and footer: the suffix of the body that [`Footer::open`] needs.
    #[must_use]
    pub const fn tail_len(&self) -> u64 {
        self.record_len + self.sealed_len + FOOTER_LEN as u64
    }

    /// Length of the sealed trailer alone.
    #[must_use]
    pub const fn sealed_trailer_len(&self) -> u64 {
        self.sealed_len
    }

    /// Stored length of the body that this footer ends.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.total
    }

    /// Plaintext length of the object, by the body's size.
    #[must_use]
    pub const fn plaintext_len(&self) -> u64 {
        self.p0
    }

    fn split<'a>(&self, tail: &'a mut [u8]) -> Option<(&'a [u8], &'a mut [u8])> {
        let (rest, footer) = tail.split_last_chunk_mut::<FOOTER_LEN>()?;
        let (record, sealed) = rest.split_at_mut_checked(usize::try_from(self.record_len).ok()?)?;
        let whole = u64::try_from(sealed.len()).ok()? == self.sealed_len && *footer == self.bytes;
        whole.then_some((&*record, sealed))
    }

    /// The recovery record at the front of `tail` ([`Footer::tail_len`] bytes), with the id of its KEK.
    #[must_use]
    pub fn record(&self, tail: &[u8]) -> Option<(KekId, [u8; RECORD_LEN])> {
        if self.record_len == 0 || u64::try_from(tail.len()).ok()? != self.tail_len() {
            return None;
        }
        let record = tail.first_chunk::<RECORD_LEN>()?;
        let id = record.first_chunk::<KEK_ID_LEN>()?;
        Some((KekId::from_bytes(*id), *record))
    }

    /// Verifies and opens the trailer in `tail`, the last [`Footer::tail_len`] bytes of the body, in place.
    pub fn open(&self, dek: &DataKey, tail: &mut [u8]) -> Result<OpenedTail, OpenError> {
        const UNAUTHENTIC: OpenError = OpenError::Trailer("it does not authenticate");
        let (record, sealed) = self.split(tail).ok_or(OpenError::Misuse("not the tail of this footer"))?;
        let keys = TailKeys::derive(dek);
        let (cipher, nonce) = trailer_cipher(dek, &self.tsalt);
        let aad = [&self.bytes[..], &self.total.to_be_bytes(), record].concat();
        let text = cipher.open_in_place(&nonce, &aad, sealed).map_err(|_| UNAUTHENTIC)?;
        if !bool::from(keys.tsalt(text, self.total, record).ct_eq(&self.tsalt)) {
            return Err(OpenError::Trailer("its salt is not the synthetic one"));
        }
        if let Some(rest) = record.get(KEK_ID_LEN..)
            && rest.first_chunk::<RECORD_NONCE_LEN>().is_some_and(|nonce| *nonce != keys.rnonce)
        {
            return Err(OpenError::Trailer("the recovery record is another object's"));
        }
        let trailer = Trailer::parse(text, self.p0).map_err(OpenError::Trailer)?;
        Ok(OpenedTail { trailer, total: self.total, tail_len: self.tail_len() })
    }
}

/// A tail that was verified: its trailer, and how long body and tail are. Only [`Footer::open`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenedTail {
    trailer: Trailer,
    total: u64,
    tail_len: u64,
}

impl OpenedTail {
    /// The trailer.
    #[must_use]
    pub const fn trailer(&self) -> &Trailer {
        &self.trailer
    }

    /// The trailer alone.
    #[must_use]
    pub fn into_trailer(self) -> Trailer {
        self.trailer
    }

    /// Stored length of the body.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.total
    }

    /// Length of record, sealed trailer and footer.
    #[must_use]
    pub const fn tail_len(&self) -> u64 {
        self.tail_len
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::wrap::{Kek, WrapAlg};

    fn dek() -> DataKey {
        DataKey::new(Secret::from_bytes([2; 32]))
    }

    fn entry(part_no: u32, p: u64) -> Entry {
        Entry { part_no, p, salt: [part_no as u8; SALT_LEN] }
    }

    fn refused(entries: &[Entry]) -> bool {
        matches!(Trailer::multipart(entries.to_vec(), Digests::default()), Err(SealError::Parts(_)))
    }

    #[test]
    fn a_trailer_that_no_reader_takes_is_not_sealed() {
        const M: u64 = MIN_PART_LEN;
        assert!(!refused(&[entry(1, M), entry(10_000, 0)]));
        assert!(!refused(&[entry(1, MAX_PART_LEN)]));
        assert!(refused(&[]));
        assert!(refused(&[entry(0, 1)]));
        assert!(refused(&[entry(10_001, 1)]));
        assert!(refused(&[entry(2, M), entry(2, 1)]));
        assert!(refused(&[entry(2, M), entry(1, 1)]));
        assert!(refused(&[entry(1, M - 1), entry(2, 1)]));
        assert!(refused(&[entry(1, MAX_PART_LEN + 1)]));
        assert!(refused(&[entry(1, u64::MAX), entry(2, u64::MAX)]));
        let many: Vec<Entry> = (1..=1025).map(|n| entry(n, MAX_PART_LEN)).collect();
        assert!(!refused(&many[..1024]), "2^56 in all");
        assert!(refused(&many), "more than 2^56 in all");
        assert!(Trailer::simple(MAX_PLAINTEXT_LEN, [1; SALT_LEN], Digests::default()).is_ok());
        assert!(Trailer::simple(MAX_PLAINTEXT_LEN + 1, [1; SALT_LEN], Digests::default()).is_err());
    }

    #[test]
    fn composite_checksums_and_no_others_count_parts() {
        let of = |over, count| {
            let checksum = Checksum::new(ChecksumAlgorithm::Crc32, over, &[1, 2, 3, 4]).unwrap();
            let digests = Digests { md5: None, checksum: Some((checksum, count)) };
            Trailer::multipart(vec![entry(1, 5)], digests).map(|t| t.digests().checksum.is_some())
        };
        assert_eq!(of(ChecksumType::FullObject, 0), Ok(true));
        assert_eq!(of(ChecksumType::Composite, 1), Ok(true));
        assert!(matches!(of(ChecksumType::FullObject, 1), Err(SealError::Checksum(_))));
        assert!(matches!(of(ChecksumType::Composite, 0), Err(SealError::Checksum(_))));
    }

    #[test]
    fn a_tail_opens_to_what_was_sealed_and_only_with_its_own_footer() {
        let checksum = Checksum::new(ChecksumAlgorithm::Sha512, ChecksumType::Composite, &[8; 64]).unwrap();
        let digests = Digests { md5: Some([7; 16]), checksum: Some((checksum, 2)) };
        let trailer = Trailer::multipart(vec![entry(1, MIN_PART_LEN), entry(7, 3)], digests).unwrap();
        let kek = Kek::new(KekId::from_bytes([4; 16]), WrapAlg::Local, Secret::from_bytes([1; 32])).unwrap();
        let record = kek.seal_record(1, "t", &record_nonce(&dek()), &dek()).unwrap();
        let segments = 2 * 72 + geometry::segment_len(MIN_PART_LEN).unwrap() + geometry::segment_len(3).unwrap();
        let tail = seal_tail(&dek(), &trailer, Some(&record), segments).unwrap();
        let total = geometry::object_len(MIN_PART_LEN + 3).unwrap();
        assert_eq!(segments + tail.padding + tail.bytes.len() as u64, total);
        assert!(seal_tail(&dek(), &trailer, Some(&record), segments + tail.padding).is_ok());
        let full = seal_tail(&dek(), &trailer, Some(&record), segments + tail.padding + 1);
        assert!(matches!(full.err(), Some(SealError::Parts(_))));
        let footer = Footer::parse(tail.bytes.last_chunk().unwrap(), total).unwrap();
        assert_eq!(footer.tail_len(), tail.bytes.len() as u64);
        assert_eq!((footer.total(), footer.plaintext_len()), (total, MIN_PART_LEN + 3));
        assert_eq!(footer.sealed_trailer_len(), 112 + 2 * 36 + 16);
        assert_eq!(footer.record(&tail.bytes), Some((KekId::from_bytes([4; 16]), record)));
        assert_eq!(footer.record(&tail.bytes[1..]), None);
        let opened = footer.open(&dek(), &mut tail.bytes.clone()).unwrap();
        assert_eq!((opened.total(), opened.tail_len()), (total, footer.tail_len()));
        let opened = opened.into_trailer();
        assert_eq!(opened, trailer);
        assert_eq!((opened.kind(), opened.entries().len()), (Kind::Multipart, 2));
        for wrong in [&tail.bytes[1..], &[&tail.bytes[..], &[0]].concat(), &[]] {
            assert!(matches!(footer.open(&dek(), &mut wrong.to_vec()), Err(OpenError::Misuse(_))));
        }
        let mut other_footer = tail.bytes.clone();
        let at = other_footer.len() - 1;
        other_footer[at] ^= 1;
        assert!(matches!(footer.open(&dek(), &mut other_footer), Err(OpenError::Misuse(_))));
        let other = DataKey::new(Secret::from_bytes([3; 32]));
        assert!(matches!(footer.open(&other, &mut tail.bytes.clone()), Err(OpenError::Trailer(_))));
        let without = seal_tail(&dek(), &trailer, None, segments).unwrap();
        let footer = Footer::parse(without.bytes.last_chunk().unwrap(), total).unwrap();
        assert_eq!(footer.record(&without.bytes), None);
    }

    #[test]
    fn lengths_in_a_footer_are_bounded_before_anything_is_read() {
        let footer = |sealed: u32, record: u16| {
            let bytes = [&MAGIC[..], &[1; 16], &sealed.to_be_bytes(), &record.to_be_bytes(), &[0, 0]].concat();
            Footer::parse(&bytes.try_into().unwrap(), 512).is_ok()
        };
        assert!(!footer(163, 0) && footer(164, 0) && footer(464, 0) && !footer(465, 0));
        assert!(footer(376, 88) && !footer(377, 88));
        assert!(!footer(164, 87) && !footer(164, 89) && !footer(164, u16::MAX) && !footer(u32::MAX, 0));
        assert_eq!(Footer::parse(&[0; 32], 511).err(), Some(OpenError::Size));
        assert!(Entry { part_no: 1, p: 0, salt: [0; SALT_LEN] }.is_unpinned());
        assert!(!entry(1, 0).is_unpinned());
    }
}

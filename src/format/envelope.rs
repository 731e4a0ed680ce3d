//! The envelope: the header that stands before an object, in one metadata value of at most 2028 characters.
//!
//! ```text
//! 0        1  version = 1                      47+W   24  seg_salt (kind 1), zeros (kinds 2, 3)
//! 1        1  suite = 1                        71+W    8  plaintext length P (kind 1), 2^64-1 (kinds 2, 3)
//! 2        1  kind                             79+W    2  m, length of the sealed metadata
//! 3        1  flags = 0                        81+W    m  sealed metadata
//! 4       16  kek_id                           81+W+m 32  hdr_tag
//! 20       1  wrap_alg
//! 21       2  W
//! 23       W  wrapped data key
//! 23+W    24  hdr_nonce
//!
//! mk(32) ‖ ek(32) ‖ en(12) = X(DEK, "sealgate/v1/header\0" ‖ suite ‖ hdr_nonce, 76)
//! sealed metadata          = AES-256-GCM(ek, en, TLV, aad = header[0..79+W))
//! hdr_tag                  = HMAC-SHA-512(mk, "sealgate/v1/header-tag\0" ‖ lp(ctx) ‖ header[0..end-32))[0..32)
//! ```
//!
//! Order of reading: limits → version, suite, kind → may this bucket use this KEK? → unwrap → `hdr_tag` → metadata.
//! Only then is a field used, and the types hold the caller to it: [`Unverified`] has no accessor for the rest.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq;

use super::context::Context;
use super::cursor::Cursor;
use super::error::{OpenError, SealError};
use super::metadata::{Metadata, Place};
use super::suite::{Kind, MAX_PLAINTEXT_LEN, SALT_LEN, Salt, Suite, VERSION};
use crate::crypto::aead::{Aead, ErasingAes256Gcm, NONCE_LEN, TAG_LEN};
use crate::crypto::random::Fresh;
use crate::crypto::wrap::{Binding, DataKey, HDR_NONCE_LEN, KekId, WrapAlg, WrappedKey};
use crate::digest::HmacSha512;
use crate::secret::Secret;

/// The metadata key that the header stands under at the provider.
pub const METADATA_KEY: &str = "sealgate";
/// The longest header in characters of base64url.
pub const MAX_TEXT_LEN: usize = 2028;
/// The longest header in bytes: what [`MAX_TEXT_LEN`] characters can hold.
pub const MAX_HEADER_LEN: usize = 1521;
/// Length of a header's tag.
pub const HDR_TAG_LEN: usize = 32;

const HEADER_LABEL: &[u8] = b"sealgate/v1/header\0";
const TAG_LABEL: &[u8] = b"sealgate/v1/header-tag\0";
/// The plaintext length of kinds whose length the header does not know.
const NO_LENGTH: u64 = u64::MAX;
/// Metadata of one byte or more is sealed into that much more.
const MIN_SEALED_METADATA: usize = TAG_LEN + 1;

/// What a header says of the body behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderBody {
    /// Kind 1: one segment with this salt and plaintext length.
    Simple {
        /// The segment's salt.
        salt: Salt,
        /// The plaintext length.
        p: u64,
    },
    /// Kind 2: the parts are listed in the trailer.
    Multipart,
    /// Kind 3: no body; the state of an unfinished upload.
    UploadState,
}

impl HeaderBody {
    /// The header's kind.
    #[must_use]
    pub const fn kind(self) -> Kind {
        match self {
            Self::Simple { .. } => Kind::Simple,
            Self::Multipart => Kind::Multipart,
            Self::UploadState => Kind::UploadState,
        }
    }
}

/// The nonce of one header write.
pub type HdrNonce = Fresh<HDR_NONCE_LEN>;

/// A header to be sealed: everything but the keys. Sealing uses it up, and with it its nonce.
///
/// ```compile_fail,E0382
/// # use sealgate::{crypto::wrap::*, format::envelope::*};
/// # fn twice(draft: Draft<'_>, wrapped: &WrappedKey, dek: &DataKey) {
/// let once = draft.seal(wrapped, dek);
/// let twice = draft.seal(wrapped, dek);
/// # }
/// ```
pub struct Draft<'a> {
    /// The body behind it.
    pub body: HeaderBody,
    /// Freshly drawn for **every** header write: PUT, copy, rewrap, metadata update.
    pub hdr_nonce: HdrNonce,
    /// The metadata; in an upload state with [`Metadata::create_tag`].
    pub metadata: &'a Metadata,
    /// The object, or the upload, that it stands before.
    pub context: &'a Context,
}

impl Draft<'_> {
    /// What the data key is to be wrapped for.
    #[must_use]
    pub fn binding(&self) -> Binding<'_> {
        Binding {
            version: VERSION,
            suite: Suite::Aes256GcmSha512.byte(),
            kind: self.body.kind().byte(),
            flags: 0,
            hdr_nonce: self.hdr_nonce.as_bytes(),
            ctx: self.context.as_bytes(),
        }
    }

    /// Seals the header. `wrapped` must be `dek` wrapped for [`Draft::binding`].
    pub fn seal(self, wrapped: &WrappedKey, dek: &DataKey) -> Result<Header, SealError> {
        let tlv = self.metadata.encode()?;
        if self.body == HeaderBody::UploadState && self.metadata.create_tag().is_none() {
            return Err(SealError::Metadata("an upload state without the tag of its header"));
        }
        if !wrapped.alg.allows_len(wrapped.bytes.len()) {
            return Err(SealError::WrappedKey);
        }
        let wrapped_len = u16::try_from(wrapped.bytes.len()).map_err(|_| SealError::WrappedKey)?;
        let (salt, p) = match self.body {
            HeaderBody::Simple { p, .. } if p > MAX_PLAINTEXT_LEN => return Err(SealError::TooLong),
            HeaderBody::Simple { salt, p } => (salt, p),
            HeaderBody::Multipart | HeaderBody::UploadState => ([0; SALT_LEN], NO_LENGTH),
        };
        let mut header = Vec::with_capacity(113 + wrapped.bytes.len() + TAG_LEN + tlv.len());
        header.extend_from_slice(&self.binding().header_prefix(wrapped.kek_id, wrapped.alg, wrapped_len));
        header.extend_from_slice(&wrapped.bytes);
        header.extend_from_slice(self.hdr_nonce.as_bytes());
        header.extend_from_slice(&salt);
        header.extend_from_slice(&p.to_be_bytes());
        let keys = HeaderKeys::derive(dek, Suite::Aes256GcmSha512, self.hdr_nonce.as_bytes());
        let sealed = if tlv.is_empty() { Vec::new() } else { keys.seal(tlv, &header)? };
        let sealed_len = u16::try_from(sealed.len()).map_err(|_| SealError::MetadataTooLarge)?;
        header.extend_from_slice(&sealed_len.to_be_bytes());
        header.extend_from_slice(&sealed);
        header.extend_from_slice(&keys.tag(self.context, &header));
        if header.len() > MAX_HEADER_LEN {
            return Err(SealError::MetadataTooLarge);
        }
        Ok(Header(header))
    }
}

/// A sealed header.
#[derive(Clone, PartialEq, Eq)]
pub struct Header(Vec<u8>);

impl Header {
    /// The bytes; those of an upload state are stored as they are.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// base64url without padding, as the provider keeps it under [`METADATA_KEY`].
    #[must_use]
    pub fn to_text(&self) -> String {
        URL_SAFE_NO_PAD.encode(&self.0)
    }

    /// The header's tag, its last 32 bytes.
    #[must_use]
    pub fn tag(&self) -> [u8; HDR_TAG_LEN] {
        self.0.last_chunk().copied().unwrap_or_default()
    }
}

struct HeaderKeys {
    mac: HmacSha512,
    cipher: ErasingAes256Gcm,
    nonce: [u8; NONCE_LEN],
}

impl HeaderKeys {
    fn derive(dek: &DataKey, suite: Suite, hdr_nonce: &[u8; HDR_NONCE_LEN]) -> Self {
        let (mut mk, mut ek) = (Secret::<[u8; 32]>::zeroed(), Secret::<[u8; 32]>::zeroed());
        let mut nonce = [0; NONCE_LEN];
        dek.prk().expand_into(
            &[HEADER_LABEL, &[suite.byte()], hdr_nonce],
            &mut [mk.expose_secret_mut(), ek.expose_secret_mut(), &mut nonce],
        );
        // The key has the cipher's own length, so the cipher takes it.
        let cipher = ErasingAes256Gcm::new(ek.expose_secret())
            .unwrap_or_else(|_| unreachable!("a key of the cipher's own length is taken"));
        Self { mac: HmacSha512::new(mk.expose_secret()), cipher, nonce }
    }

    fn seal(&self, mut tlv: Vec<u8>, aad: &[u8]) -> Result<Vec<u8>, SealError> {
        let tag = self.cipher.seal_in_place(&self.nonce, aad, &mut tlv).map_err(|_| SealError::MetadataTooLarge)?;
        tlv.extend_from_slice(&tag);
        Ok(tlv)
    }

    fn tag(&self, context: &Context, header: &[u8]) -> [u8; HDR_TAG_LEN] {
        let ctx = context.as_bytes();
        let len = u32::try_from(ctx.len()).unwrap_or(u32::MAX).to_be_bytes();
        let mac = self.mac.mac([TAG_LABEL, &len, ctx, header]);
        mac.first_chunk().copied().unwrap_or_default()
    }
}

/// A header that is well-formed but not believed: enough of it to decide who may unwrap the data key.
pub struct Unverified {
    bytes: Vec<u8>,
    suite: Suite,
    kind: Kind,
    wrapped: WrappedKey,
    hdr_nonce: [u8; HDR_NONCE_LEN],
    salt: Salt,
    p: u64,
    sealed_metadata: Vec<u8>,
    /// Length of header[0..79+W), which the metadata is bound to.
    metadata_aad: usize,
}

impl Unverified {
    /// Reads the metadata value: canonical base64url without padding, at most [`MAX_TEXT_LEN`] characters.
    pub fn parse_text(text: &str) -> Result<Self, OpenError> {
        if text.len() > MAX_TEXT_LEN {
            return Err(OpenError::Header("longer than 2028 characters"));
        }
        let bytes =
            URL_SAFE_NO_PAD.decode(text).map_err(|_| OpenError::Header("not canonical base64url without padding"))?;
        Self::parse(&bytes)
    }

    /// Reads the raw bytes of a header. Lengths are checked, and the bytes that say how to read the rest.
    pub fn parse(bytes: &[u8]) -> Result<Self, OpenError> {
        const SHORT: OpenError = OpenError::Header("cut short");
        if bytes.len() > MAX_HEADER_LEN {
            return Err(OpenError::Header("longer than any header"));
        }
        let mut cursor = Cursor::new(bytes);
        let [version, suite, kind, flags] = cursor.array().ok_or(SHORT)?;
        if version != VERSION {
            return Err(OpenError::Unsupported("unknown version"));
        }
        let suite = Suite::from_byte(suite).ok_or(OpenError::Unsupported("unknown suite"))?;
        let kind = Kind::from_byte(kind).ok_or(OpenError::Unsupported("unknown kind"))?;
        if flags != 0 {
            return Err(OpenError::Unsupported("unknown flags"));
        }
        let kek_id = KekId::from_bytes(cursor.array().ok_or(SHORT)?);
        let alg =
            WrapAlg::from_byte(cursor.u8().ok_or(SHORT)?).ok_or(OpenError::Unsupported("unknown wrap algorithm"))?;
        let wrapped_len = usize::from(cursor.u16().ok_or(SHORT)?);
        if !alg.allows_len(wrapped_len) {
            return Err(OpenError::Header("the wrapped key has the wrong length"));
        }
        let wrapped = WrappedKey { kek_id, alg, bytes: cursor.take(wrapped_len).ok_or(SHORT)?.to_vec() };
        let hdr_nonce = cursor.array().ok_or(SHORT)?;
        let salt = cursor.array().ok_or(SHORT)?;
        let p = cursor.u64().ok_or(SHORT)?;
        let metadata_aad = bytes.len() - cursor.rest().len();
        let sealed_len = usize::from(cursor.u16().ok_or(SHORT)?);
        if sealed_len != 0 && sealed_len < MIN_SEALED_METADATA {
            return Err(OpenError::Header("the sealed metadata has an impossible length"));
        }
        let sealed_metadata = cursor.take(sealed_len).ok_or(SHORT)?.to_vec();
        if cursor.rest().len() != HDR_TAG_LEN {
            return Err(OpenError::Header("another length than its fields add up to"));
        }
        let bytes = bytes.to_vec();
        Ok(Self { bytes, suite, kind, wrapped, hdr_nonce, salt, p, sealed_metadata, metadata_aad })
    }

    /// The suite it claims: for the bucket's policy.
    #[must_use]
    pub const fn suite(&self) -> Suite {
        self.suite
    }

    /// The kind it claims.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// The wrapped data key: for the bucket's policy (may it use this KEK?) and for the key provider.
    #[must_use]
    pub const fn wrapped(&self) -> &WrappedKey {
        &self.wrapped
    }

    /// The header's bytes as they were read.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What the header claims and nothing has proved yet: for showing it to a person, and for nothing else.
    #[must_use]
    pub fn danger_claims(&self) -> Claims {
        Claims {
            plaintext_len: (self.p != NO_LENGTH).then_some(self.p),
            sealed_metadata_len: self.sealed_metadata.len(),
            header_len: self.bytes.len(),
        }
    }

    /// What the data key must have been wrapped for, if this header stands before `context`.
    #[must_use]
    pub fn binding<'a>(&'a self, context: &'a Context) -> Binding<'a> {
        Binding {
            version: VERSION,
            suite: self.suite.byte(),
            kind: self.kind.byte(),
            flags: 0,
            hdr_nonce: &self.hdr_nonce,
            ctx: context.as_bytes(),
        }
    }

    /// Verifies the header of an object under the unwrapped data key and `context`, and opens its metadata.
    pub fn verify_object(self, dek: DataKey, context: &Context) -> Result<Envelope, OpenError> {
        if self.kind == Kind::UploadState {
            return Err(OpenError::Unsupported("an upload state is no object"));
        }
        self.verify(dek, context, Place::Object)
    }

    /// Verifies the state record of an unfinished upload under the unwrapped data key and the upload's context.
    pub fn verify_upload_state(self, dek: DataKey, context: &Context) -> Result<Envelope, OpenError> {
        if self.kind != Kind::UploadState {
            return Err(OpenError::Unsupported("an object is no upload state"));
        }
        self.verify(dek, context, Place::UploadState)
    }

    fn verify(mut self, dek: DataKey, context: &Context, place: Place) -> Result<Envelope, OpenError> {
        let keys = HeaderKeys::derive(&dek, self.suite, &self.hdr_nonce);
        let (signed, tag) = self.bytes.split_last_chunk::<HDR_TAG_LEN>().ok_or(OpenError::HeaderTag)?;
        if !bool::from(keys.tag(context, signed).ct_eq(tag)) {
            return Err(OpenError::HeaderTag);
        }
        let metadata = if self.sealed_metadata.is_empty() {
            Metadata::parse(&[], place)?
        } else {
            let aad = self.bytes.get(..self.metadata_aad).ok_or(OpenError::HeaderTag)?;
            let tlv = keys
                .cipher
                .open_in_place(&keys.nonce, aad, &mut self.sealed_metadata)
                .map_err(|_| OpenError::HeaderTag)?;
            Metadata::parse(tlv, place)?
        };
        let no_segment = self.p == NO_LENGTH && self.salt == [0; SALT_LEN];
        let body = match self.kind {
            Kind::Simple if self.p <= MAX_PLAINTEXT_LEN => HeaderBody::Simple { salt: self.salt, p: self.p },
            Kind::Multipart if no_segment => HeaderBody::Multipart,
            Kind::UploadState if no_segment => HeaderBody::UploadState,
            _ => return Err(OpenError::Header("a length or salt that its kind does not have")),
        };
        let tag = *tag;
        Ok(Envelope { dek: Arc::new(dek), body, metadata, kek_id: self.wrapped.kek_id, tag })
    }
}

/// What a header says of itself before anything is verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claims {
    /// The plaintext length, in a header that has one.
    pub plaintext_len: Option<u64>,
    /// Length of the sealed metadata, 0 if there is none.
    pub sealed_metadata_len: usize,
    /// Length of the whole header.
    pub header_len: usize,
}

/// A header that was verified: for this object, under this data key.
pub struct Envelope {
    dek: Arc<DataKey>,
    body: HeaderBody,
    metadata: Metadata,
    kek_id: KekId,
    tag: [u8; HDR_TAG_LEN],
}

impl Envelope {
    /// The object's data key, shared with whatever reads or copies the object.
    #[must_use]
    pub const fn dek(&self) -> &Arc<DataKey> {
        &self.dek
    }

    /// What stands behind the header.
    #[must_use]
    pub const fn body(&self) -> HeaderBody {
        self.body
    }

    /// The object's metadata.
    #[must_use]
    pub const fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The KEK that the data key was wrapped under.
    #[must_use]
    pub const fn kek_id(&self) -> KekId {
        self.kek_id
    }

    /// The header's tag: tells one header write from any other.
    #[must_use]
    pub const fn tag(&self) -> &[u8; HDR_TAG_LEN] {
        &self.tag
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::wrap::Kek;
    use crate::object::{Address, ObjectKey};

    const NONCE: [u8; HDR_NONCE_LEN] = [0xc0; HDR_NONCE_LEN];

    fn dek() -> DataKey {
        DataKey::new(Secret::from_bytes([2; 32]))
    }

    fn context() -> Context {
        let key = ObjectKey::new(*b"k").unwrap();
        Context::object(&Address { tenant: "t".parse().unwrap(), bucket: "b".parse().unwrap(), key })
    }

    fn sealed(body: HeaderBody, metadata: &Metadata) -> Result<Header, SealError> {
        let kek = Kek::new(KekId::from_bytes([4; 16]), WrapAlg::Local, Secret::from_bytes([1; 32])).unwrap();
        let context = context();
        let draft = Draft { body, hdr_nonce: Fresh::danger_from_bytes(NONCE), metadata, context: &context };
        let wrapped = kek.wrap(&draft.binding(), &dek()).unwrap();
        draft.seal(&wrapped, &dek())
    }

    /// A header whose fixed part and TLV are as given, with a tag that holds.
    fn tagged(fixed: &[u8], sealed: &[u8]) -> Vec<u8> {
        let keys = HeaderKeys::derive(&dek(), Suite::Aes256GcmSha512, &NONCE);
        let len = u16::try_from(sealed.len()).unwrap().to_be_bytes();
        let mut header = [fixed, &len, sealed].concat();
        let tag = keys.tag(&context(), &header);
        header.extend_from_slice(&tag);
        header
    }

    fn verified(bytes: &[u8]) -> Result<Envelope, OpenError> {
        Unverified::parse(bytes)?.verify_object(dek(), &context())
    }

    const SIMPLE: HeaderBody = HeaderBody::Simple { salt: [7; SALT_LEN], p: 5 };

    #[test]
    fn bytes_text_and_tag_are_views_of_one_header() {
        let header = sealed(SIMPLE, &Metadata::default()).unwrap();
        assert_eq!(header.as_bytes().len(), 161);
        assert_eq!(URL_SAFE_NO_PAD.decode(header.to_text()).unwrap(), header.as_bytes());
        assert_eq!(header.tag(), header.as_bytes()[129..]);
        let envelope = verified(header.as_bytes()).ok().unwrap();
        assert_eq!((envelope.tag(), envelope.body()), (&header.tag(), SIMPLE));
        assert_eq!(envelope.kek_id(), KekId::from_bytes([4; 16]));
        assert!(envelope.metadata().is_empty());
        assert_eq!(envelope.dek().expose_secret(), &[2; 32]);
    }

    #[test]
    fn claims_are_what_the_bytes_say() {
        let mut metadata = Metadata::default();
        metadata.add_user(b"n", b"v").unwrap();
        let header = sealed(SIMPLE, &metadata).unwrap();
        let unverified = Unverified::parse(header.as_bytes()).ok().unwrap();
        assert_eq!(unverified.as_bytes(), header.as_bytes());
        let claims = unverified.danger_claims();
        assert_eq!(claims, Claims { plaintext_len: Some(5), sealed_metadata_len: 3 + 4 + 16, header_len: 161 + 23 });
        assert_eq!((unverified.kind(), unverified.suite()), (Kind::Simple, Suite::Aes256GcmSha512));
        let multipart = sealed(HeaderBody::Multipart, &Metadata::default()).unwrap();
        let claims = Unverified::parse(multipart.as_bytes()).ok().unwrap().danger_claims();
        assert_eq!(claims, Claims { plaintext_len: None, sealed_metadata_len: 0, header_len: 161 });
    }

    #[test]
    fn the_longest_plaintext_is_2_to_the_56() {
        let of = |p| sealed(HeaderBody::Simple { salt: [7; SALT_LEN], p }, &Metadata::default());
        let longest = of(MAX_PLAINTEXT_LEN).unwrap();
        assert!(verified(longest.as_bytes()).is_ok());
        assert_eq!(of(MAX_PLAINTEXT_LEN + 1).err(), Some(SealError::TooLong));
        let mut fixed = longest.as_bytes()[..127].to_vec();
        assert!(verified(&tagged(&fixed, &[])).is_ok());
        fixed[126] = 1;
        assert!(matches!(verified(&tagged(&fixed, &[])).err(), Some(OpenError::Header(_))));
    }

    #[test]
    fn a_kind_without_a_segment_has_neither_length_nor_salt() {
        let header = sealed(HeaderBody::Multipart, &Metadata::default()).unwrap();
        for at in [95, 118, 119, 126] {
            let mut fixed = header.as_bytes()[..127].to_vec();
            fixed[at] ^= 1;
            assert!(matches!(verified(&tagged(&fixed, &[])).err(), Some(OpenError::Header(_))), "byte {at}");
        }
        let mut metadata = Metadata::default();
        metadata.set_create_tag([1; 32]).unwrap();
        let state = sealed(HeaderBody::UploadState, &metadata).unwrap();
        let verify = |bytes: &[u8]| Unverified::parse(bytes).ok().unwrap().verify_upload_state(dek(), &context());
        assert!(verify(state.as_bytes()).is_ok_and(|envelope| envelope.body() == HeaderBody::UploadState));
        let keys = HeaderKeys::derive(&dek(), Suite::Aes256GcmSha512, &NONCE);
        let mut fixed = state.as_bytes()[..127].to_vec();
        fixed[95] = 1;
        let resealed = keys.seal(metadata.encode().unwrap(), &fixed).unwrap();
        assert!(matches!(verify(&tagged(&fixed, &resealed)).err(), Some(OpenError::Header(_))));
    }

    #[test]
    fn sealed_metadata_has_0_or_at_least_17_bytes() {
        let header = sealed(SIMPLE, &Metadata::default()).unwrap();
        let fixed = &header.as_bytes()[..127];
        let keys = HeaderKeys::derive(&dek(), Suite::Aes256GcmSha512, &NONCE);
        // an empty list, sealed all the same: authentic, but not the one encoding of no metadata
        let nothing = keys.seal(Vec::new(), fixed).unwrap();
        assert_eq!(nothing.len(), 16);
        assert!(matches!(verified(&tagged(fixed, &nothing)).err(), Some(OpenError::Header(_))));
        let one_byte = keys.seal(vec![1], fixed).unwrap();
        assert!(matches!(verified(&tagged(fixed, &one_byte)).err(), Some(OpenError::Metadata(_))));
        // another place's sealed metadata
        let mut changed = fixed.to_vec();
        changed[120] ^= 1;
        let three = keys.seal(vec![0x80, 0, 0], fixed).unwrap();
        assert!(verified(&tagged(fixed, &three)).is_ok());
        assert_eq!(verified(&tagged(&changed, &three)).err(), Some(OpenError::HeaderTag));
    }

    #[test]
    fn a_header_that_does_not_fit_is_refused() {
        let with = |len: usize| {
            let mut metadata = Metadata::default();
            metadata.add_user(b"m", &vec![b'x'; len]).unwrap();
            sealed(SIMPLE, &metadata)
        };
        let longest = with(1344 - 6).unwrap();
        assert_eq!((longest.as_bytes().len(), longest.to_text().len()), (MAX_HEADER_LEN, MAX_TEXT_LEN));
        assert!(verified(longest.as_bytes()).is_ok());
        assert_eq!(with(1344 - 5).err(), Some(SealError::MetadataTooLarge));
        assert_eq!(with(65_600).err(), Some(SealError::MetadataTooLarge));
        let longer = [longest.as_bytes(), &[0]].concat();
        assert!(matches!(Unverified::parse(&longer).err(), Some(OpenError::Header(_))));
        let wrapped = WrappedKey { kek_id: KekId::from_bytes([4; 16]), alg: WrapAlg::Local, bytes: vec![0; 47] };
        let context = context();
        let hdr_nonce = Fresh::danger_from_bytes(NONCE);
        let draft = Draft { body: SIMPLE, hdr_nonce, metadata: &Metadata::default(), context: &context };
        assert_eq!(draft.seal(&wrapped, &dek()).err(), Some(SealError::WrappedKey));
    }

    #[test]
    fn every_cut_of_a_header_is_refused_as_one() {
        let header = sealed(SIMPLE, &Metadata::default()).unwrap();
        for len in 0..header.as_bytes().len() {
            assert!(matches!(Unverified::parse(&header.as_bytes()[..len]).err(), Some(OpenError::Header(_))), "{len}");
        }
    }

    #[test]
    fn an_envelope_owns_its_kind() {
        assert_eq!(
            [SIMPLE, HeaderBody::Multipart, HeaderBody::UploadState].map(HeaderBody::kind),
            [Kind::Simple, Kind::Multipart, Kind::UploadState]
        );
    }
}

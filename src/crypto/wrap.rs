//! Wrapping data keys (DEKs) under key-encryption keys (KEKs).
//!
//! ```text
//! wrap_alg 1   wk(32) ‖ wn(12) = X(KEK, "sealgate/v1/wrap\0" ‖ suite ‖ 1 ‖ kek_id ‖ hdr_nonce ‖ ctx, 44)
//!              wrapped(48)     = AES-256-GCM(wk, wn, DEK, aad = header[0..23))
//! wrap_alg 2   wrapped(40)     = AES-KW(KEK, DEK)                                  RFC 3394, default IV
//! wrap_alg 3   wrapped         = a key service's answer, bound by the service to binding_digest()
//! record       rk(32) ‖ rn(12) = X(KEK, "sealgate/v1/recover\0" ‖ suite ‖ 1 ‖ kek_id ‖ rnonce ‖ lp(tenant), 44)
//!              record(88)      = kek_id ‖ rnonce ‖ AES-256-GCM(rk, rn, DEK, aad = kek_id ‖ rnonce)
//! check value  kcv(8)          = X(KEK, "sealgate/v1/kcv\0" ‖ kek_id, 8)
//! ```
//!
//! A KEK has exactly one wrap algorithm. `hdr_nonce` is fresh at every header write, so (wk, wn) never repeats.

use std::fmt;
use std::str::FromStr;

use aes_kw::{KeyInit, KwAes256};
use thiserror::Error;

use super::aead::{Aead, ErasingAes256Gcm, NONCE_LEN, TAG_LEN};
use super::kdf::Prk;
use crate::digest::sha256;
use crate::secret::Secret;

/// Length of every KEK and DEK in bytes.
pub const KEY_LEN: usize = 32;
/// Length of a KEK's random id in bytes.
pub const KEK_ID_LEN: usize = 16;
/// Length of a header nonce in bytes.
pub const HDR_NONCE_LEN: usize = 24;
/// Length of a recovery record's nonce in bytes.
pub const RECORD_NONCE_LEN: usize = 24;
/// Length of a recovery record in bytes.
pub const RECORD_LEN: usize = KEK_ID_LEN + RECORD_NONCE_LEN + KEY_LEN + TAG_LEN;
/// Length of a key check value in bytes.
pub const CHECK_VALUE_LEN: usize = 8;
/// Length of the header's fixed beginning, which the wrap authenticates.
pub const HEADER_PREFIX_LEN: usize = 23;
/// The longest wrapped key a key service may answer, in bytes.
pub const MAX_SERVICE_WRAP_LEN: usize = 1400;

const WRAP_LABEL: &[u8] = b"sealgate/v1/wrap\0";
const WRAP_AD_LABEL: &[u8] = b"sealgate/v1/wrap-ad\0";
const RECOVER_LABEL: &[u8] = b"sealgate/v1/recover\0";
const CHECK_LABEL: &[u8] = b"sealgate/v1/kcv\0";

/// Why a key was not wrapped or unwrapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum WrapError {
    /// The wrapped key is for another KEK.
    #[error("the wrapped key belongs to another key-encryption key")]
    OtherKek,
    /// The KEK wraps by another algorithm.
    #[error("this key-encryption key does not wrap by that algorithm")]
    OtherAlgorithm,
    /// The wrapped key was altered, is bound to another context, or is no key at all.
    #[error("the wrapped key does not authenticate")]
    Unauthentic,
}

/// The random label of a KEK, 16 bytes, shown as 32 hexadecimal digits. Not secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KekId([u8; KEK_ID_LEN]);

impl KekId {
    /// Takes the 16 bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; KEK_ID_LEN]) -> Self {
        Self(bytes)
    }

    /// The 16 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; KEK_ID_LEN] {
        &self.0
    }
}

impl fmt::Display for KekId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A text that is not 32 lower-case hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a KEK id is 32 hexadecimal digits")]
pub struct KekIdError;

impl FromStr for KekId {
    type Err = KekIdError;

    fn from_str(text: &str) -> Result<Self, KekIdError> {
        let mut bytes = [0; KEK_ID_LEN];
        decode_hex(text, &mut bytes).ok_or(KekIdError)?;
        Ok(Self(bytes))
    }
}

/// Decodes exactly `out.len()` bytes of hexadecimal; `None` for another length or another character.
///
/// `out` may hold a secret: nothing is allocated. After a failure its contents are unspecified.
#[must_use]
pub fn decode_hex(text: &str, out: &mut [u8]) -> Option<()> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() || pairs.len() != out.len() {
        return None;
    }
    let digit = |c: u8| char::from(c).to_digit(16).and_then(|d| u8::try_from(d).ok());
    for (byte, &[high, low]) in out.iter_mut().zip(pairs) {
        *byte = (digit(high)? << 4) + digit(low)?;
    }
    Some(())
}

/// How a KEK wraps data keys; its value is the header's byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum WrapAlg {
    /// AES-256-GCM under a key derived from a KEK held in memory.
    Local = 1,
    /// AES key wrap (RFC 3394), as hardware security modules offer it.
    AesKw = 2,
    /// The opaque answer of a key service.
    Service = 3,
}

impl WrapAlg {
    /// The algorithm of a header's byte, or `None` for one that this version does not know.
    #[must_use]
    pub const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Local),
            2 => Some(Self::AesKw),
            3 => Some(Self::Service),
            _ => None,
        }
    }

    /// Whether a wrapped key of this algorithm can have `len` bytes.
    #[must_use]
    pub const fn allows_len(self, len: usize) -> bool {
        match self {
            Self::Local => len == KEY_LEN + TAG_LEN,
            Self::AesKw => len == KEY_LEN + 8,
            Self::Service => 1 <= len && len <= MAX_SERVICE_WRAP_LEN,
        }
    }
}

impl fmt::Display for WrapAlg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Local => "local",
            Self::AesKw => "aes-kw",
            Self::Service => "service",
        })
    }
}

/// A data key: seals one object or one upload. Drawn for it and for nothing else.
pub struct DataKey {
    secret: Secret<[u8; KEY_LEN]>,
    prk: Prk,
}

impl DataKey {
    /// Takes 32 uniformly random bytes.
    #[must_use]
    pub fn new(secret: Secret<[u8; KEY_LEN]>) -> Self {
        let prk = Prk::new(secret.expose_secret());
        Self { secret, prk }
    }

    /// The pseudorandom key that everything of the object is derived from.
    #[must_use]
    pub fn prk(&self) -> &Prk {
        &self.prk
    }

    /// The key itself: for wrapping it, and for nothing else.
    #[must_use]
    pub fn expose_secret(&self) -> &[u8; KEY_LEN] {
        self.secret.expose_secret()
    }
}

/// What a wrapped key is bound to: the parts of the header that are known before the key is wrapped, and the context.
#[derive(Clone, Copy)]
pub struct Binding<'a> {
    /// The header's version byte.
    pub version: u8,
    /// The header's suite byte.
    pub suite: u8,
    /// The header's kind byte.
    pub kind: u8,
    /// The header's flags.
    pub flags: u8,
    /// The header's nonce, fresh at every header write.
    pub hdr_nonce: &'a [u8; HDR_NONCE_LEN],
    /// The encoded context: tenant, bucket, object key (and upload id).
    pub ctx: &'a [u8],
}

impl Binding<'_> {
    /// header[0..23): version, suite, kind, flags, KEK id, wrap algorithm, length of the wrapped key.
    #[must_use]
    pub fn header_prefix(&self, kek_id: KekId, alg: WrapAlg, wrapped_len: u16) -> [u8; HEADER_PREFIX_LEN] {
        let mut prefix = [0; HEADER_PREFIX_LEN];
        let [w_high, w_low] = wrapped_len.to_be_bytes();
        let fields = [self.version, self.suite, self.kind, self.flags]
            .into_iter()
            .chain(kek_id.0)
            .chain([alg as u8, w_high, w_low]);
        prefix.iter_mut().zip(fields).for_each(|(byte, field)| *byte = field);
        prefix
    }

    /// The context for a key service:
    /// SHA-256("sealgate/v1/wrap-ad\0" ‖ suite ‖ 3 ‖ `kek_id` ‖ `hdr_nonce` ‖ ctx).
    #[must_use]
    pub fn service_context(&self, kek_id: KekId) -> [u8; 32] {
        sha256(&[WRAP_AD_LABEL, &[self.suite, WrapAlg::Service as u8], &kek_id.0, self.hdr_nonce, self.ctx])
    }
}

/// A wrapped data key as it stands in a header.
#[derive(Clone, PartialEq, Eq)]
pub struct WrappedKey {
    /// The KEK that can unwrap it.
    pub kek_id: KekId,
    /// How it was wrapped.
    pub alg: WrapAlg,
    /// The wrapped bytes: 48 (local), 40 (AES-KW) or 1 to 1400 (service).
    pub bytes: Vec<u8>,
}

/// A key-encryption key in memory, of wrap algorithm 1 or 2.
pub struct Kek {
    id: KekId,
    alg: WrapAlg,
    secret: Secret<[u8; KEY_LEN]>,
    prk: Prk,
}

impl Kek {
    /// Takes 32 uniformly random bytes. `alg` is the one algorithm this KEK will ever wrap by; a KEK that only a key
    /// service knows ([`WrapAlg::Service`]) has no bytes to take and gives `None`.
    #[must_use]
    pub fn new(id: KekId, alg: WrapAlg, secret: Secret<[u8; KEY_LEN]>) -> Option<Self> {
        if alg == WrapAlg::Service {
            return None;
        }
        let prk = Prk::new(secret.expose_secret());
        Some(Self { id, alg, secret, prk })
    }

    /// The KEK's label.
    #[must_use]
    pub const fn id(&self) -> KekId {
        self.id
    }

    /// The KEK's one wrap algorithm.
    #[must_use]
    pub const fn alg(&self) -> WrapAlg {
        self.alg
    }

    /// The key check value: tells, without revealing the key, whether this is the key of that id.
    #[must_use]
    pub fn check_value(&self) -> [u8; CHECK_VALUE_LEN] {
        *self.prk.expand::<CHECK_VALUE_LEN>(&[CHECK_LABEL, &self.id.0]).expose_secret()
    }

    /// The key itself: for an export that the customer asked for, and for nothing else.
    #[must_use]
    pub fn expose_secret(&self) -> &[u8; KEY_LEN] {
        self.secret.expose_secret()
    }

    fn local_cipher(&self, binding: &Binding<'_>) -> Result<(ErasingAes256Gcm, [u8; NONCE_LEN]), WrapError> {
        let info: [&[u8]; 5] =
            [WRAP_LABEL, &[binding.suite, WrapAlg::Local as u8], &self.id.0, binding.hdr_nonce, binding.ctx];
        derive_cipher(&self.prk, &info)
    }

    fn aes_kw(&self) -> Result<KwAes256, WrapError> {
        KwAes256::new_from_slice(self.secret.expose_secret()).map_err(|_| WrapError::Unauthentic)
    }

    /// Wraps a data key for one header. `binding.hdr_nonce` must be fresh: see [`Binding`].
    pub fn wrap(&self, binding: &Binding<'_>, dek: &DataKey) -> Result<WrappedKey, WrapError> {
        let bytes = match self.alg {
            WrapAlg::Local => {
                let (cipher, nonce) = self.local_cipher(binding)?;
                let aad = binding.header_prefix(self.id, self.alg, 48);
                seal_key(&cipher, &nonce, &aad, dek)?.to_vec()
            }
            WrapAlg::AesKw => {
                let mut out = [0; KEY_LEN + 8];
                self.aes_kw()?.wrap_key(dek.expose_secret(), &mut out).map_err(|_| WrapError::Unauthentic)?;
                out.to_vec()
            }
            WrapAlg::Service => return Err(WrapError::OtherAlgorithm),
        };
        Ok(WrappedKey { kek_id: self.id, alg: self.alg, bytes })
    }

    /// Unwraps a data key; refuses another KEK's id, another algorithm than the KEK's own, and whatever does not
    /// authenticate under `binding`.
    pub fn unwrap(&self, binding: &Binding<'_>, wrapped: &WrappedKey) -> Result<DataKey, WrapError> {
        if wrapped.kek_id != self.id {
            return Err(WrapError::OtherKek);
        }
        if wrapped.alg != self.alg {
            return Err(WrapError::OtherAlgorithm);
        }
        if !self.alg.allows_len(wrapped.bytes.len()) {
            return Err(WrapError::Unauthentic);
        }
        match self.alg {
            WrapAlg::Local => {
                let (cipher, nonce) = self.local_cipher(binding)?;
                let aad = binding.header_prefix(self.id, self.alg, 48);
                open_key(&cipher, &nonce, &aad, &wrapped.bytes)
            }
            WrapAlg::AesKw => {
                let mut secret = Secret::<[u8; KEY_LEN]>::zeroed();
                self.aes_kw()?
                    .unwrap_key(&wrapped.bytes, secret.expose_secret_mut())
                    .map_err(|_| WrapError::Unauthentic)?;
                Ok(DataKey::new(secret))
            }
            WrapAlg::Service => Err(WrapError::OtherAlgorithm),
        }
    }

    fn record_cipher(
        &self,
        suite: u8,
        tenant: &str,
        rnonce: &[u8; RECORD_NONCE_LEN],
    ) -> Result<(ErasingAes256Gcm, [u8; NONCE_LEN]), WrapError> {
        if self.alg != WrapAlg::Local {
            return Err(WrapError::OtherAlgorithm);
        }
        let len = u32::try_from(tenant.len()).map_err(|_| WrapError::Unauthentic)?.to_be_bytes();
        let alg = [suite, WrapAlg::Local as u8];
        let info: [&[u8]; 6] = [RECOVER_LABEL, &alg, &self.id.0, rnonce, &len, tenant.as_bytes()];
        derive_cipher(&self.prk, &info)
    }

    /// The recovery record of a data key: a second wrap, bound to the tenant only, that stands in the body.
    /// A function of its arguments: two gateways that complete one upload write the same record.
    pub fn seal_record(
        &self,
        suite: u8,
        tenant: &str,
        rnonce: &[u8; RECORD_NONCE_LEN],
        dek: &DataKey,
    ) -> Result<[u8; RECORD_LEN], WrapError> {
        let (cipher, nonce) = self.record_cipher(suite, tenant, rnonce)?;
        let aad = join::<{ KEK_ID_LEN + RECORD_NONCE_LEN }>(&[&self.id.0, rnonce]);
        let sealed = seal_key(&cipher, &nonce, &aad, dek)?;
        Ok(join(&[&aad, &sealed]))
    }

    /// Opens a recovery record of this KEK and tenant. The object's name is not bound by it.
    pub fn open_record(&self, suite: u8, tenant: &str, record: &[u8; RECORD_LEN]) -> Result<DataKey, WrapError> {
        let (aad, sealed) =
            record.split_first_chunk::<{ KEK_ID_LEN + RECORD_NONCE_LEN }>().ok_or(WrapError::OtherKek)?;
        let (id, rnonce) = aad.split_first_chunk::<KEK_ID_LEN>().ok_or(WrapError::OtherKek)?;
        let rnonce: &[u8; RECORD_NONCE_LEN] = rnonce.try_into().map_err(|_| WrapError::OtherKek)?;
        if *id != self.id.0 {
            return Err(WrapError::OtherKek);
        }
        let (cipher, nonce) = self.record_cipher(suite, tenant, rnonce)?;
        open_key(&cipher, &nonce, aad, sealed)
    }
}

fn derive_cipher(prk: &Prk, info: &[&[u8]]) -> Result<(ErasingAes256Gcm, [u8; NONCE_LEN]), WrapError> {
    let mut key = Secret::<[u8; KEY_LEN]>::zeroed();
    let mut nonce = [0; NONCE_LEN];
    prk.expand_into(info, &mut [key.expose_secret_mut(), &mut nonce]);
    let cipher = ErasingAes256Gcm::new(key.expose_secret()).map_err(|_| WrapError::Unauthentic)?;
    Ok((cipher, nonce))
}

fn seal_key(
    cipher: &ErasingAes256Gcm,
    nonce: &[u8; NONCE_LEN],
    aad: &[u8],
    dek: &DataKey,
) -> Result<[u8; KEY_LEN + TAG_LEN], WrapError> {
    let mut text = Secret::<[u8; KEY_LEN]>::filled_by(|out| out.copy_from_slice(dek.expose_secret()));
    let tag = cipher.seal_in_place(nonce, aad, text.expose_secret_mut()).map_err(|_| WrapError::Unauthentic)?;
    Ok(join(&[text.expose_secret(), &tag]))
}

fn open_key(
    cipher: &ErasingAes256Gcm,
    nonce: &[u8; NONCE_LEN],
    aad: &[u8],
    sealed: &[u8],
) -> Result<DataKey, WrapError> {
    let mut buffer = Secret::<[u8; KEY_LEN + TAG_LEN]>::from_slice(sealed).ok_or(WrapError::Unauthentic)?;
    let text = cipher.open_in_place(nonce, aad, buffer.expose_secret_mut()).map_err(|_| WrapError::Unauthentic)?;
    Secret::from_slice(text).map(DataKey::new).ok_or(WrapError::Unauthentic)
}

/// The concatenation of `parts`, whose lengths add up to `N`.
fn join<const N: usize>(parts: &[&[u8]]) -> [u8; N] {
    let mut out = [0; N];
    let bytes = parts.iter().flat_map(|part| part.iter());
    out.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONCE: [u8; 24] = [0xc0; 24];

    fn kek(id: u8, alg: WrapAlg) -> Kek {
        Kek::new(KekId::from_bytes([id; 16]), alg, Secret::from_bytes([11; 32])).unwrap()
    }

    fn dek() -> DataKey {
        DataKey::new(Secret::from_bytes([2; 32]))
    }

    fn binding<'a>(nonce: &'a [u8; 24], ctx: &'a [u8]) -> Binding<'a> {
        Binding { version: 1, suite: 1, kind: 1, flags: 0, hdr_nonce: nonce, ctx }
    }

    #[test]
    fn what_is_wrapped_unwraps_under_the_same_binding_only() {
        for alg in [WrapAlg::Local, WrapAlg::AesKw] {
            let kek = kek(4, alg);
            let bound = binding(&NONCE, b"ctx");
            let wrapped = kek.wrap(&bound, &dek()).unwrap();
            assert!(alg.allows_len(wrapped.bytes.len()));
            assert!((wrapped.kek_id, wrapped.alg) == (kek.id(), kek.alg()));
            assert_eq!(kek.unwrap(&bound, &wrapped).ok().unwrap().expose_secret(), &[2; 32]);
            for i in 0..wrapped.bytes.len() {
                let mut flipped = wrapped.clone();
                flipped.bytes[i] ^= 0x80;
                assert_eq!(kek.unwrap(&bound, &flipped).err(), Some(WrapError::Unauthentic));
                flipped.bytes.truncate(i);
                assert_eq!(kek.unwrap(&bound, &flipped).err(), Some(WrapError::Unauthentic));
            }
        }
    }

    #[test]
    fn a_local_wrap_is_bound_to_every_field() {
        let kek = kek(4, WrapAlg::Local);
        let bound = binding(&NONCE, b"ctx");
        let wrapped = kek.wrap(&bound, &dek()).unwrap();
        for other in [
            Binding { version: 2, ..bound },
            Binding { suite: 2, ..bound },
            Binding { kind: 2, ..bound },
            Binding { flags: 1, ..bound },
            Binding { hdr_nonce: &[0; 24], ..bound },
            Binding { ctx: b"cty", ..bound },
        ] {
            assert_eq!(kek.unwrap(&other, &wrapped).err(), Some(WrapError::Unauthentic));
        }
    }

    #[test]
    fn another_kek_and_another_algorithm_are_refused_before_unwrapping() {
        let bound = binding(&NONCE, b"ctx");
        let wrapped = kek(4, WrapAlg::Local).wrap(&bound, &dek()).unwrap();
        assert_eq!(kek(5, WrapAlg::Local).unwrap(&bound, &wrapped).err(), Some(WrapError::OtherKek));
        assert_eq!(kek(4, WrapAlg::AesKw).unwrap(&bound, &wrapped).err(), Some(WrapError::OtherAlgorithm));
        let service = WrappedKey { alg: WrapAlg::Service, ..wrapped };
        assert_eq!(kek(4, WrapAlg::Local).unwrap(&bound, &service).err(), Some(WrapError::OtherAlgorithm));
        assert!(Kek::new(KekId::from_bytes([0; 16]), WrapAlg::Service, Secret::zeroed()).is_none());
    }

    #[test]
    fn a_record_opens_for_its_kek_tenant_and_suite_only() {
        let local = kek(4, WrapAlg::Local);
        let record = local.seal_record(1, "tenant-a", &[9; 24], &dek()).unwrap();
        assert_eq!(local.open_record(1, "tenant-a", &record).ok().unwrap().expose_secret(), &[2; 32]);
        assert_eq!(local.open_record(1, "tenant-b", &record).err(), Some(WrapError::Unauthentic));
        assert_eq!(local.open_record(2, "tenant-a", &record).err(), Some(WrapError::Unauthentic));
        assert_eq!(kek(5, WrapAlg::Local).open_record(1, "tenant-a", &record).err(), Some(WrapError::OtherKek));
        assert_eq!(kek(4, WrapAlg::AesKw).open_record(1, "tenant-a", &record).err(), Some(WrapError::OtherAlgorithm));
        assert_eq!(kek(4, WrapAlg::AesKw).seal_record(1, "t", &[9; 24], &dek()).err(), Some(WrapError::OtherAlgorithm));
        for i in 0..record.len() {
            let mut flipped = record;
            flipped[i] ^= 1;
            assert!(local.open_record(1, "tenant-a", &flipped).is_err());
        }
    }

    #[test]
    fn hex_is_exact() {
        let id = KekId::from_bytes(*b"\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\xfb\xfc\xfd\xfe\xff");
        assert_eq!(id.to_string(), "000102030405060708090afbfcfdfeff");
        assert_eq!(id.to_string().parse(), Ok(id));
        for bad in [
            "",
            "00",
            "000102030405060708090afbfcfdfef",
            "000102030405060708090afbfcfdfeffa",
            "g00102030405060708090afbfcfdfeff",
        ] {
            assert_eq!(bad.parse::<KekId>(), Err(KekIdError));
        }
    }

    #[test]
    fn check_values_tell_keys_and_ids_apart() {
        let a = kek(4, WrapAlg::Local).check_value();
        assert_ne!(a, kek(5, WrapAlg::Local).check_value());
        let other = Kek::new(KekId::from_bytes([4; 16]), WrapAlg::Local, Secret::from_bytes([9; 32])).unwrap();
        assert_ne!(a, other.check_value());
        assert_eq!(kek(4, WrapAlg::Local).expose_secret(), &[11; 32]);
    }

    #[test]
    fn wrap_algorithms_are_their_bytes() {
        for byte in 0..=255 {
            let alg = WrapAlg::from_byte(byte);
            assert_eq!(alg.map(|a| a as u8), (1..=3).contains(&byte).then_some(byte));
        }
        let names = [WrapAlg::Local, WrapAlg::AesKw, WrapAlg::Service].map(|a| a.to_string());
        assert_eq!(names, ["local", "aes-kw", "service"]);
        let lengths = |alg: WrapAlg| (0..=1500).filter(|&n| alg.allows_len(n)).collect::<Vec<_>>();
        assert_eq!(lengths(WrapAlg::Local), [48]);
        assert_eq!(lengths(WrapAlg::AesKw), [40]);
        assert_eq!(lengths(WrapAlg::Service), (1..=1400).collect::<Vec<_>>());
    }

    #[test]
    fn the_service_context_binds_every_field_it_names() {
        let id = KekId::from_bytes([4; 16]);
        let bound = binding(&NONCE, b"ctx");
        let context = bound.service_context(id);
        assert_eq!(context, sha256(&[b"sealgate/v1/wrap-ad\0\x01\x03", &[4; 16], &NONCE, b"ctx"]));
        for other in
            [Binding { suite: 2, ..bound }, Binding { hdr_nonce: &[0; 24], ..bound }, Binding { ctx: b"cty", ..bound }]
        {
            assert_ne!(context, other.service_context(id));
        }
    }
}

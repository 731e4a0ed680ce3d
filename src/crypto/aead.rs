//! Authenticated encryption behind one small trait.
//!
//! `ring` seals and opens payloads, where speed counts. `aes-gcm` seals headers and wraps keys, where erasing the
//! expanded key counts and speed does not, and is the oracle that the payload path is tested against.

use aes_gcm::aead::AeadInOut;
use aes_gcm::{Aes256Gcm, KeyInit};
use ring::aead::{AES_128_GCM, AES_256_GCM, Aad, Algorithm, LessSafeKey, Nonce, UnboundKey};
use thiserror::Error;

/// Length of an AES-GCM nonce in bytes.
pub const NONCE_LEN: usize = 12;
/// Length of an AES-GCM tag in bytes.
pub const TAG_LEN: usize = 16;

/// An AES-GCM tag.
pub type Tag = [u8; TAG_LEN];

/// An AEAD operation that was refused. It says no more: a tag that does not hold has no reason that may be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum AeadError {
    /// The key has another length than the cipher's.
    #[error("the key has the wrong length for this cipher")]
    KeyLength,
    /// The text or associated data is longer than the cipher takes.
    #[error("the text is too long for this cipher")]
    TooLong,
    /// The tag does not hold, or there is no room for one.
    #[error("authentication failed")]
    Unauthentic,
}

/// An AEAD cipher with a 96-bit nonce and a 128-bit tag, keyed.
pub trait Aead: Sized {
    /// Length of the key in bytes.
    const KEY_LEN: usize;
    /// Name in the IANA AEAD registry.
    const NAME: &'static str;

    /// Expands a key of exactly [`Aead::KEY_LEN`] bytes.
    fn new(key: &[u8]) -> Result<Self, AeadError>;

    /// Encrypts `text` in place and returns the tag over `aad` and the ciphertext.
    ///
    /// A (key, nonce) pair must never be used for two texts: it would reveal both and the authentication key.
    fn seal_in_place(&self, nonce: &[u8; NONCE_LEN], aad: &[u8], text: &mut [u8]) -> Result<Tag, AeadError>;

    /// Verifies `sealed` = ciphertext ‖ tag and decrypts it in place, returning the plaintext at its start.
    ///
    /// After a failure the buffer's contents are unspecified and must not be used.
    fn open_in_place<'a>(
        &self,
        nonce: &[u8; NONCE_LEN],
        aad: &[u8],
        sealed: &'a mut [u8],
    ) -> Result<&'a mut [u8], AeadError>;
}

fn ring_key(algorithm: &'static Algorithm, key: &[u8]) -> Result<LessSafeKey, AeadError> {
    UnboundKey::new(algorithm, key).map(LessSafeKey::new).map_err(|_| AeadError::KeyLength)
}

fn ring_seal(key: &LessSafeKey, nonce: &[u8; NONCE_LEN], aad: &[u8], text: &mut [u8]) -> Result<Tag, AeadError> {
    let nonce = Nonce::assume_unique_for_key(*nonce);
    let tag = key.seal_in_place_separate_tag(nonce, Aad::from(aad), text).map_err(|_| AeadError::TooLong)?;
    Tag::try_from(tag.as_ref()).map_err(|_| AeadError::TooLong)
}

fn ring_open<'a>(
    key: &LessSafeKey,
    nonce: &[u8; NONCE_LEN],
    aad: &[u8],
    sealed: &'a mut [u8],
) -> Result<&'a mut [u8], AeadError> {
    let nonce = Nonce::assume_unique_for_key(*nonce);
    key.open_in_place(nonce, Aad::from(aad), sealed).map_err(|_| AeadError::Unauthentic)
}

macro_rules! ring_aead {
    ($(#[$doc:meta])* $name:ident, $algorithm:ident, $len:literal, $iana:literal) => {
        $(#[$doc])*
        pub struct $name(LessSafeKey);

        impl Aead for $name {
            const KEY_LEN: usize = $len;
            const NAME: &'static str = $iana;

            fn new(key: &[u8]) -> Result<Self, AeadError> {
                ring_key(&$algorithm, key).map(Self)
            }

            #[inline]
            fn seal_in_place(&self, nonce: &[u8; NONCE_LEN], aad: &[u8], text: &mut [u8]) -> Result<Tag, AeadError> {
                ring_seal(&self.0, nonce, aad, text)
            }

            #[inline]
            fn open_in_place<'a>(
                &self,
                nonce: &[u8; NONCE_LEN],
                aad: &[u8],
                sealed: &'a mut [u8],
            ) -> Result<&'a mut [u8], AeadError> {
                ring_open(&self.0, nonce, aad, sealed)
            }
        }
    };
}

ring_aead! {
    /// AES-256-GCM (NIST SP 800-38D) by `ring`: the payload's cipher.
    RingAes256Gcm, AES_256_GCM, 32, "AEAD_AES_256_GCM"
}
ring_aead! {
    /// AES-128-GCM (NIST SP 800-38D) by `ring`: only so that the segment code runs the published vectors of
    /// c2sp.org/chunked-encryption for both key sizes.
    RingAes128Gcm, AES_128_GCM, 16, "AEAD_AES_128_GCM"
}

/// AES-256-GCM (NIST SP 800-38D) by `aes-gcm`, whose expanded key is erased on drop: for headers and keys.
pub struct ErasingAes256Gcm(Box<Aes256Gcm>);

impl Aead for ErasingAes256Gcm {
    const KEY_LEN: usize = 32;
    const NAME: &'static str = "AEAD_AES_256_GCM";

    fn new(key: &[u8]) -> Result<Self, AeadError> {
        Aes256Gcm::new_from_slice(key).map(|cipher| Self(Box::new(cipher))).map_err(|_| AeadError::KeyLength)
    }

    fn seal_in_place(&self, nonce: &[u8; NONCE_LEN], aad: &[u8], text: &mut [u8]) -> Result<Tag, AeadError> {
        let tag = self.0.encrypt_inout_detached(nonce.into(), aad, text.into()).map_err(|_| AeadError::TooLong)?;
        Ok(tag.into())
    }

    fn open_in_place<'a>(
        &self,
        nonce: &[u8; NONCE_LEN],
        aad: &[u8],
        sealed: &'a mut [u8],
    ) -> Result<&'a mut [u8], AeadError> {
        let text_len = sealed.len().checked_sub(TAG_LEN).ok_or(AeadError::Unauthentic)?;
        let (text, tag) = sealed.split_at_mut_checked(text_len).ok_or(AeadError::Unauthentic)?;
        let tag: Tag = (&*tag).try_into().map_err(|_| AeadError::Unauthentic)?;
        self.0
            .decrypt_inout_detached(nonce.into(), aad, (&mut *text).into(), &tag.into())
            .map_err(|_| AeadError::Unauthentic)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seal<A: Aead>(key: &[u8], nonce: u8, aad: &[u8], text: &[u8]) -> Vec<u8> {
        let cipher = A::new(key).ok().unwrap();
        let mut sealed = text.to_vec();
        let tag = cipher.seal_in_place(&[nonce; NONCE_LEN], aad, &mut sealed).unwrap();
        sealed.extend_from_slice(&tag);
        sealed
    }

    fn open<A: Aead>(key: &[u8], nonce: u8, aad: &[u8], sealed: &[u8]) -> Result<Vec<u8>, AeadError> {
        let cipher = A::new(key).ok().unwrap();
        let mut buffer = sealed.to_vec();
        cipher.open_in_place(&[nonce; NONCE_LEN], aad, &mut buffer).map(|text| text.to_vec())
    }

    #[test]
    fn both_implementations_agree_in_both_directions() {
        for len in [0, 1, 15, 16, 17, 255, 4096, 65535, 65536] {
            let text: Vec<u8> = (0..len).map(|i: usize| (i * 7 % 256) as u8).collect();
            for aad in [&b""[..], b"context"] {
                let ring = seal::<RingAes256Gcm>(&[3; 32], 9, aad, &text);
                let erasing = seal::<ErasingAes256Gcm>(&[3; 32], 9, aad, &text);
                assert_eq!(ring, erasing);
                assert_eq!(open::<RingAes256Gcm>(&[3; 32], 9, aad, &erasing), Ok(text.clone()));
                assert_eq!(open::<ErasingAes256Gcm>(&[3; 32], 9, aad, &ring), Ok(text.clone()));
            }
        }
    }

    #[test]
    fn wrong_key_nonce_aad_or_bit_is_unauthentic_in_both() {
        fn check<A: Aead>() {
            let sealed = seal::<A>(&[3; 32], 9, b"a", b"hello");
            assert_eq!(open::<A>(&[4; 32], 9, b"a", &sealed), Err(AeadError::Unauthentic));
            assert_eq!(open::<A>(&[3; 32], 8, b"a", &sealed), Err(AeadError::Unauthentic));
            assert_eq!(open::<A>(&[3; 32], 9, b"b", &sealed), Err(AeadError::Unauthentic));
            for i in 0..sealed.len() {
                let mut flipped = sealed.clone();
                flipped[i] ^= 1;
                assert_eq!(open::<A>(&[3; 32], 9, b"a", &flipped), Err(AeadError::Unauthentic));
                assert_eq!(open::<A>(&[3; 32], 9, b"a", &sealed[..i]), Err(AeadError::Unauthentic));
            }
        }
        check::<RingAes256Gcm>();
        check::<ErasingAes256Gcm>();
    }

    #[test]
    fn keys_of_another_length_are_refused() {
        for len in [0, 16, 24, 31, 33] {
            let key = vec![0; len];
            assert_eq!(RingAes256Gcm::new(&key).err(), Some(AeadError::KeyLength));
            assert_eq!(ErasingAes256Gcm::new(&key).err(), Some(AeadError::KeyLength));
        }
        assert!(RingAes128Gcm::new(&[0; 16]).is_ok());
        assert_eq!(RingAes128Gcm::new(&[0; 32]).err(), Some(AeadError::KeyLength));
    }
}

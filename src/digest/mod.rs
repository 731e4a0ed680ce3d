//! SHA-2 and HMAC as the rest of the program uses them.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256, Sha512};

/// Length of a SHA-256 digest in bytes.
pub const SHA256_LEN: usize = 32;
/// Length of a SHA-512 digest in bytes.
pub const SHA512_LEN: usize = 64;

/// SHA-256 (FIPS 180-4) of the concatenation of `parts`.
#[must_use]
pub fn sha256(parts: &[&[u8]]) -> [u8; SHA256_LEN] {
    let mut state = Sha256::new();
    for part in parts {
        state.update(part);
    }
    state.finalize().into()
}

/// Streaming SHA-256 (FIPS 180-4).
#[derive(Clone, Default)]
pub struct Sha256Stream(Sha256);

impl Sha256Stream {
    /// Takes more input.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all input.
    #[must_use]
    pub fn finish(self) -> [u8; SHA256_LEN] {
        self.0.finalize().into()
    }
}

/// A keyed HMAC-SHA-512 (RFC 2104), its key schedule computed once and erased on drop.
///
/// It rests on the heap so that moving it leaves no copy of the keyed state behind.
pub struct HmacSha512(Box<Hmac<Sha512>>);

impl HmacSha512 {
    /// Keys the MAC; any key length is allowed by RFC 2104.
    #[must_use]
    pub fn new(key: &[u8]) -> Self {
        // HMAC takes keys of any length: the error cannot occur, and a MAC under an empty key would not verify.
        let state =
            Hmac::<Sha512>::new_from_slice(key).unwrap_or_else(|_| unreachable!("HMAC takes keys of any length"));
        Self(Box::new(state))
    }

    /// HMAC-SHA-512(key, concatenation of `parts`), 64 bytes.
    #[must_use]
    pub fn mac<'a>(&self, parts: impl IntoIterator<Item = &'a [u8]>) -> [u8; SHA512_LEN] {
        let mut state = (*self.0).clone();
        for part in parts {
            state.update(part);
        }
        state.finalize().into_bytes().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sha256_of_parts_is_sha256_of_the_whole() {
        assert_eq!(sha256(&[b"ab", b"", b"c"]), sha256(&[b"abc"]));
        let mut stream = Sha256Stream::default();
        stream.update(b"a");
        stream.update(b"bc");
        assert_eq!(stream.finish(), sha256(&[b"abc"]));
        assert_eq!(sha256(&[b"abc"])[..4], [0xba, 0x78, 0x16, 0xbf]);
    }

    #[test]
    fn hmac_agrees_with_ring() {
        for (key, text) in [(&b""[..], &b""[..]), (b"key", b"text"), (&[7; 200], &[1; 1000])] {
            let ours = HmacSha512::new(key).mac([text]);
            let theirs = ring::hmac::sign(&ring::hmac::Key::new(ring::hmac::HMAC_SHA512, key), text);
            assert_eq!(&ours[..], theirs.as_ref());
        }
    }
}

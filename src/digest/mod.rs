//! SHA-2, HMAC, and the digests and checksums that S3 asks for, as the rest of the program uses them.
//!
//! MD5, SHA-1, CRC and XXH find accidents and satisfy S3's protocol; nothing's security rests on them.

mod checksum;

pub use checksum::{ChecksumAlgorithm, ChecksumHasher, ChecksumType, ChecksumValue, checksum, combine_crc, composite};

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

macro_rules! stream {
    ($(#[$doc:meta])* $name:ident, $inner:ty, $len:literal) => {
        $(#[$doc])*
        #[derive(Clone, Default)]
        pub struct $name($inner);

        impl $name {
            /// Takes more input.
            pub fn update(&mut self, bytes: &[u8]) {
                self.0.update(bytes);
            }

            /// The digest of all input.
            #[must_use]
            pub fn finish(self) -> [u8; $len] {
                self.0.finalize().into()
            }
        }
    };
}

stream! {
    /// Streaming MD5 (RFC 1321): `Content-MD5` and S3's ETags.
    Md5Stream, md5::Md5, 16
}
stream! {
    /// Streaming SHA-1 (FIPS 180-4): a checksum of S3.
    Sha1Stream, sha1::Sha1, 20
}

/// Lower-case hexadecimal digits of `bytes`.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    let digit = |nibble: u8| DIGITS.get(usize::from(nibble)).copied().unwrap_or_default();
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// The bytes of `2 N` lower-case hexadecimal digits; anything else is `None`.
#[must_use]
pub fn unhex<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    if text.len() != 2 * N {
        return None;
    }
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.as_chunks::<2>().0) {
        let [high, low] = *pair;
        *byte = digit(high)? << 4 | digit(low)?;
    }
    Some(bytes)
}

/// A keyed HMAC-SHA-256 (RFC 2104), its key schedule computed once and erased on drop.
///
/// It rests on the heap so that moving it leaves no copy of the keyed state behind.
pub struct HmacSha256(Box<Hmac<Sha256>>);

impl HmacSha256 {
    /// Keys the MAC; any key length is allowed by RFC 2104.
    #[must_use]
    pub fn new(key: &[u8]) -> Self {
        let state =
            Hmac::<Sha256>::new_from_slice(key).unwrap_or_else(|_| unreachable!("HMAC takes keys of any length"));
        Self(Box::new(state))
    }

    /// HMAC-SHA-256(key, concatenation of `parts`), 32 bytes.
    #[must_use]
    pub fn mac<'a>(&self, parts: impl IntoIterator<Item = &'a [u8]>) -> [u8; SHA256_LEN] {
        let mut state = (*self.0).clone();
        for part in parts {
            state.update(part);
        }
        state.finalize().into_bytes().into()
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
            let ours = HmacSha256::new(key).mac([text]);
            let theirs = ring::hmac::sign(&ring::hmac::Key::new(ring::hmac::HMAC_SHA256, key), text);
            assert_eq!(&ours[..], theirs.as_ref());
        }
    }

    #[test]
    fn hexadecimal_digits_are_canonical() {
        assert_eq!(hex(&[0x00, 0xff, 0x1a]), "00ff1a");
        assert_eq!(unhex::<3>(b"00ff1a"), Some([0x00, 0xff, 0x1a]));
        for bad in [&b"00FF1A"[..], b"00ff1", b"00ff1a0", b"00ff1g", b""] {
            assert_eq!(unhex::<3>(bad), None);
        }
    }
}

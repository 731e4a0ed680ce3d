//! Version, suite and kind: the three bytes that say how a header and its body are to be read.

use crate::crypto::aead::TAG_LEN;
use crate::crypto::random::Fresh;

/// The format's version.
pub const VERSION: u8 = 1;

/// Plaintext bytes of a full chunk, C.
pub const CHUNK_LEN: usize = 65_536;
/// Stored bytes of a full chunk: C and its tag.
pub const SEALED_CHUNK_LEN: usize = CHUNK_LEN + TAG_LEN;
/// The least plaintext of a part that is not the last, M: 4 MiB.
pub const MIN_PART_LEN: u64 = 4 << 20;
/// The greatest plaintext length of an object.
pub const MAX_PLAINTEXT_LEN: u64 = 1 << 56;
/// The greatest plaintext length of a part.
pub const MAX_PART_LEN: u64 = 1 << 46;
/// Length of a segment's salt.
pub const SALT_LEN: usize = 24;

/// A segment's salt as it is stored: public.
pub type Salt = [u8; SALT_LEN];
/// A salt to seal with: freshly drawn for every attempt at sealing a segment, and used up by it.
pub type FreshSalt = Fresh<SALT_LEN>;

/// A cipher suite; its value is the header's byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Suite {
    /// AES-256-GCM, HKDF and HMAC with SHA-512, chunks of 64 KiB.
    Aes256GcmSha512 = 1,
}

impl Suite {
    /// The suite of a header's byte, or `None` for one that this version does not know.
    #[must_use]
    pub const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Aes256GcmSha512),
            _ => None,
        }
    }

    /// The byte as it is hashed and stored.
    #[must_use]
    pub const fn byte(self) -> u8 {
        self as u8
    }
}

/// What a header stands before; its value is the header's byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// An object of one segment, as one PUT writes it.
    Simple = 1,
    /// An object of several parts.
    Multipart = 2,
    /// The state record of an unfinished upload: never an object.
    UploadState = 3,
}

impl Kind {
    /// The kind of a header's byte, or `None` for one that this version does not know.
    #[must_use]
    pub const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Simple),
            2 => Some(Self::Multipart),
            3 => Some(Self::UploadState),
            _ => None,
        }
    }

    /// The byte as it is hashed and stored.
    #[must_use]
    pub const fn byte(self) -> u8 {
        self as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_mean_nothing_have_no_meaning() {
        for byte in 0..=255 {
            assert_eq!(Suite::from_byte(byte).map(Suite::byte), (byte == 1).then_some(byte));
            assert_eq!(Kind::from_byte(byte).map(Kind::byte), (1..=3).contains(&byte).then_some(byte));
        }
    }
}

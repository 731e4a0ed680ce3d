//! S3's checksum algorithms: their table, one streaming hasher for all, and how values of parts become one.

use std::fmt;

use crc_fast::{CrcAlgorithm, checksum_combine};
use sha2::{Digest, Sha512};
use subtle::ConstantTimeEq;
use twox_hash::{XxHash3_64, XxHash3_128, XxHash64};

use super::{Md5Stream, Sha1Stream, Sha256Stream};

macro_rules! checksum_algorithms {
    ($($(#[$doc:meta])* $variant:ident = $byte:literal, $len:literal, $name:literal;)*) => {
        /// A checksum algorithm of S3; its value is the format's byte.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum ChecksumAlgorithm {
            $($(#[$doc])* $variant = $byte,)*
        }

        impl ChecksumAlgorithm {
            /// All of them, in the order of their bytes.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The algorithm of a byte, or `None` for one that this version does not know.
            #[must_use]
            pub const fn from_byte(byte: u8) -> Option<Self> {
                match byte {
                    $($byte => Some(Self::$variant),)*
                    _ => None,
                }
            }

            /// Length of a value in bytes.
            #[must_use]
            pub const fn value_len(self) -> usize {
                match self {
                    $(Self::$variant => $len,)*
                }
            }

            /// The algorithm of S3's name for it, as it stands in `x-amz-checksum-algorithm`; case does not matter.
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|algorithm| algorithm.name().eq_ignore_ascii_case(name))
            }

            /// S3's name of it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

checksum_algorithms! {
    /// CRC-32 (ISO-HDLC), 4 bytes.
    Crc32 = 1, 4, "CRC32";
    /// CRC-32C (Castagnoli), 4 bytes.
    Crc32c = 2, 4, "CRC32C";
    /// SHA-1, 20 bytes.
    Sha1 = 3, 20, "SHA1";
    /// SHA-256, 32 bytes.
    Sha256 = 4, 32, "SHA256";
    /// CRC-64/NVME, 8 bytes.
    Crc64Nvme = 5, 8, "CRC64NVME";
    /// SHA-512, 64 bytes.
    Sha512 = 6, 64, "SHA512";
    /// MD5, 16 bytes.
    Md5 = 7, 16, "MD5";
    /// XXH64, 8 bytes.
    Xxh64 = 8, 8, "XXHASH64";
    /// XXH3 with 64 bits, 8 bytes.
    Xxh3 = 9, 8, "XXHASH3";
    /// XXH3 with 128 bits, 16 bytes.
    Xxh128 = 10, 16, "XXHASH128";
}

/// Over what a checksum runs; its value is the format's byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ChecksumType {
    /// Over the whole object.
    FullObject = 1,
    /// Over the checksums of its parts.
    Composite = 2,
}

impl ChecksumType {
    /// S3's name of it, as it stands in `x-amz-checksum-type`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::FullObject => "FULL_OBJECT",
            Self::Composite => "COMPOSITE",
        }
    }

    /// The type of S3's name for it.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::FullObject, Self::Composite].into_iter().find(|over| over.name() == name)
    }

    /// The type of a byte, or `None` for one that this version does not know.
    #[must_use]
    pub const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::FullObject),
            2 => Some(Self::Composite),
            _ => None,
        }
    }
}

/// The longest checksum: SHA-512.
const MAX_LEN: usize = 64;

/// A checksum's value, with its algorithm. Always of the algorithm's length.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ChecksumValue {
    algorithm: ChecksumAlgorithm,
    bytes: [u8; MAX_LEN],
}

impl ChecksumValue {
    /// A value as it was received; `None` unless it has the algorithm's length.
    #[must_use]
    pub fn new(algorithm: ChecksumAlgorithm, value: &[u8]) -> Option<Self> {
        if value.len() != algorithm.value_len() {
            return None;
        }
        let mut bytes = [0; MAX_LEN];
        bytes.get_mut(..value.len())?.copy_from_slice(value);
        Some(Self { algorithm, bytes })
    }

    /// Its algorithm.
    #[must_use]
    pub const fn algorithm(&self) -> ChecksumAlgorithm {
        self.algorithm
    }

    /// Its bytes, as many as the algorithm has.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.algorithm.value_len()).unwrap_or_default()
    }

    /// Whether both are the same value of the same algorithm; the time does not depend on the bytes.
    #[must_use]
    pub fn matches(&self, other: &Self) -> bool {
        self.algorithm == other.algorithm && bool::from(self.as_bytes().ct_eq(other.as_bytes()))
    }
}

impl fmt::Debug for ChecksumValue {
    /// The algorithm alone: a checksum of a short text is as good as the text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChecksumValue({})", self.algorithm.name())
    }
}

/// A streaming hasher of any of S3's algorithms: `finish` of all `update`s is the checksum of their concatenation.
///
/// CRCs and XXH values are big-endian, as S3 writes them (before base64).
pub struct ChecksumHasher {
    algorithm: ChecksumAlgorithm,
    state: State,
}

enum State {
    Crc(crc_fast::Digest),
    Sha1(Sha1Stream),
    Sha256(Sha256Stream),
    Sha512(Sha512),
    Md5(Md5Stream),
    Xxh64(XxHash64),
    // the XXH3 states are large: kept away from the others
    Xxh3(Box<XxHash3_64>),
    Xxh128(Box<XxHash3_128>),
}

const fn crc_algorithm(algorithm: ChecksumAlgorithm) -> Option<CrcAlgorithm> {
    match algorithm {
        ChecksumAlgorithm::Crc32 => Some(CrcAlgorithm::Crc32IsoHdlc),
        ChecksumAlgorithm::Crc32c => Some(CrcAlgorithm::Crc32Iscsi),
        ChecksumAlgorithm::Crc64Nvme => Some(CrcAlgorithm::Crc64Nvme),
        _ => None,
    }
}

impl ChecksumHasher {
    /// A hasher that has seen nothing.
    #[must_use]
    pub fn new(algorithm: ChecksumAlgorithm) -> Self {
        let crc = |algorithm| State::Crc(crc_fast::Digest::new(algorithm));
        let state = match algorithm {
            ChecksumAlgorithm::Crc32 => crc(CrcAlgorithm::Crc32IsoHdlc),
            ChecksumAlgorithm::Crc32c => crc(CrcAlgorithm::Crc32Iscsi),
            ChecksumAlgorithm::Crc64Nvme => crc(CrcAlgorithm::Crc64Nvme),
            ChecksumAlgorithm::Sha1 => State::Sha1(Sha1Stream::default()),
            ChecksumAlgorithm::Sha256 => State::Sha256(Sha256Stream::default()),
            ChecksumAlgorithm::Sha512 => State::Sha512(Sha512::new()),
            ChecksumAlgorithm::Md5 => State::Md5(Md5Stream::default()),
            ChecksumAlgorithm::Xxh64 => State::Xxh64(XxHash64::with_seed(0)),
            ChecksumAlgorithm::Xxh3 => State::Xxh3(Box::new(XxHash3_64::with_seed(0))),
            ChecksumAlgorithm::Xxh128 => State::Xxh128(Box::new(XxHash3_128::with_seed(0))),
        };
        Self { algorithm, state }
    }

    /// Its algorithm.
    #[must_use]
    pub const fn algorithm(&self) -> ChecksumAlgorithm {
        self.algorithm
    }

    /// Takes more input.
    pub fn update(&mut self, bytes: &[u8]) {
        use std::hash::Hasher as _;
        match &mut self.state {
            State::Crc(state) => state.update(bytes),
            State::Sha1(state) => state.update(bytes),
            State::Sha256(state) => state.update(bytes),
            State::Sha512(state) => state.update(bytes),
            State::Md5(state) => state.update(bytes),
            State::Xxh64(state) => state.write(bytes),
            State::Xxh3(state) => state.write(bytes),
            State::Xxh128(state) => state.write(bytes),
        }
    }

    /// The checksum of all input.
    #[must_use]
    pub fn finish(self) -> ChecksumValue {
        use std::hash::Hasher as _;
        let mut bytes = [0; MAX_LEN];
        let mut put = |value: &[u8]| bytes.iter_mut().zip(value).for_each(|(to, from)| *to = *from);
        match self.state {
            // the register is 64 bits wide; a 32-bit CRC is its low half
            State::Crc(state) if self.algorithm.value_len() == 4 => {
                put(state.finalize().to_be_bytes().last_chunk::<4>().unwrap_or(&[0; 4]));
            }
            State::Crc(state) => put(&state.finalize().to_be_bytes()),
            State::Sha1(state) => put(&state.finish()),
            State::Sha256(state) => put(&state.finish()),
            State::Sha512(state) => put(&state.finalize()),
            State::Md5(state) => put(&state.finish()),
            State::Xxh64(state) => put(&state.finish().to_be_bytes()),
            State::Xxh3(state) => put(&state.finish().to_be_bytes()),
            State::Xxh128(state) => put(&state.finish_128().to_be_bytes()),
        }
        ChecksumValue { algorithm: self.algorithm, bytes }
    }
}

/// The checksum of `bytes`.
#[must_use]
pub fn checksum(algorithm: ChecksumAlgorithm, bytes: &[u8]) -> ChecksumValue {
    let mut hasher = ChecksumHasher::new(algorithm);
    hasher.update(bytes);
    hasher.finish()
}

/// CRC(A ‖ B) from CRC(A), CRC(B) and the length of B: how S3 makes the `FULL_OBJECT` value of parts.
///
/// `None` unless both are of one algorithm and that is a CRC.
#[must_use]
pub fn combine_crc(first: &ChecksumValue, second: &ChecksumValue, second_len: u64) -> Option<ChecksumValue> {
    let algorithm = crc_algorithm(first.algorithm)?;
    if first.algorithm != second.algorithm {
        return None;
    }
    let number = |value: &ChecksumValue| value.as_bytes().iter().fold(0u64, |n, byte| n << 8 | u64::from(*byte));
    let combined = checksum_combine(algorithm, number(first), number(second), second_len).to_be_bytes();
    ChecksumValue::new(first.algorithm, combined.get(8 - first.algorithm.value_len()..)?)
}

/// H(v₁ ‖ v₂ ‖ …) over the raw values of the parts: S3's `COMPOSITE` checksum (without its `-N`).
///
/// `None` if a value is of another algorithm. The caller hands over the parts in the order of their numbers.
#[must_use]
pub fn composite<'a>(
    algorithm: ChecksumAlgorithm,
    parts: impl IntoIterator<Item = &'a ChecksumValue>,
) -> Option<ChecksumValue> {
    let mut hasher = ChecksumHasher::new(algorithm);
    for part in parts {
        if part.algorithm != algorithm {
            return None;
        }
        hasher.update(part.as_bytes());
    }
    Some(hasher.finish())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hex(value: &ChecksumValue) -> String {
        super::super::hex(value.as_bytes())
    }

    #[test]
    fn known_answers_of_every_algorithm() {
        // CRC "check" values of the catalogue of parametrised CRC algorithms, FIPS 180-4, RFC 1321, xxHash's own
        for (algorithm, text, expected) in [
            (ChecksumAlgorithm::Crc32, "123456789", "cbf43926"),
            (ChecksumAlgorithm::Crc32c, "123456789", "e3069283"),
            (ChecksumAlgorithm::Crc64Nvme, "123456789", "ae8b14860a799888"),
            (ChecksumAlgorithm::Sha1, "abc", "a9993e364706816aba3e25717850c26c9cd0d89d"),
            (ChecksumAlgorithm::Sha256, "", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
            (
                ChecksumAlgorithm::Sha512,
                "abc",
                "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
                 2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
            ),
            (ChecksumAlgorithm::Md5, "abc", "900150983cd24fb0d6963f7d28e17f72"),
            (ChecksumAlgorithm::Xxh64, "", "ef46db3751d8e999"),
            (ChecksumAlgorithm::Xxh3, "", "2d06800538d394c2"),
            (ChecksumAlgorithm::Xxh128, "", "99aa06d3014798d86001c324468d497f"),
        ] {
            assert_eq!(hex(&checksum(algorithm, text.as_bytes())), expected, "{algorithm:?}");
        }
    }

    #[test]
    fn crcs_of_nothing_change_nothing() {
        for algorithm in [ChecksumAlgorithm::Crc32, ChecksumAlgorithm::Crc32c, ChecksumAlgorithm::Crc64Nvme] {
            let (nothing, one) = (checksum(algorithm, b""), checksum(algorithm, b"a"));
            for (first, second, len, whole) in
                [(&one, &nothing, 0, &one), (&nothing, &one, 1, &one), (&nothing, &nothing, 0, &nothing)]
            {
                assert!(combine_crc(first, second, len).is_some_and(|combined| combined.matches(whole)));
            }
        }
    }

    #[test]
    fn names_and_bytes_agree() {
        for algorithm in ChecksumAlgorithm::ALL {
            assert_eq!(ChecksumAlgorithm::from_name(&algorithm.name().to_lowercase()), Some(*algorithm));
            assert_eq!(checksum(*algorithm, b"x").as_bytes().len(), algorithm.value_len());
            assert!(ChecksumValue::new(*algorithm, &vec![0; algorithm.value_len() + 1]).is_none());
        }
        assert_eq!(ChecksumAlgorithm::from_name("CRC16"), None);
        assert_eq!(ChecksumType::from_name("COMPOSITE"), Some(ChecksumType::Composite));
        assert_eq!(ChecksumType::from_name("composite"), None);
    }

    #[test]
    fn values_of_different_algorithms_do_not_meet() {
        let a = checksum(ChecksumAlgorithm::Crc32, b"a");
        let b = checksum(ChecksumAlgorithm::Crc32c, b"a");
        assert!(combine_crc(&a, &b, 1).is_none());
        assert!(composite(ChecksumAlgorithm::Crc32, [&a, &b]).is_none());
        assert!(!a.matches(&b));
        let sha = checksum(ChecksumAlgorithm::Sha1, b"a");
        assert!(combine_crc(&sha, &sha, 1).is_none());
    }

    #[test]
    fn debug_shows_no_value() {
        assert_eq!(format!("{:?}", checksum(ChecksumAlgorithm::Md5, b"a")), "ChecksumValue(MD5)");
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_value(bytes in proptest::collection::vec(any::<u8>(), 0..3000), at in 0usize..3000) {
            let at = at.min(bytes.len());
            for algorithm in ChecksumAlgorithm::ALL {
                let mut hasher = ChecksumHasher::new(*algorithm);
                hasher.update(&bytes[..at]);
                hasher.update(b"");
                hasher.update(&bytes[at..]);
                prop_assert!(hasher.finish().matches(&checksum(*algorithm, &bytes)));
            }
        }

        #[test]
        fn combined_crcs_are_the_crc_of_the_whole(
            a in proptest::collection::vec(any::<u8>(), 0..2000),
            b in proptest::collection::vec(any::<u8>(), 0..2000),
        ) {
            for algorithm in [ChecksumAlgorithm::Crc32, ChecksumAlgorithm::Crc32c, ChecksumAlgorithm::Crc64Nvme] {
                let parts = combine_crc(&checksum(algorithm, &a), &checksum(algorithm, &b), b.len() as u64).unwrap();
                prop_assert!(parts.matches(&checksum(algorithm, &[&a[..], &b[..]].concat())));
            }
        }
    }
}

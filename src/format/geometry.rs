//! Sizes and offsets.
//!
//! ```text
//! segment(p) = p + 16 (⌊p/C⌋ + 1)
//! F(P)       = P + 16 (⌊P/C⌋ + 1) + 256 min(⌊P/M⌋, 9999) + 496                         F(0) = 512
//! F⁻¹(t)     : t' = t − 512; q = min(⌊t'/4195584⌋, 9999); (k, s) = divmod(t' − 4195584 q, 65552);
//!              s < 65536; P = M q + 65536 k + s; F(P) = t
//! ```
//!
//! Every object, whatever its parts, is exactly F(P) bytes: a listing shows exact plaintext sizes, and any other size
//! is refused before a byte is served. F is strictly increasing.

use std::cmp::Ordering;

use super::suite::{CHUNK_LEN, MAX_PLAINTEXT_LEN, MIN_PART_LEN, SEALED_CHUNK_LEN};
use crate::crypto::aead::TAG_LEN;

const C: u64 = CHUNK_LEN as u64;
const SEALED_C: u64 = SEALED_CHUNK_LEN as u64;
const TAG: u64 = TAG_LEN as u64;
/// Bytes of F reserved per 4 MiB of plaintext, for the heads and entries of parts.
const PER_PART: u64 = 256;
/// F reserves for as many parts as there can be, less the last.
const MAX_RESERVED_PARTS: u64 = 9999;
const BASE: u64 = 496;
/// F(M q) − F(0) per q: 4 MiB, 64 tags, 256 bytes.
const STRIDE: u64 = MIN_PART_LEN + TAG * (MIN_PART_LEN / C) + PER_PART;

/// The size of the smallest object, F(0).
pub const MIN_OBJECT_LEN: u64 = BASE + TAG;
/// The greatest plaintext of a single PUT into S3: F of it is at most 5 GiB.
pub const MAX_SINGLE_PUT_LEN: u64 = (5 << 30) - 1_638_256;
/// The greatest plaintext of an uploaded part: with its head and tags it is at most 5 GiB.
pub const MAX_UPLOAD_PART_LEN: u64 = (5 << 30) - 1_310_488;

/// ⌊P/M⌋, but at most 9999: for how many parts F reserves room.
#[must_use]
pub fn reserved_parts(plaintext_len: u64) -> u64 {
    (plaintext_len / MIN_PART_LEN).min(MAX_RESERVED_PARTS)
}

/// Number of chunks of a segment of `p` bytes: ⌊p/C⌋ + 1. The last one is always short, possibly empty.
#[must_use]
pub const fn chunk_count(p: u64) -> u64 {
    p / C + 1
}

/// Stored length of a segment of `p` bytes of plaintext, or `None` if it exceeds u64.
#[must_use]
pub const fn segment_len(p: u64) -> Option<u64> {
    p.checked_add(TAG * chunk_count(p))
}

/// F(P), or `None` if P exceeds the format's 2^56.
#[must_use]
pub fn object_len(plaintext_len: u64) -> Option<u64> {
    if plaintext_len > MAX_PLAINTEXT_LEN {
        return None;
    }
    segment_len(plaintext_len).map(|segment| segment + PER_PART * reserved_parts(plaintext_len) + BASE)
}

/// F⁻¹(t): the plaintext length of an object of `total` bytes, or `None` if no object has that size.
#[must_use]
pub fn plaintext_len(total: u64) -> Option<u64> {
    let above = total.checked_sub(MIN_OBJECT_LEN)?;
    let parts = (above / STRIDE).min(MAX_RESERVED_PARTS);
    let rest = above - STRIDE * parts;
    let (chunks, short) = (rest / SEALED_C, rest % SEALED_C);
    let plaintext = (MIN_PART_LEN * parts).checked_add(C.checked_mul(chunks)?)?.checked_add(short)?;
    // s ≥ 65536 would make the plaintext one chunk longer than k says, so F of it is not t
    (object_len(plaintext) == Some(total)).then_some(plaintext)
}

/// Stored offset of chunk `index` within its segment.
#[must_use]
pub const fn chunk_offset(index: u64) -> Option<u64> {
    index.checked_mul(SEALED_C)
}

/// Plaintext length of chunk `index` of a segment of `p` bytes, or `None` if the segment has no such chunk.
#[must_use]
pub fn chunk_len(p: u64, index: u64) -> Option<usize> {
    match index.cmp(&(p / C)) {
        Ordering::Less => Some(CHUNK_LEN),
        Ordering::Equal => usize::try_from(p % C).ok(),
        Ordering::Greater => None,
    }
}

/// The longest sealed trailer that an object of P₀ = `plaintext_len` can have beside a record of `record_len` bytes.
#[must_use]
pub fn max_sealed_trailer_len(plaintext_len: u64, record_len: u64) -> u64 {
    (PER_PART * reserved_parts(plaintext_len) + 464).saturating_sub(record_len)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn f_has_the_published_values() {
        assert_eq!(object_len(0), Some(512));
        assert_eq!(object_len(13), Some(525));
        assert_eq!(object_len(65_535), Some(66_047));
        assert_eq!(object_len(65_536), Some(66_064));
        assert_eq!(object_len(131_072), Some(131_616));
        assert_eq!(object_len(4_194_304), Some(4_196_096));
        assert_eq!(object_len(10_485_771), Some(10_489_355));
        assert_eq!(object_len(MAX_PLAINTEXT_LEN + 1), None);
        assert_eq!(object_len(MAX_SINGLE_PUT_LEN), Some(5 << 30));
        assert_eq!(segment_len(MAX_UPLOAD_PART_LEN).map(|s| s + 72), Some(5 << 30));
        assert_eq!(segment_len(u64::MAX), None);
    }

    #[test]
    fn no_size_between_two_objects_is_an_object() {
        // every total around every kind of boundary is F of exactly one P, or of none
        let limits = [0, C, 2 * C, MIN_PART_LEN, 2 * MIN_PART_LEN, 9999 * MIN_PART_LEN, 10_000 * MIN_PART_LEN];
        for at in limits {
            let from = at.saturating_sub(40);
            let images: Vec<u64> = (from..at + 40).map(|p| object_len(p).unwrap()).collect();
            for total in images[0]..=images[images.len() - 1] {
                let expected = images.iter().position(|&f| f == total).map(|i| from + i as u64);
                assert_eq!(plaintext_len(total), expected);
            }
        }
        for total in (0..512).chain([u64::MAX, u64::MAX - 511]) {
            assert_eq!(plaintext_len(total), None);
        }
        let greatest = object_len(MAX_PLAINTEXT_LEN).unwrap();
        assert_eq!(plaintext_len(greatest), Some(MAX_PLAINTEXT_LEN));
        assert!((greatest + 1..greatest + 70_000).all(|t| plaintext_len(t).is_none()));
    }

    #[test]
    fn chunks_cover_the_segment() {
        for p in [0, 1, C - 1, C, C + 1, 2 * C, 5 * C + 7] {
            let lens: Vec<usize> = (0..chunk_count(p)).map(|i| chunk_len(p, i).unwrap()).collect();
            assert_eq!(lens.iter().sum::<usize>() as u64, p);
            assert!(lens.iter().rev().skip(1).all(|&l| l == CHUNK_LEN) && lens[lens.len() - 1] < CHUNK_LEN);
            assert_eq!(chunk_len(p, chunk_count(p)), None);
            let last = chunk_count(p) - 1;
            let end = chunk_offset(last).unwrap() + lens[lens.len() - 1] as u64 + TAG;
            assert_eq!(Some(end), segment_len(p));
        }
        assert_eq!(chunk_offset(u64::MAX), None);
    }

    #[test]
    fn trailer_bounds_are_those_of_the_page() {
        assert_eq!(max_sealed_trailer_len(0, 0), 464);
        assert_eq!(max_sealed_trailer_len(0, 88), 376);
        assert_eq!(max_sealed_trailer_len(MIN_PART_LEN, 88), 632);
        assert_eq!(max_sealed_trailer_len(1 << 50, 0), 256 * 9999 + 464);
        assert_eq!(reserved_parts(MIN_PART_LEN * 10_000), 9999);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]

        #[test]
        fn f_inverse_of_f_is_the_identity(p in 0..=MAX_PLAINTEXT_LEN) {
            prop_assert_eq!(plaintext_len(object_len(p).unwrap()), Some(p));
        }

        #[test]
        fn f_is_strictly_increasing(p in 0..MAX_PLAINTEXT_LEN) {
            prop_assert!(object_len(p) < object_len(p + 1));
        }

        #[test]
        fn a_size_that_has_an_inverse_is_the_image_of_it(t in 0..(1u64 << 57)) {
            if let Some(p) = plaintext_len(t) {
                prop_assert_eq!(object_len(p), Some(t));
            }
        }
    }
}

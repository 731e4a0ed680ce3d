//! Properties of sealing and opening that hold for any input.

use proptest::prelude::*;
use sealgate::crypto::wrap::WrapAlg;
use sealgate::format::geometry;
use sealgate::format::suite::MIN_PART_LEN;

use crate::support::{Content, Part, Recipe, address, counting, kek, open_range, open_whole, recover};

const C: u64 = 65_536;

/// Lengths around the boundaries, and any.
fn length() -> impl Strategy<Value = u64> {
    prop_oneof![
        3 => prop::sample::select(vec![0, 1, C - 1, C, C + 1, 2 * C - 1, 2 * C, 2 * C + 1, 3 * C]),
        2 => 0..4 * C,
    ]
}

fn bytes(len: u64, seed: u64) -> Vec<u8> {
    (0..len).map(|i| (i.wrapping_mul(seed | 1) >> 3) as u8).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn any_range_of_a_simple_object_is_the_slice(len in length(), seed: u64, a: u64, b: u64) {
        let kek = kek(WrapAlg::Local);
        let at = address("t", "b", b"k");
        let plaintext = bytes(len, seed);
        let stored = Recipe::simple(&plaintext).seal(&kek, &at);
        prop_assert_eq!(stored.body.len() as u64, geometry::object_len(len).unwrap());
        let (a, b) = (a % (len + 1), b % (len + 1));
        let range = a.min(b)..a.max(b);
        let slice = plaintext[range.start as usize..range.end as usize].to_vec();
        prop_assert!(open_range(&kek, &at, &stored, range) == Ok(slice));
        prop_assert!(open_whole(&kek, &at, &stored) == Ok(plaintext));
    }

    #[test]
    fn the_same_draws_give_the_same_bytes(len in length(), seed: u64, recovery: bool) {
        let kek = kek(WrapAlg::Local);
        let at = address("t", "b", b"k");
        let recipe = Recipe { recovery, ..Recipe::simple(&bytes(len, seed)) };
        let (one, two) = (recipe.seal(&kek, &at), recipe.seal(&kek, &at));
        prop_assert!(one.header == two.header && one.body == two.body);
    }

    #[test]
    fn any_change_of_a_stored_byte_of_a_larger_object_is_refused(len in length(), at_byte: u64, bit in 0..8u8) {
        let kek = kek(WrapAlg::Local);
        let at = address("t", "b", b"k");
        let mut stored = Recipe::simple(&bytes(len, 3)).seal(&kek, &at);
        let index = (at_byte % stored.body.len() as u64) as usize;
        stored.body[index] ^= 1 << bit;
        prop_assert!(open_whole(&kek, &at, &stored).is_err());
    }

    #[test]
    fn any_bytes_as_header_or_body_are_refused_without_a_panic(
        header in prop::collection::vec(any::<u8>(), 0..400),
        body in prop::collection::vec(any::<u8>(), 0..1200),
    ) {
        use base64::Engine;
        let kek = kek(WrapAlg::Local);
        let at = address("t", "b", b"k");
        let text = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(&header);
        let stored = crate::support::Stored { header: text, body };
        prop_assert!(open_whole(&kek, &at, &stored).is_err());
        prop_assert!(recover(&kek, "t", &stored.body).is_err());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn any_legal_part_layout_has_the_canonical_size_and_opens(
        extra in prop::collection::vec(0..200_000u64, 0..3),
        last in length(),
        pinned in prop::collection::vec(any::<bool>(), 4),
        gap in 1..2000u32,
        a: u64,
        b: u64,
    ) {
        let kek = kek(WrapAlg::Local);
        let at = address("t", "b", b"k");
        let lens = extra.iter().map(|e| MIN_PART_LEN + e).chain([last]);
        let parts: Vec<Part> = lens
            .enumerate()
            .map(|(i, len)| Part {
                number: 1 + i as u32 * gap,
                salt: counting(1 + i as u8),
                plaintext: bytes(len, i as u64 + 9),
                pinned: pinned[i],
            })
            .collect();
        let recipe = Recipe { content: Content::Multipart(parts), recovery: true, ..Recipe::simple(b"") };
        let stored = recipe.seal(&kek, &at);
        let plaintext = recipe.plaintext();
        let len = plaintext.len() as u64;
        prop_assert_eq!(stored.body.len() as u64, geometry::object_len(len).unwrap());
        let (a, b) = (a % (len + 1), b % (len + 1));
        let range = a.min(b)..a.max(b);
        let slice = plaintext[range.start as usize..range.end as usize].to_vec();
        prop_assert!(open_range(&kek, &at, &stored, range) == Ok(slice));
        prop_assert!(recover(&kek, "t", &stored.body) == Ok(plaintext.clone()));
        prop_assert!(open_whole(&kek, &at, &stored) == Ok(plaintext));
    }

    #[test]
    fn any_legal_part_layout_leaves_room_for_its_trailer(
        count in 1..=10_000u64,
        extra in 0..100_000u64,
        last in 0..(8u64 << 20),
    ) {
        // Σ (72 + segment) + record + trailer ≤ F(P), by arithmetic alone: too large to seal
        let p = (count - 1) * (MIN_PART_LEN + extra) + last;
        let parts = (count - 1) * (72 + geometry::segment_len(MIN_PART_LEN + extra).unwrap())
            + 72 + geometry::segment_len(last).unwrap();
        let tail = 88 + 112 + 36 * count + 16 + 32;
        prop_assert!(parts + tail <= geometry::object_len(p).unwrap());
    }
}

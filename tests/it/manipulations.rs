//! What a lying store does to an object, and that it is caught: each test's name is the claim.

use sealgate::crypto::wrap::WrapAlg;
use sealgate::format::OpenError;
use sealgate::format::geometry;
use sealgate::format::suite::{CHUNK_LEN, SEALED_CHUNK_LEN};

use crate::support::forge::{ForgedTail, TrailerFields};
use crate::support::{
    Part, Recipe, Refusal, Stored, address, counting, kek, open_by_trailer, open_range, open_whole, recover,
};

fn object() -> (sealgate::object::Address, Recipe, Stored) {
    let at = address("tenant-a", "bucket-1", b"a/b");
    let mut recipe = Recipe::simple(b"attack at dawn");
    recipe.metadata.add_user(b"colour", b"red").unwrap();
    recipe.recovery = true;
    let stored = recipe.seal(&kek(WrapAlg::Local), &at);
    (at, recipe, stored)
}

/// Three full chunks and a short one, distinguishable.
fn chunky() -> (sealgate::object::Address, Recipe, Stored) {
    let at = address("tenant-a", "bucket-1", b"chunky");
    let plaintext: Vec<u8> = (0..3 * CHUNK_LEN + 5).map(|i| (i / CHUNK_LEN + i % 253) as u8).collect();
    let recipe = Recipe::simple(&plaintext);
    let stored = recipe.seal(&kek(WrapAlg::Local), &at);
    (at, recipe, stored)
}

fn refused(at: &sealgate::object::Address, stored: &Stored) -> bool {
    let kek = kek(WrapAlg::Local);
    // a misuse would be a fault of the test, not a refusal
    let is_refusal = |result: Result<Vec<u8>, Refusal>| match result {
        Err(Refusal::Format(OpenError::Misuse(what))) => panic!("misuse: {what}"),
        result => result.is_err(),
    };
    is_refusal(open_whole(&kek, at, stored)) && is_refusal(open_by_trailer(&kek, at, stored))
}

#[test]
fn every_flipped_bit_of_header_and_body_is_refused() {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let (at, recipe, stored) = object();
    assert_eq!(open_whole(&kek(WrapAlg::Local), &at, &stored), Ok(recipe.plaintext()));
    let header = URL_SAFE_NO_PAD.decode(&stored.header).unwrap();
    for bit in 0..header.len() * 8 {
        let mut flipped = header.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let changed = Stored { header: URL_SAFE_NO_PAD.encode(flipped), ..stored.clone() };
        assert!(refused(&at, &changed), "header bit {bit}");
    }
    for bit in 0..stored.body.len() * 8 {
        let mut changed = stored.clone();
        changed.body[bit / 8] ^= 1 << (bit % 8);
        assert!(refused(&at, &changed), "body bit {bit}");
        let recovered = recover(&kek(WrapAlg::Local), "tenant-a", &changed.body);
        assert!(recovered.is_err(), "body bit {bit}, without the header");
    }
}

#[test]
fn every_truncation_and_extension_is_refused() {
    let (at, _, stored) = object();
    for len in 0..stored.body.len() {
        assert!(refused(&at, &Stored { body: stored.body[..len].to_vec(), ..stored.clone() }), "{len} bytes");
    }
    for more in [&[0u8][..], &[0; 16], &stored.body] {
        assert!(refused(&at, &Stored { body: [&stored.body, more].concat(), ..stored.clone() }));
    }
    for cut in 0..stored.header.len() {
        assert!(refused(&at, &Stored { header: stored.header[..cut].to_owned(), ..stored.clone() }));
    }
}

#[test]
fn truncation_at_a_chunk_boundary_is_refused_before_any_byte() {
    let (at, _, stored) = chunky();
    let tail = stored.body[stored.body.len() - 400..].to_vec();
    for chunks in 0..3 {
        let mut body = stored.body[..chunks * SEALED_CHUNK_LEN].to_vec();
        let total = geometry::object_len((chunks * CHUNK_LEN) as u64).unwrap() as usize;
        body.resize(total - tail.len(), 0);
        body.extend_from_slice(&tail);
        let shorter = Stored { body, ..stored.clone() };
        let result = open_whole(&kek(WrapAlg::Local), &at, &shorter);
        assert_eq!(result, Err(Refusal::Format(OpenError::Size)));
    }
}

#[test]
fn swapped_and_duplicated_chunks_are_refused_on_full_and_range_reads() {
    let (at, recipe, stored) = chunky();
    let chunk = |i: usize| stored.body[i * SEALED_CHUNK_LEN..(i + 1) * SEALED_CHUNK_LEN].to_vec();
    for (to, from) in [(0, 1), (1, 0), (2, 1), (0, 2)] {
        let mut changed = stored.clone();
        changed.body[to * SEALED_CHUNK_LEN..(to + 1) * SEALED_CHUNK_LEN].copy_from_slice(&chunk(from));
        assert!(refused(&at, &changed));
        let range = (to * CHUNK_LEN) as u64..((to + 1) * CHUNK_LEN) as u64;
        assert!(open_range(&kek(WrapAlg::Local), &at, &changed, range.clone()).is_err());
        let other = if to == 0 { 3 * CHUNK_LEN as u64..3 * CHUNK_LEN as u64 + 5 } else { 0..10 };
        let expected = recipe.plaintext()[other.start as usize..other.end as usize].to_vec();
        assert_eq!(open_range(&kek(WrapAlg::Local), &at, &changed, other), Ok(expected), "the rest still opens");
    }
}

#[test]
fn another_objects_body_or_chunk_or_header_is_refused() {
    let (at, _, stored) = chunky();
    let other_recipe = Recipe { dek: counting(7), ..Recipe::simple(&vec![9; 3 * CHUNK_LEN + 5]) };
    let other = other_recipe.seal(&kek(WrapAlg::Local), &at);
    assert!(refused(&at, &Stored { body: other.body.clone(), ..stored.clone() }));
    assert!(refused(&at, &Stored { header: other.header.clone(), ..stored.clone() }));
    let mut spliced = stored.clone();
    spliced.body[..SEALED_CHUNK_LEN].copy_from_slice(&other.body[..SEALED_CHUNK_LEN]);
    assert!(refused(&at, &spliced));
    // the same key and length, another salt: a second write of the object
    let Stored { body, .. } = Recipe {
        content: crate::support::Content::Simple { salt: [5; 24], plaintext: vec![9; 3 * CHUNK_LEN + 5] },
        ..Recipe::simple(b"")
    }
    .seal(&kek(WrapAlg::Local), &at);
    assert!(refused(&at, &Stored { body, ..stored }));
}

#[test]
fn an_object_under_another_name_is_refused() {
    for alg in [WrapAlg::Local, WrapAlg::AesKw] {
        let kek = kek(alg);
        let at = address("tenant-a", "bucket-1", b"a/b");
        let stored = Recipe::simple(b"x").seal(&kek, &at);
        assert!(open_whole(&kek, &at, &stored).is_ok());
        for (tenant, bucket, key) in [
            ("tenant-b", "bucket-1", &b"a/b"[..]),
            ("tenant-a", "bucket-2", b"a/b"),
            ("tenant-a", "bucket-1", b"a/c"),
            ("tenant-a", "bucket-", b"1a/b"),
            ("tenant-a", "bucket-1", b"a/b/"),
        ] {
            assert!(open_whole(&kek, &address(tenant, bucket, key), &stored).is_err());
        }
    }
}

fn multipart() -> (sealgate::object::Address, Vec<Part>, Recipe) {
    let at = address("tenant-a", "bucket-1", b"parts");
    let part = |number: u32, len: usize| Part {
        number,
        salt: counting(number as u8),
        plaintext: (0..len).map(|i| (i as u32 * number) as u8).collect(),
        pinned: true,
    };
    let parts = vec![part(1, 4 << 20), part(2, 4 << 20), part(5, 70_000)];
    let recipe = Recipe { recovery: true, ..Recipe::multipart(parts.clone()) };
    (at, parts, recipe)
}

#[test]
fn dropped_swapped_duplicated_and_foreign_parts_are_refused() {
    let (at, parts, recipe) = multipart();
    let kek = kek(WrapAlg::Local);
    let stored = recipe.seal(&kek, &at);
    assert!(open_whole(&kek, &at, &stored) == Ok(recipe.plaintext()));
    let dek = recipe.dek();
    let sealed: Vec<Vec<u8>> = parts.iter().map(|part| crate::support::seal_part(&dek, part)).collect();
    let rest = stored.body[sealed.iter().map(Vec::len).sum::<usize>()..].to_vec();
    let again = |parts: [&[u8]; 3]| Stored { body: [parts.concat(), rest.clone()].concat(), ..stored.clone() };
    assert!(again([&sealed[0], &sealed[1], &sealed[2]]).body == stored.body);
    assert!(refused(&at, &again([&sealed[1], &sealed[0], &sealed[2]])), "swapped");
    assert!(refused(&at, &again([&sealed[0], &sealed[0], &sealed[2]])), "duplicated");
    assert!(refused(&at, &again([&sealed[0], &[], &sealed[2]])), "dropped");
    let another_attempt = Part { salt: [77; 24], ..parts[1].clone() };
    let attempt = crate::support::seal_part(&dek, &another_attempt);
    assert!(refused(&at, &again([&sealed[0], &attempt, &sealed[2]])), "an earlier attempt at the part");
    let foreign = crate::support::seal_part(&crate::support::data_key(&[1; 32]), &parts[1]);
    assert!(refused(&at, &again([&sealed[0], &foreign, &sealed[2]])), "another upload's part");
    // an attempt of the right salt but other bytes cannot be told by its head, but does not authenticate twice
    let range = (4 << 20)..(4 << 20) + 10;
    assert!(open_range(&kek, &at, &again([&sealed[0], &attempt, &sealed[2]]), range).is_err());
}

#[test]
fn a_kind_1_header_over_a_kind_2_body_and_the_reverse_are_refused() {
    let (at, _, recipe) = multipart();
    let kek = kek(WrapAlg::Local);
    let stored = recipe.seal(&kek, &at);
    let plain = Recipe { dek: recipe.dek, ..Recipe::simple(&recipe.plaintext()) }.seal(&kek, &at);
    assert_eq!(plain.body.len(), stored.body.len(), "size does not tell them apart");
    assert!(refused(&at, &Stored { header: plain.header.clone(), body: stored.body.clone() }));
    assert!(refused(&at, &Stored { header: stored.header, body: plain.body }));
}

#[test]
fn a_record_opens_the_body_for_its_tenant_only_and_a_lost_record_is_said() {
    let (_, recipe, stored) = object();
    let kek = kek(WrapAlg::Local);
    assert_eq!(recover(&kek, "tenant-a", &stored.body), Ok(recipe.plaintext()));
    assert_eq!(recover(&kek, "tenant-b", &stored.body), Err(Refusal::Key));
    let without = Recipe { recovery: false, ..recipe }.seal(&kek, &address("tenant-a", "bucket-1", b"a/b"));
    assert_eq!(recover(&kek, "tenant-a", &without.body), Err(Refusal::Key));
}

#[test]
fn longer_entries_and_ignorable_extensions_of_a_later_writer_are_read() {
    let at = address("tenant-a", "bucket-1", b"later");
    let kek = kek(WrapAlg::Local);
    let recipe = Recipe::simple(b"sixteen bytes in");
    let header = recipe.header(&kek, &at).to_text();
    let (segments, _) = recipe.sealed(None);
    let fields = TrailerFields::new(1, &[(0, 16, counting(0xa0))]);
    let later = [
        TrailerFields { entry_len: 40, entry_extra: vec![7; 4], ..fields.clone() },
        TrailerFields { ext: vec![0x80, 0, 1, 9], ..fields.clone() },
        TrailerFields { entry_len: 37, entry_extra: vec![7], ext: vec![0x80, 0, 0, 0xff, 0, 0], ..fields },
    ];
    for fields in later {
        let body = ForgedTail::new(fields.encode(), &[]).body(&recipe.dek(), &segments, 528);
        let stored = Stored { header: header.clone(), body };
        assert_eq!(open_whole(&kek, &at, &stored), Ok(recipe.plaintext()));
        assert_eq!(open_by_trailer(&kek, &at, &stored), Ok(recipe.plaintext()));
    }
}

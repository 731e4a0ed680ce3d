//! The known answers of the format's page, with their inputs.

use sealgate::crypto::random::Fresh;
use sealgate::crypto::wrap::WrapAlg;
use sealgate::format::OpenError;
use sealgate::format::context::{Context, upload_state_name};
use sealgate::format::envelope::{Draft, HeaderBody, Unverified};
use sealgate::format::metadata::{Checksum, ChecksumAlgorithm, ChecksumType, Metadata, Place};
use sealgate::format::parts::{PartAttempt, PartChecksum, PartTag};
use sealgate::format::segment::SegmentId;
use sealgate::format::suite::Kind;
use sealgate::format::trailer::Digests;
use sealgate::object::PartNumber;

use crate::support::{Part, Recipe, address, array, counting, data_key, hex, kek, open_whole, recover, sha256, to_hex};

fn reference() -> serde_json::Value {
    serde_json::from_str(include_str!("../vectors/reference-v1.json")).unwrap()
}

fn answer(name: &str) -> String {
    reference()["known_answers"][name].as_str().unwrap_or_else(|| panic!("no known answer {name}")).to_owned()
}

fn hello() -> (sealgate::object::Address, Recipe) {
    (address("tenant-a", "bucket-1", b"docs/hello.txt"), Recipe::simple(b"hello, world\n"))
}

#[test]
fn header_segment_keys_chunk_and_body_are_the_published_ones() {
    let kek = kek(WrapAlg::Local);
    let (address, recipe) = hello();
    let stored = recipe.seal(&kek, &address);
    assert_eq!(stored.header, answer("header"));
    let id = SegmentId { kind: Kind::Simple, part_no: 0, p: 13, salt: counting(0xa0) };
    let info: &[&[u8]] =
        &[b"sealgate/v1/segment+AEAD_AES_256_GCM\0", &id.salt, &[1, 1, 0, 0, 0, 0], &13u64.to_be_bytes()];
    let derived = recipe.dek().prk().expand::<76>(info);
    assert_eq!(to_hex(&derived.expose_secret()[..32]), answer("k"));
    assert_eq!(to_hex(&derived.expose_secret()[32..44]), answer("n"));
    assert_eq!(to_hex(id.keys(&recipe.dek()).commitment()), answer("c"));
    assert_eq!(to_hex(&stored.body[..29]), answer("chunk 0"));
    assert_eq!(format!("{} bytes, SHA-256 {}", stored.body.len(), sha256(&stored.body)), answer("body"));
    assert_eq!(open_whole(&kek, &address, &stored), Ok(b"hello, world\n".to_vec()));
}

#[test]
fn the_recovery_record_is_the_published_one_and_opens_the_body_without_its_header() {
    let kek = kek(WrapAlg::Local);
    let (address, mut recipe) = hello();
    recipe.recovery = true;
    assert_eq!(to_hex(&recipe.record(&kek, &address).unwrap()), answer("recovery record"));
    let stored = recipe.seal(&kek, &address);
    assert_eq!(format!("525 bytes, SHA-256 {}", sha256(&stored.body)), answer("body with record"));
    assert_eq!(recover(&kek, "tenant-a", &stored.body), Ok(b"hello, world\n".to_vec()));
}

#[test]
fn a_header_with_metadata_is_the_published_one() {
    let kek = kek(WrapAlg::Local);
    let (address, mut recipe) = hello();
    let tlv = hex(&answer("tlv of header with metadata"));
    recipe.metadata = Metadata::parse(&tlv, Place::Object).ok().unwrap();
    assert_eq!(recipe.metadata.encode().unwrap(), tlv);
    recipe.hdr_nonce = array(&hex(&answer("hdr_nonce of header with metadata")));
    assert_eq!(recipe.seal(&kek, &address).header, answer("header with metadata"));
}

#[test]
fn a_body_with_digests_is_the_published_one() {
    let kek = kek(WrapAlg::Local);
    let (address, mut recipe) = hello();
    let sum = sealgate::digest::sha256(&[b"hello, world\n"]);
    let checksum = Checksum::new(ChecksumAlgorithm::Sha256, ChecksumType::FullObject, &sum).unwrap();
    // MD5 of "hello, world\n"
    let md5 = array(&hex("22c3683b094136c3398391ae71b20f04"));
    recipe.digests = Digests { md5: Some(md5), checksum: Some((checksum, 0)) };
    let stored = recipe.seal(&kek, &address);
    assert_eq!(format!("525 bytes, SHA-256 {}", sha256(&stored.body)), answer("body with MD5 and SHA-256"));
    assert!(open_whole(&kek, &address, &stored).is_ok());
}

#[test]
fn two_full_chunks_and_an_empty_one_are_the_published_ones() {
    let plaintext: Vec<u8> = (0..131_072u32).map(|i| (7 * i % 256) as u8).collect();
    let recipe = Recipe::simple(&plaintext);
    let chunks = recipe.sealed(None).0;
    let text = format!("{} bytes of chunks, SHA-256 {}", chunks.len(), sha256(&chunks));
    assert_eq!(text, answer("131072 bytes"));
}

fn published_parts() -> Vec<Part> {
    let bytes = |len: u32, modulus: u32| (0..len).map(|i| (i % modulus) as u8).collect();
    vec![
        Part { number: 1, salt: counting(1), plaintext: bytes(5_242_887, 251), pinned: true },
        Part { number: 3, salt: counting(2), plaintext: bytes(5_242_880, 241), pinned: true },
        Part { number: 4, salt: counting(3), plaintext: b"tail".to_vec(), pinned: true },
    ]
}

#[test]
fn multipart_bodies_are_the_published_ones() {
    let kek = kek(WrapAlg::Local);
    let address = address("tenant-a", "bucket-1", b"docs/hello.txt");
    let mut recipe = Recipe::multipart(published_parts());
    recipe.hdr_nonce = array(&hex(&answer("hdr_nonce of header kind 2")));
    assert_eq!(recipe.header(&kek, &address).to_text(), answer("header kind 2"));
    let body = recipe.body(None);
    assert_eq!(format!("{} bytes, SHA-256 {}", body.len(), sha256(&body)), answer("multipart"));
    let mut recorded = recipe.clone();
    recorded.recovery = true;
    let stored = recorded.seal(&kek, &address);
    assert_eq!(format!("SHA-256 {}", sha256(&stored.body)), answer("with record"));
    assert!(open_whole(&kek, &address, &stored) == Ok(recorded.plaintext()));
    assert!(recover(&kek, "tenant-a", &stored.body) == Ok(recorded.plaintext()));
    let mut unpinned = published_parts();
    unpinned[1].pinned = false;
    recipe.content = crate::support::Content::Multipart(unpinned);
    let stored = recipe.seal(&kek, &address);
    assert_eq!(format!("SHA-256 {}", sha256(&stored.body)), answer("part 3 unpinned, no record"));
    assert!(open_whole(&kek, &address, &stored) == Ok(recipe.plaintext()));
}

#[test]
fn the_upload_state_and_its_name_are_the_published_ones() {
    let kek = kek(WrapAlg::Local);
    let (address, recipe) = hello();
    let upload_id = answer("upload id");
    assert_eq!(upload_state_name(&address, &upload_id), answer("state name"));
    let context = Context::upload(&address, &upload_id);
    let hdr_nonce = array(&hex(&answer("hdr_nonce of state")));
    let unverified = Unverified::parse_text(&answer("state")).ok().unwrap();
    let dek = kek.unwrap(&unverified.binding(&context), unverified.wrapped()).ok().unwrap();
    assert_eq!(dek.expose_secret(), &counting::<32>(0x80));
    let object = Unverified::parse_text(&answer("state")).ok().unwrap();
    let refused = object.verify_object(data_key(&counting::<32>(0x80)), &context);
    assert!(matches!(refused.err(), Some(OpenError::Unsupported(_))), "a state is no object");
    let other = Unverified::parse_text(&answer("state")).ok().unwrap();
    let elsewhere = Context::upload(&address, "another upload");
    assert_eq!(other.verify_upload_state(recipe.dek(), &elsewhere).err(), Some(OpenError::HeaderTag));
    let state = unverified.verify_upload_state(dek, &context).ok().unwrap();
    assert_eq!(state.body(), HeaderBody::UploadState);
    let metadata = state.metadata().clone();
    let create = Unverified::parse_text(&answer("header kind 2")).ok().unwrap();
    let object_context = Context::object(&address);
    let create_dek = kek.unwrap(&create.binding(&object_context), create.wrapped()).ok().unwrap();
    let create = create.verify_object(create_dek, &object_context).ok().unwrap();
    assert_eq!(metadata.create_tag().as_ref(), Some(create.tag()), "the tag of the header sent at Create");
    let draft = |metadata| {
        let hdr_nonce = Fresh::danger_from_bytes(hdr_nonce);
        Draft { body: HeaderBody::UploadState, hdr_nonce, metadata, context: &context }
    };
    let wrapped = kek.wrap(&draft(&metadata).binding(), &recipe.dek()).unwrap();
    assert_eq!(draft(&metadata).seal(&wrapped, &recipe.dek()).unwrap().to_text(), answer("state"));
    let none = Metadata::default();
    let bare = draft(&none);
    assert!(bare.seal(&wrapped, &recipe.dek()).is_err(), "a state without the tag of its header");
    let object = Unverified::parse_text(&answer("header")).ok().unwrap();
    let refused = object.verify_upload_state(recipe.dek(), &context);
    assert!(matches!(refused.err(), Some(OpenError::Unsupported(_))), "an object is no state");
}

#[test]
fn part_etags_are_the_published_ones_and_prove_what_they_say() {
    let dek = data_key(&counting::<32>(0x80));
    let upstream_etag = "0123456789abcdef0123456789abcdef";
    let sum = sealgate::digest::sha256(&[b"tail"]);
    let crc = hex("1112131415161718");
    let cases: [(&str, PartAttempt<'_>); 3] = [
        (
            "part 3 ETag, no checksum",
            PartAttempt {
                part_no: PartNumber::new(3).unwrap(),
                p: 5_242_880,
                salt: counting(2),
                upstream_etag,
                checksum: None,
            },
        ),
        (
            "part 4 ETag, CRC64NVME",
            PartAttempt {
                part_no: PartNumber::new(4).unwrap(),
                p: 4,
                salt: counting(3),
                upstream_etag,
                checksum: Some(PartChecksum { algorithm: ChecksumAlgorithm::Crc64Nvme, value: &crc }),
            },
        ),
        (
            "part 4 ETag, SHA-256",
            PartAttempt {
                part_no: PartNumber::new(4).unwrap(),
                p: 4,
                salt: counting(3),
                upstream_etag,
                checksum: Some(PartChecksum { algorithm: ChecksumAlgorithm::Sha256, value: &sum }),
            },
        ),
    ];
    for (name, attempt) in cases {
        let etag = attempt.etag(&dek).unwrap();
        assert_eq!(etag, answer(name));
        let tag = PartTag::split(&etag).unwrap();
        assert_eq!(tag.upstream_etag(), upstream_etag);
        let value = attempt.checksum.map(|c| c.value);
        assert_eq!(tag.verify(&dek, attempt.part_no, value), Ok(attempt));
        let other_part = PartNumber::new(5).unwrap();
        assert_eq!(tag.verify(&dek, other_part, value), Err(OpenError::PartTag));
        assert_eq!(tag.verify(&data_key(&[1; 32]), attempt.part_no, value), Err(OpenError::PartTag));
        if value.is_some_and(|v| v.len() > 8) {
            assert_eq!(tag.verify(&dek, attempt.part_no, None), Err(OpenError::PartTag));
            assert_eq!(tag.verify(&dek, attempt.part_no, Some(&[0; 32])), Err(OpenError::PartTag));
            assert_eq!(tag.verify(&dek, attempt.part_no, Some(&sum[..31])), Err(OpenError::PartTag));
        } else {
            assert_eq!(tag.verify(&dek, attempt.part_no, None), Ok(attempt));
        }
        // every changed character: another split, or a MAC that does not hold
        for at in 0..etag.len() {
            let mut changed = etag.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            let refused = PartTag::split(&changed).is_none_or(|t| t.verify(&dek, attempt.part_no, value).is_err());
            assert!(refused, "character {at}");
        }
    }
    for foreign in ["", "abc", upstream_etag, &"A".repeat(69), &format!("-{}", "=".repeat(68)), &"é".repeat(40)] {
        assert!(PartTag::split(foreign).is_none());
    }
    assert!(PartTag::split(&format!("-{}", "A".repeat(68))).is_some_and(|t| t.upstream_etag().is_empty()));
}

//! Project Wycheproof's vectors, run through the same code that seals and opens objects.

use std::io::{Read, Write};

use sealgate::crypto::aead::{Aead, ErasingAes256Gcm, RingAes128Gcm, RingAes256Gcm};
use sealgate::crypto::kdf::Prk;
use sealgate::crypto::wrap::{Binding, Kek, KekId, WrapAlg, WrappedKey};
use sealgate::digest::HmacSha512;
use sealgate::format::segment::{Profile, SegmentKeys};
use sealgate::secret::Secret;
use wycheproof::TestResult;

fn say(suite: &str, ran: usize) {
    let _ = writeln!(std::io::stderr(), "vectors: wycheproof {suite}: {ran} ran");
}

struct Cobblestone256;
impl Profile for Cobblestone256 {
    type Aead = RingAes256Gcm;
    const LABEL: &'static [u8] = b"c2sp.org/chunked-encryption@v1+";
    const CHUNK_LEN: usize = 16 << 10;
}

struct Cobblestone128;
impl Profile for Cobblestone128 {
    type Aead = RingAes128Gcm;
    const LABEL: &'static [u8] = b"c2sp.org/chunked-encryption@v1+";
    const CHUNK_LEN: usize = 16 << 10;
}

/// Opens a whole message of the original format with the segment code; also gives the prefix that opened.
fn open_message<P: Profile>(key: &[u8], ctx: &[u8], message: &[u8]) -> (Vec<u8>, bool) {
    let mut text = Vec::new();
    if key.len() != P::Aead::KEY_LEN || message.len() < 56 {
        return (text, false);
    }
    let (salt, rest) = message.split_first_chunk::<24>().unwrap();
    let (commitment, chunks) = rest.split_first_chunk::<32>().unwrap();
    let keys = SegmentKeys::<P>::derive(&Prk::new(key), salt, &[ctx]);
    if !keys.commits_to(commitment) {
        return (text, false);
    }
    let sealed_len = P::CHUNK_LEN + 16;
    let last = chunks.len() / sealed_len;
    for index in 0..=last {
        let start = index * sealed_len;
        let mut sealed = chunks[start..chunks.len().min(start + sealed_len)].to_vec();
        match keys.open_chunk(index as u64, &mut sealed) {
            Some(chunk) => text.extend_from_slice(chunk),
            None => return (text, false),
        }
    }
    (text, true)
}

/// Seals a message and checks that what comes out opens: the sealing half of the same code.
fn reseal<P: Profile>(key: &[u8], ctx: &[u8], message: &[u8], text: &[u8]) {
    use sealgate::format::segment::ChunkSealer;
    let salt: [u8; 24] = message[..24].try_into().unwrap();
    let keys = SegmentKeys::<P>::derive(&Prk::new(key), &salt, &[ctx]);
    let mut out = [&salt[..], keys.commitment()].concat();
    let mut sealer = ChunkSealer::new(keys);
    let chunks = text.chunks_exact(P::CHUNK_LEN);
    let mut last = chunks.remainder().to_vec();
    for chunk in chunks {
        let mut chunk = chunk.to_vec();
        let tag = sealer.seal_full(&mut chunk).unwrap();
        out.extend(chunk);
        out.extend(tag);
    }
    let tag = sealer.seal_last(&mut last).unwrap();
    out.extend(last);
    out.extend(tag);
    assert!(out == message, "sealing gives the vector's bytes");
}

fn chunked<P: Profile>(name: wycheproof::chunked_encryption::TestName) -> usize {
    use wycheproof::chunked_encryption::{TestFlag, TestSet};
    let mut ran = 0;
    for group in TestSet::load(name).unwrap().test_groups {
        for test in group.tests {
            let mut message = Vec::new();
            flate2::read::ZlibDecoder::new(&test.ct[..]).read_to_end(&mut message).unwrap();
            let (text, opened) = open_message::<P>(&test.key, &test.ctx, &message);
            let expected = test.result == TestResult::Valid;
            assert_eq!(opened, expected, "tc {} {}", test.tc_id, test.comment);
            if let (Some(len), Some(digest)) = (test.msg_length, &test.msg_sha512)
                && (expected || test.flags.contains(&TestFlag::PartialPlaintext))
            {
                assert_eq!(text.len(), len, "tc {}", test.tc_id);
                let sum = ring::digest::digest(&ring::digest::SHA512, &text);
                assert_eq!(sum.as_ref(), &digest[..], "tc {}", test.tc_id);
            }
            if expected {
                reseal::<P>(&test.key, &test.ctx, &message, &text);
            }
            ran += 1;
        }
    }
    ran
}

#[test]
fn chunked_encryption_holds_for_both_key_sizes() {
    use wycheproof::chunked_encryption::TestName;
    let long = chunked::<Cobblestone256>(TestName::Cobblestone256);
    let short = chunked::<Cobblestone128>(TestName::Cobblestone128);
    say("c2sp_chunked_encryption, AES-256-GCM", long);
    say("c2sp_chunked_encryption, AES-128-GCM", short);
    assert!(long >= 35 && short >= 35);
}

fn aes_gcm<A: Aead>() -> usize {
    use wycheproof::aead::{TestName, TestSet};
    let mut ran = 0;
    for group in TestSet::load(TestName::AesGcm).unwrap().test_groups {
        if group.key_size != A::KEY_LEN * 8 || group.nonce_size != 96 || group.tag_size != 128 {
            continue;
        }
        for test in group.tests {
            let nonce: [u8; 12] = test.nonce[..].try_into().unwrap();
            let cipher = A::new(&test.key).ok().unwrap();
            let mut sealed = [&test.ct[..], &test.tag[..]].concat();
            let opened = cipher.open_in_place(&nonce, &test.aad, &mut sealed);
            match test.result {
                TestResult::Valid | TestResult::Acceptable => {
                    assert_eq!(opened.unwrap(), &test.pt[..], "tc {}", test.tc_id);
                    let mut text = test.pt.to_vec();
                    let tag = cipher.seal_in_place(&nonce, &test.aad, &mut text).unwrap();
                    assert_eq!((&text[..], &tag[..]), (&test.ct[..], &test.tag[..]), "tc {}", test.tc_id);
                }
                TestResult::Invalid => assert!(opened.is_err(), "tc {}", test.tc_id),
            }
            ran += 1;
        }
    }
    ran
}

#[test]
fn aes_gcm_holds_for_every_implementation() {
    let ran = [aes_gcm::<RingAes256Gcm>(), aes_gcm::<ErasingAes256Gcm>(), aes_gcm::<RingAes128Gcm>()];
    say("aes_gcm, ring 256", ran[0]);
    say("aes_gcm, aes-gcm 256", ran[1]);
    say("aes_gcm, ring 128", ran[2]);
    assert!(ran[0] >= 60 && ran[0] == ran[1] && ran[2] >= 60);
}

#[test]
fn hkdf_expand_holds() {
    use wycheproof::hkdf::{TestName, TestSet};
    let mut ran = 0;
    for group in TestSet::load(TestName::HkdfSha512).unwrap().test_groups {
        for test in group.tests {
            // Extract is a single HMAC; Expand is ours
            let prk = HmacSha512::new(&test.salt).mac([&test.ikm[..]]);
            let mut okm = vec![0; test.size];
            Prk::new(&prk).expand_into(&[&test.info], &mut [&mut okm]);
            if test.result == TestResult::Valid {
                assert_eq!(okm, &test.okm[..], "tc {}", test.tc_id);
            } else {
                let too_long = test.size > sealgate::crypto::kdf::MAX_EXPAND_LEN;
                assert!(too_long && okm.last() == Some(&0), "tc {}", test.tc_id);
            }
            ran += 1;
        }
    }
    say("hkdf_sha512", ran);
    assert!(ran >= 80);
}

#[test]
fn hmac_holds() {
    use wycheproof::mac::{TestName, TestSet};
    let mut ran = 0;
    for group in TestSet::load(TestName::HmacSha512).unwrap().test_groups {
        let tag_len = group.tag_size / 8;
        for test in group.tests {
            let mac = HmacSha512::new(&test.key).mac([&test.msg[..]]);
            let same = mac[..tag_len] == test.tag[..];
            assert_eq!(same, test.result != TestResult::Invalid, "tc {}", test.tc_id);
            ran += 1;
        }
    }
    say("hmac_sha512", ran);
    assert!(ran >= 170);
}

#[test]
fn aes_key_wrap_holds() {
    use wycheproof::keywrap::{TestName, TestSet};
    let mut ran = 0;
    let id = KekId::from_bytes([1; 16]);
    let binding = Binding { version: 1, suite: 1, kind: 1, flags: 0, hdr_nonce: &[0; 24], ctx: b"" };
    for group in TestSet::load(TestName::AesKeyWrap).unwrap().test_groups {
        if group.key_size != 256 {
            continue;
        }
        for test in group.tests {
            let kek = Kek::new(id, WrapAlg::AesKw, Secret::from_slice(&test.key).unwrap()).unwrap();
            let wrapped = WrappedKey { kek_id: id, alg: WrapAlg::AesKw, bytes: test.ct.to_vec() };
            let unwrapped = kek.unwrap(&binding, &wrapped);
            // only data keys of 32 bytes are wrapped; anything else must be refused, whatever it authenticates to
            let valid = test.result != TestResult::Invalid && test.pt.len() == 32;
            assert_eq!(unwrapped.is_ok(), valid, "tc {} {}", test.tc_id, test.comment);
            if let Ok(dek) = unwrapped {
                assert_eq!(&dek.expose_secret()[..], &test.pt[..], "tc {}", test.tc_id);
                assert!(kek.wrap(&binding, &dek).unwrap().bytes == test.ct[..], "tc {}", test.tc_id);
            }
            ran += 1;
        }
    }
    say("aes_wrap, 256", ran);
    assert!(ran >= 30);
}

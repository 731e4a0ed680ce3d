//! Vectors as files: the reference ones of an independent implementation, and the project's own.
//!
//! `tests/vectors/object-v1.json` is written by this module: `SEALGATE_WRITE_VECTORS=1 cargo test --test it vectors`.
//! Without that variable the test makes them again and requires the committed file, byte for byte.

use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sealgate::clock::Timestamp;
use sealgate::crypto::wrap::{Kek, KekId, WrapAlg};
use sealgate::format::metadata::{Checksum, ChecksumAlgorithm, ChecksumType, ContentField, Metadata, Place};
use sealgate::format::trailer::Digests;
use sealgate::object::Address;
use sealgate::secret::Secret;
use serde_json::{Value, json};

use crate::support::forge::{ForgedHeader, ForgedTail, TrailerFields};
use crate::support::{
    Content, Part, Recipe, Stored, address, array, counting, hex, kek, open_by_trailer, open_whole, python, recover,
    sha256, to_hex,
};

const OWN: &str = "tests/vectors/object-v1.json";
const REFERENCE: &str = "tests/vectors/reference-v1.json";

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn load(name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(path(name)).unwrap()).unwrap()
}

/// A vector, whole: what it is sealed from if it is valid, and what the provider holds.
struct Vector {
    what: String,
    address: Address,
    alg: WrapAlg,
    recipe: Option<Recipe>,
    stored: Option<Stored>,
    body_len: Option<u64>,
    body_sha256: Option<String>,
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("a vector without {name}"))
}

/// The plaintext that a rule of the vectors file describes.
fn plaintext(rule: &Value, part_no: Option<u32>) -> Vec<u8> {
    if let Some(hexadecimal) = rule["plaintext_hex"].as_str() {
        return hex(hexadecimal);
    }
    let len = rule["length"].as_u64().unwrap();
    let factor = match (text(rule, "plaintext"), part_no) {
        ("byte i = 31 i mod 256", None) => 31,
        ("byte i = (29 + 2 part_no) i mod 256", Some(number)) => u64::from(29 + 2 * number),
        other => panic!("unknown plaintext rule {other:?}"),
    };
    (0..len).map(|i| (i * factor % 256) as u8).collect()
}

fn recipe(vector: &Value) -> Recipe {
    let content = if let Some(parts) = vector["parts"].as_array() {
        Content::Multipart(
            parts
                .iter()
                .map(|part| {
                    let number = part["part_no"].as_u64().unwrap() as u32;
                    Part {
                        number,
                        salt: array(&hex(text(part, "salt"))),
                        plaintext: plaintext(part, Some(number)),
                        pinned: part["unpinned"].as_bool() != Some(true),
                    }
                })
                .collect(),
        )
    } else {
        Content::Simple { salt: array(&hex(text(vector, "seg_salt"))), plaintext: plaintext(vector, None) }
    };
    let tlv = vector["tlv"].as_str().map(hex).unwrap_or_default();
    Recipe {
        dek: array(&hex(text(vector, "dek"))),
        hdr_nonce: array(&hex(text(vector, "hdr_nonce"))),
        metadata: Metadata::parse(&tlv, Place::Object).ok().unwrap(),
        digests: digests(&vector["digests"]),
        recovery: vector["recovery"].as_bool().unwrap(),
        content,
    }
}

fn digests(value: &Value) -> Digests {
    let md5 = value["md5"].as_str().map(|md5| array(&hex(md5)));
    let checksum = value["checksum"].as_object().map(|_| {
        let of = &value["checksum"];
        let byte = |name: &str| of[name].as_u64().unwrap() as u8;
        let algorithm = ChecksumAlgorithm::from_byte(byte("algorithm")).unwrap();
        let over = ChecksumType::from_byte(byte("type")).unwrap();
        let checksum = Checksum::new(algorithm, over, &hex(text(of, "value"))).unwrap();
        (checksum, of["count"].as_u64().unwrap() as u16)
    });
    Digests { md5, checksum }
}

fn read(file: &Value) -> Vec<Vector> {
    let vectors = file["vectors"].as_array().unwrap();
    vectors
        .iter()
        .enumerate()
        .map(|(i, vector)| {
            let or = |name: &str| vector[name].as_str().unwrap_or_else(|| text(file, name));
            let valid = text(vector, "result") == "ok";
            let header = vector["header"].as_str().map(str::to_owned);
            let body = vector["body"].as_str().map(hex);
            Vector {
                what: format!("{i} {}", vector["what"].as_str().unwrap_or("valid")),
                address: address(or("tenant"), or("bucket"), &hex(text(vector, "key"))),
                alg: if vector["wrap_alg"].as_u64() == Some(2) { WrapAlg::AesKw } else { WrapAlg::Local },
                recipe: valid.then(|| recipe(vector)),
                stored: header.zip(body).map(|(header, body)| Stored { header, body }),
                body_len: vector["body_length"].as_u64(),
                body_sha256: vector["body_sha256"].as_str().map(str::to_owned),
            }
        })
        .collect()
}

fn file_kek(file: &Value, alg: WrapAlg) -> Kek {
    let id = KekId::from_bytes(array(&hex(text(file, "kek_id"))));
    Kek::new(id, alg, Secret::from_slice(&hex(text(file, "kek"))).unwrap()).unwrap()
}

fn check(name: &str) -> (usize, usize) {
    let file = load(name);
    let (mut valid, mut refused) = (0, 0);
    for vector in read(&file) {
        let kek = file_kek(&file, vector.alg);
        let what = &vector.what;
        if let Some(recipe) = &vector.recipe {
            let sealed = recipe.seal(&kek, &vector.address);
            if let Some(stored) = &vector.stored {
                assert!(sealed.header == stored.header, "{what}: header");
                assert!(sealed.body == stored.body, "{what}: body");
            }
            assert_eq!(Some(sealed.body.len() as u64), vector.body_len, "{what}");
            assert_eq!(Some(sha256(&sealed.body)), vector.body_sha256, "{what}");
            assert!(open_whole(&kek, &vector.address, &sealed) == Ok(recipe.plaintext()), "{what}: opens");
            assert!(open_by_trailer(&kek, &vector.address, &sealed) == Ok(recipe.plaintext()), "{what}: by trailer");
            let recovered = recover(&kek, vector.address.tenant.as_str(), &sealed.body);
            assert_eq!(recovered == Ok(recipe.plaintext()), recipe.recovery, "{what}: recovery");
            valid += 1;
        } else {
            let stored = vector.stored.as_ref().unwrap_or_else(|| panic!("{what}: nothing to refuse"));
            assert!(open_whole(&kek, &vector.address, stored).is_err(), "{what}: must be refused");
            assert!(open_by_trailer(&kek, &vector.address, stored).is_err(), "{what}: must be refused by trailer");
            refused += 1;
        }
    }
    (valid, refused)
}

/// Past the test harness's capture: how many vectors ran belongs to the result.
fn tell(line: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "vectors: {line}");
}

fn say(suite: &str, valid: usize, refused: usize) {
    tell(&format!("{suite}: {valid} valid, {refused} refused"));
}

#[test]
fn reference_vectors_hold_in_both_directions() {
    let (valid, refused) = check(REFERENCE);
    say("reference (independent implementation)", valid, refused);
    assert_eq!((valid, refused), (17, 97));
}

#[test]
fn own_vectors_hold_in_both_directions() {
    let (valid, refused) = check(OWN);
    say("sealgate's own", valid, refused);
    assert!(valid >= 12 && refused >= 45);
}

#[test]
fn own_vectors_are_what_the_generator_makes() {
    let made = format!("{}\n", serde_json::to_string_pretty(&generate()).unwrap());
    if std::env::var_os("SEALGATE_WRITE_VECTORS").is_some() {
        std::fs::write(path(OWN), &made).unwrap();
    }
    assert!(std::fs::read_to_string(path(OWN)).unwrap() == made, "the committed file is not what is generated");
}

#[test]
fn the_second_opener_agrees_on_every_vector() {
    let Some(python) = python::interpreter() else {
        return python::skipped("second opener on vectors", python::NEEDS);
    };
    let folder = tempfile::tempdir().unwrap();
    for name in [REFERENCE, OWN] {
        // hand over the bodies that the file describes by their digest only
        let mut file = load(name);
        let vectors = read(&file);
        for (vector, value) in vectors.iter().zip(file["vectors"].as_array_mut().unwrap()) {
            if let Some(recipe) = &vector.recipe {
                let kek = Kek::new(KekId::from_bytes(counting(0x40)), vector.alg, Secret::from_bytes(counting(0)));
                value["body"] = json!(to_hex(&recipe.seal(&kek.unwrap(), &vector.address).body));
            }
        }
        let whole = folder.path().join("vectors.json");
        std::fs::write(&whole, serde_json::to_vec(&file).unwrap()).unwrap();
        let output = Command::new(&python).arg(path("tests/decryptor/check_vectors.py")).arg(&whole).output().unwrap();
        let stdout = String::from_utf8_lossy(&output.stdout);
        let last = stdout.lines().last().unwrap_or_default();
        tell(&format!("second opener on {name}: {last}"));
        assert!(output.status.success(), "{stdout}\n{}", String::from_utf8_lossy(&output.stderr));
        assert!(last.ends_with("0 failed, 0 skipped"), "{last}");
    }
}

// ---- the generator -------------------------------------------------------------------------------------------------

struct Generator {
    vectors: Vec<Value>,
    counter: u8,
}

impl Generator {
    /// Bytes that differ from draw to draw and from run to run do not.
    fn draw<const N: usize>(&mut self) -> [u8; N] {
        self.counter = self.counter.wrapping_add(1);
        let seed = sealgate::crypto::kdf::Prk::new(&[self.counter; 32]);
        *seed.expand::<N>(&[b"sealgate test vectors"]).expose_secret()
    }

    fn recipe(&mut self, plaintext: &[u8]) -> Recipe {
        Recipe {
            dek: self.draw(),
            hdr_nonce: self.draw(),
            content: Content::Simple { salt: self.draw(), plaintext: plaintext.to_vec() },
            ..Recipe::simple(b"")
        }
    }

    fn valid(&mut self, what: &str, alg: WrapAlg, recipe: &Recipe) {
        let at = address("tenant-a", "bucket-1", b"vectors/valid");
        let stored = recipe.seal(&kek(alg), &at);
        let mut value = json!({
            "what": what,
            "result": "ok",
            "key": to_hex(at.key.as_bytes()),
            "wrap_alg": alg as u8,
            "dek": to_hex(&recipe.dek),
            "hdr_nonce": to_hex(&recipe.hdr_nonce),
            "tlv": to_hex(&recipe.metadata.encode().unwrap()),
            "recovery": recipe.recovery,
            "header": stored.header,
            "body_length": stored.body.len(),
            "body_sha256": sha256(&stored.body),
        });
        match &recipe.content {
            Content::Simple { salt, plaintext } => {
                value["kind"] = json!(1);
                value["seg_salt"] = json!(to_hex(salt));
                rule(&mut value, plaintext, 31, "byte i = 31 i mod 256");
            }
            Content::Multipart(parts) => {
                value["kind"] = json!(2);
                let parts: Vec<Value> = parts
                    .iter()
                    .map(|part| {
                        let mut of = json!({"part_no": part.number, "salt": to_hex(&part.salt)});
                        if !part.pinned {
                            of["unpinned"] = json!(true);
                        }
                        let factor = u64::from(29 + 2 * part.number);
                        rule(&mut of, &part.plaintext, factor, "byte i = (29 + 2 part_no) i mod 256");
                        of
                    })
                    .collect();
                value["parts"] = json!(parts);
            }
        }
        if let Some(md5) = recipe.digests.md5 {
            value["digests"]["md5"] = json!(to_hex(&md5));
        }
        if let Some((checksum, count)) = &recipe.digests.checksum {
            value["digests"]["checksum"] = json!({
                "algorithm": checksum.algorithm() as u8,
                "type": checksum.over() as u8,
                "count": count,
                "value": to_hex(checksum.value()),
            });
        }
        if stored.body.len() <= 1024 {
            value["body"] = json!(to_hex(&stored.body));
        }
        self.vectors.push(value);
    }

    fn refused(&mut self, what: &str, alg: WrapAlg, stored: &Stored) {
        self.vectors.push(json!({
            "what": what,
            "result": "refused",
            "kind": 0,
            "tenant": "tenant-a",
            "bucket": "bucket-1",
            "key": to_hex(b"vectors/refused"),
            "wrap_alg": alg as u8,
            "header": stored.header,
            "body": to_hex(&stored.body),
        }));
    }
}

fn rule(value: &mut Value, plaintext: &[u8], factor: u64, words: &str) {
    if (0..plaintext.len() as u64).zip(plaintext).all(|(i, byte)| *byte == (i * factor % 256) as u8) {
        value["length"] = json!(plaintext.len());
        value["plaintext"] = json!(words);
    } else {
        value["length"] = json!(plaintext.len());
        value["plaintext_hex"] = json!(to_hex(plaintext));
    }
}

fn by_rule(len: u64, factor: u64) -> Vec<u8> {
    (0..len).map(|i| (i * factor % 256) as u8).collect()
}

fn part(generator: &mut Generator, number: u32, len: u64, pinned: bool) -> Part {
    Part { number, salt: generator.draw(), plaintext: by_rule(len, u64::from(29 + 2 * number)), pinned }
}

fn generate() -> Value {
    let mut g = Generator { vectors: Vec::new(), counter: 0 };
    valid_vectors(&mut g);
    refused_headers(&mut g);
    refused_tails(&mut g);
    refused_parts(&mut g);
    json!({
        "format": "sealgate object format v1",
        "by": "tests/it/vectors.rs",
        "kek": to_hex(&counting::<32>(0)),
        "kek_id": to_hex(&counting::<16>(0x40)),
        "tenant": "tenant-a",
        "bucket": "bucket-1",
        "vectors": g.vectors,
    })
}

fn rich_metadata() -> Metadata {
    let mut metadata = Metadata::default();
    for field in ContentField::ALL {
        metadata.set_content(field, field.name().as_bytes()).unwrap();
    }
    metadata.add_user(b"colour", "grün".as_bytes()).unwrap();
    metadata.add_user(b"a", b"").unwrap();
    metadata.add_user(b"sealgate", b"an ordinary name").unwrap();
    let sum = Checksum::new(ChecksumAlgorithm::Crc64Nvme, ChecksumType::FullObject, &[1, 2, 3, 4, 5, 6, 7, 8]);
    metadata.set_checksum(&sum.unwrap()).unwrap();
    metadata.set_content_md5([5; 16]).unwrap();
    metadata.set_written_at(Timestamp::from_unix_millis(1_700_000_000_000)).unwrap();
    metadata
}

fn valid_vectors(g: &mut Generator) {
    for len in [0, 1, 65_535, 65_536, 65_537, 4_194_304] {
        let recipe = Recipe { recovery: len % 2 == 1, ..g.recipe(&by_rule(len, 31)) };
        g.valid(&format!("simple, {len} bytes"), WrapAlg::Local, &recipe);
    }
    let recipe = g.recipe(b"wrapped by AES-KW");
    g.valid("simple, wrapped by AES-KW", WrapAlg::AesKw, &recipe);
    let recipe = Recipe { metadata: rich_metadata(), recovery: true, ..g.recipe(b"with metadata") };
    g.valid("simple, every kind of metadata", WrapAlg::Local, &recipe);
    let mut metadata = Metadata::default();
    metadata.add_user(b"m", &[b'x'; 1344 - 6]).unwrap();
    let recipe = Recipe { metadata, ..g.recipe(b"") };
    g.valid("simple, as much metadata as fits", WrapAlg::Local, &recipe);
    for &algorithm in ChecksumAlgorithm::ALL {
        let value = vec![algorithm as u8; algorithm.value_len()];
        let checksum = Checksum::new(algorithm, ChecksumType::FullObject, &value).unwrap();
        let recipe = Recipe { digests: Digests { md5: None, checksum: Some((checksum, 0)) }, ..g.recipe(b"sum") };
        g.valid(&format!("simple, checksum {} in the trailer", algorithm.name()), WrapAlg::Local, &recipe);
    }
    let parts = vec![part(g, 2, 4_194_304, true), part(g, 9, 70_000, true)];
    let checksum = Checksum::new(ChecksumAlgorithm::Sha1, ChecksumType::Composite, &[7; 20]).unwrap();
    let digests = Digests { md5: Some([9; 16]), checksum: Some((checksum, 2)) };
    let recipe = Recipe { content: Content::Multipart(parts), digests, recovery: true, ..g.recipe(b"") };
    g.valid("two parts, composite checksum", WrapAlg::Local, &recipe);
    let parts = vec![part(g, 1, 4_194_305, false), part(g, 2, 65_536, false)];
    let recipe = Recipe { content: Content::Multipart(parts), ..g.recipe(b"") };
    g.valid("two unpinned parts", WrapAlg::Local, &recipe);
    let parts = vec![part(g, 10_000, 0, true)];
    let recipe = Recipe { content: Content::Multipart(parts), ..g.recipe(b"") };
    g.valid("one empty part, numbered 10000, wrapped by AES-KW", WrapAlg::AesKw, &recipe);
}

fn at() -> Address {
    address("tenant-a", "bucket-1", b"vectors/refused")
}

fn refused_headers(g: &mut Generator) {
    let (local, at) = (kek(WrapAlg::Local), at());
    let recipe = g.recipe(b"one failure each");
    let sealed = recipe.seal(&local, &at);
    let dek = recipe.dek();
    let mut with = |what: &str, forge: &dyn Fn(&mut ForgedHeader<'_>)| {
        let mut header = ForgedHeader::of(&sealed.header, &[], &dek, &at);
        forge(&mut header);
        g.refused(what, WrapAlg::Local, &Stored { header: header.seal(), body: sealed.body.clone() });
    };
    let tlv = |fields: &[(u8, &[u8])]| -> Vec<u8> {
        let encode = |(tag, value): &(u8, &[u8])| [&[*tag][..], &(value.len() as u16).to_be_bytes(), value].concat();
        fields.iter().flat_map(encode).collect()
    };
    with("TLV type 80 repeated", &|h| h.tlv = tlv(&[(0x80, b"a"), (0x80, b"b")]));
    with("TLV type 7f", &|h| h.tlv = tlv(&[(0x7f, b"")]));
    with("TLV type 31 in an object", &|h| h.tlv = tlv(&[(0x31, &[1, 1])]));
    with("NUL in Cache-Control", &|h| h.tlv = tlv(&[(5, b"a\0b")]));
    with("LF in a metadata value", &|h| h.tlv = tlv(&[(0x10, b"\0\x01na\n")]));
    with("CR in a metadata name", &|h| h.tlv = tlv(&[(0x10, b"\0\x02n\rv")]));
    with("checksum type 0", &|h| h.tlv = tlv(&[(0x20, &[1, 0, 0, 0, 0, 0])]));
    with("checksum type 3", &|h| h.tlv = tlv(&[(0x20, &[1, 3, 0, 0, 0, 0])]));
    with("written_at of 9 bytes", &|h| h.tlv = tlv(&[(0x22, &[0; 9])]));
    with("wrap algorithm 0, authenticated", &|h| h.fixed[20] = 0);
    with("wrap algorithm 16, authenticated", &|h| h.fixed[20] = 0x10);
    with("wrap algorithm 2 with 48 bytes", &|h| h.fixed[20] = 2);
    with("another KEK's id, authenticated", &|h| h.fixed[4] ^= 1);
    for (what, sealed_len) in [("sealed metadata of 1 byte", 1), ("sealed metadata of 16 bytes", 16)] {
        let bytes = URL_SAFE_NO_PAD.decode(&sealed.header).unwrap();
        let mut short = bytes[..127].to_vec();
        short.extend((sealed_len as u16).to_be_bytes());
        short.resize(129 + sealed_len, 0);
        let header = retag(&short, &recipe, &at);
        g.refused(what, WrapAlg::Local, &Stored { header, body: sealed.body.clone() });
    }
    let twice = format!("{},{}", sealed.header, sealed.header);
    g.refused("two headers joined by a comma", WrapAlg::Local, &Stored { header: twice, body: sealed.body.clone() });
    let long = "A".repeat(2029);
    g.refused("a header of 2029 characters", WrapAlg::Local, &Stored { header: long, body: sealed.body.clone() });
    let kw = kek(WrapAlg::AesKw);
    let sealed_kw = recipe.seal(&kw, &at);
    let mut bytes = URL_SAFE_NO_PAD.decode(&sealed_kw.header).unwrap();
    bytes[23] ^= 1;
    let header = URL_SAFE_NO_PAD.encode(&bytes);
    g.refused("AES-KW: a bit of the wrapped key", WrapAlg::AesKw, &Stored { header, body: sealed_kw.body.clone() });
    let elsewhere = recipe.seal(&kw, &address("tenant-a", "bucket-1", b"vectors/elsewhere"));
    g.refused("AES-KW: the header of another key", WrapAlg::AesKw, &elsewhere);
    let mut metadata = Metadata::default();
    metadata.set_content_md5([1; 16]).unwrap();
    let digests = Digests { md5: Some([2; 16]), checksum: None };
    let stored = Recipe { metadata, digests, ..recipe.clone() }.seal(&local, &at);
    g.refused("MD5 of the header is not that of the trailer", WrapAlg::Local, &stored);
    for (what, other) in [("another value", [1, 2, 3, 5]), ("another algorithm", [1, 2, 3, 4])] {
        let algorithm = if what == "another value" { ChecksumAlgorithm::Crc32 } else { ChecksumAlgorithm::Crc32c };
        let mut metadata = Metadata::default();
        let full = ChecksumType::FullObject;
        let stated = Checksum::new(ChecksumAlgorithm::Crc32, full, &[1, 2, 3, 4]).unwrap();
        metadata.set_checksum(&stated).unwrap();
        let digests = Digests { md5: None, checksum: Some((Checksum::new(algorithm, full, &other).unwrap(), 0)) };
        let stored = Recipe { metadata, digests, ..recipe.clone() }.seal(&local, &at);
        g.refused(&format!("checksum of the header and the trailer: {what}"), WrapAlg::Local, &stored);
    }
}

/// A tag over any bytes in place of a header's.
fn retag(untagged: &[u8], recipe: &Recipe, at: &Address) -> String {
    let dek = recipe.dek();
    let context = sealgate::format::context::Context::object(at);
    let keys = dek.prk().expand::<32>(&[b"sealgate/v1/header\0\x01", &recipe.hdr_nonce]);
    let len = (context.as_bytes().len() as u32).to_be_bytes();
    let mac = sealgate::digest::HmacSha512::new(keys.expose_secret());
    let mac = mac.mac([&b"sealgate/v1/header-tag\0"[..], &len, context.as_bytes(), untagged]);
    URL_SAFE_NO_PAD.encode([untagged, &mac[..32]].concat())
}

fn refused_tails(g: &mut Generator) {
    let (local, at) = (kek(WrapAlg::Local), at());
    let recipe = Recipe { recovery: true, ..g.recipe(b"one failure each") };
    let header = recipe.header(&local, &at).to_text();
    let dek = recipe.dek();
    let (segments, _) = recipe.sealed(None);
    let record = recipe.record(&local, &at).unwrap();
    let Content::Simple { salt, .. } = recipe.content.clone() else { unreachable!() };
    let fields = TrailerFields::new(1, &[(0, 16, salt)]);
    let total = 528;
    let mut push = |what: &str, tail: &ForgedTail| {
        let body = tail.body(&dek, &segments, total);
        assert_eq!(body.len(), total, "{what}");
        g.refused(what, WrapAlg::Local, &Stored { header: header.clone(), body });
    };
    let mut trailer = |what: &str, edit: &dyn Fn(&mut TrailerFields)| {
        let mut changed = fields.clone();
        edit(&mut changed);
        push(&format!("trailer: {what}"), &ForgedTail::new(changed.encode(), &record));
    };
    trailer("version 0", &|t| t.version = 0);
    trailer("kind 3", &|t| t.kind = 3);
    trailer("flag 4", &|t| t.flags = 4);
    trailer("an MD5 without its flag", &|t| t.md5[15] = 1);
    trailer("a checksum type without the flag", &|t| t.over = 1);
    trailer("a count of parts without the flag", &|t| t.parts = 1);
    trailer("a checksum value without the flag", &|t| t.value[63] = 1);
    let flagged = |t: &mut TrailerFields| (t.flags, t.algorithm, t.over) = (2, 1, 1);
    trailer("checksum algorithm 0", &|t| (flagged(t), t.algorithm = 0).1);
    trailer("checksum algorithm 11", &|t| (flagged(t), t.algorithm = 11).1);
    trailer("checksum type 0", &|t| (flagged(t), t.over = 0).1);
    trailer("checksum type 3", &|t| (flagged(t), t.over = 3).1);
    trailer("a value behind the checksum's length", &|t| (flagged(t), t.value[4] = 1).1);
    trailer("FULL_OBJECT with a count", &|t| (flagged(t), t.parts = 1).1);
    trailer("COMPOSITE without a count", &|t| (flagged(t), t.over = 2).1);
    trailer("no entry", &|t| (t.count, t.entries) = (0, Vec::new()));
    trailer("a count of entries that wraps", &|t| t.count = u32::MAX);
    trailer("entries of 35 bytes, all of them there", &|t| {
        (t.entry_len, t.ext_len) = (35, Some(1));
    });
    trailer("a byte that no field claims", &|t| (t.ext, t.ext_len) = (vec![0x80], Some(0)));
    trailer("an extension longer than what is there", &|t| t.ext_len = Some(1));
    trailer("a critical extension", &|t| t.ext = vec![0x7f, 0, 0]);
    trailer("an extension of type 0", &|t| t.ext = vec![0, 0, 0]);
    trailer("extensions that do not ascend", &|t| t.ext = vec![0x81, 0, 0, 0x80, 0, 0]);
    trailer("an extension cut short", &|t| t.ext = vec![0x80, 0, 1]);
    trailer("a true length", &|t| t.true_len = 16);
    trailer("part number 1 in a simple object", &|t| t.entries[0].0 = 1);
    trailer("an entry of another length", &|t| t.entries[0].1 = 15);
    trailer("another total", &|t| t.p = 17);
    trailer("another salt", &|t| t.entries[0].2[0] ^= 1);
    trailer("unpinned in a simple object", &|t| t.entries[0].2 = [0; 24]);
    let good = ForgedTail::new(fields.encode(), &record);
    push("footer: reserved bytes", &ForgedTail { reserved: 1, ..good.clone() });
    push("footer: a record of 87 bytes", &ForgedTail { record: record[..87].to_vec(), ..good.clone() });
    push("footer: a record of 89 bytes", &ForgedTail { record: [&record[..], &[0]].concat(), ..good.clone() });
    push("footer: a record that is not announced", &ForgedTail { record_len: Some(0), ..good.clone() });
    push("footer: a salt that is not the synthetic one", &ForgedTail { tsalt: Some([3; 16]), ..good.clone() });
    let mut foreign = record;
    foreign[16] ^= 1;
    push("record: another object's nonce", &ForgedTail { record: foreign.to_vec(), ..good.clone() });
    let long = TrailerFields { ext: vec![0x80, 0, 0, 0x81, 0, 0], entry_extra: Vec::new(), ..fields.clone() };
    let mut too_long = long;
    too_long.ext.extend([0x82, 0, 0]);
    too_long.entry_len = 36 + 220;
    too_long.entry_extra = vec![0; 220];
    push("trailer: one byte longer than it may be", &ForgedTail::new(too_long.encode(), &record));
    let mut padded = recipe.body(Some(&record));
    padded[32] = 1;
    g.refused("the first padding byte is not zero", WrapAlg::Local, &Stored { header, body: padded });
}

fn refused_parts(g: &mut Generator) {
    let (local, at) = (kek(WrapAlg::Local), at());
    let dek_bytes = g.draw();
    let one = Part { number: 1, salt: g.draw(), plaintext: b"one failure each".to_vec(), pinned: true };
    let mut recipe = Recipe { dek: dek_bytes, content: Content::Multipart(vec![one.clone()]), ..g.recipe(b"") };
    recipe.dek = dek_bytes;
    let header = recipe.header(&local, &at).to_text();
    let dek = recipe.dek();
    let segments = recipe.sealed(None).0;
    let total = 528;
    let entry = (1, 16, one.salt);
    let mut push = |what: &str, segments: &[u8], fields: &TrailerFields| {
        let body = ForgedTail::new(fields.encode(), &[]).body(&dek, segments, total);
        assert_eq!(body.len(), total, "{what}");
        g.refused(&format!("multipart: {what}"), WrapAlg::Local, &Stored { header: header.clone(), body });
    };
    let good = TrailerFields::new(2, &[entry]);
    push("trailer of kind 1", &segments, &TrailerFields { kind: 1, ..good.clone() });
    push("equal part numbers", &segments, &TrailerFields::new(2, &[entry, (1, 0, [1; 24])]));
    push(
        "a part longer than 2^46",
        &segments,
        &TrailerFields { p: 16, ..TrailerFields::new(2, &[(1, (1 << 46) + 1, one.salt)]) },
    );
    push(
        "lengths that wrap to the total",
        &segments,
        &TrailerFields { p: 16, ..TrailerFields::new(2, &[(1, u64::MAX - 15, one.salt), (2, 32, one.salt)]) },
    );
    push("a sum that is not the total", &segments, &TrailerFields::new(2, &[(1, 15, one.salt)]));
    // an extension so long that the trailer begins within the last chunk
    let long = TrailerFields { entry_len: 336, entry_extra: vec![0; 300], ..good.clone() };
    push("segments that reach into the tail", &segments, &long);
    let mut unpinned = good.clone();
    unpinned.entries[0].2 = [0; 24];
    for (what, at) in [("magic", 0), ("number", 7), ("length", 15), ("salt", 16), ("commitment", 40)] {
        let mut changed = segments.clone();
        changed[at] ^= 1;
        push(&format!("unpinned part, one bit of the {what} in its head"), &changed, &unpinned);
    }
    let other = crate::support::seal_part(&crate::support::data_key(&[9; 32]), &one);
    push("unpinned part of another upload", &other, &unpinned);
}

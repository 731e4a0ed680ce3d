//! Sealing and opening whole objects in memory, and forging ones that the library would not seal.
//!
//! Each test binary uses a part of it.
#![allow(dead_code)]

pub mod forge;
pub mod python;

use std::sync::Arc;

use sealgate::crypto::random::Fresh;
use sealgate::crypto::wrap::{DataKey, Kek, KekId, RECORD_LEN, WrapAlg};
use sealgate::format::OpenError;
use sealgate::format::context::Context;
use sealgate::format::envelope::{Draft, Envelope, Header, HeaderBody, Unverified};
use sealgate::format::layout::Layout;
use sealgate::format::metadata::Metadata;
use sealgate::format::open::{BodyReader, Opened, Want, needs_trailer};
use sealgate::format::parts::PartSealer;
use sealgate::format::seal::ObjectSealer;
use sealgate::format::suite::{CHUNK_LEN, Salt};
use sealgate::format::trailer::{
    Digests, Entry, FOOTER_LEN, Footer, OpenedTail, Tail, Trailer, record_nonce, seal_tail,
};
use sealgate::object::{Address, ObjectKey, PartNumber, PlaintextRange};
use sealgate::secret::Secret;

pub fn hex(text: &str) -> Vec<u8> {
    let mut out = vec![0; text.len() / 2];
    sealgate::crypto::wrap::decode_hex(text, &mut out).expect("hexadecimal");
    out
}

pub fn to_hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut out, byte| {
        write!(out, "{byte:02x}").unwrap();
        out
    })
}

pub fn sha256(bytes: &[u8]) -> String {
    to_hex(&sealgate::digest::sha256(&[bytes]))
}

pub fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().expect("the right length")
}

/// N bytes counting up from `first`.
pub fn counting<const N: usize>(first: u8) -> [u8; N] {
    std::array::from_fn(|i| first.wrapping_add(i as u8))
}

pub fn address(tenant: &str, bucket: &str, key: &[u8]) -> Address {
    Address { tenant: tenant.parse().unwrap(), bucket: bucket.parse().unwrap(), key: ObjectKey::new(key).unwrap() }
}

pub fn kek(alg: WrapAlg) -> Kek {
    Kek::new(KekId::from_bytes(counting(0x40)), alg, Secret::from_bytes(counting(0))).unwrap()
}

pub fn data_key(bytes: &[u8]) -> DataKey {
    DataKey::new(Secret::from_slice(bytes).expect("32 bytes"))
}

/// Everything that sealing draws or is given, so that it can be done twice.
#[derive(Clone)]
pub struct Recipe {
    pub dek: [u8; 32],
    pub hdr_nonce: [u8; 24],
    pub metadata: Metadata,
    pub digests: Digests,
    pub recovery: bool,
    pub content: Content,
}

#[derive(Clone)]
pub enum Content {
    Simple { salt: Salt, plaintext: Vec<u8> },
    Multipart(Vec<Part>),
}

#[derive(Clone)]
pub struct Part {
    pub number: u32,
    pub salt: Salt,
    pub plaintext: Vec<u8>,
    pub pinned: bool,
}

/// A stored object: what the provider has.
#[derive(Clone)]
pub struct Stored {
    pub header: String,
    pub body: Vec<u8>,
}

impl Recipe {
    pub fn simple(plaintext: &[u8]) -> Self {
        Self {
            dek: counting(0x80),
            hdr_nonce: counting(0xc0),
            metadata: Metadata::default(),
            digests: Digests::default(),
            recovery: false,
            content: Content::Simple { salt: counting(0xa0), plaintext: plaintext.to_vec() },
        }
    }

    pub fn multipart(parts: Vec<Part>) -> Self {
        Self { content: Content::Multipart(parts), ..Self::simple(b"") }
    }

    pub fn dek(&self) -> DataKey {
        data_key(&self.dek)
    }

    pub fn plaintext(&self) -> Vec<u8> {
        match &self.content {
            Content::Simple { plaintext, .. } => plaintext.clone(),
            Content::Multipart(parts) => parts.iter().flat_map(|part| part.plaintext.clone()).collect(),
        }
    }

    pub fn header(&self, kek: &Kek, address: &Address) -> Header {
        let body = match &self.content {
            Content::Simple { salt, plaintext } => HeaderBody::Simple { salt: *salt, p: plaintext.len() as u64 },
            Content::Multipart(_) => HeaderBody::Multipart,
        };
        let context = Context::object(address);
        let hdr_nonce = Fresh::danger_from_bytes(self.hdr_nonce);
        let draft = Draft { body, hdr_nonce, metadata: &self.metadata, context: &context };
        let dek = self.dek();
        let wrapped = kek.wrap(&draft.binding(), &dek).unwrap();
        draft.seal(&wrapped, &dek).unwrap()
    }

    pub fn record(&self, kek: &Kek, address: &Address) -> Option<[u8; RECORD_LEN]> {
        let dek = self.dek();
        let seal = || kek.seal_record(1, address.tenant.as_str(), &record_nonce(&dek), &dek).unwrap();
        self.recovery.then(seal)
    }

    /// The chunks with the heads of parts, and the tail.
    pub fn sealed(&self, record: Option<&[u8; RECORD_LEN]>) -> (Vec<u8>, Tail) {
        let dek = self.dek();
        match &self.content {
            Content::Simple { salt, plaintext } => {
                let sealer = ObjectSealer::new(&dek, Fresh::danger_from_bytes(*salt), plaintext.len() as u64).unwrap();
                let (body, finisher) = seal_simple_chunks(sealer, plaintext);
                (body, finisher.finish(&dek, self.digests.clone(), record).unwrap())
            }
            Content::Multipart(parts) => {
                let mut body = Vec::new();
                for part in parts {
                    body.extend(seal_part(&dek, part));
                }
                let entries = parts
                    .iter()
                    .map(|part| Entry {
                        part_no: part.number,
                        p: part.plaintext.len() as u64,
                        salt: if part.pinned { part.salt } else { [0; 24] },
                    })
                    .collect();
                let trailer = Trailer::multipart(entries, self.digests.clone()).unwrap();
                let tail = seal_tail(&dek, &trailer, record, body.len() as u64).unwrap();
                (body, tail)
            }
        }
    }

    pub fn body(&self, record: Option<&[u8; RECORD_LEN]>) -> Vec<u8> {
        let (mut body, tail) = self.sealed(record);
        body.resize(body.len() + tail.padding as usize, 0);
        body.extend_from_slice(&tail.bytes);
        body
    }

    pub fn seal(&self, kek: &Kek, address: &Address) -> Stored {
        let record = self.record(kek, address);
        Stored { header: self.header(kek, address).to_text(), body: self.body(record.as_ref()) }
    }
}

fn seal_simple_chunks(mut sealer: ObjectSealer, plaintext: &[u8]) -> (Vec<u8>, sealgate::format::seal::Finisher) {
    let mut body = Vec::new();
    let mut rest = plaintext;
    while !sealer.next_is_last() {
        let (chunk, behind) = rest.split_at(sealer.next_len());
        let mut chunk = chunk.to_vec();
        let tag = sealer.seal_chunk(&mut chunk).unwrap();
        body.extend(chunk);
        body.extend(tag);
        rest = behind;
    }
    let mut chunk = rest.to_vec();
    let (tag, finisher) = sealer.seal_last(&mut chunk).unwrap();
    body.extend(chunk);
    body.extend(tag);
    (body, finisher)
}

pub fn seal_part(dek: &DataKey, part: &Part) -> Vec<u8> {
    let number = PartNumber::new(part.number).unwrap();
    let mut sealer =
        PartSealer::new(dek, number, part.plaintext.len() as u64, Fresh::danger_from_bytes(part.salt)).unwrap();
    let mut out = sealer.head().to_vec();
    let chunks = part.plaintext.chunks_exact(CHUNK_LEN);
    let mut last = chunks.remainder().to_vec();
    for chunk in chunks {
        let mut chunk = chunk.to_vec();
        let tag = sealer.seal_chunk(&mut chunk).unwrap();
        out.extend(chunk);
        out.extend(tag);
    }
    let tag = sealer.seal_last(&mut last).unwrap();
    out.extend(last);
    out.extend(tag);
    out
}

#[derive(Debug, PartialEq, Eq)]
pub enum Refusal {
    Format(OpenError),
    Key,
}

impl From<OpenError> for Refusal {
    fn from(error: OpenError) -> Self {
        Self::Format(error)
    }
}

pub fn envelope(kek: &Kek, address: &Address, header: &str) -> Result<Envelope, Refusal> {
    let unverified = Unverified::parse_text(header)?;
    let context = Context::object(address);
    let dek = kek.unwrap(&unverified.binding(&context), unverified.wrapped()).map_err(|_| Refusal::Key)?;
    Ok(unverified.verify_object(dek, &context)?)
}

pub fn footer(body: &[u8]) -> Result<Footer, OpenError> {
    let last = body.last_chunk::<FOOTER_LEN>().ok_or(OpenError::Size)?;
    Footer::parse(last, body.len() as u64)
}

pub fn open_tail(dek: &DataKey, body: &[u8]) -> Result<OpenedTail, OpenError> {
    let footer = footer(body)?;
    footer.open(dek, &mut body[body.len() - footer.tail_len() as usize..].to_vec())
}

/// Brings the reader what it wants, in a copy, and collects what comes out. Also checks the promised order.
pub fn drain(mut reader: BodyReader, body: &[u8]) -> Result<Vec<u8>, OpenError> {
    let piece = |want: Want| body[want.offset as usize..want.offset as usize + want.len].to_vec();
    let mut out = Vec::new();
    let mut buffer;
    let mut behind = 0;
    let held = loop {
        let Some(want) = reader.wants() else { break None };
        assert!(want.offset >= behind, "pieces ascend");
        behind = want.offset + want.len as u64;
        buffer = piece(want);
        match reader.accept(&mut buffer)? {
            Opened::Nothing => {}
            Opened::Plaintext(text) => out.extend_from_slice(text),
            Opened::Held(held) => break Some(held),
        }
    };
    while let Some(want) = reader.wants() {
        assert_eq!(want.offset, behind, "behind the chunks all is read through");
        behind += want.len as u64;
        assert!(matches!(reader.accept(&mut piece(want))?, Opened::Nothing), "and nothing comes out");
    }
    let verified = reader.finish()?;
    if let Some(held) = held {
        out.extend_from_slice(held.release(&verified));
    }
    Ok(out)
}

pub fn open_whole(kek: &Kek, address: &Address, stored: &Stored) -> Result<Vec<u8>, Refusal> {
    let envelope = Arc::new(envelope(kek, address, &stored.header)?);
    let reader = if needs_trailer(&envelope) {
        let layout = Layout::of_tail(&envelope, &open_tail(envelope.dek(), &stored.body)?)?;
        BodyReader::whole(Arc::clone(envelope.dek()), layout)?
    } else {
        BodyReader::simple(envelope, stored.body.len() as u64)?
    };
    Ok(drain(reader, &stored.body)?)
}

/// Like [`open_whole`], but always by the trailer first, as one who has the whole body can do.
pub fn open_by_trailer(kek: &Kek, address: &Address, stored: &Stored) -> Result<Vec<u8>, Refusal> {
    let envelope = envelope(kek, address, &stored.header)?;
    let layout = Layout::of_tail(&envelope, &open_tail(envelope.dek(), &stored.body)?)?;
    let reader = BodyReader::whole(Arc::clone(envelope.dek()), layout)?;
    Ok(drain(reader, &stored.body)?)
}

pub fn layout(envelope: &Envelope, body: &[u8]) -> Result<Layout, OpenError> {
    if needs_trailer(envelope) {
        Layout::of_tail(envelope, &open_tail(envelope.dek(), body)?)
    } else {
        Layout::simple(envelope, body.len() as u64)
    }
}

pub fn open_range(
    kek: &Kek,
    address: &Address,
    stored: &Stored,
    range: std::ops::Range<u64>,
) -> Result<Vec<u8>, Refusal> {
    let envelope = envelope(kek, address, &stored.header)?;
    let layout = layout(&envelope, &stored.body)?;
    let range = PlaintextRange::new(range.start, range.end).unwrap();
    Ok(drain(BodyReader::range(Arc::clone(envelope.dek()), layout, range)?, &stored.body)?)
}

/// Opens a body without its header, by its recovery record.
pub fn recover(kek: &Kek, tenant: &str, body: &[u8]) -> Result<Vec<u8>, Refusal> {
    let footer = footer(body)?;
    let tail = &body[body.len() - footer.tail_len() as usize..];
    let (_, record) = footer.record(tail).ok_or(Refusal::Key)?;
    let dek = kek.open_record(1, tenant, &record).map_err(|_| Refusal::Key)?;
    let layout = Layout::recovered(&open_tail(&dek, body)?)?;
    Ok(drain(BodyReader::whole(Arc::new(dek), layout)?, body)?)
}

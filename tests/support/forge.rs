//! Objects that the library would not seal, sealed with the right keys: so that a test shows the one rule that a
//! reader must hold, not the authentication before it. The labels are written again here, on purpose.

use aes_gcm::aead::AeadInOut;
use aes_gcm::{Aes256Gcm, KeyInit};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sealgate::crypto::wrap::{DataKey, Kek};
use sealgate::digest::HmacSha512;
use sealgate::format::context::Context;
use sealgate::format::envelope::Unverified;
use sealgate::object::Address;

pub fn gcm(key_and_nonce: &[u8; 44], aad: &[u8], text: &[u8]) -> Vec<u8> {
    let cipher = Aes256Gcm::new_from_slice(&key_and_nonce[..32]).unwrap();
    let mut out = text.to_vec();
    let nonce: [u8; 12] = key_and_nonce[32..].try_into().unwrap();
    let tag = cipher.encrypt_inout_detached(&nonce.into(), aad, out.as_mut_slice().into()).unwrap();
    out.extend_from_slice(&tag);
    out
}

/// header[0..79+W), which `edit` may change, sealed with any TLV, and the tag over what `edit_sealed` makes of it.
pub struct ForgedHeader<'a> {
    pub fixed: Vec<u8>,
    pub tlv: Vec<u8>,
    pub rest: Vec<u8>,
    pub dek: &'a DataKey,
    pub address: &'a Address,
}

impl<'a> ForgedHeader<'a> {
    /// Takes apart a header that the library sealed, with its TLV in the clear.
    pub fn of(text: &str, tlv: &[u8], dek: &'a DataKey, address: &'a Address) -> Self {
        let bytes = URL_SAFE_NO_PAD.decode(text).unwrap();
        let wrapped_len = usize::from(u16::from_be_bytes([bytes[21], bytes[22]]));
        Self { fixed: bytes[..79 + wrapped_len].to_vec(), tlv: tlv.to_vec(), rest: Vec::new(), dek, address }
    }

    pub fn nonce(&self) -> [u8; 24] {
        let wrapped_len = self.fixed.len() - 79;
        self.fixed[23 + wrapped_len..47 + wrapped_len].try_into().unwrap()
    }

    /// Wraps the data key anew for the fixed part as it is now.
    pub fn rewrap(mut self, kek: &Kek) -> Self {
        let context = Context::object(self.address);
        let nonce = self.nonce();
        let binding = sealgate::crypto::wrap::Binding {
            version: self.fixed[0],
            suite: self.fixed[1],
            kind: self.fixed[2],
            flags: self.fixed[3],
            hdr_nonce: &nonce,
            ctx: context.as_bytes(),
        };
        let wrapped = kek.wrap(&binding, self.dek).unwrap().bytes;
        self.fixed[23..23 + wrapped.len()].copy_from_slice(&wrapped);
        self
    }

    pub fn seal_bytes(&self) -> Vec<u8> {
        let suite = self.fixed[1];
        let keys = self.dek.prk().expand::<76>(&[b"sealgate/v1/header\0", &[suite], &self.nonce()]);
        let keys = keys.expose_secret();
        let mut out = self.fixed.clone();
        let sealed = if self.tlv.is_empty() {
            Vec::new()
        } else {
            gcm(&keys[32..76].try_into().unwrap(), &self.fixed, &self.tlv)
        };
        out.extend_from_slice(&(sealed.len() as u16).to_be_bytes());
        out.extend_from_slice(&sealed);
        out.extend_from_slice(&self.rest);
        let context = Context::object(self.address);
        let len = (context.as_bytes().len() as u32).to_be_bytes();
        let mac = HmacSha512::new(&keys[..32]).mac([&b"sealgate/v1/header-tag\0"[..], &len, context.as_bytes(), &out]);
        out.extend_from_slice(&mac[..32]);
        out
    }

    pub fn seal(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.seal_bytes())
    }
}

/// A tail with any trailer and record, sealed as the format says.
#[derive(Clone)]
pub struct ForgedTail {
    pub trailer: Vec<u8>,
    pub record: Vec<u8>,
    /// Overrides the synthetic salt.
    pub tsalt: Option<[u8; 16]>,
    /// Overrides the record's length in the footer.
    pub record_len: Option<u16>,
    pub reserved: u16,
}

impl ForgedTail {
    pub fn new(trailer: Vec<u8>, record: &[u8]) -> Self {
        Self { trailer, record: record.to_vec(), tsalt: None, record_len: None, reserved: 0 }
    }

    pub fn seal(&self, dek: &DataKey, total: u64) -> Vec<u8> {
        let ts = dek.prk().expand::<32>(&[b"sealgate/v1/tail\0\x01"]);
        let len = (self.trailer.len() as u32).to_be_bytes();
        let mac =
            HmacSha512::new(ts.expose_secret()).mac([&len[..], &self.trailer, &total.to_be_bytes(), &self.record]);
        let tsalt = self.tsalt.unwrap_or(mac[..16].try_into().unwrap());
        let mut footer = b"SGTRLR01".to_vec();
        footer.extend_from_slice(&tsalt);
        footer.extend_from_slice(&(self.trailer.len() as u32 + 16).to_be_bytes());
        footer.extend_from_slice(&self.record_len.unwrap_or(self.record.len() as u16).to_be_bytes());
        footer.extend_from_slice(&self.reserved.to_be_bytes());
        let keys = dek.prk().expand::<44>(&[b"sealgate/v1/trailer\0\x01", &tsalt]);
        let aad = [&footer[..], &total.to_be_bytes(), &self.record].concat();
        let sealed = gcm(keys.expose_secret(), &aad, &self.trailer);
        [&self.record[..], &sealed, &footer].concat()
    }

    /// `segments` with zeros and this tail behind them, `total` bytes in all.
    pub fn body(&self, dek: &DataKey, segments: &[u8], total: usize) -> Vec<u8> {
        let tail = self.seal(dek, total as u64);
        let mut body = segments.to_vec();
        body.resize(total.saturating_sub(tail.len()).max(segments.len()), 0);
        body.truncate(total.saturating_sub(tail.len()));
        body.extend_from_slice(&tail);
        body
    }
}

/// The fields of a trailer's plaintext, to be changed one by one.
#[derive(Clone)]
pub struct TrailerFields {
    pub version: u8,
    pub kind: u8,
    pub flags: u16,
    pub count: u32,
    pub p: u64,
    pub md5: [u8; 16],
    pub algorithm: u8,
    pub over: u8,
    pub parts: u16,
    pub entry_len: u16,
    pub ext_len: Option<u16>,
    pub value: [u8; 64],
    pub true_len: u64,
    pub entries: Vec<(u32, u64, [u8; 24])>,
    /// Bytes behind each entry, for a longer E.
    pub entry_extra: Vec<u8>,
    pub ext: Vec<u8>,
}

impl TrailerFields {
    pub fn new(kind: u8, entries: &[(u32, u64, [u8; 24])]) -> Self {
        Self {
            version: 1,
            kind,
            flags: 0,
            count: entries.len() as u32,
            p: entries.iter().map(|e| e.1).fold(0, u64::wrapping_add),
            md5: [0; 16],
            algorithm: 0,
            over: 0,
            parts: 0,
            entry_len: 36,
            ext_len: None,
            value: [0; 64],
            true_len: 0,
            entries: entries.to_vec(),
            entry_extra: Vec::new(),
            ext: Vec::new(),
        }
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![self.version, self.kind];
        out.extend(self.flags.to_be_bytes());
        out.extend(self.count.to_be_bytes());
        out.extend(self.p.to_be_bytes());
        out.extend(self.md5);
        out.extend([self.algorithm, self.over]);
        out.extend(self.parts.to_be_bytes());
        out.extend(self.entry_len.to_be_bytes());
        out.extend(self.ext_len.unwrap_or(self.ext.len() as u16).to_be_bytes());
        out.extend(self.value);
        out.extend(self.true_len.to_be_bytes());
        for (number, p, salt) in &self.entries {
            out.extend(number.to_be_bytes());
            out.extend(p.to_be_bytes());
            out.extend(salt);
            out.extend(&self.entry_extra);
        }
        out.extend(&self.ext);
        out
    }
}

/// A header that parses but claims whatever its bytes say; for tests of the order of reading.
pub fn parses(text: &str) -> bool {
    Unverified::parse_text(text).is_ok()
}

//! The keyring's bytes: the outer layout, and the sealed content's encoding. Canonical: one value, one encoding.

use super::entry::{Entry, Version, WrappedKek};
use super::slot::{
    Argon2Params, PARAMS_LEN, PASSPHRASE_SALT_LEN, PassphraseSlot, RECOVERY_SALT_LEN, RecoverySlot, WRAPPED_ROOT_LEN,
};
use super::{KeyringError, MAX_ENTRIES, MAX_KEYRING_LEN, MAX_VERSIONS};
use crate::clock::Timestamp;
use crate::crypto::aead::TAG_LEN;
use crate::crypto::wrap::{KekId, WrapAlg};
use crate::digest::{SHA256_LEN, sha256};
use crate::keys::recovery::{KIT_ID_LEN, KitDescription, KitForm, KitId};
use crate::keys::state::{KeyState, Standing};

pub(super) const MAGIC: &[u8; 8] = b"SGKEYR01";
pub(super) const VERSION: u16 = 1;
pub(super) const KEYRING_ID_LEN: usize = 16;
pub(super) const CONTENT_SALT_LEN: usize = 24;
/// Magic, version, length: what every version has first.
const PREFIX_LEN: usize = 8 + 2 + 4;
/// Everything before the sealed content.
pub(super) const HEAD_LEN: usize = PREFIX_LEN
    + KEYRING_ID_LEN
    + 8
    + PARAMS_LEN
    + PASSPHRASE_SALT_LEN
    + WRAPPED_ROOT_LEN
    + KIT_ID_LEN
    + 4
    + 8
    + RECOVERY_SALT_LEN
    + WRAPPED_ROOT_LEN
    + CONTENT_SALT_LEN;
const MIN_LEN: usize = HEAD_LEN + 2 + TAG_LEN + SHA256_LEN;

/// The part of a keyring that is in the clear.
#[derive(Clone)]
pub(super) struct Head {
    pub(super) id: [u8; KEYRING_ID_LEN],
    pub(super) generation: u64,
    pub(super) passphrase: PassphraseSlot,
    pub(super) recovery: RecoverySlot,
    pub(super) content_salt: [u8; CONTENT_SALT_LEN],
}

/// Reads front to back; every read says whether there was enough.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    fn time(&mut self) -> Option<Timestamp> {
        self.u64().map(Timestamp::from_unix_millis)
    }

    fn text(&mut self) -> Option<&'a str> {
        let len = self.u8()?;
        str::from_utf8(self.take(len.into())?).ok()
    }
}

fn length(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// Checks size, magic, length, checksum and version in this order, and decodes the head. Returns the head, its bytes
/// and the sealed content.
pub(super) fn decode_file(file: &[u8]) -> Result<(Head, &[u8], &[u8]), KeyringError> {
    let found = length(file.len());
    if found > MAX_KEYRING_LEN {
        return Err(KeyringError::TooLarge);
    }
    let begins_alike = file.iter().zip(MAGIC).all(|(a, b)| a == b);
    if !begins_alike {
        return Err(KeyringError::NotAKeyring);
    }
    let mut reader = Reader(file);
    let prefix = reader.take(MAGIC.len()).and_then(|_| Some((reader.u16()?, reader.u32()?)));
    let Some((version, expected)) = prefix else {
        return Err(KeyringError::CutShort { expected: length(MIN_LEN), found });
    };
    let expected = u64::from(expected);
    if expected > MAX_KEYRING_LEN {
        return Err(KeyringError::Damaged);
    }
    if found < expected {
        return Err(KeyringError::CutShort { expected, found });
    }
    if found > expected {
        return Err(KeyringError::Overlong { expected, found });
    }
    let (covered, checksum) = file.split_last_chunk::<SHA256_LEN>().ok_or(KeyringError::Damaged)?;
    if sha256(&[covered]) != *checksum {
        return Err(KeyringError::Damaged);
    }
    if version != VERSION {
        return Err(KeyringError::OtherVersion { found: version });
    }
    let (head_bytes, content) = covered.split_at_checked(HEAD_LEN).ok_or(KeyringError::Malformed("head"))?;
    let head = decode_head(head_bytes).ok_or(KeyringError::Malformed("head"))?;
    head.passphrase.params.check()?;
    if !head.recovery.kit.form.is_valid() {
        return Err(KeyringError::Malformed("recovery kit"));
    }
    if content.len() < 2 + TAG_LEN {
        return Err(KeyringError::Malformed("content"));
    }
    Ok((head, head_bytes, content))
}

fn decode_head(bytes: &[u8]) -> Option<Head> {
    let mut r = Reader(bytes);
    r.take(PREFIX_LEN)?;
    let id = r.array()?;
    let generation = r.u64()?;
    let params = Argon2Params { memory_kib: r.u32()?, passes: r.u32()?, lanes: r.u32()? };
    let passphrase = PassphraseSlot { params, salt: r.array()?, wrapped: r.array()? };
    let kit_id = KitId::from_bytes(r.array()?);
    let form = match (r.u8()?, r.u8()?, r.u8()?, r.u8()?) {
        (1, 0, 0, 0) => KitForm::Phrase,
        (2, threshold, count, 0) => KitForm::Shares { threshold, count },
        _ => return None,
    };
    let kit = KitDescription { id: kit_id, form, made: r.time()? };
    let recovery = RecoverySlot { kit, salt: r.array()?, wrapped: r.array()? };
    Some(Head { id, generation, passphrase, recovery, content_salt: r.array()? })
}

/// The head's bytes for a keyring whose content has `content_len` bytes before it is sealed.
pub(super) fn encode_head(head: &Head, content_len: usize) -> Result<Vec<u8>, KeyringError> {
    let total = HEAD_LEN.saturating_add(content_len).saturating_add(TAG_LEN + SHA256_LEN);
    if length(total) > MAX_KEYRING_LEN {
        return Err(KeyringError::TooLarge);
    }
    let total = u32::try_from(total).map_err(|_| KeyringError::TooLarge)?;
    let [kind, threshold, count] = match head.recovery.kit.form {
        KitForm::Phrase => [1, 0, 0],
        KitForm::Shares { threshold, count } => [2, threshold, count],
    };
    let parts: [&[u8]; 15] = [
        MAGIC,
        &VERSION.to_be_bytes(),
        &total.to_be_bytes(),
        &head.id,
        &head.generation.to_be_bytes(),
        &head.passphrase.params.to_bytes(),
        &head.passphrase.salt,
        &head.passphrase.wrapped,
        head.recovery.kit.id.as_bytes(),
        &[kind, threshold, count, 0],
        &head.recovery.kit.made.unix_millis().to_be_bytes(),
        &head.recovery.salt,
        &head.recovery.wrapped,
        &head.content_salt,
        &[],
    ];
    Ok(parts.concat())
}

const NO_STATE: u8 = 0;

/// The content's plaintext: entries in the order of their names.
pub(super) fn encode_content<'a>(entries: impl ExactSizeIterator<Item = &'a Entry>) -> Result<Vec<u8>, KeyringError> {
    fn text(out: &mut Vec<u8>, text: &str) -> Result<(), KeyringError> {
        out.push(u8::try_from(text.len()).map_err(|_| KeyringError::TooLarge)?);
        out.extend_from_slice(text.as_bytes());
        Ok(())
    }
    let mut out = Vec::new();
    let count = u16::try_from(entries.len()).ok().filter(|n| usize::from(*n) <= MAX_ENTRIES);
    out.extend_from_slice(&count.ok_or(KeyringError::TooLarge)?.to_be_bytes());
    let mut versions = 0usize;
    for entry in entries {
        text(&mut out, entry.name.as_str())?;
        text(&mut out, entry.tenant.as_str())?;
        out.push(entry.alg as u8);
        out.extend_from_slice(&entry.created.unix_millis().to_be_bytes());
        versions = versions.saturating_add(entry.versions.len());
        let count = u16::try_from(entry.versions.len()).ok().filter(|_| versions <= MAX_VERSIONS);
        out.extend_from_slice(&count.ok_or(KeyringError::TooLarge)?.to_be_bytes());
        for version in &entry.versions {
            out.extend_from_slice(&version.number.to_be_bytes());
            out.extend_from_slice(version.kek_id.as_bytes());
            out.push(version.standing.state as u8);
            out.push(version.standing.resumes_as.map_or(NO_STATE, |state| state as u8));
            out.extend_from_slice(&version.created.unix_millis().to_be_bytes());
            out.extend_from_slice(&version.changed.unix_millis().to_be_bytes());
            out.extend_from_slice(&version.check_value);
            match &version.key {
                Some(key) => {
                    out.push(1);
                    out.extend_from_slice(&key.salt);
                    out.extend_from_slice(&key.wrapped);
                }
                None => out.push(0),
            }
        }
    }
    Ok(out)
}

/// Decodes the content's plaintext; refuses whatever [`encode_content`] would not have written.
pub(super) fn decode_content(content: &[u8]) -> Result<Vec<Entry>, KeyringError> {
    let mut reader = Reader(content);
    let entries = decode_entries(&mut reader)?;
    if !reader.0.is_empty() {
        return Err(KeyringError::Malformed("end of content"));
    }
    let mut ids: Vec<KekId> = entries.iter().flat_map(|e| e.versions.iter().map(|v| v.kek_id)).collect();
    ids.sort_unstable();
    if ids.windows(2).any(|pair| matches!(pair, [a, b] if a == b)) {
        return Err(KeyringError::Malformed("KEK ids"));
    }
    Ok(entries)
}

fn decode_entries(reader: &mut Reader<'_>) -> Result<Vec<Entry>, KeyringError> {
    let malformed = || KeyringError::Malformed("entry");
    let count = reader.u16().ok_or_else(malformed)?;
    if usize::from(count) > MAX_ENTRIES {
        return Err(KeyringError::Malformed("number of entries"));
    }
    let mut entries: Vec<Entry> = Vec::new();
    let mut versions = 0usize;
    for _ in 0..count {
        let mut entry = decode_entry(reader).ok_or_else(malformed)?;
        let count = usize::from(reader.u16().ok_or_else(malformed)?);
        versions = versions.saturating_add(count);
        if count == 0 || versions > MAX_VERSIONS {
            return Err(KeyringError::Malformed("number of versions"));
        }
        for _ in 0..count {
            let version = decode_version(reader).ok_or(KeyringError::Malformed("version"))?;
            if entry.versions.last().map_or(0, |last| last.number) >= version.number {
                return Err(KeyringError::Malformed("version numbers"));
            }
            entry.versions.push(version);
        }
        if entry.versions.iter().filter(|version| version.standing.is_or_resumes_active()).count() > 1 {
            return Err(KeyringError::Malformed("more than one sealing version"));
        }
        if entries.last().is_some_and(|last| last.name >= entry.name) {
            return Err(KeyringError::Malformed("order of names"));
        }
        entries.push(entry);
    }
    Ok(entries)
}

fn decode_entry(r: &mut Reader<'_>) -> Option<Entry> {
    let name = r.text()?.parse().ok()?;
    let tenant = r.text()?.parse().ok()?;
    let alg = WrapAlg::from_byte(r.u8()?).filter(|alg| *alg != WrapAlg::Service)?;
    Some(Entry { name, tenant, alg, created: r.time()?, versions: Vec::new() })
}

fn decode_version(r: &mut Reader<'_>) -> Option<Version> {
    let number = r.u32()?;
    let kek_id = KekId::from_bytes(r.array()?);
    let state = KeyState::from_byte(r.u8()?)?;
    let resumes_as = match r.u8()? {
        NO_STATE => None,
        byte => Some(KeyState::from_byte(byte)?),
    };
    let standing = Standing { state, resumes_as };
    let (created, changed, check_value) = (r.time()?, r.time()?, r.array()?);
    let key = match r.u8()? {
        0 => None,
        1 => Some(WrappedKek { salt: r.array()?, wrapped: r.array()? }),
        _ => return None,
    };
    let consistent = standing.is_consistent() && key.is_none() == (state == KeyState::Destroyed);
    consistent.then_some(Version { number, kek_id, standing, created, changed, check_value, key })
}

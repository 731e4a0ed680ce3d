//! KEKs in the clear, for moving them between programs: `{"<kek id, hex>": "<KEK, hex>", …}` and a line end.
//!
//! Which algorithm a KEK wraps by, whose it is and its state are not in this form. It is written and read here byte
//! by byte: a JSON library would leave copies of the keys in its buffers.

use subtle::ConstantTimeEq;
use thiserror::Error;
use zeroize::Zeroizing;

use super::{ChangeError, Entry, Keyring, MAX_ENTRIES, MAX_VERSIONS};
use crate::clock::Timestamp;
use crate::crypto::random::RandomSource;
use crate::crypto::wrap::{KEK_ID_LEN, KEY_LEN, Kek, KekId, WrapAlg, decode_hex};
use crate::keys::state::KeyState;
use crate::keys::{EntryName, KeyError};
use crate::object::TenantId;
use crate::secret::Secret;

/// A text that is not of this form. It says where, and never what stands there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("byte {at}: {expected} expected")]
pub struct ExchangeError {
    /// Offset in the text.
    pub at: usize,
    /// What should stand there.
    pub expected: &'static str,
}

/// KEKs in the clear with their ids.
pub struct PlainKeys(Vec<(KekId, Secret<[u8; KEY_LEN]>)>);

/// Bytes of one `"id": "key"` with separators, at most.
const PAIR_LEN: usize = 2 * (KEK_ID_LEN + KEY_LEN) + 10;

impl PlainKeys {
    /// How many keys there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// A copy of one key, for one use.
    pub(in crate::keys) fn copy_of(&self, id: KekId) -> Option<Secret<[u8; KEY_LEN]>> {
        let (_, secret) = self.0.iter().find(|(other, _)| *other == id)?;
        Some(Secret::filled_by(|out| out.copy_from_slice(secret.expose_secret())))
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The text. The caller must give it to nobody but the customer.
    #[must_use]
    pub fn danger_plaintext(&self) -> Zeroizing<Vec<u8>> {
        // Room for all of it: a buffer that grows leaves copies behind.
        let mut out = Zeroizing::new(Vec::with_capacity(self.0.len().saturating_mul(PAIR_LEN).saturating_add(8)));
        out.push(b'{');
        for (index, (id, key)) in self.0.iter().enumerate() {
            out.extend_from_slice(if index == 0 { b"\n  " } else { b",\n  " });
            push_hex(&mut out, id.as_bytes());
            out.extend_from_slice(b": ");
            push_hex(&mut out, key.expose_secret());
        }
        out.extend_from_slice(b"\n}\n");
        out
    }

    /// Reads the text: one object, strings without escapes, no id twice.
    pub fn parse(text: &[u8]) -> Result<Self, ExchangeError> {
        let mut scanner = Scanner { text, at: 0 };
        let mut keys: Vec<(KekId, Secret<[u8; KEY_LEN]>)> = Vec::new();
        scanner.token(b'{', "'{'")?;
        if scanner.peek() == Some(b'}') {
            scanner.token(b'}', "'}'")?;
        } else {
            loop {
                let at = scanner.at;
                let mut id = [0; KEK_ID_LEN];
                scanner.hex_string(&mut id, "a KEK id of 32 hexadecimal digits in quotes")?;
                let id = KekId::from_bytes(id);
                if keys.iter().any(|(known, _)| *known == id) {
                    return Err(ExchangeError { at, expected: "another KEK id (this one stands there twice)" });
                }
                if keys.len() >= MAX_VERSIONS {
                    return Err(ExchangeError { at, expected: "the end (there are too many keys)" });
                }
                scanner.token(b':', "':'")?;
                let mut key = Secret::<[u8; KEY_LEN]>::zeroed();
                scanner.hex_string(key.expose_secret_mut(), "a key of 64 hexadecimal digits in quotes")?;
                keys.push((id, key));
                if scanner.peek() == Some(b',') {
                    scanner.token(b',', "','")?;
                } else {
                    scanner.token(b'}', "',' or '}'")?;
                    break;
                }
            }
        }
        match scanner.peek() {
            None => Ok(Self(keys)),
            Some(_) => Err(ExchangeError { at: scanner.at, expected: "the end" }),
        }
    }
}

fn push_hex(out: &mut Vec<u8>, bytes: &[u8]) {
    let digit = |nibble: u8| if nibble < 10 { b'0' + nibble } else { b'a' + (nibble - 10) };
    out.push(b'"');
    for byte in bytes {
        out.extend_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
    }
    out.push(b'"');
}

struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
}

impl Scanner<'_> {
    /// The next byte that is no white space.
    fn peek(&mut self) -> Option<u8> {
        while let Some(b' ' | b'\t' | b'\r' | b'\n') = self.text.get(self.at) {
            self.at = self.at.saturating_add(1);
        }
        self.text.get(self.at).copied()
    }

    fn token(&mut self, byte: u8, expected: &'static str) -> Result<(), ExchangeError> {
        if self.peek() != Some(byte) {
            return Err(ExchangeError { at: self.at, expected });
        }
        self.at = self.at.saturating_add(1);
        Ok(())
    }

    fn hex_string(&mut self, out: &mut [u8], expected: &'static str) -> Result<(), ExchangeError> {
        self.token(b'"', expected)?;
        let start = self.at;
        let end = start.saturating_add(out.len().saturating_mul(2));
        let hex = self.text.get(start..end).and_then(|hex| str::from_utf8(hex).ok());
        hex.and_then(|hex| decode_hex(hex, out)).ok_or(ExchangeError { at: start, expected })?;
        self.at = end;
        if self.text.get(end) != Some(&b'"') {
            return Err(ExchangeError { at: end, expected });
        }
        self.at = end.saturating_add(1);
        Ok(())
    }
}

/// Where imported keys go.
#[derive(Clone, Copy, Debug)]
pub struct ImportTarget<'a> {
    /// The entry, new or existing.
    pub name: &'a EntryName,
    /// Its tenant: an existing entry's own.
    pub tenant: &'a TenantId,
    /// Its algorithm: an existing entry's own.
    pub alg: WrapAlg,
    /// Whether the only key is to seal from now on; otherwise all only open.
    pub active: bool,
}

impl Keyring {
    /// The KEKs of the named entries, or of all, in the clear: every version that is not destroyed, whatever else its
    /// state. This is the customer's own exit, and the end of this keyring's protection for these keys.
    pub fn danger_export(&self, names: &[EntryName]) -> Result<PlainKeys, ChangeError> {
        if let Some(unknown) = names.iter().find(|name| self.entry(name).is_none()) {
            return Err(ChangeError::NoEntry(unknown.clone()));
        }
        let chosen = |entry: &&Entry| names.is_empty() || names.contains(&entry.name);
        let mut keys = Vec::new();
        for entry in self.entries().filter(chosen) {
            for version in &entry.versions {
                match self.kek(entry, version) {
                    Ok(kek) => keys.push((kek.id(), Secret::filled_by(|out| out.copy_from_slice(kek.expose_secret())))),
                    Err(KeyError::Revoked(_)) => {}
                    Err(_) => return Err(super::KeyringError::Malformed("KEK").into()),
                }
            }
        }
        Ok(PlainKeys(keys))
    }

    /// Takes keys in as versions of one entry, in their order; their ids and the keys themselves must be new to the
    /// keyring. They are deactivated (they open, they do not seal), except that a single one may be made active, which
    /// retires the one before it. All or none are taken.
    pub fn import(
        &mut self,
        keys: &PlainKeys,
        target: ImportTarget<'_>,
        now: Timestamp,
        random: &RandomSource,
    ) -> Result<Vec<u32>, ChangeError> {
        let ImportTarget { name, tenant, alg, active } = target;
        if keys.is_empty() {
            return Err(ChangeError::NoKeys);
        }
        if active && keys.len() != 1 {
            return Err(ChangeError::OneActive);
        }
        if self.total_versions().saturating_add(keys.len()) > MAX_VERSIONS {
            return Err(ChangeError::Full);
        }
        self.check_new(keys)?;
        let known = self.entries.remove(name);
        let is_new = known.is_none();
        if is_new && self.entries.len() >= MAX_ENTRIES {
            return Err(ChangeError::Full);
        }
        let mut entry = known.unwrap_or_else(|| Entry {
            name: name.clone(),
            tenant: tenant.clone(),
            alg,
            created: now,
            versions: Vec::new(),
        });
        let before = entry.versions.len();
        let imported = self.import_into(&mut entry, keys, target, now, random);
        if imported.is_err() {
            entry.versions.truncate(before);
        }
        if imported.is_ok() || !is_new {
            self.entries.insert(name.clone(), entry);
        }
        imported
    }

    /// Refuses zeros, and a key that is there already: it would outlive the destruction of either.
    fn check_new(&self, keys: &PlainKeys) -> Result<(), ChangeError> {
        for (position, (id, key)) in keys.0.iter().enumerate() {
            if let Some((_, version)) = self.find(*id) {
                let destroyed = version.standing.state == KeyState::Destroyed;
                return Err(ChangeError::KekIdTaken { id: *id, destroyed });
            }
            if bool::from(key.expose_secret().ct_eq(&[0; KEY_LEN])) {
                return Err(ChangeError::ZeroKey(*id));
            }
            same_key(key.expose_secret(), keys.0.iter().take(position))
                .map_or(Ok(()), |known| Err(ChangeError::KeyTaken { given: *id, known }))?;
        }
        for entry in self.entries() {
            for version in &entry.versions {
                let kek = match self.kek(entry, version) {
                    Ok(kek) => kek,
                    Err(KeyError::Revoked(_)) => continue,
                    Err(_) => return Err(super::KeyringError::Malformed("KEK").into()),
                };
                if let Some(given) = same_key(kek.expose_secret(), keys.0.iter()) {
                    return Err(ChangeError::KeyTaken { given, known: version.kek_id });
                }
            }
        }
        Ok(())
    }

    fn import_into(
        &self,
        entry: &mut Entry,
        keys: &PlainKeys,
        target: ImportTarget<'_>,
        now: Timestamp,
        random: &RandomSource,
    ) -> Result<Vec<u32>, ChangeError> {
        if entry.tenant != *target.tenant {
            return Err(ChangeError::OtherTenant(entry.name.clone()));
        }
        if entry.alg != target.alg {
            return Err(ChangeError::OtherAlgorithm(entry.name.clone()));
        }
        let mut numbers = Vec::with_capacity(keys.len());
        for (id, secret) in &keys.0 {
            let copy = Secret::filled_by(|out| out.copy_from_slice(secret.expose_secret()));
            let kek = Kek::new(*id, entry.alg, copy).ok_or(ChangeError::Service)?;
            numbers.push(self.put_version(entry, &kek, KeyState::Deactivated, now, random)?);
        }
        if target.active {
            for number in &numbers {
                super::make_active(entry, *number, now);
            }
        }
        Ok(numbers)
    }
}

/// The id of the one among `keys` that has these bytes.
fn same_key<'a>(
    key: &[u8; KEY_LEN],
    mut keys: impl Iterator<Item = &'a (KekId, Secret<[u8; KEY_LEN]>)>,
) -> Option<KekId> {
    keys.find(|(_, other)| bool::from(key.ct_eq(other.expose_secret()))).map(|(id, _)| *id)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "000102030405060708090a0b0c0d0e0f";
    const KEY: &str = "202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f";

    #[test]
    fn what_is_written_is_read_and_is_json() {
        let key = |byte| (KekId::from_bytes([byte; 16]), Secret::from_bytes([byte; 32]));
        for keys in [PlainKeys(vec![]), PlainKeys(vec![key(1)]), PlainKeys(vec![key(0xab), key(2), key(3)])] {
            let text = keys.danger_plaintext();
            assert!(text.ends_with(b"\n") && text.capacity() >= text.len());
            let read = PlainKeys::parse(&text).unwrap();
            assert_eq!(read.len(), keys.len());
            let json: std::collections::HashMap<String, String> = serde_json::from_slice(&text).unwrap();
            assert_eq!(json.len(), keys.len());
            for (id, secret) in &read.0 {
                let hex = secret.expose_secret().iter().fold(String::new(), |hex, b| hex + &format!("{b:02x}"));
                assert_eq!(json[&id.to_string()], hex);
            }
        }
    }

    #[test]
    fn anything_else_is_refused_without_being_repeated() {
        let good = format!("{{\"{ID}\":\"{KEY}\"}}");
        assert!(PlainKeys::parse(good.as_bytes()).is_ok());
        for bad in [
            String::new(),
            "{".to_owned(),
            "[]".to_owned(),
            "{} {}".to_owned(),
            format!("{good}x"),
            good.replace('}', ",}"),
            good.replace("00", "0g"),
            good.replace(':', ""),
            format!("{{\"{ID}\":\"{KEY}\",\"{ID}\":\"{KEY}\"}}"),
            format!("{{\"{ID}\":\"{KEY}00\"}}"),
            format!("{{\"{ID}\":\"{}\"}}", &KEY[2..]),
            format!("{{\"{KEY}\":\"{KEY}\"}}"),
        ] {
            let error = PlainKeys::parse(bad.as_bytes()).err().unwrap();
            assert!(!error.to_string().contains("2021"), "{error}");
        }
        for cut in 0..good.len() {
            assert!(PlainKeys::parse(&good.as_bytes()[..cut]).is_err());
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_keys_or_an_error(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            let _ = PlainKeys::parse(&bytes);
        }
    }
}

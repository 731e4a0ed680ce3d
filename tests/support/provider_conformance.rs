//! One suite that every key provider is held to.
//!
//! What it cannot see is a provider that answers with a wrong key and calls it success: that is noticed by the tag of
//! the object's header, in the format's own tests.

use std::sync::Arc;
use std::thread;

use sealgate::crypto::wrap::{Binding, DataKey, KekId, RECORD_LEN, WrapAlg, WrappedKey};
use sealgate::keys::{Action, EntryName, KeyError, KeyErrorKind, KeyProvider, KeyScope, KeyState, Purpose};
use sealgate::object::TenantId;
use sealgate::secret::Secret;

/// A provider together with its custodian's controls.
pub(crate) trait Custodian: Send + Sync {
    /// The provider as callers see it.
    fn provider(&self) -> Arc<dyn KeyProvider>;
    /// The one algorithm of its keys.
    fn alg(&self) -> WrapAlg;
    /// Makes an active key, or a pre-active one.
    fn create(&mut self, tenant: &TenantId, entry: &EntryName, prepared: bool);
    /// Takes an action on every version that it makes sense for.
    fn act(&mut self, entry: &EntryName, action: Action);
    /// Makes a new version seal.
    fn rotate(&mut self, entry: &EntryName);
}

const NONCE: [u8; 24] = [0xc0; 24];
const RNONCE: [u8; 24] = [0x0c; 24];

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

fn binding(ctx: &[u8]) -> Binding<'_> {
    Binding { version: 1, suite: 1, kind: 1, flags: 0, hdr_nonce: &NONCE, ctx }
}

fn scope(tenant: &str, entry: &str) -> KeyScope {
    KeyScope::new(tenant.parse().unwrap(), entry.parse().unwrap(), Purpose::Serve)
}

fn dek(byte: u8) -> DataKey {
    DataKey::new(Secret::from_bytes([byte; 32]))
}

fn wrap(custodian: &dyn Custodian, scope: &KeyScope) -> Result<WrappedKey, KeyError> {
    block_on(custodian.provider().wrap(scope, &binding(b"ctx"), &dek(7)))
}

fn unwrap(custodian: &dyn Custodian, scope: &KeyScope, wrapped: &WrappedKey) -> Result<[u8; 32], KeyError> {
    let provider = custodian.provider();
    let key = block_on(provider.unwrap(scope, &binding(b"ctx"), wrapped))?;
    Ok(*key.expose_secret())
}

fn seal_record(custodian: &dyn Custodian, scope: &KeyScope, id: KekId) -> Result<Option<[u8; RECORD_LEN]>, KeyError> {
    block_on(custodian.provider().seal_record(scope, id, 1, &RNONCE, &dek(7)))
}

fn open_record(custodian: &dyn Custodian, scope: &KeyScope, record: &[u8; RECORD_LEN]) -> Result<[u8; 32], KeyError> {
    let provider = custodian.provider();
    let key = block_on(provider.open_record(scope, 1, record))?;
    Ok(*key.expose_secret())
}

/// Runs every claim, each on a fresh custodian.
pub(crate) fn run<C: Custodian>(fresh: impl Fn() -> C) {
    let claims: [fn(&mut dyn Custodian); 8] = [
        what_is_wrapped_unwraps,
        another_context_or_a_flipped_bit_is_tampering,
        a_foreign_tenant_or_entry_is_refused,
        records_follow_the_algorithm_and_the_tenant,
        suspension_stops_and_resumes,
        a_rotated_or_compromised_version_opens_only,
        a_prepared_key_does_not_seal,
        a_destroyed_key_is_gone,
    ];
    for claim in claims {
        claim(&mut fresh());
    }
    sixteen_at_once_are_served(fresh());
}

fn with_key(custodian: &mut dyn Custodian) -> KeyScope {
    let scope = scope("tenant-a", "alpha");
    custodian.create(&scope.tenant, &scope.entry, false);
    scope
}

fn what_is_wrapped_unwraps(custodian: &mut dyn Custodian) {
    let scope = with_key(custodian);
    let wrapped = wrap(custodian, &scope).unwrap();
    assert!(wrapped.alg == custodian.alg() && wrapped.alg.allows_len(wrapped.bytes.len()));
    assert_eq!(unwrap(custodian, &scope, &wrapped), Ok([7; 32]));
    for purpose in [Purpose::Maintenance, Purpose::Rotate, Purpose::Export, Purpose::Recovery, Purpose::Legal] {
        assert_eq!(unwrap(custodian, &KeyScope { purpose, ..scope.clone() }, &wrapped), Ok([7; 32]));
    }
}

fn another_context_or_a_flipped_bit_is_tampering(custodian: &mut dyn Custodian) {
    let scope = with_key(custodian);
    let wrapped = wrap(custodian, &scope).unwrap();
    let provider = custodian.provider();
    if custodian.alg() == WrapAlg::Local {
        let moved = block_on(provider.unwrap(&scope, &binding(b"cty"), &wrapped)).err();
        assert_eq!(moved, Some(KeyError::Tampered));
    }
    for position in 0..wrapped.bytes.len() * 8 {
        let mut flipped = wrapped.clone();
        flipped.bytes[position / 8] ^= 1 << (position % 8);
        assert_eq!(unwrap(custodian, &scope, &flipped), Err(KeyError::Tampered));
    }
    for alg in [WrapAlg::Local, WrapAlg::AesKw, WrapAlg::Service] {
        if alg != custodian.alg() {
            assert_eq!(unwrap(custodian, &scope, &WrappedKey { alg, ..wrapped.clone() }), Err(KeyError::Tampered));
        }
    }
}

fn a_foreign_tenant_or_entry_is_refused(custodian: &mut dyn Custodian) {
    let own = with_key(custodian);
    let foreign = scope("tenant-b", "beta");
    custodian.create(&foreign.tenant, &foreign.entry, false);
    let wrapped = wrap(custodian, &own).unwrap();
    let unknown = WrappedKey { kek_id: KekId::from_bytes([0xee; 16]), ..wrapped.clone() };
    for (tenant, entry) in [("tenant-b", "beta"), ("tenant-b", "alpha"), ("tenant-a", "beta"), ("tenant-a", "none")] {
        let scope = scope(tenant, entry);
        assert_eq!(unwrap(custodian, &scope, &wrapped), Err(KeyError::NotAllowed), "{tenant} {entry}");
        assert_eq!(seal_record(custodian, &scope, wrapped.kek_id), Err(KeyError::NotAllowed));
        if (tenant, entry) != ("tenant-b", "beta") {
            assert_eq!(wrap(custodian, &scope).err(), Some(KeyError::NotAllowed));
        }
        // Refused by its id alone: bytes that are no wrapped key at all get the same answer, not another one.
        let garbage = WrappedKey { bytes: Vec::new(), ..wrapped.clone() };
        assert_eq!(unwrap(custodian, &scope, &garbage), Err(KeyError::NotAllowed));
    }
    assert_eq!(unwrap(custodian, &own, &unknown), Err(KeyError::NotAllowed));
    assert_eq!(KeyError::NotAllowed.kind(), KeyErrorKind::Denied);
}

fn records_follow_the_algorithm_and_the_tenant(custodian: &mut dyn Custodian) {
    let scope = with_key(custodian);
    let id = wrap(custodian, &scope).unwrap().kek_id;
    let record = seal_record(custodian, &scope, id).unwrap();
    assert_eq!(record.is_some(), custodian.alg() == WrapAlg::Local);
    let Some(record) = record else { return };
    assert_eq!(seal_record(custodian, &scope, id), Ok(Some(record)), "the same arguments give the same record");
    assert_eq!(open_record(custodian, &scope, &record), Ok([7; 32]));
    let other = self::scope("tenant-b", "alpha");
    assert_eq!(open_record(custodian, &other, &record), Err(KeyError::NotAllowed));
    for position in 16..record.len() {
        let mut flipped = record;
        flipped[position] ^= 1;
        assert_eq!(open_record(custodian, &scope, &flipped), Err(KeyError::Tampered));
    }
    custodian.rotate(&scope.entry);
    assert_eq!(seal_record(custodian, &scope, id), Ok(Some(record)), "an upload completes under its first version");
    custodian.act(&scope.entry, Action::Suspend);
    assert_eq!(seal_record(custodian, &scope, id), Err(KeyError::Revoked(KeyState::Suspended)));
    assert_eq!(open_record(custodian, &scope, &record), Err(KeyError::Revoked(KeyState::Suspended)));
}

fn suspension_stops_and_resumes(custodian: &mut dyn Custodian) {
    let scope = with_key(custodian);
    let wrapped = wrap(custodian, &scope).unwrap();
    custodian.act(&scope.entry, Action::Suspend);
    let revoked = KeyError::Revoked(KeyState::Suspended);
    assert_eq!(unwrap(custodian, &scope, &wrapped), Err(revoked.clone()));
    assert_eq!(wrap(custodian, &scope).err(), Some(revoked.clone()));
    assert_eq!(revoked.kind(), KeyErrorKind::Denied);
    custodian.act(&scope.entry, Action::Resume);
    assert_eq!(unwrap(custodian, &scope, &wrapped), Ok([7; 32]));
    assert!(wrap(custodian, &scope).is_ok());
}

fn a_rotated_or_compromised_version_opens_only(custodian: &mut dyn Custodian) {
    let scope = with_key(custodian);
    let first = wrap(custodian, &scope).unwrap();
    custodian.rotate(&scope.entry);
    let second = wrap(custodian, &scope).unwrap();
    assert!(first.kek_id != second.kek_id, "the newest active version seals");
    custodian.act(&scope.entry, Action::Compromise);
    for wrapped in [&first, &second] {
        assert_eq!(unwrap(custodian, &scope, wrapped), Ok([7; 32]));
    }
    assert_eq!(wrap(custodian, &scope).err(), Some(KeyError::NoActiveVersion));
}

fn a_prepared_key_does_not_seal(custodian: &mut dyn Custodian) {
    let scope = scope("tenant-a", "alpha");
    custodian.create(&scope.tenant, &scope.entry, true);
    assert_eq!(wrap(custodian, &scope).err(), Some(KeyError::NoActiveVersion));
    custodian.act(&scope.entry, Action::Activate);
    assert!(wrap(custodian, &scope).is_ok());
}

fn a_destroyed_key_is_gone(custodian: &mut dyn Custodian) {
    let scope = with_key(custodian);
    let wrapped = wrap(custodian, &scope).unwrap();
    custodian.act(&scope.entry, Action::Deactivate);
    custodian.act(&scope.entry, Action::Destroy);
    let gone = KeyError::Revoked(KeyState::Destroyed);
    assert_eq!(unwrap(custodian, &scope, &wrapped), Err(gone.clone()));
    assert_eq!(wrap(custodian, &scope).err(), Some(gone));
}

fn sixteen_at_once_are_served(mut custodian: impl Custodian) {
    let scope = with_key(&mut custodian);
    let custodian = &custodian;
    thread::scope(|threads| {
        for byte in 0..16 {
            let scope = &scope;
            threads.spawn(move || {
                let provider = custodian.provider();
                for _ in 0..50 {
                    let wrapped = block_on(provider.wrap(scope, &binding(b"ctx"), &dek(byte))).unwrap();
                    let key = block_on(provider.unwrap(scope, &binding(b"ctx"), &wrapped)).ok().unwrap();
                    assert_eq!(key.expose_secret(), &[byte; 32]);
                }
            });
        }
    });
}

//! Keys that were exported in the clear, as a provider that opens and does not seal: for leaving.

use std::future::ready;

use super::keyring::PlainKeys;
use super::{KeyError, KeyFuture, KeyProvider, KeyScope};
use crate::crypto::wrap::{
    Binding, DataKey, KEK_ID_LEN, Kek, KekId, RECORD_LEN, RECORD_NONCE_LEN, WrapAlg, WrappedKey,
};

/// The keys of an export. The form does not carry tenants, states or wrap algorithms: whoever holds it may open all.
pub struct ExportedKeys(PlainKeys);

impl ExportedKeys {
    /// Takes the keys over.
    #[must_use]
    pub const fn new(keys: PlainKeys) -> Self {
        Self(keys)
    }

    fn kek(&self, id: KekId, alg: WrapAlg) -> Result<Kek, KeyError> {
        let secret = self.0.copy_of(id).ok_or(KeyError::NotAllowed)?;
        Kek::new(id, alg, secret).ok_or(KeyError::Tampered)
    }

    fn unwrap_now(&self, binding: &Binding<'_>, wrapped: &WrappedKey) -> Result<DataKey, KeyError> {
        Ok(self.kek(wrapped.kek_id, wrapped.alg)?.unwrap(binding, wrapped)?)
    }

    fn open_record_now(&self, scope: &KeyScope, suite: u8, record: &[u8; RECORD_LEN]) -> Result<DataKey, KeyError> {
        let id = record.first_chunk::<KEK_ID_LEN>().ok_or(KeyError::Tampered)?;
        let kek = self.kek(KekId::from_bytes(*id), WrapAlg::Local)?;
        Ok(kek.open_record(suite, scope.tenant.as_str(), record)?)
    }
}

impl KeyProvider for ExportedKeys {
    fn wrap<'a>(&'a self, _: &'a KeyScope, _: &'a Binding<'a>, _: &'a DataKey) -> KeyFuture<'a, WrappedKey> {
        Box::pin(ready(Err(KeyError::NoActiveVersion)))
    }

    fn unwrap<'a>(
        &'a self,
        _: &'a KeyScope,
        binding: &'a Binding<'a>,
        wrapped: &'a WrappedKey,
    ) -> KeyFuture<'a, DataKey> {
        Box::pin(ready(self.unwrap_now(binding, wrapped)))
    }

    fn seal_record<'a>(
        &'a self,
        _: &'a KeyScope,
        _: KekId,
        _: u8,
        _: &'a [u8; RECORD_NONCE_LEN],
        _: &'a DataKey,
    ) -> KeyFuture<'a, Option<[u8; RECORD_LEN]>> {
        Box::pin(ready(Err(KeyError::NoActiveVersion)))
    }

    fn open_record<'a>(
        &'a self,
        scope: &'a KeyScope,
        suite: u8,
        record: &'a [u8; RECORD_LEN],
    ) -> KeyFuture<'a, DataKey> {
        Box::pin(ready(self.open_record_now(scope, suite, record)))
    }
}

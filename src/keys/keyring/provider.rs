//! The keyring as a [`KeyProvider`].

use std::future::ready;

use super::{Entry, Keyring, Version};
use crate::crypto::wrap::{
    Binding, DataKey, KEK_ID_LEN, KekId, RECORD_LEN, RECORD_NONCE_LEN, WrapAlg, WrapError, WrappedKey,
};
use crate::keys::state::KeyState;
use crate::keys::{KeyError, KeyFuture, KeyProvider, KeyScope};

impl From<WrapError> for KeyError {
    /// Past the scope's check, whatever does not unwrap was altered: its id, its algorithm, its bytes or its context.
    fn from(_: WrapError) -> Self {
        Self::Tampered
    }
}

impl Keyring {
    fn scoped_entry(&self, scope: &KeyScope) -> Result<&Entry, KeyError> {
        self.entry(&scope.entry).filter(|entry| entry.tenant == scope.tenant).ok_or(KeyError::NotAllowed)
    }

    /// The version of that id, if it is one of the scope's entry and may open.
    fn opening_version(&self, scope: &KeyScope, kek_id: KekId) -> Result<(&Entry, &Version), KeyError> {
        let entry = self.scoped_entry(scope)?;
        let version = entry.versions.iter().find(|version| version.kek_id == kek_id).ok_or(KeyError::NotAllowed)?;
        match version.standing.state {
            KeyState::PreActive => Err(KeyError::PreActive),
            state if state.opens() => Ok((entry, version)),
            state => Err(KeyError::Revoked(state)),
        }
    }

    fn wrap_now(&self, scope: &KeyScope, binding: &Binding<'_>, dek: &DataKey) -> Result<WrappedKey, KeyError> {
        let entry = self.scoped_entry(scope)?;
        let version = entry.sealing_version().ok_or_else(|| {
            let revoked = |v: &&Version| matches!(v.standing.state, KeyState::Suspended | KeyState::Destroyed);
            let newest_used = entry.versions.iter().rev().find(|v| v.standing.state != KeyState::PreActive);
            newest_used.filter(revoked).map_or(KeyError::NoActiveVersion, |v| KeyError::Revoked(v.standing.state))
        })?;
        Ok(self.kek(entry, version)?.wrap(binding, dek)?)
    }

    fn unwrap_now(&self, scope: &KeyScope, binding: &Binding<'_>, wrapped: &WrappedKey) -> Result<DataKey, KeyError> {
        let (entry, version) = self.opening_version(scope, wrapped.kek_id)?;
        if wrapped.alg != entry.alg {
            return Err(KeyError::Tampered);
        }
        Ok(self.kek(entry, version)?.unwrap(binding, wrapped)?)
    }

    fn seal_record_now(
        &self,
        scope: &KeyScope,
        kek_id: KekId,
        suite: u8,
        rnonce: &[u8; RECORD_NONCE_LEN],
        dek: &DataKey,
    ) -> Result<Option<[u8; RECORD_LEN]>, KeyError> {
        let (entry, version) = self.opening_version(scope, kek_id)?;
        if entry.alg != WrapAlg::Local {
            return Ok(None);
        }
        Ok(Some(self.kek(entry, version)?.seal_record(suite, entry.tenant.as_str(), rnonce, dek)?))
    }

    fn open_record_now(&self, scope: &KeyScope, suite: u8, record: &[u8; RECORD_LEN]) -> Result<DataKey, KeyError> {
        let (id, _) = record.split_first_chunk::<KEK_ID_LEN>().ok_or(KeyError::Tampered)?;
        let (entry, version) = self.opening_version(scope, KekId::from_bytes(*id))?;
        Ok(self.kek(entry, version)?.open_record(suite, entry.tenant.as_str(), record)?)
    }
}

impl KeyProvider for Keyring {
    fn wrap<'a>(
        &'a self,
        scope: &'a KeyScope,
        binding: &'a Binding<'a>,
        dek: &'a DataKey,
    ) -> KeyFuture<'a, WrappedKey> {
        Box::pin(ready(self.wrap_now(scope, binding, dek)))
    }

    fn unwrap<'a>(
        &'a self,
        scope: &'a KeyScope,
        binding: &'a Binding<'a>,
        wrapped: &'a WrappedKey,
    ) -> KeyFuture<'a, DataKey> {
        Box::pin(ready(self.unwrap_now(scope, binding, wrapped)))
    }

    fn seal_record<'a>(
        &'a self,
        scope: &'a KeyScope,
        kek_id: KekId,
        suite: u8,
        rnonce: &'a [u8; RECORD_NONCE_LEN],
        dek: &'a DataKey,
    ) -> KeyFuture<'a, Option<[u8; RECORD_LEN]>> {
        Box::pin(ready(self.seal_record_now(scope, kek_id, suite, rnonce, dek)))
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

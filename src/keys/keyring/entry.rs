//! Entries and versions as an opened keyring shows them. KEKs in them are wrapped.

use crate::clock::Timestamp;
use crate::crypto::aead::TAG_LEN;
use crate::crypto::wrap::{CHECK_VALUE_LEN, KEY_LEN, KekId, WrapAlg};
use crate::keys::EntryName;
use crate::keys::state::Standing;
use crate::object::TenantId;

pub(super) const KEK_SALT_LEN: usize = 24;

/// A KEK under the root: never used as it stands.
pub(super) struct WrappedKek {
    pub(super) salt: [u8; KEK_SALT_LEN],
    pub(super) wrapped: [u8; KEY_LEN + TAG_LEN],
}

/// One version of an entry's KEK.
pub struct Version {
    /// Counts from 1 within its entry.
    pub number: u32,
    /// The random label that headers carry.
    pub kek_id: KekId,
    /// Its state.
    pub standing: Standing,
    /// When it was made or imported.
    pub created: Timestamp,
    /// When its state last changed.
    pub changed: Timestamp,
    /// Tells, without revealing the key, whether a key is this one.
    pub check_value: [u8; CHECK_VALUE_LEN],
    /// Nothing once destroyed.
    pub(super) key: Option<WrappedKek>,
}

/// A named KEK of one tenant, with all its versions, oldest first.
pub struct Entry {
    /// Its name, unique in the keyring.
    pub name: EntryName,
    /// The one tenant whose buckets may use it.
    pub tenant: TenantId,
    /// The one algorithm all its versions wrap by.
    pub alg: WrapAlg,
    /// When it was made.
    pub created: Timestamp,
    /// Its versions, by ascending number; at least one.
    pub versions: Vec<Version>,
}

impl Entry {
    /// The version that seals: the newest active one.
    #[must_use]
    pub fn sealing_version(&self) -> Option<&Version> {
        self.versions.iter().rev().find(|version| version.standing.state.seals())
    }

    pub(super) fn next_number(&self) -> Option<u32> {
        self.versions.last().map_or(Some(1), |last| last.number.checked_add(1))
    }
}

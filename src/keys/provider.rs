//! The one question callers ask of custody: wrap or unwrap this data key, for this tenant, under this entry.
//!
//! The trait is asynchronous because a hardware module blocks and a key service is a network away. It never hands out
//! a KEK. Every provider is held to one conformance suite.

use std::fmt;
use std::pin::Pin;
use std::str::FromStr;

use thiserror::Error;

use super::state::KeyState;
use crate::crypto::wrap::{Binding, DataKey, KekId, RECORD_LEN, RECORD_NONCE_LEN, WrappedKey};
use crate::object::TenantId;

/// A name that no keyring entry can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a key name is 1 to 63 characters of a-z, 0-9 and '-'")]
pub struct EntryNameError;

/// The name of an entry (a KEK with its versions), `[a-z0-9-]{1,63}`, unique in its provider.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryName(String);

impl EntryName {
    /// The name as it is written in the configuration.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for EntryName {
    type Err = EntryNameError;

    fn from_str(text: &str) -> Result<Self, EntryNameError> {
        let allowed = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-');
        if (1..=63).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(EntryNameError)
        }
    }
}

impl fmt::Display for EntryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a key is used for. It decides nothing here: it is what an account of key uses says, and part of the key of
/// whatever caches an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// An application's request.
    Serve,
    /// Scrubbing, migrating and other work over a bucket.
    Maintenance,
    /// Moving headers to a newer KEK.
    Rotate,
    /// Handing plaintext out of the system at the customer's wish.
    Export,
    /// Restoring from a recovery kit or a bare object file.
    Recovery,
    /// A case with a grant.
    Legal,
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Serve => "serve",
            Self::Maintenance => "maintenance",
            Self::Rotate => "rotate",
            Self::Export => "export",
            Self::Recovery => "recovery",
            Self::Legal => "legal",
        })
    }
}

/// On whose behalf, under which entry and what for a key is used.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KeyScope {
    /// The tenant that the bucket belongs to.
    pub tenant: TenantId,
    /// The entry that the bucket names.
    pub entry: EntryName,
    /// What for.
    pub purpose: Purpose,
}

impl KeyScope {
    /// A scope.
    #[must_use]
    pub const fn new(tenant: TenantId, entry: EntryName, purpose: Purpose) -> Self {
        Self { tenant, entry, purpose }
    }
}

/// What an application is told about a failure; the cause is for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyErrorKind {
    /// The custodian says no. Trying again does not help.
    Denied,
    /// The stored bytes are not what was sealed.
    Integrity,
    /// The custodian does not answer. Trying again may help.
    Unavailable,
}

/// Why a provider gave no key. No variant carries key material.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum KeyError {
    /// The KEK, or the entry, is none that this scope may use. The key was not tried.
    #[error("this key is not one that the tenant's bucket may use")]
    NotAllowed,
    /// The KEK is suspended or destroyed.
    #[error("the key is {0}")]
    Revoked(KeyState),
    /// The KEK has not been activated yet, so nothing can have been sealed with it.
    #[error("the key is pre-active")]
    PreActive,
    /// The entry has no active version to seal with.
    #[error("the key has no active version to seal with")]
    NoActiveVersion,
    /// The wrapped key does not authenticate: altered, moved to another context, or of another algorithm.
    #[error("the wrapped key does not authenticate")]
    Tampered,
    /// The provider cannot answer now.
    #[error("the key provider is unavailable: {0}")]
    Unavailable(String),
}

impl KeyError {
    /// What kind of answer the failure is.
    #[must_use]
    pub const fn kind(&self) -> KeyErrorKind {
        match self {
            Self::NotAllowed | Self::Revoked(_) | Self::PreActive | Self::NoActiveVersion => KeyErrorKind::Denied,
            Self::Tampered => KeyErrorKind::Integrity,
            Self::Unavailable(_) => KeyErrorKind::Unavailable,
        }
    }
}

/// A provider's answer to come.
pub type KeyFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, KeyError>> + Send + 'a>>;

/// A custodian of KEKs.
///
/// An implementation must refuse a KEK id outside the scope's entry *before* it tries the key, must not seal with
/// anything but an active version, must not open with a suspended or destroyed one, and must give no KEK away. A
/// caller must still check the header's tag: a custodian that answers with a wrong key is noticed only there.
pub trait KeyProvider: Send + Sync {
    /// Wraps `dek` under the newest active version of the scope's entry. `binding.hdr_nonce` must be fresh.
    fn wrap<'a>(&'a self, scope: &'a KeyScope, binding: &'a Binding<'a>, dek: &'a DataKey)
    -> KeyFuture<'a, WrappedKey>;

    /// Unwraps a data key wrapped by a version of the scope's entry, under the same binding.
    fn unwrap<'a>(
        &'a self,
        scope: &'a KeyScope,
        binding: &'a Binding<'a>,
        wrapped: &'a WrappedKey,
    ) -> KeyFuture<'a, DataKey>;

    /// The recovery record of `dek` under the KEK that wraps its header, or `None` for a KEK that is not of wrap
    /// algorithm 1.
    ///
    /// The KEK must be one that opens, not only one that seals: an upload that began before a rotation completes under
    /// the version it began with, and two gateways that complete it must write the same record.
    fn seal_record<'a>(
        &'a self,
        scope: &'a KeyScope,
        kek_id: KekId,
        suite: u8,
        rnonce: &'a [u8; RECORD_NONCE_LEN],
        dek: &'a DataKey,
    ) -> KeyFuture<'a, Option<[u8; RECORD_LEN]>>;

    /// Opens a recovery record of a version of the scope's entry. The object's name is not bound by it.
    fn open_record<'a>(
        &'a self,
        scope: &'a KeyScope,
        suite: u8,
        record: &'a [u8; RECORD_LEN],
    ) -> KeyFuture<'a, DataKey>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_lower_case_alphanumerics_and_dashes() {
        for good in ["a", "default", "0-9", &"x".repeat(63)] {
            assert!(good.parse::<EntryName>().is_ok_and(|name| name.as_str() == good && name.to_string() == good));
        }
        for bad in ["", "A", "a_b", "a b", "ü", &"x".repeat(64)] {
            assert_eq!(bad.parse::<EntryName>(), Err(EntryNameError));
        }
    }

    #[test]
    fn every_failure_has_one_kind() {
        for (error, kind) in [
            (KeyError::NotAllowed, KeyErrorKind::Denied),
            (KeyError::Revoked(KeyState::Suspended), KeyErrorKind::Denied),
            (KeyError::PreActive, KeyErrorKind::Denied),
            (KeyError::NoActiveVersion, KeyErrorKind::Denied),
            (KeyError::Tampered, KeyErrorKind::Integrity),
            (KeyError::Unavailable("down".to_owned()), KeyErrorKind::Unavailable),
        ] {
            assert_eq!(error.kind(), kind);
        }
        let all = [Purpose::Serve, Purpose::Maintenance, Purpose::Rotate, Purpose::Export, Purpose::Recovery];
        let names = all.map(|purpose| purpose.to_string());
        assert_eq!(names, ["serve", "maintenance", "rotate", "export", "recovery"]);
        assert_eq!(Purpose::Legal.to_string(), "legal");
    }
}

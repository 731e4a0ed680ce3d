//! Where the keys of the offline commands come from: a keyring, or an export in the clear.

use std::path::{Path, PathBuf};

use clap::Args;

use super::keyring_args::KeyringArgs;
use super::{Environment, Failure};
use crate::crypto::wrap::KekId;
use crate::keys::exported::ExportedKeys;
use crate::keys::file::read_private;
use crate::keys::keyring::{Keyring, PlainKeys};
use crate::keys::{EntryName, KeyError, KeyProvider, KeyScope, Purpose};
use crate::object::TenantId;

/// The largest export that is read.
const MAX_EXPORT: u64 = 16 << 20;

/// A keyring, or an export that stands in for it.
#[derive(Args, Clone, Debug)]
pub(super) struct CustodyArgs {
    #[command(flatten)]
    keyring: KeyringArgs,
    /// Use the keys of an export (`keys export --danger-plaintext`) instead of a keyring
    #[arg(long, value_name = "FILE", conflicts_with_all = ["keyring", "passphrase_file", "passphrase_fd"])]
    keys: Option<PathBuf>,
}

/// Keys that are open.
pub(super) enum Custody {
    Keyring(Box<Keyring>),
    Exported(ExportedKeys),
}

impl CustodyArgs {
    /// Opens them, asking for the passphrase if there is one.
    pub(super) fn open(&self, env: &mut Environment<'_>) -> Result<Custody, Failure> {
        match &self.keys {
            None => self.keyring.open(env).map(Custody::of),
            Some(path) => exported(path),
        }
    }
}

fn exported(path: &Path) -> Result<Custody, Failure> {
    let text = read_private(path, MAX_EXPORT)?;
    let keys = PlainKeys::parse(&text).map_err(|error| Failure::refused(error).about(path.display()))?;
    Ok(Custody::Exported(ExportedKeys::new(keys)))
}

impl Custody {
    pub(super) fn of(keyring: Keyring) -> Self {
        Self::Keyring(Box::new(keyring))
    }

    pub(super) fn provider(&self) -> &dyn KeyProvider {
        match self {
            Self::Keyring(keyring) => keyring.as_ref(),
            Self::Exported(keys) => keys,
        }
    }

    /// Whether a KEK is known to be compromised. An export does not carry states.
    pub(super) fn is_compromised(&self, kek_id: KekId) -> bool {
        match self {
            Self::Keyring(keyring) => keyring.is_compromised(kek_id),
            Self::Exported(_) => false,
        }
    }

    /// The scope in which a tenant's object of that KEK is opened. A KEK of another tenant is refused untried.
    pub(super) fn scope_of(&self, tenant: &TenantId, kek_id: KekId, purpose: Purpose) -> Result<KeyScope, KeyError> {
        let entry = match self {
            Self::Keyring(keyring) => match keyring.find(kek_id) {
                Some((entry, _)) if entry.tenant == *tenant => entry.name.clone(),
                _ => return Err(KeyError::NotAllowed),
            },
            Self::Exported(_) => "exported".parse::<EntryName>().map_err(|_| KeyError::NotAllowed)?,
        };
        Ok(KeyScope::new(tenant.clone(), entry, purpose))
    }
}

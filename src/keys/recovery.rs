//! The recovery kit: a secret S that opens any copy of the keyring file without its passphrase.
//!
//! ```text
//! S          = 32 random bytes
//! kit id(16) = X(S, "sealgate/v1/kit-id\0", 16)        names the kit and proves a combination of shares
//! ```
//!
//! S is written down as a phrase of 24 words ([`phrase`]) or split into shares, M of which give it back ([`shares`]).
//! It stands in no file. Without a copy of the keyring file it opens nothing.

pub mod phrase;
pub mod shares;

use std::fmt;

use crate::clock::Timestamp;
use crate::crypto::kdf::Prk;
use crate::crypto::random::{RandomError, RandomSource};
use crate::secret::Secret;

/// Length of a recovery secret in bytes.
pub const RECOVERY_SECRET_LEN: usize = 32;
/// Length of a kit id in bytes.
pub const KIT_ID_LEN: usize = 16;
/// The most shares a kit has.
pub const MAX_SHARES: u8 = 16;

const KIT_ID_LABEL: &[u8] = b"sealgate/v1/kit-id\0";

/// The public name of a kit, shown as 32 hexadecimal digits: a one-way function of its secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KitId([u8; KIT_ID_LEN]);

impl KitId {
    /// Takes the 16 bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; KIT_ID_LEN]) -> Self {
        Self(bytes)
    }

    /// The 16 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; KIT_ID_LEN] {
        &self.0
    }
}

impl fmt::Display for KitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// How a kit is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KitForm {
    /// 24 words.
    Phrase,
    /// Shares.
    Shares {
        /// How many give the secret back: 2 to `count`.
        threshold: u8,
        /// How many there are: at most [`MAX_SHARES`].
        count: u8,
    },
}

impl KitForm {
    /// Whether threshold and count can be: 2 ≤ threshold ≤ count ≤ 16.
    #[must_use]
    pub const fn is_valid(self) -> bool {
        match self {
            Self::Phrase => true,
            Self::Shares { threshold, count } => 2 <= threshold && threshold <= count && count <= MAX_SHARES,
        }
    }
}

impl fmt::Display for KitForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Phrase => f.write_str("phrase"),
            Self::Shares { threshold, count } => write!(f, "shares, {threshold} of {count}"),
        }
    }
}

/// What a keyring says about its kit. Not secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KitDescription {
    /// Which kit.
    pub id: KitId,
    /// How it was written down.
    pub form: KitForm,
    /// When.
    pub made: Timestamp,
}

/// S, the secret of a recovery kit.
pub struct RecoverySecret {
    secret: Secret<[u8; RECOVERY_SECRET_LEN]>,
    prk: Prk,
}

impl RecoverySecret {
    /// Takes 32 uniformly random bytes.
    #[must_use]
    pub fn new(secret: Secret<[u8; RECOVERY_SECRET_LEN]>) -> Self {
        let prk = Prk::new(secret.expose_secret());
        Self { secret, prk }
    }

    /// Draws the secret of a new kit.
    pub fn draw(now: Timestamp, random: &RandomSource) -> Result<Self, RandomError> {
        random.draw(now, b"recovery kit").map(Self::new)
    }

    /// The kit's public name.
    #[must_use]
    pub fn kit_id(&self) -> KitId {
        let mut id = [0; KIT_ID_LEN];
        self.prk.expand_into(&[KIT_ID_LABEL], &mut [&mut id]);
        KitId(id)
    }

    pub(super) const fn prk(&self) -> &Prk {
        &self.prk
    }

    /// The secret itself: for writing the kit down, and for nothing else.
    #[must_use]
    pub fn expose_secret(&self) -> &[u8; RECOVERY_SECRET_LEN] {
        self.secret.expose_secret()
    }
}

//! The keyring: one sealed file, opened by a passphrase or by its recovery kit.
//!
//! ```text
//!   0   8  magic "SGKEYR01"                     114  16  kit id
//!   8   2  version = 1                          130   4  kit: kind, threshold, count, 0
//!  10   4  length of the file                   134   8  kit made at, ms
//!  14  16  keyring id, random                   142  24  recovery salt
//!  30   8  generation, +1 at every write        166  48  R under the kit
//!  38  12  Argon2id: KiB, passes, lanes         214  24  content salt, fresh at every write
//!  50  16  passphrase salt                      238   n  content ‖ tag
//!  66  48  R under the passphrase             238+n  32  SHA-256 of everything before
//! ```
//!
//! The exact table is in [`crate::manual::keys`]. R, the root, is 32 random bytes:
//!
//! ```text
//! content      = GCM under X(R, "sealgate/v1/keyring-content\0" ‖ content salt, 44), aad = everything before it
//! KEK(48)      = GCM under X(R, "sealgate/v1/keyring-kek\0" ‖ lp(tenant) ‖ lp(name) ‖ wrap_alg ‖ kek_id ‖ salt, 44)
//! ```
//!
//! The content holds KEKs wrapped one by one: an opened keyring has none in the clear but the one in use, and what
//! unwraps one tenant's KEK unwraps no other's. The checksum is not keyed: it tells damage from a wrong passphrase.
//! What protects is the tag over the content, which covers every byte before it.

mod codec;
mod entry;
mod exchange;
mod provider;
mod slot;
mod store;

use std::collections::BTreeMap;

use thiserror::Error;

use crate::clock::Timestamp;
use crate::crypto::aead::{Aead, AeadError};
use crate::crypto::random::{RandomError, RandomSource};
use crate::crypto::wrap::{KEY_LEN, Kek, KekId, WrapAlg};
use crate::digest::sha256;
use crate::keys::file::FileError;
use crate::keys::recovery::{KitDescription, KitForm, KitId, RecoverySecret};
use crate::keys::state::{Action, KeyState, Standing, TransitionError};
use crate::keys::{EntryName, KeyError};
use crate::object::TenantId;
use crate::secret::Secret;

use codec::{CONTENT_SALT_LEN, Head, KEYRING_ID_LEN};
pub use entry::{Entry, Version};
use entry::{KEK_SALT_LEN, WrappedKek};
pub use exchange::{ExchangeError, ImportTarget, PlainKeys};
pub use slot::Argon2Params;
use slot::{PassphraseSlot, RecoverySlot, Root, derived_cipher, unwrap_32, wrap_32};
pub use store::{KeyringFile, Updated};

/// The largest keyring file, in bytes.
pub const MAX_KEYRING_LEN: u64 = 16 * 1024 * 1024;
/// The most entries a keyring holds.
pub const MAX_ENTRIES: usize = 10_000;
/// The most versions a keyring holds, over all entries.
pub const MAX_VERSIONS: usize = 10_000;

const CONTENT_LABEL: &[u8] = b"sealgate/v1/keyring-content\0";
const KEK_LABEL: &[u8] = b"sealgate/v1/keyring-kek\0";

/// Why a keyring was not read, opened or written. No variant carries a secret.
#[derive(Debug, Error)]
pub enum KeyringError {
    /// The file begins differently.
    #[error("this is not a sealgate keyring, or one that is damaged at its beginning")]
    NotAKeyring,
    /// The file has fewer bytes than it says.
    #[error(
        "the keyring is cut short, or its length field is damaged: {expected} bytes expected, {found} found; use \
         another copy of it"
    )]
    CutShort {
        /// What the file should have.
        expected: u64,
        /// What it has.
        found: u64,
    },
    /// The file has more bytes than it says.
    #[error(
        "the keyring has bytes behind its end, or its length field is damaged: {expected} bytes expected, {found} \
         found; use another copy of it"
    )]
    Overlong {
        /// What the file should have.
        expected: u64,
        /// What it has.
        found: u64,
    },
    /// The checksum does not hold.
    #[error("the keyring is damaged: its checksum does not hold; use another copy of it")]
    Damaged,
    /// The file is whole, but of another format version.
    #[error("the keyring has format version {found}, and this program reads version 1 only: use a newer sealgate")]
    OtherVersion {
        /// Its version.
        found: u16,
    },
    /// The file is whole, but says something that no sealgate writes.
    #[error("the keyring is malformed: {0}")]
    Malformed(&'static str),
    /// The file, or what should be written, is beyond the limits.
    #[error("a keyring has at most 16 MiB, 10000 entries and 10000 versions")]
    TooLarge,
    /// The passphrase's cost lies outside what is accepted. No memory was taken.
    #[error("the Argon2id {what} is {found}; accepted is {min} to {max}")]
    Parameters {
        /// Which of them.
        what: &'static str,
        /// What was asked.
        found: u32,
        /// The least.
        min: u32,
        /// The most.
        max: u32,
    },
    /// The machine has too little memory for the passphrase's cost.
    #[error("not enough memory: the keyring's passphrase takes {} MiB", kib / 1024)]
    OutOfMemory {
        /// What it takes.
        kib: u32,
    },
    /// The passphrase does not open the keyring.
    #[error("wrong passphrase")]
    WrongPassphrase,
    /// The kit is another keyring's, or one that was replaced.
    #[error("the recovery kit {given} does not open this keyring, which has the kit {expected}")]
    OtherKit {
        /// The kit that opens it.
        expected: KitId,
        /// The kit that was given.
        given: KitId,
    },
    /// The right key, and yet the tag does not hold: someone altered the file and made its checksum fit.
    #[error("the keyring was tampered with: its content does not authenticate; use another copy of it")]
    Tampered,
    /// Between opening and writing, the keyring was replaced by one with another root or passphrase, or what was
    /// agreed to is no longer what would happen.
    #[error(
        "the keyring, its passphrase or its kit was changed by someone else in the meantime: look at it, try again"
    )]
    Replaced,
    /// Between opening and writing, an older copy took the keyring's place.
    #[error(
        "the keyring went back from generation {opened} to {found} in the meantime: someone put an older copy in its \
         place; nothing was changed"
    )]
    RolledBack {
        /// The generation that was opened.
        opened: u64,
        /// The generation that is there now.
        found: u64,
    },
    /// The file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// No randomness.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// A cipher refused its input.
    #[error("the keyring could not be sealed: {0}")]
    Cipher(#[from] AeadError),
}

/// Why a change of the keyring's content was refused. Nothing was changed.
#[derive(Debug, Error)]
pub enum ChangeError {
    /// There is no such entry.
    #[error("there is no key named {0}")]
    NoEntry(EntryName),
    /// There is such an entry already.
    #[error("there is a key named {0} already")]
    EntryExists(EntryName),
    /// There was such an entry: its versions are destroyed, its name stays taken.
    #[error("there was a key named {0}, now destroyed: `sealgate keys rotate {0}` gives it a new version")]
    EntryDestroyed(EntryName),
    /// The entry has no such version.
    #[error("{name} has no version {number}")]
    NoVersion {
        /// The entry.
        name: EntryName,
        /// The version asked for.
        number: u32,
    },
    /// None of the entry's versions can take this action.
    #[error("no version of {name} can be {action}")]
    Nothing {
        /// The entry.
        name: EntryName,
        /// What was asked.
        action: Action,
    },
    /// The state table says no.
    #[error("version {number} of {name}: {cause}")]
    Transition {
        /// The entry.
        name: EntryName,
        /// The version.
        number: u32,
        /// Why.
        cause: TransitionError,
    },
    /// A prepared version waits already.
    #[error("{name} has a prepared version already: version {number}")]
    Prepared {
        /// The entry.
        name: EntryName,
        /// The version.
        number: u32,
    },
    /// The entry is another tenant's.
    #[error("the key {0} belongs to another tenant")]
    OtherTenant(EntryName),
    /// The entry wraps by another algorithm.
    #[error("the key {0} wraps by another algorithm")]
    OtherAlgorithm(EntryName),
    /// KEKs of this algorithm are not kept in a keyring.
    #[error("a keyring keeps keys that wrap by local or aes-kw only")]
    Service,
    /// The keyring has, or had, a KEK of that id.
    #[error("the keyring knows a key with the id {id} already{}", if *.destroyed { " (destroyed)" } else { "" })]
    KekIdTaken {
        /// The id.
        id: KekId,
        /// Whether it had it.
        destroyed: bool,
    },
    /// The same key under two ids.
    #[error("the key {given} is, byte for byte, the key {known}")]
    KeyTaken {
        /// The id it was given with.
        given: KekId,
        /// The id it has already, in the keyring or in the same file.
        known: KekId,
    },
    /// Zeros instead of a key.
    #[error("the key {0} is all zeros: something went wrong where it was made")]
    ZeroKey(KekId),
    /// Several versions are suspended, each perhaps for a reason of its own.
    #[error("versions {} of {name} are suspended: say which one to resume (--version N), or --all", join_numbers(.numbers))]
    SeveralSuspended {
        /// The entry.
        name: EntryName,
        /// The versions.
        numbers: Vec<u32>,
    },
    /// There is nothing to import.
    #[error("the file holds no key")]
    NoKeys,
    /// Only one version seals.
    #[error("exactly one key can be imported as active")]
    OneActive,
    /// The limits are reached.
    #[error("the keyring is full")]
    Full,
    /// The root could not be wrapped, or the file not be read or written.
    #[error(transparent)]
    Keyring(#[from] KeyringError),
}

fn join_numbers(numbers: &[u32]) -> String {
    numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

impl From<RandomError> for ChangeError {
    fn from(error: RandomError) -> Self {
        Self::Keyring(error.into())
    }
}

impl From<AeadError> for ChangeError {
    fn from(error: AeadError) -> Self {
        Self::Keyring(error.into())
    }
}

/// Decodes a keyring file's outer layout. Takes no secret, never panics, and takes memory in proportion to `file` only.
pub fn parse(file: &[u8]) -> Result<SealedKeyring, KeyringError> {
    let (head, head_bytes, content) = codec::decode_file(file)?;
    Ok(SealedKeyring { head, head_bytes: head_bytes.to_vec(), content: content.to_vec() })
}

/// A keyring as it rests in its file: whole and well-formed, but neither opened nor authenticated.
pub struct SealedKeyring {
    head: Head,
    head_bytes: Vec<u8>,
    content: Vec<u8>,
}

impl SealedKeyring {
    /// How often it was written; a hint until it is opened.
    #[must_use]
    pub const fn generation(&self) -> u64 {
        self.head.generation
    }

    /// The recovery kit that it names; a hint until it is opened.
    #[must_use]
    pub const fn kit(&self) -> &KitDescription {
        &self.head.recovery.kit
    }

    /// The passphrase's cost; within floor and ceiling.
    #[must_use]
    pub const fn argon2(&self) -> Argon2Params {
        self.head.passphrase.params
    }

    /// Opens it by its passphrase: takes as much memory and time as [`SealedKeyring::argon2`] says.
    pub fn open(&self, passphrase: &Secret<[u8]>) -> Result<Keyring, KeyringError> {
        let root = self.head.passphrase.open(&self.head.id, passphrase)?;
        self.open_content(root, || KeyringError::Tampered)
    }

    /// Opens it by its recovery kit, without the passphrase.
    pub fn open_with_kit(&self, secret: &RecoverySecret) -> Result<Keyring, KeyringError> {
        let root = self.head.recovery.open(&self.head.id, secret)?;
        self.open_content(root, || KeyringError::Tampered)
    }

    /// Opens it as a later state of `earlier`, whose root it must still have; and whose passphrase too, unless the kit
    /// opened it: who knew the former passphrase only must neither write nor bring it back.
    fn reopen(&self, earlier: Keyring, reopening: Reopening) -> Result<Keyring, KeyringError> {
        let same_passphrase = earlier.head.passphrase.is_same(&self.head.passphrase);
        if earlier.head.id != self.head.id || (reopening == Reopening::ByPassphrase && !same_passphrase) {
            return Err(KeyringError::Replaced);
        }
        let opened = earlier.head.generation;
        let keyring = self.open_content(earlier.root, || KeyringError::Replaced)?;
        let found = keyring.head.generation;
        if found < opened { Err(KeyringError::RolledBack { opened, found }) } else { Ok(keyring) }
    }

    fn open_content(&self, root: Root, failure: impl FnOnce() -> KeyringError) -> Result<Keyring, KeyringError> {
        let (cipher, nonce) = derived_cipher(root.prk(), &[CONTENT_LABEL, &self.head.content_salt])?;
        let mut buffer = self.content.clone();
        let content = cipher.open_in_place(&nonce, &self.head_bytes, &mut buffer).map_err(|_| failure())?;
        let entries = codec::decode_content(content)?;
        let entries = entries.into_iter().map(|entry| (entry.name.clone(), entry)).collect();
        Ok(Keyring { head: self.head.clone(), root, entries })
    }
}

/// What entitles to reopen a keyring whose file may have changed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reopening {
    ByPassphrase,
    ByKit,
}

/// A new passphrase for one keyring, stretched already: what takes long is done before the lock is taken.
pub struct NewPassphrase {
    keyring: [u8; KEYRING_ID_LEN],
    slot: PassphraseSlot,
}

/// A new kit and root for one keyring, its passphrase stretched already.
pub struct NewKit {
    head: Head,
    root: Root,
}

/// An opened keyring: the root in memory, every KEK wrapped under it.
///
/// It is a [`crate::keys::KeyProvider`], and it is what the commands change. A change here reaches no file: that is
/// [`KeyringFile::update`].
pub struct Keyring {
    head: Head,
    root: Root,
    entries: BTreeMap<EntryName, Entry>,
}

/// Whether a new version seals at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// It seals from now on.
    Active,
    /// It is pre-active: the backup can be renewed before anything depends on it.
    Prepared,
}

impl Readiness {
    const fn state(self) -> KeyState {
        match self {
            Self::Active => KeyState::Active,
            Self::Prepared => KeyState::PreActive,
        }
    }
}

impl Keyring {
    /// A new keyring without entries, under a new root, generation 0.
    pub fn create(
        passphrase: &Secret<[u8]>,
        params: Argon2Params,
        kit: (&RecoverySecret, KitForm),
        now: Timestamp,
        random: &RandomSource,
    ) -> Result<Self, KeyringError> {
        let id = random.draw_public(now, b"keyring id")?;
        let root = Root::draw(now, random)?;
        let head = Self::fresh_head(id, &root, (passphrase, params), kit, now, random)?;
        Ok(Self { head, root, entries: BTreeMap::new() })
    }

    fn fresh_head(
        id: [u8; KEYRING_ID_LEN],
        root: &Root,
        (passphrase, params): (&Secret<[u8]>, Argon2Params),
        (secret, form): (&RecoverySecret, KitForm),
        now: Timestamp,
        random: &RandomSource,
    ) -> Result<Head, KeyringError> {
        if !form.is_valid() {
            return Err(KeyringError::Malformed("recovery kit"));
        }
        let kit = KitDescription { id: secret.kit_id(), form, made: now };
        Ok(Head {
            id,
            generation: 0,
            passphrase: PassphraseSlot::seal(root, &id, passphrase, params, now, random)?,
            recovery: RecoverySlot::seal(root, &id, secret, kit, now, random)?,
            content_salt: [0; CONTENT_SALT_LEN],
        })
    }

    /// The keyring's random id.
    #[must_use]
    pub const fn id(&self) -> &[u8; KEYRING_ID_LEN] {
        &self.head.id
    }

    /// How often it was written.
    #[must_use]
    pub const fn generation(&self) -> u64 {
        self.head.generation
    }

    /// The recovery kit that opens it.
    #[must_use]
    pub const fn kit(&self) -> &KitDescription {
        &self.head.recovery.kit
    }

    /// The passphrase's cost.
    #[must_use]
    pub const fn argon2(&self) -> Argon2Params {
        self.head.passphrase.params
    }

    /// The entries in the order of their names.
    #[must_use]
    pub fn entries(&self) -> impl ExactSizeIterator<Item = &Entry> {
        self.entries.values()
    }

    /// One entry.
    #[must_use]
    pub fn entry(&self, name: &EntryName) -> Option<&Entry> {
        self.entries.get(name)
    }

    /// The entry and version of a KEK id, whichever tenant's it is: for listings and for telling the user which entry
    /// an object was sealed under. It gives no key.
    #[must_use]
    pub fn find(&self, kek_id: KekId) -> Option<(&Entry, &Version)> {
        self.entries.values().find_map(|entry| {
            entry.versions.iter().find(|version| version.kek_id == kek_id).map(|version| (entry, version))
        })
    }

    /// Whether a KEK is marked compromised: who opens something with it should be warned.
    #[must_use]
    pub fn is_compromised(&self, kek_id: KekId) -> bool {
        self.find(kek_id).is_some_and(|(_, version)| version.standing.state == KeyState::Compromised)
    }

    /// The file's bytes as write number `generation`, under a fresh content salt.
    fn encode(&self, generation: u64, now: Timestamp, random: &RandomSource) -> Result<Vec<u8>, KeyringError> {
        let content_salt = random.draw_public(now, b"keyring content salt")?;
        let head = Head { generation, content_salt, ..self.head.clone() };
        let mut content = codec::encode_content(self.entries.values())?;
        let mut file = codec::encode_head(&head, content.len())?;
        let (cipher, nonce) = derived_cipher(self.root.prk(), &[CONTENT_LABEL, &head.content_salt])?;
        let tag = cipher.seal_in_place(&nonce, &file, &mut content)?;
        file.extend_from_slice(&content);
        file.extend_from_slice(&tag);
        let checksum = sha256(&[&file]);
        file.extend_from_slice(&checksum);
        Ok(file)
    }

    fn wrap_kek(
        &self,
        entry: &Entry,
        kek: &Kek,
        now: Timestamp,
        random: &RandomSource,
    ) -> Result<WrappedKek, ChangeError> {
        let salt = random.draw_public(now, b"keyring kek salt")?;
        let wrapped =
            with_kek_info(entry, kek.id(), &salt, |info| wrap_32(self.root.prk(), info, &[], kek.expose_secret()))?;
        Ok(WrappedKek { salt, wrapped })
    }

    /// Unwraps one KEK for one use. The check value must agree.
    fn kek(&self, entry: &Entry, version: &Version) -> Result<Kek, KeyError> {
        let damaged = || KeyError::Unavailable(format!("KEK {} in the keyring is damaged", version.kek_id));
        let key = version.key.as_ref().ok_or(KeyError::Revoked(KeyState::Destroyed))?;
        let secret: Secret<[u8; KEY_LEN]> =
            with_kek_info(entry, version.kek_id, &key.salt, |info| unwrap_32(self.root.prk(), info, &[], &key.wrapped))
                .map_err(|_| damaged())?;
        let kek = Kek::new(version.kek_id, entry.alg, secret).ok_or_else(damaged)?;
        if kek.check_value() == version.check_value { Ok(kek) } else { Err(damaged()) }
    }

    /// Unwraps every KEK that is not destroyed, and drops it again: proves that this keyring holds them all. The number
    /// of KEKs that were proved.
    pub fn prove(&self) -> Result<usize, KeyError> {
        let mut proved = 0usize;
        for entry in self.entries.values() {
            for version in entry.versions.iter().filter(|version| version.key.is_some()) {
                self.kek(entry, version)?;
                proved = proved.saturating_add(1);
            }
        }
        Ok(proved)
    }

    fn total_versions(&self) -> usize {
        self.entries.values().map(|entry| entry.versions.len()).sum()
    }

    fn entry_mut(&mut self, name: &EntryName) -> Result<&mut Entry, ChangeError> {
        self.entries.get_mut(name).ok_or_else(|| ChangeError::NoEntry(name.clone()))
    }

    /// Draws a KEK and its id and puts it into `entry` as its next version.
    fn add_version(
        &self,
        entry: &mut Entry,
        state: KeyState,
        now: Timestamp,
        random: &RandomSource,
    ) -> Result<u32, ChangeError> {
        let kek_id = KekId::from_bytes(random.draw_public(now, b"kek id")?);
        let kek = Kek::new(kek_id, entry.alg, random.draw(now, b"kek")?).ok_or(ChangeError::Service)?;
        self.put_version(entry, &kek, state, now, random)
    }

    fn put_version(
        &self,
        entry: &mut Entry,
        kek: &Kek,
        state: KeyState,
        now: Timestamp,
        random: &RandomSource,
    ) -> Result<u32, ChangeError> {
        let kek_id = kek.id();
        let known = self.find(kek_id).map(|(_, version)| version);
        let known = known.or_else(|| entry.versions.iter().find(|version| version.kek_id == kek_id));
        if let Some(version) = known {
            let destroyed = version.standing.state == KeyState::Destroyed;
            return Err(ChangeError::KekIdTaken { id: kek_id, destroyed });
        }
        let number = entry.next_number().ok_or(ChangeError::Full)?;
        let key = Some(self.wrap_kek(entry, kek, now, random)?);
        let standing = Standing::plain(state);
        let check_value = kek.check_value();
        entry.versions.push(Version { number, kek_id, standing, created: now, changed: now, check_value, key });
        Ok(number)
    }

    /// Makes a new entry with one version.
    pub fn create_entry(
        &mut self,
        name: &EntryName,
        tenant: &TenantId,
        alg: WrapAlg,
        readiness: Readiness,
        now: Timestamp,
        random: &RandomSource,
    ) -> Result<(), ChangeError> {
        if let Some(entry) = self.entries.get(name) {
            let destroyed = entry.versions.iter().all(|version| version.standing.state == KeyState::Destroyed);
            let name = name.clone();
            return Err(if destroyed { ChangeError::EntryDestroyed(name) } else { ChangeError::EntryExists(name) });
        }
        if self.entries.len() >= MAX_ENTRIES || self.total_versions() >= MAX_VERSIONS {
            return Err(ChangeError::Full);
        }
        let mut entry = Entry { name: name.clone(), tenant: tenant.clone(), alg, created: now, versions: Vec::new() };
        self.add_version(&mut entry, readiness.state(), now, random)?;
        self.entries.insert(name.clone(), entry);
        Ok(())
    }

    /// Rotates: [`Readiness::Active`] activates the prepared version, or makes a new one, and retires the one before
    /// it, a suspended one too; [`Readiness::Prepared`] makes a new pre-active version and changes nothing else. Returns the
    /// number of the version that was made or activated.
    pub fn rotate(
        &mut self,
        name: &EntryName,
        readiness: Readiness,
        now: Timestamp,
        random: &RandomSource,
    ) -> Result<u32, ChangeError> {
        let full = self.total_versions() >= MAX_VERSIONS;
        let mut entry = self.entries.remove(name).ok_or_else(|| ChangeError::NoEntry(name.clone()))?;
        let rotated = self.rotate_entry(&mut entry, readiness, full, now, random);
        self.entries.insert(name.clone(), entry);
        rotated
    }

    fn rotate_entry(
        &self,
        entry: &mut Entry,
        readiness: Readiness,
        full: bool,
        now: Timestamp,
        random: &RandomSource,
    ) -> Result<u32, ChangeError> {
        let prepared = entry.versions.iter().rev().find(|version| version.standing.state == KeyState::PreActive);
        let number = match (prepared.map(|version| version.number), readiness) {
            (Some(number), Readiness::Prepared) => {
                return Err(ChangeError::Prepared { name: entry.name.clone(), number });
            }
            (Some(number), Readiness::Active) => number,
            (None, _) if full => return Err(ChangeError::Full),
            (None, _) => return self.rotate_to_new(entry, readiness, now, random),
        };
        make_active(entry, number, now);
        Ok(number)
    }

    fn rotate_to_new(
        &self,
        entry: &mut Entry,
        readiness: Readiness,
        now: Timestamp,
        random: &RandomSource,
    ) -> Result<u32, ChangeError> {
        let number = self.add_version(entry, KeyState::PreActive, now, random)?;
        if readiness == Readiness::Active {
            make_active(entry, number, now);
        }
        Ok(number)
    }

    /// Takes `action` on one version, or, for `None`, on every version that it makes sense for: activation on the
    /// newest prepared one, all other actions on each version that the state table lets, except that destroying all is
    /// refused while one is active. Returns the numbers of the versions that changed; on an error none did.
    pub fn apply(
        &mut self,
        name: &EntryName,
        number: Option<u32>,
        action: Action,
        now: Timestamp,
    ) -> Result<Vec<u32>, ChangeError> {
        let changes = self.plan(name, number, action)?;
        let entry = self.entry_mut(name)?;
        for (number, after) in &changes {
            if action == Action::Activate {
                make_active(entry, *number, now);
            } else {
                set_standing(entry, *number, now, |_| Some(*after));
            }
        }
        Ok(changes.into_iter().map(|(number, _)| number).collect())
    }

    /// What [`Keyring::apply`] would do: the versions and what they would become. Changes nothing.
    pub fn plan(
        &self,
        name: &EntryName,
        number: Option<u32>,
        action: Action,
    ) -> Result<Vec<(u32, Standing)>, ChangeError> {
        let entry = self.entry(name).ok_or_else(|| ChangeError::NoEntry(name.clone()))?;
        let numbers = match number {
            Some(number) => vec![number],
            None => entry.affected_by(action),
        };
        if numbers.is_empty() {
            return Err(ChangeError::Nothing { name: name.clone(), action });
        }
        let mut changes = Vec::with_capacity(numbers.len());
        for number in numbers {
            let version = entry.versions.iter().find(|version| version.number == number);
            let version = version.ok_or_else(|| ChangeError::NoVersion { name: name.clone(), number })?;
            let after = version.standing.after(action).map_err(|cause| ChangeError::Transition {
                name: name.clone(),
                number,
                cause,
            })?;
            changes.push((number, after));
        }
        Ok(changes)
    }

    /// Puts a new passphrase in the place of the old one. The root stays: whoever kept an older copy of the file and
    /// its passphrase still has it. A new root comes with [`Keyring::renew_kit`].
    pub fn set_passphrase(
        &mut self,
        passphrase: &Secret<[u8]>,
        params: Argon2Params,
        now: Timestamp,
        random: &RandomSource,
    ) -> Result<(), KeyringError> {
        let new = self.prepare_passphrase(passphrase, params, now, random)?;
        self.assign_passphrase(new)
    }

    /// The slow part of [`Keyring::set_passphrase`].
    pub fn prepare_passphrase(
        &self,
        passphrase: &Secret<[u8]>,
        params: Argon2Params,
        now: Timestamp,
        random: &RandomSource,
    ) -> Result<NewPassphrase, KeyringError> {
        let slot = PassphraseSlot::seal(&self.root, &self.head.id, passphrase, params, now, random)?;
        Ok(NewPassphrase { keyring: self.head.id, slot })
    }

    /// The rest of it, on the same keyring or a later state of it under the same root.
    pub fn assign_passphrase(&mut self, new: NewPassphrase) -> Result<(), KeyringError> {
        if new.keyring != self.head.id {
            return Err(KeyringError::Replaced);
        }
        self.head.passphrase = new.slot;
        Ok(())
    }

    /// Gives the keyring a new recovery kit and a new root, under which every KEK is wrapped anew. The former kit and
    /// the former root open nothing that is written from now on.
    pub fn renew_kit(
        &mut self,
        passphrase: &Secret<[u8]>,
        kit: (&RecoverySecret, KitForm),
        now: Timestamp,
        random: &RandomSource,
    ) -> Result<(), ChangeError> {
        let new = self.prepare_kit(passphrase, kit, now, random)?;
        self.assign_kit(new, now, random)
    }

    /// The slow part of [`Keyring::renew_kit`].
    pub fn prepare_kit(
        &self,
        passphrase: &Secret<[u8]>,
        kit: (&RecoverySecret, KitForm),
        now: Timestamp,
        random: &RandomSource,
    ) -> Result<NewKit, KeyringError> {
        let root = Root::draw(now, random)?;
        let params = self.head.passphrase.params;
        let head = Self::fresh_head(self.head.id, &root, (passphrase, params), kit, now, random)?;
        Ok(NewKit { head, root })
    }

    /// The rest of it, on the same keyring or a later state of it.
    pub fn assign_kit(&mut self, new: NewKit, now: Timestamp, random: &RandomSource) -> Result<(), ChangeError> {
        let NewKit { head, root } = new;
        if head.id != self.head.id {
            return Err(KeyringError::Replaced.into());
        }
        let mut renewed =
            Self { head: Head { generation: self.head.generation, ..head }, root, entries: BTreeMap::new() };
        for (name, entry) in &self.entries {
            let mut copy = Entry { name: name.clone(), tenant: entry.tenant.clone(), versions: Vec::new(), ..*entry };
            for version in &entry.versions {
                let mut key = None;
                if version.key.is_some() {
                    let kek = self.kek(entry, version).map_err(|_| KeyringError::Malformed("KEK"))?;
                    key = Some(renewed.wrap_kek(&copy, &kek, now, random)?);
                }
                copy.versions.push(Version { key, ..*version });
            }
            renewed.entries.insert(name.clone(), copy);
        }
        *self = renewed;
        Ok(())
    }
}

impl Entry {
    fn affected_by(&self, action: Action) -> Vec<u32> {
        let possible = |version: &&Version| match action {
            // An active version is not passed over in silence: the table refuses it, and the whole with it.
            Action::Destroy => version.standing.state != KeyState::Destroyed,
            _ => version.standing.after(action).is_ok(),
        };
        let mut numbers = self.versions.iter().filter(possible).map(|version| version.number);
        match action {
            Action::Activate => numbers.next_back().into_iter().collect(),
            _ => numbers.collect(),
        }
    }
}

/// Lets one version seal and retires every other that does or, suspended, would again: at most one version is active
/// or resumes as active.
fn make_active(entry: &mut Entry, number: u32, now: Timestamp) {
    let others: Vec<u32> = entry.versions.iter().map(|version| version.number).filter(|n| *n != number).collect();
    for other in others {
        set_standing(entry, other, now, |standing| standing.after(Action::Deactivate).ok());
    }
    set_standing(entry, number, now, |_| Some(Standing::plain(KeyState::Active)));
}

fn set_standing(entry: &mut Entry, number: u32, now: Timestamp, after: impl Fn(Standing) -> Option<Standing>) {
    for version in entry.versions.iter_mut().filter(|version| version.number == number) {
        if let Some(standing) = after(version.standing) {
            version.standing = standing;
            version.changed = now;
            if standing.state == KeyState::Destroyed {
                version.key = None;
            }
        }
    }
}

fn with_kek_info<T>(
    entry: &Entry,
    kek_id: KekId,
    salt: &[u8; KEK_SALT_LEN],
    use_info: impl FnOnce(&[&[u8]]) -> Result<T, AeadError>,
) -> Result<T, AeadError> {
    let (tenant, name) = (entry.tenant.as_str().as_bytes(), entry.name.as_str().as_bytes());
    let len = |text: &[u8]| u32::try_from(text.len()).map(u32::to_be_bytes).map_err(|_| AeadError::TooLong);
    let (tenant_len, name_len) = (len(tenant)?, len(name)?);
    use_info(&[KEK_LABEL, &tenant_len, tenant, &name_len, name, &[entry.alg as u8], kek_id.as_bytes(), salt])
}

#[cfg(test)]
mod tests;

//! The keyring's file: read by anyone who may, written whole under a lock.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use zeroize::Zeroizing;

use super::{Keyring, KeyringError, MAX_KEYRING_LEN, Reopening, SealedKeyring, parse};
use crate::clock::Timestamp;
use crate::crypto::random::RandomSource;
use crate::keys::file::{
    Durability, FileError, WriteLock, create_private, probe_folder, read_bounded, read_private, sync_folder, temporary,
};

/// A keyring file by its path.
#[derive(Clone, Debug)]
pub struct KeyringFile {
    path: PathBuf,
}

/// A change of a keyring's file that is in force.
pub struct Updated<T> {
    /// The keyring as it was written.
    pub keyring: Keyring,
    /// What the change gave.
    pub result: T,
    /// Whether it would survive a power cut.
    pub durability: Durability,
}

impl KeyringFile {
    /// The file at `path`, which need not exist yet.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads and decodes the file; it must be the user's own and of mode 0600. Takes no lock: a writer replaces the
    /// file whole.
    pub fn read(&self) -> Result<SealedKeyring, KeyringError> {
        read_at(&self.path)
    }

    /// Like [`KeyringFile::read`] for a backup copy, which may be anybody's and have any mode: it is sealed.
    pub fn read_copy(&self) -> Result<SealedKeyring, KeyringError> {
        decoded(read_bounded(&self.path, MAX_KEYRING_LEN))
    }

    /// Proves, as far as that goes beforehand, that [`KeyringFile::update`] will be able to write: the lock is to be
    /// had, and files can be made in the folder.
    pub fn probe(&self, now: Timestamp, random: &RandomSource) -> Result<(), KeyringError> {
        let lock = WriteLock::acquire(&self.path)?;
        Ok(probe_folder(lock.path(), random.draw_public(now, b"temporary name")?)?)
    }

    /// Writes `keyring` as a new file of mode 0600, generation 1 more than it says. An existing file is left alone.
    ///
    /// Before it bears its name the file is whole and on the device.
    pub fn create(&self, keyring: &Keyring, now: Timestamp, random: &RandomSource) -> Result<(), KeyringError> {
        let exists = || FileError::Exists { path: self.path.clone() };
        if fs::symlink_metadata(&self.path).is_ok() {
            return Err(exists().into());
        }
        let bytes = keyring.encode(keyring.generation().saturating_add(1), now, random)?;
        let unique = random.draw_public(now, b"temporary name")?;
        let temporary = temporary(&self.path, unique);
        create_private(&temporary, &bytes)?;
        let named = self.name_new(&temporary, &bytes);
        let _ = fs::remove_file(&temporary);
        named?;
        sync_folder(&self.path).map_err(|cause| {
            // A keyring that is reported as not made must not be there.
            let _ = fs::remove_file(&self.path);
            FileError::Io { path: self.path.clone(), cause }.into()
        })
    }

    /// Gives the whole file its name, unless the name is taken meanwhile.
    fn name_new(&self, temporary: &Path, bytes: &[u8]) -> Result<(), FileError> {
        let exists = || FileError::Exists { path: self.path.clone() };
        match fs::hard_link(temporary, &self.path) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(exists()),
            // A file system without links.
            Err(_) => {}
        }
        match renameat_with(CWD, temporary, CWD, &self.path, RenameFlags::NOREPLACE) {
            Ok(()) => Ok(()),
            Err(Errno::EXIST) => Err(exists()),
            // One without such renames either: the name comes first and the content after it.
            Err(_) => create_private(&self.path, bytes),
        }
    }

    /// Changes the keyring: takes the lock, reads the file again, opens it with the root that `opened` has, lets
    /// `change` work on what it says *now*, and replaces it. On any error the file is what it was; what fails once the
    /// new file has its name is in [`Updated::durability`].
    ///
    /// So of two writers the second works on the first one's result, and the passphrase is stretched outside the lock.
    /// A keyring whose passphrase was changed meanwhile is not touched: it takes the new one.
    pub fn update<T, E: From<KeyringError>>(
        &self,
        opened: Keyring,
        now: Timestamp,
        random: &RandomSource,
        change: impl FnOnce(&mut Keyring) -> Result<T, E>,
    ) -> Result<Updated<T>, E> {
        self.update_as(Reopening::ByPassphrase, opened, now, random, change)
    }

    /// Like [`KeyringFile::update`] for a keyring that its kit opened: whatever its passphrase is by now.
    pub fn update_by_kit<T, E: From<KeyringError>>(
        &self,
        opened: Keyring,
        now: Timestamp,
        random: &RandomSource,
        change: impl FnOnce(&mut Keyring) -> Result<T, E>,
    ) -> Result<Updated<T>, E> {
        self.update_as(Reopening::ByKit, opened, now, random, change)
    }

    fn update_as<T, E: From<KeyringError>>(
        &self,
        reopening: Reopening,
        opened: Keyring,
        now: Timestamp,
        random: &RandomSource,
        change: impl FnOnce(&mut Keyring) -> Result<T, E>,
    ) -> Result<Updated<T>, E> {
        let lock = WriteLock::acquire(&self.path).map_err(KeyringError::from)?;
        let mut keyring = read_at(lock.path())?.reopen(opened, reopening)?;
        let result = change(&mut keyring)?;
        let generation = keyring.generation().checked_add(1).ok_or(KeyringError::TooLarge)?;
        let bytes = keyring.encode(generation, now, random)?;
        let unique = random.draw_public(now, b"temporary name").map_err(KeyringError::from)?;
        let durability = lock.replace(&bytes, unique).map_err(KeyringError::from)?;
        keyring.head.generation = generation;
        Ok(Updated { keyring, result, durability })
    }
}

fn read_at(path: &Path) -> Result<SealedKeyring, KeyringError> {
    decoded(read_private(path, MAX_KEYRING_LEN))
}

fn decoded(bytes: Result<Zeroizing<Vec<u8>>, FileError>) -> Result<SealedKeyring, KeyringError> {
    parse(&bytes.map_err(|error| match error {
        FileError::TooLarge { .. } => KeyringError::TooLarge,
        other => KeyringError::File(other),
    })?)
}

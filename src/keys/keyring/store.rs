//! The keyring's file: read by anyone who may, written whole under a lock.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{Keyring, KeyringError, MAX_KEYRING_LEN, SealedKeyring, parse};
use crate::clock::Timestamp;
use crate::crypto::random::RandomSource;
use crate::keys::file::{FileError, WriteLock, create_private, read_private};

/// A keyring file by its path.
#[derive(Clone, Debug)]
pub struct KeyringFile {
    path: PathBuf,
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

    /// Writes `keyring` as a new file of mode 0600, generation 1 more than it says. An existing file is left alone.
    ///
    /// Before it bears its name the file is whole and on the device.
    pub fn create(&self, keyring: &Keyring, now: Timestamp, random: &RandomSource) -> Result<(), KeyringError> {
        let exists = || FileError::Exists { path: self.path.clone() };
        if fs::symlink_metadata(&self.path).is_ok() {
            return Err(exists().into());
        }
        let bytes = keyring.encode(keyring.generation().saturating_add(1), now, random)?;
        let unique = u64::from_be_bytes(random.draw_public(now, b"temporary name")?);
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        let temporary = self.path.with_file_name(format!(".{name}.tmp-{unique:016x}"));
        create_private(&temporary, &bytes)?;
        // A link, unlike a rename, fails if the name is taken meanwhile.
        let linked = match fs::hard_link(&temporary, &self.path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(exists()),
            // A file system without links.
            Err(_) => create_private(&self.path, &bytes),
            Ok(()) => Ok(()),
        };
        let removed = fs::remove_file(&temporary)
            .and_then(|()| fs::File::open(parent(&self.path))?.sync_all())
            .map_err(|cause| FileError::Io { path: temporary, cause });
        linked?;
        removed.map_err(|error| {
            // A keyring that is reported as not made must not be there.
            let _ = fs::remove_file(&self.path);
            error.into()
        })
    }

    /// Changes the keyring: takes the lock, reads the file again, opens it with the root that `opened` has, lets
    /// `change` work on what it says *now*, and replaces it. On any error the file is what it was.
    ///
    /// So of two writers the second works on the first one's result, and the passphrase is stretched outside the lock.
    pub fn update<T, E: From<KeyringError>>(
        &self,
        opened: Keyring,
        now: Timestamp,
        random: &RandomSource,
        change: impl FnOnce(&mut Keyring) -> Result<T, E>,
    ) -> Result<(Keyring, T), E> {
        let lock = WriteLock::acquire(&self.path).map_err(KeyringError::from)?;
        let mut keyring = read_at(lock.path())?.reopen(opened)?;
        let result = change(&mut keyring)?;
        let generation = keyring.generation().checked_add(1).ok_or(KeyringError::TooLarge)?;
        let bytes = keyring.encode(generation, now, random)?;
        let unique = random.draw_public(now, b"temporary name").map_err(KeyringError::from)?;
        lock.replace(&bytes, unique).map_err(KeyringError::from)?;
        keyring.head.generation = generation;
        Ok((keyring, result))
    }
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn read_at(path: &Path) -> Result<SealedKeyring, KeyringError> {
    let bytes = read_private(path, MAX_KEYRING_LEN).map_err(|error| match error {
        FileError::TooLarge { .. } => KeyringError::TooLarge,
        other => KeyringError::File(other),
    })?;
    parse(&bytes)
}

//! Files that hold secrets: read only when nobody else can, made so that nobody else can, replaced whole.
//!
//! A file is never written in place: the new text goes to a file of its own in the same folder, is flushed to the
//! device, and takes the name of the old one in one step. Whoever reads finds the old text or the new one.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use thiserror::Error;
use zeroize::Zeroizing;

const POLL: Duration = Duration::from_millis(50);
const POLLS: u32 = 160;

/// Why a file was not read or written.
#[derive(Debug, Error)]
pub enum FileError {
    /// The operating system refused.
    #[error("{}: {cause}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// The path is a folder, a pipe or a device.
    #[error("{} is not a regular file", path.display())]
    NotAFile {
        /// Which file.
        path: PathBuf,
    },
    /// Others than the owner have rights to the file.
    #[error("{} is open to others (mode {mode:04o}): run `chmod 600 {}`", path.display(), path.display())]
    Permissions {
        /// Which file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file belongs to another user.
    #[error("{} belongs to user {owner}, not to user {user} who runs this", path.display())]
    Owner {
        /// Which file.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Who runs the program.
        user: u32,
    },
    /// The file is larger than any such file can be. It was not read.
    #[error("{} is larger than {limit} bytes", path.display())]
    TooLarge {
        /// Which file.
        path: PathBuf,
        /// The limit.
        limit: u64,
    },
    /// There is a file of that name already.
    #[error("{} exists already and is not overwritten", path.display())]
    Exists {
        /// Which file.
        path: PathBuf,
    },
    /// Another process holds the lock.
    #[error("{} is locked by another process; try again when it is done", path.display())]
    Locked {
        /// Which file.
        path: PathBuf,
    },
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> FileError + '_ {
    |cause| FileError::Io { path: path.to_owned(), cause }
}

/// Reads a whole file of at most `limit` bytes that its owner alone can touch: mode 0600 or narrower, owned by the
/// user who runs the program.
pub fn read_private(path: &Path, limit: u64) -> Result<Zeroizing<Vec<u8>>, FileError> {
    read(path, limit, true)
}

/// Like [`read_private`], without regard to owner and permissions: for what is no secret by itself.
pub fn read_bounded(path: &Path, limit: u64) -> Result<Zeroizing<Vec<u8>>, FileError> {
    read(path, limit, false)
}

fn read(path: &Path, limit: u64, private: bool) -> Result<Zeroizing<Vec<u8>>, FileError> {
    // Before it is opened: opening a pipe would wait for its other end.
    if !fs::metadata(path).map_err(io_error(path))?.is_file() {
        return Err(FileError::NotAFile { path: path.to_owned() });
    }
    let file = File::open(path).map_err(io_error(path))?;
    let metadata = file.metadata().map_err(io_error(path))?;
    if private {
        let mode = metadata.mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(FileError::Permissions { path: path.to_owned(), mode });
        }
        let (owner, user) = (metadata.uid(), rustix::process::geteuid().as_raw());
        if owner != user {
            return Err(FileError::Owner { path: path.to_owned(), owner, user });
        }
    }
    let too_large = || FileError::TooLarge { path: path.to_owned(), limit };
    if metadata.len() > limit {
        return Err(too_large());
    }
    // Room for all of it and one byte more: a buffer that grows leaves copies behind.
    let room = usize::try_from(metadata.len()).map_err(|_| too_large())?.saturating_add(1);
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(io_error(path))?;
    if u64::try_from(bytes.len()).is_ok_and(|len| len <= limit) { Ok(bytes) } else { Err(too_large()) }
}

/// Makes a new file of mode 0600 and writes all of `bytes` to the device. An existing file is left alone; a file that
/// could not be written whole is removed again.
pub fn create_private(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(|cause| {
        if cause.kind() == io::ErrorKind::AlreadyExists {
            FileError::Exists { path: path.to_owned() }
        } else {
            FileError::Io { path: path.to_owned(), cause }
        }
    })?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    drop(file);
    written.and_then(|()| sync_folder(path)).map_err(|cause| {
        // The write's failure is what matters; what remains of the file is incomplete in any case.
        let _ = fs::remove_file(path);
        FileError::Io { path: path.to_owned(), cause }
    })
}

/// The folder that `path` lies in.
fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(folder(path))?.sync_all()
}

/// `.NAME.tmp-`, the beginning of the names of unfinished writes of the file NAME.
fn temporary_prefix(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    format!(".{name}.tmp-")
}

/// The exclusive right to replace one file, held until it is dropped. Readers need none.
///
/// It is a lock on `NAME.lock` beside the real file, which stays behind: removing it would let two writers hold two
/// different locks.
pub struct WriteLock {
    real: PathBuf,
    _lock: File,
}

impl WriteLock {
    /// Waits up to eight seconds for the lock on an existing file. A symbolic link is followed: its target is what is
    /// locked and replaced. Leftovers of writers that crashed are removed.
    pub fn acquire(path: &Path) -> Result<Self, FileError> {
        Self::acquire_within(path, POLLS)
    }

    fn acquire_within(path: &Path, polls: u32) -> Result<Self, FileError> {
        let real = fs::canonicalize(path).map_err(io_error(path))?;
        let mut name = real.file_name().unwrap_or_default().to_owned();
        name.push(".lock");
        let lock_path = real.with_file_name(name);
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&lock_path)
            .map_err(io_error(&lock_path))?;
        for _ in 0..polls {
            match lock.try_lock() {
                Ok(()) => {
                    let held = Self { real, _lock: lock };
                    held.remove_leftovers()?;
                    return Ok(held);
                }
                Err(TryLockError::WouldBlock) => thread::sleep(POLL),
                Err(TryLockError::Error(cause)) => return Err(FileError::Io { path: lock_path, cause }),
            }
        }
        Err(FileError::Locked { path: path.to_owned() })
    }

    fn remove_leftovers(&self) -> Result<(), FileError> {
        let prefix = temporary_prefix(&self.real);
        for entry in fs::read_dir(folder(&self.real)).map_err(io_error(&self.real))? {
            let entry = entry.map_err(io_error(&self.real))?;
            if entry.file_name().to_string_lossy().starts_with(&prefix) {
                fs::remove_file(entry.path()).map_err(io_error(&entry.path()))?;
            }
        }
        Ok(())
    }

    /// The real path of the locked file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.real
    }

    /// Replaces the file by `bytes`, whole or not at all. `unique` tells this write's temporary file from others'.
    pub fn replace(&self, bytes: &[u8], unique: [u8; 8]) -> Result<(), FileError> {
        let name = format!("{}{:016x}", temporary_prefix(&self.real), u64::from_be_bytes(unique));
        let temporary = self.real.with_file_name(name);
        create_private(&temporary, bytes)?;
        fs::rename(&temporary, &self.real).map_err(|cause| {
            let _ = fs::remove_file(&temporary);
            FileError::Io { path: self.real.clone(), cause }
        })?;
        sync_folder(&self.real).map_err(io_error(&self.real))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn only_private_regular_files_of_bounded_size_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        create_private(&path, b"12345").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(*read_private(&path, 5).unwrap(), b"12345");
        assert!(matches!(read_private(&path, 4), Err(FileError::TooLarge { limit: 4, .. })));
        for mode in [0o640, 0o604, 0o610, 0o601, 0o602] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let error = read_private(&path, 5).unwrap_err();
            assert!(error.to_string().contains("chmod 600"), "{error}");
            assert!(read_bounded(&path, 5).is_ok());
        }
        assert!(matches!(read_private(dir.path(), 5), Err(FileError::NotAFile { .. })));
        assert!(matches!(read_private(&dir.path().join("none"), 5), Err(FileError::Io { .. })));
    }

    #[test]
    fn a_file_of_another_user_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        create_private(&path, b"x").unwrap();
        if std::os::unix::fs::chown(&path, Some(12345), None).is_ok() {
            assert!(matches!(read_private(&path, 5), Err(FileError::Owner { owner: 12345, .. })));
        }
    }

    #[test]
    fn an_existing_file_is_never_overwritten_by_create() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        create_private(&path, b"old").unwrap();
        assert!(matches!(create_private(&path, b"new"), Err(FileError::Exists { .. })));
        assert_eq!(fs::read(&path).unwrap(), b"old");
    }

    #[test]
    fn a_writer_that_waits_in_vain_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        create_private(&path, b"x").unwrap();
        let held = WriteLock::acquire(&path).unwrap();
        assert!(matches!(WriteLock::acquire_within(&path, 2), Err(FileError::Locked { .. })));
        drop(held);
        assert!(WriteLock::acquire_within(&path, 1).is_ok());
        assert!(matches!(WriteLock::acquire(&dir.path().join("none")), Err(FileError::Io { .. })));
    }

    #[test]
    fn replacing_follows_the_link_and_sweeps_leftovers() {
        let dir = tempfile::tempdir().unwrap();
        let real = dir.path().join("real");
        let link = dir.path().join("link");
        create_private(&real, b"old").unwrap();
        symlink(&real, &link).unwrap();
        fs::write(dir.path().join(".real.tmp-0123"), b"half").unwrap();
        fs::write(dir.path().join(".other.tmp-0123"), b"not ours").unwrap();
        let lock = WriteLock::acquire(&link).unwrap();
        lock.replace(b"new", [1; 8]).unwrap();
        assert_eq!(fs::read(&real).unwrap(), b"new");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        let mut names: Vec<_> =
            fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        assert_eq!(names, [".other.tmp-0123", "link", "real", "real.lock"]);
    }
}

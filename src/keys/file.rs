//! Files that hold secrets: read only when nobody else can, made so that nobody else can, replaced whole.
//!
//! A file is never written in place: the new text goes to a file of its own in the same folder, is flushed to the
//! device, and takes the name of the old one in one step. Whoever reads finds the old text or the new one.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rustix::fs::OFlags;
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

/// Reads a whole file of at most `limit` bytes that nobody else can touch: mode 0600 or narrower, owned by the user who runs
/// the program; or mode 0640 or narrower, owned by root: so orchestrators and service managers hand secrets to a group.
pub fn read_private(path: &Path, limit: u64) -> Result<Zeroizing<Vec<u8>>, FileError> {
    read(path, limit, true)
}

/// Reads a file as [`read_private`] does that holds one secret: one line end at its end is ignored, as an editor leaves it.
pub fn read_secret_line(path: &Path, limit: u64) -> Result<Zeroizing<Vec<u8>>, FileError> {
    let mut bytes = read_private(path, limit)?;
    for end in [b'\n', b'\r'] {
        if bytes.last() == Some(&end) {
            bytes.pop();
        }
    }
    Ok(bytes)
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
        exposure_of(path, &metadata).map_or(Ok(()), Err)?;
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

/// Why [`read_private`] would refuse a file for its owner or its permissions, for who reads it all the same and warns.
#[must_use]
pub fn exposure(path: &Path) -> Option<FileError> {
    exposure_of(path, &fs::metadata(path).ok()?)
}

fn exposure_of(path: &Path, metadata: &fs::Metadata) -> Option<FileError> {
    let (owner, user) = (metadata.uid(), rustix::process::geteuid().as_raw());
    judge(path, metadata.mode() & 0o7777, owner, user)
}

fn judge(path: &Path, mode: u32, owner: u32, user: u32) -> Option<FileError> {
    let others = if owner == 0 && user != 0 { 0o037 } else { 0o077 };
    if mode & others != 0 {
        return Some(FileError::Permissions { path: path.to_owned(), mode });
    }
    (owner != user && owner != 0).then(|| FileError::Owner { path: path.to_owned(), owner, user })
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

/// Flushes the folder that `path` lies in: only then has what was made or renamed there a name that lasts.
pub fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(folder(path))?.sync_all()
}

/// `.NAME.tmp-`, the beginning of the names of unfinished writes of the file NAME.
fn temporary_prefix(path: &Path) -> OsString {
    let mut prefix = OsString::from(".");
    prefix.push(path.file_name().unwrap_or_default());
    prefix.push(".tmp-");
    prefix
}

/// Where a write of `path` stands until it is whole: the prefix and 16 hexadecimal digits.
pub(in crate::keys) fn temporary(path: &Path, unique: [u8; 8]) -> PathBuf {
    let mut name = temporary_prefix(path);
    name.push(format!("{:016x}", u64::from_be_bytes(unique)));
    path.with_file_name(name)
}

fn is_temporary(name: &OsStr, prefix: &OsStr) -> bool {
    let digits = name.as_bytes().strip_prefix(prefix.as_bytes());
    digits.is_some_and(|digits| digits.len() == 16 && digits.iter().all(|d| matches!(d, b'0'..=b'9' | b'a'..=b'f')))
}

/// Proves that a new file can be made beside `path`, by making one and removing it.
pub fn probe_folder(path: &Path, unique: [u8; 8]) -> Result<(), FileError> {
    let trial = temporary(path, unique);
    create_private(&trial, b"")?;
    fs::remove_file(&trial).map_err(io_error(&trial))
}

/// Whether a change that is in force would survive a power cut.
#[derive(Debug)]
pub enum Durability {
    /// It is on the device.
    Synced,
    /// The system could not say that it is. The new file has its name all the same: nobody finds the old one.
    Unsynced(io::Error),
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
        // Neither followed elsewhere nor waited for: what bears the lock's name may be anything.
        let flags = i32::try_from((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits()).unwrap_or_default();
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600).custom_flags(flags);
        let lock = options.open(&lock_path).map_err(io_error(&lock_path))?;
        if !lock.metadata().map_err(io_error(&lock_path))?.is_file() {
            return Err(FileError::NotAFile { path: lock_path });
        }
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
            let is_ours = is_temporary(&entry.file_name(), &prefix);
            if is_ours && entry.file_type().is_ok_and(|kind| kind.is_file()) {
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
    ///
    /// An error means that the old file is there. Once the new one has its name that is no longer so, and what fails
    /// after it is no error but a [`Durability`].
    pub fn replace(&self, bytes: &[u8], unique: [u8; 8]) -> Result<Durability, FileError> {
        let temporary = temporary(&self.real, unique);
        create_private(&temporary, bytes)?;
        fs::rename(&temporary, &self.real).map_err(|cause| {
            let _ = fs::remove_file(&temporary);
            FileError::Io { path: self.real.clone(), cause }
        })?;
        Ok(sync_folder(&self.real).map_or_else(Durability::Unsynced, |()| Durability::Synced))
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
    fn a_file_that_root_hands_to_a_group_is_read() {
        let judge = |mode, owner, user| judge(Path::new("secret"), mode, owner, user);
        for (mode, owner, user) in
            [(0o600, 7, 7), (0o400, 7, 7), (0o440, 0, 7), (0o640, 0, 7), (0o400, 0, 7), (0o600, 0, 0)]
        {
            assert!(judge(mode, owner, user).is_none(), "{mode:o} {owner} {user}");
        }
        for (mode, owner, user) in
            [(0o440, 7, 7), (0o640, 0, 0), (0o644, 0, 7), (0o660, 0, 7), (0o604, 0, 7), (0o450, 0, 7)]
        {
            assert!(matches!(judge(mode, owner, user), Some(FileError::Permissions { .. })), "{mode:o} {owner} {user}");
        }
        assert!(matches!(judge(0o600, 8, 7), Some(FileError::Owner { owner: 8, user: 7, .. })));
        assert!(matches!(judge(0o600, 7, 0), Some(FileError::Owner { owner: 7, user: 0, .. })));
    }

    #[test]
    fn a_secret_is_all_of_a_file_but_one_line_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        for (stored, secret) in [
            (&b"word"[..], &b"word"[..]),
            (b"word\n", b"word"),
            (b"word\r\n", b"word"),
            (b"word\n\n", b"word\n"),
            (b"word\r\r\n", b"word\r"),
            (b"\n", b""),
            (b"", b""),
        ] {
            fs::write(&path, stored).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            assert_eq!(*read_secret_line(&path, 64).unwrap(), secret, "{stored:?}");
        }
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
        fs::write(dir.path().join(".real.tmp-0123456789abcdef"), b"half").unwrap();
        let others = [".other.tmp-0123456789abcdef", ".real.tmp-0123", ".real.tmp-0123456789abcdeg"];
        for name in others {
            fs::write(dir.path().join(name), b"not ours").unwrap();
        }
        fs::create_dir(dir.path().join(".real.tmp-00000000000000ff")).unwrap();
        let lock = WriteLock::acquire(&link).unwrap();
        assert!(matches!(lock.replace(b"new", [1; 8]), Ok(Durability::Synced)));
        assert_eq!(fs::read(&real).unwrap(), b"new");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        let mut names: Vec<_> =
            fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        let [other, short, odd] = others;
        assert_eq!(names, [other, ".real.tmp-00000000000000ff", short, odd, "link", "real", "real.lock"]);
    }

    #[test]
    fn names_that_are_no_text_are_written_beside_themselves() {
        use std::os::unix::ffi::OsStringExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(OsString::from_vec(b"k\xff".to_vec()));
        create_private(&path, b"old").unwrap();
        let leftover = dir.path().join(OsString::from_vec(b".k\xff.tmp-0123456789abcdef".to_vec()));
        let other = dir.path().join(OsString::from_vec(b".k\xfe.tmp-0123456789abcdef".to_vec()));
        fs::write(&leftover, b"half").unwrap();
        fs::write(&other, b"another's").unwrap();
        let lock = WriteLock::acquire(&path).unwrap();
        assert!(lock.replace(b"new", [1; 8]).is_ok());
        assert!(!leftover.exists() && other.exists());
        assert_eq!(fs::read(&path).unwrap(), b"new");
    }

    #[test]
    fn a_lock_that_is_no_file_is_refused_and_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        create_private(&path, b"x").unwrap();
        let (lock, elsewhere) = (dir.path().join("secret.lock"), dir.path().join("elsewhere"));
        symlink(&elsewhere, &lock).unwrap();
        assert!(matches!(WriteLock::acquire_within(&path, 1), Err(FileError::Io { .. })));
        assert!(!elsewhere.exists());
        fs::remove_file(&lock).unwrap();
        // A pipe nobody reads would have been waited for.
        let made = std::process::Command::new("mkfifo").arg(&lock).status().unwrap();
        assert!(made.success());
        assert!(WriteLock::acquire_within(&path, 1).is_err());
        fs::remove_file(&lock).unwrap();
        assert!(WriteLock::acquire_within(&path, 1).is_ok());
    }
}

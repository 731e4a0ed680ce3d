//! A file that appears only if it is whole.
//!
//! Until it is committed it has no name at all (`O_TMPFILE`), so that whatever ends the program, nothing of it is left.
//! Where the file system cannot do that it has a temporary name, which is removed unless the program is killed.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, OFlags};

use super::{OfflineError, io_at};

/// What temporary names end with.
const TEMPORARY_SUFFIX: &str = ".sealgate-tmp";

/// Who may read a new file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Plaintext: the owner alone.
    Private,
    /// Ciphertext: whoever the umask allows.
    Ordinary,
}

/// A file on its way. Dropped before [`OutputFile::commit`] it is gone.
pub(super) struct OutputFile {
    file: File,
    /// Its temporary name, if it needs one.
    temporary: Option<PathBuf>,
    target: PathBuf,
}

impl OutputFile {
    /// Refuses a target that exists.
    pub(super) fn create(target: &Path, unique: u64, mode: Mode) -> Result<Self, OfflineError> {
        refuse_existing(target)?;
        let bits = if mode == Mode::Private { 0o600 } else { 0o666 };
        let unnamed = i32::try_from(OFlags::TMPFILE.bits()).unwrap_or_default();
        let mut options = OpenOptions::new();
        options.write(true).mode(bits);
        if let Ok(file) = options.clone().custom_flags(unnamed).open(folder_of(target)) {
            return Ok(Self { file, temporary: None, target: target.to_owned() });
        }
        let mut name = OsString::from(format!(".{unique:016x}"));
        name.push(TEMPORARY_SUFFIX);
        let temporary = target.with_file_name(name);
        let file = options.create_new(true).open(&temporary).map_err(io_at(target))?;
        Ok(Self { file, temporary: Some(temporary), target: target.to_owned() })
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), OfflineError> {
        self.file.write_all(bytes).map_err(io_at(&self.target))
    }

    /// Flushes the file to the device and tells its facts, which stay when it gets its name.
    pub(super) fn sync(&self) -> Result<fs::Metadata, OfflineError> {
        self.file.sync_all().and_then(|()| self.file.metadata()).map_err(io_at(&self.target))
    }

    /// Flushes the file to the device and gives it its name, which must still be free.
    pub(super) fn commit(self) -> Result<(), OfflineError> {
        let at = || io_at(&self.target);
        self.file.sync_all().map_err(at())?;
        // A link, unlike a rename, fails if the name was taken meanwhile.
        let linked = match &self.temporary {
            None => {
                let path = format!("/proc/self/fd/{}", self.file.as_raw_fd());
                rustix::fs::linkat(CWD, path, CWD, &self.target, AtFlags::SYMLINK_FOLLOW).map_err(io::Error::from)
            }
            Some(temporary) => fs::hard_link(temporary, &self.target),
        };
        match (linked, &self.temporary) {
            (Ok(()), _) => {}
            (Err(error), _) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(OfflineError::Exists { path: self.target.clone() });
            }
            // A file system without links: the check and the rename are two steps there.
            (Err(_), Some(temporary)) => {
                refuse_existing(&self.target)?;
                fs::rename(temporary, &self.target).map_err(at())?;
            }
            (Err(error), None) => return Err(at()(error)),
        }
        // A folder that may be written and not read cannot be flushed; the file has its name all the same.
        match File::open(folder_of(&self.target)) {
            Ok(folder) => folder.sync_all().map_err(at()),
            Err(_) => Ok(()),
        }
    }
}

fn folder_of(target: &Path) -> &Path {
    target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn refuse_existing(target: &Path) -> Result<(), OfflineError> {
    match target.symlink_metadata() {
        Ok(_) => Err(OfflineError::Exists { path: target.to_owned() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(io_at(target)(error)),
    }
}

impl Drop for OutputFile {
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary {
            // After a rename there is nothing under that name any more.
            let _ = fs::remove_file(temporary);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_appears_at_commit_and_not_before_and_not_at_all_if_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("out");
        let mut output = OutputFile::create(&target, 7, Mode::Private).unwrap();
        output.write(b"abc").unwrap();
        assert!(!target.exists());
        output.commit().unwrap();
        assert_eq!(names(folder.path()), ["out"]);
        assert_eq!(fs::read(&target).unwrap(), b"abc");
        let mode = std::os::unix::fs::PermissionsExt::mode(&target.metadata().unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
        assert!(matches!(OutputFile::create(&target, 8, Mode::Ordinary), Err(OfflineError::Exists { .. })));
        let other = folder.path().join("other");
        let mut output = OutputFile::create(&other, 9, Mode::Ordinary).unwrap();
        output.write(b"abc").unwrap();
        drop(output);
        assert_eq!(names(folder.path()), ["out"]);
    }

    #[test]
    fn a_file_with_a_temporary_name_behaves_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let (target, temporary) = (folder.path().join("out"), folder.path().join(".tmp"));
        let make = || OutputFile {
            file: File::create(&temporary).unwrap(),
            temporary: Some(temporary.clone()),
            target: target.clone(),
        };
        drop(make());
        assert!(names(folder.path()).is_empty());
        make().commit().unwrap();
        assert_eq!(names(folder.path()), ["out"]);
        assert!(matches!(make().commit(), Err(OfflineError::Exists { .. })));
        assert_eq!(names(folder.path()), ["out"]);
    }

    #[test]
    fn a_name_that_was_taken_meanwhile_is_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("out");
        let mut output = OutputFile::create(&target, 7, Mode::Private).unwrap();
        output.write(b"ours").unwrap();
        fs::write(&target, b"theirs").unwrap();
        assert!(matches!(output.commit(), Err(OfflineError::Exists { .. })));
        assert_eq!(fs::read(&target).unwrap(), b"theirs");
        assert_eq!(names(folder.path()), ["out"]);
    }
}

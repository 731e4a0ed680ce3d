//! A file that appears only if it is whole.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::{OfflineError, io_at};

/// What temporary names end with; a crashed run may leave such a file behind, never one under the real name.
pub(super) const TEMPORARY_SUFFIX: &str = ".sealgate-tmp";

/// Who may read a new file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Plaintext: the owner alone.
    Private,
    /// Ciphertext: whoever the umask allows.
    Ordinary,
}

/// A temporary file beside its later name. Dropped before [`OutputFile::commit`] it is removed.
pub(super) struct OutputFile {
    file: Option<File>,
    temporary: PathBuf,
    target: PathBuf,
}

impl OutputFile {
    /// Refuses a target that exists.
    pub(super) fn create(target: &Path, unique: u64, mode: Mode) -> Result<Self, OfflineError> {
        refuse_existing(target)?;
        let mut name = std::ffi::OsString::from(format!(".{unique:016x}"));
        name.push(TEMPORARY_SUFFIX);
        let temporary = target.with_file_name(name);
        let bits = if mode == Mode::Private { 0o600 } else { 0o666 };
        let file = OpenOptions::new().write(true).create_new(true).mode(bits).open(&temporary);
        let file = file.map_err(io_at(target))?;
        Ok(Self { file: Some(file), temporary, target: target.to_owned() })
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), OfflineError> {
        let file = self.file.as_mut().ok_or_else(|| io_at(&self.target)(io::ErrorKind::NotFound.into()))?;
        file.write_all(bytes).map_err(io_at(&self.target))
    }

    /// Gives the file a time of modification, so that a later run can tell what it was made from.
    pub(super) fn set_modified(&mut self, modified: SystemTime) -> Result<(), OfflineError> {
        let file = self.file.as_ref().ok_or_else(|| io_at(&self.target)(io::ErrorKind::NotFound.into()))?;
        file.set_modified(modified).map_err(io_at(&self.target))
    }

    /// Flushes the file to the device and gives it its name, which must still be free.
    pub(super) fn commit(mut self) -> Result<(), OfflineError> {
        let target = self.target.clone();
        let at = || io_at(&target);
        if let Some(file) = self.file.take() {
            file.sync_all().map_err(at())?;
        }
        // A link, unlike a rename, fails if the name was taken meanwhile.
        match fs::hard_link(&self.temporary, &target) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(OfflineError::Exists { path: target });
            }
            // A file system without links: the check and the rename are two steps there.
            Err(_) => {
                refuse_existing(&target)?;
                fs::rename(&self.temporary, &target).map_err(at())?;
            }
        }
        let _ = fs::remove_file(&self.temporary);
        let folder = target.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(at())
    }
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
        // After a commit there is nothing under that name any more.
        let _ = fs::remove_file(&self.temporary);
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
        assert_eq!(names(folder.path()).len(), 2);
        drop(output);
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

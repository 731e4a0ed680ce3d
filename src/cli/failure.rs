//! How a command ends when it does not succeed: an exit code and one message without secrets.

use std::fmt::Display;
use std::io;
use std::path::Path;

use crate::crypto::random::RandomError;
use crate::keys::file::{Durability, FileError};
use crate::keys::keyring::{ChangeError, KeyringError};
use crate::keys::{KeyError, KeyErrorKind};
use crate::offline::OfflineError;

/// The exit codes of a command that did not succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It could not be done.
    Failed,
    /// It must not be done: policy, or something that should verify did not.
    Refused,
    /// The command line or the configuration is wrong.
    Usage,
}

impl Exit {
    /// The process's exit code.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Failed => 1,
            Self::Refused => 2,
            Self::Usage => 64,
        }
    }
}

/// Why a command ended. The message is for the user and holds no secret; an empty one is not printed.
#[derive(Debug)]
pub struct Failure {
    exit: Exit,
    message: String,
}

impl Failure {
    /// It could not be done.
    pub fn failed(message: impl Display) -> Self {
        Self { exit: Exit::Failed, message: message.to_string() }
    }

    /// It must not be done.
    pub fn refused(message: impl Display) -> Self {
        Self { exit: Exit::Refused, message: message.to_string() }
    }

    /// The command line or the configuration is wrong.
    pub fn usage(message: impl Display) -> Self {
        Self { exit: Exit::Usage, message: message.to_string() }
    }

    /// Standard output was not written. A reader that went away is told nothing, but is no success either.
    #[must_use]
    #[expect(clippy::needless_pass_by_value, reason = "so that it can stand in map_err")]
    pub fn output(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self { exit: Exit::Failed, message: String::new() };
        }
        Self::failed(format_args!("standard output: {error}"))
    }

    /// The exit code.
    #[must_use]
    pub const fn exit(&self) -> Exit {
        self.exit
    }

    /// The message.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The same with words in front that say what it was about.
    #[must_use]
    pub fn about(self, what: impl Display) -> Self {
        Self { message: format!("{what}: {}", self.message), ..self }
    }

    /// The same with words behind it that say what follows from it.
    #[must_use]
    pub fn and(self, what: impl Display) -> Self {
        Self { message: format!("{}; {what}", self.message), ..self }
    }

    /// What a change of `path` ends with: a success only if it would survive a power cut.
    pub fn unless_durable(path: &Path, durability: Durability) -> Result<(), Self> {
        match durability {
            Durability::Synced => Ok(()),
            Durability::Unsynced(cause) => Err(Self::failed(format_args!(
                "{} was written, and the change is in force, but it may not survive a power cut: {cause}",
                path.display()
            ))),
        }
    }
}

impl From<FileError> for Failure {
    fn from(error: FileError) -> Self {
        match error {
            FileError::Io { .. } | FileError::Locked { .. } => Self::failed(error),
            FileError::NotAFile { .. }
            | FileError::Permissions { .. }
            | FileError::Owner { .. }
            | FileError::TooLarge { .. }
            | FileError::Exists { .. } => Self::refused(error),
        }
    }
}

impl From<KeyringError> for Failure {
    fn from(error: KeyringError) -> Self {
        match error {
            KeyringError::File(error) => error.into(),
            KeyringError::Random(_)
            | KeyringError::Cipher(_)
            | KeyringError::OutOfMemory { .. }
            | KeyringError::Replaced => Self::failed(error),
            _ => Self::refused(error),
        }
    }
}

impl From<ChangeError> for Failure {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::Keyring(error) => error.into(),
            ChangeError::NoEntry(_) | ChangeError::NoVersion { .. } | ChangeError::NoKeys => Self::failed(error),
            _ => Self::refused(error),
        }
    }
}

impl From<KeyError> for Failure {
    fn from(error: KeyError) -> Self {
        match error.kind() {
            KeyErrorKind::Unavailable => Self::failed(error),
            KeyErrorKind::Denied | KeyErrorKind::Integrity => Self::refused(error),
        }
    }
}

impl From<OfflineError> for Failure {
    fn from(error: OfflineError) -> Self {
        if error.is_refusal() { Self::refused(error) } else { Self::failed(error) }
    }
}

impl From<RandomError> for Failure {
    fn from(error: RandomError) -> Self {
        Self::failed(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_the_documented_ones() {
        assert_eq!([Exit::Failed, Exit::Refused, Exit::Usage].map(Exit::code), [1, 2, 64]);
        assert_eq!(Failure::from(KeyringError::WrongPassphrase).exit(), Exit::Refused);
        assert_eq!(Failure::from(KeyringError::Replaced).exit(), Exit::Failed);
        assert_eq!(Failure::from(ChangeError::NoKeys).exit(), Exit::Failed);
        assert_eq!(Failure::from(KeyError::Tampered).exit(), Exit::Refused);
        assert_eq!(Failure::from(KeyError::Unavailable(String::new())).exit(), Exit::Failed);
        assert_eq!(Failure::usage("x").about("y").message(), "y: x");
    }

    #[test]
    fn a_reader_that_went_away_is_a_silent_failure() {
        let failure = Failure::output(io::ErrorKind::BrokenPipe.into());
        assert_eq!((failure.exit(), failure.message()), (Exit::Failed, ""));
        assert!(!Failure::output(io::ErrorKind::StorageFull.into()).message().is_empty());
    }
}

//! The arguments that name a keyring and where its passphrase comes from: a file, a descriptor, or a person. Never the
//! command line itself or the environment, which other processes can read.

use std::io::{BufReader, ErrorKind};
use std::path::{Path, PathBuf};

use clap::Args;

use super::descriptor::duplicate;
use super::environment::read_line_of;
use super::{Environment, Failure};
use crate::keys::file::{FileError, read_secret_line};
use crate::keys::keyring::{Keyring, KeyringFile};
use crate::secret::Secret;

/// The longest passphrase, in bytes.
const MAX_PASSPHRASE: usize = 4096;
/// The shortest passphrase that is accepted for a new lock, in characters.
const MIN_CHARACTERS: usize = 8;
/// Below this many characters there is a warning.
const GOOD_CHARACTERS: usize = 12;

/// Where the present passphrase comes from.
#[derive(Args, Clone, Debug, Default)]
pub struct PassphraseArgs {
    /// Read the passphrase from FILE (mode 0600; one line end at its end is ignored)
    #[arg(long, value_name = "FILE", conflicts_with = "passphrase_fd")]
    passphrase_file: Option<PathBuf>,
    /// Read the passphrase from file descriptor N, up to the end of the line
    #[arg(long, value_name = "N")]
    passphrase_fd: Option<u32>,
}

/// Where a new passphrase comes from, for a command that needs the old one, or the kit, too.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct NewPassphraseArgs {
    /// Read the new passphrase from FILE (mode 0600; one line end at its end is ignored)
    #[arg(long, value_name = "FILE", conflicts_with = "new_passphrase_fd")]
    new_passphrase_file: Option<PathBuf>,
    /// Read the new passphrase from file descriptor N, up to the end of the line
    #[arg(long, value_name = "N")]
    new_passphrase_fd: Option<u32>,
}

/// A keyring and the way to open it.
#[derive(Args, Clone, Debug)]
pub struct KeyringArgs {
    /// The keyring file
    #[arg(long, value_name = "FILE", default_value = "keyring")]
    pub keyring: PathBuf,
    /// Where its passphrase comes from
    #[command(flatten)]
    pub passphrase: PassphraseArgs,
}

impl KeyringArgs {
    /// The file.
    #[must_use]
    pub fn file(&self) -> KeyringFile {
        KeyringFile::new(&self.keyring)
    }

    /// The argument as a next command needs it: nothing where it is the default.
    pub(super) fn shown(&self) -> String {
        if self.keyring == Path::new("keyring") {
            return String::new();
        }
        format!(" --keyring {}", self.keyring.display())
    }

    /// Reads the keyring, then asks for the passphrase, then opens it.
    pub fn open(&self, env: &mut Environment<'_>) -> Result<Keyring, Failure> {
        self.open_with_passphrase(env).map(|(keyring, _)| keyring)
    }

    /// Like [`KeyringArgs::open`], for a command that needs the passphrase once more.
    pub(super) fn open_with_passphrase(&self, env: &mut Environment<'_>) -> Result<(Keyring, Secret<[u8]>), Failure> {
        let about = |failure: Failure| failure.about(self.keyring.display());
        // Before the passphrase is asked for: what cannot be opened anyway should not cost a person's time.
        let sealed = self.file().read().map_err(Failure::from).map_err(|failure| named(failure, &self.keyring))?;
        let passphrase = self.passphrase.read(env, &format!("Passphrase of {}: ", self.keyring.display()))?;
        let keyring = sealed.open(&passphrase).map_err(Failure::from).map_err(about)?;
        Ok((keyring, passphrase))
    }
}

/// Puts the path in front of a message that does not have it already.
pub(super) fn named(failure: Failure, path: &Path) -> Failure {
    let path = path.display().to_string();
    if failure.message().contains(&path) { failure } else { failure.about(path) }
}

impl PassphraseArgs {
    /// The file, where it comes from one.
    pub(super) fn file(&self) -> Option<&Path> {
        self.passphrase_file.as_deref()
    }

    /// Reads the passphrase of something that exists.
    pub fn read(&self, env: &mut Environment<'_>, question: &str) -> Result<Secret<[u8]>, Failure> {
        match given(self.passphrase_file.as_deref(), self.passphrase_fd, env)? {
            Some(passphrase) => Ok(passphrase),
            None => ask(env, question, "--passphrase-file or --passphrase-fd"),
        }
    }

    /// Reads the passphrase of something that is being made; a person is asked twice.
    pub fn read_new(&self, env: &mut Environment<'_>) -> Result<Secret<[u8]>, Failure> {
        let flags = "--passphrase-file or --passphrase-fd";
        read_new(self.passphrase_file.as_deref(), self.passphrase_fd, flags, env)
    }
}

impl NewPassphraseArgs {
    /// Reads the new passphrase; a person is asked twice.
    pub(super) fn read(&self, env: &mut Environment<'_>) -> Result<Secret<[u8]>, Failure> {
        let flags = "--new-passphrase-file or --new-passphrase-fd";
        read_new(self.new_passphrase_file.as_deref(), self.new_passphrase_fd, flags, env)
    }
}

fn read_new(
    file: Option<&Path>,
    fd: Option<u32>,
    flags: &str,
    env: &mut Environment<'_>,
) -> Result<Secret<[u8]>, Failure> {
    let passphrase = if let Some(passphrase) = given(file, fd, env)? {
        passphrase
    } else {
        let first = ask(env, "New passphrase: ", flags)?;
        let second = ask(env, "The same again: ", flags)?;
        if first.expose_secret() != second.expose_secret() {
            return Err(Failure::refused("the two passphrases differ"));
        }
        first
    };
    let bytes = passphrase.expose_secret();
    let characters = str::from_utf8(bytes).map_or(bytes.len(), |text| text.chars().count());
    if characters < MIN_CHARACTERS {
        return Err(Failure::refused(format_args!("a passphrase has at least {MIN_CHARACTERS} characters")));
    }
    if characters < GOOD_CHARACTERS {
        env.note(format_args!(
            "warning: this passphrase is short. Whoever has a copy of the keyring can try passphrases at leisure: five \
             or more random words are better."
        ));
    }
    Ok(passphrase)
}

/// The passphrase from a file or descriptor, if one was named.
fn given(file: Option<&Path>, fd: Option<u32>, env: &mut Environment<'_>) -> Result<Option<Secret<[u8]>>, Failure> {
    let limit = u64::try_from(MAX_PASSPHRASE).unwrap_or(u64::MAX);
    match (file, fd) {
        (Some(path), _) => {
            let bytes = read_secret_line(path, limit.saturating_add(2)).map_err(|error| {
                let is_pipe = matches!(error, FileError::NotAFile { .. });
                let failure = Failure::from(error);
                if is_pipe { failure.and("--passphrase-fd N reads from a pipe or descriptor") } else { failure }
            })?;
            checked(&bytes).map(Some)
        }
        // Through the buffer that the rest of standard input comes through.
        (None, Some(0)) => {
            let line = env.read_line()?.ok_or_else(|| Failure::usage("no passphrase on standard input"))?;
            checked(line.as_bytes()).map(Some)
        }
        (None, Some(fd)) => {
            let failed = |error| Failure::usage(format_args!("file descriptor {fd}: {error}"));
            // One byte at a time: what follows the line is another reader's.
            let mut input = BufReader::with_capacity(1, duplicate(fd).map_err(failed)?);
            let line = read_line_of(&mut input).map_err(failed)?;
            let line = line.ok_or_else(|| Failure::usage(format_args!("no passphrase on file descriptor {fd}")))?;
            checked(line.as_bytes()).map(Some)
        }
        (None, None) => Ok(None),
    }
}

fn ask(env: &mut Environment<'_>, question: &str, flags: &str) -> Result<Secret<[u8]>, Failure> {
    let nobody = || Failure::usage(format_args!("there is no terminal to ask for the passphrase on: give {flags}"));
    if !env.terminals.stdin && !env.terminals.stderr {
        return Err(nobody());
    }
    let line = env.prompt.ask(question).map_err(|error| match error.kind() {
        ErrorKind::Interrupted => Failure::failed("interrupted"),
        ErrorKind::UnexpectedEof => Failure::failed("the terminal's input ended before the passphrase"),
        ErrorKind::InvalidData => Failure::refused(error),
        _ => nobody(),
    })?;
    checked(line.as_bytes())
}

fn checked(passphrase: &[u8]) -> Result<Secret<[u8]>, Failure> {
    if passphrase.is_empty() {
        return Err(Failure::refused("the passphrase is empty"));
    }
    if passphrase.len() > MAX_PASSPHRASE {
        return Err(Failure::refused(format_args!("a passphrase has at most {MAX_PASSPHRASE} bytes")));
    }
    Ok(Secret::from_bytes_of(passphrase))
}

/// A path that must not exist yet, checked early; the file is made exclusively all the same.
pub(super) fn must_be_new(path: &Path) -> Result<(), Failure> {
    match path.symlink_metadata() {
        Ok(_) => Err(FileError::Exists { path: path.to_owned() }.into()),
        Err(_) => Ok(()),
    }
}

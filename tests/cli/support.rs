//! A folder of its own for each test, a keyring that opens quickly, and runs of the program in it.

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use sealgate::clock::{Clock, SystemClock};
use sealgate::crypto::random::RandomSource;
use sealgate::crypto::wrap::WrapAlg;
use sealgate::keys::keyring::{Argon2Params, Keyring, KeyringFile, Readiness};
use sealgate::keys::recovery::{KitForm, RecoverySecret};
use sealgate::secret::Secret;
use tempfile::TempDir;

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_sealgate");
pub(crate) const PASSPHRASE: &str = "seven purple elephants";

/// What a run of the program gave.
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Run {
    pub(crate) fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let run = Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) };
        assert!(!run.err.contains("panicked"), "{}", run.err);
        assert!(!run.out.contains(PASSPHRASE) && !run.err.contains(PASSPHRASE), "the passphrase was printed");
        run
    }

    /// The run ended with this code and, somewhere in its messages, said this.
    #[track_caller]
    pub(crate) fn ends(self, code: i32, said: &str) -> Self {
        assert_eq!(self.code, Some(code), "stdout: {}\nstderr: {}", self.out, self.err);
        assert!(self.err.contains(said) || self.out.contains(said), "{said:?} in {} {}", self.out, self.err);
        self
    }
}

/// A folder with a keyring (tenant `main`, key `default`), its passphrase file and its kit as a phrase.
pub(crate) struct Sandbox {
    folder: TempDir,
    pub(crate) kit: RecoverySecret,
}

impl Sandbox {
    /// An empty folder.
    pub(crate) fn empty() -> Self {
        let kit = RecoverySecret::new(Secret::from_bytes([5; 32]));
        Self { folder: tempfile::tempdir().unwrap(), kit }
    }

    /// With a keyring whose passphrase costs as little as is allowed.
    pub(crate) fn new() -> Self {
        let sandbox = Self::empty();
        let (random, now) = (RandomSource::new(&[b"sandbox"]), SystemClock.now());
        let passphrase = Secret::from_bytes_of(PASSPHRASE.as_bytes());
        let kit = (&sandbox.kit, KitForm::Phrase);
        let mut keyring = Keyring::create(&passphrase, Argon2Params::FLOOR, kit, now, &random).unwrap();
        let (name, tenant) = ("default".parse().unwrap(), "main".parse().unwrap());
        keyring.create_entry(&name, &tenant, WrapAlg::Local, Readiness::Active, now, &random).unwrap();
        sandbox.keyring_file().create(&keyring, now, &random).unwrap();
        sandbox.secret_file("passphrase", &format!("{PASSPHRASE}\n"));
        sandbox.secret_file("phrase", &sandbox.kit.danger_phrase());
        sandbox
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn keyring_file(&self) -> KeyringFile {
        KeyringFile::new(self.path("keyring"))
    }

    /// The keyring as it is now, opened without the passphrase.
    pub(crate) fn opened(&self) -> Keyring {
        self.keyring_file().read().unwrap().open_with_kit(&self.kit).unwrap()
    }

    pub(crate) fn secret_file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        set_mode(&path, 0o600);
        path
    }

    pub(crate) fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path()).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    pub(crate) fn command<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.args(arguments).current_dir(self.folder.path());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs the program with nothing on standard input.
    pub(crate) fn run<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Run {
        self.run_with(arguments, "")
    }

    /// Runs the program with `input` on standard input.
    pub(crate) fn run_with<S: AsRef<OsStr>>(&self, arguments: &[S], input: &str) -> Run {
        let mut child = self.command(arguments).spawn().unwrap();
        // A program that has ended already reads nothing.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        Run::of(child.wait_with_output().unwrap())
    }

    /// Runs `sealgate keys …` on the keyring with its passphrase file.
    pub(crate) fn keys(&self, arguments: &str) -> Run {
        self.keys_with(arguments, "")
    }

    pub(crate) fn keys_with(&self, arguments: &str, input: &str) -> Run {
        let words: Vec<_> =
            format!("keys {arguments} --passphrase-file passphrase").split(' ').map(str::to_owned).collect();
        self.run_with(&words, input)
    }

    /// The states of a key's versions, oldest first.
    pub(crate) fn states(&self, name: &str) -> Vec<String> {
        let keyring = self.opened();
        let entry = keyring.entry(&name.parse().unwrap()).unwrap();
        entry.versions.iter().map(|version| version.standing.state.to_string()).collect()
    }
}

pub(crate) fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

pub(crate) fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

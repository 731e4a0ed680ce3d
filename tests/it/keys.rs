//! Providers against the conformance suite, and shares against another implementation.

use std::fs;
use std::future::{pending, ready};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sealgate::clock::Timestamp;
use sealgate::crypto::random::RandomSource;
use sealgate::crypto::wrap::{Binding, DataKey, KekId, RECORD_LEN, RECORD_NONCE_LEN, WrapAlg, WrappedKey};
use sealgate::keys::keyring::{Argon2Params, Keyring, KeyringFile, Readiness};
use sealgate::keys::recovery::{KitForm, RecoverySecret};
use sealgate::keys::{Action, EntryName, KeyError, KeyErrorKind, KeyFuture, KeyProvider, KeyScope, Purpose};
use sealgate::object::TenantId;
use sealgate::secret::Secret;
use tempfile::TempDir;

use crate::provider_conformance::{self, Custodian};

const NOW: Timestamp = Timestamp::from_unix_millis(1_700_000_000_000);

fn kit() -> RecoverySecret {
    RecoverySecret::new(Secret::from_bytes([9; 32]))
}

/// A keyring in a file, reread after every change, as a gateway that reloads would.
struct KeyringCustodian {
    alg: WrapAlg,
    random: RandomSource,
    file: KeyringFile,
    provider: Arc<Keyring>,
    _folder: TempDir,
}

impl KeyringCustodian {
    fn new(alg: WrapAlg) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let random = RandomSource::new(&[b"conformance"]);
        let passphrase = Secret::from_bytes_of(b"correct horse");
        let kit = kit();
        let keyring = Keyring::create(&passphrase, Argon2Params::FLOOR, (&kit, KitForm::Phrase), NOW, &random).unwrap();
        let file = KeyringFile::new(folder.path().join("keyring"));
        file.create(&keyring, NOW, &random).unwrap();
        Self { alg, random, file, provider: Arc::new(keyring), _folder: folder }
    }

    fn reread(&self) -> Keyring {
        self.file.read().unwrap().open_with_kit(&kit()).unwrap()
    }

    fn change<T>(&mut self, change: impl FnOnce(&mut Keyring, &RandomSource, WrapAlg) -> T) {
        let change = |keyring: &mut Keyring| {
            change(keyring, &self.random, self.alg);
            Ok::<_, sealgate::keys::keyring::KeyringError>(())
        };
        self.file.update(self.reread(), NOW, &self.random, change).unwrap();
        self.provider = Arc::new(self.reread());
    }
}

impl Custodian for KeyringCustodian {
    fn provider(&self) -> Arc<dyn KeyProvider> {
        self.provider.clone()
    }

    fn alg(&self) -> WrapAlg {
        self.alg
    }

    fn create(&mut self, tenant: &TenantId, entry: &EntryName, prepared: bool) {
        let readiness = if prepared { Readiness::Prepared } else { Readiness::Active };
        self.change(|keyring, random, alg| keyring.create_entry(entry, tenant, alg, readiness, NOW, random).unwrap());
    }

    fn act(&mut self, entry: &EntryName, action: Action) {
        self.change(|keyring, _, _| keyring.apply(entry, None, action, NOW).unwrap());
    }

    fn rotate(&mut self, entry: &EntryName) {
        self.change(|keyring, random, _| keyring.rotate(entry, Readiness::Active, NOW, random).unwrap());
    }
}

#[test]
fn the_keyring_conforms_with_local_wrapping() {
    provider_conformance::run(|| KeyringCustodian::new(WrapAlg::Local));
}

#[test]
fn the_keyring_conforms_with_aes_key_wrap() {
    provider_conformance::run(|| KeyringCustodian::new(WrapAlg::AesKw));
}

/// A provider that fails first, then hangs, then works: what callers must be able to live with.
struct Faulty {
    calls: AtomicUsize,
    inner: Arc<dyn KeyProvider>,
}

impl Faulty {
    fn fault<'a, T: Send + 'a>(&self) -> Option<KeyFuture<'a, T>> {
        match self.calls.fetch_add(1, Ordering::SeqCst) {
            0 => Some(Box::pin(ready(Err(KeyError::Unavailable("connection refused".to_owned()))))),
            1 => Some(Box::pin(pending())),
            _ => None,
        }
    }
}

impl KeyProvider for Faulty {
    fn wrap<'a>(
        &'a self,
        scope: &'a KeyScope,
        binding: &'a Binding<'a>,
        dek: &'a DataKey,
    ) -> KeyFuture<'a, WrappedKey> {
        self.fault().unwrap_or_else(|| self.inner.wrap(scope, binding, dek))
    }

    fn unwrap<'a>(
        &'a self,
        scope: &'a KeyScope,
        binding: &'a Binding<'a>,
        wrapped: &'a WrappedKey,
    ) -> KeyFuture<'a, DataKey> {
        self.fault().unwrap_or_else(|| self.inner.unwrap(scope, binding, wrapped))
    }

    fn seal_record<'a>(
        &'a self,
        scope: &'a KeyScope,
        kek_id: KekId,
        suite: u8,
        rnonce: &'a [u8; RECORD_NONCE_LEN],
        dek: &'a DataKey,
    ) -> KeyFuture<'a, Option<[u8; RECORD_LEN]>> {
        self.fault().unwrap_or_else(|| self.inner.seal_record(scope, kek_id, suite, rnonce, dek))
    }

    fn open_record<'a>(
        &'a self,
        scope: &'a KeyScope,
        suite: u8,
        record: &'a [u8; RECORD_LEN],
    ) -> KeyFuture<'a, DataKey> {
        self.fault().unwrap_or_else(|| self.inner.open_record(scope, suite, record))
    }
}

#[test]
fn a_provider_that_is_down_or_hangs_is_told_from_one_that_denies() {
    let mut keyring = KeyringCustodian::new(WrapAlg::Local);
    let scope = KeyScope::new("t".parse().unwrap(), "k".parse().unwrap(), Purpose::Serve);
    keyring.create(&scope.tenant, &scope.entry, false);
    let faulty: Arc<dyn KeyProvider> = Arc::new(Faulty { calls: AtomicUsize::new(0), inner: keyring.provider() });
    let nonce = [1; 24];
    let binding = Binding { version: 1, suite: 1, kind: 1, flags: 0, hdr_nonce: &nonce, ctx: b"ctx" };
    let dek = DataKey::new(Secret::from_bytes([3; 32]));
    let poll = |mut future: KeyFuture<'_, WrappedKey>| {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        future.as_mut().poll(&mut context)
    };
    let down = poll(faulty.wrap(&scope, &binding, &dek));
    assert!(matches!(down, std::task::Poll::Ready(Err(error)) if error.kind() == KeyErrorKind::Unavailable));
    assert!(poll(faulty.wrap(&scope, &binding, &dek)).is_pending(), "dropping the future cancels the call");
    assert!(poll(faulty.wrap(&scope, &binding, &dek)).is_ready());
}

/// libgfshare's `gfcombine`, an implementation of its own, joins the raw values of our shares.
#[test]
fn shares_are_joined_by_gfcombine() {
    if Command::new("gfcombine").arg("--version").output().is_err() {
        assert!(std::env::var_os("CI").is_none(), "gfcombine (libgfshare-bin) is missing");
        eprintln!("SKIPPED: gfcombine is not installed (package libgfshare-bin)");
        return;
    }
    let secret = RecoverySecret::draw(NOW, &RandomSource::new(&[b"shares"])).unwrap();
    let shares = secret.split(3, 5, NOW, &RandomSource::new(&[b"shares"])).unwrap();
    for chosen in [[0, 1, 2], [1, 3, 4], [4, 2, 0]] {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("secret");
        let mut command = Command::new("gfcombine");
        command.arg("-o").arg(&out);
        for index in chosen {
            let share = &shares[index];
            let path = folder.path().join(format!("share.{:03}", share.index()));
            fs::write(&path, share.danger_y().expose_secret()).unwrap();
            command.arg(path);
        }
        let done = command.output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        assert!(fs::read(out).unwrap() == secret.expose_secret());
    }
}

/// Two writers that take turns at random both have their way, and readers never see a torn file.
#[test]
fn writers_at_once_all_take_effect_and_readers_need_no_lock() {
    let mut custodian = KeyringCustodian::new(WrapAlg::Local);
    let (tenant, entry): (TenantId, EntryName) = ("t".parse().unwrap(), "k".parse().unwrap());
    custodian.create(&tenant, &entry, false);
    let custodian = &custodian;
    let rounds = 15;
    std::thread::scope(|threads| {
        let writers: Vec<_> = (0..4)
            .map(|_| {
                threads.spawn(|| {
                    for _ in 0..rounds {
                        let rotate =
                            |keyring: &mut Keyring| keyring.rotate(&entry, Readiness::Active, NOW, &custodian.random);
                        custodian.file.update(custodian.reread(), NOW, &custodian.random, rotate).unwrap();
                    }
                })
            })
            .collect();
        while writers.iter().any(|writer| !writer.is_finished()) {
            assert!(custodian.reread().entry(&entry).unwrap().sealing_version().is_some());
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    assert_eq!(custodian.reread().entry(&entry).unwrap().versions.len(), 1 + 4 * rounds);
}

use super::*;
use crate::keys::file::create_private;

const NOW: Timestamp = Timestamp::from_unix_millis(1_700_000_000_000);
const LATER: Timestamp = Timestamp::from_unix_millis(1_700_000_001_000);

fn random() -> RandomSource {
    RandomSource::new(&[b"test"])
}

fn passphrase(text: &str) -> Secret<[u8]> {
    Secret::from_bytes_of(text.as_bytes())
}

fn kit(byte: u8) -> RecoverySecret {
    RecoverySecret::new(Secret::from_bytes([byte; 32]))
}

fn name(text: &str) -> EntryName {
    text.parse().unwrap()
}

fn tenant(text: &str) -> TenantId {
    text.parse().unwrap()
}

fn empty() -> Keyring {
    let kit = kit(1);
    Keyring::create(&passphrase("correct horse"), Argon2Params::FLOOR, (&kit, KitForm::Phrase), NOW, &random()).unwrap()
}

/// Two entries of two tenants, one of each algorithm, one with a destroyed and a suspended version.
fn sample() -> Keyring {
    let mut keyring = empty();
    let random = random();
    keyring.create_entry(&name("alpha"), &tenant("a"), WrapAlg::Local, Readiness::Active, NOW, &random).unwrap();
    keyring.create_entry(&name("beta"), &tenant("b"), WrapAlg::AesKw, Readiness::Prepared, NOW, &random).unwrap();
    for _ in 0..2 {
        keyring.rotate(&name("alpha"), Readiness::Active, LATER, &random).unwrap();
    }
    keyring.apply(&name("alpha"), Some(1), Action::Destroy, LATER).unwrap();
    keyring.apply(&name("alpha"), Some(2), Action::Suspend, LATER).unwrap();
    keyring
}

fn states(keyring: &Keyring, entry: &str) -> Vec<KeyState> {
    keyring.entry(&name(entry)).unwrap().versions.iter().map(|v| v.standing.state).collect()
}

/// Makes the checksum of an altered file hold.
fn rechecked(mut file: Vec<u8>) -> Vec<u8> {
    let at = file.len() - 32;
    let checksum = sha256(&[&file[..at]]);
    file[at..].copy_from_slice(&checksum);
    file
}

#[test]
fn what_is_written_opens_by_passphrase_and_by_kit() {
    let keyring = sample();
    let file = keyring.encode(7, NOW, &random()).unwrap();
    let sealed = parse(&file).unwrap();
    assert_eq!((sealed.generation(), sealed.argon2()), (7, Argon2Params::FLOOR));
    assert_eq!((sealed.kit().form, sealed.kit().made), (KitForm::Phrase, NOW));
    for opened in [sealed.open(&passphrase("correct horse")).unwrap(), sealed.open_with_kit(&kit(1)).unwrap()] {
        assert_eq!(states(&opened, "alpha"), [KeyState::Destroyed, KeyState::Suspended, KeyState::Active]);
        assert_eq!(states(&opened, "beta"), [KeyState::PreActive]);
        assert_eq!(opened.prove(), Ok(3));
        assert_eq!(codec::encode_content(opened.entries()).unwrap(), codec::encode_content(keyring.entries()).unwrap());
    }
    assert!(matches!(sealed.open(&passphrase("incorrect")), Err(KeyringError::WrongPassphrase)));
    assert!(matches!(sealed.open_with_kit(&kit(2)), Err(KeyringError::OtherKit { .. })));
}

#[test]
fn no_name_key_or_root_stands_in_the_file() {
    let keyring = sample();
    let file = keyring.encode(1, NOW, &random()).unwrap();
    let plain = keyring.danger_export(&[]).unwrap();
    let text = plain.danger_plaintext();
    let contains = |needle: &[u8]| file.windows(needle.len()).any(|window| window == needle);
    assert!(!contains(b"alpha"));
    for line in String::from_utf8(text.to_vec()).unwrap().lines().filter(|line| line.contains(':')) {
        let hex = line.trim().split('"').nth(3).unwrap();
        let mut key = [0u8; 32];
        crate::crypto::wrap::decode_hex(hex, &mut key).unwrap();
        assert!(!contains(&key[..8]));
    }
}

#[test]
fn every_flipped_bit_is_refused() {
    let file = sample().encode(1, NOW, &random()).unwrap();
    for position in 0..file.len() * 8 {
        let mut flipped = file.clone();
        flipped[position / 8] ^= 1 << (position % 8);
        assert!(parse(&flipped).is_err(), "bit {position}");
    }
}

#[test]
fn every_flipped_bit_is_refused_even_if_its_checksum_is_made_to_hold() {
    let file = sample().encode(1, NOW, &random()).unwrap();
    let (kit, body) = (kit(1), file.len() - 32);
    for position in 0..body * 8 {
        let mut flipped = file.clone();
        flipped[position / 8] ^= 1 << (position % 8);
        let opened = parse(&rechecked(flipped)).and_then(|sealed| sealed.open_with_kit(&kit));
        assert!(opened.is_err(), "bit {position}");
    }
}

#[test]
fn every_cut_and_every_extension_is_named() {
    let file = sample().encode(1, NOW, &random()).unwrap();
    for len in 0..file.len() {
        let error = parse(&file[..len]).err().unwrap();
        assert!(matches!(error, KeyringError::CutShort { found, .. } if found == len as u64), "{len}: {error}");
    }
    let mut longer = file.clone();
    longer.push(0);
    assert!(matches!(parse(&longer), Err(KeyringError::Overlong { .. })));
}

#[test]
fn damage_wrong_version_and_foreign_files_have_errors_of_their_own() {
    let file = sample().encode(1, NOW, &random()).unwrap();
    let with = |at: usize, bytes: &[u8]| {
        let mut changed = file.clone();
        changed[at..at + bytes.len()].copy_from_slice(bytes);
        changed
    };
    assert!(matches!(parse(b"-----BEGIN"), Err(KeyringError::NotAKeyring)));
    assert!(matches!(parse(&with(8, &[0, 2])), Err(KeyringError::Damaged)));
    assert!(matches!(parse(&rechecked(with(8, &[0, 2]))), Err(KeyringError::OtherVersion { found: 2 })));
    assert!(matches!(parse(&rechecked(with(38, &1u32.to_be_bytes()))), Err(KeyringError::Parameters { .. })));
    let huge = rechecked(with(38, &u32::MAX.to_be_bytes()));
    assert!(matches!(parse(&huge), Err(KeyringError::Parameters { found: u32::MAX, .. })));
    assert!(matches!(parse(&rechecked(with(130, &[3, 0, 0, 0]))), Err(KeyringError::Malformed(_))));
    assert!(matches!(parse(&rechecked(with(130, &[2, 1, 1, 0]))), Err(KeyringError::Malformed(_))));
    // The slot altered and the checksum made to hold: indistinguishable from a wrong passphrase.
    let altered = parse(&rechecked(with(66, &[0; 4]))).unwrap();
    assert!(matches!(altered.open(&passphrase("correct horse")), Err(KeyringError::WrongPassphrase)));
    assert!(matches!(parse(&vec![b'S'; 17 << 20]), Err(KeyringError::TooLarge)));
}

#[test]
fn parameters_outside_floor_and_ceiling_take_no_memory() {
    let sound = Argon2Params::FLOOR;
    for params in [
        Argon2Params { memory_kib: 19 * 1024 - 1, ..sound },
        Argon2Params { memory_kib: 1024 * 1024 + 1, ..sound },
        Argon2Params { passes: 1, ..sound },
        Argon2Params { passes: 65, ..sound },
        Argon2Params { lanes: 0, ..sound },
        Argon2Params { lanes: 17, ..sound },
    ] {
        let (kit, random) = (kit(1), random());
        let made = Keyring::create(&passphrase("x"), params, (&kit, KitForm::Phrase), NOW, &random);
        assert!(matches!(made, Err(KeyringError::Parameters { .. })));
    }
    assert!(Argon2Params::DEFAULT.check().is_ok() && Argon2Params::CEILING.check().is_ok());
}

#[test]
fn content_that_no_encoder_writes_is_refused() {
    let keyring = sample();
    let content = codec::encode_content(keyring.entries()).unwrap();
    assert!(codec::decode_content(&content).is_ok());
    for len in 0..content.len() {
        assert!(codec::decode_content(&content[..len]).is_err());
    }
    let mut longer = content.clone();
    longer.push(0);
    assert!(codec::decode_content(&longer).is_err());
    let with = |at: usize, byte: u8| {
        let mut changed = content.clone();
        changed[at] = byte;
        codec::decode_content(&changed).is_err()
    };
    // The first entry: count(2) len(1) "alpha" len(1) "a" alg(1) created(8) versions(2) number(4) id(16) state was …
    assert!(with(3, b'A'), "a name outside the alphabet");
    assert!(with(3, b'z'), "names out of order");
    assert!(with(10, 3) && with(10, 0), "an unknown algorithm");
    assert!(with(20, 0), "no versions");
    assert!(with(24, 9), "version numbers that do not ascend");
    assert!(with(41, 7) && with(41, 0), "an unknown state");
    assert!(with(41, 2), "an active version without a key");
    assert!(with(42, 2), "a destroyed version that would resume");
    // A second entry with the first one's KEK id.
    let mut twin = sample();
    let id = twin.entry(&name("alpha")).unwrap().versions[2].kek_id;
    twin.entries.get_mut(&name("beta")).unwrap().versions[0].kek_id = id;
    assert!(codec::decode_content(&codec::encode_content(twin.entries()).unwrap()).is_err());
}

#[test]
fn rotation_leaves_one_sealing_version_and_uses_a_prepared_one() {
    let (mut keyring, random) = (empty(), random());
    let key = name("k");
    keyring.create_entry(&key, &tenant("t"), WrapAlg::Local, Readiness::Prepared, NOW, &random).unwrap();
    assert!(keyring.entry(&key).unwrap().sealing_version().is_none());
    assert_eq!(keyring.rotate(&key, Readiness::Active, NOW, &random).ok(), Some(1));
    assert_eq!(keyring.rotate(&key, Readiness::Prepared, NOW, &random).ok(), Some(2));
    assert_eq!(states(&keyring, "k"), [KeyState::Active, KeyState::PreActive]);
    let again = keyring.rotate(&key, Readiness::Prepared, NOW, &random);
    assert!(matches!(again, Err(ChangeError::Prepared { number: 2, .. })));
    assert_eq!(keyring.rotate(&key, Readiness::Active, NOW, &random).ok(), Some(2));
    assert_eq!(keyring.rotate(&key, Readiness::Active, LATER, &random).ok(), Some(3));
    assert_eq!(states(&keyring, "k"), [KeyState::Deactivated, KeyState::Deactivated, KeyState::Active]);
    let entry = keyring.entry(&key).unwrap();
    assert_eq!(entry.sealing_version().unwrap().number, 3);
    assert_eq!((entry.versions[1].created, entry.versions[1].changed), (NOW, LATER));
    let twice = keyring.create_entry(&key, &tenant("t"), WrapAlg::Local, Readiness::Active, NOW, &random);
    assert!(matches!(twice, Err(ChangeError::EntryExists(_))));
    let service = keyring.create_entry(&name("s"), &tenant("t"), WrapAlg::Service, Readiness::Active, NOW, &random);
    assert!(matches!(service, Err(ChangeError::Service)));
    assert!(keyring.entry(&name("s")).is_none());
}

#[test]
fn an_action_changes_all_that_it_names_or_nothing() {
    let mut keyring = sample();
    let alpha = name("alpha");
    let before = states(&keyring, "alpha");
    assert!(matches!(
        keyring.apply(&alpha, None, Action::Destroy, NOW),
        Err(ChangeError::Transition { number: 3, .. })
    ));
    assert!(matches!(keyring.apply(&alpha, Some(9), Action::Suspend, NOW), Err(ChangeError::NoVersion { .. })));
    assert!(matches!(keyring.apply(&name("none"), None, Action::Suspend, NOW), Err(ChangeError::NoEntry(_))));
    assert!(matches!(keyring.apply(&alpha, None, Action::Activate, NOW), Err(ChangeError::Nothing { .. })));
    assert_eq!(states(&keyring, "alpha"), before);
    assert_eq!(keyring.apply(&alpha, None, Action::Suspend, NOW).unwrap(), [3]);
    assert_eq!(keyring.apply(&alpha, None, Action::Resume, NOW).unwrap(), [2, 3]);
    assert_eq!(states(&keyring, "alpha"), [KeyState::Destroyed, KeyState::Deactivated, KeyState::Active]);
    assert_eq!(keyring.apply(&alpha, None, Action::Compromise, NOW).unwrap(), [2, 3]);
    assert_eq!(keyring.apply(&alpha, None, Action::Destroy, NOW).unwrap(), [2, 3]);
    assert!(keyring.entry(&alpha).unwrap().versions.iter().all(|version| version.key.is_none()));
    assert_eq!(keyring.apply(&name("beta"), None, Action::Activate, NOW).unwrap(), [1]);
}

#[test]
fn a_renewed_kit_and_root_leave_the_former_ones_nothing() {
    let mut keyring = sample();
    let old = keyring.encode(1, NOW, &random()).unwrap();
    let (new_kit, pass) = (kit(2), passphrase("correct horse"));
    let shares = KitForm::Shares { threshold: 2, count: 3 };
    let export = |keyring: &Keyring| keyring.danger_export(&[]).unwrap().danger_plaintext();
    let keys = export(&keyring);
    keyring.renew_kit(&pass, (&new_kit, shares), LATER, &random()).unwrap();
    let new = keyring.encode(2, LATER, &random()).unwrap();
    let sealed = parse(&new).unwrap();
    assert!(matches!(sealed.open_with_kit(&kit(1)), Err(KeyringError::OtherKit { .. })));
    let former = parse(&old).unwrap().open_with_kit(&kit(1)).unwrap();
    assert!(matches!(sealed.reopen(former, Reopening::ByKit), Err(KeyringError::Replaced)));
    for opened in [sealed.open_with_kit(&new_kit).unwrap(), sealed.open(&pass).unwrap()] {
        assert!(export(&opened) == keys);
        assert_eq!((opened.kit().form, opened.kit().made), (shares, LATER));
        assert_eq!(states(&opened, "alpha"), states(&keyring, "alpha"));
    }
}

#[test]
fn a_new_passphrase_replaces_the_old_one_and_keeps_the_kit() {
    let mut keyring = sample();
    keyring.set_passphrase(&passphrase("another one"), Argon2Params::FLOOR, LATER, &random()).unwrap();
    let sealed = parse(&keyring.encode(2, LATER, &random()).unwrap()).unwrap();
    assert!(matches!(sealed.open(&passphrase("correct horse")), Err(KeyringError::WrongPassphrase)));
    assert!(sealed.open(&passphrase("another one")).is_ok() && sealed.open_with_kit(&kit(1)).is_ok());
}

#[test]
fn exported_keys_come_back_as_versions_that_open() {
    let (source, random) = (sample(), random());
    let keys = source.danger_export(&[name("alpha")]).unwrap();
    assert_eq!(keys.len(), 2);
    assert!(matches!(source.danger_export(&[name("none")]), Err(ChangeError::NoEntry(_))));
    let mut target = empty();
    let (moved, t) = (name("moved"), tenant("a"));
    let to = ImportTarget { name: &moved, tenant: &t, alg: WrapAlg::Local, active: false };
    let active = ImportTarget { active: true, ..to };
    assert!(matches!(target.import(&keys, active, NOW, &random), Err(ChangeError::OneActive)));
    assert!(target.entry(&moved).is_none());
    assert_eq!(target.import(&keys, to, NOW, &random).unwrap(), [1, 2]);
    assert_eq!(states(&target, "moved"), [KeyState::Deactivated; 2]);
    assert!(target.danger_export(&[]).unwrap().danger_plaintext() == keys.danger_plaintext());
    assert!(matches!(target.import(&keys, to, NOW, &random), Err(ChangeError::KekIdTaken { destroyed: false, .. })));
    let one = source.danger_export(&[name("beta")]).unwrap();
    let other = tenant("b");
    let foreign = ImportTarget { tenant: &other, ..to };
    assert!(matches!(target.import(&one, foreign, NOW, &random), Err(ChangeError::OtherTenant(_))));
    let kw = ImportTarget { alg: WrapAlg::AesKw, ..to };
    assert!(matches!(target.import(&one, kw, NOW, &random), Err(ChangeError::OtherAlgorithm(_))));
    assert_eq!(target.import(&one, active, NOW, &random).unwrap(), [3]);
    assert_eq!(target.entry(&moved).unwrap().sealing_version().unwrap().number, 3);
    assert!(matches!(target.import(&PlainKeys::parse(b"{}").unwrap(), to, NOW, &random), Err(ChangeError::NoKeys)));
}

#[test]
fn a_kek_moved_to_another_entry_or_tenant_does_not_unwrap() {
    let mut keyring = sample();
    let moved = keyring.entries.remove(&name("alpha")).unwrap();
    for (new_name, new_tenant) in [("alpha", "b"), ("gamma", "a")] {
        let versions = moved.versions.iter().map(|v| {
            let key = v.key.as_ref().map(|k| WrappedKek { ..*k });
            Version { key, ..*v }
        });
        let entry = Entry { name: name(new_name), tenant: tenant(new_tenant), versions: versions.collect(), ..moved };
        assert!(matches!(keyring.kek(&entry, &entry.versions[2]), Err(KeyError::Unavailable(_))));
    }
}

#[test]
fn writers_work_on_what_the_file_says_now() {
    let (dir, random) = (tempfile::tempdir().unwrap(), random());
    let file = KeyringFile::new(dir.path().join("keyring"));
    file.create(&sample(), NOW, &random).unwrap();
    let occupied = file.create(&sample(), NOW, &random).err().unwrap().to_string();
    assert!(occupied.contains("not overwritten"), "{occupied}");
    let [first, second] = [0, 1].map(|_| file.read().unwrap().open_with_kit(&kit(1)).unwrap());
    let rotate = |keyring: &mut Keyring| keyring.rotate(&name("alpha"), Readiness::Active, LATER, &random);
    assert_eq!(file.update(first, LATER, &random, rotate).unwrap().result, 4);
    let Updated { keyring: written, result: number, .. } = file.update(second, LATER, &random, rotate).unwrap();
    assert_eq!((number, written.generation()), (5, 3));
    assert_eq!(file.read().unwrap().generation(), 3);
    // A refused change writes nothing.
    let before = std::fs::read(file.path()).unwrap();
    let refused = file.update(written, LATER, &random, |keyring| {
        keyring.rotate(&name("alpha"), Readiness::Active, LATER, &random)?;
        keyring.apply(&name("alpha"), None, Action::Activate, LATER)
    });
    assert!(refused.is_err());
    assert_eq!(std::fs::read(file.path()).unwrap(), before);
    // Another keyring under the same name is not taken for a later state of this one.
    let opened = file.read().unwrap().open_with_kit(&kit(1)).unwrap();
    std::fs::remove_file(file.path()).unwrap();
    file.create(&empty(), NOW, &random).unwrap();
    let replaced = file.update(opened, LATER, &random, rotate).err().unwrap();
    assert!(matches!(replaced, ChangeError::Keyring(KeyringError::Replaced)));
    let names: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "{names:?}");
}

#[test]
fn a_former_passphrase_and_an_older_copy_are_not_written_over_newer_ones() {
    let (dir, random) = (tempfile::tempdir().unwrap(), random());
    let file = KeyringFile::new(dir.path().join("keyring"));
    file.create(&sample(), NOW, &random).unwrap();
    let opened = || file.read().unwrap().open_with_kit(&kit(1)).unwrap();
    let set = |text: &'static str| {
        let random = &random;
        move |keyring: &mut Keyring| keyring.set_passphrase(&passphrase(text), Argon2Params::FLOOR, LATER, random)
    };
    let (first, second, third) = (opened(), opened(), opened());
    file.update(first, LATER, &random, set("the new one")).unwrap();
    let refused = file.update(second, LATER, &random, set("a third one")).err();
    assert!(matches!(refused, Some(KeyringError::Replaced)));
    assert!(file.read().unwrap().open(&passphrase("the new one")).is_ok());
    // The kit needs no passphrase.
    file.update_by_kit(third, LATER, &random, set("by the kit")).unwrap();
    assert!(file.read().unwrap().open(&passphrase("by the kit")).is_ok());
    // An older copy comes back while a command waits.
    let older = std::fs::read(file.path()).unwrap();
    let rotate = |keyring: &mut Keyring| keyring.rotate(&name("alpha"), Readiness::Active, LATER, &random);
    file.update(opened(), LATER, &random, rotate).unwrap();
    let newer = opened();
    std::fs::write(file.path(), &older).unwrap();
    let refused = file.update(newer, LATER, &random, rotate).err();
    assert!(matches!(refused, Some(ChangeError::Keyring(KeyringError::RolledBack { opened: 4, found: 3 }))));
    assert_eq!(std::fs::read(file.path()).unwrap(), older);
}

#[test]
fn what_was_prepared_for_one_keyring_is_not_assigned_to_another() {
    let (mut one, other, random) = (sample(), sample(), random());
    let new = other.prepare_passphrase(&passphrase("p"), Argon2Params::FLOOR, NOW, &random).unwrap();
    assert!(matches!(one.assign_passphrase(new), Err(KeyringError::Replaced)));
    let kit = kit(2);
    let new = other.prepare_kit(&passphrase("p"), (&kit, KitForm::Phrase), NOW, &random).unwrap();
    assert!(matches!(one.assign_kit(new, NOW, &random), Err(ChangeError::Keyring(KeyringError::Replaced))));
}

#[test]
fn at_most_one_version_seals_or_will() {
    let (mut keyring, random) = (empty(), random());
    let key = name("k");
    keyring.create_entry(&key, &tenant("t"), WrapAlg::Local, Readiness::Active, NOW, &random).unwrap();
    // Every way to make another version seal retires the suspended one.
    for way in 0..4 {
        let before = keyring.entry(&key).unwrap().sealing_version().unwrap().number;
        keyring.apply(&key, Some(before), Action::Suspend, NOW).unwrap();
        match way {
            0 => drop(keyring.rotate(&key, Readiness::Active, NOW, &random).unwrap()),
            1 => {
                keyring.rotate(&key, Readiness::Prepared, NOW, &random).unwrap();
                keyring.apply(&key, None, Action::Activate, NOW).unwrap();
            }
            2 => {
                let number = keyring.rotate(&key, Readiness::Prepared, NOW, &random).unwrap();
                keyring.apply(&key, Some(number), Action::Activate, NOW).unwrap();
            }
            _ => {
                let text = b"{\"000102030405060708090a0b0c0d0e0f\":\
                    \"1111111111111111111111111111111111111111111111111111111111111111\"}";
                let t = tenant("t");
                let to = ImportTarget { name: &key, tenant: &t, alg: WrapAlg::Local, active: true };
                keyring.import(&PlainKeys::parse(text).unwrap(), to, NOW, &random).unwrap();
            }
        }
        keyring.apply(&key, Some(before), Action::Resume, NOW).unwrap();
        let versions = &keyring.entry(&key).unwrap().versions;
        assert_eq!(versions.iter().filter(|v| v.standing.is_or_resumes_active()).count(), 1, "way {way}");
        assert_eq!(keyring.entry(&key).unwrap().sealing_version().unwrap().number, before + 1);
    }
    // A file that says otherwise is refused.
    assert!(codec::decode_content(&codec::encode_content(keyring.entries()).unwrap()).is_ok());
    let suspended = Standing { state: KeyState::Suspended, resumes_as: Some(KeyState::Active) };
    keyring.entries.get_mut(&key).unwrap().versions[0].standing = suspended;
    let refused = codec::decode_content(&codec::encode_content(keyring.entries()).unwrap());
    assert!(matches!(refused, Err(KeyringError::Malformed("more than one sealing version"))));
}

#[test]
fn a_compromised_key_is_known_by_its_id() {
    let mut keyring = sample();
    let id = keyring.entry(&name("alpha")).unwrap().versions[2].kek_id;
    assert!(!keyring.is_compromised(id));
    keyring.apply(&name("alpha"), Some(3), Action::Compromise, NOW).unwrap();
    assert!(keyring.is_compromised(id) && !keyring.is_compromised(KekId::from_bytes([0; 16])));
}

#[test]
fn a_keyring_that_others_can_read_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keyring");
    create_private(&path, &sample().encode(1, NOW, &random()).unwrap()).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
    let error = KeyringFile::new(&path).read().err().unwrap().to_string();
    assert!(error.contains("mode 0640") && error.contains("chmod 600"), "{error}");
}

/// In a process of its own: the tests beside it take memory too.
#[test]
fn argon2_memory_is_given_back() {
    if std::env::var_os("SEALGATE_TEST_ALONE").is_none() {
        let alone = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "keys::keyring::tests::argon2_memory_is_given_back", "--nocapture"])
            .env("SEALGATE_TEST_ALONE", "1")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&alone.stdout).into_owned() + &String::from_utf8_lossy(&alone.stderr);
        assert!(alone.status.success() && said.contains("1 passed"), "{said}");
        return;
    }
    let resident = || {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("0");
        line.trim().trim_end_matches("kB").trim().parse::<u64>().unwrap_or(0)
    };
    let mut keyring = sample();
    keyring
        .set_passphrase(
            &passphrase("p"),
            Argon2Params { memory_kib: 256 * 1024, ..Argon2Params::FLOOR },
            NOW,
            &random(),
        )
        .unwrap();
    assert!((1..256 * 1024).contains(&resident()), "{} KiB", resident());
}

proptest::proptest! {
    #[test]
    fn any_bytes_parse_or_fail_without_a_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..600)) {
        let _ = parse(&bytes);
        let _ = codec::decode_content(&bytes);
        let mut file = bytes;
        file.splice(0..0, *codec::MAGIC);
        if file.len() > 14 + 32 {
            let len = (file.len() as u32).to_be_bytes();
            file[8..10].copy_from_slice(&[0, 1]);
            file[10..14].copy_from_slice(&len);
            let _ = parse(&rechecked(file));
        }
    }
}

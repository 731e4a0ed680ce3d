use std::fs;

use serde_json::Value;

use super::support::{PASSPHRASE, Run, Sandbox, mode, set_mode};

#[test]
fn a_key_lives_from_create_to_destroy() {
    let sandbox = Sandbox::new();
    sandbox.keys("create archive --tenant acme --wrap aes-kw --prepare").ends(0, "renew its backup copy");
    assert_eq!(sandbox.states("archive"), ["pre-active"]);
    sandbox.keys("activate archive").ends(0, "archive version 1: activated");
    sandbox.keys("activate archive").ends(2, "no version of archive can be activated");
    sandbox.keys("rotate archive --prepare").ends(0, "version 2 is prepared");
    sandbox.keys("rotate archive --prepare").ends(2, "prepared version already");
    sandbox.keys("rotate archive").ends(0, "version 2 seals");
    sandbox.keys("rotate archive").ends(0, "version 3 seals");
    assert_eq!(sandbox.states("archive"), ["deactivated", "deactivated", "active"]);
    sandbox.keys("suspend archive").ends(0, "archive version 1, 2, 3: suspended");
    sandbox.keys("list").ends(0, "suspended (was active)");
    sandbox.keys("resume archive --version 2").ends(0, "version 2: resumed");
    sandbox.keys("resume archive --all").ends(0, "version 1, 3: resumed");
    sandbox.keys("compromise archive --version 1").ends(0, "marked compromised");
    sandbox.keys("list").ends(0, "warning: a compromised key still opens");
    sandbox.keys_with("destroy archive", "archive\n").ends(2, "deactivate it or mark it compromised first");
    sandbox.keys_with("destroy archive --version 1", "archve\n").ends(2, "nothing was destroyed");
    sandbox.keys("destroy archive --version 1").ends(2, "nothing was destroyed");
    assert_eq!(sandbox.states("archive"), ["compromised", "deactivated", "active"]);
    sandbox.keys_with("destroy archive --version 1", "archive\n").ends(0, "Older copies of this keyring");
    sandbox.keys("deactivate archive").ends(0, "version 3: deactivated");
    sandbox.keys_with("destroy archive", "archive\n").ends(0, "archive version 2, 3: destroyed");
    assert_eq!(sandbox.states("archive"), ["destroyed"; 3]);
    for command in ["suspend", "rotate", "activate"] {
        let name = if command == "rotate" { "missing" } else { "archive" };
        let run = sandbox.keys(&format!("{command} {name}"));
        assert!(matches!(run.code, Some(1 | 2)), "{}", run.err);
    }
    sandbox.keys("suspend default --version 7").ends(1, "no version 7");
    sandbox.keys("create default --tenant main").ends(2, "already");
}

#[test]
fn listings_have_json_without_key_material() {
    let sandbox = Sandbox::new();
    sandbox.keys("rotate default").ends(0, "");
    sandbox.keys("suspend default --version 1").ends(0, "");
    let list: Value = serde_json::from_str(&sandbox.keys("list --json").ends(0, "").out).unwrap();
    assert_eq!(list["generation"], 3);
    let key = &list["keys"][0];
    assert_eq!((&key["name"], &key["tenant"], &key["wrap"]), (&"default".into(), &"main".into(), &"local".into()));
    assert_eq!(key["versions"][0]["resumes_as"], "deactivated");
    assert_eq!((&key["versions"][1]["seals"], &key["versions"][1]["state"]), (&true.into(), &"active".into()));
    assert_eq!(key["versions"][1]["kek_id"].as_str().unwrap().len(), 32);
    let recipients: Value = serde_json::from_str(&sandbox.keys("recipients --json").ends(0, "").out).unwrap();
    assert_eq!((&recipients["passphrase"]["memory_mib"], &recipients["passphrase"]["passes"]), (&19.into(), &2.into()));
    assert_eq!(recipients["recovery_kit"]["kind"], "phrase");
    assert_eq!(recipients["recovery_kit"]["id"].as_str(), Some(sandbox.kit.kit_id().to_string().as_str()));
}

#[test]
fn a_new_passphrase_replaces_the_old_one() {
    let sandbox = Sandbox::new();
    sandbox.secret_file("new", "entirely different words");
    let arguments = "passphrase --new-passphrase-file new --argon2-memory 20 --argon2-passes 3";
    let run = sandbox.keys(arguments).ends(0, "Copies made before");
    assert!(!run.err.contains("different words"));
    sandbox.keys("list").ends(2, "wrong passphrase");
    sandbox.run(&["keys", "recipients", "--passphrase-file", "new"]).ends(0, "20 MiB, 3 passes");
    sandbox.run(&["recovery", "verify", "--phrase-file", "phrase"]).ends(0, "proved");
}

#[test]
fn what_is_wrong_with_a_keyring_is_said_and_the_file_stays_as_it_is() {
    let sandbox = Sandbox::new();
    let good = fs::read(sandbox.path("keyring")).unwrap();
    let mut flipped = good.clone();
    flipped[good.len() / 2] ^= 1;
    let mut newer = good.clone();
    newer[9] = 2;
    let checksum = sealgate::digest::sha256(&[&newer[..good.len() - 32]]);
    newer[good.len() - 32..].copy_from_slice(&checksum);
    let cut = good[..good.len() - 7].to_vec();
    let foreign = b"-----BEGIN SOMETHING ELSE-----".to_vec();
    sandbox.secret_file("passphrase", "not the passphrase");
    let mut messages = Vec::new();
    for (file, said) in [
        (&good, "wrong passphrase"),
        (&flipped, "damaged"),
        (&newer, "newer sealgate"),
        (&cut, "cut short"),
        (&foreign, "not a sealgate keyring"),
    ] {
        fs::write(sandbox.path("keyring"), file).unwrap();
        for command in ["list", "rotate default", "suspend default", "passphrase --new-passphrase-file passphrase"] {
            messages.push(sandbox.keys(command).ends(2, said).err);
            assert_eq!(&fs::read(sandbox.path("keyring")).unwrap(), file, "{command} changed the file");
        }
    }
    messages.sort();
    messages.dedup();
    assert_eq!(messages.len(), 5, "{messages:?}");
    fs::remove_file(sandbox.path("keyring")).unwrap();
    sandbox.keys("list").ends(1, "keyring");
}

#[test]
fn files_that_others_can_read_are_refused_with_the_command_that_helps() {
    let sandbox = Sandbox::new();
    sandbox.secret_file("exported", "{}");
    for (file, arguments) in [
        ("keyring", &["keys", "list", "--passphrase-file", "passphrase"][..]),
        ("passphrase", &["keys", "list", "--passphrase-file", "passphrase"]),
        ("phrase", &["recovery", "verify", "--phrase-file", "phrase"]),
        (
            "exported",
            &["keys", "import", "exported", "--tenant", "t", "--name", "n", "--passphrase-file", "passphrase"],
        ),
    ] {
        let path = sandbox.path(file);
        for bits in [0o640, 0o604, 0o660] {
            set_mode(&path, bits);
            sandbox.run(arguments).ends(2, &format!("chmod 600 {file}"));
        }
        set_mode(&path, 0o600);
    }
}

#[test]
fn keys_are_exported_and_imported() {
    let sandbox = Sandbox::new();
    sandbox.keys("rotate default").ends(0, "");
    let export = sandbox.keys("export default --danger-plaintext --out plain.json").ends(0, "2 keys are in plain.json");
    assert_eq!(mode(&sandbox.path("plain.json")), 0o600);
    let text = fs::read_to_string(sandbox.path("plain.json")).unwrap();
    assert!(text.ends_with("}\n"));
    let plain: Value = serde_json::from_str(&text).unwrap();
    for (id, key) in plain.as_object().unwrap() {
        let key = key.as_str().unwrap();
        assert_eq!((id.len(), key.len()), (32, 64));
        assert!(!export.out.contains(key) && !export.err.contains(key));
    }
    sandbox.keys("export --danger-plaintext --out plain.json").ends(2, "not overwritten");
    sandbox.keys("export nobody --danger-plaintext --out other.json").ends(1, "no key named nobody");
    sandbox.keys("import plain.json --tenant main --name twin").ends(2, "already");

    let other = Sandbox::new();
    fs::copy(sandbox.path("plain.json"), other.path("plain.json")).unwrap();
    other.keys("import plain.json --tenant main --name old --active").ends(2, "exactly one");
    other.keys("import plain.json --tenant acme --name default").ends(2, "another tenant");
    other.keys("import plain.json --tenant main --name default --wrap aes-kw").ends(2, "another algorithm");
    other.keys("import plain.json --tenant main --name old").ends(0, "old version 1, 2: imported, deactivated");
    other.keys("export old --danger-plaintext --out again.json").ends(0, "");
    assert_eq!(fs::read_to_string(other.path("again.json")).unwrap(), text);
    other.secret_file("bad.json", &text.replace(':', "="));
    let bad = other.keys("import bad.json --tenant main --name bad").ends(2, "':' expected");
    assert!(plain.as_object().unwrap().values().all(|key| !bad.err.contains(key.as_str().unwrap())));
}

#[test]
fn no_secret_is_in_any_output() {
    let sandbox = Sandbox::new();
    let phrase = sandbox.kit.danger_phrase();
    let export = sandbox.keys("export --danger-plaintext --out plain.json").ends(0, "");
    let plain: Value = serde_json::from_str(&fs::read_to_string(sandbox.path("plain.json")).unwrap()).unwrap();
    let key = plain.as_object().unwrap().values().next().unwrap().as_str().unwrap().to_owned();
    sandbox.secret_file("swapped", &phrase.replacen(' ', " zzz ", 1));
    let words: Vec<&str> = phrase.split(' ').collect();
    let runs: Vec<Run> = vec![
        export,
        sandbox.keys("list --json"),
        sandbox.keys("recipients"),
        sandbox.keys("rotate default"),
        sandbox.keys_with("destroy default --version 1", "default\n"),
        sandbox.run(&["recovery", "verify", "--phrase-file", "phrase"]),
        sandbox.run(&["recovery", "verify", "--phrase-file", "swapped"]),
        sandbox.run_with(&["recovery", "verify", "--keyring", "keyring"], &phrase.replace(words[3], "zzz")),
        sandbox.run_with(&["keys", "list", "--passphrase-fd", "0"], &format!("x{PASSPHRASE}\n")),
    ];
    for run in runs {
        let text = run.out + &run.err;
        assert!(!text.contains(&key) && !text.contains(&words[..3].join(" ")) && !text.contains("zzz"), "{text}");
    }
}

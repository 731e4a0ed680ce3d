use std::fs;
use std::process::Command;

use serde_json::Value;

use super::python;
use super::support::Sandbox;

/// A sandbox whose keyring has a kit of shares.
fn with_shares(split: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    let arguments =
        ["recovery", "renew", "--shares", split, "--shares-dir", "shares", "--passphrase-file", "passphrase"];
    sandbox.run(&arguments).ends(0, "The former kit");
    sandbox
}

fn share(index: usize) -> String {
    format!("shares/share-{index}.txt")
}

fn verify(sandbox: &Sandbox, shares: &[usize]) -> super::support::Run {
    let mut arguments = vec!["recovery".to_owned(), "verify".to_owned(), "--shares".to_owned()];
    arguments.extend(shares.iter().map(|index| share(*index)));
    sandbox.run(&arguments)
}

#[test]
fn a_corrupted_share_is_named_and_the_others_restore() {
    let sandbox = with_shares("3/5");
    verify(&sandbox, &[1, 2, 3, 4, 5]).ends(0, "proved");
    verify(&sandbox, &[5, 2, 4]).ends(0, "proved");
    verify(&sandbox, &[1, 2]).ends(2, "3 shares are needed, 2 good ones were given");
    verify(&sandbox, &[1, 1, 2]).ends(2, "the same as");
    let path = sandbox.path(&share(2));
    let text = fs::read_to_string(&path).unwrap();
    let last = if text.trim_end().ends_with('0') { "1\n" } else { "0\n" };
    fs::write(&path, format!("{}{last}", &text[..text.len() - 2])).unwrap();
    let run = verify(&sandbox, &[1, 2, 3, 4, 5]).ends(2, "shares/share-2.txt, line 6: its checksum does not hold");
    assert!(run.out.contains("proved"), "{}", run.out);
    verify(&sandbox, &[1, 2, 3]).ends(2, "shares/share-2.txt, line 6");

    fs::copy(sandbox.path("keyring"), sandbox.path("copy")).unwrap();
    sandbox.secret_file("new", "after the great fire");
    let restore = ["recovery", "restore", "--keyring", "copy", "--out", "restored", "--new-passphrase-file", "new"];
    let shares: Vec<String> = [1, 2, 3, 4, 5].map(share).into();
    let mut arguments: Vec<&str> = restore.to_vec();
    arguments.push("--shares");
    arguments.extend(shares.iter().map(String::as_str));
    let before = fs::read(sandbox.path("copy")).unwrap();
    sandbox.run(&arguments).ends(0, "restored opens with the new passphrase");
    assert_eq!(fs::read(sandbox.path("copy")).unwrap(), before);
    sandbox.run(&arguments).ends(2, "not overwritten");
    sandbox.run(&["keys", "list", "--keyring", "restored", "--passphrase-file", "new"]).ends(0, "default");
}

#[test]
fn shares_of_another_kit_and_shares_by_hand() {
    let (sandbox, other) = (with_shares("2/3"), with_shares("2/3"));
    fs::copy(other.path(&share(1)), sandbox.path("foreign")).unwrap();
    let mixed = ["recovery", "verify", "--shares", "foreign", "shares/share-2.txt"];
    sandbox.run(&mixed).ends(2, "foreign, line 6: this is share 1 of kit");
    fs::copy(other.path(&share(2)), sandbox.path("foreign2")).unwrap();
    let foreign = ["recovery", "verify", "--shares", "foreign", "foreign2"];
    sandbox.run(&foreign).ends(2, "no share was given; foreign, line 6");
    let line = |index| {
        let text = fs::read_to_string(sandbox.path(&share(index))).unwrap();
        text.lines().find(|line| !line.starts_with('#')).unwrap().to_owned()
    };
    let typed = format!("{}\nnonsense\n{}\n", line(1), line(3).to_lowercase());
    sandbox.run_with(&["recovery", "verify"], &typed).ends(2, "line 2: not a share");
    let typed = format!("{}\n{}\n", line(1), line(3).to_lowercase());
    sandbox.run_with(&["recovery", "verify"], &typed).ends(0, "1 version proved");
    // Several lines in one file.
    fs::write(sandbox.path("together"), typed).unwrap();
    sandbox.run(&["recovery", "verify", "--shares", "together"]).ends(0, "proved");
}

#[test]
fn the_phrase_restores_a_copy_in_place() {
    let sandbox = Sandbox::new();
    sandbox.secret_file("new", "after the great fire");
    let restore = ["recovery", "restore", "--keyring", "keyring", "--phrase-file", "phrase"];
    sandbox.run(&[&restore[..], &["--new-passphrase-file", "new"]].concat()).ends(0, "new passphrase");
    sandbox.keys("list").ends(2, "wrong passphrase");
    sandbox.run(&["keys", "list", "--passphrase-file", "new"]).ends(0, "default");
    // A fumbled phrase says where.
    let phrase = sandbox.kit.danger_phrase();
    let verify = ["recovery", "verify"];
    sandbox.run_with(&verify, &phrase.replacen(' ', " zzz", 1)).ends(2, "word 2 is not in the word list");
    sandbox.run_with(&verify, "abandon ability\n\n").ends(2, "24 words, not 2");
}

#[test]
fn a_renewed_kit_replaces_the_former_one() {
    let sandbox = Sandbox::new();
    let old = fs::read(sandbox.path("keyring")).unwrap();
    // Not typed back: the keyring stays as it is.
    let renew = ["recovery", "renew", "--passphrase-file", "passphrase"];
    sandbox.run_with(&renew, "no\n\nno\n\nno\n\n").ends(2, "not typed back");
    assert_eq!(fs::read(sandbox.path("keyring")).unwrap(), old);
    let shares = ["--shares", "2/2", "--shares-dir", "shares"];
    sandbox.run(&[&renew[..], &shares].concat()).ends(0, "former kit");
    sandbox.run(&["recovery", "verify", "--phrase-file", "phrase"]).ends(2, "does not open this keyring");
    verify(&sandbox, &[1, 2]).ends(0, "proved");
    sandbox.keys("recipients").ends(0, "shares, 2 of 2");
    sandbox.run(&[&renew[..], &shares].concat()).ends(2, "not overwritten");
    // The former kit still opens what was written before.
    fs::write(sandbox.path("keyring"), &old).unwrap();
    sandbox.run(&["recovery", "verify", "--phrase-file", "phrase"]).ends(0, "proved");
}

/// The manual's page is enough: a program that shares no code with this one opens the keyring and finds the same keys.
#[test]
fn an_independent_reader_opens_the_keyring_by_the_manual_alone() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/decryptor/sealgate_keyring.py");
    let Some(python) = python::interpreter() else {
        return python::skipped("second reader of the keyring", python::NEEDS);
    };
    let sandbox = with_shares("3/5");
    sandbox.keys("rotate default").ends(0, "");
    sandbox.keys("create other --tenant acme --wrap aes-kw --prepare").ends(0, "");
    sandbox.keys_with("destroy default --version 1", "default\n").ends(0, "");
    sandbox.keys("export --danger-plaintext --out ours.json").ends(0, "2 keys");
    let json = |name: &str| -> Value { serde_json::from_slice(&fs::read(sandbox.path(name)).unwrap()).unwrap() };
    let read = |arguments: &[&str]| {
        let output = Command::new(&python).arg(script).args(arguments).current_dir(sandbox.path("")).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let by_passphrase = ["keyring", "--passphrase-file", "passphrase", "a.json"];
    assert_eq!(read(&by_passphrase), (Some(0), String::new()));
    let (one, two, three) = (share(5), share(1), share(3));
    let by_shares = ["keyring", "--shares", &one, "--shares", &two, "--shares", &three, "b.json"];
    assert_eq!(read(&by_shares), (Some(0), String::new()));
    assert!(json("a.json") == json("ours.json") && json("b.json") == json("ours.json"));
    sandbox.secret_file("wrong", "not the passphrase");
    assert_eq!(read(&["keyring", "--passphrase-file", "wrong", "c.json"]).0, Some(2));
}

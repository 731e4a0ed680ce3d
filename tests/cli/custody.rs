//! What a custodian must be able to rely on when things go on at once, go wrong, or are handed in wrongly.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use super::support::{PASSPHRASE, PROGRAM, Run, Sandbox, set_mode};

/// Starts a command, waits until standard error or output has said something with `sign`, lets `meanwhile` happen, and
/// answers.
fn interleaved(
    sandbox: &Sandbox,
    arguments: &[&str],
    sign: &str,
    meanwhile: impl FnOnce(),
    answer: impl FnOnce(&str) -> String,
) -> Run {
    let mut child = sandbox.command(arguments).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let (mut out, mut err) = (child.stdout.take().unwrap(), BufReader::new(child.stderr.take().unwrap()));
    let mut said = String::new();
    while !said.contains(sign) {
        let mut line = String::new();
        assert_ne!(err.read_line(&mut line).unwrap(), 0, "ended: {said}");
        said.push_str(&line);
    }
    meanwhile();
    let mut shown = String::new();
    if sign.contains("phrase") {
        BufReader::with_capacity(1, &mut out).read_line(&mut shown).unwrap();
    }
    let _ = stdin.write_all(answer(&shown).as_bytes());
    drop(stdin);
    let (mut rest_out, mut rest_err) = (String::new(), String::new());
    err.read_to_string(&mut rest_err).unwrap();
    out.read_to_string(&mut rest_out).unwrap();
    Run { code: child.wait().unwrap().code(), out: rest_out, err: said + &rest_err }
}

const NEW: [&str; 6] = ["keys", "passphrase", "--passphrase-file", "passphrase", "--new-passphrase-file", "new"];

#[test]
fn a_renewal_that_waited_does_not_bring_a_former_passphrase_back() {
    let sandbox = Sandbox::new();
    sandbox.secret_file("new", "entirely different words");
    let change = || drop(sandbox.run(&NEW).ends(0, "Copies made before"));
    let renew = ["recovery", "renew", "--passphrase-file", "passphrase"];
    let run = interleaved(&sandbox, &renew, "recovery phrase", change, str::to_owned);
    let run = run.ends(1, "changed by someone else in the meantime");
    assert!(run.err.contains("opens nothing: destroy it") && run.err.contains("stays the keyring's"), "{}", run.err);
    sandbox.keys("list").ends(2, "wrong passphrase");
    sandbox.run(&["keys", "list", "--passphrase-file", "new"]).ends(0, "default");
    sandbox.run(&["recovery", "verify", "--phrase-file", "phrase"]).ends(0, "proved");
}

#[test]
fn a_destruction_destroys_what_was_agreed_to_or_nothing() {
    let sandbox = Sandbox::new();
    sandbox.keys("rotate default").ends(0, "");
    sandbox.keys("deactivate default").ends(0, "");
    let id = sandbox.opened().entry(&"default".parse().unwrap()).unwrap().versions[0].kek_id.to_string();
    let destroy = ["keys", "destroy", "default", "--passphrase-file", "passphrase"];
    let prepare = || drop(sandbox.keys("rotate default --prepare").ends(0, "version 3"));
    let run = interleaved(&sandbox, &destroy, "lost for ever", prepare, |_| "default\n".to_owned());
    let run = run.ends(1, "in the meantime");
    assert!(run.err.contains(&format!("version 1, deactivated, KEK id {id}")), "{}", run.err);
    assert_eq!(sandbox.states("default"), ["deactivated", "deactivated", "pre-active"]);
    sandbox.keys("activate default").ends(0, "version 3 seals from now on");
    // Refused before anybody is asked.
    let run = sandbox.keys_with("destroy default", "default\n").ends(2, "deactivate it");
    assert!(!run.err.contains("Type the key's name"), "{}", run.err);
}

#[test]
fn a_key_that_was_rotated_away_from_while_suspended_does_not_seal_again() {
    let sandbox = Sandbox::new();
    sandbox.keys("suspend default").ends(0, "sealgate keys resume default");
    sandbox.keys("rotate default").ends(0, "version 2 seals from now on");
    sandbox.keys("resume default").ends(0, "version 1: resumed");
    assert_eq!(sandbox.states("default"), ["deactivated", "active"]);
    sandbox.keys("rotate default --prepare").ends(0, "");
    sandbox.keys("suspend default --version 2").ends(0, "");
    sandbox.keys("activate default").ends(0, "version 3 seals from now on");
    sandbox.keys("resume default").ends(0, "version 2: resumed");
    assert_eq!(sandbox.states("default"), ["deactivated", "deactivated", "active"]);
    let run = sandbox.keys("compromise default --version 3").ends(0, "seals nothing now");
    assert!(run.err.trim_end().ends_with("does not replace one."), "the reminder is last: {}", run.err);
    sandbox.keys("suspend default").ends(0, "resume default --all");
    sandbox.keys("resume default").ends(2, "versions 1, 2, 3 of default are suspended");
    sandbox.keys("resume default --version 1").ends(0, "version 1: resumed");
    sandbox.keys("resume default --all").ends(0, "version 2, 3: resumed");
}

#[test]
fn a_descriptor_is_read_from_where_it_stands() {
    let sandbox = Sandbox::new();
    sandbox.secret_file("both", &format!("{PASSPHRASE}\nentirely different words\n"));
    let shell = |script: &str, stdin: Stdio| {
        let script = format!("exec {PROGRAM} {script}");
        let output = Command::new("sh").args(["-c", &script]).current_dir(sandbox.path("")).stdin(stdin).output();
        Run::of(output.unwrap())
    };
    // A socket, which cannot be opened anew.
    let (ours, theirs) = UnixStream::pair().unwrap();
    (&ours).write_all(format!("{PASSPHRASE}\nand more").as_bytes()).unwrap();
    shell("keys list --passphrase-fd 3 3<&0 </dev/null", OwnedFd::from(theirs).into()).ends(0, "default");
    // A line that is too long is refused, not cut.
    sandbox.secret_file("long", &format!("{}\n", "x".repeat(4097)));
    shell("keys list --passphrase-fd 3 3<long", Stdio::null()).ends(2, "at most 4096 bytes");
    let both = "keys passphrase --passphrase-fd 3 --new-passphrase-fd 3 3<both";
    shell(both, Stdio::null()).ends(0, "Copies made before");
    sandbox.keys("list").ends(2, "wrong passphrase");
    sandbox.secret_file("new", "entirely different words");
    let same = ["keys", "passphrase", "--passphrase-file", "new", "--new-passphrase-file", "new"];
    sandbox.run(&same).ends(2, "is the present one");
    sandbox.run(&[&same[..], &["--argon2-passes", "3"]].concat()).ends(0, "Copies");
    // A pipe where a file is asked for.
    Command::new("mkfifo").arg(sandbox.path("pipe")).status().unwrap();
    sandbox.run(&["keys", "list", "--passphrase-file", "pipe"]).ends(2, "--passphrase-fd");
}

#[test]
fn one_bad_share_does_not_block_recovery() {
    let sandbox = Sandbox::new();
    let renew = ["recovery", "renew", "--shares", "2/3", "--passphrase-file", "passphrase", "--shares-dir"];
    sandbox.run(&[&renew[..], &["old"]].concat()).ends(0, "Give each");
    sandbox.run(&[&renew[..], &["new"]].concat()).ends(0, "Give each");
    let good = fs::read_to_string(sandbox.path("new/share-2.txt")).unwrap();
    sandbox.secret_file("bom", &format!("\u{feff}{}", good.lines().last().unwrap()));
    let utf16: Vec<u8> = good.encode_utf16().flat_map(u16::to_le_bytes).collect();
    fs::write(sandbox.path("utf16"), utf16).unwrap();
    let verify = |files: &[&str]| sandbox.run(&[&["recovery", "verify", "--shares"], files].concat());
    for (bad, said) in [
        ("old/share-1.txt", "old/share-1.txt, line 6: this is share 1 of kit"),
        ("utf16", "utf16 is not plain text"),
        ("missing", "set aside: missing"),
    ] {
        for files in [[bad, "new/share-1.txt", "new/share-3.txt"], ["new/share-1.txt", "new/share-3.txt", bad]] {
            let run = verify(&files).ends(2, said);
            assert!(run.out.contains("1 version proved"), "{}", run.err);
        }
        verify(&[bad, "new/share-1.txt"]).ends(2, bad);
    }
    verify(&["bom", "new/share-3.txt"]).ends(0, "proved");
    // The same share twice is no fault.
    verify(&["bom", "new/share-2.txt", "new/share-3.txt"]).ends(0, "is the same as");
    set_mode(&sandbox.path("new/share-1.txt"), 0o644);
    verify(&["new/share-1.txt", "new/share-3.txt"]).ends(0, "warning: new/share-1.txt is open to others");
    // Typed: the same share again does not count, nor does one of another kit.
    let line = |path: &str| fs::read_to_string(sandbox.path(path)).unwrap().lines().last().unwrap().to_owned() + "\n";
    let typed = line("new/share-1.txt") + &line("new/share-1.txt") + &line("new/share-3.txt");
    sandbox.run_with(&["recovery", "verify"], &typed).ends(0, "given before");
    let typed = line("old/share-2.txt") + &line("new/share-1.txt") + &line("new/share-3.txt");
    sandbox.run_with(&["recovery", "verify"], &typed).ends(2, "line 1: this is share 2");
}

#[test]
fn a_copy_may_be_anybodys_and_a_keyring_may_not() {
    let sandbox = Sandbox::new();
    set_mode(&sandbox.path("keyring"), 0o644);
    sandbox.secret_file("new", "entirely different words");
    sandbox.run(&["recovery", "verify", "--phrase-file", "phrase"]).ends(0, "warning: keyring is open to others");
    let restore = ["recovery", "restore", "--keyring", "keyring", "--phrase-file", "phrase"];
    let restore = [&restore[..], &["--new-passphrase-file", "new"]].concat();
    sandbox.run(&restore).ends(2, "chmod 600");
    sandbox.run(&[&restore[..], &["--out", "restored"]].concat()).ends(0, "warning: keyring is open to others");
    sandbox.keys("list").ends(2, "chmod 600");
}

#[test]
fn imported_keys_are_new_keys() {
    let sandbox = Sandbox::new();
    sandbox.keys("export --danger-plaintext --out plain.json").ends(0, "1 key is in");
    let plain = fs::read_to_string(sandbox.path("plain.json")).unwrap();
    let (id, key) = (&plain[5..37], &plain[41..105]);
    let import = |name: &str, text: String| {
        sandbox.secret_file("given.json", &text);
        sandbox.keys(&format!("import given.json --tenant main --name {name}"))
    };
    let other = "ab".repeat(16);
    import("a", format!("{{\"{other}\":\"{}\"}}", "0".repeat(64))).ends(2, "all zeros");
    import("a", format!("{{\"{other}\":\"{key}\"}}")).ends(2, "byte for byte");
    let (one, two) = ("ab".repeat(16), "cd".repeat(16));
    let twice = "7".repeat(64);
    import("a", format!("{{\"{one}\":\"{twice}\",\"{two}\":\"{twice}\"}}")).ends(2, "byte for byte");
    sandbox.keys("deactivate default").ends(0, "");
    sandbox.keys("compromise default").ends(0, "");
    sandbox.keys("export --danger-plaintext --out more.json").ends(0, "default version 1 is compromised");
    sandbox.keys_with("destroy default", "default\n").ends(0, "destroyed");
    import("a", format!("{{\"{id}\":\"{key}\"}}")).ends(2, "already (destroyed)");
    sandbox.keys("create default --tenant main").ends(2, "sealgate keys rotate default");
    sandbox.keys("create fresh --tenant acme").ends(0, "fresh of tenant acme: version 1, KEK id ");
}

#[test]
fn nobody_writes_down_a_kit_that_cannot_be_used() {
    let sandbox = Sandbox::new();
    // What bears the lock's name is a folder: the keyring cannot be written.
    fs::create_dir(sandbox.path("keyring.lock")).unwrap();
    let run = sandbox.run(&["recovery", "renew", "--passphrase-file", "passphrase"]).ends(1, "keyring.lock");
    assert!(run.out.is_empty() && !run.err.contains("recovery phrase"), "{}", run.err);
    let init = ["init", "--dir", "gate", "--keyring", "no/such/keyring", "--passphrase-file", "passphrase"];
    let run = sandbox.run(&init).ends(1, "no/such");
    assert!(run.out.is_empty() && !sandbox.path("gate").exists(), "{}", run.err);
}

#[test]
fn damage_in_the_length_or_the_magic_is_called_possible_damage() {
    let sandbox = Sandbox::new();
    let good = fs::read(sandbox.path("keyring")).unwrap();
    for (at, said) in [(0, "damaged at its beginning"), (10, "damaged"), (12, "length field is damaged")] {
        for bit in 0..8 {
            let mut flipped = good.clone();
            flipped[at] ^= 1 << bit;
            fs::write(sandbox.path("keyring"), flipped).unwrap();
            sandbox.keys("list").ends(2, said);
        }
    }
}

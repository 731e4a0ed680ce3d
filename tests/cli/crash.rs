use std::fs;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::support::{PROGRAM, Run, Sandbox};

const ROTATE: [&str; 5] = ["keys", "rotate", "default", "--passphrase-file", "passphrase"];

fn versions(sandbox: &Sandbox) -> usize {
    let keyring = sandbox.opened();
    keyring.prove().unwrap();
    let entry = keyring.entry(&"default".parse().unwrap()).unwrap();
    assert!(entry.sealing_version().is_some());
    entry.versions.len()
}

fn leftovers(sandbox: &Sandbox) -> usize {
    sandbox.names().iter().filter(|name| name.contains(".tmp-")).count()
}

#[test]
fn a_writer_killed_at_any_time_leaves_the_old_or_the_new_keyring() {
    let sandbox = Sandbox::new();
    let started = Instant::now();
    sandbox.run(&ROTATE).ends(0, "");
    let whole = started.elapsed();
    let mut before = versions(&sandbox);
    for round in 0..60u32 {
        let mut child = sandbox.command(&ROTATE).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // Denser towards the end of a run, where the file is written.
        thread::sleep(whole.mul_f64(0.3 + f64::from(round) * 0.015));
        child.kill().unwrap();
        child.wait().unwrap();
        let after = versions(&sandbox);
        assert!(after == before || after == before + 1, "{before} {after}");
        before = after;
    }
    sandbox.run(&ROTATE).ends(0, "");
    assert_eq!((versions(&sandbox), leftovers(&sandbox)), (before + 1, 0));
}

#[test]
fn writers_at_once_both_take_effect() {
    let sandbox = Sandbox::new();
    let before = versions(&sandbox);
    let children: Vec<_> = (0..6).map(|_| sandbox.command(&ROTATE).spawn().unwrap()).collect();
    for child in children {
        Run::of(child.wait_with_output().unwrap()).ends(0, "seals from now on");
    }
    assert_eq!(versions(&sandbox), before + 6);
    assert_eq!(leftovers(&sandbox), 0);
}

#[test]
fn a_writer_waits_for_another_and_readers_do_not() {
    let sandbox = Sandbox::new();
    let before = fs::read(sandbox.path("keyring")).unwrap();
    let lock = fs::File::create(sandbox.path("keyring.lock")).unwrap();
    lock.lock().unwrap();
    // Readers need no lock.
    sandbox.keys("list").ends(0, "default");
    let child = sandbox.command(&ROTATE).spawn().unwrap();
    thread::sleep(Duration::from_millis(300));
    drop(lock);
    Run::of(child.wait_with_output().unwrap()).ends(0, "seals");
    assert_ne!(fs::read(sandbox.path("keyring")).unwrap(), before);
}

#[test]
fn a_full_disk_leaves_the_old_keyring() {
    let sandbox = Sandbox::new();
    let before = fs::read(sandbox.path("keyring")).unwrap();
    // Nothing can be written to any file: once as an error that the program sees, once as a signal that kills it.
    for trap in ["trap '' XFSZ;", ""] {
        let script = format!("{trap} ulimit -f 0; exec {PROGRAM} {}", ROTATE.join(" "));
        let output = Command::new("sh").args(["-c", &script]).current_dir(sandbox.path("")).output().unwrap();
        assert!(!output.status.success());
        assert_eq!(fs::read(sandbox.path("keyring")).unwrap(), before);
        if !trap.is_empty() {
            Run::of(output).ends(1, "keyring");
            assert_eq!(leftovers(&sandbox), 0);
        }
    }
    sandbox.run(&ROTATE).ends(0, "seals");
    assert_eq!(leftovers(&sandbox), 0);
}

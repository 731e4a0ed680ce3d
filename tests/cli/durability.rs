//! Every flush that can fail, fails once: what is in force is never undone, and what is undone was never in force.

use std::fs;
use std::path::Path;
use std::process::Command;

use sealgate::keys::keyring::KeyringFile;
use sealgate::secret::Secret;

use super::python;
use super::support::{PASSPHRASE, PROGRAM, Run, Sandbox};

/// Whether system calls can be made to fail. Under CI they must.
fn strace() -> bool {
    let works = Command::new("strace").args(["-o", "/dev/null", "true"]).output().is_ok_and(|o| o.status.success());
    if !works {
        assert!(std::env::var_os("CI").is_none(), "CI must have a working strace");
        python::skipped("failing flushes", "no working strace");
    }
    works
}

/// Runs the program with the `when`th of its `calls` failing. `None` if there were not so many.
fn failing(sandbox: &Sandbox, calls: &str, error: &str, when: &str, arguments: &[&str]) -> Option<Run> {
    failing_logged(sandbox, calls, error, when, arguments).map(|(run, _)| run)
}

/// Tells the calls too, and renames that overwrite nothing.
fn failing_logged(
    sandbox: &Sandbox,
    calls: &str,
    error: &str,
    when: &str,
    arguments: &[&str],
) -> Option<(Run, String)> {
    let log = sandbox.path("strace.log");
    let inject = format!("inject={calls}:error={error}:when={when}");
    let mut command = Command::new("strace");
    command.args(["-f", "-o"]).arg(&log).args(["-e", &format!("trace={calls},renameat2"), "-e", &inject, PROGRAM]);
    let output = command.args(arguments).current_dir(sandbox.path("")).output().unwrap();
    let text = fs::read_to_string(&log).unwrap();
    fs::remove_file(&log).unwrap();
    text.contains("(INJECTED)").then(|| (Run::of(output), text))
}

fn opens(sandbox: &Sandbox, more: &[&str]) -> bool {
    sandbox.run(&[&["recovery", "verify"], more].concat()).code == Some(0)
}

#[test]
fn whichever_flush_fails_a_kit_that_opens_the_keyring_exists() {
    if !strace() {
        return;
    }
    let renew = ["recovery", "renew", "--passphrase-file", "passphrase", "--shares", "2/3", "--shares-dir", "shares"];
    let shares = ["--shares", "shares/share-1.txt", "shares/share-3.txt"];
    let mut after_the_change = 0;
    for when in 1.. {
        let sandbox = Sandbox::new();
        let Some(run) = failing(&sandbox, "fsync", "EIO", &when.to_string(), &renew) else {
            assert!(when > 6, "too few flushes: {when}");
            break;
        };
        assert_eq!(run.code, Some(1), "flush {when}: {}", run.err);
        let (old, new) = (opens(&sandbox, &["--phrase-file", "phrase"]), opens(&sandbox, &shares));
        assert!(old != new, "flush {when}: old kit {old}, new kit {new}: {}", run.err);
        assert_eq!(new, sandbox.path("shares").exists(), "flush {when}");
        if new {
            after_the_change += 1;
            assert!(run.err.contains("may not survive a power cut"), "{}", run.err);
        } else {
            assert!(run.err.contains("open nothing") || !run.err.contains("2 of them"), "{}", run.err);
        }
        assert!(!sandbox.names().iter().any(|name| name.contains(".tmp-")), "{:?}", sandbox.names());
    }
    assert_eq!(after_the_change, 1);
}

#[test]
fn whichever_flush_fails_a_command_says_truly_whether_the_change_is_in_force() {
    if !strace() {
        return;
    }
    for when in 1.. {
        let sandbox = Sandbox::new();
        let rotate = ["keys", "rotate", "default", "--passphrase-file", "passphrase"];
        let Some(run) = failing(&sandbox, "fsync", "EIO", &when.to_string(), &rotate) else { break };
        assert_eq!(run.code, Some(1), "{}", run.err);
        let changed = sandbox.states("default").len() == 2;
        assert_eq!(changed, run.err.contains("the change is in force"), "flush {when}: {}", run.err);
    }
}

#[test]
fn whichever_flush_fails_init_leaves_nothing() {
    if !strace() {
        return;
    }
    let init = ["init", "--dir", "d", "--shares", "2/2", "--shares-dir", "d/s", "--passphrase-file", "passphrase"];
    for when in 1.. {
        let sandbox = Sandbox::empty();
        sandbox.secret_file("passphrase", PASSPHRASE);
        let Some(run) = failing(&sandbox, "fsync", "EIO", &when.to_string(), &init) else {
            // Folder and its parent, shares and theirs, keyring, configuration.
            assert!(when > 10, "too few flushes: {when}");
            break;
        };
        assert_eq!(run.code, Some(1), "{}", run.err);
        assert_eq!(sandbox.names(), ["passphrase"], "flush {when}");
    }
}

#[test]
fn a_keyring_is_made_where_there_are_no_hard_links() {
    if !strace() {
        return;
    }
    for calls in ["link,linkat", "link,linkat,renameat2"] {
        let sandbox = Sandbox::new();
        sandbox.secret_file("new", "after the great fire");
        let arguments = ["recovery", "restore", "--keyring", "keyring", "--phrase-file", "phrase", "--out", "made"];
        let arguments = [&arguments[..], &["--new-passphrase-file", "new"]].concat();
        let (run, log) = failing_logged(&sandbox, calls, "EPERM", "1+", &arguments).unwrap();
        run.ends(0, "made opens");
        let renamed = log.lines().any(|line| line.contains("RENAME_NOREPLACE) = 0"));
        assert_eq!(renamed, !calls.contains("renameat2"), "whole before it has its name: {log}");
        let passphrase = Secret::from_bytes_of(b"after the great fire");
        assert!(KeyringFile::new(sandbox.path("made")).read().unwrap().open(&passphrase).is_ok());
        assert!(!sandbox.names().iter().any(|name| name.contains(".tmp-")), "{:?}", sandbox.names());
        sandbox.run(&arguments).ends(2, "not overwritten");
        assert!(Path::new(&sandbox.path("made")).is_file());
    }
}

use std::process::{Command, Stdio};

use super::support::{PROGRAM, Run, Sandbox};

#[test]
fn wrong_usage_is_64_and_help_and_version_are_0() {
    let sandbox = Sandbox::empty();
    for arguments in [
        &[][..],
        &["nonsense"],
        &["keys"],
        &["keys", "create", "x"],
        &["keys", "create", "Not A Name", "--tenant", "t"],
        &["keys", "export", "--out", "f"],
        &["keys", "passphrase", "--argon2-memory", "18"],
        &["keys", "passphrase", "--argon2-passes", "65"],
        &["keys", "list", "--passphrase-file", "a", "--passphrase-fd", "3"],
        &["init", "--shares", "3/5"],
        &["init", "--shares", "1/1", "--shares-dir", "d"],
        &["init", "--shares", "6/5", "--shares-dir", "d"],
        &["recovery", "restore"],
    ] {
        let run = sandbox.run(arguments).ends(64, "--help");
        assert!(run.out.is_empty(), "{arguments:?}: {}", run.out);
    }
    for arguments in [&["--help"][..], &["-h"], &["keys", "--help"], &["recovery", "drill", "--help"]] {
        assert!(sandbox.run(arguments).ends(0, "Usage").err.is_empty());
    }
    for flag in ["-V", "--version"] {
        assert!(sandbox.run(&[flag]).ends(0, concat!("sealgate ", env!("CARGO_PKG_VERSION"))).err.is_empty());
    }
    assert!(sandbox.names().is_empty());
}

#[test]
fn a_reader_that_goes_away_causes_no_panic_and_no_success() {
    let sandbox = Sandbox::new();
    for arguments in [&["keys", "list", "--passphrase-file", "passphrase"][..], &["--help"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let child = sandbox.command(arguments).stdout(writer).spawn().unwrap();
        assert_eq!(Run::of(child.wait_with_output().unwrap()).code, Some(1));
    }
}

#[test]
fn without_a_terminal_a_passphrase_must_be_given() {
    let sandbox = Sandbox::new();
    sandbox.run(&["keys", "list"]).ends(64, "--passphrase-file");
}

#[test]
fn a_passphrase_comes_from_a_file_or_a_descriptor() {
    let sandbox = Sandbox::new();
    sandbox.run(&["keys", "list", "--passphrase-file", "passphrase"]).ends(0, "default");
    let typed = format!("{}\nmore", super::support::PASSPHRASE);
    sandbox.run_with(&["keys", "list", "--passphrase-fd", "0"], &typed).ends(0, "default");
    let script = format!("exec {PROGRAM} keys list --passphrase-fd 3 3<passphrase");
    let output = Command::new("sh").args(["-c", &script]).current_dir(sandbox.path("")).stdin(Stdio::null()).output();
    Run::of(output.unwrap()).ends(0, "default");
    sandbox.run(&["keys", "list", "--passphrase-fd", "0"]).ends(64, "no passphrase");
    sandbox.run(&["keys", "list", "--passphrase-fd", "77"]).ends(64, "descriptor 77");
    sandbox.secret_file("empty", "\n");
    sandbox.run(&["keys", "list", "--passphrase-file", "empty"]).ends(2, "empty");
    sandbox.run(&["keys", "list", "--passphrase-file", "missing"]).ends(1, "missing");
}

#[test]
fn the_process_leaves_no_core_and_lets_nobody_attach() {
    // It waits for its input long enough to be looked at.
    let command = ["keys", "list", "--keyring", "keyring", "--passphrase-fd", "0"];
    let waiting = Sandbox::new();
    let mut child = waiting.command(&command).spawn().unwrap();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    let limits = loop {
        let limits = std::fs::read_to_string(format!("/proc/{}/limits", child.id())).unwrap_or_default();
        let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap_or_default().to_owned();
        if core.split_whitespace().filter(|word| *word == "0").count() == 2 || std::time::Instant::now() > deadline {
            break core;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    };
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(limits.split_whitespace().filter(|word| *word == "0").count(), 2, "{limits}");
}

#[test]
fn the_version_is_told() {
    let binary = env!("CARGO_BIN_EXE_sealgate");
    for (argument, more) in [("version", " (object format 1)"), ("--version", ""), ("-V", "")] {
        let output = Command::new(binary).arg(argument).output().unwrap();
        let told = String::from_utf8(output.stdout).unwrap();
        assert_eq!(told, format!("sealgate {}{more}\n", env!("CARGO_PKG_VERSION")));
    }
}

#[test]
fn completions_and_man_pages_know_every_command() {
    let binary = env!("CARGO_BIN_EXE_sealgate");
    let help = Command::new(binary).arg("--help").output().unwrap().stdout;
    let help = String::from_utf8(help).unwrap();
    let commands: Vec<&str> = help
        .lines()
        .skip_while(|line| !line.starts_with("Commands:"))
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert!(commands.len() > 10 && commands.contains(&"serve"), "{commands:?}");
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = Command::new(binary).args(["completions", shell]).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success());
        for command in &commands {
            assert!(text.contains(command), "{shell} {command}");
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let made = Command::new(binary).args(["man", "--dir"]).arg(folder.path()).status().unwrap();
    assert!(made.success());
    for command in commands {
        let page = std::fs::read_to_string(folder.path().join(format!("sealgate-{command}.1"))).unwrap();
        assert!(page.contains(".SH DESCRIPTION"), "{command}");
    }
    let missing = folder.path().join("none");
    let refused = Command::new(binary).args(["man", "--dir"]).arg(missing).output().unwrap();
    assert_eq!(refused.status.code(), Some(1));
}

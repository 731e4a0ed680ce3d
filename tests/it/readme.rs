//! The README's commands, as a newcomer would paste them.

use std::path::Path;
use std::process::Command;

use crate::support::python;

/// The fenced blocks marked `sh` of a page.
fn blocks(text: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut block: Option<String> = None;
    for line in text.lines() {
        match (&mut block, line) {
            (None, "```sh") => block = Some(String::new()),
            (Some(_), "```") => blocks.extend(block.take()),
            (Some(text), line) => {
                text.push_str(line);
                text.push('\n');
            }
            (None, _) => {}
        }
    }
    blocks
}

#[test]
fn the_readmes_commands_work_when_pasted() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = std::fs::read_to_string(root.join("README.md")).unwrap();
    assert!(readme.contains("cargo test"), "the README names the test command");
    let commands: Vec<String> = blocks(&readme).into_iter().filter(|block| !block.contains("cargo test")).collect();
    assert!(!commands.is_empty(), "the README has commands");
    let folder = tempfile::tempdir().unwrap();
    // `cargo run --release --` is the program that was built for this test.
    let program = env!("CARGO_BIN_EXE_sealgate");
    let script = format!("set -e\ncargo() {{ shift 3; \"{program}\" \"$@\"; }}\n{}", commands.join("\n"));
    let output = Command::new("sh").args(["-c", &script]).current_dir(folder.path()).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}\n{}\n{script}", text(&output.stdout), text(&output.stderr));
    python::tell(&format!("README: {} lines of commands ran", commands.concat().lines().count()));
}

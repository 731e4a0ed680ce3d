//! The second opener, `tests/decryptor/sealgate_open.py`, where Python and its one package are there.

use std::path::PathBuf;
use std::process::Command;

/// What the tests with Python need.
pub const NEEDS: &str = "python3 with the package `cryptography`, 44 or newer (SEALGATE_PYTHON names another one)";

/// The interpreter: `SEALGATE_PYTHON`, else `python3`. Under CI it must be there.
pub fn interpreter() -> Option<PathBuf> {
    let python = std::env::var_os("SEALGATE_PYTHON").map_or_else(|| PathBuf::from("python3"), PathBuf::from);
    let works =
        Command::new(&python).args(["-c", "import cryptography"]).output().is_ok_and(|output| output.status.success());
    if works {
        return Some(python);
    }
    assert!(std::env::var_os("CI").is_none(), "CI must have what is missing here: {NEEDS}");
    None
}

/// The script's path.
pub fn opener() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/decryptor/sealgate_open.py")
}

/// Says plainly, past the test harness's capture, that a suite was skipped.
pub fn skipped(suite: &str, why: &str) {
    tell(&format!("SKIPPED: {suite}: {why}"));
}

/// A line past the test harness's capture.
pub fn tell(line: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "{line}");
}

//! The directions of the modules: who may import whom, and what pure code must not touch.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::fs;
use std::path::{Path, PathBuf};

/// From the ground up. A module may import those of the rows above its own, and itself.
const LEVELS: &[&[&str]] = &[
    &["secret", "object", "clock"],
    &["digest"],
    &["crypto", "sigv4"],
    &["sigv2"],
    &["format", "s3", "net"],
    &["store", "keys", "audit", "ingress"],
    &["trust", "offline"],
    &["gateway"],
    &["jobs"],
    &["admin"],
    &["config"],
    &["app"],
    &["embedded"],
    &["demo"],
    &["cli"],
    &["main"],
];

/// Imports that a level would allow and the reader should not see all the same: (who, what, why).
const FORBIDDEN: &[(&str, &str, &str)] = &[
    ("s3", "crypto", "the protocol knows nothing of encryption"),
    ("net", "crypto", "sockets know nothing of keys"),
    ("store", "crypto", "the upstream client sees ciphertext only"),
    ("store", "format", "the upstream client sees ciphertext only"),
    ("format", "sigv4", "the format knows nothing of HTTP"),
    ("format", "sigv2", "the format knows nothing of HTTP"),
    ("keys", "s3", "custody knows nothing of S3"),
    ("embedded", "format", "the provider's side knows nothing of the format"),
    ("embedded", "keys", "the provider's side knows nothing of keys"),
];

/// Modules that compute and do nothing else.
const PURE: &[&str] = &["secret", "object", "digest", "crypto", "format", "sigv4", "sigv2", "s3"];

/// What pure code must not name.
const IMPURE: &[&str] = &[
    "tokio::",
    "hyper::",
    "std::fs",
    "std::net",
    "std::env",
    "std::io",
    "std::time",
    "SystemTime",
    "Instant::",
    "tracing::",
    "println!",
    "eprintln!",
];

/// The rows' words, beside the levels: everybody may use them.
const BESIDE: &[&str] = &["telemetry", "manual"];

fn level(module: &str) -> Option<usize> {
    LEVELS.iter().position(|row| row.contains(&module))
}

fn sources(folder: &Path, out: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, out);
        } else if path.extension().is_some_and(|e| e == "rs") {
            out.push(path);
        }
    }
}

/// The code of a file: comments and what stands behind `#[cfg(test)]` left out.
fn code(text: &str) -> String {
    let text = text.split("\n#[cfg(test)]\nmod ").next().unwrap_or_default();
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

fn module_of(path: &Path) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let first = path.strip_prefix(root).unwrap().components().next().unwrap();
    first.as_os_str().to_string_lossy().trim_end_matches(".rs").to_owned()
}

/// Modules named as `crate::name`, also within `use crate::{a, b::c}`.
fn imports(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        if let Some(list) = rest.strip_prefix('{') {
            let mut depth = 1;
            let mut word = String::new();
            let mut expects = true;
            for c in list.chars() {
                match c {
                    '{' => depth += 1,
                    '}' => depth -= 1,
                    ',' if depth == 1 => expects = true,
                    _ if depth == 1 && expects && (c.is_alphanumeric() || c == '_') => word.push(c),
                    _ => {}
                }
                if !(word.is_empty() || c.is_alphanumeric() || c == '_') {
                    found.push(std::mem::take(&mut word));
                    expects = c == ',';
                }
                if depth == 0 {
                    break;
                }
            }
        } else {
            found.push(rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect());
        }
    }
    found
}

/// What is wrong with one file's imports.
fn faults(module: &str, code: &str) -> Vec<String> {
    let mut faults = Vec::new();
    if BESIDE.contains(&module) || module == "lib" {
        return faults;
    }
    let Some(own) = level(module) else {
        return vec![format!("module `{module}` has no level: give it one in tests/layers.rs")];
    };
    for import in imports(code) {
        if import == module || BESIDE.contains(&import.as_str()) {
            continue;
        }
        match level(&import) {
            Some(other) if other < own => {}
            Some(other) if other == own => faults.push(format!("`{module}` imports its neighbour `{import}`")),
            Some(_) => faults.push(format!("`{module}` imports `{import}`, which stands above it")),
            // a type re-exported at the root, or a macro
            None => faults.push(format!("`{module}` imports `{import}`, which is no module")),
        }
        for (who, what, why) in FORBIDDEN {
            if *who == module && *what == import {
                faults.push(format!("`{module}` imports `{import}`: {why}"));
            }
        }
    }
    if PURE.contains(&module) {
        for word in IMPURE.iter().filter(|word| code.contains(**word)) {
            faults.push(format!("`{module}` is pure but names `{word}`"));
        }
        if code.contains("getrandom::") && module != "crypto" {
            faults.push(format!("`{module}` draws randomness: only crypto::random does"));
        }
    }
    faults
}

#[test]
fn modules_import_downwards_only() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    assert!(files.len() > 20, "the sources were found");
    let mut all = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let found = faults(&module_of(&file), &code(&text));
        all.extend(found.into_iter().map(|fault| format!("{}: {fault}", file.display())));
    }
    assert!(all.is_empty(), "{}", all.join("\n"));
}

#[test]
fn only_crypto_random_draws_randomness() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    for file in files {
        let draws = code(&fs::read_to_string(&file).unwrap()).contains("getrandom::");
        assert_eq!(draws, file.ends_with("crypto/random.rs"), "{}", file.display());
    }
}

#[test]
fn the_check_sees_what_it_must() {
    assert_eq!(imports("use crate::{a::b, c, d::{e, f}};"), ["a", "c", "d"]);
    assert_eq!(imports("crate::format::X; use crate::keys;"), ["format", "keys"]);
    assert!(faults("format", "use crate::keys::K;")[0].contains("above"));
    assert!(faults("format", "use crate::s3::K;")[0].contains("neighbour"));
    assert!(faults("format", "std::fs::read").len() == 1);
    assert!(faults("store", "use crate::format::F;").iter().any(|f| f.contains("ciphertext")));
    assert!(faults("nowhere", "")[0].contains("no level"));
    assert!(faults("keys", "use crate::format::F; use crate::crypto::K;").is_empty());
}

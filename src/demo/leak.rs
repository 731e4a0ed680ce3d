//! A hunt for plaintext in files: any run of eight bytes of some words, raw, hexadecimal or base64.

use std::collections::HashSet;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// The shortest run that counts.
const RUN: usize = 8;
/// How much of a file is looked at at once, beside what laps over.
const PIECE: usize = 1 << 20;

/// In which form something was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leak {
    /// As it is.
    Raw,
    /// In hexadecimal digits.
    Hex,
    /// In base64.
    Base64,
}

impl fmt::Display for Leak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Raw => "a run of the plaintext",
            Self::Hex => "a run of the plaintext in hexadecimal",
            Self::Base64 => "a run of the plaintext in base64",
        })
    }
}

/// What is looked for: windows of equal length, by form.
struct Windows {
    raw: HashSet<[u8; RUN]>,
    hex: HashSet<[u8; 2 * RUN]>,
    /// Eight characters are six bytes, of which any run of eight has some at a multiple of three.
    base64: HashSet<[u8; 8]>,
}

impl Windows {
    fn of(words: &[&[u8]]) -> Self {
        let mut windows = Self { raw: HashSet::new(), hex: HashSet::new(), base64: HashSet::new() };
        for word in words {
            for window in word.windows(RUN) {
                windows.raw.extend(<[u8; RUN]>::try_from(window));
                let lower = crate::digest::hex(window);
                windows.hex.extend(<[u8; 2 * RUN]>::try_from(lower.as_bytes()));
                windows.hex.extend(<[u8; 2 * RUN]>::try_from(lower.to_ascii_uppercase().as_bytes()));
            }
            for six in word.windows(6) {
                for text in [STANDARD_NO_PAD.encode(six), URL_SAFE_NO_PAD.encode(six)] {
                    windows.base64.extend(<[u8; 8]>::try_from(text.as_bytes()));
                }
            }
        }
        windows
    }

    fn find(&self, bytes: &[u8]) -> Option<Leak> {
        for (at, window) in bytes.windows(RUN).enumerate() {
            let Ok(eight) = <[u8; RUN]>::try_from(window) else { continue };
            if self.raw.contains(&eight) {
                return Some(Leak::Raw);
            }
            if self.base64.contains(&eight) {
                return Some(Leak::Base64);
            }
            let is_hex = eight.iter().all(u8::is_ascii_hexdigit);
            if is_hex
                && let Some(Ok(sixteen)) = bytes.get(at..at + 2 * RUN).map(<[u8; 2 * RUN]>::try_from)
                && self.hex.contains(&sixteen)
            {
                return Some(Leak::Hex);
            }
        }
        None
    }
}

/// Searches all files of a folder for runs of `words`: how many bytes were searched, or what was found.
pub fn find_leak(folder: &Path, words: &[&[u8]]) -> io::Result<Result<u64, Leak>> {
    let windows = Windows::of(words);
    let (mut folders, mut searched) = (vec![folder.to_owned()], 0u64);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let mut file = match File::open(&path) {
                // a body that is replaced meanwhile
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                file => file?,
            };
            let mut buffer = Vec::new();
            loop {
                let begun = buffer.len();
                file.by_ref().take(PIECE as u64).read_to_end(&mut buffer)?;
                searched += (buffer.len() - begun) as u64;
                if let Some(leak) = windows.find(&buffer) {
                    return Ok(Err(leak));
                }
                if buffer.len() == begun {
                    break;
                }
                let keep = buffer.len().saturating_sub(2 * RUN);
                buffer.drain(..keep);
            }
        }
    }
    Ok(Ok(searched))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_found_in_every_form_and_place_and_nothing_else_is() {
        let word: &[u8] = b"strictly-confidential";
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sub");
        fs::create_dir(&path).unwrap();
        let hunt = |content: &[u8]| {
            fs::write(path.join("body"), content).unwrap();
            find_leak(folder.path(), &[word]).unwrap()
        };
        assert_eq!(hunt(&[0; 3000]), Ok(3000));
        assert_eq!(hunt(b"strict and confide"), Ok(18));
        for before in [0, 1, 2, PIECE - 3, PIECE - 17] {
            let padded = |text: &[u8]| [&vec![b'.'; before], text, &[b'.'; 9]].concat();
            assert_eq!(hunt(&padded(&word[3..11])), Err(Leak::Raw), "{before}");
            assert_eq!(hunt(&padded(crate::digest::hex(&word[5..13]).as_bytes())), Err(Leak::Hex));
            for shift in 0..3 {
                let text = [&vec![b'x'; shift], word].concat();
                assert_eq!(hunt(&padded(STANDARD_NO_PAD.encode(text).as_bytes())), Err(Leak::Base64));
            }
        }
    }
}
